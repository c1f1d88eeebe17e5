// SPDX-License-Identifier: GPL-2.0
/* tunctl explain. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/rtnetlink.h>

#include "explain.h"

#define KEPT_MAX	3

/**
 * struct asked - a story that is being found out, and who can tell
 * @story: the story
 * @route: talks with rtnetlink
 * @xtun: talks with the family
 * @kept: messages that the story points into
 * @n_kept: their number
 * @down: ifindexes of tunnels that are down
 * @n_down: their number
 */
struct asked {
	struct story story;
	struct nl route;
	struct nl xtun;
	void *kept[KEPT_MAX];
	size_t n_kept;
	int *down;
	size_t n_down;
};

/* ---- devices ---- */

static void add_name(char *names, const char *name)
{
	xg_append(names, EXPLAIN_NAMES_MAX, "%s%s", names[0] ? ", " : "", name);
}

static void add_down(struct asked *asked, const struct link *link)
{
	int *grown = realloc(asked->down,
			     (asked->n_down + 1) * sizeof(*asked->down));

	if (!grown)
		return;
	asked->down = grown;
	asked->down[asked->n_down++] = link->index;
	add_name(asked->story.down, link->name);
}

static void see_tunnel(void *ctx, const struct link *link)
{
	struct asked *asked = ctx;
	struct story *s = &asked->story;

	if (link->index == s->link.index)
		s->is_tunnel = true;
	if (link->master && link->master == s->link.index)
		add_name(s->ports, link->name);
	if (!(link->flags & IFF_UP))
		add_down(asked, link);
	else if (link->mtu < IPV6_LEAST_MTU)
		add_name(s->narrow, link->name);
}

/* A device that is down keeps its addresses, and has no route to them */
static void see_addr(void *ctx, int link, const struct address *addr,
		     unsigned int bits)
{
	struct asked *asked = ctx;
	size_t i;

	if (!address_within(&asked->story.addr, addr, bits))
		return;
	for (i = 0; i < asked->n_down; i++) {
		if (asked->down[i] == link)
			if_indextoname(link, asked->story.home);
	}
}

static int ask_devices(struct asked *asked)
{
	struct story *s = &asked->story;
	int err;

	if (s->vrf) {
		err = rtnl_link(&asked->route, s->oif, &s->link);
		if (!err && !s->link.is_vrf)
			err = usage_error("\"%s\": it is no VRF", s->link.name);
		if (err)
			return err;
	}
	err = rtnl_route(&asked->route, &s->addr, s->oif, &s->route);
	if (!err && !s->route.error)
		err = rtnl_link(&asked->route, s->route.link, &s->link);
	if (!err)
		err = rtnl_tunnels(&asked->route, see_tunnel, asked);
	if (!err && !s->is_tunnel && asked->n_down)
		err = rtnl_addrs(&asked->route, s->addr.family, see_addr,
				 asked);
	return err;
}

/* ---- the tunnel ---- */

static int keep(const struct nlmsghdr *nlh, void *data)
{
	struct asked *asked = data;
	void *copy = asked->n_kept < KEPT_MAX ? malloc(nlh->nlmsg_len) : NULL;

	if (!copy)
		return EXIT_NOTALK;
	memcpy(copy, nlh, nlh->nlmsg_len);
	asked->kept[asked->n_kept++] = copy;
	return 0;
}

/*
 * Return: false if the kernel cannot be asked, with an exit code in err, or has
 * nothing to tell, with an errno in refused, which may be NULL
 */
static bool ask(struct asked *asked, struct nl_request *rq, int *err,
		int *refused)
{
	size_t before = asked->n_kept;
	int error;

	*err = nl_ask(&asked->xtun, rq, keep, asked, &error);
	if (refused)
		*refused = error;
	return !*err && !error && asked->n_kept > before;
}

static struct nl_request ask_for(struct asked *asked, __u8 cmd)
{
	return tunnel_request(&asked->xtun, cmd, asked->story.link.name);
}

