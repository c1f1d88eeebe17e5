/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The structures that all of xtun shares, and who offers which function.
 */
#ifndef _XTUN_H
#define _XTUN_H

#include <linux/if_ether.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/rhashtable.h>
#include <linux/skbuff.h>
#include <linux/u64_stats_sync.h>
#include <linux/workqueue.h>
#include <net/dst_cache.h>
#include <net/gro_cells.h>
#include <net/netns/generic.h>
#include <uapi/linux/xtun.h>

#include "drop.h"

#define XTUN_VERSION		"0.1"

/* IPv6 header, destination options with the encapsulation limit, GRE with
 * checksum, key and sequence number.
 */
#define XTUN_ENCAP_HDR_MAX	16
#define XTUN_ENCAPLIMIT_LEN	8

/* Tags of a frame that are looked behind. */
#define XTUN_VLAN_TAGS_MAX	2

/* Words of secret that xtun_flow_tag() needs: one for each 32 bits of input. */
#define XTUN_TAG_WORDS		12

struct xtun_dev;
struct xtun_conf;

/* How a packet names the virtual network that it belongs to. */
enum xtun_keying {
	XTUN_KEY_NONE,
	XTUN_KEY_FULL,
	XTUN_KEY_VSID,
	XTUN_KEYINGS
};

/**
 * struct xtun_match - which received packets a tunnel takes
 * @net: underlay
 * @local: outer destination, or zero for any
 * @remote: outer source, or zero for any
 * @key: key in host order; 0 with %XTUN_KEY_NONE
 * @link: ifindex of the underlay device, or 0 for any
 * @wire: id of the struct xtun_wire
 * @family: AF_INET or AF_INET6
 * @payload: enum xtun_payload
 * @keying: enum xtun_keying
 * @zero: makes the size a multiple of 8 without padding
 *
 * It is hashed and compared as a whole, so every byte is always set.
 */
struct xtun_match {
	const struct net *net;
	union nf_inet_addr local;
	union nf_inet_addr remote;
	u32 key;
	u32 link;
	u8 wire;
	u8 family;
	u8 payload;
	u8 keying;
	u32 zero;
};

/**
 * struct xtun_ends - which packets a tunnel's peer may send, whatever the key
 * @net: underlay
 * @local: as in struct xtun_match
 * @remote: as in struct xtun_match
 * @wire: as in struct xtun_match
 * @family: as in struct xtun_match
 * @zero: makes the size a multiple of 8 without padding
 */
struct xtun_ends {
	const struct net *net;
	union nf_inet_addr local;
	union nf_inet_addr remote;
	u8 wire;
	u8 family;
	u8 zero[6];
};

/**
 * struct xtun_prefix - inner source prefix that may come out of a tunnel
 * @addr: address, masked
 * @mask: its mask
 * @family: AF_INET or AF_INET6
 * @len: prefix length in bits
 */
struct xtun_prefix {
	union nf_inet_addr addr;
	union nf_inet_addr mask;
	u8 family;
	u8 len;
};

/**
 * struct xtun_params - a configuration as its user said it
 * @encap: enum xtun_encap, or 0 for a device that is not configured
 * @payload: enum xtun_payload
 * @family: of @local and @remote: AF_INET, AF_INET6, or 0 for neither given
 * @local: source of outer packets, or zero for any
 * @remote: the peer, or zero for any
 * @link: ifindex of the underlay device, or 0
 * @fwmark: mark of outer packets, or 0
 * @ikey: key of received packets in host order, valid with @has_ikey
 * @okey: key of sent packets in host order, valid with @has_okey
 * @has_ikey: there is a key in; a key may be 0
 * @has_okey: there is a key out
 * @ttl: TTL or hop limit of outer packets, 0 to inherit
 * @tos: DSCP of outer packets, or XTUN_TOS_INHERIT
 * @flowlabel: 20 bits in host order, or XTUN_FLOWLABEL_INHERIT or _AUTO
 * @encaplimit: 0 to 255, or XTUN_ENCAPLIMIT_NONE
 * @df: enum xtun_df
 * @frag: enum xtun_frag
 * @flags: enum xtun_conf_flags
 * @mtu: pinned MTU in bytes, or 0 to follow the underlay
 * @n_allow: how many prefixes @allow has, 0 for any source
 * @allow: inner sources that may come out
 */
struct xtun_params {
	u8 encap;
	u8 payload;
	u8 family;
	union nf_inet_addr local;
	union nf_inet_addr remote;
	u32 link;
	u32 fwmark;
	u32 ikey;
	u32 okey;
	bool has_ikey;
	bool has_okey;
	u8 ttl;
	u8 tos;
	u32 flowlabel;
	u16 encaplimit;
	u8 df;
	u8 frag;
	u32 flags;
	u32 mtu;
	u8 n_allow;
	struct xtun_prefix *allow;
};

