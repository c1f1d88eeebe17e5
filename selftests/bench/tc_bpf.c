// SPDX-License-Identifier: GPL-2.0
/*
 * A tunnel without a tunnel device, as somebody would write it for tc: "push" is for the
 * egress of a device that has the route, "pop" for the ingress of the underlay's card:
 *
 *	tc filter add dev t0 egress bpf da obj tc_bpf.o sec push
 *	tc filter add dev u1 ingress bpf da obj tc_bpf.o sec pop
 *
 * The tunnel is known when this is compiled, the cheapest way to know it. tcbpf.py passes
 * with -D:
 *	ENCAP_IPIP, ENCAP_GRE or ENCAP_VXLAN
 *	LOCAL, REMOTE	the outer addresses, as numbers
 *	UNDERLAY	the index of the underlay's card; the remote end is its neighbour
 *	VNI		the network of vxlan
 *	OWN_MAC		the device's MAC address, its last two bytes
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stddef.h>

#define BE16(number)	((__be16)__builtin_bswap16(number))
#define BE32(number)	((__be32)__builtin_bswap32(number))

#define INET		2
#define TTL		64
#define IP_DF		0x4000
#define IP_FRAGMENT	0x3fff
#define VXLAN_PORT	4789
#define VXLAN_FLAGS	0x08000000

/* What is between the Ethernet header and the inner packet, ROOM bytes of it. */
#if defined(ENCAP_IPIP)
#define PROTO		4
#define ROOM_FLAGS	BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
struct outer {
	struct iphdr ip;
};
#elif defined(ENCAP_GRE)
#define PROTO		47
#define ROOM_FLAGS	(BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_GRE)
struct outer {
	struct iphdr ip;
	__be16 flags;
	__be16 protocol;
};
#elif defined(ENCAP_VXLAN)
#define PROTO		17
#define ROOM_FLAGS	(BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |	\
			 BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN))
struct outer {
	struct iphdr ip;
	struct udphdr udp;
	__be32 flags;
	__be32 vni;
	__be16 eth[ETH_HLEN / 2];
};
#endif

#if defined(ENCAP_VXLAN)
#define ROOM		(offsetof(struct outer, eth) + ETH_HLEN)
#else
#define ROOM		sizeof(struct outer)
#endif

/* The kernel's functions, by their numbers. */
static long (*bpf_skb_adjust_room)(struct __sk_buff *skb, __s32 len, __u32 mode, __u64 flags) =
	(void *)BPF_FUNC_skb_adjust_room;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct bpf_redir_neigh *nexthop, int len,
				  __u64 flags) = (void *)BPF_FUNC_redirect_neigh;

/* The headers that are pushed or popped, if they are all there. */
static __always_inline struct outer *outer_headers(const struct __sk_buff *skb)
{
	void *outer = (void *)(long)skb->data + ETH_HLEN;

	return outer + ROOM <= (void *)(long)skb->data_end ? outer : NULL;
}

static __always_inline void push_ip(struct iphdr *ip, __u32 len)
{
	__u32 sum = 0x4500 + len + IP_DF + (TTL << 8 | PROTO) + (LOCAL >> 16) +
		    (LOCAL & 0xffff) + (REMOTE >> 16) + (REMOTE & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	*ip = (struct iphdr) {
		.version = 4,
		.ihl = 5,
		.tot_len = BE16(len),
		.frag_off = BE16(IP_DF),
		.ttl = TTL,
		.protocol = PROTO,
		.check = BE16((__u16)~sum),
		.saddr = BE32(LOCAL),
		.daddr = BE32(REMOTE),
	};
}

#if defined(ENCAP_VXLAN)
static __u32 (*bpf_get_hash_recalc)(struct __sk_buff *skb) = (void *)BPF_FUNC_get_hash_recalc;

static __always_inline void push_rest(struct outer *outer, const __be16 *inner,
				      __u32 len, __u32 hash)
{
	outer->udp = (struct udphdr) {
		.source = BE16(0xc000 | hash >> 18),
		.dest = BE16(VXLAN_PORT),
		.len = BE16(len - sizeof(outer->ip)),
	};
	outer->flags = BE32(VXLAN_FLAGS);
	outer->vni = BE32(VNI << 8);
	for (int i = 0; i < ETH_HLEN / 2; i++)
		outer->eth[i] = inner[i];
}

/* As the inner frame is for the device itself, its Ethernet header is not needed. */
static __always_inline int is_ours(const struct outer *outer)
{
	return outer->udp.dest == BE16(VXLAN_PORT) && outer->flags == BE32(VXLAN_FLAGS) &&
	       outer->vni == BE32(VNI << 8) && outer->eth[2] == BE16(OWN_MAC) &&
	       outer->eth[6] == BE16(ETH_P_IP);
}
#else
static __always_inline void push_rest(struct outer *outer, const __be16 *inner,
				      __u32 len, __u32 hash)
{
#if defined(ENCAP_GRE)
	outer->flags = 0;
	outer->protocol = BE16(ETH_P_IP);
#endif
}

static __always_inline int is_ours(const struct outer *outer)
{
#if defined(ENCAP_GRE)
	return !outer->flags && outer->protocol == BE16(ETH_P_IP);
#else
	return 1;
#endif
}
#endif

#pragma clang section text = "push"
int bench_push(struct __sk_buff *skb)
{
	struct bpf_redir_neigh nexthop = { .nh_family = INET, .ipv4_nh = BE32(REMOTE) };
	__u32 len = skb->len - ETH_HLEN + ROOM, hash = 0;
	struct outer *outer;

	if (skb->protocol != BE16(ETH_P_IP))
		return TC_ACT_SHOT;
#if defined(ENCAP_VXLAN)
	hash = bpf_get_hash_recalc(skb);
#endif
	if (bpf_skb_adjust_room(skb, ROOM, BPF_ADJ_ROOM_MAC, ROOM_FLAGS))
		return TC_ACT_SHOT;
	outer = outer_headers(skb);
	if (!outer)
		return TC_ACT_SHOT;
	push_ip(&outer->ip, len);
	push_rest(outer, (void *)outer - ETH_HLEN, len, hash);
	return bpf_redirect_neigh(UNDERLAY, &nexthop, sizeof(nexthop), 0);
}

/* The stack routes what was inside as if it had come without a tunnel. */
#pragma clang section text = "pop"
int bench_pop(struct __sk_buff *skb)
{
	const struct outer *outer = outer_headers(skb);

	if (!outer || skb->protocol != BE16(ETH_P_IP) || outer->ip.version != 4 ||
	    outer->ip.ihl != 5 || outer->ip.protocol != PROTO ||
	    outer->ip.saddr != BE32(REMOTE) || outer->ip.daddr != BE32(LOCAL) ||
	    outer->ip.frag_off & BE16(IP_FRAGMENT) || !is_ours(outer))
		return TC_ACT_OK;
	if (bpf_skb_adjust_room(skb, -(int)ROOM, BPF_ADJ_ROOM_MAC, 0))
		return TC_ACT_SHOT;
	return TC_ACT_OK;
}

#pragma clang section data = "license"
char bench_license[] = "GPL";
