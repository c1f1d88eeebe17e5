// SPDX-License-Identifier: GPL-2.0
/*
 * The device's MTU: that of the underlay, less what a packet grows by, or what the
 * user has said.
 */
#include <linux/rtnetlink.h>
#include <net/ip.h>
#include <net/ipv6.h>

#include "conf.h"
#include "device.h"
#include "route.h"

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
