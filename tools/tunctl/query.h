/* SPDX-License-Identifier: GPL-2.0 */
#ifndef XTUN_TOOLS_QUERY_H
#define XTUN_TOOLS_QUERY_H

#include "tunnel.h"

/**
 * struct query - a command that prints something of one tunnel or of all
 * @cmd: what it asks the kernel for
 * @many: there may be more than one answer about a tunnel
 * @text: prints a tunnel's as lines
 * @json: prints a tunnel's into an open object
 */
struct query {
	__u8 cmd;
	bool many;
	void (*text)(const struct options *opt, const struct tunnel *tun);
	void (*json)(const struct tunnel *tun, struct json *js);
};

int query_run(const struct query *query, const struct options *opt, int argc,
	      char **argv);

#endif
