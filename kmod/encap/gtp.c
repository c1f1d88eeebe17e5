// SPDX-License-Identifier: GPL-2.0
/*
 * GTP-U version 1 (3GPP TS 29.281), which carries users' packets between the
 * nodes of a mobile network, with the PDU session container of 5G (TS 38.415).
 * A tunnel has a number (TEID) for each direction, that who receives chooses.
 * Nodes ask each other whether they are there, and tell each other of packets
 * that they have no tunnel for, or do not understand: the port is answered on, as
 * long as a tunnel has it.
 */
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/netlink.h>

#include "../conf.h"
#include "../device.h"
#include "../packet.h"
#include "../wire.h"

#define XTUN_GTP_LEN		8
/* With sequence number, N-PDU number and type of the next header. */
#define XTUN_GTP_LONG_LEN	12
#define XTUN_GTP_EXT_LEN	4

/* First byte. A version 1 that is not GTP is GTP', for charging. */
#define XTUN_GTP_VERSION	0xe0
#define XTUN_GTP_V1		0x20
#define XTUN_GTP_GTP		0x10
/* Any of these: the fields of all three are there. */
#define XTUN_GTP_NEXT		0x04
#define XTUN_GTP_SEQ		0x02
#define XTUN_GTP_NPDU		0x01

/* Second byte, section 6.1. */
enum xtun_gtp_type {
	XTUN_GTP_ECHO_REQUEST = 1,
	XTUN_GTP_ECHO_RESPONSE = 2,
	XTUN_GTP_ERROR_INDICATION = 26,
	XTUN_GTP_SUPPORTED_HEADERS = 31,
	XTUN_GTP_PDU = 255,
};

/* Section 5.2.1: who does not know such a header drops the packet. */
#define XTUN_GTP_EXT_REQUIRED	0x80
#define XTUN_GTP_EXT_PDU_SESSION 0x85
/* To read one more is one more pass; user packets have one or two. */
#define XTUN_GTP_EXTS_MAX	8

/* TS 38.415 section 5.5.2: type of the PDU, then the flow's class. */
#define XTUN_GTP_PDU_UPLINK	0x10

/* Section 8.1: those below 128 have a length that goes without saying. */
enum xtun_gtp_ie {
	XTUN_GTP_IE_RECOVERY = 14,
	XTUN_GTP_IE_TEID = 16,
	XTUN_GTP_IE_VARIABLE = 128,
	XTUN_GTP_IE_PEER_ADDRESS = 133,
	XTUN_GTP_IE_HEADER_TYPES = 141,
};

/* As much of a message is looked at: what it has to hold, and more. */
#define XTUN_GTP_MESSAGE_MAX	256

/* Is a header of this type a reason to drop the packet? */
static bool xtun_gtp_not_understood(u8 type)
{
	return type & XTUN_GTP_EXT_REQUIRED && type != XTUN_GTP_EXT_PDU_SESSION;
}

/*
 * Extension headers tell their length in units of 4 bytes, and which is next in
 * their last byte. What those and the optional fields say is not needed here.
 * When one is a reason to drop the packet, the byte before @h->len is its type.
 */
static int xtun_gtp_skip(const u8 *hdr, unsigned int len,
			 struct xtun_hdr *h)
{
	unsigned int at, size, n = 0;
	u8 next;

	h->len = XTUN_GTP_LONG_LEN;
	if (len < h->len)
		return XTUN_RX_TRUNCATED;
	next = hdr[0] & XTUN_GTP_NEXT ? hdr[h->len - 1] : 0;
	while (next) {
		if (n++ == XTUN_GTP_EXTS_MAX || xtun_gtp_not_understood(next))
			return XTUN_RX_OPTION;
		at = h->len;
		h->len += XTUN_GTP_EXT_LEN;
		if (len < h->len)
			return XTUN_RX_TRUNCATED;
		size = hdr[at] * 4;
		h->len = at + size;
		if (!size)
			return XTUN_RX_OPTION;
		if (len < h->len)
			return XTUN_RX_TRUNCATED;
		next = hdr[h->len - 1];
	}
	return XTUN_OK;
}

/* Nothing says what is inside but the packet itself. */
static int xtun_gtp_read_payload(const u8 *hdr, unsigned int len,
				 struct xtun_hdr *h)
{
	if (h->end <= h->len)
		return h->end < h->len ? XTUN_RX_TRUNCATED :
					 XTUN_RX_INNER_MALFORMED;
	if (len <= h->len) {
		h->len++;
		return XTUN_RX_TRUNCATED;
	}
	h->proto = xtun_ip_of_version(hdr[h->len]);
	return XTUN_OK;
}

