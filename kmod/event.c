// SPDX-License-Identifier: GPL-2.0
/*
 * Errors about outer packets, told to those who listen while they come.
 */
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/ip.h>
#include <net/ipv6.h>

#include "conf.h"
#include "device.h"
#include "genl.h"
#include "net.h"
#include "notify.h"

/* Errors in a second that are told in a netns, however they are spread. */
#define XTUN_EVENTS_MAX		50

/**
 * struct xtun_error_about - what an error event has to say
 * @event: the error
 * @lost: errors before it that were not told
 */
struct xtun_error_about {
	const struct xtun_error_event *event;
	u32 lost;
};

/* Ports of a protocol that has some, as far as they are there. */
static int xtun_put_ports(struct sk_buff *msg, const struct sk_buff *inner,
			  int at, u8 ipproto)
{
	__be16 buf[2];
	const __be16 *ports;

	if (ipproto != IPPROTO_TCP && ipproto != IPPROTO_UDP &&
	    ipproto != IPPROTO_SCTP && ipproto != IPPROTO_DCCP)
		return 0;
	ports = skb_header_pointer(inner, at, sizeof(buf), buf);
	if (!ports)
		return 0;
	if (nla_put_u16(msg, XTUN_A_ERROR_INNER_SPORT, ntohs(ports[0])) ||
	    nla_put_u16(msg, XTUN_A_ERROR_INNER_DPORT, ntohs(ports[1])))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_ends_of(struct sk_buff *msg, const void *src,
			    const void *dst, u8 family)
{
	if (xtun_put_addr(msg, XTUN_A_ERROR_INNER_SOURCE, src, family) ||
	    xtun_put_addr(msg, XTUN_A_ERROR_INNER_DESTINATION, dst, family))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_inner4(struct sk_buff *msg, const struct sk_buff *inner)
{
	int at = skb_network_offset(inner);
	const struct iphdr *iph;
	struct iphdr buf;

	iph = skb_header_pointer(inner, at, sizeof(buf), &buf);
	if (!iph)
		return 0;
	if (xtun_put_ends_of(msg, &iph->saddr, &iph->daddr, AF_INET) ||
	    nla_put_u8(msg, XTUN_A_ERROR_INNER_PROTOCOL, iph->protocol))
		return -EMSGSIZE;
	if (iph->frag_off & htons(IP_OFFSET))
		return 0;
	return xtun_put_ports(msg, inner, at + iph->ihl * 4, iph->protocol);
}

static int xtun_put_inner6(struct sk_buff *msg, const struct sk_buff *inner)
{
	int at = skb_network_offset(inner);
	const struct ipv6hdr *ip6h;
	struct ipv6hdr buf;
	__be16 frag;
	u8 nexthdr;

	ip6h = skb_header_pointer(inner, at, sizeof(buf), &buf);
	if (!ip6h)
		return 0;
	if (xtun_put_ends_of(msg, &ip6h->saddr, &ip6h->daddr, AF_INET6))
		return -EMSGSIZE;
	nexthdr = ip6h->nexthdr;
	at = ipv6_skip_exthdr(inner, at + sizeof(buf), &nexthdr, &frag);
	if (nla_put_u8(msg, XTUN_A_ERROR_INNER_PROTOCOL, nexthdr))
		return -EMSGSIZE;
	if (at < 0 || frag & htons(IP6_OFFSET))
		return 0;
	return xtun_put_ports(msg, inner, at, nexthdr);
}

static int xtun_put_inner(struct sk_buff *msg, const struct xtun_error_event *event)
{
	if (!event->inner)
		return 0;
	if (event->proto == htons(ETH_P_IP))
		return xtun_put_inner4(msg, event->inner);
	if (event->proto == htons(ETH_P_IPV6))
		return xtun_put_inner6(msg, event->inner);
	return 0;
}

static int xtun_put_error(struct sk_buff *msg, const struct xtun_dev *tun,
			  const void *what)
{
	const struct xtun_error_about *about = what;
	const struct xtun_error_event *event = about->event;
	struct nlattr *nest;

	if (xtun_put_id(msg, tun))
		return -EMSGSIZE;
	nest = nla_nest_start(msg, XTUN_A_TUNNEL_ERROR);
	if (!nest ||
	    xtun_put_addr(msg, XTUN_A_ERROR_PEER, event->peer, event->family) ||
	    nla_put_u8(msg, XTUN_A_ERROR_TYPE, event->type) ||
	    nla_put_u8(msg, XTUN_A_ERROR_CODE, event->code) ||
	    nla_put_string(msg, XTUN_A_ERROR_OUTCOME,
			   xtun_counter_name(event->outcome)) ||
	    (event->mtu && nla_put_u32(msg, XTUN_A_ERROR_MTU, event->mtu)))
		return -EMSGSIZE;
	/* A router of the underlay. */
	if (xtun_sight_of_listeners(tun) & XTUN_SEES_UNDERLAY &&
	    xtun_put_addr(msg, XTUN_A_ERROR_FROM, event->from, event->family))
		return -EMSGSIZE;
	if (xtun_put_inner(msg, event))
		return -EMSGSIZE;
	if (about->lost && nla_put_u32(msg, XTUN_A_ERROR_LOST, about->lost))
		return -EMSGSIZE;
	nla_nest_end(msg, nest);
	return 0;
}

/* May one more be told? Then it tells of those before it that were not. */
static bool xtun_event_may(struct xtun_event_rate *rate, u32 *lost)
{
	bool may;

	spin_lock(&rate->lock);
	if (time_after_eq(jiffies, rate->since + HZ)) {
		rate->since = jiffies;
		rate->told = 0;
	}
	may = rate->told < XTUN_EVENTS_MAX;
	if (may) {
		rate->told++;
		*lost = rate->lost;
		rate->lost = 0;
	} else {
		rate->lost++;
	}
	spin_unlock(&rate->lock);
	return may;
}

/**
 * xtun_notify_error() - tell listeners that an error was believed
 * @tun: the tunnel that it is about
 * @event: the error
 *
 * Context: BH disabled, RCU.
 */
void xtun_notify_error(const struct xtun_dev *tun,
		       const struct xtun_error_event *event)
{
	struct xtun_error_about about = { .event = event };
	struct xtun_event_rate *rate;

	if (!xtun_listened(tun))
		return;
	rate = &xtun_net(dev_net(tun->dev))->event_rate;
	if (!xtun_event_may(rate, &about.lost))
		return;
	if (xtun_multicast(tun, NLMSG_DEFAULT_SIZE, XTUN_CMD_ERROR_NTF,
			   xtun_put_error, &about, GFP_ATOMIC)) {
		spin_lock(&rate->lock);
		rate->lost += about.lost + 1;
		spin_unlock(&rate->lock);
	}
}
