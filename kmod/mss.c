// SPDX-License-Identifier: GPL-2.0
/*
 * The MSS option of inner TCP connections, lowered to what fits, so that their
 * ends send what need not be refused or fragmented.
 *
 * A SYN without the option is left as it is: its receiver sends segments of at
 * most 536 bytes then, 1220 over IPv6 (RFC 9293 section 3.7.1), and an option
 * put in would mostly raise that. A broken option is left as it is, with all
 * behind it. No packet is lost for its MSS: what does not fit is told anyway.
 */
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/swab.h>
#include <linux/tcp.h>
#include <linux/unaligned.h>
#include <net/checksum.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/tcp.h>

#include "conf.h"
#include "device.h"
#include "packet.h"
#include "route.h"
#include "route_out.h"

#define XTUN_TCPOPT_AO		29

/**
 * struct xtun_syn - where things are in an inner packet, from the data on
 * @at: bytes to the TCP header
 * @end: bytes to the end of the TCP header with its options
 */
struct xtun_syn {
	unsigned int at;
	unsigned int end;
};

/* Both find TCP at @syn->at and the end of the inner packet at @syn->end. */
static bool xtun_find_tcp4(const struct sk_buff *skb, unsigned int l3,
			   struct xtun_syn *syn)
{
	const struct iphdr *iph;
	struct iphdr buf;

	iph = skb_header_pointer(skb, l3, sizeof(buf), &buf);
	if (!iph || iph->protocol != IPPROTO_TCP || iph->version != 4 ||
	    iph->ihl < 5 || iph->frag_off & htons(IP_OFFSET))
		return false;

	syn->at = l3 + iph->ihl * 4;
	syn->end = l3 + ntohs(iph->tot_len);
	return true;
}

static bool xtun_find_tcp6(const struct sk_buff *skb, unsigned int l3,
			   struct xtun_syn *syn)
{
	const struct ipv6hdr *ip6h;
	struct ipv6hdr buf;
	__be16 frag_off;
	u8 nexthdr;
	int at;

	ip6h = skb_header_pointer(skb, l3, sizeof(buf), &buf);
	if (!ip6h || ip6h->version != 6)
		return false;

	syn->end = l3 + sizeof(*ip6h) + ntohs(ip6h->payload_len);
	nexthdr = ip6h->nexthdr;
	/* Fragments but the first end at their fragment header. */
	at = ipv6_skip_exthdr(skb, l3 + sizeof(*ip6h), &nexthdr, &frag_off);
	if (at < 0 || nexthdr != IPPROTO_TCP)
		return false;
	syn->at = at;
	return true;
}

static bool xtun_find_syn(const struct sk_buff *skb, unsigned int l3,
			  __be16 proto, struct xtun_syn *syn)
{
	const struct tcphdr *th;
	struct tcphdr buf;
	__be32 flags;

	if (proto == htons(ETH_P_IP)) {
		if (!xtun_find_tcp4(skb, l3, syn))
			return false;
	} else if (proto != htons(ETH_P_IPV6) ||
		   !xtun_find_tcp6(skb, l3, syn)) {
		return false;
	}

	th = skb_header_pointer(skb, syn->at, sizeof(buf), &buf);
	if (!th)
		return false;
	flags = tcp_flag_word(th);
	if (likely((flags & (TCP_FLAG_SYN | TCP_FLAG_RST | TCP_FLAG_FIN)) !=
		   TCP_FLAG_SYN))
		return false;
	if (th->doff < sizeof(*th) / 4 || syn->at + th->doff * 4 > syn->end)
		return false;
	syn->end = syn->at + th->doff * 4;
	return true;
}

/* The first option of this kind from @opt on; NULL if a broken one is first. */
static u8 *xtun_tcp_option(u8 *opt, const u8 *end, u8 kind)
{
	while (opt < end && *opt != TCPOPT_EOL) {
		if (*opt == TCPOPT_NOP) {
			opt++;
			continue;
		}
		if (end - opt < 2 || opt[1] < 2 || opt[1] > end - opt)
			return NULL;
		if (*opt == kind)
			return opt;
		opt += opt[1];
	}
	return NULL;
}

static void xtun_mss_lower(struct sk_buff *skb, struct tcphdr *th, u8 *value,
			   u16 mss)
{
	u16 old = get_unaligned_be16(value);

	if (old <= mss)
		return;

	put_unaligned_be16(mss, value);
	/* At an odd byte it is halves of two words that the sum is made of. */
	if ((value - (u8 *)th) % 2) {
		old = swab16(old);
		mss = swab16(mss);
	}
	inet_proto_csum_replace2(&th->check, skb, htons(old), htons(mss),
				 false);
}

