/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Firewall marks. A mark says what rules of one netns think of one packet. The
 * outer and the inner packet are two, so neither gets the other's mark unless
 * the tunnel is told so; and where the device is in another netns than the
 * underlay, a mark means nothing on the other side and is never taken over.
 */
#ifndef _XTUN_MARK_H
#define _XTUN_MARK_H

#include "conf.h"
#include "device.h"

/**
 * xtun_mark_out() - mark of the outer packet
 * @conf: the tunnel's configuration
 * @skb: the inner packet
 *
 * Context: BH disabled, RCU.
 * Return: the mark, by which the route is found too.
 */
static inline u32 xtun_mark_out(const struct xtun_conf *conf,
				const struct sk_buff *skb)
{
	if (likely(conf->p.fwmark_from != XTUN_MARK_FROM_PACKET))
		return conf->p.fwmark;
	return net_eq(conf->tun->net, dev_net(conf->tun->dev)) ? skb->mark : 0;
}

/**
 * xtun_mark_of_error() - mark of the outer packet that an ICMP error is about
 * @conf: the tunnel that has sent that packet
 * @skb: the error
 *
 * A quote tells no mark. What knows it is the mark of the error itself, where
 * connection tracking gives that of the packet back to it; IPv4 and IPv6 take
 * the same for an error about a packet of theirs, with fwmark_reflect.
 *
 * Context: any.
 * Return: the mark, by which the route is found that the error is about.
 */
static inline u32 xtun_mark_of_error(const struct xtun_conf *conf,
				     const struct sk_buff *skb)
{
	if (likely(conf->p.fwmark_from != XTUN_MARK_FROM_PACKET))
		return conf->p.fwmark;
	return net_eq(conf->tun->net, dev_net(conf->tun->dev)) ? skb->mark : 0;
}

/**
 * xtun_mark_in() - give an inner packet that comes out of a tunnel its mark
 * @conf: the tunnel's configuration
 * @skb: the packet, with the mark of the outer one, or 0 if that came through
 *	another netns
 *
 * Context: BH disabled, RCU.
 */
static inline void xtun_mark_in(const struct xtun_conf *conf,
				struct sk_buff *skb)
{
	if (likely(conf->p.mark_in_from != XTUN_MARK_FROM_PACKET))
		skb->mark = conf->p.mark_in;
}

#endif /* _XTUN_MARK_H */
