// SPDX-License-Identifier: GPL-2.0
/*
 * IP in IP: 4in4 (RFC 2003), 6in4 (RFC 4213), 4in6 and 6in6 (RFC 2473). There
 * is no header between the two IP headers; the outer one's protocol number
 * tells what is inside.
 */
#include <linux/if_ether.h>
#include <linux/in.h>

#include "../xtun.h"

/**
 * xtun_ip_parse_version() - read which IP packet follows with no header before it
 * @data: its beginning
 * @len: bytes that are there
 * @h: gets what a header would say
 *
 * Context: any.
 * Return: false when it is none.
 */
bool xtun_ip_parse_version(const u8 *data, unsigned int len, struct xtun_hdr *h)
{
	u8 version = len ? data[0] >> 4 : 0;

	if (version != 4 && version != 6)
		return false;
	h->ids[0].keying = XTUN_KEY_NONE;
	h->n_ids = 1;
	h->payload = XTUN_PAYLOAD_IP;
	h->proto = version == 4 ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	return true;
}

static enum xtun_reason xtun_ip_parse(const u8 *hdr, unsigned int len,
				      u8 ipproto, struct xtun_hdr *h)
{
	h->ids[0].keying = XTUN_KEY_NONE;
	h->n_ids = 1;
	h->payload = XTUN_PAYLOAD_IP;
	h->proto = ipproto == IPPROTO_IPIP ? htons(ETH_P_IP) :
					     htons(ETH_P_IPV6);
	return XTUN_OK;
}

static unsigned int xtun_ip_prepare(struct xtun_conf *conf, u8 *hdr)
{
	conf->gso_type = conf->p.family == AF_INET ? SKB_GSO_IPXIP4 :
						     SKB_GSO_IPXIP6;
	return 0;
}

const struct xtun_wire xtun_ip_wire = {
	.id = 1,
	.carrier = &xtun_ipproto_carrier,
	.parse = xtun_ip_parse,
};

const struct xtun_encap_ops xtun_ip_ops = {
	.name = "ip",
	.wire = &xtun_ip_wire,
	.payloads = BIT(XTUN_PAYLOAD_IP),
	.payload = XTUN_PAYLOAD_IP,
	.prepare = xtun_ip_prepare,
};
