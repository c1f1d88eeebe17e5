// SPDX-License-Identifier: GPL-2.0
/*
 * Which tunnel is a packet for?
 *
 * One table holds what each tunnel matches. Addresses and link may be "any" in
 * it; a tunnel's shape says which are. A packet is looked up once for each
 * shape that is in use in its netns, most specific first, so that the cost
 * depends neither on the number of tunnels nor on shapes that nobody uses.
 *
 * A second table knows tunnels by their addresses, for packets whose key cannot
 * be read, and by these and the key that they send, for packets that come back.
 * Those may have been sent to another port than packets arrive at.
 */
#include <linux/random.h>
#include <linux/rhashtable.h>

#include "conf.h"
#include "device.h"
#include "lookup.h"
#include "net.h"
#include "route.h"
#include "wire.h"

/* Of all that is kept of a netns; main.c registers it. */
unsigned int xtun_net_id __read_mostly;

/* Tunnels of the same ends, and with the same key if there is one, that are asked. */
#define XTUN_ENDS_BOUND		64

struct rhashtable xtun_matches;
u64 xtun_match_words[XTUN_MATCH_WORDS + 2] __ro_after_init;

static const union nf_inet_addr xtun_any;

static struct rhltable xtun_ends;

static int xtun_ends_differ(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct xtun_ends *ends = obj;

	return !xtun_match_equal(arg->key, &ends->match);
}

static const struct rhashtable_params xtun_ends_params = {
	.key_len = sizeof(struct xtun_match),
	.key_offset = offsetof(struct xtun_ends, match),
	.head_offset = offsetof(struct xtun_ends, node),
	.hashfn = xtun_match_hash,
	.obj_cmpfn = xtun_ends_differ,
	.automatic_shrinking = true,
};

static unsigned int xtun_shape(const struct xtun_match *match)
{
	unsigned int shape = 0;

	if (!match->lower)
		shape |= XTUN_ANY_LOWER;
	if (!memcmp(&match->local, &xtun_any, sizeof(xtun_any)))
		shape |= XTUN_ANY_LOCAL;
	if (!memcmp(&match->remote, &xtun_any, sizeof(xtun_any)))
		shape |= XTUN_ANY_REMOTE;
	return shape;
}

static void xtun_shape_get(const struct xtun_match *match)
{
	struct xtun_net *xn = xtun_net(match->net);
	unsigned int shape = xtun_shape(match);

	if (!xn->shape_users[match->keying][shape]++)
		WRITE_ONCE(xn->shapes[match->keying],
			   xn->shapes[match->keying] | BIT(shape));
}

static void xtun_shape_put(const struct xtun_match *match)
{
	struct xtun_net *xn = xtun_net(match->net);
	unsigned int shape = xtun_shape(match);

	if (!--xn->shape_users[match->keying][shape])
		WRITE_ONCE(xn->shapes[match->keying],
			   xn->shapes[match->keying] & ~BIT(shape));
}

/* Leaves in @match what is looked up in the table of ends. */
static void xtun_ends_match(struct xtun_match *match, enum xtun_by by)
{
	match->lower = 0;
	switch (by) {
	case XTUN_BY_ENDS:
		match->key = 0;
		match->payload = 0;
		/* As no packet has it. */
		match->keying = XTUN_KEYINGS;
		break;
	case XTUN_BY_CUT:
		match->key = 0;
		match->payload = 0;
		match->keying = XTUN_KEYINGS + 1;
		break;
	case XTUN_BY_KEY:
		match->local = xtun_any;
		match->remote = xtun_any;
		/* Or it would be what a tunnel without ends sends. */
		match->payload = U8_MAX;
		break;
	default:
		break;
	}
}

static u8 xtun_sent_keying(const struct xtun_conf *conf)
{
	return conf->p.has_okey ? conf->ops->keying : XTUN_KEY_NONE;
}

static u32 xtun_sent_key(const struct xtun_conf *conf)
{
	return conf->p.has_okey ? conf->p.okey : 0;
}

static void xtun_ends_fill(struct xtun_conf *conf, enum xtun_by by)
{
	struct xtun_ends *ends = &conf->ends[by];

	ends->conf = conf;
	ends->match = conf->match;
	if (by == XTUN_BY_CUT || by == XTUN_BY_SENT)
		ends->match.port = conf->sent_port;
	if (by == XTUN_BY_SENT) {
		ends->match.keying = xtun_sent_keying(conf);
		ends->match.key = xtun_sent_key(conf);
	}
	xtun_ends_match(&ends->match, by);
}

