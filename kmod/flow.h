/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A number for the flow of an inner packet, which off-path senders cannot know.
 * Outer packets carry it, and so does an ICMP error about them: who quotes it
 * has seen the packet.
 */
#ifndef _XTUN_FLOW_H
#define _XTUN_FLOW_H

#include <linux/if_ether.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/siphash.h>
#include <linux/unaligned.h>
#include <net/ip.h>

#include "device.h"
#include "packet.h"

/* What differs in the tag of a packet that was not routed: a bit in each of the
 * fields that are made of it, the source port, the flow label, the identification.
 */
#define XTUN_FLOW_STRAY		0x40044000

/* What a flow of IPv6 is told by. */
struct xtun_flow6 {
	struct in6_addr ends[2];
	u32 ipproto;
	u32 transport;
} __aligned(HSIPHASH_ALIGNMENT);

static inline bool xtun_is_echo(u8 ipproto, u8 type)
{
	if (ipproto == IPPROTO_ICMP)
		return type == ICMP_ECHO || type == ICMP_ECHOREPLY;
	return type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY;
}

/* What tells flows between two hosts apart, and the number of an echo. */
static inline u32 xtun_flow_transport(const struct sk_buff *skb, unsigned int offset,
				      u8 ipproto, u16 *seq)
{
	u8 buf[8];
	const u8 *hdr;

	switch (ipproto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		hdr = skb_header_pointer(skb, offset, sizeof(u32), buf);
		return hdr ? get_unaligned_be32(hdr) : 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		hdr = skb_header_pointer(skb, offset, sizeof(buf), buf);
		if (!hdr || !xtun_is_echo(ipproto, hdr[0]))
			return 0;
		*seq = get_unaligned_be16(hdr + 6);
		return get_unaligned_be16(hdr + 4);
	default:
		return 0;
	}
}

static inline u32 xtun_flow_hash4(const struct xtun_cx *cx, u16 *seq)
{
	const struct iphdr *iph = ip_hdr(cx->skb);
	u32 transport = 0;

	if (likely(!ip_is_fragment(iph)))
		transport = xtun_flow_transport(cx->skb, skb_network_offset(cx->skb) +
						iph->ihl * 4, iph->protocol, seq);
	return hsiphash_4u32((__force u32)iph->saddr, (__force u32)iph->daddr,
			     iph->protocol, transport, &cx->tun->secret);
}

static inline u32 xtun_flow_hash6(const struct xtun_cx *cx, u16 *seq)
{
	const struct ipv6hdr *ip6h = ipv6_hdr(cx->skb);
	struct xtun_flow6 flow;

	flow.ends[0] = ip6h->saddr;
	flow.ends[1] = ip6h->daddr;
	flow.ipproto = ip6h->nexthdr;
	flow.transport = xtun_flow_transport(cx->skb, skb_network_offset(cx->skb) +
					     sizeof(*ip6h), ip6h->nexthdr, seq);
	return hsiphash(&flow, sizeof(flow), &cx->tun->secret);
}

/* Neither IP nor a frame: its type and its beginning, which may be a label. */
static inline u32 xtun_flow_hash_other(const struct xtun_cx *cx)
{
	const struct sk_buff *skb = cx->skb;
	u32 buf;
	const u32 *first = skb_header_pointer(skb, skb_network_offset(skb),
					      sizeof(buf), &buf);

	return hsiphash_2u32((__force u16)skb->protocol,
			     first ? get_unaligned(first) : 0, &cx->tun->secret);
}

static inline u32 xtun_flow_hash(const struct xtun_cx *cx, u16 *seq)
{
	if (cx->proto == htons(ETH_P_IP))
		return xtun_flow_hash4(cx, seq);
	if (cx->proto == htons(ETH_P_IPV6))
		return xtun_flow_hash6(cx, seq);
	if (cx->l3_off)
		return hsiphash(skb_network_header(cx->skb) - cx->l3_off,
				2 * ETH_ALEN, &cx->tun->secret);
	return xtun_flow_hash_other(cx);
}

/**
 * xtun_flow_tag() - keyed hash of what all packets of an inner flow share
 * @cx: the packet, classified, its network header the inner one, and whether it
 *	was routed; of its transport header 8 bytes, or all that the packet has
 *
 * Who sees the tags of some flows learns nothing about those of others, so the
 * hash is a cryptographic one, under a secret of the tunnel. Echo requests have
 * numbers of their own, so that their identifications tell them apart.
 *
 * A packet that was not routed into the tunnel has another tag than one of the
 * same flow that was: so an error about it is known for what it is. Who knows the
 * one knows the other, and could have seen either.
 *
 * Context: RCU.
 * Return: the tag.
 */
static __always_inline struct xtun_tag xtun_flow_tag(const struct xtun_cx *cx)
{
	u16 seq = 0;
	u32 hash = xtun_flow_hash(cx, &seq);

	if (unlikely(!cx->routed))
		hash ^= XTUN_FLOW_STRAY;
	return (struct xtun_tag){ .flow = hash, .id = hash + seq };
}

#endif /* _XTUN_FLOW_H */
