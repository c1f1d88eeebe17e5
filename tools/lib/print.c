// SPDX-License-Identifier: GPL-2.0
/* From attributes to the words that make them. */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar.h"

/**
 * struct printer - words that are being printed
 * @tb: the attributes by type
 * @foreign: the underlay is another netns, where ifindexes have other names
 * @configured: the tunnel has been told what to be
 * @emit: prints a word
 * @ctx: for @emit
 * @done: what has been said, see xg_settles()
 */
struct printer {
	const struct nlattr *const *tb;
	bool foreign;
	bool configured;
	xg_emit_t emit;
	void *ctx;
	__u64 done;
};

static void say(struct printer *pr, const struct xg_word *word,
		const struct xg_shown *what)
{
	struct xg_shown shown = *what;

	shown.word = word->name;
	pr->emit(pr->ctx, &shown);
	pr->done |= xg_settles(word);
}

static void say_str(struct printer *pr, const struct xg_word *word,
		    const char *text)
{
	struct xg_shown shown = { .kind = XG_IS_STR, .text = text };

	say(pr, word, &shown);
}

static void say_num(struct printer *pr, const struct xg_word *word, __u32 num)
{
	struct xg_shown shown = { .kind = XG_IS_NUM, .num = num };
	char text[16];

	snprintf(text, sizeof(text), word->hex ? "0x%x" : "%u", num);
	shown.text = text;
	say(pr, word, &shown);
}

static void say_flag(struct printer *pr, const struct xg_word *word)
{
	struct xg_shown shown = { .kind = XG_IS_FLAG };

	say(pr, word, &shown);
}

/* A tunnel that has not been told what to be takes no word but encap first */
static bool must_say(const struct printer *pr, const struct xg_word *word)
{
	return word->always && pr->configured;
}

static const char *name_of(const struct xg_word *word, __u32 value)
{
	const struct xg_name *name;

	for (name = word->names; name && name->name; name++) {
		if (name->value == value)
			return name->name;
	}
	return NULL;
}

static void print_num(struct printer *pr, const struct xg_word *word)
{
	unsigned long long value;
	const char *name;

	if (!xa_get_uint(pr->tb[word->attr], &value) ||
	    (value == word->dflt && !must_say(pr, word)))
		return;
	name = name_of(word, value);
	if (name)
		say_str(pr, word, name);
	else
		say_num(pr, word, value);
}

static void print_mark(struct printer *pr, const struct xg_word *word)
{
	unsigned long long value;

	if (xa_get_uint(pr->tb[word->attr2], &value) &&
	    value == XTUN_MARK_FROM_PACKET)
		say_str(pr, word, name_of(word, value));
	else if (xa_get_uint(pr->tb[word->attr], &value) && value)
		say_num(pr, word, value);
}

static void print_key(struct printer *pr, const struct xg_word *word)
{
	unsigned long long value, other;

	if (!xa_get_uint(pr->tb[word->attr], &value))
		return;
	if (word->attr2 && (!xa_get_uint(pr->tb[word->attr2], &other) ||
			    other != value))
		return;
	say_num(pr, word, value);
}

static void print_bare(struct printer *pr, const struct xg_word *word)
{
	if (pr->tb[word->attr] && !word->dflt)
		say_flag(pr, word);
}

static void print_bits(struct printer *pr, const struct xg_word *word)
{
	const struct nlattr *attr = pr->tb[word->attr];
	struct nla_bitfield32 flags;

	if (!attr || xa_len(attr) < sizeof(flags) || !word->on)
		return;
	memcpy(&flags, xa_data(attr), sizeof(flags));
	if ((flags.value & word->bits) == word->bits)
		say_flag(pr, word);
}

static int family_of(const struct nlattr *attr)
{
	switch (xa_len(attr)) {
	case sizeof(struct in_addr):
		return AF_INET;
	case sizeof(struct in6_addr):
		return AF_INET6;
	default:
		return AF_UNSPEC;
	}
}

static void print_addr(struct printer *pr, const struct xg_word *word)
{
	const struct nlattr *attr = pr->tb[word->attr];
	struct xg_shown shown = { .kind = XG_IS_STR };
	char text[INET6_ADDRSTRLEN];

	shown.family = attr ? family_of(attr) : AF_UNSPEC;
	if (shown.family) {
		inet_ntop(shown.family, xa_data(attr), text, sizeof(text));
		shown.text = text;
		say(pr, word, &shown);
	} else if (must_say(pr, word)) {
		say_str(pr, word, word->names->name);
	}
}

/* By its name, and in another netns, where that would not be found, its index */
static void print_link(struct printer *pr, const struct xg_word *word)
{
	const char *known = xa_get_str(pr->tb[XTUN_A_CONF_LINK_NAME]);
	unsigned long long index = 0;
	char name[IF_NAMESIZE];

	xa_get_uint(pr->tb[word->attr], &index);
	if (known && !(pr->foreign && index)) {
		say_str(pr, word, known);
		return;
	}
	if (!index)
		return;
	if (pr->foreign || !if_indextoname(index, name))
		snprintf(name, sizeof(name), "if%llu", index);
	say_str(pr, word, name);
}