/* How many entries a tunnel has. */
static int xtun_ends_count(const struct xtun_conf *conf)
{
	return conf->ops->wire->stray ? XTUN_BYS : XTUN_BY_KEY;
}

static void xtun_ends_del_some(struct xtun_conf *conf, int n)
{
	while (n--)
		rhltable_remove(&xtun_ends, &conf->ends[n].node,
				xtun_ends_params);
}

static void xtun_ends_del(struct xtun_conf *conf)
{
	xtun_ends_del_some(conf, xtun_ends_count(conf));
}

static int xtun_ends_add(struct xtun_conf *conf)
{
	int i, err;

	for (i = 0; i < xtun_ends_count(conf); i++) {
		xtun_ends_fill(conf, i);
		err = rhltable_insert(&xtun_ends, &conf->ends[i].node,
				      xtun_ends_params);
		if (err) {
			xtun_ends_del_some(conf, i);
			/* A packet may have found it; the caller will free it. */
			synchronize_net();
			return err;
		}
	}
	return 0;
}

/**
 * xtun_lookup_add() - let a configuration receive packets
 * @conf: the configuration; one that is not configured is not added
 *
 * Context: RTNL, may sleep.
 * Return: 0, -EEXIST when another tunnel takes the same packets, or another
 * negative error.
 */
int xtun_lookup_add(struct xtun_conf *conf)
{
	int err;

	if (!conf->ops)
		return 0;

	err = xtun_ends_add(conf);
	if (err)
		return err;

	xtun_shape_get(&conf->match);
	err = rhashtable_lookup_insert_fast(&xtun_matches, &conf->node,
					    xtun_match_params);
	if (err) {
		xtun_shape_put(&conf->match);
		xtun_ends_del(conf);
		synchronize_net();
	}
	return err;
}

/**
 * xtun_lookup_del() - let a configuration receive no more packets
 * @conf: the configuration
 *
 * Readers may see it until a grace period has passed.
 *
 * Context: RTNL.
 */
void xtun_lookup_del(struct xtun_conf *conf)
{
	if (!conf->ops)
		return;

	rhashtable_remove_fast(&xtun_matches, &conf->node, xtun_match_params);
	xtun_ends_del(conf);
	xtun_shape_put(&conf->match);
}

/* Both match the same, so one takes the place of the other in one step. */
static int xtun_lookup_replace(struct xtun_conf *old, struct xtun_conf *new)
{
	int err;

	err = xtun_ends_add(new);
	if (err)
		return err;

	err = rhashtable_replace_fast(&xtun_matches, &old->node, &new->node,
				      xtun_match_params);
	if (err) {
		xtun_ends_del(new);
		synchronize_net();
		return err;
	}
	xtun_ends_del(old);
	return 0;
}

/**
 * xtun_lookup_swap() - let one configuration take the place of another
 * @old: in the tables, unless it is not configured
 * @new: of the same tunnel
 *
 * At no moment does a packet find neither.
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error with @old still in place.
 */
int xtun_lookup_swap(struct xtun_conf *old, struct xtun_conf *new)
{
	int err;

	if (old->ops && new->ops &&
	    !memcmp(&old->match, &new->match, sizeof(old->match)))
		return xtun_lookup_replace(old, new);

	err = xtun_lookup_add(new);
	if (!err)
		xtun_lookup_del(old);
	return err;
}

/**
 * xtun_lookup_same() - find who takes the packets that a configuration would
 * @conf: the configuration
 *
 * Context: RTNL.
 * Return: another tunnel's configuration, or NULL.
 */
struct xtun_conf *xtun_lookup_same(const struct xtun_conf *conf)
{
	struct xtun_conf *other;

	if (!conf->ops)
		return NULL;

	rcu_read_lock();
	other = rhashtable_lookup(&xtun_matches, &conf->match,
				  xtun_match_params);
	rcu_read_unlock();
	return other && other->tun != conf->tun ? other : NULL;
}

/* A packet from a port of a VRF came by two devices: the VRF and the port. */
static struct xtun_conf *xtun_lookup_lowers(struct xtun_match *match,
					    const struct sk_buff *skb)
{
	int port = xtun_outer_port(skb, match->family);
	struct xtun_conf *conf;

	match->lower = skb->dev->ifindex;
	conf = xtun_lookup_one(match);
	if (!conf && port) {
		match->lower = port;
		conf = xtun_lookup_one(match);
	}
	return conf;
}

