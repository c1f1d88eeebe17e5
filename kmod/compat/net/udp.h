/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Each netns may have a table of UDP sockets of its own from 6.2 on.
 */
#ifndef _XTUN_COMPAT_NET_UDP_H
#define _XTUN_COMPAT_NET_UDP_H

#include <linux/netfilter.h>
#include_next <net/udp.h>

static inline struct udp_table *xtun_udp_table(const struct net *net)
{
#ifdef XTUN_HAVE_UDP_TABLE
	return &udp_table;
#else
	return net->ipv4.udp_table;
#endif
}

/* The socket that gets what arrives at a port for @local. Under RCU. */
static inline struct sock *xtun_udp_lookup(struct net *net, u8 family,
					   const union nf_inet_addr *local,
					   __be16 port)
{
	static const struct in6_addr any6;

	if (family == AF_INET)
		return __udp4_lib_lookup(net, 0, 0, local->ip, port, 0, 0,
					 xtun_udp_table(net), NULL);
#if IS_ENABLED(CONFIG_IPV6)
	return __udp6_lib_lookup(net, &any6, 0, &local->in6, port, 0, 0,
				 xtun_udp_table(net), NULL);
#else
	return NULL;
#endif
}

#endif /* _XTUN_COMPAT_NET_UDP_H */
