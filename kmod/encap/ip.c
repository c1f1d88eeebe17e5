// SPDX-License-Identifier: GPL-2.0
/*
 * IP in IP: 4in4 (RFC 2003), 6in4 (RFC 4213), 4in6 and 6in6 (RFC 2473); and MPLS
 * in IP (RFC 4023). There is no header between the outer IP header and what is
 * inside; its protocol number tells what that is.
 */
#include <linux/if_ether.h>
#include <linux/in.h>

#include "../conf.h"
#include "../packet.h"
#include "../wire.h"

/**
 * xtun_ip_of_version() - which ethertype a packet has that starts like this
 * @first: its first byte
 *
 * Context: any.
 * Return: the ethertype, or 0 when it is no IP packet.
 */
__be16 xtun_ip_of_version(u8 first)
{
	switch (first >> 4) {
	case 4:
		return htons(ETH_P_IP);
	case 6:
		return htons(ETH_P_IPV6);
	}
	return 0;
}

/**
 * xtun_ip_found() - say of a packet what no header says
 * @h: gets it
 * @proto: its ethertype, or 0 when that is not known
 *
 * Context: any.
 */
void xtun_ip_found(struct xtun_hdr *h, __be16 proto)
{
	h->ids[0].keying = XTUN_KEY_NONE;
	h->n_ids = 1;
	h->payload = XTUN_PAYLOAD_IP;
	h->proto = proto;
}

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
	__be16 proto = len ? xtun_ip_of_version(*data) : 0;

	if (!proto)
		return false;
	xtun_ip_found(h, proto);
	return true;
}

static int xtun_ip_parse(const u8 *hdr, unsigned int len,
			 u8 ipproto, struct xtun_hdr *h)
{
	xtun_ip_found(h, xtun_type_of_ipproto(ipproto));
	return XTUN_OK;
}

static unsigned int xtun_ip_prepare(struct xtun_conf *conf, u8 *hdr)
{
	conf->gso_type = conf->p.family == AF_INET ? SKB_GSO_IPXIP4 :
						     SKB_GSO_IPXIP6;
	conf->flows = true;
	return 0;
}

static const struct xtun_wire xtun_ip_wire = {
	.id = 1,
	.ipprotos = { IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_MPLS },
	.transport = &xtun_ipproto_transport,
	.parse = xtun_ip_parse,
};

const struct xtun_encap_ops xtun_ip_ops = {
	.id = XTUN_ENCAP_IP,
	.name = "ip",
	.wire = &xtun_ip_wire,
	.payloads = BIT(XTUN_PAYLOAD_IP),
	.payload = XTUN_PAYLOAD_IP,
	.names = XTUN_NAMES_MPLS,
	.prepare = xtun_ip_prepare,
};
