/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _XTUN_COMPAT_NET_UDP_TUNNEL_H
#define _XTUN_COMPAT_NET_UDP_TUNNEL_H

#include_next <net/udp_tunnel.h>

/* They took what user space has of a socket before they took the socket. */
#ifndef XTUN_HAVE_UDP_TUNNEL_SK
#define setup_udp_tunnel_sock(net, sk, cfg)				\
	setup_udp_tunnel_sock(net, (sk)->sk_socket, cfg)
#define udp_tunnel_sock_release(sk)					\
	udp_tunnel_sock_release((sk)->sk_socket)
#define udp_tunnel_notify_add_rx_port(sk, type)				\
	udp_tunnel_notify_add_rx_port((sk)->sk_socket, type)
#define udp_tunnel_notify_del_rx_port(sk, type)				\
	udp_tunnel_notify_del_rx_port((sk)->sk_socket, type)
#define udp_tunnel_push_rx_port(dev, sk, type)				\
	udp_tunnel_push_rx_port(dev, (sk)->sk_socket, type)
#define udp_tunnel_drop_rx_port(dev, sk, type)				\
	udp_tunnel_drop_rx_port(dev, (sk)->sk_socket, type)
#endif

/*
 * Both send what is no packet of a tunnel, without DF and with a checksum. Flags
 * for the way out came later.
 */
static inline void xtun_udp4_send(struct rtable *rt, struct sock *sk,
				  struct sk_buff *skb, struct flowi4 *fl4,
				  u8 tos, u8 ttl)
{
#ifdef XTUN_HAVE_UDP_TUNNEL_FLAGS
	udp_tunnel_xmit_skb(rt, sk, skb, fl4->saddr, fl4->daddr, tos, ttl, 0,
			    fl4->fl4_sport, fl4->fl4_dport, false, false, 0);
#else
	udp_tunnel_xmit_skb(rt, sk, skb, fl4->saddr, fl4->daddr, tos, ttl, 0,
			    fl4->fl4_sport, fl4->fl4_dport, false, false);
#endif
}

static inline void xtun_udp6_send(struct dst_entry *dst, struct sock *sk,
				  struct sk_buff *skb, struct flowi6 *fl6,
				  u8 tos, u8 ttl)
{
#ifdef XTUN_HAVE_UDP_TUNNEL_FLAGS
	udp_tunnel6_xmit_skb(dst, sk, skb, NULL, &fl6->saddr, &fl6->daddr, tos,
			     ttl, 0, fl6->fl6_sport, fl6->fl6_dport, false, 0);
#else
	udp_tunnel6_xmit_skb(dst, sk, skb, NULL, &fl6->saddr, &fl6->daddr, tos,
			     ttl, 0, fl6->fl6_sport, fl6->fl6_dport, false);
#endif
}

#endif /* _XTUN_COMPAT_NET_UDP_TUNNEL_H */
