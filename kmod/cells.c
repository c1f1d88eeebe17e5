// SPDX-License-Identifier: GPL-2.0
/*
 * From the way in to the stack: received packets wait on the CPU that has received them,
 * so that the stack does not grow with each tunnel in a tunnel, and go on from a poll of
 * their own. What GRO may merge goes through it; all else goes on in one list.
 *
 * The kernel's gro_cells do the same for each device, but have GRO look at every packet,
 * which is a fifth of what a tunnel costs on the way in: for a datagram that goes on to
 * others in vain. Here all tunnels share the queue of a CPU, as they share its backlog
 * and its cards: packets of many tunnels are one list, and a tunnel needs no memory for
 * a queue of its own.
 */
#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/local_lock.h>
#include <linux/netdevice.h>
#include <net/addrconf.h>
#include <net/hotdata.h>
#include <net/ip.h>

#include "device.h"
#include "packet.h"

/**
 * struct xtun_cell - what one CPU has received for tunnels
 * @queue: packets that wait
 * @lock: where others may preempt who has BH disabled (PREEMPT_RT), of @queue
 * @queued: so many have ever come into @queue
 * @passed: so many of them has the stack, none of which GRO still holds
 * @waiting: somebody waits for @passed, under RTNL
 * @napi: polls them; on the CPU itself, or, once that is offline, on another one
 */
struct xtun_cell {
	struct sk_buff_head queue;
	local_lock_t lock;
	u32 queued;
	u32 passed;
	bool waiting;
	struct napi_struct napi;
};

static struct xtun_cell __percpu *xtun_cells;

/* Of the kernel's list of what is to be done when CPUs come and go. */
static int xtun_cells_hotplug;

/* Every NAPI belongs to a device; nobody sees this one. */
static struct net_device *xtun_cells_dev;

/* Features of a device by which GRO merges datagrams for whomever they are. */
#define XTUN_GRO_UDP	(NETIF_F_GRO_FRAGLIST | NETIF_F_GRO_UDP_FWD)

/**
 * struct xtun_dest - where the packets of a poll go, of which many have the same
 * @scope: where the last that was asked about came: its device if that is the port of a
 *	VRF, else the netns; NULL before the first
 * @addr: its destination
 * @protocol: its ethertype
 * @ours: that is an address of this host, or a group, which may be
 */
struct xtun_dest {
	const void *scope;
	union nf_inet_addr addr;
	__be16 protocol;
	bool ours;
};

static const void *xtun_dest_scope(const struct sk_buff *skb)
{
	return netif_is_l3_slave(skb->dev) ? (const void *)skb->dev : dev_net(skb->dev);
}

static bool xtun_dest_same(const struct xtun_dest *last, const struct sk_buff *skb)
{
	if (last->scope != xtun_dest_scope(skb) || last->protocol != skb->protocol)
		return false;
	return skb->protocol == htons(ETH_P_IP) ?
	       last->addr.ip == ip_hdr(skb)->daddr :
	       ipv6_addr_equal(&last->addr.in6, &ipv6_hdr(skb)->daddr);
}

static noinline bool xtun_dest_find(struct xtun_dest *last, const struct sk_buff *skb)
{
	struct net *net = dev_net(skb->dev);

	last->scope = xtun_dest_scope(skb);
	last->protocol = skb->protocol;
	if (skb->protocol == htons(ETH_P_IP)) {
		last->addr.ip = ip_hdr(skb)->daddr;
		last->ours = ipv4_is_multicast(last->addr.ip) ||
			     __ip_dev_find(net, last->addr.ip, false);
	} else {
		last->addr.in6 = ipv6_hdr(skb)->daddr;
		last->ours = ipv6_addr_is_multicast(&last->addr.in6) ||
			     ipv6_chk_addr(net, &last->addr.in6, skb->dev, 0);
	}
	return last->ours;
}

