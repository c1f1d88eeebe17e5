// SPDX-License-Identifier: GPL-2.0
/* What keeps packets from getting through, by cause. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <linux/rtnetlink.h>

#include "explain.h"
#include "icmp.h"

static void __printf(2, 3) say(struct finding *finding, const char *fmt, ...)
{
	size_t len = strlen(finding->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(finding->text + len, sizeof(finding->text) - len, fmt, ap);
	va_end(ap);
}

/* In parentheses: a counter that speaks for what was said */
static void say_count(struct finding *finding, const struct counter *counter)
{
	say(finding, " (%s %llu, the last %llu s ago)", counter->name,
	    counter->packets, counter->ago);
}

static void say_where(struct finding *finding, const struct story *s)
{
	if (s->tun.foreign)
		say(finding, ", in the netns of its underlay");
}

static const char *family_name(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static unsigned long long conf_num(const struct story *s, int attr)
{
	return field_num(s->tun.conf, attr);
}

static bool configured(const struct story *s)
{
	return s->is_tunnel && s->tun.conf[XTUN_A_CONF_ENCAP];
}

static bool lately(const struct story *s, const char *name,
		   struct counter *counter)
{
	return s->is_tunnel && counters_recent(s->stats, name, counter);
}

/* A finding that rests on a counter is over when that is */
static bool counted(const struct story *s, const char *name,
		    struct counter *counter, struct finding *finding)
{
	bool is = lately(s, name, counter);

	if (is)
		finding->past = counter->past;
	return is;
}

/* ---- before the tunnel ---- */

static bool too_narrow(const struct story *s, struct finding *finding)
{
	if (!s->route.error || s->addr.family != AF_INET6 || !s->narrow[0])
		return false;
	say(finding, "There is no route to %s, and the MTU of %s is less than %d: ",
	    address_text(&s->addr).text, s->narrow, IPV6_LEAST_MTU);
	say(finding, "IPv6 does not pass through it");
	return true;
}

static bool home_down(const struct story *s, struct finding *finding)
{
	if (s->is_tunnel || !s->home[0])
		return false;
	say(finding, "%s, whose network has %s, is down: ip link set %s up",
	    s->home, address_text(&s->addr).text, s->home);
	return true;
}

/* By the errno, which is all that the kernel tells of routes and rules that lead nowhere */
static const char *nowhere_text(int error)
{
	switch (error) {
	case EINVAL:
		return "a blackhole";
	case EACCES:
		return "of type prohibit";
	case EHOSTUNREACH:
		return "of type unreachable";
	default:
		return NULL;
	}
}

static bool no_route(const struct story *s, struct finding *finding)
{
	const char *nowhere = nowhere_text(s->route.error);

	if (!s->route.error)
		return false;
	if (nowhere)
		say(finding, "The %s route to %s leads nowhere: it, or a rule, is %s",
		    family_name(s->addr.family), address_text(&s->addr).text,
		    nowhere);
	else
		say(finding, "There is no %s route to %s: %s",
		    family_name(s->addr.family), address_text(&s->addr).text,
		    strerror(s->route.error));
	if (s->down[0])
		say(finding, " (down, and without their routes: %s)", s->down);
	return true;
}

static bool no_tunnel(const struct story *s, struct finding *finding)
{
	if (s->route.error || s->is_tunnel || s->route.type == RTN_LOCAL)
		return false;
	say(finding, "This packet does not use a tunnel: it goes out of %s",
	    s->link.name);
	if (s->ports[0])
		say(finding, ", whose ports have tunnels: %s", s->ports);
	else if (s->down[0])
		say(finding, " (down, and without their routes: %s)", s->down);
	return true;
}

/* ---- the device ---- */

static bool device_down(const struct story *s, struct finding *finding)
{
	if (!s->is_tunnel || s->link.flags & IFF_UP)
		return false;
	say(finding, "%s is down: ip link set %s up", s->tun.name, s->tun.name);
	return true;
}

static bool not_configured(const struct story *s, struct finding *finding)
{
	if (!s->is_tunnel || configured(s))
		return false;
	say(finding, "%s is not configured: it has no encapsulation yet",
	    s->tun.name);
	return true;
}

/* The name where the kernel tells it, which is right in any netns */
static const char *dev_name(const struct story *s)
{
	const char *name = xa_get_str(s->tun.conf[XTUN_A_CONF_LINK_NAME]);

	return name ? name : "?";
}

static bool no_carrier(const struct story *s, struct finding *finding)
{
	struct address local;

	if (!s->is_tunnel)
		return false;
	switch (tunnel_wait(&s->tun)) {
	case XTUN_WAIT_DEV:
		say(finding, "%s waits for its dev, %s: there is no such device",
		    s->tun.name, dev_name(s));
		break;
	case XTUN_WAIT_DEV_CARRIER:
		say(finding, "%s waits for its dev, %s, which is down or has no carrier",
		    s->tun.name, dev_name(s));
		break;
	case XTUN_WAIT_LOCAL:
		address_read(&local, s->tun.conf[XTUN_A_CONF_LOCAL]);
		say(finding, "%s waits for its local address: no device has %s",
		    s->tun.name, address_text(&local).text);
		break;
	default:
		return false;
	}
	say_where(finding, s);
	return true;
}

/**
 * underlay_family() - family of outer packets, where remote is any
 * @s: the story
 *
 * Return: AF_INET or AF_INET6.
 */
int underlay_family(const struct story *s)
{
	struct address local;

	return address_read(&local, s->tun.conf[XTUN_A_CONF_LOCAL]) ?
	       local.family : AF_INET;
}

/* Without a remote, the gateway of the route is the peer; or who has asked */
static bool wants_gateway(const struct story *s)
{
	return configured(s) && !s->tun.conf[XTUN_A_CONF_REMOTE] &&
	       !s->tun.conf[XTUN_A_CONF_ECHO] && !s->peer.family;
}

static bool no_gateway(const struct story *s, struct finding *finding)
{
	if (!wants_gateway(s) || s->route.gateway.family)
		return false;
	say(finding, "%s has no peer for %s: remote is any, and the route has no gateway",
	    s->tun.name, address_text(&s->addr).text);
	return true;
}

static bool wrong_gateway(const struct story *s, struct finding *finding)
{
	int family = underlay_family(s);

	if (!wants_gateway(s) || !s->route.gateway.family)
		return false;
	say(finding, "%s has no peer for %s: its underlay is %s, and the gateway %s is not",
	    s->tun.name, address_text(&s->addr).text, family_name(family),
	    address_text(&s->route.gateway).text);
	if (family == AF_INET && s->addr.family == AF_INET6)
		say(finding, "; write an IPv4 peer as ::ffff:PEER");
	return true;
}

/* The end that replies has no peer but who has sent it a request */
static bool nobody_asked(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!configured(s) || conf_num(s, XTUN_A_CONF_ECHO) != XTUN_ECHO_REPLY ||
	    !counted(s, "tx-no-peer", &counter, finding))
		return false;
	say(finding, "%s has nobody to reply to: no request has come from the other end",
	    s->tun.name);
	say_count(finding, &counter);
	return true;
}

