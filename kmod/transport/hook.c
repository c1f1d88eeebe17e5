// SPDX-License-Identifier: GPL-2.0
/*
 * IP protocols whose handler slot belongs to an in-tree driver, and UDP. A hook at
 * the end of local input takes the packets of our tunnels out before they get
 * there, and sees the ICMP errors about them; all others go on.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/ipv6_frag.h>
#include <net/ndisc.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/netfilter/nf_conntrack.h>

#include "../conf.h"
#include "../device.h"
#include "../local_in.h"
#include "../net.h"
#include "../outer.h"
#include "../packet.h"
#include "../route.h"
#include "../wire.h"
#include "../wire_read.h"

/* What the hook needs to know of a packet that arrived. */
struct xtun_hooked {
	u8 family;
	u8 proto;
	unsigned int offset;
};

static bool xtun_is_icmp(const struct xtun_hooked *p)
{
	return p->proto == (p->family == AF_INET ? IPPROTO_ICMP :
						   IPPROTO_ICMPV6);
}

/* ICMPv4 errors have scattered numbers, ICMPv6 errors those below 128. */
static bool xtun_icmp_is_error(const struct icmphdr *icmph, u8 family)
{
	if (family == AF_INET)
		return icmp_is_err(icmph->type);
	return !(icmph->type & ICMPV6_INFOMSG_MASK);
}

static bool xtun_icmp_csum_ok(struct sk_buff *skb, const struct xtun_hooked *p)
{
	if (p->family == AF_INET)
		return !nf_ip_checksum(skb, NF_INET_LOCAL_IN, p->offset,
				       p->proto);
	return !nf_ip6_checksum(skb, NF_INET_LOCAL_IN, p->offset, p->proto);
}

/*
 * RFC 4861 section 8.1: only a neighbour redirects; the packet that it is about
 * is in an option. Returns where, or 0.
 */
static unsigned int xtun_redirect_quote(struct sk_buff *skb,
					const struct xtun_hooked *p)
{
	const struct ipv6hdr *ip6h = ipv6_hdr(skb);
	unsigned int at = p->offset + sizeof(struct rd_msg);
	const struct nd_opt_hdr *opt;

	if (ip6h->hop_limit != 255 ||
	    !(ipv6_addr_type(&ip6h->saddr) & IPV6_ADDR_LINKLOCAL))
		return 0;
	while (pskb_may_pull(skb, at + 8)) {
		opt = (const struct nd_opt_hdr *)(skb->data + at);
		if (opt->nd_opt_type == ND_OPT_REDIRECT_HDR)
			return at + 8;
		if (!opt->nd_opt_len)
			return 0;
		at += opt->nd_opt_len * 8;
	}
	return 0;
}

/* Where the quote is in an error, or 0 for what is none. */
static unsigned int xtun_hook_quote(struct sk_buff *skb,
				    const struct xtun_hooked *p,
				    struct xtun_icmp *icmp)
{
	unsigned int quote = p->offset + sizeof(struct icmphdr);
	const struct icmphdr *icmph;

	if (!pskb_may_pull(skb, quote))
		return 0;
	icmph = (const struct icmphdr *)(skb->data + p->offset);
	xtun_icmp_read(icmp, p->family, icmph);
	if (xtun_icmp_is_error(icmph, p->family))
		return quote;
	if (p->family == AF_INET6 && icmp->type == NDISC_REDIRECT)
		return xtun_redirect_quote(skb, p);
	return 0;
}

/*
 * Errors go on to all others who want them, but for those about our packets
 * that are not to be believed: in-tree drivers believe whatever is quoted.
 */
static unsigned int xtun_hook_error(struct sk_buff *skb,
				    const struct xtun_hooked *p,
				    const struct xtun_icmp *icmp,
				    unsigned int quote)
{
	enum xtun_verdict verdict;

	if (!xtun_icmp_csum_ok(skb, p))
		return NF_ACCEPT;

	/* What a queue to user space gives back comes in process context. */
	local_bh_disable();
	__skb_pull(skb, quote);
	verdict = xtun_icmp_rcv(skb, XTUN_INPUT_HOOK, p->family, icmp);
	__skb_push(skb, quote);
	local_bh_enable();
	return verdict == XTUN_VERDICT_FALSE ? NF_DROP : NF_ACCEPT;
}

static unsigned int xtun_hook_packet(struct sk_buff *skb,
				     const struct xtun_hooked *p)
{
	bool taken;

	if (likely(softirq_count()))
		return xtun_rcv(skb, XTUN_INPUT_HOOK, p->family, p->proto, p->offset) ?
		       NF_STOLEN : NF_ACCEPT;
	/* What a queue to user space gives back comes in process context. */
	local_bh_disable();
	taken = xtun_rcv(skb, XTUN_INPUT_HOOK, p->family, p->proto, p->offset);
	local_bh_enable();
	return taken ? NF_STOLEN : NF_ACCEPT;
}

