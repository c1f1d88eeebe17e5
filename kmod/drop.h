/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why packets are not delivered: the names that ethtool -S, netlink and the
 * tracepoint use, and what each counts as in struct rtnl_link_stats64.
 */
#ifndef _XTUN_DROP_H
#define _XTUN_DROP_H

#include <linux/types.h>

struct net_device;
struct rtnl_link_stats64;
struct sk_buff;
struct xtun_dev;

/*
 * X(identifier, name, field of rtnl_link_stats64, nearest core drop reason)
 *
 * The core's reasons are those that every supported kernel has: modules cannot
 * register their own.
 */
#define XTUN_DROPS(X) \
	X(TX_UNCONFIGURED, "tx-unconfigured", tx_dropped, DEV_READY) \
	X(TX_INNER_PROTOCOL, "tx-inner-protocol", tx_dropped, UNHANDLED_PROTO) \
	X(TX_INNER_MALFORMED, "tx-inner-malformed", tx_dropped, HDR_TRUNC) \
	X(TX_NO_PEER, "tx-no-peer", tx_dropped, IP_OUTNOROUTES) \
	X(TX_NO_ROUTE, "tx-no-route", tx_carrier_errors, IP_OUTNOROUTES) \
	X(TX_ROUTE_LOOP, "tx-route-loop", tx_aborted_errors, IP_OUTNOROUTES) \
	X(TX_TOO_BIG, "tx-too-big", tx_dropped, PKT_TOO_BIG) \
	X(TX_FRAG_NEVER, "tx-frag-never", tx_dropped, PKT_TOO_BIG) \
	X(TX_ENCAP_LIMIT, "tx-encap-limit", tx_dropped, NOT_SPECIFIED) \
	X(TX_NO_MEMORY, "tx-no-memory", tx_dropped, NOMEM) \
	X(RX_TRUNCATED, "rx-truncated", rx_length_errors, HDR_TRUNC) \
	X(RX_VERSION, "rx-version", rx_frame_errors, UNHANDLED_PROTO) \
	X(RX_ROUTING, "rx-routing", rx_frame_errors, UNHANDLED_PROTO) \
	X(RX_FLAGS, "rx-flags", rx_frame_errors, UNHANDLED_PROTO) \
	X(RX_CHECKSUM, "rx-checksum", rx_crc_errors, SKB_CSUM) \
	X(RX_NO_CHECKSUM, "rx-no-checksum", rx_crc_errors, SKB_CSUM) \
	X(RX_SEQUENCE, "rx-sequence", rx_fifo_errors, NOT_SPECIFIED) \
	X(RX_NO_SEQUENCE, "rx-no-sequence", rx_fifo_errors, NOT_SPECIFIED) \
	X(RX_INNER_PROTOCOL, "rx-inner-protocol", rx_frame_errors, \
	  UNHANDLED_PROTO) \
	X(RX_INNER_MALFORMED, "rx-inner-malformed", rx_frame_errors, HDR_TRUNC) \
	X(RX_NOT_ALLOWED, "rx-not-allowed", rx_dropped, IP_RPFILTER) \
	X(RX_ECN, "rx-ecn", rx_frame_errors, NOT_SPECIFIED) \
	X(RX_POLICY, "rx-policy", rx_dropped, XFRM_POLICY) \
	X(RX_BACKLOG, "rx-backlog", rx_fifo_errors, CPU_BACKLOG) \
	X(RX_NO_MEMORY, "rx-no-memory", rx_dropped, NOMEM)

enum xtun_reason {
	/* Zero is "none", for steps that return a reason. */
	XTUN_OK,
#define XTUN_DROP_ENUM(id, name, field, core) XTUN_##id,
	XTUN_DROPS(XTUN_DROP_ENUM)
#undef XTUN_DROP_ENUM
	XTUN_REASONS,
	/* Not a drop: the packet is for somebody else. */
	XTUN_NOT_OURS,
};

const char *xtun_reason_name(unsigned int reason);
int xtun_drop(struct xtun_dev *tun, struct sk_buff *skb,
	      enum xtun_reason reason);
u64 xtun_drops(const struct xtun_dev *tun, enum xtun_reason reason);
void xtun_drops_to_stats64(const struct xtun_dev *tun,
			   struct rtnl_link_stats64 *stats);

#endif /* _XTUN_DROP_H */
