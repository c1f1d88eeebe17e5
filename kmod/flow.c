// SPDX-License-Identifier: GPL-2.0
/*
 * A number for the flow of an inner packet, which off-path senders cannot know.
 */
#include <linux/if_ether.h>
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

static bool xtun_has_ports(u8 ipproto)
{
	return ipproto == IPPROTO_TCP || ipproto == IPPROTO_UDP;
}

static void xtun_flow_add_transport(struct xtun_flow *flow,
				    const struct sk_buff *skb,
				    unsigned int offset, u8 ipproto, bool whole)
{
	u32 buf, proto = ipproto;
	const u32 *ports;

	xtun_flow_add(flow, &proto, 1);
	if (!whole || !xtun_has_ports(ipproto))
		return;
	ports = skb_header_pointer(skb, offset, sizeof(buf), &buf);
	if (ports)
		xtun_flow_add(flow, ports, 1);
}

static void xtun_flow_fill(struct xtun_flow *flow, const struct xtun_cx *cx)
{
	const struct sk_buff *skb = cx->skb;
	int at = skb_network_offset(skb);

	if (cx->proto == htons(ETH_P_IP)) {
		const struct iphdr *iph = ip_hdr(skb);

		xtun_flow_add(flow, &iph->saddr, 2);
		xtun_flow_add_transport(flow, skb, at + iph->ihl * 4,
					iph->protocol, !ip_is_fragment(iph));
	} else if (cx->proto == htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip6h = ipv6_hdr(skb);

		xtun_flow_add(flow, &ip6h->saddr, 8);
		xtun_flow_add_transport(flow, skb, at + sizeof(*ip6h),
					ip6h->nexthdr, true);
	} else {
		xtun_flow_add(flow, skb_network_header(skb) - cx->l3_off,
			      2 * ETH_ALEN / sizeof(u32));
	}
}

/**
 * xtun_flow_tag() - keyed hash of what all packets of an inner flow share
 * @cx: the packet, its network header the inner one
 *
 * Pair-multiply-shift under the netns' secret: universal, so that who cannot
 * see tags cannot guess one, at one multiplication for two words.
 *
 * Context: BH disabled.
 * Return: 32 bits, all equally good.
 */
u32 xtun_flow_tag(const struct xtun_cx *cx)
{
	const u64 *secret = xtun_net(cx->tun->net)->secret;
	struct xtun_flow flow = {};
	u64 sum = 0;
	int i;

	BUILD_BUG_ON(XTUN_TAG_WORDS % 2);
	xtun_flow_fill(&flow, cx);
	for (i = 0; i < XTUN_TAG_WORDS; i += 2)
		sum += (secret[i] + flow.words[i]) *
		       (secret[i + 1] + flow.words[i + 1]);
	return sum >> 32;
}
