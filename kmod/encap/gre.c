// SPDX-License-Identifier: GPL-2.0
/*
 * GRE (RFC 2784) with key and sequence number (RFC 2890), and NVGRE (RFC 7637),
 * which splits the key into a virtual subnet id and a flow id.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/unaligned.h>
#include <net/gre.h>
#include <net/gso.h>

#include "../conf.h"
#include "../device.h"
#include "../packet.h"
#include "../wire.h"

/* Bits 0 to 15 of the header, in host order. */
#define XTUN_GRE_CSUM		0x8000
#define XTUN_GRE_ROUTING	0x4000
#define XTUN_GRE_KEY		0x2000
#define XTUN_GRE_SEQ		0x1000
/* RFC 2784 section 2.3: discard unless RFC 1701 is spoken. */
#define XTUN_GRE_RFC1701	0x0c00
#define XTUN_GRE_VERSION	0x0007
/* RFC 2637: enhanced GRE, another protocol under the same number. */
#define XTUN_GRE_PPTP		1

#define XTUN_GRE_FIELD_LEN	4

#define XTUN_NVGRE_VSID_SHIFT	8
/* RFC 7637 section 3.2: those below are reserved. */
#define XTUN_NVGRE_VSID_MIN	0x1000
#define XTUN_NVGRE_VSID_MAX	0xffffff

static bool xtun_gre_for_others(u16 flags, __be16 proto)
{
	if ((flags & XTUN_GRE_VERSION) == XTUN_GRE_PPTP)
		return true;
	return proto == htons(ETH_P_ERSPAN) || proto == htons(ETH_P_ERSPAN2);
}

static int xtun_gre_check_flags(u16 flags)
{
	if (flags & XTUN_GRE_VERSION)
		return XTUN_RX_VERSION;
	if (flags & XTUN_GRE_ROUTING)
		return XTUN_RX_ROUTING;
	return XTUN_OK;
}

static void xtun_gre_read_key(u32 key, u16 flags, struct xtun_hdr *h)
{
	h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_FULL, key };
	/* RFC 7637 section 3.2: neither checksum nor sequence number. */
	if (h->payload == XTUN_PAYLOAD_ETH &&
	    !(flags & (XTUN_GRE_CSUM | XTUN_GRE_SEQ)))
		h->ids[h->n_ids++] = (struct xtun_id){
			XTUN_KEY_VSID, key >> XTUN_NVGRE_VSID_SHIFT };
}

/*
 * Web caches are sent packets by routers (draft-wilson-wrec-wccp-v2 section 4.12.1):
 * an IPv4 packet, in version 2 behind 4 bytes of its own. Nothing is sent so.
 */
static int xtun_gre_read_wccp(const u8 *hdr, unsigned int len,
			      struct xtun_hdr *h)
{
	h->proto = htons(ETH_P_IP);
	if (len <= h->len)
		return XTUN_RX_TRUNCATED;
	if (hdr[h->len] >> 4 != 4)
		h->len += XTUN_GRE_FIELD_LEN;
	return len < h->len ? XTUN_RX_TRUNCATED : XTUN_OK;
}

static int xtun_gre_parse(const u8 *hdr, unsigned int len,
			  u8 ipproto, struct xtun_hdr *h)
{
	unsigned int at = XTUN_GRE_BARE_LEN;
	int reason;
	u16 flags;

	if (len < XTUN_GRE_BARE_LEN)
		return XTUN_RX_TRUNCATED;

	flags = get_unaligned_be16(hdr);
	h->proto = get_unaligned((__be16 *)(hdr + 2));
	if (xtun_gre_for_others(flags, h->proto))
		return -ENOMSG;
	reason = xtun_gre_check_flags(flags);
	if (reason)
		return reason;

	h->payload = h->proto == htons(ETH_P_TEB) ? XTUN_PAYLOAD_ETH :
						    XTUN_PAYLOAD_IP;
	h->has_csum = flags & XTUN_GRE_CSUM;
	h->has_seq = flags & XTUN_GRE_SEQ;

	if (h->has_csum)
		at += XTUN_GRE_FIELD_LEN;
	if (flags & XTUN_GRE_KEY) {
		if (len < at + XTUN_GRE_FIELD_LEN)
			return XTUN_RX_TRUNCATED;
		xtun_gre_read_key(get_unaligned_be32(hdr + at), flags, h);
		at += XTUN_GRE_FIELD_LEN;
	} else {
		h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_NONE, 0 };
	}
	if (h->has_seq) {
		if (len < at + XTUN_GRE_FIELD_LEN)
			return XTUN_RX_TRUNCATED;
		h->seq = get_unaligned_be32(hdr + at);
		at += XTUN_GRE_FIELD_LEN;
	}
	h->len = at;
	if (len < at)
		return XTUN_RX_TRUNCATED;
	if (!flags && h->proto == htons(ETH_P_WCCP))
		return xtun_gre_read_wccp(hdr, len, h);
	/* Only now: under another key they may mean something to others. */
	return flags & XTUN_GRE_RFC1701 ? XTUN_RX_FLAGS : XTUN_OK;
}

