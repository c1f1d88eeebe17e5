#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Counts what tunnels cost, in a virtual machine that counts instructions.

usage: bench.py [--quick] [--rows NAME,...] [--profile]

Prints one JSON object on standard output, and how far it is on standard error:

    {"kernel": ..., "figures": {NAME OF A FIGURE: [VALUE, SPREAD]},
     "dumps": [[NAME OF A FIGURE, PACKETS]], "symbols": [[ADDRESS, FUNCTION]]}

A value is instructions for a packet (the median of batches of 64) unless its name says
otherwise; the spread is the distance between the 10th and the 90th percentile, divided
by the median.  report.py makes tables of it.  Dumps are those that profile.c has written,
in their order; symbols are there with --profile.

    i1 (r1) t0 --- u1 ....... u2 --- t0 (r2) i2

Two routers, and cards of xtun_bench.c: what comes into i1 goes into the tunnel and out
of u1 (way out); what was seen there is what u2 receives, and leaves by i2 (way in); with
u1 and u2 connected both are passed (end to end).
"""
import argparse
import collections
import contextlib
import ipaddress
import itertools
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from lib import ktap, net, peers, pkt, rawnl, traffic      # noqa: E402

DEBUGFS = "/sys/kernel/debug/xtun_bench"
BATCH = 64
BATCHES = 20
WARM = 5                # batches before those that count

MAC = {"i1": "02:00:00:00:01:01", "u1": "02:00:00:00:02:01",
       "u2": "02:00:00:00:02:02", "i2": "02:00:00:00:01:02"}
STRANGER = "02:00:00:00:09:09"
UNDER = {"v4": ("192.0.2.1", "192.0.2.2", 24), "v6": ("2001:db8::1", "2001:db8::2", 64)}
# The networks at both ends of the tunnel, its own between them, and who speaks.
NEAR = {"v4": ("10.1.0.1/16", "10.1.0.2"), "v6": ("fd00:1::1/64", "fd00:1::2")}
FAR = {"v4": ("10.2.0.1/16", "10.2.0.2", "10.2.0.0/16"),
       "v6": ("fd00:2::1/64", "fd00:2::2", "fd00:2::/64")}
MIDDLE = {"v4": ("10.3.0.1/24", "10.3.0.2/24"), "v6": ("fd00:3::1/64", "fd00:3::2/64")}

# Encapsulations that both have.  in_tree: words of ip(8), with {local}, {remote}; or a
# function of namespace, device, local, remote, and 0 or 1 for the end.
Row = collections.namedtuple("Row", "name inner outer payload xtun in_tree before",
                             defaults=[()])


def gtp_in_tree(ns, dev, local, remote, end):
    """The driver has no words in ip(8): by hand, as selftests/gtp.py says it.

    The mobile station is near: the first router is the SGSN, the second the GGSN.
    """
    def attr(kind, data):
        return rawnl.u32(kind, data) if isinstance(data, int) else rawnl.attr(kind, data)
    data = attr(4, 1 - end) + attr(5, b"\1") + (attr(7, net.packed(local)) if NEW_GTP else b"")
    info = attr(1, b"gtp\0") + attr(2, data)
    rawnl.Raw(ns).needs(rawnl.RTM_NEWLINK,
                        bytes(16) + attr(rawnl.IFLA_IFNAME, dev.encode() + b"\0")
                        + attr(rawnl.IFLA_LINKINFO, info),
                        rawnl.NLM_F_CREATE | rawnl.NLM_F_EXCL)
    ns.ip(f"link set {dev} up")
    seen = rawnl.Family(ns, "gtp").do(
        0, attr(1, ns.link(dev)["ifindex"]), attr(2, 1), attr(4, net.packed(remote)),
        attr(5, net.packed(NEAR["v4"][1])), attr(8, 7), attr(9, 7), version=0)
    ktap.eq(seen.errno, 0, f"errno of gtp's request ({seen.message})")


NEW_GTP = not net.kernel_before(6, 10)
FOU = ("fou add port 5555 ipproto 4",)
GUE = ("fou add port 5555 gue",)
NO_CSUM = "noudpcsum"

ROWS = [
    Row("4in4", "v4", "v4", "ip", "encap ip", "ipip ttl 64"),
    Row("6in4", "v6", "v4", "ip", "encap ip", "sit ttl 64"),
    Row("4in6", "v4", "v6", "ip", "encap ip", "ip6tnl mode ipip6 encaplimit none hoplimit 64"),
    Row("6in6", "v6", "v6", "ip", "encap ip", "ip6tnl mode ip6ip6 encaplimit none hoplimit 64"),
    Row("gre", "v4", "v4", "ip", "encap gre", "gre ttl 64"),
    Row("gre key", "v4", "v4", "ip", "encap gre key 7", "gre ttl 64 key 7"),
    Row("gre csum", "v4", "v4", "ip", "encap gre csum", "gre ttl 64 csum"),
    Row("gre seq", "v4", "v4", "ip", "encap gre seq", "gre ttl 64 seq"),
    Row("gre eth", "v4", "v4", "eth", "encap gre payload eth", "gretap ttl 64"),
    Row("gre over v6", "v4", "v6", "ip", "encap gre", "ip6gre ttl 64 encaplimit none"),
    Row("gre eth over v6", "v4", "v6", "eth", "encap gre payload eth",
        "ip6gretap ttl 64 encaplimit none"),
    Row("vxlan", "v4", "v4", "eth", f"encap vxlan key 7 {NO_CSUM}",
        "vxlan id 7 dstport 4789 ttl 64 df set noudpcsum"),
    Row("vxlan udpcsum", "v4", "v4", "eth", "encap vxlan key 7",
        "vxlan id 7 dstport 4789 ttl 64 df set udpcsum"),
    Row("vxlan over v6", "v4", "v6", "eth", "encap vxlan key 7",
        "vxlan id 7 dstport 4789 ttl 64 noudp6zerocsumtx noudp6zerocsumrx"),
    Row("geneve", "v4", "v4", "eth", f"encap geneve key 7 {NO_CSUM}",
        "geneve id 7 remote {remote} ttl 64 df set noudpcsum"),
    Row("geneve udpcsum", "v4", "v4", "eth", "encap geneve key 7",
        "geneve id 7 remote {remote} ttl 64 df set udpcsum"),
    Row("fou", "v4", "v4", "ip", f"encap fou dport 5555 {NO_CSUM}",
        "ipip ttl 64 encap fou encap-sport auto encap-dport 5555 noencap-csum", FOU),
    Row("gue", "v4", "v4", "ip", f"encap gue dport 5555 {NO_CSUM}",
        "ipip ttl 64 encap gue encap-sport auto encap-dport 5555 noencap-csum", GUE),
    Row("l2tp", "v4", "v4", "eth", f"encap l2tp key 7 sport 1701 dport 1701 {NO_CSUM}",
        "encap udp udp_sport 1701 udp_dport 1701 udp_csum off"
        " session_id 7 peer_session_id 7"),
    Row("l2tp-ip", "v4", "v4", "eth", "encap l2tp-ip key 7",
        "encap ip session_id 7 peer_session_id 7"),
    Row("gtp", "v4", "v4", "ip", f"encap gtp key 7 {NO_CSUM}", gtp_in_tree),
]
BY_NAME = {row.name: row for row in ROWS}


class Lost(Exception):
    """Not every packet came out at the other end."""


# ---- cards ----

class Card:
    """A device of xtun_bench.c, by its files in debugfs."""

    def __init__(self, ns, dev):
        self.dev = dev
        ns.ip(f"link add {dev} address {MAC.get(dev, STRANGER)} type xtun_bench",
              f"link set {dev} up")

    def write(self, name, data):
        if isinstance(data, str):
            data = data.encode()
        fd = os.open(f"{DEBUGFS}/{self.dev}/{name}", os.O_WRONLY)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def read(self, name):
        with open(f"{DEBUGFS}/{self.dev}/{name}", "rb") as file:
            return file.read()

    def sent(self):
        """Packets since it was asked last."""
        return int(self.read("sent").split()[0])

    def run(self, batches):
        """Instructions a packet, of each batch."""
        self.write("run", f"{batches} {BATCH}")
        data = self.read("run")
        return [cycles / BATCH for cycles, in struct.iter_unpack("=Q", data)]


def figure(values):
    """Median and spread."""
    values = sorted(values)
    middle = statistics.median(values)
    tenth = len(values) // 10
    return [middle, (values[-1 - tenth] - values[tenth]) / middle if middle else 0]


# Names of figures, and packets, of each dump of profile.c.
DUMPS = []


def measure(name, card, out, batches=BATCHES, warm=WARM):
    """What it costs to have a packet come into one card until it leaves the other."""
    card.run(warm)
    out.sent()
    card.write("mark", "reset")
    seen = card.run(batches)
    card.write("mark", "dump")
    DUMPS.append([name, batches * BATCH])
    count = out.sent()
    if count != batches * BATCH:
        raise Lost(f"{batches * BATCH} packets went into {card.dev}, "
                   f"{count} came out of {out.dev}")
    return {name: figure(seen)}


# ---- routers ----

def router(name):
    ns = net.Namespace(name)
    ns.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
    return ns


class Routers:
    """Two of them, and the tunnel that the scope has made, if any."""

    def __init__(self):
        self.r1, self.r2 = router("r1"), router("r2")
        self.i1, self.u1 = Card(self.r1, "i1"), Card(self.r1, "u1")
        self.u2, self.i2 = Card(self.r2, "u2"), Card(self.r2, "i2")
        for ns, inside, under, end, other in (
                (self.r1, "i1", "u1", 0, "u2"), (self.r2, "i2", "u2", 1, "u1")):
            lines = []
            for family in ("v4", "v6"):
                near = (NEAR if end == 0 else FAR)[family]
                lines += [f"addr add {near[0]} dev {inside}",
                          f"neigh add {near[1]} lladdr {STRANGER} dev {inside}",
                          f"addr add {UNDER[family][end]}/{UNDER[family][2]} dev {under}",
                          f"neigh add {UNDER[family][1 - end]} lladdr {MAC[other]} dev {under}"]
            ns.ip(*lines)

    def delete(self):
        """The cards go with their namespaces, which takes the kernel a moment."""
        for ns in (self.r1, self.r2):
            ns.delete()
        ktap.wait_for(lambda: not os.listdir(DEBUGFS), "the end of the cards")

    def tunnel(self, row, whose):
        """whose: "xtun", "in-tree", or "none" for the underlay's own route."""
        for ns, end in ((self.r1, 0), (self.r2, 1)):
            local, remote = UNDER[row.outer][end], UNDER[row.outer][1 - end]
            if whose != "none":
                for line in row.before if whose == "in-tree" else ():
                    ns.ip(line)
                self._make(ns, row, whose, local, remote, end)
        route = FAR[row.inner][2]
        if whose == "none":
            self.r1.ip(f"route add {route} via {UNDER[row.inner][1]} dev u1")
        elif row.payload == "ip":
            self.r1.ip(f"route add {route} dev t0")
        else:
            for ns, end, other in ((self.r1, 0, self.r2), (self.r2, 1, self.r1)):
                gateway = MIDDLE[row.inner][1 - end].partition("/")[0]
                ns.ip(f"addr add {MIDDLE[row.inner][end]} dev t0",
                      f"neigh add {gateway} lladdr {other.link('t0')['address']} dev t0")
            gateway = MIDDLE[row.inner][1].partition("/")[0]
            self.r1.ip(f"route add {route} via {gateway} dev t0")

    def back(self, row, whose):
        """And the other way."""
        to = str(ipaddress.ip_interface(NEAR[row.inner][0]).network)
        if whose == "none":
            way = f"via {UNDER[row.inner][0]}"
        elif row.payload == "ip":
            way = "dev t0"
        else:
            way = f"via {MIDDLE[row.inner][0].partition('/')[0]}"
        self.r2.ip(f"route add {to} {way}")

    @staticmethod
    def _make(ns, row, whose, local, remote, end):
        if whose == "xtun":
            ns.ip(f"link add t0 type xtun {row.xtun} local {local} remote {remote}",
                  "link set t0 up")
        elif callable(row.in_tree):
            row.in_tree(ns, "t0", local, remote, end)
        elif " session_id " in row.in_tree:
            peers.l2tp(ns, "t0", row.in_tree, local, remote)
        else:
            kind, _, words = row.in_tree.partition(" ")
            words = words.format(local=local, remote=remote)
            ends = f"remote {remote}" if kind == "geneve" else f"local {local} remote {remote}"
            words = words.replace(f" remote {remote}", "")
            if kind == "vxlan":
                ends += " dev " + ("u1" if end == 0 else "u2")
            ns.ip(f"link add t0 type {kind} {ends} {words}", "link set t0 up")

    def packet(self, family, data=None):
        """A small datagram from near to far, as it comes into i1."""
        data = data or bytes(18 if family == "v4" else 8)
        seen = pkt.udp(family, NEAR[family][1], FAR[family][1], data)
        return pkt.frame(seen, src=STRANGER, dst=MAC["i1"])


