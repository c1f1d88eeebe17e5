// SPDX-License-Identifier: GPL-2.0
/* tunctl stats. */
#include "counters.h"
#include "query.h"

static const struct field traffic[] = {
	{ "rx-packets", XTUN_A_STATS_RX_PACKETS, FIELD_NUM },
	{ "rx-bytes", XTUN_A_STATS_RX_BYTES, FIELD_NUM },
	{ "tx-packets", XTUN_A_STATS_TX_PACKETS, FIELD_NUM },
	{ "tx-bytes", XTUN_A_STATS_TX_BYTES, FIELD_NUM },
	{ }
};

static void drop_text(void *ctx, const struct counter *drop)
{
	const struct options *opt = ctx;

	if (!drop->packets && !opt->details)
		return;
	printf("    drop %s %llu", drop->name, drop->packets);
	if (drop->packets && opt->details)
		printf(", the last %llu s ago", drop->ago);
	if (past_over(drop->past))
		fputs(", mended", stdout);
	putchar('\n');
}

static void stats_text(const struct options *opt, const struct tunnel *tun)
{
	const struct nlattr *stats = tun->tb[XTUN_A_TUNNEL_STATS];
	const struct nlattr *tb[XTUN_A_STATS_MAX + 1];
	const struct field *field;
	unsigned long long value;

	xa_parse_nested(tb, XTUN_A_STATS_MAX, stats);
	puts(tun->name);
	for (field = traffic; field->name; field++) {
		if (xa_get_uint(tb[field->attr], &value))
			printf("    %s %llu\n", field->name, value);
	}
	counters_walk(stats, drop_text, (void *)opt);
}

static void drop_json(void *ctx, const struct counter *drop)
{
	json_unum(ctx, drop->name, drop->packets);
}

static void mended_json(void *ctx, const struct counter *drop)
{
	if (past_over(drop->past))
		json_str(ctx, NULL, drop->name);
}

/* A reader of JSON finds every reason, whether it occurred or not */
static void stats_json(const struct tunnel *tun, struct json *js)
{
	const struct nlattr *stats = tun->tb[XTUN_A_TUNNEL_STATS];
	const struct nlattr *tb[XTUN_A_STATS_MAX + 1];

	xa_parse_nested(tb, XTUN_A_STATS_MAX, stats);
	tunnel_id_json(tun, js);
	fields_json(traffic, tb, js);
	json_open(js, "drop", '{');
	counters_walk(stats, drop_json, js);
	json_close(js, '}');
	json_open(js, "mended", '[');
	counters_walk(stats, mended_json, js);
	json_close(js, ']');
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
