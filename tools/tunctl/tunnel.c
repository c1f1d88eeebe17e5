// SPDX-License-Identifier: GPL-2.0
/* A tunnel, read from a message and printed. */
#include <stdlib.h>
#include <string.h>

#include "tunnel.h"

static const struct state {
	const char *name;
	int attr;
} states[] = {
	{ "device-mtu", XTUN_A_TUNNEL_DEVICE_MTU },
	{ "overhead", XTUN_A_TUNNEL_OVERHEAD },
	{ "link-netnsid", XTUN_A_TUNNEL_LINK_NETNSID },
	{ }
};

static const char *const waits[] = {
	[XTUN_WAIT_ENCAP] = "encap",
	[XTUN_WAIT_DEV] = "dev",
	[XTUN_WAIT_DEV_CARRIER] = "dev-carrier",
	[XTUN_WAIT_LOCAL] = "local",
};

/**
 * tunnel_wait() - what a tunnel waits for
 * @tun: the tunnel
 *
 * Return: enum xtun_wait, or 0 when it has carrier.
 */
unsigned int tunnel_wait(const struct tunnel *tun)
{
	unsigned long long wait = 0;

	xa_get_uint(tun->tb[XTUN_A_TUNNEL_WAITS_FOR], &wait);
	return wait < ARRAY_SIZE(waits) ? wait : 0;
}

/**
 * tunnel_parse() - read a tunnel
 * @tun: the tunnel, good as long as the message is
 * @nlh: the message
 */
void tunnel_parse(struct tunnel *tun, const struct nlmsghdr *nlh)
{
	nl_attrs(tun->tb, XTUN_A_TUNNEL_MAX, nlh);
	tun->name = xa_get_str(tun->tb[XTUN_A_TUNNEL_IFNAME]);
	if (!tun->name)
		tun->name = "?";
	xa_parse_nested(tun->conf, XTUN_A_CONF_MAX,
			tun->tb[XTUN_A_TUNNEL_CONF]);
	tun->foreign = tun->tb[XTUN_A_TUNNEL_LINK_NETNSID];
}

/**
 * tunnel_request() - begin a request about one tunnel
 * @nl: the socket
 * @cmd: what is asked for
 * @name: the tunnel's name
 *
 * Return: the request.
 */
struct nl_request tunnel_request(struct nl *nl, __u8 cmd, const char *name)
{
	struct nl_request rq = { .nlh = nl_begin(nl, cmd), .what = name };

	mnl_attr_put_strz(rq.nlh, XTUN_A_TUNNEL_IFNAME, name);
	return rq;
}

static void word_text(void *ctx __maybe_unused, const struct xg_shown *shown)
{
	printf(" %s", shown->word);
	if (shown->kind != XG_IS_FLAG)
		printf(" %s", shown->text);
}

/**
 * tunnel_text() - print a tunnel as what "tunctl add" takes, without a newline
 * @tun: the tunnel
 */
void tunnel_text(const struct tunnel *tun)
{
	fputs(tun->name, stdout);
	xg_print(tun->conf, tun->foreign, word_text, NULL);
}

static bool get_state(const struct tunnel *tun, const struct state *state,
		      long long *value)
{
	unsigned long long raw;

	if (!xa_get_uint(tun->tb[state->attr], &raw))
		return false;
	*value = raw;
	/* An id is signed, and -1 for a netns that has none here */
	if (state->attr == XTUN_A_TUNNEL_LINK_NETNSID)
		*value = (int)raw;
	return true;
}

/**
 * tunnel_state_text() - print what a tunnel has come to be
 * @tun: the tunnel
 * @before: printed before the first word, if there is one
 */
void tunnel_state_text(const struct tunnel *tun, const char *before)
{
	const struct state *state;
	long long value;

	for (state = states; state->name; state++) {
		if (!get_state(tun, state, &value))
			continue;
		printf("%s%s %lld", before, state->name, value);
		before = " ";
	}
	if (tunnel_wait(tun))
		printf("%swaits-for %s", before, waits[tunnel_wait(tun)]);
}

static void list_json(struct json *js, const struct xg_shown *shown)
{
	char *copy = strdup(shown->text), *rest = copy, *item;

	json_open(js, shown->word, '[');
	while (rest && (item = strsep(&rest, ",")))
		json_str(js, NULL, item);
	json_close(js, ']');
	free(copy);
}

static void word_json(void *ctx, const struct xg_shown *shown)
{
	struct json *js = ctx;

	switch (shown->kind) {
	case XG_IS_FLAG:
		json_true(js, shown->word);
		break;
	case XG_IS_NUM:
		json_num(js, shown->word, shown->num);
		break;
	case XG_IS_STR:
		json_str(js, shown->word, shown->text);
		break;
	case XG_IS_LIST:
		list_json(js, shown);
		break;
	}
}

/**
 * tunnel_id_json() - print which tunnel it is, into an open object
 * @tun: the tunnel
 * @js: the writer
 */
void tunnel_id_json(const struct tunnel *tun, struct json *js)
{
	unsigned long long index;

	if (xa_get_uint(tun->tb[XTUN_A_TUNNEL_IFINDEX], &index))
		json_unum(js, "ifindex", index);
	json_str(js, "ifname", tun->name);
}

/**
 * tunnel_json() - print a tunnel, into an open object
 * @tun: the tunnel
 * @js: the writer
 */
void tunnel_json(const struct tunnel *tun, struct json *js)
{
	const struct state *state;
	long long value;

	tunnel_id_json(tun, js);
	json_open(js, "conf", '{');
	xg_print(tun->conf, tun->foreign, word_json, js);
	json_close(js, '}');
	for (state = states; state->name; state++) {
		if (get_state(tun, state, &value))
			json_num(js, state->name, value);
	}
	if (tunnel_wait(tun))
		json_str(js, "waits-for", waits[tunnel_wait(tun)]);
}
