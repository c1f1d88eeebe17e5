// SPDX-License-Identifier: GPL-2.0
/*
 * From the way in to the stack: received packets wait on the CPU that has received them,
 * so that the stack does not grow with each tunnel in a tunnel, and go on from a poll of
 * their own. What GRO may merge goes through it; all else goes on in one list.
 *
 * The kernel's gro_cells do the same, but have GRO look at every packet, which is a fifth
 * of what a tunnel costs on the way in: for a datagram that goes on to others in vain.
 */
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <net/addrconf.h>
#include <net/hotdata.h>
#include <net/ip.h>

#include "device.h"
#include "packet.h"

/**
 * struct xtun_cell - what one CPU has received for a tunnel
 * @queue: packets that wait; its lock is for who may poll on another CPU (threaded NAPI)
 *	or be preempted (PREEMPT_RT)
 * @batch: those of them that the poll has taken, for the poll alone
 * @napi: polls them
 */
struct xtun_cell {
	struct sk_buff_head queue;
	struct sk_buff_head batch;
	struct napi_struct napi;
};

/**
 * struct xtun_cells - those of all CPUs
 * @cell: each
 * @rcu: for the grace period before they are freed
 */
struct xtun_cells {
	struct xtun_cell __percpu *cell;
	struct rcu_head rcu;
};

/* Features of a device by which GRO merges datagrams for whomever they are. */
#define XTUN_GRO_UDP	(NETIF_F_GRO_FRAGLIST | NETIF_F_GRO_UDP_FWD)

/**
 * struct xtun_dest - where the packets of a poll go, of which many have the same
 * @addr: destination of the last that was asked about
 * @family: AF_INET or AF_INET6, 0 before the first
 * @ours: it is an address of this host, or a group, which may be
 */
struct xtun_dest {
	union nf_inet_addr addr;
	u8 family;
	bool ours;
};

static bool xtun_dest_ours(struct xtun_dest *last, const struct sk_buff *skb)
{
	struct xtun_dest dest = { .family = AF_INET };
	struct net *net = dev_net(skb->dev);

	if (skb->protocol == htons(ETH_P_IP)) {
		dest.addr.ip = ip_hdr(skb)->daddr;
	} else {
		dest.addr.in6 = ipv6_hdr(skb)->daddr;
		dest.family = AF_INET6;
	}
	if (dest.family == last->family &&
	    ipv6_addr_equal(&dest.addr.in6, &last->addr.in6))
		return last->ours;

	if (dest.family == AF_INET)
		dest.ours = ipv4_is_multicast(dest.addr.ip) ||
			    __ip_dev_find(net, dest.addr.ip, false);
	else
		dest.ours = ipv6_addr_is_multicast(&dest.addr.in6) ||
			    ipv6_chk_addr(net, &dest.addr.in6, NULL, 0);
	*last = dest;
	return dest.ours;
}

/*
 * May GRO merge it? Datagrams it merges for sockets that want it, which are looked for
 * at addresses of this host only, and for nobody else unless a feature says so. Of ICMP
 * it merges nothing. About all else it is asked. The answer is one for all packets of a
 * flow, its IPv6 fragments too, or they would overtake each other; but other extension
 * headers may bring another.
 */
static bool xtun_gro_may(struct sk_buff *skb, struct xtun_dest *last)
{
	u8 ipproto;

	if (netif_elide_gro(skb->dev))
		return false;
	if (skb->protocol == htons(ETH_P_IP) &&
	    skb_headlen(skb) >= sizeof(struct iphdr))
		ipproto = ip_hdr(skb)->protocol;
	else if (skb->protocol == htons(ETH_P_IPV6) &&
		 skb_headlen(skb) >= sizeof(struct ipv6hdr))
		ipproto = ipv6_hdr(skb)->nexthdr;
	else
		return true;

	switch (ipproto) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return false;
	case IPPROTO_UDP:
	case NEXTHDR_FRAGMENT:
		return skb->dev->features & XTUN_GRO_UDP ||
		       xtun_dest_ours(last, skb);
	default:
		return true;
	}
}

/*
 * The outer packet's transport header is where it was. GRO would have set that of this
 * packet, and a bridge, or tc, sends it on without IP doing so.
 */
static void xtun_cell_transport(struct sk_buff *skb)
{
	skb_reset_transport_header(skb);
	if (skb->protocol == htons(ETH_P_IP) &&
	    skb_headlen(skb) >= sizeof(struct iphdr))
		skb_set_transport_header(skb, skb_network_offset(skb) +
					 ip_hdrlen(skb));
	else if (skb->protocol == htons(ETH_P_IPV6) &&
		 skb_headlen(skb) >= sizeof(struct ipv6hdr) &&
		 !ipv6_ext_hdr(ipv6_hdr(skb)->nexthdr))
		skb_set_transport_header(skb, skb_network_offset(skb) +
					 sizeof(struct ipv6hdr));
	else if (skb_is_gso(skb))
		skb_probe_transport_header(skb);
}

