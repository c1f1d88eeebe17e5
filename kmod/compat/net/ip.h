/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The limit of all ICMP messages is of each netns from 6.12 on, and an error that
 * another limit forbids does not count; stable kernels have taken both over.
 * Later modules cannot ask any more: they have to keep the stack's account.
 */
#ifndef _XTUN_COMPAT_NET_IP_H
#define _XTUN_COMPAT_NET_IP_H

#include_next <net/ip.h>
#include <net/ipv6.h>

/*
 * What IP's output counts of a packet that this host sends. Requests and transmissions
 * are counted apart where there are both; before that, and of IPv6, ip6_local_out()
 * counted nothing.
 */
static inline void xtun_count_out4(struct net *net, unsigned int len)
{
#ifdef XTUN_HAVE_OUTREQUESTS
	IP_INC_STATS(net, IPSTATS_MIB_OUTREQUESTS);
#endif
	IP_UPD_PO_STATS(net, IPSTATS_MIB_OUT, len);
}

static inline void xtun_count_out6(struct net *net, struct inet6_dev *idev,
				   unsigned int len)
{
#ifdef XTUN_HAVE_OUTREQUESTS
	IP6_UPD_PO_STATS(net, idev, IPSTATS_MIB_OUT, len);
#endif
}

#ifdef XTUN_HAVE_ICMP_GLOBAL
static inline bool xtun_icmp_global_allow(struct net *net)
{
#ifdef XTUN_HAVE_ICMP_GLOBAL_NET
	return icmp_global_allow(net);
#else
	return icmp_global_allow();
#endif
}

/* An error is sent that xtun_icmp_global_allow() has allowed. */
static inline void xtun_icmp_global_consume(struct net *net)
{
#ifdef XTUN_HAVE_ICMP_GLOBAL_NET
	icmp_global_consume(net);
#elif defined(XTUN_HAVE_ICMP_GLOBAL_CONSUME)
	icmp_global_consume();
#endif
}
#else
bool xtun_icmp_global_allow(struct net *net);
void xtun_icmp_global_consume(struct net *net);
#endif

#endif /* _XTUN_COMPAT_NET_IP_H */
