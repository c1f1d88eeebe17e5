// SPDX-License-Identifier: GPL-2.0
/*
 * The way back: an ICMP error about an outer packet has come. Read the quote, find
 * the tunnel, believe it or not, learn from it, and tell the sender of the inner
 * packet, which icmp_inner.c finds.
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
#include "flow.h"
#include "icmp.h"
#include "mark.h"
#include "net.h"
#include "notify.h"
#include "outer.h"
#include "packet.h"
#include "route.h"
#include "wire.h"
#include "wire_read.h"

/* PATH-TRUTH's table, from the side of the error; the other is in icmp_send.c. */
static const u8 xtun_unreach_v4[NR_ICMP_UNREACH + 1] = {
	[ICMP_NET_UNREACH] = XTUN_CLASS_NETWORK,
	[ICMP_HOST_UNREACH] = XTUN_CLASS_HOST,
	[ICMP_PROT_UNREACH] = XTUN_CLASS_HOST,
	[ICMP_PORT_UNREACH] = XTUN_CLASS_HOST,
	[ICMP_FRAG_NEEDED] = XTUN_CLASS_TOO_BIG,
	[ICMP_SR_FAILED] = XTUN_CLASS_SOURCE_ROUTE,
	[ICMP_NET_UNKNOWN] = XTUN_CLASS_NETWORK,
	[ICMP_HOST_UNKNOWN] = XTUN_CLASS_HOST,
	[ICMP_HOST_ISOLATED] = XTUN_CLASS_HOST,
	[ICMP_NET_ANO] = XTUN_CLASS_PROHIBITED_NET,
	[ICMP_HOST_ANO] = XTUN_CLASS_PROHIBITED_HOST,
	[ICMP_NET_UNR_TOS] = XTUN_CLASS_NETWORK,
	[ICMP_HOST_UNR_TOS] = XTUN_CLASS_HOST,
	[ICMP_PKT_FILTERED] = XTUN_CLASS_PROHIBITED,
	[ICMP_PREC_VIOLATION] = XTUN_CLASS_OTHER,
	[ICMP_PREC_CUTOFF] = XTUN_CLASS_OTHER,
};

static const u8 xtun_unreach_v6[] = {
	[ICMPV6_NOROUTE] = XTUN_CLASS_NETWORK,
	[ICMPV6_ADM_PROHIBITED] = XTUN_CLASS_PROHIBITED,
	[ICMPV6_NOT_NEIGHBOUR] = XTUN_CLASS_HOST,
	[ICMPV6_ADDR_UNREACH] = XTUN_CLASS_HOST,
	[ICMPV6_PORT_UNREACH] = XTUN_CLASS_HOST,
	[ICMPV6_POLICY_FAIL] = XTUN_CLASS_PROHIBITED,
	[ICMPV6_REJECT_ROUTE] = XTUN_CLASS_PROHIBITED,
};

static enum xtun_icmp_class xtun_icmp_class_v4(u8 type, u8 code)
{
	switch (type) {
	case ICMP_DEST_UNREACH:
		return code < ARRAY_SIZE(xtun_unreach_v4) ?
		       xtun_unreach_v4[code] : XTUN_CLASS_OTHER;
	case ICMP_TIME_EXCEEDED:
		return code == ICMP_EXC_TTL ? XTUN_CLASS_TIME :
					      XTUN_CLASS_REASSEMBLY;
	case ICMP_PARAMETERPROB:
		return XTUN_CLASS_HOST;
	case ICMP_SOURCE_QUENCH:
		return XTUN_CLASS_SOURCE_QUENCH;
	case ICMP_REDIRECT:
		return XTUN_CLASS_REDIRECT;
	default:
		return XTUN_CLASS_OTHER;
	}
}

