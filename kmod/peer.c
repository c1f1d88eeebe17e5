// SPDX-License-Identifier: GPL-2.0
/*
 * What is known of the paths to a tunnel's peers: who has told which path MTU,
 * the last errors, and errors that still hold. Nothing is here for a peer that
 * no error has ever been about.
 */
#include <linux/rculist.h>
#include <linux/slab.h>

#include "conf.h"
#include "device.h"
#include "packet.h"

/* With remote any there may be more; the one longest without news goes first. */
#define XTUN_PEERS_MAX		64

/* How long an error that a short quote has told is answered with. */
#define XTUN_SOFT_TIME		(30 * HZ)

/* How long is looked whether an error is over; tunctl blames it for a minute. */
#define XTUN_TRACKED_TIME	(120 * HZ)

static struct xtun_peer *xtun_peer_find(const struct xtun_dev *tun,
					const union nf_inet_addr *addr)
{
	struct xtun_peer *peer;

	list_for_each_entry_rcu(peer, &tun->peers, list,
				lockdep_is_held(&tun->peers_lock)) {
		if (nf_inet_addr_cmp(&peer->addr, addr))
			return peer;
	}
	return NULL;
}

static void xtun_peer_free(struct xtun_dev *tun, struct xtun_peer *peer)
{
	list_del_rcu(&peer->list);
	tun->n_peers--;
	kfree_rcu(peer, rcu);
}

/* The one longest without news; of several the oldest. There are some. */
static struct xtun_peer *xtun_peer_stale(const struct xtun_dev *tun)
{
	struct xtun_peer *peer, *stale = NULL;

	list_for_each_entry(peer, &tun->peers, list) {
		if (!stale || time_before_eq(peer->news, stale->news))
			stale = peer;
	}
	return stale;
}

/* Does a path MTU that was told still hold? */
static bool xtun_peer_mtu_holds(const struct xtun_dev *tun,
				const struct xtun_peer *peer)
{
	return READ_ONCE(peer->mtu_holds) &&
	       time_before(jiffies, READ_ONCE(peer->mtu_until)) &&
	       READ_ONCE(peer->mtu_genid) == fnhe_genid(tun->net);
}

/* The way out need not look for what no peer has. Under the lock. */
static void xtun_peer_track_path(struct xtun_dev *tun)
{
	const struct xtun_peer *peer;
	u8 track = tun->track & ~XTUN_TRACK_PATH;

	list_for_each_entry(peer, &tun->peers, list) {
		if (xtun_peer_mtu_holds(tun, peer))
			track |= XTUN_TRACK_PATH;
	}
	WRITE_ONCE(tun->track, track);
}

static struct xtun_peer *xtun_peer_new(struct xtun_dev *tun,
				       const union nf_inet_addr *addr)
{
	struct xtun_peer *peer = kzalloc(sizeof(*peer), GFP_ATOMIC);

	if (!peer)
		return NULL;
	if (tun->n_peers >= XTUN_PEERS_MAX) {
		xtun_peer_free(tun, xtun_peer_stale(tun));
		xtun_peer_track_path(tun);
	}
	peer->addr = *addr;
	peer->serial = ++tun->last_peer;
	list_add_rcu(&peer->list, &tun->peers);
	tun->n_peers++;
	return peer;
}

/*
 * Find or make it, for there is news of it. It stays where it is in the list:
 * who walks there under RCU or comes back to a dump would go astray.
 */
static struct xtun_peer *xtun_peer_get(struct xtun_dev *tun,
				       const union nf_inet_addr *addr)
{
	struct xtun_peer *peer = xtun_peer_find(tun, addr);

	if (!peer)
		peer = xtun_peer_new(tun, addr);
	if (peer)
		peer->news = jiffies;
	return peer;
}

/* Under the lock, which whoever looks at packets does not take. */
static void xtun_peer_track(struct xtun_dev *tun)
{
	WRITE_ONCE(tun->tracked_until, jiffies + XTUN_TRACKED_TIME);
	WRITE_ONCE(tun->track, tun->track | XTUN_TRACK_PEERS);
}

static void xtun_peer_untrack(struct xtun_dev *tun)
{
	WRITE_ONCE(tun->track, tun->track & ~XTUN_TRACK_PEERS);
}

/* Long after the last error it is not looked any more. */
static void xtun_peer_track_end(struct xtun_dev *tun)
{
	if (likely(time_before(jiffies, READ_ONCE(tun->tracked_until))))
		return;
	spin_lock(&tun->peers_lock);
	if (!time_before(jiffies, tun->tracked_until))
		xtun_peer_untrack(tun);
	spin_unlock(&tun->peers_lock);
}

/* Is something wrong with it, for all that is known? */
static bool xtun_peer_bad(const struct xtun_peer *peer)
{
	return READ_ONCE(peer->soft) != XTUN_CLASS_NONE ||
	       (READ_ONCE(peer->errors) &&
		!xtun_alive_after(READ_ONCE(peer->alive.heard),
				  READ_ONCE(peer->err_time)));
}

