// SPDX-License-Identifier: GPL-2.0
/*
 * The inner packet that an ICMP error is about: from what the error quotes, or from
 * the cache of what was sent.
 */
#include <linux/etherdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/ip.h>
#include <net/ipv6.h>

#include "conf.h"
#include "device.h"
#include "icmp.h"
#include "net.h"
#include "packet.h"

/* Of a quote as much is passed on as the longest error may hold, and more. */
#define XTUN_QUOTE_MAX		1500

/* Frame whose tags and IP header with options may all be there. */
#define XTUN_FRAME_HEADERS	(ETH_HLEN + XTUN_VLAN_TAGS_MAX * 4 + 60)

/* By so much of a payload is told whether two are the same. */
#define XTUN_HEAD_MAX		(ETH_HLEN + sizeof(struct ipv6hdr))

/**
 * xtun_err_segs() - how many identifications after its own a quoted packet may have
 * @e: the error
 * @tun: the tunnel
 *
 * Segments of one packet have the numbers that follow its own.
 *
 * Context: any.
 * Return: 1, or as many as one packet may have become segments.
 */
unsigned int xtun_err_segs(const struct xtun_icmp_err *e,
			   const struct xtun_dev *tun)
{
	if (e->match.family == AF_INET6 || xtun_under_attack(tun))
		return 1;
	return XTUN_SEGS_MAX;
}

/* @routed: a packet that was routed into the tunnel, else one that was not. */
static unsigned int xtun_err_recall_as(const struct xtun_icmp_err *e,
				       const struct xtun_conf *conf,
				       bool routed, void *data,
				       unsigned int size)
{
	u32 ident = e->quote.ident | (routed ? 0 : XTUN_IDENT_STRAY);

	return xtun_sent_cache_find(conf, &e->match.remote, ident,
				xtun_err_segs(e, conf->tun), data, size);
}

/**
 * xtun_err_recall() - look whether a tunnel remembers the quoted packet
 * @e: the error; gets whether the packet was routed into the tunnel
 * @conf: the tunnel
 * @data: gets the beginning of the inner packet
 * @size: bytes that it has room for
 *
 * Context: BH disabled, RCU.
 * Return: bytes written, 0 for a packet that is not remembered.
 */
unsigned int xtun_err_recall(struct xtun_icmp_err *e,
			     const struct xtun_conf *conf, void *data,
			     unsigned int size)
{
	unsigned int len = xtun_err_recall_as(e, conf, true, data, size);

	e->cx.routed = len;
	return len ?: xtun_err_recall_as(e, conf, false, data, size);
}

/* Is enough of the packet there to know its flow, and for its sender? */
static bool xtun_err_enough(const struct xtun_icmp_err *e, bool whole)
{
	const struct xtun_cx *cx = &e->cx;
	unsigned int headers;

	if (whole)
		return true;
	if (cx->proto == htons(ETH_P_IP))
		headers = ip_hdrlen(cx->skb);
	else if (cx->proto == htons(ETH_P_IPV6))
		headers = sizeof(struct ipv6hdr);
	else if (cx->l3_off)
		return cx->skb->len >= XTUN_FRAME_HEADERS;
	else
		return cx->skb->len >= XTUN_QUOTE_TRANSPORT;
	return cx->skb->len >= cx->l3_off + headers + XTUN_QUOTE_TRANSPORT;
}

/* The beginning of an inner packet becomes one, with an error's life only. */
static bool xtun_err_classify(struct xtun_icmp_err *e, bool whole)
{
	struct xtun_cx *cx = &e->cx;

	cx->skb->dev = cx->tun->dev;
	cx->skb->protocol = e->h.proto;
	if (cx->conf->p.payload == XTUN_PAYLOAD_IP && cx->skb->len &&
	    !xtun_type_carried(cx->conf->ops, e->h.proto))
		cx->skb->protocol = *cx->skb->data >> 4 == 4 ?
				    htons(ETH_P_IP) : htons(ETH_P_IPV6);
	return !xtun_classify(cx) && xtun_err_enough(e, whole);
}

static bool xtun_err_alloc(struct xtun_icmp_err *e, unsigned int len)
{
	e->cx.skb = alloc_skb(NET_IP_ALIGN + len, GFP_ATOMIC);
	if (!e->cx.skb) {
		xtun_count(e->cx.tun, XTUN_ERR_NO_MEMORY);
		return false;
	}
	if (e->cx.conf->p.payload == XTUN_PAYLOAD_ETH)
		skb_reserve(e->cx.skb, NET_IP_ALIGN);
	return true;
}

static void xtun_err_drop_inner(struct xtun_icmp_err *e)
{
	consume_skb(e->cx.skb);
	e->cx.skb = NULL;
}

/* RFC 4884 section 5: zeros may fill a quote up to where extensions begin. */
static bool xtun_err_is_padding(const struct xtun_icmp_err *e)
{
	const struct xtun_cx *cx = &e->cx;

	if (!e->icmp->words)
		return false;
	if (cx->proto == htons(ETH_P_IP))
		return !ip_hdr(cx->skb)->saddr;
	return cx->proto == htons(ETH_P_IPV6) &&
	       ipv6_addr_any(&ipv6_hdr(cx->skb)->saddr);
}

/**
 * xtun_err_from_quote() - take the inner packet from what is quoted of it
 * @e: the error, its tunnel found; gets the packet
 *
 * Context: BH disabled, RCU.
 * Return: false where too little is quoted to tell its flow and its sender.
 */
