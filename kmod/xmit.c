// SPDX-License-Identifier: GPL-2.0
/*
 * The way out: classify the inner packet, choose peer and route, make it fit,
 * put the headers before it, send.
 */
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sched/task_stack.h>
#include <net/dst.h>
#include <net/dst_metadata.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ip_tunnels.h>
#include <net/route.h>

#include "loop.h"
#include "mark.h"
#include "conf.h"
#include "device.h"
#include "flow.h"
#include "net.h"
#include "outer.h"
#include "packet.h"
#include "port.h"
#include "route.h"
#include "route_out.h"
#include "wire.h"

/* Ethernet header with tags, IPv4 header with options or IPv6 header with some
 * extension headers, and 8 bytes.
 */
#define XTUN_KEPT_MAX		128

/*
 * Bytes of the stack. A packet may take TAKEN from its first tunnel on: the limit of
 * the kernel allows six tunnels with queues in each other, and 6.2 of 16 kilobytes are
 * taken when the sixth gets the packet (x86-64, 6.12). LEFT has to be there for what
 * lies before the next tunnel, and for the error that ends the packet.
 */
#define XTUN_STACK_TAKEN	(THREAD_SIZE * 7 / 16)
#define XTUN_STACK_LEFT		(THREAD_SIZE * 3 / 8)

/**
 * struct xtun_stack - where on its stack a packet entered its first tunnel
 * @task: whose packet that is, NULL while none is on its way
 * @at: the address
 *
 * Where others may preempt who has BH disabled, their packets void it, and the count
 * begins anew.
 */
struct xtun_stack {
	const struct task_struct *task;
	unsigned long at;
};

static DEFINE_PER_CPU(struct xtun_stack, xtun_stack);

static noinline int xtun_tx_piece(struct xtun_cx *cx);

/* Where the inner IP header of a frame is; leaves proto 0 when it has none. */
static bool xtun_frame_l3(struct sk_buff *skb, struct xtun_cx *cx)
{
	unsigned int tags = 0;
	__be16 proto;

	skb_reset_mac_header(skb);
	if (!pskb_may_pull(skb, ETH_HLEN))
		return false;
	proto = eth_hdr(skb)->h_proto;
	cx->l3_off = ETH_HLEN;

	while (eth_type_vlan(proto) && tags++ < XTUN_VLAN_TAGS_MAX) {
		if (!pskb_may_pull(skb, cx->l3_off + VLAN_HLEN))
			return true;
		proto = *(__be16 *)(skb->data + cx->l3_off + 2);
		cx->l3_off += VLAN_HLEN;
	}
	if (proto == htons(ETH_P_IP) || proto == htons(ETH_P_IPV6))
		cx->proto = proto;
	return true;
}

static bool xtun_tx_ipv4(struct xtun_cx *cx)
{
	const struct iphdr *iph;

	if (!pskb_network_may_pull(cx->skb, sizeof(*iph)))
		return false;
	iph = ip_hdr(cx->skb);
	if (iph->version != 4 || iph->ihl < 5 ||
	    !pskb_network_may_pull(cx->skb, iph->ihl * 4))
		return false;

	iph = ip_hdr(cx->skb);
	cx->tos = iph->tos;
	cx->ttl = iph->ttl;
	cx->df = iph->frag_off & htons(IP_DF);
	cx->nested = xtun_wire_possible(cx->tun->net, cx->skb, AF_INET,
					iph->protocol,
					cx->l3_off + iph->ihl * 4);
	return true;
}

static bool xtun_tx_ipv6(struct xtun_cx *cx)
{
	const struct ipv6hdr *ip6h;

	if (!pskb_network_may_pull(cx->skb, sizeof(*ip6h)))
		return false;
	ip6h = ipv6_hdr(cx->skb);
	if (ip6h->version != 6)
		return false;

	cx->tos = ipv6_get_dsfield(ip6h);
	cx->ttl = ip6h->hop_limit;
	/* Before it, RFC 2473 puts destination options; on their way back outer
	 * packets may have got a segment routing header, or been fragmented.
	 */
	cx->nested = xtun_wire_possible(cx->tun->net, cx->skb, AF_INET6,
					ip6h->nexthdr,
					cx->l3_off + sizeof(*ip6h)) ||
		     ipv6_ext_hdr(ip6h->nexthdr);
	return true;
}