/**
 * xtun_peer_error() - note that an ICMP error about a peer was believed
 * @tun: the tunnel
 * @addr: the peer
 * @from: who sent the error
 * @type: its ICMP or ICMPv6 type
 * @code: its code
 *
 * Where there is one remote, the tunnel's own times tell whether it is over.
 *
 * Context: BH disabled.
 */
void xtun_peer_error(struct xtun_dev *tun, const union nf_inet_addr *addr,
		     const union nf_inet_addr *from, u8 type, u8 code)
{
	struct xtun_peer *peer;

	spin_lock(&tun->peers_lock);
	peer = xtun_peer_get(tun, addr);
	if (peer) {
		WRITE_ONCE(peer->err_time, jiffies);
		WRITE_ONCE(peer->errors, peer->errors + 1);
		peer->err_from = *from;
		peer->err_type = type;
		peer->err_code = code;
		if (!xtun_has_remote(rcu_dereference_bh(tun->conf)))
			xtun_peer_track(tun);
	}
	spin_unlock(&tun->peers_lock);
}

/**
 * xtun_peer_mtu() - note who has told a path MTU
 * @tun: the tunnel
 * @addr: the peer
 * @from: who told it
 * @mtu: bytes of outer packet, no more than what is in force
 * @expires: jiffies for which it holds
 *
 * Context: BH disabled.
 */
void xtun_peer_mtu(struct xtun_dev *tun, const union nf_inet_addr *addr,
		   const union nf_inet_addr *from, u32 mtu,
		   unsigned long expires)
{
	struct xtun_peer *peer;

	spin_lock(&tun->peers_lock);
	peer = xtun_peer_get(tun, addr);
	if (peer) {
		peer->mtu_from = *from;
		peer->mtu_time = jiffies;
		WRITE_ONCE(peer->mtu, mtu);
		WRITE_ONCE(peer->mtu_genid, fnhe_genid(tun->net));
		WRITE_ONCE(peer->mtu_until, jiffies + expires);
		WRITE_ONCE(peer->mtu_holds, true);
		xtun_peer_track_path(tun);
	}
	spin_unlock(&tun->peers_lock);
}

/* What was told holds no more: packets need not look for it. */
static void xtun_peer_mtu_end(struct xtun_dev *tun,
			      const union nf_inet_addr *addr)
{
	struct xtun_peer *peer;

	spin_lock_bh(&tun->peers_lock);
	peer = xtun_peer_find(tun, addr);
	if (peer && !xtun_peer_mtu_holds(tun, peer))
		WRITE_ONCE(peer->mtu_holds, false);
	xtun_peer_track_path(tun);
	spin_unlock_bh(&tun->peers_lock);
}

/**
 * xtun_peer_path_mtu() - the path MTU to a peer that errors have told
 * @tun: the tunnel
 * @addr: the peer
 * @expires: gets the seconds for which it holds; may be NULL
 *
 * Context: RCU.
 * Return: bytes of outer packet, or 0 for none.
 */
u32 xtun_peer_path_mtu(struct xtun_dev *tun, const union nf_inet_addr *addr,
		       u32 *expires)
{
	const struct xtun_peer *peer;
	u32 mtu = 0;

	rcu_read_lock();
	peer = xtun_peer_find(tun, addr);
	if (peer && xtun_peer_mtu_holds(tun, peer)) {
		mtu = READ_ONCE(peer->mtu);
		if (expires)
			*expires = DIV_ROUND_UP(READ_ONCE(peer->mtu_until) -
						jiffies, HZ);
	} else if (peer && READ_ONCE(peer->mtu_holds)) {
		xtun_peer_mtu_end(tun, addr);
	}
	rcu_read_unlock();
	return mtu;
}

/**
 * xtun_peer_rerouted() - a route has changed: what was learned of paths is void
 * @tun: the tunnel
 * @family: AF_INET or AF_INET6, of its peers
 * @prefix: what the route leads to
 *
 * Context: any but hard interrupt.
 */
void xtun_peer_rerouted(struct xtun_dev *tun, u8 family,
			const struct xtun_prefix *prefix)
{
	struct xtun_peer *peer;

	spin_lock_bh(&tun->peers_lock);
	list_for_each_entry(peer, &tun->peers, list) {
		if (xtun_prefix_has(prefix, family, &peer->addr))
			WRITE_ONCE(peer->mtu_holds, false);
	}
	xtun_peer_track_path(tun);
	spin_unlock_bh(&tun->peers_lock);
}

/**
 * xtun_peer_soft_set() - answer packets to a peer with an error, for a while
 * @tun: the tunnel
 * @addr: the peer
 * @class: which error
 *
 * Context: BH disabled.
 */
void xtun_peer_soft_set(struct xtun_dev *tun, const union nf_inet_addr *addr,
			enum xtun_icmp_class class)
{
	struct xtun_peer *peer;