static enum xtun_icmp_class xtun_icmp_class_v6(u8 type, u8 code)
{
	switch (type) {
	case ICMPV6_DEST_UNREACH:
		return code < ARRAY_SIZE(xtun_unreach_v6) ?
		       xtun_unreach_v6[code] : XTUN_CLASS_OTHER;
	case ICMPV6_PKT_TOOBIG:
		return XTUN_CLASS_TOO_BIG;
	case ICMPV6_TIME_EXCEED:
		return code == ICMPV6_EXC_HOPLIMIT ? XTUN_CLASS_TIME :
						     XTUN_CLASS_REASSEMBLY;
	case ICMPV6_PARAMPROB:
		return code <= ICMPV6_UNK_OPTION ? XTUN_CLASS_HOST :
						   XTUN_CLASS_OTHER;
	case NDISC_REDIRECT:
		return XTUN_CLASS_REDIRECT;
	default:
		return XTUN_CLASS_OTHER;
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
static bool xtun_err_parse(struct xtun_icmp_err *e, enum xtun_input input, u8 family)
{
	struct sk_buff *skb = e->skb;
	struct xtun_match outer = { .family = family };
	const struct xtun_wire *wire;
	int reason;

	if (!xtun_outer_quote(skb, family, &e->match, &e->quote))
		return false;
	wire = xtun_wire_find(skb, e->quote.at, e->quote.ipproto, true,
			      &e->match);
	if (!wire || wire->transport->input != input)
		return false;

	e->quoted = min(skb->len, e->quote.len);
	if (e->icmp->words)
		e->quoted = min_t(unsigned int, e->quoted, e->icmp->words);
	if (e->quote.at > e->quoted)
		return false;
	e->has_transport = !skb_copy_bits(skb, e->quote.at, e->transport,
					  sizeof(e->transport));

	reason = xtun_wire_parse(wire, skb, e->quote.at, e->quoted - e->quote.at,
				 e->quote.ipproto, &e->h);
	/* A quote may end anywhere; what was sent here can be read up to there. */
	if (reason && reason != XTUN_RX_TRUNCATED)
		return false;
	e->whole = !reason;

	xtun_outer_addrs(skb, &outer);
	e->from = outer.remote;
	e->class = family == AF_INET ?
		  xtun_icmp_class_v4(e->icmp->type, e->icmp->code) :
		  xtun_icmp_class_v6(e->icmp->type, e->icmp->code);
	return true;
}

/* An error that is not believed; too many of them, and it is an attack. */
static void xtun_err_reject(struct xtun_dev *tun, enum xtun_counter counter)
{
	xtun_count(tun, counter);
	if (time_after_eq(jiffies, READ_ONCE(tun->rejects_time) + HZ)) {
		WRITE_ONCE(tun->rejects_time, jiffies);
		WRITE_ONCE(tun->rejects, 0);
	}
	WRITE_ONCE(tun->rejects, tun->rejects + 1);
}

/* Is what the transport put before the packet what it would put there? */
static bool xtun_err_carried(const struct xtun_icmp_err *e,
			     const struct xtun_conf *conf,
			     const struct xtun_tag *tag)
{
	const struct xtun_transport *transport = conf->ops->wire->transport;

	return !transport->sent ||
	       (e->has_transport && transport->sent(conf, e->transport, tag));
}

/* May a program have sent it, which wants to hear of it? */
static bool xtun_err_of_others(const struct xtun_icmp_err *e,
			       const struct xtun_conf *conf)
{
	const struct xtun_transport *transport = conf->ops->wire->transport;

	return transport->others && e->has_transport &&
	       transport->others(&e->match, e->transport);
}

/*
 * Does the cache of this tunnel have the packet, or may it do without? Where no
 * program has the port that it was sent from, nobody else may believe the error
 * either; where one has, the packet may well have been its own.
 */
static bool xtun_err_sent(const struct xtun_conf *conf, void *data)
{
	struct xtun_icmp_err *e = data;
	u8 buf;

	if (!xtun_err_carried(e, conf, NULL))
		return false;
	/* With an end, only packets between some addresses are its own. */
	if (conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return !conf->ops->wire->shared &&
		       (!xtun_addr_is_any(&conf->p.local) || xtun_has_remote(conf));
	if (xtun_err_recall(e, conf, &buf, sizeof(buf)))
		return true;
	xtun_sent_cache_arm(conf->tun);
	if (conf->ops->wire->shared || xtun_err_of_others(e, conf))
		return false;
	xtun_err_reject(conf->tun, XTUN_ERR_SHORT);
	e->rejected = conf->ops->wire->transport->sent;
	return false;
}

/* A program may send to the same port from another, or another tunnel. */
static bool xtun_err_is_of(const struct xtun_conf *conf, void *data)
{
	return xtun_err_carried(data, conf, NULL);
}

static bool xtun_err_find(struct xtun_icmp_err *e)
{
	const struct xtun_conf *conf;

	if (e->h.n_ids)
		conf = xtun_lookup_sent(&e->match, &e->h, e->skb,
					xtun_err_is_of, e);
	else
		conf = xtun_lookup_cut(&e->match, &e->h, xtun_err_sent, e);
	if (!conf)
		return false;
	e->cx.conf = conf;
	e->cx.tun = conf->tun;
	return true;
}

/* Reads on, now that the tunnel is known; false when it has not sent this. */
static bool xtun_err_parse_conf(struct xtun_icmp_err *e)
{
	const struct xtun_conf *conf = e->cx.conf;
	int reason;

	if (!e->whole || !conf->ops->wire->parse_conf)
		return true;
	reason = xtun_wire_parse_conf(conf, e->skb, e->quote.at,
				      e->quoted - e->quote.at, true, &e->h);
	e->whole = !reason;
	return reason >= 0;
}

/* Is the inner packet of a kind that is never handed down in one for many? */
static bool xtun_err_single(const struct xtun_icmp_err *e)
{
	u8 ipproto = IPPROTO_ICMP;

	if (e->cx.proto == htons(ETH_P_IP))
		ipproto = ip_hdr(e->cx.skb)->protocol;
	else if (e->cx.proto == htons(ETH_P_IPV6))
		ipproto = ipv6_hdr(e->cx.skb)->nexthdr;
	return ipproto == IPPROTO_ICMP || ipproto == IPPROTO_ICMPV6 ||
	       xtun_wire_by_ipproto(ipproto);
}

/* Does the tunnel send such a packet without DF, or only fragments of it? */
static bool xtun_err_fragmentable(const struct xtun_icmp_err *e)
{
	const struct xtun_cx *cx = &e->cx;

	if (!xtun_outer_df(cx) ||
	    xtun_route_locked(cx->conf, xtun_mark_of_error(cx->conf, e->skb),
			      &e->match.remote))
		return true;
	if (!e->quote.more)
		return false;
	return cx->proto == htons(ETH_P_IPV6) ||
	       (cx->conf->p.frag == XTUN_FRAG_OUTER && !cx->df);
}

/*
 * Has who sent the error seen the packet? There is no telling where the tag had
 * no place: under a flow label of the user, and in a packet that may be
 * fragmented, which the cache has to know.
 */
static bool xtun_err_identified(const struct xtun_icmp_err *e,
				const struct xtun_tag *tag)
{
	const struct xtun_conf *conf = e->cx.conf;
	unsigned int segs;

	if (conf->p.family == AF_INET6)
		return conf->p.flowlabel != XTUN_FLOWLABEL_AUTO ||
		       !((e->quote.ident ^ tag->flow) &
			 ntohl(IPV6_FLOWLABEL_MASK));
	if (!e->quote.df)
		return xtun_err_fragmentable(e);
	segs = !e->cx.routed || xtun_err_single(e) ?
	       1 : xtun_err_segs(e, conf->tun);
	return xtun_outer_df(&e->cx) && (u16)(e->quote.ident - tag->id) < segs;
}

/* What is remembered was found by its identification. */
static bool xtun_err_proven_as(struct xtun_icmp_err *e, bool routed)
{
	struct xtun_tag tag;

	e->cx.routed = routed;
	tag = xtun_flow_tag(&e->cx);
	return xtun_err_carried(e, e->cx.conf, &tag) &&
	       (e->remembered || xtun_err_identified(e, &tag));
}

/* Which packets were routed into the tunnel, their tags tell, or the cache. */
static bool xtun_err_proven(struct xtun_icmp_err *e)
{
	if (e->remembered)
		return xtun_err_proven_as(e, e->cx.routed);
	return xtun_err_proven_as(e, true) || xtun_err_proven_as(e, false);
}

/* The error was believed, and that is what became of it. */
static void xtun_err_done(struct xtun_icmp_err *e, enum xtun_counter outcome,
			  u32 mtu)
{
	const struct xtun_error_event event = {
		.peer = &e->match.remote,
		.from = &e->from,
		.family = e->match.family,
		.type = e->icmp->type,
		.code = e->icmp->code,
		.mtu = mtu,
		.outcome = outcome,
		.inner = e->cx.skb,
		.proto = e->cx.skb ? e->cx.proto : 0,
	};

	xtun_count(e->cx.tun, outcome);
	xtun_peer_error(e->cx.tun, &e->match.remote, &e->from, e->icmp->type,
			e->icmp->code);
	xtun_notify_error(e->cx.tun, &event);
}

/*
 * A filter that refuses a packet may make an error of its own. It comes on the same
 * processor, a moment after the sender was told.
 */
static bool xtun_err_told_already(const struct xtun_icmp_err *e)
{
	const struct xtun_refused *refused = this_cpu_ptr(e->cx.tun->pcpu)->refused;
	int i;

	if (!xtun_route_is_own(e->skb, e->match.family, &e->from))
		return false;
	for (i = 0; i < XTUN_REFUSED; i++) {
		if (refused[i].ident && refused[i].ident == e->quote.ident &&
		    (u32)jiffies - refused[i].time < HZ)
			return true;
	}
	return false;
}

static enum xtun_counter xtun_err_relay(struct xtun_icmp_err *e, u32 mtu)
{
	if (e->cx.conf->p.icmp_relay == XTUN_ICMP_RELAY_OFF)
		return XTUN_ERR_OFF;
	if (unlikely(!mtu && xtun_err_told_already(e)))
		return XTUN_ERR_MUTE;
	return xtun_icmp_send(&e->cx, e->class, mtu) ? XTUN_ERR_RELAYED :
						 XTUN_ERR_MUTE;
}

/* Will the next such packet be fragmented, where this one was too big? */
static bool xtun_err_fits_next(const struct xtun_icmp_err *e, unsigned int headers)
{
	if (e->cx.proto == htons(ETH_P_IP))
		return !e->cx.df;
	return e->quote.len <= headers + IPV6_MIN_MTU;
}

/*
 * A packet whose route is taken away while it leaves fits into nothing, and this
 * host says so itself. It says nothing about the path.
 */
static bool xtun_err_from_nowhere(const struct xtun_icmp_err *e)
{
	return e->icmp->info && e->icmp->info <= ETH_MIN_MTU &&
	       xtun_route_is_own(e->skb, e->match.family, &e->from);
}

static enum xtun_verdict xtun_err_too_big(struct xtun_icmp_err *e)
{
	struct xtun_dev *tun = e->cx.tun;
	unsigned int headers;
	u32 mtu, before;

	/* Nobody need fragment, so nobody complains, without DF. */
	if (e->quote.len <= e->icmp->info || !e->quote.df ||
	    xtun_err_from_nowhere(e)) {
		xtun_count(tun, XTUN_ERR_BOGUS_MTU);
		return XTUN_VERDICT_FALSE;
	}
	before = xtun_path_mtu(e->cx.conf, &e->match.remote);
	mtu = xtun_route_learn(e->cx.conf, xtun_mark_of_error(e->cx.conf, e->skb),
			       &e->match.remote, &e->from, e->icmp->info);
	xtun_err_done(e, XTUN_ERR_TOO_BIG, e->icmp->info);
	xtun_notify_path(e->cx.conf, &e->match.remote, before);
	if (!e->cx.skb)
		return XTUN_VERDICT_OURS;

	headers = e->quote.at + e->cx.conf->encap_len + e->cx.l3_off;
	if (!xtun_err_fits_next(e, headers))
		xtun_count(tun, xtun_err_relay(e, mtu > headers ?
						  mtu - headers : 0));
	return XTUN_VERDICT_OURS;
}

static const u8 xtun_not_relayed[] = {
	[XTUN_CLASS_REDIRECT] = XTUN_ERR_REDIRECT,
	[XTUN_CLASS_REASSEMBLY] = XTUN_ERR_REASSEMBLY,
	[XTUN_CLASS_SOURCE_QUENCH] = XTUN_ERR_SOURCE_QUENCH,
	[XTUN_CLASS_SOURCE_ROUTE] = XTUN_ERR_SOURCE_ROUTE,
	[XTUN_CLASS_OTHER] = XTUN_ERR_OTHER,
};

/* Nothing is known of the inner packet, and nothing will be. */
static void xtun_err_blind(struct xtun_icmp_err *e, enum xtun_counter outcome)
{
	xtun_peer_soft_set(e->cx.tun, &e->match.remote, e->class);
	xtun_err_done(e, outcome, 0);
}

static enum xtun_verdict xtun_err_act(struct xtun_icmp_err *e)
{
	switch (e->class) {
	case XTUN_CLASS_TOO_BIG:
		return xtun_err_too_big(e);
	case XTUN_CLASS_REDIRECT:
		xtun_route_redirect(e->cx.conf, e->skb);
		fallthrough;
	case XTUN_CLASS_REASSEMBLY:
	case XTUN_CLASS_SOURCE_QUENCH:
	case XTUN_CLASS_SOURCE_ROUTE:
	case XTUN_CLASS_OTHER:
		xtun_err_done(e, xtun_not_relayed[e->class], 0);
		break;
	default:
		if (e->cx.skb)
			xtun_err_done(e, xtun_err_relay(e, 0), 0);
		else
			xtun_err_blind(e, XTUN_ERR_SHORT);
	}
	return XTUN_VERDICT_OURS;
}

/*
 * A short quote that nothing is remembered of proves nothing. The next one will
 * find a cache; without any, it has to be believed.
 */
static enum xtun_verdict xtun_err_short(struct xtun_icmp_err *e)
{
	if (e->cx.conf->p.icmp_memory == XTUN_ICMP_MEMORY_OFF)
		return xtun_err_act(e);
	xtun_sent_cache_arm(e->cx.tun);
	if (xtun_err_of_others(e, e->cx.conf))
		return XTUN_VERDICT_OTHERS;
	xtun_err_reject(e->cx.tun, XTUN_ERR_SHORT);
	return XTUN_VERDICT_FALSE;
}

/* It is known what the error is about. */
static enum xtun_verdict xtun_err_about(struct xtun_icmp_err *e)
{
	if (!xtun_err_proven(e)) {
		if (xtun_err_of_others(e, e->cx.conf))
			return XTUN_VERDICT_OTHERS;
		xtun_err_reject(e->cx.tun, XTUN_ERR_FORGED);
		return XTUN_VERDICT_FALSE;
	}
	return xtun_err_recalled(e) ? xtun_err_act(e) : xtun_err_short(e);
}

/* About a packet that carried nothing: no sender, and no path is too narrow. */
static enum xtun_verdict xtun_err_empty(struct xtun_icmp_err *e)
{
	if (e->class == XTUN_CLASS_TOO_BIG ||
	    !xtun_err_carried(e, e->cx.conf, NULL)) {
		xtun_err_reject(e->cx.tun, XTUN_ERR_FORGED);
		return XTUN_VERDICT_FALSE;
	}
	xtun_err_done(e, XTUN_ERR_MUTE, 0);
	return XTUN_VERDICT_OURS;
}

/**
 * xtun_icmp_rcv() - an ICMP error about an outer packet has come
 * @skb: the error, its data at the quoted outer header, its network header its
 *	own; the same afterwards
 * @input: what brings it
 * @family: AF_INET or AF_INET6, of the underlay
 * @icmp: its header
 *
 * Context: BH disabled, RCU.
 * Return: whether others may believe it.
 */
enum xtun_verdict xtun_icmp_rcv(struct sk_buff *skb, enum xtun_input input, u8 family,
				const struct xtun_icmp *icmp)
{
	struct xtun_icmp_err e = {
		.skb = skb,
		.icmp = icmp,
		.match = { .net = dev_net(skb->dev) },
	};
	enum xtun_verdict verdict;

	if (!xtun_err_parse(&e, input, family))
		return XTUN_VERDICT_OTHERS;
	if (!xtun_err_find(&e))
		return e.rejected ? XTUN_VERDICT_FALSE : XTUN_VERDICT_OTHERS;

	if (!xtun_err_parse_conf(&e)) {
		xtun_err_reject(e.cx.tun, XTUN_ERR_FORGED);
		return XTUN_VERDICT_FALSE;
	}
	if (e.h.empty)
		verdict = xtun_err_empty(&e);
	else if (xtun_err_from_quote(&e) || xtun_err_from_cache(&e))
		verdict = xtun_err_about(&e);
	else
		verdict = xtun_err_short(&e);
	consume_skb(e.cx.skb);
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
 * xtun_icmp_rcv_unknown_key() - a peer says that it has no tunnel with a key
 * @skb: the packet that says so, its network header the outer one
 * @match: net, addresses, wire, family and port as the tunnel has them; the rest
 *	is scratch
 * @h: header of the packets that it is about: key and payload
 *
 * It quotes no packet, so nothing proves it and nothing remembered could: it is
 * an error with a short quote where there is no cache. Who is not the one
 * remote end of the tunnel is counted and no more.
 *
 * Context: BH disabled, RCU.
 */
void xtun_icmp_rcv_unknown_key(const struct sk_buff *skb, struct xtun_match *match,
			       const struct xtun_hdr *h)
{
	struct xtun_conf *conf = xtun_lookup_sent(match, h, skb, NULL, NULL);
	struct xtun_icmp_err e = {
		.icmp = match->family == AF_INET ? &xtun_no_tunnel_v4 :
						   &xtun_no_tunnel_v6,
		.match = *match,
		.from = match->remote,
		.class = XTUN_CLASS_HOST,
	};

	if (!conf)
		return;
	e.cx.conf = conf;
	e.cx.tun = conf->tun;
	if (nf_inet_addr_cmp(&conf->p.remote, &match->remote))
		xtun_err_blind(&e, XTUN_ERR_UNKNOWN_KEY);
	else
		xtun_err_reject(conf->tun, XTUN_ERR_UNKNOWN_KEY);
}
