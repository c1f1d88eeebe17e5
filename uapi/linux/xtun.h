/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	specs/xtun.yaml */
/* YNL-GEN uapi header */

#ifndef _UAPI_LINUX_XTUN_H
#define _UAPI_LINUX_XTUN_H

#define XTUN_FAMILY_NAME	"xtun"
#define XTUN_FAMILY_VERSION	1

#define XTUN_TOS_INHERIT	1
#define XTUN_FLOWLABEL_INHERIT	1048576
#define XTUN_FLOWLABEL_AUTO	2097152
#define XTUN_ENCAPLIMIT_NONE	256
#define XTUN_QFI_NONE		64
#define XTUN_ALLOW_MAX		64
#define XTUN_MSS_MIN		536
#define XTUN_MSS_AUTO		65535
#define XTUN_KEEPALIVE_DEFAULT	20

/**
 * enum xtun_encap - The header between the outer IP header and the payload.
 * @XTUN_ENCAP_IP: IP in IP in all four combinations (RFC 2003, 4213, 2473).
 * @XTUN_ENCAP_GRE: GRE (RFC 2784, RFC 2890).
 * @XTUN_ENCAP_NVGRE: NVGRE (RFC 7637), GRE with a VSID and a FlowID as its
 *   key.
 * @XTUN_ENCAP_VXLAN: VXLAN (RFC 7348); payload ip as VXLAN-GPE.
 * @XTUN_ENCAP_GENEVE: Geneve (RFC 8926).
 * @XTUN_ENCAP_FOU: IP packets straight in UDP; frames by GRE in UDP (RFC
 *   8086).
 * @XTUN_ENCAP_GUE: Generic UDP Encapsulation (draft-ietf-intarea-gue).
 * @XTUN_ENCAP_GTP: GTP-U version 1 (3GPP TS 29.281).
 * @XTUN_ENCAP_L2TP: Data messages of L2TPv3 (RFC 3931) over UDP.
 * @XTUN_ENCAP_L2TP_IP: Data messages of L2TPv3 over IP, protocol 115.
 * @XTUN_ENCAP_ICMP: IP in ICMP or ICMPv6 echo, in a format of xtun's own.
 */
enum xtun_encap {
	XTUN_ENCAP_IP = 1,
	XTUN_ENCAP_GRE,
	XTUN_ENCAP_NVGRE,
	XTUN_ENCAP_VXLAN,
	XTUN_ENCAP_GENEVE,
	XTUN_ENCAP_FOU,
	XTUN_ENCAP_GUE,
	XTUN_ENCAP_GTP,
	XTUN_ENCAP_L2TP,
	XTUN_ENCAP_L2TP_IP,
	XTUN_ENCAP_ICMP,

	/* private: */
	__XTUN_ENCAP_MAX,
	XTUN_ENCAP_MAX = (__XTUN_ENCAP_MAX - 1)
};

/**
 * enum xtun_payload - What the device carries.
 * @XTUN_PAYLOAD_IP: IPv4 and IPv6 packets at once, an ARPHRD_NONE device.
 * @XTUN_PAYLOAD_ETH: Ethernet frames, an ARPHRD_ETHER device.
 */
enum xtun_payload {
	XTUN_PAYLOAD_IP = 1,
	XTUN_PAYLOAD_ETH,

	/* private: */
	__XTUN_PAYLOAD_MAX,
	XTUN_PAYLOAD_MAX = (__XTUN_PAYLOAD_MAX - 1)
};

/**
 * enum xtun_df - The DF bit of an IPv4 outer header.
 * @XTUN_DF_SET: Set, whatever the inner packet says.
 * @XTUN_DF_INHERIT: As the inner IPv4 packet's; set for anything else.
 * @XTUN_DF_UNSET: Not set; routers under the tunnel may fragment.
 */
enum xtun_df {
	XTUN_DF_SET = 1,
	XTUN_DF_INHERIT,
	XTUN_DF_UNSET,

