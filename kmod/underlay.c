// SPDX-License-Identifier: GPL-2.0
/*
 * What a tunnel's configuration names of the underlay, and that may go and come
 * while the tunnel lives: the device, which is a name to its user, and the local
 * address. The tunnel has carrier while both are there and the device has it.
 */
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/stringhash.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>

#include "xtun.h"

/* No device has such an ifindex. */
#define XTUN_VIA_NONE	BIT(31)

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
 * choose the port. Tunnels that wait for devices of different names differ.
 *
 * Context: RTNL.
 * Return: its ifindex, 0 for any, or while it is not there a number that no device
 * has.
 */
u32 xtun_underlay_via(struct net *net, const struct xtun_params *p)
{
	const char *name = p->link.name;
	u32 vrf = 0;

	if (!p->link.index)
		return !name[0] ? 0 : XTUN_VIA_NONE |
				      full_name_hash(NULL, name, strlen(name));
	if (!xtun_link_local(p))
		vrf = l3mdev_master_upper_ifindex_by_index(net, p->link.index);
	return vrf ?: p->link.index;
}

/**
 * xtun_underlay_bind() - note which device a tunnel is bound to
 * @tun: the tunnel, which is noted nowhere
 *
 * Context: RTNL.
 */
void xtun_underlay_bind(struct xtun_dev *tun)
{
	const struct xtun_conf *conf = rtnl_dereference(tun->conf);
	struct xtun_net *xn = xtun_net(tun->net);
	u32 index = conf->p.link.index;

	if (conf->p.link.name[0])
		hlist_add_head(&tun->bound,
			       &xn->bound[index % XTUN_LINK_BUCKETS]);
}

/**
 * xtun_underlay_unbind() - forget which device a tunnel is bound to
 * @tun: the tunnel
 *
 * Context: RTNL.
 */
void xtun_underlay_unbind(struct xtun_dev *tun)
{
	hlist_del_init(&tun->bound);
}

/* ---- carrier ---- */

static bool xtun_link_runs(const struct net_device *link)
{
	return link->flags & IFF_UP && netif_carrier_ok(link) &&
	       !netif_dormant(link);
}

/* What is missing, 0 for nothing. */
static u8 xtun_underlay_wait(const struct xtun_conf *conf)
{
	const struct net_device *link;

	if (!conf->ops)
		return XTUN_WAIT_ENCAP;
	if (conf->p.link.name[0]) {
		link = __dev_get_by_index(conf->tun->net, conf->via);
		if (!link)
			return XTUN_WAIT_DEV;
		if (!xtun_link_runs(link))
			return XTUN_WAIT_DEV_CARRIER;
	}
	return xtun_route_has_local(conf) ? 0 : XTUN_WAIT_LOCAL;
}

/**
 * xtun_underlay_carrier() - give a tunnel carrier, or take it away
 * @tun: the tunnel, registered or about to be
 *
 * Context: RTNL.
 * Return: true when it waits for something else than before.
 */
bool xtun_underlay_carrier(struct xtun_dev *tun)
{
	u8 before = tun->wait;

	tun->wait = xtun_underlay_wait(rtnl_dereference(tun->conf));
	if (tun->wait)
		netif_carrier_off(tun->dev);
	else
		netif_carrier_on(tun->dev);
	return tun->wait != before;
}

/* ---- dev, by its name ---- */

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
