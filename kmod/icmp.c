// SPDX-License-Identifier: GPL-2.0
/*
 * The way back: an ICMP error about an outer packet has come. Read the quote, find
 * the tunnel, believe it or not, learn from it, and tell the sender of the inner
 * packet, which inner.c finds.
 */
#include <linux/etherdevice.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/icmp.h>
#include <net/ipv6.h>
#include <net/ndisc.h>

#include "conf.h"
#include "device.h"
#include "icmp.h"
#include "mark.h"
#include "net.h"
#include "notify.h"
#include "packet.h"
#include "route.h"
#include "wire.h"

/* PATH-TRUTH's table, from the side of the error; the other is in tell.c. */
static const u8 xtun_unreach_v4[NR_ICMP_UNREACH + 1] = {
	[ICMP_NET_UNREACH] = XTUN_KIND_NETWORK,
	[ICMP_HOST_UNREACH] = XTUN_KIND_HOST,
	[ICMP_PROT_UNREACH] = XTUN_KIND_HOST,
	[ICMP_PORT_UNREACH] = XTUN_KIND_HOST,
	[ICMP_FRAG_NEEDED] = XTUN_KIND_TOO_BIG,
	[ICMP_SR_FAILED] = XTUN_KIND_SOURCE_ROUTE,
	[ICMP_NET_UNKNOWN] = XTUN_KIND_NETWORK,
	[ICMP_HOST_UNKNOWN] = XTUN_KIND_HOST,
	[ICMP_HOST_ISOLATED] = XTUN_KIND_HOST,
	[ICMP_NET_ANO] = XTUN_KIND_PROHIBITED_NET,
	[ICMP_HOST_ANO] = XTUN_KIND_PROHIBITED_HOST,
	[ICMP_NET_UNR_TOS] = XTUN_KIND_NETWORK,
	[ICMP_HOST_UNR_TOS] = XTUN_KIND_HOST,
	[ICMP_PKT_FILTERED] = XTUN_KIND_PROHIBITED,
	[ICMP_PREC_VIOLATION] = XTUN_KIND_OTHER,
	[ICMP_PREC_CUTOFF] = XTUN_KIND_OTHER,
};

static const u8 xtun_unreach_v6[] = {
	[ICMPV6_NOROUTE] = XTUN_KIND_NETWORK,
	[ICMPV6_ADM_PROHIBITED] = XTUN_KIND_PROHIBITED,
	[ICMPV6_NOT_NEIGHBOUR] = XTUN_KIND_HOST,
	[ICMPV6_ADDR_UNREACH] = XTUN_KIND_HOST,
	[ICMPV6_PORT_UNREACH] = XTUN_KIND_HOST,
	[ICMPV6_POLICY_FAIL] = XTUN_KIND_PROHIBITED,
	[ICMPV6_REJECT_ROUTE] = XTUN_KIND_PROHIBITED,
};

static enum xtun_kind xtun_kind_v4(u8 type, u8 code)
{
	switch (type) {
	case ICMP_DEST_UNREACH:
		return code < ARRAY_SIZE(xtun_unreach_v4) ?
		       xtun_unreach_v4[code] : XTUN_KIND_OTHER;
	case ICMP_TIME_EXCEEDED:
		return code == ICMP_EXC_TTL ? XTUN_KIND_TIME :
					      XTUN_KIND_REASSEMBLY;
	case ICMP_PARAMETERPROB:
		return XTUN_KIND_HOST;
	case ICMP_SOURCE_QUENCH:
		return XTUN_KIND_SOURCE_QUENCH;
	case ICMP_REDIRECT:
		return XTUN_KIND_REDIRECT;
	default:
		return XTUN_KIND_OTHER;
	}
}

