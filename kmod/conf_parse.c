// SPDX-License-Identifier: GPL-2.0
/*
 * From netlink attributes to what the user said, without asking yet whether it goes
 * together.
 */
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <net/ipv6.h>
#include <net/netlink.h>

#include "conf.h"
#include "device.h"
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

/**
 * xtun_conf_parse() - take what the user says into a configuration
 * @tun: the tunnel that it is for
 * @tb: attributes of set "conf", as its policy lets them pass
 * @p: what was said before, or the defaults; what attributes say replaces it
 * @extack: gets the reason of a refusal
 *
 * Whether it goes together is asked by xtun_conf_check().
 *
 * Context: RTNL, may sleep.
 * Return: 0, or a negative error with @p in a state to be thrown away.
 */
int xtun_conf_parse(const struct xtun_dev *tun, struct nlattr **tb,
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
	xtun_parse_mark(tb[XTUN_A_CONF_FWMARK], tb[XTUN_A_CONF_FWMARK_FROM],
			&p->fwmark, &p->fwmark_from);
	xtun_parse_mark(tb[XTUN_A_CONF_MARK_IN], tb[XTUN_A_CONF_MARK_IN_FROM],
			&p->mark_in, &p->mark_in_from);
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
