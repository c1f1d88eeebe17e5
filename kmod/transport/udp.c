// SPDX-License-Identifier: GPL-2.0
/*
 * UDP. A socket holds each port, so that nobody else takes it, and merges what
 * arrives (GRO); the input hook takes the packets themselves, before they are
 * looked up among all sockets, and the ICMP errors about them, whoever has a
 * socket on the port that they were sent from.
 */
#include <linux/in.h>
#include <linux/udp.h>
#include <net/gro.h>
#include <net/udp.h>
#include <net/udp_tunnel.h>

#include "../conf.h"
#include "../device.h"
#include "../net.h"
#include "../outer.h"
#include "../packet.h"
#include "../port.h"
#include "../route.h"
#include "../wire.h"
#include "../wire_read.h"

/* RFC 6335 section 6: nobody is given these, so nobody filters them. */
#define XTUN_SPORT_MIN		49152
#define XTUN_SPORT_MAX		65535

/* ---- merging what arrives ---- */

static __be16 xtun_gro_type(const struct xtun_hdr *h)
{
	return h->payload == XTUN_PAYLOAD_ETH ? htons(ETH_P_TEB) : h->proto;
}

/* Reads @len bytes at the GRO offset; NULL when they hold no whole header. */
static const u8 *xtun_gro_try(struct sk_buff *skb, const struct xtun_wire *wire,
			      unsigned int len, struct xtun_hdr *h)
{
	unsigned int off = skb_gro_offset(skb);
	const u8 *hdr = skb_gro_header(skb, off + len, off);

	memset(h, 0, sizeof(*h));
	if (!hdr || wire->parse(hdr, len, IPPROTO_UDP, h))
		return NULL;
	/* Of a merged packet nobody knows any more whether it said the truth. */
	return h->end && h->end != skb_gro_len(skb) ? NULL : hdr;
}

/* Reads the header at the GRO offset; NULL when packets cannot be merged. */
static const u8 *xtun_gro_header(struct sk_buff *skb,
				 const struct xtun_wire *wire,
				 struct xtun_hdr *h)
{
	unsigned int all = skb_gro_len(skb);
	unsigned int len = min_t(unsigned int, all, wire->hdr_max);
	const u8 *hdr = xtun_gro_try(skb, wire, len, h);

	/* A header with options tells how long it is. */
	if (!hdr && h->len > len && h->len <= all)
		hdr = xtun_gro_try(skb, wire, h->len, h);
	return hdr;
}

/*
 * Packets that are held, and so have an inner header of their kind, must begin with
 * this header and a packet of this kind. IPv4 does not look at versions.
 */
static void xtun_gro_compare(struct list_head *head, const struct sk_buff *skb,
			     const u8 *hdr, const struct xtun_hdr *h)
{
	u8 version = h->proto == htons(ETH_P_IP) ? 4 : 6;
	unsigned int off = skb_gro_offset(skb);
	const u8 *held;
	struct sk_buff *p;

	list_for_each_entry(p, head, list) {
		if (!NAPI_GRO_CB(p)->same_flow)
			continue;
		held = p->data + off;
		if (memcmp(held, hdr, h->len) ||
		    (h->payload == XTUN_PAYLOAD_IP &&
		     held[h->len] >> 4 != version))
			NAPI_GRO_CB(p)->same_flow = 0;
	}
}

static struct sk_buff *xtun_gro_receive(struct sock *sk, struct list_head *head,
					struct sk_buff *skb)
{
	const struct xtun_port *port = rcu_dereference_sk_user_data(sk);
	const struct packet_offload *inner;
	struct sk_buff *pp = NULL;
	struct xtun_hdr h;
	const u8 *hdr;
	int flush = 1;

	hdr = port ? xtun_gro_header(skb, READ_ONCE(port->wire), &h) : NULL;
	if (!hdr)
		goto out;
	inner = gro_find_receive_by_type(xtun_gro_type(&h));
	if (!inner)
		goto out;

	xtun_gro_compare(head, skb, hdr, &h);
	skb_gro_pull(skb, h.len);
	skb_gro_postpull_rcsum(skb, hdr, h.len);
	pp = call_gro_receive(inner->callbacks.gro_receive, head, skb);
	flush = 0;
out:
	skb_gro_flush_final(skb, pp, flush);
	return pp;
}

