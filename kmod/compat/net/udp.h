/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Each netns may have a table of UDP sockets of its own from 6.2 on. Later the
 * functions know by themselves which it is.
 */
#ifndef _XTUN_COMPAT_NET_UDP_H
#define _XTUN_COMPAT_NET_UDP_H

#include <linux/netfilter.h>
#include_next <net/udp.h>

#ifndef XTUN_HAVE_UDP_LOOKUP_NO_TABLE
static inline struct udp_table *xtun_udp_table(const struct net *net)
{
#ifdef XTUN_HAVE_UDP_TABLE_NET
	return net->ipv4.udp_table;
#else
	return &udp_table;
#endif
}
#endif

static inline struct sock *xtun_udp4_lookup(struct net *net, __be32 remote,
					    __be16 from, __be32 local,
					    __be16 port)
{
#ifdef XTUN_HAVE_UDP_LOOKUP_NO_TABLE
	return __udp4_lib_lookup(net, remote, from, local, port, 0, 0, NULL);
#else
	return __udp4_lib_lookup(net, remote, from, local, port, 0, 0,
				 xtun_udp_table(net), NULL);
#endif
}

static inline struct sock *xtun_udp6_lookup(struct net *net,
					    const struct in6_addr *remote,
					    __be16 from,
					    const struct in6_addr *local,
					    __be16 port)
{
#if !IS_ENABLED(CONFIG_IPV6)
	return NULL;
#elif defined(XTUN_HAVE_UDP_LOOKUP_NO_TABLE)
	return __udp6_lib_lookup(net, remote, from, local, port, 0, 0, NULL);
#else
	return __udp6_lib_lookup(net, remote, from, local, port, 0, 0,
				 xtun_udp_table(net), NULL);
#endif
}

/*
 * The socket that gets what arrives at a port for @local from @remote, which may be
 * zero for no connected socket's. Under RCU.
 */
static inline struct sock *xtun_udp_lookup(struct net *net, u8 family,
					   const union nf_inet_addr *remote,
					   __be16 from,
					   const union nf_inet_addr *local,
					   __be16 port)
{
	return family == AF_INET ?
	       xtun_udp4_lookup(net, remote->ip, from, local->ip, port) :
	       xtun_udp6_lookup(net, &remote->in6, from, &local->in6, port);
}

#endif /* _XTUN_COMPAT_NET_UDP_H */
