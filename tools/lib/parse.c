// SPDX-License-Identifier: GPL-2.0
/*
 * From words to attributes. Whether words go together is for the kernel to
 * say: only what cannot be sent is refused here.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar.h"

static int __printf(3, 4)
wrong(struct xg_parse *p, const char *arg, const char *fmt, ...)
{
	va_list ap;

	p->error.arg = arg;
	va_start(ap, fmt);
	vsnprintf(p->error.msg, sizeof(p->error.msg), fmt, ap);
	va_end(ap);
	return -1;
}

static int wrong_value(struct xg_parse *p, const struct xg_word *word,
		       const char *arg)
{
	char takes[XG_LINE_MAX];

	xg_takes(word, takes, sizeof(takes));
	return wrong(p, arg, "%s takes %s", word->name, takes);
}

/* A leading zero is octal to some tools and nothing to others: not taken */
static bool read_number(const char *text, unsigned long long max,
			unsigned long long *value)
{
	const char *digits = "0123456789";
	int base = 10;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		digits = "0123456789abcdefABCDEF";
		text += 2;
		base = 16;
	} else if (text[0] == '0' && text[1]) {
		return false;
	}
	if (!text[0] || text[strspn(text, digits)])
		return false;
	errno = 0;
	*value = strtoull(text, NULL, base);
	return !errno && *value <= max;
}

static int parse_name(struct xg_parse *p, const struct xg_word *word,
		      const char *arg)
{
	const struct xg_name *name = xg_find_value(word, arg);

	if (!name)
		return wrong_value(p, word, arg);
	xa_put_uint(&p->buf, word->attr, sizeof(__u32), name->value);
	return 0;
}

static int parse_num(struct xg_parse *p, const struct xg_word *word,
		     const char *arg)
{
	const struct xg_name *name = xg_find_value(word, arg);
	unsigned long long value;
	bool named = false;

	if (name) {
		xa_put_uint(&p->buf, word->attr, word->size, name->value);
		return 0;
	}
	if (!read_number(arg, UINT_MAX, &value))
		return wrong_value(p, word, arg);
	/* 0 means the same as its name wherever it has one; others do not */
	for (name = word->names; name && name->name; name++) {
		if (name->value != value)
			continue;
		if (value)
			return wrong(p, arg, "this %s is written %s",
				     word->name, name->name);
		named = true;
	}
	if (!named && (value < word->min || value > xg_max(word)))
		return wrong_value(p, word, arg);
	xa_put_uint(&p->buf, word->attr, word->size, value);
	return 0;
}

static int parse_key(struct xg_parse *p, const struct xg_word *word,
		     const char *arg)
{
	unsigned long long value;
	struct in_addr quad;

	if (inet_pton(AF_INET, arg, &quad) == 1)
		value = ntohl(quad.s_addr);
	else if (!read_number(arg, UINT_MAX, &value))
		return wrong_value(p, word, arg);

	xa_put_uint(&p->buf, word->attr, sizeof(__u32), value);
	if (word->attr2)
		xa_put_uint(&p->buf, word->attr2, sizeof(__u32), value);
	return 0;
}

static int parse_bare(struct xg_parse *p, const struct xg_word *word,
		      const char *arg __maybe_unused)
{
	xa_put(&p->buf, word->attr, NULL, 0);
	return 0;
}

static int parse_bits(struct xg_parse *p, const struct xg_word *word,
		      const char *arg __maybe_unused)
{
	if (word->on)
		p->flags |= word->bits;
	p->flags_given |= word->bits;
	return 0;
}

