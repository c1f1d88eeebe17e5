/* SPDX-License-Identifier: GPL-2.0 */
/* What the commands of tunctl share. */
#ifndef XTUN_TOOLS_TUNCTL_H
#define XTUN_TOOLS_TUNCTL_H

#include <stdbool.h>

#include "compiler.h"
#include "grammar.h"

/**
 * enum exit_code - how tunctl ends
 * @EXIT_DONE: all is done
 * @EXIT_USAGE: the arguments are wrong; nothing was sent
 * @EXIT_REFUSED: the kernel refused
 * @EXIT_NOTALK: no talk with the kernel, or no output
 * @EXIT_CAUSE: all is done, and explain has named something that is wrong
 */
enum exit_code {
	EXIT_DONE,
	EXIT_USAGE,
	EXIT_REFUSED,
	EXIT_NOTALK,
	EXIT_CAUSE,
};

/**
 * struct options - options of any command
 * @json: print JSON
 * @pretty: print it in lines
 * @details: print what is left out otherwise
 */
struct options {
	bool json;
	bool pretty;
	bool details;
};

#define NETNS_RUN_DIR "/run/netns"

/* main.c */
void commands_list(void);
int __printf(1, 2) usage_error(const char *fmt, ...);
int word_error(const struct xg_error *error);
bool is_ifname(const char *name);

/* netns.c */
int netns_open(const char *name);
int netns_enter(const char *name);

/* a file per command; each returns an exit code */
int cmd_add(const struct options *opt, int argc, char **argv);
int cmd_set(const struct options *opt, int argc, char **argv);
int cmd_del(const struct options *opt, int argc, char **argv);
int cmd_show(const struct options *opt, int argc, char **argv);
int cmd_stats(const struct options *opt, int argc, char **argv);
int cmd_path(const struct options *opt, int argc, char **argv);
int cmd_explain(const struct options *opt, int argc, char **argv);
int cmd_monitor(const struct options *opt, int argc, char **argv);
int cmd_complete(const struct options *opt, int argc, char **argv);
int cmd_help(const struct options *opt, int argc, char **argv);

#endif
