#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Generic UDP Encapsulation (draft-ietf-intarea-gue): see lib/inudp.py.
from lib import inudp, ktap, pkt
from lib.peers import BOTH

KINDS = {"v4": {"ip": "sit mode any", "eth": "gretap"},
         "v6": {"ip": "ip6tnl mode any encaplimit none", "eth": "ip6gretap encaplimit none"}}


def pairs():
    for family in BOTH:
        for payload, device in KINDS[family].items():
            yield from inudp.fou_pairs(family, f"encap gue payload {payload}", device, BOTH, 6080,
                                       "gue")
        yield from inudp.fou_pairs(family, "encap gue dport 6090 lport 6091",
                                   KINDS[family]["ip"], BOTH, 6090, "gue", 6091)


PROTOCOL = {"v4": 4, "v6": 41, "eth": 47}


def header(payload, kind, first=None, proto=None, flags=0, fields=b"", gre=None):
    """A header of variant 0 (bytes), what follows it, and the payload."""
    first = len(fields) // 4 if first is None else first
    proto = PROTOCOL[kind] if proto is None else proto
    if proto == 47:
        payload = bytes(pkt.gre(**{"proto": kind, "payload": payload, **(gre or {})}))
    return bytes([first, proto]) + flags.to_bytes(2, "big") + fields + bytes(payload)


def variant1(payload, kind):
    """Variant 1 has no header."""
    return bytes(payload)


IP, ETH = "", "payload eth"
BROKEN = [
    *(("rx-version", f"variant {number}", words, {"first": number << 6})
      for number in (2, 3) for words in (IP, ETH)),
    *(("rx-control", what, IP, {"first": 0x20, "proto": kind})
      for what, kind in (("control message 0", 0), ("control message 4", 4))),
    *(("rx-flags", f"flag {1 << bit:#06x}", words, {"flags": 1 << bit})
      for bit in range(1, 16) for words in (IP, ETH)[:1 + (bit == 1)]),
    ("rx-flags", "a private flag", IP, {"flags": 1, "fields": b"\x80\0\0\0"}),
    ("rx-truncated", "private flags that are not there", IP, {"flags": 1}),
    *(("taken", what, words, fields) for words in (IP, ETH) for what, fields in (
        ("private flags that are all clear", {"flags": 1, "fields": bytes(4)}),
        ("bytes that no flag speaks of", {"fields": b"abcd"}),
        ("as many as there can be", {"fields": bytes(124)}))),
    ("rx-truncated", "a header longer than the packet", IP, {"first": 31}),
    ("taken", "a packet behind GRE", IP, {"proto": 47}),
    *(("rx-flags", what, ETH, {"gre": fields}) for what, fields in (
        ("a GRE key", {"key": 1}), ("a GRE checksum", {"csum": True}))),
    *(("rx-inner-protocol", f"protocol {number}", IP, {"proto": number})
      for number in (0, 17, 59, 97, 255)),
    ("rx-inner-malformed", "a packet of the other family", IP, {"proto": 41}),
    ("none", "a packet for a tunnel of frames", ETH, {"proto": 4}),
]


def holder(family, port):
    """The in-tree driver at a port, and what its module is called."""
    return [inudp.fou_port(family, port, "gue")], "[fou]"


def beside(family):
    return inudp.fou_beside(family, "gue", "gue")


FORM = inudp.Form(
    name="gue",
    words={IP: {}, "dport 6083 noudpcsum": {}, "dport 6084 sport 4000": {}, ETH: {}},
    port=lambda words: int(words.split()[1]) if "dport" in words else 6080,
    header=header, length=lambda words, kind: 8 if "eth" in words else 4, broken=BROKEN,
    modules=inudp.FOU_MODULES, pairs=list(pairs()), layers=lambda words: None, holder=holder,
    beside=beside)

inudp.register(FORM)


@ktap.table("variant 1 over {0}: IP{1} without a header is taken", [
    (family, kind) for family in BOTH for kind in BOTH])
def without_header(stage, family, kind):
    tunnel = stage.tunnel(IP, family)
    inner = pkt.inner(kind)
    packet = tunnel.outer(pkt.UDP(sport=50000, dport=6080) / variant1(inner, kind), inudp.UDP)
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(packet), inner, "delivered")


ktap.main(lambda: inudp.Stage(FORM))
