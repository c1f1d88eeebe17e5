#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# IP packets in UDP (as FOU and bareudp have them), frames by GRE in UDP (RFC 8086): see
# lib/inudp.py.
from lib import inudp, ktap, net, peers, pkt, traffic
from lib.peers import BOTH

# By underlay and payload: the protocol that the driver takes at its port, its device.
KINDS = {"v4": {"v4": ("4", "ipip"), "v6": ("41", "sit"), "eth": ("47", "gretap")},
         "v6": {"v4": ("4", "ip6tnl mode ipip6 encaplimit none"),
                "v6": ("41", "ip6tnl mode ip6ip6 encaplimit none"),
                "eth": ("47", "ip6gretap encaplimit none")}}


def pairs():
    for family in BOTH:
        for inside, (proto, device) in KINDS[family].items():
            eth = inside == "eth"
            port = 4754 if eth else 5555
            yield from inudp.fou_pairs(
                family, "encap fou payload eth" if eth else f"encap fou dport {port}", device,
                BOTH if eth else (inside,), port, f"ipproto {proto}")


def header(payload, kind, gre=None):
    """What is in UDP (scapy, or bytes): GRE for frames and where asked for."""
    if kind != "eth" and gre is None:
        return bytes(payload)
    return pkt.gre(**{"proto": kind, "payload": payload, **(gre or {})})


IP, ETH = "dport 5555", "payload eth"
BROKEN = [
    ("taken", "a packet behind GRE", IP, {"gre": {}}),
    *(("rx-flags", what, ETH, {"gre": fields}) for what, fields in (
        ("a key", {"key": 1}), ("a checksum", {"csum": True}), ("a sequence number", {"seq": 1}),
        ("flag bit 4", {"strict_route_source": 1}), ("flag bit 5", {"recursion_control": 4}))),
    ("taken", "flag bit 12", ETH, {"gre": {"flags": 1}}),
    *(("rx-version", f"GRE version {number}", ETH, {"gre": {"version": number}})
      for number in (1, 2, 7)),
    ("rx-inner-protocol", "MPLS inside", IP, {"gre": {"proto": 0x8847}}),
    ("none", "a packet for a tunnel of frames", ETH, {"gre": {"proto": 0x0800}}),
    ("none", "a packet without GRE for a tunnel of frames", ETH, {
        "inner": lambda: pkt.inner("v4"), "kind": "v4"}),
    ("rx-truncated", "3 bytes that are no packet", ETH, {
        "inner": lambda: b"\0\0\0", "kind": "v4"}),
]


def holder(family, port):
    """The in-tree driver at a port, and what its module is called."""
    return [inudp.fou_port(family, port, "ipproto 4")], "[fou]"


def beside(family):
    return inudp.fou_beside(family, "fou", "ipproto 4")


FORM = inudp.Form(
    name="fou",
    words={IP: {}, "dport 5556 noudpcsum": {}, "dport 5557 sport 4000": {}, ETH: {}},
    port=lambda words: int(words.split()[1]) if "dport" in words else 4754,
    header=header, length=lambda words, kind: 4 if "eth" in words else 0, broken=BROKEN,
    modules=inudp.FOU_MODULES, pairs=list(pairs()),
    layers=lambda words: ":gre" if "eth" in words else None, holder=holder, beside=beside)

inudp.register(FORM)


# Debian's kernels have none, the debug kernel does.
if net.has_module("bareudp"):
    @ktap.table("both ways with bareudp over {0}", BOTH)
    def bareudp(stage, family):
        """It has no ends of its own: they are its routes'."""
        a, b = stage.hosts
        near, far = getattr(a, family), getattr(b, family)
        a.tunnel("t0", f"encap fou dport 5555 local {near} remote {far}", *peers.addresses(0, BOTH))
        ktap.defer(a.ip, "link del t0")
        b.device("t0", "type bareudp dstport 5555 ethertype ipv4 multiproto")
        ktap.defer(b.ip, "link del t0")
        tunnel = {"v4": "ip", "v6": "ip6"}[family]
        for inside, bits in (("v4", 32), ("v6", 128)):
            ours, theirs, _ = peers.INNER[inside]
            b.ip(net.address_line("t0", f"{theirs}/{bits}"),
                 f"route add {ours}/{bits} encap {tunnel} id 0 src {far} dst {near} csum dev t0")
            for src, dst, address in ((a, b, theirs), (b, a, ours)):
                ktap.true(traffic.ping(src, address), f"ping {address}")
                traffic.udp_crosses(src, dst, address, 1200)
        ktap.eq(a.drops("t0"), {}, "packets that xtun lost")


ktap.main(lambda: inudp.Stage(FORM))
