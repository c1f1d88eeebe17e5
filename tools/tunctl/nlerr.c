// SPDX-License-Identifier: GPL-2.0
/* What the kernel says of a request, in the words of who made it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/genetlink.h>

#include "nl.h"

/**
 * nlerr_parse() - read how a request ended
 * @res: the result
 * @nlh: an acknowledgment, or the end of a dump
 *
 * The socket has NETLINK_CAP_ACK set: no request is repeated in between.
 */
void nlerr_parse(struct nl_result *res, const struct nlmsghdr *nlh)
{
	const char *payload = mnl_nlmsg_get_payload(nlh);
	size_t len = mnl_nlmsg_get_payload_len(nlh);
	size_t head = sizeof(struct nlmsgerr);
	int error = 0;

	if (nlh->nlmsg_type == NLMSG_DONE)
		head = sizeof(int);
	memset(res->tb, 0, sizeof(res->tb));
	if (len >= sizeof(error))
		memcpy(&error, payload, sizeof(error));
	res->error = error < 0 ? -error : 0;
	if (len > head && (nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		xa_parse(res->tb, NLMSGERR_ATTR_MAX, payload + head,
			 len - head);
}

/* Return: the attribute in a run of them that holds what is at an address */
static const struct nlattr *holder(const void *data, size_t len,
				   const char *at)
{
	const struct nlattr *attr = NULL;

	while ((attr = xa_next(data, len, attr))) {
		if (at >= (const char *)attr &&
		    at < (const char *)attr + attr->nla_len)
			return attr;
	}
	return NULL;
}

/* Names the words that gave what stands at an offset of the request */
static void blame(const struct nl_request *rq, unsigned long long off,
		  char *buf, size_t size)
{
	size_t head = NLMSG_LENGTH(GENL_HDRLEN);
	const char *msg = (const char *)rq->nlh;
	const struct nlattr *attr;

	if (!rq->words || off < head || off >= rq->nlh->nlmsg_len)
		return;
	attr = holder(msg + head, rq->nlh->nlmsg_len - head, msg + off);
	if (!attr || xa_type(attr) != XTUN_A_TUNNEL_CONF)
		return;
	attr = holder(xa_data(attr), xa_len(attr), msg + off);
	if (attr)
		xg_given_for(rq->words, xa_type(attr), buf, size);
}

/* "word: ...": does the kernel itself say which word it is about? */
static bool names_word(const char *msg)
{
	size_t len = strcspn(msg, ":");
	char word[32];

	if (!msg[len] || len >= sizeof(word))
		return false;
	memcpy(word, msg, len);
	word[len] = '\0';
	return xg_find(word);
}

static void print_range(const struct nlattr *policy)
{
	const struct nlattr *tb[NL_POLICY_TYPE_ATTR_MAX + 1];
	unsigned long long min, max;

	xa_parse_nested(tb, NL_POLICY_TYPE_ATTR_MAX, policy);
	if (xa_get_uint(tb[NL_POLICY_TYPE_ATTR_MIN_VALUE_U], &min) &&
	    xa_get_uint(tb[NL_POLICY_TYPE_ATTR_MAX_VALUE_U], &max))
		fprintf(stderr, ": it may be %llu to %llu", min, max);
}

static void print_missing(const struct nl_result *res)
{
	const struct xg_word *word;
	unsigned long long type;

	if (!res->tb[NLMSGERR_ATTR_MISS_NEST] ||
	    !xa_get_uint(res->tb[NLMSGERR_ATTR_MISS_TYPE], &type))
		return;
	for (word = xg_words; word->name; word++) {
		if (word->attr == type) {
			fprintf(stderr, ": %s is missing", word->name);
			return;
		}
	}
}

/**
 * nlerr_print() - say how a request ended
 * @rq: the request
 * @res: how it ended
 *
 * Nothing is said of one that ended well, unless the kernel itself does.
 */
void nlerr_print(const struct nl_request *rq, const struct nl_result *res)
{
	const char *msg = xa_get_str(res->tb[NLMSGERR_ATTR_MSG]);
	unsigned long long off;
	char names[128] = "";

	if (!res->error && !msg)
		return;
	if (xa_get_uint(res->tb[NLMSGERR_ATTR_OFFS], &off))
		blame(rq, off, names, sizeof(names));
	if (!names[0] && rq->what)
		snprintf(names, sizeof(names), "%s", rq->what);

	fputs("tunctl: ", stderr);
	if (!res->error)
		fputs("warning: ", stderr);
	if (names[0] && (!msg || !names_word(msg)))
		fprintf(stderr, "%s: ", names);
	fputs(msg ? msg : strerror(res->error), stderr);
	if (res->error == ERANGE)
		print_range(res->tb[NLMSGERR_ATTR_POLICY]);
	print_missing(res);
	fputc('\n', stderr);
}
