// SPDX-License-Identifier: GPL-2.0
/* tunctl: tunnels of kind xtun, made, shown and watched. */
#include <getopt.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tunctl.h"

static const struct command {
	const char *name;
	int (*run)(const struct options *opt, int argc, char **argv);
} commands[] = {
	{ "add", cmd_add },
	{ "set", cmd_set },
	{ "del", cmd_del },
	{ "show", cmd_show },
	{ "stats", cmd_stats },
	{ "path", cmd_path },
	{ "explain", cmd_explain },
	{ "monitor", cmd_monitor },
	{ "help", cmd_help },
	{ "complete", cmd_complete },
};

static const struct option long_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "pretty", no_argument, NULL, 'p' },
	{ "details", no_argument, NULL, 'd' },
	{ "all", no_argument, NULL, 'd' },
	{ "netns", required_argument, NULL, 'n' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ }
};

/**
 * usage_error() - say what is wrong with the arguments
 * @fmt: format of it
 *
 * Return: the exit code for it.
 */
int usage_error(const char *fmt, ...)
{
	va_list ap;

	fputs("tunctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_USAGE;
}

/**
 * word_error() - say what is wrong with a word of the grammar
 * @error: what the grammar found
 *
 * Return: the exit code for it.
 */
int word_error(const struct xg_error *error)
{
	return usage_error("\"%s\": %s", error->arg, error->msg);
}

/**
 * is_ifname() - tell whether a device may have a name
 * @name: the name
 *
 * Return: true if its length is that of a name; the rest the kernel says.
 */
bool is_ifname(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len < IF_NAMESIZE;
}

/**
 * commands_list() - print the names of the commands that users type, a line each
 */
void commands_list(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (commands[i].run != cmd_complete)
			puts(commands[i].name);
	}
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static int run(const struct options *opt, int argc, char **argv)
{
	const struct command *command;

	if (!argc)
		return cmd_show(opt, 0, argv);
	command = find_command(argv[0]);
	if (!command)
		return usage_error("\"%s\": no such command; try \"tunctl help\"",
				   argv[0]);
	return command->run(opt, argc - 1, argv + 1);
}

/* Output that was lost is not output */
static int finish(int code)
{
	if (!fflush(stdout) && !ferror(stdout))
		return code;
	perror("tunctl: output");
	/* Nobody has heard the cause either */
	return code && code != EXIT_CAUSE ? code : EXIT_NOTALK;
}

int main(int argc, char **argv)
{
	struct options opt = { };
	int c, err;

	while ((c = getopt_long(argc, argv, "jpdan:Vh", long_options,
				NULL)) != -1) {
		switch (c) {
		case 'p':
			opt.pretty = true;
			fallthrough;
		case 'j':
			opt.json = true;
			break;
		case 'a':
		case 'd':
			opt.details = true;
			break;
		case 'n':
			err = netns_enter(optarg);
			if (err)
				return err;
			break;
		case 'V':
			puts("tunctl " XTUN_VERSION);
			return finish(EXIT_DONE);
		case 'h':
			return finish(cmd_help(&opt, 0, NULL));
		default:
			return EXIT_USAGE;
		}
	}
	return finish(run(&opt, argc - optind, argv + optind));
}
