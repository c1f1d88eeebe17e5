// SPDX-License-Identifier: GPL-2.0
/*
 * The outer IP header: written before a packet that leaves, read off one that
 * arrives, and in what an ICMP error quotes; and the checksums that cover it.
 */
#include <linux/icmp.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/udp.h>
#include <net/addrconf.h>
#include <net/inet_ecn.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/xfrm.h>

#include "conf.h"
#include "device.h"
#include "packet.h"
#include "route.h"

/* ---- the way out ---- */

/* RFC 6040 section 4.1, normal mode: the inner ECN field is copied. */
static u8 xtun_tos_out(const struct xtun_cx *cx)
{
	u8 tos = cx->conf->p.tos;

	if (tos == XTUN_TOS_INHERIT)
		return cx->tos;
	return tos | (cx->tos & INET_ECN_MASK);
}

static u8 xtun_ttl_out(const struct xtun_cx *cx)
{
	/* Frames without IP have no TTL to inherit. */
	return cx->conf->p.ttl ?: cx->ttl ?: IPDEFTTL;
}

/**
 * xtun_outer_df() - DF of an outer IPv4 packet that need not be fragmented
 * @cx: the inner packet, classified
 *
 * On a route whose MTU is locked nothing has it, xtun_route_locked() tells.
 *
 * Context: any.
 * Return: IP_DF in network order, or 0.
 */
__be16 xtun_outer_df(const struct xtun_cx *cx)
{
	u8 df = cx->conf->p.df;

	if (df == XTUN_DF_UNSET)
		return 0;
	if (df == XTUN_DF_INHERIT && cx->proto == htons(ETH_P_IP) && !cx->df)
		return 0;
	return htons(IP_DF);
}

/* A counter that all CPUs share: reassembly needs unique numbers. */
static u16 xtun_unique_id(const struct xtun_cx *cx)
{
	struct iphdr iph = {
		.protocol = cx->ipproto,
		.saddr = cx->saddr.ip,
		.daddr = cx->daddr.ip,
	};

	__ip_select_ident(cx->tun->net, &iph,
			  skb_shinfo(cx->skb)->gso_segs ?: 1);
	return ntohs(iph.id);
}

/*
 * The identification of a packet that is not fragmented means nothing to the
 * network (RFC 6864): the tag has its place there.
 */
static void xtun_ident4(struct xtun_cx *cx)
{
	cx->df_out = cx->outer_frag || xtun_dst_locked(cx->dst) ?
		     0 : xtun_outer_df(cx);
	cx->ident = cx->df_out ? XTUN_IDENT_VALID | cx->tag.id :
				 XTUN_IDENT_VALID | XTUN_IDENT_UNIQUE |
				 xtun_unique_id(cx);
}

static void xtun_ident6(struct xtun_cx *cx)
{
	u32 flowlabel = cx->conf->p.flowlabel;

	if (flowlabel == XTUN_FLOWLABEL_INHERIT &&
	    cx->proto == htons(ETH_P_IPV6))
		cx->flowlabel = ip6_flowlabel(ipv6_hdr(cx->skb));
	else if (flowlabel > ntohl(IPV6_FLOWLABEL_MASK))
		cx->flowlabel = htonl(cx->tag.flow) & IPV6_FLOWLABEL_MASK;
	else
		cx->flowlabel = htonl(flowlabel);

	/* One for all flows tells nothing. */
	cx->ident = flowlabel > ntohl(IPV6_FLOWLABEL_MASK) && cx->flowlabel ?
		    XTUN_IDENT_VALID | ntohl(cx->flowlabel) : 0;
}

/**
 * xtun_outer_ident() - choose the identification of an outer packet
 * @cx: the packet, its network header the inner one; with peer, source and tag
 *
 * Context: BH disabled.
 */
void xtun_outer_ident(struct xtun_cx *cx)
{
	if (cx->conf->p.family == AF_INET)
		xtun_ident4(cx);
	else
		xtun_ident6(cx);
}

