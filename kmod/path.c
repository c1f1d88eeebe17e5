// SPDX-License-Identifier: GPL-2.0
/*
 * What is known of the path to a peer, for those who ask and those who listen.
 */
#include <net/rtnetlink.h>

#include "genl.h"

/* Where a dump goes on. */
struct xtun_path_dump {
	struct xtun_dump devices;
	/* Of this device, if any, it has told some peers, ... */
	int within;
	/* ... this one of them last. */
	u64 serial;
};

/**
 * struct xtun_known - all that is known of the path to a peer
 * @conf: configuration that the route was looked up with
 * @peer: what errors have told; zero but for addr where there were none
 * @alive: the last packets from and to it, as far as they are known
 * @path: the outer route
 * @err: or why there is none, a negative error
 * @sight: enum xtun_sight, of those who will read it
 */
struct xtun_known {
	const struct xtun_conf *conf;
	struct xtun_peer peer;
	struct xtun_alive alive;
	struct xtun_path path;
	int err;
	u8 sight;
};

static const u32 xtun_answers[] = {
	[XTUN_KIND_NETWORK] = XTUN_ANSWER_NETWORK,
	[XTUN_KIND_HOST] = XTUN_ANSWER_HOST,
	[XTUN_KIND_PROHIBITED_NET] = XTUN_ANSWER_PROHIBITED_NET,
	[XTUN_KIND_PROHIBITED_HOST] = XTUN_ANSWER_PROHIBITED_HOST,
	[XTUN_KIND_PROHIBITED] = XTUN_ANSWER_PROHIBITED,
	[XTUN_KIND_TIME] = XTUN_ANSWER_TIME,
};

/* Netns ids are not given out here: a listener is told in atomic context. */
static int xtun_put_foreign(struct sk_buff *skb, const struct xtun_dev *tun)
{
	const struct net *net = dev_net(tun->dev);

	if (net_eq(net, tun->net))
		return 0;
	return nla_put_s32(skb, XTUN_A_TUNNEL_LINK_NETNSID,
			   peernet2id(net, tun->net));
}

static int xtun_put_armed(struct sk_buff *skb, const struct xtun_dev *tun)
{
	unsigned long until = READ_ONCE(tun->armed_until), now = jiffies;

	if (!(READ_ONCE(tun->watch) & XTUN_WATCH_ARMED) ||
	    time_after(now, until))
		return 0;
	return nla_put_u32(skb, XTUN_A_TUNNEL_ARMED_FOR,
			   xtun_seconds(now, until));
}

static bool xtun_sees_underlay(const struct xtun_known *known)
{
	return known->sight & XTUN_SEES_UNDERLAY;
}

/* Which way outer packets go is the underlay's affair, whether they can is not. */
static int xtun_put_route(struct sk_buff *skb, const struct xtun_known *known)
{
	const struct xtun_path *path = &known->path;

	if (known->err)
		return nla_put_u32(skb, XTUN_A_PATH_ERROR, -known->err);
	if (path->loop && nla_put_flag(skb, XTUN_A_PATH_LOOP))
		return -EMSGSIZE;
	if (!xtun_sees_underlay(known))
		return 0;
	if (nla_put_u32(skb, XTUN_A_PATH_LINK, path->link) ||
	    nla_put_string(skb, XTUN_A_PATH_LINK_NAME, path->name))
		return -EMSGSIZE;
	if (path->loop)
		return 0;
	if (path->gateway_family &&
	    xtun_put_addr(skb, XTUN_A_PATH_GATEWAY, &path->gateway,
			  path->gateway_family))
		return -EMSGSIZE;
	return xtun_put_addr(skb, XTUN_A_PATH_SOURCE, &path->source,
			     known->conf->p.family);
}

