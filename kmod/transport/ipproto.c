// SPDX-License-Identifier: GPL-2.0
/*
 * IP protocols 4, 41 and 137. The kernel hands them to a chain of handlers; the
 * in-tree drivers have their places in it, and a packet that is not for a
 * tunnel of ours goes on to them.
 */
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/jump_label.h>
#include <linux/socket.h>
#include <net/xfrm.h>

#include "../conf.h"
#include "../net.h"
#include "../packet.h"
#include "../wire.h"

/* Before the in-tree drivers, which are at 0 and 1. */
#define XTUN_TUNNEL_PRIORITY	(-1)

/* Tunnels that there are, in whatever netns: without any, others pay nothing for it. */
static DEFINE_STATIC_KEY_FALSE(xtun_ipproto_key);

/* Zero takes the packet; anything else passes it on. */
static int xtun_ipproto_rcv(struct sk_buff *skb, u8 family, u8 ipproto)
{
	if (!static_branch_unlikely(&xtun_ipproto_key) ||
	    list_empty(&xtun_net_rcu(dev_net(skb->dev))->tunnels))
		return -ENOENT;
	return xtun_rcv(skb, XTUN_INPUT_HANDLER, family, ipproto, 0) ? 0 : -ENOENT;
}

static int xtun_rcv_4in4(struct sk_buff *skb)
{
	return xtun_ipproto_rcv(skb, AF_INET, IPPROTO_IPIP);
}

static int xtun_rcv_6in4(struct sk_buff *skb)
{
	return xtun_ipproto_rcv(skb, AF_INET, IPPROTO_IPV6);
}

static int xtun_rcv_mpls_in4(struct sk_buff *skb)
{
	return xtun_ipproto_rcv(skb, AF_INET, IPPROTO_MPLS);
}

static int xtun_rcv_4in6(struct sk_buff *skb)
{
	return xtun_ipproto_rcv(skb, AF_INET6, IPPROTO_IPIP);
}

static int xtun_rcv_6in6(struct sk_buff *skb)
{
	return xtun_ipproto_rcv(skb, AF_INET6, IPPROTO_IPV6);
}

static int xtun_rcv_mpls_in6(struct sk_buff *skb)
{
	return xtun_ipproto_rcv(skb, AF_INET6, IPPROTO_MPLS);
}

/* Zero keeps the error from the in-tree drivers. */
static int xtun_ipproto_err(struct sk_buff *skb, u8 family,
			    const struct xtun_icmp *icmp)
{
	enum xtun_verdict verdict;

	verdict = xtun_icmp_rcv(skb, XTUN_INPUT_HANDLER, family, icmp);
	return verdict == XTUN_VERDICT_OTHERS ? -ENOENT : 0;
}

static int xtun_err_v4(struct sk_buff *skb, u32 info)
{
	struct xtun_icmp icmp;

	xtun_icmp_read(&icmp, AF_INET, icmp_hdr(skb));
	return xtun_ipproto_err(skb, AF_INET, &icmp);
}

static int xtun_err_v6(struct sk_buff *skb, struct inet6_skb_parm *opt, u8 type,
		       u8 code, int offset, __be32 info)
{
	struct xtun_icmp icmp;

	xtun_icmp_read(&icmp, AF_INET6, icmp6_hdr(skb));
	return xtun_ipproto_err(skb, AF_INET6, &icmp);
}

#define XTUN_TUNNEL(rcv, err) \
	{ .handler = rcv, .err_handler = err, .priority = XTUN_TUNNEL_PRIORITY }

static struct xfrm_tunnel xtun_tunnels4[] = {
	XTUN_TUNNEL(xtun_rcv_4in4, xtun_err_v4),
	XTUN_TUNNEL(xtun_rcv_6in4, xtun_err_v4),
	XTUN_TUNNEL(xtun_rcv_mpls_in4, xtun_err_v4),
};

static struct xfrm6_tunnel xtun_tunnels6[] = {
	XTUN_TUNNEL(xtun_rcv_4in6, xtun_err_v6),
	XTUN_TUNNEL(xtun_rcv_6in6, xtun_err_v6),
	XTUN_TUNNEL(xtun_rcv_mpls_in6, xtun_err_v6),
};

/* What the chains are called by, in the order of the handlers. */
static const unsigned short xtun_chains[] = { AF_INET, AF_INET6, AF_MPLS };

/* The handlers are there as long as the module. */
static int xtun_ipproto_get(const struct xtun_conf *conf,
			    struct netlink_ext_ack *extack)
{
	static_branch_inc(&xtun_ipproto_key);
	return 0;
}

static void xtun_ipproto_put(const struct xtun_conf *conf)
{
	static_branch_dec(&xtun_ipproto_key);
}

const struct xtun_transport xtun_ipproto_transport = {
	.input = XTUN_INPUT_HANDLER,
	.get = xtun_ipproto_get,
	.put = xtun_ipproto_put,
};

static void xtun_ipproto_leave(unsigned int n4, unsigned int n6)
{
	while (n6--)
		xfrm6_tunnel_deregister(&xtun_tunnels6[n6], xtun_chains[n6]);
	while (n4--)
		xfrm4_tunnel_deregister(&xtun_tunnels4[n4], xtun_chains[n4]);
}

/**
 * xtun_ipproto_init() - take a place in the chains of handlers
 *
 * Context: process, may sleep.
 * Return: 0, or -EEXIST when another module has the same place.
 */
int xtun_ipproto_init(void)
{
	unsigned int n4, n6;
	int err;

	for (n4 = 0; n4 < ARRAY_SIZE(xtun_chains); n4++) {
		err = xfrm4_tunnel_register(&xtun_tunnels4[n4], xtun_chains[n4]);
		if (err) {
			xtun_ipproto_leave(n4, 0);
			return err;
		}
	}
	for (n6 = 0; n6 < ARRAY_SIZE(xtun_chains); n6++) {
		err = xfrm6_tunnel_register(&xtun_tunnels6[n6], xtun_chains[n6]);
		if (err) {
			xtun_ipproto_leave(n4, n6);
			return err;
		}
	}
	return 0;
}

/**
 * xtun_ipproto_exit() - leave the chains of handlers
 *
 * Context: process, may sleep.
 */
void xtun_ipproto_exit(void)
{
	xtun_ipproto_leave(ARRAY_SIZE(xtun_chains), ARRAY_SIZE(xtun_chains));
}
