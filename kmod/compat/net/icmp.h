/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_NET_ICMP_H
#define _XTUN_COMPAT_NET_ICMP_H

#include <net/ip.h>
#include_next <net/icmp.h>

/* Where the packet came in became as important to an error as its options. */
static inline void xtun_compat_icmp_send(struct sk_buff *skb, int type, int code,
					 __be32 info, const struct inet_skb_parm *parm)
{
#ifdef XTUN_HAVE_ICMP_PARM
	__icmp_send(skb, type, code, info, parm);
#else
	__icmp_send(skb, type, code, info, &parm->opt);
#endif
}

#endif