@contextlib.contextmanager
def routers(row, whose):
    with ktap.scope():
        both = Routers()
        ktap.defer(both.delete)
        if row.inner == "v4":
            # A tunnel of frames would carry what IPv6 says of its groups.
            for ns in (both.r1, both.r2):
                ns.sysctl({"net.ipv6.conf.default.disable_ipv6": 1})
        both.tunnel(row, whose)
        yield both


# ---- figures ----

def ways(row, whose, label):
    """Way out, way in, end to end."""
    figures = {}
    total = (WARM + BATCHES) * BATCH
    with routers(row, whose) as both:
        both.i1.write("packet", both.packet(row.inner))
        # The warm batches of the first pass are too much by so many.
        both.i1.run(1)
        both.u1.write("record", str(total))
        figures |= measure(f"{label}: way out", both.i1, both.u1)
        both.u2.write("from", "u1")
        figures |= measure(f"{label}: way in", both.u2, both.i2)
    with routers(row, whose) as both:
        both.i1.write("packet", both.packet(row.inner))
        both.u1.write("peer", "u2")
        figures |= measure(f"{label}: end to end", both.i1, both.i2)
    return figures


# ---- TCP in bulk ----

BULK = 64 << 20


def idle():
    """Nanoseconds that the processor had nothing to do."""
    with open("/proc/timer_list") as file:
        return int(re.search(r"\.idle_sleeptime\s*:\s*(\d+)", file.read())[1])


