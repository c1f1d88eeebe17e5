/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An ICMP error on its way back: what icmp_rcv.c, which believes it or not, and icmp_inner.c,
 * which finds the inner packet that it is about, share.
 */
#ifndef _XTUN_ICMP_H
#define _XTUN_ICMP_H

#include "conf.h"
#include "device.h"
#include "packet.h"
#include "wire.h"

/* RFC 792: what a router quotes at least of what follows the IP header. */
#define XTUN_QUOTE_TRANSPORT	8

/* Errors not believed in a second, after which no near miss is believed. */
#define XTUN_ATTACK		16

/**
 * struct xtun_icmp_err - an ICMP error on its way back
 * @skb: the error, its data at the quoted outer header
 * @icmp: its header
 * @match: tunnel's addresses, as the quote has them
 * @quote: the quoted outer header
 * @quoted: bytes of the quote that are of the outer packet
 * @transport: the first bytes behind the quoted outer header
 * @has_transport: they were there
 * @h: the quoted encapsulation header
 * @whole: it was all there
 * @from: who sent the error
 * @class: what it says
 * @rejected: it could be about a packet of a tunnel that has the port, and is not
 *	believed
 * @remembered: the inner packet comes from the cache, not from the quote
 * @cx: the inner packet; its skb is NULL when nothing is known of it
 */
struct xtun_icmp_err {
	struct sk_buff *skb;
	const struct xtun_icmp *icmp;
	struct xtun_match match;
	struct xtun_quote quote;
	unsigned int quoted;
	u8 transport[XTUN_QUOTE_TRANSPORT] __aligned(4);
	bool has_transport;
	struct xtun_hdr h;
	bool whole;
	union nf_inet_addr from;
	enum xtun_icmp_class class;
	bool rejected;
	bool remembered;
	struct xtun_cx cx;
};

unsigned int xtun_err_segs(const struct xtun_icmp_err *e,
			   const struct xtun_dev *tun);
unsigned int xtun_err_recall(struct xtun_icmp_err *e, const struct xtun_conf *conf,
			     void *data, unsigned int size);
bool xtun_err_from_quote(struct xtun_icmp_err *e);
bool xtun_err_from_cache(struct xtun_icmp_err *e);
bool xtun_err_recalled(struct xtun_icmp_err *e);

/**
 * xtun_under_attack() - have there been many errors lately that were not believed?
 * @tun: the tunnel
 *
 * Context: any.
 * Return: whether there have.
 */
static inline bool xtun_under_attack(const struct xtun_dev *tun)
{
	return READ_ONCE(tun->rejects) >= XTUN_ATTACK &&
	       time_before(jiffies, READ_ONCE(tun->rejects_time) + HZ);
}

#endif /* _XTUN_ICMP_H */