/* The gateway of the inner route, of the underlay's family */
static void find_gateway(struct story *s)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	const struct address *gateway = &s->route.gateway;

	if (gateway->family == underlay_family(s)) {
		s->peer = *gateway;
	} else if (s->addr.family == AF_INET6 &&
		   gateway->family == AF_INET6 &&
		   !memcmp(gateway->data, mapped, sizeof(mapped))) {
		s->peer.family = AF_INET;
		memcpy(s->peer.data, gateway->data + sizeof(mapped),
		       sizeof(struct in_addr));
	}
}

static bool is_unspecified(const struct address *addr)
{
	static const struct address none;

	return !memcmp(addr->data, none.data, sizeof(none.data));
}

/* Not one host, or none: no peer for the kernel either */
static bool is_group(const struct address *addr)
{
	static const struct address all = { .data = { 255, 255, 255, 255 } };

	if (is_unspecified(addr))
		return true;
	if (addr->family == AF_INET)
		return (addr->data[0] & 0xf0) == 0xe0 ||
		       !memcmp(addr->data, all.data, sizeof(all.data));
	return addr->data[0] == 0xff;
}

/* With remote any the peer is where the neighbour is, or the gateway */
static int find_peer(struct asked *asked)
{
	struct story *s = &asked->story;
	const struct address *next = s->route.gateway.family ?
				     &s->route.gateway : &s->addr;
	int err;

	if (address_read(&s->peer, s->tun.conf[XTUN_A_CONF_REMOTE]) ||
	    s->tun.conf[XTUN_A_CONF_ECHO])
		return 0;
	err = rtnl_neighbour(&asked->route, s->link.index, next, &s->peer);
	if (err)
		return err;
	if (is_group(&s->peer))
		s->peer.family = 0;
	if (!s->peer.family)
		find_gateway(s);
	return 0;
}

static int keep_path(const struct nlmsghdr *nlh, void *data)
{
	struct asked *asked = data;
	struct address peer;
	struct tunnel tun;
	struct path path;

	tunnel_parse(&tun, nlh);
	path_parse(&path, &tun);
	if (!address_read(&peer, path.tb[XTUN_A_PATH_PEER]) ||
	    !address_equal(&peer, &asked->story.peer))
		return 0;
	return keep(nlh, data);
}

/* Who may not ask for any peer may read what is known of those that there are */
static void ask_known_path(struct asked *asked)
{
	struct nl_request rq = ask_for(asked, XTUN_CMD_PATH_GET);
	size_t before = asked->n_kept;

	nl_dump(&asked->xtun, &rq, keep_path, asked);
	asked->story.has_path = asked->n_kept > before;
}

static int ask_path(struct asked *asked)
{
	struct story *s = &asked->story;
	struct nl_request rq;
	struct tunnel tun;
	int err, refused;

	err = find_peer(asked);
	if (err || !s->peer.family)
		return err;
	rq = ask_for(asked, XTUN_CMD_PATH_GET);
	mnl_attr_put(rq.nlh, XTUN_A_TUNNEL_ADDR, address_len(&s->peer),
		     s->peer.data);
	s->has_path = ask(asked, &rq, &err, &refused);
	if (!err && refused == EPERM)
		ask_known_path(asked);
	if (s->has_path) {
		tunnel_parse(&tun, asked->kept[asked->n_kept - 1]);
		path_parse(&s->path, &tun);
	}
	return err;
}

static int ask_tunnel(struct asked *asked)
{
	struct story *s = &asked->story;
	struct nl_request rq;
	struct tunnel stats;
	int err;

	rq = ask_for(asked, XTUN_CMD_GET);
	s->is_tunnel = ask(asked, &rq, &err, NULL);
	if (!s->is_tunnel)
		return err;
	tunnel_parse(&s->tun, asked->kept[asked->n_kept - 1]);

	rq = ask_for(asked, XTUN_CMD_STATS_GET);
	if (ask(asked, &rq, &err, NULL)) {
		tunnel_parse(&stats, asked->kept[asked->n_kept - 1]);
		s->stats = stats.tb[XTUN_A_TUNNEL_STATS];
	}
	return err ? err : ask_path(asked);
}

