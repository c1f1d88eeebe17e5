// SPDX-License-Identifier: GPL-2.0
/* What rtnetlink knows: routes, devices, neighbours, addresses. */
#include <stdio.h>
#include <string.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "rtnl.h"

static void read_metrics(struct route *route, const struct nlattr *metrics)
{
	const struct nlattr *tb[RTAX_MAX + 1];
	unsigned long long mtu;

	xa_parse_nested(tb, RTAX_MAX, metrics);
	if (xa_get_uint(tb[RTAX_MTU], &mtu))
		route->mtu = mtu;
}

/* The gateway of an IPv4 route may be IPv6: a family and its bytes */
static void read_via(struct address *gateway, const struct nlattr *via)
{
	const struct rtvia *rtvia;

	if (!via || xa_len(via) < sizeof(*rtvia))
		return;
	rtvia = xa_data(via);
	gateway->family = rtvia->rtvia_family;
	if (address_len(gateway) <= xa_len(via) - sizeof(*rtvia))
		memcpy(gateway->data, rtvia->rtvia_addr, address_len(gateway));
	else
		gateway->family = 0;
}

static int see_route(const struct nlmsghdr *nlh, void *data)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1];
	struct route *route = data;
	unsigned long long link;

	nl_attrs_after(tb, RTA_MAX, nlh, sizeof(*rtm));
	route->type = rtm->rtm_type;
	if (xa_get_uint(tb[RTA_OIF], &link))
		route->link = link;
	if (!address_read(&route->gateway, tb[RTA_GATEWAY]))
		read_via(&route->gateway, tb[RTA_VIA]);
	address_read(&route->source, tb[RTA_PREFSRC]);
	read_metrics(route, tb[RTA_METRICS]);
	return 0;
}

/**
 * rtnl_route() - look a route up
 * @nl: a socket of nl_open_route()
 * @addr: where to
 * @oif: ifindex of the device or the VRF that it has to lead out of, 0 for any
 * @route: gets it
 *
 * Return: 0, if only with @route->error set, or an exit code.
 */
int rtnl_route(struct nl *nl, const struct address *addr, int oif,
	       struct route *route)
{
	struct nl_request rq = { };
	struct rtmsg *rtm;

	memset(route, 0, sizeof(*route));
	rq.nlh = nl_begin_route(nl, RTM_GETROUTE, sizeof(*rtm));
	rtm = mnl_nlmsg_get_payload(rq.nlh);
	rtm->rtm_family = addr->family;
	rtm->rtm_dst_len = 8 * address_len(addr);
	mnl_attr_put(rq.nlh, RTA_DST, address_len(addr), addr->data);
	if (oif)
		mnl_attr_put_u32(rq.nlh, RTA_OIF, oif);
	return nl_ask(nl, &rq, see_route, route, &route->error);
}

static void read_link(struct link *link, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	unsigned long long num;
	const char *name;

	memset(link, 0, sizeof(*link));
	nl_attrs_after(tb, IFLA_MAX, nlh, sizeof(*ifi));
	link->index = ifi->ifi_index;
	link->flags = ifi->ifi_flags;
	name = xa_get_str(tb[IFLA_IFNAME]);
	snprintf(link->name, sizeof(link->name), "%s", name ? name : "?");
	if (xa_get_uint(tb[IFLA_MTU], &num))
		link->mtu = num;
	if (xa_get_uint(tb[IFLA_MASTER], &num))
		link->master = num;
	xa_parse_nested(info, IFLA_INFO_MAX, tb[IFLA_LINKINFO]);
	name = xa_get_str(info[IFLA_INFO_KIND]);
	link->is_vrf = name && !strcmp(name, "vrf");
}

static int see_link(const struct nlmsghdr *nlh, void *data)
{
	read_link(data, nlh);
	return 0;
}

/**
 * rtnl_link() - look a device up
 * @nl: a socket of nl_open_route()
 * @index: its ifindex
 * @link: gets it
 *
 * Return: an exit code, after saying what is not well.
 */
