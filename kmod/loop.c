// SPDX-License-Identifier: GPL-2.0
/*
 * Tunnels whose routes lead into each other. While a packet is being sent the
 * CPU knows; a queue in between makes it forget, but the packet itself tells.
 */
#include <linux/if_ether.h>
#include <linux/skbuff.h>

#include "xtun.h"

/* Tunnels in tunnels that are looked into. */
#define XTUN_LOOP_LEVELS	8

/* Reads on in a header of which only the tunnel that sent it tells the rest. */
static bool xtun_loop_rest(const struct xtun_match *match, struct sk_buff *skb,
			   unsigned int at, struct xtun_hdr *h)
{
	const struct xtun_conf *sender = xtun_lookup_sender(match, h, NULL, NULL);

	return sender && !xtun_wire_rest(sender, skb, at, skb->len - at, true,
					 h);
}

/* Reads one outer packet at the data; returns where what it carries begins. */
static unsigned int xtun_loop_level(const struct xtun_cx *cx, bool *own)
{
	const struct xtun_conf *conf = cx->conf;
	struct sk_buff *skb = cx->skb;
	struct xtun_match match = { .net = cx->tun->net };
	const struct xtun_wire *wire;
	struct xtun_quote quote;
	struct xtun_hdr h;
	unsigned int at;
	u8 family;

	if (!pskb_may_pull(skb, 1))
		return 0;
	family = *skb->data >> 4 == 4 ? AF_INET : AF_INET6;
	if (!xtun_route_quote(skb, family, &match, &quote))
		return 0;
	at = quote.at;
	if (at > skb->len)
		return 0;
	wire = xtun_wire_find(skb, at, quote.ipproto, true, &match);
	if (!wire || xtun_wire_parse(wire, skb, at, skb->len - at,
				     quote.ipproto, &h))
		return 0;

	*own = family == conf->p.family && wire == conf->ops->wire &&
	       match.port == conf->match.port &&
	       nf_inet_addr_cmp(&match.local, &cx->saddr) &&
	       nf_inet_addr_cmp(&match.remote, &cx->daddr) &&
	       xtun_lookup_sends(conf, &h);
	if (wire->rest && !xtun_loop_rest(&match, skb, at, &h))
		return 0;
	at += h.len + (h.payload == XTUN_PAYLOAD_ETH ? ETH_HLEN : 0);
	return pskb_may_pull(skb, at) ? at : 0;
}

/**
 * xtun_came_back() - is there an outer packet of the tunnel in an inner one?
 * @cx: the inner packet, its network header set, with peer and source
 *
 * However it has come back: through other tunnels, bridges, queues.
 *
 * Context: BH disabled.
 * Return: whether there is.
 */
bool xtun_came_back(const struct xtun_cx *cx)
{
	unsigned int level, at = cx->l3_off, pulled = 0;
	bool own = false;

	for (level = 0; level < XTUN_LOOP_LEVELS && !own; level++) {
		__skb_pull(cx->skb, at);
		pulled += at;
		at = xtun_loop_level(cx, &own);
		if (!at)
			break;
	}
	__skb_push(cx->skb, pulled);
	return own;
}
