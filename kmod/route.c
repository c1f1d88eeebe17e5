// SPDX-License-Identifier: GPL-2.0
/*
 * The outer packet's route, header and path MTU: all that differs between an
 * IPv4 and an IPv6 underlay, and nothing else.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
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

#include "xtun.h"

/* Headers before the answer to a packet. */
#define XTUN_ANSWER_ROOM	(LL_MAX_HEADER + sizeof(struct ipv6hdr) + \
				 sizeof(struct udphdr))

/* So often a route is looked up that is gone again at once. */
#define XTUN_ROUTE_TRIES	8

/* What packets inherit does not choose the route: one is cached. */
static u8 xtun_route_tos(const struct xtun_conf *conf)
{
	if (conf->p.tos == XTUN_TOS_INHERIT)
		return 0;
	return conf->p.family == AF_INET ? xtun_rt_tos(conf->p.tos) :
					   conf->p.tos;
}

static struct dst_entry *xtun_lookup4(const struct xtun_conf *conf,
				      union nf_inet_addr *saddr,
				      const union nf_inet_addr *daddr)
{
	struct flowi4 fl4 = {
		.daddr = daddr->ip,
		.saddr = saddr->ip,
		.flowi4_oif = conf->p.link,
		.flowi4_mark = conf->p.fwmark,
		.flowi4_proto = conf->ipproto ?: IPPROTO_IPIP,
		.fl4_dport = htons(conf->dport),
	};
	struct rtable *rt;

	xtun_flowi4_set_tos(&fl4, xtun_route_tos(conf));
	rt = ip_route_output_flow(conf->tun->net, &fl4, NULL);
	if (IS_ERR(rt))
		return ERR_CAST(rt);
	saddr->ip = fl4.saddr;
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

static struct dst_entry *xtun_lookup6(const struct xtun_conf *conf,
				      union nf_inet_addr *saddr,
				      const union nf_inet_addr *daddr)
{
	struct flowi6 fl6 = {
		.daddr = daddr->in6,
		.saddr = saddr->in6,
		.flowi6_oif = conf->p.link,
		.flowi6_mark = conf->p.fwmark,
		.flowi6_proto = conf->ipproto ?: IPPROTO_IPV6,
		.fl6_dport = htons(conf->dport),
		.flowlabel = ip6_make_flowinfo(xtun_route_tos(conf), 0),
	};
	struct dst_entry *dst;

	/* IPv4 routes look whether the source is ours; IPv6 ones do not. */
	if (!ipv6_addr_any(&saddr->in6) &&
	    !ipv6_chk_addr(conf->tun->net, &saddr->in6, NULL, 0))
		return ERR_PTR(-EADDRNOTAVAIL);
	if (conf->p.link && !ipv6_addr_any(&saddr->in6))
		return xtun_lookup6_strict(conf->tun->net, &fl6);

	dst = ip6_dst_lookup_flow(conf->tun->net, NULL, &fl6, NULL);
	if (!IS_ERR(dst))
		saddr->in6 = fl6.saddr;
	return dst;
}

/* Look a route up. @saddr gets the source if it is not given. */
static struct dst_entry *xtun_route_lookup(const struct xtun_conf *conf,
					   union nf_inet_addr *saddr,
					   const union nf_inet_addr *daddr)
{
	if (conf->p.family == AF_INET)
		return xtun_lookup4(conf, saddr, daddr);
	return xtun_lookup6(conf, saddr, daddr);
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

/* Out of line: a cached route needs none of it. */
static noinline enum xtun_reason xtun_route_find(struct xtun_cx *cx)
{
	const union nf_inet_addr saddr = cx->saddr;
	unsigned int tries = XTUN_ROUTE_TRIES;

	do {
		cx->saddr = saddr;
		cx->dst = xtun_route_lookup(cx->conf, &cx->saddr, &cx->daddr);
		if (IS_ERR(cx->dst))
			return XTUN_TX_NO_ROUTE;
		if (cx->dst->dev == cx->tun->dev) {
			dst_release(cx->dst);
			return XTUN_TX_ROUTE_LOOP;
		}
		cx->mtu = dst_mtu(cx->dst);
		if (!xtun_dst_gone(cx->dst) &&
		    !xtun_mtu_gone(cx->dst, cx->mtu)) {
			if (cx->conf->one_path)
				xtun_cache_set(cx);
			return XTUN_OK;
		}
		dst_release(cx->dst);
	} while (--tries);
	return XTUN_TX_NO_ROUTE;
}

/**
 * xtun_route_out() - find the route of an outer packet
 * @cx: packet with its peer; gets route, its MTU, and source
 *
 * One route is cached; where addresses differ each packet's is looked up.
 *
 * Context: BH disabled.
 * Return: XTUN_OK with a reference in @cx->dst, else why there is none.
 */
enum xtun_reason xtun_route_out(struct xtun_cx *cx)
{
	if (likely(cx->conf->one_path)) {
		cx->dst = xtun_cache_get(cx);
		if (likely(cx->dst)) {
			cx->mtu = dst_mtu(cx->dst);
			if (!xtun_mtu_gone(cx->dst, cx->mtu))
				return XTUN_OK;
			dst_release(cx->dst);
			/* The cache has filled it in. */
			cx->saddr = cx->conf->p.local;
		}
	}
	return xtun_route_find(cx);
}

/* MTU of a route, without what was learned about the path. */
static unsigned int xtun_dst_link_mtu(const struct dst_entry *dst)
{
	unsigned int mtu = 0;

	/* What IPsec adds only its own route knows. */
	if (dst_xfrm(dst))
		return dst_mtu(dst);
	if (dst->ops->family == AF_INET6) {
		const struct rt6_info *rt6;
		struct fib6_info *f6i;

		rt6 = container_of(dst, struct rt6_info, dst);
		rcu_read_lock();
		f6i = rcu_dereference(rt6->from);
		if (f6i)
			mtu = f6i->fib6_pmtu;
		rcu_read_unlock();
	} else {
		mtu = dst_metric_raw(dst, RTAX_MTU);
	}
	return mtu ?: READ_ONCE(dst->dev->mtu);
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
	    !xtun_route_path(conf, &conf->p.remote, &path))
		return path.link_mtu;

	link = __dev_get_by_index(conf->tun->net, conf->p.link);
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

/* The route that a tunnel's packets to a peer take now. */
static struct dst_entry *xtun_route_now(const struct xtun_conf *conf,
					const union nf_inet_addr *peer)
{
	union nf_inet_addr saddr = conf->p.local;

	return xtun_route_lookup(conf, &saddr, peer);
}

/* Path MTU to a peer as it is now, or 0 when nothing is known. */
static u32 xtun_route_mtu(const struct xtun_conf *conf,
			  const union nf_inet_addr *peer)
{
	struct xtun_path path;

	return xtun_route_path(conf, peer, &path) ? 0 : path.mtu;
}

/*
 * The kernel corrects the route that it finds with what an error quotes. That
 * has a source and a TOS which the tunnel's own lookup had not: a copy of the
 * error says what it had.
 */
static struct sk_buff *xtun_error_as_routed(const struct xtun_conf *conf,
					    const struct sk_buff *skb)
{
	struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);
	struct iphdr *iph;

	if (!copy)
		return NULL;
	copy->mark = conf->p.fwmark;
	if (conf->p.family == AF_INET) {
		iph = (struct iphdr *)copy->data;
		iph->saddr = conf->p.local.ip;
		iph->tos = xtun_route_tos(conf);
	} else {
		ipv6_change_dsfield((struct ipv6hdr *)copy->data, 0,
				    xtun_route_tos(conf));
	}
	return copy;
}

static u32 xtun_route_least_mtu(const struct xtun_conf *conf)
{
	if (conf->p.family == AF_INET6)
		return IPV6_MIN_MTU;
	return READ_ONCE(conf->tun->net->ipv4.ip_rt_min_pmtu);
}

/* False when the route was gone, so that nobody has learned anything. */
static bool xtun_route_lower(const struct xtun_conf *conf,
			     struct sk_buff *error, u32 mtu)
{
	union nf_inet_addr peer = xtun_quoted_peer(error, conf->p.family);
	struct dst_entry *dst = xtun_route_now(conf, &peer);
	bool gone;

	if (IS_ERR(dst))
		return true;
	error->dev = dst->dev;
	if (!xtun_dst_gone(dst))
		dst->ops->update_pmtu(dst, NULL, error, mtu, false);
	gone = xtun_dst_gone(dst);
	dst_release(dst);
	return !gone;
}

/**
 * xtun_route_learn() - lower the path MTU to a peer
 * @conf: the tunnel that has sent the quoted packet
 * @skb: an ICMP error, its data at the quoted outer header
 * @mtu: path MTU in bytes, as the error has it
 *
 * The kernel's route exceptions hold it, with their expiry. The route to correct
 * is the one that this tunnel takes; ipv4_update_pmtu() knows of no mark,
 * ip6_update_pmtu() does not insist on the device.
 *
 * Context: BH disabled, RCU.
 * Return: what is in force then, but no more than @mtu, nor that if less than the
 * least that is believed (RFC 8201 section 4, and net.ipv4.route.min_pmtu).
 */
u32 xtun_route_learn(const struct xtun_conf *conf, const struct sk_buff *skb,
		     u32 mtu)
{
	union nf_inet_addr peer = xtun_quoted_peer(skb, conf->p.family);
	unsigned int tries = XTUN_ROUTE_TRIES;
	struct sk_buff *error;

	mtu = max(mtu, xtun_route_least_mtu(conf));
	error = xtun_error_as_routed(conf, skb);
	if (!error)
		return mtu;
	skb_reset_network_header(error);
	while (tries-- && !xtun_route_lower(conf, error, mtu))
		;
	consume_skb(error);
	return min_not_zero(mtu, xtun_route_mtu(conf, &peer));
}

/* ipv4_redirect() knows of no mark. */
static void xtun_redirect4(const struct xtun_conf *conf, struct sk_buff *error)
{
	union nf_inet_addr peer = xtun_quoted_peer(error, AF_INET);
	struct dst_entry *dst = xtun_route_now(conf, &peer);

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
		ip6_redirect(error, net, error->dev->ifindex, conf->p.fwmark,
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
	cx->df_out = cx->outer_frag ? 0 : xtun_route_df(cx);
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

static void xtun_push4(struct xtun_cx *cx)
{
	struct sk_buff *skb = cx->skb;
	struct iphdr *iph;

	iph = skb_push(skb, sizeof(*iph));
	skb_reset_network_header(skb);
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));

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

	ip6_flow_hdr(ip6h, xtun_tos_out(cx), cx->flowlabel);
	ip6h->nexthdr = nexthdr;
	ip6h->hop_limit = xtun_ttl_out(cx);
	ip6h->saddr = cx->saddr.in6;
	ip6h->daddr = cx->daddr.in6;
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

	skb_clear_hash_if_not_l4(skb);
	skb_scrub_packet(skb, !net_eq(net, dev_net(cx->tun->dev)));
	if (cx->conf->p.fwmark)
		skb->mark = cx->conf->p.fwmark;
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
	return ipv6_chk_addr(net, &addr->in6, NULL, 0);
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

/**
 * xtun_route_udp_csum() - make the checksum of an outer UDP packet
 * @cx: the packet, its data at the UDP header, which is complete but for that;
 *	with peer and source
 *
 * Context: any.
 */
void xtun_route_udp_csum(const struct xtun_cx *cx)
{
	bool none = cx->conf->p.flags & XTUN_CONF_FLAGS_NOUDPCSUM;
	struct sk_buff *skb = cx->skb;

	if (cx->conf->p.family == AF_INET)
		udp_set_csum(none, skb, cx->saddr.ip, cx->daddr.ip, skb->len);
	else
		udp6_set_csum(none, skb, &cx->saddr.in6, &cx->daddr.in6,
			      skb->len);
}

/**
 * xtun_route_udp_csum_ok() - verify the checksum of an outer UDP packet
 * @skb: the packet, its data at the UDP header, whose checksum is not zero; its
 *	network header the outer one
 * @family: AF_INET or AF_INET6
 *
 * Context: any.
 * Return: whether it is right.
 */
bool xtun_route_udp_csum_ok(struct sk_buff *skb, u8 family)
{
	bool bad = family == AF_INET ?
		   skb_checksum_validate(skb, IPPROTO_UDP, inet_compute_pseudo) :
		   skb_checksum_validate(skb, IPPROTO_UDP, ip6_compute_pseudo);

	if (bad)
		return false;
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

		path->gateway_family = rt->rt_gw_family;
		if (rt->rt_gw_family == AF_INET6)
			path->gateway.in6 = rt->rt_gw6;
		else
			path->gateway.ip = rt->rt_gw4;
	}
}

static void xtun_path_fill_mtu(struct xtun_path *path,
			       const struct dst_entry *dst)
{
	unsigned long now = jiffies, expires = READ_ONCE(dst->expires);

	path->link_mtu = xtun_dst_link_mtu(dst);
	path->mtu = dst_mtu(dst);
	/* A redirect expires as well, and has no MTU. */
	if (path->mtu < path->link_mtu && expires && time_before(now, expires))
		path->expires = DIV_ROUND_UP(expires - now, HZ);
}

static int xtun_path_read(const struct xtun_conf *conf,
			  const union nf_inet_addr *peer,
			  struct xtun_path *path)
{
	struct dst_entry *dst;
	bool gone;

	memset(path, 0, sizeof(*path));
	path->source = conf->p.local;
	dst = xtun_route_lookup(conf, &path->source, peer);
	if (IS_ERR(dst))
		return PTR_ERR(dst);

	path->link = dst->dev->ifindex;
	strscpy(path->name, dst->dev->name, sizeof(path->name));
	path->loop = dst->dev == conf->tun->dev;
	if (!path->loop) {
		xtun_path_fill_gateway(path, dst);
		xtun_path_fill_mtu(path, dst);
	}
	gone = xtun_dst_gone(dst) ||
	       (!path->loop && xtun_mtu_gone(dst, path->mtu));
	dst_release(dst);
	return gone ? -EAGAIN : 0;
}

/**
 * xtun_route_path() - describe the route that packets to a peer take now
 * @conf: a configured configuration
 * @peer: the peer
 * @path: gets what there is
 *
 * Context: RTNL or RCU, does not sleep.
 * Return: 0, or the negative error of the lookup.
 */
int xtun_route_path(const struct xtun_conf *conf,
		    const union nf_inet_addr *peer, struct xtun_path *path)
{
	unsigned int tries = XTUN_ROUTE_TRIES;
	int err;

	do
		err = xtun_path_read(conf, peer, path);
	while (err == -EAGAIN && --tries);
	return err;
}
