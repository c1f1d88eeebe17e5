// SPDX-License-Identifier: GPL-2.0
/*
 * What needs code of its own on kernels that lack it.
 */
#include <linux/atomic.h>
#include <linux/kernel.h>
#include <linux/netlink.h>

#ifndef XTUN_HAVE_EXTACK_FMT
#define XTUN_EXTACK_BUFS	32
#define XTUN_EXTACK_LEN		128

/*
 * xtun_extack_format() - text of an extended ack that is made at run time
 *
 * Without a buffer in struct netlink_ext_ack the text has to outlive the
 * handler until the ack is copied out, so texts take turns in static buffers.
 * Should so many requests fail at once that one is reused too early, an ack
 * shows another's text; it is always terminated.
 */
const char *xtun_extack_format(const char *fmt, ...)
{
	static char bufs[XTUN_EXTACK_BUFS][XTUN_EXTACK_LEN];
	static atomic_t turn;
	unsigned int n = (unsigned int)atomic_inc_return(&turn);
	char *buf = bufs[n % XTUN_EXTACK_BUFS];
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf, XTUN_EXTACK_LEN, fmt, args);
	va_end(args);
	return buf;
}
#endif
