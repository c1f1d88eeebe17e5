/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A packet on one of its three ways, and the steps of these.
 */
#ifndef _XTUN_PACKET_H
#define _XTUN_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/skbuff.h>

#include "conf.h"
#include "drop.h"
#include "wire.h"

struct neighbour;
struct xtun_dev;

/* Tags of a frame that are looked behind. */
#define XTUN_VLAN_TAGS_MAX	2

/* What an ICMP error says, whatever its family. */
enum xtun_icmp_class {
	XTUN_CLASS_NONE,
	XTUN_CLASS_NETWORK,
	XTUN_CLASS_HOST,
	XTUN_CLASS_PROHIBITED_NET,
	XTUN_CLASS_PROHIBITED_HOST,
	XTUN_CLASS_PROHIBITED,
	XTUN_CLASS_TIME,
	XTUN_CLASS_TOO_BIG,
	XTUN_CLASS_REDIRECT,
	/* Not for senders. */
	XTUN_CLASS_REASSEMBLY,
	XTUN_CLASS_SOURCE_QUENCH,
	XTUN_CLASS_SOURCE_ROUTE,
	XTUN_CLASS_OTHER,
};

/**
 * struct xtun_tag - proof that who quotes an outer packet has seen it
 * @flow: the same for all packets of an inner flow, all bits equally good
 * @id: for the IPv4 identification
 */
struct xtun_tag {
	u32 flow;
	u16 id;
};

/* An outer packet has an identification; for segments it goes up by one. */
#define XTUN_IDENT_VALID	BIT(31)
/* It is not the tag: without DF it has to be unique. */
#define XTUN_IDENT_UNIQUE	BIT(30)

/* It was not routed into the tunnel; never in what an error quotes. */
#define XTUN_IDENT_STRAY	BIT(29)

/* Segments of one GSO packet at most. */
#define XTUN_SEGS_MAX		128

/**
 * struct xtun_cx - a packet on its way out
 * @skb: the packet
 * @tun: its tunnel
 * @conf: configuration in force for it
 * @by_packet: what only this packet has chooses its route: it is not the cached one
 * @mark: of the outer packet
 * @dst: outer route, with a reference
 * @mtu: of that route's path, in bytes of outer packet
 * @saddr: outer source
 * @daddr: outer destination
 * @proto: inner ethertype of IP packets, whatever the payload; else 0. What is
 *	none with payload ip is told by the protocol of @skb.
 * @l3_off: bytes from the data to the inner IP header
 * @tos: inner TOS or traffic class
 * @ttl: inner TTL or hop limit
 * @df: inner IPv4 packet has DF set
 * @deep: tunnels and devices that it is in have taken much of the stack
 * @nested: the inner packet may be the outer packet of a tunnel
 * @routed: a route, or a bridge, has led it into the tunnel; else it is a copy, or
 *	somebody has put it there, and its sender must not be told of this tunnel
 * @ipproto: protocol number in the outer header
 * @encaplimit: to be sent, or XTUN_ENCAPLIMIT_NONE
 * @overhead: bytes that this packet grows by
 * @outer_frag: the outer packet may be fragmented
 * @hooked: somebody looks at packets that the underlay's netns sends, and may refuse
 *	or change this one
 * @tag: of the inner flow
 * @ident: by which an error about the packet finds it: the IPv4 identification
 *	or the flow label in host order, with %XTUN_IDENT_VALID and, where due,
 *	%XTUN_IDENT_UNIQUE and %XTUN_IDENT_STRAY; or 0
 * @class: with a route that is none, what the sender is told
 * @df_out: DF of the outer IPv4 header
 * @flowlabel: of the outer IPv6 header
 * @echo_id: identifier of the request that it replies to, in network order
 * @echo_seq: sequence number of that
 */
struct xtun_cx {
	struct sk_buff *skb;
	struct xtun_dev *tun;
	const struct xtun_conf *conf;
	bool by_packet;
	u32 mark;
	struct dst_entry *dst;
	unsigned int mtu;
	union nf_inet_addr saddr;
	union nf_inet_addr daddr;
	__be16 proto;
	u16 l3_off;
	u8 tos;
	u8 ttl;
	bool df;
	bool deep;
	bool nested;
	bool routed;
	u8 ipproto;
	u16 encaplimit;
	u16 overhead;
	bool outer_frag;
	bool hooked;
	struct xtun_tag tag;
	u32 ident;
	u8 class;
	__be16 df_out;
	__be32 flowlabel;
	__be16 echo_id;
	__be16 echo_seq;
};

/**
 * struct xtun_quote - an outer packet as an ICMP error quotes it
 * @at: bytes from the quoted outer header to the encapsulation's
 * @len: bytes of the whole outer packet, by its header
 * @ident: as in struct xtun_cx
 * @ipproto: protocol number of the encapsulation
 * @df: DF is set; IPv6 packets have it always
 * @more: it is the first of several fragments
 */
struct xtun_quote {
	unsigned int at;
	unsigned int len;
	u32 ident;
	u8 ipproto;
	bool df;
	bool more;
};

/**
 * struct xtun_icmp - the header of an ICMP error, whatever its family
 * @type: ICMP or ICMPv6 type
 * @code: its code
 * @words: length of the quote as RFC 4884 has it, in bytes, or 0
 * @info: path MTU in bytes, if the error is about one
 */
struct xtun_icmp {
	u8 type;
	u8 code;
	u16 words;
	u32 info;
};

/* What others may make of an ICMP error that we have seen. */
enum xtun_verdict {
	XTUN_VERDICT_OTHERS,
	XTUN_VERDICT_OURS,
	/* It is about a packet of ours, and must not be believed. */
	XTUN_VERDICT_FALSE,
};

