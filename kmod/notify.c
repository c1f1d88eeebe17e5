// SPDX-License-Identifier: GPL-2.0
/*
 * Messages of the generic-netlink family about a tunnel, and who is told without
 * having asked.
 */
#include <linux/rtnetlink.h>

#include "conf.h"
#include "device.h"
#include "genl.h"
#include "notify.h"

/**
 * xtun_put_id() - write which tunnel a message is about
 * @skb: the message
 * @tun: the tunnel
 *
 * Context: RTNL or RCU.
 * Return: 0 or -EMSGSIZE.
 */
int xtun_put_id(struct sk_buff *skb, const struct xtun_dev *tun)
{
	if (nla_put_u32(skb, XTUN_A_TUNNEL_IFINDEX, tun->dev->ifindex) ||
	    nla_put_string(skb, XTUN_A_TUNNEL_IFNAME, tun->dev->name))
		return -EMSGSIZE;
	return 0;
}

/**
 * xtun_put_tunnel() - write what a tunnel is
 * @skb: message to append to
 * @tun: the tunnel
 * @about: the request that it answers, or NULL for an event
 *
 * Context: RTNL.
 * Return: 0 or -EMSGSIZE.
 */
int xtun_put_tunnel(struct sk_buff *skb, const struct xtun_dev *tun,
		    const void *about)
{
	const struct xtun_conf *conf = rtnl_dereference(tun->conf);
	u8 sight = about ? xtun_sight_of(tun, about) :
			   xtun_sight_of_listeners(tun);
	struct net *net = dev_net(tun->dev);
	struct nlattr *nest;

	if (xtun_put_id(skb, tun) ||
	    (!net_eq(net, tun->net) &&
	     nla_put_s32(skb, XTUN_A_TUNNEL_LINK_NETNSID,
			 peernet2id_alloc(net, tun->net, GFP_ATOMIC))) ||
	    nla_put_u32(skb, XTUN_A_TUNNEL_OVERHEAD, conf->overhead) ||
	    nla_put_u32(skb, XTUN_A_TUNNEL_DEVICE_MTU, tun->dev->mtu) ||
	    (tun->wait && nla_put_u32(skb, XTUN_A_TUNNEL_WAITS_FOR, tun->wait)))
		return -EMSGSIZE;

	nest = nla_nest_start(skb, XTUN_A_TUNNEL_CONF);
	if (!nest || xtun_conf_fill(skb, conf, sight))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

/**
 * xtun_tunnel_size() - room that xtun_put_tunnel() needs
 * @tun: the tunnel
 *
 * Context: RTNL.
 * Return: bytes of attributes.
 */
size_t xtun_tunnel_size(const struct xtun_dev *tun)
{
	const struct xtun_conf *conf = rtnl_dereference(tun->conf);

	return nla_total_size(IFNAMSIZ) + 5 * nla_total_size(sizeof(u32)) +
	       nla_total_size(0) + xtun_conf_size(conf);
}

/**
 * xtun_put_message() - write a message about a tunnel
 * @skb: where to; as it was when the message does not fit
 * @tun: the tunnel
 * @head: header of the message
 * @put: writes the attributes
 * @about: for @put
 *
 * Context: that of @put.
 * Return: 0 or -EMSGSIZE.
 */
int xtun_put_message(struct sk_buff *skb, const struct xtun_dev *tun,
		     const struct xtun_head *head, xtun_put_t put,
		     const void *about)
{
	void *hdr = genlmsg_put(skb, head->portid, head->seq, &xtun_family,
				head->flags, head->cmd);

	if (!hdr)
		return -EMSGSIZE;
	if (put(skb, tun, about)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, hdr);
	return 0;
}

/**
 * xtun_new_message() - make a message about a tunnel
 * @tun: the tunnel
 * @head: header of the message
 * @size: bytes of attributes, at most
 * @put: writes the attributes
 * @about: for @put
 * @gfp: whether it may sleep
 *
 * Context: that of @put.
 * Return: the message, or an error pointer.
 */
struct sk_buff *xtun_new_message(const struct xtun_dev *tun,
				 const struct xtun_head *head, size_t size,
				 xtun_put_t put, const void *about, gfp_t gfp)
{
	struct sk_buff *skb = genlmsg_new(size, gfp);
	int err;

	if (!skb)
		return ERR_PTR(-ENOMEM);
	err = xtun_put_message(skb, tun, head, put, about);
	if (!err)
		return skb;
	nlmsg_free(skb);
	return ERR_PTR(err);
}

struct genl_family xtun_family __ro_after_init = {
	.name = XTUN_FAMILY_NAME,
	.version = XTUN_FAMILY_VERSION,
	.module = THIS_MODULE,
	.netnsok = true,
	.parallel_ops = true,
	.ops = xtun_nl_ops,
	.n_ops = ARRAY_SIZE(xtun_nl_ops),
	.resv_start_op = XTUN_CMD_GET,
	.maxattr = XTUN_A_TUNNEL_MAX,
	.mcgrps = xtun_nl_mcgrps,
	.n_mcgrps = ARRAY_SIZE(xtun_nl_mcgrps),
};

/**
 * xtun_listened() - does anybody listen to events about a tunnel?
 * @tun: the tunnel
 *
 * Context: RTNL or RCU.
 * Return: whether somebody does.
 */
bool xtun_listened(const struct xtun_dev *tun)
{
	return genl_has_listeners(&xtun_family, dev_net(tun->dev),
				  XTUN_NLGRP_EVENTS);
}

/**
 * xtun_multicast() - send an event about a tunnel to listeners of its netns
 * @tun: the tunnel
 * @size: bytes of attributes, at most
 * @cmd: what the event is
 * @put: writes the attributes
 * @about: for @put
 * @gfp: whether it may sleep
 *
 * Context: RTNL or RCU; that of @put.
 * Return: 0, or a negative error when nobody has heard of it.
 */
int xtun_multicast(const struct xtun_dev *tun, size_t size, u8 cmd,
		   xtun_put_t put, const void *about, gfp_t gfp)
{
	struct xtun_head head = { .cmd = cmd };
	struct sk_buff *skb = xtun_new_message(tun, &head, size, put, about, gfp);

	if (IS_ERR(skb))
		return PTR_ERR(skb);
	return genlmsg_multicast_netns(&xtun_family, dev_net(tun->dev), skb, 0,
				       XTUN_NLGRP_EVENTS, gfp);
}

/**
 * xtun_notify() - tell listeners of a netns that a tunnel is not as it was
 * @tun: the tunnel
 * @cmd: XTUN_CMD_SET_NTF; of the others, the family itself takes care
 *
 * Context: RTNL, may sleep.
 */
void xtun_notify(const struct xtun_dev *tun, u8 cmd)
{
	if (xtun_listened(tun))
		xtun_multicast(tun, xtun_tunnel_size(tun), cmd, xtun_put_tunnel,
			       NULL, GFP_KERNEL);
}
