// SPDX-License-Identifier: GPL-2.0
/*
 * From netlink attributes to one validated, immutable configuration, and back.
 */
#include <linux/in.h>
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <linux/stringhash.h>
#include <net/dst_cache.h>
#include <net/inet_ecn.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/netlink.h>

#include "conf.h"
#include "device.h"
#include "notify.h"
#include "wire.h"
#include "xtun_nl.h"

/* Words that the grammar has and that no encapsulation here has a use for. */
static const struct {
	u16 attr;
	const char *refusal;
} xtun_refused[] = {
	{ XTUN_A_CONF_EXTERNAL, "external: this version does not have it" },
	{ XTUN_A_CONF_HIDDEN, "hidden: for answers only; give the cookies, or leave them" },
};

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

static bool xtun_addr_is_any(const union nf_inet_addr *addr)
{
	return ipv6_addr_any(&addr->in6);
}

/* Take an address of no bytes (any), 4 or 16, and tell its family. */
static int xtun_parse_addr(const struct nlattr *attr, const char *word,
			   union nf_inet_addr *addr, u8 *family,
			   struct netlink_ext_ack *extack)
{
	int len = nla_len(attr);

	if (len && len != sizeof(addr->in) && len != sizeof(addr->in6)) {
		NL_SET_BAD_ATTR(extack, attr);
		NL_SET_ERR_MSG_FMT(extack,
				   "%s: an address has 4 or 16 bytes, not %d",
				   word, len);
		return -EINVAL;
	}

	memset(addr, 0, sizeof(*addr));
	nla_memcpy(addr, attr, sizeof(*addr));
	*family = 0;
	if (!xtun_addr_is_any(addr))
		*family = len == sizeof(addr->in) ? AF_INET : AF_INET6;
	return 0;
}

/* An address that one host can have and put into an outer header. */
static int xtun_check_addr(const struct nlattr *attr, const char *word,
			   const union nf_inet_addr *addr, u8 family,
			   const struct xtun_params *p,
			   struct netlink_ext_ack *extack)
{
	const char *why = NULL;

	if (family == AF_INET) {
		if (ipv4_is_multicast(addr->ip) || ipv4_is_lbcast(addr->ip))
			why = "is not the address of one host";
	} else if (family == AF_INET6) {
		if (ipv6_addr_is_multicast(&addr->in6))
			why = "is not the address of one host";
		else if (ipv6_addr_v4mapped(&addr->in6))
			why = "is IPv4-mapped: give the IPv4 address";
		else if (!p->lower.name[0] &&
			 ipv6_addr_type(&addr->in6) & IPV6_ADDR_LINKLOCAL)
			why = "is link-local: say on which dev";
	}
	if (!why)
		return 0;

	NL_SET_BAD_ATTR(extack, attr);
	NL_SET_ERR_MSG_FMT(extack, "%s: %s", word, why);
	return -EINVAL;
}

/* Zeros are any address of a family; without them it stays what it was. */
static u8 xtun_any_family(struct nlattr **tb, u8 family)
{
	const struct nlattr *attr = tb[XTUN_A_CONF_LOCAL];

	if (!attr || !nla_len(attr))
		attr = tb[XTUN_A_CONF_REMOTE];
	if (!attr || !nla_len(attr))
		return family;
	return nla_len(attr) == sizeof(struct in6_addr) ? AF_INET6 : AF_INET;
}

static int xtun_parse_addrs(struct nlattr **tb, struct xtun_params *p,
			    struct netlink_ext_ack *extack)
{
	u8 local = xtun_addr_is_any(&p->local) ? 0 : p->family;
	u8 remote = xtun_addr_is_any(&p->remote) ? 0 : p->family;
	int err;

	if (tb[XTUN_A_CONF_LOCAL]) {
		err = xtun_parse_addr(tb[XTUN_A_CONF_LOCAL], "local", &p->local,
				      &local, extack);
		if (err)
			return err;
	}
	if (tb[XTUN_A_CONF_REMOTE]) {
		err = xtun_parse_addr(tb[XTUN_A_CONF_REMOTE], "remote",
				      &p->remote, &remote, extack);
		if (err)
			return err;
	}
	if (local && remote && local != remote) {
		NL_SET_BAD_ATTR(extack, tb[XTUN_A_CONF_REMOTE] ?:
				tb[XTUN_A_CONF_LOCAL]);
		NL_SET_ERR_MSG(extack,
			       "local and remote are of different families: give both in one");
		return -EINVAL;
	}
	p->family = remote ?: local ?: xtun_any_family(tb, p->family);

