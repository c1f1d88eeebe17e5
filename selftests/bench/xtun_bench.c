// SPDX-License-Identifier: GPL-2.0
/*
 * A network card that costs next to nothing, to measure what is between two of them:
 *
 *	ip link add b0 type xtun_bench
 *
 * It receives packets that were given to it, through NAPI and GRO as a driver does, and
 * counts and frees what it has to send, or hands it to another one.  All of it runs in
 * the process that asks for it, so that the time stamp counter before and after says
 * what so many packets have cost.  In a virtual machine of "qemu -icount shift=0" it
 * counts instructions.
 *
 * Files in debugfs, /sys/kernel/debug/xtun_bench/NAME/:
 *	packet	write: the packet to receive, in place of all before
 *	vary	write "OFFSET WIDTH COUNT": so many packets like the first one, with the
 *		big-endian number of 2 or 4 bytes at OFFSET counting up
 *	record	write COUNT: keep so many of the packets that are sent from now on
 *	from	write NAME: receive what NAME has kept, in place of all before
 *	peer	write NAME: what is sent is received by NAME from now on
 *	run	write "BATCHES SIZE": receive so many packets; read: the cycles of each batch
 *	mark	write "reset" or "dump": of what profile.c counts while packets are received
 *	sent	read: packets and bytes that were sent since it was read last
 */
#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>
#include <net/ip.h>
#include <net/rtnetlink.h>
#include <net/udp_tunnel.h>

#define BENCH_PACKETS_MAX	BIT(20)
#define BENCH_LEN_MAX		2048
#define BENCH_BATCHES_MAX	4096
#define BENCH_SIZE_MAX		BIT(20)

/* What profile.c looks for, in its order. */
enum {
	BENCH_MARK_RESET = 0x7874756e,
	BENCH_MARK_BEGIN,
	BENCH_MARK_END,
	BENCH_MARK_DUMP,
};

/* The most that a network card of this kind can take off the stack. */
#define BENCH_FEATURES	(NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HW_CSUM |	\
			 NETIF_F_RXCSUM | NETIF_F_HIGHDMA | NETIF_F_GSO_SOFTWARE | \
			 NETIF_F_GSO_ENCAP_ALL | NETIF_F_RX_UDP_TUNNEL_PORT)

struct bench_packet {
	u16 len;
	u8 data[];
};

/**
 * struct bench_store - packets
 * @packet: each of them
 * @n: so many there are
 * @max: room
 */
struct bench_store {
	struct bench_packet **packet;
	unsigned int n;
	unsigned int max;
};

/**
 * struct bench_dev - a card
 * @dev: its device
 * @dir: its folder in debugfs
 * @napi: receives
 * @rx: what it receives, from the first to the last and again
 * @next: the one that comes next
 * @todo: so many are yet to be received
 * @kept: what it has sent, as far as there is room
 * @queue: what its peer has sent and it has yet to receive
 * @peer: receives what this one sends; NULL: nobody does
 * @sent: packets sent
 * @sent_bytes: bytes sent
 * @cycles: of each batch of the last run
 * @batches: how many it had
 */
struct bench_dev {
	struct net_device *dev;
	struct dentry *dir;
	struct napi_struct napi;
	struct bench_store rx;
	unsigned int next;
	unsigned int todo;
	struct bench_store kept;
	struct sk_buff_head queue;
	struct bench_dev *peer;
	u64 sent;
	u64 sent_bytes;
	u64 *cycles;
	unsigned int batches;
};

/* An instruction that does nothing, with a number of its own: "nopl NUMBER(%rax)". */
static __always_inline void bench_mark(const unsigned int number)
{
	asm volatile(".byte 0x0f, 0x1f, 0x80; .long %c0" : : "i" (number) : "memory");
}

static struct dentry *bench_dir;

/* All of them, by name: they may be in different netns. */
static LIST_HEAD(bench_devs);
/* For the list, and for what the files do: RTNL waits for them when a device goes. */
static DEFINE_MUTEX(bench_lock);

struct bench_entry {
	struct list_head list;
	char name[IFNAMSIZ];
	struct bench_dev *b;
};

/* ---- packets ---- */

static void bench_clear(struct bench_store *store)
{
	unsigned int i;

	for (i = 0; i < store->n; i++)
		kfree(store->packet[i]);
	kvfree(store->packet);
	memset(store, 0, sizeof(*store));
}

