/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The structures that all of xtun shares, and who offers which function.
 */
#ifndef _XTUN_H
#define _XTUN_H

#include <linux/if_ether.h>
#include <linux/jump_label.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/rhashtable.h>
#include <linux/seqlock.h>
#include <linux/siphash.h>
#include <linux/skbuff.h>
#include <linux/u64_stats_sync.h>
#include <linux/workqueue.h>
#include <net/dst_cache.h>
#include <net/flow.h>
#include <net/gro_cells.h>
#include <net/inetpeer.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ipv6.h>
#include <net/netns/generic.h>
#include <net/route.h>
#include <uapi/linux/xtun.h>

#include "drop.h"

#define XTUN_VERSION		"0.1"

/* The carrier's header and the encapsulation's, without options. */
#define XTUN_ENCAP_HDR_MAX	40
#define XTUN_ENCAPLIMIT_LEN	8

#define XTUN_PORT_BUCKETS	16
#define XTUN_LINK_BUCKETS	64

/* A UDP packet in which the inner packets are what it stands for. */
#define XTUN_GSO_UDP_TUNNEL	(SKB_GSO_UDP_TUNNEL | SKB_GSO_UDP_TUNNEL_CSUM)

/* Bytes for what only one encapsulation's users can say. */
#define XTUN_OWN_MAX		24

/* Tags of a frame that are looked behind. */
#define XTUN_VLAN_TAGS_MAX	2

struct xtun_dev;
struct xtun_conf;
struct xtun_cx;

/* What an ICMP error says, whatever its family. */
enum xtun_kind {
	XTUN_KIND_NONE,
	XTUN_KIND_NETWORK,
	XTUN_KIND_HOST,
	XTUN_KIND_PROHIBITED_NET,
	XTUN_KIND_PROHIBITED_HOST,
	XTUN_KIND_PROHIBITED,
	XTUN_KIND_TIME,
	XTUN_KIND_TOO_BIG,
	XTUN_KIND_REDIRECT,
	/* Not for senders. */
	XTUN_KIND_REASSEMBLY,
	XTUN_KIND_SOURCE_QUENCH,
	XTUN_KIND_SOURCE_ROUTE,
	XTUN_KIND_OTHER,
};

/**
 * struct xtun_tag - proof that who quotes an outer packet has seen it
 * @flow: the same for all packets of an inner flow, all bits equally good
 * @id: for the IPv4 identification
 */
struct xtun_tag {
	u32 flow;
	u16 id;
};

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
	u32 link;
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
 * @match: of that of the tunnel, what enum xtun_by says; never the link
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
 * struct xtun_link - what a tunnel's dev is at one moment
 * @index: its ifindex, or 0 while it is not there
 * @name: its name
 * @found: it was away, and has been found by its name
 */
