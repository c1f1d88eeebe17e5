/* SPDX-License-Identifier: GPL-2.0 */
#ifndef XTUN_TOOLS_TUNNEL_H
#define XTUN_TOOLS_TUNNEL_H

#include "json.h"
#include "nl.h"

/**
 * struct tunnel - a tunnel as a message tells it
 * @tb: the message's attributes
 * @name: the device's name
 * @conf: the configuration's attributes
 * @foreign: the underlay is another netns than the message's
 *
 * It points into the message.
 */
struct tunnel {
	const struct nlattr *tb[XTUN_A_TUNNEL_MAX + 1];
	const char *name;
	const struct nlattr *conf[XTUN_A_CONF_MAX + 1];
	bool foreign;
};

void tunnel_parse(struct tunnel *tun, const struct nlmsghdr *nlh);
unsigned int tunnel_wait(const struct tunnel *tun);
void tunnel_text(const struct tunnel *tun);
void tunnel_state_text(const struct tunnel *tun, const char *before);
void tunnel_json(const struct tunnel *tun, struct json *js);
void tunnel_id_json(const struct tunnel *tun, struct json *js);
struct nl_request tunnel_request(struct nl *nl, __u8 cmd, const char *name);

#endif
