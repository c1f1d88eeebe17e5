/* SPDX-License-Identifier: GPL-2.0 */
/* What rtnetlink knows: routes, devices, addresses. */
#ifndef XTUN_TOOLS_RTNL_H
#define XTUN_TOOLS_RTNL_H

#include <net/if.h>

#include "address.h"
#include "nl.h"

/**
 * struct route - the route that a packet of this host would take
 * @error: errno, if there is none
 * @type: RTN_UNICAST, RTN_LOCAL...
 * @link: ifindex of the device
 * @gateway: next hop, of no family when the destination is on the link
 * @source: address that the packet would get
 * @mtu: what is known of the path, 0 for no more than the device's MTU
 */
struct route {
	int error;
	int type;
	int link;
	struct address gateway;
	struct address source;
	unsigned int mtu;
};

/**
 * struct link - a device
 * @index: its ifindex
 * @name: its name
 * @flags: IFF_...
 * @mtu: its MTU in bytes
 * @master: ifindex of the bridge or the like that it is a port of, or 0
 * @is_vrf: it is a VRF
 */
struct link {
	int index;
	char name[IF_NAMESIZE];
	unsigned int flags;
	unsigned int mtu;
	int master;
	bool is_vrf;
};

typedef void (*rtnl_link_cb_t)(void *ctx, const struct link *link);
typedef void (*rtnl_addr_cb_t)(void *ctx, int link,
			       const struct address *addr, unsigned int bits);

int rtnl_route(struct nl *nl, const struct address *addr, int oif,
	       struct route *route);
int rtnl_link(struct nl *nl, int index, struct link *link);
int rtnl_neighbour(struct nl *nl, int link, const struct address *addr,
		   struct address *lladdr);
int rtnl_tunnels(struct nl *nl, rtnl_link_cb_t cb, void *ctx);
int rtnl_addrs(struct nl *nl, int family, rtnl_addr_cb_t cb, void *ctx);

#endif