/**
 * xtun_lookup_shapes() - find the tunnel of a received packet in some shapes
 * @match: complete but for the device that it came from
 * @shapes: a bit each
 * @skb: the packet, for that device
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup_shapes(const struct xtun_match *match,
				     unsigned long shapes,
				     const struct sk_buff *skb)
{
	struct xtun_match m = *match;
	struct xtun_conf *conf;
	unsigned int shape;

	for_each_set_bit(shape, &shapes, XTUN_SHAPES) {
		m.local = shape & XTUN_ANY_LOCAL ? xtun_any : match->local;
		m.remote = shape & XTUN_ANY_REMOTE ? xtun_any : match->remote;
		if (shape & XTUN_ANY_LOWER) {
			m.lower = 0;
			conf = xtun_lookup_one(&m);
		} else {
			conf = xtun_lookup_lowers(&m, skb);
		}
		if (conf)
			return conf;
	}
	return NULL;
}

/**
 * xtun_lookup() - xtun_lookup_hot() for all ways but the one of most packets
 * @match: as there
 * @h: as there
 * @skb: as there
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup(struct xtun_match *match,
			      const struct xtun_hdr *h,
			      const struct sk_buff *skb)
{
	return xtun_lookup_hot(match, h, skb);
}

/* The last is for tunnels without ends, which are told by their key alone. */
static const u8 xtun_ends_shapes[] = {
	0, XTUN_ANY_LOCAL, XTUN_ANY_REMOTE, XTUN_ANY_LOCAL | XTUN_ANY_REMOTE,
};

static struct rhlist_head *xtun_ends_list(const struct xtun_match *match,
					  unsigned int shape)
{
	struct xtun_match m = *match;

	if (shape & XTUN_ANY_LOCAL)
		m.local = xtun_any;
	if (shape & XTUN_ANY_REMOTE)
		m.remote = xtun_any;
	return rhltable_lookup(&xtun_ends, &m, xtun_ends_params);
}

/*
 * The first tunnel in the table of ends under @match of which @matches is true, in so
 * many of the shapes.
 */
static struct xtun_conf *xtun_ends_find(const struct xtun_match *match,
					unsigned int shapes, xtun_match_fn matches,
					void *data)
{
	struct rhlist_head *list, *pos;
	struct xtun_ends *ends;
	int i, n = 0;

	for (i = 0; i < shapes; i++) {
		list = xtun_ends_list(match, xtun_ends_shapes[i]);
		rhl_for_each_entry_rcu(ends, pos, list, node) {
			if (ends->conf->tun->dev->flags & IFF_UP &&
			    (!matches || matches(ends->conf, data)))
				return ends->conf;
			if (++n == XTUN_ENDS_BOUND)
				return NULL;
		}
	}
	return NULL;
}

/**
 * xtun_lookup_ends() - find a tunnel that a broken packet could be for
 * @match: net, addresses, wire and family filled in
 *
 * Not one without ends: it would take the broken packets of everybody.
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup_ends(const struct xtun_match *match)
{
	struct xtun_match m = *match;

	xtun_ends_match(&m, XTUN_BY_ENDS);
	return xtun_ends_find(&m, ARRAY_SIZE(xtun_ends_shapes) - 1, NULL, NULL);
}

/**
 * xtun_lookup_key() - find a tunnel that has the key of a packet from anywhere
 * @match: net, wire, family and port filled in; of a wire with stray
 * @h: its encapsulation header, its key read
 *
 * Context: RCU.
 * Return: the configuration, of a device that is up if there is one, or NULL.
 */
struct xtun_conf *xtun_lookup_key(const struct xtun_match *match,
				  const struct xtun_hdr *h)
{
	struct xtun_match m = *match;
	struct rhlist_head *list, *pos;
	struct xtun_conf *conf = NULL;
	struct xtun_ends *ends;

	m.keying = h->ids[0].keying;
	m.key = h->ids[0].key;
	xtun_ends_match(&m, XTUN_BY_KEY);
	list = rhltable_lookup(&xtun_ends, &m, xtun_ends_params);
	rhl_for_each_entry_rcu(ends, pos, list, node) {
		conf = ends->conf;
		if (conf->tun->dev->flags & IFF_UP)
			break;
	}
	return conf;
}

