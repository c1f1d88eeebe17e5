// SPDX-License-Identifier: GPL-2.0
/* tunctl add, set and del. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tunnel.h"

/**
 * struct order - what add or set is told
 * @name: the tunnel
 * @netns: netns to make the device in, open, or -1 for ours
 * @words: its configuration
 */
struct order {
	const char *name;
	int netns;
	struct xg_parse words;
};

static int take_name(const char *command, int argc, char **argv)
{
	if (argc < 1)
		return usage_error("%s wants the NAME of a device", command);
	if (!is_ifname(argv[0]))
		return usage_error("\"%s\": a device's name has 1 to 15 bytes",
				   argv[0]);
	return 0;
}

static int take_netns(struct order *order, int argc, char **argv)
{
	if (argc < 2)
		return usage_error("\"netns\": a netns or the id of a process in it follows it");
	if (order->netns >= 0)
		return usage_error("\"netns\": it is given twice");
	order->netns = netns_open(argv[1]);
	if (order->netns < 0)
		return usage_error("netns \"%s\": %s", argv[1],
				   strerror(errno));
	return 0;
}

static int take_words(struct order *order, int argc, char **argv,
		      bool may_netns)
{
	int took, err;

	xg_parse_init(&order->words);
	for (; argc > 0; argc -= took, argv += took) {
		if (may_netns && !strcmp(argv[0], "netns")) {
			err = take_netns(order, argc, argv);
			if (err)
				return err;
			took = 2;
			continue;
		}
		took = xg_parse_word(&order->words, argc, argv);
		if (took < 0)
			return word_error(&order->words.error);
	}
	if (xg_parse_end(&order->words))
		return word_error(&order->words.error);
	return 0;
}

/* For who asked to see what was made, or left its name to the kernel */
static int print_made(const struct nlmsghdr *nlh, void *data)
{
	const struct options *opt = data;
	struct tunnel tun;
	struct json js;

	tunnel_parse(&tun, nlh);
	if (!opt->json) {
		tunnel_text(&tun);
		putchar('\n');
		return 0;
	}
	json_init(&js, stdout, opt->pretty);
	json_open(&js, NULL, '[');
	json_open(&js, NULL, '{');
	tunnel_json(&tun, &js);
	json_close(&js, '}');
	json_close(&js, ']');
	json_end(&js);
	return 0;
}

static int see_place(const struct nlmsghdr *nlh, void *data)
{
	bool *foreign = data;
	struct tunnel tun;

	tunnel_parse(&tun, nlh);
	*foreign = tun.foreign;
	return 0;
}

/* A name that was looked up here says nothing of an underlay elsewhere */
static int check_dev(struct nl *nl, const struct order *order)
{
	struct nl_request rq = tunnel_request(nl, XTUN_CMD_GET, order->name);
	bool foreign = false;
	int err;

	err = nl_talk(nl, &rq, see_place, &foreign);
	if (err || !foreign)
		return err;
	return usage_error("\"dev\": the underlay of %s is another netns, say ifN for index N",
			   order->name);
}

static int send_order(const struct options *opt, struct order *order, __u8 cmd)
{
	bool print = opt->json || opt->details || strchr(order->name, '%');
	static struct nl nl;
	struct nl_request rq;
	int err;

	err = nl_open(&nl);
	if (!err && cmd == XTUN_CMD_SET && order->words.dev_by_name)
		err = check_dev(&nl, order);
	if (!err) {
		rq = tunnel_request(&nl, cmd, order->name);
		rq.words = &order->words;
		if (order->netns >= 0)
			mnl_attr_put_u32(rq.nlh, XTUN_A_TUNNEL_NETNS_FD,
					 order->netns);
		mnl_attr_put(rq.nlh, XTUN_A_TUNNEL_CONF | NLA_F_NESTED,
			     order->words.buf.len, order->words.buf.data);
		err = nl_talk(&nl, &rq, print ? print_made : NULL,
			      (void *)opt);
	}
	nl_close(&nl);
	return err;
}

static int give_order(const struct options *opt, const char *command, __u8 cmd,
		      int argc, char **argv)
{
	static struct order order = { .netns = -1 };
	int err;

	err = take_name(command, argc, argv);
	if (err)
		return err;
	order.name = argv[0];
	err = take_words(&order, argc - 1, argv + 1, cmd == XTUN_CMD_NEW);
	if (!err)
		err = send_order(opt, &order, cmd);
	if (order.netns >= 0)
		close(order.netns);
	return err;
}

/**
 * cmd_add() - make a tunnel
 * @opt: options
 * @argc: number of arguments
 * @argv: NAME [ netns NETNS ] WORD...
 *
 * Return: an exit code.
 */
int cmd_add(const struct options *opt, int argc, char **argv)
{
	return give_order(opt, "add", XTUN_CMD_NEW, argc, argv);
}

/**
 * cmd_set() - change a tunnel
 * @opt: options
 * @argc: number of arguments
 * @argv: NAME WORD...
 *
 * Return: an exit code.
 */
int cmd_set(const struct options *opt, int argc, char **argv)
{
	return give_order(opt, "set", XTUN_CMD_SET, argc, argv);
}

/**
 * cmd_del() - delete a tunnel
 * @opt: options
 * @argc: number of arguments
 * @argv: NAME
 *
 * Return: an exit code.
 */
int cmd_del(const struct options *opt, int argc, char **argv)
{
	static struct nl nl;
	struct nl_request rq;
	int err;

	(void)opt;
	err = take_name("del", argc, argv);
	if (err)
		return err;
	if (argc > 1)
		return usage_error("\"%s\": del takes one NAME", argv[1]);
	err = nl_open(&nl);
	if (!err) {
		rq = tunnel_request(&nl, XTUN_CMD_DEL, argv[0]);
		err = nl_talk(&nl, &rq, NULL, NULL);
	}
	nl_close(&nl);
	return err;
}
