/* SPDX-License-Identifier: GPL-2.0 */
/* Counters of a tunnel by name. */
#ifndef XTUN_TOOLS_COUNTERS_H
#define XTUN_TOOLS_COUNTERS_H

#include "fields.h"
#include "past.h"

/**
 * struct counter - how often something happened
 * @name: what
 * @packets: to how many packets
 * @ago: seconds since the last time
 * @past: is that over?
 */
struct counter {
	const char *name;
	unsigned long long packets;
	unsigned long long ago;
	enum past past;
};

typedef void (*counter_cb_t)(void *ctx, const struct counter *counter);

void counters_walk(const struct nlattr *stats, counter_cb_t cb, void *ctx);
bool counters_recent(const struct nlattr *stats, const char *name,
		     struct counter *counter);

#endif
