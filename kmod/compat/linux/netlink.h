/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_LINUX_NETLINK_H
#define _XTUN_COMPAT_LINUX_NETLINK_H

#include_next <linux/netlink.h>

#ifndef XTUN_HAVE_EXTACK_FMT
const char *xtun_extack_format(const char *fmt, ...) __printf(1, 2);

#define NL_SET_ERR_MSG_FMT(extack, fmt, args...) do {			\
	struct netlink_ext_ack *__extack = (extack);			\
									\
	if (__extack)							\
		__extack->_msg = xtun_extack_format(fmt, ##args);	\
} while (0)
#endif

#endif
