// SPDX-License-Identifier: GPL-2.0
/*
 * The inner packet that an ICMP error is about: from what the error quotes, or from
 * the memory of what was sent.
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
 * xtun_back_segs() - how many identifications after its own a quoted packet may have
 * @b: the error
 * @tun: the tunnel
 *
 * Segments of one packet have the numbers that follow its own.
 *
 * Context: any.
 * Return: 1, or as many as one packet may have become segments.
 */
unsigned int xtun_back_segs(const struct xtun_back *b,
			    const struct xtun_dev *tun)
{
	if (b->match.family == AF_INET6 || xtun_under_attack(tun))
		return 1;
	return XTUN_SEGS_MAX;
}

/* @routed: a packet that was routed into the tunnel, else one that was not. */
static unsigned int xtun_back_recall_as(const struct xtun_back *b,
					const struct xtun_conf *conf,
					bool routed, void *data,
					unsigned int size)
{
	u32 ident = b->quote.ident | (routed ? 0 : XTUN_IDENT_STRAY);

	return xtun_memory_find(conf, &b->match.remote, ident,
				xtun_back_segs(b, conf->tun), data, size);
}

/**
 * xtun_back_recall() - look whether a tunnel remembers the quoted packet
 * @b: the error; gets whether the packet was routed into the tunnel
 * @conf: the tunnel
 * @data: gets the beginning of the inner packet
 * @size: bytes that it has room for
 *
 * Context: BH disabled, RCU.
 * Return: bytes written, 0 for a packet that is not remembered.
 */
unsigned int xtun_back_recall(struct xtun_back *b,
			      const struct xtun_conf *conf, void *data,
			      unsigned int size)
{
	unsigned int len = xtun_back_recall_as(b, conf, true, data, size);

	b->cx.routed = len;
	return len ?: xtun_back_recall_as(b, conf, false, data, size);
}