/*
 * GRO may merge datagrams that have only addresses and ports in common, unless a
 * tunnel's socket is on the port, and a program may hand them down so: each of
 * them is a packet of its own.
 */
static bool xtun_hook_merged(struct sk_buff *skb, const struct xtun_hooked *p,
			     struct xtun_match *match)
{
	unsigned int type = skb_shinfo(skb)->gso_type;

	return type & SKB_GSO_UDP_L4 && !(type & XTUN_GSO_UDP_TUNNEL) &&
	       xtun_wire_find(skb, p->offset, p->proto, false, match);
}

/* One that is for others goes on from here, all hooks but one behind it. */
static void xtun_hook_one(struct sk_buff *skb, const struct xtun_hooked *p,
			  int transport, const struct nf_hook_state *state)
{
	skb_mark_not_on_list(skb);
	__skb_pull(skb, skb_network_offset(skb));
	skb_set_transport_header(skb, transport);
	/* It was verified before it was merged, and 6.1 forgets that. */
	if (skb->ip_summed == CHECKSUM_NONE)
		skb->ip_summed = CHECKSUM_UNNECESSARY;
	if (xtun_hook_packet(skb, p) != NF_ACCEPT)
		return;
	if (xtun_confirm(skb))
		state->okfn(state->net, state->sk, skb);
	else
		kfree_skb(skb);
}

static unsigned int xtun_hook_cut(struct sk_buff *skb,
				  const struct xtun_hooked *p,
				  struct xtun_match *match,
				  const struct nf_hook_state *state)
{
	int transport = skb_transport_offset(skb);
	int mac = -skb_mac_offset(skb);
	const struct xtun_conf *conf;
	struct sk_buff *list, *next;

	__skb_push(skb, mac);
	list = __skb_gso_segment(skb, NETIF_F_SG | NETIF_F_IP_CSUM |
				 NETIF_F_IPV6_CSUM, false);
	if (IS_ERR_OR_NULL(list)) {
		/* Nobody knows any more how many they were, and what is left of them
		 * is not to be looked into; only who has sent them is sure.
		 */
		xtun_outer_addrs(skb, match);
		conf = xtun_lookup_ends(match);
		if (!conf)
			return NF_DROP;
		xtun_drop(conf->tun, skb, XTUN_RX_NO_MEMORY);
		return NF_STOLEN;
	}
	consume_skb(skb);
	skb_list_walk_safe(list, skb, next)
		xtun_hook_one(skb, p, transport, state);
	return NF_STOLEN;
}

static noinline unsigned int xtun_hook_split(struct sk_buff *skb,
					     const struct xtun_hooked *p,
					     const struct nf_hook_state *state)
{
	struct xtun_match match;
	unsigned int verdict;

	match = (struct xtun_match){ .net = state->net, .family = p->family };
	if (!xtun_hook_merged(skb, p, &match))
		return xtun_hook_packet(skb, p);

	/* What a queue to user space gives back comes in process context. */
	local_bh_disable();
	verdict = xtun_hook_cut(skb, p, &match, state);
	local_bh_enable();
	return verdict;
}

/* ICMP that is no error may be an echo that carries something. */
static noinline unsigned int xtun_hook_icmp(struct sk_buff *skb,
					    const struct xtun_hooked *p)
{
	struct xtun_icmp icmp;
	unsigned int quote = xtun_hook_quote(skb, p, &icmp);

	return quote ? xtun_hook_error(skb, p, &icmp, quote) :
		       xtun_hook_packet(skb, p);
}

static __always_inline unsigned int xtun_hook(struct sk_buff *skb,
					      const struct xtun_hooked *p,
					      const struct nf_hook_state *state)
{
	if (xtun_is_icmp(p))
		return xtun_hook_icmp(skb, p);
	/* Most of what is no tunnel's shows it by its protocol. */
	if (p->proto != IPPROTO_UDP)
		return xtun_wire_by_ipproto(p->proto) ?
		       xtun_hook_packet(skb, p) : NF_ACCEPT;
	if (!xtun_udp_any(state->net, p->family))
		return NF_ACCEPT;
	return unlikely(skb_is_gso(skb)) ? xtun_hook_split(skb, p, state) :
					   xtun_hook_packet(skb, p);
}

static unsigned int xtun_hook4(void *priv, struct sk_buff *skb,
			       const struct nf_hook_state *state)
{
	struct xtun_hooked p = {
		.family = AF_INET,
		.proto = ip_hdr(skb)->protocol,
		.offset = ip_hdrlen(skb),
	};

	return xtun_hook(skb, &p, state);
}

/* Has it a fragment header? Leaves in @at where. */
static bool xtun_is_fragment6(struct sk_buff *skb, unsigned int *at)
{
	*at = 0;
	return ipv6_find_hdr(skb, at, NEXTHDR_FRAGMENT, NULL, NULL) >= 0;
}

/*
 * Is it one of several fragments? A packet in one piece may have their header too, and
 * is not to be put together with others of the same identification (RFC 6946).
 */
