// SPDX-License-Identifier: GPL-2.0
/*
 * Which tunnel is a packet for?
 *
 * One table holds what each tunnel matches. Addresses and link may be "any" in
 * it; a tunnel's shape says which are. A packet is looked up once for each
 * shape that is in use in its netns, most specific first, so that the cost
 * depends neither on the number of tunnels nor on shapes that nobody uses.
 *
 * A second table knows tunnels by their addresses alone, for packets whose key
 * cannot be read.
 */
#include <linux/rhashtable.h>

#include "xtun.h"

/* Bits of a shape. A lower number is more specific. */
#define XTUN_ANY_LINK		BIT(0)
#define XTUN_ANY_LOCAL		BIT(1)
#define XTUN_ANY_REMOTE		BIT(2)
#define XTUN_SHAPES		8

/* Tunnels between the same two addresses that an error is compared with. */
#define XTUN_ENDS_BOUND		64

static const union nf_inet_addr xtun_any;

static struct rhashtable xtun_matches;
static struct rhltable xtun_by_ends;

static const struct rhashtable_params xtun_match_params = {
	.key_len = sizeof(struct xtun_match),
	.key_offset = offsetof(struct xtun_conf, match),
	.head_offset = offsetof(struct xtun_conf, node),
	.automatic_shrinking = true,
};

static const struct rhashtable_params xtun_ends_params = {
	.key_len = sizeof(struct xtun_ends),
	.key_offset = offsetof(struct xtun_conf, ends),
	.head_offset = offsetof(struct xtun_conf, by_ends),
	.automatic_shrinking = true,
};

