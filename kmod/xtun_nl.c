// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	specs/xtun.yaml */
/* YNL-GEN kernel source */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "xtun_nl.h"

#include <uapi/linux/xtun.h>

/* Common nested types */
const struct nla_policy xtun_allow_nl_policy[XTUN_A_ALLOW_PREFIX + 1] = {
	[XTUN_A_ALLOW_PREFIX] = NLA_POLICY_NESTED(xtun_prefix_nl_policy),
};

const struct nla_policy xtun_conf_nl_policy[XTUN_A_CONF_HIDDEN + 1] = {
	[XTUN_A_CONF_ENCAP] = NLA_POLICY_RANGE(NLA_U32, 1, 11),
	[XTUN_A_CONF_PAYLOAD] = NLA_POLICY_RANGE(NLA_U32, 1, 2),
	[XTUN_A_CONF_LOCAL] = { .type = NLA_BINARY, },
	[XTUN_A_CONF_REMOTE] = { .type = NLA_BINARY, },
	[XTUN_A_CONF_LINK] = { .type = NLA_U32, },
	[XTUN_A_CONF_FWMARK] = { .type = NLA_U32, },
	[XTUN_A_CONF_NOKEY] = { .type = NLA_FLAG, },
	[XTUN_A_CONF_IKEY] = { .type = NLA_U32, },
	[XTUN_A_CONF_OKEY] = { .type = NLA_U32, },
	[XTUN_A_CONF_TTL] = { .type = NLA_U8, },
	[XTUN_A_CONF_TOS] = { .type = NLA_U8, },
	[XTUN_A_CONF_FLOWLABEL] = { .type = NLA_U32, },
	[XTUN_A_CONF_ENCAPLIMIT] = { .type = NLA_U16, },
	[XTUN_A_CONF_DF] = NLA_POLICY_RANGE(NLA_U32, 1, 3),
	[XTUN_A_CONF_FRAG] = NLA_POLICY_RANGE(NLA_U32, 1, 3),
	[XTUN_A_CONF_FLAGS] = NLA_POLICY_BITFIELD32(31),
	[XTUN_A_CONF_MTU] = { .type = NLA_U32, },
	[XTUN_A_CONF_ALLOW] = NLA_POLICY_NESTED(xtun_allow_nl_policy),
	[XTUN_A_CONF_SPORT_MIN] = { .type = NLA_U16, },
	[XTUN_A_CONF_SPORT_MAX] = { .type = NLA_U16, },
	[XTUN_A_CONF_DPORT] = { .type = NLA_U16, },
	[XTUN_A_CONF_EXTERNAL] = { .type = NLA_FLAG, },
	[XTUN_A_CONF_ICMP_RELAY] = NLA_POLICY_RANGE(NLA_U32, 1, 3),
	[XTUN_A_CONF_ICMP_MEMORY] = NLA_POLICY_RANGE(NLA_U32, 1, 3),
	[XTUN_A_CONF_MSS] = { .type = NLA_U32, },
	[XTUN_A_CONF_QFI] = { .type = NLA_U8, },
	[XTUN_A_CONF_PDU] = NLA_POLICY_RANGE(NLA_U32, 1, 2),
	[XTUN_A_CONF_ICOOKIE] = { .type = NLA_BINARY, },
	[XTUN_A_CONF_OCOOKIE] = { .type = NLA_BINARY, },
	[XTUN_A_CONF_L2SPEC] = NLA_POLICY_RANGE(NLA_U32, 1, 2),
	[XTUN_A_CONF_ECHO] = NLA_POLICY_RANGE(NLA_U32, 1, 2),
	[XTUN_A_CONF_KEEPALIVE] = { .type = NLA_U16, },
	[XTUN_A_CONF_LINK_NAME] = { .type = NLA_NUL_STRING, .len = 15, },
	[XTUN_A_CONF_FWMARK_FROM] = NLA_POLICY_RANGE(NLA_U32, 1, 2),
	[XTUN_A_CONF_MARK_IN] = { .type = NLA_U32, },
	[XTUN_A_CONF_MARK_IN_FROM] = NLA_POLICY_RANGE(NLA_U32, 1, 2),
	[XTUN_A_CONF_LPORT] = { .type = NLA_U16, },
	[XTUN_A_CONF_HIDDEN] = { .type = NLA_FLAG, },
};

