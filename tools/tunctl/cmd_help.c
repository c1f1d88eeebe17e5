// SPDX-License-Identifier: GPL-2.0
/* tunctl help. */
#include <stdio.h>
#include <string.h>

#include "tunctl.h"

/* Words that only a command has lead to it: @words, in blanks. */
static const struct topic {
	const char *name;
	const char *words;
	const char *usage;
	const char *text;
} topics[] = {
	{
		"add", " netns ", "add NAME [ netns NETNS ] [ WORD... ]",
		"Makes a tunnel. Outer packets travel through the netns that tunctl is in;\n"
		"the device itself is made in NETNS, a name or the id of a process, if given.\n"
		"With -d or -j what was made is printed.\n",
	}, {
		"set", "", "set NAME WORD...",
		"Changes a tunnel: all that is told or, after an error, nothing.\n"
		"What is not told stays as it is.\n",
	}, {
		"del", "", "del NAME",
		"Deletes a tunnel.\n",
	}, {
		"show", "", "show [ NAME ]",
		"Prints a line for each tunnel: what \"tunctl add\" takes to make it again.\n"
		"With -d also what has come of it: the MTU in force, the bytes added to a\n"
		"packet, the id of the underlay's netns if that is another one.\n",
	}, {
		"stats", "", "stats [ NAME ]",
		"Prints counters: packets and bytes, and packets dropped by reason.\n"
		"Reasons that never occurred only with -d (--all) or in JSON.\n",
	}, {
		"path", "", "path [ NAME ]",
		"Prints what is known of the path to each peer: the outer route, the path MTU,\n"
		"who told it and until when it holds, the errors that came from the path.\n",
	}, {
		"explain", " vrf oif ", "explain ADDR [ vrf NAME | oif NAME ]",
		"Says why packets to ADDR do not get through. The first line names the cause,\n"
		"or tells that nothing is known to be wrong; then comes what it is taken from:\n"
		"route, tunnel, path and counters. What happened in the last\n"
		"minute counts, until a packet comes from the peer; what kept packets from\n"
		"leaving, until others have left and it is 5 seconds ago.\n"
		"vrf and oif are those of \"ip route get\": whose routes, out of which device.\n"
		"Ends with 4 when something is wrong.\n",
	}, {
		"monitor", "", "monitor",
		"Prints a line for each tunnel that is made (new), changes (set) or goes\n"
		"(del), for each ICMP error of the underlay that was believed (error), and each\n"
		"path MTU that it has lowered (path), until it is interrupted or nobody reads it\n"
		"any more.\n",
	}, {
		"help", "", "help [ COMMAND | WORD ]",
		"Prints this, or more about a command or a word.\n",
	},
};

static void help_all(void)
{
	const struct xg_word *word;
	char line[XG_LINE_MAX];
	size_t i;

	puts("Usage: tunctl [ OPTION... ] COMMAND [ ARGUMENT... ]\n\nCommands:");
	for (i = 0; i < ARRAY_SIZE(topics); i++)
		printf("  %s\n", topics[i].usage);
	puts("\nOptions, anywhere:\n"
	     "  -n, --netns NETNS   act in that netns\n"
	     "  -j, --json          print JSON\n"
	     "  -p, --pretty        print JSON in lines\n"
	     "  -d, --details       print more; -a, --all is the same\n"
	     "  -V, --version       print the version\n"
	     "  -h, --help          print this\n\n"
	     "Words (in parentheses what holds without them):");
	for (word = xg_words; word->name; word++) {
		xg_help_line(word, line, sizeof(line));
		printf("  %s\n", line);
	}
	puts("\nIt ends with 0 when all is done, 1 when the arguments are wrong (nothing was\n"
	     "sent), 2 when the kernel refuses, 3 when there is no talking to the kernel, 4\n"
	     "when explain has found something wrong.\n"
	     "See tunctl(8).");
}

static void help_word(const struct xg_word *word)
{
	char buf[XG_LINE_MAX];

	xg_usage(word, buf, sizeof(buf));
	puts(buf);
	printf("    %s\n", word->help);
	xg_takes(word, buf, sizeof(buf));
	printf("    takes %s\n", buf);
	xg_default(word, buf, sizeof(buf));
	if (buf[0])
		printf("    without it: %s\n", buf);
	xg_encaps(word, buf, sizeof(buf));
	if (buf[0])
		printf("    with encap %s\n", buf);
}

static bool is_about(const struct topic *topic, const char *word)
{
	char blanks[XG_LINE_MAX];

	snprintf(blanks, sizeof(blanks), " %s ", word);
	return !strcmp(topic->name, word) || strstr(topic->words, blanks);
}

/**
 * cmd_help() - teach
 * @opt: options
 * @argc: number of arguments
 * @argv: [ COMMAND | WORD ]
 *
 * Return: an exit code.
 */
int cmd_help(const struct options *opt, int argc, char **argv)
{
	const struct xg_word *word;
	size_t i;

	(void)opt;
	if (argc < 1) {
		help_all();
		return EXIT_DONE;
	}
	for (i = 0; i < ARRAY_SIZE(topics); i++) {
		if (is_about(&topics[i], argv[0])) {
			printf("tunctl %s\n%s", topics[i].usage,
			       topics[i].text);
			return EXIT_DONE;
		}
	}
	word = xg_find(argv[0]);
	if (!word)
		return usage_error("\"%s\": neither a command nor a word",
				   argv[0]);
	help_word(word);
	return EXIT_DONE;
}
