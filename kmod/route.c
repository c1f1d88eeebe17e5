// SPDX-License-Identifier: GPL-2.0
/*
 * The outer packet's route, header and path MTU: all that differs between an
 * IPv4 and an IPv6 underlay, and nothing else.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/inet_ecn.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/route.h>
#include <net/udp.h>
#include <net/udp_tunnel.h>
#include <net/xfrm.h>

#include "mark.h"
#include "xtun.h"

/* Headers before the answer to a packet. */
#define XTUN_ANSWER_ROOM	(LL_MAX_HEADER + sizeof(struct ipv6hdr) + \
				 sizeof(struct udphdr))

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
	if (ops->wire->carrier->flow)
		ops->wire->carrier->flow(cx, &uli);
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

/* Look a route up. The packet gets the source if it has none. */
static struct dst_entry *xtun_route_lookup(struct xtun_cx *cx)
{
	if (cx->conf->p.family == AF_INET)
		return xtun_lookup4(cx);
	return xtun_lookup6(cx);
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

/* Are there IPsec policies, or rules that look at ports? */
static bool xtun_net_selects(const struct net *net, u8 family)
{
#ifdef CONFIG_XFRM
	if (READ_ONCE(net->xfrm.policy_count[XFRM_POLICY_OUT]))
		return true;
#endif
#ifdef CONFIG_IP_MULTIPLE_TABLES
	if (family == AF_INET && READ_ONCE(net->ipv4.fib_rules_require_fldissect))
		return true;
#endif
#ifdef CONFIG_IPV6_MULTIPLE_TABLES
	if (family == AF_INET6 &&
	    READ_ONCE(net->ipv6.fib6_rules_require_fldissect))
		return true;
#endif
	return false;
}

/* Are there rules of the user's own, which may look at a DSCP? */
static bool xtun_net_rules(const struct net *net, u8 family)
{
#ifdef CONFIG_IP_MULTIPLE_TABLES
	if (family == AF_INET)
		return READ_ONCE(net->ipv4.fib_has_custom_rules);
#endif
#ifdef CONFIG_IPV6_MULTIPLE_TABLES
	if (family == AF_INET6)
		return READ_ONCE(net->ipv6.fib6_has_custom_rules);
#endif
	return false;
}

/*
 * May packets of one tunnel to one peer take different routes? Where packets bring
 * marks of their own, the cached route is that of packets without one.
 */
static bool xtun_route_by_packet(const struct xtun_cx *cx)
{
	const struct xtun_params *p = &cx->conf->p;

	if (cx->mark != p->fwmark)
		return true;
	if (cx->conf->flows && xtun_net_selects(cx->tun->net, p->family))
		return true;
	return p->tos == XTUN_TOS_INHERIT && cx->tos & INET_DSCP_MASK &&
	       xtun_net_rules(cx->tun->net, p->family);
}

static struct dst_entry *xtun_cache_get(struct xtun_cx *cx)
{
	struct dst_cache *cache = (struct dst_cache *)&cx->conf->dst_cache;
	struct rtable *rt;

	if (cx->conf->p.family == AF_INET6)
		return dst_cache_get_ip6(cache, &cx->saddr.in6);

