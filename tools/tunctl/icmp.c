// SPDX-License-Identifier: GPL-2.0
/* ICMP errors, in words. */
#include <stddef.h>
#include <netinet/in.h>

#include "compiler.h"
#include "icmp.h"

/* A code of -1 is any that has no line of its own. */
static const struct icmp_error {
	int family;
	int type;
	int code;
	enum icmp_kind kind;
	const char *text;
} errors[] = {
	{ AF_INET, 3, 0, ICMP_KIND_UNREACHABLE, "network unreachable" },
	{ AF_INET, 3, 1, ICMP_KIND_UNREACHABLE, "host unreachable" },
	{ AF_INET, 3, 2, ICMP_KIND_NOT_TAKEN, "protocol unreachable" },
	{ AF_INET, 3, 3, ICMP_KIND_NOT_TAKEN, "port unreachable" },
	{ AF_INET, 3, 4, ICMP_KIND_OTHER, "fragmentation needed" },
	{ AF_INET, 3, 5, ICMP_KIND_OTHER, "source route failed" },
	{ AF_INET, 3, 6, ICMP_KIND_UNREACHABLE, "network unknown" },
	{ AF_INET, 3, 7, ICMP_KIND_UNREACHABLE, "host unknown" },
	{ AF_INET, 3, 8, ICMP_KIND_UNREACHABLE, "host isolated" },
	{ AF_INET, 3, 9, ICMP_KIND_PROHIBITED, "network prohibited" },
	{ AF_INET, 3, 10, ICMP_KIND_PROHIBITED, "host prohibited" },
	{ AF_INET, 3, 11, ICMP_KIND_UNREACHABLE,
	  "network unreachable for this TOS" },
	{ AF_INET, 3, 12, ICMP_KIND_UNREACHABLE,
	  "host unreachable for this TOS" },
	{ AF_INET, 3, 13, ICMP_KIND_PROHIBITED, "prohibited by a filter" },
	{ AF_INET, 3, -1, ICMP_KIND_OTHER, "destination unreachable" },
	{ AF_INET, 4, -1, ICMP_KIND_OTHER, "source quench" },
	{ AF_INET, 5, -1, ICMP_KIND_OTHER, "redirect" },
	{ AF_INET, 11, 0, ICMP_KIND_TIME, "time to live exceeded" },
	{ AF_INET, 11, 1, ICMP_KIND_OTHER, "reassembly time exceeded" },
	{ AF_INET, 12, -1, ICMP_KIND_NOT_TAKEN, "parameter problem" },
	{ AF_INET6, 1, 0, ICMP_KIND_UNREACHABLE, "no route" },
	{ AF_INET6, 1, 1, ICMP_KIND_PROHIBITED, "prohibited by a filter" },
	{ AF_INET6, 1, 2, ICMP_KIND_UNREACHABLE, "beyond the source's scope" },
	{ AF_INET6, 1, 3, ICMP_KIND_UNREACHABLE, "address unreachable" },
	{ AF_INET6, 1, 4, ICMP_KIND_NOT_TAKEN, "port unreachable" },
	{ AF_INET6, 1, 5, ICMP_KIND_PROHIBITED,
	  "source prohibited by a policy" },
	{ AF_INET6, 1, 6, ICMP_KIND_PROHIBITED, "rejected by a route" },
	{ AF_INET6, 1, -1, ICMP_KIND_OTHER, "destination unreachable" },
	{ AF_INET6, 2, -1, ICMP_KIND_OTHER, "packet too big" },
	{ AF_INET6, 3, 0, ICMP_KIND_TIME, "hop limit exceeded" },
	{ AF_INET6, 3, 1, ICMP_KIND_OTHER, "reassembly time exceeded" },
	{ AF_INET6, 4, 1, ICMP_KIND_NOT_TAKEN, "protocol unknown" },
	{ AF_INET6, 4, -1, ICMP_KIND_NOT_TAKEN, "parameter problem" },
	{ AF_INET6, 137, -1, ICMP_KIND_OTHER, "redirect" },
};

static const struct icmp_error *find_error(int family, int type, int code)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		if (errors[i].family == family && errors[i].type == type &&
		    (errors[i].code == code || errors[i].code < 0))
			return &errors[i];
	}
	return NULL;
}

/**
 * icmp_text() - name an ICMP error
 * @family: AF_INET or AF_INET6
 * @type: its type
 * @code: its code
 *
 * Return: the name.
 */
const char *icmp_text(int family, int type, int code)
{
	const struct icmp_error *error = find_error(family, type, code);

	return error ? error->text : "an error without a name";
}

/**
 * icmp_kind() - what an ICMP error about an outer packet means
 * @family: AF_INET or AF_INET6
 * @type: its type
 * @code: its code
 *
 * Return: its meaning.
 */
enum icmp_kind icmp_kind(int family, int type, int code)
{
	const struct icmp_error *error = find_error(family, type, code);

	return error ? error->kind : ICMP_KIND_OTHER;
}
