# SPDX-License-Identifier: GPL-2.0
"""A tunnel with xtun on one end and an in-tree driver on the other.

	a  t0 (xtun) -- under0 ======== under0 -- t0, t1 (in-tree)  b
"""
import collections

from . import capture, ktap, net, traffic

BULK = 1 << 20

# Addresses inside: of xtun, of the in-tree driver, and how long the prefix is.
INNER = {"v4": ("10.9.0.1", "10.9.0.2", 24), "v6": ("fd00:9::1", "fd00:9::2", 64)}
BOTH = tuple(INNER)

# family: of the underlay; words: of xtun; others: for each in-tree device its
# words, without ends or with {local} and {remote}, and the families that it carries;
# before: what else b needs, as of ip(8).
Pair = collections.namedtuple("Pair", "family words others before", defaults=[()])


def text(pair):
    others = " + ".join(words.format(local="-", remote="-") for words, _ in pair.others)
    return f"{pair.words} over {pair.family} and {others}"


def make(hosts, pair):
    """Both ends, fresh: sequence numbers begin at 0."""
    a, b = hosts
    if " seq" in pair.words:
        net.in_order(a, b)
    near, far = getattr(a, pair.family), getattr(b, pair.family)
    a.tunnel("t0", f"{pair.words} local {near} remote {far}",
             *addresses(0, families(pair)))
    ktap.defer(a.ip, "link del t0")
    for line in pair.before:
        b.check("ip", *line.split())
        ktap.defer(b.check, "ip", *line.replace(" add ", " del ").split())
    for number, (words, inside) in enumerate(pair.others):
        words += "" if "{remote}" in words else " local {local} remote {remote}"
        b.device(f"t{number}", f"type {words.format(local=far, remote=near)}",
                 *addresses(1, inside))
        ktap.defer(b.ip, f"link del t{number}")


def addresses(end, inside):
    return [f"{INNER[family][end]}/{INNER[family][2]}" for family in inside]


def families(pair):
    return [family for _, inside in pair.others for family in inside]


def ways(hosts, pair):
    """(from, to, address) in both directions of each family inside."""
    for family in families(pair):
        yield hosts.a, hosts.b, INNER[family][1]
        yield hosts.b, hosts.a, INNER[family][0]


def talk(hosts, pair):
    """Everything gets through, both ways: echoes, datagrams, TCP in bulk."""
    make(hosts, pair)
    for src, dst, address in ways(hosts, pair):
        ktap.true(traffic.ping(src, address), f"ping {address}")
        # In one packet, and in fragments of the inner one.
        for size in (1200, 4000):
            traffic.udp_crosses(src, dst, address, size)
        traffic.tcp_bulk(src, dst, address, BULK)
    ktap.eq(hosts.a.drops("t0"), {}, "packets that xtun lost")


# ---- large packets ----
#
# What stands for many segments is told by a packet socket: Frame.gso is their
# size.  Outgoing on t0: xtun takes them from TCP.  Outgoing on under0: xtun
# leaves cutting them to the underlay.  Incoming on t0: xtun delivers in one
# what had come in many, or what had come in one.

def bulk_seen(hosts, src, dst, address, *devs):
    """What passes these devices of host a during a transfer."""
    seen = [capture.Capture(hosts.a, dev) for dev in devs]
    try:
        traffic.tcp_bulk(src, dst, address, BULK)
        for each in seen:
            each.poll()
        return [each.frames for each in seen]
    finally:
        for each in seen:
            each.close()


def _offloads(hosts, state):
    words = [word for name in ("tx", "tso", "gso") for word in (name, state)]
    for ns in hosts:
        ns.check("ethtool", "-K", "under0", *words)


def is_large(frames, outgoing, what):
    part = capture.large_share(frames, outgoing)
    ktap.true(part > 0.5, f"{what}: {part:.0%} of the data was in large packets")


def large(hosts, pair):
    """TCP's large packets go in and out as they are."""
    make(hosts, pair)
    for family in families(pair):
        near, far = INNER[family][:2]
        inner, outer = bulk_seen(hosts, hosts.a, hosts.b, far, "t0", "under0")
        is_large(inner, True, f"{family} into the tunnel")
        is_large(outer, True, f"{family} out of the tunnel, to the underlay")
        inner, = bulk_seen(hosts, hosts.b, hosts.a, near, "t0")
        is_large(inner, False, f"{family} out of the tunnel, from the underlay")


def segments(hosts, pair):
    """The underlay carries nothing that is larger than its MTU.

    What a sends was cut after xtun put its headers on it, so that these are
    in every segment; what b sends comes in segments and has to be merged.
    """
    _offloads(hosts, "off")
    ktap.defer(_offloads, hosts, "on")
    make(hosts, pair)
    for family in families(pair):
        near, far = INNER[family][:2]
        inner, outer = bulk_seen(hosts, hosts.a, hosts.b, far, "t0", "under0")
        is_large(inner, True, f"{family} into the tunnel")
        ktap.eq(capture.large_share(outer, True), 0, "of the underlay's data, large packets")

        # A packet socket on under0 would have clones of what it saw; those are
        # not merged.  The device's own counter tells that all came in segments.
        before = hosts.a.stats("under0")["rx_packets"]
        inner, = bulk_seen(hosts, hosts.b, hosts.a, near, "t0")
        count = hosts.a.stats("under0")["rx_packets"] - before
        ktap.true(count >= BULK / 1500, f"{count} packets came in, one a segment")
        is_large(inner, False, f"{family} out of the tunnel, merged")
