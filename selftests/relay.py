#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Every ICMP error about an outer packet is told to whoever sent the inner one:
# in his family, about his own packet, from the ingress or, over a bridge, from
# his destination.  What must not be told is not, and is counted.
import contextlib
import itertools
import socket
import struct

from lib import errors, ktap, net, pkt
from lib.errors import NOT_RELAYED, RELAYED, TOLD, Bench, about, room, told

FAMILIES = ("v4", "v6")
ALL = "encap gre key 7 csum seq"
ETH, NVGRE = "encap gre payload eth", "encap nvgre key 5000"
ENCAPS = [(words, f"{where}IP{kind}") for words, where in (
    ("encap ip", ""), (ALL, ""), (ETH, ""), (ETH, "bridged "), (NVGRE, "bridged "))
    for kind in FAMILIES]
FEW = [row for row in ENCAPS if row[0] != NVGRE and (row[0] != ETH or "bridged" in row[1])]

PER_SECOND = "net.ipv4.icmp_msgs_per_sec"       # of IPv6's messages as well
BURST = "net.ipv4.icmp_msgs_burst"


def setup():
    bench = Bench()
    # Not 10000, as newer kernels allow: limited_in_all() uses it up.  Of 6.1 it is the
    # machine's.
    with contextlib.suppress(FileNotFoundError):
        bench.ns.sysctl({BURST: 50})
    return bench


# ---- the table ----

@ktap.table("{0} {1}/{2} {3:#x} about {5}: {6} is told: {4}", [
    (*row, *encap) for row in RELAYED for encap in ENCAPS])
def relayed(bench, family, kind, code, rest, what, words, sender):
    tunnel = bench.tunnel(words, family)
    if what == "too big":
        ktap.defer(errors.forget, tunnel)
        sent = bench.send(tunnel, sender, length=1400)
        rest_told, counters = room(sent, rest), {"err_too_big": 1}
    else:
        sent = bench.send(tunnel, sender)
        rest_told, counters = 0, {}
    with errors.moves(tunnel, err_relayed=1, **counters):
        answers = bench.answers(tunnel, about(sent, kind, code, rest))
        sent.told(answers, told(what, sent), rest_told)


@ktap.table("{4}: {0} {1}/{2} about {5}: {6} is told nothing", [
    (*row, *encap) for row in NOT_RELAYED for encap in ENCAPS
    # IPv4 tells no protocol of its own about a reassembly that failed.
    if (*row[:3], encap[0]) != ("v4", 11, 1, "encap ip")])
def not_relayed(bench, family, kind, code, rest, counter, words, sender):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender)
    bench.nothing(tunnel, counter, about(sent, kind, code, rest))


@ktap.table("v6 4/0 at the encapsulation limit of {0}: {1} is told: no host", ENCAPS)
def encap_limit(bench, words, sender):
    tunnel = bench.tunnel(f"{words} encaplimit 4", "v6")
    sent = bench.send(tunnel, sender)
    ktap.eq(sent.outer[40:48], pkt.dest_options(sent.outer[40], b""), "the limit")
    answers = bench.answers(tunnel, about(sent, 4, 0, 44))
    sent.told(answers, told("no host", sent))


@ktap.table("too bigs over {0} about {1}: {2} is told what is in force, whatever the last says", [
    (family, *encap) for family in FAMILIES for encap in FEW])
