// SPDX-License-Identifier: GPL-2.0
/*
 * Counting and naming what is not delivered.
 */
#include <linux/netdevice.h>
#include <linux/skbuff.h>

#include "xtun.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

struct xtun_reason_info {
	const char *name;
	u16 field;
	u16 total;
	enum skb_drop_reason core;
};

#define XTUN_FIELD(field)	offsetof(struct rtnl_link_stats64, field)

/* Errors of one kind are also part of all errors; drops are not errors. */
#define XTUN_TOTAL(field) \
	(XTUN_FIELD(field) == XTUN_FIELD(rx_dropped) || \
	 XTUN_FIELD(field) == XTUN_FIELD(tx_dropped) ? 0 : \
	 XTUN_FIELD(field) == XTUN_FIELD(tx_carrier_errors) || \
	 XTUN_FIELD(field) == XTUN_FIELD(tx_aborted_errors) ? \
	 XTUN_FIELD(tx_errors) : XTUN_FIELD(rx_errors))

static const struct xtun_reason_info xtun_reasons[XTUN_REASONS] = {
#define XTUN_DROP_INFO(id, str, fld, reason) \
	[XTUN_##id] = { \
		.name = str, \
		.field = XTUN_FIELD(fld), \
		.total = XTUN_TOTAL(fld), \
		.core = SKB_DROP_REASON_##reason, \
	},
	XTUN_DROPS(XTUN_DROP_INFO)
#undef XTUN_DROP_INFO
};

/**
 * xtun_reason_name() - name of a reason, as users see it
 * @reason: an enum xtun_reason, other than XTUN_OK and XTUN_NOT_OURS
 *
 * Context: any.
 * Return: a string that lives as long as the module.
 */
const char *xtun_reason_name(unsigned int reason)
{
	return xtun_reasons[reason].name;
}

/**
 * xtun_drop() - end the life of a packet, and count why
 * @tun: the tunnel that it is for
 * @skb: the packet, freed
 * @reason: why, never XTUN_OK or XTUN_NOT_OURS
 *
 * Context: BH disabled.
 * Return: always -EINVAL, for the caller to end with `return xtun_drop(...)`.
 */
int xtun_drop(struct xtun_dev *tun, struct sk_buff *skb,
	      enum xtun_reason reason)
{
	struct xtun_pcpu *pcpu = this_cpu_ptr(tun->pcpu);

	u64_stats_update_begin(&pcpu->syncp);
	u64_stats_inc(&pcpu->drops[reason]);
	u64_stats_update_end(&pcpu->syncp);

	trace_xtun_drop(tun->dev, skb, reason);
	kfree_skb_reason(skb, xtun_reasons[reason].core);
	return -EINVAL;
}

/**
 * xtun_drops() - packets that a tunnel has dropped for one reason
 * @tun: the tunnel
 * @reason: the reason
 *
 * Context: any.
 * Return: the sum over all CPUs.
 */
u64 xtun_drops(const struct xtun_dev *tun, enum xtun_reason reason)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct xtun_pcpu *pcpu = per_cpu_ptr(tun->pcpu, cpu);
		unsigned int start;
		u64 value;

		do {
			start = u64_stats_fetch_begin(&pcpu->syncp);
			value = u64_stats_read(&pcpu->drops[reason]);
		} while (u64_stats_fetch_retry(&pcpu->syncp, start));
		sum += value;
	}
	return sum;
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
	enum xtun_reason reason;

	for (reason = XTUN_OK + 1; reason < XTUN_REASONS; reason++) {
		const struct xtun_reason_info *info = &xtun_reasons[reason];
		u64 count = xtun_drops(tun, reason);

		*(__u64 *)((char *)stats + info->field) += count;
		if (info->total)
			*(__u64 *)((char *)stats + info->total) += count;
	}
}