/* Nothing under an authentication that would not hold any more. */
static bool xtun_mss_signed(const struct sk_buff *skb, unsigned int l3,
			    __be16 proto, u8 *opts, const u8 *end)
{
	if (xtun_tcp_option(opts, end, XTUN_TCPOPT_AO))
		return true;
	return proto == htons(ETH_P_IPV6) &&
	       ipv6_find_hdr(skb, &l3, NEXTHDR_AUTH, NULL, NULL) ==
	       NEXTHDR_AUTH;
}

/* Who repeats the option means the last one or the first: lower them all. */
static void xtun_mss_clamp(struct sk_buff *skb, unsigned int l3, __be16 proto,
			   const struct xtun_syn *syn, u16 mss)
{
	struct tcphdr *th;
	u8 *opt, *end;

	if (skb_ensure_writable(skb, syn->end))
		return;

	th = (struct tcphdr *)(skb->data + syn->at);
	opt = (u8 *)(th + 1);
	end = skb->data + syn->end;
	if (xtun_mss_signed(skb, l3, proto, opt, end))
		return;

	while ((opt = xtun_tcp_option(opt, end, TCPOPT_MSS))) {
		if (opt[1] == TCPOLEN_MSS)
			xtun_mss_lower(skb, th, opt + 2, mss);
		opt += opt[1];
	}
}

/*
 * How long segments are for which @room bytes of IP packet are left, if IP and
 * TCP have no options: those count on top of the MSS (RFC 6691).
 */
static u16 xtun_mss_auto(const struct xtun_dev *tun, __be16 proto,
			 unsigned int room)
{
	unsigned int headers = sizeof(struct tcphdr);

	headers += proto == htons(ETH_P_IP) ? sizeof(struct iphdr) :
					      sizeof(struct ipv6hdr);
	room = min(room, READ_ONCE(tun->dev->mtu));
	return clamp_t(unsigned int, max(room, headers) - headers,
		       TCP_MIN_MSS, U16_MAX);
}

/**
 * xtun_mss_out() - clamp the MSS of a packet on its way out
 * @cx: packet with its route; the configuration has an mss
 * @limit: bytes of it, from the data on, that fit into the path
 *
 * Context: BH disabled.
 */
void xtun_mss_out(const struct xtun_cx *cx, unsigned int limit)
{
	unsigned int l3 = cx->l3_off;
	u16 mss = cx->conf->p.mss;
	struct xtun_syn syn;

	if (likely(!xtun_find_syn(cx->skb, l3, cx->proto, &syn)))
		return;
	if (mss == XTUN_MSS_AUTO)
		mss = xtun_mss_auto(cx->tun, cx->proto, max(limit, l3) - l3);
	xtun_mss_clamp(cx->skb, l3, cx->proto, &syn, mss);
}

/* Bytes of IP packet that fit into the path to @peer, behind @l3 of tags. */
static unsigned int xtun_mss_room(const struct xtun_conf *conf,
				  const union nf_inet_addr *peer,
				  unsigned int l3)
{
	unsigned int headers = conf->overhead + l3;
	struct xtun_cx cx = {
		.tun = conf->tun,
		.conf = conf,
		.mark = conf->p.fwmark,
		.saddr = conf->p.local,
		.daddr = *peer,
	};

	if (xtun_route_out(&cx))
		return UINT_MAX;
	dst_release(cx.dst);
	return max(cx.mtu, headers) - headers;
}

/**
 * xtun_mss_in() - clamp the MSS of a packet on its way in
 * @skb: the packet, its data behind the inner Ethernet header if it has one
 * @conf: configuration of its tunnel, which has an mss
 * @peer: outer source
 * @l3: bytes from the data to the inner IP header
 * @proto: inner ethertype, of what is behind VLAN tags
 *
 * What it asks for goes the other way, so that is the path that counts.
 *
 * Context: BH disabled, RCU.
 */
void xtun_mss_in(struct sk_buff *skb, const struct xtun_conf *conf,
		 const union nf_inet_addr *peer, unsigned int l3, __be16 proto)
{
	u16 mss = conf->p.mss;
	struct xtun_syn syn;

	if (likely(!xtun_find_syn(skb, l3, proto, &syn)))
		return;
	if (mss == XTUN_MSS_AUTO)
		mss = xtun_mss_auto(conf->tun, proto,
				    xtun_mss_room(conf, peer, l3));
	xtun_mss_clamp(skb, l3, proto, &syn, mss);
}
