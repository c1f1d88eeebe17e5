// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a configuration, which never changes once it is in force: made of netlink
 * attributes or of another one, with all that follows from it, and freed.
 */
#include <linux/ip.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <linux/stringhash.h>
#include <net/dst_cache.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/netlink.h>

#include "conf.h"
#include "device.h"
#include "wire.h"
#include "xtun_nl.h"

/* No device has such an ifindex. */
#define XTUN_VIA_NONE	BIT(31)

static void xtun_defaults(struct xtun_params *p)
{
	p->ttl = 64;
	p->tos = XTUN_TOS_INHERIT;
	p->flowlabel = XTUN_FLOWLABEL_AUTO;
	p->encaplimit = XTUN_ENCAPLIMIT_NONE;
	p->df = XTUN_DF_SET;
	p->frag = XTUN_FRAG_INNER;
	p->icmp_relay = XTUN_ICMP_RELAY_TRANSPARENT;
	p->icmp_memory = XTUN_ICMP_MEMORY_AUTO;
	p->fwmark_from = XTUN_MARK_FROM_NUMBER;
	p->mark_in_from = XTUN_MARK_FROM_NUMBER;
}

/**
 * xtun_underlay_via() - find the device that packets of a tunnel go through
 * @net: underlay
 * @p: what the user said
 *
 * The port of a VRF stands for that VRF, as with the in-tree tunnels: its routes
 * choose the port; but a link-local address is one of its link, and of no other port.
 * Tunnels that wait for devices of different names differ.
 *
 * Context: RTNL.
 * Return: its ifindex, 0 for any, or while it is not there a number that no device
 * has.
 */
u32 xtun_underlay_via(struct net *net, const struct xtun_params *p)
{
	bool link_local = p->family == AF_INET6 &&
			  (ipv6_addr_type(&p->local.in6) |
			   ipv6_addr_type(&p->remote.in6)) & IPV6_ADDR_LINKLOCAL;
	const char *name = p->lower.name;
	u32 vrf = 0;

	if (!p->lower.index)
		return !name[0] ? 0 : XTUN_VIA_NONE |
				      full_name_hash(NULL, name, strlen(name));
	if (!link_local)
		vrf = l3mdev_master_upper_ifindex_by_index(net, p->lower.index);
	return vrf ?: p->lower.index;
}

/* Everything in @conf that follows from what the user said. */
static void xtun_derive(struct xtun_conf *conf)
{
	const struct xtun_params *p = &conf->p;
	const struct xtun_transport *transport;
	const struct xtun_wire *wire;

	conf->ops = xtun_encap_find(p->encap);
	if (!conf->ops)
		return;
	wire = conf->ops->wire;
	transport = wire->transport;

	conf->via = xtun_underlay_via(conf->tun->net, p);
	conf->match = (struct xtun_match) {
		.net = conf->tun->net,
		.local = p->local,
		.remote = p->remote,
		.key = p->ikey,
		.lower = conf->via,
		.wire = wire->id,
		.family = p->family,
		.payload = wire->parse_conf ? 0 : p->payload,
		.keying = p->has_ikey ? conf->ops->keying : XTUN_KEY_NONE,
	};

	conf->ipproto = wire->ipproto;
	conf->one_path = !xtun_addr_is_any(&p->remote);
	conf->outer_len = p->family == AF_INET ? sizeof(struct iphdr) :
						 sizeof(struct ipv6hdr);
	if (p->encaplimit != XTUN_ENCAPLIMIT_NONE)
		conf->outer_len += XTUN_ENCAPLIMIT_LEN;
	if (transport->prepare)
		transport->prepare(conf);
	conf->encap_len = transport->len +
			  conf->ops->prepare(conf,
					     conf->encap_hdr + transport->len);
	conf->overhead = conf->outer_len + conf->encap_len;
	if (p->payload == XTUN_PAYLOAD_ETH)
		conf->overhead += ETH_HLEN;
}

/* It changes, unlike the configuration that it belongs to. */
static struct dst_cache *xtun_dst_cache_alloc(void)
{
	struct dst_cache *cache = kzalloc(sizeof(*cache), GFP_KERNEL);

	if (cache && dst_cache_init(cache, GFP_KERNEL)) {
		kfree(cache);
		return NULL;
	}
	return cache;
}

/**
 * xtun_conf_free() - free a configuration that nobody else has seen
 * @conf: the configuration
 *
 * Context: any but hard interrupt.
 */