int rtnl_link(struct nl *nl, int index, struct link *link)
{
	struct nl_request rq = { .what = "device" };
	struct ifinfomsg *ifi;

	rq.nlh = nl_begin_route(nl, RTM_GETLINK, sizeof(*ifi));
	ifi = mnl_nlmsg_get_payload(rq.nlh);
	ifi->ifi_index = index;
	return nl_talk(nl, &rq, see_link, link);
}

static int see_neighbour(const struct nlmsghdr *nlh, void *data)
{
	const struct nlattr *tb[NDA_MAX + 1];

	nl_attrs_after(tb, NDA_MAX, nlh, sizeof(struct ndmsg));
	address_read(data, tb[NDA_LLADDR]);
	return 0;
}

/**
 * rtnl_neighbour() - look up where a neighbour is
 * @nl: a socket of nl_open_route()
 * @link: ifindex of the device that it is behind
 * @addr: the neighbour
 * @lladdr: gets its link-layer address, if that is an IP address
 *
 * Return: 0, also where nobody knows, or an exit code.
 */
int rtnl_neighbour(struct nl *nl, int link, const struct address *addr,
		   struct address *lladdr)
{
	struct nl_request rq = { };
	struct ndmsg *ndm;
	int unknown;

	memset(lladdr, 0, sizeof(*lladdr));
	rq.nlh = nl_begin_route(nl, RTM_GETNEIGH, sizeof(*ndm));
	ndm = mnl_nlmsg_get_payload(rq.nlh);
	ndm->ndm_family = addr->family;
	ndm->ndm_ifindex = link;
	mnl_attr_put(rq.nlh, NDA_DST, address_len(addr), addr->data);
	return nl_ask(nl, &rq, see_neighbour, lladdr, &unknown);
}

struct link_walk {
	rtnl_link_cb_t cb;
	void *ctx;
};

static int walk_link(const struct nlmsghdr *nlh, void *data)
{
	const struct link_walk *walk = data;
	struct link link;

	read_link(&link, nlh);
	walk->cb(walk->ctx, &link);
	return 0;
}

/**
 * rtnl_tunnels() - walk over the devices of kind xtun
 * @nl: a socket of nl_open_route()
 * @cb: takes each
 * @ctx: for @cb
 *
 * Return: an exit code, after saying what is not well.
 */
int rtnl_tunnels(struct nl *nl, rtnl_link_cb_t cb, void *ctx)
{
	struct link_walk walk = { .cb = cb, .ctx = ctx };
	struct nl_request rq = { .what = "devices" };
	struct nlattr *info;

	rq.nlh = nl_begin_route(nl, RTM_GETLINK, sizeof(struct ifinfomsg));
	info = mnl_attr_nest_start(rq.nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(rq.nlh, IFLA_INFO_KIND, XTUN_FAMILY_NAME);
	mnl_attr_nest_end(rq.nlh, info);
	return nl_dump(nl, &rq, walk_link, &walk);
}

struct addr_walk {
	rtnl_addr_cb_t cb;
	void *ctx;
};

static int walk_addr(const struct nlmsghdr *nlh, void *data)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[IFA_MAX + 1];
	const struct addr_walk *walk = data;
	struct address addr;

	nl_attrs_after(tb, IFA_MAX, nlh, sizeof(*ifa));
	if (address_read(&addr, tb[IFA_ADDRESS]))
		walk->cb(walk->ctx, ifa->ifa_index, &addr, ifa->ifa_prefixlen);
	return 0;
}

/**
 * rtnl_addrs() - walk over the addresses of devices
 * @nl: a socket of nl_open_route()
 * @family: AF_INET or AF_INET6
 * @cb: takes each, with a peer's address for the device's own where it has one
 * @ctx: for @cb
 *
 * Return: an exit code, after saying what is not well.
 */
int rtnl_addrs(struct nl *nl, int family, rtnl_addr_cb_t cb, void *ctx)
{
	struct addr_walk walk = { .cb = cb, .ctx = ctx };
	struct nl_request rq = { .what = "addresses" };
	struct ifaddrmsg *ifa;

	rq.nlh = nl_begin_route(nl, RTM_GETADDR, sizeof(*ifa));
	ifa = mnl_nlmsg_get_payload(rq.nlh);
	ifa->ifa_family = family;
	return nl_dump(nl, &rq, walk_addr, &walk);
}
