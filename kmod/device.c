// SPDX-License-Identifier: GPL-2.0
/*
 * The net_device: making, changing and deleting it, its statistics and ethtool.
 */
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/netdevice.h>
#include <linux/random.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <net/dst_cache.h>
#include <net/ip_tunnels.h>
#include <net/netdev_lock.h>

#include "conf.h"
#include "device.h"
#include "net.h"
#include "notify.h"
#include "packet.h"
#include "wire.h"

#define XTUN_FEATURES	(NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HIGHDMA | \
			 NETIF_F_HW_CSUM | NETIF_F_GSO_SOFTWARE)

/* What IP asks for before its header on an Ethernet underlay, LL_RESERVED_SPACE(). */
#define XTUN_LINK_HEADROOM	HH_DATA_MOD

/* What a network card leaves before an IP packet that it has received. */
#define XTUN_NIC_HEADROOM	(NET_SKB_PAD + ETH_HLEN)

static atomic_t xtun_last_id;

static bool xtun_is_eth(const struct xtun_conf *conf)
{
	return conf->p.payload == XTUN_PAYLOAD_ETH;
}

/*
 * Bytes to be left before a packet that is sent through the device, beside its own
 * link-layer header. IP rounds them up, and would copy the head of each packet that a
 * card has received and that is routed into the tunnel, where that card has left enough:
 * then fewer are asked for. Who pays are datagrams that this host, or a container behind
 * a bridge, sends itself with so much room only: their head is copied by the tunnel.
 */
static unsigned short xtun_headroom(const struct net_device *dev,
				    const struct xtun_conf *conf)
{
	unsigned int need = conf->outer_len + conf->encap_len + XTUN_LINK_HEADROOM;
	unsigned int l2 = dev->hard_header_len;

	if (l2 + need <= XTUN_NIC_HEADROOM)
		need = min(need, round_down(XTUN_NIC_HEADROOM, HH_DATA_MOD) - 1 - l2);
	return need;
}

/* What a new configuration means for the device. Under RTNL. */
static void xtun_apply(struct xtun_dev *tun)
{
	const struct xtun_conf *conf = rtnl_dereference(tun->conf);
	struct net_device *dev = tun->dev;

	dev->needed_headroom = conf->ops ? xtun_headroom(dev, conf) : 0;
	xtun_underlay_carrier(tun);
	xtun_mtu_follow(tun);
	xtun_keepalive_start(tun);
}

static int xtun_alloc_pcpu(struct xtun_dev *tun)
{
	int cpu;

	tun->dev->tstats = netdev_alloc_pcpu_stats(struct pcpu_sw_netstats);
	if (!tun->dev->tstats)
		return -ENOMEM;

	tun->pcpu = alloc_percpu(struct xtun_pcpu);
	if (!tun->pcpu) {
		free_percpu(tun->dev->tstats);
		return -ENOMEM;
	}
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(tun->pcpu, cpu)->syncp);
	return 0;
}

static void xtun_free_pcpu(struct xtun_dev *tun)
{
	free_percpu(tun->pcpu);
	free_percpu(tun->dev->tstats);
}

static int xtun_dev_init(struct net_device *dev)
{
	struct xtun_dev *tun = netdev_priv(dev);
	struct xtun_net *xn = xtun_net(tun->net);
	bool first;
	int err;

	netdev_lockdep_set_classes(dev);
	xn->used = true;
	err = xtun_alloc_pcpu(tun);
	if (err)
		return err;
	err = xtun_attach(tun);
	if (err) {
		xtun_free_pcpu(tun);
		return err;
	}

	/* The netns of its underlay has one tunnel more. */
	first = list_empty(&xn->tunnels);
	list_add_tail_rcu(&tun->list, &xn->tunnels);
	if (first)
		xtun_follow_net(xn);
	return 0;
}

static void xtun_dev_uninit(struct net_device *dev)
{
	struct xtun_dev *tun = netdev_priv(dev);
	struct xtun_net *xn = xtun_net(tun->net);

	list_del_rcu(&tun->list);
	if (list_empty(&xn->tunnels))
		xtun_follow_net(xn);
	xtun_detach(tun);
	/* A packet may have found it; those of a registered device are waited
	 * for by whoever unregisters it, not by who failed to register it.
	 */
	if (dev->reg_state != NETREG_UNREGISTERING)
		synchronize_net();
	else
		xtun_cells_drain();
	/* The underlay's netns may go before the device is freed. */
	dst_cache_reset_now(rtnl_dereference(tun->conf)->dst_cache);
}