def least(bench, family, words, sender):
    tunnel = bench.tunnel(words, family)
    ktap.defer(errors.forget, tunnel)
    sent = bench.send(tunnel, sender, length=1400)
    network = bench.bed.peer.address(family)[:-1]
    kind, code = errors.TOO_BIG[family]
    for last, mtu, in_force, origin in ((11, 1400, 1400, 11), (12, 1350, 1350, 12),
                                        (13, 1400, 1350, 12), (14, 1350, 1350, 14)):
        error = pkt.icmp(family, f"{network}{last}", tunnel.local, kind, code, mtu,
                         sent.outer[:errors.MOST[family] - errors.HEADERS[family]])
        sent.told(bench.answers(tunnel, error), told("too big", sent), room(sent, in_force))
        ktap.holds(tunnel.ns.tunctl("path", tunnel.dev)[0]["path"], {
            "mtu": in_force, "learned-mtu": in_force, "learned-from": f"{network}{origin}",
            "last-from": f"{network}{last}"}, f"the path after {mtu}")
    # Once it is forgotten, so is who had told less.
    errors.forget(tunnel)
    sent.told(bench.answers(tunnel, errors.too_big(sent, 1400)), told("too big", sent),
              room(sent, 1400))
    ktap.holds(tunnel.ns.tunctl("path", tunnel.dev)[0]["path"], {
        "mtu": 1400, "learned-mtu": 1400, "learned-from": bench.bed.peer.address(family)},
        "the path anew")


# ---- the quote ----

@ktap.table("{1} over {0}: {2} is told as much as was quoted", [
    (family, *encap) for family in FAMILIES for encap in FEW])
def as_much(bench, family, words, sender):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender, length=1400)
    least = sent.overhead + errors.LEAST[sent.kind]
    # Also more than routers quote: what is told keeps to its limit.
    for held in (least, least + 1, least + 7, 300, 547, 548, 1000, 1232, 1400):
        error = pkt.icmp(family, tunnel.peer.address(family), tunnel.local,
                         *errors.HOST[family], 0, sent.outer[:held])
        sent.told(bench.answers(tunnel, error), errors.HOST[sent.kind], 0, sent.quoted(held))


# RFC 4884 section 7: version 2, and an object that is an MPLS label.
OBJECT = struct.pack("!HBBI", 8, 1, 1, 0x12345140)
EXTENSION = struct.pack("!HH", 0x2000, pkt.checksum(b"\x20\0\0\0" + OBJECT)) + OBJECT
EXTENDED = [
    ("v4", 3, 1, 0, "no host"), ("v4", 3, 4, 1400, "too big"), ("v4", 11, 0, 0, "time exceeded"),
    ("v4", 12, 0, 0, "no host"), ("v6", 1, 3, 0, "no host"), ("v6", 3, 0, 0, "time exceeded")]


@ktap.table("{0} {1}/{2} with an extension, about {5}: {6} gets his packet only", [
    (*row, *encap) for row in EXTENDED for encap in FEW])
def extended(bench, family, kind, code, rest, what, words, sender):
    tunnel = bench.tunnel(words, family)
    if what == "too big":
        ktap.defer(errors.forget, tunnel)
    # A short packet is padded, which is none of it either.
    for length, held in ((1400, 128),) if rest else ((None, 128), (1400, 128), (1400, 256)):
        sent = bench.send(tunnel, sender, length=length)
        size = held // 4 << 16 if family == "v4" else held // 8 << 24
        quote = sent.outer[:held].ljust(held, b"\0") + EXTENSION
        answers = bench.answers(tunnel, about(sent, kind, code, rest | size, quote))
        sent.told(answers, told(what, sent), room(sent, rest) if rest else 0, sent.quoted(held))


@ktap.table("{1} over {0}: {2} is told of a packet that was changed on its way", [
    (family, *encap) for family in FAMILIES for encap in FEW])
def changed(bench, family, words, sender):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender, tos=2)
    quote = bytearray(sent.outer)
    if family == "v4":
        quote[1] |= 3           # congestion, a TTL that has run out, and a
        quote[8] = 0            # checksum that was not mended
    else:
        quote[1] |= 0x30
        quote[7] = 0
    answers = bench.answers(tunnel, errors.unreachable(sent, bytes(quote)))
    sent.told(answers, errors.HOST[sent.kind])


# ---- which packets ----

def icmp6(kind, **fields):
    return pkt.ICMPv6Unknown(type=kind, **fields)


def datagram():
    return pkt.UDP(sport=40000, dport=50000) / b"0123456789abcdef"


