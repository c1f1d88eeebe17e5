/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The look-up of a received packet's tunnel, as far as most packets need it.
 */
#ifndef _XTUN_LOOKUP_H
#define _XTUN_LOOKUP_H

#include <linux/rhashtable.h>
#include <net/netns/hash.h>

#include "conf.h"
#include "device.h"
#include "net.h"
#include "wire.h"

/* Bits of a shape. A lower number is more specific. */
#define XTUN_ANY_LOWER		BIT(0)
#define XTUN_ANY_LOCAL		BIT(1)
#define XTUN_ANY_REMOTE		BIT(2)
#define XTUN_SHAPES		8

#define XTUN_MATCH_WORDS	(sizeof(struct xtun_match) / sizeof(u32))

/* What each word of a match is multiplied with, a number before that, and the seed's. */
extern u64 xtun_match_words[XTUN_MATCH_WORDS + 2];

/* By what received packets have. */
extern struct rhashtable xtun_matches;

#define XTUN_WORD_AT(member)	(offsetof(struct xtun_match, member) / sizeof(u32))

static inline u64 xtun_match_word(const struct xtun_match *match, unsigned int at)
{
	return ((const u32 *)match)[at] * xtun_match_words[at];
}

static inline u64 xtun_match_sum6(const struct xtun_match *match)
{
	unsigned int i;
	u64 sum = 0;

	for (i = XTUN_WORD_AT(local); i < XTUN_WORD_AT(key); i++)
		sum += xtun_match_word(match, i);
	return sum;
}

/*
 * Multilinear hashing: the upper half of the sum of the words, each times a secret
 * number of 64 bits. Who does not know the numbers cannot choose tunnels that collide
 * more often than by chance (Lemire and Kaser, "Strongly universal string hashing is
 * fast"), and it takes few instructions. Of addresses counts what their family has,
 * the rest is zero. The seed is added to all alike: a new one does not separate entries
 * with the same hash.
 */
static inline u32 xtun_match_hash(const void *data, u32 len, u32 seed)
{
	const struct xtun_match *match = data;
	u64 sum;

	sum = xtun_match_words[XTUN_MATCH_WORDS] +
	      seed * xtun_match_words[XTUN_MATCH_WORDS + 1] +
	      net_hash_mix(match->net) * xtun_match_words[XTUN_WORD_AT(net)] +
	      xtun_match_word(match, XTUN_WORD_AT(key)) +
	      xtun_match_word(match, XTUN_WORD_AT(lower)) +
	      xtun_match_word(match, XTUN_WORD_AT(wire)) +
	      xtun_match_word(match, XTUN_WORD_AT(port));
	if (match->family == AF_INET)
		sum += xtun_match_word(match, XTUN_WORD_AT(local)) +
		       xtun_match_word(match, XTUN_WORD_AT(remote));
	else
		sum += xtun_match_sum6(match);
	return sum >> 32;
}

/* The structure has no padding, so it can be compared word by word. */
static inline bool xtun_match_equal(const struct xtun_match *a, const struct xtun_match *b)
{
	const unsigned long *x = (const unsigned long *)a;
	const unsigned long *y = (const unsigned long *)b;
	unsigned long differs = 0;
	int i;

	BUILD_BUG_ON(sizeof(*a) % sizeof(*x));
#pragma GCC unroll 16
	for (i = 0; i < sizeof(*a) / sizeof(*x); i++)
		differs |= x[i] ^ y[i];
	return !differs;
}

static inline int xtun_conf_differs(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct xtun_conf *conf = obj;

	return !xtun_match_equal(arg->key, &conf->match);
}

static const struct rhashtable_params xtun_match_params = {
	.key_len = sizeof(struct xtun_match),
	.key_offset = offsetof(struct xtun_conf, match),
	.head_offset = offsetof(struct xtun_conf, node),
	.hashfn = xtun_match_hash,
	.obj_cmpfn = xtun_conf_differs,
	.automatic_shrinking = true,
};

static inline struct xtun_conf *xtun_lookup_one(const struct xtun_match *match)
{
	struct xtun_conf *conf;

	conf = rhashtable_lookup(&xtun_matches, match, xtun_match_params);
	/* A device that is down leaves packets to others, as ipip does. */
	return conf && conf->tun->dev->flags & IFF_UP ? conf : NULL;
}

struct xtun_conf *xtun_lookup_shapes(const struct xtun_match *match,
				     unsigned long shapes,
				     const struct sk_buff *skb);

/**
 * xtun_lookup_hot() - find the tunnel of a received packet
 * @match: net, addresses, wire and family filled in; the rest is scratch
 * @h: its encapsulation header
 * @skb: the packet, for the device that it came from
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
static __always_inline struct xtun_conf *
xtun_lookup_hot(struct xtun_match *match, const struct xtun_hdr *h,
		const struct sk_buff *skb)
{
	const struct xtun_net *xn = xtun_net_rcu(match->net);
	struct xtun_conf *conf;
	int i;

	match->payload = h->payload;
	for (i = 0; i < h->n_ids; i++) {
		u8 shapes = READ_ONCE(xn->shapes[h->ids[i].keying]);

		if (!shapes)
			continue;
		match->keying = h->ids[i].keying;
		match->key = h->ids[i].key;
		/* Most tunnels name both ends, and no device. */
		if (likely(shapes == BIT(XTUN_ANY_LOWER))) {
			match->lower = 0;
			conf = xtun_lookup_one(match);
		} else {
			conf = xtun_lookup_shapes(match, shapes, skb);
		}
		if (conf)
			return conf;
	}
	return NULL;
}

#endif /* _XTUN_LOOKUP_H */
