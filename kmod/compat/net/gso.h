/* SPDX-License-Identifier: GPL-2.0 */

#if __has_include_next(<net/gso.h>)
#include_next <net/gso.h>
#else
/* Its functions used to be declared there. */
#include <linux/netdevice.h>
#endif