PACKETS = {
    # by sender: what the packet is, its fields, what it carries
    "v4": [
        ("TCP", {}, lambda: pkt.TCP(sport=40000, dport=80, flags="S")),
        ("an echo request", {}, lambda: pkt.ICMP(type=8, id=7, seq=9) / b"data"),
        ("an echo reply", {}, lambda: pkt.ICMP(type=0, id=7, seq=9) / b"data"),
        ("an unknown protocol", {"proto": 253}, lambda: b"datadata"),
        ("a first fragment", {"flags": "MF"}, datagram),
        ("IP options", {"options": b"\x94\4\0\0"}, datagram),
        ("no payload", {"proto": 253}, lambda: b""),
    ],
    "v6": [
        ("TCP", {}, lambda: pkt.TCP(sport=40000, dport=80, flags="S")),
        ("an echo request", {}, lambda: pkt.ICMPv6EchoRequest(id=7, seq=9, data=b"data")),
        ("an echo reply", {}, lambda: pkt.ICMPv6EchoReply(id=7, seq=9, data=b"data")),
        ("an unknown protocol", {"proto": 253}, lambda: b"datadata"),
        ("a first fragment", {}, lambda: pkt.IPv6ExtHdrFragment(m=1, id=5) / datagram()),
        ("destination options", {}, lambda: pkt.IPv6ExtHdrDestOpt() / datagram()),
        ("hop-by-hop options", {}, lambda: pkt.IPv6ExtHdrHopByHop() / datagram()),
        ("no payload", {"proto": 59}, lambda: b""),
    ],
}
MUTE = {
    "v4": [
        *((f"ICMP {kind}", {}, lambda kind=kind: pkt.ICMP(type=kind, code=1) / bytes(28))
          for kind in (3, 4, 5, 11, 12)),
        ("a later fragment", {"frag": 3}, lambda: b"datadata"),
        *((f"from {src}", {"src": src}, datagram)
          for src in ("0.0.0.0", "255.255.255.255", "224.0.0.9")),
        *((f"to {dst}", {"dst": dst}, datagram)
          for dst in ("0.0.0.0", "255.255.255.255", "224.0.0.9")),
    ],
    "v6": [
        *((f"ICMPv6 {kind}", {}, lambda kind=kind: icmp6(kind) / bytes(48))
          for kind in (1, 2, 3, 4, 100, 127)),
        ("ICMPv6 1 behind options", {},
         lambda: pkt.IPv6ExtHdrDestOpt() / icmp6(1) / bytes(48)),
        ("ICMPv6 1 in a fragment", {}, lambda: pkt.IPv6ExtHdrFragment(m=1, nh=58) / icmp6(1)),
        ("a later fragment", {}, lambda: pkt.IPv6ExtHdrFragment(offset=3, nh=17) / b"datadata"),
        *((f"from {src}", {"src": src}, datagram) for src in ("::", "ff02::5")),
        *((f"to {dst}", {"dst": dst}, datagram) for dst in ("::", "ff02::5", "ff0e::5")),
    ],
}
KINDS = [(words, f"{where}IP", family) for words, where in (
    ("encap ip", ""), (ALL, ""), (NVGRE, "bridged ")) for family in FAMILIES]


def packet_of(bench, tunnel, kind, fields, make):
    """A packet (scapy) to behind the tunnel."""
    network = bench.network(tunnel, kind)
    fields = {"src": bench.lan.address(kind), "dst": network + "2", **fields}
    if isinstance(fields.get("options"), bytes):
        fields["options"] = pkt.IPOption(fields["options"])
    return pkt.ip(kind, payload=make(), **fields)


@ktap.table("{0} over {2}: {1}{3} is told about {4}", [
    (*row, kind, *packet) for row in KINDS for kind in FAMILIES for packet in PACKETS[kind]])
def answered(bench, words, sender, family, kind, _, fields, make):
    tunnel = bench.tunnel(words, family)
    packet = packet_of(bench, tunnel, kind, fields, make)
    sent = bench.send(tunnel, f"{sender}{kind}", packet)
    sent.told(bench.answers(tunnel, errors.unreachable(sent)), errors.HOST[kind])


