// SPDX-License-Identifier: GPL-2.0
#include <string.h>

#include "attr.h"

static void *reserve(struct xa_buf *buf, __u16 type, size_t len)
{
	size_t need = NLA_HDRLEN + NLA_ALIGN(len);
	struct nlattr *attr;

	if (buf->overflow || need > sizeof(buf->data) - buf->len) {
		buf->overflow = true;
		return NULL;
	}
	attr = (struct nlattr *)(buf->data + buf->len);
	memset(attr, 0, need);
	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	buf->len += need;
	return (char *)attr + NLA_HDRLEN;
}

/**
 * xa_put() - append an attribute
 * @buf: where to
 * @type: its type
 * @data: its payload, unused if @len is 0
 * @len: bytes of payload
 */
void xa_put(struct xa_buf *buf, __u16 type, const void *data, size_t len)
{
	void *payload = reserve(buf, type, len);

	if (payload && len)
		memcpy(payload, data, len);
}

/**
 * xa_put_uint() - append a number
 * @buf: where to
 * @type: type of the attribute
 * @size: bytes that the number takes there: 1, 2 or 4
 * @value: the number, which must fit
 */
void xa_put_uint(struct xa_buf *buf, __u16 type, size_t size, __u32 value)
{
	__u16 half = value;
	__u8 byte = value;

	if (size == sizeof(byte))
		xa_put(buf, type, &byte, size);
	else if (size == sizeof(half))
		xa_put(buf, type, &half, size);
	else
		xa_put(buf, type, &value, size);
}

/**
 * xa_nest_start() - open an attribute that holds attributes
 * @buf: where to
 * @type: type of the nest
 *
 * Return: what xa_nest_end() needs to close it.
 */
size_t xa_nest_start(struct xa_buf *buf, __u16 type)
{
	size_t start = buf->len;

	xa_put(buf, type | NLA_F_NESTED, NULL, 0);
	return start;
}

/**
 * xa_nest_end() - close what xa_nest_start() opened
 * @buf: where to
 * @start: what xa_nest_start() returned
 */
void xa_nest_end(struct xa_buf *buf, size_t start)
{
	struct nlattr *nest = (struct nlattr *)(buf->data + start);

	if (!buf->overflow)
		nest->nla_len = buf->len - start;
}

/**
 * xa_next() - walk over attributes
 * @data: the first one
 * @len: bytes that all of them take
 * @prev: the one before, NULL to begin
 *
 * Return: the next attribute, or NULL where no whole one is left.
 */
const struct nlattr *xa_next(const void *data, size_t len,
			     const struct nlattr *prev)
{
	const struct nlattr *attr;
	size_t at = 0;

	if (prev)
		at = (const char *)prev - (const char *)data +
			NLA_ALIGN(prev->nla_len);
	if (at > len || len - at < NLA_HDRLEN)
		return NULL;
	attr = (const struct nlattr *)((const char *)data + at);
	if (attr->nla_len < NLA_HDRLEN || attr->nla_len > len - at)
		return NULL;
	return attr;
}

/**
 * xa_parse() - sort attributes by type
 * @tb: the result, max + 1 entries; NULL where there is none of that type
 * @max: highest type to take; what a newer kernel sends beyond it is ignored
 * @data: the first attribute
 * @len: bytes that all of them take
 */
void xa_parse(const struct nlattr *tb[], int max, const void *data, size_t len)
{
	const struct nlattr *attr = NULL;

	memset(tb, 0, sizeof(*tb) * (max + 1));
	while ((attr = xa_next(data, len, attr))) {
		if (xa_type(attr) <= max && !tb[xa_type(attr)])
			tb[xa_type(attr)] = attr;
	}
}

/**
 * xa_parse_nested() - sort the attributes of a nest by type
 * @tb: the result, max + 1 entries
 * @max: highest type to take
 * @nest: the nest, NULL for none
 */
void xa_parse_nested(const struct nlattr *tb[], int max,
		     const struct nlattr *nest)
{
	if (nest)
		xa_parse(tb, max, xa_data(nest), xa_len(nest));
	else
		memset(tb, 0, sizeof(*tb) * (max + 1));
}

/**
 * xa_get_uint() - read a number of any size
 * @attr: the attribute, NULL for none
 * @value: the number
 *
 * Return: false if the attribute is not there or holds no number.
 */
bool xa_get_uint(const struct nlattr *attr, unsigned long long *value)
{
	__u16 half;
	__u32 word;
	__u64 wide;
	__u8 byte;

	if (!attr)
		return false;
	switch (xa_len(attr)) {
	case sizeof(byte):
		memcpy(&byte, xa_data(attr), sizeof(byte));
		*value = byte;
		return true;
	case sizeof(half):
		memcpy(&half, xa_data(attr), sizeof(half));
		*value = half;
		return true;
	case sizeof(word):
		memcpy(&word, xa_data(attr), sizeof(word));
		*value = word;
		return true;
	case sizeof(wide):
		memcpy(&wide, xa_data(attr), sizeof(wide));
		*value = wide;
		return true;
	default:
		return false;
	}
}

/**
 * xa_get_str() - read a string
 * @attr: the attribute, NULL for none
 *
 * Return: the string, or NULL if there is none that ends within the attribute.
 */
const char *xa_get_str(const struct nlattr *attr)
{
	if (!attr || !memchr(xa_data(attr), 0, xa_len(attr)))
		return NULL;
	return xa_data(attr);
}