	/* private: */
	__XTUN_DF_MAX,
	XTUN_DF_MAX = (__XTUN_DF_MAX - 1)
};

/**
 * enum xtun_frag - What becomes of an inner IPv4 packet without DF that does
 *   not fit.
 * @XTUN_FRAG_INNER: Fragmented before encapsulation; the peer need not
 *   reassemble.
 * @XTUN_FRAG_OUTER: Encapsulated, then fragmented; the peer reassembles.
 * @XTUN_FRAG_NEVER: Dropped.
 */
enum xtun_frag {
	XTUN_FRAG_INNER = 1,
	XTUN_FRAG_OUTER,
	XTUN_FRAG_NEVER,

	/* private: */
	__XTUN_FRAG_MAX,
	XTUN_FRAG_MAX = (__XTUN_FRAG_MAX - 1)
};

/**
 * enum xtun_l2spec - What stands between cookie and payload in L2TPv3.
 * @XTUN_L2SPEC_NONE: Nothing.
 * @XTUN_L2SPEC_DEFAULT: The Default L2-Specific Sublayer (RFC 3931 section
 *   4.6), 4 bytes. The sequence number is not sent, and ignored in what is
 *   received.
 */
enum xtun_l2spec {
	XTUN_L2SPEC_NONE = 1,
	XTUN_L2SPEC_DEFAULT,

	/* private: */
	__XTUN_L2SPEC_MAX,
	XTUN_L2SPEC_MAX = (__XTUN_L2SPEC_MAX - 1)
};

/**
 * enum xtun_icmp_relay - How errors of the underlay are told to senders of
 *   inner packets.
 * @XTUN_ICMP_RELAY_TRANSPARENT: As if there were no tunnel.
 * @XTUN_ICMP_RELAY_STRICT: As RFC 2003 section 4 and RFC 2473 section 8 have
 *   it.
 * @XTUN_ICMP_RELAY_OFF: Not at all.
 */
enum xtun_icmp_relay {
	XTUN_ICMP_RELAY_TRANSPARENT = 1,
	XTUN_ICMP_RELAY_STRICT,
	XTUN_ICMP_RELAY_OFF,

	/* private: */
	__XTUN_ICMP_RELAY_MAX,
	XTUN_ICMP_RELAY_MAX = (__XTUN_ICMP_RELAY_MAX - 1)
};

/**
 * enum xtun_icmp_memory - Whether sent packets are remembered, for errors that
 *   quote too little.
 * @XTUN_ICMP_MEMORY_AUTO: While such errors come in.
 * @XTUN_ICMP_MEMORY_ON: Always.
 * @XTUN_ICMP_MEMORY_OFF: Never.
 */
enum xtun_icmp_memory {
	XTUN_ICMP_MEMORY_AUTO = 1,
	XTUN_ICMP_MEMORY_ON,
	XTUN_ICMP_MEMORY_OFF,

	/* private: */
	__XTUN_ICMP_MEMORY_MAX,
	XTUN_ICMP_MEMORY_MAX = (__XTUN_ICMP_MEMORY_MAX - 1)
};

/**
 * enum xtun_pdu - Which way packets with a PDU session container go (3GPP TS
 *   38.415).
 * @XTUN_PDU_DOWNLINK: To a terminal; a UPF sends so.
 * @XTUN_PDU_UPLINK: From a terminal; a base station sends so.
 */
enum xtun_pdu {
	XTUN_PDU_DOWNLINK = 1,
	XTUN_PDU_UPLINK,

	/* private: */
	__XTUN_PDU_MAX,
	XTUN_PDU_MAX = (__XTUN_PDU_MAX - 1)
};

/**
 * enum xtun_echo - Which end of a tunnel in ICMP echo this is.
 * @XTUN_ECHO_REQUEST: It sends requests, and is the one that may be behind a
 *   NAT.
 * @XTUN_ECHO_REPLY: It replies to whoever has sent the last request.
 */
