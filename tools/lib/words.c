// SPDX-License-Identifier: GPL-2.0
/*
 * The words. Their order is the order in which they are printed; where two
 * words say the same, the first that says all of it is printed.
 */
#include <assert.h>
#include <string.h>

#include "grammar.h"

#define CSUM	(XTUN_CONF_FLAGS_ICSUM | XTUN_CONF_FLAGS_OCSUM)
#define SEQ	(XTUN_CONF_FLAGS_ISEQ | XTUN_CONF_FLAGS_OSEQ)

/* What is settled: attributes below, flags from here on */
#define FLAG_BITS	52

static_assert(XTUN_A_CONF_MAX < FLAG_BITS, "attributes would be taken for flags");

#define UDP	(XG_ENCAP(XTUN_ENCAP_VXLAN) | XG_ENCAP(XTUN_ENCAP_GENEVE) |	\
		 XG_ENCAP(XTUN_ENCAP_FOU) | XG_ENCAP(XTUN_ENCAP_GUE) |		\
		 XG_ENCAP(XTUN_ENCAP_GTP) | XG_ENCAP(XTUN_ENCAP_L2TP))
#define L2TP	(XG_ENCAP(XTUN_ENCAP_L2TP) | XG_ENCAP(XTUN_ENCAP_L2TP_IP))
#define KEYLESS	(XG_ENCAP(XTUN_ENCAP_IP) | XG_ENCAP(XTUN_ENCAP_FOU) |		\
		 XG_ENCAP(XTUN_ENCAP_GUE))

#define BITS_ON(b)							\
	.type = XG_BITS, .attr = XTUN_A_CONF_FLAGS, .bits = (b), .on = true
#define BITS_OFF(b)							\
	.type = XG_BITS, .attr = XTUN_A_CONF_FLAGS, .bits = (b)

static const struct xg_name encap_names[] = {
	{ "ip", XTUN_ENCAP_IP },
	{ "gre", XTUN_ENCAP_GRE },
	{ "nvgre", XTUN_ENCAP_NVGRE },
	{ "vxlan", XTUN_ENCAP_VXLAN },
	{ "geneve", XTUN_ENCAP_GENEVE },
	{ "fou", XTUN_ENCAP_FOU },
	{ "gue", XTUN_ENCAP_GUE },
	{ "gtp", XTUN_ENCAP_GTP },
	{ "l2tp", XTUN_ENCAP_L2TP },
	{ "l2tp-ip", XTUN_ENCAP_L2TP_IP },
	{ "icmp", XTUN_ENCAP_ICMP },
	{ }
};

static const struct xg_name payload_names[] = {
	{ "ip", XTUN_PAYLOAD_IP },
	{ "eth", XTUN_PAYLOAD_ETH },
	{ }
};

static const struct xg_name df_names[] = {
	{ "set", XTUN_DF_SET },
	{ "inherit", XTUN_DF_INHERIT },
	{ "unset", XTUN_DF_UNSET },
	{ }
};

static const struct xg_name frag_names[] = {
	{ "inner", XTUN_FRAG_INNER },
	{ "outer", XTUN_FRAG_OUTER },
	{ "never", XTUN_FRAG_NEVER },
	{ }
};

static const struct xg_name l2spec_names[] = {
	{ "none", XTUN_L2SPEC_NONE },
	{ "default", XTUN_L2SPEC_DEFAULT },
	{ }
};

static const struct xg_name relay_names[] = {
	{ "transparent", XTUN_ICMP_RELAY_TRANSPARENT },
	{ "strict", XTUN_ICMP_RELAY_STRICT },
	{ "off", XTUN_ICMP_RELAY_OFF },
	{ }
};

static const struct xg_name memory_names[] = {
	{ "auto", XTUN_ICMP_MEMORY_AUTO },
	{ "on", XTUN_ICMP_MEMORY_ON },
	{ "off", XTUN_ICMP_MEMORY_OFF },
	{ }
};

static const struct xg_name echo_names[] = {
	{ "request", XTUN_ECHO_REQUEST },
	{ "reply", XTUN_ECHO_REPLY },
	{ }
};

static const struct xg_name flowlabel_names[] = {
	{ "inherit", XTUN_FLOWLABEL_INHERIT },
	{ "auto", XTUN_FLOWLABEL_AUTO },
	{ }
};

static const struct xg_name qfi_names[] = {
	{ "none", XTUN_QFI_NONE },
	{ }
};

static const struct xg_name pdu_names[] = {
	{ "downlink", XTUN_PDU_DOWNLINK },
	{ "uplink", XTUN_PDU_UPLINK },
	{ }
};

static const struct xg_name encaplimit_names[] = {
	{ "none", XTUN_ENCAPLIMIT_NONE },
	{ }
};