@ktap.table("err-mute: {0} over {2}: {1}{3} is not told about {4}", [
    (*row, kind, *packet) for row in KINDS for kind in FAMILIES for packet in MUTE[kind]
    # To a packet of its own without a source the kernel gives one.
    if row[1] != "IP" or packet[0] != "from 0.0.0.0"])
def mute(bench, words, sender, family, kind, _, fields, make):
    tunnel = bench.tunnel(words, family)
    packet = packet_of(bench, tunnel, kind, fields, make)
    sent = bench.send(tunnel, f"{sender}{kind}", packet)
    bench.nothing(tunnel, "err-mute", errors.unreachable(sent))


@ktap.table("err-mute: {0} over {1}: IPv4 is not told about a packet {2} a network's broadcast", [
    (words, family, way) for words in ("encap ip", ALL, ETH) for family in FAMILIES
    for way in ("from", "to")])
def broadcast(bench, words, family, way):
    tunnel = bench.tunnel(words, family)
    ends = ({"src": "198.51.100.255"} if way == "from" else
            {"dst": bench.network(tunnel, "v4") + "255"})
    sent = bench.send(tunnel, "IPv4", **ends)
    bench.nothing(tunnel, "err-mute", errors.unreachable(sent))


FRAMES = {
    "an ARP frame": lambda packet: pkt.frame(pkt.ARP(psrc="10.9.0.1", pdst="10.9.0.2")),
    "a frame to all": lambda packet: pkt.frame(packet, dst="ff:ff:ff:ff:ff:ff"),
    "a frame to a group": lambda packet: pkt.frame(packet, dst="01:00:5e:00:00:05"),
    "a frame from a group": lambda packet: pkt.frame(packet, src="01:00:5e:00:00:05"),
}


@ktap.table("err-mute: {0} over {1}: nobody is told about {2}", [
    (words, family, what) for words in (ETH, NVGRE) for family in FAMILIES for what in FRAMES])
def mute_frame(bench, words, family, what):
    tunnel = bench.tunnel(words, family)
    frame = FRAMES[what](pkt.inner_packet("v4"))
    sent = bench.push(tunnel, frame, True)
    bench.nothing(tunnel, "err-mute", errors.unreachable(sent))


TAGS = {
    "a VLAN tag": lambda packet: pkt.Dot1Q(vlan=5) / packet,
    "two VLAN tags": lambda packet: pkt.Dot1AD(vlan=6) / pkt.Dot1Q(vlan=5) / packet,
}


@ktap.table("{0} over {1}: the sender of IP{2} with {3} is told with the same", [
    (words, family, kind, what) for words in (ETH, NVGRE) for family in FAMILIES
    for kind in FAMILIES for what in TAGS])
def tagged(bench, words, family, kind, what):
    tunnel = bench.tunnel(words, family)
    sent = bench.push(tunnel, pkt.frame(TAGS[what](pkt.inner_packet(kind))), True)
    sent.told(bench.answers(tunnel, errors.unreachable(sent)), errors.HOST[kind])


# ---- icmp-relay ----

@contextlib.contextmanager
def set_to(tunnel, word):
    tunnel.set(f"icmp-relay {word}")
    try:
        yield
    finally:
        tunnel.set("icmp-relay transparent")


@ktap.table("icmp-relay strict, {1} over {0}: time exceeded is told as: no host ({2})", [
    (family, *encap) for family in FAMILIES for encap in ENCAPS])
def strict(bench, family, words, sender):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender)
    kind, code = TOLD["time exceeded"][family == "v6"]
    error = about(sent, kind, code)
    with set_to(tunnel, "strict"):
        sent.told(bench.answers(tunnel, error), told("no host", sent))
        # Others are what they are.
        denied = about(sent, *{"v4": (3, 13), "v6": (1, 1)}[family])
        sent.told(bench.answers(tunnel, denied), told("prohibited", sent))
    sent.told(bench.answers(tunnel, error), told("time exceeded", sent))


@ktap.table("icmp-relay off, {1} over {0}: nothing is told, the path MTU is learned ({2})", [
    (family, *encap) for family in FAMILIES for encap in ENCAPS])
