// SPDX-License-Identifier: GPL-2.0
/*
 * VXLAN (RFC 7348) for frames; VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe) for IP
 * packets, which says what is inside. Both share a port: a flag tells.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/unaligned.h>
#include <net/udp_tunnel.h>

#include "../conf.h"
#include "../packet.h"
#include "../wire.h"

#define XTUN_VXLAN_LEN		8
#define XTUN_VXLAN_VNI_MAX	0xffffff

/* First byte. */
#define XTUN_VXLAN_VNI		0x08
/* Group policy (draft-smith-vxlan-group-policy): has a field of its own. */
#define XTUN_VXLAN_GROUP	0x80
/* GPE: a next protocol, and a version. */
#define XTUN_VXLAN_NEXT		0x04
#define XTUN_VXLAN_VERSION	0x30
/* GPE: the frame went to many. */
#define XTUN_VXLAN_BUM		0x02

enum xtun_vxlan_next {
	XTUN_VXLAN_NEXT_IPV4 = 1,
	XTUN_VXLAN_NEXT_IPV6 = 2,
	XTUN_VXLAN_NEXT_ETH = 3,
	XTUN_VXLAN_NEXT_MPLS = 5,
};

/* GPE section 3.1: one bit of the first byte has no meaning, nor two others. */
static int xtun_vxlan_check_gpe(const u8 *hdr)
{
	if (hdr[0] & XTUN_VXLAN_VERSION)
		return XTUN_RX_VERSION;
	if (hdr[0] & ~(XTUN_VXLAN_VNI | XTUN_VXLAN_NEXT | XTUN_VXLAN_BUM))
		return XTUN_RX_FLAGS;
	return hdr[1] || hdr[2] ? XTUN_RX_FLAGS : XTUN_OK;
}

static int xtun_vxlan_check(const u8 *hdr)
{
	if (hdr[0] & ~(XTUN_VXLAN_VNI | XTUN_VXLAN_GROUP))
		return XTUN_RX_FLAGS;
	/* What belongs to the group is ignored with it. */
	if (!(hdr[0] & XTUN_VXLAN_GROUP) && (hdr[1] || hdr[2] || hdr[3]))
		return XTUN_RX_FLAGS;
	return XTUN_OK;
}

static void xtun_vxlan_read_next(u8 next, struct xtun_hdr *h)
{
	h->payload = XTUN_PAYLOAD_IP;
	if (next == XTUN_VXLAN_NEXT_ETH)
		h->payload = XTUN_PAYLOAD_ETH;
	else if (next == XTUN_VXLAN_NEXT_IPV4)
		h->proto = htons(ETH_P_IP);
	else if (next == XTUN_VXLAN_NEXT_IPV6)
		h->proto = htons(ETH_P_IPV6);
	else if (next == XTUN_VXLAN_NEXT_MPLS)
		h->proto = htons(ETH_P_MPLS_UC);
}

static int xtun_vxlan_parse(const u8 *hdr, unsigned int len,
			    u8 ipproto, struct xtun_hdr *h)
{
	bool gpe;

	if (len < XTUN_VXLAN_LEN)
		return XTUN_RX_TRUNCATED;
	gpe = hdr[0] & XTUN_VXLAN_NEXT;
	if (gpe)
		xtun_vxlan_read_next(hdr[3], h);
	else
		h->payload = XTUN_PAYLOAD_ETH;
	if (h->payload == XTUN_PAYLOAD_ETH)
		h->proto = htons(ETH_P_TEB);
	h->len = XTUN_VXLAN_LEN;

	if (!(hdr[0] & XTUN_VXLAN_VNI))
		return XTUN_RX_FLAGS;
	h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_FULL,
					       get_unaligned_be24(hdr + 4) };
	return gpe ? xtun_vxlan_check_gpe(hdr) : xtun_vxlan_check(hdr);
}

static unsigned int xtun_vxlan_prepare(struct xtun_conf *conf, u8 *hdr)
{
	hdr[0] = XTUN_VXLAN_VNI;
	if (conf->p.payload == XTUN_PAYLOAD_IP)
		hdr[0] |= XTUN_VXLAN_NEXT;
	put_unaligned_be24(conf->p.okey, hdr + 4);
	return XTUN_VXLAN_LEN;
}

static u8 xtun_vxlan_next(__be16 type)
{
	switch (type) {
	case htons(ETH_P_IP):
		return XTUN_VXLAN_NEXT_IPV4;
	case htons(ETH_P_MPLS_UC):
		return XTUN_VXLAN_NEXT_MPLS;
	default:
		return XTUN_VXLAN_NEXT_IPV6;
	}
}

static void xtun_vxlan_push(const struct xtun_cx *cx, u8 *hdr)
{
	if (cx->conf->p.payload == XTUN_PAYLOAD_IP)
		hdr[3] = xtun_vxlan_next(cx->skb->protocol);
}

static const struct xtun_wire xtun_vxlan_wire = {
	.id = 3,
	.ipproto = IPPROTO_UDP,
	.hdr_max = XTUN_VXLAN_LEN,
	.nic = {
		[XTUN_PAYLOAD_ETH] = UDP_TUNNEL_TYPE_VXLAN,
		[XTUN_PAYLOAD_IP] = UDP_TUNNEL_TYPE_VXLAN_GPE,
	},
	.transport = &xtun_udp_transport,
	.parse = xtun_vxlan_parse,
};

const struct xtun_encap_ops xtun_vxlan_ops = {
	.id = XTUN_ENCAP_VXLAN,
	.name = "vxlan",
	.wire = &xtun_vxlan_wire,
	.payloads = BIT(XTUN_PAYLOAD_ETH) | BIT(XTUN_PAYLOAD_IP),
	.payload = XTUN_PAYLOAD_ETH,
	.names = XTUN_NAMES_MPLS,
	.keying = XTUN_KEY_FULL,
	.key_max = XTUN_VXLAN_VNI_MAX,
	.key_needed = true,
	.flags = XTUN_CONF_FLAGS_NOUDPCSUM,
	.dport = {
		[XTUN_PAYLOAD_ETH] = 4789,
		[XTUN_PAYLOAD_IP] = 4790,
	},
	.prepare = xtun_vxlan_prepare,
	.push = xtun_vxlan_push,
};