/* What holds no valid IP packet, and is carried all the same, passes for. */
static void xtun_tx_no_ip(struct xtun_cx *cx)
{
	cx->proto = 0;
	cx->tos = 0;
	cx->ttl = 0;
	cx->df = false;
	cx->nested = false;
}

/**
 * xtun_classify() - find and read the IP header of an inner packet
 * @cx: packet, its data at the payload, tunnel and configuration; gets the rest
 *	that is known of an inner packet
 *
 * Context: RCU.
 * Return: XTUN_OK, or why the tunnel does not carry the packet.
 */
enum xtun_drop_reason xtun_classify(struct xtun_cx *cx)
{
	bool eth = cx->conf->p.payload == XTUN_PAYLOAD_ETH;
	struct sk_buff *skb = cx->skb;
	bool valid;

	if (eth) {
		if (!xtun_frame_l3(skb, cx))
			return XTUN_TX_INNER_MALFORMED;
	} else {
		cx->proto = skb->protocol;
		skb_reset_mac_header(skb);
	}
	skb_set_network_header(skb, cx->l3_off);

	if (cx->proto == htons(ETH_P_IP)) {
		valid = xtun_tx_ipv4(cx);
	} else if (cx->proto == htons(ETH_P_IPV6)) {
		valid = xtun_tx_ipv6(cx);
	} else {
		/* Every frame is carried, and of payload ip what can be named. */
		if (!eth && !xtun_type_carried(cx->conf->ops, skb->protocol))
			return XTUN_TX_INNER_PROTOCOL;
		xtun_tx_no_ip(cx);
		return XTUN_OK;
	}
	if (!valid) {
		if (!eth)
			return XTUN_TX_INNER_MALFORMED;
		xtun_tx_no_ip(cx);
	}
	return XTUN_OK;
}

/* The gateway of an inner IPv4 route may be IPv6 (RFC 5549). */
static bool xtun_gateway_of_v4(const struct rtable *rt, u8 family,
			       union nf_inet_addr *gw)
{
	/* Without one there may be the destination in its place. */
	if (!rt->rt_uses_gateway || rt->rt_gw_family != family)
		return false;
	if (family == AF_INET)
		gw->ip = rt->rt_gw4;
	else
		gw->in6 = rt->rt_gw6;
	return true;
}

/* That of an inner IPv6 route names an IPv4 peer in its mapped form. */
static bool xtun_gateway_of_v6(const struct rt6_info *rt, u8 family,
			       union nf_inet_addr *gw)
{
	if (!(rt->rt6i_flags & RTF_GATEWAY))
		return false;
	if (family == AF_INET6) {
		gw->in6 = rt->rt6i_gateway;
		return true;
	}
	if (!ipv6_addr_v4mapped(&rt->rt6i_gateway))
		return false;
	gw->ip = rt->rt6i_gateway.s6_addr32[3];
	return true;
}

/* With remote any, the gateway of the inner packet's route is the peer. */
static bool xtun_tx_gateway(struct xtun_cx *cx)
{
	const struct dst_entry *dst = skb_valid_dst(cx->skb) ?
				      skb_dst(cx->skb) : NULL;
	u8 family = cx->conf->p.family;

	if (!dst || dst->dev != cx->tun->dev)
		return false;
	if (dst->ops->family == AF_INET)
		return xtun_gateway_of_v4(container_of(dst, struct rtable, dst),
					  family, &cx->daddr);
	return xtun_gateway_of_v6(container_of(dst, struct rt6_info, dst),
				  family, &cx->daddr);
}

