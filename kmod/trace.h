/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM xtun

#if !defined(_XTUN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _XTUN_TRACE_H

#include <linux/netdevice.h>
#include <linux/tracepoint.h>

#define XTUN_TRACE_REASON_LEN	24

/* A packet ends here, undelivered. */
TRACE_EVENT(xtun_drop,
	    TP_PROTO(const struct net_device *dev, const struct sk_buff *skb,
		     const char *reason),
	    TP_ARGS(dev, skb, reason),
	    TP_STRUCT__entry(__array(char, name, IFNAMSIZ)
			     __field(const void *, skbaddr)
			     __field(unsigned int, len)
			     __array(char, reason, XTUN_TRACE_REASON_LEN)
	    ),
	    TP_fast_assign(strscpy(__entry->name, dev->name, IFNAMSIZ);
			   __entry->skbaddr = skb;
			   __entry->len = skb->len;
			   strscpy(__entry->reason, reason,
				   XTUN_TRACE_REASON_LEN);
	    ),
	    TP_printk("dev=%s skbaddr=%p len=%u reason=%s", __entry->name,
		      __entry->skbaddr, __entry->len, __entry->reason)
);

#endif /* _XTUN_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
