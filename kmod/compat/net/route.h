/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A flow held a TOS, of which routes looked at few bits, before it held a DSCP.
 */
#ifndef _XTUN_COMPAT_NET_ROUTE_H
#define _XTUN_COMPAT_NET_ROUTE_H

#include_next <net/route.h>

/* What of a TOS has a part in choosing IPv4 routes. */
static inline u8 xtun_rt_tos(u8 tos)
{
#ifdef XTUN_HAVE_FLOWI4_DSCP
	return tos & INET_DSCP_MASK;
#else
	return RT_TOS(tos);
#endif
}

static inline void xtun_flowi4_set_tos(struct flowi4 *fl4, u8 tos)
{
#ifdef XTUN_HAVE_FLOWI4_DSCP
	fl4->flowi4_dscp = inet_dsfield_to_dscp(tos);
#else
	fl4->flowi4_tos = xtun_rt_tos(tos);
#endif
}

#endif /* _XTUN_COMPAT_NET_ROUTE_H */
