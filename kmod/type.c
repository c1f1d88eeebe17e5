// SPDX-License-Identifier: GPL-2.0
/*
 * What payload ip carries beside IPv4 and IPv6: a few ethertypes whose receivers
 * expect no Ethernet header, where the encapsulation can name them. What else
 * comes is dropped: most of the kernel's receivers would read an Ethernet header
 * that is not there.
 */
#include <linux/if_ether.h>

#include "packet.h"
#include "wire.h"

/* RFC 2784 section 3 and RFC 1070: what ISO's network layer, IS-IS among it, has. */
#define XTUN_ETH_P_OSI		0x00fe
/* RFC 2332 section 5.1. */
#define XTUN_ETH_P_NHRP		0x2001

/**
 * xtun_type_carried() - does a tunnel carry packets that are not IP?
 * @ops: its encapsulation
 * @type: their ethertype, neither that of IPv4 nor that of IPv6
 *
 * Context: any.
 * Return: whether payload ip has them, both ways.
 */
bool xtun_type_carried(const struct xtun_encap_ops *ops, __be16 type)
{
	switch (type) {
	case htons(ETH_P_MPLS_UC):
		return ops->names != XTUN_NAMES_IP;
	case htons(ETH_P_MPLS_MC):
	case htons(XTUN_ETH_P_OSI):
	case htons(XTUN_ETH_P_NHRP):
		return ops->names == XTUN_NAMES_ETHERTYPES;
	default:
		return false;
	}
}