bool xtun_err_from_quote(struct xtun_icmp_err *e)
{
	unsigned int at = e->quote.at + e->h.len, len;

	if (!e->whole || at >= e->quoted)
		return false;
	len = min_t(unsigned int, e->quoted - at, XTUN_QUOTE_MAX);
	if (!xtun_err_alloc(e, len))
		return false;
	if (!skb_copy_bits(e->skb, at, skb_put(e->cx.skb, len), len) &&
	    xtun_err_classify(e, e->quoted == e->quote.len) &&
	    !xtun_err_is_padding(e))
		return true;
	xtun_err_drop_inner(e);
	return false;
}

/* What was remembered may be a packet that was cut into segments since. */
static void xtun_err_mend_len(struct xtun_icmp_err *e)
{
	const struct xtun_conf *conf = e->cx.conf;
	unsigned int headers = e->quote.at + conf->encap_len + e->cx.l3_off;
	struct sk_buff *skb = e->cx.skb;

	if (e->quote.more || e->quote.len <= headers)
		return;
	if (e->cx.proto == htons(ETH_P_IP)) {
		ip_hdr(skb)->tot_len = htons(e->quote.len - headers);
		ip_send_check(ip_hdr(skb));
	} else if (e->cx.proto == htons(ETH_P_IPV6)) {
		headers += sizeof(struct ipv6hdr);
		if (e->quote.len > headers)
			ipv6_hdr(skb)->payload_len =
				htons(e->quote.len - headers);
	}
}

static bool xtun_equal(const u8 *one, const u8 *other, unsigned int from,
		       unsigned int to, unsigned int len)
{
	to = min(to, len);
	return from >= to || !memcmp(one + from, other + from, to - from);
}

/* Are these beginnings of one IP packet, or of segments of it? */
static bool xtun_same_packet(const u8 *one, const u8 *other, unsigned int len)
{
	if (*one >> 4 == 6)
		return xtun_equal(one, other, 0, 4, len) &&
		       xtun_equal(one, other, 6, sizeof(struct ipv6hdr), len);
	/* Not length, identification and checksum. */
	return xtun_equal(one, other, 0, 2, len) &&
	       xtun_equal(one, other, 6, 10, len) &&
	       xtun_equal(one, other, 12, sizeof(struct iphdr), len);
}

static bool xtun_same_frame(const u8 *one, const u8 *other, unsigned int len)
{
	if (!xtun_equal(one, other, 0, ETH_HLEN, len))
		return false;
	return len <= ETH_HLEN || xtun_same_packet(one + ETH_HLEN,
						   other + ETH_HLEN,
						   len - ETH_HLEN);
}

/* Does what the quote holds of the payload agree with what is remembered? */
static bool xtun_err_agrees(const struct xtun_icmp_err *e, const u8 *data,
			    unsigned int len)
{
	unsigned int at = e->quote.at + e->h.len;
	u8 buf[XTUN_HEAD_MAX];
	const u8 *quoted;

	if (!e->whole || at >= e->quoted)
		return true;
	len = min3(len, e->quoted - at, (unsigned int)sizeof(buf));
	/* What follows may be padding. */
	if (e->icmp->words)
		len = min_t(unsigned int, len, XTUN_QUOTE_TRANSPORT);
	quoted = skb_header_pointer(e->skb, at, len, buf);
	if (!quoted)
		return false;
	return e->cx.conf->p.payload == XTUN_PAYLOAD_ETH ?
	       xtun_same_frame(data, quoted, len) :
	       xtun_same_packet(data, quoted, len);
}

/**
 * xtun_err_from_cache() - take the inner packet from the cache of sent ones
 * @e: the error, its tunnel found; gets the packet
 *
 * Context: BH disabled, RCU.
 * Return: false where none is remembered that agrees with the quote.
 */
bool xtun_err_from_cache(struct xtun_icmp_err *e)
{
	unsigned int len;

	if (e->cx.conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return false;
	if (!xtun_err_alloc(e, XTUN_QUOTE_MAX))
		return false;
	len = xtun_err_recall(e, e->cx.conf, e->cx.skb->data, XTUN_QUOTE_MAX);
	skb_put(e->cx.skb, len);
	if (len && xtun_err_agrees(e, e->cx.skb->data, len) &&
	    xtun_err_classify(e, true)) {
		xtun_err_mend_len(e);
		e->remembered = true;
		return true;
	}
	xtun_err_drop_inner(e);
	return false;
}

static bool xtun_err_recalled_as(struct xtun_icmp_err *e, bool routed)
{
	u8 data[XTUN_HEAD_MAX];
	unsigned int len;

	e->cx.routed = routed;
	len = xtun_err_recall_as(e, e->cx.conf, routed, data, sizeof(data));
	return len && xtun_err_agrees(e, data, len);
}

/**
 * xtun_err_recalled() - has the packet been sent, for all that can be known?
 * @e: the error, its inner packet found
 *
 * A quote that has no place for the tag is as good as a short one.
 *
 * Context: BH disabled, RCU.
 * Return: false where the cache must know the packet, and does not.
 */
bool xtun_err_recalled(struct xtun_icmp_err *e)
{
	const struct xtun_conf *conf = e->cx.conf;

	if (e->remembered || e->quote.df || conf->p.family == AF_INET6 ||
	    conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return true;
	return xtun_err_recalled_as(e, true) ||
	       xtun_err_recalled_as(e, false);
}