static int bench_room(struct bench_store *store, unsigned int max)
{
	if (!max || max > BENCH_PACKETS_MAX)
		return -EINVAL;
	bench_clear(store);
	store->packet = kvcalloc(max, sizeof(*store->packet), GFP_KERNEL);
	if (!store->packet)
		return -ENOMEM;
	store->max = max;
	return 0;
}

static struct bench_packet *bench_add(struct bench_store *store, unsigned int len,
				      gfp_t gfp)
{
	struct bench_packet *packet;

	if (store->n >= store->max || len > BENCH_LEN_MAX)
		return NULL;
	packet = kmalloc(struct_size(packet, data, len), gfp);
	if (!packet)
		return NULL;
	packet->len = len;
	store->packet[store->n++] = packet;
	return packet;
}

/* ---- the card ---- */

static int bench_poll(struct napi_struct *napi, int budget)
{
	struct bench_dev *b = container_of(napi, struct bench_dev, napi);
	const struct bench_packet *packet;
	struct sk_buff *skb;
	int done = 0;

	while (done < budget) {
		skb = __skb_dequeue(&b->queue);
		if (!skb && b->todo) {
			packet = b->rx.packet[b->next];
			if (++b->next == b->rx.n)
				b->next = 0;
			b->todo--;
			skb = napi_alloc_skb(napi, packet->len);
			if (!skb)
				continue;
			skb_put_data(skb, packet->data, packet->len);
			/* As a card does that has looked at the first checksum. */
			skb->ip_summed = CHECKSUM_UNNECESSARY;
		}
		if (!skb)
			break;
		skb->protocol = eth_type_trans(skb, b->dev);
		napi_gro_receive(napi, skb);
		done++;
	}
	if (done < budget)
		napi_complete_done(napi, done);
	return done;
}

/* Over a wire a packet becomes another one: nothing of the sender's stays with it. */
static void bench_to_peer(struct bench_dev *peer, struct sk_buff *skb)
{
	struct sk_buff *copy = skb;

	if (!skb_is_gso(skb) && skb->ip_summed != CHECKSUM_PARTIAL) {
		copy = napi_alloc_skb(&peer->napi, skb->len);
		if (copy) {
			skb_copy_bits(skb, 0, skb_put(copy, skb->len), skb->len);
			copy->ip_summed = CHECKSUM_UNNECESSARY;
		}
		consume_skb(skb);
		if (!copy)
			return;
	} else {
		skb_orphan(skb);
		skb_scrub_packet(skb, true);
		nf_reset_ct(skb);
	}
	__skb_queue_tail(&peer->queue, copy);
	napi_schedule(&peer->napi);
}

static netdev_tx_t bench_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct bench_dev *b = netdev_priv(dev);
	struct bench_packet *packet;

	/* What the stack says by itself of its addresses and groups is not the matter. */
	if (is_multicast_ether_addr(skb->data)) {
		dev_consume_skb_any(skb);
		return NETDEV_TX_OK;
	}
	b->sent++;
	b->sent_bytes += skb->len;
	if (unlikely(b->kept.n < b->kept.max)) {
		packet = bench_add(&b->kept, skb->len, GFP_ATOMIC);
		if (packet)
			skb_copy_bits(skb, 0, packet->data, skb->len);
	}
	if (b->peer)
		bench_to_peer(b->peer, skb);
	else
		dev_consume_skb_any(skb);
	return NETDEV_TX_OK;
}

static int bench_open(struct net_device *dev)
{
	struct bench_dev *b = netdev_priv(dev);

	napi_enable(&b->napi);
	netif_carrier_on(dev);
	return 0;
}

static int bench_stop(struct net_device *dev)
{
	struct bench_dev *b = netdev_priv(dev);

	napi_disable(&b->napi);
	__skb_queue_purge(&b->queue);
	return 0;
}

/* ---- debugfs ---- */

/* What was written, as text that ends with 0. */
static int bench_text(char *text, size_t room, const char __user *from, size_t len)
{
	if (len >= room)
		return -EINVAL;
	if (copy_from_user(text, from, len))
		return -EFAULT;
	text[len] = 0;
	strim(text);
	return 0;
}