	rt = dst_cache_get_ip4(cache, &cx->saddr.ip);
	return rt ? &rt->dst : NULL;
}

static void xtun_cache_set(const struct xtun_cx *cx)
{
	struct dst_cache *cache = (struct dst_cache *)&cx->conf->dst_cache;

	if (cx->conf->p.family == AF_INET6)
		dst_cache_set_ip6(cache, cx->dst, &cx->saddr.in6);
	else
		dst_cache_set_ip4(cache, cx->dst, cx->saddr.ip);
}

/*
 * While a route's exceptions are renewed, one lookup may take away what another
 * one has just found: it leads nowhere from then on, and has the MTU of that.
 * So this is asked after something was read.
 */
static bool xtun_dst_gone(const struct dst_entry *dst)
{
	return READ_ONCE(dst->dev) == blackhole_netdev;
}

/* Was an MTU read from such a route? IPsec's keep what they got from one. */
static bool xtun_mtu_gone(const struct dst_entry *dst, unsigned int mtu)
{
	return unlikely(mtu <= ETH_MIN_MTU) &&
	       (xtun_dst_gone(dst) || dst_xfrm(dst));
}

/* MTU of the route itself, or of its link, in bytes. */
static unsigned int xtun_dst_link_mtu(const struct dst_entry *dst)
{
	const struct inet6_dev *idev;
	unsigned int mtu;

	if (dst->ops->family == AF_INET) {
		mtu = dst_metric_raw(dst, RTAX_MTU) ?: READ_ONCE(dst->dev->mtu);
	} else {
		const struct rt6_info *rt6;
		const struct fib6_info *f6i;

		rt6 = container_of(dst, struct rt6_info, dst);
		rcu_read_lock();
		f6i = rcu_dereference(rt6->from);
		mtu = f6i ? f6i->fib6_pmtu : 0;
		idev = __in6_dev_get(dst->dev);
		if (!mtu && idev)
			mtu = READ_ONCE(idev->cnf.mtu6);
		rcu_read_unlock();
		mtu = mtu ?: READ_ONCE(dst->dev->mtu);
	}
	return mtu - lwtunnel_headroom(dst->lwtstate, mtu);
}

/*
 * Has the kernel learned another path MTU for a route? It believes errors that
 * quote any packet which this host might have sent, and all of its users share
 * what one of them has caused.
 */
static bool xtun_dst_taught(const struct dst_entry *dst)
{
	/* What IPsec adds only its own route knows. */
	if (dst_xfrm(dst))
		return false;
	if (dst->ops->family == AF_INET)
		return container_of(dst, struct rtable, dst)->rt_pmtu;
	return container_of(dst, struct rt6_info, dst)->rt6i_flags & RTF_CACHE;
}

/* MTU of a route without what the kernel has learned, in bytes. */
static unsigned int xtun_dst_mtu(const struct dst_entry *dst)
{
	return likely(!xtun_dst_taught(dst)) ? dst_mtu(dst) :
					       xtun_dst_link_mtu(dst);
}

/* The path MTU: that of the route, and what the tunnel itself has learned. */
static unsigned int xtun_route_mtu(const struct xtun_cx *cx)
{
	unsigned int mtu = xtun_dst_mtu(cx->dst);

	if (unlikely(READ_ONCE(cx->tun->watch) & XTUN_WATCH_PATH))
		mtu = min_not_zero(mtu, xtun_peer_path_mtu(cx->tun, &cx->daddr,
							   NULL));
	return mtu;
}

/* What the sender is told of a route that there is none of. */
static enum xtun_kind xtun_route_kind(int err)
{
	switch (err) {
	case -ENETUNREACH:
		return XTUN_KIND_NETWORK;
	case -EACCES:
	case -EPERM:
		return XTUN_KIND_PROHIBITED;
	default:
		return XTUN_KIND_HOST;
	}
}

/* IPsec policies that block say so; all else is a lack of a route. */
static enum xtun_reason xtun_route_none(struct xtun_cx *cx, int err)
{
	cx->kind = xtun_route_kind(err);
	return err == -EPERM ? XTUN_TX_FILTERED : XTUN_TX_NO_ROUTE;
}

/* Out of line: a cached route needs none of it. */
static noinline enum xtun_reason xtun_route_find(struct xtun_cx *cx)
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
			cx->kind = XTUN_KIND_HOST;
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
 * xtun_route_out() - find the route of an outer packet
 * @cx: packet with its peer; gets route, its MTU, and source, or with a reason
 *	what its sender is told
 *
 * One route is cached; where addresses differ each packet's is looked up, and
 * where marks, IPsec policies or rules are about what differs between packets.
 *
 * Context: BH disabled.
 * Return: XTUN_OK with a reference in @cx->dst, else why there is none.
 */
enum xtun_reason xtun_route_out(struct xtun_cx *cx)
{
	cx->by_packet = cx->skb && unlikely(xtun_route_by_packet(cx));
	if (likely(cx->conf->one_path && !cx->by_packet)) {
		cx->dst = xtun_cache_get(cx);
		if (likely(cx->dst)) {
			cx->mtu = xtun_route_mtu(cx);
			if (!xtun_mtu_gone(cx->dst, cx->mtu))
				return XTUN_OK;
			dst_release(cx->dst);
			/* The cache has filled it in. */
			cx->saddr = cx->conf->p.local;
		}
	}
	return xtun_route_find(cx);
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

	if (!ipv6_addr_any(&conf->p.remote.in6) &&
	    !xtun_route_path(conf, conf->p.fwmark, &conf->p.remote, &path))
		return path.link_mtu;

