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
 * A new link's parameters came one by one before they came in a structure, as
 * xtun_newlink() takes them. XTUN_NEWLINK is what rtnl_link_ops has to have.
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

int xtun_newlink(struct net_device *dev, struct rtnl_newlink_params *params,
		 struct netlink_ext_ack *extack);

#ifdef XTUN_HAVE_NEWLINK_PARAMS
#define XTUN_NEWLINK	xtun_newlink
#else
static inline int xtun_newlink_args(struct net *src_net, struct net_device *dev,
				    struct nlattr *tb[], struct nlattr *data[],
				    struct netlink_ext_ack *extack)
{
	struct rtnl_newlink_params params = { .src_net = src_net, .tb = tb };

	return xtun_newlink(dev, &params, extack);
}

#define XTUN_NEWLINK	xtun_newlink_args
#endif

#endif /* _XTUN_COMPAT_NET_RTNETLINK_H */
