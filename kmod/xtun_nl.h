/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	specs/xtun.yaml */
/* YNL-GEN kernel header */

#ifndef _LINUX_XTUN_GEN_H
#define _LINUX_XTUN_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/xtun.h>

/* Common nested types */
extern const struct nla_policy xtun_allow_nl_policy[XTUN_A_ALLOW_PREFIX + 1];
extern const struct nla_policy xtun_conf_nl_policy[XTUN_A_CONF_HIDDEN + 1];
extern const struct nla_policy xtun_prefix_nl_policy[XTUN_A_PREFIX_LEN + 1];

extern const struct nla_policy xtun_get_nl_policy[XTUN_A_TUNNEL_IFNAME + 1];

extern const struct nla_policy xtun_new_nl_policy[XTUN_A_TUNNEL_NETNS_FD + 1];

extern const struct nla_policy xtun_set_nl_policy[XTUN_A_TUNNEL_CONF + 1];

extern const struct nla_policy xtun_del_nl_policy[XTUN_A_TUNNEL_IFNAME + 1];

extern const struct nla_policy xtun_stats_get_nl_policy[XTUN_A_TUNNEL_IFNAME + 1];

extern const struct nla_policy xtun_path_get_nl_policy[XTUN_A_TUNNEL_ADDR + 1];

extern const struct genl_multicast_group xtun_nl_mcgrps[1];

/* Ops table for xtun */
extern const struct genl_ops xtun_nl_ops[6];

int xtun_nl_get_doit(struct sk_buff *skb, struct genl_info *info);
int xtun_nl_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int xtun_nl_new_doit(struct sk_buff *skb, struct genl_info *info);
int xtun_nl_set_doit(struct sk_buff *skb, struct genl_info *info);
int xtun_nl_del_doit(struct sk_buff *skb, struct genl_info *info);
int xtun_nl_stats_get_doit(struct sk_buff *skb, struct genl_info *info);
int xtun_nl_stats_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int xtun_nl_path_get_doit(struct sk_buff *skb, struct genl_info *info);
int xtun_nl_path_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);

enum {
	XTUN_NLGRP_EVENTS,
};

#endif /* _LINUX_XTUN_GEN_H */
