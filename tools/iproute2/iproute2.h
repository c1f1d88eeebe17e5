/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a link plug-in shares with the "ip" binary that loads it. iproute2
 * installs no header for it; layout and prototypes are the same from release
 * 4.20 to 7.1. The functions are resolved in the binary when it loads us.
 */
#ifndef XTUN_TOOLS_IPROUTE2_H
#define XTUN_TOOLS_IPROUTE2_H

#include <stdbool.h>
#include <stdio.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "compiler.h"

/* How long a message may get: iproute2's own kinds stop there */
#define IP_MSG_MAX	1024

/**
 * struct link_util - a kind of link
 * @next: list of the kinds that are loaded, kept by ip
 * @id: name of the kind
 * @maxattr: highest attribute in IFLA_INFO_DATA
 * @parse_opt: turns arguments into attributes at the end of a message
 * @print_opt: prints IFLA_INFO_DATA; the table is NULL where there is none
 * @print_xstats: prints IFLA_INFO_XSTATS
 * @print_help: prints what "ip link help KIND" shows
 * @parse_ifla_xstats: parses "ip link xstats type KIND"
 * @print_ifla_xstats: prints its result
 */
struct link_util {
	struct link_util *next;
	const char *id;
	int maxattr;
	int (*parse_opt)(struct link_util *lu, int argc, char **argv,
			 struct nlmsghdr *nlh);
	void (*print_opt)(struct link_util *lu, FILE *f, struct rtattr *tb[]);
	void (*print_xstats)(struct link_util *lu, FILE *f,
			     struct rtattr *xstats);
	void (*print_help)(struct link_util *lu, int argc, char **argv,
			   FILE *f);
	int (*parse_ifla_xstats)(struct link_util *lu, int argc, char **argv);
	int (*print_ifla_xstats)(struct nlmsghdr *nlh, void *arg);
};

enum output_type {
	PRINT_FP = 1,
	PRINT_JSON = 2,
	PRINT_ANY = 4,
};

/* Of the colours, only the one that is none is named here */
enum color_attr {
	COLOR_NONE = 6,
};

enum color_attr ifa_family_color(__u8 family);
int print_color_string(enum output_type type, enum color_attr color,
		       const char *key, const char *fmt, const char *value);
int print_color_uint(enum output_type type, enum color_attr color,
		     const char *key, const char *fmt, unsigned int value);
int print_color_bool(enum output_type type, enum color_attr color,
		     const char *key, const char *fmt, bool value);
bool is_json_context(void);
void open_json_array(enum output_type type, const char *key);
void close_json_array(enum output_type type, const char *key);

int addraw_l(struct nlmsghdr *nlh, int maxlen, const void *data, int len);
void __noreturn invarg(const char *msg, const char *arg);

#endif