static const struct xg_name tos_names[] = {
	{ "inherit", XTUN_TOS_INHERIT },
	{ }
};

/* As a clamp, 65535 would clamp nothing: it is free to mean auto */
static const struct xg_name mss_names[] = {
	{ "auto", XTUN_MSS_AUTO },
	{ "off", 0 },
	{ }
};

/* What is not 0 is no number: the packet's own mark */
static const struct xg_name fwmark_names[] = {
	{ "none", 0 },
	{ "inherit", XTUN_MARK_FROM_PACKET },
	{ }
};

static const struct xg_name mark_in_names[] = {
	{ "clear", 0 },
	{ "keep", XTUN_MARK_FROM_PACKET },
	{ }
};

static const struct xg_name zero_is_any[] = { { "any", 0 }, { } };
static const struct xg_name zero_is_none[] = { { "none", 0 }, { } };
static const struct xg_name zero_is_off[] = { { "off", 0 }, { } };
static const struct xg_name zero_is_auto[] = { { "auto", 0 }, { } };
static const struct xg_name zero_is_inherit[] = { { "inherit", 0 }, { } };

const struct xg_word xg_words[] = {
	{
		.name = "encap", .type = XG_NAME, .attr = XTUN_A_CONF_ENCAP,
		.names = encap_names, .always = true,
		.help = "the header",
	},
	{
		.name = "payload", .type = XG_NAME, .attr = XTUN_A_CONF_PAYLOAD,
		.names = payload_names, .always = true,
		.help = "what the device carries",
	},
	{
		.name = "local", .type = XG_ADDR, .attr = XTUN_A_CONF_LOCAL,
		.names = zero_is_any, .always = true,
		.help = "source of outer packets",
	},
	{
		.name = "remote", .type = XG_ADDR, .attr = XTUN_A_CONF_REMOTE,
		.names = zero_is_any, .always = true,
		.help = "the peer; any: the route's gateway",
	},
	{
		.name = "dev", .type = XG_LINK, .attr = XTUN_A_CONF_LINK,
		.names = zero_is_none,
		.help = "underlay device",
	},
	{
		.name = "fwmark", .type = XG_MARK, .attr = XTUN_A_CONF_FWMARK,
		.attr2 = XTUN_A_CONF_FWMARK_FROM, .size = 4, .hex = true,
		.names = fwmark_names,
		.help = "mark of outer packets",
	},
	{
		.name = "mark-in", .type = XG_MARK,
		.attr = XTUN_A_CONF_MARK_IN,
		.attr2 = XTUN_A_CONF_MARK_IN_FROM, .size = 4, .hex = true,
		.names = mark_in_names,
		.help = "mark of packets that come out",
	},
	{
		.name = "key", .type = XG_KEY, .attr = XTUN_A_CONF_IKEY,
		.attr2 = XTUN_A_CONF_OKEY,
		.encaps = ~KEYLESS,
		.help = "number of the network, both ways",
	},
	{
		.name = "ikey", .type = XG_KEY, .attr = XTUN_A_CONF_IKEY,
		.encaps = ~KEYLESS,
		.help = "key of packets that come in",
	},
	{
		.name = "okey", .type = XG_KEY, .attr = XTUN_A_CONF_OKEY,
		.encaps = ~KEYLESS,
		.help = "key of packets that go out",
	},
	{
		.name = "nokey", .type = XG_BARE, .attr = XTUN_A_CONF_NOKEY,
		.dflt = true,
		.help = "neither key (the default)",
	},
	{
		.name = "ttl", .type = XG_NUM, .attr = XTUN_A_CONF_TTL,
		.size = 1, .names = zero_is_inherit, .dflt = 64,
		.min = 1,
		.help = "TTL or hop limit of outer packets",
	},
	{
		.name = "tos", .type = XG_NUM, .attr = XTUN_A_CONF_TOS,
		.size = 1, .hex = true, .names = tos_names,
		.dflt = XTUN_TOS_INHERIT,
		.max = 0xfc,
		.help = "DSCP of outer packets, as a byte",
	},
	{
		.name = "flowlabel", .type = XG_NUM,
		.attr = XTUN_A_CONF_FLOWLABEL, .size = 4, .hex = true,
		.names = flowlabel_names, .dflt = XTUN_FLOWLABEL_AUTO,
		.max = 0xfffff,
		.help = "flow label of outer IPv6",
	},
	{
		.name = "encaplimit", .type = XG_NUM,
		.attr = XTUN_A_CONF_ENCAPLIMIT, .size = 2,
		.names = encaplimit_names, .dflt = XTUN_ENCAPLIMIT_NONE,
		.max = 255,
		.help = "encapsulation limit option",
	},
	{
		.name = "df", .type = XG_NAME, .attr = XTUN_A_CONF_DF,
		.names = df_names, .dflt = XTUN_DF_SET,
		.help = "DF bit of outer IPv4",
	},
	{
		.name = "frag", .type = XG_NAME, .attr = XTUN_A_CONF_FRAG,
		.names = frag_names, .dflt = XTUN_FRAG_INNER,
		.help = "where IPv4 without DF is cut",
	},
	{
		.name = "mtu", .type = XG_NUM, .attr = XTUN_A_CONF_MTU,
		.size = 4, .names = zero_is_auto,
		.min = 68, .max = 65535,
		.help = "pins the MTU; auto: it follows",
	},
	{
		.name = "csum", BITS_ON(CSUM),
		.encaps = XG_ENCAP(XTUN_ENCAP_GRE),
		.help = "checksums are sent and demanded",
	},
	{
		.name = "icsum", BITS_ON(XTUN_CONF_FLAGS_ICSUM),
		.encaps = XG_ENCAP(XTUN_ENCAP_GRE),
		.help = "checksums are demanded",
	},
	{
		.name = "ocsum", BITS_ON(XTUN_CONF_FLAGS_OCSUM),
		.encaps = XG_ENCAP(XTUN_ENCAP_GRE),
		.help = "checksums are sent",
	},
	{
		.name = "nocsum", BITS_OFF(CSUM),
		.help = "checksums are optional (the default)",
	},
	{
		.name = "noicsum", BITS_OFF(XTUN_CONF_FLAGS_ICSUM),
		.help = "undoes icsum",
	},
	{
		.name = "noocsum", BITS_OFF(XTUN_CONF_FLAGS_OCSUM),
		.help = "undoes ocsum",
	},
	{
		.name = "seq", BITS_ON(SEQ),
		.encaps = XG_ENCAP(XTUN_ENCAP_GRE),
		.help = "sequence numbers, sent and demanded",
	},
	{
		.name = "iseq", BITS_ON(XTUN_CONF_FLAGS_ISEQ),
		.encaps = XG_ENCAP(XTUN_ENCAP_GRE),
		.help = "sequence numbers are demanded",
	},
	{
		.name = "oseq", BITS_ON(XTUN_CONF_FLAGS_OSEQ),
		.encaps = XG_ENCAP(XTUN_ENCAP_GRE),
		.help = "sequence numbers are sent",
	},
	{
		.name = "noseq", BITS_OFF(SEQ),
		.help = "no sequence numbers (the default)",
	},
	{
		.name = "noiseq", BITS_OFF(XTUN_CONF_FLAGS_ISEQ),
		.help = "undoes iseq",
	},
	{
		.name = "nooseq", BITS_OFF(XTUN_CONF_FLAGS_OSEQ),
		.help = "undoes oseq",
	},
	{
		.name = "allow", .type = XG_PREFIXES,
		.attr = XTUN_A_CONF_ALLOW, .names = zero_is_any,
		.help = "inner sources that may come out",
	},
	{
		.name = "sport", .type = XG_PORTS,
		.attr = XTUN_A_CONF_SPORT_MIN, .attr2 = XTUN_A_CONF_SPORT_MAX,
		.names = zero_is_auto,
		.encaps = UDP,
		.help = "source ports of outer UDP",
	},
	{
		.name = "dport", .type = XG_NUM, .attr = XTUN_A_CONF_DPORT,
		.size = 2, .names = zero_is_auto,
		.encaps = UDP,
		.min = 1,
		.help = "destination port of outer UDP",
	},
	{
		.name = "lport", .type = XG_NUM, .attr = XTUN_A_CONF_LPORT,
		.size = 2, .names = zero_is_auto,
		.min = 1, .encaps = XG_ENCAP(XTUN_ENCAP_FOU) | XG_ENCAP(XTUN_ENCAP_GUE),
		.help = "port where outer UDP arrives here",
	},
	{
		.name = "udpcsum", BITS_OFF(XTUN_CONF_FLAGS_NOUDPCSUM),
		.encaps = UDP,
		.help = "outer UDP has a checksum (the default)",
	},
	{
		.name = "noudpcsum", BITS_ON(XTUN_CONF_FLAGS_NOUDPCSUM),
		.encaps = UDP,
		.help = "outer UDP has none",
	},
	{
		.name = "qfi", .type = XG_NUM, .attr = XTUN_A_CONF_QFI,
		.size = 1, .names = qfi_names, .dflt = XTUN_QFI_NONE,
		.encaps = XG_ENCAP(XTUN_ENCAP_GTP),
		.max = 63,
		.help = "QoS flow of 5G, in what goes out",
	},
	{
		.name = "pdu", .type = XG_NAME, .attr = XTUN_A_CONF_PDU,
		.names = pdu_names, .dflt = XTUN_PDU_DOWNLINK,
		.encaps = XG_ENCAP(XTUN_ENCAP_GTP),
		.help = "which way packets with a qfi go",
	},
	{
		.name = "cookie", .type = XG_COOKIE,
		.attr = XTUN_A_CONF_ICOOKIE, .attr2 = XTUN_A_CONF_OCOOKIE,
		.names = zero_is_none,
		.encaps = L2TP,
		.help = "L2TP cookie, both ways",
	},
	{
		.name = "icookie", .type = XG_COOKIE,
		.attr = XTUN_A_CONF_ICOOKIE, .names = zero_is_none,
		.encaps = L2TP,
		.help = "cookie of packets that come in",
	},
	{
		.name = "ocookie", .type = XG_COOKIE,
		.attr = XTUN_A_CONF_OCOOKIE, .names = zero_is_none,
		.encaps = L2TP,
		.help = "cookie of packets that go out",
	},
	{
		.name = "l2spec", .type = XG_NAME, .attr = XTUN_A_CONF_L2SPEC,
		.names = l2spec_names, .dflt = XTUN_L2SPEC_DEFAULT,
		.encaps = L2TP,
		.help = "L2TP's header before the payload",
	},
	{
		.name = "echo", .type = XG_NAME, .attr = XTUN_A_CONF_ECHO,
		.names = echo_names,
		.encaps = XG_ENCAP(XTUN_ENCAP_ICMP),
		.help = "which end of encap icmp this is",
	},
	{
		.name = "keepalive", .type = XG_NUM,
		.attr = XTUN_A_CONF_KEEPALIVE, .size = 2,
		.names = zero_is_off, .dflt = XTUN_KEEPALIVE_DEFAULT,
		.encaps = XG_ENCAP(XTUN_ENCAP_ICMP),
		.min = 1,
		.help = "seconds between empty requests",
	},
	{
		.name = "icmp-relay", .type = XG_NAME,
		.attr = XTUN_A_CONF_ICMP_RELAY, .names = relay_names,
		.dflt = XTUN_ICMP_RELAY_TRANSPARENT,
		.help = "errors of the underlay",
	},
	{
		.name = "icmp-memory", .type = XG_NAME,
		.attr = XTUN_A_CONF_ICMP_MEMORY, .names = memory_names,
		.dflt = XTUN_ICMP_MEMORY_AUTO,
		.help = "remembers what was sent",
	},
	{
		.name = "mss", .type = XG_NUM, .attr = XTUN_A_CONF_MSS,
		.size = 4, .names = mss_names,
		.min = XTUN_MSS_MIN, .max = XTUN_MSS_AUTO - 1,
		.help = "clamps TCP's MSS",
	},
	{
		.name = "external", .type = XG_BARE,
		.attr = XTUN_A_CONF_EXTERNAL,
		.help = "each packet brings keys, addresses",
	},
	{ }
};

