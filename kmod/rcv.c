// SPDX-License-Identifier: GPL-2.0
/*
 * The way in: a transport brings a packet; parse its header, find its tunnel,
 * verify, pull, deliver.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/inet_ecn.h>
#include <net/ip_tunnels.h>

#include "loop.h"
#include "mark.h"
#include "conf.h"
#include "device.h"
#include "local_in.h"
#include "lookup.h"
#include "net.h"
#include "outer.h"
#include "packet.h"
#include "route.h"
#include "wire.h"
#include "wire_read.h"

static bool xtun_has_key(const struct xtun_conf *conf, const struct xtun_hdr *h)
{
	int i;

	for (i = 0; i < h->n_ids; i++) {
		if (h->ids[i].keying == conf->match.keying &&
		    h->ids[i].key == conf->match.key)
			return true;
	}
	return false;
}

/*
 * Two ends whose keys differ are a common mistake, and what comes is nobody's:
 * a tunnel between the same addresses counts it. Others may have it.
 */
static void xtun_rcv_other_key(const struct xtun_match *match,
			       const struct xtun_hdr *h)
{
	const struct xtun_conf *conf = xtun_lookup_ends(match);

	if (conf && !xtun_has_key(conf, h))
		xtun_count(conf->tun, XTUN_RX_OTHER_KEY);
}

static enum xtun_drop_reason xtun_rx_csum(struct sk_buff *skb,
					  const struct xtun_conf *conf,
					  const struct xtun_hdr *h)
{
	if (h->has_csum)
		return conf->ops->wire->csum_ok(skb) ? XTUN_OK :
						       XTUN_RX_CHECKSUM;
	return conf->p.flags & XTUN_CONF_FLAGS_ICSUM ? XTUN_RX_NO_CHECKSUM :
						       XTUN_OK;
}

/* RFC 2890 section 2.2: not later than one that has been received is old. */
static enum xtun_drop_reason xtun_rx_seq(const struct xtun_conf *conf,
					 const struct xtun_hdr *h)
{
	atomic64_t *iseq = &conf->tun->iseq;
	s64 seen, next;

	if (!(conf->p.flags & XTUN_CONF_FLAGS_ISEQ))
		return XTUN_OK;
	if (!h->has_seq)
		return XTUN_RX_NO_SEQUENCE;

	next = (u32)(h->seq + 1) | XTUN_ISEQ_SEEN;
	seen = atomic64_read(iseq);
	do {
		if (seen & XTUN_ISEQ_SEEN && (s32)(h->seq - (u32)seen) < 0)
			return XTUN_RX_SEQUENCE;
	} while (!atomic64_try_cmpxchg(iseq, &seen, next));
	return XTUN_OK;
}

static bool xtun_allowed(const struct xtun_conf *conf, u8 family,
			 const void *source)
{
	const union nf_inet_addr *addr = source;
	int i;

	if (!conf->p.n_allow)
		return true;
	for (i = 0; i < conf->p.n_allow; i++) {
		if (xtun_prefix_has(&conf->p.allow[i], family, addr))
			return true;
	}
	return false;
}

/* A packet merged by GRO may be longer than its header can say. */
static bool xtun_ipv4_valid(const struct sk_buff *skb)
{
	const struct iphdr *iph = ip_hdr(skb);
	unsigned int len = ntohs(iph->tot_len);

	if (iph->version != 4 || iph->ihl < 5)
		return false;
	return skb_is_gso(skb) || (len >= iph->ihl * 4 && len <= skb->len);
}

static bool xtun_ipv6_valid(const struct sk_buff *skb)
{
	const struct ipv6hdr *ip6h = ipv6_hdr(skb);

	if (ip6h->version != 6)
		return false;
	return skb_is_gso(skb) ||
	       ntohs(ip6h->payload_len) + sizeof(*ip6h) <= skb->len;
}

