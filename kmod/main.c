// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading, and what there is of each netns.
 */
#include <linux/in.h>
#include <linux/module.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/rtnetlink.h>

#include "conf.h"
#include "device.h"
#include "net.h"
#include "notify.h"
#include "output.h"
#include "packet.h"
#include "wire.h"

static const struct xtun_encap_ops * const xtun_encaps[] = {
	&xtun_ip_ops, &xtun_gre_ops, &xtun_nvgre_ops, &xtun_vxlan_ops,
	&xtun_geneve_ops, &xtun_fou_ops, &xtun_gue_ops, &xtun_gtp_ops,
	&xtun_l2tp_ops, &xtun_l2tp_ip_ops, &xtun_icmp_ops,
};

static int __net_init xtun_net_init(struct net *net)
{
	struct xtun_net *xn = xtun_net(net);

	xn->net = net;
	INIT_LIST_HEAD(&xn->tunnels);
	spin_lock_init(&xn->event_rate.lock);
	xtun_follow_net_init(xn);
	return 0;
}

/* Nobody can make a tunnel in a netns that is being left, nor has to wait. */
static void __net_exit xtun_net_pre_exit(struct net *net)
{
	struct xtun_net *xn = xtun_net(net);

	if (xn->used)
		xtun_follow_net_exit(xn);
}

static bool __net_exit xtun_nets_used(struct list_head *nets)
{
	struct net *net;

	list_for_each_entry(net, nets, exit_list) {
		if (xtun_net(net)->used)
			return true;
	}
	return false;
}

/* A tunnel ends with its underlay, wherever its device lives. */
static void __net_exit xtun_net_exit_batch(struct list_head *nets)
{
	struct xtun_dev *tun;
	struct net *net;
	LIST_HEAD(devs);

	if (!xtun_nets_used(nets))
		return;

	rtnl_lock();
	list_for_each_entry(net, nets, exit_list) {
		list_for_each_entry(tun, &xtun_net(net)->tunnels, list)
			unregister_netdevice_queue(tun->dev, &devs);
	}
	unregister_netdevice_many(&devs);
	rtnl_unlock();
	/* Configurations that were replaced hold routes of these netns. */
	rcu_barrier();
	list_for_each_entry(net, nets, exit_list)
		xtun_sent_cache_free(xtun_net(net));
}

static struct pernet_operations xtun_net_ops = {
	.init = xtun_net_init,
	.pre_exit = xtun_net_pre_exit,
	.exit_batch = xtun_net_exit_batch,
	.id = &xtun_net_id,
	.size = sizeof(struct xtun_net),
};

static int __init xtun_encaps_init(void)
{
	int i, err = 0;

	for (i = 0; i < ARRAY_SIZE(xtun_encaps) && !err; i++)
		err = xtun_encap_register(xtun_encaps[i]);
	return err;
}

static int __init xtun_init(void)
{
	int err;

	err = xtun_encaps_init();
	if (err)
		return err;
	xtun_output_init();
	err = xtun_lookup_init();
	if (err)
		return err;
	err = xtun_cells_init();
	if (err)
		goto exit_lookup;
	err = register_pernet_device(&xtun_net_ops);
	if (err)
		goto exit_cells;
	err = xtun_follow_init();
	if (err)
		goto exit_net;
	err = xtun_ipproto_init();
	if (err)
		goto exit_follow;
	err = rtnl_link_register(&xtun_link_ops);
	if (err)
		goto exit_ipproto;
	err = xtun_genl_init();
	if (err)
		goto exit_link;

	pr_info("xtun: %s, tunnels over IPv4 and IPv6\n",
		XTUN_VERSION);
	return 0;

exit_link:
	rtnl_link_unregister(&xtun_link_ops);
exit_ipproto:
	xtun_ipproto_exit();
exit_follow:
	xtun_follow_exit();
exit_net:
	unregister_pernet_device(&xtun_net_ops);
exit_cells:
	xtun_cells_exit();
exit_lookup:
	xtun_lookup_exit();
	return err;
}

static void __exit xtun_exit(void)
{
	xtun_genl_exit();
	rtnl_link_unregister(&xtun_link_ops);
	xtun_ipproto_exit();
	xtun_follow_exit();
	unregister_pernet_device(&xtun_net_ops);
	/* Configurations are freed by callbacks of this module. */
	rcu_barrier();
	xtun_cells_exit();
	xtun_lookup_exit();
}

module_init(xtun_init);
module_exit(xtun_exit);

MODULE_DESCRIPTION("One tunnel net_device for every encapsulation");
MODULE_LICENSE("GPL");
MODULE_VERSION(XTUN_VERSION);
MODULE_ALIAS_RTNL_LINK("xtun");
MODULE_ALIAS_GENL_FAMILY("xtun");
