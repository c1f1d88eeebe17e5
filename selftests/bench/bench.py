#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Counts what tunnels cost, in a virtual machine that counts instructions.

usage: bench.py [--quick] [--rows NAME,...] [--profile]

--quick leaves out large numbers, --profile all that profile.c says nothing of.

Prints one JSON object on standard output, and how far it is on standard error:

    {"kernel": ..., "figures": {NAME OF A FIGURE: [VALUE, SPREAD]},
     "dumps": [[NAME OF A FIGURE, PACKETS]], "symbols": [LINES OF /proc/kallsyms]}

A value is instructions for a packet (the median of batches of 64) unless its name says
otherwise; the spread is the distance between the 10th and the 90th percentile, divided
by the median.  report.py makes tables of it.  Dumps are those that profile.c has written,
in their order; profile.py makes figures and tables of them and the symbols.

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

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEBUGFS = "/sys/kernel/debug/xtun_bench"
BATCH = 64
BATCHES = 20
WARM = 5                # batches before those that count

MAC = {"i1": "02:00:00:00:01:01", "u1": "02:00:00:00:02:01",
       "u2": "02:00:00:00:02:02", "i2": "02:00:00:00:01:02"}
STRANGER = "02:00:00:00:09:09"
# Who is behind the second router, where frames are bridged.
FAR_MAC = "02:00:00:00:09:0a"
# The index of u1 and u2: what is compiled for tc knows it.
UNDERLAY = 100
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
# Those that are measured between the ports of bridges, too.
BRIDGED = ("gre eth", "vxlan", "geneve")


class Lost(Exception):
    """Not every packet came out at the other end."""


# ---- cards ----