static bool xtun_dest_ours(struct xtun_dest *last, const struct sk_buff *skb)
{
	return likely(xtun_dest_same(last, skb)) ? last->ours : xtun_dest_find(last, skb);
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

static struct sk_buff *xtun_cell_take(struct xtun_cell *cell)
{
	struct sk_buff *skb;

	local_lock_nested_bh(&xtun_cells->lock);
	skb = __skb_dequeue(&cell->queue);
	local_unlock_nested_bh(&xtun_cells->lock);
	return skb;
}

/*
 * What has been taken out of the queue is passed on once GRO lets go of it, at the end of
 * a poll that has not used up its budget. Who waits for that must not wait until no
 * packets come any more.
 */
static int xtun_cell_done(struct xtun_cell *cell, int done, int budget)
{
	u32 taken = cell->queued - skb_queue_len(&cell->queue);

	if (likely(!READ_ONCE(cell->waiting))) {
		if (done == budget)
			return budget;
	} else {
		done = min(done, budget - 1);
	}
	napi_complete_done(&cell->napi, done);
	WRITE_ONCE(cell->passed, taken);
	if (unlikely(!skb_queue_empty(&cell->queue)))
		napi_schedule(&cell->napi);
	return done;
}

static int xtun_cell_poll(struct napi_struct *napi, int budget)
{
	struct xtun_cell *cell = container_of(napi, struct xtun_cell, napi);
	struct xtun_dest last = {};
	struct sk_buff *skb;
	LIST_HEAD(list);
	int done = 0;
	bool alone;

	/* There is nothing that GRO could merge it with, or that it could overtake. */
	alone = skb_queue_len(&cell->queue) == 1 && !xtun_gro_holds(napi);
	while (done < budget) {
		skb = xtun_cell_take(cell);
		if (!skb)
			break;
		done++;
		/* Its device may be on its way out. */
		if (unlikely(!(skb->dev->flags & IFF_UP))) {
			xtun_drop(netdev_priv(skb->dev), skb, XTUN_RX_BACKLOG);
			continue;
		}
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
	return xtun_cell_done(cell, done, budget);
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
	struct xtun_cell *cell;
	bool first, taken;

	local_lock_nested_bh(&xtun_cells->lock);
	cell = this_cpu_ptr(xtun_cells);
	taken = skb_queue_len(&cell->queue) <= xtun_max_backlog() &&
		tun->dev->flags & IFF_UP;
	if (likely(taken)) {
		__skb_queue_tail(&cell->queue, skb);
		WRITE_ONCE(cell->queued, cell->queued + 1);
	}
	first = taken && skb_queue_len(&cell->queue) == 1;
	local_unlock_nested_bh(&xtun_cells->lock);
	if (first)
		napi_schedule(&cell->napi);
	return taken;
}

/**
 * xtun_cells_drain() - wait until the stack has what was received
 *
 * For a device that nothing comes through any more, and that is to be deleted. What
 * still waits for it is dropped, since it is down.
 *
 * Context: RTNL, may sleep.
 */
void xtun_cells_drain(void)
{
	struct xtun_cell *cell;
	u32 queued;
	int cpu;

	for_each_possible_cpu(cpu) {
		cell = per_cpu_ptr(xtun_cells, cpu);
		queued = READ_ONCE(cell->queued);
		if (READ_ONCE(cell->passed) == queued)
			continue;
		WRITE_ONCE(cell->waiting, true);
		while ((s32)(READ_ONCE(cell->passed) - queued) < 0)
			usleep_range(50, 500);
		WRITE_ONCE(cell->waiting, false);
	}
}

/*
 * Another CPU has taken over the polling when this one went. It has to be done before
 * this one receives again: only one of them may touch the queue.
 */
static int xtun_cells_online(unsigned int cpu)
{
	const struct xtun_cell *cell = per_cpu_ptr(xtun_cells, cpu);

	while (READ_ONCE(cell->passed) != READ_ONCE(cell->queued))
		usleep_range(50, 500);
	return 0;
}

static void xtun_cells_free(void)
{
	struct xtun_cell *cell;
	int cpu;

	for_each_possible_cpu(cpu) {
		cell = per_cpu_ptr(xtun_cells, cpu);
		napi_disable(&cell->napi);
		netif_napi_del(&cell->napi);
	}
	free_percpu(xtun_cells);
	xtun_free_dummy(xtun_cells_dev);
}

/**
 * xtun_cells_init() - make the queues
 *
 * Context: process, may sleep.
 * Return: 0 or a negative error.
 */
int xtun_cells_init(void)
{
	struct xtun_cell *cell;
	int cpu;

	xtun_cells_dev = xtun_alloc_dummy();
	if (!xtun_cells_dev)
		return -ENOMEM;
	xtun_cells = alloc_percpu(struct xtun_cell);
	if (!xtun_cells) {
		xtun_free_dummy(xtun_cells_dev);
		return -ENOMEM;
	}
	for_each_possible_cpu(cpu) {
		cell = per_cpu_ptr(xtun_cells, cpu);
		__skb_queue_head_init(&cell->queue);
		local_lock_init(&cell->lock);
		/* Nobody waits for packets of a tunnel by polling it. */
		set_bit(NAPI_STATE_NO_BUSY_POLL, &cell->napi.state);
		netif_napi_add(xtun_cells_dev, &cell->napi, xtun_cell_poll);
		napi_enable(&cell->napi);
	}
	xtun_cells_hotplug = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "net/xtun:prepare",
						       xtun_cells_online, NULL);
	if (xtun_cells_hotplug < 0) {
		xtun_cells_free();
		return xtun_cells_hotplug;
	}
	return 0;
}

/**
 * xtun_cells_exit() - free the queues, which are empty
 *
 * Context: process, may sleep.
 */
void xtun_cells_exit(void)
{
	cpuhp_remove_state_nocalls(xtun_cells_hotplug);
	xtun_cells_free();
}
