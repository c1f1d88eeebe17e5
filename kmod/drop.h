/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why packets are not delivered.
 */
#ifndef _XTUN_DROP_H
#define _XTUN_DROP_H

#include <linux/types.h>

struct net_device;
struct rtnl_link_stats64;
struct sk_buff;
struct xtun_dev;

/* Why a packet is dropped. */
enum xtun_drop_reason {
	/* It is not. */
	XTUN_OK,
	XTUN_TX_UNCONFIGURED,
	XTUN_TX_INNER_PROTOCOL,
	XTUN_TX_INNER_MALFORMED,
	XTUN_TX_NO_PEER,
	XTUN_TX_NO_ROUTE,
	XTUN_TX_ROUTE_LOOP,
	XTUN_TX_NESTING,
	XTUN_TX_TOO_BIG,
	XTUN_TX_FRAG_NEVER,
	XTUN_TX_ENCAP_LIMIT,
	XTUN_TX_NO_MEMORY,
	XTUN_TX_FILTERED,
	XTUN_TX_UNDERLAY,
	XTUN_RX_TRUNCATED,
	XTUN_RX_VERSION,
	XTUN_RX_ROUTING,
	XTUN_RX_FLAGS,
	XTUN_RX_OPTION,
	XTUN_RX_CONTROL,
	XTUN_RX_COOKIE,
	XTUN_RX_REFLECTED,
	XTUN_RX_SAME_ROLE,
	XTUN_RX_ECHO_ID,
	XTUN_RX_CHECKSUM,
	XTUN_RX_NO_CHECKSUM,
	XTUN_RX_SEQUENCE,
	XTUN_RX_NO_SEQUENCE,
	XTUN_RX_INNER_PROTOCOL,
	XTUN_RX_INNER_MALFORMED,
	XTUN_RX_OWN_SOURCE,
	XTUN_RX_NOT_ALLOWED,
	XTUN_RX_ECN,
	XTUN_RX_NESTING,
	XTUN_RX_POLICY,
	XTUN_RX_CONNTRACK,
	XTUN_RX_BACKLOG,
	XTUN_RX_NO_MEMORY,
	XTUN_DROP_REASONS,
};

/* What is counted beside drops, in the same table. */
enum xtun_counter {
	/* It is left to others, and speaks for a mistake. */
	XTUN_RX_OTHER_KEY = XTUN_DROP_REASONS,
	XTUN_RX_OTHER_PEER,
	/* What becomes of ICMP errors about outer packets. */
	XTUN_ERR_RELAYED,
	XTUN_ERR_AGAIN,
	XTUN_ERR_TOO_BIG,
	XTUN_ERR_REDIRECT,
	XTUN_ERR_REASSEMBLY,
	XTUN_ERR_SOURCE_QUENCH,
	XTUN_ERR_SOURCE_ROUTE,
	XTUN_ERR_OTHER,
	XTUN_ERR_FORGED,
	XTUN_ERR_BOGUS_MTU,
	XTUN_ERR_SHORT,
	XTUN_ERR_UNKNOWN_KEY,
	XTUN_ERR_MUTE,
	XTUN_ERR_OFF,
	XTUN_ERR_NO_MEMORY,
	XTUN_COUNTERS,
};

const char *xtun_counter_name(unsigned int counter);
void xtun_count(struct xtun_dev *tun, unsigned int counter);
int xtun_drop(struct xtun_dev *tun, struct sk_buff *skb,
	      enum xtun_drop_reason reason);
u64 xtun_counted(const struct xtun_dev *tun, unsigned int counter);
unsigned long xtun_counted_last(const struct xtun_dev *tun,
				unsigned int counter);
void xtun_drops_to_stats64(const struct xtun_dev *tun,
			   struct rtnl_link_stats64 *stats);

#endif /* _XTUN_DROP_H */