class Card:
    """A device of xtun_bench.c, by its files in debugfs."""

    def __init__(self, ns, dev, index=""):
        self.dev = dev
        ns.ip(f"link add {dev} address {MAC.get(dev, STRANGER)} {index} type xtun_bench",
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
        self.i1, self.u1 = Card(self.r1, "i1"), Card(self.r1, "u1", f"index {UNDERLAY}")
        self.u2, self.i2 = Card(self.r2, "u2", f"index {UNDERLAY}"), Card(self.r2, "i2")
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

    def make(self, row, whose):
        """whose: "xtun", "in-tree", "tc-bpf", or "none"."""
        if whose == "none":
            return
        for ns, end in ((self.r1, 0), (self.r2, 1)):
            local, remote = UNDER[row.outer][end], UNDER[row.outer][1 - end]
            for line in row.before if whose == "in-tree" else ():
                ns.ip(line)
            self._make(ns, row, whose, local, remote, end)

    def route(self, row, whose):
        """By the tunnel, or by the underlay."""
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

    def bridge(self, row, whose):
        """Instead of a route; the far one's place is known."""
        for ns, inside, under, out in ((self.r1, "i1", "u1", 1), (self.r2, "i2", "u2", 0)):
            ports = (inside, under if whose == "none" else "t0")
            ns.ip("link add br0 type bridge mcast_snooping 0",
                  *(f"link set {port} master br0" for port in ports), "link set br0 up")
            ns.check("bridge", "fdb", "add", FAR_MAC, "dev", ports[out], "master", "static")

    @staticmethod
    def _make(ns, row, whose, local, remote, end):
        if whose == "tc-bpf":
            tc_bpf(ns, row, end)
        elif whose == "xtun":
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

    def packet(self, family, mac=MAC["i1"]):
        """A small datagram from near to far, as it comes into i1."""
        data = bytes(18 if family == "v4" else 8)
        seen = pkt.udp(family, NEAR[family][1], FAR[family][1], data)
        return pkt.frame(seen, src=STRANGER, dst=mac)


@contextlib.contextmanager
def routers(row, whose, bridge=False):
    with ktap.scope():
        both = Routers()
        ktap.defer(both.delete)
        if row.inner == "v4":
            # A tunnel of frames would carry what IPv6 says of its groups.
            for ns in (both.r1, both.r2):
                ns.sysctl({"net.ipv6.conf.default.disable_ipv6": 1})
        both.make(row, whose)
        (both.bridge if bridge else both.route)(row, whose)
        yield both


# ---- figures ----

def out_and_in(both, label, suffix=""):
    """Of what i1 has to receive."""
    # The warm batches of the first pass are too much by so many.
    both.i1.run(1)
    both.u1.write("record", str((WARM + BATCHES) * BATCH))
    figures = measure(f"{label}: way out{suffix}", both.i1, both.u1)
    both.u2.write("from", "u1")
    return figures | measure(f"{label}: way in{suffix}", both.u2, both.i2)


def ways(row, whose, label):
    """Way out, way in, end to end."""
    with routers(row, whose) as both:
        both.i1.write("packet", both.packet(row.inner))
        figures = out_and_in(both, label)
        both.u1.write("peer", "u2")
        return figures | measure(f"{label}: end to end", both.i1, both.i2)


def bridged(row, whose, label):
    """Way out and way in, where both routers are bridges."""
    with routers(row, whose, bridge=True) as both:
        both.i1.write("packet", both.packet(row.inner, FAR_MAC))
        return out_and_in(both, label, ", bridged")


def tried(label, function, *words):
    """Figures, or why there are none."""
    try:
        figures = function(*words, label)
    except (Lost, ktap.Failed) as error:
        figures = {f"{label}: error": str(error)}
        say(f"{label}: {error}")
    say(label)
    return figures


# ---- what a user would pick instead ----

# Rows that tc_bpf.c has, and what it calls them.
TC_BPF = {"4in4": "ENCAP_IPIP", "gre": "ENCAP_GRE", "vxlan": "ENCAP_VXLAN"}
TC_BPF_MTU, TC_BPF_VNI = 1450, 7
TC_BPF_MAC = ("02:00:00:00:03:01", "02:00:00:00:03:02")
# Symbols of programs, which are there only while these are loaded.
PROGRAMS = []


def tc_bpf_object(row, end):
    """What tcbpf.py has compiled."""
    return os.path.join(TOP, "build", "bench", f"tc_bpf-{row.name}-{end}.o")


def tc_bpf(ns, row, end):
    """A device whose route leads to a program, and another one that takes its packets."""
    ns.ip(f"link add t0 address {TC_BPF_MAC[end]} mtu {TC_BPF_MTU} type dummy",
          "link set t0 up")
    for dev, way, section in (("t0", "egress", "push"), (f"u{end + 1}", "ingress", "pop")):
        ns.check(*f"tc qdisc add dev {dev} clsact".split())
        ns.check(*f"tc filter add dev {dev} {way} bpf da".split(),
                 "obj", tc_bpf_object(row, end), "sec", section)
    # When the second router has its own, those of both are there.
    if end == 1:
        PROGRAMS.extend(line for line in symbols() if " bpf_prog_" in line)


def instead(row, label):
    """Its figures, or why there are none, which is no fault of xtun."""
    if not os.path.exists(tc_bpf_object(row, 0)):
        return {f"{label}: left out": "clang has compiled no program"}
    try:
        return ways(row, "tc-bpf", label)
    except ktap.Failed as error:
        say(f"{label}: {error}")
        return {f"{label}: left out": str(error)}


# ---- TCP in bulk ----

BULK, BULK_PLAIN = 64 << 20, 8 << 20
# With --quick only these: where all leave it to the card, where some cannot.
BULK_QUICK = ("4in4", "gre seq", "vxlan", "l2tp")


def busy():
    """Instructions so far: nanoseconds in which the processor had something to do."""
    with open("/proc/timer_list") as file:
        idle = int(re.search(r"\.idle_sleeptime\s*:\s*(\d+)", file.read())[1])
    return time.monotonic_ns() - idle


def no_offloads(ns, *devs):
    """Each packet is one of the wire's, with its checksum, as far as drivers leave it to us."""
    for dev in devs:
        ns.run(*f"ethtool -K {dev} gso off tso off gro off tx off".split())


def bulk(row, whose, plain):
    """Instructions a byte, from a host behind the first router to one behind the second."""
    size = BULK_PLAIN if plain else BULK
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
        if plain:
            tunnel = () if whose == "none" else ("t0",)
            for ns, *devs in ((hosts[0], "a0"), (hosts[1], "b0"),
                              (both.r1, "i1", "u1", *tunnel), (both.r2, "i2", "u2", *tunnel)):
                no_offloads(ns, *devs)
        address = FAR[row.inner][1]
        # Of a first transfer the path MTU is learned.
        traffic.tcp_bulk(*hosts, address, 1 << 20)
        start = busy()
        traffic.tcp_bulk(*hosts, address, size)
        used = busy() - start
        for ns in hosts:
            ns.delete()
        return used / size


def transfers(rows):
    figures = {}
    paths = [(floor(inner), "none", f"none {inner}")
             for inner in sorted({row.inner for row in rows})]
    paths += [(row, whose, f"{row.name}, {whose}")
              for row, whose in itertools.product(rows, ("in-tree", "xtun"))]
    for row, whose, label in paths:
        figures[f"{label}: TCP, a byte"] = [bulk(row, whose, False), 0]
        figures[f"{label}: TCP, a byte, no offloads"] = [bulk(row, whose, True), 0]
        say(f"{label}, TCP")
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
        start = busy()
        self.ns.ip(*lines)
        return (busy() - start) / self.count

    def delete(self):
        """Instructions for each of them."""
        start = busy()
        self.ns.ip("link del group 7")
        return (busy() - start) / self.count

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


def floor(inner):
    """The row of a path without a tunnel."""
    return Row("", inner, inner, "ip", None, None)


def table(rows):
    """Every row's figures, with those of the same path without a tunnel."""
    figures = {}
    for inner in sorted({row.inner for row in rows}):
        figures |= ways(floor(inner), "none", f"none {inner}")
    for row, whose in itertools.product(rows, ("in-tree", "xtun")):
        figures[f"{row.name}: inner"] = row.inner
        figures |= tried(f"{row.name}, {whose}", ways, row, whose)
    for row in rows:
        if row.name in TC_BPF:
            figures |= tried(f"{row.name}, tc-bpf", instead, row)
    return figures


def bridges(rows):
    """Frames that do not come from this host's routes."""
    figures = {}
    rows = [row for row in rows if row.name in BRIDGED]
    for inner in sorted({row.inner for row in rows}):
        figures |= bridged(floor(inner), "none", f"none {inner}")
    for row, whose in itertools.product(rows, ("in-tree", "xtun")):
        figures |= tried(f"{row.name}, {whose}", bridged, row, whose)
    return figures


def others(rows):
    """While xtun is not loaded: what it costs those who have no tunnel of it."""
    if BY_NAME["4in4"] not in rows:
        return {}
    return (ways(floor("v4"), "none", "none v4 without xtun loaded")
            | ways(BY_NAME["4in4"], "in-tree", "4in4, in-tree without xtun loaded"))


def symbols():
    """Of the kernel and its modules: address, kind, name."""
    with open("/proc/kallsyms") as file:
        return file.read().splitlines()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", help="only these, with a comma between two")
    parser.add_argument("--profile", action="store_true")
    words = parser.parse_args()
    rows = [BY_NAME[name] for name in words.rows.split(",")] if words.rows else ROWS
    net.need_modules("fou", "dummy", "bridge")
    # It would have every received packet looked at the clock for.
    net.unstamp()
    path = os.path.join(TOP, "build", os.environ["XTUN_K"],
                        "selftests", "bench", "xtun_bench.ko")
    subprocess.run(["insmod", path], check=True)
    figures = others(rows)
    net.load_module()
    figures |= table(rows) | bridges(rows)
    if not words.profile:
        figures |= transfers([row for row in rows if row.name in BULK_QUICK]
                             if words.quick and not words.rows else rows)
        if not words.rows:
            figures |= growth(words.quick)
    json.dump({"kernel": os.uname().release, "figures": figures, "dumps": DUMPS,
               "symbols": symbols() + PROGRAMS}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