static int xtun_put_mtus(struct sk_buff *skb, const struct xtun_known *known)
{
	const struct xtun_path *path = &known->path;
	u32 overhead = known->conf->overhead;

	if (!path->mtu)
		return 0;
	if (nla_put_u32(skb, XTUN_A_PATH_LINK_MTU, path->link_mtu) ||
	    nla_put_u32(skb, XTUN_A_PATH_MTU, path->mtu) ||
	    nla_put_u32(skb, XTUN_A_PATH_FITS,
			path->mtu > overhead ? path->mtu - overhead : 0))
		return -EMSGSIZE;
	return path->expires ? nla_put_u32(skb, XTUN_A_PATH_EXPIRES,
					   path->expires) : 0;
}

/* A router of the underlay has told something. */
static int xtun_put_from(struct sk_buff *skb, const struct xtun_known *known,
			 int attr, const union nf_inet_addr *from)
{
	if (!xtun_sees_underlay(known))
		return 0;
	return xtun_put_addr(skb, attr, from, known->conf->p.family);
}

static int xtun_put_learned(struct sk_buff *skb, const struct xtun_known *known)
{
	const struct xtun_peer *peer = &known->peer;

	if (!peer->mtu)
		return 0;
	if (nla_put_u32(skb, XTUN_A_PATH_LEARNED_MTU, peer->mtu) ||
	    xtun_put_from(skb, known, XTUN_A_PATH_LEARNED_FROM,
			  &peer->mtu_from) ||
	    nla_put_u32(skb, XTUN_A_PATH_LEARNED_AGO,
			xtun_seconds(peer->mtu_time, jiffies)))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_errors(struct sk_buff *skb, const struct xtun_known *known)
{
	const struct xtun_peer *peer = &known->peer;

	if (nla_put_u64_64bit(skb, XTUN_A_PATH_ERRORS, peer->errors,
			      XTUN_A_PATH_PAD))
		return -EMSGSIZE;
	if (!peer->errors)
		return 0;
	if (nla_put_u8(skb, XTUN_A_PATH_LAST_TYPE, peer->err_type) ||
	    nla_put_u8(skb, XTUN_A_PATH_LAST_CODE, peer->err_code) ||
	    xtun_put_from(skb, known, XTUN_A_PATH_LAST_FROM, &peer->err_from) ||
	    nla_put_u32(skb, XTUN_A_PATH_LAST_AGO,
			xtun_seconds(peer->err_time, jiffies)) ||
	    nla_put_u32(skb, XTUN_A_PATH_LAST_SINCE,
			xtun_alive_since(&known->alive, peer->err_time)))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_ago(struct sk_buff *skb, int attr, unsigned long when)
{
	return when ? nla_put_u32(skb, attr, xtun_seconds(when, jiffies)) : 0;
}

/* Of one of many peers it is known only whether there were packets since. */
static int xtun_put_alive(struct sk_buff *skb, const struct xtun_known *known)
{
	if (!xtun_has_remote(known->conf))
		return 0;
	if (xtun_put_ago(skb, XTUN_A_PATH_HEARD_AGO, known->alive.heard) ||
	    xtun_put_ago(skb, XTUN_A_PATH_SENT_AGO, known->alive.sent))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_soft(struct sk_buff *skb, const struct xtun_known *known)
{
	unsigned long now = jiffies, until = known->peer.soft_until;
	enum xtun_kind kind = xtun_told_kind(known->conf, known->peer.soft);

	if (kind >= ARRAY_SIZE(xtun_answers) || !xtun_answers[kind] ||
	    time_after(now, until))
		return 0;
	if (nla_put_u32(skb, XTUN_A_PATH_ANSWER, xtun_answers[kind]) ||
	    nla_put_u32(skb, XTUN_A_PATH_ANSWER_FOR, xtun_seconds(now, until)))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_path(struct sk_buff *skb, const struct xtun_dev *tun,
			 const void *about)
{
	const struct xtun_known *known = about;
	u8 family = known->conf->p.family;
	struct nlattr *nest;

	if (xtun_put_id(skb, tun) || xtun_put_foreign(skb, tun) ||
	    xtun_put_armed(skb, tun))
		return -EMSGSIZE;
	nest = nla_nest_start(skb, XTUN_A_TUNNEL_PATH);
	if (!nest ||
	    xtun_put_addr(skb, XTUN_A_PATH_PEER, &known->peer.addr, family) ||
	    xtun_put_route(skb, known) || xtun_put_mtus(skb, known) ||
	    xtun_put_learned(skb, known) || xtun_put_errors(skb, known) ||
	    xtun_put_soft(skb, known) || xtun_put_alive(skb, known))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

/* Fill in @known, of which conf and peer are filled in already. */
static void xtun_know_rest(struct xtun_known *known)
{
	known->alive = xtun_has_remote(known->conf) ?
		       xtun_alive(known->conf->tun) : known->peer.alive;
	known->err = xtun_route_path(known->conf, known->conf->p.fwmark,
				     &known->peer.addr,
				     &known->path);
}

static void xtun_know(struct xtun_dev *tun, const struct xtun_conf *conf,
		      const union nf_inet_addr *addr, struct xtun_known *known)
{
	known->conf = conf;
	if (!xtun_peer_copy(tun, addr, &known->peer)) {
		memset(&known->peer, 0, sizeof(known->peer));
		known->peer.addr = *addr;
	}
	xtun_know_rest(known);
}

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
	struct xtun_known known;
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
		xtun_know(tun, conf, &addr, &known);
		known.sight = xtun_sight_of(tun, skb);
		err = xtun_answer_one(info, tun, NLMSG_DEFAULT_SIZE,
				      XTUN_CMD_PATH_GET, xtun_put_path, &known);
	}
	rtnl_unlock();
	return err;
}

static int xtun_path_dump_one(struct sk_buff *skb, struct netlink_callback *cb,
			      struct xtun_dev *tun,
			      const struct xtun_known *known)
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
	struct xtun_known known = {
		.conf = rtnl_dereference(tun->conf),
		.sight = xtun_sight_of(tun, cb->skb),
	};
	int err;

	if (!known.conf->ops)
		return 0;
	if (xtun_has_remote(known.conf)) {
		xtun_know(tun, known.conf, &known.conf->p.remote, &known);
		return xtun_path_dump_one(skb, cb, tun, &known);
	}
	if (dump->within != tun->dev->ifindex) {
		dump->within = tun->dev->ifindex;
		dump->serial = U64_MAX;
	}
	while (xtun_peer_after(tun, dump->serial, &known.peer)) {
		xtun_know_rest(&known);
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
		if (!xtun_is(dev))
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

/**
 * xtun_path_mtu() - path MTU to a peer, where somebody wants to hear of it
 * @conf: a configured configuration
 * @peer: the peer
 *
 * Context: BH disabled, RCU.
 * Return: bytes of outer packet; 0 without a route, and without listeners.
 */
u32 xtun_path_mtu(const struct xtun_conf *conf,
		  const union nf_inet_addr *peer)
{
	struct xtun_path path;

	if (!xtun_listened(conf->tun) ||
	    xtun_route_path(conf, conf->p.fwmark, peer, &path))
		return 0;
	return path.mtu;
}

/**
 * xtun_notify_path() - tell listeners if the path MTU to a peer was lowered
 * @conf: a configured configuration
 * @peer: the peer
 * @before: what xtun_path_mtu() has returned before
 *
 * Context: BH disabled, RCU.
 */
void xtun_notify_path(const struct xtun_conf *conf,
		      const union nf_inet_addr *peer, u32 before)
{
	struct xtun_dev *tun = conf->tun;
	struct xtun_known known;

	if (!before)
		return;
	xtun_know(tun, conf, peer, &known);
	known.sight = xtun_sight_of_listeners(tun);
	if (known.path.mtu && known.path.mtu < before)
		xtun_multicast(tun, NLMSG_DEFAULT_SIZE, XTUN_CMD_PATH_NTF,
			       xtun_put_path, &known, GFP_ATOMIC);
}