enum xtun_echo {
	XTUN_ECHO_REQUEST = 1,
	XTUN_ECHO_REPLY,

	/* private: */
	__XTUN_ECHO_MAX,
	XTUN_ECHO_MAX = (__XTUN_ECHO_MAX - 1)
};

/**
 * enum xtun_mark_from - Where a firewall mark comes from.
 * @XTUN_MARK_FROM_NUMBER: It is the number that is said.
 * @XTUN_MARK_FROM_PACKET: It is that of the packet that goes into, or comes
 *   to, the tunnel.
 */
enum xtun_mark_from {
	XTUN_MARK_FROM_NUMBER = 1,
	XTUN_MARK_FROM_PACKET,

	/* private: */
	__XTUN_MARK_FROM_MAX,
	XTUN_MARK_FROM_MAX = (__XTUN_MARK_FROM_MAX - 1)
};

/**
 * enum xtun_conf_flags
 * @XTUN_CONF_FLAGS_ICSUM: Packets without a checksum are not accepted.
 * @XTUN_CONF_FLAGS_OCSUM: Packets are sent with a checksum.
 * @XTUN_CONF_FLAGS_ISEQ: Packets without a sequence number, or out of order,
 *   are not accepted.
 * @XTUN_CONF_FLAGS_OSEQ: Packets are sent with a sequence number.
 * @XTUN_CONF_FLAGS_NOUDPCSUM: UDP packets are sent without a checksum, and
 *   over IPv6 such ones are taken (RFC 6935); over IPv4 they always are.
 */
enum xtun_conf_flags {
	XTUN_CONF_FLAGS_ICSUM = 1,
	XTUN_CONF_FLAGS_OCSUM = 2,
	XTUN_CONF_FLAGS_ISEQ = 4,
	XTUN_CONF_FLAGS_OSEQ = 8,
	XTUN_CONF_FLAGS_NOUDPCSUM = 16,
};

/**
 * enum xtun_answer - What the senders of packets to a peer are told for as
 *   long as an error about it holds.
 * @XTUN_ANSWER_NETWORK: Network unreachable (IPv6, no route).
 * @XTUN_ANSWER_HOST: Host unreachable (IPv6, address unreachable).
 * @XTUN_ANSWER_PROHIBITED_NET: Network prohibited (IPv6, administratively
 *   prohibited).
 * @XTUN_ANSWER_PROHIBITED_HOST: Host prohibited (IPv6, administratively
 *   prohibited).
 * @XTUN_ANSWER_PROHIBITED: Administratively prohibited.
 * @XTUN_ANSWER_TIME: Time or hop limit exceeded in transit.
 */
enum xtun_answer {
	XTUN_ANSWER_NETWORK = 1,
	XTUN_ANSWER_HOST,
	XTUN_ANSWER_PROHIBITED_NET,
	XTUN_ANSWER_PROHIBITED_HOST,
	XTUN_ANSWER_PROHIBITED,
	XTUN_ANSWER_TIME,

	/* private: */
	__XTUN_ANSWER_MAX,
	XTUN_ANSWER_MAX = (__XTUN_ANSWER_MAX - 1)
};

/**
 * enum xtun_wait - What a tunnel waits for, without carrier until it is there.
 * @XTUN_WAIT_ENCAP: It is not configured.
 * @XTUN_WAIT_DEV: There is no device of the name in link-name.
 * @XTUN_WAIT_DEV_CARRIER: That device, or the VRF that it is a port of, is
 *   down or has no carrier.
 * @XTUN_WAIT_LOCAL: The address in local is not one of this host's.
 */
enum xtun_wait {
	XTUN_WAIT_ENCAP = 1,
	XTUN_WAIT_DEV,
	XTUN_WAIT_DEV_CARRIER,
	XTUN_WAIT_LOCAL,

