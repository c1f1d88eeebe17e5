/* SPDX-License-Identifier: GPL-2.0 */

#ifdef XTUN_HAVE_NETDEV_LOCK_H
#include_next <net/netdev_lock.h>
#else
/* Its macros used to be defined there. */
#include <linux/netdevice.h>
#endif