static bool xtun_is_part6(struct sk_buff *skb)
{
	const struct frag_hdr *frag;
	struct frag_hdr buf;
	int flags = IP6_FH_F_SKIP_RH;
	unsigned int at = 0;

	/* One that goes on to another segment is on its way, and not at its end. */
	if (ipv6_find_hdr(skb, &at, NEXTHDR_ROUTING, NULL, &flags) >= 0 ||
	    !xtun_is_fragment6(skb, &at))
		return false;
	frag = skb_header_pointer(skb, at, sizeof(buf), &buf);
	return frag && frag->frag_off & htons(IP6_OFFSET | IP6_MF);
}

/*
 * IPv6 is reassembled behind this hook, so fragments have to be here, those for others
 * too. One that is malformed is left to the stack, or dropped.
 */
static unsigned int xtun_reassemble6(struct net *net, struct sk_buff *skb)
{
	int err = nf_ct_frag6_gather(net, skb, IP6_DEFRAG_CONNTRACK_IN);
	unsigned int at = sizeof(struct ipv6hdr);

	if (err)
		return err == -EINPROGRESS ? NF_STOLEN : NF_DROP;
	/* Others read on where input has come to: behind hop-by-hop options, if any. */
	if (IP6CB(skb)->nhoff == at)
		at += ipv6_optlen((struct ipv6_opt_hdr *)(skb_network_header(skb) + at));
	skb_set_transport_header(skb, skb_network_offset(skb) + at);
	return NF_ACCEPT;
}

/*
 * The header after all extension headers. Not for us is what AH protects, which
 * comes by again once it has been verified; and a later fragment, which has none.
 */
static bool xtun_find6(struct sk_buff *skb, struct xtun_hooked *p)
{
	int proto, flags = IP6_FH_F_AUTH;
	unsigned short at;

	p->offset = 0;
	proto = ipv6_find_hdr(skb, &p->offset, -1, &at, &flags);
	p->proto = proto;
	return proto >= 0 && !at && xtun_exthdrs_ok(skb, p->offset);
}

static noinline unsigned int xtun_hook6_ext(struct sk_buff *skb,
					    const struct nf_hook_state *state)
{
	struct xtun_hooked p = { .family = AF_INET6 };
	unsigned int verdict, at;

	if (xtun_is_part6(skb)) {
		verdict = xtun_reassemble6(state->net, skb);
		if (verdict != NF_ACCEPT || xtun_is_fragment6(skb, &at))
			return verdict;
	}
	return xtun_find6(skb, &p) ? xtun_hook(skb, &p, state) : NF_ACCEPT;
}

static unsigned int xtun_hook6(void *priv, struct sk_buff *skb,
			       const struct nf_hook_state *state)
{
	struct xtun_hooked p = {
		.family = AF_INET6,
		.proto = ipv6_hdr(skb)->nexthdr,
		.offset = sizeof(struct ipv6hdr),
	};

	if (unlikely(ipv6_ext_hdr(p.proto)))
		return xtun_hook6_ext(skb, state);
	return xtun_hook(skb, &p, state);
}

/*
 * After all filters. Conntrack confirms at INT_MAX for IPv4, and for IPv6 at
 * this same place, before or after us: xtun_confirm() takes either.
 */
static const struct nf_hook_ops xtun_hook_ops[] = {
	{
		.hook = xtun_hook4,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_IN,
		.priority = INT_MAX - 1,
	},
	{
		.hook = xtun_hook6,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_LOCAL_IN,
		.priority = INT_MAX - 1,
	},
};

/**
 * xtun_hook_get() - have the input hook of a tunnel's underlay and family
 * @conf: the tunnel's configuration
 * @extack: gets the reason of a refusal
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error.
 */
int xtun_hook_get(const struct xtun_conf *conf, struct netlink_ext_ack *extack)
{
	struct xtun_net *xn = xtun_net(conf->tun->net);
	bool v6 = conf->p.family == AF_INET6;
	int err;

	if (xn->hooks[v6]) {
		xn->hooks[v6]++;
		return 0;
	}

	err = nf_register_net_hook(xn->net, &xtun_hook_ops[v6]);
	if (err) {
		NL_SET_ERR_MSG(extack, "cannot hook into local input");
		return err;
	}
	xn->hooks[v6] = 1;
	return 0;
}

/**
 * xtun_hook_put() - undo xtun_hook_get()
 * @conf: the tunnel's configuration
 *
 * Context: RTNL, may sleep.
 */
void xtun_hook_put(const struct xtun_conf *conf)
{
	struct xtun_net *xn = xtun_net(conf->tun->net);
	bool v6 = conf->p.family == AF_INET6;

	if (--xn->hooks[v6])
		return;
	nf_unregister_net_hook(xn->net, &xtun_hook_ops[v6]);
}

const struct xtun_transport xtun_hook_transport = {
	.input = XTUN_INPUT_HOOK,
	.get = xtun_hook_get,
	.put = xtun_hook_put,
};