/* ---- the outer route, and what is before the wire ---- */

static bool route_loop(const struct story *s, struct finding *finding)
{
	if (!s->has_path || !s->path.tb[XTUN_A_PATH_LOOP])
		return false;
	say(finding, "The route to the peer of %s, %s, leads into %s itself",
	    s->tun.name, address_text(&s->peer).text, s->tun.name);
	return true;
}

static bool loop_of_tunnels(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!counted(s, "tx-route-loop", &counter, finding) ||
	    !s->has_path || s->path.tb[XTUN_A_PATH_LOOP])
		return false;
	say(finding, "Outer packets of %s come back to it, by other tunnels or a past route",
	    s->tun.name);
	say_count(finding, &counter);
	return true;
}

/* What the kernel says of a route that a policy of IPsec does not let out. */
static bool ipsec_policy(const struct story *s, struct finding *finding)
{
	struct counter counter;
	uint32_t error;

	if (!s->has_path || !s->path.tb[XTUN_A_PATH_ERROR])
		return false;
	error = path_num(&s->path, XTUN_A_PATH_ERROR);
	if (error == EPERM)
		say(finding, "An IPsec policy of this host blocks what %s sends: ip xfrm policy",
		    s->tun.name);
	else if (error == EREMOTE)
		say(finding, "An IPsec policy asks for an SA for what %s sends; there is none",
		    s->tun.name);
	else
		return false;
	if (lately(s, "tx-filtered", &counter))
		say_count(finding, &counter);
	return true;
}

static bool no_outer_route(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!s->has_path || !s->path.tb[XTUN_A_PATH_ERROR])
		return false;
	say(finding, "There is no route to the peer of %s, %s", s->tun.name,
	    address_text(&s->peer).text);
	say_where(finding, s);
	say(finding, ": %s",
	    strerror(path_num(&s->path, XTUN_A_PATH_ERROR)));
	if (lately(s, "tx-no-route", &counter))
		say_count(finding, &counter);
	return true;
}