/* Copies what stands before stop, or all of it; false if that is too long */
static bool copy_until(char *to, size_t size, const char *from,
		       const char *stop)
{
	size_t len = strcspn(from, stop);

	if (len >= size)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

/* Return: bytes of the address, 0 if it is none */
static size_t read_addr(const char *text, struct in6_addr *addr)
{
	if (inet_pton(AF_INET, text, addr) == 1)
		return sizeof(struct in_addr);
	if (inet_pton(AF_INET6, text, addr) == 1)
		return sizeof(struct in6_addr);
	return 0;
}

static int parse_addr(struct xg_parse *p, const struct xg_word *word,
		      const char *arg)
{
	struct in6_addr addr;
	size_t len = 0;

	if (!xg_find_value(word, arg)) {
		len = read_addr(arg, &addr);
		if (!len)
			return wrong_value(p, word, arg);
	}
	xa_put(&p->buf, word->attr, &addr, len);
	return 0;
}

static int parse_link(struct xg_parse *p, const struct xg_word *word,
		      const char *arg)
{
	unsigned long long index = 0;

	if (!xg_find_value(word, arg)) {
		index = if_nametoindex(arg);
		p->dev_by_name = index;
		if (!index && !strncmp(arg, "if", 2) &&
		    !read_number(arg + 2, INT_MAX, &index))
			index = 0;
		if (!index)
			return wrong(p, arg, "%s: there is no such device",
				     word->name);
	}
	xa_put_uint(&p->buf, word->attr, sizeof(__u32), index);
	return 0;
}

static bool put_prefix(struct xg_parse *p, char *text)
{
	char *slash = strchr(text, '/');
	unsigned long long bits;
	struct in6_addr addr;
	size_t len, nest;

	if (slash)
		*slash++ = '\0';
	len = read_addr(text, &addr);
	bits = 8 * len;
	if (!len || (slash && !read_number(slash, 8 * len, &bits)))
		return false;

	nest = xa_nest_start(&p->buf, XTUN_A_ALLOW_PREFIX);
	xa_put(&p->buf, XTUN_A_PREFIX_ADDR, &addr, len);
	xa_put_uint(&p->buf, XTUN_A_PREFIX_LEN, sizeof(__u8), bits);
	xa_nest_end(&p->buf, nest);
	return true;
}

static int parse_prefixes(struct xg_parse *p, const struct xg_word *word,
			  const char *arg)
{
	size_t nest = xa_nest_start(&p->buf, word->attr);
	const char *from = xg_find_value(word, arg) ? NULL : arg;
	char one[64];

	while (from) {
		if (!copy_until(one, sizeof(one), from, ",") ||
		    !put_prefix(p, one))
			return wrong_value(p, word, arg);
		from = strchr(from, ',');
		if (from)
			from++;
	}
	xa_nest_end(&p->buf, nest);
	return 0;
}

static int parse_ports(struct xg_parse *p, const struct xg_word *word,
		       const char *arg)
{
	const char *dash = strchr(arg, '-');
	unsigned long long min = 0, max = 0;
	char first[16];

	if (xg_find_value(word, arg))
		goto put;
	if (!copy_until(first, sizeof(first), arg, "-") ||
	    !read_number(first, USHRT_MAX, &min) ||
	    !read_number(dash ? dash + 1 : arg, USHRT_MAX, &max))
		return wrong_value(p, word, arg);
	if (min > max)
		return wrong(p, arg, "the first port of %s is the lower one",
			     word->name);
put:
	xa_put_uint(&p->buf, word->attr, sizeof(__u16), min);
	xa_put_uint(&p->buf, word->attr2, sizeof(__u16), max);
	return 0;
}

/* Return: bytes of the cookie, 0 if it is none */
static size_t read_cookie(const char *text, __u8 *cookie)
{
	size_t digits = strlen(text), i;
	char byte[3] = "";

	if ((digits != XG_COOKIE_MAX && digits != 2 * XG_COOKIE_MAX) ||
	    text[strspn(text, "0123456789abcdefABCDEF")])
		return 0;
	for (i = 0; i < digits / 2; i++) {
		memcpy(byte, text + 2 * i, 2);
		cookie[i] = strtoul(byte, NULL, 16);
	}
	return digits / 2;
}

static int parse_cookie(struct xg_parse *p, const struct xg_word *word,
			const char *arg)
{
	__u8 cookie[XG_COOKIE_MAX];
	size_t len = 0;

	if (!xg_find_value(word, arg)) {
		len = read_cookie(arg, cookie);
		if (!len && !strcmp(arg, XG_HIDDEN))
			return wrong(p, arg,
				     "%s is what is shown to those who may not see the %s: say what it is",
				     arg, word->name);
		if (!len)
			return wrong_value(p, word, arg);
	}
	xa_put(&p->buf, word->attr, cookie, len);
	if (word->attr2)
		xa_put(&p->buf, word->attr2, cookie, len);
	return 0;
}

static int parse_mark(struct xg_parse *p, const struct xg_word *word,
		      const char *arg)
{
	const struct xg_name *name = xg_find_value(word, arg);
	unsigned long long value = 0;

	if (name && name->value) {
		xa_put_uint(&p->buf, word->attr2, sizeof(__u32), name->value);
		return 0;
	}
	if (!name && !read_number(arg, UINT_MAX, &value))
		return wrong_value(p, word, arg);
	xa_put_uint(&p->buf, word->attr, word->size, value);
	return 0;
}

typedef int (*parse_t)(struct xg_parse *p, const struct xg_word *word,
		       const char *arg);

static const parse_t parsers[] = {
	[XG_NAME] = parse_name,
	[XG_NUM] = parse_num,
	[XG_KEY] = parse_key,
	[XG_BARE] = parse_bare,
	[XG_BITS] = parse_bits,
	[XG_ADDR] = parse_addr,
	[XG_LINK] = parse_link,
	[XG_PREFIXES] = parse_prefixes,
	[XG_PORTS] = parse_ports,
	[XG_COOKIE] = parse_cookie,
	[XG_MARK] = parse_mark,
};

/* Refuses a word beside an earlier one about the same thing, and notes it */
static int note_given(struct xg_parse *p, const struct xg_word *word)
{
	unsigned int i;

	for (i = 0; i < p->ngiven; i++) {
		if (p->given[i] == word)
			return wrong(p, word->name, "it is given twice");
		if (xg_settles(p->given[i]) & xg_settles(word))
			return wrong(p, word->name,
				     "it cannot stand beside %s",
				     p->given[i]->name);
	}
	if (p->ngiven < XG_GIVEN_MAX)
		p->given[p->ngiven++] = word;
	return 0;
}

static int unknown_word(struct xg_parse *p, const char *arg)
{
	const struct xg_word *word;

	for (word = xg_words; word->name; word++) {
		if (*arg && !strncmp(word->name, arg, strlen(arg)))
			return wrong(p, arg,
				     "there is no such word; did you mean %s?",
				     word->name);
	}
	return wrong(p, arg, "there is no such word; help lists them");
}

/**
 * xg_parse_init() - begin
 * @p: the parse
 */
void xg_parse_init(struct xg_parse *p)
{
	memset(p, 0, sizeof(*p));
}

/**
 * xg_parse_word() - take a word and what follows it
 * @p: the parse
 * @argc: arguments that are left, at least one
 * @argv: the arguments
 *
 * Return: how many arguments that took, or -1 with p->error said.
 */
int xg_parse_word(struct xg_parse *p, int argc, char **argv)
{
	const struct xg_word *word = xg_find(argv[0]);
	bool bare;

	if (!word)
		return unknown_word(p, argv[0]);
	if (note_given(p, word))
		return -1;
	bare = !xg_takes_value(word);
	if (!bare && argc < 2) {
		wrong_value(p, word, argv[0]);
		xg_append(p->error.msg, sizeof(p->error.msg),
			  ", and nothing follows it");
		return -1;
	}
	if (parsers[word->type](p, word, bare ? NULL : argv[1]))
		return -1;
	return bare ? 1 : 2;
}

/**
 * xg_parse_end() - finish
 * @p: the parse
 *
 * Return: 0 with the attributes in p->buf, or -1 with p->error said.
 */
int xg_parse_end(struct xg_parse *p)
{
	struct nla_bitfield32 flags = {
		.value = p->flags, .selector = p->flags_given,
	};

	if (p->flags_given)
		xa_put(&p->buf, XTUN_A_CONF_FLAGS, &flags, sizeof(flags));
	if (p->buf.overflow)
		return wrong(p, "allow", "too many prefixes, at most %d",
			     XTUN_ALLOW_MAX);
	return 0;
}

/**
 * xg_parse_all() - take all words
 * @p: the parse, which need not be initialised
 * @argc: number of arguments
 * @argv: the arguments
 *
 * Return: 0 with the attributes in p->buf, or -1 with p->error said.
 */
int xg_parse_all(struct xg_parse *p, int argc, char **argv)
{
	int took;

	xg_parse_init(p);
	for (; argc > 0; argc -= took, argv += took) {
		took = xg_parse_word(p, argc, argv);
		if (took < 0)
			return -1;
	}
	return xg_parse_end(p);
}

/**
 * xg_given_for() - name the words that gave an attribute
 * @p: the parse
 * @attr: the attribute, of those of a tunnel's configuration
 * @buf: where to; empty if no word gave it
 * @size: bytes there
 */
void xg_given_for(const struct xg_parse *p, int attr, char *buf, size_t size)
{
	const struct xg_word *word;
	unsigned int i;

	buf[0] = '\0';
	for (i = 0; i < p->ngiven; i++) {
		word = p->given[i];
		if (word->attr != attr && word->attr2 != attr)
			continue;
		xg_append(buf, size, "%s%s", buf[0] ? ", " : "", word->name);
	}
}