def bulk(row, whose):
    """Instructions a byte, from a host behind the first router to one behind the second."""
    with routers(row, whose) as both:
        hosts = []
        for name, ends, card in (("a", NEAR, "i1"), ("b", FAR, "i2")):
            ns = net.Namespace(name)
            gateway, _, length = ends[row.inner][0].partition("/")
            Card(ns, f"{name}0").write("peer", card)
            ns.ip(f"addr add {ends[row.inner][1]}/{length} dev {name}0",
                  f"neigh add {gateway} lladdr {MAC[card]} dev {name}0",
                  f"route add default via {gateway}")
            hosts.append(ns)
        for card, peer in ((both.i1, "a0"), (both.i2, "b0"), (both.u1, "u2"), (both.u2, "u1")):
            card.write("peer", peer)
        both.back(row, whose)
        address = FAR[row.inner][1]
        # Of a first transfer the path MTU is learned.
        traffic.tcp_bulk(*hosts, address, 1 << 20)
        start = time.monotonic_ns() - idle()
        traffic.tcp_bulk(*hosts, address, BULK)
        used = time.monotonic_ns() - idle() - start
        for ns in hosts:
            ns.delete()
        return used / BULK


def transfers(rows):
    figures = {}
    for inner in sorted({row.inner for row in rows}):
        figures[f"none {inner}: TCP, a byte"] = [
            bulk(Row("", inner, inner, "ip", None, None), "none"), 0]
    for row, whose in itertools.product(rows, ("in-tree", "xtun")):
        figures[f"{row.name}, {whose}: TCP, a byte"] = [bulk(row, whose), 0]
        say(f"{row.name} {whose}, TCP")
    return figures