def off(bench, family, words, sender):
    tunnel = bench.tunnel(words, family)
    ktap.defer(errors.forget, tunnel)
    sent = bench.send(tunnel, sender, length=1400)
    with set_to(tunnel, "off"):
        bench.nothing(tunnel, "err-off", errors.unreachable(sent))
        with errors.moves(tunnel, err_too_big=1, err_off=1):
            ktap.eq(bench.answers(tunnel, errors.too_big(sent, 1400)), [], "errors to the sender")
        ktap.eq(tunnel.ns.peer_mtu(tunnel.remote), 1400, "path MTU")
    sent.told(bench.answers(tunnel, errors.unreachable(sent)), errors.HOST[sent.kind])


# ---- redirects ----

GATEWAYS = {
    # the first gateway, the other, its MAC address
    "v4": ("192.0.2.2", "192.0.2.252", "02:00:00:00:02:52"),
    "v6": ("fe80::1:2", "fe80::2:52", "02:00:00:00:02:52"),
}


@ktap.table("a redirect corrects the route of {1} over {0}", [
    (family, words) for family in FAMILIES for words in ("encap ip", ALL, NVGRE)])
def redirect(bench, family, words):
    redirected(bench, bench.tunnel(f"{words} ttl 63", family), "")


@ktap.table("a redirect corrects the route of a mark, {1} over {0}", [
    (family, words) for family in FAMILIES for words in ("encap ip", ALL)])
def redirect_mark(bench, family, words):
    tunnel = bench.tunnel(f"{words} fwmark 7", family)
    net.rule(tunnel.ns, family, "fwmark 7 table 100")
    redirected(bench, tunnel, "table 100")


@ktap.table("a redirect corrects the route of an inherited DSCP, {1} over {0}", [
    (family, words) for family in FAMILIES for words in ("encap ip", ALL)])
def redirect_tos(bench, family, words):
    tunnel = bench.tunnel(f"{words} tos inherit ttl 62", family)
    net.rule(tunnel.ns, family, "tos 0x10 table 100")
    redirected(bench, tunnel, "table 100", tos=0x10)


def redirected(bench, tunnel, table, **words):
    """The gateway in this table is replaced by another."""
    first, other, mac = GATEWAYS[tunnel.family]
    ns = tunnel.ns
    ns.sysctl({"net.ipv4.conf.all.accept_redirects": 1})
    route = f"{tunnel.remote} via {first} dev under0 {table}"
    ns.ip(bench.bed.peer.neighbour_line(first),
          f"neigh replace {other} lladdr {mac} dev under0 nud permanent", f"route add {route}")
    ktap.defer(ns.ip, f"route del {route}")
    sent = bench.send(tunnel, "bridged IPv4", **words)
    with errors.moves(tunnel, err_redirect=1):
        ktap.eq(bench.answers(tunnel, redirection(tunnel, sent, first, other, mac)), [],
                "errors to the sender")
    bench.bed.peer.drain()
    tunnel.push(sent.inner)
    frame = bench.bed.peer.recv_frame(tunnel.is_mine)
    ktap.eq(frame[:6].hex(":"), mac, "gateway of the next packet")