static int ask_all(struct asked *asked)
{
	int err;

	err = nl_open(&asked->xtun);
	if (!err)
		err = nl_open_route(&asked->route);
	if (!err)
		err = ask_devices(asked);
	if (!err && asked->story.is_tunnel)
		err = ask_tunnel(asked);
	return err;
}

/* ---- the answer ---- */

static void first_cause(void *ctx, const struct finding *finding)
{
	const char **cause = ctx;

	if (!*cause && !finding->past)
		*cause = finding->cause;
}

/* Return: what is wrong in the first place, NULL if nothing is */
static const char *main_cause(const struct story *s)
{
	const char *cause = NULL;

	causes_find(s, first_cause, &cause);
	return cause;
}

static void finding_text(void *ctx, const struct finding *finding)
{
	bool *any = ctx;

	if (finding->past)
		return;
	printf("%s%s\n", *any ? "also: " : "", finding->text);
	*any = true;
}

static void past_finding_text(void *ctx __maybe_unused,
			      const struct finding *finding)
{
	if (finding->past)
		printf("past: %s\n", finding->text);
}

static void put_finding(struct json *js, const struct finding *finding)
{
	json_open(js, NULL, '{');
	json_str(js, "cause", finding->cause);
	json_str(js, "text", finding->text);
	if (finding->past)
		json_str(js, "why", past_word(finding->past));
	json_close(js, '}');
}

static void finding_json(void *ctx, const struct finding *finding)
{
	if (!finding->past)
		put_finding(ctx, finding);
}

static void past_finding_json(void *ctx, const struct finding *finding)
{
	if (finding->past)
		put_finding(ctx, finding);
}

static void nothing_text(const struct story *s)
{
	struct address_text addr = address_text(&s->addr);

	if (s->route.type == RTN_LOCAL)
		printf("Nothing is known to be wrong: %s is an address of this host\n",
		       addr.text);
	else
		printf("Nothing is known to be wrong: packets to %s go through %s to %s\n",
		       addr.text, s->tun.name, address_text(&s->peer).text);
}

static void route_text(const struct story *s)
{
	if (s->route.error)
		return;
	printf("    route: dev %s", s->link.name);
	if (s->route.gateway.family)
		printf(" via %s", address_text(&s->route.gateway).text);
	if (s->route.source.family)
		printf(" src %s", address_text(&s->route.source).text);
	if (s->route.mtu)
		printf(" mtu %u", s->route.mtu);
	putchar('\n');
}

static void counter_text(void *ctx, const struct counter *counter)
{
	bool *any = ctx;

	if (!counter->packets)
		return;
	printf("%s %s %llu (%llu s ago%s)", *any ? "," : "    counters:",
	       counter->name, counter->packets, counter->ago,
	       past_over(counter->past) ? ", mended" : "");
	*any = true;
}

static void tunnel_out_text(const struct story *s)
{
	bool any = false;

	fputs("    tunnel: ", stdout);
	tunnel_text(&s->tun);
	tunnel_state_text(&s->tun, " ");
	putchar('\n');
	if (s->peer.family)
		printf("    peer: %s\n", address_text(&s->peer).text);
	if (s->has_path)
		path_text(&s->path, "    ");
	else if (s->peer.family)
		puts("    path: not told; in the underlay you are not privileged");
	counters_walk(s->stats, counter_text, &any);
	puts(any ? "" : "    counters: none");
}

static void answer_text(const struct story *s)
{
	bool any = false;

	causes_find(s, finding_text, &any);
	if (!any)
		nothing_text(s);
	causes_find(s, past_finding_text, NULL);
	route_text(s);
	if (s->is_tunnel)
		tunnel_out_text(s);
}

static void route_json(const struct story *s, struct json *js)
{
	json_open(js, "route", '{');
	if (s->route.error) {
		json_unum(js, "error", s->route.error);
		json_str(js, "error-text", strerror(s->route.error));
	} else {
		json_str(js, "dev", s->link.name);
	}
	if (s->route.gateway.family)
		json_str(js, "via", address_text(&s->route.gateway).text);
	if (s->route.source.family)
		json_str(js, "src", address_text(&s->route.source).text);
	if (s->route.mtu)
		json_unum(js, "mtu", s->route.mtu);
	json_close(js, '}');
}

