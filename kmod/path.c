// SPDX-License-Identifier: GPL-2.0
/*
 * What is known of the path to a peer, for those who ask and those who listen.
 */
#include <net/rtnetlink.h>

#include "conf.h"
#include "device.h"
#include "genl.h"
#include "notify.h"
#include "packet.h"
#include "route.h"

static const u32 xtun_answers[] = {
	[XTUN_CLASS_NETWORK] = XTUN_ANSWER_NETWORK,
	[XTUN_CLASS_HOST] = XTUN_ANSWER_HOST,
	[XTUN_CLASS_PROHIBITED_NET] = XTUN_ANSWER_PROHIBITED_NET,
	[XTUN_CLASS_PROHIBITED_HOST] = XTUN_ANSWER_PROHIBITED_HOST,
	[XTUN_CLASS_PROHIBITED] = XTUN_ANSWER_PROHIBITED,
	[XTUN_CLASS_TIME] = XTUN_ANSWER_TIME,
};

static int xtun_put_armed(struct sk_buff *skb, const struct xtun_dev *tun)
{
	unsigned long until = READ_ONCE(tun->armed_until), now = jiffies;

	if (!(READ_ONCE(tun->track) & XTUN_TRACK_ARMED) ||
	    time_after(now, until))
		return 0;
	return nla_put_u32(skb, XTUN_A_TUNNEL_ARMED_FOR,
			   xtun_seconds(now, until));
}

static bool xtun_sees_underlay(const struct xtun_path_info *known)
{
	return known->sight & XTUN_SEES_UNDERLAY;
}

/* Which way outer packets go is the underlay's affair, whether they can is not. */
static int xtun_put_route(struct sk_buff *skb, const struct xtun_path_info *known)
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

static int xtun_put_mtus(struct sk_buff *skb, const struct xtun_path_info *known)
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
static int xtun_put_from(struct sk_buff *skb, const struct xtun_path_info *known,
			 int attr, const union nf_inet_addr *from)
{
	if (!xtun_sees_underlay(known))
		return 0;
	return xtun_put_addr(skb, attr, from, known->conf->p.family);
}

static int xtun_put_learned(struct sk_buff *skb, const struct xtun_path_info *known)
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

static int xtun_put_errors(struct sk_buff *skb, const struct xtun_path_info *known)
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
static int xtun_put_alive(struct sk_buff *skb, const struct xtun_path_info *known)
{
	if (!xtun_has_remote(known->conf))
		return 0;
	if (xtun_put_ago(skb, XTUN_A_PATH_HEARD_AGO, known->alive.heard) ||
	    xtun_put_ago(skb, XTUN_A_PATH_SENT_AGO, known->alive.sent))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_soft(struct sk_buff *skb, const struct xtun_path_info *known)
{
	unsigned long now = jiffies, until = known->peer.soft_until;
	enum xtun_icmp_class class = xtun_icmp_class_told(known->conf, known->peer.soft);

	if (class >= ARRAY_SIZE(xtun_answers) || !xtun_answers[class] ||
	    time_after(now, until))
		return 0;
	if (nla_put_u32(skb, XTUN_A_PATH_ANSWER, xtun_answers[class]) ||
	    nla_put_u32(skb, XTUN_A_PATH_ANSWER_FOR, xtun_seconds(now, until)))
		return -EMSGSIZE;
	return 0;
}

/**
 * xtun_put_path() - write what is known of the path to a peer
 * @skb: message to append to
 * @tun: the tunnel
 * @about: struct xtun_path_info
 *
 * Context: RTNL or RCU.
 * Return: 0 or -EMSGSIZE.
 */
int xtun_put_path(struct sk_buff *skb, const struct xtun_dev *tun,
		  const void *about)
{
	const struct xtun_path_info *known = about;
	const struct net *net = dev_net(tun->dev);
	u8 family = known->conf->p.family;
	struct nlattr *nest;

	/* Netns ids are not given out here: a listener is told in atomic context. */
	if (xtun_put_id(skb, tun) ||
	    (!net_eq(net, tun->net) &&
	     nla_put_s32(skb, XTUN_A_TUNNEL_LINK_NETNSID,
			 peernet2id(net, tun->net))) ||
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

/**
 * xtun_path_complete() - find out what is known of a peer besides what errors have told
 * @known: has the configuration and the peer; gets the rest
 *
 * Context: RTNL or RCU.
 */
void xtun_path_complete(struct xtun_path_info *known)
{
	known->alive = xtun_has_remote(known->conf) ?
		       xtun_alive(known->conf->tun) : known->peer.alive;
	known->err = xtun_route_path(known->conf, known->conf->p.fwmark,
				     &known->peer.addr,
				     &known->path);
}

/**
 * xtun_path_gather() - find out all that is known of the path to a peer
 * @tun: the tunnel
 * @conf: its configuration, configured
 * @addr: the peer
 * @known: gets it, but for who will read it
 *
 * Context: RTNL or RCU.
 */
void xtun_path_gather(struct xtun_dev *tun, const struct xtun_conf *conf,
		      const union nf_inet_addr *addr, struct xtun_path_info *known)
{
	known->conf = conf;
	if (!xtun_peer_copy(tun, addr, &known->peer)) {
		memset(&known->peer, 0, sizeof(known->peer));
		known->peer.addr = *addr;
	}
	xtun_path_complete(known);
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
	struct xtun_path_info known;

	if (!before)
		return;
	xtun_path_gather(tun, conf, peer, &known);
	known.sight = xtun_sight_of_listeners(tun);
	if (known.path.mtu && known.path.mtu < before)
		xtun_multicast(tun, NLMSG_DEFAULT_SIZE, XTUN_CMD_PATH_NTF,
			       xtun_put_path, &known, GFP_ATOMIC);
}
