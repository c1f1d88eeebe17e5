/* SPDX-License-Identifier: GPL-2.0 */
/* An ICMP error about an outer packet, read from an event and printed. */
#ifndef XTUN_TOOLS_ERROR_H
#define XTUN_TOOLS_ERROR_H

#include "tunnel.h"

void error_text(const struct tunnel *tun);
void error_json(const struct tunnel *tun, struct json *js);

#endif
