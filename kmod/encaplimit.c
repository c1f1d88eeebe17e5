// SPDX-License-Identifier: GPL-2.0
/*
 * The Tunnel Encapsulation Limit (RFC 2473 section 4.1.1): how many more
 * tunnels an IPv6 packet may enter, in a destination option.
 */
#include <linux/ip6_tunnel.h>
#include <linux/ipv6.h>
#include <net/ipv6.h>

#include "conf.h"
#include "packet.h"

/* Extension headers that are looked through for the option. */
#define XTUN_EXTHDR_BOUND	4

/* Offset of the option in the options of @len bytes at @offset, or 0. */
static unsigned int xtun_find_option(const struct sk_buff *skb,
				     unsigned int offset, unsigned int len)
{
	const u8 *opts = skb_network_header(skb) + offset;
	unsigned int at = sizeof(struct ipv6_opt_hdr);

	while (at + 2 <= len) {
		if (opts[at] == IPV6_TLV_PAD1) {
			at++;
			continue;
		}
		if (at + 2 + opts[at + 1] > len)
			return 0;
		if (opts[at] == IPV6_TLV_TNL_ENCAP_LIMIT && opts[at + 1] == 1)
			return offset + at;
		at += 2 + opts[at + 1];
	}
	return 0;
}

/* Offset of the option from the inner IPv6 header, or 0. */
static unsigned int xtun_find_limit(struct sk_buff *skb)
{
	unsigned int offset = sizeof(struct ipv6hdr), len, found;
	u8 nexthdr = ipv6_hdr(skb)->nexthdr;
	const struct ipv6_opt_hdr *ext;
	int i;

	for (i = 0; i < XTUN_EXTHDR_BOUND; i++) {
		if (nexthdr != NEXTHDR_HOP && nexthdr != NEXTHDR_DEST)
			return 0;
		if (!pskb_network_may_pull(skb, offset + sizeof(*ext)))
			return 0;
		ext = (void *)(skb_network_header(skb) + offset);
		len = ipv6_optlen(ext);
		if (!pskb_network_may_pull(skb, offset + len))
			return 0;

		if (nexthdr == NEXTHDR_DEST) {
			found = xtun_find_option(skb, offset, len);
			if (found)
				return found;
		}
		ext = (void *)(skb_network_header(skb) + offset);
		nexthdr = ext->nexthdr;
		offset += len;
	}
	return 0;
}

/**
 * xtun_encaplimit_inherit() - take over the limit that an inner packet brings
 * @cx: IPv6 packet of payload ip that goes over IPv6
 *
 * It is lowered by one, whatever the configuration says. Its zero forbids this
 * tunnel; the sender is told.
 *
 * Context: BH disabled.
 * Return: 0, or negative when the packet was dropped.
 */
int xtun_encaplimit_inherit(struct xtun_cx *cx)
{
	unsigned int at = xtun_find_limit(cx->skb);
	u8 limit;

	if (likely(!at))
		return 0;

	limit = skb_network_header(cx->skb)[at + 2];
	if (!limit)
		return xtun_drop_encap_limit(cx, at + 2);
	if (cx->encaplimit == XTUN_ENCAPLIMIT_NONE)
		cx->overhead += XTUN_ENCAPLIMIT_LEN;
	cx->encaplimit = limit - 1;
	return 0;
}

/**
 * xtun_encaplimit_push() - put the option before what the packet begins with
 * @cx: packet with headroom for XTUN_ENCAPLIMIT_LEN bytes
 * @nexthdr: protocol number of what follows
 *
 * Context: BH disabled.
 * Return: protocol number of what the packet begins with now.
 */
u8 xtun_encaplimit_push(struct xtun_cx *cx, u8 nexthdr)
{
	u8 *opt;

	if (cx->encaplimit == XTUN_ENCAPLIMIT_NONE)
		return nexthdr;

	opt = skb_push(cx->skb, XTUN_ENCAPLIMIT_LEN);
	opt[0] = nexthdr;
	opt[1] = 0;
	opt[2] = IPV6_TLV_TNL_ENCAP_LIMIT;
	opt[3] = 1;
	opt[4] = cx->encaplimit;
	opt[5] = IPV6_TLV_PADN;
	opt[6] = 1;
	opt[7] = 0;
	return NEXTHDR_DEST;
}
