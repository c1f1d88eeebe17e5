/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The route of an outer packet where it is known already, which is all that most
 * packets need of route.c.
 */
#ifndef _XTUN_ROUTE_OUT_H
#define _XTUN_ROUTE_OUT_H

#include <linux/inetdevice.h>
#include <net/dsfield.h>
#include <net/dst.h>
#include <net/dst_cache.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/lwtunnel.h>
#include <net/xfrm.h>

#include "conf.h"
#include "device.h"
#include "packet.h"
#include "route.h"

/*
 * While a route's exceptions are renewed, one lookup may take away what another
 * one has just found: it leads nowhere from then on, and has the MTU of that.
 * So this is asked after something was read.
 */
static inline bool xtun_dst_gone(const struct dst_entry *dst)
{
	return READ_ONCE(dst->dev) == blackhole_netdev;
}

/* Are there IPsec policies, or rules that look at ports? */
static inline bool xtun_net_selects(const struct net *net, u8 family)
{
#ifdef CONFIG_XFRM
	if (READ_ONCE(net->xfrm.policy_count[XFRM_POLICY_OUT]))
		return true;
#endif
#ifdef CONFIG_IP_MULTIPLE_TABLES
	if (family == AF_INET && READ_ONCE(net->ipv4.fib_rules_require_fldissect))
		return true;
#endif
#ifdef CONFIG_IPV6_MULTIPLE_TABLES
	if (family == AF_INET6 &&
	    READ_ONCE(net->ipv6.fib6_rules_require_fldissect))
		return true;
#endif
	return false;
}

/* Are there rules of the user's own, which may look at a DSCP? */
static inline bool xtun_net_rules(const struct net *net, u8 family)
{
#ifdef CONFIG_IP_MULTIPLE_TABLES
	if (family == AF_INET)
		return READ_ONCE(net->ipv4.fib_has_custom_rules);
#endif
#ifdef CONFIG_IPV6_MULTIPLE_TABLES
	if (family == AF_INET6)
		return READ_ONCE(net->ipv6.fib6_has_custom_rules);
#endif
	return false;
}

/*
 * May packets of one tunnel to one peer take different routes? Where packets bring
 * marks of their own, the cached route is that of packets without one.
 */
static inline bool xtun_route_by_packet(const struct xtun_cx *cx)
{
	const struct xtun_params *p = &cx->conf->p;

	if (cx->mark != p->fwmark)
		return true;
	if (cx->conf->flows && xtun_net_selects(cx->tun->net, p->family))
		return true;
	return p->tos == XTUN_TOS_INHERIT && cx->tos & INET_DSCP_MASK &&
	       xtun_net_rules(cx->tun->net, p->family);
}

static inline struct dst_entry *xtun_cache_get(struct xtun_cx *cx)
{
	struct dst_cache *cache = cx->conf->dst_cache;
	struct rtable *rt;

	if (cx->conf->p.family == AF_INET6)
		return dst_cache_get_ip6(cache, &cx->saddr.in6);

	rt = dst_cache_get_ip4(cache, &cx->saddr.ip);
	return rt ? &rt->dst : NULL;
}

/* Was an MTU read from such a route? IPsec's keep what they got from one. */
static inline bool xtun_mtu_gone(const struct dst_entry *dst, unsigned int mtu)
{
	return unlikely(mtu <= ETH_MIN_MTU) &&
	       (xtun_dst_gone(dst) || dst_xfrm(dst));
}

static inline unsigned int xtun_dst_mtu4(const struct dst_entry *dst)
{
	unsigned int mtu = dst_metric_raw(dst, RTAX_MTU);

	/* IP has a number of its own for one that is locked and not given. */
	if (unlikely(!mtu && dst_metric_locked(dst, RTAX_MTU)))
		return dst_mtu(dst);
	return min_t(unsigned int, mtu ?: READ_ONCE(dst->dev->mtu), IP_MAX_MTU);
}

static inline unsigned int xtun_dst_mtu6(const struct dst_entry *dst)
{
	const struct inet6_dev *idev = ip6_dst_idev((struct dst_entry *)dst);
	unsigned int mtu = dst_metric_raw(dst, RTAX_MTU);

	if (unlikely(xtun_dst_taught(dst) || !idev || idev->dev != dst->dev))
		mtu = xtun_dst_link_mtu6(dst);
	else if (!mtu)
		mtu = READ_ONCE(idev->cnf.mtu6);
	return min_t(unsigned int, mtu, IP6_MAX_MTU);
}

/*
 * MTU of a route without what the kernel has learned, in bytes. Else it is what
 * dst_mtu() says, which would call a function of the route for what is in it.
 */
static inline unsigned int xtun_dst_mtu(const struct dst_entry *dst)
{
	unsigned int mtu;

	if (unlikely(dst_xfrm(dst)))
		return dst_mtu(dst);
	mtu = dst->ops->family == AF_INET ? xtun_dst_mtu4(dst) : xtun_dst_mtu6(dst);
	return mtu - lwtunnel_headroom(dst->lwtstate, mtu);
}

/* The path MTU: that of the route, and what the tunnel itself has learned. */
static inline unsigned int xtun_route_mtu(const struct xtun_cx *cx)
{
	unsigned int mtu = xtun_dst_mtu(cx->dst);

	if (unlikely(READ_ONCE(cx->tun->track) & XTUN_TRACK_PATH))
		mtu = min_not_zero(mtu, xtun_peer_path_mtu(cx->tun, &cx->daddr,
							   NULL));
	return mtu;
}

/**
 * xtun_route_out() - find the route of an outer packet
 * @cx: packet with its peer; gets route, its MTU, and source, or with a reason
 *	what its sender is told
 *
 * One route is cached; where addresses differ each packet's is looked up, and
 * where marks, IPsec policies or rules are about what differs between packets.
 *
 * Context: BH disabled.
 * Return: XTUN_OK with a reference in @cx->dst, else why there is none.
 */
static __always_inline enum xtun_drop_reason xtun_route_out(struct xtun_cx *cx)
{
	cx->by_packet = cx->skb && unlikely(xtun_route_by_packet(cx));
	if (likely(cx->conf->one_path && !cx->by_packet)) {
		cx->dst = xtun_cache_get(cx);
		if (likely(cx->dst)) {
			cx->mtu = xtun_route_mtu(cx);
			if (!xtun_mtu_gone(cx->dst, cx->mtu))
				return XTUN_OK;
			dst_release(cx->dst);
			/* The cache has filled it in. */
			cx->saddr = cx->conf->p.local;
		}
	}
	return xtun_route_find(cx);
}

#endif /* _XTUN_ROUTE_OUT_H */
