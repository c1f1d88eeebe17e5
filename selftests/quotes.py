#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What an ICMP error quotes decides whether it is believed.  8 bytes are enough
# for a packet that is remembered; what the host has never sent changes nothing
# and is counted; and a broken quote breaks nothing.
import errno
import itertools
import random
import socket
import struct
import time

from lib import errors, ktap, net, pkt
from lib.errors import LEAST, Bench, about, too_big, unreachable

FAMILIES = ("v4", "v6")
ALL = "encap gre key 7 csum seq"
ETH, NVGRE = "encap gre payload eth", "encap nvgre key 5000"
# Every encapsulation, underlay, inner family.
ENCAPS = [(words, family, f"{where}IP{kind}") for words, where in (
    ("encap ip", ""), (ALL, ""), (ETH, "bridged "), (NVGRE, "bridged "))
    for family in FAMILIES for kind in FAMILIES]
# Each of them, but not with each of the others.
FEW = [("encap ip", "v4", "IPv4"), ("encap ip", "v6", "IPv4"), (ALL, "v4", "IPv6"),
       (ALL, "v6", "IPv6"), (ETH, "v4", "IPv4"), (NVGRE, "v6", "bridged IPv6")]
SHORT = 8               # bytes behind the IP header that RFC 792 asks for
ON, OFF = "icmp-memory on", "icmp-memory off"


def setup():
    return Bench()


def header(sent):
    """Bytes of the outer IP header."""
    return pkt.IP_LEN[sent.tunnel.family]


def short(sent, length=SHORT):
    return sent.outer[:header(sent) + length]


def put(data, place, value):
    return data[:place] + value + data[place + len(value):]


def flipped(data, place, bits=0x80):
    return put(data, place, bytes([data[place] ^ bits]))


def told_some(sent, answers, least=None, what=None, rest=0):
    """The sender got this error about his packet, with enough of it."""
    ktap.eq(len(answers), 1, f"errors to the sender, {answers}")
    quote = answers[0].quote
    least = min(max(least or 0, LEAST[sent.kind]), len(sent.packet))
    ktap.true(len(quote) >= least, f"{len(quote)} bytes of the packet are {least} or more")
    sent.told(answers, what or errors.HOST[sent.kind], rest, sent.packet[:len(quote)])


def path_mtu_is(tunnel, mtu):
    """1500 is that of the link: nothing has been learned."""
    ktap.eq(tunnel.ns.peer_mtu(tunnel.remote), mtu, "path MTU")


def another(sent):
    """A quote of a packet that was never sent: another identification or flow label."""
    return flipped(sent.outer, *((4, 0x80) if sent.tunnel.family == "v4" else (2, 0x80)))


# ---- short quotes ----

@ktap.table("icmp-memory on, {0} over {1}: {2} is told whatever the quote's length", ENCAPS)
def lengths(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} {ON}", family)
    for sent, quote in bench.quotes(tunnel, sender):
        told_some(sent, bench.answers(tunnel, unreachable(sent, quote)),
                  len(quote) - sent.overhead)


def found(bench, make):
    """Three packets of make(number), each of which is found by a short quote of it."""
    for first in range(0, 9, 3):
        packets = [make(first + number) for number in range(3)]
        answers = [bench.answers(sent.tunnel, unreachable(sent, short(sent))) for sent in packets]
        # Now and then two of them share a place in the memory.
        if all(answers):
            break
    for sent, seen in zip(packets, answers):
        told_some(sent, seen)
    return packets


@ktap.table("icmp-memory on, {0} over {1}: the flow that failed is told ({2})", ENCAPS)
def flow(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} {ON}", family)
    found(bench, lambda number: bench.send(tunnel, sender, sport=pkt.PORTS[number]))


@ktap.table("icmp-memory on, {0} over v4: the echo request that failed is told ({1})", [
    (words, sender) for words, family, sender in ENCAPS if family == "v4"])
def echo(bench, words, sender):
    tunnel = bench.tunnel(f"{words} {ON}", "v4")
    kind, _ = errors.SENDERS[sender]
    found(bench, lambda number: bench.send(tunnel, sender, probe(bench, tunnel, kind, number)))


def probe(bench, tunnel, kind, number):
    """What traceroute -I sends (scapy)."""
    request = (pkt.ICMP(type=8, id=7, seq=number) / b"0123456789abcdef" if kind == "v4" else
               pkt.ICMPv6EchoRequest(id=7, seq=number, data=b"0123456789abcdef"))
    return pkt.ip(kind, bench.lan.address(kind), bench.network(tunnel, kind) + "2", request)


@ktap.table("icmp-memory on, df unset, {0}: {2} is told", [
    row for row in ENCAPS if row[1] == "v4"])
def counted(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} df unset {ON}", family)
    for _ in range(3):
        sent = bench.send(tunnel, sender)
        told_some(sent, bench.answers(tunnel, unreachable(sent, short(sent))))


@ktap.table("icmp-memory on, flowlabel {2}, {0}: no other flow is told ({1})", [
    (words, sender, label) for words, family, sender in ENCAPS if family == "v6"
    for label in ("0", "0x12345")])
def unlabelled(bench, words, sender, label):
    tunnel = bench.tunnel(f"{words} flowlabel {label} {ON}", "v6")
    failed, other = (bench.send(tunnel, sender, sport=port) for port in (1000, 1001))
    ktap.eq(short(failed)[:8], short(other)[:8], "the headers, which tell nothing")
    for answer in bench.answers(tunnel, unreachable(failed, short(failed))):
        ktap.eq(answer.quote, failed.packet[:len(answer.quote)], "quote")


