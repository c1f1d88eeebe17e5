// SPDX-License-Identifier: GPL-2.0
/* tunctl complete: what may come next, a line each, for the completion of shells. */
#include <dirent.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "tunctl.h"

/**
 * struct typed - what is on the command line so far
 * @settled: what its words have settled, see xg_settles()
 * @encap: bit of its encapsulation, all bits while there is none
 * @netns: a netns was named
 * @value_of: the word whose value comes next, or NULL
 * @netns_next: it is a netns that comes next
 */
struct typed {
	__u64 settled;
	__u32 encap;
	bool netns;
	const struct xg_word *value_of;
	bool netns_next;
};

static void note_encap(struct typed *typed, const struct xg_word *word,
		       const char *value)
{
	const struct xg_name *encap;

	if (word->attr != XTUN_A_CONF_ENCAP)
		return;
	encap = xg_find_value(word, value);
	if (encap)
		typed->encap = XG_ENCAP(encap->value);
}

static void read_typed(struct typed *typed, int argc, char **argv)
{
	const struct xg_word *word;

	for (; argc > 0; argc--, argv++) {
		word = xg_find(argv[0]);
		if (!strcmp(argv[0], "netns")) {
			typed->netns = true;
			typed->netns_next = argc == 1;
			argc--, argv++;
		} else if (word) {
			typed->settled |= xg_settles(word);
			if (!xg_takes_value(word))
				continue;
			if (argc == 1)
				typed->value_of = word;
			else
				note_encap(typed, word, argv[1]);
			argc--, argv++;
		}
	}
}

static void offer_links(void)
{
	struct if_nameindex *links = if_nameindex(), *link;

	for (link = links; link && link->if_index; link++)
		puts(link->if_name);
	if (links)
		if_freenameindex(links);
}

static void offer_netns(void)
{
	DIR *dir = opendir(NETNS_RUN_DIR);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			puts(entry->d_name);
	}
	if (dir)
		closedir(dir);
}

static void offer_values(const struct xg_word *word)
{
	const struct xg_name *name;

	for (name = word->names; name && name->name; name++)
		puts(name->name);
	if (word->type == XG_LINK)
		offer_links();
}

static void offer_words(const struct typed *typed)
{
	const struct xg_word *word;

	for (word = xg_words; word->name; word++) {
		if (typed->settled & xg_settles(word))
			continue;
		if (!word->encaps || word->encaps & typed->encap)
			puts(word->name);
	}
}

/**
 * cmd_complete() - say what may come next on a command line
 * @opt: options
 * @argc: number of arguments
 * @argv: nothing for the commands, or "add" or "set" and what stands behind the
 *	device's name; anything else for all words
 *
 * Return: an exit code.
 */
int cmd_complete(const struct options *opt __maybe_unused, int argc, char **argv)
{
	struct typed typed = { .encap = ~0U };
	bool add;

	if (!argc) {
		commands_list();
		return EXIT_DONE;
	}
	add = !strcmp(argv[0], "add");
	read_typed(&typed, argc - 1, argv + 1);
	if (typed.netns_next) {
		offer_netns();
	} else if (typed.value_of) {
		offer_values(typed.value_of);
	} else {
		if (add && !typed.netns)
			puts("netns");
		offer_words(&typed);
	}
	return EXIT_DONE;
}
