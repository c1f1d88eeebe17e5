// SPDX-License-Identifier: GPL-2.0
/*
 * The underlay's device that a tunnel is bound to, and what becomes of it while
 * the tunnel lives.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>

#include "xtun.h"

/* A link-local address is one of its link, and of no other port of a VRF. */
static bool xtun_link_local(const struct xtun_params *p)
{
	return p->family == AF_INET6 &&
	       (ipv6_addr_type(&p->local.in6) |
		ipv6_addr_type(&p->remote.in6)) & IPV6_ADDR_LINKLOCAL;
}

/**
 * xtun_underlay_via() - find the device that packets of a tunnel go through
 * @net: underlay
 * @p: what the user said
 *
 * The port of a VRF stands for that VRF, as with the in-tree tunnels: its routes
 * choose the port.
 *
 * Context: RTNL.
 * Return: its ifindex, or 0 for any.
 */
u32 xtun_underlay_via(struct net *net, const struct xtun_params *p)
{
	u32 vrf = 0;

	if (p->link && !xtun_link_local(p))
		vrf = l3mdev_master_upper_ifindex_by_index(net, p->link);
	return vrf ?: p->link;
}

/* Another tunnel may take the packets that this one would: it stays as it is. */
static void xtun_underlay_renew(struct xtun_dev *tun)
{
	const struct xtun_conf *old = rtnl_dereference(tun->conf), *other;
	struct xtun_conf *new;
	int err;

	if (!old->ops || xtun_underlay_via(tun->net, &old->p) == old->via)
		return;
	new = xtun_conf_again(old);
	if (IS_ERR(new))
		return;
	other = xtun_lookup_same(new);
	err = other ? -EEXIST : xtun_swap(tun, new, NULL);
	if (!err)
		return;
	if (other)
		netdev_warn(tun->dev,
			    "%s takes the same packets in the VRF that dev is a port of now: give one of them another key, or another dev\n",
			    other->tun->dev->name);
	xtun_conf_free(new);
}

static int xtun_underlay_event(struct notifier_block *nb, unsigned long event,
			       void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct xtun_net *xn = xtun_net(dev_net(dev));
	struct xtun_dev *tun;

	/* It may be below the port of a VRF. */
	if (event != NETDEV_CHANGEUPPER || !xn)
		return NOTIFY_DONE;
	list_for_each_entry(tun, &xn->tunnels, list)
		xtun_underlay_renew(tun);
	return NOTIFY_DONE;
}

static struct notifier_block xtun_underlay_nb = {
	.notifier_call = xtun_underlay_event,
};

/**
 * xtun_underlay_init() - begin to watch devices
 *
 * Context: process, may sleep.
 * Return: 0 or a negative error.
 */
int xtun_underlay_init(void)
{
	return register_netdevice_notifier(&xtun_underlay_nb);
}

/**
 * xtun_underlay_exit() - end to watch devices
 *
 * Context: process, may sleep.
 */
void xtun_underlay_exit(void)
{
	unregister_netdevice_notifier(&xtun_underlay_nb);
}
