// SPDX-License-Identifier: GPL-2.0
/*
 * Tunnels follow what happens to their underlay: the device that dev names goes,
 * comes, joins a VRF or is renamed; the local address goes and comes.
 */
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include "xtun.h"

static bool xtun_link_same(const struct xtun_link *one,
			   const struct xtun_link *other)
{
	return one->index == other->index && one->found == other->found &&
	       !strcmp(one->name, other->name);
}

/*
 * What @link is now. A device that its user has seen keeps its tunnels when it is
 * renamed; one that was found by its name may have it for a moment only, until
 * user space gives it another one.
 */
static void xtun_link_renew(const struct xtun_dev *tun, struct xtun_link *link)
{
	struct net_device *dev = __dev_get_by_index(tun->net, link->index);

	if (dev && !(link->found && strcmp(dev->name, link->name))) {
		strscpy(link->name, dev->name, sizeof(link->name));
		return;
	}
	link->index = 0;
	link->found = true;
	dev = __dev_get_by_name(tun->net, link->name);
	/* An alternative name comes and goes without an event. */
	if (dev && dev != tun->dev && !strcmp(dev->name, link->name))
		link->index = dev->ifindex;
}

static void xtun_tell_same(struct xtun_dev *tun, const struct xtun_conf *other)
{
	if (!tun->same_told)
		netdev_warn(tun->dev,
			    "%s takes the same packets, now that dev is what it is: give one of them another key, or another dev\n",
			    other->tun->dev->name);
	tun->same_told = true;
}

/* True when it is so; another tunnel may take the same packets already. */
static bool xtun_underlay_relink(struct xtun_dev *tun,
				 const struct xtun_link *link)
{
	const struct xtun_conf *other;
	struct xtun_conf *new;

	new = xtun_conf_with_link(rtnl_dereference(tun->conf), link);
	if (IS_ERR(new))
		return false;
	other = xtun_lookup_same(new);
	if (other || xtun_swap(tun, new, NULL)) {
		if (other)
			xtun_tell_same(tun, other);
		xtun_conf_free(new);
		return false;
	}
	tun->same_told = false;
	return true;
}

static bool xtun_underlay_follow_link(struct xtun_dev *tun)
{
	const struct xtun_conf *conf = rtnl_dereference(tun->conf);
	struct xtun_link link = conf->p.link;

	if (!link.name[0])
		return false;
	xtun_link_renew(tun, &link);
	if (xtun_link_same(&link, &conf->p.link) &&
	    xtun_underlay_via(tun->net, &conf->p) == conf->via)
		return false;
	return xtun_underlay_relink(tun, &link);
}

/**
 * xtun_underlay_follow() - make of a tunnel what its underlay allows now
 * @tun: the tunnel
 *
 * Who listens is told.
 *
 * Context: RTNL, may sleep.
 */
void xtun_underlay_follow(struct xtun_dev *tun)
{
	bool linked;

	if (tun->dev->reg_state != NETREG_REGISTERED)
		return;
	linked = xtun_underlay_follow_link(tun);
	if (xtun_underlay_carrier(tun) || linked)
		xtun_notify(tun, XTUN_CMD_SET_NTF);
	if (linked)
		netdev_state_change(tun->dev);
}

/* ---- events ---- */

/* Those that are bound to a device, or for 0 wait for one, and some others. */
static void xtun_underlay_follow_bound(struct xtun_net *xn, u32 index)
{
	struct hlist_node *next;
	struct xtun_dev *tun;

	hlist_for_each_entry_safe(tun, next,
				  &xn->bound[index % XTUN_LINK_BUCKETS], bound)
		xtun_underlay_follow(tun);
}

static void xtun_underlay_follow_all(struct xtun_net *xn)
{
	u32 index;

	for (index = 0; index < XTUN_LINK_BUCKETS; index++)
		xtun_underlay_follow_bound(xn, index);
}

static int xtun_underlay_event(struct notifier_block *nb, unsigned long event,
			       void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct xtun_net *xn = xtun_net(dev_net(dev));

	if (!xn)
		return NOTIFY_DONE;
	switch (event) {
	case NETDEV_UP:
	case NETDEV_DOWN:
	case NETDEV_CHANGE:
		/* Its ports stand for it. */
		if (netif_is_l3_master(dev))
			xtun_underlay_follow_all(xn);
		else
			xtun_underlay_follow_bound(xn, dev->ifindex);
		break;
	case NETDEV_CHANGEUPPER:
		/* It may be below the port of a VRF. */
		xtun_underlay_follow_all(xn);
		break;
	case NETDEV_UNREGISTER:
	case NETDEV_CHANGENAME:
		xtun_underlay_follow_bound(xn, dev->ifindex);
		xtun_underlay_follow_bound(xn, 0);
		break;
	case NETDEV_REGISTER:
		xtun_underlay_follow_bound(xn, 0);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block xtun_underlay_nb = {
	.notifier_call = xtun_underlay_event,
};

/* Routes tell of all addresses but those of IPv4 on a device that is down. */
static int xtun_inetaddr_event(struct notifier_block *nb, unsigned long event,
			       void *info)
{
	const struct in_ifaddr *ifa = info;

	xtun_mtu_later(xtun_net(dev_net(ifa->ifa_dev->dev)));
	return NOTIFY_DONE;
}

static struct notifier_block xtun_inetaddr_nb = {
	.notifier_call = xtun_inetaddr_event,
};

/**
 * xtun_underlay_init() - begin to watch devices and addresses
 *
 * Context: process, may sleep.
 * Return: 0 or a negative error.
 */
int xtun_underlay_init(void)
{
	int err;

	err = register_netdevice_notifier(&xtun_underlay_nb);
	if (err)
		return err;
	err = register_inetaddr_notifier(&xtun_inetaddr_nb);
	if (err)
		unregister_netdevice_notifier(&xtun_underlay_nb);
	return err;
}

/**
 * xtun_underlay_exit() - end to watch devices and addresses
 *
 * Context: process, may sleep.
 */
void xtun_underlay_exit(void)
{
	unregister_inetaddr_notifier(&xtun_inetaddr_nb);
	unregister_netdevice_notifier(&xtun_underlay_nb);
}