static struct bench_dev *bench_find(const char *name)
{
	struct bench_entry *entry;

	list_for_each_entry(entry, &bench_devs, list) {
		if (!strcmp(entry->name, name))
			return entry->b;
	}
	return NULL;
}

static ssize_t bench_packet_write(struct file *file, const char __user *from, size_t len,
				  loff_t *pos)
{
	struct bench_dev *b = file->private_data;
	struct bench_packet *packet;
	int err;

	mutex_lock(&bench_lock);
	b->next = 0;
	err = bench_room(&b->rx, 1);
	if (!err) {
		packet = bench_add(&b->rx, len, GFP_KERNEL);
		if (!packet)
			err = -EINVAL;
		else if (copy_from_user(packet->data, from, len))
			err = -EFAULT;
	}
	mutex_unlock(&bench_lock);
	return err ?: len;
}

/* An IPv4 header that was changed has to have the right checksum. */
static void bench_mend_csum(struct bench_packet *packet)
{
	struct ethhdr *eth = (struct ethhdr *)packet->data;
	struct iphdr *iph = (struct iphdr *)(eth + 1);

	if (packet->len >= sizeof(*eth) + sizeof(*iph) &&
	    eth->h_proto == htons(ETH_P_IP) && iph->ihl == 5)
		ip_send_check(iph);
}

static int bench_vary(struct bench_dev *b, unsigned int offset, unsigned int width,
		      unsigned int count)
{
	struct bench_packet *first, *packet;
	struct bench_store store = {};
	unsigned int i;
	__be32 number;
	int err;

	if (!b->rx.n || (width != 2 && width != 4) ||
	    offset + width > b->rx.packet[0]->len)
		return -EINVAL;
	err = bench_room(&store, count);
	if (err)
		return err;
	first = b->rx.packet[0];
	for (i = 0; i < count; i++) {
		packet = bench_add(&store, first->len, GFP_KERNEL);
		if (!packet) {
			bench_clear(&store);
			return -ENOMEM;
		}
		memcpy(packet->data, first->data, first->len);
		number = 0;
		memcpy((u8 *)&number + 4 - width, first->data + offset, width);
		number = htonl(ntohl(number) + i);
		memcpy(packet->data + offset, (u8 *)&number + 4 - width, width);
		bench_mend_csum(packet);
	}
	bench_clear(&b->rx);
	b->rx = store;
	b->next = 0;
	return 0;
}

static ssize_t bench_vary_write(struct file *file, const char __user *from, size_t len,
				loff_t *pos)
{
	struct bench_dev *b = file->private_data;
	unsigned int offset, width, count;
	char text[64];
	int err;

	err = bench_text(text, sizeof(text), from, len);
	if (err)
		return err;
	if (sscanf(text, "%u %u %u", &offset, &width, &count) != 3)
		return -EINVAL;
	mutex_lock(&bench_lock);
	err = bench_vary(b, offset, width, count);
	mutex_unlock(&bench_lock);
	return err ?: len;
}

static ssize_t bench_record_write(struct file *file, const char __user *from, size_t len,
				  loff_t *pos)
{
	struct bench_dev *b = file->private_data;
	unsigned int count;
	char text[16];
	int err;

	err = bench_text(text, sizeof(text), from, len) ?: kstrtouint(text, 0, &count);
	if (err)
		return err;
	mutex_lock(&bench_lock);
	err = bench_room(&b->kept, count);
	mutex_unlock(&bench_lock);
	return err ?: len;
}

/* Does @fn to a card and the one whose name was written. */
static ssize_t bench_with_other(struct file *file, const char __user *from, size_t len,
				int (*fn)(struct bench_dev *b, struct bench_dev *other))
{
	struct bench_dev *other;
	char text[IFNAMSIZ + 1];
	int err;

	err = bench_text(text, sizeof(text), from, len);
	if (err)
		return err;
	mutex_lock(&bench_lock);
	other = bench_find(text);
	err = other ? fn(file->private_data, other) : -ENODEV;
	mutex_unlock(&bench_lock);
	return err ?: len;
}

static int bench_from(struct bench_dev *b, struct bench_dev *other)
{
	if (!other->kept.n)
		return -ENODATA;
	bench_clear(&b->rx);
	b->next = 0;
	b->rx = other->kept;
	memset(&other->kept, 0, sizeof(other->kept));
	return 0;
}

