// SPDX-License-Identifier: GPL-2.0
/* What went wrong and is over, or may be. */
#include <stddef.h>
#include <linux/xtun.h>

#include "attr.h"
#include "past.h"

/* So long the packet that it happened to speaks for those to come, in seconds */
#define FRESH	30

/**
 * past_of() - is what went wrong over?
 * @since: packets since, NULL where they are not known
 * @ago: how long ago it was, in seconds
 * @on_this_host: it kept a packet from leaving; a filter, say, may keep some
 *
 * Return: whether it is, and why.
 */
enum past past_of(const struct nlattr *since, unsigned long long ago,
		  bool on_this_host)
{
	unsigned long long packets;

	if (!xa_get_uint(since, &packets))
		return PAST_NOT;
	if (packets & XTUN_SINCE_HEARD)
		return PAST_MENDED;
	if (packets & XTUN_SINCE_SENT && on_this_host && ago >= PAST_ALL_PASS)
		return PAST_PASSED;
	return packets & XTUN_SINCE_SENT || ago <= FRESH ? PAST_NOT :
							   PAST_UNTRIED;
}

/**
 * past_over() - is something known to be over?
 * @past: what is known
 *
 * Return: whether it is; not where nothing was tried since.
 */
bool past_over(enum past past)
{
	return past == PAST_MENDED || past == PAST_PASSED;
}

/**
 * past_word() - why something is over, for programs
 * @past: why
 *
 * Return: a word, NULL if it is not.
 */
const char *past_word(enum past past)
{
	if (past == PAST_MENDED)
		return "mended";
	if (past == PAST_PASSED)
		return "passed";
	return past == PAST_UNTRIED ? "untried" : NULL;
}

/**
 * past_text() - why something is over, for people
 * @past: why, not PAST_NOT
 *
 * Return: the end of a sentence.
 */
const char *past_text(enum past past)
{
	if (past == PAST_MENDED)
		return "a packet of the peer has come since";
	if (past == PAST_PASSED)
		return "packets have got out since";
	return "nothing was sent since, so nobody knows; send something and ask again";
}