@ktap.table("icmp-memory on over {0}: the key is not quoted, the right tunnel answers", FAMILIES)
def keys(bench, family):
    first = bench.tunnel(f"encap gre key 1 csum {ON}", family)
    tunnels = [first, *(bench.tunnel(f"encap gre key {key} csum {ON}", family, first)
                        for key in (2, 3))]
    for sent in found(bench, lambda number: bench.send(tunnels[number % 3], "IPv4")):
        with errors.moves(sent.tunnel, err_relayed=1):
            bench.answers(sent.tunnel, unreachable(sent, short(sent)))


def turned(address):
    """An IPv6 address with its last two words of 32 bits in turn, which a sum does not tell."""
    data = socket.inet_pton(socket.AF_INET6, address)
    return socket.inet_ntop(socket.AF_INET6, data[:8] + data[12:] + data[8:12])


@ktap.table("icmp-memory on, {0} over v6: what went to another peer is not remembered ({1})", [
    (words, sender) for words, family, sender in FEW if family == "v6"])
def other_end(bench, words, sender):
    tunnel = bench.tunnel(f"{words} ttl 53 {ON}", "v6")
    sent = bench.send(tunnel, sender)
    told_some(sent, bench.answers(tunnel, unreachable(sent, short(sent))))
    other = turned(tunnel.remote)
    ktap.defer(tunnel.ns.ip, f"link set {tunnel.dev} type xtun remote {tunnel.remote}")
    tunnel.ns.ip(f"link set {tunnel.dev} type xtun remote {other}")
    quote = put(short(sent), 24, socket.inet_pton(socket.AF_INET6, other))
    bench.nothing(tunnel, "err-short", unreachable(sent, quote))


@ktap.table("icmp-memory {2}, err-short: {0} over {1}: what is not remembered is not believed", [
    (words, family, mode, sender) for words, family, sender in FEW for mode in ("on", "auto")])
def unknown(bench, words, family, mode, sender):
    tunnel = bench.tunnel(f"{words} icmp-memory {mode}", family)
    sent = bench.send(tunnel, sender, length=1400)
    quote = another(sent)[:header(sent) + SHORT]
    bench.nothing(tunnel, "err-short", unreachable(sent, quote), too_big(sent, 1300, quote))
    path_mtu_is(tunnel, 1500)


@ktap.table("icmp-memory on, {0} over {1}: {2} learns the path MTU", FEW)
def short_too_big(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} {ON}", family)
    ktap.defer(errors.forget, tunnel)
    sent = bench.send(tunnel, sender, length=1400)
    with errors.moves(tunnel, err_relayed=1, err_too_big=1):
        answers = bench.answers(tunnel, too_big(sent, 1400, short(sent)))
        told_some(sent, answers, None, errors.TOO_BIG[sent.kind], 1400 - sent.overhead)
    path_mtu_is(tunnel, 1400)


def next_jiffy():
    """CLOCK_MONOTONIC_COARSE goes forward by jiffies."""
    coarse = 6
    start = time.clock_gettime(coarse)
    ktap.wait_for(lambda: time.clock_gettime(coarse) != start, "the next jiffy")


@ktap.table("icmp-memory auto, {0} over {1}: a quiet tunnel's packet is remembered ({2})", ENCAPS)
def quiet(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} ttl 50", family)        # one that nothing has armed
    for port in range(1000, 1004):
        next_jiffy()
        sent = bench.send(tunnel, sender, sport=port)
        told_some(sent, bench.answers(tunnel, unreachable(sent, short(sent))))