/* Is enough of the packet there to know its flow, and for its sender? */
static bool xtun_back_enough(const struct xtun_back *b, bool whole)
{
	const struct xtun_cx *cx = &b->cx;
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
static bool xtun_back_classify(struct xtun_back *b, bool whole)
{
	struct xtun_cx *cx = &b->cx;

	cx->skb->dev = cx->tun->dev;
	cx->skb->protocol = b->h.proto;
	if (cx->conf->p.payload == XTUN_PAYLOAD_IP && cx->skb->len &&
	    !xtun_type_carried(cx->conf->ops, b->h.proto))
		cx->skb->protocol = *cx->skb->data >> 4 == 4 ?
				    htons(ETH_P_IP) : htons(ETH_P_IPV6);
	return !xtun_classify(cx) && xtun_back_enough(b, whole);
}

static bool xtun_back_alloc(struct xtun_back *b, unsigned int len)
{
	b->cx.skb = alloc_skb(NET_IP_ALIGN + len, GFP_ATOMIC);
	if (!b->cx.skb) {
		xtun_count(b->cx.tun, XTUN_ERR_NO_MEMORY);
		return false;
	}
	if (b->cx.conf->p.payload == XTUN_PAYLOAD_ETH)
		skb_reserve(b->cx.skb, NET_IP_ALIGN);
	return true;
}

static void xtun_back_drop_inner(struct xtun_back *b)
{
	consume_skb(b->cx.skb);
	b->cx.skb = NULL;
}

/* RFC 4884 section 5: zeros may fill a quote up to where extensions begin. */
static bool xtun_back_is_padding(const struct xtun_back *b)
{
	const struct xtun_cx *cx = &b->cx;

	if (!b->icmp->words)
		return false;
	if (cx->proto == htons(ETH_P_IP))
		return !ip_hdr(cx->skb)->saddr;
	return cx->proto == htons(ETH_P_IPV6) &&
	       ipv6_addr_any(&ipv6_hdr(cx->skb)->saddr);
}

/**
 * xtun_back_from_quote() - take the inner packet from what is quoted of it
 * @b: the error, its tunnel found; gets the packet
 *
 * Context: BH disabled, RCU.
 * Return: false where too little is quoted to tell its flow and its sender.
 */
bool xtun_back_from_quote(struct xtun_back *b)
{
	unsigned int at = b->quote.at + b->h.len, len;

	if (!b->whole || at >= b->quoted)
		return false;
	len = min_t(unsigned int, b->quoted - at, XTUN_QUOTE_MAX);
	if (!xtun_back_alloc(b, len))
		return false;
	if (!skb_copy_bits(b->skb, at, skb_put(b->cx.skb, len), len) &&
	    xtun_back_classify(b, b->quoted == b->quote.len) &&
	    !xtun_back_is_padding(b))
		return true;
	xtun_back_drop_inner(b);
	return false;
}

/* What was remembered may be a packet that was cut into segments since. */
static void xtun_back_mend_len(struct xtun_back *b)
{
	const struct xtun_conf *conf = b->cx.conf;
	unsigned int headers = b->quote.at + conf->encap_len + b->cx.l3_off;
	struct sk_buff *skb = b->cx.skb;

	if (b->quote.more || b->quote.len <= headers)
		return;
	if (b->cx.proto == htons(ETH_P_IP)) {
		ip_hdr(skb)->tot_len = htons(b->quote.len - headers);
		ip_send_check(ip_hdr(skb));
	} else if (b->cx.proto == htons(ETH_P_IPV6)) {
		headers += sizeof(struct ipv6hdr);
		if (b->quote.len > headers)
			ipv6_hdr(skb)->payload_len =
				htons(b->quote.len - headers);
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
static bool xtun_back_agrees(const struct xtun_back *b, const u8 *data,
			     unsigned int len)
{
	unsigned int at = b->quote.at + b->h.len;
	u8 buf[XTUN_HEAD_MAX];
	const u8 *quoted;

	if (!b->whole || at >= b->quoted)
		return true;
	len = min3(len, b->quoted - at, (unsigned int)sizeof(buf));
	/* What follows may be padding. */
	if (b->icmp->words)
		len = min_t(unsigned int, len, XTUN_QUOTE_TRANSPORT);
	quoted = skb_header_pointer(b->skb, at, len, buf);
	if (!quoted)
		return false;
	return b->cx.conf->p.payload == XTUN_PAYLOAD_ETH ?
	       xtun_same_frame(data, quoted, len) :
	       xtun_same_packet(data, quoted, len);
}

/**
 * xtun_back_from_memory() - take the inner packet from the memory of sent ones
 * @b: the error, its tunnel found; gets the packet
 *
 * Context: BH disabled, RCU.
 * Return: false where none is remembered that agrees with the quote.
 */
bool xtun_back_from_memory(struct xtun_back *b)
{
	unsigned int len;

	if (b->cx.conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return false;
	if (!xtun_back_alloc(b, XTUN_QUOTE_MAX))
		return false;
	len = xtun_back_recall(b, b->cx.conf, b->cx.skb->data, XTUN_QUOTE_MAX);
	skb_put(b->cx.skb, len);
	if (len && xtun_back_agrees(b, b->cx.skb->data, len) &&
	    xtun_back_classify(b, true)) {
		xtun_back_mend_len(b);
		b->remembered = true;
		return true;
	}
	xtun_back_drop_inner(b);
	return false;
}

static bool xtun_back_recalled_as(struct xtun_back *b, bool routed)
{
	u8 data[XTUN_HEAD_MAX];
	unsigned int len;

	b->cx.routed = routed;
	len = xtun_back_recall_as(b, b->cx.conf, routed, data, sizeof(data));
	return len && xtun_back_agrees(b, data, len);
}

/**
 * xtun_back_recalled() - has the packet been sent, for all that can be known?
 * @b: the error, its inner packet found
 *
 * A quote that has no place for the tag is as good as a short one.
 *
 * Context: BH disabled, RCU.
 * Return: false where the memory must know the packet, and does not.
 */
bool xtun_back_recalled(struct xtun_back *b)
{
	const struct xtun_conf *conf = b->cx.conf;

	if (b->remembered || b->quote.df || conf->p.family == AF_INET6 ||
	    conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return true;
	return xtun_back_recalled_as(b, true) ||
	       xtun_back_recalled_as(b, false);
}
