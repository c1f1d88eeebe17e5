// SPDX-License-Identifier: GPL-2.0
/*
 * IP in IP: 4in4 (RFC 2003), 6in4 (RFC 4213), 4in6 and 6in6 (RFC 2473). There
 * is no header between the two IP headers; the outer one's protocol number
 * tells what is inside.
 */
#include <linux/if_ether.h>
#include <linux/in.h>

#include "../xtun.h"

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

static void xtun_ip_prepare(struct xtun_conf *conf)
{
	conf->gso_type = conf->p.family == AF_INET ? SKB_GSO_IPXIP4 :
						     SKB_GSO_IPXIP6;
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
	.prepare = xtun_ip_prepare,
};