/* The inner IP header at the data of the skb, or what there is in its place. */
static enum xtun_drop_reason xtun_rx_ip(struct sk_buff *skb,
					const struct xtun_conf *conf)
{
	bool v4 = skb->protocol == htons(ETH_P_IP);
	bool allowed;

	if (!v4 && skb->protocol != htons(ETH_P_IPV6)) {
		if (!xtun_type_carried(conf->ops, skb->protocol))
			return XTUN_RX_INNER_PROTOCOL;
		/* It has no source that could be an allowed one. */
		if (conf->p.n_allow)
			return XTUN_RX_NOT_ALLOWED;
		skb_reset_network_header(skb);
		return XTUN_OK;
	}
	if (!pskb_may_pull(skb, v4 ? sizeof(struct iphdr) :
				     sizeof(struct ipv6hdr)))
		return XTUN_RX_INNER_MALFORMED;

	skb_reset_network_header(skb);
	if (!(v4 ? xtun_ipv4_valid(skb) : xtun_ipv6_valid(skb)))
		return XTUN_RX_INNER_MALFORMED;
	allowed = v4 ? xtun_allowed(conf, AF_INET, &ip_hdr(skb)->saddr) :
		       xtun_allowed(conf, AF_INET6, &ipv6_hdr(skb)->saddr);
	return allowed ? XTUN_OK : XTUN_RX_NOT_ALLOWED;
}

/* Ethertype of what is behind the tags of a frame, its offset in @offset. */
static __be16 xtun_behind_tags(struct sk_buff *skb, unsigned int *offset)
{
	__be16 proto = skb->protocol;
	unsigned int tags;

	*offset = 0;
	for (tags = 0; eth_type_vlan(proto) && tags < XTUN_VLAN_TAGS_MAX;
	     tags++) {
		if (!pskb_may_pull(skb, *offset + VLAN_HLEN))
			return 0;
		proto = *(__be16 *)(skb->data + *offset + 2);
		*offset += VLAN_HLEN;
	}
	return proto;
}

/*
 * RFC 6040 section 4.2, with what is of ethertype @proto at @offset. Frames
 * without an IP header have no ECN.
 */
static enum xtun_drop_reason xtun_rx_ecn(struct sk_buff *skb, u8 outer,
					 unsigned int offset, __be16 proto)
{
	__be16 outermost = skb->protocol;
	u8 inner;
	int rc;

	if (proto == htons(ETH_P_IP)) {
		if (!pskb_may_pull(skb, offset + sizeof(struct iphdr)))
			return XTUN_OK;
		skb_set_network_header(skb, offset);
		inner = ip_hdr(skb)->tos;
	} else if (proto == htons(ETH_P_IPV6)) {
		if (!pskb_may_pull(skb, offset + sizeof(struct ipv6hdr)))
			return XTUN_OK;
		skb_set_network_header(skb, offset);
		inner = ipv6_get_dsfield(ipv6_hdr(skb));
	} else {
		return XTUN_OK;
	}
	/* It would look for tags where those of the outer frame have been. */
	skb->protocol = proto;
	rc = INET_ECN_decapsulate(skb, outer, inner);
	skb->protocol = outermost;
	return rc > 1 ? XTUN_RX_ECN : XTUN_OK;
}

static enum xtun_drop_reason xtun_rx_frame(struct sk_buff *skb,
					   struct net_device *dev)
{
	if (!pskb_may_pull(skb, ETH_HLEN))
		return XTUN_RX_INNER_MALFORMED;

	skb->protocol = eth_type_trans(skb, dev);
	skb_postpull_rcsum(skb, eth_hdr(skb), ETH_HLEN);
	skb_reset_network_header(skb);
	/* What was sent here has come back, by a loop of bridges for one. */
	if (unlikely(ether_addr_equal(eth_hdr(skb)->h_source, dev->dev_addr)))
		return XTUN_RX_OWN_SOURCE;
	return XTUN_OK;
}

