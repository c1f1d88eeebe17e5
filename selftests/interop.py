#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# A peer that nobody here wrote: xtun on one end of a tunnel and the in-tree
# driver of the same encapsulation on the other, every encapsulation, underlay
# and payload, both ways, with small packets and with TCP in bulk.
#
#	a  t0 (xtun) -- under0 ======== under0 -- t0, t1 (in-tree)  b
import errno
import socket

from lib import capture, ktap, net, peers, traffic
from lib.peers import BOTH, BULK, INNER, Pair

MODULES = ("ipip", "sit", "ip6_tunnel", "ip_gre", "ip6_gre")

VSID = 0x123456


def ip_pairs():
    """One xtun device, and as many in-tree ones as it takes to match it."""
    over_v4 = [("sit mode any",), ("ipip", "sit"), ("ipip mode any",)]
    over_v6 = [(f"ip6tnl mode {mode} encaplimit {limit}",)
               for mode in ("any", "ip6ip6", "ipip6") for limit in ("none", 4)]
    for family, rows in (("v4", over_v4), ("v6", over_v6)):
        for kinds in rows:
            limit = " encaplimit 4" if "encaplimit 4" in kinds[0] else ""
            yield Pair(family, "encap ip" + limit,
                       [(kind, carried(kind)) for kind in kinds])


def carried(kind):
    """The families inside that an in-tree IP in IP driver takes."""
    driver, _, mode = kind.partition(" mode ")
    mode = mode.split()[0] if mode else ""
    if driver == "ipip" or mode == "ipip6":
        return ("v4",)
    if mode == "ip6ip6" or (driver == "sit" and mode != "any"):
        return ("v6",)
    return BOTH


GRE_WORDS = ["", "key 7", "key 0", "ikey 1 okey 2", "csum", "seq", "key 7 csum seq"]
LIMIT_WORDS = ["encaplimit 4", "key 7 csum seq encaplimit 4"]
# By payload and family of the underlay.
GRE_KINDS = {("ip", "v4"): "gre", ("ip", "v6"): "ip6gre",
             ("eth", "v4"): "gretap", ("eth", "v6"): "ip6gretap"}


def gre_pairs():
    """The grammar of both is the same, but for what b's default is."""
    for (payload, family), kind in GRE_KINDS.items():
        for words in GRE_WORDS + (LIMIT_WORDS if family == "v6" else []):
            yield Pair(family, f"encap gre payload {payload} {words}".rstrip(),
                       [(f"{kind} {mirrored(words, family)}".rstrip(), BOTH)])


def mirrored(words, family):
    """The words of the other end: what is sent here is received there."""
    if "ikey" in words:
        words = words.replace("ikey", "x").replace("okey", "ikey").replace("x", "okey")
    if family == "v6" and "encaplimit" not in words:
        words += " encaplimit none"
    return words.lstrip()


PAIRS = [*ip_pairs(), *gre_pairs()]

# What large packets are tried with: one of each code path.
LARGE_WORDS = ("sit mode any", "ip6tnl mode any encaplimit none",
               "ip6tnl mode any encaplimit 4", "ip6gre encaplimit 4",
               *(f"{kind}{words}{limit}" for kind, limit in (
                   ("gre", ""), ("gretap", ""), ("ip6gre", " encaplimit none"),
                   ("ip6gretap", " encaplimit none")) for words in ("", " csum")))
LARGE = [pair for pair in PAIRS if pair.others[0][0] in LARGE_WORDS]


def setup():
    net.load_module()
    net.need_modules(*MODULES, "veth")
    return net.two()


@ktap.table("{1}", [(pair, peers.text(pair)) for pair in PAIRS])
def talk(hosts, pair, _):
    peers.talk(hosts, pair)


@ktap.table("large packets: {1}", [(pair, peers.text(pair)) for pair in LARGE])
def large(hosts, pair, _):
    peers.large(hosts, pair)


@ktap.table("large packets in segments: {1}", [(pair, peers.text(pair)) for pair in LARGE])
def segments(hosts, pair, _):
    peers.segments(hosts, pair)


@ktap.table("sequence numbers count segments, over {0}", BOTH)
def sequence(hosts, family):
    """Each segment needs a number of its own, so they leave one by one."""
    kind = GRE_KINDS["ip", family]
    pair = Pair(family, "encap gre seq", [(f"{kind} {mirrored('seq', family)}", BOTH)])
    peers.make(hosts, pair)
    inner, outer = peers.bulk_seen(hosts, hosts.a, hosts.b, INNER["v4"][1], "t0", "under0")
    peers.is_large(inner, True, "into the tunnel")
    ktap.eq(capture.large(outer, True), [], "large packets on the underlay")


