// SPDX-License-Identifier: GPL-2.0
/*
 * The generic-netlink family: the same as the link kind, and what rtnetlink has
 * no words for.
 */
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <net/rtnetlink.h>

#include "conf.h"
#include "device.h"
#include "genl.h"
#include "notify.h"
#include "wire.h"

#define XTUN_REGISTER_TRIES	100

/**
 * xtun_find() - find the tunnel that a request names
 * @net: netns of the request
 * @index: its ifindex, or NULL
 * @name: its name, or NULL
 * @extack: gets the reason of a refusal
 *
 * Context: RTNL.
 * Return: the tunnel, or an error pointer.
 */
struct xtun_dev *xtun_find(struct net *net, const struct nlattr *index,
			   const struct nlattr *name,
			   struct netlink_ext_ack *extack)
{
	struct net_device *dev = NULL;
	char buf[IFNAMSIZ];

	if (!index && !name) {
		NL_SET_ERR_MSG(extack, "say which: ifindex or ifname");
		return ERR_PTR(-EINVAL);
	}
	if (index) {
		dev = __dev_get_by_index(net, nla_get_u32(index));
	} else {
		nla_strscpy(buf, name, sizeof(buf));
		dev = __dev_get_by_name(net, buf);
	}
	if (!dev) {
		NL_SET_ERR_MSG(extack, "there is no such device");
		return ERR_PTR(-ENODEV);
	}
	if (!netif_is_xtun(dev)) {
		NL_SET_ERR_MSG(extack, "the device is not of kind xtun");
		return ERR_PTR(-EOPNOTSUPP);
	}
	return netdev_priv(dev);
}

/**
 * xtun_find_asked() - find the tunnel that a request is about
 * @info: the request
 *
 * Context: RTNL.
 * Return: the tunnel, or an error pointer.
 */
struct xtun_dev *xtun_find_asked(struct genl_info *info)
{
	return xtun_find(genl_info_net(info), info->attrs[XTUN_A_TUNNEL_IFINDEX],
			 info->attrs[XTUN_A_TUNNEL_IFNAME], info->extack);
}

/*
 * Is there one end that all packets come from? Else a drop is nobody's, and
 * another's packets say nothing of it.
 */
static bool xtun_one_end(const struct xtun_conf *conf)
{
	const struct xtun_encap_ops *ops = conf->ops;

	return ops && (xtun_has_remote(conf) ||
		       (ops->one_end && ops->one_end(conf)));
}

