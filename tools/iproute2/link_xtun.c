// SPDX-License-Identifier: GPL-2.0
/* The kind "xtun" of ip link: a plug-in for iproute2. */
#include <stdlib.h>
#include <string.h>

#include "grammar.h"
#include "iproute2.h"

static void xtun_print_help(struct link_util *lu, int argc, char **argv,
			    FILE *f);

static int xtun_parse_opt(struct link_util *lu, int argc, char **argv,
			  struct nlmsghdr *nlh)
{
	static struct xg_parse p;

	if (argc > 0 && !strcmp(argv[0], "help")) {
		xtun_print_help(lu, argc - 1, argv + 1, stderr);
		return -1;
	}
	if (xg_parse_all(&p, argc, argv))
		invarg(p.error.msg, p.error.arg);
	if (NLMSG_ALIGN(nlh->nlmsg_len) + p.buf.len > IP_MSG_MAX) {
		fprintf(stderr,
			"Error: that is more than ip can send at once: give the long list to allow with tunctl, \"tunctl set NAME allow PREFIX,...\"\n");
		return -1;
	}
	return addraw_l(nlh, IP_MSG_MAX, p.buf.data, p.buf.len);
}

static void print_text(const struct xg_shown *shown)
{
	enum color_attr color = COLOR_NONE;

	if (shown->family)
		color = ifa_family_color(shown->family);
	print_color_string(PRINT_FP, COLOR_NONE, NULL, "%s ", shown->word);
	if (shown->kind == XG_IS_FLAG)
		return;
	print_color_string(PRINT_FP, color, NULL, "%s", shown->text);
	print_color_string(PRINT_FP, COLOR_NONE, NULL, "%s", " ");
}

static void print_json_list(const struct xg_shown *shown)
{
	char *copy = strdup(shown->text), *rest = copy, *item;

	open_json_array(PRINT_JSON, shown->word);
	while (rest && (item = strsep(&rest, ",")))
		print_color_string(PRINT_JSON, COLOR_NONE, NULL, NULL, item);
	close_json_array(PRINT_JSON, NULL);
	free(copy);
}

static void print_json(const struct xg_shown *shown)
{
	switch (shown->kind) {
	case XG_IS_FLAG:
		print_color_bool(PRINT_JSON, COLOR_NONE, shown->word, NULL,
				 true);
		break;
	case XG_IS_NUM:
		print_color_uint(PRINT_JSON, COLOR_NONE, shown->word, NULL,
				 shown->num);
		break;
	case XG_IS_STR:
		print_color_string(PRINT_JSON, COLOR_NONE, shown->word, NULL,
				   shown->text);
		break;
	case XG_IS_LIST:
		print_json_list(shown);
		break;
	}
}

static void print_word(void *ctx __maybe_unused,
		       const struct xg_shown *shown)
{
	if (is_json_context())
		print_json(shown);
	else
		print_text(shown);
}

static void xtun_print_opt(struct link_util *lu __maybe_unused,
			   FILE *f __maybe_unused,
			   struct rtattr *tb[])
{
	/* A struct rtattr is laid out as a struct nlattr is */
	if (tb)
		xg_print((const struct nlattr *const *)tb, false, print_word,
			 NULL);
}

static void xtun_print_help(struct link_util *lu,
			    int argc __maybe_unused,
			    char **argv __maybe_unused, FILE *f)
{
	const struct xg_word *word;
	char line[XG_LINE_MAX];

	fprintf(f,
		"Usage: ip link add [ name NAME ] type %s [ WORD... ]\n"
		"       ip link set dev NAME type %s [ WORD... ]\n\n",
		lu->id, lu->id);
	for (word = xg_words; word->name; word++) {
		xg_help_line(word, line, sizeof(line));
		fprintf(f, "  %s\n", line);
	}
	fprintf(f,
		"\nEvery word may be left out: a device is made without carrier until it is\n"
		"told what to be. In () is what holds then. See ip-link-xtun(8), and\n"
		"tunctl(8) for counters and events.\n\n"
		"  ip link add tun1 type %s encap gre remote 192.0.2.1 key 7\n",
		lu->id);
}

__visible_symbol struct link_util xtun_link_util = {
	.id = "xtun",
	.maxattr = XTUN_A_CONF_MAX,
	.parse_opt = xtun_parse_opt,
	.print_opt = xtun_print_opt,
	.print_help = xtun_print_help,
};