static __always_inline int xtun_tx_peer(struct xtun_cx *cx)
{
	const struct xtun_transport *transport = cx->conf->ops->wire->transport;
	bool found;

	cx->saddr = cx->conf->p.local;
	/* With remote any a neighbour may have named it already. */
	if (likely(xtun_has_remote(cx->conf)))
		cx->daddr = cx->conf->p.remote;
	if (transport->peer)
		found = transport->peer(cx);
	else
		found = likely(!ipv6_addr_any(&cx->daddr.in6)) ||
			xtun_tx_gateway(cx);
	return likely(found) ? 0 : xtun_drop_icmp(cx, XTUN_TX_NO_PEER,
						  XTUN_CLASS_HOST);
}

static __always_inline int xtun_tx_route(struct xtun_cx *cx)
{
	enum xtun_drop_reason reason = xtun_route_out(cx);

	if (unlikely(cx->nested && !reason && xtun_came_back(cx))) {
		dst_release(cx->dst);
		reason = XTUN_TX_ROUTE_LOOP;
		cx->class = XTUN_CLASS_HOST;
	}
	cx->hooked = xtun_output_hooked(cx->tun->net, cx->conf->p.family, cx->skb);
	if (likely(!reason))
		return 0;
	if (reason == XTUN_TX_ROUTE_LOOP && !cx->tun->loop_logged) {
		cx->tun->loop_logged = true;
		netdev_notice(cx->tun->dev,
			      "the route to the peer leads into the tunnel itself\n");
	}
	if (cx->class == XTUN_CLASS_NONE)
		return xtun_drop(cx->tun, cx->skb, reason);
	return xtun_drop_icmp(cx, reason, cx->class);
}

/*
 * Has a route of this host, or a bridge, led the packet here? What tc mirrors or
 * redirects, and what a packet socket sends, was not meant for this tunnel by its
 * sender.
 */
static bool xtun_tx_routed(const struct sk_buff *skb, struct net_device *dev)
{
	const struct dst_entry *dst = skb_valid_dst(skb) ? skb_dst(skb) : NULL;

	if (likely(dst && dst->dev == dev))
		return true;
	if (list_empty(&dev->adj_list.upper))
		return false;
	return !dst || netdev_has_upper_dev_all_rcu(dev, dst->dev);
}

/* Bytes that come before the data, at which the inner Ethernet header is, if any. */
static unsigned int xtun_tx_headers(const struct xtun_cx *cx)
{
	return cx->overhead -
	       (cx->conf->p.payload == XTUN_PAYLOAD_ETH ? ETH_HLEN : 0);
}

/* @limit: bytes of inner packet, from the data on, that fit into the path. */
static bool xtun_tx_fits(const struct xtun_cx *cx, unsigned int limit)
{
	if (skb_is_gso(cx->skb))
		return limit > cx->l3_off &&
		       skb_gso_validate_network_len(cx->skb,
						    limit - cx->l3_off);
	return cx->skb->len <= limit;
}

/*
 * Send one after the other packets that have become of one. Segments take its
 * route. A fragment has no ports: where the flow chooses the route, it has another.
 */
static int xtun_tx_list(struct xtun_cx *cx, struct sk_buff *list, bool same_flow)
{
	struct sk_buff *skb, *next;

	skb_list_walk_safe(list, skb, next) {
		struct xtun_cx one = *cx;

		skb_mark_not_on_list(skb);
		skb_reset_mac_header(skb);
		skb_set_network_header(skb, cx->l3_off);
		one.skb = skb;
		if (same_flow) {
			one.dst = dst_clone(cx->dst);
		} else {
			one.saddr = cx->conf->p.local;
			if (xtun_tx_route(&one))
				continue;
		}
		xtun_tx_piece(&one);
	}
	return -EINPROGRESS;
}

