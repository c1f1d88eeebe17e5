/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A tunnel's configuration: what the user said, what follows from it, and the tables in
 * which it is found.
 */
#ifndef _XTUN_CONF_H
#define _XTUN_CONF_H

#include <linux/netfilter.h>
#include <linux/rhashtable.h>
#include <linux/netdevice.h>
#include <net/flow.h>
#include <net/ipv6.h>
#include <uapi/linux/xtun.h>

struct xtun_dev;
struct xtun_encap_ops;
struct xtun_hdr;

/* The transport's header and the encapsulation's, without options. */
#define XTUN_ENCAP_HDR_MAX	40
#define XTUN_ENCAPLIMIT_LEN	8

/* Bytes for what only one encapsulation's users can say. */
#define XTUN_OWN_MAX		24

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
 * @lower: ifindex of the underlay device, or 0 for any
 * @wire: id of the struct xtun_wire
 * @family: AF_INET or AF_INET6
 * @payload: enum xtun_payload, 0 where the header does not tell
 * @keying: enum xtun_keying
 * @port: UDP port of this host, or 0 where there are no ports
 * @zero: makes the size a multiple of 8 without padding
 *
 * It is hashed and compared as a whole, so every byte is always set.
 */
struct xtun_match {
	const struct net *net;
	union nf_inet_addr local;
	union nf_inet_addr remote;
	u32 key;
	u32 lower;
	u8 wire;
	u8 family;
	u8 payload;
	u8 keying;
	__be16 port;
	u16 zero;
};

/*
 * What else tunnels are found by: their ends, without key, for packets that arrive
 * and for those that were sent, and with the key that they send; and the key that
 * they receive, whatever the ends, where strays are answered.
 */
enum xtun_by {
	XTUN_BY_ENDS,
	XTUN_BY_CUT,
	XTUN_BY_SENT,
	XTUN_BY_KEY,
	XTUN_BYS
};

/**
 * struct xtun_ends - a tunnel in the table of ends
 * @node: in it
 * @match: of that of the tunnel, what enum xtun_by says; never the lower device
 * @conf: the tunnel's configuration
 */
