// SPDX-License-Identifier: GPL-2.0
/*
 * What needs code of its own on kernels that lack it, or keep it to themselves.
 */
#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/net.h>
#include <linux/netlink.h>
#include <linux/random.h>
#include <linux/siphash.h>
#include <net/inetpeer.h>
#include <net/ip.h>
#include <net/net_namespace.h>

#ifndef XTUN_HAVE_EXTACK_FMT
#define XTUN_EXTACK_BUFS	32
#define XTUN_EXTACK_LEN		128

/*
 * xtun_extack_format() - text of an extended ack that is made at run time
 *
 * Without a buffer in struct netlink_ext_ack the text has to outlive the
 * handler until the ack is copied out, so texts take turns in static buffers.
 * Should so many requests fail at once that one is reused too early, an ack
 * shows another's text; it is always terminated.
 */
const char *xtun_extack_format(const char *fmt, ...)
{
	static char bufs[XTUN_EXTACK_BUFS][XTUN_EXTACK_LEN];
	static atomic_t turn;
	unsigned int n = (unsigned int)atomic_inc_return(&turn);
	char *buf = bufs[n % XTUN_EXTACK_BUFS];
	va_list args;

	va_start(args, fmt);
	vsnprintf(buf, XTUN_EXTACK_LEN, fmt, args);
	va_end(args);
	return buf;
}
#endif

#ifndef XTUN_HAVE_ICMP_GLOBAL
/* So often the stack adds to the credit that errors are paid with. */
#define XTUN_ICMP_CREDIT_PERIOD	(HZ / 50)

/* What the stack's rate makes of so many jiffies without an addition. */
static int xtun_icmp_earned(const struct net *net, u32 time)
{
	u64 rate = READ_ONCE(net->ipv4.sysctl_icmp_msgs_per_sec);

	if (time < XTUN_ICMP_CREDIT_PERIOD)
		return 0;
	return div_u64(rate * min_t(u32, time, HZ), HZ);
}

/**
 * xtun_icmp_global_allow() - may this host send one more ICMP error?
 * @net: netns that it is sent in
 *
 * The credit is the one that the stack's own errors are paid with. It is added
 * to when it is used up, by whoever comes first.
 *
 * Context: any.
 * Return: whether it may, by net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst.
 */
bool xtun_icmp_global_allow(struct net *net)
{
	u32 last = READ_ONCE(net->ipv4.icmp_global_stamp), now = jiffies;
	int burst = READ_ONCE(net->ipv4.sysctl_icmp_msgs_burst);
	int earned;

	if (atomic_read(&net->ipv4.icmp_global_credit) > 0)
		return true;
	earned = xtun_icmp_earned(net, now - last);
	if (earned && try_cmpxchg(&net->ipv4.icmp_global_stamp, &last, now))
		atomic_add(min(earned, burst), &net->ipv4.icmp_global_credit);
	return earned;
}

/**
 * xtun_icmp_global_consume() - pay for an error that is sent
 * @net: netns that it is sent in
 *
 * One on average: who could count exactly would learn what others are sent.
 *
 * Context: any.
 */
void xtun_icmp_global_consume(struct net *net)
{
	atomic_sub(get_random_u32_below(3), &net->ipv4.icmp_global_credit);
}
#endif

#ifndef XTUN_HAVE_INETPEER
/* As by the stack, a host may be sent so many at once; at first no more than a
 * minute makes, but one.
 */
#define XTUN_HOST_BURST		6
#define XTUN_HOST_FIRST		(60 * HZ)

/* Whom an error is for; all of it is hashed. */
struct xtun_host {
	const struct inet_peer_base *base;
	u32 key[INETPEER_MAXKEYSZ];
	u32 family;
} __packed;

static u32 *xtun_host_place(struct xtun_hosts *hosts,
			    const struct inet_peer_base *base,
			    const struct inetpeer_addr *addr)
{
	struct xtun_host host = { .base = base, .family = addr->family };
	static siphash_key_t secret __read_mostly;

	memcpy(host.key, addr->key, addr->family == AF_INET ?
				    sizeof(addr->a4) : sizeof(addr->a6));
	net_get_random_once(&secret, sizeof(secret));
	return &hosts->served[siphash(&host, sizeof(host), &secret) %
			      ARRAY_SIZE(hosts->served)];
}

/* When a host of which @until is kept would have had all that it may be sent. */
static u32 xtun_host_served(u32 until, u32 now, u32 period)
{
	u32 burst = XTUN_HOST_BURST * period;

	if (!until)
		return now + burst - clamp_t(u32, XTUN_HOST_FIRST, period, burst);
	/* Neither what is past nor what a slower rate has left counts. Another
	 * CPU may be a jiffy ahead, which is less than a period.
	 */
	return until - now <= burst + period ? until : now;
}

/**
 * xtun_inetpeer_allows() - may an error be sent to a host?
 * @hosts: those of the netns
 * @base: hosts of its family and netns
 * @addr: the host
 * @timeout: jiffies in which one may be sent, or 0 for any number
 *
 * What is kept of a host is until when it has been served, in a place that it
 * may share with others of its netns. The stack's errors do not count here, nor
 * these there.
 *
 * Context: any.
 * Return: whether it may.
 */
bool xtun_inetpeer_allows(struct xtun_hosts *hosts,
			  const struct inet_peer_base *base,
			  const struct inetpeer_addr *addr, int timeout)
{
	u32 *until = xtun_host_place(hosts, base, addr);
	u32 period, now, old, new;

	if (timeout <= 0)
		return true;
	/* All that is compared has to be less than half of what there is. */
	period = min_t(u32, timeout, S32_MAX / (XTUN_HOST_BURST + 2));
	old = READ_ONCE(*until);
	do {
		now = jiffies;
		new = xtun_host_served(old, now, period) + period;
		if (new - now > XTUN_HOST_BURST * period)
			return false;
	} while (!try_cmpxchg(until, &old, new));
	return true;
}
#endif
