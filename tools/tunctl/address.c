// SPDX-License-Identifier: GPL-2.0
/* IPv4 and IPv6 addresses. */
#include <arpa/inet.h>
#include <string.h>

#include "address.h"

/**
 * address_parse() - read an address that somebody has written
 * @addr: gets it
 * @text: what he has written
 *
 * Return: false if that is no address.
 */
bool address_parse(struct address *addr, const char *text)
{
	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET, text, addr->data) > 0)
		addr->family = AF_INET;
	else if (inet_pton(AF_INET6, text, addr->data) > 0)
		addr->family = AF_INET6;
	return addr->family;
}

/**
 * address_read() - read an address from an attribute of 4 or 16 bytes
 * @addr: gets it
 * @attr: the attribute, NULL for none
 *
 * Return: false if there is none.
 */
bool address_read(struct address *addr, const struct nlattr *attr)
{
	memset(addr, 0, sizeof(*addr));
	if (!attr)
		return false;
	if (xa_len(attr) == sizeof(struct in_addr))
		addr->family = AF_INET;
	else if (xa_len(attr) == sizeof(struct in6_addr))
		addr->family = AF_INET6;
	else
		return false;
	memcpy(addr->data, xa_data(attr), xa_len(attr));
	return true;
}

/**
 * address_len() - bytes of an address
 * @addr: the address
 *
 * Return: 4, 16, or 0 where there is none.
 */
size_t address_len(const struct address *addr)
{
	switch (addr->family) {
	case AF_INET:
		return sizeof(struct in_addr);
	case AF_INET6:
		return sizeof(struct in6_addr);
	default:
		return 0;
	}
}

/**
 * address_equal() - compare addresses
 * @one: an address
 * @other: another
 *
 * Return: whether both are the same.
 */
bool address_equal(const struct address *one, const struct address *other)
{
	return one->family == other->family &&
	       !memcmp(one->data, other->data, sizeof(one->data));
}

/**
 * address_within() - is an address in a network?
 * @addr: the address
 * @prefix: an address of the network
 * @bits: length of its prefix
 *
 * Return: whether it is.
 */
bool address_within(const struct address *addr, const struct address *prefix,
		    unsigned int bits)
{
	unsigned int whole = bits / 8;
	unsigned char mask = 0xff00 >> bits % 8;

	if (addr->family != prefix->family || bits > 8 * address_len(addr))
		return false;
	if (memcmp(addr->data, prefix->data, whole))
		return false;
	return !(bits % 8) ||
	       !((addr->data[whole] ^ prefix->data[whole]) & mask);
}

/**
 * address_text() - write an address
 * @addr: the address
 *
 * Return: its text.
 */
struct address_text address_text(const struct address *addr)
{
	struct address_text text = { "" };

	if (addr->family)
		inet_ntop(addr->family, addr->data, text.text,
			  sizeof(text.text));
	return text;
}
