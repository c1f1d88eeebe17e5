/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_LINUX_WORKQUEUE_H
#define _XTUN_COMPAT_LINUX_WORKQUEUE_H

#include_next <linux/workqueue.h>

/* Newer kernels warn of work that is queued under the old name. */
#ifndef XTUN_HAVE_PERCPU_WQ
#define system_percpu_wq	system_wq
#endif

#endif
