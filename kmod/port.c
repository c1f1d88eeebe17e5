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

/**
 * xtun_port_find() - find a port that tunnels use
 * @net: underlay
 * @id: the port
 *
 * Context: RCU or RTNL.
 * Return: the port, or NULL.
 */
struct xtun_port *xtun_port_find(const struct net *net, struct xtun_port_id id)
{
	struct hlist_head *bucket = xtun_port_bucket(xtun_net(net), id);
	struct xtun_port *p;

	hlist_for_each_entry_rcu(p, bucket, node, lockdep_rtnl_is_held()) {
		if (p->id.port == id.port && p->id.there == id.there)
			return p;
	}
	return NULL;
}

static const struct xtun_wire *xtun_port_wire(const struct net *net,
					      struct xtun_port_id id)
{
	const struct xtun_port *p = xtun_port_find(net, id);

	return p ? READ_ONCE(p->wire) : NULL;
}

/**
 * xtun_udp_wire() - find what the packets of a UDP port carry
 * @net: underlay
 * @family: AF_INET or AF_INET6
 * @port: a port of this host, where tunnels listen
 *
 * Context: RCU.
 * Return: the form of what follows, or NULL.
 */
const struct xtun_wire *xtun_udp_wire(const struct net *net, u8 family,
				      __be16 port)
{
	struct xtun_port_id id = { .port = port, .family = family };

	return xtun_udp_any(net, family) ? xtun_port_wire(net, id) : NULL;
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
