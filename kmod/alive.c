// SPDX-License-Identifier: GPL-2.0
/*
 * When a packet came from the peer last, and when one went to it. By that is told
 * whether what was wrong is over.
 */
#include <linux/jiffies.h>
#include <linux/percpu.h>

#include "device.h"

static void xtun_alive_later(unsigned long *when, unsigned long other)
{
	if (other && (!*when || time_after(other, *when)))
		*when = other;
}

/**
 * xtun_alive() - when packets came and went last through a tunnel
 * @tun: the tunnel
 *
 * Context: any.
 * Return: the latest times of all CPUs.
 */
struct xtun_alive xtun_alive(const struct xtun_dev *tun)
{
	struct xtun_alive latest = {};
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct xtun_pcpu *pcpu = per_cpu_ptr(tun->pcpu, cpu);

		xtun_alive_later(&latest.heard, READ_ONCE(pcpu->alive.heard));
		xtun_alive_later(&latest.sent, READ_ONCE(pcpu->alive.sent));
	}
	return latest;
}

/**
 * xtun_alive_forget() - a tunnel has another peer, from which nothing has come yet
 * @tun: the tunnel
 *
 * Context: RTNL.
 */
void xtun_alive_forget(struct xtun_dev *tun)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct xtun_pcpu *pcpu = per_cpu_ptr(tun->pcpu, cpu);

		WRITE_ONCE(pcpu->alive.heard, 0);
		WRITE_ONCE(pcpu->alive.sent, 0);
	}
}

/**
 * xtun_alive_after() - was there a packet since something happened?
 * @last: when the last one was, in jiffies, 0 for never
 * @when: when it happened, in jiffies
 *
 * In the same jiffy nobody knows which was first: there was none then.
 *
 * Context: any.
 * Return: whether there was.
 */
bool xtun_alive_after(unsigned long last, unsigned long when)
{
	return last && time_after(last, when);
}

/**
 * xtun_alive_since() - which packets there were since something happened
 * @alive: the last ones
 * @when: when it happened, in jiffies
 *
 * Context: any.
 * Return: enum xtun_since, for user space.
 */
u32 xtun_alive_since(const struct xtun_alive *alive, unsigned long when)
{
	u32 since = 0;

	if (xtun_alive_after(alive->heard, when))
		since |= XTUN_SINCE_HEARD;
	if (xtun_alive_after(alive->sent, when))
		since |= XTUN_SINCE_SENT;
	return since;
}
