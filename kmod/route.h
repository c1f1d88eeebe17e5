/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The outer packet's route, and its IP header.
 */
#ifndef _XTUN_ROUTE_H
#define _XTUN_ROUTE_H

#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/xfrm.h>

#include "packet.h"

struct xtun_stray;

/**
 * struct xtun_path - the outer route to a peer, as it is now
 * @link: ifindex of the device that it leads out of
 * @name: name of that device
 * @loop: that device is the tunnel itself; nothing below is known then
 * @locked: its MTU is locked: nothing is learned, outer packets have no DF
 * @gateway_family: AF_INET, AF_INET6, or 0 when the peer is on the link
 * @gateway: next hop
 * @source: source of outer packets
 * @link_mtu: MTU of route or device in bytes
 * @mtu: MTU of the path in bytes
 * @expires: seconds until a path MTU that was learned is forgotten, 0 when none
 *	was
 */
struct xtun_path {
	int link;
	char name[IFNAMSIZ];
	bool loop;
	bool locked;
	u8 gateway_family;
	union nf_inet_addr gateway;
	union nf_inet_addr source;
	u32 link_mtu;
	u32 mtu;
	u32 expires;
};

/* route.c */
enum xtun_drop_reason xtun_route_find(struct xtun_cx *cx);
unsigned int xtun_dst_link_mtu6(const struct dst_entry *dst);
unsigned int xtun_route_link_mtu(const struct xtun_conf *conf);
int xtun_route_path(const struct xtun_conf *conf, u32 mark,
		    const union nf_inet_addr *peer, struct xtun_path *path);
u32 xtun_route_learn(const struct xtun_conf *conf, u32 mark,
		     const union nf_inet_addr *peer,
		     const union nf_inet_addr *from, u32 mtu);
bool xtun_route_locked(const struct xtun_conf *conf, u32 mark,
		       const union nf_inet_addr *peer);
void xtun_route_redirect(const struct xtun_conf *conf,
			 const struct sk_buff *skb);
bool xtun_route_has_local(const struct xtun_conf *conf);
bool xtun_route_is_own(const struct sk_buff *skb, u8 family,
		       const union nf_inet_addr *addr);

/**
 * xtun_dst_taught() - has the kernel learned another path MTU for a route?
 * @dst: the route of an outer packet
 *
 * It believes errors that quote any packet which this host might have sent, and all
 * of its users share what one of them has caused.
 *
 * Context: any, with a reference to @dst.
 * Return: whether it has; never for IPsec's, since what that adds only its own
 * route knows.
 */
static inline bool xtun_dst_taught(const struct dst_entry *dst)
{
	if (dst_xfrm(dst))
		return false;
	if (dst->ops->family == AF_INET)
		return container_of(dst, struct rtable, dst)->rt_pmtu;
	return container_of(dst, struct rt6_info, dst)->rt6i_flags & RTF_CACHE;
}

/**
 * xtun_dst_locked() - is the MTU of a route locked?
 * @dst: the route of an outer packet
 *
 * Context: any, with a reference to @dst.
 * Return: whether it is, so that nothing is learned and DF is not set.
 */
static inline bool xtun_dst_locked(const struct dst_entry *dst)
{
	return dst->ops->family == AF_INET &&
	       dst_metric_locked(dst, RTAX_MTU);
}

/* outer.c */
u16 xtun_outer_unique_id(const struct xtun_cx *cx);
void xtun_outer_udp_csum(const struct xtun_cx *cx);
bool xtun_outer_udp_csum_ok(struct sk_buff *skb, u8 family);
void xtun_outer_icmp_csum(const struct xtun_cx *cx);
bool xtun_outer_icmp_csum_ok(struct sk_buff *skb, u8 family);
bool xtun_outer_quote(struct sk_buff *skb, u8 family,
		      struct xtun_match *match, struct xtun_quote *quote);

/**
 * xtun_outer_port() - the port of a VRF that a received packet came through
 * @skb: packet on its way through the IP stack
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled.
 * Return: its ifindex, or 0 when the packet came through no VRF.
 */
static inline int xtun_outer_port(const struct sk_buff *skb, u8 family)
{
	return family == AF_INET ? inet_sdif(skb) : inet6_sdif(skb);
}

/* answer.c */
void xtun_answer(struct sock *sk, const struct xtun_stray *s);

#endif /* _XTUN_ROUTE_H */
