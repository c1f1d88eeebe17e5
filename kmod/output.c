// SPDX-License-Identifier: GPL-2.0
/*
 * How an outer packet leaves this host through the IP stack's output; and who looks
 * at it there. output.h has the short way, for where nobody does.
 */
#include <linux/kallsyms.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/string.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>

#include "conf.h"
#include "device.h"
#include "output.h"
#include "packet.h"
#include "route.h"

struct xtun_seen_hook xtun_apparmor __ro_after_init;

/* A copy of a route for one packet, without what the kernel has learned. */
static struct dst_entry *xtun_untaught4(const struct dst_entry *dst)
{
	const struct rtable *rt = container_of(dst, struct rtable, dst);
	struct rtable *copy;

	/* NAT asks for a policy once more, with this route. */
	copy = rt_dst_alloc(dst->dev, rt->rt_flags, rt->rt_type,
			    dst->flags & DST_NOXFRM);
	if (!copy)
		return NULL;
	copy->rt_uses_gateway = rt->rt_uses_gateway;
	copy->rt_gw_family = rt->rt_gw_family;
	if (rt->rt_gw_family == AF_INET6)
		copy->rt_gw6 = rt->rt_gw6;
	else
		copy->rt_gw4 = rt->rt_gw4;
	return &copy->dst;
}

static struct dst_entry *xtun_untaught6(const struct dst_entry *dst)
{
	const struct rt6_info *rt6 = container_of(dst, struct rt6_info, dst);
	struct rt6_info *copy;

	copy = ip6_dst_alloc(dev_net(dst->dev), dst->dev, 0);
	if (!copy)
		return NULL;
	copy->rt6i_idev = in6_dev_get(dst->dev);
	if (!copy->rt6i_idev) {
		dst_release(&copy->dst);
		return NULL;
	}
	copy->rt6i_flags = rt6->rt6i_flags & RTF_GATEWAY;
	copy->rt6i_gateway = rt6->rt6i_gateway;
	copy->rt6i_dst = rt6->rt6i_dst;
	return &copy->dst;
}

/*
 * The IP stack would refuse, or cut, what is longer than the path MTU that it has
 * learned, from whomever. So a packet that the tunnel knows to fit gets a route
 * that has none.
 */
static void xtun_dst_unteach(struct xtun_cx *cx)
{
	unsigned int mtu = dst_mtu(cx->dst);
	struct dst_entry *copy;

	if (skb_is_gso(cx->skb) ? skb_gso_validate_network_len(cx->skb, mtu) :
				  cx->skb->len <= mtu)
		return;
	copy = cx->conf->p.family == AF_INET ? xtun_untaught4(cx->dst) :
					       xtun_untaught6(cx->dst);
	if (!copy)
		return;
	copy->output = cx->dst->output;
	copy->lwtstate = lwtstate_get(cx->dst->lwtstate);
	dst_release(cx->dst);
	cx->dst = copy;
}

/**
 * xtun_output_stack() - send an outer packet the way that every packet of this host takes
 * @cx: as for xtun_output()
 *
 * Context: BH disabled.
 * Return: as IP's output has it.
 */
int xtun_output_stack(struct xtun_cx *cx)
{
	struct net *net = cx->tun->net;
	struct sk_buff *skb = cx->skb;

	if (unlikely(xtun_dst_taught(cx->dst)))
		xtun_dst_unteach(cx);
	skb->ignore_df = cx->outer_frag;
	skb_dst_set(skb, cx->dst);
	if (cx->conf->p.family == AF_INET)
		return ip_local_out(net, NULL, skb);
	return ip6_local_out(net, NULL, skb);
}

/* A function of a module has the module's name in brackets behind its own. */
static bool xtun_is_apparmor(const void *function)
{
	static const char * const names[] = {
		"apparmor_ip_postroute",
		"apparmor_ipv4_postroute",
		"apparmor_ipv6_postroute",
	};
	char name[KSYM_SYMBOL_LEN];

	snprintf(name, sizeof(name), "%ps", function);
	return match_string(names, ARRAY_SIZE(names), name) >= 0;
}

static unsigned long xtun_find_apparmor(u8 family)
{
	const struct nf_hook_entries *hooks;
	struct nf_hook_ops **ops;
	unsigned long found = 0;
	int i;

	rcu_read_lock_bh();
	hooks = xtun_hooks(&init_net, family, NF_INET_POST_ROUTING);
	ops = hooks ? nf_hook_entries_get_hook_ops(hooks) : NULL;
	for (i = 0; hooks && i < hooks->num_hook_entries; i++) {
		if (READ_ONCE(ops[i]->priority) == NF_IP_PRI_SELINUX_FIRST &&
		    xtun_is_apparmor(hooks->hooks[i].hook))
			found = (unsigned long)hooks->hooks[i].hook;
	}
	rcu_read_unlock_bh();
	return found;
}

/**
 * xtun_output_init() - find out who looks at every packet of this host in vain
 *
 * AppArmor's hook asks for a packet's security mark first, and is done with one that has
 * none, on all kernels that this module is for. It exports no name; it is there before
 * any module can be loaded, and is the same in every netns.
 *
 * Context: process.
 */
void __init xtun_output_init(void)
{
	xtun_apparmor.hook[0] = xtun_find_apparmor(AF_INET);
	xtun_apparmor.hook[1] = xtun_find_apparmor(AF_INET6);
}