/* Return: bytes of text, 0 if that is no prefix */
static int prefix_text(const struct nlattr *attr, char *text, size_t size)
{
	const struct nlattr *tb[XTUN_A_PREFIX_MAX + 1];
	char addr[INET6_ADDRSTRLEN];
	unsigned long long bits;
	int family;

	xa_parse_nested(tb, XTUN_A_PREFIX_MAX, attr);
	if (!tb[XTUN_A_PREFIX_ADDR] ||
	    !xa_get_uint(tb[XTUN_A_PREFIX_LEN], &bits))
		return 0;
	family = family_of(tb[XTUN_A_PREFIX_ADDR]);
	if (!family || bits > 128)
		return 0;
	inet_ntop(family, xa_data(tb[XTUN_A_PREFIX_ADDR]), addr, sizeof(addr));
	return snprintf(text, size, "%s/%llu", addr, bits);
}

static void print_prefixes(struct printer *pr, const struct xg_word *word)
{
	const struct nlattr *nest = pr->tb[word->attr], *attr = NULL;
	struct xg_shown shown = { .kind = XG_IS_LIST };
	size_t len = 0, size;
	char one[64], *text;

	if (!nest)
		return;
	/* A prefix takes less than twice its attribute's bytes as text */
	size = 2 * xa_len(nest) + 1;
	text = malloc(size);
	if (!text)
		return;
	while ((attr = xa_next(xa_data(nest), xa_len(nest), attr))) {
		if (xa_type(attr) != XTUN_A_ALLOW_PREFIX ||
		    !prefix_text(attr, one, sizeof(one)))
			continue;
		len += snprintf(text + len, size - len, "%s%s",
				len ? "," : "", one);
	}
	shown.text = text;
	if (len)
		say(pr, word, &shown);
	free(text);
}

static void print_ports(struct printer *pr, const struct xg_word *word)
{
	unsigned long long min, max;
	char text[32];

	if (!xa_get_uint(pr->tb[word->attr], &min) ||
	    !xa_get_uint(pr->tb[word->attr2], &max) || !max)
		return;
	if (min == max) {
		say_num(pr, word, min);
		return;
	}
	snprintf(text, sizeof(text), "%llu-%llu", min, max);
	say_str(pr, word, text);
}

static void print_cookie(struct printer *pr, const struct xg_word *word)
{
	const struct nlattr *attr = pr->tb[word->attr], *other;
	char text[2 * XG_COOKIE_MAX + 1];
	const __u8 *cookie;
	size_t i;

	/* There are some, and who asks may not see them */
	if (word->attr2 && pr->tb[XTUN_A_CONF_HIDDEN]) {
		say_str(pr, word, XG_HIDDEN);
		return;
	}
	if (!attr || !xa_len(attr) || xa_len(attr) > XG_COOKIE_MAX)
		return;
	cookie = xa_data(attr);
	other = word->attr2 ? pr->tb[word->attr2] : attr;
	if (!other || xa_len(other) != xa_len(attr) ||
	    memcmp(xa_data(other), cookie, xa_len(attr)))
		return;
	for (i = 0; i < xa_len(attr); i++)
		snprintf(text + 2 * i, sizeof(text) - 2 * i, "%02x", cookie[i]);
	say_str(pr, word, text);
}

typedef void (*print_t)(struct printer *pr, const struct xg_word *word);

static const print_t printers[] = {
	[XG_NAME] = print_num,
	[XG_NUM] = print_num,
	[XG_KEY] = print_key,
	[XG_BARE] = print_bare,
	[XG_BITS] = print_bits,
	[XG_ADDR] = print_addr,
	[XG_LINK] = print_link,
	[XG_PREFIXES] = print_prefixes,
	[XG_PORTS] = print_ports,
	[XG_COOKIE] = print_cookie,
	[XG_MARK] = print_mark,
};

/**
 * xg_print() - print the words that would make a tunnel again
 * @tb: its attributes by type, XTUN_A_CONF_MAX + 1 entries
 * @foreign: its underlay is another netns than this process's
 * @emit: called for each word, in the order of the table
 * @ctx: for @emit
 *
 * What is at its default is not printed, but for the words that say what the
 * tunnel is.
 */
void xg_print(const struct nlattr *const tb[], bool foreign, xg_emit_t emit,
	      void *ctx)
{
	struct printer pr = {
		.tb = tb, .foreign = foreign, .emit = emit, .ctx = ctx,
	};
	const struct xg_word *word;
	unsigned long long encap;

	pr.configured = xa_get_uint(tb[XTUN_A_CONF_ENCAP], &encap) && encap;
	for (word = xg_words; word->name; word++) {
		if (!(pr.done & xg_settles(word)))
			printers[word->type](&pr, word);
	}
}