	err = xtun_check_addr(tb[XTUN_A_CONF_LOCAL], "local", &p->local, local,
			      p, extack);
	if (err)
		return err;
	return xtun_check_addr(tb[XTUN_A_CONF_REMOTE], "remote", &p->remote,
			       remote, p, extack);
}

static int xtun_take_lower(const struct xtun_dev *tun, const struct nlattr *attr,
			   const struct net_device *lower, struct xtun_params *p,
			   struct netlink_ext_ack *extack)
{
	if (lower == tun->dev) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "dev: a tunnel cannot be its own underlay");
		return -EINVAL;
	}
	p->lower.index = lower->ifindex;
	strscpy(p->lower.name, lower->name, sizeof(p->lower.name));
	return 0;
}

/* A name may be of a device that comes later. */
static int xtun_parse_lower_name(const struct xtun_dev *tun,
				 const struct nlattr *attr,
				 struct xtun_params *p,
				 struct netlink_ext_ack *extack)
{
	struct xtun_lower lower = {};
	struct net_device *dev;

	nla_strscpy(lower.name, attr, sizeof(lower.name));
	if (p->lower.index) {
		if (!strcmp(lower.name, p->lower.name))
			return 0;
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "dev: the device with this index has another name: give one of the two");
		return -EINVAL;
	}
	dev = __dev_get_by_name(tun->net, lower.name);
	if (dev)
		return xtun_take_lower(tun, attr, dev, p, extack);
	if (lower.name[0] && !dev_valid_name(lower.name)) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "dev: not a valid name of a device");
		return -EINVAL;
	}
	p->lower = lower;
	return 0;
}

static int xtun_parse_lower(const struct xtun_dev *tun, struct nlattr **tb,
			    struct xtun_params *p,
			    struct netlink_ext_ack *extack)
{
	const struct nlattr *index = tb[XTUN_A_CONF_LINK];
	const struct nlattr *name = tb[XTUN_A_CONF_LINK_NAME];
	struct net_device *lower;
	int err = 0;

	if (index || name)
		p->lower = (struct xtun_lower){};
	if (index && nla_get_u32(index)) {
		lower = __dev_get_by_index(tun->net, nla_get_u32(index));
		if (!lower) {
			NL_SET_ERR_MSG_ATTR(extack, index,
					    "dev: there is no such device in the netns of the underlay");
			return -ENODEV;
		}
		err = xtun_take_lower(tun, index, lower, p, extack);
	}
	if (!err && name)
		err = xtun_parse_lower_name(tun, name, p, extack);
	return err;
}

static void xtun_parse_keys(struct nlattr **tb, struct xtun_params *p)
{
	if (tb[XTUN_A_CONF_NOKEY]) {
		p->has_ikey = false;
		p->has_okey = false;
		p->ikey = 0;
		p->okey = 0;
	}
	if (tb[XTUN_A_CONF_IKEY]) {
		p->has_ikey = true;
		p->ikey = nla_get_u32(tb[XTUN_A_CONF_IKEY]);
	}
	if (tb[XTUN_A_CONF_OKEY]) {
		p->has_okey = true;
		p->okey = nla_get_u32(tb[XTUN_A_CONF_OKEY]);
	}
}

/**
 * xtun_prefix_fill() - make a prefix
 * @prefix: gets it
 * @family: AF_INET or AF_INET6
 * @addr: an address that is in it
 * @len: its length in bits, in range
 *
 * Context: any.
 */
void xtun_prefix_fill(struct xtun_prefix *prefix, u8 family,
		      const union nf_inet_addr *addr, u8 len)
{
	*prefix = (struct xtun_prefix) { .family = family, .len = len };
	if (family == AF_INET) {
		prefix->mask.ip = inet_make_mask(len);
		prefix->addr.ip = addr->ip & prefix->mask.ip;
	} else {
		struct in6_addr ones;

		memset(&ones, 0xff, sizeof(ones));
		ipv6_addr_prefix(&prefix->mask.in6, &ones, len);
		ipv6_addr_prefix(&prefix->addr.in6, &addr->in6, len);
	}
}