static enum xtun_drop_reason xtun_rx_payload(struct sk_buff *skb,
					     const struct xtun_conf *conf)
{
	struct net_device *dev = conf->tun->dev;

	if (conf->p.payload == XTUN_PAYLOAD_ETH)
		return xtun_rx_frame(skb, dev);

	skb->dev = dev;
	/* Who has neighbours wants to see the outer header. */
	if (unlikely(conf->tun->neigh))
		skb_pop_mac_header(skb);
	else
		skb_reset_mac_header(skb);
	return xtun_rx_ip(skb, conf);
}

/* Whom answers go to, while the network header is the outer one. */
static union nf_inet_addr xtun_rx_peer(const struct sk_buff *skb,
				       const struct xtun_conf *conf)
{
	struct xtun_match match = { .family = conf->match.family };

	xtun_outer_addrs(skb, &match);
	return match.remote;
}

/* Everything in the outer headers that can end the packet. */
static __always_inline enum xtun_drop_reason
xtun_rx_outer(struct sk_buff *skb, const struct xtun_conf *conf, struct xtun_hdr *h)
{
	const struct xtun_wire *wire = conf->ops->wire;
	const struct xtun_transport *transport = wire->transport;
	enum xtun_drop_reason reason;

	if (transport->check) {
		reason = transport->check(skb, conf, h);
		if (reason)
			return reason;
	}
	if (wire->parse_conf) {
		reason = xtun_wire_parse_conf(conf, skb, 0, skb->len, false, h);
		if (reason)
			return reason;
	}
	/* The transport's own header may have told that there is less. */
	if (skb->len < h->len)
		return XTUN_RX_TRUNCATED;
	if (!xtun_outer_allowed_in(skb, conf->match.family))
		return XTUN_RX_POLICY;
	/* What the header says that there is; a merged packet is longer than that. */
	if (h->end && !skb_is_gso(skb)) {
		if (h->end > skb->len)
			return XTUN_RX_TRUNCATED;
		if (pskb_trim_rcsum(skb, h->end))
			return XTUN_RX_NO_MEMORY;
	}
	reason = xtun_rx_csum(skb, conf, h);
	if (reason)
		return reason;
	reason = xtun_rx_seq(conf, h);
	if (!reason && transport->learn)
		transport->learn(skb, conf);
	return reason;
}

/* Whatever was said of the path to the peer, something has come from him. */
static void xtun_rx_confirm(const struct sk_buff *skb,
			    const struct xtun_conf *conf)
{
	struct xtun_dev *tun = conf->tun;
	union nf_inet_addr peer;

	xtun_alive_now(&tun->pcpu->alive.heard);
	if (likely(!(READ_ONCE(tun->track) & XTUN_TRACK_PEERS)))
		return;
	peer = xtun_rx_peer(skb, conf);
	xtun_peer_confirm(tun, &peer);
}

/* And what it carries, which the data is at afterwards. */
static __always_inline enum xtun_drop_reason
xtun_rx_inner(struct sk_buff *skb, const struct xtun_conf *conf,
	      const struct xtun_hdr *h)
{
	u8 outer_tos = xtun_outer_tos_in(skb, conf->match.family);
	struct xtun_dev *tun = conf->tun;
	enum xtun_drop_reason reason;
	union nf_inet_addr peer;
	unsigned int offset;
	__be16 proto;

	if (unlikely(conf->p.mss))
		peer = xtun_rx_peer(skb, conf);
	if (xtun_pull_header(skb, h->len, h->proto,
			     !net_eq(tun->net, dev_net(tun->dev))))
		return XTUN_RX_NO_MEMORY;
	xtun_mark_in(conf, skb);
	reason = xtun_rx_payload(skb, conf);
	if (reason)
		return reason;

	proto = xtun_behind_tags(skb, &offset);
	reason = xtun_rx_ecn(skb, outer_tos, offset, proto);
	if (reason)
		return reason;
	if (unlikely(xtun_too_deep(skb, tun, offset, proto)))
		return XTUN_RX_NESTING;
	if (unlikely(conf->p.mss))
		xtun_mss_in(skb, conf, &peer, offset, proto);
	return XTUN_OK;
}

