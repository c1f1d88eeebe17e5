/* SPDX-License-Identifier: GPL-2.0 */
/* ICMP errors, in words. */
#ifndef XTUN_TOOLS_ICMP_H
#define XTUN_TOOLS_ICMP_H

/**
 * enum icmp_kind - what an error means for who sends through a tunnel
 * @ICMP_KIND_OTHER: nothing that has to do with reaching the peer
 * @ICMP_KIND_UNREACHABLE: the peer cannot be reached
 * @ICMP_KIND_PROHIBITED: somebody does not let the packets pass
 * @ICMP_KIND_NOT_TAKEN: the peer does not take them
 * @ICMP_KIND_TIME: they go too far, or round in circles
 */
enum icmp_kind {
	ICMP_KIND_OTHER,
	ICMP_KIND_UNREACHABLE,
	ICMP_KIND_PROHIBITED,
	ICMP_KIND_NOT_TAKEN,
	ICMP_KIND_TIME,
};

const char *icmp_text(int family, int type, int code);
enum icmp_kind icmp_kind(int family, int type, int code);

#endif
