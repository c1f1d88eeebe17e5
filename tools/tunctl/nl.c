// SPDX-License-Identifier: GPL-2.0
/* Talk with the generic-netlink family xtun, and with rtnetlink. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <linux/genetlink.h>

#include "nl.h"

/* How often a dump that changes under the reader is begun anew */
#define DUMP_TRIES	32

static int talk_error(const char *what)
{
	fprintf(stderr, "tunctl: %s: %s\n", what, strerror(errno));
	return EXIT_NOTALK;
}

static struct nlmsghdr *begin(struct nl *nl, __u16 family, __u8 cmd)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(nl->out);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = cmd;
	genl->version = XTUN_FAMILY_VERSION;
	return nlh;
}

/**
 * nl_begin_route() - begin a request to rtnetlink
 * @nl: a socket of nl_open_route()
 * @type: RTM_...
 * @len: bytes of its header, which is zeroed and follows the netlink header
 *
 * Return: the request, to which attributes may be added.
 */
struct nlmsghdr *nl_begin_route(struct nl *nl, __u16 type, size_t len)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(nl->out);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	mnl_nlmsg_put_extra_header(nlh, len);
	return nlh;
}

/**
 * nl_begin() - begin a request
 * @nl: the socket
 * @cmd: what it asks for
 *
 * Return: the request, to which attributes may be added.
 */
struct nlmsghdr *nl_begin(struct nl *nl, __u8 cmd)
{
	return begin(nl, nl->family, cmd);
}

/**
 * nl_cmd() - what a message of the family is
 * @nlh: the message
 *
 * Return: its command, or -1 if it is too short to have one.
 */
int nl_cmd(const struct nlmsghdr *nlh)
{
	const struct genlmsghdr *genl = mnl_nlmsg_get_payload(nlh);

	return nlh->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN) ? -1 : genl->cmd;
}

/**
 * nl_attrs_after() - sort attributes by type
 * @tb: the result, max + 1 entries
 * @max: highest type to take
 * @nlh: their message
 * @header: bytes of the header before them, a multiple of NLMSG_ALIGNTO
 */
void nl_attrs_after(const struct nlattr *tb[], int max,
		    const struct nlmsghdr *nlh, size_t header)
{
	size_t head = NLMSG_LENGTH(header);
	size_t len = nlh->nlmsg_len < head ? 0 : nlh->nlmsg_len - head;

	xa_parse(tb, max, (const char *)nlh + head, len);
}

/**
 * nl_attrs() - sort the attributes of a message of the family by type
 * @tb: the result, max + 1 entries
 * @max: highest type to take
 * @nlh: the message
 */
void nl_attrs(const struct nlattr *tb[], int max, const struct nlmsghdr *nlh)
{
	nl_attrs_after(tb, max, nlh, GENL_HDRLEN);
}

/* Return: 0 to go on, 1 where the answer ends, -1 for an exit code in *code */
static int take(const struct nlmsghdr *nlh, struct nl_result *res, nl_cb_t cb,
		void *data, int *code)
{
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		res->interrupted = true;
	if (nlh->nlmsg_type == NLMSG_ERROR || nlh->nlmsg_type == NLMSG_DONE) {
		nlerr_parse(res, nlh);
		return 1;
	}
	if (nlh->nlmsg_type < NLMSG_MIN_TYPE || !cb)
		return 0;
	*code = cb(nlh, data);
	return *code ? -1 : 0;
}

/* Return: 0 with the result in *res, or an exit code after saying why */
static int converse(struct nl *nl, struct nlmsghdr *nlh, nl_cb_t cb,
		    void *data, struct nl_result *res)
{
	unsigned int portid = mnl_socket_get_portid(nl->sk);
	const struct nlmsghdr *in;
	int code, end = 0, left;

	memset(res, 0, sizeof(*res));
	nlh->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->sk, nlh, nlh->nlmsg_len) < 0)
		return talk_error("send to the kernel");
	while (!end) {
		left = mnl_socket_recvfrom(nl->sk, nl->in, sizeof(nl->in));
		if (left < 0)
			return talk_error("receive from the kernel");
		in = (const struct nlmsghdr *)nl->in;
		for (; !end && mnl_nlmsg_ok(in, left);
		     in = mnl_nlmsg_next(in, &left)) {
			if (mnl_nlmsg_portid_ok(in, portid) &&
			    mnl_nlmsg_seq_ok(in, nl->seq))
				end = take(in, res, cb, data, &code);
		}
	}
	return end < 0 ? code : 0;
}

