/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How deep tunnels may be nested on one stack, and what becomes of the marks of
 * packets that were merged.
 *
 * Segments of a packet that was merged out of ones with the same identification
 * all get that again. A bit that says so was about the innermost header first.
 * Since there is another one for all headers but the outermost, whoever puts on
 * a header or takes it off has to move them, which the kernel's functions do not.
 */
#ifndef _XTUN_COMPAT_NET_IP_TUNNELS_H
#define _XTUN_COMPAT_NET_IP_TUNNELS_H

#include_next <net/ip_tunnels.h>

/*
 * So deep on one stack may packets be in tunnels and other devices when one more
 * tunnel sends. Older kernels have no limit for tunnels whose devices have queues.
 */
#ifndef IP_TUNNEL_RECURSION_LIMIT
#define IP_TUNNEL_RECURSION_LIMIT	5
#endif

#ifdef XTUN_HAVE_GSO_FIXEDID_INNER
/* What was said by one of the bits is said by another, and nothing else. */
static inline void xtun_move_fixedid(struct sk_buff *skb, unsigned int from,
				     unsigned int to)
{
	struct skb_shared_info *info = skb_shinfo(skb);
	bool fixed = info->gso_type & from;

	info->gso_type &= ~(SKB_GSO_TCP_FIXEDID | SKB_GSO_TCP_FIXEDID_INNER);
	if (fixed)
		info->gso_type |= to;
}
#endif

/* iptunnel_handle_offloads(); the new header's identifications are its own. */
static inline int xtun_handle_offloads(struct sk_buff *skb, int gso_type)
{
#ifdef XTUN_HAVE_GSO_FIXEDID_INNER
	unsigned int from = skb->encapsulation ? SKB_GSO_TCP_FIXEDID_INNER :
						 SKB_GSO_TCP_FIXEDID;
	int err = iptunnel_handle_offloads(skb, gso_type);

	if (!err && skb_is_gso(skb))
		xtun_move_fixedid(skb, from, SKB_GSO_TCP_FIXEDID_INNER);
	return err;
#else
	return iptunnel_handle_offloads(skb, gso_type);
#endif
}

/*
 * Takes @len bytes of outer headers off a packet, and what it has got on its way
 * through the underlay. As __iptunnel_pull_header() with raw_proto, but inlined: every
 * received packet passes it.
 */
static inline int xtun_pull_header(struct sk_buff *skb, unsigned int len, __be16 proto,
				   bool xnet)
{
	const void *header;
	int err;

	if (unlikely(!pskb_may_pull(skb, len)))
		return -ENOMEM;
	header = skb->data;
	__skb_pull(skb, len);
	skb_postpull_rcsum(skb, header, len);
	skb->protocol = proto;
	skb_clear_hash_if_not_l4(skb);
	__vlan_hwaccel_clear_tag(skb);
	skb_set_queue_mapping(skb, 0);
	skb_scrub_packet(skb, xnet);
	err = iptunnel_pull_offloads(skb);
#ifdef XTUN_HAVE_GSO_FIXEDID_INNER
	if (!err && skb_is_gso(skb))
		xtun_move_fixedid(skb, SKB_GSO_TCP_FIXEDID_INNER,
				  SKB_GSO_TCP_FIXEDID);
#endif
	return err;
}

#endif /* _XTUN_COMPAT_NET_IP_TUNNELS_H */
