#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What the kernel's own input does with packets and the input hook passes by: wrong
# checksums inside are found whatever was found right outside, IPv6 extension
# headers are read by whom they are for, and packets are counted.
import functools
import socket
import struct

from lib import ktap, net, pkt, traffic
from lib.bed import Bed

FAMILIES = ("v4", "v6")
UDP, TCP, GRE, L2TP = 17, 6, 47, 115
ICMP = {"v4": 1, "v6": 58}
PORT = 50000
PARAMETER_PROBLEM, UNKNOWN_OPTION = 4, 2


class Lab:
    """Two hosts whose peers are the test: one merges what it receives (GRO)."""

    def __init__(self):
        net.load_module()
        net.need_modules("sch_plug")

    @functools.cached_property
    def plain(self):
        return self._bed(False)

    @functools.cached_property
    def merging(self):
        return self._bed(True)

    @staticmethod
    def _bed(merging):
        with ktap.for_file():
            bed = Bed()
            if merging:
                bed.peer.merge()
            for kind in FAMILIES:
                bed.ns.ip(net.address_line("lo", pkt.INNER[kind][1]))
            return bed

    def bed(self, gro):
        return self.merging if gro == "on" else self.plain


def setup():
    return Lab()


# ---- every header, by the RFCs ----

def in_udp(dport, header=lambda kind: b"", sport=40001):
    """What makes the payload of an outer packet, and its protocol, of an inner one."""
    def make(tunnel, kind, inner, words):
        return pkt.UDP(sport=sport, dport=dport, **words) / (header(kind) + inner), UDP
    return make


def ip_in_ip(tunnel, kind, inner, words):
    return pkt.Raw(inner), pkt.PROTOCOL[kind]


def gre(**fields):
    def make(tunnel, kind, inner, words):
        return pkt.gre("eth" if tunnel.eth else kind, inner, **fields), GRE
    return make


def l2tp_ip(tunnel, kind, inner, words):
    return pkt.Raw(struct.pack("!I4x", 7) + inner), L2TP


def icmp_request(tunnel, kind, inner, words):
    """Our own header (encapsulations.rst), from the end that asks."""
    data = struct.pack("!IBBHI", 0x7874756e, 1, pkt.PROTOCOL[kind], 0x8000, 7) + inner
    make = pkt.ICMP(type=8, id=1, seq=1) if tunnel.family == "v4" else (
        pkt.ICMPv6EchoRequest(id=1, seq=1))
    return make / data, ICMP[tunnel.family]


def gtp(tunnel, kind, inner, words):
    header = struct.pack("!BBHI", 0x30, 255, len(inner), 7)
    return pkt.UDP(sport=2152, dport=2152, **words) / (header + inner), UDP


def geneve(kind):
    return struct.pack("!HHI", 0, pkt.ETHERTYPE[kind], 7 << 8)


VXLAN = struct.pack("!II", 0x08000000, 7 << 8)
# By wording: what makes a packet of it; whether it has a checksum in UDP.
WIRES = {
    "encap ip": (ip_in_ip, False),
    "encap gre key 7": (gre(key=7), False),
    "encap gre key 8 csum": (gre(key=8, csum=True), False),
    "encap gre payload eth": (gre(), False),
    "encap nvgre key 0x123456": (gre(key=0x12345600), False),
    "encap l2tp-ip key 7": (l2tp_ip, False),
    "encap icmp key 7 echo reply": (icmp_request, False),
    "encap vxlan key 7": (in_udp(4789, lambda kind: VXLAN), True),
    "encap vxlan key 7 payload ip": (in_udp(4790, lambda kind: struct.pack(
        "!II", 0x0c000000 | {"v4": 1, "v6": 2}[kind], 7 << 8)), True),
    "encap geneve key 7": (in_udp(6081, lambda kind: geneve("eth")), True),
    "encap geneve key 7 payload ip": (in_udp(6081, geneve), True),
    "encap fou dport 5555": (in_udp(5555), True),
    "encap fou payload eth": (in_udp(4754, lambda kind: struct.pack("!HH", 0, 0x6558)), True),
    "encap gue": (in_udp(6080, lambda kind: bytes([0, pkt.PROTOCOL[kind], 0, 0])), True),
    "encap l2tp key 7": (in_udp(1701, lambda kind: struct.pack("!III", 3 << 16, 7, 0),
                                1701), True),
    "encap gtp key 7": (gtp, True),
}
# words of the tunnel, underlay, its checksum of UDP
ROWS = [(words, family, outer) for family in FAMILIES for words, (_, has) in WIRES.items()
        for outer in (("right", "zero") if has else ("none",))]