static int see_group(struct nl *nl, const struct nlattr *group)
{
	const struct nlattr *tb[CTRL_ATTR_MCAST_GRP_MAX + 1];
	unsigned long long id;
	const char *name;

	xa_parse_nested(tb, CTRL_ATTR_MCAST_GRP_MAX, group);
	name = xa_get_str(tb[CTRL_ATTR_MCAST_GRP_NAME]);
	if (name && !strcmp(name, XTUN_MCGRP_EVENTS) &&
	    xa_get_uint(tb[CTRL_ATTR_MCAST_GRP_ID], &id))
		nl->events = id;
	return 0;
}

static int see_family(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[CTRL_ATTR_MAX + 1];
	const struct nlattr *groups, *group = NULL;
	unsigned long long id;
	struct nl *nl = data;

	nl_attrs(tb, CTRL_ATTR_MAX, nlh);
	if (xa_get_uint(tb[CTRL_ATTR_FAMILY_ID], &id))
		nl->family = id;
	groups = tb[CTRL_ATTR_MCAST_GROUPS];
	while (groups &&
	       (group = xa_next(xa_data(groups), xa_len(groups), group)))
		see_group(nl, group);
	return 0;
}

static int find_family(struct nl *nl)
{
	struct nlmsghdr *nlh = begin(nl, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	struct nl_request rq = { .nlh = nlh, .what = XTUN_FAMILY_NAME };
	struct nl_result res;
	int err;

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, XTUN_FAMILY_NAME);
	err = converse(nl, nlh, see_family, nl, &res);
	if (err)
		return err;
	if (res.error == ENOENT || (!res.error && !nl->family)) {
		fputs("tunctl: xtun is not loaded: modprobe xtun\n", stderr);
		return EXIT_NOTALK;
	}
	if (res.error) {
		nlerr_print(&rq, &res);
		return EXIT_NOTALK;
	}
	return 0;
}

