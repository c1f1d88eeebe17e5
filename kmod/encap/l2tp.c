// SPDX-License-Identifier: GPL-2.0
/*
 * Data messages of L2TPv3 (RFC 3931), over UDP and straight over IP. What the
 * two have in common begins with the session id. Control messages, L2TPv2, and
 * sessions that no tunnel has are for whoever else listens.
 *
 * How long cookie and sublayer are, and what is behind them, both ends have been
 * told; the header does not say.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/unaligned.h>
#include <net/netlink.h>

#include "../conf.h"
#include "../notify.h"
#include "../wire.h"

/* Over UDP, bits 0 to 15; the other 16 are reserved and ignored. */
#define XTUN_L2TP_CONTROL	0x8000
#define XTUN_L2TP_VERSION	0x000f
#define XTUN_L2TP_V3		3

#define XTUN_L2TP_FLAGS_LEN	4
#define XTUN_L2TP_SESSION_LEN	4
#define XTUN_L2TP_L2SPEC_LEN	4
/* Of an IP packet, the byte that has its version. */
#define XTUN_L2TP_LOOK_LEN	1

/* RFC 3931 section 4.1. */
#define XTUN_L2TP_COOKIE_MAX	8
#define XTUN_L2TP_CONF_MAX	(XTUN_L2TP_COOKIE_MAX + XTUN_L2TP_L2SPEC_LEN + \
				 XTUN_L2TP_LOOK_LEN)

/* Over IP the control connection has session 0. */
static int xtun_l2tp_parse_ip(const u8 *hdr, unsigned int len,
			      u8 ipproto, struct xtun_hdr *h)
{
	u32 session;

	if (len < XTUN_L2TP_SESSION_LEN)
		return XTUN_RX_TRUNCATED;
	session = get_unaligned_be32(hdr);
	if (!session)
		return -ENOMSG;
	h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_FULL, session };
	h->len = XTUN_L2TP_SESSION_LEN;
	return XTUN_OK;
}

/* Section 4.1.2.1: of the first 16 bits, those without a name are ignored. */
static int xtun_l2tp_parse(const u8 *hdr, unsigned int len,
			   u8 ipproto, struct xtun_hdr *h)
{
	int reason;
	u16 flags;

	/* The port is not ours alone: what shows no session is not known to be. */
	h->unsure = len < XTUN_L2TP_FLAGS_LEN + XTUN_L2TP_SESSION_LEN;
	if (len < sizeof(flags))
		return XTUN_RX_TRUNCATED;
	flags = get_unaligned_be16(hdr);
	if (flags & XTUN_L2TP_CONTROL ||
	    (flags & XTUN_L2TP_VERSION) != XTUN_L2TP_V3)
		return -ENOMSG;
	if (len < XTUN_L2TP_FLAGS_LEN)
		return XTUN_RX_TRUNCATED;
	reason = xtun_l2tp_parse_ip(hdr + XTUN_L2TP_FLAGS_LEN,
				    len - XTUN_L2TP_FLAGS_LEN, ipproto, h);
	h->len += XTUN_L2TP_FLAGS_LEN;
	return reason;
}

/**
 * struct xtun_cookie - bytes that show a packet to be of its tunnel
 * @len: how many, 0 for none
 * @data: the bytes as on the wire, and zeros
 */
struct xtun_cookie {
	u8 len;
	u8 data[XTUN_L2TP_COOKIE_MAX];
};

/**
 * struct xtun_l2tp_own - what users of L2TPv3 say beyond others
 * @icookie: cookie of received packets
 * @ocookie: cookie of sent packets
 * @l2spec: enum xtun_l2spec
 */
struct xtun_l2tp_own {
	struct xtun_cookie icookie;
	struct xtun_cookie ocookie;
	u8 l2spec;
};