/**
 * xtun_gre_parse_bare() - read a GRE header that another encapsulation carries
 * @hdr: the header
 * @len: bytes that are there
 * @h: gets it, and its length added
 *
 * What names the network or protects the packet is the other's: a GRE header
 * that has such fields is refused (RFC 8086 section 3 has them optional).
 *
 * Context: any.
 * Return: XTUN_OK, or why the packet has to be dropped.
 */
int xtun_gre_parse_bare(const u8 *hdr, unsigned int len,
			struct xtun_hdr *h)
{
	u16 flags;

	h->len += XTUN_GRE_BARE_LEN;
	if (len < XTUN_GRE_BARE_LEN)
		return XTUN_RX_TRUNCATED;
	h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_NONE, 0 };
	flags = get_unaligned_be16(hdr);
	h->proto = get_unaligned((__be16 *)(hdr + 2));
	h->payload = h->proto == htons(ETH_P_TEB) ? XTUN_PAYLOAD_ETH :
						    XTUN_PAYLOAD_IP;
	if (flags & XTUN_GRE_VERSION)
		return XTUN_RX_VERSION;
	return flags & (XTUN_GRE_CSUM | XTUN_GRE_ROUTING | XTUN_GRE_KEY |
			XTUN_GRE_SEQ | XTUN_GRE_RFC1701) ? XTUN_RX_FLAGS :
							   XTUN_OK;
}

/**
 * xtun_gre_prepare_bare() - write the GRE header of a frame
 * @hdr: where
 *
 * Context: any.
 * Return: how many bytes it has.
 */
unsigned int xtun_gre_prepare_bare(u8 *hdr)
{
	put_unaligned_be16(ETH_P_TEB, hdr + 2);
	return XTUN_GRE_BARE_LEN;
}

/* RFC 2784 section 2.5: over header and payload, with no pseudo-header. */
static bool xtun_gre_csum_ok(struct sk_buff *skb)
{
	if (skb_checksum_simple_validate(skb))
		return false;
	skb_checksum_try_convert(skb, IPPROTO_GRE, null_compute_pseudo);
	return true;
}

static unsigned int xtun_gre_prepare(struct xtun_conf *conf, u8 *hdr)
{
	const struct xtun_params *p = &conf->p;
	u8 *at = hdr + XTUN_GRE_BARE_LEN;
	u16 flags = 0;

	if (p->flags & XTUN_CONF_FLAGS_OCSUM) {
		flags |= XTUN_GRE_CSUM;
		at += XTUN_GRE_FIELD_LEN;
	}
	if (p->has_okey) {
		flags |= XTUN_GRE_KEY;
		conf->flows = p->encap == XTUN_ENCAP_NVGRE;
		conf->uli.gre_key = htonl(conf->flows ?
					  p->okey << XTUN_NVGRE_VSID_SHIFT :
					  p->okey);
		put_unaligned(conf->uli.gre_key, (__be32 *)at);
		at += XTUN_GRE_FIELD_LEN;
	}
	if (p->flags & XTUN_CONF_FLAGS_OSEQ) {
		flags |= XTUN_GRE_SEQ;
		at += XTUN_GRE_FIELD_LEN;
	}
	put_unaligned_be16(flags, hdr);

	/* Each segment needs a number of its own. */
	if (flags & XTUN_GRE_SEQ)
		conf->gso_type = 0;
	else
		conf->gso_type = flags & XTUN_GRE_CSUM ? SKB_GSO_GRE_CSUM :
							 SKB_GSO_GRE;
	return at - hdr;
}