/**
 * xtun_prefix_has() - is an address in a prefix?
 * @prefix: the prefix
 * @family: AF_INET or AF_INET6, of the address
 * @addr: the address, of which so much is read as its family has
 *
 * Context: any.
 * Return: whether it is.
 */
bool xtun_prefix_has(const struct xtun_prefix *prefix, u8 family,
		     const union nf_inet_addr *addr)
{
	if (prefix->family != family)
		return false;
	if (family == AF_INET)
		return (addr->ip & prefix->mask.ip) == prefix->addr.ip;
	return !ipv6_masked_addr_cmp(&addr->in6, &prefix->mask.in6,
				     &prefix->addr.in6);
}

static int xtun_parse_prefix(const struct nlattr *attr,
			     struct xtun_prefix *prefix,
			     struct netlink_ext_ack *extack)
{
	struct nlattr *tb[XTUN_A_PREFIX_MAX + 1];
	union nf_inet_addr addr;
	int err, bits;

	err = nla_parse_nested(tb, XTUN_A_PREFIX_MAX, attr,
			       xtun_prefix_nl_policy, extack);
	if (err)
		return err;
	if (!tb[XTUN_A_PREFIX_ADDR] || !tb[XTUN_A_PREFIX_LEN]) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "allow: a prefix has an address and a length");
		return -EINVAL;
	}

	bits = nla_len(tb[XTUN_A_PREFIX_ADDR]) * 8;
	if ((bits != 32 && bits != 128) ||
	    nla_get_u8(tb[XTUN_A_PREFIX_LEN]) > bits) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "allow: not a prefix of IPv4 or IPv6");
		return -EINVAL;
	}

	memset(&addr, 0, sizeof(addr));
	nla_memcpy(&addr, tb[XTUN_A_PREFIX_ADDR], sizeof(addr));
	xtun_prefix_fill(prefix, bits == 32 ? AF_INET : AF_INET6, &addr,
			 nla_get_u8(tb[XTUN_A_PREFIX_LEN]));
	return 0;
}

static int xtun_parse_allow(const struct nlattr *allow, struct xtun_params *p,
			    struct netlink_ext_ack *extack)
{
	const struct nlattr *attr;
	int rem, n = 0, err;

	if (!allow)
		return 0;

	nla_for_each_nested(attr, allow, rem)
		n++;
	if (n > XTUN_ALLOW_MAX) {
		NL_SET_BAD_ATTR(extack, allow);
		NL_SET_ERR_MSG_FMT(extack, "allow: %d prefixes, %d at most", n,
				   XTUN_ALLOW_MAX);
		return -E2BIG;
	}

	kfree(p->allow);
	p->allow = NULL;
	p->n_allow = 0;
	if (!n)
		return 0;

	p->allow = kcalloc(n, sizeof(*p->allow), GFP_KERNEL);
	if (!p->allow)
		return -ENOMEM;
	nla_for_each_nested(attr, allow, rem) {
		err = xtun_parse_prefix(attr, &p->allow[p->n_allow], extack);
		if (err)
			return err;
		p->n_allow++;
	}
	return 0;
}

/* Wider on the wire than in the packets that it is about. */
static int xtun_parse_mss(const struct nlattr *attr, struct xtun_params *p,
			  struct netlink_ext_ack *extack)
{
	u32 mss;

	if (!attr)
		return 0;

	mss = nla_get_u32(attr);
	if (mss && (mss < XTUN_MSS_MIN || mss > XTUN_MSS_AUTO)) {
		NL_SET_BAD_ATTR(extack, attr);
		NL_SET_ERR_MSG_FMT(extack, "mss: %u to %u, auto, or off",
				   XTUN_MSS_MIN, XTUN_MSS_AUTO - 1);
		return -ERANGE;
	}
	p->mss = mss;
	return 0;
}