@ktap.table("icmp-memory auto, {0} over {1}: an unknown short quote arms it ({2})", FEW)
def armed(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} ttl 51", family)
    sent = bench.send(tunnel, sender)
    bench.nothing(tunnel, "err-short",
                  unreachable(sent, another(sent)[:header(sent) + SHORT]))
    # Many in a jiffy.  Some share a place in the memory.
    bench.bed.peer.drain()
    for port in pkt.PORTS[:BURST]:
        bench.again(tunnel, with_port(sent, port), sent.bridged)
    seen = [bench.bed.peer.recv(tunnel.is_mine, "a packet of many") for _ in range(BURST)]
    told = bench.answers(tunnel, *(
        unreachable(sent, outer[:header(sent) + SHORT]) for outer in seen))
    ktap.true(len(told) > BURST * 3 // 4, f"{len(told)} of {BURST} packets are remembered")


BURST = 64


def with_port(sent, port):
    """What was sent, but from another port, and without a checksum."""
    start = len(sent.inner) - len(sent.packet) + LEAST[sent.kind] - 8
    return put(put(sent.inner, start, struct.pack("!H", port)), start + 6, bytes(2))


@ktap.table("icmp-memory on, {0} over {1}: the memory is bounded ({2})", [FEW[0], FEW[-1]])
def bounded(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} ttl 52 {ON}", family)
    first = [bench.send(tunnel, sender, sport=1000 + number) for number in range(16)]
    for number in range(4000):
        bench.again(tunnel, with_port(first[0], 2000 + number), first[0].bridged)
    told = bench.answers(tunnel, *(unreachable(sent, short(sent)) for sent in first))
    ktap.true(len(told) < len(first), "not all of the first packets are remembered for ever")
    last = bench.send(tunnel, sender, sport=60000)
    told_some(last, bench.answers(tunnel, unreachable(last, short(last))))


# ---- without a memory ----

@ktap.table("icmp-memory off, {0} over {1}: enough of {2}'s packet must be quoted", ENCAPS)
def enough(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} {OFF}", family)
    sent = bench.send(tunnel, sender)
    least = sent.overhead + LEAST[sent.kind] - header(sent)
    for length in range(SHORT, least):
        bench.nothing(tunnel, "err-short", unreachable(sent, short(sent, length)))
    good_sign(bench, tunnel, sent)
    for length in range(least, len(sent.outer) - header(sent) + 1):
        quote = short(sent, length)
        sent.told(bench.answers(tunnel, unreachable(sent, quote)), errors.HOST[sent.kind], 0,
                  sent.quoted(len(quote)))


def good_sign(bench, tunnel, sent):
    """A packet comes from the peer: the last one, which goes straight back."""
    outer = bench.push(tunnel, sent.inner, sent.bridged).outer
    if tunnel.family == "v4":
        outer = outer[:12] + outer[16:20] + outer[12:16] + outer[20:]
    else:
        outer = outer[:8] + outer[24:40] + outer[8:24] + outer[40:]
    ktap.eq(tunnel.into(outer), sent.inner, "delivered")


@ktap.table("icmp-memory off, {0} over {1}: {2} learns the path MTU, and its floor", FEW)
def off_too_big(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} {OFF}", family)
    ktap.defer(errors.forget, tunnel)
    sent = bench.send(tunnel, sender, length=1400)
    for mtu, learned in ((1400, 1400), (300, floor(tunnel))):
        bench.nothing(tunnel, "err-too-big", too_big(sent, mtu, short(sent)))
        path_mtu_is(tunnel, learned)


def floor(tunnel):
    if tunnel.family == "v6":
        return 1280
    return int(tunnel.ns.sysctl("net.ipv4.route.min_pmtu"))


AGAIN = {"v4": [(3, 0), (3, 13), (11, 0)], "v6": [(1, 0), (1, 1), (3, 0)]}


@ktap.table("icmp-memory off, {0} over {1}: {2} is told again until the peer is heard of", ENCAPS)
def again(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} {OFF}", family)
    sent = bench.send(tunnel, sender)
    for what, told in zip(AGAIN[family], AGAIN[sent.kind]):
        bench.nothing(tunnel, "err-short", about(sent, *what, quote=short(sent)))
        for port in (1000, 1001):
            bench.clear(tunnel)
            with errors.moves(tunnel, err_again=1):
                sent = bench.send(tunnel, sender, sport=port)
                told_some(sent, bench.come(tunnel), what=told)
        good_sign(bench, tunnel, sent)
        bench.clear(tunnel)         # of what came of the packet that went back
        with errors.moves(tunnel):
            bench.send(tunnel, sender)
            ktap.eq(bench.come(tunnel), [], "errors to the sender")


@ktap.table("icmp-memory off, icmp-relay strict, {0} over {1}: {2} is told again: no host", ENCAPS)
def again_strict(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} icmp-relay strict {OFF}", family)
    sent = bench.send(tunnel, sender)
    for what, told in ((AGAIN[family][2], errors.HOST[sent.kind]),
                       (AGAIN[family][0], AGAIN[sent.kind][0])):
        bench.nothing(tunnel, "err-short", about(sent, *what, quote=short(sent)))
        bench.clear(tunnel)
        with errors.moves(tunnel, err_again=1):
            sent = bench.send(tunnel, sender)
            told_some(sent, bench.come(tunnel), what=told)
    bench.nothing(tunnel, "err-short", about(sent, *AGAIN[family][2], quote=short(sent)))
    ktap.eq(tunnel.ns.tunctl("path", tunnel.dev)[0]["path"]["answer"], "host unreachable",
            "the answer in tunctl path")


# ---- not believed ----

def at(place4, place6, bits=0x40):
    """Changes the outer header at one place or the other."""
    return lambda sent: flipped(sent.outer, place4 if sent.tunnel.family == "v4" else place6, bits)


def at_gre(place, value):
    return lambda sent: put(sent.outer, header(sent) + place, value)


IP, GRE, KEY = "encap ip", "encap gre", "encap gre key 8"
OTHERS = [
    # what differs in a quote that is of nobody's packet; tunnels
    ("from another address", at(15, 23), (IP, KEY)),
    ("to another address", at(19, 39), (IP, KEY)),
    ("of another protocol", at(9, 6), (IP, KEY, ETH)),
    ("with another key", at_gre(4, bytes([0, 0, 0, 9])), (KEY,)),
    ("of another virtual subnet", at_gre(4, bytes([0, 0, 9])), (NVGRE,)),
    ("without a key", at_gre(0, bytes(2)), (KEY, NVGRE)),
    ("with a key", at_gre(0, bytes([0x20, 0])), (GRE,)),
    ("with a frame", at_gre(2, bytes([0x65, 0x58])), (KEY,)),
    ("without a frame", at_gre(2, bytes([8, 0])), (ETH, NVGRE)),
]


@ktap.table("{1} over {2}: a quote {0} is nobody's", [
    (what, words, family, change) for what, change, tunnels in OTHERS for words in tunnels
    for family in FAMILIES])
def nobodys(bench, _, words, family, change):
    tunnel = bench.tunnel(words, family)
    for sender in ("bridged IPv4", "bridged IPv6"):
        sent = bench.send(tunnel, sender, length=1400)
        quote = change(sent)
        bench.nothing(tunnel, None, unreachable(sent, quote), too_big(sent, 1300, quote))
    path_mtu_is(tunnel, 1500)


@ktap.case("an IPv4 quote of a later fragment is nobody's")
def fragment(bench):
    tunnel = bench.tunnel(KEY, "v4")
    sent = bench.send(tunnel, "IPv4")
    bench.nothing(tunnel, None, unreachable(sent, put(sent.outer, 6, bytes([0, 8]))))


FORGED = {
    "v4": [("identification", at(4, None, 0x80)),
           ("DF bit", lambda sent: flipped(at(6, None)(sent), 4))],
    "v6": [("flow label", at(None, 1, 8))],
}


@ktap.table("err-forged: {0} over {1}: about {2}'s packet, but not with its {3}", [
    (words, family, sender, *change) for words, family, sender in ENCAPS
    for change in FORGED[family]])
def forged(bench, words, family, sender, _, change):
    tunnel = bench.tunnel(words, family)
    sent, large = bench.send(tunnel, sender), bench.send(tunnel, sender, length=1400)
    bench.nothing(tunnel, "err-forged", unreachable(sent, change(sent)),
                  too_big(large, 1300, change(large)))
    # The real one is believed as ever.
    sent.told(bench.answers(tunnel, unreachable(sent)), errors.HOST[sent.kind])
    path_mtu_is(tunnel, 1500)


# Flows that differ from the one of bench.send(); number: which of them.
FLOWS = {
    "source": lambda bench, tunnel, kind, number: {
        "src": bench.lan.address(kind)[:-1] + str(10 + 23 * number)},
    "destination": lambda bench, tunnel, kind, number: {
        "dst": bench.network(tunnel, kind) + str(10 + 23 * number)},
    "protocol": lambda bench, tunnel, kind, number: {"proto": 200 + number},
    "source port": lambda bench, tunnel, kind, number: {"sport": pkt.PORTS[number]},
    "destination port": lambda bench, tunnel, kind, number: {"dport": pkt.PORTS[number]},
}
NEAR = 128      # identifications that pass for those of segments


@ktap.table("{0} over v4: about {1}'s packet, but as if it had been fragmented", [
    (words, sender) for words, family, sender in ENCAPS if family == "v4"])
def never_fragmented(bench, words, sender):
    tunnel = bench.tunnel(words, "v4")
    sent, large = bench.send(tunnel, sender), bench.send(tunnel, sender, length=1400)
    quote, too_large = (flipped(at(6, None, 0x60)(each), 4) for each in (sent, large))
    # Of IPv6 it is possible, and the memory knows better.
    counter = {"v4": "err-forged", "v6": "err-short"}[sent.kind]
    bench.nothing(tunnel, counter, unreachable(sent, quote), too_big(large, 1300, too_large))
    sent.told(bench.answers(tunnel, unreachable(sent)), errors.HOST[sent.kind])
    path_mtu_is(tunnel, 1500)


def number_of(outer):
    """What tells outer packets apart: identification or flow label."""
    fields = pkt.outer_fields(outer)
    return fields.get("id", fields.get("flow"))


def other_flow(bench, sent, sender, what, **words):
    """A packet of another flow, with the identification, or label, of one sent."""
    tunnel = sent.tunnel
    for number in range(10):
        other = bench.send(tunnel, sender, **words,
                           **FLOWS[what](bench, tunnel, sent.kind, number))
        if NEAR <= (number_of(sent.outer) - number_of(other.outer)) % (1 << 16):
            break
    start, end = (4, 6) if tunnel.family == "v4" else (1, 4)
    return other, put(other.outer, start, sent.outer[start:end])


@ktap.table("err-forged: {0} over {1}: {2}'s packet with another {3} was not sent like that", [
    (*row, what) for row in ENCAPS for what in FLOWS])
def forged_flow(bench, words, family, sender, what):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender)
    other, quote = other_flow(bench, sent, sender, what)
    bench.nothing(tunnel, "err-forged", unreachable(other, quote))
    large, quote = other_flow(bench, sent, sender, what, length=1400)
    bench.nothing(tunnel, "err-forged", too_big(large, 1300, quote))
    path_mtu_is(tunnel, 1500)


