// SPDX-License-Identifier: GPL-2.0
/*
 * Requests for what is known of the path to a peer, or to all.
 */
#include <net/rtnetlink.h>

#include "conf.h"
#include "device.h"
#include "genl.h"
#include "notify.h"

/* Where a dump goes on. */
struct xtun_path_dump {
	struct xtun_dump devices;
	/* Of this device, if any, it has told some peers, ... */
	int within;
	/* ... this one of them last. */
	u64 serial;
};

/* What routes an underlay has is not for everybody who was given a tunnel. */
static int xtun_path_may_ask(struct sk_buff *request,
			     const struct xtun_dev *tun,
			     struct netlink_ext_ack *extack)
{
	if (xtun_sight_of(tun, request) & XTUN_SEES_UNDERLAY)
		return 0;
	NL_SET_ERR_MSG(extack,
		       "addr: the underlay is in another netns, where you are not privileged");
	return -EPERM;
}

/* The peer that a request is about. */
static int xtun_path_asked(struct sk_buff *request, const struct nlattr *attr,
			   const struct xtun_conf *conf,
			   union nf_inet_addr *addr,
			   struct netlink_ext_ack *extack)
{
	int len = conf->p.family == AF_INET ? sizeof(addr->in) :
					      sizeof(addr->in6);

	*addr = conf->p.remote;
	if (!conf->ops) {
		NL_SET_ERR_MSG(extack,
			       "the tunnel is not configured: it has no peer yet");
		return -EDESTADDRREQ;
	}
	if (!attr && !xtun_has_remote(conf)) {
		NL_SET_ERR_MSG(extack,
			       "addr: say which peer, remote is any");
		return -EDESTADDRREQ;
	}
	if (!attr)
		return 0;
	if (nla_len(attr) != len) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "addr: no address of the underlay's family");
		return -EINVAL;
	}
	nla_memcpy(addr, attr, sizeof(*addr));
	if (!xtun_has_remote(conf))
		return xtun_path_may_ask(request, conf->tun, extack);
	if (!nf_inet_addr_cmp(addr, &conf->p.remote)) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "addr: it is not the tunnel's remote");
		return -EINVAL;
	}
	return 0;
}

int xtun_nl_path_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	const struct xtun_conf *conf;
	struct xtun_path_info known;
	union nf_inet_addr addr;
	struct xtun_dev *tun;
	int err;

	rtnl_lock();
	tun = xtun_find_asked(info);
	err = PTR_ERR_OR_ZERO(tun);
	if (!err) {
		conf = rtnl_dereference(tun->conf);
		err = xtun_path_asked(skb, info->attrs[XTUN_A_TUNNEL_ADDR],
				      conf, &addr, info->extack);
	}
	if (!err) {
		xtun_path_gather(tun, conf, &addr, &known);
		known.sight = xtun_sight_of(tun, skb);
		err = xtun_answer_one(info, tun, NLMSG_DEFAULT_SIZE,
				      XTUN_CMD_PATH_GET, xtun_put_path, &known);
	}
	rtnl_unlock();
	return err;
}

static int xtun_path_dump_one(struct sk_buff *skb, struct netlink_callback *cb,
			      struct xtun_dev *tun,
			      const struct xtun_path_info *known)
{
	struct xtun_head head = {
		.portid = NETLINK_CB(cb->skb).portid,
		.seq = cb->nlh->nlmsg_seq,
		.flags = NLM_F_MULTI,
		.cmd = XTUN_CMD_PATH_GET,
	};
	unsigned int at = skb->len;
	int err;

	err = xtun_put_message(skb, tun, &head, xtun_put_path, known);
	if (!err)
		nl_dump_check_consistent(cb, (void *)(skb->data + at));
	return err;
}

/* The peers of a tunnel that were not told yet. */
static int xtun_path_dump_peers(struct sk_buff *skb,
				struct netlink_callback *cb,
				struct xtun_dev *tun)
{
	struct xtun_path_dump *dump = (struct xtun_path_dump *)cb->ctx;
	struct xtun_path_info known = {
		.conf = rtnl_dereference(tun->conf),
		.sight = xtun_sight_of(tun, cb->skb),
	};
	int err;

	if (!known.conf->ops)
		return 0;
	if (xtun_has_remote(known.conf)) {
		xtun_path_gather(tun, known.conf, &known.conf->p.remote, &known);
		return xtun_path_dump_one(skb, cb, tun, &known);
	}
	if (dump->within != tun->dev->ifindex) {
		dump->within = tun->dev->ifindex;
		dump->serial = U64_MAX;
	}
	while (xtun_peer_after(tun, dump->serial, &known.peer)) {
		xtun_path_complete(&known);
		err = xtun_path_dump_one(skb, cb, tun, &known);
		if (err)
			return err;
		dump->serial = known.peer.serial;
	}
	dump->within = 0;
	return 0;
}

static int xtun_path_dump_all(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct xtun_path_dump *dump = (struct xtun_path_dump *)cb->ctx;
	struct net *net = sock_net(skb->sk);
	struct net_device *dev;
	int err;

	for (dev = xtun_dump_resume(net, &dump->devices); dev;
	     dev = xtun_dump_pass(&dump->devices, dev)) {
		if (!netif_is_xtun(dev))
			continue;
		err = xtun_path_dump_peers(skb, cb, netdev_priv(dev));
		if (err)
			return err;
	}
	return 0;
}

static int xtun_path_dump_named(struct sk_buff *skb,
				struct netlink_callback *cb,
				const struct nlattr *index,
				const struct nlattr *name)
{
	struct xtun_path_dump *dump = (struct xtun_path_dump *)cb->ctx;
	struct xtun_dev *tun;
	int err;

	if (dump->devices.passed)
		return 0;
	tun = xtun_find(sock_net(skb->sk), index, name, cb->extack);
	if (IS_ERR(tun))
		return PTR_ERR(tun);
	err = xtun_path_dump_peers(skb, cb, tun);
	if (!err)
		xtun_dump_pass(&dump->devices, tun->dev);
	return err;
}

int xtun_nl_path_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	const struct nlattr *index, *name;
	int err;

	BUILD_BUG_ON(sizeof(struct xtun_path_dump) > sizeof(cb->ctx));
	/* The family has looked at the request's attributes already. */
	index = nlmsg_find_attr(cb->nlh, GENL_HDRLEN, XTUN_A_TUNNEL_IFINDEX);
	name = nlmsg_find_attr(cb->nlh, GENL_HDRLEN, XTUN_A_TUNNEL_IFNAME);

	rtnl_lock();
	cb->seq = sock_net(skb->sk)->dev_base_seq;
	if (index || name)
		err = xtun_path_dump_named(skb, cb, index, name);
	else
		err = xtun_path_dump_all(skb, cb);
	rtnl_unlock();
	return skb->len ?: err;
}
