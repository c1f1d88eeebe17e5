// SPDX-License-Identifier: GPL-2.0
/* tunctl monitor. */
#include "error.h"
#include "path.h"

static void tunnel_event_text(const struct tunnel *tun)
{
	tunnel_text(tun);
	tunnel_state_text(tun, " ");
}

static void path_event_text(const struct tunnel *tun)
{
	struct path path;

	path_parse(&path, tun);
	printf("%s peer %s: now ", tun->name,
	       path_addr(&path, XTUN_A_PATH_PEER).text);
	path_mtu_text(&path);
	if (path.tb[XTUN_A_PATH_LEARNED_FROM])
		printf("; %s told it",
		       path_addr(&path, XTUN_A_PATH_LEARNED_FROM).text);
}

static void path_event_json(const struct tunnel *tun, struct json *js)
{
	struct path path;

	path_parse(&path, tun);
	tunnel_id_json(tun, js);
	path_json(&path, js);
}

static const struct event {
	int cmd;
	const char *name;
	void (*text)(const struct tunnel *tun);
	void (*json)(const struct tunnel *tun, struct json *js);
} events[] = {
	{ XTUN_CMD_NEW_NTF, "new", tunnel_event_text, tunnel_json },
	{ XTUN_CMD_SET_NTF, "set", tunnel_event_text, tunnel_json },
	{ XTUN_CMD_DEL_NTF, "del", tunnel_event_text, tunnel_json },
	{ XTUN_CMD_ERROR_NTF, "error", error_text, error_json },
	{ XTUN_CMD_PATH_NTF, "path", path_event_text, path_event_json },
};

static const struct event *find_event(int cmd)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(events); i++) {
		if (events[i].cmd == cmd)
			return &events[i];
	}
	return NULL;
}

static void event_json(const struct event *event, const struct tunnel *tun)
{
	struct json js;

	json_init(&js, stdout, false);
	json_open(&js, NULL, '{');
	json_str(&js, "event", event->name);
	event->json(tun, &js);
	json_close(&js, '}');
	json_end(&js);
}

static void event_text(const struct event *event, const struct tunnel *tun)
{
	printf("%s ", event->name);
	event->text(tun);
	putchar('\n');
}

static int print_event(const struct nlmsghdr *nlh, void *data)
{
	const struct event *event = find_event(nl_cmd(nlh));
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