/**
 * xg_find() - look a word up
 * @name: the word, whole
 *
 * Return: the word, or NULL if there is none of that name.
 */
const struct xg_word *xg_find(const char *name)
{
	const struct xg_word *word;

	for (word = xg_words; word->name; word++) {
		if (!strcmp(word->name, name))
			return word;
	}
	return NULL;
}

/**
 * xg_find_value() - look the name of a value up
 * @word: the word
 * @name: the name
 *
 * Return: the value, or NULL if the word has none of that name.
 */
const struct xg_name *xg_find_value(const struct xg_word *word, const char *name)
{
	const struct xg_name *value;

	for (value = word->names; value && value->name; value++) {
		if (!strcmp(value->name, name))
			return value;
	}
	return NULL;
}

/**
 * xg_takes_value() - does a value follow a word?
 * @word: the word
 *
 * Return: whether it does.
 */
bool xg_takes_value(const struct xg_word *word)
{
	return word->type != XG_BARE && word->type != XG_BITS;
}

/**
 * xg_max() - the greatest number that a word takes
 * @word: the word, of type XG_NUM or XG_MARK
 *
 * Return: the number.
 */
unsigned long long xg_max(const struct xg_word *word)
{
	return word->max ? word->max : (1ULL << (8 * word->size)) - 1;
}

/**
 * xg_settles() - what a word settles
 * @word: the word
 *
 * Two words that settle a bit in common cannot stand together.
 *
 * Return: a bit for each attribute, or from bit FLAG_BITS for each flag.
 */
__u64 xg_settles(const struct xg_word *word)
{
	__u64 mask;

	if (word->type == XG_BITS)
		return (__u64)word->bits << FLAG_BITS;

	mask = 1ULL << word->attr;
	if (word->attr2)
		mask |= 1ULL << word->attr2;
	/* nokey beside ikey or okey says something, beside key it does not */
	if (word->type == XG_KEY && word->attr2)
		mask |= 1ULL << XTUN_A_CONF_NOKEY;
	return mask;
}
