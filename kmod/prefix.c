// SPDX-License-Identifier: GPL-2.0
/*
 * Prefixes of IPv4 and IPv6, that an inner source has to be in (allow).
 */
#include <linux/inetdevice.h>
#include <net/ipv6.h>

#include "conf.h"

/**
 * xtun_prefix_fill() - make a prefix
 * @prefix: gets it
 * @family: AF_INET or AF_INET6
 * @addr: an address that is in it
 * @len: its length in bits, in range
 *
 * Context: any.
 */
void xtun_prefix_fill(struct xtun_prefix *prefix, u8 family,
		      const union nf_inet_addr *addr, u8 len)
{
	*prefix = (struct xtun_prefix) { .family = family, .len = len };
	if (family == AF_INET) {
		prefix->mask.ip = inet_make_mask(len);
		prefix->addr.ip = addr->ip & prefix->mask.ip;
	} else {
		struct in6_addr ones;

		memset(&ones, 0xff, sizeof(ones));
		ipv6_addr_prefix(&prefix->mask.in6, &ones, len);
		ipv6_addr_prefix(&prefix->addr.in6, &addr->in6, len);
	}
}

/**
 * xtun_prefix_has() - is an address in a prefix?
 * @prefix: the prefix
 * @family: AF_INET or AF_INET6, of the address
 * @addr: the address, of which so much is read as its family has
 *
 * Context: any.
 * Return: whether it is.
 */
bool xtun_prefix_has(const struct xtun_prefix *prefix, u8 family,
		     const union nf_inet_addr *addr)
{
	if (prefix->family != family)
		return false;
	if (family == AF_INET)
		return (addr->ip & prefix->mask.ip) == prefix->addr.ip;
	return !ipv6_masked_addr_cmp(&addr->in6, &prefix->mask.in6,
				     &prefix->addr.in6);
}
