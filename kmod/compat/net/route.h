/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A flow held a TOS before it held a DSCP. Where routes look at few of its bits,
 * the lookup itself takes the others away.
 */
#ifndef _XTUN_COMPAT_NET_ROUTE_H
#define _XTUN_COMPAT_NET_ROUTE_H

#include_next <net/route.h>
#include <net/inet_dscp.h>

static inline void xtun_flowi4_set_tos(struct flowi4 *fl4, u8 tos)
{
#ifdef XTUN_HAVE_FLOWI4_DSCP
	fl4->flowi4_dscp = inet_dsfield_to_dscp(tos);
#else
	fl4->flowi4_tos = tos & INET_DSCP_MASK;
#endif
}

#endif /* _XTUN_COMPAT_NET_ROUTE_H */