/* xmit.c */
enum xtun_drop_reason xtun_classify(struct xtun_cx *cx);
netdev_tx_t xtun_xmit(struct sk_buff *skb, struct net_device *dev);
void xtun_xmit_empty(struct xtun_dev *tun, const struct xtun_conf *conf);

/* rcv.c */
bool xtun_rcv(struct sk_buff *skb, enum xtun_input input, u8 family, u8 ipproto,
	      unsigned int offset);

/* icmp_rcv.c */
void xtun_icmp_read(struct xtun_icmp *icmp, u8 family, const void *hdr);
enum xtun_verdict xtun_icmp_rcv(struct sk_buff *skb, enum xtun_input input, u8 family,
				const struct xtun_icmp *icmp);
void xtun_icmp_rcv_unknown_key(const struct sk_buff *skb, struct xtun_match *match,
			       const struct xtun_hdr *h);

/* icmp_send.c */
enum xtun_icmp_class xtun_icmp_class_told(const struct xtun_conf *conf,
					  enum xtun_icmp_class class);
bool xtun_icmp_allowed(struct net_device *dev, u8 family,
		       union nf_inet_addr to);
bool xtun_icmp_send(const struct xtun_cx *cx, enum xtun_icmp_class class, u32 mtu);
void xtun_icmp_send_kept(const struct xtun_cx *cx, const void *data,
			 unsigned int len, enum xtun_icmp_class class);
int xtun_drop_icmp(const struct xtun_cx *cx, enum xtun_drop_reason reason,
		   enum xtun_icmp_class class);
int xtun_drop_too_big(const struct xtun_cx *cx, u32 mtu);
int xtun_drop_encap_limit(const struct xtun_cx *cx, unsigned int offset);

/* type.c */
bool xtun_type_carried(const struct xtun_encap_ops *ops, __be16 type);

/**
 * xtun_type_of_ipproto() - which ethertype belongs to an IP protocol
 * @ipproto: what a header says of what follows
 *
 * Context: any.
 * Return: the ethertype, or 0 when nothing follows that payload ip has.
 */
static inline __be16 xtun_type_of_ipproto(u8 ipproto)
{
	switch (ipproto) {
	case IPPROTO_IPIP:
		return htons(ETH_P_IP);
	case IPPROTO_IPV6:
		return htons(ETH_P_IPV6);
	case IPPROTO_MPLS:
		return htons(ETH_P_MPLS_UC);
	}
	return 0;
}

/**
 * xtun_type_to_ipproto() - which IP protocol an inner packet is
 * @type: its ethertype, one that the tunnel carries
 *
 * Context: any.
 * Return: the protocol number, for what has one.
 */
static inline u8 xtun_type_to_ipproto(__be16 type)
{
	switch (type) {
	case htons(ETH_P_IP):
		return IPPROTO_IPIP;
	case htons(ETH_P_MPLS_UC):
		return IPPROTO_MPLS;
	default:
		return IPPROTO_IPV6;
	}
}

/**
 * xtun_ipproto() - protocol number in the outer header of a packet
 * @cx: the packet
 *
 * Context: any.
 * Return: that of the encapsulation, or of the inner packet itself.
 */
static inline u8 xtun_ipproto(const struct xtun_cx *cx)
{
	return cx->conf->ipproto ?: xtun_type_to_ipproto(cx->skb->protocol);
}

/**
 * xtun_type_named() - the ethertype that an encapsulation's header names
 * @cx: the packet that is to get the header
 *
 * Context: any.
 * Return: the ethertype.
 */
static inline __be16 xtun_type_named(const struct xtun_cx *cx)
{
	return cx->conf->p.payload == XTUN_PAYLOAD_ETH ? htons(ETH_P_TEB) :
							 cx->skb->protocol;
}

/* cells.c */
int xtun_cells_init(void);
void xtun_cells_exit(void);
void xtun_cells_drain(void);
bool xtun_cells_rx(struct xtun_dev *tun, struct sk_buff *skb);

/* neigh.c */
bool xtun_neigh_wanted(const struct xtun_conf *conf);
void xtun_neigh_setup(struct xtun_dev *tun, u8 family);
void xtun_neigh_take(struct xtun_cx *cx);
int xtun_neigh_construct(struct net_device *dev, struct neighbour *neigh);

/* encaplimit.c */
int xtun_encaplimit_inherit(struct xtun_cx *cx);
u8 xtun_encaplimit_push(struct xtun_cx *cx, u8 nexthdr);

/**
 * xtun_encaplimit_out() - which limit goes into the outer header
 * @cx: packet with the encapsulation limit of the configuration; gets that
 *	which is due, and grows in overhead if it has to
 *
 * Only an IPv6 packet in an IPv6 packet can bring one.
 *
 * Context: BH disabled.
 * Return: 0, or negative when the packet was dropped.
 */
static inline int xtun_encaplimit_out(struct xtun_cx *cx)
{
	if (likely(cx->conf->p.family != AF_INET6 ||
		   cx->conf->p.payload != XTUN_PAYLOAD_IP ||
		   cx->proto != htons(ETH_P_IPV6)))
		return 0;
	return xtun_encaplimit_inherit(cx);
}

/* mss.c */
void xtun_mss_out(const struct xtun_cx *cx, unsigned int limit);
void xtun_mss_in(struct sk_buff *skb, const struct xtun_conf *conf,
		 const union nf_inet_addr *peer, unsigned int l3, __be16 proto);

#endif /* _XTUN_PACKET_H */
