// SPDX-License-Identifier: GPL-2.0
/*
 * ICMP and ICMPv6 echo. One end sends requests with an identifier of its own,
 * the other replies to the last of them, as often as it likes: what translates
 * addresses in between lets in any number of replies.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/random.h>

#include "../conf.h"
#include "../device.h"
#include "../outer.h"
#include "../packet.h"
#include "../route.h"
#include "../wire.h"

static u8 xtun_echo_type(u8 family, u8 echo)
{
	if (family == AF_INET)
		return echo == XTUN_ECHO_REQUEST ? ICMP_ECHO : ICMP_ECHOREPLY;
	return echo == XTUN_ECHO_REQUEST ? ICMPV6_ECHO_REQUEST :
					   ICMPV6_ECHO_REPLY;
}

static u8 xtun_echo_of(const struct xtun_conf *conf)
{
	return ((const struct xtun_role *)xtun_own(conf))->echo;
}

static bool xtun_echo_matches(u8 family, u8 ipproto, const u8 *hdr)
{
	const struct icmphdr *icmph = (const struct icmphdr *)hdr;

	if (ipproto != (family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return false;
	return !icmph->code &&
	       (icmph->type == xtun_echo_type(family, XTUN_ECHO_REQUEST) ||
		icmph->type == xtun_echo_type(family, XTUN_ECHO_REPLY));
}

/* An identifier for all flows: each would be a mapping of its own in a NAT. */
static void xtun_echo_prepare(struct xtun_conf *conf)
{
	struct icmphdr *icmph = (struct icmphdr *)conf->encap_hdr;
	const struct xtun_role *role = xtun_own(conf);
	const struct xtun_params *p = &conf->p;

	if (p->family == AF_INET6)
		conf->ipproto = IPPROTO_ICMPV6;
	icmph->type = xtun_echo_type(p->family, role->echo);
	conf->uli.icmpt.type = icmph->type;
	if (role->echo == XTUN_ECHO_REQUEST) {
		icmph->un.echo.id = conf->tun->exchange.id;
		conf->keepalive = role->keepalive;
	} else if (xtun_addr_is_any(&p->local)) {
		/* The source is the address that was asked. */
		conf->one_path = false;
	}
}

/* ---- who asks ---- */

static struct xtun_asker xtun_echo_asker(struct xtun_exchange *exchange)
{
	struct xtun_asker asker;
	unsigned int start;

	do {
		start = read_seqbegin(&exchange->lock);
		asker = exchange->asker;
	} while (read_seqretry(&exchange->lock, start));
	return asker;
}

static bool xtun_echo_fits(const union nf_inet_addr *known,
			   const union nf_inet_addr *wanted)
{
	return ipv6_addr_any(&wanted->in6) || nf_inet_addr_cmp(known, wanted);
}

/* Was it a request of the tunnel as it is configured now? */
static bool xtun_echo_asked(const struct xtun_conf *conf,
			    const struct xtun_asker *asker)
{
	return asker->family == conf->match.family &&
	       asker->key == conf->match.key &&
	       xtun_echo_fits(&asker->local, &conf->match.local) &&
	       xtun_echo_fits(&asker->remote, &conf->match.remote);
}

/* The lock is for a peer that moves; the number changes with each request. */
static void xtun_echo_learn(const struct sk_buff *skb,
			    const struct xtun_conf *conf)
{
	const struct icmphdr *icmph = (const struct icmphdr *)skb->data;
	struct xtun_exchange *exchange = &conf->tun->exchange;
	struct xtun_match match = { .family = conf->match.family };
	struct xtun_asker asker, known;

	if (xtun_echo_of(conf) != XTUN_ECHO_REPLY ||
	    !xtun_outer_for_one(skb, conf->p.family))
		return;
	xtun_outer_addrs(skb, &match);
	asker = (struct xtun_asker){
		.local = match.local,
		.remote = match.remote,
		.key = conf->match.key,
		.id = icmph->un.echo.id,
		.family = match.family,
	};
	known = xtun_echo_asker(exchange);
	if (memcmp(&known, &asker, sizeof(asker))) {
		write_seqlock(&exchange->lock);
		exchange->asker = asker;
		write_sequnlock(&exchange->lock);
	}
	if (READ_ONCE(exchange->seq) != icmph->un.echo.sequence)
		WRITE_ONCE(exchange->seq, icmph->un.echo.sequence);
}