@ktap.table("err-forged: {0} over {1}: {2}'s redirect, quench and prohibition are not believed",
            [row for row in ENCAPS if row[1] == "v4"])
def forged_kinds(bench, words, family, sender):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender)
    quote = another(sent)
    bench.nothing(tunnel, "err-forged", *(about(sent, kind, code, quote=quote) for kind, code in (
        (5, 1), (4, 0), (3, 13), (11, 0), (12, 0))))


@ktap.table("err-forged: {0} over {1}: a thousand spoofed errors change nothing ({2})", FEW)
def thousand(bench, words, family, sender):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender, length=1400)
    spoofed = [error(sent, *rest, quote=another(sent)) for error, rest in (
        (unreachable, ()), (too_big, (1300,)))]
    with tunnel.ns.moves(tunnel.dev, err_forged=1000):
        for _ in range(20):
            ktap.eq(bench.answers(tunnel, *(spoofed * 25)), [], "errors to the sender")
    path_mtu_is(tunnel, 1500)
    ktap.true(tunnel.out(sent.inner), "the tunnel carries packets")


UNPROVEN = [(words, family, sender, option) for words, family, sender in ENCAPS if family == "v6"
            for option in ("flowlabel 0", "flowlabel inherit")]


@ktap.table("{3}: {0} over {1}: there is no proof, {2} is told", UNPROVEN)
def unproven(bench, words, family, sender, option):
    tunnel = bench.tunnel(f"{words} {option}", family)
    sent = bench.send(tunnel, sender)
    sent.told(bench.answers(tunnel, unreachable(sent, another(sent))), errors.HOST[sent.kind])


@ktap.table("df unset, icmp-memory {2}: {0} over {1}: {3} is told of what is remembered only", [
    (words, family, mode, sender) for words, family, sender in ENCAPS if family == "v4"
    for mode in ("auto", "on", "off")])
