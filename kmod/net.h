/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is kept of a netns that is an underlay.
 */
#ifndef _XTUN_NET_H
#define _XTUN_NET_H

#include <linux/notifier.h>
#include <linux/workqueue.h>
#include <net/inetpeer.h>
#include <net/netns/generic.h>

#include "conf.h"

struct xtun_cx;
struct xtun_dev;
struct xtun_sent_cache;

#define XTUN_PORT_BUCKETS	16
#define XTUN_LOWER_BUCKETS	64

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
 * @fib_registered: @fib_nb is registered; of @mtu_work
 * @nexthops_registered: @nexthop_nb is registered; of @mtu_work
 * @mtu_work: adapts the devices' MTU
 * @following: work may be queued, under RTNL
 * @sent_cache: of inner packets that were sent, or NULL while no tunnel wants it;
 *	it stays as long as the netns
 * @event_rate: of tunnels whose device it has, underlay or not
 * @hosts: to which errors are sent in it
 * @vrfs: it has VRFs, under RTNL
 * @vrfs_seq: net->dev_base_seq when @vrfs was found out, which is never 0
 */
struct xtun_net {
	struct net *net;
	struct list_head tunnels;
	struct hlist_head bound[XTUN_LOWER_BUCKETS];
	u8 shapes[XTUN_KEYINGS];
	unsigned int shape_users[XTUN_KEYINGS][8];
	unsigned int hooks[2];
	struct hlist_head ports[2][XTUN_PORT_BUCKETS];
	unsigned int n_ports[2];
	bool used;
	struct notifier_block fib_nb;
	struct notifier_block nexthop_nb;
	bool fib_registered;
	bool nexthops_registered;
	struct delayed_work mtu_work;
	bool following;
	struct xtun_sent_cache __rcu *sent_cache;
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
 * xtun_net_rcu() - xtun_net() for who has RCU already
 * @net: a netns
 *
 * Each packet asks for it, and net_generic() would ask for RCU each time.
 *
 * Context: RCU.
 * Return: what is kept of it.
 */
static inline struct xtun_net *xtun_net_rcu(const struct net *net)
{
	const struct net_generic *gen;

	gen = rcu_dereference_check(net->gen, rcu_read_lock_bh_held());
	return gen->ptr[xtun_net_id];
}

/* sent_cache.c */
int xtun_sent_cache_get(struct xtun_net *xn);
void xtun_sent_cache_free(struct xtun_net *xn);
void xtun_sent_cache_add(const struct xtun_cx *cx);
unsigned int xtun_sent_cache_find(const struct xtun_conf *conf,
				  const union nf_inet_addr *peer, u32 ident,
				  unsigned int segs, void *data, unsigned int size);
void xtun_sent_cache_arm(struct xtun_dev *tun);

/* follow.c */
int xtun_follow_init(void);
void xtun_follow_exit(void);
void xtun_follow_net_init(struct xtun_net *xn);
void xtun_follow_net(struct xtun_net *xn);
void xtun_follow_net_exit(struct xtun_net *xn);

#endif /* _XTUN_NET_H */
