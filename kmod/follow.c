// SPDX-License-Identifier: GPL-2.0
/*
 * Tunnels follow what happens to their underlay: the device that dev names goes,
 * comes, joins a VRF or is renamed; the local address goes and comes; routes change,
 * and with them the MTU and what was learned of a path. What takes time, or may
 * sleep, is done a moment later, once for many changes.
 */
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/fib_notifier.h>
#include <net/ip6_fib.h>
#include <net/ip_fib.h>
#include <net/nexthop.h>

#include "conf.h"
#include "device.h"
#include "net.h"
#include "notify.h"

#define XTUN_FOLLOW_DELAY		(HZ / 20)

/* How long to wait until it is tried again to watch routes. */
#define XTUN_FOLLOW_RETRY		HZ

/* ---- dev, by its name ---- */

static bool xtun_lower_same(const struct xtun_lower *one,
			    const struct xtun_lower *other)
{
	return one->index == other->index && one->found == other->found &&
	       !strcmp(one->name, other->name);
}

/*
 * What @lower is now. A device that its user has seen keeps its tunnels when it is
 * renamed; one that was found by its name may have it for a moment only, until
 * user space gives it another one.
 */
static void xtun_lower_renew(const struct xtun_dev *tun, struct xtun_lower *lower)
{
	struct net_device *dev = __dev_get_by_index(tun->net, lower->index);

	if (dev && !(lower->found && strcmp(dev->name, lower->name))) {
		strscpy(lower->name, dev->name, sizeof(lower->name));
		return;
	}
	lower->index = 0;
	lower->found = true;
	dev = __dev_get_by_name(tun->net, lower->name);
	/* An alternative name comes and goes without an event. */
	if (dev && dev != tun->dev && !strcmp(dev->name, lower->name))
		lower->index = dev->ifindex;
}

/* True when it is so; another tunnel may take the same packets already. */
static bool xtun_follow_relink(struct xtun_dev *tun,
			       const struct xtun_lower *lower)
{
	const struct xtun_conf *other;
	struct xtun_conf *new;

	new = xtun_conf_with_lower(rtnl_dereference(tun->conf), lower);
	if (IS_ERR(new))
		return false;
	other = xtun_lookup_same(new);
	if (other || xtun_swap(tun, new, NULL)) {
		if (other && !tun->same_logged) {
			tun->same_logged = true;
			netdev_warn(tun->dev,
				    "%s takes the same packets, now that dev is what it is: give one of them another key, or another dev\n",
				    other->tun->dev->name);
		}
		xtun_conf_free(new);
		return false;
	}
	tun->same_logged = false;
	return true;
}

static bool xtun_follow_lower(struct xtun_dev *tun)
{
	const struct xtun_conf *conf = rtnl_dereference(tun->conf);
	struct xtun_lower lower = conf->p.lower;

	if (!lower.name[0])
		return false;
	xtun_lower_renew(tun, &lower);
	if (xtun_lower_same(&lower, &conf->p.lower) &&
	    xtun_underlay_via(tun->net, &conf->p) == conf->via)
		return false;
	return xtun_follow_relink(tun, &lower);
}

/* Make of a tunnel what its underlay allows now; who listens is told. Under RTNL. */
static void xtun_follow(struct xtun_dev *tun)
{
	bool linked;

	if (tun->dev->reg_state != NETREG_REGISTERED)
		return;
	linked = xtun_follow_lower(tun);
	if (xtun_underlay_carrier(tun) || linked)
		xtun_notify(tun, XTUN_CMD_SET_NTF);
	if (linked)
		netdev_state_change(tun->dev);
}

/* ---- a moment later ---- */

static void xtun_follow_queue(struct xtun_net *xn, unsigned long delay)
{
	if (READ_ONCE(xn->following))
		queue_delayed_work(system_percpu_wq, &xn->mtu_work, delay);
}

/* Look soon what has become of the underlay. */
static void xtun_follow_later(struct xtun_net *xn)
{
	/* A netns that is being made has nothing yet, or not all. */
	if (xn && READ_ONCE(xn->following) && !list_empty(&xn->tunnels))
		xtun_follow_queue(xn, XTUN_FOLLOW_DELAY);
}

/*
 * Under routes that change all the time, registration gives up on telling of
 * those that are there; then, as without memory, it is tried again later.
 */
static void xtun_follow_register(struct xtun_net *xn)
{
	if (!xn->nexthops_registered)
		xn->nexthops_registered =
			!register_nexthop_notifier(xn->net, &xn->nexthop_nb,
						   NULL);
	if (!xn->fib_registered)
		xn->fib_registered = !register_fib_notifier(xn->net, &xn->fib_nb,
							    NULL, NULL);
	if (!xn->nexthops_registered || !xn->fib_registered)
		xtun_follow_queue(xn, XTUN_FOLLOW_RETRY);
}