/* Fragments are as long as what the tunnel knows of the path. IPsec sees to its own. */
static u16 xtun_frag_max(const struct xtun_cx *cx)
{
	return cx->outer_frag && !dst_xfrm(cx->dst) ?
	       min_t(unsigned int, cx->mtu, U16_MAX) : 0;
}

static void xtun_push4(struct xtun_cx *cx)
{
	struct sk_buff *skb = cx->skb;
	struct iphdr *iph;

	iph = skb_push(skb, sizeof(*iph));
	skb_reset_network_header(skb);
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	IPCB(skb)->frag_max_size = xtun_frag_max(cx);

	iph->version = 4;
	iph->ihl = sizeof(*iph) / 4;
	iph->tos = xtun_tos_out(cx);
	iph->id = htons(cx->ident);
	iph->frag_off = cx->df_out;
	iph->ttl = xtun_ttl_out(cx);
	iph->protocol = cx->ipproto;
	iph->saddr = cx->saddr.ip;
	iph->daddr = cx->daddr.ip;
}

static void xtun_push6(struct xtun_cx *cx)
{
	u8 nexthdr = xtun_encaplimit_push(cx, cx->ipproto);
	struct sk_buff *skb = cx->skb;
	struct ipv6hdr *ip6h;

	ip6h = skb_push(skb, sizeof(*ip6h));
	skb_reset_network_header(skb);
	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	IP6CB(skb)->frag_max_size = xtun_frag_max(cx);

	ip6_flow_hdr(ip6h, xtun_tos_out(cx), cx->flowlabel);
	ip6h->nexthdr = nexthdr;
	ip6h->hop_limit = xtun_ttl_out(cx);
	ip6h->saddr = cx->saddr.in6;
	ip6h->daddr = cx->daddr.in6;
}

/* A copy of a route for one packet, without what the kernel has learned. */
static struct dst_entry *xtun_untaught4(const struct dst_entry *dst)
{
	const struct rtable *rt = container_of(dst, struct rtable, dst);
	struct rtable *copy;

	/* NAT asks for a policy once more, with this route. */
	copy = rt_dst_alloc(dst->dev, rt->rt_flags, rt->rt_type,
			    dst->flags & DST_NOXFRM);
	if (!copy)
		return NULL;
	copy->rt_uses_gateway = rt->rt_uses_gateway;
	copy->rt_gw_family = rt->rt_gw_family;
	if (rt->rt_gw_family == AF_INET6)
		copy->rt_gw6 = rt->rt_gw6;
	else
		copy->rt_gw4 = rt->rt_gw4;
	return &copy->dst;
}

static struct dst_entry *xtun_untaught6(const struct dst_entry *dst)
{
	const struct rt6_info *rt6 = container_of(dst, struct rt6_info, dst);
	struct rt6_info *copy;

	copy = ip6_dst_alloc(dev_net(dst->dev), dst->dev, 0);
	if (!copy)
		return NULL;
	copy->rt6i_idev = in6_dev_get(dst->dev);
	if (!copy->rt6i_idev) {
		dst_release(&copy->dst);
		return NULL;
	}
	copy->rt6i_flags = rt6->rt6i_flags & RTF_GATEWAY;
	copy->rt6i_gateway = rt6->rt6i_gateway;
	copy->rt6i_dst = rt6->rt6i_dst;
	return &copy->dst;
}

/*
 * The IP stack would refuse, or cut, what is longer than the path MTU that it has
 * learned, from whomever. So a packet that the tunnel knows to fit gets a route
 * that has none.
 */
static void xtun_dst_unteach(struct xtun_cx *cx)
{
	unsigned int mtu = dst_mtu(cx->dst);
	struct dst_entry *copy;

	if (skb_is_gso(cx->skb) ? skb_gso_validate_network_len(cx->skb, mtu) :
				  cx->skb->len <= mtu)
		return;
	copy = cx->conf->p.family == AF_INET ? xtun_untaught4(cx->dst) :
					       xtun_untaught6(cx->dst);
	if (!copy)
		return;
	copy->output = cx->dst->output;
	copy->lwtstate = lwtstate_get(cx->dst->lwtstate);
	dst_release(cx->dst);
	cx->dst = copy;
}