/**
 * struct xtun_conf - what a tunnel is at one moment; never changed once seen
 * @node: in the table of matches, while the tunnel is configured
 * @match: what is looked up there
 * @by_ends: in the table of ends
 * @ends: what is looked up there
 * @tun: the tunnel
 * @ops: its encapsulation, or NULL while it is not configured
 * @outer_len: bytes of outer IP header and its options
 * @encap_len: bytes between the outer IP header and the payload
 * @overhead: bytes that an inner packet grows by; for Ethernet payload
 *	including the inner Ethernet header
 * @gso_type: SKB_GSO_* of this encapsulation over this underlay
 * @encap_hdr: the encapsulation's header, but for what changes with a packet
 * @dst_cache: outer route
 * @p: what the user said
 * @rcu: for the grace period before it is freed
 */
struct xtun_conf {
	struct rhash_head node;
	struct xtun_match match;
	struct rhlist_head by_ends;
	struct xtun_ends ends;
	struct xtun_dev *tun;
	const struct xtun_encap_ops *ops;
	u8 outer_len;
	u8 encap_len;
	u16 overhead;
	int gso_type;
	u8 encap_hdr[XTUN_ENCAP_HDR_MAX] __aligned(4);
	struct dst_cache dst_cache;
	struct xtun_params p;
	struct rcu_head rcu;
};

/**
 * struct xtun_pcpu - what a tunnel keeps for each CPU
 * @syncp: for @drops on 32 bits
 * @drops: packets not delivered, by reason
 * @sending: this CPU is sending an outer packet
 */
struct xtun_pcpu {
	struct u64_stats_sync syncp;
	u64_stats_t drops[XTUN_REASONS];
	unsigned int sending;
};

/**
 * struct xtun_dev - a tunnel: private part of its net_device
 * @dev: the device
 * @net: underlay, the netns in which the tunnel was made
 * @conf: its configuration, under RTNL for writers
 * @pcpu: counters
 * @gro_cells: merge received packets and keep them off the backlog
 * @oseq: sequence number of the next packet to send
 * @iseq: sequence number after the last received one, with XTUN_ISEQ_SEEN
 * @list: in struct xtun_net, under RTNL
 * @link_mtu: MTU of the underlay in bytes when it was last known, under RTNL
 * @setting_mtu: it is the module that changes the MTU, under RTNL
 * @loop_told: a route loop was logged
 */
struct xtun_dev {
	struct net_device *dev;
	struct net *net;
	struct xtun_conf __rcu *conf;
	struct xtun_pcpu __percpu *pcpu;
	struct gro_cells gro_cells;
	atomic_t oseq;
	atomic64_t iseq;
	struct list_head list;
	unsigned int link_mtu;
	bool setting_mtu;
	bool loop_told;
};

#define XTUN_ISEQ_SEEN		BIT_ULL(32)

/**
 * struct xtun_net - what an underlay netns has
 * @net: the netns
 * @tunnels: tunnels whose underlay it is, under RTNL
 * @shapes: combinations of "any" that some tunnel has, a bit each, by keying
 * @shape_users: how many tunnels have each of them, under RTNL
 * @hooks: how many tunnels need the input hook, by family, under RTNL
 * @fib_nb: watches routes
 * @fib_watched: @fib_nb is registered
 * @nexthop_nb: watches nexthop objects
 * @mtu_work: adapts the devices' MTU
 * @watching: work may be queued, under RTNL
 * @secret: of xtun_flow_tag()
 */
struct xtun_net {
	struct net *net;
	struct list_head tunnels;
	u8 shapes[XTUN_KEYINGS];
	unsigned int shape_users[XTUN_KEYINGS][8];
	unsigned int hooks[2];
	struct notifier_block fib_nb;
	bool fib_watched;
	struct notifier_block nexthop_nb;
	struct delayed_work mtu_work;
	bool watching;
	u64 secret[XTUN_TAG_WORDS];
};

extern unsigned int xtun_net_id;

static inline struct xtun_net *xtun_net(const struct net *net)
{
	return net_generic(net, xtun_net_id);
}

/**
 * struct xtun_id - one way to read the key in a received header
 * @keying: enum xtun_keying
 * @key: in host order
 */
struct xtun_id {
	u8 keying;
	u32 key;
};

