// SPDX-License-Identifier: GPL-2.0
/*
 * The device's MTU follows the underlay: routes and devices are watched, and
 * what they say is looked up again a moment later, once for many changes.
 */
#include <linux/rtnetlink.h>
#include <net/fib_notifier.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip_fib.h>
#include <net/ipv6.h>
#include <net/nexthop.h>

#include "xtun.h"

#define XTUN_MTU_DELAY		(HZ / 20)

/* How long to wait until it is tried again to watch routes. */
#define XTUN_MTU_RETRY		HZ

static void xtun_mtu_queue(struct xtun_net *xn, unsigned long delay)
{
	if (READ_ONCE(xn->watching))
		queue_delayed_work(system_percpu_wq, &xn->mtu_work, delay);
}

/**
 * xtun_mtu_later() - look soon what has become of the tunnels' underlay
 * @xn: its netns
 *
 * Context: any; RTNL or RCU.
 */
void xtun_mtu_later(struct xtun_net *xn)
{
	/* A netns that is being made has nothing yet, or not all. */
	if (xn && READ_ONCE(xn->watching) && !list_empty(&xn->tunnels))
		xtun_mtu_queue(xn, XTUN_MTU_DELAY);
}

/*
 * Under routes that change all the time, registration gives up on telling of
 * those that are there; then, as without memory, it is tried again later.
 */
static void xtun_mtu_watch(struct xtun_net *xn)
{
	if (!xn->nexthops_watched)
		xn->nexthops_watched =
			!register_nexthop_notifier(xn->net, &xn->nexthop_nb,
						   NULL);
	if (!xn->fib_watched)
		xn->fib_watched = !register_fib_notifier(xn->net, &xn->fib_nb,
							 NULL, NULL);
	if (!xn->nexthops_watched || !xn->fib_watched)
		xtun_mtu_queue(xn, XTUN_MTU_RETRY);
}

static void xtun_mtu_unwatch(struct xtun_net *xn)
{
	if (xn->nexthops_watched)
		unregister_nexthop_notifier(xn->net, &xn->nexthop_nb);
	if (xn->fib_watched)
		unregister_fib_notifier(xn->net, &xn->fib_nb);
	xn->nexthops_watched = false;
	xn->fib_watched = false;
}

/*
 * Tunnels come and go under RTNL, which registration takes itself: it is done
 * here, before the MTU is looked up, so that no change is missed.
 */
static void xtun_mtu_work(struct work_struct *work)
{
	struct xtun_net *xn = container_of(to_delayed_work(work),
					   struct xtun_net, mtu_work);
	struct xtun_dev *tun;

	if (list_empty(&xn->tunnels))
		xtun_mtu_unwatch(xn);
	else
		xtun_mtu_watch(xn);

	rtnl_lock();
	list_for_each_entry(tun, &xn->tunnels, list) {
		xtun_underlay_follow(tun);
		if (xtun_mtu_follow(tun))
			xtun_notify(tun, XTUN_CMD_SET_NTF);
	}
	rtnl_unlock();
}

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
static void xtun_mtu_forget(const struct xtun_net *xn,
			    const struct xtun_prefix *prefix)
{
	struct xtun_dev *tun;

	rcu_read_lock();
	list_for_each_entry_rcu(tun, &xn->tunnels, list) {
		if (READ_ONCE(tun->watch) & XTUN_WATCH_PATH)
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
	if (READ_ONCE(xn->watching) && xtun_fib_prefix(event, info, &prefix))
		xtun_mtu_forget(xn, &prefix);
	xtun_mtu_later(xn);
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
	xtun_mtu_forget(xn, &prefix);
	xtun_prefix_fill(&prefix, AF_INET6, &any, 0);
	xtun_mtu_forget(xn, &prefix);
	xtun_mtu_later(xn);
	return NOTIFY_DONE;
}

static int xtun_netdev_event(struct notifier_block *nb, unsigned long event,
			     void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);

	switch (event) {
	case NETDEV_CHANGEMTU:
	case NETDEV_UP:
	case NETDEV_DOWN:
		xtun_mtu_later(xtun_net(dev_net(dev)));
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block xtun_netdev_nb = {
	.notifier_call = xtun_netdev_event,
};

/* What the device's MTU has to be now, in bytes. */
static unsigned int xtun_mtu_wanted(const struct xtun_conf *conf)
{
	struct xtun_dev *tun = conf->tun;

	if (conf->p.mtu)
		return conf->p.mtu;
	if (!conf->ops)
		return ETH_DATA_LEN;

	/* IPv6 packets of 1280 bytes get through whatever the underlay. */
	tun->link_mtu = xtun_route_link_mtu(conf) ?: tun->link_mtu;
	return max_t(int, (int)tun->link_mtu - conf->overhead, IPV6_MIN_MTU);
}

/**
 * xtun_mtu_follow() - give a device the MTU that it has to have
 * @tun: the tunnel, registered or about to be
 *
 * Context: RTNL.
 * Return: true when it was another.
 */
bool xtun_mtu_follow(struct xtun_dev *tun)
{
	const struct xtun_conf *conf = rtnl_dereference(tun->conf);
	unsigned int mtu = xtun_mtu_wanted(conf);
	int err;

	tun->dev->max_mtu = IP_MAX_MTU - conf->overhead;
	mtu = min(mtu, tun->dev->max_mtu);
	if (mtu == tun->dev->mtu)
		return false;

	if (tun->dev->reg_state != NETREG_REGISTERED) {
		tun->dev->mtu = mtu;
		return true;
	}

	tun->setting_mtu = true;
	err = dev_set_mtu(tun->dev, mtu);
	tun->setting_mtu = false;
	return !err;
}

/**
 * xtun_mtu_net_init() - prepare to watch a netns
 * @xn: the netns
 *
 * Context: process.
 */
void xtun_mtu_net_init(struct xtun_net *xn)
{
	INIT_DELAYED_WORK(&xn->mtu_work, xtun_mtu_work);
	xn->fib_nb.notifier_call = xtun_fib_event;
	xn->nexthop_nb.notifier_call = xtun_nexthop_event;
	WRITE_ONCE(xn->watching, true);
}

/**
 * xtun_mtu_net_follow() - a netns has got its first tunnel, or lost its last
 * @xn: the netns
 *
 * It is watched as long as it has one; others pay nothing.
 *
 * Context: RTNL.
 */
void xtun_mtu_net_follow(struct xtun_net *xn)
{
	xtun_mtu_queue(xn, 0);
}

/**
 * xtun_mtu_net_exit() - end to watch a netns
 * @xn: the netns, which may still have tunnels
 *
 * Context: process, may sleep, not under RTNL.
 */
void xtun_mtu_net_exit(struct xtun_net *xn)
{
	/* Events of devices come under RTNL. */
	rtnl_lock();
	WRITE_ONCE(xn->watching, false);
	rtnl_unlock();
	cancel_delayed_work_sync(&xn->mtu_work);

	xtun_mtu_unwatch(xn);
	/* An event of a route may have been on its way. */
	cancel_delayed_work_sync(&xn->mtu_work);
}

/**
 * xtun_mtu_init() - begin to watch devices
 *
 * Context: process, may sleep.
 * Return: 0 or a negative error.
 */
int xtun_mtu_init(void)
{
	return register_netdevice_notifier(&xtun_netdev_nb);
}

/**
 * xtun_mtu_exit() - end to watch devices
 *
 * Context: process, may sleep.
 */
void xtun_mtu_exit(void)
{
	unregister_netdevice_notifier(&xtun_netdev_nb);
}
