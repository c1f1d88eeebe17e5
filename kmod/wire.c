// SPDX-License-Identifier: GPL-2.0
/*
 * Which encapsulation begins behind an outer IP header, and what does its header
 * say? The same for packets that arrive, for those that errors quote, and for
 * those that have come back into the tunnel.
 */
#include <linux/in.h>
#include <linux/udp.h>

#include "conf.h"
#include "port.h"
#include "wire.h"

/* Parses so many bytes, which the transport's header is not of. */
static int xtun_wire_try(const struct xtun_wire *wire,
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
int xtun_wire_parse(const struct xtun_wire *wire,
		    struct sk_buff *skb, unsigned int offset,
		    unsigned int len, u8 ipproto,
		    struct xtun_hdr *h)
{
	unsigned int skip = wire->transport->len, part;
	int reason;

	if (len < skip) {
		memset(h, 0, sizeof(*h));
		return XTUN_RX_TRUNCATED;
	}
	offset += skip;
	len -= skip;
	part = min_t(unsigned int, len, wire->hdr_max);
	reason = xtun_wire_try(wire, skb, offset, part, ipproto, h);
	/* A header with options tells how long it is, or one of them is. */
	while (unlikely(reason == XTUN_RX_TRUNCATED && h->len > part &&
			h->len <= len)) {
		part = h->len;
		reason = xtun_wire_try(wire, skb, offset, part, ipproto, h);
	}
	h->len += skip;
	if (h->end)
		h->end += skip;
	return reason;
}

/* Where both ports are those of tunnels, what follows has to tell. */
static const struct xtun_wire *xtun_wire_of_udp(struct sk_buff *skb,
						unsigned int offset, bool sent,
						struct xtun_match *match)
{
	struct xtun_udp_wires wires;
	struct xtun_hdr h;
	struct udphdr uh;

	if (!pskb_may_pull(skb, offset + sizeof(uh)))
		return NULL;
	memcpy(&uh, skb->data + offset, sizeof(uh));
	match->port = uh.dest;
	if (!sent)
		return xtun_udp_wire(match->net, match->family, uh.dest);

	if (!xtun_udp_wires(match->net, match->family, &uh, &wires))
		return NULL;
	if (!wires.here)
		return wires.there;
	if (wires.there &&
	    xtun_wire_parse(wires.here, skb, offset, skb->len - offset,
			    IPPROTO_UDP, &h) < 0)
		return wires.there;
	match->port = uh.source;
	return wires.here;
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
const struct xtun_wire *xtun_wire_find(struct sk_buff *skb, unsigned int offset,
				       u8 ipproto, bool sent,
				       struct xtun_match *match)
{
	const struct xtun_wire *wire;

	match->port = 0;
	if (ipproto == IPPROTO_UDP) {
		wire = xtun_wire_of_udp(skb, offset, sent, match);
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

/**
 * xtun_wire_parse_conf() - read what only the tunnel can tell of a header
 * @conf: the tunnel's configuration; its wire has parse_conf
 * @skb: the packet; pulled, else untouched
 * @offset: bytes from its data to the end of the outer IP header
 * @len: how many bytes there are behind that, not always as many as there were
 *	for xtun_wire_parse()
 * @sent: this host has sent it, else it arrives here
 * @h: what xtun_wire_parse() could read without fault; gets the rest
 *
 * Context: RCU.
 * Return: 0, an enum xtun_drop_reason, or with @sent -ENOMSG when it is none of the
 * tunnel's.
 */
int xtun_wire_parse_conf(const struct xtun_conf *conf,
			 struct sk_buff *skb, unsigned int offset,
			 unsigned int len, bool sent,
			 struct xtun_hdr *h)
{
	const struct xtun_wire *wire = conf->ops->wire;
	unsigned int skip = wire->transport->len;
	int reason;

	if (len < h->len)
		return XTUN_RX_TRUNCATED;
	offset += skip;
	len = min_t(unsigned int, len - skip, wire->hdr_max);
	if (!pskb_may_pull(skb, offset + len))
		return XTUN_RX_NO_MEMORY;
	h->len -= skip;
	reason = wire->parse_conf(conf, skb->data + offset, len, sent, h);
	h->len += skip;
	return reason;
}