def tunnel_of(bed, words, family, outer):
    tunnel = bed.tunnel(f"{words} noudpcsum" if outer == "zero" else words, family)
    if tunnel.eth:
        bed.ns.ip(f"link set {tunnel.dev} address {pkt.INNER_MACS[1]}")
    return tunnel


def encapsulated(tunnel, words, kind, inner, outer="none"):
    if tunnel.eth:
        inner = pkt.frame(inner, type=pkt.ETHERTYPE[kind])
    make, _ = WIRES[words]
    return tunnel.outer(*make(tunnel, kind, inner, {"chksum": 0} if outer == "zero" else {}))


@pkt.remembered
def datagram(kind, data):
    return bytes(pkt.udp(kind, *pkt.INNER[kind], data, dport=PORT))


@pkt.remembered
def handshake(kind):
    tcp = pkt.TCP(sport=40000, dport=PORT, seq=1, flags="S", options=[("MSS", 1200)])
    return bytes(pkt.ip(kind, *pkt.INNER[kind], tcp, TCP))


def corrupted(packet):
    """The last byte is another one than the checksum was made of."""
    return packet[:-1] + bytes([packet[-1] ^ 0x55])


@ktap.table("{0} over {1}, outer checksum {2}, GRO {3}: no corrupt packet reaches a socket", [
    (*row, gro) for gro in ("off", "on") for row in ROWS])
def corrupt(lab, words, family, outer, gro):
    bed = lab.bed(gro)
    tunnel = tunnel_of(bed, words, family, outer)
    for kind in FAMILIES:
        listener = bed.ns.socket(net.family_of(pkt.INNER[kind][1]), socket.SOCK_STREAM)
        listener.bind((pkt.INNER[kind][1], PORT))
        listener.listen()
        receiver = traffic.udp(bed.ns, pkt.INNER[kind][1], PORT)
        before = bed.ns.bad_sums()
        with bed.ns.moves(tunnel.dev):
            for packet in (corrupted(datagram(kind, b"corrupt!")), corrupted(handshake(kind)),
                           datagram(kind, b"right")):
                tunnel.peer.send(encapsulated(tunnel, words, kind, packet, outer))
            ktap.eq(traffic.recv(receiver)[0], b"right", "what the socket gets")
            ktap.wait_for(lambda: bed.ns.bad_sums() - before >= 2,
                          f"inner {kind}: both corrupt packets found to be that", 10)
        ktap.eq(bed.ns.bad_sums() - before, 2, "packets found corrupt")
        ktap.raises(11, receiver.recv, 100, what="nothing else in the socket")
        receiver.close()
        listener.close()


# ---- what is counted ----

@ktap.table("over {0} a packet that {1} takes is delivered, by IP's count", [
    (family, words) for family in FAMILIES for words in WIRES])
def delivered(lab, family, words):
    tunnel = tunnel_of(lab.plain, words, family, "none")
    inner = datagram("v4", b"counted")
    if tunnel.eth:
        # A frame for somebody else: only the outer packet is for IP.
        lab.plain.ns.ip(f"link set {tunnel.dev} address 02:00:00:00:09:99")
    else:
        # Neither is a packet that is not for this host, which does not forward.
        inner = bytes(pkt.udp("v4", "10.9.0.1", "10.9.0.77", b"counted"))
    before = delivers(lab.plain.ns, family)
    tunnel.into(encapsulated(tunnel, words, "v4", inner))
    ktap.eq(delivers(lab.plain.ns, family) - before, 1, "packets delivered")


def delivers(ns, family):
    if family == "v4":
        return ns.snmp()["Ip"]["InDelivers"]
    return ns.snmp6()["Ip6InDelivers"]


# ---- IPv6 extension headers ----

def options(*parts):
    """A destination options header (bytes) without its first two."""
    data = b"".join(parts)
    return data + bytes([1, -(len(data) + 4) % 8, *bytes(-(len(data) + 4) % 8)])