static enum xtun_kind xtun_kind_v6(u8 type, u8 code)
{
	switch (type) {
	case ICMPV6_DEST_UNREACH:
		return code < ARRAY_SIZE(xtun_unreach_v6) ?
		       xtun_unreach_v6[code] : XTUN_KIND_OTHER;
	case ICMPV6_PKT_TOOBIG:
		return XTUN_KIND_TOO_BIG;
	case ICMPV6_TIME_EXCEED:
		return code == ICMPV6_EXC_HOPLIMIT ? XTUN_KIND_TIME :
						     XTUN_KIND_REASSEMBLY;
	case ICMPV6_PARAMPROB:
		return code <= ICMPV6_UNK_OPTION ? XTUN_KIND_HOST :
						   XTUN_KIND_OTHER;
	case NDISC_REDIRECT:
		return XTUN_KIND_REDIRECT;
	default:
		return XTUN_KIND_OTHER;
	}
}

/* RFC 4884 section 4: which messages may hold more than the quote. */
static bool xtun_extensible(u8 family, u8 type)
{
	if (family == AF_INET)
		return type == ICMP_DEST_UNREACH ||
		       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
	return type == ICMPV6_DEST_UNREACH || type == ICMPV6_TIME_EXCEED;
}

/**
 * xtun_icmp_read() - read the header of an ICMP error
 * @icmp: gets it
 * @family: AF_INET or AF_INET6
 * @hdr: the header's 8 bytes
 *
 * RFC 792, RFC 4443; the length of the quote by RFC 4884.
 *
 * Context: any.
 */
void xtun_icmp_read(struct xtun_icmp *icmp, u8 family, const void *hdr)
{
	const struct icmp6hdr *icmp6h = hdr;
	const struct icmphdr *icmph = hdr;

	icmp->type = icmph->type;
	icmp->code = icmph->code;
	icmp->words = 0;
	if (family == AF_INET) {
		icmp->info = ntohs(icmph->un.frag.mtu);
		if (xtun_extensible(family, icmp->type))
			icmp->words = icmph->un.reserved[1] * 4;
	} else {
		icmp->info = ntohl(icmp6h->icmp6_mtu);
		if (xtun_extensible(family, icmp->type))
			icmp->words = icmp6h->icmp6_dataun.un_data8[0] * 8;
	}
}

/* Find and read the headers; false when it is about no packet of xtun's. */
static bool xtun_back_parse(struct xtun_back *b, enum xtun_input input, u8 family)
{
	struct sk_buff *skb = b->skb;
	struct xtun_match outer = { .family = family };
	const struct xtun_wire *wire;
	enum xtun_reason reason;

	if (!xtun_outer_quote(skb, family, &b->match, &b->quote))
		return false;
	wire = xtun_wire_find(skb, b->quote.at, b->quote.ipproto, true,
			      &b->match);
	if (!wire || wire->transport->input != input)
		return false;

	b->quoted = min(skb->len, b->quote.len);
	if (b->icmp->words)
		b->quoted = min_t(unsigned int, b->quoted, b->icmp->words);
	if (b->quote.at > b->quoted)
		return false;

	reason = xtun_wire_parse(wire, skb, b->quote.at, b->quoted - b->quote.at,
				 b->quote.ipproto, &b->h);
	/* A quote may end anywhere; what was sent here can be read up to there. */
	if (reason && reason != XTUN_RX_TRUNCATED)
		return false;
	b->whole = !reason;

	xtun_outer_addrs(skb, &outer);
	b->from = outer.remote;
	b->kind = family == AF_INET ?
		  xtun_kind_v4(b->icmp->type, b->icmp->code) :
		  xtun_kind_v6(b->icmp->type, b->icmp->code);
	return true;
}

/* An error that is not believed; too many of them, and it is an attack. */
static void xtun_doubt(struct xtun_dev *tun, enum xtun_reason reason)
{
	xtun_count(tun, reason);
	if (time_after_eq(jiffies, READ_ONCE(tun->doubts_time) + HZ)) {
		WRITE_ONCE(tun->doubts_time, jiffies);
		WRITE_ONCE(tun->doubts, 0);
	}
	WRITE_ONCE(tun->doubts, tun->doubts + 1);
}

/* The first 8 bytes of the quoted transport's header, or NULL; may use @buf. */
static const u8 *xtun_back_transport(const struct xtun_back *b, u8 *buf)
{
	return skb_header_pointer(b->skb, b->quote.at, XTUN_QUOTE_TRANSPORT,
				  buf);
}

