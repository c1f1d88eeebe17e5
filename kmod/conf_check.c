// SPDX-License-Identifier: GPL-2.0
/*
 * Whether what the user said goes together, and if not, what to say instead.
 */
#include <linux/in.h>
#include <linux/netdevice.h>
#include <net/inet_ecn.h>
#include <net/ipv6.h>
#include <net/netlink.h>

#include "conf.h"
#include "wire.h"

static const struct {
	u32 flag;	/* more than one: the word for all of them */
	const char *word;
} xtun_flag_words[] = {
	{ XTUN_CONF_FLAGS_ICSUM | XTUN_CONF_FLAGS_OCSUM, "csum" },
	{ XTUN_CONF_FLAGS_ICSUM, "icsum" },
	{ XTUN_CONF_FLAGS_OCSUM, "ocsum" },
	{ XTUN_CONF_FLAGS_ISEQ | XTUN_CONF_FLAGS_OSEQ, "seq" },
	{ XTUN_CONF_FLAGS_ISEQ, "iseq" },
	{ XTUN_CONF_FLAGS_OSEQ, "oseq" },
};

static int xtun_check_unconfigured(struct nlattr **tb,
				   struct netlink_ext_ack *extack)
{
	int attr;

	for (attr = 1; attr <= XTUN_A_CONF_MAX; attr++) {
		if (!tb[attr] || attr == XTUN_A_CONF_PAYLOAD ||
		    attr == XTUN_A_CONF_MTU)
			continue;
		NL_SET_ERR_MSG_ATTR(extack, tb[attr],
				    "encap: needed before anything else can be set; for example encap gre");
		return -EINVAL;
	}
	return 0;
}

static int xtun_check_key(const struct xtun_encap_ops *ops, struct nlattr **tb,
			  int attr, const char *word, bool has, u32 key,
			  struct netlink_ext_ack *extack)
{
	if (!has && !ops->key_needed)
		return 0;

	NL_SET_BAD_ATTR(extack, tb[attr]);
	if (!has) {
		NL_SET_ERR_MSG_FMT(extack, "%s: encapsulation %s needs one",
				   word, ops->name);
		return -EINVAL;
	}
	if (!ops->key_max) {
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: encapsulation %s has no keys; say nokey",
				   word, ops->name);
		return -EINVAL;
	}
	if (key < ops->key_min || key > ops->key_max) {
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: %u is not in the range of %s, %u to %u",
				   word, key, ops->name, ops->key_min,
				   ops->key_max);
		return -ERANGE;
	}
	if (extack)
		extack->bad_attr = NULL;
	return 0;
}

static int xtun_check_flags(const struct xtun_encap_ops *ops,
			    struct nlattr *attr, u32 flags,
			    struct netlink_ext_ack *extack)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(xtun_flag_words); i++) {
		if (xtun_flag_words[i].flag & ~flags ||
		    xtun_flag_words[i].flag & ops->flags)
			continue;
		NL_SET_BAD_ATTR(extack, attr);
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: encapsulation %s has no use for it; say no%s",
				   xtun_flag_words[i].word, ops->name,
				   xtun_flag_words[i].word);
		return -EINVAL;
	}
	return 0;
}

static int xtun_refuse_port(struct nlattr *attr, const char *word,
			    const struct xtun_encap_ops *ops,
			    struct netlink_ext_ack *extack)
{
	NL_SET_BAD_ATTR(extack, attr);
	NL_SET_ERR_MSG_FMT(extack,
			   "%s: encapsulation %s has no ports; say %s auto",
			   word, ops->name, word);
	return -EINVAL;
}

static int xtun_check_no_ports(const struct xtun_encap_ops *ops,
			       struct nlattr **tb, const struct xtun_params *p,
			       struct netlink_ext_ack *extack)
{
	if (p->sport_min || p->sport_max)
		return xtun_refuse_port(tb[XTUN_A_CONF_SPORT_MIN], "sport", ops,
					extack);
	if (p->dport)
		return xtun_refuse_port(tb[XTUN_A_CONF_DPORT], "dport", ops,
					extack);
	if (p->lport)
		return xtun_refuse_port(tb[XTUN_A_CONF_LPORT], "lport", ops,
					extack);
	return 0;
}