static bool tx_filtered(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!counted(s, "tx-filtered", &counter, finding))
		return false;
	say(finding, "A filter of this host drops what %s sends: look at the rules for output",
	    s->tun.name);
	say_where(finding, s);
	say_count(finding, &counter);
	return true;
}

static bool refused(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!counted(s, "tx-underlay", &counter, finding))
		return false;
	say(finding, "The underlay refuses what %s sends: a full queue, or a silent neighbour",
	    s->tun.name);
	say_count(finding, &counter);
	return true;
}

/* ---- what was told from the path ---- */

/* What the last error means, if it is not long ago */
static enum icmp_kind last_kind(const struct story *s, struct finding *finding)
{
	if (!s->has_path || !path_last_text(&s->path) ||
	    path_num(&s->path, XTUN_A_PATH_LAST_AGO) > PAST_RECENT)
		return ICMP_KIND_OTHER;
	finding->past = path_last_past(&s->path);
	return icmp_kind(s->path.family,
			 path_num(&s->path, XTUN_A_PATH_LAST_TYPE),
			 path_num(&s->path, XTUN_A_PATH_LAST_CODE));
}

static void say_last(struct finding *finding, const struct story *s)
{
	say(finding, "%s says %s (ICMP %llu/%llu), %llu s ago",
	    path_from(&s->path, XTUN_A_PATH_LAST_FROM).text,
	    path_last_text(&s->path),
	    path_num(&s->path, XTUN_A_PATH_LAST_TYPE),
	    path_num(&s->path, XTUN_A_PATH_LAST_CODE),
	    path_num(&s->path, XTUN_A_PATH_LAST_AGO));
}

static bool peer_prohibits(const struct story *s, struct finding *finding)
{
	if (last_kind(s, finding) != ICMP_KIND_PROHIBITED)
		return false;
	say(finding, "Packets to the peer of %s, %s, are prohibited: ",
	    s->tun.name, address_text(&s->peer).text);
	say_last(finding, s);
	return true;
}

static void say_key(struct finding *finding, const struct story *s, int attr)
{
	if (s->tun.conf[attr])
		say(finding, "key %llu", conf_num(s, attr));
	else
		say(finding, "no key");
}

static bool not_taken(const struct story *s, struct finding *finding)
{
	if (last_kind(s, finding) != ICMP_KIND_NOT_TAKEN)
		return false;
	say(finding, "The peer of %s, %s, does not take its packets (",
	    s->tun.name, address_text(&s->peer).text);
	say_key(finding, s, XTUN_A_CONF_OKEY);
	say(finding, "), compare encap, key and addresses there: ");
	say_last(finding, s);
	return true;
}

/* In the words of the encapsulation, not of ICMP */
static bool unknown_key(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!counted(s, "err-unknown-key", &counter, finding))
		return false;
	say(finding, "The peer of %s, %s, says that it has no tunnel with ",
	    s->tun.name, address_text(&s->peer).text);
	say_key(finding, s, XTUN_A_CONF_OKEY);
	say(finding, ", compare ikey there");
	say_count(finding, &counter);
	return true;
}

/* Who traces through a tunnel with ttl inherit wants just that */
static bool too_far(const struct story *s, struct finding *finding)
{
	if (last_kind(s, finding) != ICMP_KIND_TIME ||
	    !conf_num(s, XTUN_A_CONF_TTL))
		return false;
	say(finding, "Packets to the peer of %s, %s, go in circles or farther than ttl %llu: ",
	    s->tun.name, address_text(&s->peer).text,
	    conf_num(s, XTUN_A_CONF_TTL));
	say_last(finding, s);
	return true;
}

static bool unreachable(const struct story *s, struct finding *finding)
{
	const char *answer = s->has_path ? path_answer(&s->path) : NULL;
	bool told = last_kind(s, finding) == ICMP_KIND_UNREACHABLE;

	if (!told && !answer)
		return false;
	say(finding, "The peer of %s, %s, cannot be reached: ", s->tun.name,
	    address_text(&s->peer).text);
	if (told)
		say_last(finding, s);
	if (answer)
		say(finding, "%ssenders are answered with %s for %llu s more",
		    told ? "; " : "", answer,
		    path_num(&s->path, XTUN_A_PATH_ANSWER_FOR));
	return true;
}

/* ---- what comes back ---- */

