/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The outer IP header of each packet: written before one that leaves, read off one
 * that arrives.
 */
#ifndef _XTUN_OUTER_H
#define _XTUN_OUTER_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/inet_ecn.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/xfrm.h>

#include "conf.h"
#include "device.h"
#include "output.h"
#include "packet.h"
#include "route.h"

/* ---- the way out ---- */

/* RFC 6040 section 4.1, normal mode: the inner ECN field is copied. */
static inline u8 xtun_tos_out(const struct xtun_cx *cx)
{
	u8 tos = cx->conf->p.tos;

	if (tos == XTUN_TOS_INHERIT)
		return cx->tos;
	return tos | (cx->tos & INET_ECN_MASK);
}

static inline u8 xtun_ttl_out(const struct xtun_cx *cx)
{
	/* Frames without IP have no TTL to inherit. */
	return cx->conf->p.ttl ?: cx->ttl ?: IPDEFTTL;
}

/**
 * xtun_outer_df() - DF of an outer IPv4 packet that need not be fragmented
 * @cx: the inner packet, classified
 *
 * On a route whose MTU is locked nothing has it, xtun_route_locked() tells.
 *
 * Context: any.
 * Return: IP_DF in network order, or 0.
 */
static inline __be16 xtun_outer_df(const struct xtun_cx *cx)
{
	u8 df = cx->conf->p.df;

	if (df == XTUN_DF_UNSET)
		return 0;
	if (df == XTUN_DF_INHERIT && cx->proto == htons(ETH_P_IP) && !cx->df)
		return 0;
	return htons(IP_DF);
}

/*
 * The identification of a packet that is not fragmented means nothing to the
 * network (RFC 6864): the tag has its place there.
 */
static inline void xtun_ident4(struct xtun_cx *cx)
{
	cx->df_out = cx->outer_frag || xtun_dst_locked(cx->dst) ?
		     0 : xtun_outer_df(cx);
	cx->ident = cx->df_out ? XTUN_IDENT_VALID | cx->tag.id :
				 XTUN_IDENT_VALID | XTUN_IDENT_UNIQUE |
				 xtun_outer_unique_id(cx);
}

static inline void xtun_ident6(struct xtun_cx *cx)
{
	u32 flowlabel = cx->conf->p.flowlabel;

	if (flowlabel == XTUN_FLOWLABEL_INHERIT &&
	    cx->proto == htons(ETH_P_IPV6))
		cx->flowlabel = ip6_flowlabel(ipv6_hdr(cx->skb));
	else if (flowlabel > ntohl(IPV6_FLOWLABEL_MASK))
		cx->flowlabel = htonl(cx->tag.flow) & IPV6_FLOWLABEL_MASK;
	else
		cx->flowlabel = htonl(flowlabel);

	/* One for all flows tells nothing. */
	cx->ident = flowlabel > ntohl(IPV6_FLOWLABEL_MASK) && cx->flowlabel ?
		    XTUN_IDENT_VALID | ntohl(cx->flowlabel) : 0;
}

/**
 * xtun_outer_ident() - choose the identification of an outer packet
 * @cx: the packet, its network header the inner one; with peer, source and tag
 *
 * Context: BH disabled.
 */
static inline void xtun_outer_ident(struct xtun_cx *cx)
{
	if (cx->conf->p.family == AF_INET)
		xtun_ident4(cx);
	else
		xtun_ident6(cx);
}

/* Fragments are as long as what the tunnel knows of the path. IPsec sees to its own. */
static inline u16 xtun_frag_max(const struct xtun_cx *cx)
{
	return cx->outer_frag && !dst_xfrm(cx->dst) ?
	       min_t(unsigned int, cx->mtu, U16_MAX) : 0;
}

static inline void xtun_push4(struct xtun_cx *cx)
{
	struct sk_buff *skb = cx->skb;
	struct iphdr *iph;

	iph = skb_push(skb, sizeof(*iph));
	skb_reset_network_header(skb);
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	IPCB(skb)->frag_max_size = xtun_frag_max(cx);

	iph->version = 4;
	iph->ihl = sizeof(*iph) / 4;
	iph->tos = xtun_tos_out(cx);
	iph->id = htons(cx->ident);
	iph->frag_off = cx->df_out;
	iph->ttl = xtun_ttl_out(cx);
	iph->protocol = cx->ipproto;
	iph->saddr = cx->saddr.ip;
	iph->daddr = cx->daddr.ip;
}