static int xtun_check_lport(const struct xtun_encap_ops *ops,
			    struct nlattr *attr, const struct xtun_params *p,
			    struct netlink_ext_ack *extack)
{
	if (!p->lport || ops->lport)
		return 0;
	NL_SET_BAD_ATTR(extack, attr);
	NL_SET_ERR_MSG_FMT(extack,
			   "lport: packets of encapsulation %s arrive at %s; say lport auto",
			   ops->name, ops->wire->pair ? "sport" : "dport");
	return -EINVAL;
}

static int xtun_check_ports(const struct xtun_encap_ops *ops,
			    struct nlattr **tb, struct xtun_params *p,
			    struct netlink_ext_ack *extack)
{
	if (ops->wire->ipproto != IPPROTO_UDP)
		return xtun_check_no_ports(ops, tb, p, extack);

	if (!p->dport && !ops->dport[p->payload]) {
		NL_SET_ERR_MSG_FMT(extack, "dport: encapsulation %s needs one",
				   ops->name);
		return -EINVAL;
	}
	/* What is the default stays the default of what comes after. */
	if (p->dport == ops->dport[p->payload])
		p->dport = 0;
	if (p->sport_min > p->sport_max || (!p->sport_min && p->sport_max)) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_SPORT_MIN],
				    "sport: a port, the first and the last of several, or auto");
		return -ERANGE;
	}
	if (ops->wire->pair && p->sport_min != p->sport_max) {
		NL_SET_BAD_ATTR(extack, tb[XTUN_A_CONF_SPORT_MIN]);
		NL_SET_ERR_MSG_FMT(extack,
				   "sport: %s has one, where its packets arrive",
				   ops->name);
		return -EINVAL;
	}
	return xtun_check_lport(ops, tb[XTUN_A_CONF_LPORT], p, extack);
}

/* What else is said of UDP is forgotten with an encapsulation that has none. */
static int xtun_check_udpcsum(const struct xtun_encap_ops *ops,
			      struct nlattr *attr, struct xtun_params *p,
			      struct netlink_ext_ack *extack)
{
	u32 flag = XTUN_CONF_FLAGS_NOUDPCSUM;

	if (ops->flags & flag)
		return 0;
	if (attr && nla_get_bitfield32(attr).selector & flag) {
		NL_SET_BAD_ATTR(extack, attr);
		NL_SET_ERR_MSG_FMT(extack,
				   "udpcsum: encapsulation %s is not in UDP",
				   ops->name);
		return -EINVAL;
	}
	p->flags &= ~flag;
	return 0;
}

/* Words that have a meaning over one underlay family only. */
static int xtun_check_family(const struct xtun_params *p, struct nlattr **tb,
			     struct netlink_ext_ack *extack)
{
	if (p->family == AF_INET6 && !ipv6_mod_enabled()) {
		NL_SET_ERR_MSG(extack, "IPv6 is disabled on this system");
		return -EAFNOSUPPORT;
	}
	if (p->family == AF_INET && p->flowlabel != XTUN_FLOWLABEL_AUTO) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_FLOWLABEL],
				    "flowlabel: IPv4 has none; say flowlabel auto");
		return -EINVAL;
	}
	if (p->family == AF_INET && p->encaplimit != XTUN_ENCAPLIMIT_NONE) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_ENCAPLIMIT],
				    "encaplimit: IPv4 has none; say encaplimit none");
		return -EINVAL;
	}
	if (p->family == AF_INET6 && p->df != XTUN_DF_SET) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_DF],
				    "df: IPv6 is never fragmented on its way; say df set");
		return -EINVAL;
	}
	return 0;
}

static int xtun_check_ranges(const struct xtun_params *p, struct nlattr **tb,
			     struct netlink_ext_ack *extack)
{
	if (p->tos != XTUN_TOS_INHERIT && p->tos & INET_ECN_MASK) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_TOS],
				    "tos: its two low bits are ECN, which follows RFC 6040, and have to be zero");
		return -ERANGE;
	}
	if (p->flowlabel >= XTUN_FLOWLABEL_INHERIT &&
	    p->flowlabel != XTUN_FLOWLABEL_INHERIT &&
	    p->flowlabel != XTUN_FLOWLABEL_AUTO) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_FLOWLABEL],
				    "flowlabel: it has 20 bits, 0 to 0xfffff");
		return -ERANGE;
	}
	if (p->encaplimit > XTUN_ENCAPLIMIT_NONE) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_ENCAPLIMIT],
				    "encaplimit: 0 to 255, or none");
		return -ERANGE;
	}
	if (p->mtu && (p->mtu < ETH_MIN_MTU || p->mtu > ETH_MAX_MTU)) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_MTU],
				    "mtu: 68 to 65535, or auto");
		return -ERANGE;
	}
	return 0;
}