static bool other_key(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!counted(s, "rx-other-key", &counter, finding))
		return false;
	say(finding, "The keys of the ends of %s differ, or another tunnel is there: here ",
	    s->tun.name);
	say_key(finding, s, XTUN_A_CONF_IKEY);
	say(finding, ", and packets with another come in");
	say_count(finding, &counter);
	return true;
}

static bool other_peer(const struct story *s, struct finding *finding)
{
	struct counter counter;

	if (!counted(s, "rx-other-peer", &counter, finding))
		return false;
	say(finding, "Packets with the key of %s, ", s->tun.name);
	say_key(finding, s, XTUN_A_CONF_IKEY);
	say(finding, ", come from another address than %s, or another way than they should",
	    address_text(&s->peer).text);
	say_count(finding, &counter);
	return true;
}

static bool prefix_has(const struct nlattr *prefix, const struct address *addr)
{
	const struct nlattr *tb[XTUN_A_PREFIX_MAX + 1];
	struct address network;

	xa_parse_nested(tb, XTUN_A_PREFIX_MAX, prefix);
	return address_read(&network, tb[XTUN_A_PREFIX_ADDR]) &&
	       address_within(addr, &network,
			      field_num(tb, XTUN_A_PREFIX_LEN));
}

static bool allowed(const struct story *s)
{
	const struct nlattr *allow = s->tun.conf[XTUN_A_CONF_ALLOW];
	const struct nlattr *prefix = NULL;
	bool any = true;

	while (allow &&
	       (prefix = xa_next(xa_data(allow), xa_len(allow), prefix))) {
		if (prefix_has(prefix, &s->addr))
			return true;
		any = false;
	}
	return any;
}

static bool not_allowed(const struct story *s, struct finding *finding)
{
	struct counter counter;
	bool dropped = counted(s, "rx-not-allowed", &counter, finding);

	if (!configured(s) || (allowed(s) && !dropped))
		return false;
	if (allowed(s)) {
		say(finding, "%s drops packets of its peer whose source is in no prefix of allow",
		    s->tun.name);
	} else {
		/* Whatever came from others since */
		finding->past = PAST_NOT;
		say(finding, "%s drops what %s sends back: the source is in no prefix of allow",
		    s->tun.name, address_text(&s->addr).text);
	}
	if (dropped)
		say_count(finding, &counter);
	return true;
}

/* ---- what passes, but not all ---- */

static void say_mtu(struct finding *finding, const struct story *s,
		    unsigned long long fits)
{
	unsigned long long mtu = path_num(&s->path, XTUN_A_PATH_MTU);

	say(finding, "the path to %s takes %llu (path MTU %llu",
	    address_text(&s->peer).text, fits, mtu);
	if (path_num(&s->path, XTUN_A_PATH_LEARNED_MTU) == mtu)
		say(finding, ", told by %s %llu s ago",
		    path_from(&s->path, XTUN_A_PATH_LEARNED_FROM).text,
		    path_num(&s->path, XTUN_A_PATH_LEARNED_AGO));
	say(finding, ")");
}

/* Why a device takes packets that will not fit, NULL if there is no reason */
static const char *hole_reason(const struct story *s)
{
	unsigned long long frag = conf_num(s, XTUN_A_CONF_FRAG);
	bool pinned = conf_num(s, XTUN_A_CONF_MTU);

	/* Whoever sends IPv6 is told, and sends less */
	if (frag == XTUN_FRAG_NEVER && s->addr.family == AF_INET)
		return pinned ? "its MTU is pinned and frag is never" :
				"frag is never";
	return pinned && frag != XTUN_FRAG_OUTER ? "its MTU is pinned" : NULL;
}

/*
 * A device whose MTU follows the underlay, and that fragments, has none: who
 * sends too much is told, or need not know.
 */
static bool mtu_hole(const struct story *s, struct finding *finding)
{
	unsigned long long fits, mtu;
	struct counter counter;

	if (!s->has_path || !s->path.tb[XTUN_A_PATH_FITS] || !hole_reason(s))
		return false;
	fits = path_num(&s->path, XTUN_A_PATH_FITS);
	mtu = field_num(s->tun.tb, XTUN_A_TUNNEL_DEVICE_MTU);
	if (fits >= mtu)
		return false;

	say(finding, "An MTU hole: %s lets in packets of up to %llu bytes, for %s, and ",
	    s->tun.name, mtu, hole_reason(s));
	say_mtu(finding, s, fits);
	if (lately(s, "tx-frag-never", &counter))
		say_count(finding, &counter);
	if (lately(s, "tx-too-big", &counter))
		say_count(finding, &counter);
	return true;
}

