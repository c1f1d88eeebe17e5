// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading, and the table of encapsulations.
 */
#include <linux/in.h>
#include <linux/module.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <net/rtnetlink.h>

#include "xtun.h"

static const struct xtun_encap_ops * const xtun_encaps[XTUN_ENCAP_MAX + 1] = {
	[XTUN_ENCAP_IP] = &xtun_ip_ops,
	[XTUN_ENCAP_GRE] = &xtun_gre_ops,
	[XTUN_ENCAP_NVGRE] = &xtun_nvgre_ops,
	[XTUN_ENCAP_VXLAN] = &xtun_vxlan_ops,
	[XTUN_ENCAP_GENEVE] = &xtun_geneve_ops,
	[XTUN_ENCAP_FOU] = &xtun_fou_ops,
	[XTUN_ENCAP_GUE] = &xtun_gue_ops,
	[XTUN_ENCAP_GTP] = &xtun_gtp_ops,
	[XTUN_ENCAP_L2TP] = &xtun_l2tp_ops,
	[XTUN_ENCAP_L2TP_IP] = &xtun_l2tp_ip_ops,
	[XTUN_ENCAP_ICMP] = &xtun_icmp_ops,
};

static const struct xtun_wire * const xtun_wires[IPPROTO_RAW + 1] = {
	[IPPROTO_IPIP] = &xtun_ip_wire,
	[IPPROTO_IPV6] = &xtun_ip_wire,
	[IPPROTO_MPLS] = &xtun_ip_wire,
	[IPPROTO_GRE] = &xtun_gre_wire,
	[IPPROTO_L2TP] = &xtun_l2tp_ip_wire,
	[IPPROTO_ICMP] = &xtun_icmp_wire,
	[IPPROTO_ICMPV6] = &xtun_icmp_wire,
};

unsigned int xtun_net_id __read_mostly;

/**
 * xtun_encap_find() - find an encapsulation
 * @id: enum xtun_encap
 *
 * Context: any.
 * Return: its operations, or NULL.
 */
const struct xtun_encap_ops *xtun_encap_find(unsigned int id)
{
	return id <= XTUN_ENCAP_MAX ? xtun_encaps[id] : NULL;
}

/**
 * xtun_wire_by_ipproto() - find what an IP protocol carries
 * @ipproto: protocol number of the outer header
 *
 * Context: any.
 * Return: the form of the header that follows, or NULL.
 */
const struct xtun_wire *xtun_wire_by_ipproto(u8 ipproto)
{
	return xtun_wires[ipproto];
}

static int __net_init xtun_net_init(struct net *net)
{
	struct xtun_net *xn = xtun_net(net);

	xn->net = net;
	INIT_LIST_HEAD(&xn->tunnels);
	spin_lock_init(&xn->event_rate.lock);
	xtun_mtu_net_init(xn);
	return 0;
}

/* Nobody can make a tunnel in a netns that is being left, nor has to wait. */
static void __net_exit xtun_net_pre_exit(struct net *net)
{
	struct xtun_net *xn = xtun_net(net);

	if (xn->used)
		xtun_mtu_net_exit(xn);
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
		xtun_memory_free(xtun_net(net));
}

static struct pernet_operations xtun_net_ops = {
	.init = xtun_net_init,
	.pre_exit = xtun_net_pre_exit,
	.exit_batch = xtun_net_exit_batch,
	.id = &xtun_net_id,
	.size = sizeof(struct xtun_net),
};

static int __init xtun_init(void)
{
	int err;

	err = xtun_lookup_init();
	if (err)
		return err;
	err = register_pernet_device(&xtun_net_ops);
	if (err)
		goto exit_lookup;
	err = xtun_mtu_init();
	if (err)
		goto exit_net;
	err = xtun_underlay_init();
	if (err)
		goto exit_mtu;
	err = xtun_ipproto_init();
	if (err)
		goto exit_underlay;
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
exit_underlay:
	xtun_underlay_exit();
exit_mtu:
	xtun_mtu_exit();
exit_net:
	unregister_pernet_device(&xtun_net_ops);
exit_lookup:
	xtun_lookup_exit();
	return err;
}

static void __exit xtun_exit(void)
{
	xtun_genl_exit();
	rtnl_link_unregister(&xtun_link_ops);
	xtun_ipproto_exit();
	xtun_underlay_exit();
	xtun_mtu_exit();
	unregister_pernet_device(&xtun_net_ops);
	/* Configurations are freed by callbacks of this module. */
	rcu_barrier();
	xtun_lookup_exit();
}

module_init(xtun_init);
module_exit(xtun_exit);

MODULE_DESCRIPTION("One tunnel net_device for every encapsulation");
MODULE_LICENSE("GPL");
MODULE_VERSION(XTUN_VERSION);
MODULE_ALIAS_RTNL_LINK("xtun");
MODULE_ALIAS_GENL_FAMILY("xtun");