def redirection(tunnel, sent, first, other, mac):
    if tunnel.family == "v4":
        return pkt.icmp("v4", first, tunnel.local, 5, 1,
                        int.from_bytes(socket.inet_aton(other), "big"), sent.outer)
    # RFC 4861 section 4.5: target, destination, and the options 2 and 4.
    quote = sent.outer[:len(sent.outer) & ~7]
    options = b"\2\1" + bytes.fromhex(mac.replace(":", "")) + struct.pack(
        "!BB6x", 4, 1 + len(quote) // 8) + quote
    packet = pkt.icmp("v6", first, tunnel.local, 137, 0, 0,
                      b"".join(socket.inet_pton(socket.AF_INET6, address)
                               for address in (other, tunnel.remote)) + options)
    return packet[:7] + b"\xff" + packet[8:]


# ---- whom the error is from; rate limits ----

@ktap.table("{1} over {0}: {2} is told by whom the host's own errors are from", [
    (family, *encap) for family in FAMILIES for encap in FEW if "bridged" not in encap[1]])
def source(bench, family, words, sender):
    tunnel = bench.tunnel(words, family)
    kind, _ = errors.SENDERS[sender]
    address, ns = bench.lan.address(kind), tunnel.ns
    other = {"v4": "198.51.100.77", "v6": "2001:db8:1::77"}[kind]
    route = f"route add {address} dev under1 src {other}"
    with_length = f"{other}/{'24' if kind == 'v4' else '64'}"
    ns.ip(net.address_line("under1", with_length), route)
    ktap.defer(ns.ip, route.replace("add", "del"), f"addr del {with_length} dev under1")
    forwarding = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
    ns.sysctl(forwarding)
    ktap.defer(ns.sysctl, {key: 0 for key in forwarding})
    bench.clear(tunnel)
    bench.lan.send(pkt.inner(kind, src=address, dst=bench.network(tunnel, kind) + "2", ttl=1))
    own = bench.come(tunnel)
    ktap.eq([(error.kind, error.code) for error in own], [TOLD["time exceeded"][kind == "v6"]],
            "the host's own error")
    ktap.eq(own[0].src, other, "address that the host's own error is from")
    sent = bench.send(tunnel, sender)
    seen = bench.answers(tunnel, errors.unreachable(sent))
    ktap.eq([error.src for error in seen], [other], "addresses that errors are from")


@ktap.table("{0} over {1}: {2} is told no more often than the host's own limit allows", [
    (words, family, sender, number) for number, (family, (words, sender)) in enumerate(
        itertools.product(FAMILIES, FEW), 100)])
def limited(bench, words, family, sender, number):
    tunnel = bench.tunnel(words, family)
    kind, _ = errors.SENDERS[sender]
    # Somebody whom nothing has been told: one a minute, or, of an IPv6 network, four.
    address = {"v4": "198.51.100.", "v6": "2001:db8:1::"}[kind] + str(number)
    bench.lan.add(address)
    tunnel.ns.sysctl({**errors.LIMITED, "net.ipv4.icmp_ratelimit": 60000,
                      "net.ipv6.icmp.ratelimit": 60000})
    ktap.defer(tunnel.ns.sysctl, errors.UNLIMITED)
    sent = bench.send(tunnel, sender, src=address)
    answers = bench.answers(tunnel, *([errors.unreachable(sent)] * 20))
    ktap.true(1 <= len(answers) <= 4, f"{len(answers)} errors told of 20")
    sent.told(answers[:1], errors.HOST[kind])


@ktap.table("{1} over {0}: {2} is told nothing that the host's limit of all errors forbids", [
    (family, *encap) for family in FAMILIES for encap in FEW])
def limited_in_all(bench, family, words, sender):
    tunnel = bench.tunnel(words, family)
    kind, _ = errors.SENDERS[sender]
    try:
        before = tunnel.ns.sysctl(PER_SECOND)
    except FileNotFoundError:
        ktap.skip("the limit is the machine's")
    ktap.defer(tunnel.ns.sysctl, {**errors.UNLIMITED, PER_SECOND: before})
    tunnel.ns.sysctl({**errors.LIMITED, "net.ipv4.icmp_ratelimit": 0,
                      "net.ipv6.icmp.ratelimit": 0, PER_SECOND: 0})
    sent = bench.send(tunnel, sender)
    # One counts as none to two; there may be 50 left.
    bench.answers(tunnel, *([errors.unreachable(sent)] * 200))
    ktap.eq(bench.answers(tunnel, errors.unreachable(sent)), [], "errors beyond the limit")
    tunnel.ns.sysctl({PER_SECOND: 1000})
    answers = ktap.wait_for(lambda: bench.answers(tunnel, errors.unreachable(sent)),
                            "an error when the limit allows it")
    sent.told(answers, errors.HOST[kind])


ktap.main(setup)
