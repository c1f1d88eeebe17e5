/* SPDX-License-Identifier: GPL-2.0 */
/* What explain has found out, and what that means. */
#ifndef XTUN_TOOLS_EXPLAIN_H
#define XTUN_TOOLS_EXPLAIN_H

#include "counters.h"
#include "path.h"
#include "rtnl.h"

/* RFC 8200 section 5: a link with less carries no IPv6 */
#define IPV6_LEAST_MTU		1280

#define EXPLAIN_TEXT_MAX	600
#define EXPLAIN_NAMES_MAX	200

/**
 * struct story - all that is known of packets to an address
 * @addr: the address
 * @oif: ifindex of the device or the VRF that was named, 0 for none
 * @vrf: it has to be a VRF
 * @route: the route that they take
 * @link: device that it leads out of, if there is a route
 * @is_tunnel: that is a tunnel; else nothing below it is known
 * @tun: the tunnel
 * @stats: its counters, NULL if they are not known
 * @peer: the end that packets go to, of no family where there is none
 * @has_path: the path to it is known
 * @path: the path
 * @down: names of tunnels that are down
 * @home: name of one of them whose network has the address
 * @narrow: names of tunnels whose MTU is too small for IPv6
 * @ports: names of tunnels that are ports of the device
 *
 * Names are empty strings where there are none.
 */
struct story {
	struct address addr;
	int oif;
	bool vrf;
	struct route route;
	struct link link;
	bool is_tunnel;
	struct tunnel tun;
	const struct nlattr *stats;
	struct address peer;
	bool has_path;
	struct path path;
	char down[EXPLAIN_NAMES_MAX];
	char home[IF_NAMESIZE];
	char narrow[EXPLAIN_NAMES_MAX];
	char ports[EXPLAIN_NAMES_MAX];
};

/**
 * struct finding - something that is wrong
 * @cause: what, in a word for programs
 * @text: the same in a sentence
 * @past: it is over, then @text says why, too
 */
struct finding {
	const char *cause;
	enum past past;
	char text[EXPLAIN_TEXT_MAX];
};

typedef void (*finding_cb_t)(void *ctx, const struct finding *finding);

int underlay_family(const struct story *s);
void causes_find(const struct story *story, finding_cb_t cb, void *ctx);

#endif
