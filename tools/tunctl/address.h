/* SPDX-License-Identifier: GPL-2.0 */
/* IPv4 and IPv6 addresses. */
#ifndef XTUN_TOOLS_ADDRESS_H
#define XTUN_TOOLS_ADDRESS_H

#include <netinet/in.h>

#include "attr.h"

#define ADDRESS_MAX	sizeof(struct in6_addr)

/**
 * struct address - an address
 * @family: AF_INET, AF_INET6, or 0 where there is none
 * @data: its bytes, zero beyond its length
 */
struct address {
	int family;
	unsigned char data[ADDRESS_MAX];
};

/**
 * struct address_text - an address as people write it
 * @text: the text, empty where there is none
 */
struct address_text {
	char text[INET6_ADDRSTRLEN];
};

bool address_parse(struct address *addr, const char *text);
bool address_read(struct address *addr, const struct nlattr *attr);
bool address_equal(const struct address *one, const struct address *other);
bool address_within(const struct address *addr, const struct address *prefix,
		    unsigned int bits);
size_t address_len(const struct address *addr);
struct address_text address_text(const struct address *addr);

#endif
