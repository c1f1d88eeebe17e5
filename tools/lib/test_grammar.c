// SPDX-License-Identifier: GPL-2.0
/*
 * Tries the grammar without a kernel: words become attributes and words again.
 * With --words, lists the words and the names of their values instead.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grammar.h"

#define ARGS_MAX	32
#define COLUMNS_MAX	78

/* What is printed of words; NULL: the words themselves */
static const struct good {
	const char *in;
	const char *out;
} good[] = {
	{ "", "" },
	{ "encap gre payload ip local any remote any", NULL },
	{ "encap gre", "encap gre local any remote any" },
	{ "encap ip local 192.0.2.1 remote 198.51.100.7", NULL },
	{ "encap nvgre payload eth local fd00::1 remote fd00::2", NULL },
	{ "local any remote any mtu 1400", "mtu 1400" },
	{ "remote 2001:DB8:0:0::1", "remote 2001:db8::1" },
	{ "remote 10.0.0.1 encap ip", "encap ip local any remote 10.0.0.1" },
	{ "dev lo", NULL },
	{ "dev none", "" },
	{ "dev if4711", NULL },
	{ "fwmark 0x2a", NULL },
	{ "fwmark 42", "fwmark 0x2a" },
	{ "fwmark none", "" },
	{ "fwmark 0", "" },
	{ "fwmark 4294967295", "fwmark 0xffffffff" },
	{ "fwmark 2", "fwmark 0x2" },
	{ "fwmark inherit", NULL },
	{ "mark-in clear", "" },
	{ "mark-in 0", "" },
	{ "mark-in keep", NULL },
	{ "mark-in 0x2", NULL },
	{ "fwmark 5 mark-in 4294967295", "fwmark 0x5 mark-in 0xffffffff" },
	{ "key 7", NULL },
	{ "key 0", NULL },
	{ "key 0xffffffff", "key 4294967295" },
	{ "key 1.2.3.4", "key 16909060" },
	{ "ikey 1 okey 2", NULL },
	{ "ikey 3 okey 3", "key 3" },
	{ "ikey 1", NULL },
	{ "okey 2", NULL },
	{ "nokey", "" },
	{ "nokey ikey 5", "ikey 5" },
	{ "ttl 64", "" },
	{ "ttl 1", NULL },
	{ "ttl 255", NULL },
	{ "ttl inherit", NULL },
	{ "ttl 0", "ttl inherit" },
	{ "tos inherit", "" },
	{ "tos 0x10", NULL },
	{ "tos 16", "tos 0x10" },
	{ "tos 0", "tos 0x0" },
	{ "flowlabel auto", "" },
	{ "flowlabel inherit", NULL },
	{ "flowlabel 0", "flowlabel 0x0" },
	{ "flowlabel 0xFFFFF", "flowlabel 0xfffff" },
	{ "encaplimit none", "" },
	{ "encaplimit 0", NULL },
	{ "encaplimit 4", NULL },
	{ "df set", "" },
	{ "df inherit", NULL },
	{ "df unset", NULL },
	{ "frag inner", "" },
	{ "frag outer", NULL },
	{ "frag never", NULL },
	{ "mtu auto", "" },
	{ "mtu 1400", NULL },
	{ "csum seq", NULL },
	{ "icsum oseq", NULL },
	{ "icsum ocsum", "csum" },
	{ "nocsum noseq", "" },
	{ "icsum noocsum iseq nooseq", "icsum iseq" },
	{ "noicsum noiseq", "" },
	{ "allow any", "" },
	{ "allow 10.0.0.0/8,fd00::/64", NULL },
	{ "allow 10.1.2.3", "allow 10.1.2.3/32" },
	{ "allow ::/0,0.0.0.0/0", NULL },
	{ "sport 4000", NULL },
	{ "sport 32768-60999", NULL },
	{ "sport auto", "" },
	{ "dport 4789", NULL },
	{ "dport auto", "" },
	{ "lport 5556", NULL },
	{ "lport auto", "" },
	{ "udpcsum", "" },
	{ "noudpcsum", NULL },
	{ "encap gtp qfi 9 pdu uplink", "encap gtp local any remote any qfi 9 pdu uplink" },
	{ "qfi 0", NULL },
	{ "qfi none", "" },
	{ "qfi 63 pdu downlink", "qfi 63" },
	{ "encap l2tp-ip local any remote any key 7", NULL },
	{ "cookie 01020304", NULL },
	{ "cookie 0123456789ABCDEF", "cookie 0123456789abcdef" },
	{ "cookie none", "" },
	{ "icookie 00000000", NULL },
	{ "ocookie ffffffffffffffff", NULL },
	{ "icookie 01020304 ocookie 01020304", "cookie 01020304" },
	{ "icookie 01020304 ocookie 0102030405060708", NULL },
	{ "icookie none ocookie 01020304", "ocookie 01020304" },
	{ "l2spec none", NULL },
	{ "l2spec default", "" },
	{ "encap icmp payload ip local any remote 192.0.2.1 key 7 echo request", NULL },
	{ "echo reply", NULL },
	{ "keepalive 20", "" },
	{ "keepalive off", NULL },
	{ "keepalive 5", NULL },
	{ "icsum keepalive 5", NULL },
	{ "icmp-relay transparent", "" },
	{ "icmp-relay strict", NULL },
	{ "icmp-relay off icmp-memory on", NULL },
	{ "icmp-memory auto", "" },
	{ "mss off", "" },
	{ "mss auto", NULL },
	{ "mss 1360", NULL },
	{ "external", NULL },
};