static int xtun_gro_complete(struct sock *sk, struct sk_buff *skb, int nhoff)
{
	const struct xtun_port *port = rcu_dereference_sk_user_data(sk);
	const struct packet_offload *inner;
	struct xtun_hdr h = {};

	/* It was all there when the packets were merged. */
	if (!port || READ_ONCE(port->wire)->parse(skb->data + nhoff,
						  skb_headlen(skb) - nhoff,
						  IPPROTO_UDP, &h))
		return -EINVAL;
	inner = gro_find_complete_by_type(xtun_gro_type(&h));
	if (!inner)
		return -ENOENT;
	skb_set_inner_mac_header(skb, nhoff + h.len);
	return inner->callbacks.gro_complete(skb, nhoff + h.len);
}

/* ---- ports ---- */

/* Its checksum has been verified, and that it is not longer than it says. */
static void xtun_udp_stray(struct sock *sk, struct sk_buff *skb,
			   const struct xtun_port *port)
{
	const struct xtun_wire *wire = READ_ONCE(port->wire);
	struct xtun_stray s = {
		.skb = skb,
		.match = {
			.net = sock_net(sk),
			.family = sk->sk_family,
			.wire = wire->id,
			.port = port->id.port,
		},
		.port = udp_hdr(skb)->source,
	};
	int reason;

	if (!wire->stray)
		return;
	xtun_outer_addrs(skb, &s.match);
	reason = xtun_wire_parse(wire, skb, 0, skb->len, IPPROTO_UDP, &s.h);
	if (reason < 0)
		return;
	s.reason = reason;
	wire->stray(&s);
	/* RFC 768: who has no port wants no answer. */
	if (s.answer_len && s.port)
		xtun_answer(sk, &s);
}

/* What the hook leaves is for no tunnel, and nobody else has the port. */
static int xtun_udp_rcv(struct sock *sk, struct sk_buff *skb)
{
	const struct xtun_port *port = rcu_dereference_sk_user_data(sk);

	if (port) {
		/* What a queue to user space gives back comes in process context. */
		local_bh_disable();
		xtun_udp_stray(sk, skb, port);
		local_bh_enable();
	}
	kfree_skb(skb);
	return 0;
}

/*
 * Errors about what was sent from a port that a tunnel receives at: the hook has
 * done what is to be done, and UDP may not believe them.
 */
static int xtun_udp_err_lookup(struct sock *sk, struct sk_buff *skb)
{
	return -ENOENT;
}

static int xtun_port_bind(struct xtun_port *port, struct net *net)
{
	struct udp_tunnel_sock_cfg tunnel = {
		.sk_user_data = port,
		.encap_type = 1,
		.encap_rcv = xtun_udp_rcv,
		.encap_err_lookup = xtun_udp_err_lookup,
		.gro_receive = xtun_gro_receive,
		.gro_complete = xtun_gro_complete,
	};
	struct udp_port_cfg cfg = {
		.family = port->id.family,
		.local_udp_port = port->id.port,
		.ipv6_v6only = port->id.family == AF_INET6,
	};
	int err;

	err = udp_sock_create(net, &cfg, &port->sock);
	if (!err)
		setup_udp_tunnel_sock(net, port->sock->sk, &tunnel);
	return err;
}

static struct xtun_port_id xtun_port_here(const struct xtun_conf *conf)
{
	return (struct xtun_port_id){ .port = conf->match.port,
				      .family = conf->p.family };
}

static struct xtun_port_id xtun_port_there(const struct xtun_conf *conf)
{
	return (struct xtun_port_id){ .port = htons(conf->dport),
				      .family = conf->p.family,
				      .there = true };
}

static bool xtun_uses_port(const struct xtun_conf *conf, struct xtun_port_id id)
{
	if (!conf->ops || conf->match.family != id.family)
		return false;
	if (!id.there)
		return conf->match.port == id.port;
	return !conf->ops->wire->pair && htons(conf->dport) == id.port;
}

/* The tunnel that uses a port. */
static const char *xtun_port_user(const struct xtun_net *xn,
				  struct xtun_port_id id)
{
	const struct xtun_dev *tun;

	list_for_each_entry(tun, &xn->tunnels, list) {
		if (xtun_uses_port(rtnl_dereference(tun->conf), id))
			return tun->dev->name;
	}
	return "a tunnel";
}

/* The word that says where packets arrive. */
static const char *xtun_port_word(const struct xtun_conf *conf)
{
	if (conf->ops->wire->pair)
		return "sport";
	return conf->p.lport ? "lport" : "dport";
}

static int xtun_port_refuse_wire(const struct xtun_conf *conf,
				 struct xtun_port_id id,
				 struct netlink_ext_ack *extack)
{
	const char *user = xtun_port_user(xtun_net(conf->tun->net), id);