	link = __dev_get_by_index(conf->tun->net, conf->p.link.index);
	return link ? READ_ONCE(link->mtu) : 0;
}

/* The peer, as the header at the data says, which the tunnel has sent itself. */
static union nf_inet_addr xtun_quoted_peer(const struct sk_buff *skb, u8 family)
{
	union nf_inet_addr peer = {};

	if (family == AF_INET)
		peer.ip = ((const struct iphdr *)skb->data)->daddr;
	else
		peer.in6 = ((const struct ipv6hdr *)skb->data)->daddr;
	return peer;
}

/* The least MTU that is believed: net.ipv4.route.min_pmtu, RFC 8201 section 4. */
static u32 xtun_route_least_mtu(const struct xtun_conf *conf)
{
	if (conf->p.family == AF_INET6)
		return IPV6_MIN_MTU;
	return READ_ONCE(conf->tun->net->ipv4.ip_rt_min_pmtu);
}

/* So many jiffies a path MTU holds. */
static unsigned long xtun_route_mtu_expires(const struct xtun_conf *conf)
{
	const struct net *net = conf->tun->net;

	if (conf->p.family == AF_INET6)
		return READ_ONCE(net->ipv6.sysctl.ip6_rt_mtu_expires);
	return READ_ONCE(net->ipv4.ip_rt_mtu_expires);
}

/* Is a route's MTU locked, so that nothing is learned, and DF is not set? */
static bool xtun_dst_locked(const struct dst_entry *dst)
{
	return dst->ops->family == AF_INET &&
	       dst_metric_locked(dst, RTAX_MTU);
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
	struct xtun_path path;

	mtu = max(mtu, xtun_route_least_mtu(conf));
	if (xtun_route_path(conf, mark, peer, &path) || path.loop)
		return mtu;
	if (path.locked || mtu > path.mtu)
		return path.mtu;
	xtun_peer_mtu(conf->tun, peer, from, mtu, xtun_route_mtu_expires(conf));
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
	union nf_inet_addr peer = xtun_quoted_peer(error, AF_INET);
	struct xtun_cx cx = xtun_route_any(conf, error->mark, &peer);
	struct dst_entry *dst;

	cx.tos = ((const struct iphdr *)error->data)->tos;
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

/* RFC 6040 section 4.1, normal mode: the inner ECN field is copied. */
static u8 xtun_tos_out(const struct xtun_cx *cx)
{
	u8 tos = cx->conf->p.tos;

	if (tos == XTUN_TOS_INHERIT)
		return cx->tos;
	return tos | (cx->tos & INET_ECN_MASK);
}

static u8 xtun_ttl_out(const struct xtun_cx *cx)
{
	/* Frames without IP have no TTL to inherit. */
	return cx->conf->p.ttl ?: cx->ttl ?: IPDEFTTL;
}

/**
 * xtun_route_df() - DF of an outer IPv4 packet that need not be fragmented
 * @cx: the inner packet, classified
 *
 * On a route whose MTU is locked nothing has it, xtun_route_locked() tells.
 *
 * Context: any.
 * Return: IP_DF in network order, or 0.
 */
__be16 xtun_route_df(const struct xtun_cx *cx)
{
	u8 df = cx->conf->p.df;

	if (df == XTUN_DF_UNSET)
		return 0;
	if (df == XTUN_DF_INHERIT && cx->proto == htons(ETH_P_IP) && !cx->df)
		return 0;
	return htons(IP_DF);
}

/* A counter that all CPUs share: reassembly needs unique numbers. */
static u16 xtun_unique_id(const struct xtun_cx *cx)
{
	struct iphdr iph = {
		.protocol = cx->ipproto,
		.saddr = cx->saddr.ip,
		.daddr = cx->daddr.ip,
	};

	__ip_select_ident(cx->tun->net, &iph,
			  skb_shinfo(cx->skb)->gso_segs ?: 1);
	return ntohs(iph.id);
}

/*
 * The identification of a packet that is not fragmented means nothing to the
 * network (RFC 6864): the tag has its place there.
 */
static void xtun_ident4(struct xtun_cx *cx)
{
	cx->df_out = cx->outer_frag || xtun_dst_locked(cx->dst) ?
		     0 : xtun_route_df(cx);
	cx->ident = cx->df_out ? XTUN_IDENT_VALID | cx->tag.id :
				 XTUN_IDENT_VALID | XTUN_IDENT_UNIQUE |
				 xtun_unique_id(cx);
}

static void xtun_ident6(struct xtun_cx *cx)
{
	u32 flowlabel = cx->conf->p.flowlabel;

	if (flowlabel == XTUN_FLOWLABEL_INHERIT &&
	    cx->proto == htons(ETH_P_IPV6))
		cx->flowlabel = ip6_flowlabel(ipv6_hdr(cx->skb));
	else if (flowlabel > ntohl(IPV6_FLOWLABEL_MASK))
		cx->flowlabel = htonl(cx->tag.flow) & IPV6_FLOWLABEL_MASK;
	else
		cx->flowlabel = htonl(flowlabel);

	/* One for all flows tells nothing. */
	cx->ident = flowlabel > ntohl(IPV6_FLOWLABEL_MASK) && cx->flowlabel ?
		    XTUN_IDENT_VALID | ntohl(cx->flowlabel) : 0;
}

/**
 * xtun_route_ident() - choose the identification of an outer packet
 * @cx: the packet, its network header the inner one; with peer, source and tag
 *
 * Context: BH disabled.
 */
void xtun_route_ident(struct xtun_cx *cx)
{
	if (cx->conf->p.family == AF_INET)
		xtun_ident4(cx);
	else
		xtun_ident6(cx);
}

/* Fragments are as long as what the tunnel knows of the path. IPsec sees to its own. */
static u16 xtun_frag_max(const struct xtun_cx *cx)
{
	return cx->outer_frag && !dst_xfrm(cx->dst) ?
	       min_t(unsigned int, cx->mtu, U16_MAX) : 0;
}

static void xtun_push4(struct xtun_cx *cx)
{
	struct sk_buff *skb = cx->skb;
	struct iphdr *iph;

	iph = skb_push(skb, sizeof(*iph));
	skb_reset_network_header(skb);
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	IPCB(skb)->frag_max_size = xtun_frag_max(cx);

	iph->version = 4;
	iph->ihl = sizeof(*iph) / 4;
	iph->tos = xtun_tos_out(cx);
	iph->id = htons(cx->ident);
	iph->frag_off = cx->df_out;
	iph->ttl = xtun_ttl_out(cx);
	iph->protocol = cx->ipproto;
	iph->saddr = cx->saddr.ip;
	iph->daddr = cx->daddr.ip;
}

static void xtun_push6(struct xtun_cx *cx)
{
	u8 nexthdr = xtun_encaplimit_push(cx, cx->ipproto);
	struct sk_buff *skb = cx->skb;
	struct ipv6hdr *ip6h;

	ip6h = skb_push(skb, sizeof(*ip6h));
	skb_reset_network_header(skb);
	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	IP6CB(skb)->frag_max_size = xtun_frag_max(cx);

	ip6_flow_hdr(ip6h, xtun_tos_out(cx), cx->flowlabel);
	ip6h->nexthdr = nexthdr;
	ip6h->hop_limit = xtun_ttl_out(cx);
	ip6h->saddr = cx->saddr.in6;
	ip6h->daddr = cx->daddr.in6;
}

/* A copy of a route for one packet, without what the kernel has learned. */
static struct dst_entry *xtun_untaught4(const struct dst_entry *dst)
{
	const struct rtable *rt = container_of(dst, struct rtable, dst);
	struct rtable *copy;

	/* NAT asks for a policy once more, with this route. */
	copy = rt_dst_alloc(dst->dev, rt->rt_flags, rt->rt_type,
			    dst->flags & DST_NOXFRM);
	if (!copy)
		return NULL;
	copy->rt_uses_gateway = rt->rt_uses_gateway;
	copy->rt_gw_family = rt->rt_gw_family;
	if (rt->rt_gw_family == AF_INET6)
		copy->rt_gw6 = rt->rt_gw6;
	else
		copy->rt_gw4 = rt->rt_gw4;
	return &copy->dst;
}

static struct dst_entry *xtun_untaught6(const struct dst_entry *dst)
{
	const struct rt6_info *rt6 = container_of(dst, struct rt6_info, dst);
	struct rt6_info *copy;

	copy = ip6_dst_alloc(dev_net(dst->dev), dst->dev, 0);
	if (!copy)
		return NULL;
	copy->rt6i_idev = in6_dev_get(dst->dev);
	if (!copy->rt6i_idev) {
		dst_release(&copy->dst);
		return NULL;
	}
	copy->rt6i_flags = rt6->rt6i_flags & RTF_GATEWAY;
	copy->rt6i_gateway = rt6->rt6i_gateway;
	copy->rt6i_dst = rt6->rt6i_dst;
	return &copy->dst;
}

/*
 * The IP stack would refuse, or cut, what is longer than the path MTU that it has
 * learned, from whomever. So a packet that the tunnel knows to fit gets a route
 * that has none.
 */
static void xtun_dst_unteach(struct xtun_cx *cx)
{
	unsigned int mtu = dst_mtu(cx->dst);
	struct dst_entry *copy;

	if (skb_is_gso(cx->skb) ? skb_gso_validate_network_len(cx->skb, mtu) :
				  cx->skb->len <= mtu)
		return;
	copy = cx->conf->p.family == AF_INET ? xtun_untaught4(cx->dst) :
					       xtun_untaught6(cx->dst);
	if (!copy)
		return;
	copy->output = cx->dst->output;
	copy->lwtstate = lwtstate_get(cx->dst->lwtstate);
	dst_release(cx->dst);
	cx->dst = copy;
}

/* Does this netns look at packets that it sends? */
static bool xtun_net_hooked(const struct net *net, u8 family)
{
	struct nf_hook_entries __rcu * const *hooks;

	hooks = family == AF_INET ? net->nf.hooks_ipv4 : net->nf.hooks_ipv6;
	return rcu_access_pointer(hooks[NF_INET_LOCAL_OUT]) ||
	       rcu_access_pointer(hooks[NF_INET_POST_ROUTING]);
}

/**
 * xtun_route_filtered() - may a filter refuse a packet whose sender is told?
 * @cx: the packet
 *
 * Context: RCU.
 * Return: whether it may.
 */
bool xtun_route_filtered(const struct xtun_cx *cx)
{
	return cx->routed && xtun_net_hooked(cx->tun->net, cx->conf->p.family);
}

/**
 * xtun_route_send() - put the outer IP header before a packet and send it
 * @cx: packet that begins with the encapsulation's header; packet and route
 *	are consumed
 *
 * It is sent on behalf of no socket: the inner one's options are not for the
 * outer packet, yet it goes on to be charged with the memory.
 *
 * Context: BH disabled.
 * Return: 0, or an error of the underlay.
 */
int xtun_route_send(struct xtun_cx *cx)
{
	struct net *net = cx->tun->net;
	struct sk_buff *skb = cx->skb;
	bool v4 = cx->conf->p.family == AF_INET;
	int err;

	if (v4)
		xtun_push4(cx);
	else
		xtun_push6(cx);
	if (unlikely(xtun_dst_taught(cx->dst)))
		xtun_dst_unteach(cx);

	skb_clear_hash_if_not_l4(skb);
	skb_scrub_packet(skb, !net_eq(net, dev_net(cx->tun->dev)));
	skb->mark = cx->mark;
	skb->ignore_df = cx->outer_frag;
	skb_dst_set(skb, cx->dst);

	err = v4 ? ip_local_out(net, NULL, skb) : ip6_local_out(net, NULL, skb);
	return net_xmit_eval(err);
}

/**
 * xtun_route_for_one() - was a received packet sent to this host alone?
 * @skb: the packet, its network header the outer one, with its route
 * @family: AF_INET or AF_INET6
 *
 * RFC 1122 section 3.2.2: what was sent to many is not answered.
 *
 * Context: RCU.
 * Return: whether it was.
 */
bool xtun_route_for_one(const struct sk_buff *skb, u8 family)
{
	if (skb->pkt_type != PACKET_HOST)
		return false;
	if (family == AF_INET)
		return !(skb_rtable(skb)->rt_flags &
			 (RTCF_BROADCAST | RTCF_MULTICAST));
	return !ipv6_addr_is_multicast(&ipv6_hdr(skb)->daddr);
}

static bool xtun_is_own4(struct net *net, __be32 addr)
{
	bool own;

	rcu_read_lock();
	own = __ip_dev_find(net, addr, false);
	rcu_read_unlock();
	return own;
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

	if (ipv6_addr_any(&local->in6))
		return true;
	if (conf->p.family == AF_INET)
		return xtun_is_own4(net, local->ip);
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
			    xtun_route_port(skb, family) ?: skb->dev->ifindex);
}

static bool xtun_answer4(struct sock *sk, const struct xtun_stray *s,
			 struct sk_buff *skb)
{
	u8 tos = ip_hdr(s->skb)->tos & ~INET_ECN_MASK;
	struct net *net = sock_net(sk);
	struct flowi4 fl4 = {
		.daddr = s->match.remote.ip,
		.saddr = s->match.local.ip,
		.flowi4_oif = l3mdev_master_ifindex(s->skb->dev),
		.flowi4_mark = IP4_REPLY_MARK(net, s->skb->mark),
		.flowi4_proto = IPPROTO_UDP,
		.fl4_sport = s->match.port,
		.fl4_dport = s->port,
	};
	struct rtable *rt;