static int xtun_put_drop(struct sk_buff *skb, const struct xtun_dev *tun,
			 unsigned int counter, const struct xtun_alive *alive)
{
	struct nlattr *nest = nla_nest_start(skb, XTUN_A_STATS_DROP);
	u64 packets = xtun_counted(tun, counter);
	unsigned long when;

	if (!nest ||
	    nla_put_string(skb, XTUN_A_DROP_NAME, xtun_counter_name(counter)) ||
	    nla_put_u64_64bit(skb, XTUN_A_DROP_PACKETS, packets,
			      XTUN_A_DROP_PAD))
		return -EMSGSIZE;
	if (packets) {
		when = xtun_counted_last(tun, counter);
		if (nla_put_u32(skb, XTUN_A_DROP_AGO, xtun_seconds(when, jiffies)) ||
		    (alive && nla_put_u32(skb, XTUN_A_DROP_SINCE,
					  xtun_alive_since(alive, when))))
			return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

static int xtun_put_traffic(struct sk_buff *skb, const struct xtun_dev *tun)
{
	struct rtnl_link_stats64 stats = {};

	dev_fetch_sw_netstats(&stats, tun->dev->tstats);
	if (nla_put_u64_64bit(skb, XTUN_A_STATS_RX_PACKETS, stats.rx_packets,
			      XTUN_A_STATS_PAD) ||
	    nla_put_u64_64bit(skb, XTUN_A_STATS_RX_BYTES, stats.rx_bytes,
			      XTUN_A_STATS_PAD) ||
	    nla_put_u64_64bit(skb, XTUN_A_STATS_TX_PACKETS, stats.tx_packets,
			      XTUN_A_STATS_PAD) ||
	    nla_put_u64_64bit(skb, XTUN_A_STATS_TX_BYTES, stats.tx_bytes,
			      XTUN_A_STATS_PAD))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_stats(struct sk_buff *skb, const struct xtun_dev *tun,
			  const void *about)
{
	bool one_end = xtun_one_end(rtnl_dereference(tun->conf));
	struct xtun_alive alive = xtun_alive(tun);
	struct nlattr *nest;
	unsigned int counter;

	if (xtun_put_id(skb, tun))
		return -EMSGSIZE;
	nest = nla_nest_start(skb, XTUN_A_TUNNEL_STATS);
	if (!nest || xtun_put_traffic(skb, tun))
		return -EMSGSIZE;
	for (counter = 1; counter < XTUN_COUNTERS; counter++) {
		if (xtun_put_drop(skb, tun, counter, one_end ? &alive : NULL))
			return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

static size_t xtun_stats_size(const struct xtun_dev *tun)
{
	return nla_total_size(IFNAMSIZ) + nla_total_size(sizeof(u32)) +
	       nla_total_size(0) + 4 * nla_total_size_64bit(sizeof(u64)) +
	       XTUN_COUNTERS * (nla_total_size(0) +
				nla_total_size(ETH_GSTRING_LEN) +
				nla_total_size_64bit(sizeof(u64)) +
				2 * nla_total_size(sizeof(u32)));
}

/* What a request asks for about each tunnel. */
struct xtun_query {
	u8 cmd;
	size_t (*size)(const struct xtun_dev *tun);
	xtun_put_t put;
};

static const struct xtun_query xtun_query_tunnel = {
	XTUN_CMD_GET, xtun_tunnel_size, xtun_put_tunnel,
};

static const struct xtun_query xtun_query_stats = {
	XTUN_CMD_STATS_GET, xtun_stats_size, xtun_put_stats,
};

/**
 * xtun_answer_one() - answer a request with one message
 * @info: the request
 * @tun: the tunnel that it is about
 * @size: bytes of attributes, at most
 * @cmd: what the message is
 * @put: writes the attributes
 * @about: for @put
 *
 * Context: process, may sleep; that of @put.
 * Return: 0 or a negative error.
 */
int xtun_answer_one(struct genl_info *info, const struct xtun_dev *tun,
		    size_t size, u8 cmd, xtun_put_t put, const void *about)
{
	struct xtun_head head = {
		.portid = info->snd_portid,
		.seq = info->snd_seq,
		.cmd = cmd,
	};
	struct sk_buff *skb = xtun_new_message(tun, &head, size, put, about,
					       GFP_KERNEL);

	if (IS_ERR(skb))
		return PTR_ERR(skb);
	return genlmsg_reply(skb, info);
}

static int xtun_reply(const struct sk_buff *request, struct genl_info *info,
		      const struct xtun_dev *tun,
		      const struct xtun_query *query, u8 cmd)
{
	return xtun_answer_one(info, tun, query->size(tun), cmd, query->put,
			       request);
}

static int xtun_get_one(const struct sk_buff *request, struct genl_info *info,
			const struct xtun_query *query)
{
	struct xtun_dev *tun;
	int err;

	rtnl_lock();
	tun = xtun_find_asked(info);
	err = IS_ERR(tun) ? PTR_ERR(tun) :
			    xtun_reply(request, info, tun, query, query->cmd);
	rtnl_unlock();
	return err;
}

/**
 * xtun_dump_resume() - find the device that a dump goes on with
 * @net: the netns
 * @dump: the dump
 *
 * Devices are told in the order of the netns's list. Only where the last one is
 * gone meanwhile are those before it counted, which misses one only if others
 * are gone, too.
 *
 * Context: RTNL.
 * Return: the device, or NULL when there are no more.
 */
struct net_device *xtun_dump_resume(struct net *net,
				    const struct xtun_dump *dump)
{
	struct net_device *dev;
	unsigned int at = 1;

	if (!dump->last)
		return first_net_device(net);
	dev = __dev_get_by_index(net, dump->last);
	if (dev)
		return next_net_device(dev);
	for_each_netdev(net, dev) {
		if (at++ >= dump->passed)
			return dev;
	}
	return NULL;
}

/**
 * xtun_dump_pass() - note that a dump is done with a device
 * @dump: the dump
 * @dev: the device
 *
 * Context: RTNL.
 * Return: the next device, or NULL when there are no more.
 */
struct net_device *xtun_dump_pass(struct xtun_dump *dump,
				  struct net_device *dev)
{
	dump->last = dev->ifindex;
	dump->passed++;
	return next_net_device(dev);
}

static int xtun_dump(struct sk_buff *skb, struct netlink_callback *cb,
		     const struct xtun_query *query)
{
	struct xtun_dump *dump = (struct xtun_dump *)cb->ctx;
	struct xtun_head head = {
		.portid = NETLINK_CB(cb->skb).portid,
		.seq = cb->nlh->nlmsg_seq,
		.flags = NLM_F_MULTI,
		.cmd = query->cmd,
	};
	struct net *net = sock_net(skb->sk);
	struct net_device *dev;
	unsigned int at;
	int err = 0;

	rtnl_lock();
	cb->seq = net->dev_base_seq;
	for (dev = xtun_dump_resume(net, dump); dev;
	     dev = xtun_dump_pass(dump, dev)) {
		if (!netif_is_xtun(dev))
			continue;
		at = skb->len;
		err = xtun_put_message(skb, netdev_priv(dev), &head,
				       query->put, cb->skb);
		if (err)
			break;
		/* Devices came or went: who asked is told to ask again. */
		nl_dump_check_consistent(cb, (void *)(skb->data + at));
	}
	rtnl_unlock();
	return skb->len ?: err;
}

int xtun_nl_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return xtun_get_one(skb, info, &xtun_query_tunnel);
}

int xtun_nl_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	return xtun_dump(skb, cb, &xtun_query_tunnel);
}

int xtun_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	return xtun_get_one(skb, info, &xtun_query_stats);
}

int xtun_nl_stats_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	return xtun_dump(skb, cb, &xtun_query_stats);
}

/* The netns that a new device goes into. */
static struct net *xtun_dest_net(const struct sk_buff *skb,
				 struct genl_info *info)
{
	const struct nlattr *fd = info->attrs[XTUN_A_TUNNEL_NETNS_FD];
	struct net *net;

	if (!fd)
		return get_net(genl_info_net(info));

	net = get_net_ns_by_fd(nla_get_u32(fd));
	if (IS_ERR(net)) {
		NL_SET_ERR_MSG_ATTR(info->extack, fd,
				    "netns: this is no network namespace");
		return net;
	}
	if (!netlink_ns_capable(skb, net->user_ns, CAP_NET_ADMIN)) {
		NL_SET_ERR_MSG_ATTR(info->extack, fd,
				    "netns: you are not privileged there");
		put_net(net);
		return ERR_PTR(-EPERM);
	}
	return net;
}

static struct net_device *xtun_make(struct genl_info *info, struct net *net)
{
	const struct nlattr *name = info->attrs[XTUN_A_TUNNEL_IFNAME];
	struct nlattr *tb[IFLA_MAX + 1] = {};
	struct net_device *dev;
	char buf[IFNAMSIZ] = "xtun%d";
	int err;

	if (name)
		nla_strscpy(buf, name, sizeof(buf));
	if (name && !dev_valid_name(buf)) {
		NL_SET_ERR_MSG_ATTR(info->extack, name,
				    "not a valid name of a device");
		return ERR_PTR(-EINVAL);
	}
	if (name && __dev_get_by_name(net, buf)) {
		NL_SET_ERR_MSG_ATTR(info->extack, name,
				    "there is a device of this name already");
		return ERR_PTR(-EEXIST);
	}

	dev = rtnl_create_link(net, buf, name ? NET_NAME_USER : NET_NAME_ENUM,
			       &xtun_link_ops, tb, info->extack);
	if (IS_ERR(dev))
		return dev;
	err = xtun_create(genl_info_net(info), dev,
			  info->attrs[XTUN_A_TUNNEL_CONF], tb, info->extack);
	if (err) {
		free_netdev(dev);
		return ERR_PTR(err);
	}
	err = xtun_configure_link(dev);
	if (err) {
		unregister_netdevice(dev);
		return ERR_PTR(err);
	}
	return dev;
}

int xtun_nl_new_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct net_device *dev;
	struct net *net;
	int err;

	net = xtun_dest_net(skb, info);
	if (IS_ERR(net))
		return PTR_ERR(net);

	rtnl_lock();
	dev = xtun_make(info, net);
	err = PTR_ERR_OR_ZERO(dev);
	if (!err) {
		err = xtun_reply(skb, info, netdev_priv(dev),
				 &xtun_query_tunnel, XTUN_CMD_NEW);
		if (err)
			unregister_netdevice(dev);
	}
	rtnl_unlock();
	put_net(net);
	return err;
}