def destination(*parts):
    data = options(*parts)
    return 60, bytes([(len(data) + 2) // 8 - 1]) + data


def routing(kind, left=0, flags=0):
    """One segment; of segment routing, its flags."""
    return 43, (bytes([2, kind, left, 0, flags, 0, 0]) + bytes(16))


def headers(chain, proto, payload):
    """Extension headers (type, bytes behind the first) and what follows; their first type."""
    for kind, data in reversed(chain):
        proto, payload = kind, bytes([proto]) + data + payload
    return proto, payload


LIMIT, SKIPPED = b"\x04\x01\x04", b"\x1e\x02\0\0"
PASSED = {
    "a tunnel encapsulation limit": [destination(LIMIT)],
    "an option that is passed over where unknown": [destination(SKIPPED)],
    "eight of them": [destination(*[SKIPPED] * 8)],
    "padding": [(60, b"\0\1\4\0\0\0\0")],
    "two headers with options": [destination(LIMIT), destination(SKIPPED)],
    "a routing header of an unknown type that has been gone through": [routing(253)],
    "an old source route that has been gone through": [routing(0)],
    "a fragment header of a packet in one piece": [(44, bytes(7))],
}
# what is wrong; the code and the pointer of the kernel's answer, if any
LEFT = {
    "an option that has to be known, action 01": ([destination(b"\x5e\x02\0\0")], None),
    "an option that has to be known, action 10": ([destination(b"\x9e\x02\0\0")], 42),
    "an option that has to be known, action 11": ([destination(b"\xde\x02\0\0")], 42),
    "such an option behind others": ([destination(LIMIT, SKIPPED, b"\xde\x02\0\0")], 49),
    "such an option in a second header": (
        [destination(LIMIT), destination(b"\xde\x02\0\0")], 50),
    "nine options": ([destination(*[SKIPPED] * 9)], None),
    "an option longer than its header": ([(60, b"\0\x1e\x20\0\0\0\0")], None),
    "padding that says something": ([destination(b"\1\3abc")], None),
    "padding of more than seven bytes": ([destination(b"\1\7" + bytes(7))], None),
    "segment routing, which is switched off": ([routing(4)], None),
    "a mobile node's routing header": ([routing(2)], None),
}


def send_behind(tunnel, chain, inner):
    proto, payload = headers(chain, GRE, bytes(pkt.gre("v4", inner, key=7)))
    tunnel.send(payload, proto)


@ktap.table("over v6 {0} before the encapsulation is passed over", PASSED)
def passed(lab, what):
    tunnel = lab.plain.tunnel("encap gre key 7", "v6")
    with tunnel.ns.moves(tunnel.dev):
        tunnel.delivered()
        send_behind(tunnel, PASSED[what], datagram("v4", what.encode()))
        ktap.eq(tunnel.wait_delivered(), [datagram("v4", what.encode())], "delivered")


@ktap.table("over v6 {0} before the encapsulation is left to the kernel", LEFT)
def left(lab, what):
    tunnel = lab.plain.tunnel("encap gre key 7", "v6")
    tunnel.ns.sysctl({"net.ipv6.icmp.ratelimit": 0})
    chain, pointer = LEFT[what]
    tunnel.peer.drain()
    refused(tunnel, chain)
    if pointer is None:
        return
    answer = tunnel.next()
    at = pkt.outer_fields(answer)["header"]
    ktap.eq((*answer[at:at + 2], *struct.unpack_from("!I", answer, at + 4)),
            (PARAMETER_PROBLEM, UNKNOWN_OPTION, pointer), "type, code and pointer of the answer")


def refused(tunnel, chain):
    """Nothing comes out of the tunnel but the right packet behind."""
    tunnel.delivered()
    with tunnel.ns.moves(tunnel.dev):
        send_behind(tunnel, chain, datagram("v4", b"left"))
        send_behind(tunnel, [], datagram("v4", b"behind"))
        ktap.eq(tunnel.wait_delivered(), [datagram("v4", b"behind")], "delivered")


@ktap.case("over v6 segment routing that has been gone through is taken where it is switched on")
def segments(lab):
    tunnel = lab.plain.tunnel("encap gre key 7", "v6")
    names = [f"net.ipv6.conf.{dev}.seg6_enabled" for dev in ("all", "under0")]
    try:
        tunnel.ns.sysctl({names[0]: 1})
    except OSError:
        ktap.skip("this kernel has no segment routing")
    ktap.defer(tunnel.ns.sysctl, dict.fromkeys(names, 0))
    refused(tunnel, [routing(4)])
    tunnel.ns.sysctl({names[1]: 1})
    tunnel.delivered()
    send_behind(tunnel, [routing(4)], datagram("v4", b"segments"))
    ktap.eq(tunnel.wait_delivered(), [datagram("v4", b"segments")], "delivered")
    hmac = "net.ipv6.conf.under0.seg6_require_hmac"
    try:
        tunnel.ns.sysctl({hmac: 1})
    except OSError:
        return      # A kernel without signed segments asks for none.
    ktap.defer(tunnel.ns.sysctl, {hmac: 0})
    refused(tunnel, [routing(4)])


@ktap.case("over v6 no unknown option is taken where none is allowed")
def none_allowed(lab):
    tunnel = lab.plain.tunnel("encap gre key 7", "v6")
    tunnel.ns.sysctl({"net.ipv6.max_dst_opts_number": -8})
    ktap.defer(tunnel.ns.sysctl, {"net.ipv6.max_dst_opts_number": 8})
    refused(tunnel, [destination(LIMIT)])


ktap.main(setup)
