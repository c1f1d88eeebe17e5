/* SPDX-License-Identifier: GPL-2.0 */
#ifndef XTUN_TOOLS_JSON_H
#define XTUN_TOOLS_JSON_H

#include <stdbool.h>
#include <stdio.h>

/**
 * struct json - JSON that is being written
 * @out: where to
 * @pretty: in lines with indentation
 * @depth: objects and arrays that are open
 * @more: the innermost of them has an element already
 */
struct json {
	FILE *out;
	bool pretty;
	unsigned int depth;
	bool more;
};

void json_init(struct json *js, FILE *out, bool pretty);
void json_open(struct json *js, const char *key, char bracket);
void json_close(struct json *js, char bracket);
void json_str(struct json *js, const char *key, const char *value);
void json_num(struct json *js, const char *key, long long value);
void json_unum(struct json *js, const char *key, unsigned long long value);
void json_true(struct json *js, const char *key);
void json_end(struct json *js);

#endif
