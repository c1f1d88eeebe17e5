/* SPDX-License-Identifier: GPL-2.0 */

#ifdef XTUN_HAVE_NET_GSO_H
#include_next <net/gso.h>
#else
/* Its functions used to be declared there. */
#include <linux/netdevice.h>
#endif