	/* private: */
	__XTUN_WAIT_MAX,
	XTUN_WAIT_MAX = (__XTUN_WAIT_MAX - 1)
};

/**
 * enum xtun_since - Packets since something went wrong. Without heard it may
 *   still be so; and without sent, too, nobody has tried.
 * @XTUN_SINCE_HEARD: One has come from the peer, its outer headers valid.
 * @XTUN_SINCE_SENT: One has gone to the peer.
 */
enum xtun_since {
	XTUN_SINCE_HEARD = 1,
	XTUN_SINCE_SENT = 2,
};

enum {
	XTUN_A_PREFIX_ADDR = 1,
	XTUN_A_PREFIX_LEN,

	__XTUN_A_PREFIX_MAX,
	XTUN_A_PREFIX_MAX = (__XTUN_A_PREFIX_MAX - 1)
};

enum {
	XTUN_A_ALLOW_PREFIX = 1,

	__XTUN_A_ALLOW_MAX,
	XTUN_A_ALLOW_MAX = (__XTUN_A_ALLOW_MAX - 1)
};

enum {
	XTUN_A_CONF_ENCAP = 1,
	XTUN_A_CONF_PAYLOAD,
	XTUN_A_CONF_LOCAL,
	XTUN_A_CONF_REMOTE,
	XTUN_A_CONF_LINK,
	XTUN_A_CONF_FWMARK,
	XTUN_A_CONF_NOKEY,
	XTUN_A_CONF_IKEY,
	XTUN_A_CONF_OKEY,
	XTUN_A_CONF_TTL,
	XTUN_A_CONF_TOS,
	XTUN_A_CONF_FLOWLABEL,
	XTUN_A_CONF_ENCAPLIMIT,
	XTUN_A_CONF_DF,
	XTUN_A_CONF_FRAG,
	XTUN_A_CONF_FLAGS,
	XTUN_A_CONF_MTU,
	XTUN_A_CONF_ALLOW,
	XTUN_A_CONF_SPORT_MIN,
	XTUN_A_CONF_SPORT_MAX,
	XTUN_A_CONF_DPORT,
	XTUN_A_CONF_EXTERNAL,
	XTUN_A_CONF_ICMP_RELAY,
	XTUN_A_CONF_ICMP_MEMORY,
	XTUN_A_CONF_MSS,
	XTUN_A_CONF_QFI,
	XTUN_A_CONF_PDU,
	XTUN_A_CONF_ICOOKIE,
	XTUN_A_CONF_OCOOKIE,
	XTUN_A_CONF_L2SPEC,
	XTUN_A_CONF_ECHO,
	XTUN_A_CONF_KEEPALIVE,
	XTUN_A_CONF_LINK_NAME,
	XTUN_A_CONF_FWMARK_FROM,
	XTUN_A_CONF_MARK_IN,
	XTUN_A_CONF_MARK_IN_FROM,
	XTUN_A_CONF_LPORT,
	XTUN_A_CONF_HIDDEN,

	__XTUN_A_CONF_MAX,
	XTUN_A_CONF_MAX = (__XTUN_A_CONF_MAX - 1)
};

enum {
	XTUN_A_DROP_PAD = 1,
	XTUN_A_DROP_NAME,
	XTUN_A_DROP_PACKETS,
	XTUN_A_DROP_AGO,
	XTUN_A_DROP_SINCE,

	__XTUN_A_DROP_MAX,
	XTUN_A_DROP_MAX = (__XTUN_A_DROP_MAX - 1)
};

enum {
	XTUN_A_STATS_PAD = 1,
	XTUN_A_STATS_RX_PACKETS,
	XTUN_A_STATS_RX_BYTES,
	XTUN_A_STATS_TX_PACKETS,
	XTUN_A_STATS_TX_BYTES,
	XTUN_A_STATS_DROP,

	__XTUN_A_STATS_MAX,
	XTUN_A_STATS_MAX = (__XTUN_A_STATS_MAX - 1)
};

