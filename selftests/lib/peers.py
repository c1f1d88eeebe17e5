# SPDX-License-Identifier: GPL-2.0
"""A tunnel with xtun on one end and an in-tree driver on the other.

	a  t0 (xtun) -- under0 ======== under0 -- t0, t1 (in-tree)  b
"""
import collections
import itertools
import re

from . import capture, ktap, net, traffic

BULK = 1 << 20

# Addresses inside: of xtun, of the in-tree driver, and how long the prefix is.
INNER = {"v4": ("10.9.0.1", "10.9.0.2", 24), "v6": ("fd00:9::1", "fd00:9::2", 64)}
BOTH = tuple(INNER)

# family: of the underlay; words: of xtun; others: for each in-tree device its
# words, without ends or with {local} and {remote}, and the families that it carries.
# Where words are not enough, they are a function of namespace, device, local,
# remote and families, whose text is its docstring; it returns with the device up,
# and removes it with the scope.  before: what else b needs, as of ip(8).
Pair = collections.namedtuple("Pair", "family words others before", defaults=[()])


def text(pair):
    others = " + ".join(words.__doc__ if callable(words) else
                        words.format(local="-", remote="-") for words, _ in pair.others)
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
        b.ip(line)
        ktap.defer(b.ip, line.replace(" add ", " del "))
    for number, (words, inside) in enumerate(pair.others):
        if callable(words):
            words(b, f"t{number}", far, near, inside)
            b.ip(*(net.address_line(f"t{number}", address)
                   for address in addresses(1, inside)))
            continue
        if " session_id " in words:
            # It takes no checksum that is left to a network card, as veth hands them on.
            ktap.defer(a.check, *"ethtool -K under0 tx on".split())
            a.check(*"ethtool -K under0 tx off".split())
            l2tp(b, f"t{number}", words, far, near, *addresses(1, inside))
            continue
        words += "" if "{remote}" in words else " local {local} remote {remote}"
        b.device(f"t{number}", f"type {words.format(local=far, remote=near)}",
                 *addresses(1, inside))
        ktap.defer(b.ip, f"link del t{number}")


_l2tp_ids = itertools.count(1)


def l2tp(ns, dev, words, local, remote, *inside):
    """An in-tree L2TP tunnel with one session, which is the device.

    words: those of `ip l2tp add tunnel`, then, from session_id on, those of
    `ip l2tp add session`.
    """
    number = next(_l2tp_ids)
    tunnel, session = words.split(" session_id ")
    ns.ip(f"l2tp add tunnel tunnel_id {number} peer_tunnel_id {number} "
          f"local {local} remote {remote} {tunnel}",
          f"l2tp add session name {dev} tunnel_id {number} session_id {session}",
          f"link set {dev} up", *(net.address_line(dev, address) for address in inside))
    ktap.defer(_l2tp_del, ns, dev, number)
    return number


def _l2tp_del(ns, dev, number):
    """The kernel does it later; the port is free afterwards."""
    ns.ip(f"l2tp del tunnel tunnel_id {number}")
    ktap.wait_for(lambda: dev not in ns.all_stats() and not re.search(
        rf"^Tunnel {number},", ns.ip("l2tp show tunnel"), re.M),
        f"the end of L2TP tunnel {number}")


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
    """Some were.  How many is up to TCP, which on a slow machine hands down few at once."""
    ktap.true(capture.large(frames, outgoing), f"{what}: large packets among {len(frames)}")


def large(hosts, pair):
    """TCP's large packets go in and out as they are."""
    make(hosts, pair)
    for family in families(pair):
        near, far = INNER[family][:2]
        inner, outer = bulk_seen(hosts, hosts.a, hosts.b, far, "t0", "under0")
        is_large(inner, True, f"{family} into the tunnel")
        ktap.eq(len(capture.large(outer, True)), len(capture.large(inner, True)),
                f"{family}: large packets that leave as such, and all that went in")
        inner, outer = bulk_seen(hosts, hosts.b, hosts.a, near, "t0", "under0")
        is_large(inner, False, f"{family} out of the tunnel, from the underlay")
        ktap.true(len(capture.large(inner, False)) >= len(capture.large(outer, False)),
                  f"{family}: none that came in was cut")


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
        ktap.eq(capture.large(outer, True), [], "large packets on the underlay")

        # A packet socket on under0 would have clones of what it saw; those are
        # not merged.  The device's own counter tells that all came in segments.
        before = hosts.a.stats("under0")["rx_packets"]
        inner, = bulk_seen(hosts, hosts.b, hosts.a, near, "t0")
        count = hosts.a.stats("under0")["rx_packets"] - before
        ktap.true(count >= BULK / 1500, f"{count} packets came in, one a segment")
        is_large(inner, False, f"{family} out of the tunnel, merged")


def _snmp(ns, file, name):
    """A counter of a namespace in /proc/net/snmp, as "Ip InReceives", or in snmp6."""
    with ns, open(f"/proc/thread-self/net/{file}") as text:
        lines = [line.replace(":", "").split() for line in text]
    if file == "snmp6":
        return int(dict(lines)[name])
    group, field = name.split()
    names, values = [line for line in lines if line[0] == group]
    return int(values[names.index(field)])


_RECEIVED = {"v4": ("snmp", "Ip InReceives"), "v6": ("snmp6", "Ip6InReceives")}


def merged(hosts, pair):
    """What comes in segments is merged before IP sees it, and nothing is lost."""
    a, b = hosts
    ktap.defer(a.check, *"ethtool -K under0 gro off".split())
    a.check(*"ethtool -K under0 gro on".split())
    # veth has GRO only for what comes from a device that cuts nothing.
    ktap.defer(b.check, *"ethtool -K under0 tso on".split())
    b.check(*"ethtool -K under0 tso off".split())
    make(hosts, pair)

    def state():
        return (a.stats("under0")["rx_packets"], _snmp(a, *_RECEIVED[pair.family]),
                _snmp(b, "snmp", "Tcp RetransSegs"))
    before = state()
    # Of the other family than the underlay's, whose packets are counted.
    inside = INNER[{"v4": "v6", "v6": "v4"}[pair.family]]
    traffic.tcp_bulk(b, a, inside[0], BULK)
    packets, received, again = (now - then for now, then in zip(state(), before))
    ktap.true(received < packets * 0.9, f"{packets} packets became {received}")
    ktap.true(again < packets / 10, f"{again} of {packets} packets were lost")
    ktap.eq(a.drops("t0"), {}, "packets that xtun lost")