/* Does this netns look at packets that it sends? */
static bool xtun_net_hooked(const struct net *net, u8 family)
{
	struct nf_hook_entries __rcu * const *hooks;

	hooks = family == AF_INET ? net->nf.hooks_ipv4 : net->nf.hooks_ipv6;
	return rcu_access_pointer(hooks[NF_INET_LOCAL_OUT]) ||
	       rcu_access_pointer(hooks[NF_INET_POST_ROUTING]);
}

/**
 * xtun_outer_filtered() - may a filter refuse a packet whose sender is told?
 * @cx: the packet
 *
 * Context: RCU.
 * Return: whether it may.
 */
bool xtun_outer_filtered(const struct xtun_cx *cx)
{
	return cx->routed && xtun_net_hooked(cx->tun->net, cx->conf->p.family);
}

/**
 * xtun_outer_send() - put the outer IP header before a packet and send it
 * @cx: packet that begins with the encapsulation's header; packet and route
 *	are consumed
 *
 * It is sent on behalf of no socket: the inner one's options are not for the
 * outer packet, yet it goes on to be charged with the memory.
 *
 * Context: BH disabled.
 * Return: 0, or an error of the underlay.
 */
int xtun_outer_send(struct xtun_cx *cx)
{
	struct net *net = cx->tun->net;
	struct sk_buff *skb = cx->skb;
	bool v4 = cx->conf->p.family == AF_INET;
	int err;

	if (v4)
		xtun_push4(cx);
	else
		xtun_push6(cx);
	if (unlikely(xtun_dst_taught(cx->dst)))
		xtun_dst_unteach(cx);

	skb_clear_hash_if_not_l4(skb);
	skb_scrub_packet(skb, !net_eq(net, dev_net(cx->tun->dev)));
	skb->mark = cx->mark;
	skb->ignore_df = cx->outer_frag;
	skb_dst_set(skb, cx->dst);

	err = v4 ? ip_local_out(net, NULL, skb) : ip6_local_out(net, NULL, skb);
	return net_xmit_eval(err);
}

/* ---- checksums ---- */

/*
 * Is the inner packet's checksum made by the card, and does nobody change the
 * packet on its way there?
 */
static bool xtun_csum_offloaded(const struct xtun_cx *cx)
{
	const struct net_device *dev = cx->dst->dev;

	return dev->features & dev->hw_enc_features & NETIF_F_CSUM_MASK &&
	       !xtun_net_hooked(cx->tun->net, cx->conf->p.family);
}

/**
 * xtun_outer_udp_csum() - make the checksum of an outer UDP packet
 * @cx: the packet, its data at the UDP header, which is complete but for that;
 *	with peer and source. What points into the packet's head may be wrong
 *	afterwards.
 *
 * An address translator takes no notice of a checksum that is complete in a packet
 * which has another to be made, the inner one's: it corrects what is there as if it
 * were begun only. So the inner one is made here, before, where there may be one;
 * it costs no more than later.
 *
 * Context: any.
 */
void xtun_outer_udp_csum(const struct xtun_cx *cx)
{
	bool none = cx->conf->p.flags & XTUN_CONF_FLAGS_NOUDPCSUM;
	struct sk_buff *skb = cx->skb;
	bool inner = skb->ip_summed == CHECKSUM_PARTIAL && !skb_is_gso(skb);

	if (cx->conf->p.family == AF_INET)
		udp_set_csum(none, skb, cx->saddr.ip, cx->daddr.ip, skb->len);
	else
		udp6_set_csum(none, skb, &cx->saddr.in6, &cx->daddr.in6,
			      skb->len);
	/* Where there is no memory for it, it is left as it would have been. */
	if (inner && !none && !xtun_csum_offloaded(cx))
		skb_checksum_help(skb);
}

/**
 * xtun_outer_udp_csum_ok() - verify the checksum of an outer UDP packet
 * @skb: the packet, its data and transport header at the UDP header; its network
 *	header the outer one
 * @family: AF_INET or AF_INET6
 *
 * Among the checksums that GRO or a network card has found right, and counted, is
 * one of zero too: it is taken from their number here, or the next one, of the
 * inner packet, would be believed unseen.
 *
 * Context: any.
 * Return: whether it is right, or zero.
 */
