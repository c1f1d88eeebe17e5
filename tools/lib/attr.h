/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Netlink attributes, written and read without a library. The plug-in is loaded
 * into ip(8), and is to work with the ip binary of any distribution, which need
 * not have libmnl, and whose message it adds to as iproute2 has laid it out. The
 * grammar, which tunctl shares with it, is written with these; all that tunctl
 * says to the kernel besides, it says with libmnl.
 */
#ifndef XTUN_TOOLS_ATTR_H
#define XTUN_TOOLS_ATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/netlink.h>

#include "compiler.h"

#define XA_BUF_MAX	4096

/**
 * struct xa_buf - a run of attributes that is being written
 * @len: bytes written, always a multiple of NLA_ALIGNTO
 * @overflow: something did not fit, and the content is not to be used
 * @data: the attributes
 */
struct xa_buf {
	size_t len;
	bool overflow;
	char data[XA_BUF_MAX] __aligned(NLA_ALIGNTO);
};

void xa_put(struct xa_buf *buf, __u16 type, const void *data, size_t len);
void xa_put_uint(struct xa_buf *buf, __u16 type, size_t size, __u32 value);
size_t xa_nest_start(struct xa_buf *buf, __u16 type);
void xa_nest_end(struct xa_buf *buf, size_t start);

const struct nlattr *xa_next(const void *data, size_t len,
			     const struct nlattr *prev);
void xa_parse(const struct nlattr *tb[], int max, const void *data, size_t len);
void xa_parse_nested(const struct nlattr *tb[], int max,
		     const struct nlattr *nest);
bool xa_get_uint(const struct nlattr *attr, unsigned long long *value);
const char *xa_get_str(const struct nlattr *attr);

static inline const void *xa_data(const struct nlattr *attr)
{
	return (const char *)attr + NLA_HDRLEN;
}

static inline size_t xa_len(const struct nlattr *attr)
{
	return attr->nla_len - NLA_HDRLEN;
}

static inline int xa_type(const struct nlattr *attr)
{
	return attr->nla_type & NLA_TYPE_MASK;
}

#endif
