// SPDX-License-Identifier: GPL-2.0
/*
 * A tunnel's configuration comes into force, takes the place of another, and goes:
 * the tables, the cache and the transport that stand behind it.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include "conf.h"
#include "device.h"
#include "net.h"

static u8 xtun_sent_cache_mode(const struct xtun_conf *conf)
{
	return conf->ops ? conf->p.icmp_memory : XTUN_ICMP_MEMORY_OFF;
}

/* The cache of its netns. */
static int xtun_sent_cache_prepare(const struct xtun_conf *conf)
{
	if (xtun_sent_cache_mode(conf) == XTUN_ICMP_MEMORY_OFF)
		return 0;
	return xtun_sent_cache_get(xtun_net(conf->tun->net));
}

/* Do all packets go into it? */
static void xtun_sent_cache_follow(struct xtun_dev *tun,
				   const struct xtun_conf *conf)
{
	u8 mode = xtun_sent_cache_mode(conf);

	spin_lock_bh(&tun->peers_lock);
	WRITE_ONCE(tun->track, mode == XTUN_ICMP_MEMORY_ON ?
			       tun->track | XTUN_TRACK_ALL :
			       tun->track & ~XTUN_TRACK_ALL);
	spin_unlock_bh(&tun->peers_lock);
}

static int xtun_transport_get(const struct xtun_conf *conf,
			      struct netlink_ext_ack *extack)
{
	return conf->ops ? conf->ops->wire->transport->get(conf, extack) : 0;
}

static void xtun_transport_put(const struct xtun_conf *conf)
{
	if (conf->ops)
		conf->ops->wire->transport->put(conf);
}

/**
 * xtun_attach() - put a new tunnel's configuration in force
 * @tun: the tunnel, which nobody can find yet
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error with nothing changed.
 */
int xtun_attach(struct xtun_dev *tun)
{
	struct xtun_conf *conf = rtnl_dereference(tun->conf);
	int err;

	err = xtun_sent_cache_prepare(conf);
	if (err)
		return err;
	err = xtun_transport_get(conf, tun->extack);
	if (err)
		return err;
	err = xtun_lookup_add(conf);
	if (err) {
		xtun_transport_put(conf);
		return err;
	}
	xtun_sent_cache_follow(tun, conf);
	xtun_underlay_bind(tun);
	return 0;
}

/**
 * xtun_detach() - take a tunnel's configuration out of force
 * @tun: the tunnel; packets may still have found it
 *
 * Context: RTNL, may sleep.
 */
void xtun_detach(struct xtun_dev *tun)
{
	struct xtun_conf *conf = rtnl_dereference(tun->conf);

	xtun_underlay_unbind(tun);
	xtun_lookup_del(conf);
	xtun_transport_put(conf);
}

/* Do packets leave by what may be another path to the same peer? */
static bool xtun_path_differs(const struct xtun_conf *old,
			      const struct xtun_conf *new)
{
	return old->via != new->via || old->p.tos != new->p.tos ||
	       old->p.fwmark != new->p.fwmark ||
	       old->p.fwmark_from != new->p.fwmark_from;
}

/**
 * xtun_swap() - put a configuration in the place of that in force
 * @tun: the tunnel
 * @new: the configuration
 * @extack: gets the reason of a refusal, or NULL
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error with nothing changed, and the caller frees @new.
 */
int xtun_swap(struct xtun_dev *tun, struct xtun_conf *new,
	      struct netlink_ext_ack *extack)
{
	struct xtun_conf *old = rtnl_dereference(tun->conf);
	const struct xtun_prefix all = { .family = new->p.family };
	int err;

	err = xtun_transport_get(new, extack);
	if (err)
		return err;
	err = xtun_sent_cache_prepare(new);
	if (!err)
		err = xtun_lookup_swap(old, new);
	if (err) {
		xtun_transport_put(new);
		return err;
	}
	rcu_assign_pointer(tun->conf, new);
	xtun_underlay_unbind(tun);
	xtun_underlay_bind(tun);
	xtun_sent_cache_follow(tun, new);
	xtun_transport_put(old);

	if (memcmp(&old->match, &new->match, sizeof(old->match)))
		atomic64_set(&tun->iseq, 0);
	if (memcmp(&old->ends[XTUN_BY_ENDS].match,
		   &new->ends[XTUN_BY_ENDS].match, sizeof(old->match))) {
		xtun_peer_forget(tun);
		xtun_alive_forget(tun);
	} else if (xtun_path_differs(old, new)) {
		xtun_peer_rerouted(tun, new->p.family, &all);
	}
	tun->loop_logged = false;
	xtun_conf_free_rcu(old);
	return 0;
}
