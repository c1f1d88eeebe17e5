// SPDX-License-Identifier: GPL-2.0
/* A writer of JSON: only what has a use here. */
#include "json.h"

/**
 * json_init() - begin
 * @js: the writer
 * @out: where to
 * @pretty: in lines with indentation
 */
void json_init(struct json *js, FILE *out, bool pretty)
{
	js->out = out;
	js->pretty = pretty;
	js->depth = 0;
	js->more = false;
}

static void new_line(struct json *js)
{
	if (js->pretty)
		fprintf(js->out, "\n%*s", 4 * js->depth, "");
}

static void quote(struct json *js, const char *text)
{
	putc('"', js->out);
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20)
			fprintf(js->out, "\\u%04x", *text);
		else if (*text == '"' || *text == '\\')
			fprintf(js->out, "\\%c", *text);
		else
			putc(*text, js->out);
	}
	putc('"', js->out);
}

static void begin_value(struct json *js, const char *key)
{
	if (js->more)
		putc(',', js->out);
	if (js->depth)
		new_line(js);
	js->more = true;
	if (!key)
		return;
	quote(js, key);
	fputs(js->pretty ? ": " : ":", js->out);
}

/**
 * json_open() - open an object or an array
 * @js: the writer
 * @key: its key, NULL where it has none
 * @bracket: '{' or '['
 */
void json_open(struct json *js, const char *key, char bracket)
{
	begin_value(js, key);
	putc(bracket, js->out);
	js->depth++;
	js->more = false;
}

/**
 * json_close() - close what json_open() opened
 * @js: the writer
 * @bracket: '}' or ']'
 */
void json_close(struct json *js, char bracket)
{
	js->depth--;
	if (js->more)
		new_line(js);
	putc(bracket, js->out);
	js->more = true;
}

/**
 * json_str() - write a string
 * @js: the writer
 * @key: its key, NULL where it has none
 * @value: the string
 */
void json_str(struct json *js, const char *key, const char *value)
{
	begin_value(js, key);
	quote(js, value);
}

/**
 * json_num() - write a number
 * @js: the writer
 * @key: its key
 * @value: the number
 */
void json_num(struct json *js, const char *key, long long value)
{
	begin_value(js, key);
	fprintf(js->out, "%lld", value);
}

/**
 * json_unum() - write a number without a sign
 * @js: the writer
 * @key: its key
 * @value: the number
 */
void json_unum(struct json *js, const char *key, unsigned long long value)
{
	begin_value(js, key);
	fprintf(js->out, "%llu", value);
}

/**
 * json_true() - write true
 * @js: the writer
 * @key: its key
 */
void json_true(struct json *js, const char *key)
{
	begin_value(js, key);
	fputs("true", js->out);
}

/**
 * json_end() - end the line that a whole value is
 * @js: the writer
 */
void json_end(struct json *js)
{
	putc('\n', js->out);
	js->more = false;
}