bool xtun_outer_udp_csum_ok(struct sk_buff *skb, u8 family)
{
	__sum16 check = udp_hdr(skb)->check;
	bool bad;

	if (family == AF_INET)
		bad = skb_checksum_validate_zero_check(skb, IPPROTO_UDP, check,
						       inet_compute_pseudo);
	else
		bad = skb_checksum_validate_zero_check(skb, IPPROTO_UDP, check,
						       ip6_compute_pseudo);
	if (bad || !check)
		return !bad;
	if (family == AF_INET)
		skb_checksum_try_convert(skb, IPPROTO_UDP, inet_compute_pseudo);
	else
		skb_checksum_try_convert(skb, IPPROTO_UDP, ip6_compute_pseudo);
	return true;
}

/**
 * xtun_outer_icmp_csum() - make the checksum of an outer ICMP packet
 * @cx: the packet, its data at the ICMP header, which is complete but for that;
 *	with peer and source, and no checksum left to make
 *
 * It is left to the network card, and so to all who change the packet on its way
 * there: an address translator corrects no checksum that is complete in a packet
 * which has another to be made.
 *
 * Context: any.
 */
void xtun_outer_icmp_csum(const struct xtun_cx *cx)
{
	struct sk_buff *skb = cx->skb;
	struct icmphdr *icmph = (struct icmphdr *)skb->data;

	icmph->checksum = 0;
	if (cx->conf->p.family == AF_INET6)
		icmph->checksum = ~csum_ipv6_magic(&cx->saddr.in6,
						   &cx->daddr.in6, skb->len,
						   IPPROTO_ICMPV6, 0);
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = offsetof(struct icmphdr, checksum);
}

/**
 * xtun_outer_icmp_csum_ok() - verify the checksum of an outer ICMP packet
 * @skb: the packet, its data at the ICMP header; its network header the outer
 *	one
 * @family: AF_INET or AF_INET6
 *
 * RFC 792, and RFC 4443 section 2.3 with a pseudo-header.
 *
 * Context: any.
 * Return: whether it is right.
 */
bool xtun_outer_icmp_csum_ok(struct sk_buff *skb, u8 family)
{
	if (family == AF_INET) {
		if (skb_checksum_simple_validate(skb))
			return false;
		skb_checksum_try_convert(skb, IPPROTO_ICMP,
					 null_compute_pseudo);
		return true;
	}
	if (skb_checksum_validate(skb, IPPROTO_ICMPV6, ip6_compute_pseudo))
		return false;
	skb_checksum_try_convert(skb, IPPROTO_ICMPV6, ip6_compute_pseudo);
	return true;
}

/* ---- the way in, and quotes ---- */

/**
 * xtun_outer_for_one() - was a received packet sent to this host alone?
 * @skb: the packet, its network header the outer one, with its route
 * @family: AF_INET or AF_INET6
 *
 * RFC 1122 section 3.2.2: what was sent to many is not answered.
 *
 * Context: RCU.
 * Return: whether it was.
 */
bool xtun_outer_for_one(const struct sk_buff *skb, u8 family)
{
	if (skb->pkt_type != PACKET_HOST)
		return false;
	if (family == AF_INET)
		return !(skb_rtable(skb)->rt_flags &
			 (RTCF_BROADCAST | RTCF_MULTICAST));
	return !ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr);
}

/**
 * xtun_outer_allowed_in() - IPsec policy of the underlay on a received packet
 * @skb: the packet
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled, RCU.
 * Return: true when it may come in as it came.
 */
bool xtun_outer_allowed_in(struct sk_buff *skb, u8 family)
{
	if (family == AF_INET)
		return xfrm4_policy_check(NULL, XFRM_POLICY_IN, skb);
	return xfrm6_policy_check(NULL, XFRM_POLICY_IN, skb);
}

/**
 * xtun_outer_delivered() - count a packet as delivered by IP
 * @skb: a received packet that a tunnel takes, with its route
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled, RCU.
 */
