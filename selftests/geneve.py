#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Geneve (RFC 8926): see lib/inudp.py.
from lib import inudp, ktap, pkt
from lib.peers import BOTH, Pair

MODULES = ["geneve"]

# Words of xtun, and the in-tree driver's for the same.
WORDS = [
    ("key 7", "id 7 dstport 6081 {csum}"),
    ("key 0xffffff noudpcsum", "id 16777215 dstport 6081 {nocsum}"),
    ("key 0 dport 1234", "id 0 dstport 1234 {csum}"),
    ("payload ip key 7", "id 7 dstport 6081 {csum} innerprotoinherit"),
]
CSUM = {"v4": {"csum": "udpcsum", "nocsum": "noudpcsum"},
        "v6": {"csum": "", "nocsum": "udp6zerocsumtx udp6zerocsumrx"}}


def pairs():
    for family in BOTH:
        for words, others in WORDS:
            others = f"geneve {others} remote {{remote}}".replace(
                "{csum}", CSUM[family]["csum"]).replace("{nocsum}", CSUM[family]["nocsum"])
            yield Pair(family, f"encap geneve {words}", [(others, BOTH)])


def header(payload, kind, key, options=b"", **fields):
    """A header (bytes) and its payload, from RFC 8926 section 3.4."""
    proto = fields.get("proto", pkt.ETHERTYPE[kind])
    return (bytes([fields.get("first", len(options) // 4), fields.get("flags", 0)]) +
            proto.to_bytes(2, "big") + key.to_bytes(3, "big") +
            bytes([fields.get("last", 0)]) + options + bytes(payload))


def option(kind=1, data=b"", length=None, reserved=0):
    length = len(data) // 4 if length is None else length
    return b"\x01\x02" + bytes([kind, reserved << 5 | length]) + data


WITH_KEY, IP = "key 7", "payload ip key 8"
MOST = b"".join(option(data=bytes(120)) for _ in range(2)) + option()
BROKEN = [
    ("rx-other-key", "another VNI", WITH_KEY, {"key": 6}),
    *(("rx-version", f"version {number}", WITH_KEY, {"first": number << 6})
      for number in (1, 2, 3)),
    ("rx-control", "a control packet", WITH_KEY, {"flags": 0x80}),
    *(("taken", f"reserved bit {bit:#04x}", WITH_KEY, {"flags": bit})
      for bit in (0x20, 0x10, 0x08, 0x04, 0x02, 0x01)),
    ("taken", "a last byte that is reserved", WITH_KEY, {"last": 1}),
    *(("taken", what, words, {"options": options}) for words in (WITH_KEY, IP)
      for what, options in (
          ("an option", option()), ("an option with data", option(data=b"12345678")),
          ("two options", option() + option(2, b"1234")), ("252 bytes of options", MOST),
          ("reserved bits in an option", option(reserved=7)))),
    *(("rx-option", what, words, {"options": options}) for words in (WITH_KEY, IP)
      for what, options in (
          ("a critical option", option(0x81)),
          ("a critical option behind another", option(data=b"1234") + option(0x80)),
          ("an option longer than its room", option(length=1)),
          ("a second option longer than its room", option() + option(length=31)))),
    ("taken", "the flag of a critical option without one", WITH_KEY, {"flags": 0x40}),
    ("rx-truncated", "options longer than the packet", WITH_KEY, {"first": 63}),
    ("rx-inner-protocol", "an unknown ethertype", IP, {"proto": 0x88b5}),
    ("rx-inner-malformed", "a packet of the other family", IP, {"proto": 0x86dd}),
    ("none", "a packet for a tunnel of frames", WITH_KEY, {"proto": 0x0800}),
]


def holder(family, port):
    """The in-tree driver at a port, and what its module is called."""
    remote = {"v4": "192.0.2.77", "v6": "2001:db8::77"}[family]
    return [f"link add h0 type geneve id 99 remote {remote} dstport {port}",
            "link set h0 up"], "[geneve]"


def beside(family):
    return ["link add h0 type geneve id 7 remote {remote} dstport 9999"]


FORM = inudp.Form(
    name="geneve",
    words={WITH_KEY: {"key": 7}, "key 0 noudpcsum": {"key": 0},
           "key 9 sport 4000": {"key": 9}, IP: {"key": 8}},
    port=lambda words: 6081, header=header, length=lambda words, kind: 8, broken=BROKEN,
    modules=MODULES, pairs=list(pairs()), layers=lambda words: ":geneve",
    holder=holder, beside=beside)

inudp.register(FORM)
ktap.main(lambda: inudp.Stage(FORM))