void xtun_conf_free(struct xtun_conf *conf)
{
	if (conf->dst_cache)
		dst_cache_destroy(conf->dst_cache);
	kfree(conf->dst_cache);
	kfree(conf->p.allow);
	kfree(conf);
}

static struct xtun_conf *xtun_conf_alloc(struct xtun_dev *tun,
					 const struct xtun_conf *old)
{
	struct xtun_conf *conf;

	conf = kzalloc(sizeof(*conf), GFP_KERNEL);
	if (!conf)
		return ERR_PTR(-ENOMEM);

	conf->tun = tun;
	if (old)
		conf->p = old->p;
	else
		xtun_defaults(&conf->p);
	conf->p.allow = NULL;
	if (conf->p.n_allow)
		conf->p.allow = kmemdup(old->p.allow, old->p.n_allow *
					sizeof(*old->p.allow), GFP_KERNEL);
	conf->dst_cache = xtun_dst_cache_alloc();
	if (!conf->dst_cache || (conf->p.n_allow && !conf->p.allow)) {
		xtun_conf_free(conf);
		return ERR_PTR(-ENOMEM);
	}
	return conf;
}

/**
 * xtun_conf_new() - make a configuration from attributes
 * @tun: the tunnel that it is for
 * @old: what attributes that are absent are taken from, or NULL for defaults
 * @attrs: nest of attribute set "conf", or NULL for none
 * @extack: gets the reason of a refusal
 *
 * IFLA_INFO_DATA comes without the nested flag, and rtnetlink ignores what it
 * does not know, so the nest is parsed here once more and strictly.
 *
 * Context: RTNL, may sleep.
 * Return: the configuration, not yet in force, or an ERR_PTR().
 */
struct xtun_conf *xtun_conf_new(struct xtun_dev *tun,
				const struct xtun_conf *old,
				const struct nlattr *attrs,
				struct netlink_ext_ack *extack)
{
	struct nlattr *tb[XTUN_A_CONF_MAX + 1] = {};
	struct xtun_conf *conf;
	int err;

	if (attrs) {
		err = __nla_parse(tb, XTUN_A_CONF_MAX, nla_data(attrs),
				  nla_len(attrs), xtun_conf_nl_policy,
				  NL_VALIDATE_STRICT, extack);
		if (err)
			return ERR_PTR(err);
	}

	conf = xtun_conf_alloc(tun, old);
	if (IS_ERR(conf))
		return conf;

	err = xtun_conf_parse(tun, tb, &conf->p, extack);
	if (!err)
		err = xtun_conf_check(&conf->p, tb, extack);
	if (err) {
		xtun_conf_free(conf);
		return ERR_PTR(err);
	}

	xtun_derive(conf);
	return conf;
}

/**
 * xtun_conf_with_mtu() - make a configuration that differs in its MTU
 * @old: the other
 * @mtu: MTU to pin the device to in bytes, or 0 to follow the underlay
 *
 * Context: RTNL, may sleep.
 * Return: the configuration, not yet in force, or an ERR_PTR().
 */
struct xtun_conf *xtun_conf_with_mtu(const struct xtun_conf *old, u32 mtu)
{
	struct xtun_conf *conf = xtun_conf_alloc(old->tun, old);

	if (IS_ERR(conf))
		return conf;
	conf->p.mtu = mtu;
	xtun_derive(conf);
	return conf;
}

/**
 * xtun_conf_with_lower() - make a configuration that differs in its lower device
 * @old: the other
 * @lower: what its dev is now; if that is the same, what it is a port of may differ
 *
 * Context: RTNL, may sleep.
 * Return: the configuration, not yet in force, or an ERR_PTR().
 */
struct xtun_conf *xtun_conf_with_lower(const struct xtun_conf *old,
				       const struct xtun_lower *lower)
{
	struct xtun_conf *conf = xtun_conf_alloc(old->tun, old);

	if (IS_ERR(conf))
		return conf;
	conf->p.lower = *lower;
	xtun_derive(conf);
	return conf;
}

static void xtun_conf_free_cb(struct rcu_head *rcu)
{
	xtun_conf_free(container_of(rcu, struct xtun_conf, rcu));
}

/**
 * xtun_conf_free_rcu() - free a configuration once nobody can see it any more
 * @conf: the configuration, out of force and out of the tables
 *
 * Context: any.
 */
void xtun_conf_free_rcu(struct xtun_conf *conf)
{
	call_rcu(&conf->rcu, xtun_conf_free_cb);
}