/* Is what the transport put before the packet what it would put there? */
static bool xtun_back_carried(const struct xtun_back *b,
			      const struct xtun_conf *conf,
			      const struct xtun_tag *tag)
{
	const struct xtun_transport *transport = conf->ops->wire->transport;
	u8 buf[XTUN_QUOTE_TRANSPORT];
	const u8 *hdr;

	if (!transport->sent)
		return true;
	hdr = xtun_back_transport(b, buf);
	return hdr && transport->sent(conf, hdr, tag);
}

/* May a program have sent it, which wants to hear of it? */
static bool xtun_back_of_others(const struct xtun_back *b,
				const struct xtun_conf *conf)
{
	const struct xtun_transport *transport = conf->ops->wire->transport;
	u8 buf[XTUN_QUOTE_TRANSPORT];
	const u8 *hdr;

	if (!transport->others)
		return false;
	hdr = xtun_back_transport(b, buf);
	return hdr && transport->others(&b->match, hdr);
}

/* Are only packets between some addresses its own, whatever their key? */
static bool xtun_has_ends(const struct xtun_conf *conf)
{
	return !ipv6_addr_any(&conf->p.local.in6) ||
	       !ipv6_addr_any(&conf->p.remote.in6);
}

/*
 * Does the memory of this tunnel have the packet, or may it do without? Where no
 * program has the port that it was sent from, nobody else may believe the error
 * either; where one has, the packet may well have been its own.
 */
