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
#include <linux/unaligned.h>
#include <net/ip.h>

#include "xtun.h"

/* At most: two IPv6 addresses, protocol, ports. */
struct xtun_flow {
	u32 words[XTUN_TAG_WORDS];
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
	} else {
		xtun_flow_add(flow, skb_network_header(skb) - l3_off,
			      2 * ETH_ALEN / sizeof(u32));
	}
}

/**
 * xtun_flow_tag() - keyed hash of what all packets of an inner flow share
 * @net: underlay, whose secret is the key
 * @skb: the packet, its network header the inner one; of its transport header
 *	8 bytes, or all that the packet has
 * @proto: inner ethertype, or 0 for a frame without an IP packet
 * @l3_off: bytes from the payload's beginning to its network header
 *
 * Pair-multiply-shift: universal, so that who cannot see tags cannot guess one,
 * at one multiplication for two words. Echo requests have numbers of their own,
 * so that their identifications tell them apart.
 *
 * Context: RCU.
 * Return: the tag.
 */
struct xtun_tag xtun_flow_tag(const struct net *net, const struct sk_buff *skb,
			      __be16 proto, unsigned int l3_off)
{
	const u64 *secret = xtun_net(net)->secret;
	struct xtun_flow flow = {};
	u64 sum = 0;
	u16 seq = 0;
	int i;

	BUILD_BUG_ON(XTUN_TAG_WORDS % 2);
	xtun_flow_fill(&flow, skb, proto, l3_off, &seq);
	for (i = 0; i < XTUN_TAG_WORDS; i += 2)
		sum += (secret[i] + flow.words[i]) *
		       (secret[i + 1] + flow.words[i + 1]);
	sum >>= 32;
	return (struct xtun_tag){ .flow = sum, .id = sum + seq };
}
