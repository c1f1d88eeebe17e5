// SPDX-License-Identifier: GPL-2.0
/* Words about words: usage, help, and what would be right. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "grammar.h"

/**
 * xg_append() - add to a string, as far as there is room
 * @buf: the string
 * @size: bytes that it can take, with its end
 * @fmt: format of what is added
 */
void xg_append(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

static const char *metavar(const struct xg_word *word)
{
	switch (word->type) {
	case XG_NUM:
	case XG_MARK:
	case XG_KEY:
		return "N";
	case XG_ADDR:
		return "ADDR";
	case XG_LINK:
		return "LINK";
	case XG_PREFIXES:
		return "PREFIX[,PREFIX...]";
	case XG_PORTS:
		return "N|A-B";
	case XG_COOKIE:
		return "HEX";
	default:
		return NULL;
	}
}

/**
 * xg_usage() - how a word is written
 * @word: the word
 * @buf: where to, for example "ttl N|inherit"
 * @size: bytes there
 */
void xg_usage(const struct xg_word *word, char *buf, size_t size)
{
	const char *meta = metavar(word);
	const struct xg_name *name;
	char sep = ' ';

	snprintf(buf, size, "%s", word->name);
	if (meta) {
		xg_append(buf, size, "%c%s", sep, meta);
		sep = '|';
	}
	for (name = word->names; name && name->name; name++) {
		xg_append(buf, size, "%c%s", sep, name->name);
		sep = '|';
	}
}

static void takes_what(const struct xg_word *word, char *buf, size_t size)
{
	buf[0] = '\0';
	switch (word->type) {
	case XG_NUM:
	case XG_MARK:
		xg_append(buf, size, "a number from %u to %llu", word->min,
			  xg_max(word));
		break;
	case XG_KEY:
		xg_append(buf, size,
			  "a number from 0 to 4294967295 or a dotted quad");
		break;
	case XG_ADDR:
		xg_append(buf, size, "an IPv4 or IPv6 address");
		break;
	case XG_LINK:
		xg_append(buf, size,
			  "the name of a device, ifN for the one of index N");
		break;
	case XG_PREFIXES:
		xg_append(buf, size,
			  "prefixes ADDR/LEN with commas between them");
		break;
	case XG_PORTS:
		xg_append(buf, size,
			  "a port or a range A-B of ports, from 0 to 65535");
		break;
	case XG_COOKIE:
		xg_append(buf, size, "8 or 16 hexadecimal digits");
		break;
	default:
		break;
	}
}

/**
 * xg_takes() - what a word takes, in plain English
 * @word: the word
 * @buf: where to, for example "a number from 1 to 255 or inherit"
 * @size: bytes there
 */
void xg_takes(const struct xg_word *word, char *buf, size_t size)
{
	const struct xg_name *name;

	takes_what(word, buf, size);
	for (name = word->names; name && name->name; name++) {
		if (buf[0])
			xg_append(buf, size, name[1].name ? ", " : " or ");
		xg_append(buf, size, "%s", name->name);
	}
	if (!buf[0])
		xg_append(buf, size, "no value");
}

/**
 * xg_default() - what holds where a word is not given
 * @word: the word
 * @buf: where to; empty where there is no one value to tell
 * @size: bytes there
 */
void xg_default(const struct xg_word *word, char *buf, size_t size)
{
	const struct xg_name *name;

	buf[0] = '\0';
	for (name = word->names; name && name->name; name++) {
		if (name->value == word->dflt) {
			snprintf(buf, size, "%s", name->name);
			return;
		}
	}
	if (word->type == XG_NUM && word->dflt)
		snprintf(buf, size, "%u", word->dflt);
}

/**
 * xg_encaps() - which encapsulations have a word
 * @word: the word
 * @buf: where to; empty where all have it
 * @size: bytes there
 */
void xg_encaps(const struct xg_word *word, char *buf, size_t size)
{
	const struct xg_name *encap;

	buf[0] = '\0';
	for (encap = xg_find("encap")->names; word->encaps && encap->name; encap++) {
		if (word->encaps & XG_ENCAP(encap->value))
			xg_append(buf, size, "%s%s", buf[0] ? ", " : "",
				  encap->name);
	}
}

/**
 * xg_help_line() - a line of help
 * @word: the word
 * @buf: where to: how it is written, what for, its default
 * @size: bytes there
 */
void xg_help_line(const struct xg_word *word, char *buf, size_t size)
{
	char usage[XG_LINE_MAX];
	char dflt[32];

	xg_usage(word, usage, sizeof(usage));
	xg_default(word, dflt, sizeof(dflt));
	snprintf(buf, size, "%-34s %s", usage, word->help);
	if (dflt[0])
		xg_append(buf, size, " (%s)", dflt);
}
