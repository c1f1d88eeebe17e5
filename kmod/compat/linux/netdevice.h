/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_LINUX_NETDEVICE_H
#define _XTUN_COMPAT_LINUX_NETDEVICE_H

#include_next <linux/netdevice.h>

/* Lockless transmit was a feature bit before it was a bit of the device. */
static inline void xtun_set_lltx(struct net_device *dev)
{
#ifdef XTUN_HAVE_LLTX_BIT
	dev->lltx = true;
#else
	dev->features |= NETIF_F_LLTX;
#endif
}

#endif
