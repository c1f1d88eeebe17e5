/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The UDP ports that tunnels use, and what their packets carry.
 */
#ifndef _XTUN_PORT_H
#define _XTUN_PORT_H

#include <linux/udp.h>

#include "net.h"
#include "wire.h"

/* A port of this host, where packets arrive, or one of peers, where they go to. */
struct xtun_port_id {
	__be16 port;
	u8 family;
	bool there;
};

/**
 * struct xtun_port - a port that tunnels use
 * @node: in struct xtun_net
 * @id: which
 * @wire: what it carries
 * @users: how many tunnels, under RTNL
 * @frames: how many of them have payload eth, under RTNL
 * @sock: holds it, or NULL for one of peers or one that others may have, too
 * @nic: what network cards have been told that it is, or 0, under RTNL
 * @rcu: for the grace period before it is freed
 */
struct xtun_port {
	struct hlist_node node;
	struct xtun_port_id id;
	const struct xtun_wire *wire;
	unsigned int users;
	unsigned int frames;
	struct socket *sock;
	u8 nic;
	struct rcu_head rcu;
};

DECLARE_STATIC_KEY_FALSE(xtun_udp_key);

/**
 * xtun_udp_any() - is there a UDP port that tunnels use?
 * @net: underlay
 * @family: AF_INET or AF_INET6
 *
 * Context: RCU.
 * Return: whether there is.
 */
static inline bool xtun_udp_any(const struct net *net, u8 family)
{
	return static_branch_unlikely(&xtun_udp_key) &&
	       READ_ONCE(xtun_net_rcu(net)->n_ports[family == AF_INET6]);
}

/**
 * xtun_port_bucket() - where a port is in the table of its netns
 * @xn: underlay
 * @id: the port
 *
 * Context: any.
 * Return: the list that it is in, or has to be.
 */
static inline struct hlist_head *xtun_port_bucket(struct xtun_net *xn,
						  struct xtun_port_id id)
{
	return &xn->ports[id.family == AF_INET6][ntohs(id.port) %
						 XTUN_PORT_BUCKETS];
}

/**
 * xtun_udp_possible() - may a UDP packet be one that a tunnel of this host has sent?
 * @net: underlay
 * @family: AF_INET or AF_INET6
 * @uh: its UDP header
 *
 * A quick look, before xtun_udp_wires() is asked.
 *
 * Context: RCU.
 * Return: false when it certainly is not.
 */
static inline bool xtun_udp_possible(const struct net *net, u8 family,
				     const struct udphdr *uh)
{
	struct xtun_net *xn = xtun_net_rcu(net);
	struct xtun_port_id here = { .port = uh->source, .family = family };
	struct xtun_port_id there = { .port = uh->dest, .family = family };

	return !hlist_empty(xtun_port_bucket(xn, there)) ||
	       !hlist_empty(xtun_port_bucket(xn, here));
}

/**
 * xtun_port_find() - find a port that tunnels use
 * @xn: underlay
 * @id: the port
 *
 * Context: RCU or RTNL.
 * Return: the port, or NULL.
 */
static inline struct xtun_port *xtun_port_find(struct xtun_net *xn,
					       struct xtun_port_id id)
{
	struct hlist_head *bucket = xtun_port_bucket(xn, id);
	struct xtun_port *p;

	hlist_for_each_entry_rcu(p, bucket, node, lockdep_rtnl_is_held()) {
		if (p->id.port == id.port && p->id.there == id.there)
			return p;
	}
	return NULL;
}

/**
 * struct xtun_udp_wires - what a UDP packet may carry by either of its ports
 * @here: form of those sent from the port where we listen, or NULL
 * @there: form of those sent to the port where peers listen as we do, or NULL
 */
struct xtun_udp_wires {
	const struct xtun_wire *here;
	const struct xtun_wire *there;
};

/**
 * xtun_udp_wire() - find what the packets of a UDP port carry
 * @net: underlay
 * @family: AF_INET or AF_INET6
 * @port: a port of this host, where tunnels listen
 *
 * Context: RCU.
 * Return: the form of what follows, or NULL.
 */
static inline const struct xtun_wire *xtun_udp_wire(const struct net *net, u8 family,
						    __be16 port)
{
	struct xtun_port_id id = { .port = port, .family = family };
	const struct xtun_port *p;

	if (!static_branch_unlikely(&xtun_udp_key))
		return NULL;
	p = xtun_port_find(xtun_net_rcu(net), id);
	return p ? READ_ONCE(p->wire) : NULL;
}

bool xtun_udp_wires(const struct net *net, u8 family, const struct udphdr *uh,
		    struct xtun_udp_wires *wires);

/**
 * xtun_wire_possible() - may an IP packet be the outer packet of a tunnel?
 * @net: underlay
 * @skb: the packet
 * @family: AF_INET or AF_INET6, of it
 * @ipproto: its protocol number
 * @offset: bytes from the data of @skb to what is behind its IP header
 *
 * Context: RCU.
 * Return: false when it certainly is not.
 */
static inline bool xtun_wire_possible(const struct net *net, const struct sk_buff *skb,
				      u8 family, u8 ipproto, unsigned int offset)
{
	struct xtun_udp_wires wires;
	const struct udphdr *uh;
	struct udphdr buf;

	if (ipproto != IPPROTO_UDP)
		return xtun_wire_by_ipproto(ipproto);
	if (!xtun_udp_any(net, family))
		return false;
	uh = skb_header_pointer(skb, offset, sizeof(buf), &buf);
	return uh && xtun_udp_possible(net, family, uh) &&
	       xtun_udp_wires(net, family, uh, &wires);
}

#endif /* _XTUN_PORT_H */
