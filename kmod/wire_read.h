/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which encapsulation begins behind an outer IP header, and what does its header say?
 * The part of wire.c that each received packet needs.
 */
#ifndef _XTUN_WIRE_READ_H
#define _XTUN_WIRE_READ_H

#include <linux/in.h>
#include <linux/udp.h>

#include "conf.h"
#include "port.h"
#include "wire.h"

/* wire.c */
int xtun_wire_parse_on(const struct xtun_wire *wire, struct sk_buff *skb,
		       unsigned int offset, unsigned int len, unsigned int part,
		       u8 ipproto, struct xtun_hdr *h);
const struct xtun_wire *xtun_wire_of_sent(struct sk_buff *skb, unsigned int offset,
					  struct xtun_match *match);

/* Parses so many bytes, which the transport's header is not of. */
static inline int xtun_wire_try(const struct xtun_wire *wire,
				struct sk_buff *skb, unsigned int offset,
				unsigned int len, u8 ipproto,
				struct xtun_hdr *h)
{
	memset(h, 0, sizeof(*h));
	if (!pskb_may_pull(skb, offset + len))
		return -ENOMSG;
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
 * Return: 0, an enum xtun_drop_reason, or -ENOMSG for what is no such header.
 */
static inline int xtun_wire_parse(const struct xtun_wire *wire,
				  struct sk_buff *skb, unsigned int offset,
				  unsigned int len, u8 ipproto,
				  struct xtun_hdr *h)
{
	unsigned int skip = wire->transport->len, part;
	int reason;

	if (unlikely(len < skip)) {
		memset(h, 0, sizeof(*h));
		return XTUN_RX_TRUNCATED;
	}
	offset += skip;
	len -= skip;
	part = min_t(unsigned int, len, wire->hdr_max);
	reason = xtun_wire_try(wire, skb, offset, part, ipproto, h);
	if (unlikely(reason == XTUN_RX_TRUNCATED))
		reason = xtun_wire_parse_on(wire, skb, offset, len, part, ipproto, h);
	h->len += skip;
	if (h->end)
		h->end += skip;
	return reason;
}

static inline const struct xtun_wire *xtun_wire_of_received(struct sk_buff *skb,
							    unsigned int offset,
							    struct xtun_match *match)
{
	const struct udphdr *uh;

	if (!pskb_may_pull(skb, offset + sizeof(*uh)))
		return NULL;
	uh = (const struct udphdr *)(skb->data + offset);
	match->port = uh->dest;
	return xtun_udp_wire(match->net, match->family, uh->dest);
}

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
static inline const struct xtun_wire *xtun_wire_find(struct sk_buff *skb,
						     unsigned int offset,
						     u8 ipproto, bool sent,
						     struct xtun_match *match)
{
	const struct xtun_wire *wire;

	match->port = 0;
	if (ipproto == IPPROTO_UDP) {
		wire = sent ? xtun_wire_of_sent(skb, offset, match) :
			      xtun_wire_of_received(skb, offset, match);
	} else {
		wire = xtun_wire_by_ipproto(ipproto);
		/* Of a protocol that is not ours alone, some packets are. */
		if (wire && wire->transport->matches &&
		    (!pskb_may_pull(skb, offset + wire->transport->len) ||
		     !wire->transport->matches(match->family, ipproto,
					       skb->data + offset)))
			return NULL;
	}
	if (wire)
		match->wire = wire->id;
	return wire;
}

#endif /* _XTUN_WIRE_READ_H */
