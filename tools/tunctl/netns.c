// SPDX-License-Identifier: GPL-2.0
/* Network namespaces, named as ip(8) names them. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tunctl.h"

static int open_path(const char *fmt, const char *name)
{
	char path[4096];

	if (snprintf(path, sizeof(path), fmt, name) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, O_RDONLY | O_CLOEXEC);
}

/**
 * netns_open() - open a netns
 * @name: its name in /run/netns, the id of a process in it, or a path
 *
 * Return: a file descriptor, or -1 with errno set.
 */
int netns_open(const char *name)
{
	int fd;

	if (strchr(name, '/'))
		return open_path("%s", name);
	fd = open_path(NETNS_RUN_DIR "/%s", name);
	if (fd < 0 && errno == ENOENT && name[0] &&
	    !name[strspn(name, "0123456789")])
		fd = open_path("/proc/%s/ns/net", name);
	return fd;
}

/**
 * netns_enter() - go on in another netns
 * @name: as for netns_open()
 *
 * Return: 0, or an exit code after saying why not.
 */
int netns_enter(const char *name)
{
	int fd = netns_open(name), err;

	if (fd < 0)
		return usage_error("netns \"%s\": %s", name, strerror(errno));
	err = setns(fd, CLONE_NEWNET) ? errno : 0;
	close(fd);
	if (!err)
		return 0;
	usage_error("netns \"%s\": %s", name, strerror(err));
	return EXIT_NOTALK;
}
