#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# VXLAN (RFC 7348) and VXLAN-GPE: see lib/inudp.py.
from lib import inudp, ktap
from lib.peers import BOTH, Pair

MODULES = ["vxlan"]

# Words of xtun, and the in-tree driver's for the same.
WORDS = [
    ("key 7", "id 7 dstport 4789 {csum}"),
    ("key 0", "id 0 dstport 4789 {csum}"),
    ("key 0xffffff noudpcsum", "id 16777215 dstport 4789 {nocsum}"),
    ("key 7 dport 8472 sport 1000-2000", "id 7 dstport 8472 {csum}"),
    ("key 7 sport 4789", "id 7 dstport 4789 srcport 4789 4790 {csum}"),
]
CSUM = {("csum", "v4"): "udpcsum", ("csum", "v6"): "",
        ("nocsum", "v4"): "noudpcsum", ("nocsum", "v6"): "udp6zerocsumtx udp6zerocsumrx"}


def pairs():
    for family in BOTH:
        for words, others in WORDS:
            others = others.format(csum=CSUM["csum", family], nocsum=CSUM["nocsum", family])
            # With dev the in-tree driver knows what fits.
            yield Pair(family, f"encap vxlan {words}",
                       [(f"vxlan {others} dev under0", BOTH)])


# First byte of the header, and what GPE says is inside.
VNI, NEXT, GROUP = 0x08, 0x04, 0x80
GPE = {"v4": 1, "v6": 2, "eth": 3}


def header(payload, kind, key, gpe=False, **fields):
    """A header (bytes) and its payload, from RFC 7348 section 5."""
    flags = fields.get("flags", VNI | (NEXT if gpe else 0))
    rest = fields.get("rest", bytes([0, 0, GPE[kind] if gpe else 0]))
    return (bytes([flags]) + rest + key.to_bytes(3, "big") +
            bytes([fields.get("last", 0)]) + bytes(payload))


WITH_KEY, IP = "key 7", "payload ip key 8"
BROKEN = [
    ("rx-other-key", "another VNI", WITH_KEY, {"key": 6}),
    ("rx-flags", "no VNI flag", WITH_KEY, {"flags": 0}),
    *(("rx-flags", f"flag {bit:#04x}", WITH_KEY, {"flags": VNI | bit})
      for bit in (0x40, 0x20, 0x10, 0x02, 0x01)),
    *(("rx-flags", f"a bit of byte {number} without its flag", WITH_KEY,
       {"rest": bytes(int(number == at) for at in (1, 2, 3))}) for number in (1, 2, 3)),
    ("taken", "a group", WITH_KEY, {"flags": VNI | GROUP, "rest": b"\x48\x12\x34"}),
    ("taken", "a last byte that is reserved", WITH_KEY, {"last": 1}),
    ("taken", "a frame by GPE", WITH_KEY, {"flags": VNI | NEXT, "rest": b"\0\0\3"}),
    ("none", "a packet by GPE for a tunnel of frames", WITH_KEY,
     {"flags": VNI | NEXT, "rest": b"\0\0\1"}),
    ("taken", "a packet to many", IP, {"flags": VNI | NEXT | 2}),
    ("rx-flags", "a packet of OAM", IP, {"flags": VNI | NEXT | 1}),
    ("rx-flags", "an unknown flag", IP, {"flags": VNI | NEXT | 0x80}),
    ("rx-flags", "a reserved bit", IP, {"rest": b"\1\0\1"}),
    ("rx-version", "version 1", IP, {"flags": VNI | NEXT | 0x10}),
    ("rx-inner-protocol", "NSH inside", IP, {"rest": b"\0\0\4"}),
    ("rx-inner-malformed", "a packet of the other family", IP, {"rest": b"\0\0\2"}),
]


def holder(family, port):
    """The in-tree driver at a port, and what its module is called."""
    remote = {"v4": "192.0.2.77", "v6": "2001:db8::77"}[family]
    return [f"link add h0 type vxlan id 99 remote {remote} dstport {port}",
            "link set h0 up"], "[vxlan]"


def beside(family):
    return ["link add h0 type vxlan id 7 local {local} remote {remote} dstport 9999 dev under0"]


FORM = inudp.Form(
    name="vxlan",
    words={WITH_KEY: {"key": 7}, "key 0 noudpcsum": {"key": 0},
           "key 9 sport 4000": {"key": 9}, IP: {"key": 8, "gpe": True}},
    port=lambda words: 4790 if "payload ip" in words else 4789,
    header=header, length=lambda words, kind: 8, broken=BROKEN, modules=MODULES,
    pairs=list(pairs()), layers=lambda words: "" if "payload ip" in words else ":vxlan",
    holder=holder, beside=beside)

inudp.register(FORM)
ktap.main(lambda: inudp.Stage(FORM))