/* Words of other encapsulations. */
static int xtun_check_words(const struct xtun_encap_ops *ops, struct nlattr **tb,
			    struct netlink_ext_ack *extack)
{
	const char *word;
	int attr;

	for (attr = 1; attr <= XTUN_A_CONF_MAX; attr++) {
		if (!tb[attr] || xtun_words_find(ops->words, attr))
			continue;
		word = xtun_encap_word(attr);
		if (!word)
			continue;
		NL_SET_BAD_ATTR(extack, tb[attr]);
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: encapsulation %s has no use for it",
				   word, ops->name);
		return -EINVAL;
	}
	return 0;
}

/*
 * Without ends a tunnel takes what comes from anywhere: that is nobody else's if it
 * has the tunnel's key, or comes to a port that only tunnels have.
 */
static int xtun_check_ends(const struct xtun_encap_ops *ops,
			   struct xtun_params *p,
			   struct netlink_ext_ack *extack)
{
	bool own = p->has_ikey || (ops->wire->ipproto == IPPROTO_UDP &&
				   !ops->wire->shared);

	if (!own && xtun_addr_is_any(&p->local) &&
	    xtun_addr_is_any(&p->remote)) {
		NL_SET_ERR_MSG(extack,
			       "remote: give the peer's address, a local one, or a key that tells the tunnel apart");
		return -EDESTADDRREQ;
	}
	p->family = p->family ?: AF_INET;
	return 0;
}

/**
 * xtun_conf_check() - ask whether a configuration goes together
 * @p: what the user said; gets what follows where he said nothing
 * @tb: attributes that came last, to point at in a refusal
 * @extack: gets the reason of a refusal, and what to say instead
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error with @p in a state to be thrown away.
 */
int xtun_conf_check(struct xtun_params *p, struct nlattr **tb,
		    struct netlink_ext_ack *extack)
{
	const struct xtun_encap_ops *ops = xtun_encap_find(p->encap);
	bool one_key;
	int err;

	err = xtun_check_ranges(p, tb, extack);
	if (err)
		return err;
	if (!ops)
		return xtun_check_unconfigured(tb, extack);

	if (!p->payload)
		p->payload = ops->payload;
	if (!(ops->payloads & BIT(p->payload))) {
		NL_SET_BAD_ATTR(extack, tb[XTUN_A_CONF_PAYLOAD]);
		NL_SET_ERR_MSG_FMT(extack,
				   "payload: encapsulation %s does not carry %s",
				   ops->name, p->payload == XTUN_PAYLOAD_ETH ?
				   "eth" : "ip");
		return -EINVAL;
	}
	if (p->n_allow && p->payload != XTUN_PAYLOAD_IP) {
		NL_SET_ERR_MSG_ATTR(extack, tb[XTUN_A_CONF_ALLOW],
				    "allow: only for payload ip, frames have no such source");
		return -EINVAL;
	}

	err = xtun_check_words(ops, tb, extack);
	if (err)
		return err;
	err = xtun_check_ends(ops, p, extack);
	if (err)
		return err;
	one_key = p->has_ikey == p->has_okey && p->ikey == p->okey;
	err = xtun_check_key(ops, tb, XTUN_A_CONF_IKEY,
			     one_key ? "key" : "ikey", p->has_ikey, p->ikey,
			     extack);
	if (err)
		return err;
	err = xtun_check_key(ops, tb, XTUN_A_CONF_OKEY, "okey", p->has_okey,
			     p->okey, extack);
	if (err)
		return err;
	err = xtun_check_ports(ops, tb, p, extack);
	if (err)
		return err;
	err = xtun_check_udpcsum(ops, tb[XTUN_A_CONF_FLAGS], p, extack);
	if (err)
		return err;
	err = xtun_check_flags(ops, tb[XTUN_A_CONF_FLAGS], p->flags, extack);
	if (err)
		return err;
	err = xtun_check_family(p, tb, extack);
	if (err)
		return err;
	return ops->words ? ops->words->take(tb, p, extack) : 0;
}