static bool xtun_back_sent(const struct xtun_conf *conf, void *data)
{
	struct xtun_back *b = data;
	u8 buf;

	if (!xtun_back_carried(b, conf, NULL))
		return false;
	if (conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return !conf->ops->wire->common && xtun_has_ends(conf);
	if (xtun_back_recall(b, conf, &buf, sizeof(buf)))
		return true;
	xtun_memory_arm(conf->tun);
	if (conf->ops->wire->common || xtun_back_of_others(b, conf))
		return false;
	xtun_doubt(conf->tun, XTUN_ERR_SHORT);
	b->doubted = conf->ops->wire->transport->sent;
	return false;
}

/* A program may send to the same port from another, or another tunnel. */
static bool xtun_back_is_of(const struct xtun_conf *conf, void *data)
{
	return xtun_back_carried(data, conf, NULL);
}

static bool xtun_back_find(struct xtun_back *b)
{
	const struct xtun_conf *conf;

	if (b->h.n_ids)
		conf = xtun_lookup_sent(&b->match, &b->h, b->skb,
					xtun_back_is_of, b);
	else
		conf = xtun_lookup_cut(&b->match, &b->h, xtun_back_sent, b);
	if (!conf)
		return false;
	b->cx.conf = conf;
	b->cx.tun = conf->tun;
	return true;
}

/* Reads on, now that the tunnel is known; false when it has not sent this. */
static bool xtun_back_rest(struct xtun_back *b)
{
	const struct xtun_conf *conf = b->cx.conf;
	enum xtun_reason reason;

	if (!b->whole || !conf->ops->wire->rest)
		return true;
	reason = xtun_wire_rest(conf, b->skb, b->quote.at,
				b->quoted - b->quote.at, true, &b->h);
	b->whole = !reason;
	return reason != XTUN_NOT_OURS;
}

/* Is the inner packet of a kind that is never handed down in one for many? */
static bool xtun_back_single(const struct xtun_back *b)
{
	u8 ipproto = IPPROTO_ICMP;

	if (b->cx.proto == htons(ETH_P_IP))
		ipproto = ip_hdr(b->cx.skb)->protocol;
	else if (b->cx.proto == htons(ETH_P_IPV6))
		ipproto = ipv6_hdr(b->cx.skb)->nexthdr;
	return ipproto == IPPROTO_ICMP || ipproto == IPPROTO_ICMPV6 ||
	       xtun_wire_by_ipproto(ipproto);
}

/* Does the tunnel send such a packet without DF, or only fragments of it? */
static bool xtun_back_fragmentable(const struct xtun_back *b)
{
	const struct xtun_cx *cx = &b->cx;

	if (!xtun_outer_df(cx) ||
	    xtun_route_locked(cx->conf, xtun_mark_of_error(cx->conf, b->skb),
			      &b->match.remote))
		return true;
	if (!b->quote.more)
		return false;
	return cx->proto == htons(ETH_P_IPV6) ||
	       (cx->conf->p.frag == XTUN_FRAG_OUTER && !cx->df);
}

/*
 * Has who sent the error seen the packet? There is no telling where the tag had
 * no place: under a flow label of the user, and in a packet that may be
 * fragmented, which the memory has to know.
 */
static bool xtun_back_identified(const struct xtun_back *b,
				 const struct xtun_tag *tag)
{
	const struct xtun_conf *conf = b->cx.conf;
	unsigned int segs;

	if (conf->p.family == AF_INET6)
		return conf->p.flowlabel != XTUN_FLOWLABEL_AUTO ||
		       !((b->quote.ident ^ tag->flow) &
			 ntohl(IPV6_FLOWLABEL_MASK));
	if (!b->quote.df)
		return xtun_back_fragmentable(b);
	segs = !b->cx.routed || xtun_back_single(b) ?
	       1 : xtun_back_segs(b, conf->tun);
	return xtun_outer_df(&b->cx) && (u16)(b->quote.ident - tag->id) < segs;
}

/* What is remembered was found by its identification. */
static bool xtun_back_proven_as(struct xtun_back *b, bool routed)
{
	struct xtun_tag tag;

	b->cx.routed = routed;
	tag = xtun_flow_tag(&b->cx);
	return xtun_back_carried(b, b->cx.conf, &tag) &&
	       (b->remembered || xtun_back_identified(b, &tag));
}

/* Which packets were routed into the tunnel, their tags tell, or the memory. */
static bool xtun_back_proven(struct xtun_back *b)
{
	if (b->remembered)
		return xtun_back_proven_as(b, b->cx.routed);
	return xtun_back_proven_as(b, true) || xtun_back_proven_as(b, false);
}

static void xtun_back_notify(const struct xtun_back *b,
			     enum xtun_reason outcome, u32 mtu)
{
	const struct xtun_told told = {
		.peer = &b->match.remote,
		.from = &b->from,
		.family = b->match.family,
		.type = b->icmp->type,
		.code = b->icmp->code,
		.mtu = mtu,
		.outcome = outcome,
		.inner = b->cx.skb,
		.proto = b->cx.skb ? b->cx.proto : 0,
	};

	xtun_notify_error(b->cx.tun, &told);
}

/* The error was believed, and that is what became of it. */
static void xtun_back_end(struct xtun_back *b, enum xtun_reason outcome,
			  u32 mtu)
{
	xtun_count(b->cx.tun, outcome);
	xtun_peer_error(b->cx.tun, &b->match.remote, &b->from, b->icmp->type,
			b->icmp->code);
	xtun_back_notify(b, outcome, mtu);
}

/*
 * A filter that refuses a packet may make an error of its own. It comes on the same
 * processor, a moment after the sender was told.
 */
static bool xtun_back_told(const struct xtun_back *b)
{
	const struct xtun_refused *refused = this_cpu_ptr(b->cx.tun->pcpu)->refused;
	int i;

	if (!xtun_route_is_own(b->skb, b->match.family, &b->from))
		return false;
	for (i = 0; i < XTUN_REFUSED; i++) {
		if (refused[i].ident && refused[i].ident == b->quote.ident &&
		    (u32)jiffies - refused[i].time < HZ)
			return true;
	}
	return false;
}

static enum xtun_reason xtun_back_relay(struct xtun_back *b, u32 mtu)
{
	if (b->cx.conf->p.icmp_relay == XTUN_ICMP_RELAY_OFF)
		return XTUN_ERR_OFF;
	if (unlikely(!mtu && xtun_back_told(b)))
		return XTUN_ERR_MUTE;
	return xtun_tell(&b->cx, b->kind, mtu) ? XTUN_ERR_RELAYED :
						 XTUN_ERR_MUTE;
}

/* Will the next such packet be fragmented, where this one was too big? */
static bool xtun_back_fits_next(const struct xtun_back *b, unsigned int headers)
{
	if (b->cx.proto == htons(ETH_P_IP))
		return !b->cx.df;
	return b->quote.len <= headers + IPV6_MIN_MTU;
}

/*
 * A packet whose route is taken away while it leaves fits into nothing, and this
 * host says so itself. It says nothing about the path.
 */
static bool xtun_back_from_nowhere(const struct xtun_back *b)
{
	return b->icmp->info && b->icmp->info <= ETH_MIN_MTU &&
	       xtun_route_is_own(b->skb, b->match.family, &b->from);
}

static enum xtun_verdict xtun_back_too_big(struct xtun_back *b)
{
	struct xtun_dev *tun = b->cx.tun;
	unsigned int headers;
	u32 mtu, before;

	/* Nobody need fragment, so nobody complains, without DF. */
	if (b->quote.len <= b->icmp->info || !b->quote.df ||
	    xtun_back_from_nowhere(b)) {
		xtun_count(tun, XTUN_ERR_BOGUS_MTU);
		return XTUN_ERR_FALSE;
	}
	before = xtun_path_mtu(b->cx.conf, &b->match.remote);
	mtu = xtun_route_learn(b->cx.conf, xtun_mark_of_error(b->cx.conf, b->skb),
			       &b->match.remote, &b->from, b->icmp->info);
	xtun_back_end(b, XTUN_ERR_TOO_BIG, b->icmp->info);
	xtun_notify_path(b->cx.conf, &b->match.remote, before);
	if (!b->cx.skb)
		return XTUN_ERR_OURS;

	headers = b->quote.at + b->cx.conf->encap_len + b->cx.l3_off;
	if (!xtun_back_fits_next(b, headers))
		xtun_count(tun, xtun_back_relay(b, mtu > headers ?
						mtu - headers : 0));
	return XTUN_ERR_OURS;
}

static const u8 xtun_not_relayed[] = {
	[XTUN_KIND_REDIRECT] = XTUN_ERR_REDIRECT,
	[XTUN_KIND_REASSEMBLY] = XTUN_ERR_REASSEMBLY,
	[XTUN_KIND_SOURCE_QUENCH] = XTUN_ERR_SOURCE_QUENCH,
	[XTUN_KIND_SOURCE_ROUTE] = XTUN_ERR_SOURCE_ROUTE,
	[XTUN_KIND_OTHER] = XTUN_ERR_OTHER,
};

/* Nothing is known of the inner packet, and nothing will be. */
static void xtun_back_blind(struct xtun_back *b, enum xtun_reason outcome)
{
	xtun_peer_soft_set(b->cx.tun, &b->match.remote, b->kind);
	xtun_back_end(b, outcome, 0);
}

static enum xtun_verdict xtun_back_act(struct xtun_back *b)
{
	switch (b->kind) {
	case XTUN_KIND_TOO_BIG:
		return xtun_back_too_big(b);
	case XTUN_KIND_REDIRECT:
		xtun_route_redirect(b->cx.conf, b->skb);
		fallthrough;
	case XTUN_KIND_REASSEMBLY:
	case XTUN_KIND_SOURCE_QUENCH:
	case XTUN_KIND_SOURCE_ROUTE:
	case XTUN_KIND_OTHER:
		xtun_back_end(b, xtun_not_relayed[b->kind], 0);
		break;
	default:
		if (b->cx.skb)
			xtun_back_end(b, xtun_back_relay(b, 0), 0);
		else
			xtun_back_blind(b, XTUN_ERR_SHORT);
	}
	return XTUN_ERR_OURS;
}

/*
 * A short quote that nothing is remembered of proves nothing. The next one will
 * find a memory; without any, it has to be believed.
 */
static enum xtun_verdict xtun_back_short(struct xtun_back *b)
{
	if (b->cx.conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return xtun_back_act(b);
	xtun_memory_arm(b->cx.tun);
	if (xtun_back_of_others(b, b->cx.conf))
		return XTUN_ERR_OTHERS;
	xtun_doubt(b->cx.tun, XTUN_ERR_SHORT);
	return XTUN_ERR_FALSE;
}

/* It is known what the error is about. */
static enum xtun_verdict xtun_back_known(struct xtun_back *b)
{
	if (!xtun_back_proven(b)) {
		if (xtun_back_of_others(b, b->cx.conf))
			return XTUN_ERR_OTHERS;
		xtun_doubt(b->cx.tun, XTUN_ERR_FORGED);
		return XTUN_ERR_FALSE;
	}
	return xtun_back_recalled(b) ? xtun_back_act(b) : xtun_back_short(b);
}

/* About a packet that carried nothing: no sender, and no path is too narrow. */
static enum xtun_verdict xtun_back_empty(struct xtun_back *b)
{
	if (b->kind == XTUN_KIND_TOO_BIG ||
	    !xtun_back_carried(b, b->cx.conf, NULL)) {
		xtun_doubt(b->cx.tun, XTUN_ERR_FORGED);
		return XTUN_ERR_FALSE;
	}
	xtun_back_end(b, XTUN_ERR_MUTE, 0);
	return XTUN_ERR_OURS;
}

/**
 * xtun_err() - an ICMP error about an outer packet has come
 * @skb: the error, its data at the quoted outer header, its network header its
 *	own; the same afterwards
 * @input: what brings it
 * @family: AF_INET or AF_INET6, of the underlay
 * @icmp: its header
 *
 * Context: BH disabled, RCU.
 * Return: whether others may believe it.
 */
enum xtun_verdict xtun_err(struct sk_buff *skb, enum xtun_input input, u8 family,
			   const struct xtun_icmp *icmp)
{
	struct xtun_back b = {
		.skb = skb,
		.icmp = icmp,
		.match = { .net = dev_net(skb->dev) },
	};
	enum xtun_verdict verdict;

	if (!xtun_back_parse(&b, input, family))
		return XTUN_ERR_OTHERS;
	if (!xtun_back_find(&b))
		return b.doubted ? XTUN_ERR_FALSE : XTUN_ERR_OTHERS;

	if (!xtun_back_rest(&b)) {
		xtun_doubt(b.cx.tun, XTUN_ERR_FORGED);
		return XTUN_ERR_FALSE;
	}
	if (b.h.empty)
		verdict = xtun_back_empty(&b);
	else if (xtun_back_from_quote(&b) || xtun_back_from_memory(&b))
		verdict = xtun_back_known(&b);
	else
		verdict = xtun_back_short(&b);
	consume_skb(b.cx.skb);
	return verdict;
}

/* As which a peer's word that it has no such tunnel is taken. */
static const struct xtun_icmp xtun_no_tunnel_v4 = {
	.type = ICMP_DEST_UNREACH,
	.code = ICMP_HOST_UNREACH,
};

static const struct xtun_icmp xtun_no_tunnel_v6 = {
	.type = ICMPV6_DEST_UNREACH,
	.code = ICMPV6_ADDR_UNREACH,
};

/**
 * xtun_err_unknown_key() - a peer says that it has no tunnel with a key
 * @skb: the packet that says so, its network header the outer one
 * @match: net, addresses, wire, family and port as the tunnel has them; the rest
 *	is scratch
 * @h: header of the packets that it is about: key and payload
 *
 * It quotes no packet, so nothing proves it and nothing remembered could: it is
 * an error with a short quote where there is no memory. Who is not the one
 * remote end of the tunnel is counted and no more.
 *
 * Context: BH disabled, RCU.
 */
void xtun_err_unknown_key(const struct sk_buff *skb, struct xtun_match *match,
			  const struct xtun_hdr *h)
{
	struct xtun_conf *conf = xtun_lookup_sent(match, h, skb, NULL, NULL);
	struct xtun_back b = {
		.icmp = match->family == AF_INET ? &xtun_no_tunnel_v4 :
						   &xtun_no_tunnel_v6,
		.match = *match,
		.from = match->remote,
		.kind = XTUN_KIND_HOST,
	};

	if (!conf)
		return;
	b.cx.conf = conf;
	b.cx.tun = conf->tun;
	if (nf_inet_addr_cmp(&conf->p.remote, &match->remote))
		xtun_back_blind(&b, XTUN_ERR_UNKNOWN_KEY);
	else
		xtun_doubt(conf->tun, XTUN_ERR_UNKNOWN_KEY);
}