static int xtun_gtp_parse(const u8 *hdr, unsigned int len,
			  u8 ipproto, struct xtun_hdr *h)
{
	int reason;

	if (len < XTUN_GTP_LEN)
		return XTUN_RX_TRUNCATED;
	if ((hdr[0] & (XTUN_GTP_VERSION | XTUN_GTP_GTP)) !=
	    (XTUN_GTP_V1 | XTUN_GTP_GTP))
		return XTUN_RX_VERSION;
	h->ids[h->n_ids++] = (struct xtun_id){ XTUN_KEY_FULL,
					       get_unaligned_be32(hdr + 4) };
	h->payload = XTUN_PAYLOAD_IP;
	h->len = XTUN_GTP_LEN;
	h->end = XTUN_GTP_LEN + get_unaligned_be16(hdr + 2);
	if (hdr[1] != XTUN_GTP_PDU)
		return XTUN_RX_CONTROL;

	if (hdr[0] & (XTUN_GTP_NEXT | XTUN_GTP_SEQ | XTUN_GTP_NPDU)) {
		reason = xtun_gtp_skip(hdr, len, h);
		if (reason)
			return reason;
	}
	return xtun_gtp_read_payload(hdr, len, h);
}

/* ---- messages of the port ---- */

/* Section 5.1: those between nodes have a sequence number and no tunnel. */
static bool xtun_gtp_between_nodes(const u8 *msg, unsigned int len)
{
	return len >= XTUN_GTP_LONG_LEN && msg[0] & XTUN_GTP_SEQ &&
	       !get_unaligned_be32(msg + 4);
}

static u8 *xtun_gtp_put_header(struct xtun_stray *s, enum xtun_gtp_type type)
{
	memset(s->answer, 0, XTUN_GTP_LONG_LEN);
	s->answer[0] = XTUN_GTP_V1 | XTUN_GTP_GTP | XTUN_GTP_SEQ;
	s->answer[1] = type;
	return s->answer + XTUN_GTP_LONG_LEN;
}

static void xtun_gtp_put_end(struct xtun_stray *s, const u8 *end)
{
	s->answer_len = end - s->answer;
	put_unaligned_be16(s->answer_len - XTUN_GTP_LEN, s->answer + 2);
}

/*
 * Sections 7.2.2 and 8.2: the counter of restarts has no use, and is 0. Like a
 * ping's, the answer is about as long as what was asked, and is not limited.
 */
static void xtun_gtp_echo(struct xtun_stray *s, const u8 *msg)
{
	u8 *at = xtun_gtp_put_header(s, XTUN_GTP_ECHO_RESPONSE);

	memcpy(s->answer + XTUN_GTP_LEN, msg + XTUN_GTP_LEN, sizeof(u16));
	*at++ = XTUN_GTP_IE_RECOVERY;
	*at++ = 0;
	xtun_gtp_put_end(s, at);
}

/*
 * Section 7.3.1: a packet for no tunnel, unless it is of none (TEID 0), is told
 * to who has sent it, at the port of the protocol (section 4.4.2.4).
 */
static void xtun_gtp_unknown_teid(struct xtun_stray *s)
{
	unsigned int size = s->match.family == AF_INET ?
			    sizeof(struct in_addr) : sizeof(struct in6_addr);
	u32 teid = s->h.ids[0].key;
	const struct xtun_conf *conf;
	u8 *at;

	if (!teid || s->h.end > s->skb->len)
		return;
	/* The tunnel is there, but has another remote end, or should come another
	 * way, or is down: its peer, which would give it up for good, is not told.
	 */
	conf = xtun_lookup_key(&s->match, &s->h);
	if (conf) {
		if (conf->tun->dev->flags & IFF_UP)
			xtun_count(conf->tun, XTUN_RX_OTHER_PEER);
		return;
	}

	at = xtun_gtp_put_header(s, XTUN_GTP_ERROR_INDICATION);
	*at++ = XTUN_GTP_IE_TEID;
	put_unaligned_be32(teid, at);
	at += sizeof(teid);
	*at++ = XTUN_GTP_IE_PEER_ADDRESS;
	put_unaligned_be16(size, at);
	at += sizeof(u16);
	memcpy(at, &s->match.local, size);
	xtun_gtp_put_end(s, at + size);
	s->port = s->match.port;
	s->limited = true;
}

/*
 * Sections 5.2.1 and 7.2.3: who sends a header that has to be understood, and is
 * not, is told which ones are; at the port of the protocol, too (section
 * 4.4.2.5). One that is broken, or one too many, says nothing of that.
 */
