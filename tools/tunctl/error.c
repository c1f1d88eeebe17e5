// SPDX-License-Identifier: GPL-2.0
/* An ICMP error about an outer packet, read from an event and printed. */
#include <string.h>
#include <netinet/in.h>

#include "error.h"
#include "fields.h"
#include "icmp.h"

static const struct field fields[] = {
	{ "peer", XTUN_A_ERROR_PEER, FIELD_ADDR },
	{ "from", XTUN_A_ERROR_FROM, FIELD_ADDR },
	{ "type", XTUN_A_ERROR_TYPE, FIELD_NUM },
	{ "code", XTUN_A_ERROR_CODE, FIELD_NUM },
	{ "mtu", XTUN_A_ERROR_MTU, FIELD_NUM },
	{ "outcome", XTUN_A_ERROR_OUTCOME, FIELD_STR },
	{ "inner-source", XTUN_A_ERROR_INNER_SOURCE, FIELD_ADDR },
	{ "inner-destination", XTUN_A_ERROR_INNER_DESTINATION, FIELD_ADDR },
	{ "inner-protocol", XTUN_A_ERROR_INNER_PROTOCOL, FIELD_NUM },
	{ "inner-sport", XTUN_A_ERROR_INNER_SPORT, FIELD_NUM },
	{ "inner-dport", XTUN_A_ERROR_INNER_DPORT, FIELD_NUM },
	{ "lost", XTUN_A_ERROR_LOST, FIELD_NUM },
	{ }
};

/* What became of an error, by the counter that it has moved. */
static const struct outcome {
	const char *name;
	const char *text;
} outcomes[] = {
	{ "err-relayed", "the sender is told" },
	{ "err-mute", "the sender of such a packet is told nothing" },
	{ "err-off", "the sender is not told, for icmp-relay is off" },
	{ "err-too-big", "the path MTU is learned" },
	{ "err-redirect", "the outer route follows it" },
	{ "err-reassembly", "the peer has got fragments and not all of them" },
	{ "err-short", "it does not say about what; senders are told for a while" },
	{ "err-unknown-key", "the peer does not know the okey; senders are told for a while" },
	{ }
};

/* Those that people know by name. */
static const char *const protocols[] = {
	[IPPROTO_ICMP] = "ICMP",
	[IPPROTO_IPIP] = "IP in IP",
	[IPPROTO_TCP] = "TCP",
	[IPPROTO_UDP] = "UDP",
	[IPPROTO_GRE] = "GRE",
	[IPPROTO_ESP] = "ESP",
	[IPPROTO_ICMPV6] = "ICMPv6",
	[IPPROTO_SCTP] = "SCTP",
};

static const char *outcome_text(const char *name)
{
	const struct outcome *outcome;

	for (outcome = outcomes; name && outcome->name; outcome++) {
		if (!strcmp(outcome->name, name))
			return outcome->text;
	}
	return "senders are not told of such errors";
}

static void inner_end_text(const struct nlattr *const tb[], int addr, int port)
{
	struct address end;

	address_read(&end, tb[addr]);
	if (!tb[port])
		fputs(address_text(&end).text, stdout);
	else
		printf(end.family == AF_INET6 ? "[%s]:%llu" : "%s:%llu",
		       address_text(&end).text, field_num(tb, port));
}

static void inner_text(const struct nlattr *const tb[])
{
	unsigned long long number = field_num(tb, XTUN_A_ERROR_INNER_PROTOCOL);

	if (!tb[XTUN_A_ERROR_INNER_SOURCE])
		return;
	if (number < ARRAY_SIZE(protocols) && protocols[number])
		printf(" about %s ", protocols[number]);
	else
		printf(" about protocol %llu ", number);
	inner_end_text(tb, XTUN_A_ERROR_INNER_SOURCE, XTUN_A_ERROR_INNER_SPORT);
	fputs(" > ", stdout);
	inner_end_text(tb, XTUN_A_ERROR_INNER_DESTINATION,
		       XTUN_A_ERROR_INNER_DPORT);
}

/**
 * error_text() - print an error, without a newline
 * @tun: the tunnel and the error, as the event tells them
 */
void error_text(const struct tunnel *tun)
{
	const struct nlattr *tb[XTUN_A_ERROR_MAX + 1];
	unsigned long long type, code;
	struct address peer;

	xa_parse_nested(tb, XTUN_A_ERROR_MAX, tun->tb[XTUN_A_TUNNEL_ERROR]);
	address_read(&peer, tb[XTUN_A_ERROR_PEER]);
	type = field_num(tb, XTUN_A_ERROR_TYPE);
	code = field_num(tb, XTUN_A_ERROR_CODE);
	printf("%s peer %s: ", tun->name, address_text(&peer).text);
	if (tb[XTUN_A_ERROR_LOST])
		printf("(%llu errors before this one came too fast) ",
		       field_num(tb, XTUN_A_ERROR_LOST));
	printf("%s says %s", field_from(tb, XTUN_A_ERROR_FROM).text,
	       icmp_text(peer.family, type, code));
	if (tb[XTUN_A_ERROR_MTU])
		printf(", MTU %llu", field_num(tb, XTUN_A_ERROR_MTU));
	printf(" (ICMP %llu/%llu)", type, code);
	inner_text(tb);
	printf("; %s", outcome_text(xa_get_str(tb[XTUN_A_ERROR_OUTCOME])));
}

/**
 * error_json() - print an error, into an open object
 * @tun: the tunnel and the error, as the event tells them
 * @js: the writer
 */
void error_json(const struct tunnel *tun, struct json *js)
{
	const struct nlattr *tb[XTUN_A_ERROR_MAX + 1];
	struct address peer;

	xa_parse_nested(tb, XTUN_A_ERROR_MAX, tun->tb[XTUN_A_TUNNEL_ERROR]);
	address_read(&peer, tb[XTUN_A_ERROR_PEER]);
	tunnel_id_json(tun, js);
	json_open(js, "error", '{');
	fields_json(fields, tb, js);
	json_str(js, "text", icmp_text(peer.family,
				       field_num(tb, XTUN_A_ERROR_TYPE),
				       field_num(tb, XTUN_A_ERROR_CODE)));
	json_close(js, '}');
}