static int open_socket(struct nl *nl, int protocol)
{
	int one = 1;

	memset(nl, 0, sizeof(*nl));
	nl->sk = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!nl->sk || mnl_socket_bind(nl->sk, 0, MNL_SOCKET_AUTOPID))
		return talk_error("netlink socket");
	/* Kernels of any age that have xtun take these */
	mnl_socket_setsockopt(nl->sk, NETLINK_CAP_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(nl->sk, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(nl->sk, NETLINK_GET_STRICT_CHK, &one,
			      sizeof(one));
	return 0;
}

/**
 * nl_open() - open a socket and find the family
 * @nl: the socket
 *
 * Return: 0, or an exit code after saying why not; nl_close() follows either.
 */
int nl_open(struct nl *nl)
{
	int err = open_socket(nl, NETLINK_GENERIC);

	return err ? err : find_family(nl);
}

/**
 * nl_open_route() - open a socket that talks with rtnetlink
 * @nl: the socket
 *
 * Return: 0, or an exit code after saying why not; nl_close() follows either.
 */
int nl_open_route(struct nl *nl)
{
	return open_socket(nl, NETLINK_ROUTE);
}

/**
 * nl_close() - close what nl_open() opened
 * @nl: the socket
 */
void nl_close(struct nl *nl)
{
	if (nl->sk)
		mnl_socket_close(nl->sk);
}

static int end_request(const struct nl_request *rq, const struct nl_result *res)
{
	nlerr_print(rq, res);
	return res->error ? EXIT_REFUSED : 0;
}

/**
 * nl_talk() - send a request and take its answer
 * @nl: the socket
 * @rq: the request
 * @cb: takes what comes before the acknowledgment, NULL to ignore it
 * @data: for @cb
 *
 * Return: an exit code, after saying what is not well.
 */
int nl_talk(struct nl *nl, const struct nl_request *rq, nl_cb_t cb, void *data)
{
	struct nl_result res;
	int err;

	err = converse(nl, rq->nlh, cb, data, &res);
	return err ? err : end_request(rq, &res);
}

/**
 * nl_ask() - send a request that the kernel may well refuse
 * @nl: the socket
 * @rq: the request
 * @cb: takes what comes before the acknowledgment
 * @data: for @cb
 * @error: gets the errno of the refusal, or 0
 *
 * Return: 0, or an exit code after saying why there was no talk.
 */
int nl_ask(struct nl *nl, const struct nl_request *rq, nl_cb_t cb, void *data,
	   int *error)
{
	struct nl_result res;
	int err;

	err = converse(nl, rq->nlh, cb, data, &res);
	*error = err ? 0 : res.error;
	return err;
}

/**
 * struct heap - messages kept until the dump is known to be whole
 * @data: the messages
 * @len: bytes of them
 * @size: bytes there is room for
 */
struct heap {
	char *data;
	size_t len;
	size_t size;
};

static int keep(const struct nlmsghdr *nlh, void *data)
{
	size_t need = NLMSG_ALIGN(nlh->nlmsg_len);
	struct heap *heap = data;
	char *grown;

	if (need > heap->size - heap->len) {
		grown = realloc(heap->data, 2 * heap->size + need);
		if (!grown)
			return talk_error("dump");
		heap->data = grown;
		heap->size = 2 * heap->size + need;
	}
	memcpy(heap->data + heap->len, nlh, nlh->nlmsg_len);
	heap->len += need;
	return 0;
}

static int gather(struct nl *nl, const struct nl_request *rq,
		  struct heap *heap)
{
	struct nl_result res;
	int err, tries;

	for (tries = 0; tries < DUMP_TRIES; tries++) {
		heap->len = 0;
		rq->nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		err = converse(nl, rq->nlh, keep, heap, &res);
		if (err)
			return err;
		if (res.error || !res.interrupted)
			return end_request(rq, &res);
	}
	fputs("tunctl: the tunnels change faster than they can be read\n",
	      stderr);
	return EXIT_NOTALK;
}

/**
 * nl_dump() - ask for all of something
 * @nl: the socket
 * @rq: the request
 * @cb: takes each, once a whole and consistent dump has been received
 * @data: for @cb
 *
 * Return: an exit code, after saying what is not well.
 */
int nl_dump(struct nl *nl, const struct nl_request *rq, nl_cb_t cb, void *data)
{
	const struct nlmsghdr *nlh;
	struct heap heap = { };
	size_t at = 0;
	int err;

	err = gather(nl, rq, &heap);
	while (!err && at < heap.len) {
		nlh = (const struct nlmsghdr *)(heap.data + at);
		at += NLMSG_ALIGN(nlh->nlmsg_len);
		err = cb(nlh, data);
	}
	free(heap.data);
	return err;
}

/* Return: what becomes readable when a signal asks for the end */
static int open_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC);
}

static int hear(struct nl *nl, nl_cb_t cb, void *data)
{
	int left = mnl_socket_recvfrom(nl->sk, nl->in, sizeof(nl->in));
	const struct nlmsghdr *in = (const struct nlmsghdr *)nl->in;
	int err = 0;

	if (left < 0 && errno == ENOBUFS) {
		fputs("tunctl: events came too fast, some are lost\n", stderr);
		return 0;
	}
	if (left < 0)
		return talk_error("receive events");
	for (; !err && mnl_nlmsg_ok(in, left); in = mnl_nlmsg_next(in, &left)) {
		if (in->nlmsg_type == nl->family)
			err = cb(in, data);
	}
	return err;
}

/**
 * nl_listen() - take events until a signal or the end of who reads our output
 * @nl: the socket
 * @cb: takes each
 * @data: for @cb
 *
 * Return: an exit code, after saying what is not well.
 */
int nl_listen(struct nl *nl, nl_cb_t cb, void *data)
{
	struct pollfd fds[] = {
		{ .fd = mnl_socket_get_fd(nl->sk), .events = POLLIN },
		{ .fd = open_signals(), .events = POLLIN },
		{ .fd = fileno(stdout) },
	};
	int err = 0;

	if (mnl_socket_setsockopt(nl->sk, NETLINK_ADD_MEMBERSHIP, &nl->events,
				  sizeof(nl->events)))
		return talk_error("listen to events");

	while (!err) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			return talk_error("wait for events");
		if (fds[1].revents || fds[2].revents)
			break;
		err = hear(nl, cb, data);
	}
	close(fds[1].fd);
	return err;
}