enum {
	XTUN_A_PATH_PAD = 1,
	XTUN_A_PATH_PEER,
	XTUN_A_PATH_ERROR,
	XTUN_A_PATH_LOOP,
	XTUN_A_PATH_LINK,
	XTUN_A_PATH_LINK_NAME,
	XTUN_A_PATH_GATEWAY,
	XTUN_A_PATH_SOURCE,
	XTUN_A_PATH_LINK_MTU,
	XTUN_A_PATH_MTU,
	XTUN_A_PATH_EXPIRES,
	XTUN_A_PATH_FITS,
	XTUN_A_PATH_LEARNED_MTU,
	XTUN_A_PATH_LEARNED_FROM,
	XTUN_A_PATH_LEARNED_AGO,
	XTUN_A_PATH_ERRORS,
	XTUN_A_PATH_LAST_TYPE,
	XTUN_A_PATH_LAST_CODE,
	XTUN_A_PATH_LAST_FROM,
	XTUN_A_PATH_LAST_AGO,
	XTUN_A_PATH_ANSWER,
	XTUN_A_PATH_ANSWER_FOR,
	XTUN_A_PATH_LAST_SINCE,
	XTUN_A_PATH_HEARD_AGO,
	XTUN_A_PATH_SENT_AGO,

	__XTUN_A_PATH_MAX,
	XTUN_A_PATH_MAX = (__XTUN_A_PATH_MAX - 1)
};

enum {
	XTUN_A_ERROR_PEER = 1,
	XTUN_A_ERROR_FROM,
	XTUN_A_ERROR_TYPE,
	XTUN_A_ERROR_CODE,
	XTUN_A_ERROR_MTU,
	XTUN_A_ERROR_OUTCOME,
	XTUN_A_ERROR_INNER_SOURCE,
	XTUN_A_ERROR_INNER_DESTINATION,
	XTUN_A_ERROR_INNER_PROTOCOL,
	XTUN_A_ERROR_INNER_SPORT,
	XTUN_A_ERROR_INNER_DPORT,
	XTUN_A_ERROR_LOST,

	__XTUN_A_ERROR_MAX,
	XTUN_A_ERROR_MAX = (__XTUN_A_ERROR_MAX - 1)
};

enum {
	XTUN_A_TUNNEL_IFINDEX = 1,
	XTUN_A_TUNNEL_IFNAME,
	XTUN_A_TUNNEL_CONF,
	XTUN_A_TUNNEL_NETNS_FD,
	XTUN_A_TUNNEL_LINK_NETNSID,
	XTUN_A_TUNNEL_OVERHEAD,
	XTUN_A_TUNNEL_DEVICE_MTU,
	XTUN_A_TUNNEL_STATS,
	XTUN_A_TUNNEL_ADDR,
	XTUN_A_TUNNEL_PATH,
	XTUN_A_TUNNEL_ARMED_FOR,
	XTUN_A_TUNNEL_ERROR,
	XTUN_A_TUNNEL_WAITS_FOR,

	__XTUN_A_TUNNEL_MAX,
	XTUN_A_TUNNEL_MAX = (__XTUN_A_TUNNEL_MAX - 1)
};

enum {
	XTUN_CMD_GET = 1,
	XTUN_CMD_NEW,
	XTUN_CMD_SET,
	XTUN_CMD_DEL,
	XTUN_CMD_STATS_GET,
	XTUN_CMD_NEW_NTF,
	XTUN_CMD_SET_NTF,
	XTUN_CMD_DEL_NTF,
	XTUN_CMD_PATH_GET,
	XTUN_CMD_PATH_NTF,
	XTUN_CMD_ERROR_NTF,

	__XTUN_CMD_MAX,
	XTUN_CMD_MAX = (__XTUN_CMD_MAX - 1)
};

#define XTUN_MCGRP_EVENTS	"events"

#endif /* _UAPI_LINUX_XTUN_H */
