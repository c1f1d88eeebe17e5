/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the end of local input does with a packet, for those that a hook takes out before
 * they are there.
 */
#ifndef _XTUN_LOCAL_IN_H
#define _XTUN_LOCAL_IN_H

#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <net/netfilter/nf_conntrack.h>

#include "outer.h"

/* Conntrack confirms after us; unconfirmed, every packet would be NEW. */
static inline bool xtun_confirm(struct sk_buff *skb)
{
	const struct nf_ct_hook *hook;
	enum ip_conntrack_info ctinfo;
	struct nf_conn *ct;

	ct = nf_ct_get(skb, &ctinfo);
	if (!ct || nf_ct_is_confirmed(ct))
		return true;
	hook = rcu_dereference(nf_ct_hook);
	return !hook || hook->confirm(skb) == NF_ACCEPT;
}

/**
 * xtun_local_in() - leave local input
 * @skb: the packet, its data at the outer IP header; gets its data behind that
 * @family: AF_INET or AF_INET6
 * @offset: bytes of the outer IP header and what belongs to it
 *
 * What lies between this hook and a protocol's handler or a socket, and is not
 * passed by packets that are taken here: ip_local_deliver_finish(),
 * ip6_protocol_deliver_rcu(), and the input functions of UDP, ICMP and ICMPv6.
 *
 * Done:
 * - Conntrack confirms at the same place or after it: xtun_confirm(). A helper
 *   of conntrack is not run: none knows what is in a tunnel.
 * - A delivery time that the sender's host has left in the packet would delay it
 *   on its next way out: cleared below.
 * - IpInDelivers, Ip6InDelivers: counted below. Those of UDP and ICMP are not:
 *   the tunnel has counters, with a name for each reason.
 * - Early demux, or TPROXY and BPF, may have chosen a socket and with it a route:
 *   skb_orphan() below, and the route goes in xtun_pull_header(). A tunnel names
 *   both ends, so its packets are its own, whatever socket was chosen.
 * - IPv6 extension headers: xtun_exthdrs_ok().
 * - IPsec policy, here without a socket, for which nobody can set one:
 *   xtun_outer_allowed_in(). Conntrack's entry, IPsec's path and the outer
 *   packet's options, which are in skb->cb: xtun_pull_header(), and the input of
 *   the inner packet, which writes skb->cb anew.
 * - UDP's length, of IPv6 that of a jumbogram too, which is refused:
 *   xtun_udp_check(); a packet that is longer is cut there.
 * - Checksums, one of zero over IPv6, and what is counted of them in
 *   skb->csum_level and kept in skb->csum: xtun_outer_udp_csum_ok(),
 *   xtun_outer_icmp_csum_ok(), and csum_ok of the encapsulation.
 * - Datagrams that GRO has merged without the tunnel's leave: xtun_hook_split().
 * - Fragments of memory that the sender may still write to (MSG_ZEROCOPY): the
 *   input of the inner packet copies them.
 *
 * Not done:
 * - Raw sockets get no copy of a tunnel's packets. Packet sockets do.
 * - No protocol or port unreachable is sent: somebody is there.
 * - To many: nobody else of the host gets a copy of a tunnel's packet to a
 *   multicast group or broadcast address, which IP has looked whether the host is
 *   in. Which sources of a group are wanted is said by sockets, for themselves.
 * - Socket memory, socket filters, BPF that looks sockets up or belongs to a
 *   control group, the least TTL that a socket takes, and LSMs where they judge
 *   what a socket gets: tunnels have no socket; the inner packet meets all of
 *   that. The queue to the inner packet's input has a limit: xtun_cells_rx().
 * - UDP-Lite, and encapsulations that other sockets have: not of these protocols
 *   and ports.
 * - The limits and switches of echo replies: nothing is replied.
 *
 * Context: BH disabled, RCU.
 * Return: false when connection tracking refuses the packet.
 */
static inline bool xtun_local_in(struct sk_buff *skb, u8 family, unsigned int offset)
{
	const void *header = skb->data;

	if (unlikely(!xtun_confirm(skb)))
		return false;
	skb_orphan(skb);
	skb_clear_delivery_time(skb);
	xtun_outer_delivered(skb, family);
	__skb_pull(skb, offset);
	skb_postpull_rcsum(skb, header, offset);
	return true;
}

#endif /* _XTUN_LOCAL_IN_H */
