// SPDX-License-Identifier: GPL-2.0
/*
 * Which way an outer packet takes: its route, source and path MTU, what errors teach
 * of them, and which addresses are this host's. With outer.c and answer.c it is all
 * that differs between an IPv4 and an IPv6 underlay.
 */
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/dsfield.h>
#include <net/dst_cache.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/route.h>
#include <net/xfrm.h>

#include "mark.h"
#include "conf.h"
#include "device.h"
#include "flow.h"
#include "net.h"
#include "packet.h"
#include "route.h"
#include "route_out.h"
#include "wire.h"

/* So often a route is looked up that is gone again at once. */
#define XTUN_ROUTE_TRIES	8

/*
 * What packets inherit chooses a route only where rules may look at it. Without a
 * packet it is the caller who knows that.
 */
static u8 xtun_route_tos(const struct xtun_cx *cx)
{
	u8 tos = cx->conf->p.tos;

	if (tos == XTUN_TOS_INHERIT)
		tos = cx->by_packet || !cx->skb ? cx->tos : 0;
	return tos & INET_DSCP_MASK;
}

/* The ports, the key or the type that policies and rules may ask for. */
static union flowi_uli xtun_route_uli(const struct xtun_cx *cx)
{
	const struct xtun_encap_ops *ops = cx->conf->ops;
	union flowi_uli uli = cx->conf->uli;

	if (!cx->by_packet)
		return uli;
	if (ops->wire->transport->flow)
		ops->wire->transport->flow(cx, &uli);
	if (ops->flow)
		ops->flow(cx, &uli);
	return uli;
}

/*
 * The flow of outer packets: of this one, or of all that have its addresses. What
 * IPv4 and IPv6 have in common.
 */
static void xtun_route_flow(const struct xtun_cx *cx, struct flowi_common *fl)
{
	const struct xtun_conf *conf = cx->conf;
	u8 family = conf->p.family;

	fl->flowic_oif = conf->via;
	fl->flowic_mark = cx->mark;
	fl->flowic_proto = conf->ipproto;
	if (conf->ipproto)
		return;
	fl->flowic_proto = family == AF_INET ? IPPROTO_IPIP : IPPROTO_IPV6;
	if (cx->by_packet)
		fl->flowic_proto = xtun_ipproto(cx);
}

static struct dst_entry *xtun_lookup4(struct xtun_cx *cx)
{
	struct flowi4 fl4 = {
		.daddr = cx->daddr.ip,
		.saddr = cx->saddr.ip,
		.uli = xtun_route_uli(cx),
	};
	struct rtable *rt;

	xtun_route_flow(cx, &fl4.__fl_common);
	xtun_flowi4_set_tos(&fl4, xtun_route_tos(cx));
	rt = ip_route_output_flow(cx->tun->net, &fl4, NULL);
	if (IS_ERR(rt))
		return ERR_CAST(rt);
	cx->saddr.ip = fl4.saddr;
	return &rt->dst;
}

/*
 * With a source given, IPv6 takes the output device for a wish only; the
 * tunnel's dev is more than that.
 */
static struct dst_entry *xtun_lookup6_strict(struct net *net,
					     struct flowi6 *fl6)
{
	struct dst_entry *dst;
	int err;

	dst = ip6_route_output_flags(net, NULL, fl6, RT6_LOOKUP_F_IFACE);
	err = dst->error;
	if (err) {
		dst_release(dst);
		return ERR_PTR(err);
	}
	return xfrm_lookup_route(net, dst, flowi6_to_flowi(fl6), NULL, 0);
}

/* Is it an address of this host, in the VRF of a device, or in none without one? */
static bool xtun_is_own6(struct net *net, const struct in6_addr *addr, int link)
{
	struct net_device *dev;
	bool own;

	rcu_read_lock();
	dev = link ? dev_get_by_index_rcu(net, link) : NULL;
	own = ipv6_chk_addr(net, addr, dev, 0);
	rcu_read_unlock();
	return own;
}

/*
 * IPv4 routes look whether the source is ours, in whatever VRF; IPv6 ones do
 * not. It is that of the tunnel's dev, or, where routes lead from one to another,
 * that which the packets leave through.
 */
