/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_NET_RTNETLINK_H
#define _XTUN_COMPAT_NET_RTNETLINK_H

#include_next <net/rtnetlink.h>

/* The request that made a link became an argument, for replies to it. */
static inline int xtun_configure_link(struct net_device *dev)
{
#ifdef XTUN_HAVE_CONFIGURE_LINK_NLH
	return rtnl_configure_link(dev, NULL, 0, NULL);
#else
	return rtnl_configure_link(dev, NULL);
#endif
}

#endif