def without_df(bench, words, family, mode, sender):
    tunnel = bench.tunnel(f"{words} df unset icmp-memory {mode}", family)
    sent = bench.send(tunnel, sender)
    never = another(sent)
    # Another flow that happens to have the identification.
    other = put(bench.send(tunnel, sender, **FLOWS["source"](bench, tunnel, sent.kind, 1)).outer,
                4, sent.outer[4:6])
    if mode == "off":
        ktap.true(bench.answers(tunnel, unreachable(sent, never)), "what has to be believed")
    else:
        bench.nothing(tunnel, "err-short", unreachable(sent, never), unreachable(sent, other))
    sent.told(bench.answers(tunnel, unreachable(sent)), errors.HOST[sent.kind])


@ktap.table("{0} over {1}: {2} is told about the first fragment of an outer packet", ENCAPS)
def fragmented(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} frag outer mtu 1400", family)
    route = f"route {{}} {tunnel.remote} dev under0 mtu 1280"
    tunnel.ns.ip(route.format("add"))
    ktap.defer(tunnel.ns.ip, route.format("del"))
    kind, _ = errors.SENDERS[sender]
    inner, bridged = bench.inner(tunnel, sender, data=bytes(1280 - LEAST[kind]))
    bench.bed.peer.drain()
    bench.again(tunnel, inner, bridged)
    first, second = (bench.bed.peer.recv(tunnel.is_mine, "a fragment") for _ in range(2))
    sent = errors.Sent(bench, tunnel, inner, first, bridged)
    start = first.index(sent.packet[:LEAST[kind]])
    held = errors.MOST[family] - errors.HEADERS[family] - start
    sent.told(bench.answers(tunnel, unreachable(sent)), errors.HOST[kind], 0,
              sent.packet[:min(held, errors.MOST[kind] - errors.HEADERS[kind])])
    bench.nothing(tunnel, None, unreachable(sent, second))


# ---- the MTU that is named ----

@ktap.table("err-bogus-mtu: {0} over {1}: the packet was not too big for that ({2})", ENCAPS)
def bogus_mtu(bench, words, family, sender):
    tunnel = bench.tunnel(words, family)
    ktap.defer(errors.forget, tunnel)
    sent = bench.send(tunnel, sender, length=1400)
    length = len(sent.outer)
    most = {"v4": 0xffff, "v6": 0xffffffff}[family]
    bench.nothing(tunnel, "err-bogus-mtu",
                  *(too_big(sent, mtu) for mtu in (length, length + 1, 9000, most)))
    path_mtu_is(tunnel, 1500)
    sent.told(bench.answers(tunnel, too_big(sent, length - 1)), errors.TOO_BIG[sent.kind],
              length - 1 - sent.overhead)
    path_mtu_is(tunnel, length - 1)


@ktap.table("{0} over {1}: {2} is told of the least path MTU that is believed", ENCAPS)
def least_mtu(bench, words, family, sender):
    tunnel = bench.tunnel(words, family)
    ktap.defer(errors.forget, tunnel)
    sent = bench.send(tunnel, sender, length=1400)
    room = floor(tunnel) - sent.overhead
    told = max(room, 1280) if sent.kind == "v6" else room
    for mtu in (68, 1):
        sent.told(bench.answers(tunnel, too_big(sent, mtu)), errors.TOO_BIG[sent.kind], told)
        path_mtu_is(tunnel, floor(tunnel))
    # What was larger, later, raises nothing.
    bench.answers(tunnel, too_big(sent, 1399))
    path_mtu_is(tunnel, floor(tunnel))


# ---- what others are told, and the kernel believes ----

def from_us(tunnel, proto, payload):
    """A packet (bytes) from this host to the peer, with DF, as the peer's path got it."""
    fields = {"flags": "DF"} if tunnel.family == "v4" else {}
    return bytes(pkt.ip(tunnel.family, tunnel.local, tunnel.remote, payload, proto, **fields))


def echo_of(tunnel, request):
    kinds = {"v4": (0, 8), "v6": (129, 128)}[tunnel.family]
    body = struct.pack("!BBHHH", kinds[request], 0, 0, 77, 1) + bytes(1400)
    return from_us(tunnel, {"v4": 1, "v6": 58}[tunnel.family], body)


def datagram(tunnel, sport, dport, data=b""):
    body = struct.pack("!HHHH", sport, dport, 1408, 0) + data.ljust(1400, b"\0")
    return from_us(tunnel, 17, body)


def of_a_socket(tunnel):
    """The datagram of a socket of this host, which has every right to the error."""
    sock = tunnel.ns.socket(net.family_of(tunnel.remote), socket.SOCK_DGRAM)
    sock.bind((tunnel.local, 0))
    sock.connect((tunnel.remote, 5353))
    return datagram(tunnel, sock.getsockname()[1], 5353)


FOREIGN = {
    "an echo reply": lambda tunnel: echo_of(tunnel, False),
    "an echo request": lambda tunnel: echo_of(tunnel, True),
    "a datagram that nobody has sent": lambda tunnel: datagram(tunnel, 1111, 2222),
    "a datagram of a socket": of_a_socket,
    "a VNI that no tunnel has": lambda tunnel: datagram(
        tunnel, 50000, 4789, struct.pack("!II", 0x08000000, 0x777 << 8)),
    "a GRE key that no tunnel has": lambda tunnel: from_us(
        tunnel, 47, struct.pack("!HHI", 0x2000, 0x800, 0x777) + bytes(1400)),
    "a protocol of nobody": lambda tunnel: from_us(tunnel, 253, bytes(1408)),
}
KERNEL_BELIEVES = ("an echo reply", "a datagram of a socket")


@ktap.table("{0} over {1}: a too-big about {2} does not narrow the tunnel", [
    (words, family, what) for words in ("encap ip", "encap gre key 7", "encap vxlan key 7 payload eth",
                                        "encap fou dport 5555")
    for family in FAMILIES for what in FOREIGN])