	if (id.there)
		NL_SET_ERR_MSG_FMT(extack,
				   "dport: %s sends another encapsulation to port %u",
				   user, ntohs(id.port));
	else
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: %s has port %u for another encapsulation",
				   xtun_port_word(conf), user, ntohs(id.port));
	return -EADDRINUSE;
}

/*
 * The function that takes what arrives at the port, which names the module that
 * has it; NULL when it is a program.
 */
static void *xtun_udp_holder(const struct xtun_conf *conf)
{
	const union nf_inet_addr any = {};
	void *function = NULL;
	struct sock *sk;

	rcu_read_lock();
	sk = xtun_udp_lookup(conf->tun->net, conf->p.family, &any, 0,
			     &conf->p.local, conf->match.port);
	if (sk)
		function = READ_ONCE(udp_sk(sk)->encap_rcv);
	rcu_read_unlock();
	return function;
}

static int xtun_port_refuse_taken(const struct xtun_conf *conf,
				  struct netlink_ext_ack *extack)
{
	u16 port = ntohs(conf->match.port);
	void *module = xtun_udp_holder(conf);

	if (module)
		NL_SET_ERR_MSG_FMT(extack, "%s: %ps has port %u",
				   xtun_port_word(conf), module, port);
	else
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: another socket has port %u; ss -ulnp tells whose",
				   xtun_port_word(conf), port);
	return -EADDRINUSE;
}

/* Whether one of this host is held is up to what it carries. */
static int xtun_port_hold(struct xtun_port *port, const struct xtun_conf *conf,
			  struct netlink_ext_ack *extack)
{
	int err;

	if (port->id.there || conf->ops->wire->shared || port->sock)
		return 0;
	err = xtun_port_bind(port, conf->tun->net);
	return err == -EADDRINUSE ? xtun_port_refuse_taken(conf, extack) : err;
}

/* Cards that know what arrives at a port look for flows inside. */
static void xtun_port_tell_kind(struct xtun_port *port, u8 nic)
{
	if (!port->sock || port->nic == nic)
		return;
	if (port->nic)
		udp_tunnel_notify_del_rx_port(port->sock->sk, port->nic);
	port->nic = nic;
	if (nic)
		udp_tunnel_notify_add_rx_port(port->sock->sk, nic);
}

static void xtun_port_let_go(struct xtun_port *port)
{
	xtun_port_tell_kind(port, 0);
	if (port->sock)
		udp_tunnel_sock_release(port->sock->sk);
	port->sock = NULL;
}

/* Of a port that tunnels of both payloads share, what it is with frames. */
static void xtun_port_tell(struct xtun_port *port)
{
	u8 payload = port->frames ? XTUN_PAYLOAD_ETH : XTUN_PAYLOAD_IP;

	xtun_port_tell_kind(port, port->wire->nic[payload]);
}

static bool xtun_has_frames(const struct xtun_conf *conf)
{
	return conf->p.payload == XTUN_PAYLOAD_ETH;
}

/**
 * xtun_udp_tell() - tell a network card of the ports that tunnels have
 * @dev: the card
 * @there: they are there, else they are to be forgotten
 *
 * Context: RTNL, in a netdevice notifier.
 */
void xtun_udp_tell(struct net_device *dev, bool there)
{
	struct xtun_net *xn = xtun_net(dev_net(dev));
	struct hlist_head *buckets = &xn->ports[0][0];
	struct xtun_port *port;
	int i;

	for (i = 0; i < 2 * XTUN_PORT_BUCKETS; i++) {
		hlist_for_each_entry(port, &buckets[i], node) {
			if (!port->nic)
				continue;
			if (there)
				udp_tunnel_push_rx_port(dev, port->sock->sk, port->nic);
			else
				udp_tunnel_drop_rx_port(dev, port->sock->sk, port->nic);
		}
	}
}

static int xtun_port_new(const struct xtun_conf *conf, struct xtun_port_id id,
			 struct netlink_ext_ack *extack)
{
	struct xtun_net *xn = xtun_net(conf->tun->net);
	bool v6 = id.family == AF_INET6;
	struct xtun_port *port;
	int err;

