// SPDX-License-Identifier: GPL-2.0
/*
 * Answers on a port that tunnels hold, to packets that none of them has taken.
 */
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/inet_ecn.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/route.h>
#include <net/udp_tunnel.h>

#include "outer.h"
#include "packet.h"
#include "route.h"
#include "wire.h"

/* Headers before the answer to a packet. */
#define XTUN_ANSWER_ROOM	(LL_MAX_HEADER + sizeof(struct ipv6hdr) + \
				 sizeof(struct udphdr))

static bool xtun_answer4(struct sock *sk, const struct xtun_stray *s,
			 struct sk_buff *skb)
{
	u8 tos = ip_hdr(s->skb)->tos & ~INET_ECN_MASK;
	struct net *net = sock_net(sk);
	struct flowi4 fl4 = {
		.daddr = s->match.remote.ip,
		.saddr = s->match.local.ip,
		.flowi4_oif = l3mdev_master_ifindex(s->skb->dev),
		.flowi4_mark = IP4_REPLY_MARK(net, s->skb->mark),
		.flowi4_proto = IPPROTO_UDP,
		.fl4_sport = s->match.port,
		.fl4_dport = s->port,
	};
	struct rtable *rt;

	xtun_flowi4_set_tos(&fl4, tos);
	rt = ip_route_output_flow(net, &fl4, NULL);
	if (IS_ERR(rt))
		return false;
	skb->mark = fl4.flowi4_mark;
	xtun_udp4_send(rt, sk, skb, &fl4, tos, ip4_dst_hoplimit(&rt->dst));
	return true;
}

static bool xtun_answer6(struct sock *sk, const struct xtun_stray *s,
			 struct sk_buff *skb)
{
	u8 tos = ipv6_get_dsfield(ipv6_hdr(s->skb)) & ~INET_ECN_MASK;
	struct net *net = sock_net(sk);
	struct flowi6 fl6 = {
		.daddr = s->match.remote.in6,
		.saddr = s->match.local.in6,
		.flowi6_oif = l3mdev_master_ifindex(s->skb->dev),
		.flowi6_mark = IP6_REPLY_MARK(net, s->skb->mark),
		.flowi6_proto = IPPROTO_UDP,
		.flowlabel = ip6_make_flowinfo(tos, 0),
		.fl6_sport = s->match.port,
		.fl6_dport = s->port,
	};
	struct dst_entry *dst;

	if (ipv6_addr_type(&fl6.daddr) & IPV6_ADDR_LINKLOCAL)
		fl6.flowi6_oif = inet6_iif(s->skb);
	dst = ip6_dst_lookup_flow(net, NULL, &fl6, NULL);
	if (IS_ERR(dst))
		return false;
	skb->mark = fl6.flowi6_mark;
	xtun_udp6_send(dst, sk, skb, &fl6, tos, ip6_dst_hoplimit(dst));
	return true;
}

/**
 * xtun_answer() - answer a packet on a port of tunnels
 * @sk: socket that holds the port
 * @s: the packet and its answer
 *
 * Context: BH disabled, RCU.
 */
void xtun_answer(struct sock *sk, const struct xtun_stray *s)
{
	u8 family = s->match.family;
	struct sk_buff *skb;

	if (!xtun_outer_for_one(s->skb, family) ||
	    (s->limited &&
	     !xtun_icmp_allowed(s->skb->dev, family, s->match.remote)))
		return;
	skb = alloc_skb(XTUN_ANSWER_ROOM + s->answer_len, GFP_ATOMIC);
	if (!skb)
		return;
	skb_reserve(skb, XTUN_ANSWER_ROOM);
	skb_put_data(skb, s->answer, s->answer_len);
	if (!(family == AF_INET ? xtun_answer4(sk, s, skb) :
				  xtun_answer6(sk, s, skb)))
		kfree_skb(skb);
}
