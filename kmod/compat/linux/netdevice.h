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

/* What GRO holds was told by NAPI itself. */
static inline bool xtun_gro_holds(const struct napi_struct *napi)
{
#ifdef XTUN_HAVE_GRO_NODE
	return napi->gro.bitmask;
#else
	return napi->gro_bitmask;
#endif
}

/* A device for the NAPI of what is no device. */
#ifndef XTUN_HAVE_NETDEV_DUMMY
#include <linux/slab.h>
#endif

static inline struct net_device *xtun_alloc_dummy(void)
{
#ifdef XTUN_HAVE_NETDEV_DUMMY
	return alloc_netdev_dummy(0);
#else
	struct net_device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);

	if (dev)
		init_dummy_netdev(dev);
	return dev;
#endif
}

static inline void xtun_free_dummy(struct net_device *dev)
{
#ifdef XTUN_HAVE_NETDEV_DUMMY
	free_netdev(dev);
#else
	kfree(dev);
#endif
}

/* Who parses link-layer headers was not always told the device. */
#ifdef XTUN_HAVE_PARSE_NO_DEV
#define XTUN_PARSE_DEV
#else
#define XTUN_PARSE_DEV	const struct net_device *dev,
#endif

#endif
