/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM xtun

#if !defined(_XTUN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _XTUN_TRACE_H

#include <linux/netdevice.h>
#include <linux/tracepoint.h>

#include "drop.h"

/* A packet ends here, undelivered. */
TRACE_EVENT(xtun_drop,

	TP_PROTO(const struct net_device *dev, const struct sk_buff *skb,
		 unsigned int reason),

	TP_ARGS(dev, skb, reason),

	TP_STRUCT__entry(
		__string(name, dev->name)
		__field(const void *, skbaddr)
		__field(unsigned int, len)
		__field(unsigned int, reason)
		__string(reason_name, xtun_reason_name(reason))
	),

	TP_fast_assign(
		xtun_assign_str(name, dev->name);
		__entry->skbaddr = skb;
		__entry->len = skb->len;
		__entry->reason = reason;
		xtun_assign_str(reason_name, xtun_reason_name(reason));
	),

	TP_printk("dev=%s skbaddr=%p len=%u reason=%s",
		  __get_str(name), __entry->skbaddr, __entry->len,
		  __get_str(reason_name))
);

#endif /* _XTUN_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
