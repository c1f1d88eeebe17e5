#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# IP packets in UDP (as FOU and bareudp have them), frames by GRE in UDP (RFC 8086): see
# lib/inudp.py.
import errno

from lib import errors, inudp, ktap, net, peers, pkt, traffic
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
            if inside == "v4":
                yield from inudp.fou_pairs(family, "encap fou dport 5566 lport 6655", device,
                                           (inside,), 5566, f"ipproto {proto}", 6655)


def header(payload, kind, gre=None):
    """What is in UDP (scapy, or bytes): GRE for frames and where asked for."""
    if kind != "eth" and gre is None:
        return bytes(payload)
    return pkt.gre(**{"proto": kind, "payload": payload, **(gre or {})})


IP, ETH, LPORT = "dport 5555", "payload eth", "dport 5558 lport 5559"
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
    words={IP: {}, "dport 5556 noudpcsum": {}, "dport 5557 sport 4000": {}, ETH: {},
           LPORT: {}},
    port=lambda words: int(words.split()[1]) if "dport" in words else 4754,
    header=header, length=lambda words, kind: 4 if "eth" in words else 0, broken=BROKEN,
    modules=inudp.FOU_MODULES, pairs=list(pairs()),
    layers=lambda words: ":gre" if words == ETH else None, holder=holder, beside=beside)

inudp.register(FORM)


@ktap.table("ports crosswise over {0}: two tunnels with the same ends, each gets its own", BOTH)
def crosswise(stage, family):
    a, b = stage.hosts
    for near, far, last, ports in ((a, b, 1, (5001, 5002)), (b, a, 2, (5002, 5001))):
        for number in range(2):
            near.tunnel(f"t{number}", f"encap fou dport {ports[number]} lport {ports[1 - number]} "
                        f"local {getattr(near, family)} remote {getattr(far, family)}",
                        f"10.{8 + number}.0.{last}/24")
            ktap.defer(near.ip, f"link del t{number}")
    for number in range(2):
        before = a.stats(f"t{number}")["rx_packets"]
        ktap.true(traffic.ping(a, f"10.{8 + number}.0.2"), f"ping through t{number}")
        ktap.true(a.stats(f"t{number}")["rx_packets"] > before, f"t{number} has the reply")


@ktap.table("lport over {0} is held, dport is not, and both change on a device in use", BOTH)
def held(stage, family):
    a, b = stage.hosts
    for near, far, last in ((a, b, 1), (b, a, 2)):
        near.tunnel("t0", f"encap fou dport 5003 lport 5003 local {getattr(near, family)} "
                    f"remote {getattr(far, family)}", f"10.9.0.{last}/24")
        ktap.defer(near.ip, "link del t0")
    for there, here in ((5004, 5003), (5004, 5005), (5003, 5005)):
        a.ip(f"link set t0 type xtun dport {there} lport {here}")
        b.ip(f"link set t0 type xtun dport {here} lport {there}")
        traffic.udp(a, getattr(a, family), there).close()
        ktap.raises(errno.EADDRINUSE, traffic.udp, a, getattr(a, family), here)
        ktap.true(traffic.ping(a, "10.9.0.2"), f"ping to {there}, back to {here}")
    ktap.contains(a.refused(f"link add t1 type xtun encap gue remote {getattr(b, family)} "
                            "dport 5003 lport 5006")[0], "t0 sends another encapsulation", "refusal")
    ktap.eq(a.link("t0")["linkinfo"]["info_data"]["lport"], 5005, "what is told")
    a.ip("link set t0 type xtun lport auto")
    ktap.eq("lport" in a.link("t0")["linkinfo"]["info_data"], False, "lport is told")


@ktap.table("{1} over {0}: errors are told, whatever the quote's length", [
    (family, f"encap fou {LPORT}") for family in BOTH])
def errors_told(stage, family, words):
    bench = stage.bench
    tunnel = bench.tunnel(words, family)
    for sender in ("IPv4", "IPv6"):
        for sent, quote in bench.quotes(tunnel, sender):
            answers = bench.answers(tunnel, errors.unreachable(sent, quote))
            ktap.eq(len(answers), 1, f"errors for a quote of {len(quote)} bytes")
            sent.told(answers, errors.HOST[sent.kind], 0, sent.packet[:len(answers[0].quote)])


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