static ssize_t bench_from_write(struct file *file, const char __user *from, size_t len,
				loff_t *pos)
{
	return bench_with_other(file, from, len, bench_from);
}

static int bench_peer(struct bench_dev *b, struct bench_dev *other)
{
	b->peer = other;
	return 0;
}

static ssize_t bench_peer_write(struct file *file, const char __user *from, size_t len,
				loff_t *pos)
{
	return bench_with_other(file, from, len, bench_peer);
}

static int bench_run(struct bench_dev *b, unsigned int batches, unsigned int size)
{
	unsigned int i;
	u64 start;

	if (!b->rx.n || !netif_running(b->dev))
		return -ENETDOWN;
	if (!batches || batches > BENCH_BATCHES_MAX || !size || size > BENCH_SIZE_MAX)
		return -EINVAL;
	kfree(b->cycles);
	b->cycles = kcalloc(batches, sizeof(*b->cycles), GFP_KERNEL);
	if (!b->cycles)
		return -ENOMEM;
	b->batches = batches;
	for (i = 0; i < batches; i++) {
		bench_mark(BENCH_MARK_BEGIN);
		start = get_cycles();
		local_bh_disable();
		b->todo = size;
		napi_schedule(&b->napi);
		/* Here softirqs run, and all that they lead to. */
		local_bh_enable();
		/* What was too much for one go is done by ksoftirqd, whose turn it is then. */
		while (READ_ONCE(b->todo) || local_softirq_pending())
			schedule();
		b->cycles[i] = get_cycles() - start;
		bench_mark(BENCH_MARK_END);
	}
	return 0;
}

static ssize_t bench_run_write(struct file *file, const char __user *from, size_t len,
			       loff_t *pos)
{
	struct bench_dev *b = file->private_data;
	unsigned int batches, size;
	char text[32];
	int err;

	err = bench_text(text, sizeof(text), from, len);
	if (err)
		return err;
	if (sscanf(text, "%u %u", &batches, &size) != 2)
		return -EINVAL;
	mutex_lock(&bench_lock);
	err = bench_run(b, batches, size);
	mutex_unlock(&bench_lock);
	return err ?: len;
}

static ssize_t bench_run_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct bench_dev *b = file->private_data;
	ssize_t n;

	mutex_lock(&bench_lock);
	n = simple_read_from_buffer(to, len, pos, b->cycles,
				    b->batches * sizeof(*b->cycles));
	mutex_unlock(&bench_lock);
	return n;
}

static ssize_t bench_mark_write(struct file *file, const char __user *from, size_t len,
				loff_t *pos)
{
	char text[16];
	int err;

	err = bench_text(text, sizeof(text), from, len);
	if (err)
		return err;
	if (!strcmp(text, "reset"))
		bench_mark(BENCH_MARK_RESET);
	else if (!strcmp(text, "dump"))
		bench_mark(BENCH_MARK_DUMP);
	else
		return -EINVAL;
	return len;
}

static ssize_t bench_sent_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct bench_dev *b = file->private_data;
	char text[64];
	int n;

	if (*pos)
		return 0;
	n = scnprintf(text, sizeof(text), "%llu %llu\n", b->sent, b->sent_bytes);
	b->sent = 0;
	b->sent_bytes = 0;
	return simple_read_from_buffer(to, len, pos, text, n);
}

#define BENCH_FILE(name, op, fn)						\
	static const struct file_operations bench_##name##_fops = {		\
		.owner = THIS_MODULE, .open = simple_open, .op = fn,		\
	}

BENCH_FILE(packet, write, bench_packet_write);
BENCH_FILE(vary, write, bench_vary_write);
BENCH_FILE(record, write, bench_record_write);
BENCH_FILE(from, write, bench_from_write);
BENCH_FILE(peer, write, bench_peer_write);
BENCH_FILE(mark, write, bench_mark_write);
BENCH_FILE(sent, read, bench_sent_read);

static const struct file_operations bench_run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = bench_run_write,
	.read = bench_run_read,
};

/* ---- link ---- */

