// SPDX-License-Identifier: GPL-2.0
/*
 * A number for the flow of an inner packet, which off-path senders cannot know.
 * Outer packets carry it, and so does an ICMP error about them: who quotes it
 * has seen the packet.
 */
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

/* At most: two IPv6 addresses, protocol, ports. */
#define XTUN_FLOW_WORDS		10

/* What differs in the tag of a packet that was not routed: a bit in each of the
 * fields that are made of it, the source port, the flow label, the identification.
 */
#define XTUN_FLOW_STRAY		0x40044000

struct xtun_flow {
	u32 words[XTUN_FLOW_WORDS];
	unsigned int n;
};

static void xtun_flow_add(struct xtun_flow *flow, const void *data,
			  unsigned int words)
{
	memcpy(flow->words + flow->n, data, words * sizeof(u32));
	flow->n += words;
}

static bool xtun_is_echo(u8 ipproto, u8 type)
{
	if (ipproto == IPPROTO_ICMP)
		return type == ICMP_ECHO || type == ICMP_ECHOREPLY;
	return type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY;
}

/* What tells flows between two hosts apart, and the number of an echo. */
static u32 xtun_flow_transport(const struct sk_buff *skb, unsigned int offset,
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

static void xtun_flow_add_transport(struct xtun_flow *flow,
				    const struct sk_buff *skb,
				    unsigned int offset, u8 ipproto, bool whole,
				    u16 *seq)
{
	u32 words[2] = { ipproto };

	if (whole)
		words[1] = xtun_flow_transport(skb, offset, ipproto, seq);
	xtun_flow_add(flow, words, 2);
}

/* Neither IP nor a frame: its type and its beginning, which may be a label. */
static void xtun_flow_add_other(struct xtun_flow *flow,
				const struct sk_buff *skb)
{
	u32 words[2] = { (__force u16)skb->protocol }, buf;
	const u32 *first = skb_header_pointer(skb, skb_network_offset(skb),
					      sizeof(buf), &buf);

	if (first)
		words[1] = get_unaligned(first);
	xtun_flow_add(flow, words, 2);
}

static void xtun_flow_fill(struct xtun_flow *flow, const struct sk_buff *skb,
			   __be16 proto, unsigned int l3_off, u16 *seq)
{
	int at = skb_network_offset(skb);

	if (proto == htons(ETH_P_IP)) {
		const struct iphdr *iph = ip_hdr(skb);

		xtun_flow_add(flow, &iph->saddr, 2);
		xtun_flow_add_transport(flow, skb, at + iph->ihl * 4,
					iph->protocol, !ip_is_fragment(iph),
					seq);
	} else if (proto == htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip6h = ipv6_hdr(skb);

		xtun_flow_add(flow, &ip6h->saddr, 8);
		xtun_flow_add_transport(flow, skb, at + sizeof(*ip6h),
					ip6h->nexthdr, true, seq);
	} else if (l3_off) {
		xtun_flow_add(flow, skb_network_header(skb) - l3_off,
			      2 * ETH_ALEN / sizeof(u32));
	} else {
		xtun_flow_add_other(flow, skb);
	}
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
struct xtun_tag xtun_flow_tag(const struct xtun_cx *cx)
{
	struct xtun_flow flow = {};
	u16 seq = 0;
	u32 hash;

	xtun_flow_fill(&flow, cx->skb, cx->proto, cx->l3_off, &seq);
	hash = hsiphash(flow.words, flow.n * sizeof(u32), &cx->tun->secret);
	if (unlikely(!cx->routed))
		hash ^= XTUN_FLOW_STRAY;
	return (struct xtun_tag){ .flow = hash, .id = hash + seq };
}
