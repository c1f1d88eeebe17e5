// SPDX-License-Identifier: GPL-2.0
/*
 * Who may see what of a tunnel. Its device may be in another netns than its
 * underlay, and those who look at the one may have no business in the other.
 */
#include <linux/capability.h>
#include <linux/netlink.h>
#include <net/net_namespace.h>

#include "device.h"
#include "notify.h"

/**
 * xtun_sight_of_all() - what anybody may see who is in the device's netns
 * @tun: the tunnel
 *
 * In its own netns everybody may look at devices and routes.
 *
 * Context: RTNL or RCU.
 * Return: bits of enum xtun_sight.
 */
u8 xtun_sight_of_all(const struct xtun_dev *tun)
{
	return net_eq(tun->net, dev_net(tun->dev)) ? XTUN_SEES_UNDERLAY : 0;
}

/**
 * xtun_sight_of_listeners() - what those may see who listen to events
 * @tun: the tunnel
 *
 * They have CAP_NET_ADMIN over the device's netns, and with it over each netns
 * of the same user namespace. Secrets are for who asks for them.
 *
 * Context: RTNL or RCU.
 * Return: bits of enum xtun_sight.
 */
u8 xtun_sight_of_listeners(const struct xtun_dev *tun)
{
	if (tun->net->user_ns == dev_net(tun->dev)->user_ns)
		return XTUN_SEES_UNDERLAY;
	return xtun_sight_of_all(tun);
}

/**
 * xtun_sight_of() - what the sender of a request may see
 * @tun: the tunnel
 * @request: the request
 *
 * Context: process, of who reads the answer; RTNL or RCU.
 * Return: bits of enum xtun_sight.
 */
u8 xtun_sight_of(const struct xtun_dev *tun, const struct sk_buff *request)
{
	if (netlink_ns_capable(request, tun->net->user_ns, CAP_NET_ADMIN))
		return XTUN_SEES_UNDERLAY | XTUN_SEES_SECRETS;
	return xtun_sight_of_all(tun);
}
