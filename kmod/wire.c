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
#include "wire_read.h"

/**
 * xtun_wire_parse_on() - read on in a header that is longer than was looked at
 * @wire: its form
 * @skb: the packet; pulled, else untouched
 * @offset: bytes from its data to the header
 * @len: how many bytes there are behind that
 * @part: how many have been looked at
 * @ipproto: protocol number in the outer IP header
 * @h: what could be read of it; gets the rest
 *
 * A header with options tells how long it is, or one of them is.
 *
 * Context: any.
 * Return: as xtun_wire_parse().
 */
int xtun_wire_parse_on(const struct xtun_wire *wire, struct sk_buff *skb,
		       unsigned int offset, unsigned int len, unsigned int part,
		       u8 ipproto, struct xtun_hdr *h)
{
	int reason = XTUN_RX_TRUNCATED;

	while (reason == XTUN_RX_TRUNCATED && h->len > part && h->len <= len) {
		part = h->len;
		reason = xtun_wire_try(wire, skb, offset, part, ipproto, h);
	}
	return reason;
}

/**
 * xtun_wire_of_sent() - find the form of what a UDP packet of this host carries
 * @skb: the packet; pulled, else untouched
 * @offset: bytes from its data to the UDP header
 * @match: has net and family; gets the port
 *
 * Where both ports are those of tunnels, what follows has to tell.
 *
 * Context: RCU.
 * Return: the form, or NULL when it is nothing of xtun's.
 */
const struct xtun_wire *xtun_wire_of_sent(struct sk_buff *skb, unsigned int offset,
					  struct xtun_match *match)
{
	struct xtun_udp_wires wires;
	struct xtun_hdr h;
	struct udphdr uh;

	if (!pskb_may_pull(skb, offset + sizeof(uh)))
		return NULL;
	memcpy(&uh, skb->data + offset, sizeof(uh));
	match->port = uh.dest;

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
