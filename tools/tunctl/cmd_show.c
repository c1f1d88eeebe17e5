// SPDX-License-Identifier: GPL-2.0
/* tunctl show. */
#include "query.h"

static void show_text(const struct options *opt, const struct tunnel *tun)
{
	tunnel_text(tun);
	putchar('\n');
	if (!opt->details)
		return;
	tunnel_state_text(tun, "    ");
	putchar('\n');
}

static const struct query show = {
	.cmd = XTUN_CMD_GET,
	.text = show_text,
	.json = tunnel_json,
};

/**
 * cmd_show() - print tunnels as what would make them again
 * @opt: options
 * @argc: number of arguments
 * @argv: [ NAME ]
 *
 * Return: an exit code.
 */
int cmd_show(const struct options *opt, int argc, char **argv)
{
	return query_run(&show, opt, argc, argv);
}