static unsigned int xtun_shape(const struct xtun_match *match)
{
	unsigned int shape = 0;

	if (!match->link)
		shape |= XTUN_ANY_LINK;
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

	err = rhltable_insert(&xtun_by_ends, &conf->by_ends, xtun_ends_params);
	if (err)
		return err;

	xtun_shape_get(&conf->match);
	err = rhashtable_lookup_insert_fast(&xtun_matches, &conf->node,
					    xtun_match_params);
	if (err) {
		xtun_shape_put(&conf->match);
		rhltable_remove(&xtun_by_ends, &conf->by_ends,
				xtun_ends_params);
		/* A packet may have found it; the caller will free it. */
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
	rhltable_remove(&xtun_by_ends, &conf->by_ends, xtun_ends_params);
	xtun_shape_put(&conf->match);
}

/* Both match the same, so one takes the place of the other in one step. */
static int xtun_lookup_replace(struct xtun_conf *old, struct xtun_conf *new)
{
	int err;

	err = rhltable_insert(&xtun_by_ends, &new->by_ends, xtun_ends_params);
	if (err)
		return err;

	err = rhashtable_replace_fast(&xtun_matches, &old->node, &new->node,
				      xtun_match_params);
	if (err) {
		rhltable_remove(&xtun_by_ends, &new->by_ends,
				xtun_ends_params);
		synchronize_net();
		return err;
	}
	rhltable_remove(&xtun_by_ends, &old->by_ends, xtun_ends_params);
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

static struct xtun_conf *xtun_lookup_one(const struct xtun_match *match)
{
	struct xtun_conf *conf;

	conf = rhashtable_lookup(&xtun_matches, match, xtun_match_params);
	/* A device that is down leaves packets to others, as ipip does. */
	return conf && conf->tun->dev->flags & IFF_UP ? conf : NULL;
}

/* A packet from a port of a VRF has two links: the VRF's device and the port. */
static struct xtun_conf *xtun_lookup_links(struct xtun_match *match,
					   const struct sk_buff *skb)
{
	int port = xtun_route_port(skb, match->family);
	struct xtun_conf *conf;

	match->link = skb->dev->ifindex;
	conf = xtun_lookup_one(match);
	if (!conf && port) {
		match->link = port;
		conf = xtun_lookup_one(match);
	}
	return conf;
}

static struct xtun_conf *xtun_lookup_shapes(const struct xtun_match *match,
					    unsigned long shapes,
					    const struct sk_buff *skb)
{
	struct xtun_match m = *match;
	struct xtun_conf *conf;
	unsigned int shape;

	for_each_set_bit(shape, &shapes, XTUN_SHAPES) {
		m.local = shape & XTUN_ANY_LOCAL ? xtun_any : match->local;
		m.remote = shape & XTUN_ANY_REMOTE ? xtun_any : match->remote;
		if (shape & XTUN_ANY_LINK) {
			m.link = 0;
			conf = xtun_lookup_one(&m);
		} else {
			conf = xtun_lookup_links(&m, skb);
		}
		if (conf)
			return conf;
	}
	return NULL;
}

/**
 * xtun_lookup() - find the tunnel of a received packet
 * @match: net, addresses, wire and family filled in; the rest is scratch
 * @h: its encapsulation header
 * @skb: the packet, for the link that it came from
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup(struct xtun_match *match,
			      const struct xtun_hdr *h,
			      const struct sk_buff *skb)
{
	const struct xtun_net *xn = xtun_net(match->net);
	struct xtun_conf *conf;
	int i;

	match->payload = h->payload;
	for (i = 0; i < h->n_ids; i++) {
		u8 shapes = READ_ONCE(xn->shapes[h->ids[i].keying]);

		if (!shapes)
			continue;
		match->keying = h->ids[i].keying;
		match->key = h->ids[i].key;
		conf = xtun_lookup_shapes(match, shapes, skb);
		if (conf)
			return conf;
	}
	return NULL;
}

static struct rhlist_head *xtun_ends_list(const struct xtun_match *match,
					  unsigned int shape)
{
	struct xtun_ends ends = {
		.net = match->net,
		.wire = match->wire,
		.family = match->family,
		.port = match->port,
	};

	if (!(shape & XTUN_ANY_LOCAL))
		ends.local = match->local;
	if (!(shape & XTUN_ANY_REMOTE))
		ends.remote = match->remote;
	return rhltable_lookup(&xtun_by_ends, &ends, xtun_ends_params);
}

static const u8 xtun_ends_shapes[] = {
	0, XTUN_ANY_LOCAL, XTUN_ANY_REMOTE,
};

/* The first tunnel between the ends in @match of which @is is true. */
static struct xtun_conf *
xtun_lookup_ends_if(const struct xtun_match *match,
		    bool (*is)(const struct xtun_conf *conf, void *data),
		    void *data)
{
	struct rhlist_head *list, *pos;
	struct xtun_conf *conf;
	int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(xtun_ends_shapes); i++) {
		list = xtun_ends_list(match, xtun_ends_shapes[i]);
		rhl_for_each_entry_rcu(conf, pos, list, by_ends) {
			if (conf->tun->dev->flags & IFF_UP && is(conf, data))
				return conf;
			if (++n == XTUN_ENDS_BOUND)
				return NULL;
		}
	}
	return NULL;
}

static bool xtun_is_any(const struct xtun_conf *conf, void *data)
{
	return true;
}

/**
 * xtun_lookup_ends() - find a tunnel that a broken packet could be for
 * @match: net, addresses, wire and family filled in
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup_ends(const struct xtun_match *match)
{
	return xtun_lookup_ends_if(match, xtun_is_any, NULL);
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
	u8 keying = conf->p.has_okey ? conf->ops->keying : XTUN_KEY_NONE;
	int i;

	if (h->payload != conf->p.payload)
		return false;
	for (i = 0; i < h->n_ids; i++) {
		if (h->ids[i].keying == keying &&
		    (!conf->p.has_okey || h->ids[i].key == conf->p.okey))
			return true;
	}
	return false;
}

static bool xtun_sends(const struct xtun_conf *conf, void *h)
{
	return xtun_lookup_sends(conf, h);
}

/**
 * xtun_lookup_sent() - find the tunnel that has sent a quoted packet
 * @match: net, the tunnel's own addresses, wire and family filled in; the rest
 *	is scratch
 * @h: the quoted encapsulation header, its key read
 * @skb: the error, for the link that it came from
 *
 * Context: RCU.
 * Return: the configuration of a device that is up, or NULL.
 */
struct xtun_conf *xtun_lookup_sent(struct xtun_match *match,
				   const struct xtun_hdr *h,
				   const struct sk_buff *skb)
{
	struct xtun_conf *conf;

	/* Most tunnels have one key for both directions. */
	conf = xtun_lookup(match, h, skb);
	if (conf && xtun_lookup_sends(conf, h))
		return conf;
	return xtun_lookup_ends_if(match, xtun_sends, (void *)h);
}

/* A header that is cut off before the key, and who can tell the rest. */
struct xtun_cut {
	const struct xtun_hdr *h;
	bool (*sent)(const struct xtun_conf *conf, void *data);
	void *data;
};

static bool xtun_sends_cut(const struct xtun_conf *conf, void *data)
{
	const struct xtun_cut *cut = data;

	/* Where the payload can be read, a header that is cut off has a key. */
	if (cut->h->payload && (!conf->p.has_okey ||
				cut->h->payload != conf->p.payload))
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
				  const struct xtun_hdr *h,
				  bool (*sent)(const struct xtun_conf *conf,
					       void *data),
				  void *data)
{
	struct xtun_cut cut = { .h = h, .sent = sent, .data = data };

	return xtun_lookup_ends_if(match, xtun_sends_cut, &cut);
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

	err = rhashtable_init(&xtun_matches, &xtun_match_params);
	if (err)
		return err;

	err = rhltable_init(&xtun_by_ends, &xtun_ends_params);
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
	rhltable_destroy(&xtun_by_ends);
	rhashtable_destroy(&xtun_matches);
}
