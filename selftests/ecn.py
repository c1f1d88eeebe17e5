#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# DSCP and ECN by RFC 6040, normal mode, at both ends: marks that the path under
# the tunnel makes reach the receiver, and none are made up.
from lib import ktap, pkt
from lib.bed import Bed

FAMILIES = ("v4", "v6")
NOT_ECT, ECT1, ECT0, CE = range(4)
NAMES = {NOT_ECT: "Not-ECT", ECT0: "ECT(0)", ECT1: "ECT(1)", CE: "CE"}

# RFC 6040, figure 4: for each inner field, what becomes of it by the outer
# one; None: dropped.
LEAVES = {
    NOT_ECT: {NOT_ECT: NOT_ECT, ECT0: NOT_ECT, ECT1: NOT_ECT, CE: None},
    ECT0: {NOT_ECT: ECT0, ECT0: ECT0, ECT1: ECT1, CE: CE},
    ECT1: {NOT_ECT: ECT1, ECT0: ECT1, ECT1: ECT1, CE: CE},
    CE: {NOT_ECT: CE, ECT0: CE, ECT1: CE, CE: CE},
}

HEADER = {"encap ip": None, "encap gre": {}, "encap gre key 7 csum": {"key": 7, "csum": True},
          "encap gre payload eth": {}, "encap nvgre key 0x4567": {"key": 0x456700}}
IP_KINDS = ("v4", "v6")
ETH_KINDS = ("eth-v4", "eth-v6", "eth-vlan-v4", "eth-vlan-v6")

ROWS = [(words, family, kind) for words in HEADER for family in FAMILIES
        for kind in (ETH_KINDS if "eth" in words or "nvgre" in words else IP_KINDS)]


def setup():
    return Bed()


@pkt.remembered
def inner(kind, tos):
    if kind.startswith("eth-vlan-"):
        return pkt.frame(pkt.Dot1Q(vlan=5) / pkt.inner_packet(kind[-2:], tos=tos))
    return pkt.inner(kind, tos=tos)


def encapsulate(tunnel, packet, tos):
    header = HEADER[tunnel.words]
    kind = "eth" if tunnel.eth else pkt.version(packet)
    if header is None:
        return tunnel.outer(packet, pkt.PROTOCOL[kind], tos=tos)
    return tunnel.outer(pkt.gre(kind, packet, **header), pkt.GRE_PROTO, tos=tos)


@ktap.table("{2} into {0} over {1}: DSCP and ECN are copied", ROWS)
def enters(bed, words, family, kind):
    tunnel = bed.tunnel(words, family)
    inside = [dscp | ecn for dscp in (0, 0x28, 0xb8, 0xfc) for ecn in NAMES]
    outside = [pkt.outer_fields(tunnel.out(inner(kind, tos)))["tos"] for tos in inside]
    ktap.eq(list(map(hex, outside)), list(map(hex, inside)), "outer fields")


@ktap.table("{2} into {0} over {1}: a tos of one's own has the inner ECN", ROWS)
def enters_tos(bed, words, family, kind):
    tunnel = bed.tunnel(words, family)
    tunnel.set("tos 0x50")
    outside = [pkt.outer_fields(tunnel.out(inner(kind, 0xb8 | ecn)))["tos"] for ecn in NAMES]
    tunnel.set("tos inherit")
    ktap.eq(list(map(hex, outside)), [hex(0x50 | ecn) for ecn in NAMES], "outer fields")


@ktap.table("{2} out of {0} over {1}: all 16 combinations", ROWS)
def leaves(bed, words, family, kind):
    tunnel = bed.tunnel(words, family)
    seen = {(inside, outside): left(tunnel, kind, inside, outside)
            for inside in LEAVES for outside in NAMES}
    wrong = [f"inner {NAMES[inside]}, outer {NAMES[outside]}: {result}, "
             f"expected {told(LEAVES[inside][outside])}"
             for (inside, outside), result in seen.items()
             if result != told(LEAVES[inside][outside])]
    ktap.eq(wrong, [], "wrong")


def told(ecn):
    return "dropped as rx-ecn" if ecn is None else NAMES[ecn]


def left(tunnel, kind, inside, outside):
    """What becomes of a packet, in words; its DSCP has to stay."""
    tunnel.delivered()
    before = tunnel.ns.drops(tunnel.dev)
    tunnel.peer.send(encapsulate(tunnel, inner(kind, 0x28 | inside), 0xb8 | outside))
    # A packet without ECN behind it: whatever came of the first, it has come.
    behind = inner(kind, 0x10)
    tunnel.peer.send(encapsulate(tunnel, behind, 0))
    delivered = []
    ktap.wait_for(lambda: delivered.extend(tunnel.delivered()) or behind in delivered,
                  "the packet behind")
    delivered.remove(behind)
    after = tunnel.ns.drops(tunnel.dev)
    if not delivered:
        moved = [name for name in after if after[name] != before.get(name, 0)]
        return "dropped as " + ", ".join(moved)
    for ecn, name in NAMES.items():
        if delivered == [inner(kind, 0x28 | ecn)] and before == after:
            return name
    return f"{[packet.hex() for packet in delivered]}"


@ktap.table("ARP, which has no ECN, crosses {0} over {1} and its marks",
            [(words, family) for words in HEADER if "nvgre" in words or "eth" in words
             for family in FAMILIES])
def no_ecn(bed, words, family):
    tunnel = bed.tunnel(words, family)
    frame = pkt.frame(pkt.ARP(hwsrc=pkt.INNER_MACS[0], psrc="10.9.0.1", pdst="10.9.0.2"))
    ktap.eq(pkt.outer_fields(tunnel.out(frame))["tos"], 0, "outer field")
    for tos in NAMES:
        with tunnel.ns.moves(tunnel.dev):
            ktap.eq(tunnel.into(encapsulate(tunnel, frame, tos)), frame, "delivered")


ktap.main(setup)
