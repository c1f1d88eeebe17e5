/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tunnel itself, as a device and as the private part of that, and what it keeps of
 * its peers.
 */
#ifndef _XTUN_DEVICE_H
#define _XTUN_DEVICE_H

#include <linux/netdevice.h>
#include <linux/seqlock.h>
#include <linux/siphash.h>
#include <linux/u64_stats_sync.h>
#include <linux/workqueue.h>

#include "conf.h"
#include "drop.h"
#include "packet.h"

#define XTUN_VERSION		"0.1"

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
 * @syncp: for @counters on 32 bits
 * @counters: by enum xtun_drop_reason and enum xtun_counter
 * @cached: jiffy in which it last put a packet into the cache
 * @refused: the last packets that a filter refused here and whose senders were told
 * @n_refused: how many there have been, in @refused modulo its length
 * @alive: the last packets that it took and sent
 */
struct xtun_pcpu {
	struct u64_stats_sync syncp;
	u64_stats_t counters[XTUN_COUNTERS];
	unsigned int cached;
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
 * @soft: answer packets to this peer with an error of this class, enum xtun_icmp_class
 * @soft_until: no longer than to then, in jiffies
 * @alive: the first packets since the last error, as far as %XTUN_TRACK_PEERS
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
 * @exchange: of requests and replies
 * @keepalive: sends packets that carry nothing
 * @list: in struct xtun_net
 * @bound: in struct xtun_net, of those that have a dev, under RTNL
 * @id: unlike that of any other tunnel, ever
 * @secret: of xtun_flow_tag()
 * @neigh: family of the link-layer addresses of its neighbours, 0 for a device
 *	that has no such
 * @track: enum xtun_track, what the way out has to look at
 * @armed_until: when %XTUN_TRACK_ARMED ends, in jiffies
 * @tracked_until: when %XTUN_TRACK_PEERS ends at the latest, in jiffies
 * @peers: what is known of remote ends, the newest first, written under
 *	@peers_lock, read under RCU
 * @peers_lock: taken with BH disabled
 * @n_peers: length of @peers
 * @last_peer: serial of the newest peer, ever
 * @rejects: errors that were not believed in the second since @rejects_time
 * @rejects_time: in jiffies
 * @link_mtu: MTU of the underlay in bytes when it was last known, under RTNL
 * @wait: enum xtun_wait, why it has no carrier, 0 when it has, under RTNL
 * @setting_mtu: it is the module that changes the MTU, under RTNL
 * @loop_logged: a route loop was logged
 * @same_logged: that dev is not followed was logged, under RTNL
 * @extack: of the request that makes it, until it is registered, under RTNL
 * @counted: when each counter was counted last, in jiffies
 * @oseq: sequence number of the next packet to send; with the next one, alone in a
 *	cache line, since all CPUs write them for each packet, if the tunnel has them
 * @iseq: sequence number after the last received one, with XTUN_ISEQ_SEEN
 */
struct xtun_dev {
	struct net_device *dev;
	struct net *net;
	struct xtun_conf __rcu *conf;
	struct xtun_pcpu __percpu *pcpu;
	struct xtun_exchange exchange;
	struct delayed_work keepalive;
	struct list_head list;
	struct hlist_node bound;
	u32 id;
	hsiphash_key_t secret;
	u8 neigh;
	u8 track;
	unsigned long armed_until;
	unsigned long tracked_until;
	struct list_head peers;
	spinlock_t peers_lock;	/* for peers and track */
	unsigned int n_peers;
	u64 last_peer;
	unsigned int rejects;
	unsigned long rejects_time;
	unsigned int link_mtu;
	u8 wait;
	bool setting_mtu;
	bool loop_logged;
	bool same_logged;
	struct netlink_ext_ack *extack;
	unsigned long counted[XTUN_COUNTERS];
	atomic_t oseq ____cacheline_aligned_in_smp;
	atomic64_t iseq;
};

#define XTUN_ISEQ_SEEN		BIT_ULL(32)

enum xtun_track {
	/* A short quote has come: remember every packet for a while. */
	XTUN_TRACK_ARMED = BIT(0),
	/* Remember every packet. */
	XTUN_TRACK_ALL = BIT(1),
	/* Something is wrong with some peer: it may be over, or is to be told. */
	XTUN_TRACK_PEERS = BIT(2),
	/* Some peer's path is narrower than its route. */
	XTUN_TRACK_PATH = BIT(3),
};

/* For those all packets go into the cache. */
#define XTUN_TRACK_SENT	(XTUN_TRACK_ARMED | XTUN_TRACK_ALL)

/* device.c */
void xtun_setup(struct net_device *dev);
bool netif_is_xtun(const struct net_device *dev);
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

/* rtnl_link.c */
extern struct rtnl_link_ops xtun_link_ops;

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
			enum xtun_icmp_class class);
enum xtun_icmp_class xtun_peer_soft(const struct xtun_dev *tun,
				    const union nf_inet_addr *addr);
void xtun_peer_confirm(struct xtun_dev *tun, const union nf_inet_addr *addr);
void xtun_peer_sent(struct xtun_dev *tun, const union nf_inet_addr *addr);
bool xtun_peer_copy(struct xtun_dev *tun, const union nf_inet_addr *addr,
		    struct xtun_peer *peer);
bool xtun_peer_after(struct xtun_dev *tun, u64 serial, struct xtun_peer *peer);
void xtun_peer_forget(struct xtun_dev *tun);

/* mtu.c */
bool xtun_mtu_follow(struct xtun_dev *tun);

/* underlay.c */
void xtun_underlay_bind(struct xtun_dev *tun);
void xtun_underlay_unbind(struct xtun_dev *tun);
bool xtun_underlay_carrier(struct xtun_dev *tun);

/* keepalive.c */
void xtun_keepalive_init(struct xtun_dev *tun);
void xtun_keepalive_start(struct xtun_dev *tun);
void xtun_keepalive_stop(struct xtun_dev *tun);

#endif /* _XTUN_DEVICE_H */