/**
 * xtun_lookup_sends() - does a tunnel send packets with such a header?
 * @conf: its configuration
 * @h: the encapsulation's header, its key read
 *
 * Context: any.
 * Return: whether it does.
 */
bool xtun_lookup_sends(const struct xtun_conf *conf, const struct xtun_hdr *h)
{
	int i;

	if (h->payload != conf->match.payload)
		return false;
	for (i = 0; i < h->n_ids; i++) {
		if (h->ids[i].keying == xtun_sent_keying(conf) &&
		    h->ids[i].key == xtun_sent_key(conf))
			return true;
	}
	return false;
}

/**
 * xtun_lookup_sent() - find the tunnel that has sent a quoted packet
 * @match: net, the tunnel's own addresses, wire and family filled in; the rest
 *	is scratch
 * @h: the quoted encapsulation header, its key read
 * @skb: the error, for the device that it came from
 * @matches: asked about each tunnel that sends such headers, whether it was it; NULL
 *	for the first
 * @data: for @matches
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup_sent(struct xtun_match *match,
				   const struct xtun_hdr *h,
				   const struct sk_buff *skb, xtun_match_fn matches,
				   void *data)
{
	struct xtun_conf *conf;

	/* Most tunnels have one key for both directions. */
	conf = xtun_lookup(match, h, skb);
	if (conf && xtun_lookup_sends(conf, h) && (!matches || matches(conf, data)))
		return conf;
	return xtun_lookup_sender(match, h, matches, data);
}

/**
 * xtun_lookup_sender() - find a tunnel that sends packets with such a header
 * @match: net, the tunnel's own addresses, wire and family filled in
 * @h: the encapsulation's header, its key read
 * @matches: as for xtun_lookup_sent()
 * @data: for @matches
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup_sender(const struct xtun_match *match,
				     const struct xtun_hdr *h, xtun_match_fn matches,
				     void *data)
{
	struct xtun_match m = *match;
	struct xtun_conf *conf;
	int i;

	m.payload = h->payload;
	xtun_ends_match(&m, XTUN_BY_SENT);
	for (i = 0; i < h->n_ids; i++) {
		m.keying = h->ids[i].keying;
		m.key = h->ids[i].key;
		conf = xtun_ends_find(&m, ARRAY_SIZE(xtun_ends_shapes), matches,
				      data);
		if (conf)
			return conf;
	}
	return NULL;
}

/* A header that is cut off before the key, and who can tell the rest. */
struct xtun_cut {
	const struct xtun_hdr *h;
	xtun_match_fn sent;
	void *data;
};

static bool xtun_sends_cut(const struct xtun_conf *conf, void *data)
{
	const struct xtun_cut *cut = data;

	/* Where the payload can be read, a header that is cut off has a key. */
	if (cut->h->payload && (!conf->p.has_okey ||
				cut->h->payload != conf->match.payload))
		return false;
	return cut->sent(conf, cut->data);
}

/**
 * xtun_lookup_cut() - find the tunnel that has sent a packet quoted without key
 * @match: net, the tunnel's own addresses, wire and family filled in
 * @h: the quoted encapsulation header
 * @sent: asked about each tunnel that sends such headers, whether it was it
 * @data: for @sent
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup_cut(const struct xtun_match *match,
				  const struct xtun_hdr *h, xtun_match_fn sent,
				  void *data)
{
	struct xtun_cut cut = { .h = h, .sent = sent, .data = data };
	struct xtun_match m = *match;

	xtun_ends_match(&m, XTUN_BY_CUT);
	return xtun_ends_find(&m, ARRAY_SIZE(xtun_ends_shapes), xtun_sends_cut,
			      &cut);
}

/**
 * xtun_lookup_init() - make the tables
 *
 * Context: process, may sleep.
 * Return: 0 or a negative error.
 */
int xtun_lookup_init(void)
{
	int err;

	get_random_bytes(xtun_match_words, sizeof(xtun_match_words));
	err = rhashtable_init(&xtun_matches, &xtun_match_params);
	if (err)
		return err;

	err = rhltable_init(&xtun_ends, &xtun_ends_params);
	if (err)
		rhashtable_destroy(&xtun_matches);
	return err;
}

/**
 * xtun_lookup_exit() - free the tables, which are empty
 *
 * Context: process, may sleep.
 */
void xtun_lookup_exit(void)
{
	rhltable_destroy(&xtun_ends);
	rhashtable_destroy(&xtun_matches);
}