/* Nobody can reach the device any more. */
static void xtun_destructor(struct net_device *dev)
{
	struct xtun_dev *tun = netdev_priv(dev);

	xtun_free_pcpu(tun);
	xtun_peer_forget(tun);
	xtun_conf_free(rcu_dereference_protected(tun->conf, true));
	RCU_INIT_POINTER(tun->conf, NULL);
}

static int xtun_open(struct net_device *dev)
{
	struct xtun_dev *tun = netdev_priv(dev);

	/* A peer that starts anew counts from the beginning. */
	atomic64_set(&tun->iseq, 0);
	xtun_keepalive_start(tun);
	return 0;
}

static int xtun_stop(struct net_device *dev)
{
	xtun_keepalive_stop(netdev_priv(dev));
	return 0;
}

static int xtun_change_mtu(struct net_device *dev, int mtu)
{
	struct xtun_dev *tun = netdev_priv(dev);
	struct xtun_conf *conf;
	int err;

	if (tun->setting_mtu) {
		WRITE_ONCE(dev->mtu, mtu);
		return 0;
	}

	/* A user who sets the MTU pins it. */
	conf = xtun_conf_with_mtu(rtnl_dereference(tun->conf), mtu);
	if (IS_ERR(conf))
		return PTR_ERR(conf);
	err = xtun_swap(tun, conf, NULL);
	if (err) {
		xtun_conf_free(conf);
		return err;
	}
	WRITE_ONCE(dev->mtu, mtu);
	xtun_notify(tun, XTUN_CMD_SET_NTF);
	return 0;
}

static void xtun_get_stats64(struct net_device *dev,
			     struct rtnl_link_stats64 *stats)
{
	dev_get_tstats64(dev, stats);
	xtun_drops_to_stats64(netdev_priv(dev), stats);
}

static int xtun_get_iflink(const struct net_device *dev)
{
	const struct xtun_dev *tun = netdev_priv(dev);
	const struct xtun_conf *conf;
	int link = 0;

	rcu_read_lock();
	conf = rcu_dereference(tun->conf);
	if (conf && xtun_sight_of_all(tun) & XTUN_SEES_UNDERLAY)
		link = conf->p.lower.index;
	rcu_read_unlock();
	return link;
}

static const struct net_device_ops xtun_ip_netdev_ops = {
	.ndo_init = xtun_dev_init,
	.ndo_uninit = xtun_dev_uninit,
	.ndo_open = xtun_open,
	.ndo_stop = xtun_stop,
	.ndo_start_xmit = xtun_xmit,
	.ndo_change_mtu = xtun_change_mtu,
	.ndo_get_stats64 = xtun_get_stats64,
	.ndo_get_iflink = xtun_get_iflink,
	.ndo_neigh_construct = xtun_neigh_construct,
};

static const struct net_device_ops xtun_eth_netdev_ops = {
	.ndo_init = xtun_dev_init,
	.ndo_uninit = xtun_dev_uninit,
	.ndo_open = xtun_open,
	.ndo_stop = xtun_stop,
	.ndo_start_xmit = xtun_xmit,
	.ndo_change_mtu = xtun_change_mtu,
	.ndo_get_stats64 = xtun_get_stats64,
	.ndo_get_iflink = xtun_get_iflink,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static void xtun_get_drvinfo(struct net_device *dev,
			     struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "xtun", sizeof(info->driver));
	strscpy(info->version, XTUN_VERSION, sizeof(info->version));
}

static int xtun_get_sset_count(struct net_device *dev, int set)
{
	/* Counter 0 is none. */
	return set == ETH_SS_STATS ? XTUN_COUNTERS - 1 : -EOPNOTSUPP;
}

static void xtun_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	unsigned int counter;

	if (set != ETH_SS_STATS)
		return;
	for (counter = 1; counter < XTUN_COUNTERS; counter++)
		strscpy((char *)data + (counter - 1) * ETH_GSTRING_LEN,
			xtun_counter_name(counter), ETH_GSTRING_LEN);
}

static void xtun_get_ethtool_stats(struct net_device *dev,
				   struct ethtool_stats *stats, u64 *data)
{
	unsigned int counter;

	for (counter = 1; counter < XTUN_COUNTERS; counter++)
		data[counter - 1] = xtun_counted(netdev_priv(dev), counter);
}

