/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is between the outer IP header and the payload: how headers are told apart and
 * read, what an encapsulation and a transport have to offer, and those that there are.
 */
#ifndef _XTUN_WIRE_H
#define _XTUN_WIRE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/skbuff.h>

#include "conf.h"
#include "drop.h"

struct xtun_cx;
struct xtun_tag;

/* A UDP packet in which the inner packets are what it stands for. */
#define XTUN_GSO_UDP_TUNNEL	(SKB_GSO_UDP_TUNNEL | SKB_GSO_UDP_TUNNEL_CSUM)

/**
 * struct xtun_id - one way to read the key in a received header
 * @keying: enum xtun_keying
 * @key: in host order
 */
struct xtun_id {
	u8 keying;
	u32 key;
};

/**
 * struct xtun_hdr - a received encapsulation header, parsed
 * @ids: readings of the key, most specific first
 * @n_ids: how many; 0 when the header ends before the key
 * @len: bytes of the header, the transport's included. In one that is not all
 *	there it may be how many bytes have to be.
 * @end: where the header says that the payload ends, in bytes from the
 *	transport's header on, or 0 when it does not say
 * @payload: enum xtun_payload, 0 when the header ends before that is known, or
 *	when only the tunnel tells
 * @proto: inner ethertype
 * @has_csum: there is a checksum, not yet verified
 * @has_seq: there is a sequence number
 * @unsure: too little is there to tell whether it is such a header
 * @empty: it carries nothing, to keep a path open
 * @echo: which end says that it has made it, enum xtun_echo, or 0
 * @seq: the sequence number in host order
 */
struct xtun_hdr {
	struct xtun_id ids[2];
	u8 n_ids;
	u16 len;
	u32 end;
	u8 payload;
	bool has_csum;
	bool has_seq;
	bool unsure;
	bool empty;
	u8 echo;
	__be16 proto;
	u32 seq;
};

/* Where packets, and errors about them, come from, in the order in which they do. */
enum xtun_input {
	XTUN_INPUT_HANDLER,
	XTUN_INPUT_HOOK,
};

/**
 * struct xtun_transport - what moves headers through the underlay
 * @len: bytes of its own header, between outer IP header and encapsulation
 * @input: where its packets come from
 * @covers: its checksum covers the payload, whose own has to be complete first
 * @get: start to take packets for @conf; under RTNL, may sleep
 * @put: the opposite of @get
 * @prepare: fills in its part of a valid @conf before the encapsulation does;
 *	may be NULL
 * @matches: can what begins with @hdr, as long as its header, be a packet of its?
 *	NULL where the protocol number tells.
 * @peer: chooses the addresses of a packet that has those of its configuration;
 *	false when there is no peer to send to. NULL where these, and with
 *	remote any the inner route's gateway, are the peer.
 * @flow: fills in the ports that a packet will have, in network order; the tag is
 *	known. NULL where all packets have the same, or none.
 * @push: completes its header at @hdr for a packet, after the encapsulation's.
 *	The data of the skb is there. May be NULL.
 * @check: verifies what its header says of a received packet, whose data is
 *	there, and @h; may be NULL
 * @learn: a packet has come from the peer, and is valid as far as its headers
 *	go; the data is there. May be NULL.
 * @sent: has @conf sent a packet that begins with the 8 bytes at @hdr, of the
 *	inner flow @tag if that is known? May be NULL.
 * @others: may a program of this host have sent the packet that begins with the 8
 *	bytes at @hdr, between the addresses of @match? Under RCU. NULL where none
 *	sends such packets.
 */
struct xtun_transport {
	u8 len;
	enum xtun_input input;
	bool covers;
	int (*get)(const struct xtun_conf *conf,
		   struct netlink_ext_ack *extack);
	void (*put)(const struct xtun_conf *conf);
	void (*prepare)(struct xtun_conf *conf);
	bool (*matches)(u8 family, u8 ipproto, const u8 *hdr);
	bool (*peer)(struct xtun_cx *cx);
	void (*flow)(const struct xtun_cx *cx, union flowi_uli *uli);
	void (*push)(const struct xtun_cx *cx, u8 *hdr);
	enum xtun_drop_reason (*check)(struct sk_buff *skb,
				       const struct xtun_conf *conf,
				       const struct xtun_hdr *h);
	void (*learn)(const struct sk_buff *skb, const struct xtun_conf *conf);
	bool (*sent)(const struct xtun_conf *conf, const u8 *hdr,
		     const struct xtun_tag *tag);
	bool (*others)(const struct xtun_match *match, const u8 *hdr);
};

/* What strays are answered with is short. */
#define XTUN_ANSWER_MAX		40

