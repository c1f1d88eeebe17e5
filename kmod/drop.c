// SPDX-License-Identifier: GPL-2.0
/*
 * Counting and naming what is not delivered.
 */
#include <linux/netdevice.h>
#include <linux/skbuff.h>

#include "device.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/**
 * struct xtun_counter_info - what a counter is to those who look
 * @name: for ethtool -S, netlink and the tracepoint
 * @stat: offset in struct rtnl_link_stats64 of what it counts as, 0 for what
 *	is no drop
 * @total: offset there of the sum it is part of, 0 for drops that are no errors
 * @core: nearest of the core's reasons, to which modules can add none; one
 *	that every supported kernel has
 */
struct xtun_counter_info {
	const char *name;
	u16 stat;
	u16 total;
	enum skb_drop_reason core;
};

#define STAT(field)	offsetof(struct rtnl_link_stats64, field)
#define CORE(reason)	SKB_DROP_REASON_##reason

static const struct xtun_counter_info xtun_counters[XTUN_COUNTERS] = {
	[XTUN_TX_UNCONFIGURED] = {
		"tx-unconfigured", STAT(tx_dropped), 0, CORE(DEV_READY),
	},
	[XTUN_TX_INNER_PROTOCOL] = {
		"tx-inner-protocol", STAT(tx_dropped), 0, CORE(UNHANDLED_PROTO),
	},
	[XTUN_TX_INNER_MALFORMED] = {
		"tx-inner-malformed", STAT(tx_dropped), 0, CORE(HDR_TRUNC),
	},
	[XTUN_TX_NO_PEER] = {
		"tx-no-peer", STAT(tx_dropped), 0, CORE(IP_OUTNOROUTES),
	},
	[XTUN_TX_NO_ROUTE] = {
		"tx-no-route", STAT(tx_carrier_errors), STAT(tx_errors), CORE(IP_OUTNOROUTES),
	},
	[XTUN_TX_ROUTE_LOOP] = {
		"tx-route-loop", STAT(tx_aborted_errors), STAT(tx_errors), CORE(IP_OUTNOROUTES),
	},
	[XTUN_TX_NESTING] = {
		"tx-nesting", STAT(tx_aborted_errors), STAT(tx_errors), CORE(NOT_SPECIFIED),
	},
	[XTUN_TX_TOO_BIG] = {
		"tx-too-big", STAT(tx_dropped), 0, CORE(PKT_TOO_BIG),
	},
	[XTUN_TX_FRAG_NEVER] = {
		"tx-frag-never", STAT(tx_dropped), 0, CORE(PKT_TOO_BIG),
	},
	[XTUN_TX_ENCAP_LIMIT] = {
		"tx-encap-limit", STAT(tx_dropped), 0, CORE(NOT_SPECIFIED),
	},
	[XTUN_TX_NO_MEMORY] = {
		"tx-no-memory", STAT(tx_dropped), 0, CORE(NOMEM),
	},
	[XTUN_TX_FILTERED] = {
		"tx-filtered", STAT(tx_dropped), 0, CORE(NETFILTER_DROP),
	},
	[XTUN_TX_UNDERLAY] = {
		"tx-underlay", STAT(tx_dropped), 0, CORE(NOT_SPECIFIED),
	},
	[XTUN_RX_TRUNCATED] = {
		"rx-truncated", STAT(rx_length_errors), STAT(rx_errors), CORE(HDR_TRUNC),
	},
	[XTUN_RX_VERSION] = {
		"rx-version", STAT(rx_frame_errors), STAT(rx_errors), CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_ROUTING] = {
		"rx-routing", STAT(rx_frame_errors), STAT(rx_errors), CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_FLAGS] = {
		"rx-flags", STAT(rx_frame_errors), STAT(rx_errors), CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_OPTION] = {
		"rx-option", STAT(rx_frame_errors), STAT(rx_errors), CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_CONTROL] = {
		"rx-control", STAT(rx_dropped), 0, CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_COOKIE] = {
		"rx-cookie", STAT(rx_frame_errors), STAT(rx_errors), CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_REFLECTED] = {
		"rx-reflected", STAT(rx_dropped), 0, CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_SAME_ROLE] = {
		"rx-same-role", STAT(rx_dropped), 0, CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_ECHO_ID] = {
		"rx-echo-id", STAT(rx_dropped), 0, CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_CHECKSUM] = {
		"rx-checksum", STAT(rx_crc_errors), STAT(rx_errors), CORE(SKB_CSUM),
	},
	[XTUN_RX_NO_CHECKSUM] = {
		"rx-no-checksum", STAT(rx_crc_errors), STAT(rx_errors), CORE(SKB_CSUM),
	},
	[XTUN_RX_SEQUENCE] = {
		"rx-sequence", STAT(rx_fifo_errors), STAT(rx_errors), CORE(NOT_SPECIFIED),
	},
	[XTUN_RX_NO_SEQUENCE] = {
		"rx-no-sequence", STAT(rx_fifo_errors), STAT(rx_errors), CORE(NOT_SPECIFIED),
	},
	[XTUN_RX_INNER_PROTOCOL] = {
		"rx-inner-protocol", STAT(rx_frame_errors), STAT(rx_errors), CORE(UNHANDLED_PROTO),
	},
	[XTUN_RX_INNER_MALFORMED] = {
		"rx-inner-malformed", STAT(rx_frame_errors), STAT(rx_errors), CORE(HDR_TRUNC),
	},
	[XTUN_RX_OWN_SOURCE] = {
		"rx-own-source", STAT(rx_dropped), 0, CORE(NOT_SPECIFIED),
	},
	[XTUN_RX_NOT_ALLOWED] = {
		"rx-not-allowed", STAT(rx_dropped), 0, CORE(IP_RPFILTER),
	},
	[XTUN_RX_ECN] = {
		"rx-ecn", STAT(rx_frame_errors), STAT(rx_errors), CORE(NOT_SPECIFIED),
	},
	[XTUN_RX_NESTING] = {
		"rx-nesting", STAT(rx_frame_errors), STAT(rx_errors), CORE(NOT_SPECIFIED),
	},
	[XTUN_RX_POLICY] = {
		"rx-policy", STAT(rx_dropped), 0, CORE(XFRM_POLICY),
	},
	[XTUN_RX_CONNTRACK] = {
		"rx-conntrack", STAT(rx_dropped), 0, CORE(NETFILTER_DROP),
	},
	[XTUN_RX_BACKLOG] = {
		"rx-backlog", STAT(rx_fifo_errors), STAT(rx_dropped), CORE(CPU_BACKLOG),
	},
	[XTUN_RX_NO_MEMORY] = {
		"rx-no-memory", STAT(rx_dropped), 0, CORE(NOMEM),
	},
	[XTUN_RX_OTHER_KEY] = { "rx-other-key" },
	[XTUN_RX_OTHER_PEER] = { "rx-other-peer" },
	[XTUN_ERR_RELAYED] = { "err-relayed" },
	[XTUN_ERR_AGAIN] = { "err-again" },
	[XTUN_ERR_TOO_BIG] = { "err-too-big" },
	[XTUN_ERR_REDIRECT] = { "err-redirect" },
	[XTUN_ERR_REASSEMBLY] = { "err-reassembly" },
	[XTUN_ERR_SOURCE_QUENCH] = { "err-source-quench" },
	[XTUN_ERR_SOURCE_ROUTE] = { "err-source-route" },
	[XTUN_ERR_OTHER] = { "err-other" },
	[XTUN_ERR_FORGED] = { "err-forged" },
	[XTUN_ERR_BOGUS_MTU] = { "err-bogus-mtu" },
	[XTUN_ERR_SHORT] = { "err-short" },
	[XTUN_ERR_UNKNOWN_KEY] = { "err-unknown-key" },
	[XTUN_ERR_MUTE] = { "err-mute" },
	[XTUN_ERR_OFF] = { "err-off" },
	[XTUN_ERR_NO_MEMORY] = { "err-no-memory" },
};