static const struct ethtool_ops xtun_ethtool_ops = {
	.get_drvinfo = xtun_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_sset_count = xtun_get_sset_count,
	.get_strings = xtun_get_strings,
	.get_ethtool_stats = xtun_get_ethtool_stats,
};

/**
 * netif_is_xtun() - is a device a tunnel of this module?
 * @dev: the device
 *
 * Context: any.
 * Return: whether it is.
 */
bool netif_is_xtun(const struct net_device *dev)
{
	return dev->ethtool_ops == &xtun_ethtool_ops;
}

static const struct device_type xtun_devtype = {
	.name = "xtun",
};

/**
 * xtun_setup() - rtnl_link_ops.setup: what all tunnels have in common
 * @dev: a new device, which is for payload eth until its payload is known
 *
 * That comes after rtnetlink has put into the device what the request says of
 * it, so nothing that the request can say may be set afterwards.
 *
 * Context: RTNL.
 */
void xtun_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &xtun_eth_netdev_ops;
	dev->ethtool_ops = &xtun_ethtool_ops;
	SET_NETDEV_DEVTYPE(dev, &xtun_devtype);
	dev->needs_free_netdev = true;
	dev->priv_destructor = xtun_destructor;
	dev->max_mtu = IP_MAX_MTU;
	dev->features |= XTUN_FEATURES;
	dev->hw_features |= XTUN_FEATURES;
	dev->vlan_features |= XTUN_FEATURES;
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->priv_flags |= IFF_NO_QUEUE | IFF_LIVE_ADDR_CHANGE;
	xtun_set_lltx(dev);
	/* Errors for senders and remote any need the inner route. */
	netif_keep_dst(dev);
}

/* Payload ip: no link layer, no neighbours. */
static void xtun_setup_ip(struct net_device *dev)
{
	dev->netdev_ops = &xtun_ip_netdev_ops;
	dev->header_ops = &ip_tunnel_header_ops;
	dev->type = ARPHRD_NONE;
	dev->flags = IFF_POINTOPOINT | IFF_NOARP;
	dev->hard_header_len = 0;
	dev->min_header_len = 0;
	dev->addr_len = 0;
	dev->priv_flags &= ~IFF_LIVE_ADDR_CHANGE;
	eth_zero_addr(dev->broadcast);
}

static int xtun_refuse_same(const struct xtun_conf *conf,
			    struct netlink_ext_ack *extack)
{
	const struct xtun_conf *other = xtun_lookup_same(conf);

	if (!other)
		return 0;
	NL_SET_ERR_MSG_FMT(extack,
			   "%s takes the same packets: other key, port, remote, local or dev",
			   other->tun->dev->name);
	return -EEXIST;
}

/* What of the link layer a request gives to a device that has none. */
static int xtun_refuse_link_layer(const struct xtun_conf *conf,
				  struct nlattr **tb,
				  struct netlink_ext_ack *extack)
{
	if (xtun_is_eth(conf))
		return 0;
	if (tb[IFLA_ADDRESS]) {
		NL_SET_ERR_MSG_ATTR(extack, tb[IFLA_ADDRESS],
				    "address: only devices with payload eth have one");
		return -EINVAL;
	}
	if (tb[IFLA_BROADCAST]) {
		NL_SET_ERR_MSG_ATTR(extack, tb[IFLA_BROADCAST],
				    "broadcast: only devices with payload eth have such an address");
		return -EINVAL;
	}
	return 0;
}

/**
 * xtun_create() - make a tunnel out of a new device
 * @net: underlay
 * @dev: device with xtun_setup() done, not registered
 * @attrs: nest of attribute set "conf", or NULL
 * @tb: what else rtnetlink has put into the device, by IFLA_...; an MTU pins
 *	the device's unless @attrs does
 * @extack: gets the reason of a refusal
 *
 * Context: RTNL, may sleep.
 * Return: 0 with the device registered, else a negative error and the caller
 * has to free it.
 */
int xtun_create(struct net *net, struct net_device *dev,
		const struct nlattr *attrs, struct nlattr **tb,
		struct netlink_ext_ack *extack)
{
	struct xtun_dev *tun = netdev_priv(dev);
	struct xtun_conf *conf;
	int err;