void xtun_outer_delivered(const struct sk_buff *skb, u8 family)
{
	struct net *net = dev_net(skb->dev);

	if (family == AF_INET)
		__IP_INC_STATS(net, IPSTATS_MIB_INDELIVERS);
	else
		__IP6_INC_STATS(net, ip6_dst_idev(skb_dst(skb)),
				IPSTATS_MIB_INDELIVERS);
}

/**
 * xtun_outer_addrs() - read the outer addresses of a received packet
 * @skb: packet with its network header the outer one
 * @match: has the family; gets the addresses as its tunnel has them
 *
 * Context: any.
 */
void xtun_outer_addrs(const struct sk_buff *skb, struct xtun_match *match)
{
	if (match->family == AF_INET) {
		match->local.ip = ip_hdr(skb)->daddr;
		match->remote.ip = ip_hdr(skb)->saddr;
	} else {
		match->local.in6 = ipv6_hdr(skb)->daddr;
		match->remote.in6 = ipv6_hdr(skb)->saddr;
	}
}

/**
 * xtun_outer_tos_in() - read the outer TOS or traffic class
 * @skb: packet with its network header the outer one
 * @family: AF_INET or AF_INET6
 *
 * Context: any.
 * Return: the byte.
 */
u8 xtun_outer_tos_in(const struct sk_buff *skb, u8 family)
{
	if (family == AF_INET)
		return ip_hdr(skb)->tos;
	return ipv6_get_dsfield(ipv6_hdr(skb));
}

static bool xtun_quote4(struct sk_buff *skb, struct xtun_match *match,
			struct xtun_quote *quote)
{
	const struct iphdr *iph;

	if (!pskb_may_pull(skb, sizeof(*iph)))
		return false;
	iph = (const struct iphdr *)skb->data;
	if (iph->version != 4 || iph->ihl < 5 ||
	    iph->frag_off & htons(IP_OFFSET))
		return false;

	match->local.ip = iph->saddr;
	match->remote.ip = iph->daddr;
	quote->at = iph->ihl * 4;
	quote->len = ntohs(iph->tot_len);
	quote->ipproto = iph->protocol;
	quote->df = iph->frag_off & htons(IP_DF);
	quote->more = iph->frag_off & htons(IP_MF);
	quote->ident = XTUN_IDENT_VALID | ntohs(iph->id);
	if (!quote->df)
		quote->ident |= XTUN_IDENT_UNIQUE;
	return true;
}

static bool xtun_quote6(struct sk_buff *skb, struct xtun_match *match,
			struct xtun_quote *quote)
{
	const struct ipv6hdr *ip6h;
	__be16 frag_off;
	int at;

	if (!pskb_may_pull(skb, sizeof(*ip6h)))
		return false;
	ip6h = (const struct ipv6hdr *)skb->data;
	if (ip6h->version != 6)
		return false;

	match->local.in6 = ip6h->saddr;
	match->remote.in6 = ip6h->daddr;
	quote->len = ntohs(ip6h->payload_len) + sizeof(*ip6h);
	quote->ident = XTUN_IDENT_VALID | ntohl(ip6_flowlabel(ip6h));
	quote->df = true;
	quote->ipproto = ip6h->nexthdr;
	at = ipv6_skip_exthdr(skb, sizeof(*ip6h), &quote->ipproto, &frag_off);
	if (at < 0 || frag_off & htons(IP6_OFFSET))
		return false;
	quote->more = frag_off & htons(IP6_MF);
	quote->at = at;
	return true;
}

/**
 * xtun_outer_quote() - read the outer header that an ICMP error quotes
 * @skb: the error, its data at the quoted header
 * @family: AF_INET or AF_INET6
 * @match: gets the addresses as the sending tunnel has them
 * @quote: gets the rest
 *
 * Context: BH disabled.
 * Return: false when it cannot be read or is not of a packet's beginning.
 */
bool xtun_outer_quote(struct sk_buff *skb, u8 family, struct xtun_match *match,
		      struct xtun_quote *quote)
{
	match->family = family;
	if (family == AF_INET)
		return xtun_quote4(skb, match, quote);
	return xtun_quote6(skb, match, quote);
}
