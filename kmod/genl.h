/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the generic-netlink family share.
 */
#ifndef _XTUN_GENL_H
#define _XTUN_GENL_H

#include <net/genetlink.h>

#include "conf.h"
#include "device.h"
#include "route.h"
#include "xtun_nl.h"

extern struct genl_family xtun_family;

/**
 * struct xtun_head - header of a message
 * @portid: who gets it, 0 for all listeners
 * @seq: number of the request
 * @flags: NLM_F_MULTI in a dump
 * @cmd: what it is, XTUN_CMD_...
 */
struct xtun_head {
	u32 portid;
	u32 seq;
	int flags;
	u8 cmd;
};

/**
 * struct xtun_dump - where a dump of a netns goes on
 * @last: ifindex of the device that it passed last, 0 for none
 * @passed: how many it has passed
 *
 * Devices that come or go meanwhile are told by NLM_F_DUMP_INTR.
 */
struct xtun_dump {
	int last;
	unsigned int passed;
};

/* Writes what a message has to say of a tunnel; 0 or -EMSGSIZE. */
typedef int (*xtun_put_t)(struct sk_buff *skb, const struct xtun_dev *tun,
			  const void *about);

/* Seconds from one time to another that is not before it, both in jiffies. */
static inline u32 xtun_seconds(unsigned long from, unsigned long to)
{
	return (to - from) / HZ;
}

/**
 * struct xtun_path_info - all that is known of the path to a peer
 * @conf: configuration that the route was looked up with
 * @peer: what errors have told; zero but for addr where there were none
 * @alive: the last packets from and to it, as far as they are known
 * @path: the outer route
 * @err: or why there is none, a negative error
 * @sight: enum xtun_sight, of those who will read it
 */
struct xtun_path_info {
	const struct xtun_conf *conf;
	struct xtun_peer peer;
	struct xtun_alive alive;
	struct xtun_path path;
	int err;
	u8 sight;
};

int xtun_put_path(struct sk_buff *skb, const struct xtun_dev *tun,
		  const void *about);
void xtun_path_complete(struct xtun_path_info *known);
void xtun_path_gather(struct xtun_dev *tun, const struct xtun_conf *conf,
		      const union nf_inet_addr *addr, struct xtun_path_info *known);
struct xtun_dev *xtun_find(struct net *net, const struct nlattr *index,
			   const struct nlattr *name,
			   struct netlink_ext_ack *extack);
struct xtun_dev *xtun_find_asked(struct genl_info *info);
struct net_device *xtun_dump_resume(struct net *net,
				    const struct xtun_dump *dump);
struct net_device *xtun_dump_pass(struct xtun_dump *dump,
				  struct net_device *dev);
int xtun_put_tunnel(struct sk_buff *skb, const struct xtun_dev *tun,
		    const void *about);
size_t xtun_tunnel_size(const struct xtun_dev *tun);
int xtun_put_id(struct sk_buff *skb, const struct xtun_dev *tun);
struct sk_buff *xtun_new_message(const struct xtun_dev *tun,
				 const struct xtun_head *head, size_t size,
				 xtun_put_t put, const void *about, gfp_t gfp);
int xtun_put_message(struct sk_buff *skb, const struct xtun_dev *tun,
		     const struct xtun_head *head, xtun_put_t put,
		     const void *about);
int xtun_answer_one(struct genl_info *info, const struct xtun_dev *tun,
		    size_t size, u8 cmd, xtun_put_t put, const void *about);
bool xtun_listened(const struct xtun_dev *tun);
int xtun_multicast(const struct xtun_dev *tun, size_t size, u8 cmd,
		   xtun_put_t put, const void *about, gfp_t gfp);

#endif /* _XTUN_GENL_H */