/* What the underlay could not segment, encapsulated as it is. */
static int xtun_tx_segment(struct xtun_cx *cx)
{
	struct sk_buff *segs;

	segs = skb_gso_segment(cx->skb, cx->tun->dev->features &
			       ~NETIF_F_GSO_MASK);
	if (IS_ERR_OR_NULL(segs))
		return xtun_drop(cx->tun, cx->skb, XTUN_TX_NO_MEMORY);
	consume_skb(cx->skb);
	return xtun_tx_list(cx, segs, true);
}

/* RFC 791: options without the copied flag go into the first fragment only. */
static void xtun_blank_options(struct iphdr *iph)
{
	u8 *opt = (u8 *)(iph + 1), *end = (u8 *)iph + iph->ihl * 4;
	unsigned int len;

	while (opt < end && *opt != IPOPT_END) {
		if (*opt == IPOPT_NOOP) {
			opt++;
			continue;
		}
		if (end - opt < 2 || opt[1] < 2 || opt[1] > end - opt)
			return;
		len = opt[1];
		if (!IPOPT_COPIED(*opt))
			memset(opt, IPOPT_NOOP, len);
		opt += len;
	}
}

/* Fragments of at most @mtu bytes, as a list; the packet itself stays. */
static struct sk_buff *xtun_fragment(struct xtun_cx *cx, unsigned int mtu)
{
	struct sk_buff *list = NULL, **tail = &list, *skb = cx->skb, *frag;
	unsigned int hlen = ip_hdrlen(skb);
	struct ip_frag_state state;

	__skb_pull(skb, cx->l3_off);
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	ip_frag_init(skb, hlen, cx->overhead + LL_RESERVED_SPACE(cx->dst->dev),
		     mtu - hlen, false, &state);

	while (state.left > 0) {
		frag = ip_frag_next(skb, &state);
		if (IS_ERR(frag)) {
			kfree_skb_list(list);
			list = NULL;
			break;
		}
		if (!list && hlen > sizeof(struct iphdr))
			xtun_blank_options(ip_hdr(skb));
		/* Each has the Ethernet header of the whole. */
		if (cx->l3_off)
			memcpy(skb_push(frag, cx->l3_off), skb_mac_header(skb),
			       cx->l3_off);
		*tail = frag;
		tail = &frag->next;
	}
	__skb_push(skb, cx->l3_off);
	return list;
}

/* Nothing but the packet that its header tells of goes into fragments. */
static enum xtun_drop_reason xtun_tx_prepare_fragments(const struct xtun_cx *cx)
{
	unsigned int hlen = ip_hdrlen(cx->skb);
	unsigned int len = ntohs(ip_hdr(cx->skb)->tot_len);
	struct sk_buff *skb = cx->skb;

	if (len < hlen || cx->l3_off + len > skb->len)
		return XTUN_TX_INNER_MALFORMED;
	if (pskb_trim_rcsum(skb, cx->l3_off + len) ||
	    skb_ensure_writable(skb, cx->l3_off + hlen))
		return XTUN_TX_NO_MEMORY;
	if (skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_help(skb))
		return XTUN_TX_NO_MEMORY;
	return XTUN_OK;
}

static int xtun_tx_fragment(struct xtun_cx *cx, unsigned int limit)
{
	enum xtun_drop_reason reason;
	struct sk_buff *list;

	if (skb_is_gso(cx->skb))
		return xtun_tx_segment(cx);

	/* RFC 791: a fragment carries 8 bytes at least. */
	if (limit < cx->l3_off + ip_hdrlen(cx->skb) + 8)
		return xtun_drop(cx->tun, cx->skb, XTUN_TX_TOO_BIG);
	reason = xtun_tx_prepare_fragments(cx);
	if (reason)
		return xtun_drop(cx->tun, cx->skb, reason);

	list = xtun_fragment(cx, limit - cx->l3_off);
	if (!list)
		return xtun_drop(cx->tun, cx->skb, XTUN_TX_NO_MEMORY);
	consume_skb(cx->skb);
	return xtun_tx_list(cx, list, !cx->by_packet);
}