/**
 * struct xtun_stray - a packet on a port of tunnels that no tunnel has taken
 * @skb: the packet, its checksum verified; its data at the transport's header, its
 *	network header the outer one
 * @match: net, addresses as a tunnel would have them, wire, family and port
 * @h: its encapsulation header
 * @reason: what was wrong with that, an enum xtun_drop_reason, or XTUN_OK
 * @port: UDP port to answer to, at first the one that it comes from
 * @limited: answer only as often as ICMP errors are sent
 * @answer_len: bytes of @answer; 0 for none
 * @answer: what is sent back behind the transport's header, from the address that
 *	the packet was sent to
 */
struct xtun_stray {
	struct sk_buff *skb;
	struct xtun_match match;
	struct xtun_hdr h;
	enum xtun_drop_reason reason;
	__be16 port;
	bool limited;
	u8 answer_len;
	u8 answer[XTUN_ANSWER_MAX];
};

/**
 * struct xtun_wire - how headers are told apart on the wire
 * @id: number in struct xtun_match
 * @ipproto: IP protocol number, where a transport needs one and has one only
 * @ipprotos: those that lead to it, where there are several
 * @hdr_max: bytes that @parse and @parse_conf look at, unless @parse asks for more
 * @pair: the port that packets are sent from is the one where they arrive, and
 *	the peer's may be another
 * @shared: others may use the port, too: it is not held
 * @nic: what network cards that know it call it, enum udp_parsable_tunnel_type, by
 *	payload; 0 where none does
 * @transport: what brings packets
 * @parse: reads a header of which @len bytes are there, behind the transport's.
 *	A header that ends too early is XTUN_RX_TRUNCATED, with what could be
 *	read in @h, and how long it is at least, if that is more than was there;
 *	it is asked again, and has to know an end of that.
 * @parse_conf: reads on in a header that @parse could read, of which @len bytes are
 *	there, with what only @conf tells: @h gets payload, ethertype and full
 *	length, the transport's header left out. @sent: this host has sent it; then
 *	-ENOMSG if not by @conf. Like @parse it takes a header that ends
 *	anywhere. NULL where a header tells all by itself; else it does not tell
 *	the payload.
 * @csum_ok: verifies the checksum; data of the skb is at the header
 * @answered: why @parse drops packets that are answered: a tunnel counts them, and
 *	does not take them, so that @stray gets them; or XTUN_OK
 * @stray: reads a packet on a held port that no tunnel has taken, and writes
 *	an answer if it wants one; with BH disabled, under RCU. May be NULL.
 *
 * Encapsulations that differ in meaning but not in form share one.
 */
struct xtun_wire {
	u8 id;
	u8 ipproto;
	u8 ipprotos[4];
	u8 hdr_max;
	bool pair;
	bool shared;
	u8 nic[XTUN_PAYLOAD_MAX + 1];
	const struct xtun_transport *transport;
	int (*parse)(const u8 *hdr, unsigned int len, u8 ipproto,
		     struct xtun_hdr *h);
	int (*parse_conf)(const struct xtun_conf *conf, const u8 *hdr,
			  unsigned int len, bool sent, struct xtun_hdr *h);
	bool (*csum_ok)(struct sk_buff *skb);
	enum xtun_drop_reason answered;
	void (*stray)(struct xtun_stray *s);
};

/* What the header of an encapsulation says of what it carries. */
enum xtun_names {
	/* That it is IPv4, or IPv6. */
	XTUN_NAMES_IP,
	/* An IP protocol, or another code of its own for the same and MPLS. */
	XTUN_NAMES_MPLS,
	/* An ethertype. */
	XTUN_NAMES_ETHERTYPES,
};

/**
 * struct xtun_word - a word that some encapsulations have and others do not
 * @attr: its attribute, of at most 8 bytes
 * @word: as in the grammar
 */
struct xtun_word {
	u16 attr;
	const char *word;
};

/* So many at most. */
#define XTUN_WORDS_MAX		4

/**
 * struct xtun_words - what the users of some encapsulations can say beyond others
 * @words: the words, those of no other struct xtun_words
 * @defaults: fills in a private block as if nothing had been said
 * @take: reads what is there of its words in @tb into the private block of @p,
 *	whose common words are right, and checks it; under RTNL. Returns 0, or a
 *	negative error with its reason in @extack.
 * @put: writes its words as attributes, for who sees so much (enum xtun_sight).
 *	Returns 0 or -EMSGSIZE.
 *
 * The private block is @own of struct xtun_params, xtun_own() gives it. It goes
 * from one configuration to the next as long as these have the same words.
 */
struct xtun_words {
	struct xtun_word words[XTUN_WORDS_MAX];
	void (*defaults)(void *own);
	int (*take)(struct nlattr **tb, struct xtun_params *p,
		    struct netlink_ext_ack *extack);
	int (*put)(struct sk_buff *skb, const struct xtun_params *p, u8 sight);
};