/**
 * struct xtun_hdr - a received encapsulation header, parsed
 * @ids: readings of the key, most specific first
 * @n_ids: how many; 0 when the header ends before the key
 * @len: bytes of the header
 * @payload: enum xtun_payload
 * @proto: inner ethertype
 * @has_csum: there is a checksum, not yet verified
 * @has_seq: there is a sequence number
 * @seq: the sequence number in host order
 */
struct xtun_hdr {
	struct xtun_id ids[2];
	u8 n_ids;
	u8 len;
	u8 payload;
	bool has_csum;
	bool has_seq;
	__be16 proto;
	u32 seq;
};

/**
 * struct xtun_carrier - what moves headers through the underlay
 * @get: start to take packets for @conf; under RTNL, may sleep
 * @put: the opposite of @get
 */
struct xtun_carrier {
	int (*get)(const struct xtun_conf *conf,
		   struct netlink_ext_ack *extack);
	void (*put)(const struct xtun_conf *conf);
};

/**
 * struct xtun_wire - how headers are told apart on the wire
 * @id: number in struct xtun_match
 * @ipproto: IP protocol number, where a carrier needs one
 * @hdr_max: bytes that @parse may look at
 * @carrier: what brings packets
 * @parse: reads a header of which @len bytes are there. A header that ends too
 *	early is XTUN_RX_TRUNCATED, with what could be read in @h.
 * @csum_ok: verifies the checksum; data of the skb is at the header
 *
 * Encapsulations that differ in meaning but not in form share one.
 */
struct xtun_wire {
	u8 id;
	u8 ipproto;
	u8 hdr_max;
	const struct xtun_carrier *carrier;
	enum xtun_reason (*parse)(const u8 *hdr, unsigned int len, u8 ipproto,
				  struct xtun_hdr *h);
	bool (*csum_ok)(struct sk_buff *skb);
};

/**
 * struct xtun_cx - a packet on its way out
 * @skb: the packet
 * @tun: its tunnel
 * @conf: configuration in force for it
 * @dst: outer route, with a reference
 * @saddr: outer source
 * @daddr: outer destination
 * @proto: inner ethertype of IP packets, whatever the payload; else 0
 * @l3_off: bytes from the data to the inner IP header
 * @tos: inner TOS or traffic class
 * @ttl: inner TTL or hop limit
 * @df: inner IPv4 packet has DF set
 * @nested: the inner packet may be the outer packet of a tunnel
 * @ipproto: protocol number in the outer header
 * @encaplimit: to be sent, or XTUN_ENCAPLIMIT_NONE
 * @overhead: bytes that this packet grows by
 * @outer_frag: the outer packet may be fragmented
 */
struct xtun_cx {
	struct sk_buff *skb;
	struct xtun_dev *tun;
	const struct xtun_conf *conf;
	struct dst_entry *dst;
	union nf_inet_addr saddr;
	union nf_inet_addr daddr;
	__be16 proto;
	u16 l3_off;
	u8 tos;
	u8 ttl;
	bool df;
	bool nested;
	u8 ipproto;
	u16 encaplimit;
	u16 overhead;
	bool outer_frag;
};

/**
 * struct xtun_encap_ops - an encapsulation
 * @name: as in the grammar
 * @wire: form of its headers
 * @payloads: BIT(enum xtun_payload) for each it carries
 * @keying: how its key is matched
 * @key_min: least key
 * @key_max: greatest key, 0 when it has none
 * @key_needed: it is nothing without a key
 * @flags: enum xtun_conf_flags that mean something
 * @prepare: fills in encap_hdr, encap_len and gso_type of a valid @conf
 * @push: completes the header at @hdr, that @prepare began, for a packet.
 *	The data of the skb is at the header. May be NULL.
 */
struct xtun_encap_ops {
	const char *name;
	const struct xtun_wire *wire;
	u8 payloads;
	u8 keying;
	u32 key_min;
	u32 key_max;
	bool key_needed;
	u32 flags;
	void (*prepare)(struct xtun_conf *conf);
	void (*push)(const struct xtun_cx *cx, u8 *hdr);
};

extern const struct xtun_wire xtun_ip_wire;
extern const struct xtun_wire xtun_gre_wire;
extern const struct xtun_encap_ops xtun_ip_ops;
extern const struct xtun_encap_ops xtun_gre_ops;
extern const struct xtun_encap_ops xtun_nvgre_ops;
extern const struct xtun_carrier xtun_ipproto_carrier;
extern const struct xtun_carrier xtun_hook_carrier;

/* main.c */
const struct xtun_encap_ops *xtun_encap_find(unsigned int id);
const struct xtun_wire *xtun_wire_by_ipproto(u8 ipproto);