static struct dst_entry *xtun_lookup6_from(const struct xtun_conf *conf,
					   struct flowi6 *fl6)
{
	struct net *net = conf->tun->net;
	const struct in6_addr saddr = fl6->saddr;
	bool own = xtun_is_own6(net, &saddr, conf->via);
	struct dst_entry *dst;

	dst = conf->via ? xtun_lookup6_strict(net, fl6) :
			  ip6_dst_lookup_flow(net, NULL, fl6, NULL);
	if (own || (!IS_ERR(dst) && ipv6_chk_addr(net, &saddr, dst->dev, 0)))
		return dst;
	if (!IS_ERR(dst))
		dst_release(dst);
	return ERR_PTR(-EADDRNOTAVAIL);
}

static struct dst_entry *xtun_lookup6(struct xtun_cx *cx)
{
	struct flowi6 fl6 = {
		.daddr = cx->daddr.in6,
		.saddr = cx->saddr.in6,
		.flowlabel = ip6_make_flowinfo(xtun_route_tos(cx), 0),
		.uli = xtun_route_uli(cx),
	};
	struct net *net = cx->tun->net;
	struct dst_entry *dst;

	xtun_route_flow(cx, &fl6.__fl_common);
	if (!ipv6_addr_any(&fl6.saddr))
		return xtun_lookup6_from(cx->conf, &fl6);

	dst = ip6_dst_lookup_flow(net, NULL, &fl6, NULL);
	if (!IS_ERR(dst))
		cx->saddr.in6 = fl6.saddr;
	return dst;
}

/*
 * Look a route up. The packet gets the source if it has none. Where an IPsec policy
 * has no SA yet, xfrm_lookup_route() gives a route that discards what it gets.
 */
static struct dst_entry *xtun_route_lookup(struct xtun_cx *cx)
{
	struct dst_entry *dst = cx->conf->p.family == AF_INET ?
				xtun_lookup4(cx) : xtun_lookup6(cx);

	if (!IS_ERR(dst) && unlikely(READ_ONCE(dst->output) == dst_discard_out &&
				     !xtun_dst_gone(dst))) {
		dst_release(dst);
		return ERR_PTR(-EREMOTE);
	}
	return dst;
}

/* What all packets of a tunnel to one peer have in common. */
static struct xtun_cx xtun_route_any(const struct xtun_conf *conf, u32 mark,
				     const union nf_inet_addr *peer)
{
	return (struct xtun_cx) {
		.tun = conf->tun,
		.conf = conf,
		.mark = mark,
		.saddr = conf->p.local,
		.daddr = *peer,
	};
}

static void xtun_cache_set(const struct xtun_cx *cx)
{
	struct dst_cache *cache = cx->conf->dst_cache;

	if (cx->conf->p.family == AF_INET6)
		dst_cache_set_ip6(cache, cx->dst, &cx->saddr.in6);
	else
		dst_cache_set_ip4(cache, cx->dst, cx->saddr.ip);
}

/**
 * xtun_dst_link_mtu6() - MTU of a route, or of its link
 * @dst: an IPv6 route
 *
 * What the kernel has learned is not in it.
 *
 * Context: any, with a reference to @dst.
 * Return: bytes.
 */
unsigned int xtun_dst_link_mtu6(const struct dst_entry *dst)
{
	const struct rt6_info *rt6 = container_of(dst, struct rt6_info, dst);
	const struct inet6_dev *idev;
	const struct fib6_info *f6i;
	unsigned int mtu;

	rcu_read_lock();
	f6i = rcu_dereference(rt6->from);
	mtu = f6i ? f6i->fib6_pmtu : 0;
	idev = __in6_dev_get(dst->dev);
	if (!mtu && idev)
		mtu = READ_ONCE(idev->cnf.mtu6);
	rcu_read_unlock();
	return mtu ?: READ_ONCE(dst->dev->mtu);
}

/* What the sender is told of a route that there is none of. */
static enum xtun_icmp_class xtun_route_icmp_class(int err)
{
	switch (err) {
	case -ENETUNREACH:
		return XTUN_CLASS_NETWORK;
	case -EACCES:
	case -EPERM:
		return XTUN_CLASS_PROHIBITED;
	case -EREMOTE:
		/* Who asks for the SA may have it in a moment. */
		return XTUN_CLASS_NONE;
	default:
		return XTUN_CLASS_HOST;
	}
}

