// SPDX-License-Identifier: GPL-2.0
/* tunctl path. */
#include "path.h"
#include "query.h"

static void print_path_text(const struct options *opt __maybe_unused,
			    const struct tunnel *tun)
{
	struct path path;

	path_parse(&path, tun);
	printf("%s peer %s\n", tun->name,
	       path_addr(&path, XTUN_A_PATH_PEER).text);
	path_text(&path, "    ");
}

static void print_path_json(const struct tunnel *tun, struct json *js)
{
	struct path path;

	path_parse(&path, tun);
	tunnel_id_json(tun, js);
	path_json(&path, js);
}

static const struct query path_query = {
	.cmd = XTUN_CMD_PATH_GET,
	.many = true,
	.text = print_path_text,
	.json = print_path_json,
};

/**
 * cmd_path() - print what is known of the path to each peer
 * @opt: options
 * @argc: number of arguments
 * @argv: [ NAME ]
 *
 * Return: an exit code.
 */
int cmd_path(const struct options *opt, int argc, char **argv)
{
	return query_run(&path_query, opt, argc, argv);
}
