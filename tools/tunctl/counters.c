// SPDX-License-Identifier: GPL-2.0
/* Counters of a tunnel by name. */
#include <string.h>
#include <linux/xtun.h>

#include "counters.h"

static bool one_of(const char *const names[], size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return false;
}

/* What keeps packets from leaving this host, all or some */
static bool is_on_this_host(const char *name)
{
	static const char *const drops[] = {
		"tx-no-peer", "tx-no-route", "tx-route-loop", "tx-no-memory",
		"tx-filtered", "tx-underlay",
	};

	return one_of(drops, ARRAY_SIZE(drops), name);
}

/* Errors that do not say that packets do not get through are never over */
static bool is_trouble(const char *name)
{
	static const char *const errors[] = {
		"err-relayed", "err-again", "err-short", "err-unknown-key",
		"err-mute", "err-off",
	};

	return one_of(errors, ARRAY_SIZE(errors), name) ||
	       strncmp(name, "err-", strlen("err-"));
}

/**
 * counters_walk() - walk over a tunnel's counters
 * @stats: the nest of statistics, NULL for none
 * @cb: takes each, those that are zero too
 * @ctx: for @cb
 */
void counters_walk(const struct nlattr *stats, counter_cb_t cb, void *ctx)
{
	const struct nlattr *tb[XTUN_A_DROP_MAX + 1], *attr = NULL;
	struct counter counter;

	while (stats && (attr = xa_next(xa_data(stats), xa_len(stats), attr))) {
		if (xa_type(attr) != XTUN_A_STATS_DROP)
			continue;
		xa_parse_nested(tb, XTUN_A_DROP_MAX, attr);
		counter.name = xa_get_str(tb[XTUN_A_DROP_NAME]);
		counter.ago = field_num(tb, XTUN_A_DROP_AGO);
		if (!counter.name ||
		    !xa_get_uint(tb[XTUN_A_DROP_PACKETS], &counter.packets))
			continue;
		counter.past = is_trouble(counter.name) ?
			       past_of(tb[XTUN_A_DROP_SINCE], counter.ago,
				       is_on_this_host(counter.name)) :
			       PAST_NOT;
		cb(ctx, &counter);
	}
}

struct search {
	const char *name;
	struct counter *found;
};

static void compare(void *ctx, const struct counter *counter)
{
	struct search *search = ctx;

	if (!strcmp(counter->name, search->name))
		*search->found = *counter;
}

/**
 * counters_recent() - has something happened lately?
 * @stats: the nest of statistics, NULL for none
 * @name: name of the counter
 * @counter: gets the counter
 *
 * Return: whether it has.
 */
bool counters_recent(const struct nlattr *stats, const char *name,
		     struct counter *counter)
{
	struct search search = { .name = name, .found = counter };

	memset(counter, 0, sizeof(*counter));
	counters_walk(stats, compare, &search);
	return counter->packets && counter->ago <= PAST_RECENT;
}
