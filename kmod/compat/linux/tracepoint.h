/* SPDX-License-Identifier: GPL-2.0 */

#include_next <linux/tracepoint.h>

#ifndef _XTUN_COMPAT_LINUX_TRACEPOINT_H
#define _XTUN_COMPAT_LINUX_TRACEPOINT_H

#ifdef XTUN_HAVE_ASSIGN_STR1
#define xtun_assign_str(dst, src)	__assign_str(dst)
#else
#define xtun_assign_str(dst, src)	__assign_str(dst, src)
#endif

#endif