	xtun_flowi4_set_tos(&fl4, tos);
	rt = ip_route_output_flow(net, &fl4, NULL);
	if (IS_ERR(rt))
		return false;
	skb->mark = fl4.flowi4_mark;
	xtun_udp4_send(rt, sk, skb, &fl4, tos, ip4_dst_hoplimit(&rt->dst));
	return true;
}

static bool xtun_answer6(struct sock *sk, const struct xtun_stray *s,
			 struct sk_buff *skb)
{
	u8 tos = ipv6_get_dsfield(ipv6_hdr(s->skb)) & ~INET_ECN_MASK;
	struct net *net = sock_net(sk);
	struct flowi6 fl6 = {
		.daddr = s->match.remote.in6,
		.saddr = s->match.local.in6,
		.flowi6_oif = l3mdev_master_ifindex(s->skb->dev),
		.flowi6_mark = IP6_REPLY_MARK(net, s->skb->mark),
		.flowi6_proto = IPPROTO_UDP,
		.flowlabel = ip6_make_flowinfo(tos, 0),
		.fl6_sport = s->match.port,
		.fl6_dport = s->port,
	};
	struct dst_entry *dst;

	if (ipv6_addr_type(&fl6.daddr) & IPV6_ADDR_LINKLOCAL)
		fl6.flowi6_oif = inet6_iif(s->skb);
	dst = ip6_dst_lookup_flow(net, NULL, &fl6, NULL);
	if (IS_ERR(dst))
		return false;
	skb->mark = fl6.flowi6_mark;
	xtun_udp6_send(dst, sk, skb, &fl6, tos, ip6_dst_hoplimit(dst));
	return true;
}

/**
 * xtun_route_answer() - answer a packet on a port of tunnels
 * @sk: socket that holds the port
 * @s: the packet and its answer
 *
 * Context: BH disabled, RCU.
 */
void xtun_route_answer(struct sock *sk, const struct xtun_stray *s)
{
	u8 family = s->match.family;
	struct sk_buff *skb;

	if (!xtun_route_for_one(s->skb, family) ||
	    (s->limited &&
	     !xtun_tell_allowed(s->skb->dev, family, s->match.remote)))
		return;
	skb = alloc_skb(XTUN_ANSWER_ROOM + s->answer_len, GFP_ATOMIC);
	if (!skb)
		return;
	skb_reserve(skb, XTUN_ANSWER_ROOM);
	skb_put_data(skb, s->answer, s->answer_len);
	if (!(family == AF_INET ? xtun_answer4(sk, s, skb) :
				  xtun_answer6(sk, s, skb)))
		kfree_skb(skb);
}

/*
 * Is the inner packet's checksum made by the card, and does nobody change the
 * packet on its way there?
 */
static bool xtun_csum_offloaded(const struct xtun_cx *cx)
{
	const struct net_device *dev = cx->dst->dev;

	return dev->features & dev->hw_enc_features & NETIF_F_CSUM_MASK &&
	       !xtun_net_hooked(cx->tun->net, cx->conf->p.family);
}

/**
 * xtun_route_udp_csum() - make the checksum of an outer UDP packet
 * @cx: the packet, its data at the UDP header, which is complete but for that;
 *	with peer and source. What points into the packet's head may be wrong
 *	afterwards.
 *
 * An address translator takes no notice of a checksum that is complete in a packet
 * which has another to be made, the inner one's: it corrects what is there as if it
 * were begun only. So the inner one is made here, before, where there may be one;
 * it costs no more than later.
 *
 * Context: any.
 */
void xtun_route_udp_csum(const struct xtun_cx *cx)
{
	bool none = cx->conf->p.flags & XTUN_CONF_FLAGS_NOUDPCSUM;
	struct sk_buff *skb = cx->skb;
	bool inner = skb->ip_summed == CHECKSUM_PARTIAL && !skb_is_gso(skb);

	if (cx->conf->p.family == AF_INET)
		udp_set_csum(none, skb, cx->saddr.ip, cx->daddr.ip, skb->len);
	else
		udp6_set_csum(none, skb, &cx->saddr.in6, &cx->daddr.in6,
			      skb->len);
	/* Where there is no memory for it, it is left as it would have been. */
	if (inner && !none && !xtun_csum_offloaded(cx))
		skb_checksum_help(skb);
}

/**
 * xtun_route_udp_csum_ok() - verify the checksum of an outer UDP packet
 * @skb: the packet, its data and transport header at the UDP header; its network
 *	header the outer one
 * @family: AF_INET or AF_INET6
 *
 * Among the checksums that GRO or a network card has found right, and counted, is
 * one of zero too: it is taken from their number here, or the next one, of the
 * inner packet, would be believed unseen.
 *
 * Context: any.
 * Return: whether it is right, or zero.
 */
bool xtun_route_udp_csum_ok(struct sk_buff *skb, u8 family)
{
	__sum16 check = udp_hdr(skb)->check;
	bool bad;

	if (family == AF_INET)
		bad = skb_checksum_validate_zero_check(skb, IPPROTO_UDP, check,
						       inet_compute_pseudo);
	else
		bad = skb_checksum_validate_zero_check(skb, IPPROTO_UDP, check,
						       ip6_compute_pseudo);
	if (bad || !check)
		return !bad;
	if (family == AF_INET)
		skb_checksum_try_convert(skb, IPPROTO_UDP, inet_compute_pseudo);
	else
		skb_checksum_try_convert(skb, IPPROTO_UDP, ip6_compute_pseudo);
	return true;
}

/**
 * xtun_route_icmp_csum() - make the checksum of an outer ICMP packet
 * @cx: the packet, its data at the ICMP header, which is complete but for that;
 *	with peer and source, and no checksum left to make
 *
 * It is left to the network card, and so to all who change the packet on its way
 * there: an address translator corrects no checksum that is complete in a packet
 * which has another to be made.
 *
 * Context: any.
 */
void xtun_route_icmp_csum(const struct xtun_cx *cx)
{
	struct sk_buff *skb = cx->skb;
	struct icmphdr *icmph = (struct icmphdr *)skb->data;

	icmph->checksum = 0;
	if (cx->conf->p.family == AF_INET6)
		icmph->checksum = ~csum_ipv6_magic(&cx->saddr.in6,
						   &cx->daddr.in6, skb->len,
						   IPPROTO_ICMPV6, 0);
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = offsetof(struct icmphdr, checksum);
}

/**
 * xtun_route_icmp_csum_ok() - verify the checksum of an outer ICMP packet
 * @skb: the packet, its data at the ICMP header; its network header the outer
 *	one
 * @family: AF_INET or AF_INET6
 *
 * RFC 792, and RFC 4443 section 2.3 with a pseudo-header.
 *
 * Context: any.
 * Return: whether it is right.
 */
bool xtun_route_icmp_csum_ok(struct sk_buff *skb, u8 family)
{
	if (family == AF_INET) {
		if (skb_checksum_simple_validate(skb))
			return false;
		skb_checksum_try_convert(skb, IPPROTO_ICMP,
					 null_compute_pseudo);
		return true;
	}
	if (skb_checksum_validate(skb, IPPROTO_ICMPV6, ip6_compute_pseudo))
		return false;
	skb_checksum_try_convert(skb, IPPROTO_ICMPV6, ip6_compute_pseudo);
	return true;
}

/**
 * xtun_route_allowed_in() - IPsec policy of the underlay on a received packet
 * @skb: the packet
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled, RCU.
 * Return: true when it may come in as it came.
 */
bool xtun_route_allowed_in(struct sk_buff *skb, u8 family)
{
	if (family == AF_INET)
		return xfrm4_policy_check(NULL, XFRM_POLICY_IN, skb);
	return xfrm6_policy_check(NULL, XFRM_POLICY_IN, skb);
}

/**
 * xtun_route_delivered() - count a packet as delivered by IP
 * @skb: a received packet that a tunnel takes, with its route
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled, RCU.
 */
void xtun_route_delivered(const struct sk_buff *skb, u8 family)
{
	struct net *net = dev_net(skb->dev);

	if (family == AF_INET)
		__IP_INC_STATS(net, IPSTATS_MIB_INDELIVERS);
	else
		__IP6_INC_STATS(net, ip6_dst_idev(skb_dst(skb)),
				IPSTATS_MIB_INDELIVERS);
}

/**
 * xtun_route_addrs() - read the outer addresses of a received packet
 * @skb: packet with its network header the outer one
 * @match: has the family; gets the addresses as its tunnel has them
 *
 * Context: any.
 */
void xtun_route_addrs(const struct sk_buff *skb, struct xtun_match *match)
{
	if (match->family == AF_INET) {
		match->local.ip = ip_hdr(skb)->daddr;
		match->remote.ip = ip_hdr(skb)->saddr;
	} else {
		match->local.in6 = ipv6_hdr(skb)->daddr;
		match->remote.in6 = ipv6_hdr(skb)->saddr;
	}
}

/**
 * xtun_route_port() - the port of a VRF that a received packet came through
 * @skb: packet on its way through the IP stack
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled.
 * Return: its ifindex, or 0 when the packet came through no VRF.
 */
int xtun_route_port(const struct sk_buff *skb, u8 family)
{
	return family == AF_INET ? inet_sdif(skb) : inet6_sdif(skb);
}

/**
 * xtun_route_tos_in() - read the outer TOS or traffic class
 * @skb: packet with its network header the outer one
 * @family: AF_INET or AF_INET6
 *
 * Context: any.
 * Return: the byte.
 */
u8 xtun_route_tos_in(const struct sk_buff *skb, u8 family)
{
	if (family == AF_INET)
		return ip_hdr(skb)->tos;
	return ipv6_get_dsfield(ipv6_hdr(skb));
}

static bool xtun_quote4(struct sk_buff *skb, struct xtun_match *match,
			struct xtun_quote *quote)
{
	const struct iphdr *iph;

