// SPDX-License-Identifier: GPL-2.0
/*
 * The way back: errors about outer packets, and errors that senders of inner
 * packets get.
 */
#include <linux/etherdevice.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/dst_metadata.h>
#include <net/icmp.h>
#include <net/ip6_checksum.h>
#include <net/ipv6.h>

#include "xtun.h"

/* RFC 792 asks for 8 bytes, RFC 1812 section 4.3.2.3 for up to 576 in all. */
#define XTUN_ICMP4_MAX		576

/* Is the inner packet one that must not be answered (RFC 1122 3.2.2)? */
static bool xtun_mute4(const struct sk_buff *skb)
{
	const struct iphdr *iph = ip_hdr(skb);
	struct icmphdr buf;
	const struct icmphdr *icmph;

	if (iph->frag_off & htons(IP_OFFSET) ||
	    ipv4_is_zeronet(iph->saddr) || ipv4_is_lbcast(iph->saddr) ||
	    ipv4_is_multicast(iph->saddr) || ipv4_is_multicast(iph->daddr) ||
	    ipv4_is_lbcast(iph->daddr))
		return true;
	if (iph->protocol != IPPROTO_ICMP)
		return false;
	icmph = skb_header_pointer(skb, skb_network_offset(skb) + iph->ihl * 4,
				   sizeof(buf), &buf);
	return !icmph || icmp_is_err(icmph->type);
}

/* RFC 4443 section 2.4 e; who answers for a group has no address to do so. */
static bool xtun_mute6(const struct sk_buff *skb)
{
	const struct ipv6hdr *ip6h = ipv6_hdr(skb);
	u8 nexthdr = ip6h->nexthdr, buf;
	const u8 *type;
	__be16 frag;
	int at;

	if (ipv6_addr_any(&ip6h->saddr) ||
	    ipv6_addr_is_multicast(&ip6h->saddr) ||
	    ipv6_addr_is_multicast(&ip6h->daddr))
		return true;
	at = ipv6_skip_exthdr(skb, skb_network_offset(skb) + sizeof(*ip6h),
			      &nexthdr, &frag);
	if (at < 0 || frag & htons(IP6_OFFSET))
		return true;
	if (nexthdr != IPPROTO_ICMPV6)
		return false;
	type = skb_header_pointer(skb, at, sizeof(buf), &buf);
	return !type || !(*type & ICMPV6_INFOMSG_MASK);
}

static void xtun_fill_error4(struct sk_buff *err, const struct sk_buff *skb,
			     u32 mtu)
{
	const struct iphdr *inner = ip_hdr(skb);
	unsigned int len = err->len;
	struct icmphdr *icmph;
	struct iphdr *iph;

	icmph = skb_push(err, sizeof(*icmph));
	memset(icmph, 0, sizeof(*icmph));
	icmph->type = ICMP_DEST_UNREACH;
	icmph->code = ICMP_FRAG_NEEDED;
	icmph->un.frag.mtu = htons(mtu);
	icmph->checksum = csum_fold(csum_partial(icmph, len + sizeof(*icmph),
						 0));

	iph = skb_push(err, sizeof(*iph));
	skb_reset_network_header(err);
	memset(iph, 0, sizeof(*iph));
	iph->version = 4;
	iph->ihl = sizeof(*iph) / 4;
	iph->tos = (inner->tos & IPTOS_TOS_MASK) | IPTOS_PREC_INTERNETCONTROL;
	iph->tot_len = htons(err->len);
	iph->frag_off = htons(IP_DF);
	iph->ttl = IPDEFTTL;
	iph->protocol = IPPROTO_ICMP;
	iph->saddr = inner->daddr;
	iph->daddr = inner->saddr;
	ip_send_check(iph);
}

static void xtun_fill_error6(struct sk_buff *err, const struct sk_buff *skb,
			     u32 mtu)
{
	const struct ipv6hdr *inner = ipv6_hdr(skb);
	unsigned int len = err->len;
	struct icmp6hdr *icmph;
	struct ipv6hdr *ip6h;

	icmph = skb_push(err, sizeof(*icmph));
	memset(icmph, 0, sizeof(*icmph));
	icmph->icmp6_type = ICMPV6_PKT_TOOBIG;
	icmph->icmp6_mtu = htonl(mtu);
	len += sizeof(*icmph);
	icmph->icmp6_cksum = csum_ipv6_magic(&inner->daddr, &inner->saddr, len,
					     IPPROTO_ICMPV6,
					     csum_partial(icmph, len, 0));

	ip6h = skb_push(err, sizeof(*ip6h));
	skb_reset_network_header(err);
	ip6_flow_hdr(ip6h, 0, 0);
	ip6h->payload_len = htons(len);
	ip6h->nexthdr = IPPROTO_ICMPV6;
	ip6h->hop_limit = IPDEFTTL;
	ip6h->saddr = inner->daddr;
	ip6h->daddr = inner->saddr;
}

/* The Ethernet header of the frame, tags and all, turned round. */
static void xtun_turn_l2(struct sk_buff *err, const struct sk_buff *skb,
			 unsigned int len)
{
	struct ethhdr *eth = skb_push(err, len);

	memcpy(eth, skb_mac_header(skb), len);
	memcpy(eth->h_dest, eth_hdr(skb)->h_source, ETH_ALEN);
	memcpy(eth->h_source, eth_hdr(skb)->h_dest, ETH_ALEN);
}

/*
 * A frame's sender may be behind a bridge without any address: he gets a frame
 * back out of the tunnel, as if the destination had sent it.
 */