def foreign(bench, words, family, what):
    tunnel = bench.tunnel(words, family)
    sender = "bridged IPv4" if tunnel.eth else "IPv4"
    length = 1500 - bench.send(tunnel, sender).overhead
    path_mtu_is(tunnel, 1500)
    ktap.defer(errors.forget, tunnel)
    least = {"v4": 600, "v6": 1280}[family]
    bench.nothing(tunnel, None, *(
        about(errors.Sent(bench, tunnel, bytes(28), FOREIGN[what](tunnel)),
              *errors.TOO_BIG[family], mtu) for mtu in (least + 8, least)))
    if what in KERNEL_BELIEVES:
        ktap.eq(tunnel.ns.path_mtu(tunnel.remote), least, "path MTU, as the kernel has it")
    path_mtu_is(tunnel, 1500)
    sent = bench.send(tunnel, sender, length=length)
    ktap.eq(len(sent.outer), 1500, "length of the outer packet, in one piece")
    if family == "v4":
        ktap.eq(pkt.outer_fields(sent.outer)["df"], 1, "DF")
    # What the tunnel itself is told counts, on top of that.
    sent.told(bench.answers(tunnel, too_big(sent, 1400)), errors.TOO_BIG[sent.kind],
              1400 - sent.overhead)
    path_mtu_is(tunnel, 1400)
    ktap.eq(len(bench.send(tunnel, sender, length=1400 - sent.overhead).outer), 1400,
            "length of what fits now")


@ktap.table("{0} over {1}: what the kernel believes does not cut an outer packet either", [
    (words, family) for words in ("encap ip", "encap gre key 7") for family in FAMILIES])
def foreign_pieces(bench, words, family):
    tunnel = bench.tunnel(f"{words} frag outer mtu 2000", family)
    ktap.defer(errors.forget, tunnel)
    tunnel.ns.sysctl({"net.ipv4.route.flush": 1})
    sent = errors.Sent(bench, tunnel, bytes(28), FOREIGN["an echo reply"](tunnel))
    bench.nothing(tunnel, None, about(sent, *errors.TOO_BIG[family],
                                      {"v4": 600, "v6": 1280}[family]))
    inner, _ = bench.inner(tunnel, "IPv4", data=bytes(1600))
    bench.bed.peer.drain()
    bench.again(tunnel, inner)
    first, second = (bench.bed.peer.recv(tunnel.is_mine, "a fragment") for _ in range(2))
    ktap.true(len(first) > 1480, f"{len(first)} bytes of the first fragment of two")
    ktap.true(len(first) <= 1500 and len(second) < 300, "the second has the rest")


# ---- errors for programs ----

# What a program sends to the port of a tunnel's peer, from one that a tunnel could
# send from.  An ICMP error may quote no more than 8 bytes of it, or all.
PORTS = {"encap vxlan key 7": 4789, "encap geneve key 7": 6081, "encap gtp key 7": 2152,
         "encap fou dport 5555": 5555}
DATA = {"text": b"GET / HTTP/1.1\r\n\r\n", "zeros": bytes(32), "ones": b"\xff" * 32}
PORT_UNREACHABLE = {"v4": (3, 3), "v6": (1, 4)}


@ktap.table("{0} over {1}: a program that sends {2} to the same port hears of an error, "
            "{3} quoted", [
                (words, family, what, quoted) for words in PORTS for family in FAMILIES
                for what in DATA for quoted in ("8 bytes", "all")])
def program(bench, words, family, what, quoted):
    tunnel = bench.tunnel(words, family)
    sock = tunnel.ns.socket(net.family_of(tunnel.remote), socket.SOCK_DGRAM)
    ktap.defer(sock.close)
    sock.bind((tunnel.local, 55555))
    sock.connect((tunnel.remote, PORTS[words]))
    bench.bed.peer.drain()
    sock.send(DATA[what])
    sent = bench.bed.peer.recv(tunnel.is_mine, "its packet")
    quote = sent if quoted == "all" else sent[:pkt.IP_LEN[family] + SHORT]
    with tunnel.ns.moves(tunnel.dev):
        bench.bed.peer.send(pkt.icmp(family, tunnel.remote, tunnel.local,
                                     *PORT_UNREACHABLE[family], 0, quote))
        ktap.wait_for(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) ==
                      errno.ECONNREFUSED, "the error at its socket")


# ---- segments ----

SEGMENT, COUNT = 1000, 5
NEEDS_CSUM, GSO = 1, {"v4": 1, "v6": 4}     # of struct virtio_net_hdr


IP_TRANSPARENT = {"v4": (socket.IPPROTO_IP, 19), "v6": (socket.IPPROTO_IPV6, 75)}
UDP_SEGMENT = 103


def segments(bench, tunnel, sender):
    """One large packet goes into the tunnel; what its path gets."""
    data = random.Random(3).randbytes(SEGMENT * COUNT)
    return (of_a_frame if tunnel.eth else of_a_datagram)(bench, tunnel, sender, data)


def of_a_datagram(bench, tunnel, sender, data):
    """Many datagrams in one, of a socket that has the address of the sender."""
    kind, bridged = errors.SENDERS[sender]
    dst = bench.network(tunnel, kind) + "2"
    sock = tunnel.ns.socket(net.family_of(dst), socket.SOCK_DGRAM)
    sock.setsockopt(*IP_TRANSPARENT[kind], 1)
    sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SEGMENT)
    sock.bind((bench.lan.address(kind), 40000))
    bench.bed.peer.drain()
    sock.sendto(data, (dst, 80))
    sock.close()
    outer = [bench.bed.peer.recv(tunnel.is_mine, "a segment") for _ in range(COUNT)]
    overhead = len(outer[0]) - (pkt.IP_LEN[kind] + 8 + SEGMENT)
    return [errors.Sent(bench, tunnel, packet[overhead:], packet, bridged) for packet in outer]