static bool xtun_echo_peer(struct xtun_cx *cx)
{
	struct xtun_exchange *exchange = &cx->tun->exchange;
	struct xtun_asker asker;

	if (xtun_echo_of(cx->conf) == XTUN_ECHO_REQUEST)
		return true;
	asker = xtun_echo_asker(exchange);
	if (!xtun_echo_asked(cx->conf, &asker))
		return false;
	cx->saddr = asker.local;
	cx->daddr = asker.remote;
	cx->echo_id = asker.id;
	cx->echo_seq = READ_ONCE(exchange->seq);
	return true;
}

/* ---- packets ---- */

static void xtun_echo_push(const struct xtun_cx *cx, u8 *hdr)
{
	struct icmphdr *icmph = (struct icmphdr *)hdr;

	if (xtun_echo_of(cx->conf) == XTUN_ECHO_REQUEST) {
		icmph->un.echo.sequence =
			htons(atomic_fetch_inc(&cx->tun->oseq));
	} else {
		icmph->un.echo.id = cx->echo_id;
		icmph->un.echo.sequence = cx->echo_seq;
	}
	xtun_outer_icmp_csum(cx);
}

/*
 * A host without the tunnel replies to our requests with what they hold, as to
 * any ping: who has made a packet must be told by what it says itself.
 */
static enum xtun_drop_reason xtun_echo_check(struct sk_buff *skb,
					     const struct xtun_conf *conf,
					     const struct xtun_hdr *h)
{
	const struct icmphdr *icmph = (const struct icmphdr *)skb->data;

	skb_reset_transport_header(skb);
	if (!xtun_outer_icmp_csum_ok(skb, conf->p.family))
		return XTUN_RX_CHECKSUM;
	if (icmph->type != xtun_echo_type(conf->p.family, h->echo))
		return XTUN_RX_REFLECTED;
	if (h->echo == xtun_echo_of(conf))
		return XTUN_RX_SAME_ROLE;
	if (h->echo == XTUN_ECHO_REPLY &&
	    icmph->un.echo.id != conf->tun->exchange.id)
		return XTUN_RX_ECHO_ID;
	return XTUN_OK;
}

/* The identifier is a number that only those know who have seen packets. */
static bool xtun_echo_sent(const struct xtun_conf *conf, const u8 *hdr,
			   const struct xtun_tag *tag)
{
	const struct icmphdr *icmph = (const struct icmphdr *)hdr;
	struct xtun_exchange *exchange = &conf->tun->exchange;

	if (icmph->type != xtun_echo_type(conf->p.family, xtun_echo_of(conf)))
		return false;
	if (xtun_echo_of(conf) == XTUN_ECHO_REQUEST)
		return icmph->un.echo.id == exchange->id;
	return icmph->un.echo.id == xtun_echo_asker(exchange).id;
}

/**
 * xtun_echo_init() - make a tunnel ready for requests and replies
 * @tun: a new tunnel
 *
 * Context: RTNL.
 */
void xtun_echo_init(struct xtun_dev *tun)
{
	seqlock_init(&tun->exchange.lock);
	get_random_bytes(&tun->exchange.id, sizeof(tun->exchange.id));
}

const struct xtun_transport xtun_echo_transport = {
	.len = sizeof(struct icmphdr),
	.input = XTUN_INPUT_HOOK,
	.covers = true,
	.get = xtun_hook_get,
	.put = xtun_hook_put,
	.prepare = xtun_echo_prepare,
	.matches = xtun_echo_matches,
	.peer = xtun_echo_peer,
	.push = xtun_echo_push,
	.check = xtun_echo_check,
	.learn = xtun_echo_learn,
	.sent = xtun_echo_sent,
};