# ---- NVGRE ----

# Addresses in the tunnel are resolved by hand where there is but one direction.
def resolve(near, dev, far, far_dev, address):
    near.ip(f"neigh replace {address} lladdr {far.mac(far_dev).hex(':')} dev {dev} "
            "nud permanent")


@ktap.table("nvgre, from gretap with key VSID << 8, over {0}", BOTH)
def nvgre_in(hosts, family):
    """gretap compares all 32 bits of the key, so a flow id is a foreign key.

    xtun puts one into what it sends; gretap has none (0) in what it sends,
    which is the direction that works.
    """
    kind = GRE_KINDS["eth", family]
    limit = " encaplimit none" if family == "v6" else ""
    pair = Pair(family, f"encap nvgre key {VSID}", [(f"{kind} key {VSID << 8}{limit}", BOTH)])
    peers.make(hosts, pair)
    for inside in BOTH:
        near = INNER[inside][0]
        resolve(hosts.b, "t0", hosts.a, "t0", near)
        for size in (64, 1200, 4000):
            traffic.udp_crosses(hosts.b, hosts.a, near, size)


@ktap.table("nvgre, both ways with a gretap that takes any key, over {0}", BOTH)
def nvgre(hosts, family):
    """`external`: the key is the route's that packets leave by."""
    a, b = hosts
    near, far = getattr(a, family), getattr(b, family)
    a.tunnel("t0", f"encap nvgre key {VSID} local {near} remote {far}",
             *peers.addresses(0, BOTH))
    ktap.defer(a.ip, "link del t0")
    b.device("t0", f"type {GRE_KINDS['eth', family]} external")
    ktap.defer(b.ip, "link del t0")
    tunnel = {"v4": "ip", "v6": "ip6"}[family]
    encap = f"encap {tunnel} id {VSID << 8} src {far} dst {near} key"
    for inside in BOTH:
        ours, theirs, _ = INNER[inside]
        bits = {"v4": 32, "v6": 128}[inside]
        b.ip(net.address_line("t0", f"{theirs}/{bits}"),
             f"route add {ours}/{bits} {encap} dev t0")
        resolve(b, "t0", a, "t0", ours)
        resolve(a, "t0", b, "t0", theirs)
    for inside in BOTH:
        for src, dst, address in ((a, b, INNER[inside][1]), (b, a, INNER[inside][0])):
            ktap.true(traffic.ping(src, address), f"ping {address}")
            traffic.udp_crosses(src, dst, address, 1200)
            traffic.tcp_bulk(src, dst, address, BULK)
    ktap.eq(a.drops("t0"), {}, "packets that xtun lost")


# ---- what cannot be told by a driver that agrees with itself ----

@ktap.table("a peer with {0} is not taken by xtun with {1}", [
    ("key 8", "key 7"), ("nokey", "key 7"), ("key 7", "nokey"), ("key 0", "nokey"),
    ("nokey", "key 0"), ("nocsum", "csum"), ("noseq", "seq"),
])
def strangers(hosts, theirs, ours):
    """What differs in the header does not get in: so what gets in agrees."""
    a, b = hosts
    a.tunnel("t0", f"encap gre {ours} local {a.v4} remote {b.v4}", *peers.addresses(0, BOTH))
    ktap.defer(a.ip, "link del t0")
    # The in-tree driver has no words for what it does not do.
    theirs = "" if theirs.startswith("no") else theirs
    b.device("t0", f"type gre {theirs} local {b.v4} remote {a.v4}", *peers.addresses(1, BOTH))
    ktap.defer(b.ip, "link del t0")
    seen = capture.Capture(a, "under0")
    receiver = traffic.udp(a, INNER["v4"][0])
    sender = traffic.udp(b, family=socket.AF_INET)
    sender.sendto(b"stranger", receiver.getsockname())
    seen.wait(lambda packet: packet[9] == socket.IPPROTO_GRE and b"stranger" in packet,
              "the packet, at a")
    # What comes later through the same queue has been handled later.
    ktap.true(traffic.ping(b, a.v4), "the underlay, afterwards")
    ktap.raises(errno.EAGAIN, receiver.recv, 100, what="nothing to receive")
    ktap.eq(a.stats("t0")["rx_packets"], 0, "packets out of the tunnel")


ktap.main(setup)