static void xtun_follow_unregister(struct xtun_net *xn)
{
	if (xn->nexthops_registered)
		unregister_nexthop_notifier(xn->net, &xn->nexthop_nb);
	if (xn->fib_registered)
		unregister_fib_notifier(xn->net, &xn->fib_nb);
	xn->nexthops_registered = false;
	xn->fib_registered = false;
}

/*
 * Tunnels come and go under RTNL, which registration takes itself: it is done
 * here, before the MTU is looked up, so that no change is missed.
 */
static void xtun_follow_work(struct work_struct *work)
{
	struct xtun_net *xn = container_of(to_delayed_work(work),
					   struct xtun_net, mtu_work);
	struct xtun_dev *tun;

	if (list_empty(&xn->tunnels))
		xtun_follow_unregister(xn);
	else
		xtun_follow_register(xn);

	rtnl_lock();
	list_for_each_entry(tun, &xn->tunnels, list) {
		xtun_follow(tun);
		if (xtun_mtu_follow(tun))
			xtun_notify(tun, XTUN_CMD_SET_NTF);
	}
	rtnl_unlock();
}

/* ---- events of routes ---- */

/*
 * What a route leads to, of which an event tells that it comes, goes or changes. A
 * rule may lead anything elsewhere.
 */
static bool xtun_fib_prefix(unsigned long event,
			    const struct fib_notifier_info *info,
			    struct xtun_prefix *prefix)
{
	const struct fib6_entry_notifier_info *info6;
	const struct fib_entry_notifier_info *info4;
	union nf_inet_addr addr = {};

	if (event == FIB_EVENT_RULE_ADD || event == FIB_EVENT_RULE_DEL) {
		xtun_prefix_fill(prefix, info->family, &addr, 0);
		return true;
	}
	if (event != FIB_EVENT_ENTRY_REPLACE &&
	    event != FIB_EVENT_ENTRY_APPEND && event != FIB_EVENT_ENTRY_DEL)
		return false;
	switch (info->family) {
	case AF_INET:
		info4 = container_of(info, struct fib_entry_notifier_info, info);
		addr.ip = htonl(info4->dst);
		xtun_prefix_fill(prefix, AF_INET, &addr, info4->dst_len);
		return true;
	case AF_INET6:
		info6 = container_of(info, struct fib6_entry_notifier_info,
				     info);
		addr.in6 = info6->rt->fib6_dst.addr;
		xtun_prefix_fill(prefix, AF_INET6, &addr,
				 info6->rt->fib6_dst.plen);
		return true;
	default:
		return false;
	}
}

/* What was learned of a path goes with its route, as it does in the kernel. */
static void xtun_follow_forget(const struct xtun_net *xn,
			       const struct xtun_prefix *prefix)
{
	struct xtun_dev *tun;

	rcu_read_lock();
	list_for_each_entry_rcu(tun, &xn->tunnels, list) {
		if (READ_ONCE(tun->track) & XTUN_TRACK_PATH)
			xtun_peer_rerouted(tun, rcu_dereference(tun->conf)->p.family,
					   prefix);
	}
	rcu_read_unlock();
}

static int xtun_fib_event(struct notifier_block *nb, unsigned long event,
			  void *info)
{
	struct xtun_net *xn = container_of(nb, struct xtun_net, fib_nb);
	struct xtun_prefix prefix;

	/* Routes that were there before are told of, too. */
	if (READ_ONCE(xn->following) && xtun_fib_prefix(event, info, &prefix))
		xtun_follow_forget(xn, &prefix);
	xtun_follow_later(xn);
	return NOTIFY_DONE;
}

static int xtun_nexthop_event(struct notifier_block *nb, unsigned long event,
			      void *info)
{
	struct xtun_net *xn = container_of(nb, struct xtun_net, nexthop_nb);
	const union nf_inet_addr any = {};
	struct xtun_prefix prefix;

	/* Whose routes use it is not told. */
	xtun_prefix_fill(&prefix, AF_INET, &any, 0);
	xtun_follow_forget(xn, &prefix);
	xtun_prefix_fill(&prefix, AF_INET6, &any, 0);
	xtun_follow_forget(xn, &prefix);
	xtun_follow_later(xn);
	return NOTIFY_DONE;
}

/* ---- events of devices and addresses ---- */

