/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_LINUX_UDP_H
#define _XTUN_COMPAT_LINUX_UDP_H

#include_next <linux/udp.h>

/* Of a packet that is longer than the header can say, newer kernels expect 0. */
#ifndef XTUN_HAVE_UDP_SET_LEN
static inline void udp_set_len(struct udphdr *uh, unsigned int len)
{
	uh->len = htons(len);
}
#endif

#endif
