// SPDX-License-Identifier: GPL-2.0
/*
 * Errors that senders of inner packets get.
 */
#include <linux/etherdevice.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/dst_metadata.h>
#include <net/icmp.h>
#include <net/inetpeer.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/route.h>

#include "conf.h"
#include "device.h"
#include "net.h"
#include "packet.h"

/* RFC 792 asks for 8 bytes, RFC 1812 section 4.3.2.3 for up to 576 in all. */
#define XTUN_ICMP4_MAX		576

/* RFC 791: every link carries this much. */
#define XTUN_MTU4_MIN		68

/* Type and code that a sender gets, by his family. */
struct xtun_icmp_form {
	u8 type;
	u8 code;
};

static const struct xtun_icmp_form xtun_icmp_forms_v4[] = {
	[XTUN_CLASS_NETWORK] = { ICMP_DEST_UNREACH, ICMP_NET_UNREACH },
	[XTUN_CLASS_HOST] = { ICMP_DEST_UNREACH, ICMP_HOST_UNREACH },
	[XTUN_CLASS_PROHIBITED_NET] = { ICMP_DEST_UNREACH, ICMP_NET_ANO },
	[XTUN_CLASS_PROHIBITED_HOST] = { ICMP_DEST_UNREACH, ICMP_HOST_ANO },
	[XTUN_CLASS_PROHIBITED] = { ICMP_DEST_UNREACH, ICMP_PKT_FILTERED },
	[XTUN_CLASS_TIME] = { ICMP_TIME_EXCEEDED, ICMP_EXC_TTL },
	[XTUN_CLASS_TOO_BIG] = { ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED },
};

static const struct xtun_icmp_form xtun_icmp_forms_v6[] = {
	[XTUN_CLASS_NETWORK] = { ICMPV6_DEST_UNREACH, ICMPV6_NOROUTE },
	[XTUN_CLASS_HOST] = { ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH },
	[XTUN_CLASS_PROHIBITED_NET] = { ICMPV6_DEST_UNREACH,
					ICMPV6_ADM_PROHIBITED },
	[XTUN_CLASS_PROHIBITED_HOST] = { ICMPV6_DEST_UNREACH,
					 ICMPV6_ADM_PROHIBITED },
	[XTUN_CLASS_PROHIBITED] = { ICMPV6_DEST_UNREACH, ICMPV6_ADM_PROHIBITED },
	[XTUN_CLASS_TIME] = { ICMPV6_TIME_EXCEED, ICMPV6_EXC_HOPLIMIT },
	[XTUN_CLASS_TOO_BIG] = { ICMPV6_PKT_TOOBIG, 0 },
};

/* Is the inner packet one that must not be answered (RFC 1122 3.2.2)? */
static bool xtun_mute4(const struct sk_buff *skb)
{
	const struct iphdr *iph = ip_hdr(skb);
	struct icmphdr buf;
	const struct icmphdr *icmph;

	if (iph->frag_off & htons(IP_OFFSET) ||
	    ipv4_is_zeronet(iph->saddr) || ipv4_is_lbcast(iph->saddr) ||
	    ipv4_is_multicast(iph->saddr) || ipv4_is_zeronet(iph->daddr) ||
	    ipv4_is_lbcast(iph->daddr) || ipv4_is_multicast(iph->daddr))
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

	if (ipv6_addr_any(&ip6h->saddr) || ipv6_addr_any(&ip6h->daddr) ||
	    ipv6_addr_is_multicast(&ip6h->saddr) ||
	    ipv6_addr_is_multicast(&ip6h->daddr))
		return true;
	if (nexthdr == NEXTHDR_NONE)
		return false;
	at = ipv6_skip_exthdr(skb, skb_network_offset(skb) + sizeof(*ip6h),
			      &nexthdr, &frag);
	if (at < 0 || frag & htons(IP6_OFFSET))
		return true;
	if (nexthdr != IPPROTO_ICMPV6)
		return false;
	type = skb_header_pointer(skb, at, sizeof(buf), &buf);
	return !type || !(*type & ICMPV6_INFOMSG_MASK);
}

/*
 * Does the sender get his errors in frames? Not if this host's IP stack has made the
 * frame, for a route into this device.
 */
static bool xtun_in_frame(const struct xtun_cx *cx)
{
	return cx->conf->p.payload == XTUN_PAYLOAD_ETH &&
	       !ether_addr_equal(eth_hdr(cx->skb)->h_source,
				 cx->tun->dev->dev_addr);
}