static int xtun_cell_poll(struct napi_struct *napi, int budget)
{
	struct xtun_cell *cell = container_of(napi, struct xtun_cell, napi);
	struct xtun_dest last = {};
	struct sk_buff *skb;
	LIST_HEAD(list);
	int done = 0;
	bool alone;

	if (skb_queue_empty(&cell->batch)) {
		spin_lock(&cell->queue.lock);
		skb_queue_splice_tail_init(&cell->queue, &cell->batch);
		spin_unlock(&cell->queue.lock);
	}
	/* There is nothing that GRO could merge it with, or that it could overtake. */
	alone = skb_queue_len(&cell->batch) == 1 && !xtun_gro_holds(napi);
	while (done < budget) {
		skb = __skb_dequeue(&cell->batch);
		if (!skb)
			break;
		done++;
		/* A clone's head is somebody else's, too, and GRO writes to it. */
		if (!alone && xtun_gro_may(skb, &last) &&
		    !skb_unclone(skb, GFP_ATOMIC)) {
			napi_gro_receive(napi, skb);
			continue;
		}
		xtun_cell_transport(skb);
		list_add_tail(&skb->list, &list);
	}
	netif_receive_skb_list(&list);
	if (done < budget)
		napi_complete_done(napi, done);
	return done;
}

/**
 * xtun_cells_rx() - give a received packet to the stack
 * @tun: the tunnel that it came by
 * @skb: the inner packet, its device the tunnel's; consumed if it is taken
 *
 * Context: BH disabled.
 * Return: false when it was not taken, as too many wait, or the device is down.
 */
bool xtun_cells_rx(struct xtun_dev *tun, struct sk_buff *skb)
{
	struct xtun_cell *cell = this_cpu_ptr(tun->cells->cell);
	bool first;

	if (unlikely(skb_queue_len_lockless(&cell->queue) > xtun_max_backlog() ||
		     !(tun->dev->flags & IFF_UP)))
		return false;
	spin_lock(&cell->queue.lock);
	__skb_queue_tail(&cell->queue, skb);
	first = skb_queue_len(&cell->queue) == 1;
	spin_unlock(&cell->queue.lock);
	if (first)
		napi_schedule(&cell->napi);
	return true;
}

/**
 * xtun_cells_init() - make the queues of a tunnel
 * @tun: the tunnel
 *
 * Context: RTNL, may sleep.
 * Return: 0 or -ENOMEM.
 */
int xtun_cells_init(struct xtun_dev *tun)
{
	struct xtun_cell *cell;
	int cpu;

	tun->cells = kzalloc(sizeof(*tun->cells), GFP_KERNEL);
	if (!tun->cells)
		return -ENOMEM;
	tun->cells->cell = alloc_percpu(struct xtun_cell);
	if (!tun->cells->cell) {
		kfree(tun->cells);
		tun->cells = NULL;
		return -ENOMEM;
	}
	for_each_possible_cpu(cpu) {
		cell = per_cpu_ptr(tun->cells->cell, cpu);
		skb_queue_head_init(&cell->queue);
		__skb_queue_head_init(&cell->batch);
		/* Nobody waits for packets of a tunnel by polling it. */
		set_bit(NAPI_STATE_NO_BUSY_POLL, &cell->napi.state);
		netif_napi_add(tun->dev, &cell->napi, xtun_cell_poll);
		napi_enable(&cell->napi);
	}
	return 0;
}

static void xtun_cells_free(struct rcu_head *rcu)
{
	struct xtun_cells *cells = container_of(rcu, struct xtun_cells, rcu);

	free_percpu(cells->cell);
	kfree(cells);
}

/**
 * xtun_cells_exit() - free them, and what is in them
 * @tun: the tunnel, which no packet can reach any more
 *
 * Context: process, may sleep.
 */
void xtun_cells_exit(struct xtun_dev *tun)
{
	struct xtun_cell *cell;
	int cpu;

	for_each_possible_cpu(cpu) {
		cell = per_cpu_ptr(tun->cells->cell, cpu);
		napi_disable(&cell->napi);
		__netif_napi_del(&cell->napi);
		__skb_queue_purge(&cell->batch);
		__skb_queue_purge(&cell->queue);
	}
	/* Who looks through the device's NAPIs does so under RCU. */
	call_rcu(&tun->cells->rcu, xtun_cells_free);
}
