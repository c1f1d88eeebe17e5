/* SPDX-License-Identifier: GPL-2.0 */
/* What went wrong and is over, or may be. */
#ifndef XTUN_TOOLS_PAST_H
#define XTUN_TOOLS_PAST_H

#include <stdbool.h>
#include <linux/netlink.h>

/*
 * Where one packet does not leave and others do: so long ago that it happened, the
 * others speak for all, in seconds
 */
#define PAST_ALL_PASS	5

/* What happened no longer ago than this is blamed, in seconds */
#define PAST_RECENT	60

enum past {
	PAST_NOT,	/* it may well still be so */
	PAST_MENDED,	/* a packet of the peer has come since */
	PAST_PASSED,	/* packets get out, where one did not a while ago */
	PAST_UNTRIED,	/* nothing has come, and nothing was sent */
};

enum past past_of(const struct nlattr *since, unsigned long long ago,
		  bool on_this_host);
bool past_over(enum past past);
const char *past_word(enum past past);
const char *past_text(enum past past);

#endif
