/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_NET_GENETLINK_H
#define _XTUN_COMPAT_NET_GENETLINK_H

#include_next <net/genetlink.h>

/* Groups had the flags of commands before they had their own. */
#ifndef GENL_MCAST_CAP_NET_ADMIN
#define GENL_MCAST_CAP_NET_ADMIN	GENL_UNS_ADMIN_PERM
#endif

#endif /* _XTUN_COMPAT_NET_GENETLINK_H */