static void xtun_too_big_frame(const struct xtun_cx *cx, u32 mtu)
{
	bool v4 = cx->proto == htons(ETH_P_IP);
	unsigned int headers = v4 ? sizeof(struct iphdr) +
				    sizeof(struct icmphdr) :
				    sizeof(struct ipv6hdr) +
				    sizeof(struct icmp6hdr);
	unsigned int most = (v4 ? XTUN_ICMP4_MAX : IPV6_MIN_MTU) - headers;
	unsigned int len = min(cx->skb->len - cx->l3_off, most);
	struct sk_buff *err;

	err = netdev_alloc_skb(cx->tun->dev,
			       NET_IP_ALIGN + cx->l3_off + headers + len);
	if (!err)
		return;
	skb_reserve(err, NET_IP_ALIGN + cx->l3_off + headers);
	if (skb_copy_bits(cx->skb, cx->l3_off, skb_put(err, len), len)) {
		kfree_skb(err);
		return;
	}

	if (v4)
		xtun_fill_error4(err, cx->skb, mtu);
	else
		xtun_fill_error6(err, cx->skb, mtu);
	xtun_turn_l2(err, cx->skb, cx->l3_off);
	err->protocol = eth_type_trans(err, cx->tun->dev);
	netif_rx(err);
}

/* Did the IP stack route the packet into this device? */
static bool xtun_was_routed(const struct xtun_cx *cx)
{
	return skb_valid_dst(cx->skb) &&
	       skb_dst(cx->skb)->dev == cx->tun->dev;
}

static void xtun_tell_too_big(const struct xtun_cx *cx, u32 mtu)
{
	bool v4 = cx->proto == htons(ETH_P_IP);

	if (cx->conf->p.payload == XTUN_PAYLOAD_ETH && !xtun_was_routed(cx)) {
		if (!is_multicast_ether_addr(eth_hdr(cx->skb)->h_dest) &&
		    !(v4 ? xtun_mute4(cx->skb) : xtun_mute6(cx->skb)))
			xtun_too_big_frame(cx, mtu);
	} else if (v4) {
		icmp_ndo_send(cx->skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED,
			      htonl(mtu));
	} else if (ipv6_mod_enabled()) {
		icmpv6_ndo_send(cx->skb, ICMPV6_PKT_TOOBIG, 0, mtu);
	}
}

/**
 * xtun_drop_too_big() - drop an inner packet that does not fit; tell its sender
 * @cx: the packet, consumed; the route stays
 * @mtu: what fits, in bytes of inner IP packet
 *
 * Context: BH disabled.
 * Return: always -EINVAL.
 */
int xtun_drop_too_big(const struct xtun_cx *cx, u32 mtu)
{
	xtun_tell_too_big(cx, mtu);
	return xtun_drop(cx->tun, cx->skb, XTUN_TX_TOO_BIG);
}

/**
 * xtun_drop_encap_limit() - drop an inner packet that may enter no more tunnels
 * @cx: an IPv6 packet, consumed
 * @offset: bytes from its IPv6 header to the limit, which is zero
 *
 * RFC 2473 section 4.1.1 a: the sender gets a parameter problem.
 *
 * Context: BH disabled.
 * Return: always -EINVAL.
 */
int xtun_drop_encap_limit(const struct xtun_cx *cx, unsigned int offset)
{
	icmpv6_ndo_send(cx->skb, ICMPV6_PARAMPROB, ICMPV6_HDR_FIELD, offset);
	return xtun_drop(cx->tun, cx->skb, XTUN_TX_ENCAP_LIMIT);
}

static bool xtun_is_too_big(u8 family, u8 type, u8 code)
{
	if (family == AF_INET)
		return type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED;
	return type == ICMPV6_PKT_TOOBIG;
}

/**
 * xtun_err() - an ICMP error about an outer packet has come
 * @skb: the error, its data at the quoted outer header
 * @carrier: what brings it
 * @family: AF_INET or AF_INET6, of the underlay
 * @type: ICMP or ICMPv6 type
 * @code: its code
 * @info: path MTU in bytes, if the error is about one
 *
 * A packet-too-big is believed when the quoted packet is one that this tunnel
 * sends and is longer than the MTU that is said to be too small for it.
 *
 * Context: BH disabled, RCU.
 * Return: true when the quoted packet is one of a tunnel of ours.
 */
bool xtun_err(struct sk_buff *skb, const struct xtun_carrier *carrier,
	      u8 family, u8 type, u8 code, u32 info)
{
	struct xtun_match match = { .net = dev_net(skb->dev) };
	const struct xtun_wire *wire;
	struct xtun_conf *conf;
	struct xtun_hdr h = {};
	unsigned int at, len;
	u8 ipproto;

	if (!xtun_route_quote(skb, family, &match, &at, &len, &ipproto))
		return false;
	wire = xtun_wire_by_ipproto(ipproto);
	if (!wire || wire->carrier != carrier || at > skb->len)
		return false;

	match.wire = wire->id;
	if (!pskb_may_pull(skb, at + min_t(unsigned int, skb->len - at,
					   wire->hdr_max)))
		return false;
	/* A quote may end anywhere; what counts is whether a key was read. */
	wire->parse(skb->data + at, skb_headlen(skb) - at, ipproto, &h);
	conf = xtun_lookup_sent(&match, &h, skb);
	if (!conf)
		return false;

	if (xtun_is_too_big(family, type, code) && info && len > info)
		xtun_route_learn(conf, skb, info);
	return true;
}
