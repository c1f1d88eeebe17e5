/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_LINUX_BOTTOM_HALF_H
#define _XTUN_COMPAT_LINUX_BOTTOM_HALF_H

#include_next <linux/bottom_half.h>

/*
 * Has who disables BH the CPU's data for himself? With PREEMPT_RT that became a
 * choice, which is for testing only.
 */
static inline bool xtun_bh_excludes(void)
{
#ifdef XTUN_HAVE_BH_LOCK_CHOICE
	return !IS_ENABLED(CONFIG_PREEMPT_RT) ||
	       IS_ENABLED(CONFIG_PREEMPT_RT_NEEDS_BH_LOCK);
#else
	return true;
#endif
}

#endif