static void xtun_gtp_unknown_header(struct xtun_stray *s)
{
	u8 *at;

	if (s->h.end > s->skb->len || !pskb_may_pull(s->skb, s->h.len) ||
	    !xtun_gtp_not_understood(s->skb->data[s->h.len - 1]))
		return;
	at = xtun_gtp_put_header(s, XTUN_GTP_SUPPORTED_HEADERS);
	*at++ = XTUN_GTP_IE_HEADER_TYPES;
	/* One byte for the length: that is how many there are. */
	*at++ = 1;
	*at++ = XTUN_GTP_EXT_PDU_SESSION;
	xtun_gtp_put_end(s, at);
	s->port = s->match.port;
	s->limited = true;
}

/* What an error indication is about: a tunnel's end, by number and address. */
struct xtun_gtp_end {
	u32 teid;
	const u8 *addr;
	unsigned int addr_len;
};

/* Bytes of the value of the element at @ie; -1 for what cannot be skipped. */
static int xtun_gtp_ie_len(const u8 *ie, unsigned int len)
{
	if (ie[0] == XTUN_GTP_IE_RECOVERY)
		return sizeof(u8);
	if (ie[0] == XTUN_GTP_IE_TEID)
		return sizeof(u32);
	if (ie[0] < XTUN_GTP_IE_VARIABLE || len < 1 + sizeof(u16))
		return -1;
	return get_unaligned_be16(ie + 1);
}

/* Both elements are mandatory. */
static bool xtun_gtp_read_end(const u8 *ie, unsigned int len,
			      struct xtun_gtp_end *end)
{
	memset(end, 0, sizeof(*end));
	while (len) {
		unsigned int head = ie[0] < XTUN_GTP_IE_VARIABLE ? 1 : 3;
		int size = xtun_gtp_ie_len(ie, len);

		if (size < 0 || head + size > len)
			break;
		if (ie[0] == XTUN_GTP_IE_TEID) {
			end->teid = get_unaligned_be32(ie + head);
		} else if (ie[0] == XTUN_GTP_IE_PEER_ADDRESS) {
			end->addr = ie + head;
			end->addr_len = size;
		}
		ie += head + size;
		len -= head + size;
	}
	return end->teid && end->addr;
}

/* The peer does not have the tunnel that our packets name: it speaks of itself. */
static void xtun_gtp_error_indication(struct xtun_stray *s, const u8 *msg,
				      unsigned int len)
{
	unsigned int size = s->match.family == AF_INET ?
			    sizeof(struct in_addr) : sizeof(struct in6_addr);
	struct xtun_hdr h = { .payload = XTUN_PAYLOAD_IP, .n_ids = 1 };
	struct xtun_hdr head = {};
	struct xtun_gtp_end end;

	if (xtun_gtp_skip(msg, len, &head) ||
	    !xtun_gtp_read_end(msg + head.len, len - head.len, &end) ||
	    end.addr_len != size || memcmp(end.addr, &s->match.remote, size))
		return;
	h.ids[0] = (struct xtun_id){ XTUN_KEY_FULL, end.teid };
	xtun_icmp_rcv_unknown_key(s->skb, &s->match, &h);
}

static void xtun_gtp_message(struct xtun_stray *s)
{
	unsigned int len = min_t(unsigned int, s->h.end, XTUN_GTP_MESSAGE_MAX);
	const u8 *msg;

	if (s->h.end > s->skb->len || !pskb_may_pull(s->skb, len))
		return;
	msg = s->skb->data + sizeof(struct udphdr);
	len -= sizeof(struct udphdr);
	if (!xtun_gtp_between_nodes(msg, len))
		return;
	if (msg[1] == XTUN_GTP_ECHO_REQUEST)
		xtun_gtp_echo(s, msg);
	else if (msg[1] == XTUN_GTP_ERROR_INDICATION)
		xtun_gtp_error_indication(s, msg, len);
}

static void xtun_gtp_stray(struct xtun_stray *s)
{
	if (!s->reason)
		xtun_gtp_unknown_teid(s);
	else if (s->reason == XTUN_RX_OPTION)
		xtun_gtp_unknown_header(s);
	else if (s->reason == XTUN_RX_CONTROL)
		xtun_gtp_message(s);
}

/* ---- qfi, pdu ---- */

/**
 * struct xtun_gtp_own - what users of GTP-U say beyond others
 * @qfi: QoS flow identifier of sent packets (TS 38.415), or XTUN_QFI_NONE
 * @pdu: enum xtun_pdu, which way packets with that go
 */
struct xtun_gtp_own {
	u8 qfi;
	u8 pdu;
};

