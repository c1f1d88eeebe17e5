/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How an outer packet leaves this host: through the IP stack's output, or, where
 * nobody on that way would look at it, straight to the neighbour.
 */
#ifndef _XTUN_OUTPUT_H
#define _XTUN_OUTPUT_H

#include <linux/netfilter.h>
#include <net/arp.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/lwtunnel.h>
#include <net/ndisc.h>
#include <net/neighbour.h>
#include <net/route.h>
#include <net/sock.h>

#include "conf.h"
#include "device.h"
#include "packet.h"
#include "route.h"

/**
 * struct xtun_seen_hook - a hook that lets packets without a security mark pass unseen
 * @hook: address of the function, by family, or 0
 */
struct xtun_seen_hook {
	unsigned long hook[2];
};

/* AppArmor has it in each netns, for rules about those marks. */
extern struct xtun_seen_hook xtun_apparmor;

/* output.c */
int xtun_output_stack(struct xtun_cx *cx);
void xtun_output_init(void);

static inline struct nf_hook_entries *xtun_hooks(const struct net *net, u8 family,
						 unsigned int at)
{
	struct nf_hook_entries __rcu * const *hooks;

	hooks = family == AF_INET ? net->nf.hooks_ipv4 : net->nf.hooks_ipv6;
	return rcu_dereference_bh(hooks[at]);
}

static inline bool xtun_has_secmark(const struct sk_buff *skb)
{
#ifdef CONFIG_NETWORK_SECMARK
	return skb->secmark;
#else
	return false;
#endif
}

/**
 * xtun_output_hooked() - does anybody look at what a netns sends?
 * @net: the netns
 * @family: AF_INET or AF_INET6, of what it sends
 * @skb: a packet that becomes one of that
 *
 * Asked for each packet, so that a rule holds from the moment that it is there.
 *
 * Context: BH disabled.
 * Return: whether somebody does, who may refuse or change it.
 */
static inline bool xtun_output_hooked(const struct net *net, u8 family,
				      const struct sk_buff *skb)
{
	const struct nf_hook_entries *last = xtun_hooks(net, family, NF_INET_POST_ROUTING);

	if (unlikely(xtun_hooks(net, family, NF_INET_LOCAL_OUT)))
		return true;
	return last && (last->num_hook_entries != 1 || xtun_has_secmark(skb) ||
			(unsigned long)last->hooks[0].hook !=
			xtun_apparmor.hook[family == AF_INET6]);
}

/* Does IPv4 output do more with it than xtun_output_neigh4()? */
static inline bool xtun_output_plain4(const struct dst_entry *dst)
{
	return dst->output == ip_output &&
	       container_of(dst, struct rtable, dst)->rt_type == RTN_UNICAST;
}

/* And that of IPv6? */
static inline bool xtun_output_plain6(const struct dst_entry *dst, const struct in6_addr *daddr)
{
	const struct inet6_dev *idev = ip6_dst_idev((struct dst_entry *)dst);

	return dst->output == ip6_output && idev && !READ_ONCE(idev->cnf.disable_ipv6) &&
	       !ipv6_addr_is_multicast(daddr) &&
	       !(dst_metric_raw(dst, RTAX_FEATURES) & RTAX_FEATURE_ALLFRAG);
}

/*
 * Would the IP stack only hand the packet to its neighbour? It fits the path:
 * xtun_tx_fit() has seen to that, so nobody needs to ask the route for an MTU. IPsec
 * and what an encapsulating route does have another output function.
 */
static inline bool xtun_output_plain(const struct xtun_cx *cx)
{
	const struct dst_entry *dst = cx->dst;

	if (unlikely(cx->hooked || cx->outer_frag || dst->lwtstate ||
		     netif_is_l3_slave(dst->dev)))
		return false;
	if (cx->conf->p.family == AF_INET)
		return xtun_output_plain4(dst);
	return xtun_output_plain6(dst, &cx->daddr.in6);
}

static inline struct neighbour *xtun_output_neigh4(const struct xtun_cx *cx, bool *other)
{
	struct rtable *rt = container_of(cx->dst, struct rtable, dst);
	struct sk_buff *skb = cx->skb;
	struct iphdr *iph = ip_hdr(skb);

	xtun_count_out4(cx->tun->net, skb->len);
	iph_set_totlen(iph, skb->len);
	iph->check = 0;
	iph->check = ip_fast_csum(iph, sizeof(*iph) / 4);
	return ip_neigh_for_gw(rt, skb, other);
}

static inline struct neighbour *xtun_output_neigh6(const struct xtun_cx *cx)
{
	struct rt6_info *rt6 = container_of(cx->dst, struct rt6_info, dst);
	struct sk_buff *skb = cx->skb;
	unsigned int len = skb->len - sizeof(struct ipv6hdr);

	xtun_count_out6(cx->tun->net, ip6_dst_idev(cx->dst), skb->len);
	ipv6_hdr(skb)->payload_len = len > IPV6_MAXPLEN ? 0 : htons(len);
	return ip_neigh_gw6(cx->dst->dev, rt6_nexthop(rt6, &cx->daddr.in6));
}

/* Straight to the neighbour: what is left of IP's output once nobody looks. */
static inline int xtun_output_direct(struct xtun_cx *cx)
{
	bool v4 = cx->conf->p.family == AF_INET;
	struct sk_buff *skb = cx->skb;
	struct neighbour *neigh;
	/* Of an IPv6 gateway for IPv4, whose cached Ethernet header is another's. */
	bool other = false;
	int err;

	skb->protocol = v4 ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	skb->dev = cx->dst->dev;
	skb_dst_set(skb, cx->dst);

	rcu_read_lock();
	neigh = v4 ? xtun_output_neigh4(cx, &other) : xtun_output_neigh6(cx);
	if (IS_ERR(neigh)) {
		kfree_skb_reason(skb, SKB_DROP_REASON_NEIGH_CREATEFAIL);
		err = PTR_ERR(neigh);
	} else {
		sock_confirm_neigh(skb, neigh);
		err = neigh_output(neigh, skb, other);
	}
	rcu_read_unlock();
	return err;
}

/**
 * xtun_output() - send an outer packet
 * @cx: the packet, complete but for length and checksum of the IP header, which is
 *	its network header, with room for the link layer's; packet and route are
 *	consumed
 *
 * Context: BH disabled.
 * Return: 0, or an error of the underlay.
 */
static inline int xtun_output(struct xtun_cx *cx)
{
	int err;

	err = likely(xtun_output_plain(cx)) ? xtun_output_direct(cx) :
					      xtun_output_stack(cx);
	return net_xmit_eval(err);
}

#endif /* _XTUN_OUTPUT_H */