/* Nothing is made of the sublayer: it could have a sequence number. */
static int xtun_l2tp_parse_conf(const struct xtun_conf *conf,
				const u8 *hdr, unsigned int len,
				bool sent, struct xtun_hdr *h)
{
	const struct xtun_l2tp_own *own = xtun_own(conf);
	const struct xtun_cookie *cookie = sent ? &own->ocookie : &own->icookie;
	unsigned int at = h->len;

	h->payload = conf->p.payload;
	h->len += cookie->len;
	if (own->l2spec == XTUN_L2SPEC_DEFAULT)
		h->len += XTUN_L2TP_L2SPEC_LEN;
	if (len < at + cookie->len)
		return XTUN_RX_TRUNCATED;
	if (memcmp(hdr + at, cookie->data, cookie->len))
		return sent ? -ENOMSG : XTUN_RX_COOKIE;
	if (len < h->len)
		return XTUN_RX_TRUNCATED;
	if (conf->p.payload == XTUN_PAYLOAD_ETH) {
		h->proto = htons(ETH_P_TEB);
		return XTUN_OK;
	}
	/* A packet straight behind the header; what is none is told by no ethertype. */
	if (len == h->len)
		return XTUN_RX_INNER_MALFORMED;
	h->proto = xtun_ip_of_version(hdr[h->len]);
	return XTUN_OK;
}

static unsigned int xtun_l2tp_prepare_ip(struct xtun_conf *conf, u8 *hdr)
{
	const struct xtun_l2tp_own *own = xtun_own(conf);
	unsigned int len = XTUN_L2TP_SESSION_LEN;

	put_unaligned_be32(conf->p.okey, hdr);
	memcpy(hdr + len, own->ocookie.data, own->ocookie.len);
	len += own->ocookie.len;
	if (own->l2spec == XTUN_L2SPEC_DEFAULT)
		len += XTUN_L2TP_L2SPEC_LEN;
	return len;
}

static unsigned int xtun_l2tp_prepare(struct xtun_conf *conf, u8 *hdr)
{
	put_unaligned_be16(XTUN_L2TP_V3, hdr);
	return XTUN_L2TP_FLAGS_LEN +
	       xtun_l2tp_prepare_ip(conf, hdr + XTUN_L2TP_FLAGS_LEN);
}

static const struct xtun_wire xtun_l2tp_wire = {
	.id = 8,
	.ipproto = IPPROTO_UDP,
	.hdr_max = XTUN_L2TP_FLAGS_LEN + XTUN_L2TP_SESSION_LEN +
		   XTUN_L2TP_CONF_MAX,
	.pair = true,
	.shared = true,
	.transport = &xtun_udp_transport,
	.parse = xtun_l2tp_parse,
	.parse_conf = xtun_l2tp_parse_conf,
};

static const struct xtun_wire xtun_l2tp_ip_wire = {
	.id = 9,
	.ipproto = IPPROTO_L2TP,
	.hdr_max = XTUN_L2TP_SESSION_LEN + XTUN_L2TP_CONF_MAX,
	.transport = &xtun_hook_transport,
	.parse = xtun_l2tp_parse_ip,
	.parse_conf = xtun_l2tp_parse_conf,
};

/* ---- cookies, l2spec ---- */

static void xtun_l2tp_defaults(void *data)
{
	struct xtun_l2tp_own *own = data;

	BUILD_BUG_ON(sizeof(*own) > XTUN_OWN_MAX);
	own->l2spec = XTUN_L2SPEC_DEFAULT;
}

static int xtun_l2tp_take_cookie(const struct nlattr *attr, const char *word,
				 struct xtun_cookie *cookie,
				 struct netlink_ext_ack *extack)
{
	int len;

	if (!attr)
		return 0;

	len = nla_len(attr);
	if (len && len != 4 && len != XTUN_L2TP_COOKIE_MAX) {
		NL_SET_BAD_ATTR(extack, attr);
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: a cookie has 4 or 8 bytes, not %d",
				   word, len);
		return -EINVAL;
	}
	memset(cookie, 0, sizeof(*cookie));
	cookie->len = len;
	memcpy(cookie->data, nla_data(attr), len);
	return 0;
}

