// SPDX-License-Identifier: GPL-2.0
/*
 * Geneve (RFC 8926), without options of our own: those that come are passed over
 * unless they are critical.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/unaligned.h>
#include <net/udp_tunnel.h>

#include "../conf.h"
#include "../packet.h"
#include "../wire.h"

#define XTUN_GENEVE_LEN		8
#define XTUN_GENEVE_OPT_LEN	4
#define XTUN_GENEVE_VNI_MAX	0xffffff

/* First byte: version, and options in units of 4 bytes. */
#define XTUN_GENEVE_VERSION	0xc0
#define XTUN_GENEVE_OPTS	0x3f
/* Second byte. The rest of it is reserved and ignored (section 3.4). */
#define XTUN_GENEVE_CONTROL	0x80
#define XTUN_GENEVE_CRITICAL	0x40
/* An option's type, and its length in units of 4 bytes behind its header. */
#define XTUN_GENEVE_OPT_CRITICAL 0x80
#define XTUN_GENEVE_OPT_UNITS	0x1f

/*
 * Section 3.5: who does not know a critical option drops the packet, and who
 * finds options that do not fill their room as well. The header's flag says
 * that there may be one; an option's own counts.
 */
static int xtun_geneve_options(const u8 *opt, unsigned int len)
{
	unsigned int size;

	while (len) {
		if (opt[2] & XTUN_GENEVE_OPT_CRITICAL)
			return XTUN_RX_OPTION;
		size = XTUN_GENEVE_OPT_LEN +
		       (opt[3] & XTUN_GENEVE_OPT_UNITS) * 4;
		if (size > len)
			return XTUN_RX_OPTION;
		opt += size;
		len -= size;
	}
	return XTUN_OK;
}

static int xtun_geneve_parse(const u8 *hdr, unsigned int len,
			     u8 ipproto, struct xtun_hdr *h)
{
	int reason;

	if (len < XTUN_GENEVE_LEN)
		return XTUN_RX_TRUNCATED;
	h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_FULL,
					       get_unaligned_be24(hdr + 4) };
	h->proto = get_unaligned((__be16 *)(hdr + 2));
	h->payload = h->proto == htons(ETH_P_TEB) ? XTUN_PAYLOAD_ETH :
						    XTUN_PAYLOAD_IP;
	h->len = XTUN_GENEVE_LEN + (hdr[0] & XTUN_GENEVE_OPTS) * 4;

	if (hdr[0] & XTUN_GENEVE_VERSION)
		return XTUN_RX_VERSION;
	if (len < h->len)
		return XTUN_RX_TRUNCATED;
	reason = xtun_geneve_options(hdr + XTUN_GENEVE_LEN,
				     h->len - XTUN_GENEVE_LEN);
	if (reason)
		return reason;
	/* A control packet carries no packet of the virtual network. */
	return hdr[1] & XTUN_GENEVE_CONTROL ? XTUN_RX_CONTROL : XTUN_OK;
}

static unsigned int xtun_geneve_prepare(struct xtun_conf *conf, u8 *hdr)
{
	put_unaligned_be24(conf->p.okey, hdr + 4);
	return XTUN_GENEVE_LEN;
}

static void xtun_geneve_push(const struct xtun_cx *cx, u8 *hdr)
{
	*(__be16 *)(hdr + 2) = xtun_type_named(cx);
}

static const struct xtun_wire xtun_geneve_wire = {
	.id = 4,
	.ipproto = IPPROTO_UDP,
	.hdr_max = XTUN_GENEVE_LEN,
	.nic = {
		[XTUN_PAYLOAD_ETH] = UDP_TUNNEL_TYPE_GENEVE,
		[XTUN_PAYLOAD_IP] = UDP_TUNNEL_TYPE_GENEVE,
	},
	.transport = &xtun_udp_transport,
	.parse = xtun_geneve_parse,
};

const struct xtun_encap_ops xtun_geneve_ops = {
	.id = XTUN_ENCAP_GENEVE,
	.name = "geneve",
	.wire = &xtun_geneve_wire,
	.payloads = BIT(XTUN_PAYLOAD_ETH) | BIT(XTUN_PAYLOAD_IP),
	.payload = XTUN_PAYLOAD_ETH,
	.names = XTUN_NAMES_ETHERTYPES,
	.keying = XTUN_KEY_FULL,
	.key_max = XTUN_GENEVE_VNI_MAX,
	.key_needed = true,
	.flags = XTUN_CONF_FLAGS_NOUDPCSUM,
	.dport = {
		[XTUN_PAYLOAD_ETH] = 6081,
		[XTUN_PAYLOAD_IP] = 6081,
	},
	.prepare = xtun_geneve_prepare,
	.push = xtun_geneve_push,
};