/* Which argument is at fault, and a part of what is said of it */
static const struct bad {
	const char *in;
	const char *arg;
	const char *msg;
} bad[] = {
	{ "bogus", "bogus", "no such word; help lists them" },
	{ "rem 10.0.0.1", "rem", "did you mean remote?" },
	{ "encap", "encap", "l2tp-ip or icmp, and nothing follows it" },
	{ "encap gree", "gree", "encap takes ip, gre" },
	{ "encap 2", "2", "encap takes" },
	{ "remote", "remote", "nothing follows it" },
	{ "remote 1.2.3", "1.2.3", "an IPv4 or IPv6 address or any" },
	{ "remote fe80::1%lo", "fe80::1%lo", "remote takes" },
	{ "local 10.0.0.1 local 10.0.0.2", "local", "given twice" },
	{ "dev nosuchdevice", "nosuchdevice", "no such device" },
	{ "dev if0", "if0", "no such device" },
	{ "dev if-1", "if-1", "no such device" },
	{ "ttl 256", "256", "a number from 1 to 255 or inherit" },
	{ "ttl -1", "-1", "ttl takes" },
	{ "ttl 0x", "0x", "ttl takes" },
	{ "ttl 0x0x1", "0x0x1", "ttl takes" },
	{ "ttl 064", "064", "ttl takes" },
	{ "ttl 6a", "6a", "ttl takes" },
	{ "ttl auto", "auto", "ttl takes" },
	{ "tos 1", "1", "this tos is written inherit" },
	{ "encaplimit 256", "256", "this encaplimit is written none" },
	{ "encaplimit 65536", "65536", "encaplimit takes" },
	{ "flowlabel 0x100000", "0x100000", "written inherit" },
	{ "qfi 64", "64", "this qfi is written none" },
	{ "qfi 256", "256", "qfi takes" },
	{ "pdu 1", "1", "pdu takes downlink" },
	{ "fwmark 4294967296", "4294967296", "fwmark takes" },
	{ "fwmark keep", "keep", "a number from 0 to 4294967295, none or inherit" },
	{ "mark-in inherit", "inherit", "a number from 0 to 4294967295, clear or keep" },
	{ "mark-in keep mark-in 5", "mark-in", "given twice" },
	{ "key 18446744073709551617", "18446744073709551617", "dotted quad" },
	{ "key 1.2.3", "1.2.3", "dotted quad" },
	{ "key 1 key 1", "key", "given twice" },
	{ "key 1 ikey 2", "ikey", "cannot stand beside key" },
	{ "nokey key 2", "key", "cannot stand beside nokey" },
	{ "mss 65535", "65535", "written auto" },
	{ "csum noocsum", "noocsum", "cannot stand beside csum" },
	{ "iseq noseq", "noseq", "cannot stand beside iseq" },
	{ "iseq noiseq", "noiseq", "cannot stand beside iseq" },
	{ "allow 10.0.0.0/33", "10.0.0.0/33", "prefixes ADDR/LEN" },
	{ "allow 10.0.0.0/8,", "10.0.0.0/8,", "allow takes" },
	{ "allow ,10.0.0.0/8", ",10.0.0.0/8", "allow takes" },
	{ "allow 10.0.0.0/", "10.0.0.0/", "allow takes" },
	{ "allow 10.0.0.0/8,any", "10.0.0.0/8,any", "allow takes" },
	{ "sport 9-3", "9-3", "lower one" },
	{ "sport 1-65536", "1-65536", "sport takes" },
	{ "sport -5", "-5", "sport takes" },
	{ "sport 1-2-3", "1-2-3", "sport takes" },
	{ "dport 65536", "65536", "dport takes" },
	{ "lport 65536", "65536", "lport takes" },
	{ "cookie 010203", "010203", "8 or 16 hexadecimal digits or none" },
	{ "cookie 0x01020304", "0x01020304", "cookie takes" },
	{ "cookie hidden", "hidden", "may not see the cookie: say what" },
	{ "icookie 0102030405", "0102030405", "icookie takes" },
	{ "ocookie 01020304050607080", "01020304050607080", "ocookie takes" },
	{ "cookie 0102030g", "0102030g", "cookie takes" },
	{ "cookie none icookie 01020304", "icookie", "cannot stand beside cookie" },
	{ "l2spec eth", "eth", "l2spec takes none or default" },
	{ "echo", "echo", "request or reply, and nothing follows it" },
	{ "echo both", "both", "echo takes" },
	{ "keepalive 65536", "65536", "a number from 1 to 65535 or off" },
};

static unsigned int test, failed;