/**
 * struct xtun_encap_ops - an encapsulation
 * @id: enum xtun_encap
 * @name: as in the grammar
 * @wire: form of its headers
 * @payloads: BIT(enum xtun_payload) for each it carries
 * @payload: the one that a tunnel has which is not told
 * @names: what it can say that payload ip is
 * @keying: how its key is matched
 * @key_min: least key
 * @key_max: greatest key, 0 when it has none
 * @key_needed: it is nothing without a key
 * @lport: its packets may arrive at another port than they go to
 * @flags: enum xtun_conf_flags that mean something
 * @words: what its users, and no others, can say, or NULL
 * @dport: default destination port for each payload, 0 for none
 * @prepare: writes the header at @hdr but for what changes with a packet, and
 *	the gso_type of a valid @conf, unless what the transport has put there is
 *	right. Returns how many bytes it has.
 * @flow: fills in the key that a packet will have, in network order; the tag is
 *	known. NULL where all packets have the same, or none.
 * @push: completes the header at @hdr, that @prepare began, for a packet. May
 *	be NULL.
 * @one_end: do all packets of a tunnel with @conf, which has remote any, come
 *	from one end? NULL where they do not.
 */
struct xtun_encap_ops {
	u8 id;
	const char *name;
	const struct xtun_wire *wire;
	u8 payloads;
	u8 payload;
	u8 names;
	u8 keying;
	u32 key_min;
	u32 key_max;
	bool key_needed;
	bool lport;
	u32 flags;
	const struct xtun_words *words;
	u16 dport[XTUN_PAYLOAD_MAX + 1];
	unsigned int (*prepare)(struct xtun_conf *conf, u8 *hdr);
	void (*flow)(const struct xtun_cx *cx, union flowi_uli *uli);
	void (*push)(const struct xtun_cx *cx, u8 *hdr);
	bool (*one_end)(const struct xtun_conf *conf);
};

extern const struct xtun_encap_ops xtun_ip_ops;
extern const struct xtun_encap_ops xtun_gre_ops;
extern const struct xtun_encap_ops xtun_nvgre_ops;
extern const struct xtun_encap_ops xtun_vxlan_ops;
extern const struct xtun_encap_ops xtun_geneve_ops;
extern const struct xtun_encap_ops xtun_fou_ops;
extern const struct xtun_encap_ops xtun_gue_ops;
extern const struct xtun_encap_ops xtun_gtp_ops;
extern const struct xtun_encap_ops xtun_l2tp_ops;
extern const struct xtun_encap_ops xtun_l2tp_ip_ops;
extern const struct xtun_encap_ops xtun_icmp_ops;
extern const struct xtun_transport xtun_ipproto_transport;
extern const struct xtun_transport xtun_hook_transport;
extern const struct xtun_transport xtun_udp_transport;
extern const struct xtun_transport xtun_echo_transport;

/* encap/, for other encapsulations */
#define XTUN_GRE_BARE_LEN	4

__be16 xtun_ip_of_version(u8 first);
void xtun_ip_found(struct xtun_hdr *h, __be16 proto);
bool xtun_ip_parse_version(const u8 *data, unsigned int len,
			   struct xtun_hdr *h);
int xtun_gre_parse_bare(const u8 *hdr, unsigned int len,
			struct xtun_hdr *h);
unsigned int xtun_gre_prepare_bare(u8 *hdr);

/* encap.c */
int xtun_encap_register(const struct xtun_encap_ops *ops);
const struct xtun_encap_ops *xtun_encap_find(unsigned int id);
const char *xtun_words_find(const struct xtun_words *words, unsigned int attr);
const char *xtun_encap_word(unsigned int attr);

/* By protocol number of the outer header, but for UDP. */
extern const struct xtun_wire *xtun_wires[IPPROTO_RAW + 1];

/**
 * xtun_wire_by_ipproto() - find what an IP protocol carries
 * @ipproto: protocol number of the outer header
 *
 * Context: any.
 * Return: the form of the header that follows, or NULL.
 */
static inline const struct xtun_wire *xtun_wire_by_ipproto(u8 ipproto)
{
	return xtun_wires[ipproto];
}

/* wire.c */
int xtun_wire_parse_conf(const struct xtun_conf *conf,
			 struct sk_buff *skb, unsigned int offset,
			 unsigned int len, bool sent,
			 struct xtun_hdr *h);

/* transport/ */
void xtun_echo_init(struct xtun_dev *tun);
int xtun_ipproto_init(void);
void xtun_ipproto_exit(void);
int xtun_hook_get(const struct xtun_conf *conf, struct netlink_ext_ack *extack);
void xtun_hook_put(const struct xtun_conf *conf);
void xtun_udp_tell(struct net_device *dev, bool there);
bool xtun_exthdrs_ok(struct sk_buff *skb, unsigned int end);

#endif /* _XTUN_WIRE_H */