/* IPsec policies that block, or have no SA, say so; all else lacks a route. */
static enum xtun_drop_reason xtun_route_none(struct xtun_cx *cx, int err)
{
	cx->class = xtun_route_icmp_class(err);
	return err == -EPERM || err == -EREMOTE ? XTUN_TX_FILTERED :
						  XTUN_TX_NO_ROUTE;
}

/**
 * xtun_route_find() - look up the route of an outer packet
 * @cx: as for xtun_route_out(), and whether what only this packet has chooses its
 *	route
 *
 * Context: BH disabled.
 * Return: as for xtun_route_out().
 */
enum xtun_drop_reason xtun_route_find(struct xtun_cx *cx)
{
	const union nf_inet_addr saddr = cx->saddr;
	unsigned int tries = XTUN_ROUTE_TRIES;

	if (cx->by_packet)
		cx->tag = xtun_flow_tag(cx);
	do {
		cx->saddr = saddr;
		cx->dst = xtun_route_lookup(cx);
		if (IS_ERR(cx->dst))
			return xtun_route_none(cx, PTR_ERR(cx->dst));
		if (cx->dst->dev == cx->tun->dev) {
			dst_release(cx->dst);
			cx->class = XTUN_CLASS_HOST;
			return XTUN_TX_ROUTE_LOOP;
		}
		cx->mtu = xtun_route_mtu(cx);
		if (!xtun_dst_gone(cx->dst) &&
		    !xtun_mtu_gone(cx->dst, cx->mtu)) {
			if (cx->conf->one_path && !cx->by_packet)
				xtun_cache_set(cx);
			return XTUN_OK;
		}
		dst_release(cx->dst);
	} while (--tries);
	return xtun_route_none(cx, -EHOSTUNREACH);
}

/**
 * xtun_route_link_mtu() - MTU of the route to the peer, or of the link
 * @conf: a configured configuration
 *
 * Context: RTNL.
 * Return: bytes of outer packet, or 0 when nothing is known.
 */
unsigned int xtun_route_link_mtu(const struct xtun_conf *conf)
{
	struct net_device *link;
	struct xtun_path path;

	if (xtun_has_remote(conf) &&
	    !xtun_route_path(conf, conf->p.fwmark, &conf->p.remote, &path))
		return path.link_mtu;

	link = __dev_get_by_index(conf->tun->net, conf->p.lower.index);
	return link ? READ_ONCE(link->mtu) : 0;
}

/**
 * xtun_route_learn() - lower the path MTU to a peer
 * @conf: the tunnel that has sent the quoted packet
 * @mark: of that packet
 * @peer: the peer
 * @from: who says so
 * @mtu: path MTU in bytes, as the error has it
 *
 * It holds for as long as the kernel keeps one, and until a route to the peer
 * changes.
 *
 * Context: BH disabled, RCU.
 * Return: what is in force then, in bytes.
 */
u32 xtun_route_learn(const struct xtun_conf *conf, u32 mark,
		     const union nf_inet_addr *peer,
		     const union nf_inet_addr *from, u32 mtu)
{
	const struct net *net = conf->tun->net;
	bool v6 = conf->p.family == AF_INET6;
	struct xtun_path path;

	/* The least that is believed: net.ipv4.route.min_pmtu, RFC 8201 section 4. */
	mtu = max_t(u32, mtu, v6 ? IPV6_MIN_MTU :
				   READ_ONCE(net->ipv4.ip_rt_min_pmtu));
	if (xtun_route_path(conf, mark, peer, &path) || path.loop)
		return mtu;
	if (path.locked || mtu > path.mtu)
		return path.mtu;
	xtun_peer_mtu(conf->tun, peer, from, mtu,
		      v6 ? READ_ONCE(net->ipv6.sysctl.ip6_rt_mtu_expires) :
			   READ_ONCE(net->ipv4.ip_rt_mtu_expires));
	return mtu;
}

/**
 * xtun_route_locked() - is the MTU of the route to a peer locked?
 * @conf: a configured configuration
 * @mark: of a packet to it
 * @peer: the peer
 *
 * Context: BH disabled, RCU.
 * Return: whether it is, so that outer packets may be fragmented on their way.
 */
bool xtun_route_locked(const struct xtun_conf *conf, u32 mark,
		       const union nf_inet_addr *peer)
{
	struct xtun_cx cx = xtun_route_any(conf, mark, peer);
	struct dst_entry *dst = xtun_route_lookup(&cx);
	bool locked;

	if (IS_ERR(dst))
		return false;
	locked = xtun_dst_locked(dst);
	dst_release(dst);
	return locked;
}

