// SPDX-License-Identifier: GPL-2.0
/* tunctl stats. */
#include "query.h"

static const struct counter {
	const char *name;
	int attr;
} counters[] = {
	{ "rx-packets", XTUN_A_STATS_RX_PACKETS },
	{ "rx-bytes", XTUN_A_STATS_RX_BYTES },
	{ "tx-packets", XTUN_A_STATS_TX_PACKETS },
	{ "tx-bytes", XTUN_A_STATS_TX_BYTES },
	{ }
};

typedef void (*drop_cb_t)(void *ctx, const char *name, unsigned long long n);

static void walk_drops(const struct nlattr *stats, drop_cb_t cb, void *ctx)
{
	const struct nlattr *tb[XTUN_A_DROP_MAX + 1], *attr = NULL;
	unsigned long long packets;
	const char *name;

	while (stats && (attr = xa_next(xa_data(stats), xa_len(stats), attr))) {
		if (xa_type(attr) != XTUN_A_STATS_DROP)
			continue;
		xa_parse_nested(tb, XTUN_A_DROP_MAX, attr);
		name = xa_get_str(tb[XTUN_A_DROP_NAME]);
		if (name && xa_get_uint(tb[XTUN_A_DROP_PACKETS], &packets))
			cb(ctx, name, packets);
	}
}

static void drop_text(void *ctx, const char *name, unsigned long long n)
{
	const struct options *opt = ctx;

	if (n || opt->details)
		printf("    drop %s %llu\n", name, n);
}

static void stats_text(const struct options *opt, const struct tunnel *tun)
{
	const struct nlattr *stats = tun->tb[XTUN_A_TUNNEL_STATS];
	const struct nlattr *tb[XTUN_A_STATS_MAX + 1];
	const struct counter *counter;
	unsigned long long value;

	xa_parse_nested(tb, XTUN_A_STATS_MAX, stats);
	puts(tun->name);
	for (counter = counters; counter->name; counter++) {
		if (xa_get_uint(tb[counter->attr], &value))
			printf("    %s %llu\n", counter->name, value);
	}
	walk_drops(stats, drop_text, (void *)opt);
}

static void drop_json(void *ctx, const char *name, unsigned long long n)
{
	json_unum(ctx, name, n);
}

/* A reader of JSON finds every reason, whether it occurred or not */
static void stats_json(const struct tunnel *tun, struct json *js)
{
	const struct nlattr *stats = tun->tb[XTUN_A_TUNNEL_STATS];
	const struct nlattr *tb[XTUN_A_STATS_MAX + 1];
	const struct counter *counter;
	unsigned long long value;

	xa_parse_nested(tb, XTUN_A_STATS_MAX, stats);
	tunnel_id_json(tun, js);
	for (counter = counters; counter->name; counter++) {
		if (xa_get_uint(tb[counter->attr], &value))
			json_unum(js, counter->name, value);
	}
	json_open(js, "drop", '{');
	walk_drops(stats, drop_json, js);
	json_close(js, '}');
}

static const struct query stats_query = {
	.cmd = XTUN_CMD_STATS_GET,
	.text = stats_text,
	.json = stats_json,
};

/**
 * cmd_stats() - print counters
 * @opt: options
 * @argc: number of arguments
 * @argv: [ NAME ]
 *
 * Return: an exit code.
 */
int cmd_stats(const struct options *opt, int argc, char **argv)
{
	return query_run(&stats_query, opt, argc, argv);
}