/* Is an address the broadcast of a network that this host is in? */
static bool xtun_is_broadcast(const struct xtun_cx *cx, __be32 addr)
{
	const struct net_device *dev = cx->tun->dev;

	return inet_addr_type_dev_table(dev_net(dev), dev, addr) ==
	       RTN_BROADCAST;
}

/* Must nobody be told? @in_frame: as xtun_in_frame() has it. */
static bool xtun_mute(const struct xtun_cx *cx, bool in_frame)
{
	if (cx->proto == htons(ETH_P_IP) ? xtun_mute4(cx->skb) :
	    cx->proto != htons(ETH_P_IPV6) || xtun_mute6(cx->skb))
		return true;
	if (in_frame)
		return is_multicast_ether_addr(eth_hdr(cx->skb)->h_dest) ||
		       is_multicast_ether_addr(eth_hdr(cx->skb)->h_source);
	return cx->proto == htons(ETH_P_IP) &&
	       (xtun_is_broadcast(cx, ip_hdr(cx->skb)->saddr) ||
		xtun_is_broadcast(cx, ip_hdr(cx->skb)->daddr));
}

static void xtun_fill_error4(struct sk_buff *err, const struct sk_buff *skb,
			     const struct xtun_icmp_form *as, u32 mtu)
{
	const struct iphdr *inner = ip_hdr(skb);
	unsigned int len = err->len;
	struct icmphdr *icmph;
	struct iphdr *iph;

	icmph = skb_push(err, sizeof(*icmph));
	memset(icmph, 0, sizeof(*icmph));
	icmph->type = as->type;
	icmph->code = as->code;
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
			     const struct xtun_icmp_form *as, u32 mtu)
{
	const struct ipv6hdr *inner = ipv6_hdr(skb);
	unsigned int len = err->len;
	struct icmp6hdr *icmph;
	struct ipv6hdr *ip6h;

	icmph = skb_push(err, sizeof(*icmph));
	memset(icmph, 0, sizeof(*icmph));
	icmph->icmp6_type = as->type;
	icmph->icmp6_code = as->code;
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

static bool xtun_host_allowed(struct net_device *dev, u8 family,
			      union nf_inet_addr to)
{
	struct net *net = dev_net(dev);
	struct xtun_hosts *hosts = &xtun_net(net)->hosts;
	struct inetpeer_addr host;

	if (family == AF_INET) {
		inetpeer_set_addr_v4(&host, to.ip);
		host.a4.vif = l3mdev_master_ifindex(dev);
		return xtun_inetpeer_allows(hosts, net->ipv4.peers, &host,
					    READ_ONCE(net->ipv4.sysctl_icmp_ratelimit));
	}
	inetpeer_set_addr_v6(&host, &to.in6);
	return xtun_inetpeer_allows(hosts, net->ipv6.peers, &host,
				    READ_ONCE(net->ipv6.sysctl.icmpv6_time));
}

/**
 * xtun_icmp_allowed() - may one more error be sent?
 * @dev: device that it leaves by
 * @family: AF_INET or AF_INET6
 * @to: whom it is for
 *
 * The stack's own limits, of all errors and of those to one host, in its order
 * (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f). What is allowed counts.
 *
 * Context: BH disabled, RCU.
 * Return: whether it may.
 */
bool xtun_icmp_allowed(struct net_device *dev, u8 family,
		       union nf_inet_addr to)
{
	struct net *net = dev_net(dev);

	if (!xtun_icmp_global_allow(net) || !xtun_host_allowed(dev, family, to))
		return false;
	xtun_icmp_global_consume(net);
	return true;
}

/* As the host's own errors: only some types are limited. */
static bool xtun_frame_allowed(const struct xtun_cx *cx, u8 type)
{
	struct net_device *dev = cx->tun->dev;
	const struct net *net = dev_net(dev);
	union nf_inet_addr to = {};

	if (cx->proto == htons(ETH_P_IP)) {
		if (!(BIT(type) & READ_ONCE(net->ipv4.sysctl_icmp_ratemask)))
			return true;
		to.ip = ip_hdr(cx->skb)->saddr;
		return xtun_icmp_allowed(dev, AF_INET, to);
	}
	if (!test_bit(type, net->ipv6.sysctl.icmpv6_ratemask))
		return true;
	to.in6 = ipv6_hdr(cx->skb)->saddr;
	return xtun_icmp_allowed(dev, AF_INET6, to);
}

/*
 * A frame's sender may be behind a bridge without any address: he gets a frame
 * back out of the tunnel, as if the destination had sent it.
 */
static void xtun_icmp_send_frame(const struct xtun_cx *cx,
				 const struct xtun_icmp_form *as, u32 mtu)
{
	bool v4 = cx->proto == htons(ETH_P_IP);
	unsigned int headers = v4 ? sizeof(struct iphdr) +
				    sizeof(struct icmphdr) :
				    sizeof(struct ipv6hdr) +
				    sizeof(struct icmp6hdr);
	unsigned int most = (v4 ? XTUN_ICMP4_MAX : IPV6_MIN_MTU) - headers;
	unsigned int len = min(cx->skb->len - cx->l3_off, most);
	struct sk_buff *err;

	/* RFC 4443 section 2.4 f; too-bigs are not limited by anybody. */
	if (!mtu && !xtun_frame_allowed(cx, as->type))
		return;
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
		xtun_fill_error4(err, cx->skb, as, mtu);
	else
		xtun_fill_error6(err, cx->skb, as, mtu);
	xtun_turn_l2(err, cx->skb, cx->l3_off);
	/* It comes out of the tunnel, but no outer packet has brought it. */
	err->mark = cx->conf->p.mark_in;
	err->protocol = eth_type_trans(err, cx->tun->dev);
	netif_rx(err);
}

/* The stack answers only what has a route; a quote, or a raw frame, has none. */
static bool xtun_have_route(const struct xtun_cx *cx)
{
	struct net_device *dev = cx->tun->dev;
	struct flowi4 fl4 = {
		.daddr = ip_hdr(cx->skb)->daddr,
		.flowi4_oif = dev->ifindex,
	};
	struct rtable *rt;

	if (skb_valid_dst(cx->skb) &&
	    skb_dst(cx->skb)->ops->family == AF_INET)
		return true;
	rt = ip_route_output_key(dev_net(dev), &fl4);
	if (IS_ERR(rt))
		return false;
	skb_dst_drop(cx->skb);
	skb_dst_set(cx->skb, &rt->dst);
	return true;
}

/* The stack chooses the path of an error by an ICMPv6 header that it expects at
 * the transport header, which what comes from a quote does not have.
 */
static void xtun_have_transport(struct sk_buff *skb)
{
	if (!skb_transport_header_was_set(skb))
		skb_set_transport_header(skb, skb_network_offset(skb) +
					      sizeof(struct ipv6hdr));
}

/*
 * The error goes to the source that the packet has here. If that is not who has
 * sent it, because of NAT on the way to this device, the error's own way out
 * through connection tracking leads it, and what it quotes, back to him.
 */
static void xtun_icmp_send_routed(const struct xtun_cx *cx,
				  const struct xtun_icmp_form *as, u32 mtu)
{
	struct inet6_skb_parm parm6 = {};
	struct inet_skb_parm parm4 = {};

	if (cx->proto == htons(ETH_P_IPV6)) {
		xtun_have_transport(cx->skb);
		if (ipv6_mod_enabled())
			icmp6_send(cx->skb, as->type, as->code, mtu, NULL,
				   &parm6);
	} else if (xtun_have_route(cx)) {
		xtun_compat_icmp_send(cx->skb, as->type, as->code, htonl(mtu), &parm4);
	}
}

/* The least MTU that a host has to believe, RFC 791 and RFC 8200. */
static u32 xtun_icmp_mtu(const struct xtun_cx *cx, u32 mtu)
{
	return max_t(u32, mtu, cx->proto == htons(ETH_P_IP) ? XTUN_MTU4_MIN :
							      IPV6_MIN_MTU);
}

/**
 * xtun_icmp_class_told() - what a tunnel's senders are told of an error
 * @conf: the tunnel's configuration
 * @class: what the error says
 *
 * With icmp-relay strict the tunnel is one hop, on which no time runs out: RFC
 * 2003 section 4, RFC 2473 section 8.
 *
 * Context: any.
 * Return: its class for them.
 */
enum xtun_icmp_class xtun_icmp_class_told(const struct xtun_conf *conf, enum xtun_icmp_class class)
{
	if (class == XTUN_CLASS_TIME &&
	    conf->p.icmp_relay == XTUN_ICMP_RELAY_STRICT)
		return XTUN_CLASS_HOST;
	return class;
}

/**
 * xtun_icmp_send() - tell the sender of an inner packet what is wrong with it
 * @cx: the packet, classified, its network header the inner one
 * @class: what, one that senders are told
 * @mtu: with %XTUN_CLASS_TOO_BIG what fits, in bytes of inner IP packet; else 0
 *
 * Context: BH disabled.
 * Return: false when he may not be told (RFC 1122 section 3.2.2, RFC 4443
 * section 2.4 e, and whoever has not sent it into this tunnel).
 */
bool xtun_icmp_send(const struct xtun_cx *cx, enum xtun_icmp_class class, u32 mtu)
{
	const struct xtun_icmp_form *as;
	bool in_frame = xtun_in_frame(cx);

	if (!cx->routed || xtun_mute(cx, in_frame))
		return false;

	class = xtun_icmp_class_told(cx->conf, class);
	as = cx->proto == htons(ETH_P_IP) ? &xtun_icmp_forms_v4[class] :
					    &xtun_icmp_forms_v6[class];
	if (class == XTUN_CLASS_TOO_BIG)
		mtu = xtun_icmp_mtu(cx, mtu);
	if (in_frame)
		xtun_icmp_send_frame(cx, as, mtu);
	else
		xtun_icmp_send_routed(cx, as, mtu);
	return true;
}

/*
 * A sender on this host, who shares its routes, need not rely on an error to
 * learn the path MTU: none is sent while ICMP itself is at work on this
 * processor, and none arrives where lo is down. For others routes are not to be
 * changed: whoever is behind this host may be anybody.
 */
static void xtun_teach_local(const struct xtun_cx *cx, u32 mtu)
{
	struct sk_buff *skb = cx->skb;
	u16 family = cx->proto == htons(ETH_P_IP) ? AF_INET : AF_INET6;

	if (!cx->routed || skb->skb_iif || xtun_in_frame(cx) || !skb_valid_dst(skb) ||
	    skb_dst(skb)->ops->family != family)
		return;
	skb_dst_update_pmtu_no_confirm(skb, mtu);
}

/**
 * xtun_drop_icmp() - drop an inner packet, and tell its sender why
 * @cx: the packet, consumed, classified, its network header the inner one
 * @reason: what it is counted as
 * @class: what its sender is told, if he may be told anything
 *
 * Context: BH disabled.
 * Return: always -EINVAL.
 */
int xtun_drop_icmp(const struct xtun_cx *cx, enum xtun_drop_reason reason,
		   enum xtun_icmp_class class)
{
	xtun_icmp_send(cx, class, 0);
	return xtun_drop(cx->tun, cx->skb, reason);
}

/**
 * xtun_icmp_send_kept() - tell the sender of an inner packet that is gone
 * @cx: what is known of it, without the packet itself
 * @data: the beginning of its payload
 * @len: bytes of that
 * @class: what its sender is told, if he may be told anything
 *
 * Context: BH disabled.
 */
void xtun_icmp_send_kept(const struct xtun_cx *cx, const void *data,
			 unsigned int len, enum xtun_icmp_class class)
{
	struct xtun_cx kept = *cx;

	if (!cx->routed || len < cx->l3_off + sizeof(struct iphdr))
		return;
	kept.skb = alloc_skb(len, GFP_ATOMIC);
	if (!kept.skb)
		return;
	skb_put_data(kept.skb, data, len);
	kept.skb->dev = cx->tun->dev;
	kept.skb->protocol = cx->proto;
	skb_reset_mac_header(kept.skb);
	skb_set_network_header(kept.skb, cx->l3_off);
	xtun_icmp_send(&kept, class, 0);
	consume_skb(kept.skb);
}

/**
 * xtun_drop_too_big() - drop an inner packet that does not fit; tell its sender
 * @cx: an IP packet, consumed; the route stays
 * @mtu: what fits, in bytes of inner IP packet
 *
 * Context: BH disabled.
 * Return: always -EINVAL.
 */
int xtun_drop_too_big(const struct xtun_cx *cx, u32 mtu)
{
	xtun_teach_local(cx, xtun_icmp_mtu(cx, mtu));
	xtun_icmp_send(cx, XTUN_CLASS_TOO_BIG, mtu);
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
	xtun_have_transport(cx->skb);
	if (cx->routed)
		icmpv6_ndo_send(cx->skb, ICMPV6_PARAMPROB, ICMPV6_HDR_FIELD, offset);
	return xtun_drop(cx->tun, cx->skb, XTUN_TX_ENCAP_LIMIT);
}