/**
 * xtun_counter_name() - name of a counter, as users see it
 * @counter: an enum xtun_drop_reason, not XTUN_OK, or an enum xtun_counter
 *
 * Context: any.
 * Return: a string that lives as long as the module.
 */
const char *xtun_counter_name(unsigned int counter)
{
	return xtun_counters[counter].name;
}

/**
 * xtun_count() - count an error, or a packet that somebody else has ended the life of
 * @tun: the tunnel that it is for
 * @counter: as for xtun_counter_name()
 *
 * Context: BH disabled.
 */
void xtun_count(struct xtun_dev *tun, unsigned int counter)
{
	struct xtun_pcpu *pcpu = this_cpu_ptr(tun->pcpu);
	unsigned long now = jiffies;

	u64_stats_update_begin(&pcpu->syncp);
	u64_stats_inc(&pcpu->counters[counter]);
	u64_stats_update_end(&pcpu->syncp);

	/* Shared by all CPUs: a flood writes it once a tick. */
	if (READ_ONCE(tun->counted[counter]) != now)
		WRITE_ONCE(tun->counted[counter], now);
}

/**
 * xtun_drop() - end the life of a packet, and count why
 * @tun: the tunnel that it is for
 * @skb: the packet, freed
 * @reason: why, never XTUN_OK
 *
 * Context: BH disabled.
 * Return: always -EINVAL, for the caller to end with `return xtun_drop(...)`.
 */
