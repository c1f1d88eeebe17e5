// SPDX-License-Identifier: GPL-2.0
/*
 * A configuration as netlink attributes, for answers.
 */
#include <net/ipv6.h>
#include <net/netlink.h>

#include "conf.h"
#include "notify.h"
#include "wire.h"

/**
 * xtun_conf_size() - room that xtun_conf_fill() needs
 * @conf: the configuration
 *
 * Context: any.
 * Return: bytes of attributes.
 */
size_t xtun_conf_size(const struct xtun_conf *conf)
{
	/* All others fit into 8 bytes. */
	return XTUN_A_CONF_MAX * nla_total_size(sizeof(struct nla_bitfield32)) +
	       2 * nla_total_size(sizeof(struct in6_addr)) +
	       nla_total_size(IFNAMSIZ) +
	       nla_total_size(0) +
	       conf->p.n_allow * (nla_total_size(0) +
				  nla_total_size(sizeof(struct in6_addr)) +
				  nla_total_size(sizeof(u8)));
}

/**
 * xtun_put_addr() - write an address as an attribute of 4 or 16 bytes
 * @skb: message to append to
 * @attr: type of the attribute
 * @addr: the address
 * @family: AF_INET or AF_INET6
 *
 * Context: any.
 * Return: 0 or -EMSGSIZE.
 */
int xtun_put_addr(struct sk_buff *skb, int attr,
		  const union nf_inet_addr *addr, u8 family)
{
	return nla_put(skb, attr, family == AF_INET ? sizeof(addr->in) :
						      sizeof(addr->in6), addr);
}

static int xtun_put_allow(struct sk_buff *skb, const struct xtun_params *p)
{
	struct nlattr *allow, *nest;
	int i;

	if (!p->n_allow)
		return 0;

	allow = nla_nest_start(skb, XTUN_A_CONF_ALLOW);
	if (!allow)
		return -EMSGSIZE;
	for (i = 0; i < p->n_allow; i++) {
		nest = nla_nest_start(skb, XTUN_A_ALLOW_PREFIX);
		if (!nest)
			return -EMSGSIZE;
		if (xtun_put_addr(skb, XTUN_A_PREFIX_ADDR, &p->allow[i].addr,
				  p->allow[i].family) ||
		    nla_put_u8(skb, XTUN_A_PREFIX_LEN, p->allow[i].len))
			return -EMSGSIZE;
		nla_nest_end(skb, nest);
	}
	nla_nest_end(skb, allow);
	return 0;
}

static int xtun_put_ends(struct sk_buff *skb, const struct xtun_params *p,
			 u8 sight)
{
	bool v6 = p->family == AF_INET6 && xtun_addr_is_any(&p->remote);

	/* Where nothing else tells it, zeros tell that it is IPv6. */
	if ((v6 || !xtun_addr_is_any(&p->local)) &&
	    xtun_put_addr(skb, XTUN_A_CONF_LOCAL, &p->local, p->family))
		return -EMSGSIZE;
	if (!xtun_addr_is_any(&p->remote) &&
	    xtun_put_addr(skb, XTUN_A_CONF_REMOTE, &p->remote, p->family))
		return -EMSGSIZE;
	if (sight & XTUN_SEES_UNDERLAY && p->lower.index &&
	    nla_put_u32(skb, XTUN_A_CONF_LINK, p->lower.index))
		return -EMSGSIZE;
	if (sight & XTUN_SEES_UNDERLAY && p->lower.name[0] &&
	    nla_put_string(skb, XTUN_A_CONF_LINK_NAME, p->lower.name))
		return -EMSGSIZE;
	if (p->has_ikey && nla_put_u32(skb, XTUN_A_CONF_IKEY, p->ikey))
		return -EMSGSIZE;
	if (p->has_okey && nla_put_u32(skb, XTUN_A_CONF_OKEY, p->okey))
		return -EMSGSIZE;
	return 0;
}

/* The destination port in any case: it is one with the encapsulation. */
static int xtun_put_ports(struct sk_buff *skb, const struct xtun_conf *conf)
{
	if (!conf->dport)
		return 0;
	if (nla_put_u16(skb, XTUN_A_CONF_DPORT, conf->dport) ||
	    (conf->p.lport &&
	     nla_put_u16(skb, XTUN_A_CONF_LPORT, conf->p.lport)))
		return -EMSGSIZE;
	if (!conf->p.sport_min)
		return 0;
	return nla_put_u16(skb, XTUN_A_CONF_SPORT_MIN, conf->p.sport_min) ||
	       nla_put_u16(skb, XTUN_A_CONF_SPORT_MAX, conf->p.sport_max) ?
	       -EMSGSIZE : 0;
}

/**
 * xtun_conf_fill() - write a configuration as attributes
 * @skb: message to append to
 * @conf: the configuration
 * @sight: enum xtun_sight, of those who will read it
 *
 * What is written makes the same configuration again, for those who see all.
 *
 * Context: RTNL or RCU.
 * Return: 0, or -EMSGSIZE with some attributes written.
 */
int xtun_conf_fill(struct sk_buff *skb, const struct xtun_conf *conf, u8 sight)
{
	const struct xtun_params *p = &conf->p;
	struct nla_bitfield32 flags = { p->flags };
	const struct xtun_words *words;

	if (p->payload && nla_put_u32(skb, XTUN_A_CONF_PAYLOAD, p->payload))
		return -EMSGSIZE;
	if (nla_put_u32(skb, XTUN_A_CONF_MTU, p->mtu))
		return -EMSGSIZE;
	if (!conf->ops)
		return 0;

	words = conf->ops->words;
	flags.selector = conf->ops->flags;
	if (nla_put_u32(skb, XTUN_A_CONF_ENCAP, p->encap) ||
	    xtun_put_ends(skb, p, sight) ||
	    nla_put_u32(skb, XTUN_A_CONF_FWMARK, p->fwmark) ||
	    nla_put_u32(skb, XTUN_A_CONF_FWMARK_FROM, p->fwmark_from) ||
	    nla_put_u32(skb, XTUN_A_CONF_MARK_IN, p->mark_in) ||
	    nla_put_u32(skb, XTUN_A_CONF_MARK_IN_FROM, p->mark_in_from) ||
	    nla_put_u8(skb, XTUN_A_CONF_TTL, p->ttl) ||
	    nla_put_u8(skb, XTUN_A_CONF_TOS, p->tos) ||
	    nla_put_u32(skb, XTUN_A_CONF_FLOWLABEL, p->flowlabel) ||
	    nla_put_u16(skb, XTUN_A_CONF_ENCAPLIMIT, p->encaplimit) ||
	    nla_put_u32(skb, XTUN_A_CONF_DF, p->df) ||
	    nla_put_u32(skb, XTUN_A_CONF_FRAG, p->frag) ||
	    nla_put_u32(skb, XTUN_A_CONF_ICMP_RELAY, p->icmp_relay) ||
	    nla_put_u32(skb, XTUN_A_CONF_ICMP_MEMORY, p->icmp_memory) ||
	    nla_put_u32(skb, XTUN_A_CONF_MSS, p->mss) ||
	    nla_put(skb, XTUN_A_CONF_FLAGS, sizeof(flags), &flags) ||
	    xtun_put_allow(skb, p) || xtun_put_ports(skb, conf))
		return -EMSGSIZE;
	return words ? words->put(skb, p, sight) : 0;
}