struct xtun_link {
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
 * @link: the underlay device, without a name for any
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
	struct xtun_link link;
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
 * @encap_len: bytes between the outer IP header and the payload, the carrier's
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
 * @encap_hdr: the carrier's and the encapsulation's header, but for what changes
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
 * struct xtun_alive - the last packets that passed between the ends
 * @heard: when one came from the peer whose outer headers were valid, in
 *	jiffies, or 0 for never
 * @sent: when one went to it
 */
struct xtun_alive {
	unsigned long heard;
	unsigned long sent;
};

/* So many packets that filters have refused are known on each CPU. */
#define XTUN_REFUSED		16

/**
 * struct xtun_refused - a packet that a filter has refused
 * @ident: its identification, as in struct xtun_cx, or 0
 * @time: when, in jiffies
 */
struct xtun_refused {
	u32 ident;
	u32 time;
};

/**
 * struct xtun_pcpu - what a tunnel keeps for each CPU
 * @syncp: for @drops on 32 bits
 * @drops: packets not delivered, by reason
 * @noted: jiffy in which it last put a packet into the memory
 * @refused: the last packets that a filter refused here and whose senders were told
 * @n_refused: how many there have been, in @refused modulo its length
 * @alive: the last packets that it took and sent
 */
struct xtun_pcpu {
	struct u64_stats_sync syncp;
	u64_stats_t drops[XTUN_REASONS];
	unsigned int noted;
	struct xtun_refused refused[XTUN_REFUSED];
	unsigned int n_refused;
	struct xtun_alive alive;
};

/**
 * struct xtun_peer - what is known of the path to one remote end
 * @list: in the tunnel's peers
 * @serial: greater than that of the tunnel's older peers
 * @news: when something was noted last, in jiffies
 * @addr: the remote end
 * @mtu: path MTU in bytes that the last error has told which did not name more
 *	than was in force, 0 for none
 * @mtu_from: who told it
 * @mtu_time: when, in jiffies
 * @mtu_holds: it is in force, to @mtu_until
 * @mtu_until: in jiffies
 * @mtu_genid: fnhe_genid() of the underlay when it was told
 * @errors: ICMP errors that were believed
 * @err_from: who sent the last one
 * @err_time: when, in jiffies
 * @err_type: its type
 * @err_code: its code
 * @soft: answer packets to this peer with an error of this kind, enum xtun_kind
 * @soft_until: no longer than to then, in jiffies
 * @alive: the first packets since the last error, as far as %XTUN_WATCH_PEERS
 *	has looked
 * @rcu: for the grace period before it is freed
 */
struct xtun_peer {
	struct list_head list;
	u64 serial;
	unsigned long news;
	union nf_inet_addr addr;
	u32 mtu;
	union nf_inet_addr mtu_from;
	unsigned long mtu_time;
	bool mtu_holds;
	unsigned long mtu_until;
	int mtu_genid;
	u64 errors;
	union nf_inet_addr err_from;
	unsigned long err_time;
	u8 err_type;
	u8 err_code;
	u8 soft;
	unsigned long soft_until;
	struct xtun_alive alive;
	struct rcu_head rcu;
};

/**
 * struct xtun_path - the outer route to a peer, as it is now
 * @link: ifindex of the device that it leads out of
 * @name: name of that device
 * @loop: that device is the tunnel itself; nothing below is known then
 * @locked: its MTU is locked: nothing is learned, outer packets have no DF
 * @gateway_family: AF_INET, AF_INET6, or 0 when the peer is on the link
 * @gateway: next hop
 * @source: source of outer packets
 * @link_mtu: MTU of route or device in bytes
 * @mtu: MTU of the path in bytes
 * @expires: seconds until a path MTU that was learned is forgotten, 0 when none
 *	was
 */
struct xtun_path {
	int link;
	char name[IFNAMSIZ];
	bool loop;
	bool locked;
	u8 gateway_family;
	union nf_inet_addr gateway;
	union nf_inet_addr source;
	u32 link_mtu;
	u32 mtu;
	u32 expires;
};

/**
 * struct xtun_asker - who has sent a request, and which
 * @local: address that it was sent to
 * @remote: address that it came from
 * @key: key that the tunnel had then
 * @id: its identifier
 * @family: of the addresses, 0 while there has been none
 * @zero: makes the size a multiple of 4 without padding
 */
struct xtun_asker {
	union nf_inet_addr local;
	union nf_inet_addr remote;
	u32 key;
	__be16 id;
	u8 family;
	u8 zero;
};

/**
 * struct xtun_role - what users of ICMP echo say of the end
 * @echo: enum xtun_echo, or 0 while nothing was said
 * @keepalive: seconds between packets that carry nothing, 0 for none
 */
struct xtun_role {
	u8 echo;
	u16 keepalive;
};

/**
 * struct xtun_exchange - what a tunnel in ICMP echo keeps
 * @lock: for @asker; taken with BH disabled, only when that changes
 * @asker: who has sent the last request
 * @seq: sequence number of that
 * @id: identifier of this end's own requests
 */
struct xtun_exchange {
	seqlock_t lock;	/* for asker */
	struct xtun_asker asker;
	__be16 seq;
	__be16 id;
};

/**
 * struct xtun_dev - a tunnel: private part of its net_device
 * @dev: the device
 * @net: underlay, the netns in which the tunnel was made
 * @conf: its configuration, under RTNL for writers
 * @pcpu: counters
 * @gro_cells: merge received packets and keep them off the backlog
 * @oseq: sequence number of the next packet to send
 * @exchange: of requests and replies
 * @keepalive: sends packets that carry nothing
 * @iseq: sequence number after the last received one, with XTUN_ISEQ_SEEN
 * @list: in struct xtun_net
 * @bound: in struct xtun_net, of those that have a dev, under RTNL
 * @id: unlike that of any other tunnel, ever
 * @secret: of xtun_flow_tag()
 * @neigh: family of the link-layer addresses of its neighbours, 0 for a device
 *	that has no such
 * @watch: enum xtun_watch, what the way out has to look at
 * @armed_until: when %XTUN_WATCH_ARMED ends, in jiffies
 * @watched_until: when %XTUN_WATCH_PEERS ends at the latest, in jiffies
 * @peers: what is known of remote ends, the newest first, written under
 *	@peers_lock, read under RCU
 * @peers_lock: taken with BH disabled
 * @n_peers: length of @peers
 * @last_peer: serial of the newest peer, ever
 * @doubts: errors that were not believed in the second since @doubts_time
 * @doubts_time: in jiffies
 * @link_mtu: MTU of the underlay in bytes when it was last known, under RTNL
 * @wait: enum xtun_wait, why it has no carrier, 0 when it has, under RTNL
 * @setting_mtu: it is the module that changes the MTU, under RTNL
 * @loop_told: a route loop was logged
 * @same_told: that dev is not followed was logged, under RTNL
 * @extack: of the request that makes it, until it is registered, under RTNL
 * @counted: when each reason was counted last, in jiffies
 */
struct xtun_dev {
	struct net_device *dev;
	struct net *net;
	struct xtun_conf __rcu *conf;
	struct xtun_pcpu __percpu *pcpu;
	struct gro_cells gro_cells;
	atomic_t oseq;
	struct xtun_exchange exchange;
	struct delayed_work keepalive;
	atomic64_t iseq;
	struct list_head list;
	struct hlist_node bound;
	u32 id;
	hsiphash_key_t secret;
	u8 neigh;
	u8 watch;
	unsigned long armed_until;
	unsigned long watched_until;
	struct list_head peers;
	spinlock_t peers_lock;	/* for peers and watch */
	unsigned int n_peers;
	u64 last_peer;
	unsigned int doubts;
	unsigned long doubts_time;
	unsigned int link_mtu;
	u8 wait;
	bool setting_mtu;
	bool loop_told;
	bool same_told;
	struct netlink_ext_ack *extack;
	unsigned long counted[XTUN_REASONS];
};

#define XTUN_ISEQ_SEEN		BIT_ULL(32)

/* What of a tunnel somebody may see; the rest everybody may. */
enum xtun_sight {
	/* Devices and routes of its underlay. */
	XTUN_SEES_UNDERLAY = BIT(0),
	/* What shows packets to be the tunnel's. */
	XTUN_SEES_SECRETS = BIT(1),
};

enum xtun_watch {
	/* A short quote has come: remember every packet for a while. */
	XTUN_WATCH_ARMED = BIT(0),
	/* Remember every packet. */
	XTUN_WATCH_ALL = BIT(1),
	/* Something is wrong with some peer: it may be over, or is to be told. */
	XTUN_WATCH_PEERS = BIT(2),
	/* Some peer's path is narrower than its route. */
	XTUN_WATCH_PATH = BIT(3),
};

/* For those all packets go into the memory. */
#define XTUN_WATCH_MEMORY	(XTUN_WATCH_ARMED | XTUN_WATCH_ALL)

/**
 * struct xtun_event_rate - how many errors listeners of a netns are told
 * @lock: taken with BH disabled
 * @since: when the second began, in jiffies
 * @told: events in it
 * @lost: since the last event, those that were too many
 */
struct xtun_event_rate {
	/* What follows; nothing else is taken under it. */
	spinlock_t lock;
	unsigned long since;
	unsigned int told;
	u32 lost;
};

/**
 * struct xtun_net - what an underlay netns has
 * @net: the netns
 * @tunnels: tunnels whose underlay it is, written under RTNL, read under RCU
 * @bound: those that have a dev, by its ifindex, under RTNL
 * @shapes: combinations of "any" that some tunnel has, a bit each, by keying
 * @shape_users: how many tunnels have each of them, under RTNL
 * @hooks: how many tunnels need the input hook, by family, under RTNL
 * @ports: UDP ports that tunnels use, by family, written under RTNL
 * @n_ports: how many, by family, written under RTNL
 * @used: it has, or had, a tunnel, under RTNL
 * @fib_nb: watches routes
 * @nexthop_nb: watches nexthop objects
 * @fib_watched: @fib_nb is registered; of @mtu_work
 * @nexthops_watched: @nexthop_nb is registered; of @mtu_work
 * @mtu_work: adapts the devices' MTU
 * @watching: work may be queued, under RTNL
 * @memory: of inner packets that were sent, or NULL while no tunnel wants it;
 *	it stays as long as the netns
 * @event_rate: of tunnels whose device it has, underlay or not
 * @hosts: to which errors are sent in it
 * @vrfs: it has VRFs, under RTNL
 * @vrfs_seq: net->dev_base_seq when @vrfs was found out, which is never 0
 */
struct xtun_net {
	struct net *net;
	struct list_head tunnels;
	struct hlist_head bound[XTUN_LINK_BUCKETS];
	u8 shapes[XTUN_KEYINGS];
	unsigned int shape_users[XTUN_KEYINGS][8];
	unsigned int hooks[2];
	struct hlist_head ports[2][XTUN_PORT_BUCKETS];
	unsigned int n_ports[2];
	bool used;
	struct notifier_block fib_nb;
	struct notifier_block nexthop_nb;
	bool fib_watched;
	bool nexthops_watched;
	struct delayed_work mtu_work;
	bool watching;
	struct xtun_memory __rcu *memory;
	struct xtun_event_rate event_rate;
	struct xtun_hosts hosts;
	bool vrfs;
	unsigned int vrfs_seq;
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
 * @len: bytes of the header, the carrier's included. In one that is not all
 *	there it may be how many bytes have to be.
 * @end: where the header says that the payload ends, in bytes from the
 *	carrier's header on, or 0 when it does not say
 * @payload: enum xtun_payload, 0 when the header ends before that is known, or
 *	when only the tunnel tells
 * @proto: inner ethertype
 * @has_csum: there is a checksum, not yet verified
 * @has_seq: there is a sequence number
 * @unsure: too little is there to tell whether it is such a header
 * @empty: it carries nothing, to keep a path open
 * @echo: which end says that it has made it, enum xtun_echo, or 0
 * @seq: the sequence number in host order
 */
struct xtun_hdr {
	struct xtun_id ids[2];
	u8 n_ids;
	u16 len;
	u32 end;
	u8 payload;
	bool has_csum;
	bool has_seq;
	bool unsure;
	bool empty;
	u8 echo;
	__be16 proto;
	u32 seq;
};

/* Where packets, and errors about them, come from, in the order in which they do. */
enum xtun_tap {
	XTUN_TAP_CHAIN,
	XTUN_TAP_HOOK,
};

/**
 * struct xtun_carrier - what moves headers through the underlay
 * @len: bytes of its own header, between outer IP header and encapsulation
 * @tap: where its packets come from
 * @covers: its checksum covers the payload, whose own has to be complete first
 * @get: start to take packets for @conf; under RTNL, may sleep
 * @put: the opposite of @get
 * @prepare: fills in its part of a valid @conf before the encapsulation does;
 *	may be NULL
 * @is: can what begins with @hdr, as long as its header, be a packet of its?
 *	NULL where the protocol number tells.
 * @peer: chooses the addresses of a packet that has those of its configuration;
 *	false when there is no peer to send to. NULL where these, and with
 *	remote any the inner route's gateway, are the peer.
 * @flow: fills in the ports that a packet will have, in network order; the tag is
 *	known. NULL where all packets have the same, or none.
 * @push: completes its header at @hdr for a packet, after the encapsulation's.
 *	The data of the skb is there. May be NULL.
 * @check: verifies what its header says of a received packet, whose data is
 *	there, and @h; may be NULL
 * @learn: a packet has come from the peer, and is valid as far as its headers
 *	go; the data is there. May be NULL.
 * @sent: has @conf sent a packet that begins with the 8 bytes at @hdr, of the
 *	inner flow @tag if that is known? May be NULL.
 */
struct xtun_carrier {
	u8 len;
	enum xtun_tap tap;
	bool covers;
	int (*get)(const struct xtun_conf *conf,
		   struct netlink_ext_ack *extack);
	void (*put)(const struct xtun_conf *conf);
	void (*prepare)(struct xtun_conf *conf);
	bool (*is)(u8 family, u8 ipproto, const u8 *hdr);
	bool (*peer)(struct xtun_cx *cx);
	void (*flow)(const struct xtun_cx *cx, union flowi_uli *uli);
	void (*push)(const struct xtun_cx *cx, u8 *hdr);
	enum xtun_reason (*check)(struct sk_buff *skb,
				  const struct xtun_conf *conf,
				  const struct xtun_hdr *h);
	void (*learn)(const struct sk_buff *skb, const struct xtun_conf *conf);
	bool (*sent)(const struct xtun_conf *conf, const u8 *hdr,
		     const struct xtun_tag *tag);
};

/* What strays are answered with is short. */
#define XTUN_ANSWER_MAX		40

/**
 * struct xtun_stray - a packet on a port of tunnels that no tunnel has taken
 * @skb: the packet, its checksum verified; its data at the carrier's header, its
 *	network header the outer one
 * @match: net, addresses as a tunnel would have them, wire, family and port
 * @h: its encapsulation header
 * @reason: what was wrong with that, or XTUN_OK
 * @port: UDP port to answer to, at first the one that it comes from
 * @limited: answer only as often as ICMP errors are sent
 * @answer_len: bytes of @answer; 0 for none
 * @answer: what is sent back behind the carrier's header, from the address that
 *	the packet was sent to
 */
struct xtun_stray {
	struct sk_buff *skb;
	struct xtun_match match;
	struct xtun_hdr h;
	enum xtun_reason reason;
	__be16 port;
	bool limited;
	u8 answer_len;
	u8 answer[XTUN_ANSWER_MAX];
};

/**
 * struct xtun_wire - how headers are told apart on the wire
 * @id: number in struct xtun_match
 * @ipproto: IP protocol number, where a carrier needs one and has one only
 * @ipprotos: those that lead to it, where there are several
 * @hdr_max: bytes that @parse and @rest look at, unless @parse asks for more
 * @pair: the port that packets are sent from is the one where they arrive, and
 *	the peer's may be another
 * @common: others may use the port, too: it is not held
 * @carrier: what brings packets
 * @parse: reads a header of which @len bytes are there, behind the carrier's.
 *	A header that ends too early is XTUN_RX_TRUNCATED, with what could be
 *	read in @h, and how long it is at least, if that is more than was there;
 *	it is asked again, and has to know an end of that.
 * @rest: reads on in a header that @parse could read, of which @len bytes are
 *	there, with what only @conf tells: @h gets payload, ethertype and full
 *	length, the carrier's header left out. @sent: this host has sent it; then
 *	XTUN_NOT_OURS if not by @conf. Like @parse it takes a header that ends
 *	anywhere. NULL where a header tells all by itself; else it does not tell
 *	the payload.
 * @csum_ok: verifies the checksum; data of the skb is at the header
 * @answered: why @parse drops packets that are answered: a tunnel counts them, and
 *	does not take them, so that @stray gets them; or XTUN_OK
 * @stray: reads a packet on a held port that no tunnel has taken, and writes
 *	an answer if it wants one; with BH disabled, under RCU. May be NULL.
 *
 * Encapsulations that differ in meaning but not in form share one.
 */
struct xtun_wire {
	u8 id;
	u8 ipproto;
	u8 ipprotos[4];
	u8 hdr_max;
	bool pair;
	bool common;
	const struct xtun_carrier *carrier;
	enum xtun_reason (*parse)(const u8 *hdr, unsigned int len, u8 ipproto,
				  struct xtun_hdr *h);
	enum xtun_reason (*rest)(const struct xtun_conf *conf, const u8 *hdr,
				 unsigned int len, bool sent,
				 struct xtun_hdr *h);
	bool (*csum_ok)(struct sk_buff *skb);
	enum xtun_reason answered;
	void (*stray)(struct xtun_stray *s);
};

/* An outer packet has an identification; for segments it goes up by one. */
#define XTUN_IDENT_VALID	BIT(31)
/* It is not the tag: without DF it has to be unique. */
#define XTUN_IDENT_UNIQUE	BIT(30)

/* It was not routed into the tunnel; never in what an error quotes. */
#define XTUN_IDENT_STRAY	BIT(29)

/* Segments of one GSO packet at most. */
#define XTUN_SEGS_MAX		128

/**
 * struct xtun_cx - a packet on its way out
 * @skb: the packet
 * @tun: its tunnel
 * @conf: configuration in force for it
 * @by_packet: what only this packet has chooses its route: it is not the cached one
 * @mark: of the outer packet
 * @dst: outer route, with a reference
 * @mtu: of that route's path, in bytes of outer packet
 * @saddr: outer source
 * @daddr: outer destination
 * @proto: inner ethertype of IP packets, whatever the payload; else 0. What is
 *	none with payload ip is told by the protocol of @skb.
 * @l3_off: bytes from the data to the inner IP header
 * @tos: inner TOS or traffic class
 * @ttl: inner TTL or hop limit
 * @df: inner IPv4 packet has DF set
 * @nested: the inner packet may be the outer packet of a tunnel
 * @routed: a route, or a bridge, has led it into the tunnel; else it is a copy, or
 *	somebody has put it there, and its sender must not be told of this tunnel
 * @ipproto: protocol number in the outer header
 * @encaplimit: to be sent, or XTUN_ENCAPLIMIT_NONE
 * @overhead: bytes that this packet grows by
 * @outer_frag: the outer packet may be fragmented
 * @tag: of the inner flow
 * @ident: by which an error about the packet finds it: the IPv4 identification
 *	or the flow label in host order, with %XTUN_IDENT_VALID and, where due,
 *	%XTUN_IDENT_UNIQUE and %XTUN_IDENT_STRAY; or 0
 * @kind: with a route that is none, what the sender is told
 * @df_out: DF of the outer IPv4 header
 * @flowlabel: of the outer IPv6 header
 * @echo_id: identifier of the request that it replies to, in network order
 * @echo_seq: sequence number of that
 */
struct xtun_cx {
	struct sk_buff *skb;
	struct xtun_dev *tun;
	const struct xtun_conf *conf;
	bool by_packet;
	u32 mark;
	struct dst_entry *dst;
	unsigned int mtu;
	union nf_inet_addr saddr;
	union nf_inet_addr daddr;
	__be16 proto;
	u16 l3_off;
	u8 tos;
	u8 ttl;
	bool df;
	bool nested;
	bool routed;
	u8 ipproto;
	u16 encaplimit;
	u16 overhead;
	bool outer_frag;
	struct xtun_tag tag;
	u32 ident;
	u8 kind;
	__be16 df_out;
	__be32 flowlabel;
	__be16 echo_id;
	__be16 echo_seq;
};

/**
 * struct xtun_quote - an outer packet as an ICMP error quotes it
 * @at: bytes from the quoted outer header to the encapsulation's
 * @len: bytes of the whole outer packet, by its header
 * @ident: as in struct xtun_cx
 * @ipproto: protocol number of the encapsulation
 * @df: DF is set; IPv6 packets have it always
 * @more: it is the first of several fragments
 */
struct xtun_quote {
	unsigned int at;
	unsigned int len;
	u32 ident;
	u8 ipproto;
	bool df;
	bool more;
};

/**
 * struct xtun_icmp - the header of an ICMP error, whatever its family
 * @type: ICMP or ICMPv6 type
 * @code: its code
 * @words: length of the quote as RFC 4884 has it, in bytes, or 0
 * @info: path MTU in bytes, if the error is about one
 */
struct xtun_icmp {
	u8 type;
	u8 code;
	u16 words;
	u32 info;
};

/* What others may make of an ICMP error that we have seen. */
enum xtun_verdict {
	XTUN_ERR_OTHERS,
	XTUN_ERR_OURS,
	/* It is about a packet of ours, and must not be believed. */
	XTUN_ERR_FALSE,
};

/* What the header of an encapsulation says of what it carries. */
enum xtun_names {
	/* That it is IPv4, or IPv6. */
	XTUN_NAMES_IP,
	/* An IP protocol, or another code of its own for the same and MPLS. */
	XTUN_NAMES_MPLS,
	/* An ethertype. */
	XTUN_NAMES_ETHERTYPES,
};

/**
 * struct xtun_word - a word that some encapsulations have and others do not
 * @attr: its attribute, of at most 8 bytes
 * @word: as in the grammar
 */
struct xtun_word {
	u16 attr;
	const char *word;
};

/* So many at most. */
#define XTUN_WORDS_MAX		4

/**
 * struct xtun_words - what the users of some encapsulations can say beyond others
 * @words: the words, those of no other struct xtun_words
 * @defaults: fills in a private block as if nothing had been said
 * @take: reads what is there of its words in @tb into the private block of @p,
 *	whose common words are right, and checks it; under RTNL. Returns 0, or a
 *	negative error with its reason in @extack.
 * @put: writes its words as attributes, for who sees so much (enum xtun_sight).
 *	Returns 0 or -EMSGSIZE.
 *
 * The private block is @own of struct xtun_params, xtun_own() gives it. It goes
 * from one configuration to the next as long as these have the same words.
 */
struct xtun_words {
	struct xtun_word words[XTUN_WORDS_MAX];
	void (*defaults)(void *own);
	int (*take)(struct nlattr **tb, struct xtun_params *p,
		    struct netlink_ext_ack *extack);
	int (*put)(struct sk_buff *skb, const struct xtun_params *p, u8 sight);
};

/**
 * struct xtun_encap_ops - an encapsulation
 * @id: enum xtun_encap
 * @name: as in the grammar
 * @wire: form of its headers
 * @payloads: BIT(enum xtun_payload) for each it carries
 * @payload: the one that a tunnel has which is not told
 * @names: what it can say that payload ip is
 * @keying: how its key is matched
 * @key_min: least key
 * @key_max: greatest key, 0 when it has none
 * @key_needed: it is nothing without a key
 * @lport: its packets may arrive at another port than they go to
 * @flags: enum xtun_conf_flags that mean something
 * @words: what its users, and no others, can say, or NULL
 * @dport: default destination port for each payload, 0 for none
 * @prepare: writes the header at @hdr but for what changes with a packet, and
 *	the gso_type of a valid @conf, unless what the carrier has put there is
 *	right. Returns how many bytes it has.
 * @flow: fills in the key that a packet will have, in network order; the tag is
 *	known. NULL where all packets have the same, or none.
 * @push: completes the header at @hdr, that @prepare began, for a packet. May
 *	be NULL.
 * @one_end: do all packets of a tunnel with @conf, which has remote any, come
 *	from one end? NULL where they do not.
 */
struct xtun_encap_ops {
	u8 id;
	const char *name;
	const struct xtun_wire *wire;
	u8 payloads;
	u8 payload;
	u8 names;
	u8 keying;
	u32 key_min;
	u32 key_max;
	bool key_needed;
	bool lport;
	u32 flags;
	const struct xtun_words *words;
	u16 dport[XTUN_PAYLOAD_MAX + 1];
	unsigned int (*prepare)(struct xtun_conf *conf, u8 *hdr);
	void (*flow)(const struct xtun_cx *cx, union flowi_uli *uli);
	void (*push)(const struct xtun_cx *cx, u8 *hdr);
	bool (*one_end)(const struct xtun_conf *conf);
};

extern const struct xtun_encap_ops xtun_ip_ops;
extern const struct xtun_encap_ops xtun_gre_ops;
extern const struct xtun_encap_ops xtun_nvgre_ops;
extern const struct xtun_encap_ops xtun_vxlan_ops;
extern const struct xtun_encap_ops xtun_geneve_ops;
extern const struct xtun_encap_ops xtun_fou_ops;
extern const struct xtun_encap_ops xtun_gue_ops;
extern const struct xtun_encap_ops xtun_gtp_ops;
extern const struct xtun_encap_ops xtun_l2tp_ops;
extern const struct xtun_encap_ops xtun_l2tp_ip_ops;
extern const struct xtun_encap_ops xtun_icmp_ops;
extern const struct xtun_carrier xtun_ipproto_carrier;
extern const struct xtun_carrier xtun_hook_carrier;
extern const struct xtun_carrier xtun_udp_carrier;
extern const struct xtun_carrier xtun_echo_carrier;

/* encap/, for other encapsulations */
#define XTUN_GRE_BARE_LEN	4

__be16 xtun_ip_of_version(u8 first);
void xtun_ip_found(struct xtun_hdr *h, __be16 proto);
bool xtun_ip_parse_version(const u8 *data, unsigned int len,
			   struct xtun_hdr *h);
enum xtun_reason xtun_gre_parse_bare(const u8 *hdr, unsigned int len,
				     struct xtun_hdr *h);
unsigned int xtun_gre_prepare_bare(u8 *hdr);

/* encap.c */
int xtun_encap_register(const struct xtun_encap_ops *ops);
const struct xtun_encap_ops *xtun_encap_find(unsigned int id);
const char *xtun_encap_word(unsigned int attr);
const struct xtun_wire *xtun_wire_by_ipproto(u8 ipproto);

/**
 * xtun_has_remote() - has a tunnel one remote end?
 * @conf: a configured configuration
 *
 * Context: any.
 * Return: whether it has; else the peer comes with the packet.
 */
static inline bool xtun_has_remote(const struct xtun_conf *conf)
{
	return !ipv6_addr_any(&conf->p.remote.in6);
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

/* config.c */
struct xtun_conf *xtun_conf_new(struct xtun_dev *tun,
				const struct xtun_conf *old,
				const struct nlattr *attrs,
				struct netlink_ext_ack *extack);
void xtun_prefix_fill(struct xtun_prefix *prefix, u8 family,
		      const union nf_inet_addr *addr, u8 len);
bool xtun_prefix_has(const struct xtun_prefix *prefix, u8 family,
		     const union nf_inet_addr *addr);
u32 xtun_underlay_via(struct net *net, const struct xtun_params *p);
struct xtun_conf *xtun_conf_with_mtu(const struct xtun_conf *old, u32 mtu);
struct xtun_conf *xtun_conf_with_link(const struct xtun_conf *old,
				      const struct xtun_link *link);
void xtun_conf_free(struct xtun_conf *conf);
void xtun_conf_free_rcu(struct xtun_conf *conf);
size_t xtun_conf_size(const struct xtun_conf *conf);
int xtun_conf_fill(struct sk_buff *skb, const struct xtun_conf *conf, u8 sight);
int xtun_put_addr(struct sk_buff *skb, int attr,
		  const union nf_inet_addr *addr, u8 family);

/* device.c */
void xtun_setup(struct net_device *dev);
bool xtun_is(const struct net_device *dev);
int xtun_create(struct net *net, struct net_device *dev,
		const struct nlattr *attrs, struct nlattr **tb,
		struct netlink_ext_ack *extack);
int xtun_change(struct xtun_dev *tun, const struct nlattr *attrs,
		struct netlink_ext_ack *extack);

/* apply.c */
int xtun_attach(struct xtun_dev *tun);
void xtun_detach(struct xtun_dev *tun);
int xtun_swap(struct xtun_dev *tun, struct xtun_conf *new,
	      struct netlink_ext_ack *extack);

/* sight.c */
u8 xtun_sight_of_all(const struct xtun_dev *tun);
u8 xtun_sight_of_listeners(const struct xtun_dev *tun);
u8 xtun_sight_of(const struct xtun_dev *tun, const struct sk_buff *request);

/* link.c */
extern struct rtnl_link_ops xtun_link_ops;

/**
 * struct xtun_told - an ICMP error that was believed, for those who watch
 * @peer: end that it is about
 * @from: who sent it
 * @family: of both, the underlay's
 * @type: its type
 * @code: its code
 * @mtu: path MTU in bytes that it tells, or 0
 * @outcome: what became of it, one of XTUN_ERR_...
 * @inner: the sender's packet as far as it is known, its network header set, or
 *	NULL
 * @proto: ethertype of @inner, or 0
 */
struct xtun_told {
	const union nf_inet_addr *peer;
	const union nf_inet_addr *from;
	u8 family;
	u8 type;
	u8 code;
	u32 mtu;
	enum xtun_reason outcome;
	const struct sk_buff *inner;
	__be16 proto;
};

/* notify.c */
void xtun_notify(const struct xtun_dev *tun, u8 cmd);

/* genl.c */
int xtun_genl_init(void);
void xtun_genl_exit(void);

/* path.c */
u32 xtun_path_mtu(const struct xtun_conf *conf,
		  const union nf_inet_addr *peer);
void xtun_notify_path(const struct xtun_conf *conf,
		      const union nf_inet_addr *peer, u32 before);

/* event.c */
void xtun_notify_error(const struct xtun_dev *tun,
		       const struct xtun_told *told);

/* lookup.c */
/* Asked about a tunnel; data is the asker's. */
typedef bool (*xtun_is_fn)(const struct xtun_conf *conf, void *data);

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
				     const struct xtun_hdr *h, xtun_is_fn is,
				     void *data);
struct xtun_conf *xtun_lookup_sent(struct xtun_match *match,
				   const struct xtun_hdr *h,
				   const struct sk_buff *skb, xtun_is_fn is,
				   void *data);
struct xtun_conf *xtun_lookup_cut(const struct xtun_match *match,
				  const struct xtun_hdr *h, xtun_is_fn sent,
				  void *data);

/* wire.c */
const struct xtun_wire *xtun_wire_find(struct sk_buff *skb, unsigned int offset,
				       u8 ipproto, bool sent,
				       struct xtun_match *match);
enum xtun_reason xtun_wire_parse(const struct xtun_wire *wire,
				 struct sk_buff *skb, unsigned int offset,
				 unsigned int len, u8 ipproto,
				 struct xtun_hdr *h);
enum xtun_reason xtun_wire_rest(const struct xtun_conf *conf,
				struct sk_buff *skb, unsigned int offset,
				unsigned int len, bool sent,
				struct xtun_hdr *h);
bool xtun_wire_possible(const struct net *net, const struct sk_buff *skb,
			u8 family, u8 ipproto, unsigned int offset);

/* xmit.c */
enum xtun_reason xtun_classify(struct xtun_cx *cx);
netdev_tx_t xtun_xmit(struct sk_buff *skb, struct net_device *dev);
void xtun_xmit_empty(struct xtun_dev *tun, const struct xtun_conf *conf);

/* rcv.c */
struct xtun_conf *xtun_rcv_find(struct sk_buff *skb, enum xtun_tap tap,
				u8 family, u8 ipproto, unsigned int offset,
				struct xtun_hdr *h, enum xtun_reason *reason);
void xtun_rcv(struct sk_buff *skb, const struct xtun_conf *conf,
	      struct xtun_hdr *h, enum xtun_reason reason);

/* icmp.c */
void xtun_icmp_read(struct xtun_icmp *icmp, u8 family, const void *hdr);
enum xtun_verdict xtun_err(struct sk_buff *skb, enum xtun_tap tap, u8 family,
			   const struct xtun_icmp *icmp);
void xtun_err_unknown_key(const struct sk_buff *skb, struct xtun_match *match,
			  const struct xtun_hdr *h);

/* tell.c */
enum xtun_kind xtun_told_kind(const struct xtun_conf *conf,
			      enum xtun_kind kind);
bool xtun_tell_allowed(struct net_device *dev, u8 family,
		       union nf_inet_addr to);
bool xtun_tell(const struct xtun_cx *cx, enum xtun_kind kind, u32 mtu);
void xtun_tell_kept(const struct xtun_cx *cx, const void *data,
		    unsigned int len, enum xtun_kind kind);
int xtun_drop_told(const struct xtun_cx *cx, enum xtun_reason reason,
		   enum xtun_kind kind);
int xtun_drop_too_big(const struct xtun_cx *cx, u32 mtu);
int xtun_drop_encap_limit(const struct xtun_cx *cx, unsigned int offset);

/* alive.c */
struct xtun_alive xtun_alive(const struct xtun_dev *tun);
void xtun_alive_forget(struct xtun_dev *tun);
bool xtun_alive_after(unsigned long last, unsigned long when);
u32 xtun_alive_since(const struct xtun_alive *alive, unsigned long when);

/**
 * xtun_alive_now() - note that a packet has come or gone
 * @when: in struct xtun_pcpu
 *
 * Of many in a jiffy the first one writes.
 *
 * Context: BH disabled.
 */
static inline void xtun_alive_now(unsigned long __percpu *when)
{
	unsigned long now = jiffies;

	if (unlikely(__this_cpu_read(*when) != now))
		__this_cpu_write(*when, now);
}

/* memory.c */
int xtun_memory_get(struct xtun_net *xn);
void xtun_memory_free(struct xtun_net *xn);
void xtun_memory_note(const struct xtun_cx *cx);
unsigned int xtun_memory_find(const struct xtun_conf *conf,
			      const union nf_inet_addr *peer, u32 ident,
			      unsigned int segs, void *data, unsigned int size);
void xtun_memory_arm(struct xtun_dev *tun);

/* peer.c */
void xtun_peer_error(struct xtun_dev *tun, const union nf_inet_addr *addr,
		     const union nf_inet_addr *from, u8 type, u8 code);
void xtun_peer_mtu(struct xtun_dev *tun, const union nf_inet_addr *addr,
		   const union nf_inet_addr *from, u32 mtu,
		   unsigned long expires);
u32 xtun_peer_path_mtu(struct xtun_dev *tun, const union nf_inet_addr *addr,
		       u32 *expires);
void xtun_peer_rerouted(struct xtun_dev *tun, u8 family,
			const struct xtun_prefix *prefix);
void xtun_peer_soft_set(struct xtun_dev *tun, const union nf_inet_addr *addr,
			enum xtun_kind kind);
enum xtun_kind xtun_peer_soft(const struct xtun_dev *tun,
			      const union nf_inet_addr *addr);
void xtun_peer_good(struct xtun_dev *tun, const union nf_inet_addr *addr);
void xtun_peer_sent(struct xtun_dev *tun, const union nf_inet_addr *addr);
bool xtun_peer_copy(struct xtun_dev *tun, const union nf_inet_addr *addr,
		    struct xtun_peer *peer);
bool xtun_peer_after(struct xtun_dev *tun, u64 serial, struct xtun_peer *peer);
void xtun_peer_forget(struct xtun_dev *tun);

/* route.c */
enum xtun_reason xtun_route_out(struct xtun_cx *cx);
unsigned int xtun_route_link_mtu(const struct xtun_conf *conf);
int xtun_route_path(const struct xtun_conf *conf, u32 mark,
		    const union nf_inet_addr *peer, struct xtun_path *path);
u32 xtun_route_learn(const struct xtun_conf *conf, u32 mark,
		     const union nf_inet_addr *peer,
		     const union nf_inet_addr *from, u32 mtu);
bool xtun_route_locked(const struct xtun_conf *conf, u32 mark,
		       const union nf_inet_addr *peer);
void xtun_route_redirect(const struct xtun_conf *conf,
			 const struct sk_buff *skb);
bool xtun_route_has_local(const struct xtun_conf *conf);
bool xtun_route_is_own(const struct sk_buff *skb, u8 family,
		       const union nf_inet_addr *addr);

/**
 * xtun_dst_taught() - has the kernel learned another path MTU for a route?
 * @dst: the route of an outer packet
 *
 * It believes errors that quote any packet which this host might have sent, and all
 * of its users share what one of them has caused.
 *
 * Context: any, with a reference to @dst.
 * Return: whether it has; never for IPsec's, since what that adds only its own
 * route knows.
 */
static inline bool xtun_dst_taught(const struct dst_entry *dst)
{
	if (dst_xfrm(dst))
		return false;
	if (dst->ops->family == AF_INET)
		return container_of(dst, struct rtable, dst)->rt_pmtu;
	return container_of(dst, struct rt6_info, dst)->rt6i_flags & RTF_CACHE;
}

/**
 * xtun_dst_locked() - is the MTU of a route locked?
 * @dst: the route of an outer packet
 *
 * Context: any, with a reference to @dst.
 * Return: whether it is, so that nothing is learned and DF is not set.
 */
static inline bool xtun_dst_locked(const struct dst_entry *dst)
{
	return dst->ops->family == AF_INET &&
	       dst_metric_locked(dst, RTAX_MTU);
}

/* outer.c */
void xtun_outer_ident(struct xtun_cx *cx);
__be16 xtun_outer_df(const struct xtun_cx *cx);
bool xtun_outer_filtered(const struct xtun_cx *cx);
int xtun_outer_send(struct xtun_cx *cx);
bool xtun_outer_for_one(const struct sk_buff *skb, u8 family);
void xtun_outer_udp_csum(const struct xtun_cx *cx);
bool xtun_outer_udp_csum_ok(struct sk_buff *skb, u8 family);
void xtun_outer_icmp_csum(const struct xtun_cx *cx);
bool xtun_outer_icmp_csum_ok(struct sk_buff *skb, u8 family);
bool xtun_outer_allowed_in(struct sk_buff *skb, u8 family);
void xtun_outer_delivered(const struct sk_buff *skb, u8 family);
bool xtun_outer_quote(struct sk_buff *skb, u8 family,
		      struct xtun_match *match, struct xtun_quote *quote);
void xtun_outer_addrs(const struct sk_buff *skb, struct xtun_match *match);
u8 xtun_outer_tos_in(const struct sk_buff *skb, u8 family);

/**
 * xtun_outer_port() - the port of a VRF that a received packet came through
 * @skb: packet on its way through the IP stack
 * @family: AF_INET or AF_INET6
 *
 * Context: BH disabled.
 * Return: its ifindex, or 0 when the packet came through no VRF.
 */
static inline int xtun_outer_port(const struct sk_buff *skb, u8 family)
{
	return family == AF_INET ? inet_sdif(skb) : inet6_sdif(skb);
}

/* answer.c */
void xtun_answer(struct sock *sk, const struct xtun_stray *s);

/* type.c */
bool xtun_type_carried(const struct xtun_encap_ops *ops, __be16 type);
__be16 xtun_type_of_ipproto(u8 ipproto);
u8 xtun_type_to_ipproto(__be16 type);
u8 xtun_ipproto(const struct xtun_cx *cx);

/**
 * xtun_type_named() - the ethertype that an encapsulation's header names
 * @cx: the packet that is to get the header
 *
 * Context: any.
 * Return: the ethertype.
 */
static inline __be16 xtun_type_named(const struct xtun_cx *cx)
{
	return cx->conf->p.payload == XTUN_PAYLOAD_ETH ? htons(ETH_P_TEB) :
							 cx->skb->protocol;
}

/* neigh.c */
bool xtun_neigh_wanted(const struct xtun_conf *conf);
void xtun_neigh_setup(struct xtun_dev *tun, u8 family);
void xtun_neigh_take(struct xtun_cx *cx);

/* encaplimit.c */
int xtun_encaplimit_out(struct xtun_cx *cx);
u8 xtun_encaplimit_push(struct xtun_cx *cx, u8 nexthdr);

/* loop.c */
bool xtun_came_back(const struct xtun_cx *cx);
bool xtun_too_deep(struct sk_buff *skb, const struct xtun_dev *tun,
		   unsigned int at, __be16 proto);

/* flow.c */
struct xtun_tag xtun_flow_tag(const struct xtun_cx *cx);

/* mss.c */
void xtun_mss_out(const struct xtun_cx *cx, unsigned int limit);
void xtun_mss_in(struct sk_buff *skb, const struct xtun_conf *conf,
		 const union nf_inet_addr *peer, unsigned int l3, __be16 proto);

/* mtu.c */
bool xtun_mtu_follow(struct xtun_dev *tun);

/* underlay.c */
void xtun_underlay_bind(struct xtun_dev *tun);
void xtun_underlay_unbind(struct xtun_dev *tun);
bool xtun_underlay_carrier(struct xtun_dev *tun);

/* follow.c */
int xtun_follow_init(void);
void xtun_follow_exit(void);
void xtun_follow_net_init(struct xtun_net *xn);
void xtun_follow_net(struct xtun_net *xn);
void xtun_follow_net_exit(struct xtun_net *xn);

/* keepalive.c */
void xtun_keepalive_init(struct xtun_dev *tun);
void xtun_keepalive_start(struct xtun_dev *tun);
void xtun_keepalive_stop(struct xtun_dev *tun);

/* carrier/ */
void xtun_echo_init(struct xtun_dev *tun);
int xtun_ipproto_init(void);
void xtun_ipproto_exit(void);
int xtun_hook_get(const struct xtun_conf *conf, struct netlink_ext_ack *extack);
void xtun_hook_put(const struct xtun_conf *conf);
bool xtun_exthdrs_ok(struct sk_buff *skb, unsigned int end);

#endif /* _XTUN_H */