/* Those that are bound to a device, or for 0 wait for one, and some others. */
static void xtun_follow_bound(struct xtun_net *xn, u32 index)
{
	struct hlist_node *next;
	struct xtun_dev *tun;

	hlist_for_each_entry_safe(tun, next,
				  &xn->bound[index % XTUN_LOWER_BUCKETS], bound)
		xtun_follow(tun);
}

static void xtun_follow_all(struct xtun_net *xn)
{
	u32 index;

	for (index = 0; index < XTUN_LOWER_BUCKETS; index++)
		xtun_follow_bound(xn, index);
}

static int xtun_follow_event(struct notifier_block *nb, unsigned long event,
			     void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct xtun_net *xn = xtun_net(dev_net(dev));

	if (!xn)
		return NOTIFY_DONE;
	switch (event) {
	case NETDEV_CHANGEMTU:
		xtun_follow_later(xn);
		break;
	case NETDEV_UP:
	case NETDEV_DOWN:
		xtun_follow_later(xn);
		fallthrough;
	case NETDEV_CHANGE:
		/* Its ports stand for it. */
		if (netif_is_l3_master(dev))
			xtun_follow_all(xn);
		else
			xtun_follow_bound(xn, dev->ifindex);
		break;
	case NETDEV_CHANGEUPPER:
		/* It may be below the port of a VRF. */
		xtun_follow_all(xn);
		break;
	case NETDEV_UNREGISTER:
	case NETDEV_CHANGENAME:
		xtun_follow_bound(xn, dev->ifindex);
		xtun_follow_bound(xn, 0);
		break;
	case NETDEV_REGISTER:
		xtun_follow_bound(xn, 0);
		break;
	case NETDEV_UDP_TUNNEL_PUSH_INFO:
	case NETDEV_UDP_TUNNEL_DROP_INFO:
		xtun_udp_tell(dev, event == NETDEV_UDP_TUNNEL_PUSH_INFO);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block xtun_follow_nb = {
	.notifier_call = xtun_follow_event,
};

/* Routes tell of all addresses but those of IPv4 on a device that is down. */
static int xtun_inetaddr_event(struct notifier_block *nb, unsigned long event,
			       void *info)
{
	const struct in_ifaddr *ifa = info;

	xtun_follow_later(xtun_net(dev_net(ifa->ifa_dev->dev)));
	return NOTIFY_DONE;
}

static struct notifier_block xtun_inetaddr_nb = {
	.notifier_call = xtun_inetaddr_event,
};

/**
 * xtun_follow_net_init() - prepare to watch a netns
 * @xn: the netns
 *
 * Context: process.
 */
void xtun_follow_net_init(struct xtun_net *xn)
{
	INIT_DELAYED_WORK(&xn->mtu_work, xtun_follow_work);
	xn->fib_nb.notifier_call = xtun_fib_event;
	xn->nexthop_nb.notifier_call = xtun_nexthop_event;
	WRITE_ONCE(xn->following, true);
}

/**
 * xtun_follow_net() - a netns has got its first tunnel, or lost its last
 * @xn: the netns
 *
 * It is watched as long as it has one; others pay nothing.
 *
 * Context: RTNL.
 */
void xtun_follow_net(struct xtun_net *xn)
{
	xtun_follow_queue(xn, 0);
}

/**
 * xtun_follow_net_exit() - end to watch a netns
 * @xn: the netns, which may still have tunnels
 *
 * Context: process, may sleep, not under RTNL.
 */
void xtun_follow_net_exit(struct xtun_net *xn)
{
	/* Events of devices come under RTNL. */
	rtnl_lock();
	WRITE_ONCE(xn->following, false);
	rtnl_unlock();
	cancel_delayed_work_sync(&xn->mtu_work);

	xtun_follow_unregister(xn);
	/* An event of a route may have been on its way. */
	cancel_delayed_work_sync(&xn->mtu_work);
}

/**
 * xtun_follow_init() - begin to watch devices and addresses
 *
 * Context: process, may sleep.
 * Return: 0 or a negative error.
 */
int xtun_follow_init(void)
{
	int err;

	err = register_netdevice_notifier(&xtun_follow_nb);
	if (err)
		return err;
	err = register_inetaddr_notifier(&xtun_inetaddr_nb);
	if (err)
		unregister_netdevice_notifier(&xtun_follow_nb);
	return err;
}

/**
 * xtun_follow_exit() - end to watch devices and addresses
 *
 * Context: process, may sleep.
 */
void xtun_follow_exit(void)
{
	unregister_inetaddr_notifier(&xtun_inetaddr_nb);
	unregister_netdevice_notifier(&xtun_follow_nb);
}
