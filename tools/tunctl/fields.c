// SPDX-License-Identifier: GPL-2.0
/* Attributes that are printed as they are, under the names of the spec. */
#include <stdio.h>

#include "fields.h"

static void field_json(const struct field *field, const struct nlattr *attr,
		       struct json *js)
{
	unsigned long long num;
	struct address addr;
	const char *str;

	switch (field->kind) {
	case FIELD_NUM:
		if (xa_get_uint(attr, &num))
			json_unum(js, field->name, num);
		break;
	case FIELD_STR:
		str = xa_get_str(attr);
		if (str)
			json_str(js, field->name, str);
		break;
	case FIELD_FLAG:
		if (attr)
			json_true(js, field->name);
		break;
	case FIELD_ADDR:
		if (address_read(&addr, attr))
			json_str(js, field->name, address_text(&addr).text);
		break;
	}
}

/**
 * fields_json() - print attributes that are there, into an open object
 * @fields: which, ended by one without a name
 * @tb: the attributes by type
 * @js: the writer
 */
void fields_json(const struct field *fields, const struct nlattr *const tb[],
		 struct json *js)
{
	for (; fields->name; fields++)
		field_json(fields, tb[fields->attr], js);
}

/**
 * field_num() - read a number
 * @tb: the attributes by type
 * @attr: which
 *
 * Return: the number, 0 where there is none.
 */
unsigned long long field_num(const struct nlattr *const tb[], int attr)
{
	unsigned long long num = 0;

	xa_get_uint(tb[attr], &num);
	return num;
}

/**
 * field_addr() - read an address
 * @tb: the attributes by type
 * @attr: which
 *
 * Return: its text, empty where there is none.
 */
struct address_text field_addr(const struct nlattr *const tb[], int attr)
{
	struct address addr;

	address_read(&addr, tb[attr]);
	return address_text(&addr);
}

/**
 * field_from() - read who in the underlay has told something
 * @tb: the attributes by type
 * @attr: which
 *
 * Return: an address as text; words where the kernel does not say it.
 */
struct address_text field_from(const struct nlattr *const tb[], int attr)
{
	struct address_text from = field_addr(tb, attr);

	if (!from.text[0])
		snprintf(from.text, sizeof(from.text), "a host of the underlay");
	return from;
}