/* A number is said of marks that are one, and forgotten where they are not. */
static void xtun_parse_mark(const struct nlattr *number,
			    const struct nlattr *from, u32 *mark, u8 *mark_from)
{
	if (from)
		*mark_from = nla_get_u32(from);
	else if (number)
		*mark_from = XTUN_MARK_FROM_NUMBER;
	if (*mark_from == XTUN_MARK_FROM_PACKET)
		*mark = 0;
	else if (number)
		*mark = nla_get_u32(number);
}

static void xtun_parse_marks(struct nlattr **tb, struct xtun_params *p)
{
	xtun_parse_mark(tb[XTUN_A_CONF_FWMARK], tb[XTUN_A_CONF_FWMARK_FROM],
			&p->fwmark, &p->fwmark_from);
	xtun_parse_mark(tb[XTUN_A_CONF_MARK_IN], tb[XTUN_A_CONF_MARK_IN_FROM],
			&p->mark_in, &p->mark_in_from);
}

static const struct xtun_words *xtun_words_of(unsigned int encap)
{
	const struct xtun_encap_ops *ops = xtun_encap_find(encap);

	return ops ? ops->words : NULL;
}

/* What was said with words that the new encapsulation lacks is forgotten. */
static void xtun_parse_encap(const struct nlattr *attr, struct xtun_params *p)
{
	const struct xtun_words *old = xtun_words_of(p->encap), *new;

	if (!attr)
		return;
	p->encap = nla_get_u32(attr);
	new = xtun_words_of(p->encap);
	if (new == old)
		return;
	memset(p->own, 0, sizeof(p->own));
	if (new)
		new->defaults(p->own);
}

static void xtun_parse_scalars(struct nlattr **tb, struct xtun_params *p)
{
	if (tb[XTUN_A_CONF_PAYLOAD])
		p->payload = nla_get_u32(tb[XTUN_A_CONF_PAYLOAD]);
	if (tb[XTUN_A_CONF_TTL])
		p->ttl = nla_get_u8(tb[XTUN_A_CONF_TTL]);
	if (tb[XTUN_A_CONF_TOS])
		p->tos = nla_get_u8(tb[XTUN_A_CONF_TOS]);
	if (tb[XTUN_A_CONF_FLOWLABEL])
		p->flowlabel = nla_get_u32(tb[XTUN_A_CONF_FLOWLABEL]);
	if (tb[XTUN_A_CONF_ENCAPLIMIT])
		p->encaplimit = nla_get_u16(tb[XTUN_A_CONF_ENCAPLIMIT]);
	if (tb[XTUN_A_CONF_DF])
		p->df = nla_get_u32(tb[XTUN_A_CONF_DF]);
	if (tb[XTUN_A_CONF_FRAG])
		p->frag = nla_get_u32(tb[XTUN_A_CONF_FRAG]);
	if (tb[XTUN_A_CONF_SPORT_MIN])
		p->sport_min = nla_get_u16(tb[XTUN_A_CONF_SPORT_MIN]);
	if (tb[XTUN_A_CONF_SPORT_MAX])
		p->sport_max = nla_get_u16(tb[XTUN_A_CONF_SPORT_MAX]);
	if (tb[XTUN_A_CONF_DPORT])
		p->dport = nla_get_u16(tb[XTUN_A_CONF_DPORT]);
	if (tb[XTUN_A_CONF_LPORT])
		p->lport = nla_get_u16(tb[XTUN_A_CONF_LPORT]);
	if (tb[XTUN_A_CONF_MTU])
		p->mtu = nla_get_u32(tb[XTUN_A_CONF_MTU]);
	if (tb[XTUN_A_CONF_ICMP_RELAY])
		p->icmp_relay = nla_get_u32(tb[XTUN_A_CONF_ICMP_RELAY]);
	if (tb[XTUN_A_CONF_ICMP_MEMORY])
		p->icmp_memory = nla_get_u32(tb[XTUN_A_CONF_ICMP_MEMORY]);
	if (tb[XTUN_A_CONF_FLAGS]) {
		struct nla_bitfield32 b =
			nla_get_bitfield32(tb[XTUN_A_CONF_FLAGS]);

		p->flags = (p->flags & ~b.selector) | b.value;
	}
}