static void counter_json(void *ctx, const struct counter *counter)
{
	struct json *js = ctx;

	if (!counter->packets)
		return;
	json_open(js, NULL, '{');
	json_str(js, "name", counter->name);
	json_unum(js, "packets", counter->packets);
	json_unum(js, "ago", counter->ago);
	if (past_over(counter->past))
		json_true(js, "mended");
	json_close(js, '}');
}

static void tunnel_out_json(const struct story *s, struct json *js)
{
	json_open(js, "tunnel", '{');
	tunnel_json(&s->tun, js);
	json_close(js, '}');
	if (s->peer.family)
		json_str(js, "peer", address_text(&s->peer).text);
	if (s->has_path)
		path_json(&s->path, js);
	json_open(js, "counters", '[');
	counters_walk(s->stats, counter_json, js);
	json_close(js, ']');
}

static void answer_json(const struct story *s, const char *cause, bool pretty)
{
	struct json js;

	json_init(&js, stdout, pretty);
	json_open(&js, NULL, '[');
	json_open(&js, NULL, '{');
	json_str(&js, "addr", address_text(&s->addr).text);
	json_str(&js, "cause", cause ? cause : "none");
	json_open(&js, "findings", '[');
	causes_find(s, finding_json, &js);
	json_close(&js, ']');
	json_open(&js, "past", '[');
	causes_find(s, past_finding_json, &js);
	json_close(&js, ']');
	route_json(s, &js);
	if (s->is_tunnel)
		tunnel_out_json(s, &js);
	json_close(&js, '}');
	json_close(&js, ']');
	json_end(&js);
}

/* Return: an exit code */
static int answer_out(const struct story *s, const struct options *opt)
{
	const char *cause = main_cause(s);

	if (opt->json)
		answer_json(s, cause, opt->pretty);
	else
		answer_text(s);
	return cause ? EXIT_CAUSE : EXIT_DONE;
}

static void forget(struct asked *asked)
{
	while (asked->n_kept)
		free(asked->kept[--asked->n_kept]);
	free(asked->down);
	nl_close(&asked->xtun);
	nl_close(&asked->route);
}

/* An address of one link is on any of them */
static bool is_link_local(const struct address *addr)
{
	return addr->family == AF_INET6 && addr->data[0] == 0xfe &&
	       (addr->data[1] & 0xc0) == 0x80;
}

static int read_question(struct story *s, int argc, char **argv)
{
	if (argc != 1 && argc != 3)
		return usage_error("explain wants one address, then vrf NAME, oif NAME or nothing");
	if (!address_parse(&s->addr, argv[0]))
		return usage_error("\"%s\": no IPv4 or IPv6 address", argv[0]);
	if (is_unspecified(&s->addr))
		return usage_error("\"%s\": no address of a host", argv[0]);
	s->vrf = argc > 1 && !strcmp(argv[1], "vrf");
	if (argc > 1 && !s->vrf && strcmp(argv[1], "oif"))
		return usage_error("\"%s\": neither vrf nor oif", argv[1]);
	if (is_link_local(&s->addr) && (argc == 1 || s->vrf))
		return usage_error("\"%s\": every link has this address; say oif NAME",
				   argv[0]);
	if (argc == 1)
		return 0;
	s->oif = if_nametoindex(argv[2]);
	return s->oif ? 0 : usage_error("\"%s\": there is no such device",
					argv[2]);
}

/**
 * cmd_explain() - say what becomes of packets to an address
 * @opt: options
 * @argc: number of arguments
 * @argv: ADDR [ vrf NAME | oif NAME ]
 *
 * Return: an exit code.
 */
int cmd_explain(const struct options *opt, int argc, char **argv)
{
	static struct asked asked;
	int err;

	err = read_question(&asked.story, argc, argv);
	if (!err)
		err = ask_all(&asked);
	if (!err)
		err = answer_out(&asked.story, opt);
	forget(&asked);
	return err;
}
