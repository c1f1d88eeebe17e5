// SPDX-License-Identifier: GPL-2.0
/*
 * Packets that carry nothing, sent from time to time: what is between the ends
 * keeps the path open in both directions.
 */
#include <linux/netdevice.h>
#include <linux/workqueue.h>

#include "conf.h"
#include "device.h"
#include "packet.h"

static void xtun_keepalive(struct work_struct *work)
{
	struct xtun_dev *tun = container_of(to_delayed_work(work),
					    struct xtun_dev, keepalive);
	const struct xtun_conf *conf;
	unsigned int seconds;

	rcu_read_lock_bh();
	conf = rcu_dereference_bh(tun->conf);
	seconds = conf->keepalive;
	if (seconds)
		xtun_xmit_empty(tun, conf);
	rcu_read_unlock_bh();
	if (seconds)
		queue_delayed_work(system_percpu_wq, &tun->keepalive,
				   seconds * HZ);
}

/**
 * xtun_keepalive_init() - make a tunnel ready for the rest
 * @tun: a new tunnel
 *
 * Context: RTNL.
 */
void xtun_keepalive_init(struct xtun_dev *tun)
{
	INIT_DELAYED_WORK(&tun->keepalive, xtun_keepalive);
}

/**
 * xtun_keepalive_start() - send the first packet soon, if the tunnel wants it
 * @tun: the tunnel; nothing happens while it is down
 *
 * Without a keepalive in the configuration the work ends by itself.
 *
 * Context: RTNL.
 */
void xtun_keepalive_start(struct xtun_dev *tun)
{
	if (netif_running(tun->dev) && rtnl_dereference(tun->conf)->keepalive)
		mod_delayed_work(system_percpu_wq, &tun->keepalive, 0);
}

/**
 * xtun_keepalive_stop() - send no more packets
 * @tun: the tunnel, which is going down
 *
 * Context: RTNL, may sleep.
 */
void xtun_keepalive_stop(struct xtun_dev *tun)
{
	cancel_delayed_work_sync(&tun->keepalive);
}