/* The DSCP by which the route of the packet was found that an error quotes. */
static u8 xtun_quoted_tos(const struct xtun_conf *conf,
			  const struct sk_buff *skb)
{
	if (conf->p.tos != XTUN_TOS_INHERIT)
		return conf->p.tos;
	if (!xtun_net_rules(conf->tun->net, conf->p.family))
		return 0;
	if (conf->p.family == AF_INET)
		return ((const struct iphdr *)skb->data)->tos & INET_DSCP_MASK;
	return ipv6_get_dsfield((const struct ipv6hdr *)skb->data) &
	       INET_DSCP_MASK;
}

/*
 * The kernel corrects the route that it finds with what an error quotes. That
 * has a source and a TOS which the tunnel's own lookup may not have had: a copy
 * of the error says what it had.
 */
static struct sk_buff *xtun_error_as_routed(const struct xtun_conf *conf,
					    const struct sk_buff *skb)
{
	struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);
	u8 tos = xtun_quoted_tos(conf, skb);
	struct iphdr *iph;

	if (!copy)
		return NULL;
	copy->mark = xtun_mark_of_error(conf, skb);
	if (conf->p.family == AF_INET) {
		iph = (struct iphdr *)copy->data;
		iph->saddr = conf->p.local.ip;
		iph->tos = tos;
	} else {
		ipv6_change_dsfield((struct ipv6hdr *)copy->data, 0, tos);
	}
	return copy;
}

/* ipv4_redirect() knows of no mark. */
static void xtun_redirect4(const struct xtun_conf *conf, struct sk_buff *error)
{
	const struct iphdr *iph = (const struct iphdr *)error->data;
	union nf_inet_addr peer = {};
	struct dst_entry *dst;
	struct xtun_cx cx;

	/* The tunnel has sent that header itself. */
	peer.ip = iph->daddr;
	cx = xtun_route_any(conf, error->mark, &peer);
	cx.tos = iph->tos;
	dst = xtun_route_lookup(&cx);
	if (IS_ERR(dst))
		return;
	dst->ops->redirect(dst, NULL, error);
	dst_release(dst);
}

/**
 * xtun_route_redirect() - take a redirect of the route to a peer
 * @conf: the tunnel that has sent the quoted packet
 * @skb: an ICMP redirect, its data at the quoted outer header
 *
 * Whether it comes from the router in use is for the kernel to see.
 *
 * Context: BH disabled, RCU.
 */
void xtun_route_redirect(const struct xtun_conf *conf,
			 const struct sk_buff *skb)
{
	struct sk_buff *error = xtun_error_as_routed(conf, skb);
	struct net *net = conf->tun->net;

	if (!error)
		return;
	if (conf->p.family == AF_INET)
		xtun_redirect4(conf, error);
	else
		ip6_redirect(error, net, error->dev->ifindex, error->mark,
			     sock_net_uid(net, NULL));
	consume_skb(error);
}

/* Has a netns VRFs? Looked for when its devices have changed. Under RTNL. */
static bool xtun_net_vrfs(struct net *net)
{
	struct xtun_net *xn = xtun_net(net);
	struct net_device *dev;

	if (xn->vrfs_seq == net->dev_base_seq)
		return xn->vrfs;
	xn->vrfs_seq = net->dev_base_seq;
	xn->vrfs = false;
	for_each_netdev(net, dev)
		xn->vrfs |= netif_is_l3_master(dev);
	return xn->vrfs;
}

/* Routes may lead from any VRF into any other. */
static bool xtun_is_own6_anywhere(struct net *net, const struct in6_addr *addr)
{
	struct net_device *dev;

	if (xtun_is_own6(net, addr, 0))
		return true;
	if (!xtun_net_vrfs(net))
		return false;
	for_each_netdev(net, dev) {
		if (netif_is_l3_master(dev) && ipv6_chk_addr(net, addr, dev, 0))
			return true;
	}
	return false;
}

/**
 * xtun_route_has_local() - is the source of a tunnel's packets an address of ours?
 * @conf: a configured configuration
 *
 * Context: RTNL.
 * Return: whether it is, in whatever VRF, or is chosen by the route.
 */