	tun->dev = dev;
	tun->net = net;
	tun->link_mtu = ETH_DATA_LEN;
	tun->id = atomic_inc_return(&xtun_last_id);
	get_random_bytes(&tun->secret, sizeof(tun->secret));
	INIT_LIST_HEAD(&tun->peers);
	spin_lock_init(&tun->peers_lock);
	xtun_echo_init(tun);
	xtun_keepalive_init(tun);
	conf = xtun_conf_new(tun, NULL, attrs, extack);
	if (IS_ERR(conf))
		return PTR_ERR(conf);
	if (tb[IFLA_MTU] && !conf->p.mtu)
		conf->p.mtu = nla_get_u32(tb[IFLA_MTU]);

	err = xtun_refuse_same(conf, extack);
	if (!err)
		err = xtun_refuse_link_layer(conf, tb, extack);
	if (err) {
		xtun_conf_free(conf);
		return err;
	}

	if (!xtun_is_eth(conf)) {
		xtun_setup_ip(dev);
		if (xtun_neigh_wanted(conf))
			xtun_neigh_setup(tun, conf->p.family);
	} else if (!tb[IFLA_ADDRESS]) {
		eth_hw_addr_random(dev);
	}
	RCU_INIT_POINTER(tun->conf, conf);
	xtun_apply(tun);

	tun->extack = extack;
	err = register_netdevice(dev);
	tun->extack = NULL;
	/* Once it was registered, the destructor will run and free it; before
	 * that, it may have run already.
	 */
	if (err && dev->reg_state == NETREG_UNINITIALIZED) {
		conf = rtnl_dereference(tun->conf);
		RCU_INIT_POINTER(tun->conf, NULL);
		if (conf)
			xtun_conf_free(conf);
	}
	return err;
}

/*
 * Who uses the device has read its type, the length of its addresses and its
 * header_ops, and reads them again without a lock: packet sockets while they
 * send, for one. So it stays what it was made as. One that was made without a
 * payload is for ip, also where the encapsulation that it gets later is for eth
 * unless it is told.
 */
static int xtun_refuse_payload(const struct xtun_conf *old,
			       const struct xtun_conf *new,
			       struct netlink_ext_ack *extack)
{
	if (xtun_is_eth(old) == xtun_is_eth(new))
		return 0;
	if (xtun_is_eth(old))
		NL_SET_ERR_MSG(extack,
			       "payload: the device was made for eth; delete it and make it anew for ip, or say payload eth");
	else
		NL_SET_ERR_MSG(extack,
			       "payload: the device was made for ip; delete it and make it anew for eth, or say payload ip");
	return -EOPNOTSUPP;
}

/* The neighbours of a device have addresses of one length. */
static int xtun_refuse_family(const struct xtun_dev *tun,
			      const struct xtun_conf *conf,
			      struct netlink_ext_ack *extack)
{
	if (!tun->neigh || !conf->ops || conf->p.family == tun->neigh)
		return 0;
	NL_SET_ERR_MSG_FMT(extack,
			   "remote: the neighbours of the device are over %s; make another device",
			   tun->neigh == AF_INET ? "IPv4" : "IPv6");
	return -EINVAL;
}

/**
 * xtun_change() - change the configuration of a live tunnel
 * @tun: the tunnel
 * @attrs: nest of attribute set "conf", or NULL
 * @extack: gets the reason of a refusal
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error with nothing changed.
 */
int xtun_change(struct xtun_dev *tun, const struct nlattr *attrs,
		struct netlink_ext_ack *extack)
{
	struct xtun_conf *old = rtnl_dereference(tun->conf), *new;
	int err;

	/* May the caller change what happens in the underlay? */
	if (!net_eq(tun->net, dev_net(tun->dev)) &&
	    !ns_capable(tun->net->user_ns, CAP_NET_ADMIN)) {
		NL_SET_ERR_MSG(extack,
			       "the underlay is in another netns, where you are not privileged");
		return -EPERM;
	}
	new = xtun_conf_new(tun, old, attrs, extack);
	if (IS_ERR(new))
		return PTR_ERR(new);
	err = xtun_refuse_payload(old, new, extack);
	if (!err)
		err = xtun_refuse_same(new, extack);
	if (!err)
		err = xtun_refuse_family(tun, new, extack);
	if (!err)
		err = xtun_swap(tun, new, extack);
	if (err) {
		xtun_conf_free(new);
		return err;
	}

	xtun_apply(tun);
	xtun_notify(tun, XTUN_CMD_SET_NTF);
	return 0;
}