/* All that is behind the outer IP header, which is the network header. */
static __always_inline void xtun_rx(struct sk_buff *skb, const struct xtun_conf *conf,
				    struct xtun_hdr *h, enum xtun_drop_reason reason)
{
	struct xtun_dev *tun = conf->tun;
	unsigned int len;

	if (!reason)
		reason = xtun_rx_outer(skb, conf, h);
	if (likely(!reason))
		xtun_rx_confirm(skb, conf);
	if (unlikely(h->empty && !reason)) {
		consume_skb(skb);
		return;
	}
	if (!reason)
		reason = xtun_rx_inner(skb, conf, h);
	if (unlikely(reason)) {
		xtun_drop(tun, skb, reason);
		return;
	}

	len = skb->len;
	if (likely(xtun_cells_rx(tun, skb)))
		dev_sw_netstats_rx_add(tun->dev, len);
	else
		xtun_drop(tun, skb, XTUN_RX_BACKLOG);
}

/*
 * The configuration of the tunnel that a received packet is for, or NULL when it is for
 * others; in @reason why it has to be dropped. A header too broken to tell a key is put
 * down to a tunnel between the same addresses, so that somebody counts it.
 */
static __always_inline struct xtun_conf *
xtun_rcv_find(struct sk_buff *skb, enum xtun_input input, u8 family, u8 ipproto,
	      unsigned int offset, struct xtun_hdr *h, enum xtun_drop_reason *reason)
{
	struct net *net = dev_net(skb->dev);
	struct xtun_match match = { .net = net, .family = family };
	const struct xtun_wire *wire;
	struct xtun_conf *conf;
	int err;

	if (skb->len < offset)
		return NULL;
	wire = xtun_wire_find(skb, offset, ipproto, false, &match);
	if (!wire || wire->transport->input != input)
		return NULL;
	err = xtun_wire_parse(wire, skb, offset, skb->len - offset, ipproto, h);
	if (err < 0 || h->unsure)
		return NULL;
	*reason = err;

	xtun_outer_addrs(skb, &match);
	conf = xtun_lookup_hot(&match, h, skb);
	if (!conf && *reason && !h->n_ids)
		conf = xtun_lookup_ends(&match);
	else if (!conf && !*reason)
		xtun_rcv_other_key(&match, h);
	if (unlikely(conf && *reason && *reason == wire->answered)) {
		xtun_count(conf->tun, *reason);
		return NULL;
	}
	return conf;
}

/**
 * xtun_rcv() - take a packet in, if it is for a tunnel
 * @skb: the packet, consumed if it is; its network header the outer one; else pulled at
 *	most
 * @input: where it comes from
 * @family: AF_INET or AF_INET6, of the underlay
 * @ipproto: protocol number in the outer header
 * @offset: bytes from the data of @skb to the end of the outer IP header
 *
 * Context: BH disabled, RCU.
 * Return: whether it was taken.
 */
bool xtun_rcv(struct sk_buff *skb, enum xtun_input input, u8 family, u8 ipproto,
	      unsigned int offset)
{
	enum xtun_drop_reason reason;
	struct xtun_conf *conf;
	struct xtun_hdr h;

	conf = xtun_rcv_find(skb, input, family, ipproto, offset, &h, &reason);
	if (!conf)
		return false;
	if (input == XTUN_INPUT_HOOK && !xtun_local_in(skb, family, offset))
		xtun_drop(conf->tun, skb, XTUN_RX_CONNTRACK);
	else
		xtun_rx(skb, conf, &h, reason);
	return true;
}