struct xtun_ends {
	struct rhlist_head node;
	struct xtun_match match;
	struct xtun_conf *conf;
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
 * struct xtun_lower - what a tunnel's dev is at one moment
 * @index: its ifindex, or 0 while it is not there
 * @name: its name
 * @found: it was away, and has been found by its name
 */
struct xtun_lower {
	u32 index;
	char name[IFNAMSIZ];
	bool found;
};

/**
 * struct xtun_params - a configuration as its user said it
 * @encap: enum xtun_encap, or 0 for a device that is not configured
 * @payload: enum xtun_payload
 * @family: of @local and @remote: AF_INET, AF_INET6, or 0 for neither given
 * @local: source of outer packets, or zero for any
 * @remote: the peer, or zero for any
 * @lower: the underlay device, without a name for any
 * @fwmark: mark of outer packets, or 0
 * @fwmark_from: enum xtun_mark_from, whether that is it or the inner packet's
 * @mark_in: mark of packets that come out, or 0
 * @mark_in_from: enum xtun_mark_from, whether that is it or the outer packet's
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
 * @icmp_relay: enum xtun_icmp_relay
 * @icmp_memory: enum xtun_icmp_memory
 * @mss: clamp of TCP's MSS, XTUN_MSS_AUTO, or 0 for none
 * @sport_min: first source port in host order, 0 for the default
 * @sport_max: last one
 * @dport: destination port in host order, 0 for the default
 * @lport: port where packets arrive in host order, 0 for that of the encapsulation
 * @flags: enum xtun_conf_flags
 * @mtu: pinned MTU in bytes, or 0 to follow the underlay
 * @n_allow: how many prefixes @allow has, 0 for any source
 * @allow: inner sources that may come out
 * @own: what struct xtun_words of the encapsulation has put there
 */
struct xtun_params {
	u8 encap;
	u8 payload;
	u8 family;
	union nf_inet_addr local;
	union nf_inet_addr remote;
	struct xtun_lower lower;
	u32 fwmark;
	u8 fwmark_from;
	u32 mark_in;
	u8 mark_in_from;
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
	u8 icmp_relay;
	u8 icmp_memory;
	u16 mss;
	u16 sport_min;
	u16 sport_max;
	u16 dport;
	u16 lport;
	u32 flags;
	u32 mtu;
	u8 n_allow;
	struct xtun_prefix *allow;
	u8 own[XTUN_OWN_MAX] __aligned(8);
};

/**
 * struct xtun_conf - what a tunnel is at one moment; never changed once seen
 * @node: in the table of matches, while the tunnel is configured
 * @match: what is looked up there
 * @tun: the tunnel
 * @ops: its encapsulation, or NULL while it is not configured
 * @via: ifindex of the device that packets have to leave and arrive through:
 *	that of @p, or the VRF that this is a port of; 0 for any; while it is not
 *	there, a number that no device has
 * @outer_len: bytes of outer IP header and its options
 * @encap_len: bytes between the outer IP header and the payload, the transport's
 *	header included
 * @overhead: bytes that an inner packet grows by; for Ethernet payload
 *	including the inner Ethernet header
 * @gso_type: SKB_GSO_* of this encapsulation over this underlay, or 0 for one
 *	whose headers differ in every segment: packets are cut before they get
 *	them
 * @ipproto: protocol number in the outer header, 0 for that of the payload
 * @one_path: the addresses of all outer packets are the same, or the source
 *	follows from the route: one route is cached
 * @keepalive: seconds between packets that carry nothing, 0 for none
 * @dport: destination port in host order, 0 without ports
 * @sport: first source port in host order
 * @sports: how many source ports there are
 * @uli: ports, key or type of its packets, as policies and rules ask for them; 0
 *	where they differ between packets
 * @flows: they do, or the protocol number does
 * @sent_port: by which its packets are known, in network order: the one that they
 *	go to, or of a wire with pair, where they come from; 0 without ports
 * @encap_hdr: the transport's and the encapsulation's header, but for what changes
 *	with a packet
 * @dst_cache: outer route, which comes and goes
 * @p: what the user said
 * @ends: in the table of ends, as long as in that of matches
 * @rcu: for the grace period before it is freed
 */
struct xtun_conf {
	struct rhash_head node;
	struct xtun_match match;
	struct xtun_dev *tun;
	const struct xtun_encap_ops *ops;
	u32 via;
	u8 outer_len;
	u8 encap_len;
	u16 overhead;
	int gso_type;
	u8 ipproto;
	bool one_path;
	u16 keepalive;
	u16 dport;
	u16 sport;
	u32 sports;
	union flowi_uli uli;
	bool flows;
	__be16 sent_port;
	u8 encap_hdr[XTUN_ENCAP_HDR_MAX] __aligned(4);
	struct dst_cache *dst_cache;
	struct xtun_params p;
	struct xtun_ends ends[XTUN_BYS];
	struct rcu_head rcu;
};

/**
 * xtun_addr_is_any() - does an address stand for any of its family?
 * @addr: the address, all of it set
 *
 * Context: any.
 * Return: whether it does.
 */
static inline bool xtun_addr_is_any(const union nf_inet_addr *addr)
{
	return ipv6_addr_any(&addr->in6);
}

/**
 * xtun_has_remote() - has a tunnel one remote end?
 * @conf: a configured configuration
 *
 * Context: any.
 * Return: whether it has; else the peer comes with the packet.
 */
static inline bool xtun_has_remote(const struct xtun_conf *conf)
{
	return !xtun_addr_is_any(&conf->p.remote);
}

/**
 * xtun_own() - what was said with words of an encapsulation's own
 * @conf: a configuration of it
 *
 * Context: any.
 * Return: the private block that its struct xtun_words has filled in.
 */
static inline const void *xtun_own(const struct xtun_conf *conf)
{
	return conf->p.own;
}

/* prefix.c */
void xtun_prefix_fill(struct xtun_prefix *prefix, u8 family,
		      const union nf_inet_addr *addr, u8 len);
bool xtun_prefix_has(const struct xtun_prefix *prefix, u8 family,
		     const union nf_inet_addr *addr);

/* conf_parse.c */
int xtun_conf_parse(const struct xtun_dev *tun, struct nlattr **tb,
		    struct xtun_params *p, struct netlink_ext_ack *extack);

/* conf_check.c */
int xtun_conf_check(struct xtun_params *p, struct nlattr **tb,
		    struct netlink_ext_ack *extack);

/* conf_fill.c */
size_t xtun_conf_size(const struct xtun_conf *conf);
int xtun_conf_fill(struct sk_buff *skb, const struct xtun_conf *conf, u8 sight);
int xtun_put_addr(struct sk_buff *skb, int attr,
		  const union nf_inet_addr *addr, u8 family);

/* conf.c */
u32 xtun_underlay_via(struct net *net, const struct xtun_params *p);
struct xtun_conf *xtun_conf_new(struct xtun_dev *tun,
				const struct xtun_conf *old,
				const struct nlattr *attrs,
				struct netlink_ext_ack *extack);
struct xtun_conf *xtun_conf_with_mtu(const struct xtun_conf *old, u32 mtu);
struct xtun_conf *xtun_conf_with_lower(const struct xtun_conf *old,
				       const struct xtun_lower *lower);
void xtun_conf_free(struct xtun_conf *conf);
void xtun_conf_free_rcu(struct xtun_conf *conf);

/* lookup.c */
/* Asked about a tunnel; data is the asker's. */
typedef bool (*xtun_match_fn)(const struct xtun_conf *conf, void *data);

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
struct xtun_conf *xtun_lookup_key(const struct xtun_match *match,
				  const struct xtun_hdr *h);
struct xtun_conf *xtun_lookup_sender(const struct xtun_match *match,
				     const struct xtun_hdr *h, xtun_match_fn matches,
				     void *data);
struct xtun_conf *xtun_lookup_sent(struct xtun_match *match,
				   const struct xtun_hdr *h,
				   const struct sk_buff *skb, xtun_match_fn matches,
				   void *data);
struct xtun_conf *xtun_lookup_cut(const struct xtun_match *match,
				  const struct xtun_hdr *h, xtun_match_fn sent,
				  void *data);

#endif /* _XTUN_CONF_H */
