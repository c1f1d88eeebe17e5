/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_NET_HOTDATA_H
#define _XTUN_COMPAT_NET_HOTDATA_H

#ifdef XTUN_HAVE_NET_HOTDATA_H
#include_next <net/hotdata.h>
#define xtun_max_backlog() READ_ONCE(net_hotdata.max_backlog)
#else
/* It used to be a variable of its own. */
#include <linux/netdevice.h>
#define xtun_max_backlog() READ_ONCE(netdev_max_backlog)
#endif

#endif /* _XTUN_COMPAT_NET_HOTDATA_H */