	port = kzalloc(sizeof(*port), GFP_KERNEL);
	if (!port)
		return -ENOMEM;
	port->id = id;
	port->wire = conf->ops->wire;
	port->users = 1;
	port->frames = xtun_has_frames(conf);
	err = xtun_port_hold(port, conf, extack);
	if (err) {
		kfree(port);
		return err;
	}
	xtun_port_tell(port);
	hlist_add_head_rcu(&port->node, xtun_port_bucket(xn, id));
	WRITE_ONCE(xn->n_ports[v6], xn->n_ports[v6] + 1);
	static_branch_inc(&xtun_udp_key);
	return 0;
}

/* A tunnel that is alone on its port may change what that carries. */
static int xtun_port_turn(struct xtun_port *port, const struct xtun_conf *conf,
			  struct netlink_ext_ack *extack)
{
	const struct xtun_conf *now = rtnl_dereference(conf->tun->conf);
	int err;

	if (port->users != 1 || now == conf || !xtun_uses_port(now, port->id))
		return xtun_port_refuse_wire(conf, port->id, extack);
	err = xtun_port_hold(port, conf, extack);
	if (err)
		return err;
	WRITE_ONCE(port->wire, conf->ops->wire);
	return 0;
}

static int xtun_port_get(const struct xtun_conf *conf, struct xtun_port_id id,
			 struct netlink_ext_ack *extack)
{
	struct xtun_port *port;
	int err = 0;

	port = xtun_port_find(xtun_net(conf->tun->net), id);
	if (!port)
		return xtun_port_new(conf, id, extack);
	if (port->wire != conf->ops->wire)
		err = xtun_port_turn(port, conf, extack);
	if (err)
		return err;
	port->users++;
	port->frames += xtun_has_frames(conf);
	xtun_port_tell(port);
	return 0;
}

/* Of one tunnel's two configurations, the one in force stays. */
static void xtun_port_stay(struct xtun_port *port, const struct xtun_conf *now)
{
	WRITE_ONCE(port->wire, now->ops->wire);
	if (port->wire->shared)
		xtun_port_let_go(port);
}

static void xtun_port_put(const struct xtun_conf *conf, struct xtun_port_id id)
{
	const struct xtun_conf *now = rtnl_dereference(conf->tun->conf);
	struct xtun_net *xn = xtun_net(conf->tun->net);
	bool v6 = id.family == AF_INET6;
	struct xtun_port *port;

	port = xtun_port_find(xn, id);
	port->frames -= xtun_has_frames(conf);
	if (--port->users) {
		if (xtun_uses_port(now, id))
			xtun_port_stay(port, now);
		xtun_port_tell(port);
		return;
	}
	static_branch_dec(&xtun_udp_key);
	WRITE_ONCE(xn->n_ports[v6], xn->n_ports[v6] - 1);
	hlist_del_rcu(&port->node);
	xtun_port_let_go(port);
	kfree_rcu(port, rcu);
}

/* A pair's packets are known by the port that they come from. */
static int xtun_ports_get(const struct xtun_conf *conf,
			  struct netlink_ext_ack *extack)
{
	int err = xtun_port_get(conf, xtun_port_here(conf), extack);

	if (err || conf->ops->wire->pair)
		return err;
	err = xtun_port_get(conf, xtun_port_there(conf), extack);
	if (err)
		xtun_port_put(conf, xtun_port_here(conf));
	return err;
}

static void xtun_ports_put(const struct xtun_conf *conf)
{
	if (!conf->ops->wire->pair)
		xtun_port_put(conf, xtun_port_there(conf));
	xtun_port_put(conf, xtun_port_here(conf));
}

static int xtun_udp_get(const struct xtun_conf *conf,
			struct netlink_ext_ack *extack)
{
	int err = xtun_ports_get(conf, extack);

	if (err)
		return err;
	err = xtun_hook_get(conf, extack);
	if (err)
		xtun_ports_put(conf);
	return err;
}

static void xtun_udp_put(const struct xtun_conf *conf)
{
	xtun_hook_put(conf);
	xtun_ports_put(conf);
}

/* ---- packets ---- */

static void xtun_udp_prepare(struct xtun_conf *conf)
{
	const struct xtun_params *p = &conf->p;
	struct udphdr *uh = (struct udphdr *)conf->encap_hdr;

	conf->dport = p->dport ?: conf->ops->dport[p->payload];
	if (p->sport_min) {
		conf->sport = p->sport_min;
		conf->sports = p->sport_max - p->sport_min + 1;
	} else if (conf->ops->wire->pair) {
		conf->sport = conf->dport;
		conf->sports = 1;
	} else {
		conf->sport = XTUN_SPORT_MIN;
		conf->sports = XTUN_SPORT_MAX - XTUN_SPORT_MIN + 1;
	}
	conf->sent_port = htons(conf->ops->wire->pair ? conf->sport :
							conf->dport);
	conf->match.port = p->lport ? htons(p->lport) : conf->sent_port;
	conf->gso_type = p->flags & XTUN_CONF_FLAGS_NOUDPCSUM ?
			 SKB_GSO_UDP_TUNNEL : SKB_GSO_UDP_TUNNEL_CSUM;
	uh->dest = htons(conf->dport);

	conf->uli.ports.dport = uh->dest;
	if (conf->sports == 1)
		conf->uli.ports.sport = htons(conf->sport);
	else
		conf->flows = true;
}