	if (!pskb_may_pull(skb, sizeof(*iph)))
		return false;
	iph = (const struct iphdr *)skb->data;
	if (iph->version != 4 || iph->ihl < 5 ||
	    iph->frag_off & htons(IP_OFFSET))
		return false;

	match->local.ip = iph->saddr;
	match->remote.ip = iph->daddr;
	quote->at = iph->ihl * 4;
	quote->len = ntohs(iph->tot_len);
	quote->ipproto = iph->protocol;
	quote->df = iph->frag_off & htons(IP_DF);
	quote->more = iph->frag_off & htons(IP_MF);
	quote->ident = XTUN_IDENT_VALID | ntohs(iph->id);
	if (!quote->df)
		quote->ident |= XTUN_IDENT_UNIQUE;
	return true;
}

static bool xtun_quote6(struct sk_buff *skb, struct xtun_match *match,
			struct xtun_quote *quote)
{
	const struct ipv6hdr *ip6h;
	__be16 frag_off;
	int at;

	if (!pskb_may_pull(skb, sizeof(*ip6h)))
		return false;
	ip6h = (const struct ipv6hdr *)skb->data;
	if (ip6h->version != 6)
		return false;

	match->local.in6 = ip6h->saddr;
	match->remote.in6 = ip6h->daddr;
	quote->len = ntohs(ip6h->payload_len) + sizeof(*ip6h);
	quote->ident = XTUN_IDENT_VALID | ntohl(ip6_flowlabel(ip6h));
	quote->df = true;
	quote->ipproto = ip6h->nexthdr;
	at = ipv6_skip_exthdr(skb, sizeof(*ip6h), &quote->ipproto, &frag_off);
	if (at < 0 || frag_off & htons(IP6_OFFSET))
		return false;
	quote->more = frag_off & htons(IP6_MF);
	quote->at = at;
	return true;
}

/**
 * xtun_route_quote() - read the outer header that an ICMP error quotes
 * @skb: the error, its data at the quoted header
 * @family: AF_INET or AF_INET6
 * @match: gets the addresses as the sending tunnel has them
 * @quote: gets the rest
 *
 * Context: BH disabled.
 * Return: false when it cannot be read or is not of a packet's beginning.
 */
bool xtun_route_quote(struct sk_buff *skb, u8 family, struct xtun_match *match,
		      struct xtun_quote *quote)
{
	match->family = family;
	if (family == AF_INET)
		return xtun_quote4(skb, match, quote);
	return xtun_quote6(skb, match, quote);
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
