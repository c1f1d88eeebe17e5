// SPDX-License-Identifier: GPL-2.0
/*
 * Many routers quote no more than 8 bytes behind the outer IP header, which
 * hold nothing of the inner packet. So the headers of inner packets that went
 * out are remembered for a while, and found again by the identification of the
 * outer packet.
 *
 * A quiet tunnel remembers everything: the first packet of each jiffy on each
 * CPU. A busy one does so for a while after a short quote has come.
 */
#include <linux/jhash.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>

#include "conf.h"
#include "device.h"
#include "net.h"
#include "packet.h"

#define XTUN_SLOTS_BITS		10
#define XTUN_ARMED_TIME		(60 * HZ)

/* Routers give a silent neighbour up in 3 seconds; later, it is another packet
 * that has the same identification.
 */
#define XTUN_SLOT_TIME		(10 * HZ)

/* Ethernet header with tags, IPv4 header with options, 8 bytes and more. */
#define XTUN_SLOT_DATA		108

/**
 * struct xtun_sent_id - by what a packet is known that was sent
 * @peer: whom it was sent to
 * @tunnel: id of the tunnel
 * @ident: identification of the outer packet, of the first of several segments
 * @encap: enum xtun_encap
 * @payload: enum xtun_payload
 * @family: of the underlay
 * @zero: makes the size a multiple of 4 without padding
 *
 * What was sent in another form than today's is nothing to read as one. It is
 * hashed and compared as a whole, so every byte is always set.
 */
struct xtun_sent_id {
	union nf_inet_addr peer;
	u32 tunnel;
	u32 ident;
	u8 encap;
	u8 payload;
	u8 family;
	u8 zero;
};

/**
 * struct xtun_slot - an inner packet that was sent
 * @lock: taken with BH disabled
 * @segs: how many segments became of it
 * @time: when, in jiffies
 * @sent: which
 * @len: bytes of @data
 * @data: beginning of the payload
 */
struct xtun_slot {
	spinlock_t lock;	/* for all that follows */
	u16 segs;
	u16 len;
	unsigned long time;
	struct xtun_sent_id sent;
	u8 data[XTUN_SLOT_DATA];
};

/**
 * struct xtun_sent_cache - what an underlay netns remembers
 * @seed: makes places in it hard to guess
 * @slots: the packets, each in the one place that it can have
 */
struct xtun_sent_cache {
	u32 seed;
	struct xtun_slot slots[1 << XTUN_SLOTS_BITS];
};

static struct xtun_sent_id xtun_sent_cache_key(const struct xtun_conf *conf,
					       const union nf_inet_addr *peer,
					       u32 ident)
{
	return (struct xtun_sent_id){
		.peer = *peer,
		.tunnel = conf->tun->id,
		.ident = ident,
		.encap = conf->p.encap,
		.payload = conf->p.payload,
		.family = conf->p.family,
	};
}

static struct xtun_slot *xtun_sent_cache_slot(struct xtun_sent_cache *cache,
					      const struct xtun_sent_id *sent)
{
	u32 hash = jhash2((const u32 *)sent, sizeof(*sent) / sizeof(u32),
			  cache->seed);

	return &cache->slots[hash >> (32 - XTUN_SLOTS_BITS)];
}

/**
 * xtun_sent_cache_get() - have a cache in an underlay netns
 * @xn: the netns
 *
 * Context: RTNL, may sleep.
 * Return: 0 or -ENOMEM.
 */
int xtun_sent_cache_get(struct xtun_net *xn)
{
	struct xtun_sent_cache *cache;
	int i;

	if (rtnl_dereference(xn->sent_cache))
		return 0;
	cache = kvzalloc(sizeof(*cache), GFP_KERNEL_ACCOUNT);
	if (!cache)
		return -ENOMEM;
	cache->seed = get_random_u32();
	for (i = 0; i < ARRAY_SIZE(cache->slots); i++)
		spin_lock_init(&cache->slots[i].lock);
	rcu_assign_pointer(xn->sent_cache, cache);
	return 0;
}

/**
 * xtun_sent_cache_free() - free the cache of an underlay netns
 * @xn: the netns, without tunnels by now
 *
 * Context: process, may sleep.
 */
void xtun_sent_cache_free(struct xtun_net *xn)
{
	kvfree(rcu_dereference_protected(xn->sent_cache, true));
}

