/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The grammar of a tunnel's configuration: one table of words from which
 * everything else is made: attributes from words, words from attributes, help,
 * completion.
 */
#ifndef XTUN_TOOLS_GRAMMAR_H
#define XTUN_TOOLS_GRAMMAR_H

#include <linux/xtun.h>

#include "attr.h"

#define XG_GIVEN_MAX	64
#define XG_LINE_MAX	160
#define XG_COOKIE_MAX	8

/* Printed for what is there and may not be seen */
#define XG_HIDDEN	"hidden"

/**
 * enum xg_type - what follows a word, and how it travels
 * @XG_NAME: one of the word's names
 * @XG_NUM: a number, or one of the word's names
 * @XG_KEY: a number or a dotted quad
 * @XG_BARE: nothing; the attribute's presence says it
 * @XG_BITS: nothing; bits of the attribute flags
 * @XG_ADDR: an address; "any" travels as no bytes
 * @XG_LINK: a device
 * @XG_PREFIXES: prefixes; "any" travels as an empty nest
 * @XG_PORTS: a port or a range of ports
 * @XG_COOKIE: 4 or 8 bytes in hexadecimal; "none" travels as no bytes
 * @XG_MARK: a number, or the packet's own mark, which is the second attribute
 */
enum xg_type {
	XG_NAME,
	XG_NUM,
	XG_KEY,
	XG_BARE,
	XG_BITS,
	XG_ADDR,
	XG_LINK,
	XG_PREFIXES,
	XG_PORTS,
	XG_COOKIE,
	XG_MARK,
};

/**
 * struct xg_name - a value that has a name
 * @name: the name
 * @value: the value
 */
struct xg_name {
	const char *name;
	__u32 value;
};

/**
 * struct xg_word - a word of the grammar
 * @name: the word
 * @help: what it is for, in a line
 * @names: values that have names, NULL or ended by one without a name
 * @bits: XG_BITS: the flags that it sets or clears
 * @dflt: value that is not printed; XG_BARE: that it is there is not
 * @type: what follows it
 * @attr: attribute that it gives
 * @attr2: second attribute that it gives, or 0
 * @size: XG_NUM, XG_MARK: bytes of the attribute
 * @min: XG_NUM: least number, beside those that have names
 * @max: XG_NUM: greatest number, 0 for what the attribute can hold
 * @encaps: bits XG_ENCAP() of the encapsulations that have the word, 0 for all
 * @on: XG_BITS: sets them
 * @hex: printed in hexadecimal
 * @always: printed even if it is the default
 */
struct xg_word {
	const char *name;
	const char *help;
	const struct xg_name *names;
	__u32 bits;
	__u32 dflt;
	enum xg_type type;
	__u16 attr;
	__u16 attr2;
	__u8 size;
	__u32 min;
	__u32 max;
	__u32 encaps;
	bool on;
	bool hex;
	bool always;
};

#define XG_ENCAP(encap)		(1U << (encap))

/* words.c: ended by a word without a name */
extern const struct xg_word xg_words[];

const struct xg_word *xg_find(const char *name);
const struct xg_name *xg_find_value(const struct xg_word *word, const char *name);
bool xg_takes_value(const struct xg_word *word);
unsigned long long xg_max(const struct xg_word *word);
__u64 xg_settles(const struct xg_word *word);

/**
 * struct xg_error - why words were not taken
 * @arg: the argument at fault
 * @msg: what is wrong with it and what would be right
 */
struct xg_error {
	const char *arg;
	char msg[256];
};

/**
 * struct xg_parse - words that are being made attributes
 * @buf: the attributes
 * @error: what was wrong, where a function says that something was
 * @settled: what words so far have settled, see xg_settles()
 * @flags: value of the attribute flags
 * @flags_given: bits of it that have been given
 * @given: the words so far
 * @ngiven: their number
 * @dev_by_name: a device was looked up by name, in the netns of this process
 */
struct xg_parse {
	struct xa_buf buf;
	struct xg_error error;
	__u64 settled;
	__u32 flags;
	__u32 flags_given;
	const struct xg_word *given[XG_GIVEN_MAX];
	unsigned int ngiven;
	bool dev_by_name;
};

void xg_parse_init(struct xg_parse *p);
int xg_parse_word(struct xg_parse *p, int argc, char **argv);
int xg_parse_end(struct xg_parse *p);
int xg_parse_all(struct xg_parse *p, int argc, char **argv);
void xg_given_for(const struct xg_parse *p, int attr, char *buf, size_t size);

/**
 * enum xg_kind - what a printed word is
 * @XG_IS_FLAG: a word without a value
 * @XG_IS_NUM: a word and a number
 * @XG_IS_STR: a word and a string
 * @XG_IS_LIST: a word and strings with commas between them
 */
enum xg_kind {
	XG_IS_FLAG,
	XG_IS_NUM,
	XG_IS_STR,
	XG_IS_LIST,
};

/**
 * struct xg_shown - a word to print
 * @word: the word
 * @kind: what follows it
 * @text: its value as the parser takes it
 * @num: XG_IS_NUM: the same as a number
 * @family: address family of an address, 0 for anything else
 */
struct xg_shown {
	const char *word;
	enum xg_kind kind;
	const char *text;
	__u32 num;
	int family;
};

typedef void (*xg_emit_t)(void *ctx, const struct xg_shown *shown);

void xg_print(const struct nlattr *const tb[], bool foreign, xg_emit_t emit,
	      void *ctx);

void xg_usage(const struct xg_word *word, char *buf, size_t size);
void xg_takes(const struct xg_word *word, char *buf, size_t size);
void xg_default(const struct xg_word *word, char *buf, size_t size);
void xg_encaps(const struct xg_word *word, char *buf, size_t size);
void xg_help_line(const struct xg_word *word, char *buf, size_t size);
void __printf(3, 4) xg_append(char *buf, size_t size, const char *fmt, ...);

#endif