int xtun_drop(struct xtun_dev *tun, struct sk_buff *skb,
	      enum xtun_drop_reason reason)
{
	xtun_count(tun, reason);
	trace_xtun_drop(tun->dev, skb, xtun_counters[reason].name);
	kfree_skb_reason(skb, xtun_counters[reason].core);
	return -EINVAL;
}

/**
 * xtun_counted() - how often a tunnel has counted something
 * @tun: the tunnel
 * @counter: as for xtun_counter_name()
 *
 * Context: any.
 * Return: the sum over all CPUs.
 */
u64 xtun_counted(const struct xtun_dev *tun, unsigned int counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct xtun_pcpu *pcpu = per_cpu_ptr(tun->pcpu, cpu);
		unsigned int start;
		u64 value;

		do {
			start = u64_stats_fetch_begin(&pcpu->syncp);
			value = u64_stats_read(&pcpu->counters[counter]);
		} while (u64_stats_fetch_retry(&pcpu->syncp, start));
		sum += value;
	}
	return sum;
}

/**
 * xtun_counted_last() - when a tunnel counted something last
 * @tun: the tunnel
 * @counter: as for xtun_counter_name(), one that is not zero
 *
 * Context: any.
 * Return: the time, in jiffies.
 */
unsigned long xtun_counted_last(const struct xtun_dev *tun,
				unsigned int counter)
{
	return READ_ONCE(tun->counted[counter]);
}

/**
 * xtun_drops_to_stats64() - add a tunnel's drops to its interface statistics
 * @tun: the tunnel
 * @stats: what to add to
 *
 * Context: any.
 */
void xtun_drops_to_stats64(const struct xtun_dev *tun,
			   struct rtnl_link_stats64 *stats)
{
	enum xtun_drop_reason reason;

	for (reason = XTUN_OK + 1; reason < XTUN_DROP_REASONS; reason++) {
		const struct xtun_counter_info *info = &xtun_counters[reason];
		u64 count = xtun_counted(tun, reason);

		if (info->stat)
			*(__u64 *)((char *)stats + info->stat) += count;
		if (info->total)
			*(__u64 *)((char *)stats + info->total) += count;
	}
}