const struct nla_policy xtun_prefix_nl_policy[XTUN_A_PREFIX_LEN + 1] = {
	[XTUN_A_PREFIX_ADDR] = { .type = NLA_BINARY, },
	[XTUN_A_PREFIX_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
};

/* XTUN_CMD_GET - do */
const struct nla_policy xtun_get_nl_policy[XTUN_A_TUNNEL_IFNAME + 1] = {
	[XTUN_A_TUNNEL_IFINDEX] = { .type = NLA_U32, },
	[XTUN_A_TUNNEL_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
};

/* XTUN_CMD_NEW - do */
const struct nla_policy xtun_new_nl_policy[XTUN_A_TUNNEL_NETNS_FD + 1] = {
	[XTUN_A_TUNNEL_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
	[XTUN_A_TUNNEL_NETNS_FD] = { .type = NLA_U32, },
	[XTUN_A_TUNNEL_CONF] = NLA_POLICY_NESTED(xtun_conf_nl_policy),
};

/* XTUN_CMD_SET - do */
const struct nla_policy xtun_set_nl_policy[XTUN_A_TUNNEL_CONF + 1] = {
	[XTUN_A_TUNNEL_IFINDEX] = { .type = NLA_U32, },
	[XTUN_A_TUNNEL_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
	[XTUN_A_TUNNEL_CONF] = NLA_POLICY_NESTED(xtun_conf_nl_policy),
};

/* XTUN_CMD_DEL - do */
const struct nla_policy xtun_del_nl_policy[XTUN_A_TUNNEL_IFNAME + 1] = {
	[XTUN_A_TUNNEL_IFINDEX] = { .type = NLA_U32, },
	[XTUN_A_TUNNEL_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
};

/* XTUN_CMD_STATS_GET - do */
const struct nla_policy xtun_stats_get_nl_policy[XTUN_A_TUNNEL_IFNAME + 1] = {
	[XTUN_A_TUNNEL_IFINDEX] = { .type = NLA_U32, },
	[XTUN_A_TUNNEL_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
};

/* XTUN_CMD_PATH_GET - do */
const struct nla_policy xtun_path_get_nl_policy[XTUN_A_TUNNEL_ADDR + 1] = {
	[XTUN_A_TUNNEL_IFINDEX] = { .type = NLA_U32, },
	[XTUN_A_TUNNEL_IFNAME] = { .type = NLA_NUL_STRING, .len = 15, },
	[XTUN_A_TUNNEL_ADDR] = { .type = NLA_BINARY, },
};

/* Ops table for xtun */
const struct genl_ops xtun_nl_ops[6] = {
	{
		.cmd		= XTUN_CMD_GET,
		.doit		= xtun_nl_get_doit,
		.dumpit		= xtun_nl_get_dumpit,
		.policy		= xtun_get_nl_policy,
		.maxattr	= XTUN_A_TUNNEL_IFNAME,
	},
	{
		.cmd		= XTUN_CMD_NEW,
		.doit		= xtun_nl_new_doit,
		.policy		= xtun_new_nl_policy,
		.maxattr	= XTUN_A_TUNNEL_NETNS_FD,
		.flags		= GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd		= XTUN_CMD_SET,
		.doit		= xtun_nl_set_doit,
		.policy		= xtun_set_nl_policy,
		.maxattr	= XTUN_A_TUNNEL_CONF,
		.flags		= GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd		= XTUN_CMD_DEL,
		.doit		= xtun_nl_del_doit,
		.policy		= xtun_del_nl_policy,
		.maxattr	= XTUN_A_TUNNEL_IFNAME,
		.flags		= GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd		= XTUN_CMD_STATS_GET,
		.doit		= xtun_nl_stats_get_doit,
		.dumpit		= xtun_nl_stats_get_dumpit,
		.policy		= xtun_stats_get_nl_policy,
		.maxattr	= XTUN_A_TUNNEL_IFNAME,
	},
	{
		.cmd		= XTUN_CMD_PATH_GET,
		.doit		= xtun_nl_path_get_doit,
		.dumpit		= xtun_nl_path_get_dumpit,
		.policy		= xtun_path_get_nl_policy,
		.maxattr	= XTUN_A_TUNNEL_ADDR,
	},
};

const struct genl_multicast_group xtun_nl_mcgrps[] = {
	[XTUN_NLGRP_EVENTS] = { "events", GENL_MCAST_CAP_NET_ADMIN, },
};
