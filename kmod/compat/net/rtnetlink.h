/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_NET_RTNETLINK_H
#define _XTUN_COMPAT_NET_RTNETLINK_H

#include_next <net/rtnetlink.h>

/* The request that made a link became an argument, for replies to it. */
static inline int xtun_configure_link(struct net_device *dev)
{
#ifdef XTUN_HAVE_CONFIGURE_LINK_NLH
	return rtnl_configure_link(dev, NULL, 0, NULL);
#else
	return rtnl_configure_link(dev, NULL);
#endif
}

/*
 * A new link's parameters came one by one before they came in a structure.
 * XTUN_NEWLINK_OP() makes rtnl_link_ops.newlink of a function that takes them so.
 */
#ifndef XTUN_HAVE_NEWLINK_PARAMS
struct rtnl_newlink_params {
	struct net *src_net;
	struct nlattr **tb;
};

/* That of the link if the request names one, else that of the request. */
static inline struct net *
rtnl_newlink_link_net(const struct rtnl_newlink_params *params)
{
	return params->src_net;
}
#endif

#ifdef XTUN_HAVE_NEWLINK_PARAMS
#define XTUN_NEWLINK_OP(name, function)					\
static int name(struct net_device *dev,					\
		struct rtnl_newlink_params *params,			\
		struct netlink_ext_ack *extack)				\
{									\
	return function(dev, params, extack);				\
}
#else
#define XTUN_NEWLINK_OP(name, function)					\
static int name(struct net *src_net, struct net_device *dev,		\
		struct nlattr *tb[], struct nlattr *data[],		\
		struct netlink_ext_ack *extack)				\
{									\
	struct rtnl_newlink_params params = {				\
		.src_net = src_net,					\
		.tb = tb,						\
	};								\
									\
	return function(dev, &params, extack);				\
}
#endif

#endif /* _XTUN_COMPAT_NET_RTNETLINK_H */
