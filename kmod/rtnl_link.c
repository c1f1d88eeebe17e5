// SPDX-License-Identifier: GPL-2.0
/*
 * The rtnetlink link kind: `ip link add|set|del ... type xtun`.
 */
#include <linux/etherdevice.h>
#include <net/rtnetlink.h>

#include "conf.h"
#include "device.h"
#include "notify.h"
#include "xtun_nl.h"

static int xtun_validate(struct nlattr *tb[], struct nlattr *data[],
			 struct netlink_ext_ack *extack)
{
	const struct nlattr *broadcast = tb[IFLA_BROADCAST];
	const struct nlattr *address = tb[IFLA_ADDRESS];

	if (address && (nla_len(address) != ETH_ALEN ||
			!is_valid_ether_addr(nla_data(address)))) {
		NL_SET_ERR_MSG_ATTR(extack, address,
				    "address: not an Ethernet address of one device");
		return -EADDRNOTAVAIL;
	}
	if (broadcast && nla_len(broadcast) != ETH_ALEN) {
		NL_SET_ERR_MSG_ATTR(extack, broadcast,
				    "broadcast: not an Ethernet address");
		return -EADDRNOTAVAIL;
	}
	return 0;
}

/* The whole nest: rtnetlink has parsed it, but passes over what is unknown. */
static const struct nlattr *xtun_info_data(struct nlattr *tb[])
{
	const struct nlattr *info = tb[IFLA_LINKINFO];

	if (!info)
		return NULL;
	return nla_find(nla_data(info), nla_len(info), IFLA_INFO_DATA);
}

/**
 * xtun_newlink() - rtnl_link_ops.newlink: make a tunnel
 * @dev: a new device, xtun_setup() done
 * @params: what the request says; its netns, or that of the link if it names
 *	one, is the underlay
 * @extack: gets the reason of a refusal
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error and the caller frees @dev.
 */
int xtun_newlink(struct net_device *dev, struct rtnl_newlink_params *params,
		 struct netlink_ext_ack *extack)
{
	return xtun_create(rtnl_newlink_link_net(params), dev,
			   xtun_info_data(params->tb), params->tb, extack);
}

static int xtun_changelink(struct net_device *dev, struct nlattr *tb[],
			   struct nlattr *data[],
			   struct netlink_ext_ack *extack)
{
	return xtun_change(netdev_priv(dev), xtun_info_data(tb), extack);
}

static size_t xtun_get_size(const struct net_device *dev)
{
	const struct xtun_dev *tun = netdev_priv(dev);
	const struct xtun_conf *conf;
	size_t size;

	rcu_read_lock();
	conf = rcu_dereference(tun->conf);
	size = conf ? xtun_conf_size(conf) : 0;
	rcu_read_unlock();
	return size;
}

/* It is not known who reads it: all in the netns may be told of a change. */
static int xtun_fill_info(struct sk_buff *skb, const struct net_device *dev)
{
	const struct xtun_dev *tun = netdev_priv(dev);
	const struct xtun_conf *conf;
	int err;

	rcu_read_lock();
	conf = rcu_dereference(tun->conf);
	err = conf ? xtun_conf_fill(skb, conf, xtun_sight_of_all(tun)) : 0;
	rcu_read_unlock();
	return err;
}

static struct net *xtun_get_link_net(const struct net_device *dev)
{
	const struct xtun_dev *tun = netdev_priv(dev);

	return READ_ONCE(tun->net);
}

struct rtnl_link_ops xtun_link_ops __read_mostly = {
	.kind = "xtun",
	.priv_size = sizeof(struct xtun_dev),
	.maxtype = XTUN_A_CONF_MAX,
	.policy = xtun_conf_nl_policy,
	.setup = xtun_setup,
	.validate = xtun_validate,
	.newlink = XTUN_NEWLINK,
	.changelink = xtun_changelink,
	.get_size = xtun_get_size,
	.fill_info = xtun_fill_info,
	.get_link_net = xtun_get_link_net,
};
