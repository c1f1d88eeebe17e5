// SPDX-License-Identifier: GPL-2.0
/*
 * IP in ICMP or ICMPv6 echo: a header of our own behind the echo's, which tells
 * our packets from pings. Documentation/encapsulations.rst has the format.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/unaligned.h>
#include <net/ipv6.h>
#include <net/netlink.h>

#include "../conf.h"
#include "../device.h"
#include "../packet.h"
#include "../wire.h"

#define XTUN_ICMP_LEN		12

/* "xtun" */
#define XTUN_ICMP_MAGIC		0x7874756e
#define XTUN_ICMP_MAGIC_LEN	4
#define XTUN_ICMP_VERSION	1
/* Seventh and eighth byte: it was made by the end that sends requests. */
#define XTUN_ICMP_REQUEST	0x8000

/* What it is: no ping, which is for others; some have no data at all. */
static int xtun_icmp_check_magic(const u8 *hdr, unsigned int len,
				 struct xtun_hdr *h)
{
	u8 magic[XTUN_ICMP_MAGIC_LEN];

	put_unaligned_be32(XTUN_ICMP_MAGIC, magic);
	if (memcmp(hdr, magic, min_t(unsigned int, len, sizeof(magic))))
		return -ENOMSG;
	h->unsure = len < sizeof(magic);
	return len < XTUN_ICMP_LEN ? XTUN_RX_TRUNCATED : XTUN_OK;
}

static int xtun_icmp_parse(const u8 *hdr, unsigned int len,
			   u8 ipproto, struct xtun_hdr *h)
{
	int reason = xtun_icmp_check_magic(hdr, len, h);
	u16 flags;

	if (reason)
		return reason;
	if (hdr[4] != XTUN_ICMP_VERSION)
		return XTUN_RX_VERSION;
	h->len = XTUN_ICMP_LEN;
	h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_FULL,
					       get_unaligned_be32(hdr + 8) };
	h->payload = XTUN_PAYLOAD_IP;
	h->empty = hdr[5] == IPPROTO_NONE;
	h->proto = xtun_type_of_ipproto(hdr[5]);
	flags = get_unaligned_be16(hdr + 6);
	h->echo = flags & XTUN_ICMP_REQUEST ? XTUN_ECHO_REQUEST :
					      XTUN_ECHO_REPLY;
	return flags & ~XTUN_ICMP_REQUEST ? XTUN_RX_FLAGS : XTUN_OK;
}

static unsigned int xtun_icmp_prepare(struct xtun_conf *conf, u8 *hdr)
{
	const struct xtun_role *role = xtun_own(conf);

	put_unaligned_be32(XTUN_ICMP_MAGIC, hdr);
	hdr[4] = XTUN_ICMP_VERSION;
	if (role->echo == XTUN_ECHO_REQUEST)
		put_unaligned_be16(XTUN_ICMP_REQUEST, hdr + 6);
	put_unaligned_be32(conf->p.okey, hdr + 8);
	return XTUN_ICMP_LEN;
}

static void xtun_icmp_push(const struct xtun_cx *cx, u8 *hdr)
{
	if (cx->proto == htons(ETH_P_IP))
		hdr[5] = IPPROTO_IPIP;
	else if (cx->proto == htons(ETH_P_IPV6))
		hdr[5] = IPPROTO_IPV6;
	else
		hdr[5] = IPPROTO_NONE;
}

/* Replies go to where the last request has come from. */
static bool xtun_icmp_one_end(const struct xtun_conf *conf)
{
	const struct xtun_role *role = xtun_own(conf);

	return role->echo == XTUN_ECHO_REPLY;
}

/* ---- echo, keepalive ---- */

static void xtun_role_defaults(void *own)
{
	struct xtun_role *role = own;

	BUILD_BUG_ON(sizeof(*role) > XTUN_OWN_MAX);
	role->keepalive = XTUN_KEEPALIVE_DEFAULT;
}

static int xtun_role_check(struct nlattr **tb, const struct xtun_params *p,
			   struct xtun_role *role,
			   struct netlink_ext_ack *extack)
{
	if (!role->echo) {
		NL_SET_ERR_MSG(extack,
			       "echo: encapsulation icmp needs it, request or reply");
		return -EINVAL;
	}
	if (role->echo == XTUN_ECHO_REQUEST && xtun_addr_is_any(&p->remote)) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_REMOTE],
				    "remote: needed with echo request; give the peer's address");
		return -EDESTADDRREQ;
	}
	if (role->echo == XTUN_ECHO_REQUEST)
		return 0;
	if (tb[XTUN_A_CONF_KEEPALIVE]) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_KEEPALIVE],
				    "keepalive: only with echo request");
		return -EINVAL;
	}
	role->keepalive = XTUN_KEEPALIVE_DEFAULT;
	return 0;
}

static int xtun_role_take(struct nlattr **tb, struct xtun_params *p,
			  struct netlink_ext_ack *extack)
{
	struct xtun_role *role = (struct xtun_role *)p->own;

	if (tb[XTUN_A_CONF_ECHO])
		role->echo = nla_get_u32(tb[XTUN_A_CONF_ECHO]);
	if (tb[XTUN_A_CONF_KEEPALIVE])
		role->keepalive = nla_get_u16(tb[XTUN_A_CONF_KEEPALIVE]);
	return xtun_role_check(tb, p, role, extack);
}

static int xtun_role_put(struct sk_buff *skb, const struct xtun_params *p,
			 u8 sight)
{
	const struct xtun_role *role = (const struct xtun_role *)p->own;

	if (nla_put_u32(skb, XTUN_A_CONF_ECHO, role->echo))
		return -EMSGSIZE;
	if (role->echo != XTUN_ECHO_REQUEST)
		return 0;
	return nla_put_u16(skb, XTUN_A_CONF_KEEPALIVE, role->keepalive);
}

static const struct xtun_words xtun_role_words = {
	.words = {
		{ XTUN_A_CONF_ECHO, "echo" },
		{ XTUN_A_CONF_KEEPALIVE, "keepalive" },
	},
	.defaults = xtun_role_defaults,
	.take = xtun_role_take,
	.put = xtun_role_put,
};

static const struct xtun_wire xtun_icmp_wire = {
	.id = 7,
	.ipproto = IPPROTO_ICMP,
	.ipprotos = { IPPROTO_ICMP, IPPROTO_ICMPV6 },
	.hdr_max = XTUN_ICMP_LEN,
	.transport = &xtun_echo_transport,
	.parse = xtun_icmp_parse,
};

const struct xtun_encap_ops xtun_icmp_ops = {
	.id = XTUN_ENCAP_ICMP,
	.name = "icmp",
	.wire = &xtun_icmp_wire,
	.payloads = BIT(XTUN_PAYLOAD_IP),
	.payload = XTUN_PAYLOAD_IP,
	.keying = XTUN_KEY_FULL,
	.key_max = U32_MAX,
	.key_needed = true,
	.words = &xtun_role_words,
	.prepare = xtun_icmp_prepare,
	.push = xtun_icmp_push,
	.one_end = xtun_icmp_one_end,
};