	spin_lock(&tun->peers_lock);
	peer = xtun_peer_get(tun, addr);
	if (peer) {
		WRITE_ONCE(peer->soft_until, jiffies + XTUN_SOFT_TIME);
		WRITE_ONCE(peer->soft, class);
		xtun_peer_track(tun);
	}
	spin_unlock(&tun->peers_lock);
}

/**
 * xtun_peer_soft() - the error that packets to a peer are answered with
 * @tun: the tunnel
 * @addr: the peer
 *
 * Context: RCU.
 * Return: its class, or XTUN_CLASS_NONE.
 */
enum xtun_icmp_class xtun_peer_soft(const struct xtun_dev *tun,
				    const union nf_inet_addr *addr)
{
	const struct xtun_peer *peer = xtun_peer_find(tun, addr);

	if (!peer || time_after(jiffies, READ_ONCE(peer->soft_until)))
		return XTUN_CLASS_NONE;
	return READ_ONCE(peer->soft);
}

/* A packet has come from a peer, with which something was wrong. */
static void xtun_peer_mend(struct xtun_dev *tun, const union nf_inet_addr *addr)
{
	struct xtun_peer *peer, *other;
	bool bad = false;

	spin_lock(&tun->peers_lock);
	peer = xtun_peer_find(tun, addr);
	if (peer) {
		WRITE_ONCE(peer->soft, XTUN_CLASS_NONE);
		WRITE_ONCE(peer->alive.heard, jiffies);
	}
	list_for_each_entry(other, &tun->peers, list)
		bad |= xtun_peer_bad(other);
	if (!bad)
		xtun_peer_untrack(tun);
	spin_unlock(&tun->peers_lock);
}

/**
 * xtun_peer_confirm() - a packet from a peer has come: what was wrong is no more
 * @tun: the tunnel, with %XTUN_TRACK_PEERS
 * @addr: the peer
 *
 * Packets of peers with which nothing is wrong take no lock.
 *
 * Context: BH disabled, RCU.
 */
void xtun_peer_confirm(struct xtun_dev *tun, const union nf_inet_addr *addr)
{
	const struct xtun_peer *peer = xtun_peer_find(tun, addr);

	if (peer && xtun_peer_bad(peer))
		xtun_peer_mend(tun, addr);
	else
		xtun_peer_track_end(tun);
}

/**
 * xtun_peer_sent() - a packet goes to a peer
 * @tun: the tunnel, with %XTUN_TRACK_PEERS
 * @addr: the peer
 *
 * Context: BH disabled, RCU.
 */
void xtun_peer_sent(struct xtun_dev *tun, const union nf_inet_addr *addr)
{
	struct xtun_peer *peer = xtun_peer_find(tun, addr);

	if (peer && !xtun_alive_after(READ_ONCE(peer->alive.sent),
				      READ_ONCE(peer->err_time)))
		WRITE_ONCE(peer->alive.sent, jiffies);
	xtun_peer_track_end(tun);
}

/**
 * xtun_peer_copy() - what is known of one of a tunnel's peers
 * @tun: the tunnel
 * @addr: the peer
 * @peer: gets a copy, its list and rcu without meaning
 *
 * Context: BH, or BH enabled; does not sleep.
 * Return: false when nothing is known.
 */
bool xtun_peer_copy(struct xtun_dev *tun, const union nf_inet_addr *addr,
		    struct xtun_peer *peer)
{
	const struct xtun_peer *found;

	spin_lock_bh(&tun->peers_lock);
	found = xtun_peer_find(tun, addr);
	if (found)
		*peer = *found;
	spin_unlock_bh(&tun->peers_lock);
	return found;
}

/**
 * xtun_peer_after() - go on to the next of a tunnel's peers
 * @tun: the tunnel
 * @serial: that of the peer before it, U64_MAX for the first
 * @peer: gets a copy, its list and rcu without meaning
 *
 * New ones come first: a walk that rests meets none twice, and goes on even if
 * the peer before was forgotten meanwhile.
 *
 * Context: BH enabled, does not sleep.
 * Return: false when there is none.
 */
bool xtun_peer_after(struct xtun_dev *tun, u64 serial, struct xtun_peer *peer)
{
	const struct xtun_peer *each;
	bool found = false;

	spin_lock_bh(&tun->peers_lock);
	list_for_each_entry(each, &tun->peers, list) {
		found = each->serial < serial;
		if (found) {
			*peer = *each;
			break;
		}
	}
	spin_unlock_bh(&tun->peers_lock);
	return found;
}

/**
 * xtun_peer_forget() - forget all of a tunnel's peers
 * @tun: the tunnel
 *
 * Context: BH enabled, does not sleep.
 */
void xtun_peer_forget(struct xtun_dev *tun)
{
	struct xtun_peer *peer, *next;

	spin_lock_bh(&tun->peers_lock);
	list_for_each_entry_safe(peer, next, &tun->peers, list)
		xtun_peer_free(tun, peer);
	xtun_peer_untrack(tun);
	xtun_peer_track_path(tun);
	spin_unlock_bh(&tun->peers_lock);
}