def of_a_frame(bench, tunnel, sender, data):
    """A TCP packet that a guest of this host would have left to segment."""
    kind, _ = errors.SENDERS[sender]
    ends = bench.lan.address(kind), bench.network(tunnel, kind) + "2"
    inner, bridged = bench.inner(tunnel, sender, pkt.ip(
        kind, *ends, pkt.TCP(sport=40000, dport=80, flags="A", chksum=0) /
        data, **({"flags": "DF"} if kind == "v4" else {})))
    body, link = errors.split(tunnel, inner)
    start = len(link) + pkt.IP_LEN[kind]
    ends = body[12:20] if kind == "v4" else body[8:40]
    # The sum of the pseudo header, for a card to go on with.
    inner = put(inner, start + 16, struct.pack("!H", pkt.ones_sum(
        ends + struct.pack("!II", 6, len(inner) - start))))
    sock = tunnel.ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.setsockopt(net.SOL_PACKET, 15, 1)      # PACKET_VNET_HDR
    bench.bed.peer.drain()
    sock.sendto(struct.pack("=BBHHHH", NEEDS_CSUM, GSO[kind], start + 20, SEGMENT, start, 16)
                + inner, (tunnel.dev, pkt.ETHERTYPE[kind]))
    outer = [bench.bed.peer.recv(tunnel.is_mine, "a segment") for _ in range(COUNT)]
    overhead = len(outer[0]) - (start - len(link) + 20 + SEGMENT) - len(link)
    return [errors.Sent(bench, tunnel, packet[overhead:], packet, bridged) for packet in outer]


@ktap.table("{0} over {1}: {2} is told about each segment of a large packet", ENCAPS)
def gso(bench, words, family, sender):
    tunnel = bench.tunnel(f"{words} ttl 53", family)
    sent = segments(bench, tunnel, sender)
    if "seq" not in words:
        first, *rest = [number_of(segment.outer) for segment in sent]
        ktap.eq(rest, [(first + number) & 0xffff if family == "v4" else first
                       for number in range(1, COUNT)], "what tells segments apart")
    for segment in reversed(sent):
        with errors.moves(tunnel, err_relayed=1):
            answers = bench.answers(tunnel, unreachable(segment))
            segment.told(answers, errors.HOST[segment.kind])


@ktap.table("{3}, {0} over {1}: {2} is told about each segment that is quoted shortly", [
    (words, family, sender, mode) for words, family, sender in FEW
    for mode in (ON, "icmp-memory auto") if mode == ON or "seq" not in words])
def gso_short(bench, words, family, sender, mode):
    tunnel = bench.tunnel(f"{words} ttl 54 {mode}", family)
    next_jiffy()
    for segment in segments(bench, tunnel, sender):
        answers = bench.answers(tunnel, unreachable(segment, short(segment)))
        ktap.eq(len(answers), 1, "errors to the sender")
        ports = LEAST[segment.kind] - 8
        length, ends = ((2, 4), (12, 20)) if segment.kind == "v4" else ((4, 6), (8, 40))
        for start, end in (length, ends, (ports, ports + 4)):
            ktap.eq(answers[0].quote[start:end], segment.packet[start:end],
                    f"bytes {start} to {end} of the segment")


# ---- hostile ----

def harmless(bench, tunnel, sent, *packets):
    """Whatever comes of it is right, and about the sender's own packet.

    16 or 20 bits prove something only: by chance a few other flows pass, and
    with one of them whatever is quoted of it.
    """
    passed = set()
    for start in range(0, len(packets), 50):
        for answer in bench.answers(tunnel, *packets[start:start + 50]):
            ktap.eq(pkt.bad_checksums(answer.packet), [], "wrong checksums")
            passed.add(flow_of(answer.quote))
    passed -= {flow_of(sent.packet)}
    ktap.true(len(passed) <= BY_CHANCE, f"errors about {len(passed)} flows that were not sent")


BY_CHANCE = 4


def flow_of(packet):
    """Addresses, protocol and ports: all that a tag is made of."""
    proto, ends, ports = ((packet[6], packet[8:40], packet[40:44]) if packet[0] >> 4 == 6 else
                          (packet[9], packet[12:20], packet[20:24]))
    return proto, ends, ports if proto in (6, 17) else b""


def sane(bench, tunnel, sent):
    """Everything works as ever."""
    good_sign(bench, tunnel, sent)
    sent.told(bench.answers(tunnel, unreachable(sent)), errors.HOST[sent.kind])


HOSTILE = [(*row, mode) for row, mode in zip(ENCAPS, itertools.cycle(("auto", "on", "off")))]


@ktap.table("icmp-memory {3}, {0} over {1}: quotes cut off at every byte ({2})", HOSTILE)
def cut(bench, words, family, sender, mode):
    tunnel = bench.tunnel(f"{words} icmp-memory {mode}", family)
    sent = bench.send(tunnel, sender)
    whole = unreachable(sent)
    start = len(whole) - len(sent.outer)
    harmless(bench, tunnel, sent, *(
        unreachable(sent, sent.outer[:length]) for length in range(len(sent.outer))))
    # The error itself, whose own length says the same or not.
    harmless(bench, tunnel, sent, *(whole[:length] for length in range(start - 8, len(whole))))
    sane(bench, tunnel, sent)