/* Does the tunnel remember this packet, the first on this CPU in a jiffy? */
static bool xtun_sent_cache_wanted(const struct xtun_cx *cx)
{
	struct xtun_dev *tun = cx->tun;

	if (READ_ONCE(tun->track) & XTUN_TRACK_ARMED &&
	    time_after(jiffies, READ_ONCE(tun->armed_until))) {
		spin_lock(&tun->peers_lock);
		WRITE_ONCE(tun->track, tun->track & ~XTUN_TRACK_ARMED);
		spin_unlock(&tun->peers_lock);
	}
	/* Nobody sends errors to who sent something else than IP. */
	return cx->conf->p.icmp_memory != XTUN_ICMP_MEMORY_OFF && cx->ident &&
	       (cx->proto || cx->l3_off);
}

/**
 * xtun_sent_cache_add() - remember a packet that is being sent
 * @cx: the packet, its data at the payload, with tag and identification
 *
 * Who finds a slot taken goes on without: it is a cache of samples.
 *
 * Context: BH disabled.
 */
void xtun_sent_cache_add(const struct xtun_cx *cx)
{
	struct xtun_sent_cache *cache;
	struct xtun_slot *slot;
	struct xtun_sent_id sent;

	__this_cpu_write(cx->tun->pcpu->cached, (unsigned int)jiffies);
	cache = rcu_dereference_bh(xtun_net(cx->tun->net)->sent_cache);
	if (!cache || !xtun_sent_cache_wanted(cx))
		return;

	sent = xtun_sent_cache_key(cx->conf, &cx->daddr, cx->ident);
	slot = xtun_sent_cache_slot(cache, &sent);
	if (!spin_trylock(&slot->lock))
		return;
	slot->sent = sent;
	slot->time = jiffies;
	slot->segs = clamp_t(u16, skb_shinfo(cx->skb)->gso_segs, 1,
			     XTUN_SEGS_MAX);
	slot->len = min_t(unsigned int, cx->skb->len, sizeof(slot->data));
	if (skb_copy_bits(cx->skb, 0, slot->data, slot->len))
		slot->len = 0;
	spin_unlock(&slot->lock);
}

/* Copies what was sent, if it had a segment number @n. */
static unsigned int xtun_sent_cache_read(struct xtun_sent_cache *cache,
					 const struct xtun_sent_id *sent,
					 unsigned int n, void *data,
					 unsigned int size)
{
	struct xtun_slot *slot = xtun_sent_cache_slot(cache, sent);
	unsigned int len = 0;

	spin_lock(&slot->lock);
	if (!memcmp(&slot->sent, sent, sizeof(*sent)) && slot->segs > n &&
	    time_before(jiffies, slot->time + XTUN_SLOT_TIME)) {
		len = min_t(unsigned int, slot->len, size);
		memcpy(data, slot->data, len);
	}
	spin_unlock(&slot->lock);
	return len;
}

/**
 * xtun_sent_cache_find() - look up a packet that was sent
 * @conf: configuration of the tunnel
 * @peer: whom it was sent to
 * @ident: its identification, as in struct xtun_cx
 * @segs: of how many segments at most it may be one; 1 over IPv6, where all
 *	have the same flow label
 * @data: gets the beginning of its payload
 * @size: bytes that fit there
 *
 * Context: BH disabled.
 * Return: bytes found, 0 for nothing.
 */
unsigned int xtun_sent_cache_find(const struct xtun_conf *conf,
				  const union nf_inet_addr *peer, u32 ident,
				  unsigned int segs, void *data, unsigned int size)
{
	struct xtun_sent_cache *cache;
	struct xtun_sent_id sent;
	unsigned int n, len;

	cache = rcu_dereference_bh(xtun_net(conf->tun->net)->sent_cache);
	if (!cache || !ident)
		return 0;
	sent = xtun_sent_cache_key(conf, peer, ident);
	len = xtun_sent_cache_read(cache, &sent, 0, data, size);
	for (n = 1; !len && n < segs; n++) {
		sent.ident = (ident & ~0xffff) | (u16)(ident - n);
		len = xtun_sent_cache_read(cache, &sent, n, data, size);
	}
	return len;
}

/**
 * xtun_sent_cache_arm() - remember all packets for a while
 * @tun: tunnel that has got a short quote
 *
 * Context: BH disabled.
 */
void xtun_sent_cache_arm(struct xtun_dev *tun)
{
	spin_lock(&tun->peers_lock);
	WRITE_ONCE(tun->armed_until, jiffies + XTUN_ARMED_TIME);
	WRITE_ONCE(tun->track, tun->track | XTUN_TRACK_ARMED);
	spin_unlock(&tun->peers_lock);
}
