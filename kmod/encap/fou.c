// SPDX-License-Identifier: GPL-2.0
/*
 * Straight in UDP: an IP packet (foo over UDP, which GUE calls its variant 1), or
 * a frame behind GRE's header (RFC 8086). The first four bits tell which: GRE
 * has its flags there, and those of RFC 2784 and 2890 make no IP version of it.
 */
#include <linux/if_ether.h>
#include <linux/in.h>

#include "../conf.h"
#include "../wire.h"

static int xtun_fou_parse(const u8 *hdr, unsigned int len,
			  u8 ipproto, struct xtun_hdr *h)
{
	if (xtun_ip_parse_version(hdr, len, h))
		return XTUN_OK;
	return xtun_gre_parse_bare(hdr, len, h);
}

static unsigned int xtun_fou_prepare(struct xtun_conf *conf, u8 *hdr)
{
	if (conf->p.payload == XTUN_PAYLOAD_IP)
		return 0;
	return xtun_gre_prepare_bare(hdr);
}

static const struct xtun_wire xtun_fou_wire = {
	.id = 5,
	.ipproto = IPPROTO_UDP,
	.hdr_max = XTUN_GRE_BARE_LEN,
	.transport = &xtun_udp_transport,
	.parse = xtun_fou_parse,
};

const struct xtun_encap_ops xtun_fou_ops = {
	.id = XTUN_ENCAP_FOU,
	.name = "fou",
	.wire = &xtun_fou_wire,
	.payloads = BIT(XTUN_PAYLOAD_IP) | BIT(XTUN_PAYLOAD_ETH),
	.payload = XTUN_PAYLOAD_IP,
	.lport = true,
	.flags = XTUN_CONF_FLAGS_NOUDPCSUM,
	.dport = {
		/* RFC 8086 section 8; IP packets have no port of their own. */
		[XTUN_PAYLOAD_ETH] = 4754,
	},
	.prepare = xtun_fou_prepare,
};