/* Counters that speak for themselves. */
static const struct drop {
	const char *name;
	const char *text;
} drops[] = {
	{ "tx-encap-limit", "its packets come out of as many tunnels as their encaplimit allows" },
	{ "tx-nesting", "there are too many tunnels in each other on the way to the peer" },
	{ "tx-no-memory", "the kernel has no memory for what it sends" },
	{ "rx-checksum", "something on the path changes packets, their checksum is wrong" },
	{ "rx-no-checksum", "the peer sends no checksum, and one is demanded" },
	{ "rx-no-sequence", "iseq is set, and the peer sends no sequence number" },
	{ "rx-sequence", "packets come late or twice, and iseq is set" },
	{ "rx-ecn", "the path marks as congested what it must drop" },
	{ "rx-nesting", "what comes in has too many tunnels in each other" },
	{ "rx-policy", "an IPsec policy wants to have packets protected that are not" },
	{ "rx-conntrack", "connection tracking refuses packets, its table may be full" },
	{ "rx-backlog", "packets come in faster than they are taken" },
	{ "rx-no-memory", "the kernel has no memory for what comes in" },
	{ "rx-truncated", "packets end within their header" },
	{ "rx-version", "packets have a version of their header that it does not speak" },
	{ "rx-routing", "packets have GRE's routing field, which nobody uses any more" },
	{ "rx-flags", "packets have bits in their header that have to be zero" },
	{ "rx-option", "packets have options that it has to know and does not" },
	{ "rx-control", "the peer sends control messages, which it does not speak" },
	{ "rx-reflected", "the other host has no such tunnel, and sends its pings back" },
	{ "rx-same-role", "the other end has the same echo, one has to request and one to reply" },
	{ "rx-echo-id", "replies come that have not its identifier" },
	{ "rx-inner-protocol", "the peer sends another payload" },
	{ "rx-inner-malformed", "what the peer sends is no packet" },
	{ "rx-own-source", "its own frames come back, bridges may make a loop" },
};

static void found(struct finding *finding, finding_cb_t cb, void *ctx)
{
	if (finding->past)
		say(finding, "; %s", past_text(finding->past));
	cb(ctx, finding);
}

static void find_drops(const struct story *s, finding_cb_t cb, void *ctx)
{
	struct counter counter;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(drops); i++) {
		struct finding finding = { .cause = drops[i].name };

		if (!counted(s, drops[i].name, &counter, &finding))
			continue;
		say(&finding, "%s drops packets: %s", s->tun.name,
		    drops[i].text);
		say_count(&finding, &counter);
		found(&finding, cb, ctx);
	}
}

/* In the order in which a packet would meet them. */
static const struct cause {
	const char *name;
	bool (*applies)(const struct story *s, struct finding *finding);
} causes[] = {
	{ "device-down", home_down },
	{ "family", too_narrow },
	{ "no-route", no_route },
	{ "no-tunnel", no_tunnel },
	{ "device-down", device_down },
	{ "not-configured", not_configured },
	{ "no-carrier", no_carrier },
	{ "no-peer", no_gateway },
	{ "family", wrong_gateway },
	{ "no-peer", nobody_asked },
	{ "route-loop", route_loop },
	{ "filtered", ipsec_policy },
	{ "no-outer-route", no_outer_route },
	{ "route-loop", loop_of_tunnels },
	{ "filtered", tx_filtered },
	{ "underlay", refused },
	{ "prohibited", peer_prohibits },
	{ "not-taken", not_taken },
	{ "not-taken", unknown_key },
	{ "too-far", too_far },
	{ "unreachable", unreachable },
	{ "other-key", other_key },
	{ "other-peer", other_peer },
	{ "not-allowed", not_allowed },
	{ "mtu-hole", mtu_hole },
};

/**
 * causes_find() - tell what is wrong, and what was
 * @story: what is known
 * @cb: takes each finding, the first cause first
 * @ctx: for @cb
 *
 * Where there is no route, or none through a tunnel, nothing else counts.
 */
void causes_find(const struct story *story, finding_cb_t cb, void *ctx)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(causes); i++) {
		struct finding finding = { .cause = causes[i].name };

		if (!causes[i].applies(story, &finding))
			continue;
		found(&finding, cb, ctx);
		if (!story->is_tunnel)
			return;
	}
	find_drops(story, cb, ctx);
}