/* config.c */
struct xtun_conf *xtun_conf_new(struct xtun_dev *tun,
				const struct xtun_conf *old,
				const struct nlattr *attrs,
				struct netlink_ext_ack *extack);
struct xtun_conf *xtun_conf_with_mtu(const struct xtun_conf *old, u32 mtu);
void xtun_conf_free(struct xtun_conf *conf);
void xtun_conf_free_rcu(struct xtun_conf *conf);
size_t xtun_conf_size(const struct xtun_conf *conf);
int xtun_conf_fill(struct sk_buff *skb, const struct xtun_conf *conf);

/* device.c */
void xtun_setup(struct net_device *dev);
bool xtun_is(const struct net_device *dev);
int xtun_create(struct net *net, struct net_device *dev,
		const struct nlattr *attrs, u32 mtu, bool has_address,
		struct netlink_ext_ack *extack);
int xtun_change(struct xtun_dev *tun, const struct nlattr *attrs,
		struct netlink_ext_ack *extack);

/* link.c */
extern struct rtnl_link_ops xtun_link_ops;

/* genl.c */
void xtun_notify(const struct xtun_dev *tun, u8 cmd);
int xtun_genl_init(void);
void xtun_genl_exit(void);

/* lookup.c */
int xtun_lookup_init(void);
void xtun_lookup_exit(void);
int xtun_lookup_add(struct xtun_conf *conf);
int xtun_lookup_swap(struct xtun_conf *old, struct xtun_conf *new);
void xtun_lookup_del(struct xtun_conf *conf);
struct xtun_conf *xtun_lookup_same(const struct xtun_conf *conf);
struct xtun_conf *xtun_lookup(struct xtun_match *match,
			      const struct xtun_hdr *h,
			      const struct sk_buff *skb);
struct xtun_conf *xtun_lookup_ends(const struct xtun_match *match);
bool xtun_lookup_sends(const struct xtun_conf *conf, const struct xtun_hdr *h);
struct xtun_conf *xtun_lookup_sent(struct xtun_match *match,
				   const struct xtun_hdr *h,
				   const struct sk_buff *skb);

/* xmit.c */
netdev_tx_t xtun_xmit(struct sk_buff *skb, struct net_device *dev);

/* rcv.c */
struct xtun_conf *xtun_rcv_find(struct sk_buff *skb,
				const struct xtun_wire *wire, u8 family,
				u8 ipproto, unsigned int offset,
				struct xtun_hdr *h, enum xtun_reason *reason);
void xtun_rcv(struct sk_buff *skb, const struct xtun_conf *conf,
	      const struct xtun_hdr *h, enum xtun_reason reason);

/* icmp.c */
int xtun_drop_too_big(const struct xtun_cx *cx, u32 mtu);
int xtun_drop_encap_limit(const struct xtun_cx *cx, unsigned int offset);
bool xtun_err(struct sk_buff *skb, const struct xtun_carrier *carrier,
	      u8 family, u8 type, u8 code, u32 info);

/* route.c */
enum xtun_reason xtun_route_out(struct xtun_cx *cx);
unsigned int xtun_route_link_mtu(const struct xtun_conf *conf);
void xtun_route_learn(const struct xtun_conf *conf, struct sk_buff *skb,
		      u32 mtu);
int xtun_route_send(struct xtun_cx *cx);
bool xtun_route_allowed_in(struct sk_buff *skb, u8 family);
bool xtun_route_quote(struct sk_buff *skb, u8 family,
		      struct xtun_match *match, unsigned int *offset,
		      unsigned int *len, u8 *ipproto);
void xtun_route_addrs(const struct sk_buff *skb, struct xtun_match *match);
u8 xtun_route_tos_in(const struct sk_buff *skb, u8 family);
int xtun_route_port(const struct sk_buff *skb, u8 family);

/* encaplimit.c */
int xtun_encaplimit_out(struct xtun_cx *cx);
u8 xtun_encaplimit_push(struct xtun_cx *cx, u8 nexthdr);

/* loop.c */
bool xtun_came_back(const struct xtun_cx *cx);

/* flow.c */
u32 xtun_flow_tag(const struct xtun_cx *cx);

/* mtu.c */
int xtun_mtu_init(void);
void xtun_mtu_exit(void);
int xtun_mtu_net_init(struct xtun_net *xn);
void xtun_mtu_net_exit(struct xtun_net *xn);
bool xtun_mtu_follow(struct xtun_dev *tun);

/* carrier/ */
int xtun_ipproto_init(void);
void xtun_ipproto_exit(void);

#endif /* _XTUN_H */