static void xtun_gtp_defaults(void *data)
{
	struct xtun_gtp_own *own = data;

	BUILD_BUG_ON(sizeof(*own) > XTUN_OWN_MAX);
	own->qfi = XTUN_QFI_NONE;
	own->pdu = XTUN_PDU_DOWNLINK;
}

static int xtun_gtp_take(struct nlattr **tb, struct xtun_params *p,
			 struct netlink_ext_ack *extack)
{
	struct xtun_gtp_own *own = (struct xtun_gtp_own *)p->own;

	if (tb[XTUN_A_CONF_QFI])
		own->qfi = nla_get_u8(tb[XTUN_A_CONF_QFI]);
	if (tb[XTUN_A_CONF_PDU])
		own->pdu = nla_get_u32(tb[XTUN_A_CONF_PDU]);
	if (own->qfi > XTUN_QFI_NONE) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_QFI],
				    "qfi: 0 to 63, or none");
		return -ERANGE;
	}
	if (own->qfi == XTUN_QFI_NONE && own->pdu != XTUN_PDU_DOWNLINK) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_PDU],
				    "pdu: only packets with a qfi tell it; give one, or say pdu downlink");
		return -EINVAL;
	}
	return 0;
}

static int xtun_gtp_put(struct sk_buff *skb, const struct xtun_params *p,
			u8 sight)
{
	const struct xtun_gtp_own *own = (const struct xtun_gtp_own *)p->own;

	return nla_put_u8(skb, XTUN_A_CONF_QFI, own->qfi) ||
	       nla_put_u32(skb, XTUN_A_CONF_PDU, own->pdu) ? -EMSGSIZE : 0;
}

static const struct xtun_words xtun_gtp_words = {
	.words = {
		{ XTUN_A_CONF_QFI, "qfi" },
		{ XTUN_A_CONF_PDU, "pdu" },
	},
	.defaults = xtun_gtp_defaults,
	.take = xtun_gtp_take,
	.put = xtun_gtp_put,
};

/* ---- the way out ---- */

static unsigned int xtun_gtp_prepare(struct xtun_conf *conf, u8 *hdr)
{
	const struct xtun_gtp_own *own = xtun_own(conf);

	/* Each segment has to tell its own length. */
	conf->gso_type = 0;
	hdr[0] = XTUN_GTP_V1 | XTUN_GTP_GTP;
	hdr[1] = XTUN_GTP_PDU;
	put_unaligned_be32(conf->p.okey, hdr + 4);
	if (own->qfi == XTUN_QFI_NONE)
		return XTUN_GTP_LEN;

	hdr[0] |= XTUN_GTP_NEXT;
	hdr[XTUN_GTP_LONG_LEN - 1] = XTUN_GTP_EXT_PDU_SESSION;
	hdr += XTUN_GTP_LONG_LEN;
	hdr[0] = XTUN_GTP_EXT_LEN / 4;
	hdr[1] = own->pdu == XTUN_PDU_UPLINK ? XTUN_GTP_PDU_UPLINK : 0;
	hdr[2] = own->qfi;
	return XTUN_GTP_LONG_LEN + XTUN_GTP_EXT_LEN;
}

static void xtun_gtp_push(const struct xtun_cx *cx, u8 *hdr)
{
	put_unaligned_be16(cx->skb->len - sizeof(struct udphdr) - XTUN_GTP_LEN,
			   hdr + 2);
}

static const struct xtun_wire xtun_gtp_wire = {
	.id = 12,
	.ipproto = IPPROTO_UDP,
	.hdr_max = XTUN_GTP_LONG_LEN + XTUN_GTP_EXT_LEN + 1,
	.transport = &xtun_udp_transport,
	.parse = xtun_gtp_parse,
	.answered = XTUN_RX_OPTION,
	.stray = xtun_gtp_stray,
};

const struct xtun_encap_ops xtun_gtp_ops = {
	.id = XTUN_ENCAP_GTP,
	.name = "gtp",
	.wire = &xtun_gtp_wire,
	.payloads = BIT(XTUN_PAYLOAD_IP),
	.payload = XTUN_PAYLOAD_IP,
	.keying = XTUN_KEY_FULL,
	/* Section 5.1: 0 is for messages that are of no tunnel. */
	.key_min = 1,
	.key_max = U32_MAX,
	.key_needed = true,
	.flags = XTUN_CONF_FLAGS_NOUDPCSUM,
	.words = &xtun_gtp_words,
	.dport = {
		[XTUN_PAYLOAD_IP] = 2152,
	},
	.prepare = xtun_gtp_prepare,
	.push = xtun_gtp_push,
};
