// SPDX-License-Identifier: GPL-2.0
/*
 * Generic UDP Encapsulation (draft-ietf-intarea-gue), without extensions: a
 * header that says which IP protocol follows. Frames are behind GRE's header, as
 * GUE has no number for them. What comes in variant 1, without a header, is taken
 * as well.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/unaligned.h>

#include "../conf.h"
#include "../packet.h"
#include "../wire.h"

#define XTUN_GUE_LEN		4

/* First byte: variant, control, length of the rest in units of 4 bytes. */
#define XTUN_GUE_VARIANT	0xc0
#define XTUN_GUE_CONTROL	0x20
#define XTUN_GUE_HLEN		0x1f
/* Third and fourth byte. */
#define XTUN_GUE_PRIVATE	0x0001
#define XTUN_GUE_PRIVATE_LEN	4

/*
 * A field that is not known may change what the rest means: packets with a flag
 * that stands for one are dropped. Private flags are of the same kind; bytes
 * that no flag speaks of may follow them.
 */
static int xtun_gue_check(const u8 *hdr, unsigned int fields)
{
	u16 flags = get_unaligned_be16(hdr + 2);

	if (flags & ~XTUN_GUE_PRIVATE)
		return XTUN_RX_FLAGS;
	if (!flags)
		return XTUN_OK;
	if (fields < XTUN_GUE_PRIVATE_LEN)
		return XTUN_RX_TRUNCATED;
	return get_unaligned_be32(hdr + XTUN_GUE_LEN) ? XTUN_RX_FLAGS : XTUN_OK;
}

/* What follows, an IP protocol, @skip bytes behind the beginning. */
static int xtun_gue_read_next(const u8 *hdr, unsigned int len,
			      unsigned int skip,
			      struct xtun_hdr *h)
{
	h->len = skip;
	if (hdr[1] == IPPROTO_GRE)
		return xtun_gre_parse_bare(hdr + skip, len - skip, h);

	xtun_ip_found(h, xtun_type_of_ipproto(hdr[1]));
	return XTUN_OK;
}

static int xtun_gue_parse(const u8 *hdr, unsigned int len,
			  u8 ipproto, struct xtun_hdr *h)
{
	int reason;
	unsigned int fields;

	if (xtun_ip_parse_version(hdr, len, h))
		return XTUN_OK;
	if (len < XTUN_GUE_LEN)
		return XTUN_RX_TRUNCATED;
	if (hdr[0] & XTUN_GUE_VARIANT)
		return XTUN_RX_VERSION;

	fields = (hdr[0] & XTUN_GUE_HLEN) * 4;
	h->len = XTUN_GUE_LEN + fields;
	if (hdr[1] == IPPROTO_GRE)
		h->len += XTUN_GRE_BARE_LEN;
	if (len < h->len)
		return XTUN_RX_TRUNCATED;
	reason = hdr[0] & XTUN_GUE_CONTROL ? XTUN_RX_CONTROL :
					     xtun_gue_check(hdr, fields);
	if (reason)
		return reason;

	return xtun_gue_read_next(hdr, len, XTUN_GUE_LEN + fields, h);
}

static unsigned int xtun_gue_prepare(struct xtun_conf *conf, u8 *hdr)
{
	if (conf->p.payload == XTUN_PAYLOAD_IP)
		return XTUN_GUE_LEN;
	hdr[1] = IPPROTO_GRE;
	return XTUN_GUE_LEN + xtun_gre_prepare_bare(hdr + XTUN_GUE_LEN);
}

static void xtun_gue_push(const struct xtun_cx *cx, u8 *hdr)
{
	if (cx->conf->p.payload == XTUN_PAYLOAD_IP)
		hdr[1] = xtun_type_to_ipproto(cx->skb->protocol);
}

static const struct xtun_wire xtun_gue_wire = {
	.id = 6,
	.ipproto = IPPROTO_UDP,
	.hdr_max = XTUN_GUE_LEN + XTUN_GRE_BARE_LEN,
	.transport = &xtun_udp_transport,
	.parse = xtun_gue_parse,
};

const struct xtun_encap_ops xtun_gue_ops = {
	.id = XTUN_ENCAP_GUE,
	.name = "gue",
	.wire = &xtun_gue_wire,
	.payloads = BIT(XTUN_PAYLOAD_IP) | BIT(XTUN_PAYLOAD_ETH),
	.payload = XTUN_PAYLOAD_IP,
	.names = XTUN_NAMES_MPLS,
	.lport = true,
	.flags = XTUN_CONF_FLAGS_NOUDPCSUM,
	.dport = {
		[XTUN_PAYLOAD_IP] = 6080,
		[XTUN_PAYLOAD_ETH] = 6080,
	},
	.prepare = xtun_gue_prepare,
	.push = xtun_gue_push,
};
