// SPDX-License-Identifier: GPL-2.0
/* The path to a peer, read from a message and printed. */
#include <string.h>

#include "icmp.h"
#include "path.h"

static const struct field fields[] = {
	{ "peer", XTUN_A_PATH_PEER, FIELD_ADDR },
	{ "error", XTUN_A_PATH_ERROR, FIELD_NUM },
	{ "loop", XTUN_A_PATH_LOOP, FIELD_FLAG },
	{ "link", XTUN_A_PATH_LINK, FIELD_NUM },
	{ "link-name", XTUN_A_PATH_LINK_NAME, FIELD_STR },
	{ "gateway", XTUN_A_PATH_GATEWAY, FIELD_ADDR },
	{ "source", XTUN_A_PATH_SOURCE, FIELD_ADDR },
	{ "link-mtu", XTUN_A_PATH_LINK_MTU, FIELD_NUM },
	{ "mtu", XTUN_A_PATH_MTU, FIELD_NUM },
	{ "expires", XTUN_A_PATH_EXPIRES, FIELD_NUM },
	{ "fits", XTUN_A_PATH_FITS, FIELD_NUM },
	{ "learned-mtu", XTUN_A_PATH_LEARNED_MTU, FIELD_NUM },
	{ "learned-from", XTUN_A_PATH_LEARNED_FROM, FIELD_ADDR },
	{ "learned-ago", XTUN_A_PATH_LEARNED_AGO, FIELD_NUM },
	{ "errors", XTUN_A_PATH_ERRORS, FIELD_NUM },
	{ "last-type", XTUN_A_PATH_LAST_TYPE, FIELD_NUM },
	{ "last-code", XTUN_A_PATH_LAST_CODE, FIELD_NUM },
	{ "last-from", XTUN_A_PATH_LAST_FROM, FIELD_ADDR },
	{ "last-ago", XTUN_A_PATH_LAST_AGO, FIELD_NUM },
	{ "answer-for", XTUN_A_PATH_ANSWER_FOR, FIELD_NUM },
	{ "heard-ago", XTUN_A_PATH_HEARD_AGO, FIELD_NUM },
	{ "sent-ago", XTUN_A_PATH_SENT_AGO, FIELD_NUM },
	{ }
};

static const char *const answers[] = {
	[XTUN_ANSWER_NETWORK] = "network unreachable",
	[XTUN_ANSWER_HOST] = "host unreachable",
	[XTUN_ANSWER_PROHIBITED_NET] = "network prohibited",
	[XTUN_ANSWER_PROHIBITED_HOST] = "host prohibited",
	[XTUN_ANSWER_PROHIBITED] = "prohibited by a filter",
	[XTUN_ANSWER_TIME] = "time exceeded",
};

/**
 * path_num() - read a number
 * @path: the path
 * @attr: which
 *
 * Return: the number, 0 where there is none.
 */
unsigned long long path_num(const struct path *path, int attr)
{
	return field_num(path->tb, attr);
}

/**
 * path_addr() - read an address
 * @path: the path
 * @attr: which
 *
 * Return: its text, empty where there is none.
 */
struct address_text path_addr(const struct path *path, int attr)
{
	return field_addr(path->tb, attr);
}

/**
 * path_from() - who has told something of a path
 * @path: the path
 * @attr: which attribute says it
 *
 * Return: an address as text; words where that may not be seen.
 */
struct address_text path_from(const struct path *path, int attr)
{
	return field_from(path->tb, attr);
}

/**
 * path_parse() - read a path
 * @path: the path, good as long as the message is
 * @tun: the tunnel that the message is about
 */
void path_parse(struct path *path, const struct tunnel *tun)
{
	struct address peer;

	xa_parse_nested(path->tb, XTUN_A_PATH_MAX, tun->tb[XTUN_A_TUNNEL_PATH]);
	address_read(&peer, path->tb[XTUN_A_PATH_PEER]);
	path->family = peer.family;
	path->armed = field_num(tun->tb, XTUN_A_TUNNEL_ARMED_FOR);
	path->foreign = tun->foreign;
}

/**
 * path_last_text() - name the last error about a peer
 * @path: the path
 *
 * Return: its name, NULL if there was none.
 */
const char *path_last_text(const struct path *path)
{
	if (!path->tb[XTUN_A_PATH_LAST_TYPE])
		return NULL;
	return icmp_text(path->family, path_num(path, XTUN_A_PATH_LAST_TYPE),
			 path_num(path, XTUN_A_PATH_LAST_CODE));
}

/**
 * path_last_past() - is what the last error about a peer says over?
 * @path: the path, which has one
 *
 * Return: whether it is, and why.
 */
enum past path_last_past(const struct path *path)
{
	return past_of(path->tb[XTUN_A_PATH_LAST_SINCE],
		       path_num(path, XTUN_A_PATH_LAST_AGO), false);
}

/* A path MTU, say, is not mended by packets that fit */
static bool last_mended(const struct path *path)
{
	return path_last_past(path) == PAST_MENDED &&
	       icmp_kind(path->family, path_num(path, XTUN_A_PATH_LAST_TYPE),
			 path_num(path, XTUN_A_PATH_LAST_CODE)) !=
	       ICMP_KIND_OTHER;
}

/**
 * path_answer() - what packets to a peer are answered with
 * @path: the path
 *
 * Return: the error's name, NULL if they are not.
 */
