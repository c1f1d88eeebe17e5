// SPDX-License-Identifier: GPL-2.0
/* What show, stats and path have in common. */
#include "query.h"

/**
 * struct printout - the output of a query
 * @query: the query
 * @opt: options
 * @js: writer of JSON
 */
struct printout {
	const struct query *query;
	const struct options *opt;
	struct json js;
};

static int print_one(const struct nlmsghdr *nlh, void *data)
{
	struct printout *out = data;
	struct tunnel tun;

	tunnel_parse(&tun, nlh);
	if (!out->opt->json) {
		out->query->text(out->opt, &tun);
		return 0;
	}
	json_open(&out->js, NULL, '{');
	out->query->json(&tun, &out->js);
	json_close(&out->js, '}');
	return 0;
}

static int print_query(struct nl *nl, struct printout *out, const char *name)
{
	struct nl_request rq = { };
	int err;

	json_init(&out->js, stdout, out->opt->pretty);
	if (out->opt->json)
		json_open(&out->js, NULL, '[');
	if (name)
		rq = tunnel_request(nl, out->query->cmd, name);
	else
		rq.nlh = nl_begin(nl, out->query->cmd);
	if (name && !out->query->many)
		err = nl_talk(nl, &rq, print_one, out);
	else
		err = nl_dump(nl, &rq, print_one, out);
	if (out->opt->json) {
		json_close(&out->js, ']');
		json_end(&out->js);
	}
	return err;
}

/**
 * query_run() - print something of one tunnel or of all
 * @query: what
 * @opt: options
 * @argc: number of arguments
 * @argv: [ NAME ]
 *
 * Return: an exit code.
 */
int query_run(const struct query *query, const struct options *opt, int argc,
	      char **argv)
{
	struct printout out = { .query = query, .opt = opt };
	static struct nl nl;
	int err;

	if (argc > 1)
		return usage_error("\"%s\": one NAME at most", argv[1]);
	if (argc && !is_ifname(argv[0]))
		return usage_error("\"%s\": a device's name has 1 to 15 bytes",
				   argv[0]);
	err = nl_open(&nl);
	if (!err)
		err = print_query(&nl, &out, argc ? argv[0] : NULL);
	nl_close(&nl);
	return err;
}
