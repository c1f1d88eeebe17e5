/* SPDX-License-Identifier: GPL-2.0 */
/* The path to a peer, read from a message and printed. */
#ifndef XTUN_TOOLS_PATH_H
#define XTUN_TOOLS_PATH_H

#include "fields.h"
#include "past.h"
#include "tunnel.h"

/**
 * struct path - the path to a peer
 * @tb: attributes of the nest
 * @family: of the underlay, AF_INET or AF_INET6; 0 where nothing was read
 * @armed: seconds for which every packet is remembered, or 0
 * @foreign: devices and addresses are another netns'
 *
 * It points into the message.
 */
struct path {
	const struct nlattr *tb[XTUN_A_PATH_MAX + 1];
	int family;
	unsigned long long armed;
	bool foreign;
};

void path_parse(struct path *path, const struct tunnel *tun);
void path_text(const struct path *path, const char *before);
void path_mtu_text(const struct path *path);
void path_json(const struct path *path, struct json *js);
unsigned long long path_num(const struct path *path, int attr);
struct address_text path_addr(const struct path *path, int attr);
struct address_text path_from(const struct path *path, int attr);
const char *path_last_text(const struct path *path);
enum past path_last_past(const struct path *path);
const char *path_answer(const struct path *path);

#endif
