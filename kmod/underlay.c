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

#include "conf.h"
#include "device.h"
#include "net.h"
#include "route.h"

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
	u32 index = conf->p.lower.index;

	if (conf->p.lower.name[0])
		hlist_add_head(&tun->bound,
			       &xn->bound[index % XTUN_LOWER_BUCKETS]);
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

static bool xtun_lower_runs(const struct net_device *lower)
{
	return lower->flags & IFF_UP && netif_carrier_ok(lower) &&
	       !netif_dormant(lower);
}

/* What is missing, 0 for nothing. */
static u8 xtun_underlay_wait(const struct xtun_conf *conf)
{
	const struct net_device *lower;

	if (!conf->ops)
		return XTUN_WAIT_ENCAP;
	if (conf->p.lower.name[0]) {
		lower = __dev_get_by_index(conf->tun->net, conf->via);
		if (!lower)
			return XTUN_WAIT_DEV;
		if (!xtun_lower_runs(lower))
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