# ---- growth ----

# What grows with the number of flows, and of tunnels.
GROWING = ("4in4", "gre")
FLOWS = (1000, 100000)
TUNNELS = (1, 100, 1000, 10000)
# Where the outer source address is in a frame, and the inner UDP header's ports.
SADDR_AT, PORTS_AT = 14 + 12, 14 + 20
# The first of the remote ends.
MANY = ipaddress.ip_address("198.18.0.1")


def flows(row, whose, label, count):
    """Way out, each packet of another flow than the one before."""
    with routers(row, whose) as both:
        both.i1.write("packet", both.packet(row.inner))
        both.i1.write("vary", f"{PORTS_AT} 4 {count}")
        # Once through all of them, and once more.
        batches = -(-count // BATCH)
        return measure(f"{label}: way out, {count} flows", both.i1, both.u1,
                       batches, batches)


class Many:
    """Tunnels to many remote ends, and what their making took."""

    def __init__(self, row, whose, count):
        self.ns = ns = router("r2")
        self.count = count
        self.u2, self.i2 = Card(ns, "u2"), Card(ns, "i2")
        local = UNDER["v4"][1]
        kind, words = (("xtun", row.xtun) if whose == "xtun" else
                       row.in_tree.split(" ", 1))
        before = free_memory()
        self.create = self._each(
            f"link add t{number} group 7 type {kind} local {local} remote {MANY + number} "
            f"{words}" for number in range(count))
        self.up = self._each(f"link set t{number} up" for number in range(count))
        self.memory = (before - free_memory()) / count
        ns.ip(f"addr add {local}/24 dev u2", f"addr add {FAR['v4'][0]} dev i2",
              f"neigh add {FAR['v4'][1]} lladdr {STRANGER} dev i2")

    def _each(self, lines):
        """Instructions for each line."""
        start = time.monotonic_ns()
        self.ns.ip(*lines)
        return (time.monotonic_ns() - start) / self.count

    def delete(self):
        """Instructions for each of them."""
        start = time.monotonic_ns()
        self.ns.ip("link del group 7")
        return (time.monotonic_ns() - start) / self.count

    def way_in(self, row, label, spread):
        """Packets for the last of them, or for all in turn."""
        inner = pkt.udp("v4", NEAR["v4"][1], FAR["v4"][1], bytes(18))
        inside = inner if row.name == "4in4" else pkt.gre("v4", inner)
        proto = pkt.IP_IN_IP if row.name == "4in4" else pkt.GRE_PROTO
        first = MANY if spread else MANY + self.count - 1
        packet = pkt.ip("v4", str(first), UNDER["v4"][1], inside, proto=proto)
        self.u2.write("packet", pkt.frame(packet, src=STRANGER, dst=MAC["u2"]))
        batches = BATCHES
        if spread:
            self.u2.write("vary", f"{SADDR_AT} 4 {self.count}")
            batches = max(batches, -(-self.count // BATCH))
        way = "spread over" if spread else "one of"
        return measure(f"{label}: way in, {way} {self.count}", self.u2, self.i2,
                       batches, batches)


def free_memory():
    """Bytes."""
    with open("/proc/meminfo") as file:
        return int(re.search(r"^MemFree:\s+(\d+)", file.read(), re.M)[1]) << 10


def many(row, whose, label, count):
    """Figures of so many tunnels in one netns."""
    figures = {}
    with ktap.scope():
        seen = Many(row, whose, count)
        for spread in (False, True):
            figures |= seen.way_in(row, label, spread)
        for name, value in (("create", seen.create), ("up", seen.up), ("bytes", seen.memory),
                            ("delete", seen.delete())):
            figures[f"{label}: {name}, of {count}"] = [value, 0]
        seen.ns.delete()
        ktap.wait_for(lambda: not os.listdir(DEBUGFS), "the end of the cards")
    return figures


def growth(quick):
    """What flows and tunnels in numbers cost."""
    figures = {}
    rows = [BY_NAME[name] for name in GROWING]
    for row, whose in itertools.product(rows, ("in-tree", "xtun")):
        label = f"{row.name}, {whose}"
        for count in FLOWS[:1] if quick else FLOWS:
            figures |= flows(row, whose, label, count)
        for count in TUNNELS[:3] if quick else TUNNELS:
            figures |= many(row, whose, label, count)
            say(f"{row.name} {whose}, {count} tunnels")
    return figures


def say(text):
    print(f"{time.monotonic():7.1f} {text}", file=sys.stderr, flush=True)


def table(rows):
    """Every row's figures, with those of the same path without a tunnel."""
    figures = {}
    for inner in sorted({row.inner for row in rows}):
        row = Row("", inner, inner, "ip", None, None)
        figures |= ways(row, "none", f"none {inner}")
    for row, whose in itertools.product(rows, ("in-tree", "xtun")):
        figures[f"{row.name}: inner"] = row.inner
        try:
            figures |= ways(row, whose, f"{row.name}, {whose}")
        except (Lost, ktap.Failed) as error:
            say(f"{row.name}, {whose}: {error}")
            figures[f"{row.name}, {whose}: error"] = str(error)
        say(f"{row.name} {whose}")
    return figures


def symbols():
    """Functions of the kernel and its modules, by address."""
    seen = []
    with open("/proc/kallsyms") as file:
        for line in file:
            address, kind, name = line.split()[:3]
            if kind in "tTwW":
                seen.append([int(address, 16), name])
    return sorted(seen)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", help="only these, with a comma between two")
    parser.add_argument("--profile", action="store_true")
    words = parser.parse_args()
    rows = [BY_NAME[name] for name in words.rows.split(",")] if words.rows else ROWS
    net.need_modules("fou")
    # It would have every received packet looked at the clock for.
    net.unstamp()
    path = os.path.join(os.environ["XTUN_TOP"], "build", os.environ["XTUN_K"],
                        "selftests", "bench", "xtun_bench.ko")
    subprocess.run(["insmod", path], check=True)
    figures = {}
    if not words.rows:
        # What xtun costs who has no tunnel of it.
        figures |= ways(BY_NAME["4in4"], "in-tree", "4in4, in-tree without xtun loaded")
    net.load_module()
    figures |= table(rows)
    if not words.profile:
        figures |= transfers(rows)
        if not words.rows:
            figures |= growth(words.quick)
    json.dump({"kernel": os.uname().release, "figures": figures, "dumps": DUMPS,
               "symbols": symbols() if words.profile else []}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
