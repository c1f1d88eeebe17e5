// SPDX-License-Identifier: GPL-2.0
/* tunctl monitor. */
#include "tunnel.h"

static const char *event_name(int cmd)
{
	switch (cmd) {
	case XTUN_CMD_NEW_NTF:
		return "new";
	case XTUN_CMD_SET_NTF:
		return "set";
	case XTUN_CMD_DEL_NTF:
		return "del";
	default:
		return NULL;
	}
}

static void event_json(const char *event, const struct tunnel *tun)
{
	struct json js;

	json_init(&js, stdout, false);
	json_open(&js, NULL, '{');
	json_str(&js, "event", event);
	tunnel_json(tun, &js);
	json_close(&js, '}');
	json_end(&js);
}

static void event_text(const char *event, const struct tunnel *tun)
{
	printf("%s ", event);
	tunnel_text(tun);
	tunnel_state_text(tun, " ");
	putchar('\n');
}

static int print_event(const struct nlmsghdr *nlh, void *data)
{
	const char *event = event_name(nl_cmd(nlh));
	const struct options *opt = data;
	struct tunnel tun;

	if (!event)
		return 0;
	tunnel_parse(&tun, nlh);
	if (opt->json)
		event_json(event, &tun);
	else
		event_text(event, &tun);
	return ferror(stdout) ? EXIT_NOTALK : 0;
}

/**
 * cmd_monitor() - print what happens to tunnels, as it happens
 * @opt: options
 * @argc: number of arguments, none
 * @argv: the arguments
 *
 * Return: an exit code.
 */
int cmd_monitor(const struct options *opt, int argc, char **argv)
{
	static struct nl nl;
	int err;

	if (argc)
		return usage_error("\"%s\": monitor takes no argument",
				   argv[0]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	err = nl_open(&nl);
	if (!err)
		err = nl_listen(&nl, print_event, (void *)opt);
	nl_close(&nl);
	return err;
}