/* The IP stack cuts what does not fit, but segments by what it knows of the path. */
static int xtun_tx_outer_fragments(struct xtun_cx *cx)
{
	if (skb_is_gso(cx->skb))
		return xtun_tx_segment(cx);
	cx->outer_frag = true;
	return 0;
}

static int xtun_tx_too_big_v4(struct xtun_cx *cx, unsigned int limit)
{
	if (cx->df)
		return xtun_drop_too_big(cx, limit > cx->l3_off ?
					 limit - cx->l3_off : 0);

	switch (cx->conf->p.frag) {
	case XTUN_FRAG_OUTER:
		return xtun_tx_outer_fragments(cx);
	case XTUN_FRAG_NEVER:
		return xtun_drop(cx->tun, cx->skb, XTUN_TX_FRAG_NEVER);
	default:
		return xtun_tx_fragment(cx, limit);
	}
}

/* RFC 4213 section 3.2, RFC 2473 section 7.1: 1280 bytes always get through. */
static int xtun_tx_too_big_v6(struct xtun_cx *cx, unsigned int limit)
{
	if (limit < cx->l3_off + IPV6_MIN_MTU) {
		limit = cx->l3_off + IPV6_MIN_MTU;
		if (xtun_tx_fits(cx, limit))
			return xtun_tx_outer_fragments(cx);
	}
	return xtun_drop_too_big(cx, limit - cx->l3_off);
}

static __always_inline int xtun_tx_fit(struct xtun_cx *cx)
{
	unsigned int headers = xtun_tx_headers(cx);
	unsigned int limit = cx->mtu > headers ? cx->mtu - headers : 0;

	if (unlikely(cx->conf->p.mss))
		xtun_mss_out(cx, limit);
	if (unlikely(!cx->conf->gso_type) && skb_is_gso(cx->skb))
		return xtun_tx_segment(cx);
	if (likely(xtun_tx_fits(cx, limit)))
		return 0;

	if (cx->proto == htons(ETH_P_IP))
		return xtun_tx_too_big_v4(cx, limit);
	if (cx->proto == htons(ETH_P_IPV6))
		return xtun_tx_too_big_v6(cx, limit);
	if (cx->conf->p.frag == XTUN_FRAG_OUTER)
		return xtun_tx_outer_fragments(cx);
	return xtun_drop(cx->tun, cx->skb, XTUN_TX_TOO_BIG);
}

static __always_inline int xtun_tx_push(struct xtun_cx *cx)
{
	const struct xtun_conf *conf = cx->conf;
	const struct xtun_transport *transport = conf->ops->wire->transport;
	struct sk_buff *skb = cx->skb;
	u8 *hdr;

	if (skb_cow_head(skb, xtun_tx_headers(cx) + cx->dst->header_len +
			 LL_RESERVED_SPACE(cx->dst->dev)) ||
	    (transport->covers && skb->ip_summed == CHECKSUM_PARTIAL &&
	     skb_checksum_help(skb)) ||
	    xtun_handle_offloads(skb, conf->gso_type))
		return xtun_drop(cx->tun, skb, XTUN_TX_NO_MEMORY);

	if (!conf->ipproto)
		skb_set_inner_ipproto(skb, cx->ipproto);

	hdr = skb_push(skb, conf->encap_len);
	skb_reset_transport_header(skb);
	if (conf->encap_len)
		memcpy(hdr, conf->encap_hdr, conf->encap_len);
	if (conf->ops->push)
		conf->ops->push(cx, hdr + transport->len);
	if (transport->push)
		transport->push(cx, hdr);
	return 0;
}

/* By what an error about the outer packet is proven, and found again. */
static __always_inline void xtun_tx_identify(struct xtun_cx *cx)
{
	struct xtun_dev *tun = cx->tun;

	cx->tag = xtun_flow_tag(cx);
	cx->ipproto = xtun_ipproto(cx);
	xtun_outer_ident(cx);
	if (unlikely(!cx->routed && cx->ident))
		cx->ident |= XTUN_IDENT_STRAY;
	if (unlikely(__this_cpu_read(tun->pcpu->cached) != (u32)jiffies ||
		     READ_ONCE(tun->track) & XTUN_TRACK_SENT))
		xtun_sent_cache_add(cx);
}

