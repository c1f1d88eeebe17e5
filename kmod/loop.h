/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tunnels in tunnels: what most packets show at once, that they are in no other.
 */
#ifndef _XTUN_LOOP_H
#define _XTUN_LOOP_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/skbuff.h>
#include <net/ipv6.h>

#include "device.h"
#include "packet.h"
#include "port.h"
#include "wire.h"

/* loop.c */
bool xtun_came_back(const struct xtun_cx *cx);
bool xtun_too_deep_slow(struct sk_buff *skb, const struct xtun_dev *tun,
			unsigned int at, __be16 proto);

/* May what an IP header is followed by be for a tunnel at all? */
static inline bool xtun_nested_possible(const struct net *net, struct sk_buff *skb,
					unsigned int at, __be16 proto)
{
	u8 family = proto == htons(ETH_P_IP) ? AF_INET : AF_INET6, ipproto;
	const struct ipv6hdr *ip6h;
	const struct iphdr *iph;
	const struct udphdr *uh;

	if (!pskb_may_pull(skb, at + (family == AF_INET ? sizeof(*iph) : sizeof(*ip6h))))
		return false;
	if (family == AF_INET) {
		iph = (const struct iphdr *)(skb->data + at);
		ipproto = iph->protocol;
		at += iph->ihl * 4;
	} else {
		ip6h = (const struct ipv6hdr *)(skb->data + at);
		ipproto = ip6h->nexthdr;
		at += sizeof(*ip6h);
		if (ipv6_ext_hdr(ipproto))
			return true;
	}
	if (ipproto != IPPROTO_UDP)
		return xtun_wire_by_ipproto(ipproto);
	if (!xtun_udp_any(net, family) || !pskb_may_pull(skb, at + sizeof(*uh)))
		return false;
	uh = (const struct udphdr *)(skb->data + at);
	return xtun_udp_wire(net, family, uh->dest);
}

/**
 * xtun_too_deep() - would a received packet come out of too many tunnels?
 * @skb: the packet, which has come out of one; pulled, else untouched
 * @tun: that one
 * @at: bytes from its data to an IP header, if @proto is IP
 * @proto: ethertype of what is there
 *
 * Each of them is a way through the whole stack for one packet from the wire.
 *
 * Context: BH disabled, RCU.
 * Return: whether it would.
 */
static inline bool xtun_too_deep(struct sk_buff *skb, const struct xtun_dev *tun,
				 unsigned int at, __be16 proto)
{
	return (proto == htons(ETH_P_IP) || proto == htons(ETH_P_IPV6)) &&
	       unlikely(xtun_nested_possible(dev_net(tun->dev), skb, at, proto)) &&
	       xtun_too_deep_slow(skb, tun, at, proto);
}

#endif /* _XTUN_LOOP_H */