static int xtun_parse(const struct xtun_dev *tun, struct nlattr **tb,
		      struct xtun_params *p, struct netlink_ext_ack *extack)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(xtun_refused); i++) {
		if (!tb[xtun_refused[i].attr])
			continue;
		NL_SET_BAD_ATTR(extack, tb[xtun_refused[i].attr]);
		NL_SET_ERR_MSG_FMT(extack, "%s", xtun_refused[i].refusal);
		return -EOPNOTSUPP;
	}

	xtun_parse_encap(tb[XTUN_A_CONF_ENCAP], p);
	xtun_parse_scalars(tb, p);
	xtun_parse_keys(tb, p);
	xtun_parse_marks(tb, p);
	err = xtun_parse_lower(tun, tb, p, extack);
	if (err)
		return err;
	err = xtun_parse_addrs(tb, p, extack);
	if (err)
		return err;
	err = xtun_parse_allow(tb[XTUN_A_CONF_ALLOW], p, extack);
	if (err)
		return err;
	return xtun_parse_mss(tb[XTUN_A_CONF_MSS], p, extack);
}

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

static int xtun_check(struct xtun_params *p, struct nlattr **tb,
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

/* No device has such an ifindex. */
#define XTUN_VIA_NONE	BIT(31)

/* A link-local address is one of its link, and of no other port of a VRF. */
static bool xtun_has_link_local(const struct xtun_params *p)
{
	return p->family == AF_INET6 &&
	       (ipv6_addr_type(&p->local.in6) |
		ipv6_addr_type(&p->remote.in6)) & IPV6_ADDR_LINKLOCAL;
}

/**
 * xtun_underlay_via() - find the device that packets of a tunnel go through
 * @net: underlay
 * @p: what the user said
 *
 * The port of a VRF stands for that VRF, as with the in-tree tunnels: its routes
 * choose the port. Tunnels that wait for devices of different names differ.
 *
 * Context: RTNL.
 * Return: its ifindex, 0 for any, or while it is not there a number that no device
 * has.
 */
u32 xtun_underlay_via(struct net *net, const struct xtun_params *p)
{
	const char *name = p->lower.name;
	u32 vrf = 0;

	if (!p->lower.index)
		return !name[0] ? 0 : XTUN_VIA_NONE |
				      full_name_hash(NULL, name, strlen(name));
	if (!xtun_has_link_local(p))
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

static void xtun_dst_cache_free(struct dst_cache *cache)
{
	if (!cache)
		return;
	dst_cache_destroy(cache);
	kfree(cache);
}

/**
 * xtun_conf_free() - free a configuration that nobody else has seen
 * @conf: the configuration
 *
 * Context: any but hard interrupt.
 */
void xtun_conf_free(struct xtun_conf *conf)
{
	xtun_dst_cache_free(conf->dst_cache);
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

	err = xtun_parse(tun, tb, &conf->p, extack);
	if (!err)
		err = xtun_check(&conf->p, tb, extack);
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

static int xtun_put_lower(struct sk_buff *skb, const struct xtun_lower *lower)
{
	if (lower->index && nla_put_u32(skb, XTUN_A_CONF_LINK, lower->index))
		return -EMSGSIZE;
	if (lower->name[0] &&
	    nla_put_string(skb, XTUN_A_CONF_LINK_NAME, lower->name))
		return -EMSGSIZE;
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
	if (sight & XTUN_SEES_UNDERLAY && xtun_put_lower(skb, &p->lower))
		return -EMSGSIZE;
	if (p->has_ikey && nla_put_u32(skb, XTUN_A_CONF_IKEY, p->ikey))
		return -EMSGSIZE;
	if (p->has_okey && nla_put_u32(skb, XTUN_A_CONF_OKEY, p->okey))
		return -EMSGSIZE;
	return 0;
}

static int xtun_put_marks(struct sk_buff *skb, const struct xtun_params *p)
{
	return nla_put_u32(skb, XTUN_A_CONF_FWMARK, p->fwmark) ||
	       nla_put_u32(skb, XTUN_A_CONF_FWMARK_FROM, p->fwmark_from) ||
	       nla_put_u32(skb, XTUN_A_CONF_MARK_IN, p->mark_in) ||
	       nla_put_u32(skb, XTUN_A_CONF_MARK_IN_FROM, p->mark_in_from) ?
	       -EMSGSIZE : 0;
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
	    xtun_put_marks(skb, p) ||
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