const char *path_answer(const struct path *path)
{
	unsigned long long answer = path_num(path, XTUN_A_PATH_ANSWER);

	return answer < ARRAY_SIZE(answers) ? answers[answer] : NULL;
}

static void route_text(const struct path *path)
{
	const char *dev = xa_get_str(path->tb[XTUN_A_PATH_LINK_NAME]);
	struct address_text gateway = path_addr(path, XTUN_A_PATH_GATEWAY);

	fputs("outer route: ", stdout);
	if (path->tb[XTUN_A_PATH_ERROR])
		printf("none: %s",
		       strerror(path_num(path, XTUN_A_PATH_ERROR)));
	else if (path->tb[XTUN_A_PATH_LOOP])
		fputs("into the tunnel itself", stdout);
	else if (!dev)
		fputs("there is one, not for you to see", stdout);
	else
		printf("dev %s%s%s src %s", dev,
		       gateway.text[0] ? " via " : "", gateway.text,
		       path_addr(path, XTUN_A_PATH_SOURCE).text);
	if (path->foreign)
		fputs(", in another netns", stdout);
}

/**
 * path_mtu_text() - print what fits into a path, without a newline
 * @path: the path, which has a route
 */
void path_mtu_text(const struct path *path)
{
	printf("path MTU %llu", path_num(path, XTUN_A_PATH_MTU));
	if (path->tb[XTUN_A_PATH_EXPIRES])
		printf(" of %llu, for %llu s more",
		       path_num(path, XTUN_A_PATH_LINK_MTU),
		       path_num(path, XTUN_A_PATH_EXPIRES));
	printf("; inner packets of up to %llu bytes fit",
	       path_num(path, XTUN_A_PATH_FITS));
}

static void learned_text(const struct path *path)
{
	unsigned long long mtu = path_num(path, XTUN_A_PATH_LEARNED_MTU);

	printf("%s told an MTU of %llu, %llu s ago",
	       path_from(path, XTUN_A_PATH_LEARNED_FROM).text, mtu,
	       path_num(path, XTUN_A_PATH_LEARNED_AGO));
	if (mtu != path_num(path, XTUN_A_PATH_MTU))
		fputs("; it is not in force", stdout);
}

static void errors_text(const struct path *path)
{
	unsigned long long errors = path_num(path, XTUN_A_PATH_ERRORS);
	const char *last = path_last_text(path);

	if (!last) {
		fputs("no errors", stdout);
		return;
	}
	printf("%llu error%s, the last %llu s ago: %s (ICMP %llu/%llu) from %s",
	       errors, errors == 1 ? "" : "s",
	       path_num(path, XTUN_A_PATH_LAST_AGO), last,
	       path_num(path, XTUN_A_PATH_LAST_TYPE),
	       path_num(path, XTUN_A_PATH_LAST_CODE),
	       path_from(path, XTUN_A_PATH_LAST_FROM).text);
	if (last_mended(path))
		printf("; mended: %s", past_text(PAST_MENDED));
}

/* With remote any nobody knows */
static void alive_text(const struct path *path, const char *before)
{
	bool heard = path->tb[XTUN_A_PATH_HEARD_AGO];
	bool sent = path->tb[XTUN_A_PATH_SENT_AGO];

	if (!heard && !sent)
		return;
	printf("%slast packets: ", before);
	if (heard)
		printf("from the peer %llu s ago",
		       path_num(path, XTUN_A_PATH_HEARD_AGO));
	else
		fputs("none from the peer yet", stdout);
	if (sent)
		printf(", to it %llu s ago",
		       path_num(path, XTUN_A_PATH_SENT_AGO));
	putchar('\n');
}

/**
 * path_text() - print what is known of a path
 * @path: the path
 * @before: printed before each line
 */
void path_text(const struct path *path, const char *before)
{
	fputs(before, stdout);
	route_text(path);
	putchar('\n');
	if (path->tb[XTUN_A_PATH_MTU]) {
		fputs(before, stdout);
		path_mtu_text(path);
		putchar('\n');
	}
	if (path->tb[XTUN_A_PATH_LEARNED_MTU]) {
		fputs(before, stdout);
		learned_text(path);
		putchar('\n');
	}
	fputs(before, stdout);
	errors_text(path);
	putchar('\n');
	alive_text(path, before);
	if (path_answer(path))
		printf("%spackets are answered with: %s, for %llu s more\n",
		       before, path_answer(path),
		       path_num(path, XTUN_A_PATH_ANSWER_FOR));
	if (path->armed)
		printf("%severy packet is remembered for %llu s more: an error told too little\n",
		       before, path->armed);
}

/**
 * path_json() - print a path, into an open object
 * @path: the path
 * @js: the writer
 */
void path_json(const struct path *path, struct json *js)
{
	if (path->armed)
		json_unum(js, "armed-for", path->armed);
	json_open(js, "path", '{');
	fields_json(fields, path->tb, js);
	if (path->tb[XTUN_A_PATH_ERROR])
		json_str(js, "error-text",
			 strerror(path_num(path, XTUN_A_PATH_ERROR)));
	if (path_last_text(path))
		json_str(js, "last-text", path_last_text(path));
	if (last_mended(path))
		json_true(js, "last-mended");
	if (path_answer(path))
		json_str(js, "answer", path_answer(path));
	json_close(js, '}');
}