bool xtun_route_has_local(const struct xtun_conf *conf)
{
	const union nf_inet_addr *local = &conf->p.local;
	struct net *net = conf->tun->net;
	bool own;

	if (ipv6_addr_any(&local->in6))
		return true;
	if (conf->p.family == AF_INET) {
		rcu_read_lock();
		own = __ip_dev_find(net, local->ip, false);
		rcu_read_unlock();
		return own;
	}
	return xtun_is_own6(net, &local->in6, conf->via) ||
	       xtun_is_own6_anywhere(net, &local->in6);
}

/**
 * xtun_route_is_own() - is an address one of this host's?
 * @skb: a received packet
 * @family: AF_INET or AF_INET6
 * @addr: an address that could have sent it
 *
 * Context: RCU.
 * Return: whether it is one in the packet's netns and VRF.
 */
bool xtun_route_is_own(const struct sk_buff *skb, u8 family,
		       const union nf_inet_addr *addr)
{
	struct net *net = dev_net(skb->dev);

	if (family == AF_INET)
		return inet_addr_type_dev_table(net, skb->dev, addr->ip) ==
		       RTN_LOCAL;
	return xtun_is_own6(net, &addr->in6,
			    xtun_outer_port(skb, family) ?: skb->dev->ifindex);
}

/* The gateway of an IPv4 route may be IPv6 (RFC 5549). */
static void xtun_path_fill_gateway(struct xtun_path *path,
				   const struct dst_entry *dst)
{
	if (dst->ops->family == AF_INET6) {
		const struct rt6_info *rt6;

		rt6 = container_of(dst, struct rt6_info, dst);
		if (rt6->rt6i_flags & RTF_GATEWAY) {
			path->gateway_family = AF_INET6;
			path->gateway.in6 = rt6->rt6i_gateway;
		}
	} else {
		const struct rtable *rt = container_of(dst, struct rtable, dst);

		/* Without a gateway there may be the peer itself. */
		if (!rt->rt_uses_gateway)
			return;
		path->gateway_family = rt->rt_gw_family;
		if (rt->rt_gw_family == AF_INET6)
			path->gateway.in6 = rt->rt_gw6;
		else
			path->gateway.ip = rt->rt_gw4;
	}
}

static int xtun_path_read(const struct xtun_conf *conf, u32 mark,
			  const union nf_inet_addr *peer,
			  struct xtun_path *path)
{
	struct xtun_cx cx = xtun_route_any(conf, mark, peer);
	struct dst_entry *dst = xtun_route_lookup(&cx);
	bool gone;

	memset(path, 0, sizeof(*path));
	path->source = cx.saddr;
	if (IS_ERR(dst))
		return PTR_ERR(dst);

	path->link = dst->dev->ifindex;
	strscpy(path->name, dst->dev->name, sizeof(path->name));
	path->loop = dst->dev == conf->tun->dev;
	if (!path->loop) {
		xtun_path_fill_gateway(path, dst);
		path->locked = xtun_dst_locked(dst);
		path->link_mtu = xtun_dst_mtu(dst);
	}
	gone = xtun_dst_gone(dst) ||
	       (!path->loop && xtun_mtu_gone(dst, path->link_mtu));
	dst_release(dst);
	return gone ? -EAGAIN : 0;
}

/**
 * xtun_route_path() - describe the route that packets to a peer take now
 * @conf: a configured configuration
 * @mark: of those packets
 * @peer: the peer
 * @path: gets what there is
 *
 * Where IPsec policies or rules ask for what differs between packets, it is the
 * route of those that they do not ask for.
 *
 * Context: RTNL or RCU, does not sleep.
 * Return: 0, or the negative error of the lookup.
 */
int xtun_route_path(const struct xtun_conf *conf, u32 mark,
		    const union nf_inet_addr *peer, struct xtun_path *path)
{
	unsigned int tries = XTUN_ROUTE_TRIES;
	u32 learned;
	int err;

	do
		err = xtun_path_read(conf, mark, peer, path);
	while (err == -EAGAIN && --tries);
	if (err || path->loop)
		return err;

	path->mtu = path->link_mtu;
	learned = xtun_peer_path_mtu(conf->tun, peer, &path->expires);
	if (learned && learned < path->mtu)
		path->mtu = learned;
	else
		path->expires = 0;
	return 0;
}
