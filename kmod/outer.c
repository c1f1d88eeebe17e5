// SPDX-License-Identifier: GPL-2.0
/*
 * What few packets need of the outer IP header: an identification of its own, the
 * checksums that cover it, and reading it in what an ICMP error quotes. outer.h has
 * what every packet needs.
 */
#include <linux/icmp.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ipv6.h>
#include <net/udp.h>

#include "conf.h"
#include "device.h"
#include "packet.h"
#include "route.h"

/* ---- the way out ---- */

/**
 * xtun_outer_unique_id() - an IPv4 identification that no other packet has
 * @cx: the packet, with its peer and source
 *
 * Reassembly needs it, and it comes from a counter that all CPUs share.
 *
 * Context: BH disabled.
 * Return: the identification, in host order.
 */
u16 xtun_outer_unique_id(const struct xtun_cx *cx)
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

/* ---- checksums ---- */

/*
 * Is the inner packet's checksum made by the card, and does nobody change the
 * packet on its way there?
 */
static bool xtun_csum_offloaded(const struct xtun_cx *cx)
{
	const struct net_device *dev = cx->dst->dev;

	return dev->features & dev->hw_enc_features & NETIF_F_CSUM_MASK &&
	       !cx->hooked;
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

/* ---- quotes ---- */

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