static void bench_uninit(struct net_device *dev)
{
	struct bench_dev *b = netdev_priv(dev);
	struct bench_entry *entry, *next;

	debugfs_remove(b->dir);
	mutex_lock(&bench_lock);
	list_for_each_entry_safe(entry, next, &bench_devs, list) {
		if (entry->b->peer == b)
			entry->b->peer = NULL;
		if (entry->b == b) {
			list_del(&entry->list);
			kfree(entry);
		}
	}
	mutex_unlock(&bench_lock);
	netif_napi_del(&b->napi);
	bench_clear(&b->rx);
	bench_clear(&b->kept);
	kfree(b->cycles);
}

static int bench_init(struct net_device *dev)
{
	struct bench_dev *b = netdev_priv(dev);
	struct bench_entry *entry;

	entry = kzalloc(sizeof(*entry), GFP_KERNEL);
	if (!entry)
		return -ENOMEM;
	mutex_lock(&bench_lock);
	if (bench_find(dev->name)) {
		mutex_unlock(&bench_lock);
		kfree(entry);
		return -EEXIST;
	}
	b->dev = dev;
	__skb_queue_head_init(&b->queue);
	netif_napi_add(dev, &b->napi, bench_poll);
	entry->b = b;
	strscpy(entry->name, dev->name, sizeof(entry->name));
	list_add(&entry->list, &bench_devs);
	mutex_unlock(&bench_lock);
	b->dir = debugfs_create_dir(dev->name, bench_dir);
	debugfs_create_file("packet", 0200, b->dir, b, &bench_packet_fops);
	debugfs_create_file("vary", 0200, b->dir, b, &bench_vary_fops);
	debugfs_create_file("record", 0200, b->dir, b, &bench_record_fops);
	debugfs_create_file("from", 0200, b->dir, b, &bench_from_fops);
	debugfs_create_file("peer", 0200, b->dir, b, &bench_peer_fops);
	debugfs_create_file("run", 0600, b->dir, b, &bench_run_fops);
	debugfs_create_file("mark", 0200, b->dir, b, &bench_mark_fops);
	debugfs_create_file("sent", 0400, b->dir, b, &bench_sent_fops);
	return 0;
}

static const struct net_device_ops bench_netdev_ops = {
	.ndo_init = bench_init,
	.ndo_uninit = bench_uninit,
	.ndo_open = bench_open,
	.ndo_stop = bench_stop,
	.ndo_start_xmit = bench_xmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

/* It is told of UDP tunnels, and "ethtool --show-tunnels" what it was told. */
static int bench_port(struct net_device *dev, unsigned int table, unsigned int entry,
		      struct udp_tunnel_info *info)
{
	return 0;
}

static const struct udp_tunnel_nic_info bench_tunnels = {
	.set_port = bench_port,
	.unset_port = bench_port,
	.tables = {
		{ .n_entries = 8, .tunnel_types = UDP_TUNNEL_TYPE_VXLAN },
		{ .n_entries = 8, .tunnel_types = UDP_TUNNEL_TYPE_GENEVE |
						  UDP_TUNNEL_TYPE_VXLAN_GPE },
	},
};

static void bench_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &bench_netdev_ops;
	dev->needs_free_netdev = true;
	dev->priv_flags |= IFF_NO_QUEUE;
	dev->features |= BENCH_FEATURES;
	dev->hw_features |= BENCH_FEATURES;
	dev->hw_enc_features |= BENCH_FEATURES;
	dev->vlan_features |= BENCH_FEATURES;
	dev->udp_tunnel_nic_info = &bench_tunnels;
	eth_hw_addr_random(dev);
}

static struct rtnl_link_ops bench_link_ops = {
	.kind = "xtun_bench",
	.priv_size = sizeof(struct bench_dev),
	.setup = bench_setup,
};

static int __init bench_module_init(void)
{
	int err;

	bench_dir = debugfs_create_dir("xtun_bench", NULL);
	err = rtnl_link_register(&bench_link_ops);
	if (err)
		debugfs_remove(bench_dir);
	return err;
}

static void __exit bench_module_exit(void)
{
	rtnl_link_unregister(&bench_link_ops);
	debugfs_remove(bench_dir);
}

module_init(bench_module_init);
module_exit(bench_module_exit);

MODULE_DESCRIPTION("A network card that costs next to nothing, to measure between two");
MODULE_LICENSE("GPL");
MODULE_ALIAS_RTNL_LINK("xtun_bench");