int xtun_nl_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct xtun_dev *tun;
	int err;

	rtnl_lock();
	tun = xtun_find_asked(info);
	err = PTR_ERR_OR_ZERO(tun);
	if (!err)
		err = xtun_change(tun, info->attrs[XTUN_A_TUNNEL_CONF],
				  info->extack);
	if (!err)
		netdev_state_change(tun->dev);
	rtnl_unlock();
	return err;
}

int xtun_nl_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct xtun_dev *tun;
	int err;

	rtnl_lock();
	tun = xtun_find_asked(info);
	err = PTR_ERR_OR_ZERO(tun);
	if (!err)
		unregister_netdevice(tun->dev);
	rtnl_unlock();
	return err;
}

/* A device comes and goes in a netns by being made, deleted, and moved. */
static int xtun_device_event(struct notifier_block *nb, unsigned long event,
			     void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);

	if (!netif_is_xtun(dev))
		return NOTIFY_DONE;

	switch (event) {
	case NETDEV_REGISTER:
		xtun_notify(netdev_priv(dev), XTUN_CMD_NEW_NTF);
		break;
	case NETDEV_UNREGISTER:
		/* It is repeated to those who hold on to a deleted device. */
		if (dev->reg_state != NETREG_UNREGISTERED)
			xtun_notify(netdev_priv(dev), XTUN_CMD_DEL_NTF);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block xtun_device_nb = {
	.notifier_call = xtun_device_event,
};

/*
 * A group's number can be guessed before the family has it, and nobody is asked
 * for his rights who joins it then. Unregistering puts him out again; should he
 * be faster than that every time, nothing is registered.
 */
static int __init xtun_genl_register(void)
{
	int tries, err;

	for (tries = 0; tries < XTUN_REGISTER_TRIES; tries++) {
		err = genl_register_family(&xtun_family);
		if (err || !genl_has_listeners(&xtun_family, &init_net,
					       XTUN_NLGRP_EVENTS))
			return err;
		genl_unregister_family(&xtun_family);
	}
	pr_err("xtun: a program keeps joining the group of its events without the right to\n");
	return -EBUSY;
}

/**
 * xtun_genl_init() - register the family
 *
 * Context: process, may sleep.
 * Return: 0 or a negative error.
 */
int __init xtun_genl_init(void)
{
	int err;

	err = xtun_genl_register();
	if (err)
		return err;

	err = register_netdevice_notifier(&xtun_device_nb);
	if (err)
		genl_unregister_family(&xtun_family);
	return err;
}

/**
 * xtun_genl_exit() - unregister the family
 *
 * Listeners are told that the tunnels there are end.
 *
 * Context: process, may sleep.
 */
void xtun_genl_exit(void)
{
	unregister_netdevice_notifier(&xtun_device_nb);
	genl_unregister_family(&xtun_family);
}
