// SPDX-License-Identifier: GPL-2.0
/*
 * Which UDP ports tunnels use: those of this host, where packets arrive, and those of
 * peers, where they go to. transport/udp.c fills the table.
 */
#include <net/net_namespace.h>

#include "net.h"
#include "port.h"
#include "wire.h"

/* Hosts without such ports do not look for them. */
DEFINE_STATIC_KEY_FALSE(xtun_udp_key);

static const struct xtun_wire *xtun_port_wire(const struct net *net,
					      struct xtun_port_id id)
{
	const struct xtun_port *p = xtun_port_find(xtun_net_rcu(net), id);

	return p ? READ_ONCE(p->wire) : NULL;
}

/**
 * xtun_udp_wires() - find what a UDP packet that this host has sent may carry
 * @net: underlay
 * @family: AF_INET or AF_INET6
 * @uh: its UDP header
 * @wires: gets the forms
 *
 * Most encapsulations are known by the port that they go to, and send from many.
 *
 * Context: RCU.
 * Return: false when it carries nothing of xtun's.
 */
bool xtun_udp_wires(const struct net *net, u8 family, const struct udphdr *uh,
		    struct xtun_udp_wires *wires)
{
	struct xtun_port_id here = { .port = uh->source, .family = family };
	struct xtun_port_id there = { uh->dest, family, true };

	wires->here = xtun_port_wire(net, here);
	if (wires->here && !wires->here->pair)
		wires->here = NULL;
	wires->there = xtun_port_wire(net, there);
	return wires->here || wires->there;
}
