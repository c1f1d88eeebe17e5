/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Peers are looked up under RCU, without a reference, from 6.13 on and where
 * that was taken over. Later they are not for modules any more.
 */
#ifndef _XTUN_COMPAT_NET_INETPEER_H
#define _XTUN_COMPAT_NET_INETPEER_H

#include_next <net/inetpeer.h>

#ifdef XTUN_HAVE_INETPEER
/* The stack itself keeps what a netns needs to know of hosts. */
struct xtun_hosts {
};

/* May an error be sent to @addr, at a rate of one in @timeout jiffies? Under RCU. */
static inline bool xtun_inetpeer_allows(struct xtun_hosts *hosts,
					struct inet_peer_base *base,
					const struct inetpeer_addr *addr,
					int timeout)
{
#ifdef XTUN_HAVE_INETPEER_RCU
	return inet_peer_xrlim_allow(inet_getpeer(base, addr), timeout);
#else
	struct inet_peer *peer = inet_getpeer(base, addr, 1);
	bool allowed = inet_peer_xrlim_allow(peer, timeout);

	if (peer)
		inet_putpeer(peer);
	return allowed;
#endif
}
#else
/**
 * struct xtun_hosts - hosts of a netns, to which errors are sent
 * @served: until when each has had all that it may be sent, in jiffies, or 0;
 *	few hosts share a place by chance. What one netns does is not seen and not
 *	felt in another.
 */
struct xtun_hosts {
	u32 served[3072];
};

bool xtun_inetpeer_allows(struct xtun_hosts *hosts,
			  const struct inet_peer_base *base,
			  const struct inetpeer_addr *addr, int timeout);
#endif

#endif /* _XTUN_COMPAT_NET_INETPEER_H */
