// SPDX-License-Identifier: GPL-2.0
/*
 * IPv6 extension headers before what a tunnel takes. The kernel reads them after
 * the hook: options and routing headers that it would have dropped the packet for,
 * or done something about, are left to it, with the packet.
 */
#include <linux/in6.h>
#include <linux/seg6.h>
#include <net/addrconf.h>
#include <net/ipv6.h>

#include "../outer.h"
#include "../wire.h"

/* RFC 8200 section 4.2: who does not know such an option does not pass over it. */
#define XTUN_OPTION_ACTION	0xc0
/* The kernel takes no more padding at a place: that is enough to align anything. */
#define XTUN_PADDING_MAX	7

/* May all options be passed over? */
static bool xtun_options_ok(const struct net *net, const u8 *hdr,
			    unsigned int len)
{
	int left = READ_ONCE(net->ipv6.sysctl.max_dst_opts_cnt);
	unsigned int at = 2, size, padding = 0;

	if ((int)len > READ_ONCE(net->ipv6.sysctl.max_dst_opts_len))
		return false;
	for (; at < len; at += size) {
		size = 1;
		if (hdr[at] != IPV6_TLV_PAD1)
			size = at + 1 < len ? 2 + hdr[at + 1] : len;
		if (size > len - at)
			return false;
		if (hdr[at] > IPV6_TLV_PADN) {
			if (hdr[at] & XTUN_OPTION_ACTION || --left < 0)
				return false;
			padding = 0;
			continue;
		}
		padding += size;
		if (padding > XTUN_PADDING_MAX ||
		    (hdr[at] == IPV6_TLV_PADN &&
		     memchr_inv(hdr + at + 2, 0, size - 2)))
			return false;
	}
	return true;
}

/* A packet whose segments are signed, or have to be, is for the kernel to verify. */
static bool xtun_segments_unsigned(const struct inet6_dev *idev,
				   const struct ipv6_sr_hdr *srh)
{
#ifdef CONFIG_IPV6_SEG6_HMAC
	int required = READ_ONCE(idev->cnf.seg6_require_hmac);

	return required < 0 || (!required && !sr_has_hmac(srh));
#else
	return true;
#endif
}

/* RFC 8754, where it is switched on. */
static bool xtun_segments_ok(const struct sk_buff *skb,
			     const struct ipv6_sr_hdr *srh)
{
	const struct inet6_dev *idev = __in6_dev_get(skb->dev);
	const struct net *net = dev_net(skb->dev);

	return idev && READ_ONCE(net->ipv6.devconf_all->seg6_enabled) > 0 &&
	       READ_ONCE(idev->cnf.seg6_enabled) > 0 &&
	       xtun_segments_unsigned(idev, srh);
}

/* Has the packet come to its end, by a way that is taken here? */
static bool xtun_routing_ok(const struct sk_buff *skb, const u8 *hdr)
{
	const struct ipv6_rt_hdr *rh = (const struct ipv6_rt_hdr *)hdr;

	if (rh->segments_left || !xtun_outer_for_one(skb, AF_INET6))
		return false;
	switch (rh->type) {
	case IPV6_SRCRT_TYPE_2:
	case IPV6_SRCRT_TYPE_3:
		return false;
	case IPV6_SRCRT_TYPE_4:
		return xtun_segments_ok(skb, (const struct ipv6_sr_hdr *)hdr);
	}
	return true;
}

static bool xtun_exthdr_ok(const struct sk_buff *skb, u8 nexthdr,
			   unsigned int at, unsigned int len)
{
	const u8 *hdr = skb->data + at;

	switch (nexthdr) {
	case NEXTHDR_HOP:
		/* It has been read, where it may be. */
		return at == sizeof(struct ipv6hdr);
	case NEXTHDR_DEST:
		return xtun_options_ok(dev_net(skb->dev), hdr, len);
	case NEXTHDR_ROUTING:
		return xtun_routing_ok(skb, hdr);
	case NEXTHDR_FRAGMENT:
		/* Of a packet in one piece: others have been put together. */
		return true;
	}
	return false;
}

/**
 * xtun_exthdrs_ok() - may a packet's extension headers be passed over?
 * @skb: a packet at local input, its data the IPv6 header
 * @end: bytes from there to what is behind the last of them, as ipv6_find_hdr()
 *	has found
 *
 * Context: BH disabled or process context, RCU.
 * Return: false when the kernel's own input has to read them.
 */
bool xtun_exthdrs_ok(struct sk_buff *skb, unsigned int end)
{
	unsigned int at = sizeof(struct ipv6hdr), len;
	const struct ipv6_opt_hdr *hdr;
	u8 nexthdr;

	if (!pskb_may_pull(skb, end))
		return false;
	nexthdr = ipv6_hdr(skb)->nexthdr;
	while (at < end) {
		hdr = (const struct ipv6_opt_hdr *)(skb->data + at);
		len = nexthdr == NEXTHDR_FRAGMENT ? sizeof(struct frag_hdr) :
						    ipv6_optlen(hdr);
		if (!xtun_exthdr_ok(skb, nexthdr, at, len))
			return false;
		nexthdr = hdr->nexthdr;
		at += len;
	}
	return true;
}