/* With segmentation ahead, the checksum is made for each segment then. */
static void xtun_gre_push_csum(struct sk_buff *skb, u8 *hdr)
{
	__sum16 *csum = (__sum16 *)(hdr + XTUN_GRE_BARE_LEN);

	if (skb_is_gso(skb))
		return;
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		*csum = csum_fold(lco_csum(skb));
		return;
	}
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_transport_header(skb) - skb->head;
	skb->csum_offset = XTUN_GRE_BARE_LEN;
}

static void xtun_gre_push(const struct xtun_cx *cx, u8 *hdr)
{
	const struct xtun_conf *conf = cx->conf;
	__be16 proto = xtun_type_named(cx);

	*(__be16 *)(hdr + 2) = proto;
	skb_set_inner_protocol(cx->skb, proto);

	if (conf->p.flags & XTUN_CONF_FLAGS_OSEQ)
		put_unaligned_be32(atomic_fetch_inc(&conf->tun->oseq),
				   hdr + conf->encap_len - XTUN_GRE_FIELD_LEN);
	if (conf->p.flags & XTUN_CONF_FLAGS_OCSUM)
		xtun_gre_push_csum(cx->skb, hdr);
}

/* RFC 7637 section 3.2: the flow id lets the underlay spread flows. */
static u8 xtun_nvgre_flow_id(const struct xtun_cx *cx)
{
	return cx->tag.flow;
}

static void xtun_nvgre_flow(const struct xtun_cx *cx, union flowi_uli *uli)
{
	uli->gre_key |= htonl(xtun_nvgre_flow_id(cx));
}

static void xtun_nvgre_push(const struct xtun_cx *cx, u8 *hdr)
{
	xtun_gre_push(cx, hdr);
	hdr[cx->conf->encap_len - 1] = xtun_nvgre_flow_id(cx);
}

static const struct xtun_wire xtun_gre_wire = {
	.id = 2,
	.ipproto = IPPROTO_GRE,
	.hdr_max = XTUN_GRE_BARE_LEN + 3 * XTUN_GRE_FIELD_LEN,
	.transport = &xtun_hook_transport,
	.parse = xtun_gre_parse,
	.csum_ok = xtun_gre_csum_ok,
};

const struct xtun_encap_ops xtun_gre_ops = {
	.id = XTUN_ENCAP_GRE,
	.name = "gre",
	.wire = &xtun_gre_wire,
	.payloads = BIT(XTUN_PAYLOAD_IP) | BIT(XTUN_PAYLOAD_ETH),
	.payload = XTUN_PAYLOAD_IP,
	.names = XTUN_NAMES_ETHERTYPES,
	.keying = XTUN_KEY_FULL,
	.key_max = U32_MAX,
	.flags = XTUN_CONF_FLAGS_ICSUM | XTUN_CONF_FLAGS_OCSUM |
		 XTUN_CONF_FLAGS_ISEQ | XTUN_CONF_FLAGS_OSEQ,
	.prepare = xtun_gre_prepare,
	.push = xtun_gre_push,
};

const struct xtun_encap_ops xtun_nvgre_ops = {
	.id = XTUN_ENCAP_NVGRE,
	.name = "nvgre",
	.wire = &xtun_gre_wire,
	.payloads = BIT(XTUN_PAYLOAD_ETH),
	.payload = XTUN_PAYLOAD_ETH,
	.keying = XTUN_KEY_VSID,
	.key_min = XTUN_NVGRE_VSID_MIN,
	.key_max = XTUN_NVGRE_VSID_MAX,
	.key_needed = true,
	.prepare = xtun_gre_prepare,
	.flow = xtun_nvgre_flow,
	.push = xtun_nvgre_push,
};