static __always_inline int xtun_tx_send(struct xtun_cx *cx)
{
	struct xtun_pcpu __percpu *pcpu = cx->tun->pcpu;
	int err;

	err = xtun_tx_push(cx);
	if (err) {
		dst_release(cx->dst);
		return err;
	}

	dev_xmit_recursion_inc();
	err = xtun_outer_send(cx);
	dev_xmit_recursion_dec();
	/* Netfilter gives EPERM for what a rule drops, cgroups for what a program does. */
	if (unlikely(err))
		xtun_count(cx->tun, err == -EPERM ? XTUN_TX_FILTERED :
						    XTUN_TX_UNDERLAY);
	else
		xtun_alive_now(&pcpu->alive.sent);
	return err;
}

/*
 * A filter may refuse the outer packet. Then the inner one is gone, and its sender
 * can be told only by what was kept of it.
 */
static noinline int xtun_tx_send_kept(struct xtun_cx *cx)
{
	u8 kept[XTUN_KEPT_MAX];
	unsigned int len = min_t(unsigned int, cx->skb->len, sizeof(kept));
	struct xtun_pcpu *pcpu = this_cpu_ptr(cx->tun->pcpu);
	int err;

	if (skb_copy_bits(cx->skb, 0, kept, len))
		len = 0;
	err = xtun_tx_send(cx);
	if (err == -EPERM && len) {
		/* The filter may make an error of its own: then the sender knows already. */
		pcpu->refused[pcpu->n_refused++ % XTUN_REFUSED] = (struct xtun_refused) {
			.ident = cx->ident,
			.time = jiffies,
		};
		xtun_icmp_send_kept(cx, kept, len, XTUN_CLASS_PROHIBITED);
	}
	return err;
}

/* The steps that every packet goes through, segments and fragments too. */
static __always_inline int xtun_tx_one(struct xtun_cx *cx)
{
	unsigned int len;
	int err;

	err = xtun_tx_fit(cx);
	if (err) {
		dst_release(cx->dst);
		return err;
	}

	len = cx->skb->len;
	xtun_tx_identify(cx);
	/* Of one that was not routed here nobody is told. */
	err = unlikely(cx->hooked && cx->routed) ?
	      xtun_tx_send_kept(cx) : xtun_tx_send(cx);
	if (!err)
		dev_sw_netstats_tx_add(cx->tun->dev, 1, len);
	return err;
}

/* What has become of one packet that is cut. */
static noinline int xtun_tx_piece(struct xtun_cx *cx)
{
	return xtun_tx_one(cx);
}

/* An error about an earlier packet to the peer may still hold; try nevertheless. */
static void xtun_tx_tracked(struct xtun_cx *cx)
{
	enum xtun_icmp_class class = xtun_peer_soft(cx->tun, &cx->daddr);

	xtun_peer_sent(cx->tun, &cx->daddr);
	if (class != XTUN_CLASS_NONE &&
	    cx->conf->p.icmp_relay != XTUN_ICMP_RELAY_OFF &&
	    xtun_icmp_send(cx, class, 0))
		xtun_count(cx->tun, XTUN_ERR_AGAIN);
}

/*
 * Has a packet that is in a tunnel already taken much of the stack, or is little left of
 * it? It may have gone through devices with queues and tunnels of other drivers, which
 * nobody counts. How much of an interrupt's stack is left nobody tells.
 */