def each_value(sent, place, bits=0xff):
    """The quote with each value that a byte of it can have in those bits."""
    start = sent.outer[place] & ~bits
    return [put(sent.outer, place, bytes([start | value]))
            for value in range(256) if value & ~bits == 0]


def absurd(sent):
    """Quotes whose headers have absurd lengths, flags and protocols."""
    inner, gre = sent.overhead, header(sent)
    quotes = each_value(sent, 0) + each_value(sent, inner)
    quotes += each_value(sent, gre) + each_value(sent, gre + 1)
    outer_length, proto = (2, 9) if sent.tunnel.family == "v4" else (4, 6)
    inner_length, inner_proto = (2, 9) if sent.kind == "v4" else (4, 6)
    quotes += each_value(sent, proto) + each_value(sent, inner + inner_proto)
    for place in (outer_length, inner + inner_length):
        quotes += [put(sent.outer, place, struct.pack("!H", value))
                   for value in (0, 1, 19, 20, 27, 28, 39, 40, 0x7fff, 0x8000, 0xffff)]
    return quotes


@ktap.table("icmp-memory {3}, {0} over {1}: absurd headers ({2})", HOSTILE)
def headers(bench, words, family, sender, mode):
    tunnel = bench.tunnel(f"{words} icmp-memory {mode}", family)
    sent = bench.send(tunnel, sender)
    harmless(bench, tunnel, sent, *(unreachable(sent, quote) for quote in absurd(sent)))
    # RFC 4884's length, right or not.
    harmless(bench, tunnel, sent, *(
        about(sent, *errors.HOST[family], rest=value << {"v4": 16, "v6": 24}[family])
        for value in range(256)))
    sane(bench, tunnel, sent)


def chains(payload, proto):
    """What may stand behind an IPv6 header: its next header, and bytes."""
    for kind in (0, 43, 60, 44, 51):
        for length in (0, 1, 7, 255):
            yield kind, bytes([proto, length]) + bytes(6) + payload
        yield kind, bytes([kind, 0]) + bytes(6)                     # and so on, cut off
        yield kind, (bytes([kind, 0]) + bytes(6)) * 100 + payload
    yield 60, (bytes([60, 0, 1, 4, 0, 0, 0, 0])) * 20 + bytes([proto, 0, 1, 4, 0, 0, 0, 0]) + payload
    yield 44, bytes([proto, 0, 0, 8, 0, 0, 0, 1]) + payload         # a later fragment
    yield 44, bytes([proto, 0, 0, 1, 0, 0, 0, 1]) + payload         # a first one
    yield 59, payload
    yield 50, payload


@ktap.table("icmp-memory {3}, {0} over {1}: chains of IPv6 headers ({2})", [
    row for row in HOSTILE if "v6" in (row[1], row[2][-2:])])
def extensions(bench, words, family, sender, mode):
    tunnel = bench.tunnel(f"{words} icmp-memory {mode}", family)
    sent = bench.send(tunnel, sender)
    quotes = []
    for start in ([0] if family == "v6" else []) + ([sent.overhead] if sent.kind == "v6" else []):
        behind = sent.outer[start + 40:]
        for kind, chain in chains(behind, sent.outer[start + 6]):
            head = sent.outer[:start] + put(sent.outer[start:start + 40], 6, bytes([kind]))
            quotes += [head + chain,
                       put(head, start + 4, struct.pack("!H", len(chain) & 0xffff)) + chain]
    harmless(bench, tunnel, sent, *(unreachable(sent, quote) for quote in quotes))
    sane(bench, tunnel, sent)


@ktap.table("icmp-memory {3}, {0} over {1}: garbage ({2})", HOSTILE)
def garbage(bench, words, family, sender, mode):
    tunnel = bench.tunnel(f"{words} icmp-memory {mode}", family)
    sent = bench.send(tunnel, sender)
    chance = ktap.chance(words, family, sender, mode)
    quotes = []
    for _ in range(300):
        quote = sent.outer[:chance.randrange(len(sent.outer) + 1)]
        for _ in range(chance.randrange(1, 5)):
            if quote:
                quote = put(quote, chance.randrange(len(quote)), chance.randbytes(1))
        quotes.append(quote + chance.randbytes(chance.choice((0, 0, 7, 200))))
    quotes += [sent.outer[:header(sent)] + chance.randbytes(chance.randrange(100))
               for _ in range(100)]
    kinds = {"v4": [(3, code) for code in range(16)] + [(4, 0), (5, 1), (11, 0), (11, 1), (12, 0)],
             "v6": [(1, code) for code in range(8)] + [(2, 0), (3, 0), (3, 1), (4, 0), (4, 1)]}
    ktap.defer(errors.forget, tunnel)
    harmless(bench, tunnel, sent, *(
        about(sent, *chance.choice(kinds[family]), rest=chance.randrange(1 << 32), quote=quote)
        for quote in quotes))
    sane(bench, tunnel, sent)


@ktap.table("of 70 tunnels between two addresses over {0}, each is known by the key it sends",
            FAMILIES)
def many(bench, family):
    words = "encap gre icmp-memory off ikey {} okey {}"
    first = bench.tunnel(words.format(1000, 2000), family)
    ns, names = first.ns, [f"more{number}" for number in range(70)]
    ns.ip(*(line for number, name in enumerate(names) for line in (
        f"link add {name} type xtun {words.format(1001 + number, 2001 + number)} "
        f"local {first.local} remote {first.remote}", f"link set {name} up")))
    ktap.defer(ns.ip, *(f"link del {name}" for name in names))
    sent = bench.send(first, "IPv4")
    sent.told(bench.answers(first, unreachable(sent)), errors.HOST[sent.kind])


ktap.main(setup)
