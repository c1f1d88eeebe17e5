/* SPDX-License-Identifier: GPL-2.0 */
/* Talk with the generic-netlink family xtun, and with rtnetlink. */
#ifndef XTUN_TOOLS_NL_H
#define XTUN_TOOLS_NL_H

#include <libmnl/libmnl.h>

#include "tunctl.h"

#define NL_SEND_MAX	(XA_BUF_MAX + 512)
#define NL_RECV_MAX	32768

/**
 * struct nl - a socket that talks with the family, or with rtnetlink
 * @sk: the socket
 * @family: the family's id, 0 with rtnetlink
 * @events: id of its group of events, 0 if it has none
 * @seq: number of the last request
 * @out: the request
 * @in: what was received last
 */
struct nl {
	struct mnl_socket *sk;
	__u16 family;
	__u32 events;
	__u32 seq;
	char out[NL_SEND_MAX] __aligned(NLMSG_ALIGNTO);
	char in[NL_RECV_MAX] __aligned(NLMSG_ALIGNTO);
};

/**
 * struct nl_request - a request, and what its error message is to say
 * @nlh: the request
 * @what: what it is about, the name of a device for example; may be NULL
 * @words: the words in it; may be NULL
 */
struct nl_request {
	struct nlmsghdr *nlh;
	const char *what;
	const struct xg_parse *words;
};

/**
 * struct nl_result - how a request ended
 * @error: an errno, or 0
 * @interrupted: the dump is not consistent
 * @tb: what the kernel says about it, by NLMSGERR_ATTR_*
 */
struct nl_result {
	int error;
	bool interrupted;
	const struct nlattr *tb[NLMSGERR_ATTR_MAX + 1];
};

/* A message's receiver returns 0, or an exit code, which ends the talk */
typedef int (*nl_cb_t)(const struct nlmsghdr *nlh, void *data);

/* nl.c */
int nl_open(struct nl *nl);
int nl_open_route(struct nl *nl);
void nl_close(struct nl *nl);
struct nlmsghdr *nl_begin(struct nl *nl, __u8 cmd);
struct nlmsghdr *nl_begin_route(struct nl *nl, __u16 type, size_t len);
int nl_talk(struct nl *nl, const struct nl_request *rq, nl_cb_t cb,
	    void *data);
int nl_ask(struct nl *nl, const struct nl_request *rq, nl_cb_t cb, void *data,
	   int *error);
int nl_dump(struct nl *nl, const struct nl_request *rq, nl_cb_t cb, void *data);
int nl_listen(struct nl *nl, nl_cb_t cb, void *data);
int nl_cmd(const struct nlmsghdr *nlh);
void nl_attrs(const struct nlattr *tb[], int max, const struct nlmsghdr *nlh);
void nl_attrs_after(const struct nlattr *tb[], int max,
		    const struct nlmsghdr *nlh, size_t header);

/* nlerr.c */
void nlerr_parse(struct nl_result *res, const struct nlmsghdr *nlh);
void nlerr_print(const struct nl_request *rq, const struct nl_result *res);

#endif
