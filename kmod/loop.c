// SPDX-License-Identifier: GPL-2.0
/*
 * Tunnels in tunnels: those whose routes lead into each other, which the packet
 * itself tells, and those that a packet on its way in comes out of one by one.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/skbuff.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>

#include "conf.h"
#include "device.h"
#include "loop.h"
#include "packet.h"
#include "port.h"
#include "route.h"
#include "wire.h"
#include "wire_read.h"

/* Tunnels in tunnels that are looked into. */
#define XTUN_LOOP_LEVELS	8

/*
 * Reads the outer packet at the data, which this host sends, or takes in; @match has
 * the netns. Returns the form of its header, or NULL when it is none of xtun's.
 */
static const struct xtun_wire *xtun_level_read(struct sk_buff *skb, u8 family,
					       bool sent,
					       struct xtun_match *match,
					       struct xtun_quote *quote,
					       struct xtun_hdr *h)
{
	const struct xtun_wire *wire;

	if (!xtun_outer_quote(skb, family, match, quote) ||
	    quote->at > skb->len)
		return NULL;
	if (!sent)
		swap(match->local, match->remote);
	wire = xtun_wire_find(skb, quote->at, quote->ipproto, sent, match);
	if (!wire || xtun_wire_parse(wire, skb, quote->at,
				     skb->len - quote->at, quote->ipproto, h))
		return NULL;
	return wire;
}

/* Reads one outer packet at the data; returns where what it carries begins. */
static unsigned int xtun_loop_level(const struct xtun_cx *cx, bool *own)
{
	const struct xtun_conf *conf = cx->conf, *sender;
	struct sk_buff *skb = cx->skb;
	struct xtun_match match = { .net = cx->tun->net };
	const struct xtun_wire *wire;
	struct xtun_quote quote;
	struct xtun_hdr h;
	unsigned int at;
	u8 family;

	if (!pskb_may_pull(skb, 1))
		return 0;
	family = *skb->data >> 4 == 4 ? AF_INET : AF_INET6;
	wire = xtun_level_read(skb, family, true, &match, &quote, &h);
	if (!wire)
		return 0;
	at = quote.at;

	*own = family == conf->p.family && wire == conf->ops->wire &&
	       match.port == conf->sent_port &&
	       nf_inet_addr_cmp(&match.local, &cx->saddr) &&
	       nf_inet_addr_cmp(&match.remote, &cx->daddr) &&
	       xtun_lookup_sends(conf, &h);
	/* Only the tunnel that has sent such a header can tell the rest of it. */
	if (wire->parse_conf) {
		sender = xtun_lookup_sender(&match, &h, NULL, NULL);
		if (!sender || xtun_wire_parse_conf(sender, skb, at, skb->len - at,
						    true, &h))
			return 0;
	}
	at += h.len + (h.payload == XTUN_PAYLOAD_ETH ? ETH_HLEN : 0);
	return pskb_may_pull(skb, at) ? at : 0;
}

/**
 * xtun_came_back() - is there an outer packet of the tunnel in an inner one?
 * @cx: the inner packet, its network header set, with peer and source
 *
 * However it has come back: through other tunnels, bridges, queues.
 *
 * Context: BH disabled.
 * Return: whether there is.
 */
bool xtun_came_back(const struct xtun_cx *cx)
{
	unsigned int level, at = cx->l3_off, pulled = 0;
	bool own = false;

	for (level = 0; level < XTUN_LOOP_LEVELS && !own; level++) {
		__skb_pull(cx->skb, at);
		pulled += at;
		at = xtun_loop_level(cx, &own);
		if (!at)
			break;
	}
	__skb_push(cx->skb, pulled);
	return own;
}

/*
 * The tunnel that the IP packet at the data is for, if it is for one; leaves in
 * @at where what it carries begins, and in @proto what that is.
 */
static const struct xtun_conf *xtun_nested_in(struct net *net,
					      struct sk_buff *skb,
					      unsigned int *at, __be16 *proto)
{
	u8 family = *proto == htons(ETH_P_IP) ? AF_INET : AF_INET6;
	struct xtun_match match = { .net = net };
	const struct xtun_wire *wire;
	const struct xtun_conf *conf;
	struct xtun_quote quote;
	struct xtun_hdr h;

	wire = xtun_level_read(skb, family, false, &match, &quote, &h);
	if (!wire)
		return NULL;
	conf = xtun_lookup(&match, &h, skb);
	if (!conf && netif_is_l3_slave(skb->dev)) {
		/* As with what comes through the port of a VRF. */
		skb->dev = l3mdev_master_dev_rcu(skb->dev);
		conf = skb->dev ? xtun_lookup(&match, &h, skb) : NULL;
	}
	if (!conf || (wire->parse_conf &&
		      xtun_wire_parse_conf(conf, skb, quote.at, skb->len - quote.at,
					   false, &h)))
		return NULL;
	*at = quote.at + h.len;
	*proto = h.proto;
	if (h.payload == XTUN_PAYLOAD_ETH && pskb_may_pull(skb, *at + ETH_HLEN)) {
		*proto = ((struct ethhdr *)(skb->data + *at))->h_proto;
		*at += ETH_HLEN;
	}
	return conf;
}

/**
 * xtun_too_deep_slow() - would a received packet come out of too many tunnels?
 * @skb: the packet, which has come out of one; pulled, else untouched
 * @tun: that one
 * @at: bytes from its data to an IP header
 * @proto: ethertype of what is there
 *
 * Context: BH disabled, RCU.
 * Return: whether it would.
 */
bool xtun_too_deep_slow(struct sk_buff *skb, const struct xtun_dev *tun,
			unsigned int at, __be16 proto)
{
	struct net *net = dev_net(tun->dev);
	struct net_device *dev = skb->dev;
	const struct xtun_conf *conf;
	unsigned int level = 0, pulled = 0;

	while (level < XTUN_LOOP_LEVELS &&
	       (proto == htons(ETH_P_IP) || proto == htons(ETH_P_IPV6)) &&
	       xtun_nested_possible(net, skb, at, proto)) {
		if (!pskb_may_pull(skb, at))
			break;
		__skb_pull(skb, at);
		pulled += at;
		conf = xtun_nested_in(net, skb, &at, &proto);
		if (!conf)
			break;
		skb->dev = conf->tun->dev;
		net = dev_net(skb->dev);
		level++;
	}
	__skb_push(skb, pulled);
	skb->dev = dev;
	return level == XTUN_LOOP_LEVELS;
}
