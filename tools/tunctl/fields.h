/* SPDX-License-Identifier: GPL-2.0 */
/* Attributes that are printed as they are, under the names of the spec. */
#ifndef XTUN_TOOLS_FIELDS_H
#define XTUN_TOOLS_FIELDS_H

#include "address.h"
#include "json.h"

/**
 * enum field_kind - what an attribute holds
 * @FIELD_NUM: a number
 * @FIELD_STR: a string
 * @FIELD_FLAG: nothing; that it is there says it
 * @FIELD_ADDR: an address
 */
enum field_kind {
	FIELD_NUM,
	FIELD_STR,
	FIELD_FLAG,
	FIELD_ADDR,
};

/**
 * struct field - an attribute
 * @name: its name in JSON
 * @attr: its type
 * @kind: what it holds
 */
struct field {
	const char *name;
	int attr;
	enum field_kind kind;
};

void fields_json(const struct field *fields, const struct nlattr *const tb[],
		 struct json *js);
unsigned long long field_num(const struct nlattr *const tb[], int attr);
struct address_text field_addr(const struct nlattr *const tb[], int attr);
struct address_text field_from(const struct nlattr *const tb[], int attr);

#endif