static int xtun_l2tp_take(struct nlattr **tb, struct xtun_params *p,
			  struct netlink_ext_ack *extack)
{
	struct xtun_l2tp_own *own = (struct xtun_l2tp_own *)p->own;
	int err;

	if (tb[XTUN_A_CONF_L2SPEC])
		own->l2spec = nla_get_u32(tb[XTUN_A_CONF_L2SPEC]);
	err = xtun_l2tp_take_cookie(tb[XTUN_A_CONF_ICOOKIE], "icookie",
				    &own->icookie, extack);
	if (err)
		return err;
	return xtun_l2tp_take_cookie(tb[XTUN_A_CONF_OCOOKIE], "ocookie",
				     &own->ocookie, extack);
}

static int xtun_l2tp_put_cookie(struct sk_buff *skb, int attr,
				const struct xtun_cookie *cookie)
{
	return cookie->len ? nla_put(skb, attr, cookie->len, cookie->data) : 0;
}

/* That there are cookies is told to all: who makes the tunnel again has to know. */
static int xtun_l2tp_put(struct sk_buff *skb, const struct xtun_params *p,
			 u8 sight)
{
	const struct xtun_l2tp_own *own = (const struct xtun_l2tp_own *)p->own;

	if (!(sight & XTUN_SEES_SECRETS)) {
		if ((own->icookie.len || own->ocookie.len) &&
		    nla_put_flag(skb, XTUN_A_CONF_HIDDEN))
			return -EMSGSIZE;
	} else if (xtun_l2tp_put_cookie(skb, XTUN_A_CONF_ICOOKIE,
					&own->icookie) ||
		   xtun_l2tp_put_cookie(skb, XTUN_A_CONF_OCOOKIE,
					&own->ocookie)) {
		return -EMSGSIZE;
	}
	return nla_put_u32(skb, XTUN_A_CONF_L2SPEC, own->l2spec);
}

static const struct xtun_words xtun_l2tp_words = {
	.words = {
		{ XTUN_A_CONF_ICOOKIE, "icookie" },
		{ XTUN_A_CONF_OCOOKIE, "ocookie" },
		{ XTUN_A_CONF_L2SPEC, "l2spec" },
	},
	.defaults = xtun_l2tp_defaults,
	.take = xtun_l2tp_take,
	.put = xtun_l2tp_put,
};

/* What a session is, however it is carried. */
#define XTUN_L2TP_SESSION						\
	.payloads = BIT(XTUN_PAYLOAD_ETH) | BIT(XTUN_PAYLOAD_IP),	\
	.payload = XTUN_PAYLOAD_ETH,					\
	.keying = XTUN_KEY_FULL,					\
	.key_min = 1,							\
	.key_max = U32_MAX,						\
	.key_needed = true,						\
	.words = &xtun_l2tp_words

const struct xtun_encap_ops xtun_l2tp_ops = {
	.id = XTUN_ENCAP_L2TP,
	.name = "l2tp",
	.wire = &xtun_l2tp_wire,
	XTUN_L2TP_SESSION,
	.flags = XTUN_CONF_FLAGS_NOUDPCSUM,
	.dport = {
		[XTUN_PAYLOAD_ETH] = 1701,
		[XTUN_PAYLOAD_IP] = 1701,
	},
	.prepare = xtun_l2tp_prepare,
};

const struct xtun_encap_ops xtun_l2tp_ip_ops = {
	.id = XTUN_ENCAP_L2TP_IP,
	.name = "l2tp-ip",
	.wire = &xtun_l2tp_ip_wire,
	XTUN_L2TP_SESSION,
	.prepare = xtun_l2tp_prepare_ip,
};