static void report(bool ok, const char *what, const char *got)
{
	printf("%sok %u %s\n", ok ? "" : "not ", ++test, what);
	if (ok)
		return;
	printf("# got: %s\n", got);
	failed++;
}

/* Return: number of words */
static int split(char *text, char **argv)
{
	int argc = 0;

	while ((argv[argc] = strsep(&text, " "))) {
		if (*argv[argc] && argc < ARGS_MAX - 1)
			argc++;
	}
	return argc;
}

static bool parse_text(struct xg_parse *p, char *text)
{
	char *argv[ARGS_MAX];
	int argc = split(text, argv);

	return !xg_parse_all(p, argc, argv);
}

static void add_text(void *ctx, const struct xg_shown *shown)
{
	const char *sep = *(char *)ctx ? " " : "";

	xg_append(ctx, XA_BUF_MAX, "%s%s", sep, shown->word);
	if (shown->kind != XG_IS_FLAG)
		xg_append(ctx, XA_BUF_MAX, " %s", shown->text);
}

static void print_buf(const struct xa_buf *buf, char *text)
{
	const struct nlattr *tb[XTUN_A_CONF_MAX + 1];

	text[0] = '\0';
	xa_parse(tb, XTUN_A_CONF_MAX, buf->data, buf->len);
	xg_print(tb, false, add_text, text);
}

static void try_good(const struct good *good_case)
{
	const char *want = good_case->out ? good_case->out : good_case->in;
	char first[XA_BUF_MAX], again[XA_BUF_MAX], copy[XA_BUF_MAX];
	struct xg_parse p;

	snprintf(copy, sizeof(copy), "%s", good_case->in);
	if (!parse_text(&p, copy)) {
		report(false, good_case->in, p.error.msg);
		return;
	}
	print_buf(&p.buf, first);
	snprintf(copy, sizeof(copy), "%s", first);
	if (!parse_text(&p, copy)) {
		report(false, good_case->in, p.error.msg);
		return;
	}
	print_buf(&p.buf, again);
	report(!strcmp(first, want) && !strcmp(first, again), good_case->in,
	       first);
}

static void try_bad(const struct bad *bad_case)
{
	char copy[XA_BUF_MAX], what[256];
	struct xg_parse p;

	snprintf(copy, sizeof(copy), "%s", bad_case->in);
	snprintf(what, sizeof(what), "refused: %s", bad_case->in);
	if (parse_text(&p, copy))
		report(false, what, "it was taken");
	else
		report(!strcmp(p.error.arg, bad_case->arg) &&
		       strstr(p.error.msg, bad_case->msg), what, p.error.msg);
}

static void try_long_allow(int prefixes, bool fits)
{
	char text[16384] = "allow fd00::/64", what[64];
	struct xg_parse p;
	int i;

	for (i = 1; i < prefixes; i++)
		xg_append(text, sizeof(text), ",fd00:%x::/64", i);
	snprintf(what, sizeof(what), "allow of %d prefixes is %s", prefixes,
		 fits ? "taken" : "refused");
	report(parse_text(&p, text) == fits, what, p.error.msg);
}

/* Attributes of random content are printed or not, but do no harm */
static void try_noise(void)
{
	static char text[XA_BUF_MAX];
	struct xa_buf buf = { };
	unsigned int round, i;
	__u32 noise[16];
	__u16 type;
	size_t n;

	srand(1);
	for (round = 0; round < 20000; round++) {
		memset(&buf, 0, sizeof(buf));
		for (i = 0; i < 8; i++) {
			for (n = 0; n < ARRAY_SIZE(noise); n++)
				noise[n] = rand() % 4 ? rand() % 40 : rand();
			type = rand() % (XTUN_A_CONF_MAX + 3);
			xa_put(&buf, type, noise, rand() % sizeof(noise));
		}
		print_buf(&buf, text);
	}
	report(true, "noise instead of attributes", "");
}

static void try_help(void)
{
	const struct xg_word *word;
	char line[XG_LINE_MAX];
	bool ok = true;

	for (word = xg_words; word->name && ok; word++) {
		xg_help_line(word, line, sizeof(line));
		ok = strlen(line) < COLUMNS_MAX;
	}
	report(ok, "help fits the screen", line);
}

static void list_words(void)
{
	const struct xg_word *word;
	const struct xg_name *name;

	for (word = xg_words; word->name; word++) {
		fputs(word->name, stdout);
		for (name = word->names; name && name->name; name++)
			printf(" %s", name->name);
		putchar('\n');
	}
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc > 1 && !strcmp(argv[1], "--words")) {
		list_words();
		return 0;
	}
	printf("KTAP version 1\n1..%zu\n",
	       ARRAY_SIZE(good) + ARRAY_SIZE(bad) + 4);
	for (i = 0; i < ARRAY_SIZE(good); i++)
		try_good(&good[i]);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		try_bad(&bad[i]);
	try_long_allow(XTUN_ALLOW_MAX, true);
	try_long_allow(1000, false);
	try_noise();
	try_help();
	return failed ? 1 : 0;
}
