/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who is told what over netlink.
 */
#ifndef _XTUN_NOTIFY_H
#define _XTUN_NOTIFY_H

#include "drop.h"
#include "packet.h"

struct xtun_dev;

/* What of a tunnel somebody may see; the rest everybody may. */
enum xtun_sight {
	/* Devices and routes of its underlay. */
	XTUN_SEES_UNDERLAY = BIT(0),
	/* What shows packets to be the tunnel's. */
	XTUN_SEES_SECRETS = BIT(1),
};

/* sight.c */
u8 xtun_sight_of_all(const struct xtun_dev *tun);
u8 xtun_sight_of_listeners(const struct xtun_dev *tun);
u8 xtun_sight_of(const struct xtun_dev *tun, const struct sk_buff *request);

/**
 * struct xtun_error_event - an ICMP error that was believed, for those who watch
 * @peer: end that it is about
 * @from: who sent it
 * @family: of both, the underlay's
 * @type: its type
 * @code: its code
 * @mtu: path MTU in bytes that it tells, or 0
 * @outcome: what became of it, one of XTUN_ERR_...
 * @inner: the sender's packet as far as it is known, its network header set, or
 *	NULL
 * @proto: ethertype of @inner, or 0
 */
struct xtun_error_event {
	const union nf_inet_addr *peer;
	const union nf_inet_addr *from;
	u8 family;
	u8 type;
	u8 code;
	u32 mtu;
	enum xtun_counter outcome;
	const struct sk_buff *inner;
	__be16 proto;
};

/* notify.c */
void xtun_notify(const struct xtun_dev *tun, u8 cmd);

/* genl.c */
int xtun_genl_init(void);
void xtun_genl_exit(void);

/* path.c */
u32 xtun_path_mtu(const struct xtun_conf *conf,
		  const union nf_inet_addr *peer);
void xtun_notify_path(const struct xtun_conf *conf,
		      const union nf_inet_addr *peer, u32 before);

/* event.c */
void xtun_notify_error(const struct xtun_dev *tun,
		       const struct xtun_error_event *event);

#endif /* _XTUN_NOTIFY_H */