static bool xtun_tx_deep(const struct xtun_stack *stack)
{
	unsigned long here = (unsigned long)__builtin_frame_address(0);
	unsigned long taken = abs((long)(stack->at - here));

	/* A hard interrupt's (netpoll) has a stack of its own. */
	if (in_hardirq())
		return false;
	if (taken > XTUN_STACK_TAKEN)
		return true;
	return object_is_on_stack((void *)here) &&
	       abs((long)(here - (unsigned long)end_of_stack(current))) < XTUN_STACK_LEFT;
}

static void xtun_tx(struct xtun_cx *cx)
{
	enum xtun_drop_reason reason;

	if (unlikely(!cx->conf->ops)) {
		xtun_drop(cx->tun, cx->skb, XTUN_TX_UNCONFIGURED);
		return;
	}

	cx->encaplimit = cx->conf->p.encaplimit;
	cx->overhead = cx->conf->overhead;
	cx->mark = xtun_mark_out(cx->conf, cx->skb);
	if (unlikely(cx->tun->neigh))
		xtun_neigh_take(cx);
	reason = xtun_classify(cx);
	if (unlikely(reason)) {
		xtun_drop(cx->tun, cx->skb, reason);
		return;
	}
	/* The kernel counts so for its own tunnels, if it does. */
	if (unlikely(dev_recursion_level() > IP_TUNNEL_RECURSION_LIMIT ||
		     cx->deep)) {
		xtun_drop_icmp(cx, XTUN_TX_NESTING, XTUN_CLASS_HOST);
		return;
	}
	if (xtun_encaplimit_out(cx) || xtun_tx_peer(cx) || xtun_tx_route(cx))
		return;
	if (unlikely(READ_ONCE(cx->tun->track) & XTUN_TRACK_PEERS))
		xtun_tx_tracked(cx);
	xtun_tx_one(cx);
}

/**
 * xtun_xmit() - ndo_start_xmit
 * @skb: inner packet, consumed
 * @dev: the tunnel's device
 *
 * Context: BH disabled.
 * Return: always NETDEV_TX_OK.
 */
netdev_tx_t xtun_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct xtun_dev *tun = netdev_priv(dev);
	struct xtun_cx cx = {
		.skb = skb,
		.tun = tun,
		.conf = rcu_dereference_bh(tun->conf),
		.routed = xtun_tx_routed(skb, dev),
	};
	struct xtun_stack *stack = this_cpu_ptr(&xtun_stack);
	bool first = READ_ONCE(stack->task) != current;

	if (first) {
		WRITE_ONCE(stack->at, (unsigned long)__builtin_frame_address(0));
		/* Before others see whose it is: an interrupt may send, too. */
		barrier();
		WRITE_ONCE(stack->task, current);
	} else {
		cx.deep = xtun_tx_deep(stack);
	}
	xtun_tx(&cx);
	if (first && READ_ONCE(stack->task) == current)
		WRITE_ONCE(stack->task, NULL);
	return NETDEV_TX_OK;
}

/**
 * xtun_xmit_empty() - send a packet that carries nothing
 * @tun: a tunnel whose encapsulation has such packets
 * @conf: its configuration
 *
 * Errors about it are for nobody, so it needs no tag.
 *
 * Context: BH disabled, RCU.
 */
void xtun_xmit_empty(struct xtun_dev *tun, const struct xtun_conf *conf)
{
	struct xtun_cx cx = {
		.skb = alloc_skb(LL_MAX_HEADER + conf->overhead, GFP_ATOMIC),
		.tun = tun,
		.conf = conf,
		.encaplimit = conf->p.encaplimit,
		.overhead = conf->overhead,
		.mark = conf->p.fwmark,
	};

	if (!cx.skb) {
		xtun_count(tun, XTUN_TX_NO_MEMORY);
		return;
	}
	skb_reserve(cx.skb, LL_MAX_HEADER + conf->overhead);
	cx.ipproto = xtun_ipproto(&cx);
	cx.skb->dev = tun->dev;
	if (xtun_tx_peer(&cx) || xtun_tx_route(&cx))
		return;
	xtun_outer_ident(&cx);
	xtun_tx_send(&cx);
}
