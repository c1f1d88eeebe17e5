// SPDX-License-Identifier: GPL-2.0
/*
 * Which encapsulation begins behind an outer IP header, and what does its header
 * say? The same for packets that arrive, for those that errors quote, and for
 * those that have come back into the tunnel.
 */
#include <linux/in.h>
#include <linux/udp.h>

#include "xtun.h"

/**
 * xtun_wire_find() - find the form of what is behind an outer IP header
 * @skb: the packet; pulled, else untouched
 * @offset: bytes from its data to the end of the outer IP header
 * @ipproto: protocol number in that header
 * @sent: this host has sent it, else it arrives here
 * @match: has net and family; gets wire and port
 *
 * Context: RCU.
 * Return: the form, or NULL when it is nothing of xtun's.
 */
const struct xtun_wire *xtun_wire_find(struct sk_buff *skb, unsigned int offset,
				       u8 ipproto, bool sent,
				       struct xtun_match *match)
{
	const struct xtun_wire *wire;

	match->port = 0;
	if (ipproto == IPPROTO_UDP) {
		if (!pskb_may_pull(skb, offset + sizeof(struct udphdr)))
			return NULL;
		wire = xtun_udp_wire(match->net, match->family,
				     skb->data + offset, sent, &match->port);
	} else {
		wire = xtun_wire_by_ipproto(ipproto);
	}
	if (wire)
		match->wire = wire->id;
	return wire;
}

/* Parses what there is, but for the carrier's header, up to @want bytes. */
static enum xtun_reason xtun_wire_try(const struct xtun_wire *wire,
				      struct sk_buff *skb, unsigned int offset,
				      unsigned int len, u8 ipproto,
				      struct xtun_hdr *h)
{
	memset(h, 0, sizeof(*h));
	if (!pskb_may_pull(skb, offset + len))
		return XTUN_NOT_OURS;
	return wire->parse(skb->data + offset, len, ipproto, h);
}

/**
 * xtun_wire_parse() - read an encapsulation's header
 * @wire: its form
 * @skb: the packet; pulled, else untouched
 * @offset: bytes from its data to the end of the outer IP header
 * @len: how many bytes there are behind that
 * @ipproto: protocol number in the outer IP header
 * @h: gets the header, or what could be read of it
 *
 * Context: any.
 * Return: XTUN_OK, why the packet has to be dropped, or XTUN_NOT_OURS.
 */
enum xtun_reason xtun_wire_parse(const struct xtun_wire *wire,
				 struct sk_buff *skb, unsigned int offset,
				 unsigned int len, u8 ipproto,
				 struct xtun_hdr *h)
{
	unsigned int skip = wire->carrier->len, part;
	enum xtun_reason reason;

	if (len < skip) {
		memset(h, 0, sizeof(*h));
		return XTUN_RX_TRUNCATED;
	}
	offset += skip;
	len -= skip;
	part = min_t(unsigned int, len, wire->hdr_max);
	reason = xtun_wire_try(wire, skb, offset, part, ipproto, h);
	/* A header with options tells how long it is. */
	if (unlikely(reason == XTUN_RX_TRUNCATED && h->len > part &&
		     h->len <= len))
		reason = xtun_wire_try(wire, skb, offset, h->len, ipproto, h);
	h->len += skip;
	return reason;
}

/**
 * xtun_wire_possible() - may an IP packet be the outer packet of a tunnel?
 * @net: underlay
 * @skb: the packet
 * @family: AF_INET or AF_INET6, of it
 * @ipproto: its protocol number
 * @offset: bytes from the data of @skb to what is behind its IP header
 *
 * Context: RCU.
 * Return: false when it certainly is not.
 */
bool xtun_wire_possible(const struct net *net, const struct sk_buff *skb,
			u8 family, u8 ipproto, unsigned int offset)
{
	struct udphdr buf;
	const void *hdr;
	__be16 port;

	if (ipproto != IPPROTO_UDP)
		return xtun_wire_by_ipproto(ipproto);
	if (!xtun_udp_any(net, family))
		return false;
	hdr = skb_header_pointer(skb, offset, sizeof(buf), &buf);
	return hdr && xtun_udp_wire(net, family, hdr, true, &port);
}
