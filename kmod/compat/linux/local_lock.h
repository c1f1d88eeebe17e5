/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_LINUX_LOCAL_LOCK_H
#define _XTUN_COMPAT_LINUX_LOCAL_LOCK_H

#include_next <linux/local_lock.h>

/* Before, who had BH disabled had a lock of the CPU, on PREEMPT_RT too. */
#ifndef local_lock_nested_bh
#define local_lock_nested_bh(lock)	((void)(lock))
#define local_unlock_nested_bh(lock)	((void)(lock))
#endif

#endif
