// SPDX-License-Identifier: GPL-2.0
/*
 * Neighbours whose link-layer addresses are those of peers, for GRE with many
 * (mGRE): "ip neigh add 10.0.0.2 lladdr 198.51.100.1 dev t0". The device has the
 * type, the length of addresses and the flags that those of ip_gre have, because
 * routing daemons know by these what it is. The link-layer header of a packet
 * that goes out is the peer's address and no more; that of one that came in is
 * its outer header.
 *
 * As with ip_gre, IFF_NOARP is set until somebody who resolves addresses clears
 * it (FRR's nhrpd does). Neighbours that nobody has given an address have that of
 * the device then, which is zero: the gateway of the route is the peer.
 */
#include <linux/if_arp.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/ip_tunnels.h>
#include <net/ipv6.h>

#include "conf.h"
#include "device.h"
#include "packet.h"

static int xtun_neigh_create(struct sk_buff *skb, struct net_device *dev,
			     unsigned short type, const void *daddr,
			     const void *saddr, unsigned int len)
{
	u8 *header = skb_push(skb, dev->addr_len);

	if (daddr)
		memcpy(header, daddr, dev->addr_len);
	else
		memset(header, 0, dev->addr_len);
	return dev->addr_len;
}

/* The outer source, where the outer header is before the inner packet. */
static int xtun_neigh_parse4(const struct sk_buff *skb,
			     XTUN_PARSE_DEV unsigned char *haddr)
{
	const struct iphdr *iph = (const struct iphdr *)skb_mac_header(skb);

	if (skb->pkt_type == PACKET_OUTGOING ||
	    !skb_mac_header_was_set(skb) ||
	    skb_network_header(skb) - skb_mac_header(skb) <
	    (int)sizeof(*iph) || iph->version != 4)
		return 0;
	memcpy(haddr, &iph->saddr, sizeof(iph->saddr));
	return sizeof(iph->saddr);
}

/*
 * Without parse for IPv6: nfnetlink_log and nfnetlink_queue have room for 8 bytes
 * of an address, and parse is not told for how many.
 */
static const struct header_ops xtun_neigh_header_ops[] = {
	{
		.create = xtun_neigh_create,
		.parse = xtun_neigh_parse4,
		.parse_protocol = ip_tunnel_parse_protocol,
	}, {
		.create = xtun_neigh_create,
		.parse_protocol = ip_tunnel_parse_protocol,
	},
};

/**
 * xtun_neigh_wanted() - is a new device one with neighbours?
 * @conf: its configuration
 *
 * Context: RTNL.
 * Return: whether it is, for as long as it carries what it carries now.
 */
bool xtun_neigh_wanted(const struct xtun_conf *conf)
{
	return conf->p.encap == XTUN_ENCAP_GRE &&
	       conf->p.payload == XTUN_PAYLOAD_IP &&
	       !xtun_has_remote(conf);
}

/**
 * xtun_neigh_setup() - let a device have neighbours
 * @tun: the tunnel, its device that of payload ip and not registered
 * @family: AF_INET or AF_INET6, of their link-layer addresses
 *
 * Context: RTNL.
 */
void xtun_neigh_setup(struct xtun_dev *tun, u8 family)
{
	struct net_device *dev = tun->dev;

	tun->neigh = family;
	dev->header_ops = &xtun_neigh_header_ops[family == AF_INET6];
	dev->type = family == AF_INET ? ARPHRD_IPGRE : ARPHRD_IP6GRE;
	dev->flags = IFF_NOARP;
	dev->addr_len = family == AF_INET ? sizeof(struct in_addr) :
					    sizeof(struct in6_addr);
	dev->hard_header_len = dev->addr_len;
}

/* Not one host: what neighbours of groups have for an address, or none at all. */
static bool xtun_neigh_is_host(const struct xtun_cx *cx)
{
	if (cx->tun->neigh == AF_INET)
		return !ipv4_is_multicast(cx->daddr.ip) &&
		       !ipv4_is_lbcast(cx->daddr.ip);
	return !ipv6_addr_is_multicast(&cx->daddr.in6);
}

/**
 * xtun_neigh_take() - take the link-layer header off a packet that is to go out
 * @cx: the packet; gets as its peer the one that its neighbour has named
 *
 * What was redirected into the device has no such header.
 *
 * Context: BH disabled.
 */
void xtun_neigh_take(struct xtun_cx *cx)
{
	unsigned int len = cx->tun->dev->addr_len;
	struct sk_buff *skb = cx->skb;

	if (skb_network_offset(skb) != (int)len || !pskb_may_pull(skb, len))
		return;
	memcpy(&cx->daddr, skb->data, len);
	skb_pull(skb, len);
	if (!xtun_neigh_is_host(cx))
		memset(&cx->daddr, 0, sizeof(cx->daddr));
}

static int xtun_neigh_output(struct neighbour *neigh, struct sk_buff *skb)
{
	return dev_queue_xmit(skb);
}

/**
 * xtun_neigh_construct() - ndo_neigh_construct of payload ip
 * @dev: the device
 * @neigh: a new neighbour of it
 *
 * A device that has no link-layer header need not be asked to write it, which the
 * kernel does where a device can parse one. Once somebody gives the neighbour another
 * state, the kernel's way is taken again.
 *
 * Context: any.
 * Return: 0.
 */
int xtun_neigh_construct(struct net_device *dev, struct neighbour *neigh)
{
	const struct xtun_dev *tun = netdev_priv(dev);

	if (!tun->neigh)
		neigh->output = xtun_neigh_output;
	return 0;
}