static inline void xtun_push6(struct xtun_cx *cx)
{
	u8 nexthdr = xtun_encaplimit_push(cx, cx->ipproto);
	struct sk_buff *skb = cx->skb;
	struct ipv6hdr *ip6h;

	ip6h = skb_push(skb, sizeof(*ip6h));
	skb_reset_network_header(skb);
	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	IP6CB(skb)->frag_max_size = xtun_frag_max(cx);

	ip6_flow_hdr(ip6h, xtun_tos_out(cx), cx->flowlabel);
	ip6h->nexthdr = nexthdr;
	ip6h->hop_limit = xtun_ttl_out(cx);
	ip6h->saddr = cx->saddr.in6;
	ip6h->daddr = cx->daddr.in6;
}

/**
 * xtun_outer_send() - put the outer IP header before a packet and send it
 * @cx: packet that begins with the encapsulation's header; packet and route
 *	are consumed
 *
 * It is sent on behalf of no socket: the inner one's options are not for the
 * outer packet, yet it goes on to be charged with the memory.
 *
 * Context: BH disabled.
 * Return: 0, or an error of the underlay.
 */
static __always_inline int xtun_outer_send(struct xtun_cx *cx)
{
	struct sk_buff *skb = cx->skb;

	if (cx->conf->p.family == AF_INET)
		xtun_push4(cx);
	else
		xtun_push6(cx);

	skb_clear_hash_if_not_l4(skb);
	skb_scrub_packet(skb, !net_eq(cx->tun->net, dev_net(cx->tun->dev)));
	skb->mark = cx->mark;
	return xtun_output(cx);
}

/* ---- the way in ---- */

/**
 * xtun_outer_for_one() - was a received packet sent to this host alone?
 * @skb: the packet, its network header the outer one, with its route
 * @family: AF_INET or AF_INET6
 *
 * RFC 1122 section 3.2.2: what was sent to many is not answered.
 *
 * Context: RCU.
 * Return: whether it was.
 */
static inline bool xtun_outer_for_one(const struct sk_buff *skb, u8 family)
{
	if (skb->pkt_type != PACKET_HOST)
		return false;
	if (family == AF_INET)
		return !(skb_rtable(skb)->rt_flags &
			 (RTCF_BROADCAST | RTCF_MULTICAST));
	return !ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr);
}

/**
 * xtun_outer_allowed_in() - IPsec policy of the underlay on a received packet
 * @skb: the packet
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled, RCU.
 * Return: true when it may come in as it came.
 */
static inline bool xtun_outer_allowed_in(struct sk_buff *skb, u8 family)
{
	if (family == AF_INET)
		return xfrm4_policy_check(NULL, XFRM_POLICY_IN, skb);
	return xfrm6_policy_check(NULL, XFRM_POLICY_IN, skb);
}

/**
 * xtun_outer_delivered() - count a packet as delivered by IP
 * @skb: a received packet that a tunnel takes, with its route
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled, RCU.
 */
static inline void xtun_outer_delivered(const struct sk_buff *skb, u8 family)
{
	struct net *net = dev_net(skb->dev);

	if (family == AF_INET)
		__IP_INC_STATS(net, IPSTATS_MIB_INDELIVERS);
	else
		__IP6_INC_STATS(net, ip6_dst_idev(skb_dst(skb)),
				IPSTATS_MIB_INDELIVERS);
}

/**
 * xtun_outer_addrs() - read the outer addresses of a received packet
 * @skb: packet with its network header the outer one
 * @match: has the family; gets the addresses as its tunnel has them
 *
 * Context: any.
 */
static inline void xtun_outer_addrs(const struct sk_buff *skb, struct xtun_match *match)
{
	if (match->family == AF_INET) {
		match->local.ip = ip_hdr(skb)->daddr;
		match->remote.ip = ip_hdr(skb)->saddr;
	} else {
		match->local.in6 = ipv6_hdr(skb)->daddr;
		match->remote.in6 = ipv6_hdr(skb)->saddr;
	}
}

/**
 * xtun_outer_tos_in() - read the outer TOS or traffic class
 * @skb: packet with its network header the outer one
 * @family: AF_INET or AF_INET6
 *
 * Context: any.
 * Return: the byte.
 */
static inline u8 xtun_outer_tos_in(const struct sk_buff *skb, u8 family)
{
	if (family == AF_INET)
		return ip_hdr(skb)->tos;
	return ipv6_get_dsfield(ipv6_hdr(skb));
}

#endif /* _XTUN_OUTER_H */