/* A flow has one port, which tells no more than that (RFC 6056, RFC 7348). */
static __be16 xtun_udp_sport(const struct xtun_conf *conf,
			     const struct xtun_tag *tag)
{
	return htons(conf->sport + (((u64)tag->flow * conf->sports) >> 32));
}

static void xtun_udp_flow(const struct xtun_cx *cx, union flowi_uli *uli)
{
	uli->ports.sport = xtun_udp_sport(cx->conf, &cx->tag);
}

static void xtun_udp_push(const struct xtun_cx *cx, u8 *hdr)
{
	const struct xtun_conf *conf = cx->conf;
	struct udphdr *uh = (struct udphdr *)hdr;

	uh->source = xtun_udp_sport(conf, &cx->tag);
	udp_set_len(uh, cx->skb->len);
	skb_set_inner_protocol(cx->skb, xtun_type_named(cx));
	xtun_outer_udp_csum(cx);
}

/* What a guest behind a tap would have had fragmented is one packet. */
static int xtun_udp_whole(struct sk_buff *skb)
{
	int err;

	if (!skb_is_gso(skb))
		return 0;
	err = skb_header_unclone(skb, GFP_ATOMIC);
	if (!err)
		skb_gso_reset(skb);
	return err;
}

/* RFC 768; without a checksum over IPv6: RFC 6935, where both ends know of it. */
static enum xtun_drop_reason xtun_udp_check(struct sk_buff *skb,
					    const struct xtun_conf *conf,
					    const struct xtun_hdr *h)
{
	const struct udphdr *uh = (const struct udphdr *)skb->data;
	unsigned int len = ntohs(uh->len);

	/* One that was merged is longer than it says. */
	if (!skb_is_gso(skb) ||
	    !(skb_shinfo(skb)->gso_type & XTUN_GSO_UDP_TUNNEL)) {
		if (len < sizeof(*uh) || len > skb->len)
			return XTUN_RX_TRUNCATED;
		if (xtun_udp_whole(skb) || pskb_trim_rcsum(skb, len))
			return XTUN_RX_NO_MEMORY;
		uh = (const struct udphdr *)skb->data;
	}
	skb_reset_transport_header(skb);
	if (!uh->check && conf->p.family == AF_INET6 &&
	    !(conf->p.flags & XTUN_CONF_FLAGS_NOUDPCSUM))
		return XTUN_RX_NO_CHECKSUM;
	return xtun_outer_udp_csum_ok(skb, conf->p.family) ? XTUN_OK :
							     XTUN_RX_CHECKSUM;
}

static bool xtun_udp_sent(const struct xtun_conf *conf, const u8 *hdr,
			  const struct xtun_tag *tag)
{
	const struct udphdr *uh = (const struct udphdr *)hdr;

	if (uh->dest != htons(conf->dport))
		return false;
	if (tag)
		return uh->source == xtun_udp_sport(conf, tag);
	return (u16)(ntohs(uh->source) - conf->sport) < conf->sports;
}

/* Only the port of the peers is the tunnels' own; theirs here may be anybody's. */
static bool xtun_udp_others(const struct xtun_match *match, const u8 *hdr)
{
	const struct udphdr *uh = (const struct udphdr *)hdr;
	const struct sock *sk;

	sk = xtun_udp_lookup((struct net *)match->net, match->family,
			     &match->remote, uh->dest, &match->local,
			     uh->source);
	return sk && !READ_ONCE(udp_sk(sk)->encap_rcv);
}

const struct xtun_transport xtun_udp_transport = {
	.len = sizeof(struct udphdr),
	.input = XTUN_INPUT_HOOK,
	.get = xtun_udp_get,
	.put = xtun_udp_put,
	.prepare = xtun_udp_prepare,
	.flow = xtun_udp_flow,
	.push = xtun_udp_push,
	.check = xtun_udp_check,
	.sent = xtun_udp_sent,
	.others = xtun_udp_others,
};
