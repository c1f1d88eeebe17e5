#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# GTP-U (3GPP TS 29.281): with the in-tree driver as the other end, byte for byte
# with scapy, broken packets, and the messages that nodes send each other.
#
#	a  t0 (xtun) -- under0 ======== under0 -- t0 (in-tree)  b
#	host  tunnels -- under0 ---- far0, the test
import contextlib
import functools
import os
import re
import shutil
import socket
import struct

from lib import capture, errors, ktap, net, peers, pkt, rawnl, traffic
from lib.bed import Bed
from lib.peers import BOTH, Pair

FAMILIES = ("v4", "v6")
PORT, OTHER_PORT = 2152, 3333
UDP = 17

# Message types, information elements, flags.
ECHO, ECHOED, ERROR, SUPPORTED, END, PDU = 1, 2, 26, 31, 254, 255
RECOVERY, TEID, ADDRESS, HEADER_TYPES = 14, 16, 133, 141
NEXT, SEQ, NPDU = 4, 2, 1


class Setup:
    """Two hosts with a link, and a host with the test for its peer."""

    def __init__(self):
        net.load_module()
        net.need_modules("veth")
        self.hosts = net.two()
        self.bed = Bed()
        # All errors are sent; one test is about their limit.
        self.bed.ns.sysctl({"net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0})

    @functools.cached_property
    def bench(self):
        with ktap.for_file():
            return errors.Bench()


def setup():
    return Setup()


def contrib():
    """scapy's own GTP."""
    import importlib
    assert pkt.IP and pkt.IPv6
    return importlib.import_module("scapy.contrib.gtp")


# ---- the in-tree driver ----

def attr(kind, data):
    return rawnl.u32(kind, data) if isinstance(data, int) else rawnl.attr(kind, data)


def genl(ns, command, *attrs):
    """A request to the driver's family, which has to take it."""
    seen = rawnl.Family(ns, "gtp").do(command, *attrs, version=0)
    ktap.eq(seen.errno, 0, f"errno of gtp's request ({seen.message})")


IN_TEID, OUT_TEID = 0x10203040, 0x50607080      # of xtun


def in_tree(ns, dev, local, remote, inside):
    """gtp role sgsn"""
    # By hand, since ip(8) cannot say local, nor make a context.
    data = attr(4, 1) + attr(5, b"\1") + attr(8 if ":" in local else 7, net.packed(local))
    info = attr(1, b"gtp\0") + attr(2, data)
    rawnl.Raw(ns).needs(rawnl.RTM_NEWLINK, bytes(16) + attr(rawnl.IFLA_IFNAME, dev.encode() + b"\0")
                        + attr(rawnl.IFLA_LINKINFO, info), rawnl.NLM_F_CREATE | rawnl.NLM_F_EXCL)
    ktap.defer(ns.ip, f"link del {dev}")
    ns.ip(f"link set {dev} up")
    index = ns.link(dev)["ifindex"]
    for family in inside:
        mobile = net.packed(peers.INNER[family][1])
        if family == "v6":
            mobile = mobile[:8] + bytes(8)
        peer = attr(11 if ":" in remote else 4, net.packed(remote))
        genl(ns, 0, attr(1, index), attr(2, 1), peer,
             attr(12 if family == "v6" else 5, mobile), attr(8, OUT_TEID), attr(9, IN_TEID),
             *([attr(13, bytes([socket.AF_INET6]))] if family == "v6" else []))


KEYS = f"ikey {IN_TEID} okey {OUT_TEID}"
WORDS = (KEYS, f"{KEYS} noudpcsum", f"{KEYS} sport 2152", f"{KEYS} qfi 9",
         f"{KEYS} qfi 63 pdu uplink")


def is_known(family, inside, words):
    """What this kernel's driver has."""
    # It looks for its device without the lock for that, and lockdep sees it.
    if os.path.exists("/proc/lockdep"):
        return False
    # Before 6.10 it took extension headers for a part of the packet.
    old = net.kernel_before(6, 10)
    if old and ("qfi" in words or (family, inside) != ("v4", ("v4",))):
        return False
    # It takes no packet without a checksum over IPv6.
    return (family, "noudpcsum" in words) != ("v6", True)


PAIRS = [Pair(family, f"encap gtp {words}", [(in_tree, inside)])
         for family, inside in (("v4", ("v4",)), ("v4", BOTH), ("v6", BOTH))
         for words in WORDS if is_known(family, inside, words)]


def pair_text(pair):
    return f"{peers.text(pair)}, inside {' and '.join(peers.families(pair))}"


@ktap.table("{1}", [(pair, pair_text(pair)) for pair in PAIRS])
def talk(test, pair, _):
    net.need_modules("gtp")
    peers.talk(test.hosts, pair)


@ktap.table("large packets in segments: {1}", [
    (pair, pair_text(pair)) for pair in PAIRS if pair.words.endswith((KEYS, "qfi 9"))])
def segments(test, pair, _):
    net.need_modules("gtp")
    peers.segments(test.hosts, pair)


@ktap.table("every segment tells its own length: inner {1} over {0}", [
    (family, kind) for family in FAMILIES for kind in FAMILIES])
def lengths(test, family, kind):
    a, b = both_ends(test, "encap gtp key 5 qfi 1", family)
    under = capture.Capture(a, "under0")
    traffic.tcp_bulk(a, b, pkt.INNER[kind][1], 300000)
    under.poll()
    header = pkt.IP_LEN[family]
    seen = [frame.data[frame.header + header:] for frame in under.frames if frame.outgoing]
    ktap.true(len(seen) > 100, f"{len(seen)} packets out")
    ktap.eq([frame.gso for frame in under.frames if frame.gso and frame.outgoing], [],
            "packets that are still to be segmented")
    wrong = [packet[:16].hex() for packet in seen
             if struct.unpack_from("!H", packet, 10)[0] != len(packet) - 16]
    ktap.eq(wrong, [], "wrong lengths")


def both_ends(test, words, family):
    a, b = test.hosts
    for near, far, last in ((a, b, 1), (b, a, 2)):
        near.tunnel("t0", f"{words} local {getattr(near, family)} remote {getattr(far, family)}",
                    f"10.9.0.{last}/24", f"fd00:9::{last}/64")
        ktap.defer(near.ip, "link del t0")
    return a, b


@ktap.table("large packets are merged again, between two of xtun: {0}", FAMILIES)
def merged(test, family):
    a, b = both_ends(test, "encap gtp key 5", family)
    for kind in FAMILIES:
        inner, = peers.bulk_seen(test.hosts, b, a, pkt.INNER[kind][0], "t0")
        peers.is_large(inner, False, f"{kind} out of the tunnel")
    ktap.eq(a.drops("t0"), {}, "packets that were lost")


@ktap.table("the MTU leaves room for what {1} over {0} adds", [
    (family, words, added) for family in FAMILIES
    for words, added in (("key 5", 16), ("key 5 qfi 3", 24))])
def mtu(test, family, words, added):
    a, _ = both_ends(test, f"encap gtp {words}", family)
    room = 1500 - pkt.IP_LEN[family] - added
    ktap.eq(a.mtu("t0"), room, "MTU")
    # All of it gets through, and not a byte more in one piece.
    ktap.true(traffic.ping(a, pkt.INNER["v4"][1], room - 28, df="set"), "what fits exactly")


if PAIRS:
    @ktap.case("the in-tree driver's echo requests are answered")
    def in_tree_echo(test):
        net.need_modules("gtp")
        a, b = test.hosts
        peers.make(test.hosts, PAIRS[0])
        under = capture.Capture(a, "under0")
        genl(b, 3, attr(1, b.link("t0")["ifindex"]), attr(2, 1), attr(4, net.packed(a.v4)),
             attr(5, net.packed(b.v4)))

        def answer(packet):
            fields = pkt.outer_fields(packet)
            return (fields["src"], fields["dst"], fields["proto"]) == (a.v4, b.v4, UDP)

        seen = under.wait(answer, "the answer")
        ktap.eq(seen[20:24], struct.pack("!HH", PORT, PORT), "ports")
        ktap.eq(seen[28:], message(ECHOED, b"\x0e\0"), "answer")
        ktap.eq(a.drops("t0"), {}, "packets that xtun lost")


# ---- what is on the wire ----

def udp(tunnel, data, sport=PORT, dport=PORT, **words):
    """An outer packet (scapy) to the tunnel's host, with these bytes in UDP.

    words: of the outer header; chksum: of UDP.
    """
    fields = {"chksum": words.pop("chksum")} if "chksum" in words else {}
    return tunnel.outer(pkt.UDP(sport=sport, dport=dport, **fields) / bytes(data), UDP, **words)


def gtp(tunnel, inner=b"", kind=PDU, flags=0, options=None, length=None, teid=None, first=0x30):
    """A header by hand, and what follows it.

    options: all bytes between the first 8 and the inner packet.
    """
    if options is None:
        options = bytes(4) if flags & 7 else b""
    if length is None:
        length = len(options) + len(inner)
    if teid is None:
        teid = ikey(tunnel)
    return struct.pack("!BBHI", first | flags, kind, length, teid) + options + bytes(inner)


def message(kind, body=b"", sequence=0, flags=SEQ, teid=0):
    return struct.pack("!BBHIHH", 0x30 | flags, kind, 4 + len(body), teid, sequence, 0) + body


def ikey(tunnel):
    return int(re.search(r"\bi?key (\S+)", tunnel.words)[1], 0)


def okey(tunnel):
    return int(re.search(r"\bo?key (\S+)", tunnel.words.replace("ikey", ""))[1], 0)


def extension(kinds):
    """Extension headers (type, bytes of content) as they follow the first 8."""
    first = kinds[0][0] if kinds else 0
    data = bytes(3) + bytes([first])
    for (_, content), (following, _) in zip(kinds, [*kinds[1:], (0, b"")]):
        data += bytes([(len(content) + 2) // 4]) + content + bytes([following])
    return data


SENT = {
    "key 7": {}, "key 4294967295": {}, "ikey 1 okey 2": {}, "key 8 noudpcsum": {},
    "key 9 sport 2152": {}, "key 10 sport 1000-2000": {}, "key 11 dport 3000": {},
    "key 12 qfi 0": {"type": 0, "QFI": 0},
    "key 13 qfi 63": {"type": 0, "QFI": 63},
    "key 14 qfi 9 pdu downlink": {"type": 0, "QFI": 9},
    "key 15 qfi 9 pdu uplink": {"type": 1, "QFI": 9},
}


def scapys(tunnel, inner, container):
    """What scapy makes of it."""
    g = contrib()
    words = {"gtp_type": PDU, "teid": okey(tunnel)}
    if not container:
        return bytes(g.GTP_U_Header(**words) / inner)
    return bytes(g.GTP_U_Header(E=1, next_ex=0x85, **words)
                 / g.GTPPDUSessionContainer(**container) / inner)


@ktap.table("{1} over {0} sends inner {3}", [
    (family, words, container, kind) for family in FAMILIES
    for words, container in SENT.items() for kind in FAMILIES])
def sent(test, family, words, container, kind):
    tunnel, inner = test.bed.tunnel(f"encap gtp {words}", family), pkt.inner(kind)
    seen = tunnel.out(inner)
    fields = pkt.outer_fields(seen)
    sport = struct.unpack_from("!H", seen, fields["header"])[0]
    own = {"v4": lambda: {"flags": "DF", "id": fields["id"]},
           "v6": lambda: {"fl": fields["flow"]}}[family]()
    dport = 3000 if "dport" in words else PORT
    if "noudpcsum" in words:
        own["chksum"] = 0
    expected = udp(tunnel, scapys(tunnel, inner, container), sport, dport,
                   src=tunnel.local, dst=tunnel.remote, **own)
    ktap.eq(seen, bytes(expected), "packet")
    low, high = {"sport 2152": (2152, 2152), "sport 1000-2000": (1000, 2000)}.get(
        words.partition(" ")[2].partition(" ")[2], (49152, 65535))
    ktap.true(low <= sport <= high, f"source port {sport}")


@ktap.table("qfi and pdu change on a live device over {0}", FAMILIES)
def live(test, family):
    tunnel, inner = test.bed.tunnel("encap gtp key 20", family), pkt.inner("v6")
    for words, container in (("qfi 5", {"type": 0, "QFI": 5}),
                             ("pdu uplink", {"type": 1, "QFI": 5}),
                             ("qfi 6", {"type": 1, "QFI": 6}),
                             ("qfi none pdu downlink", None)):
        tunnel.set(words)
        seen = tunnel.out(inner)
        start = pkt.outer_fields(seen)["header"] + 8
        ktap.eq(seen[start:], scapys(tunnel, inner, container), f"after {words}")


CONTAINER = (0x85, b"\x00\x09")
UPLINK = (0x85, b"\x10\x3f")
UDP_PORT = (0x40, struct.pack("!H", 2152))
PLAIN, CLASS = "encap gtp key 30", "encap gtp key 31 qfi 9"
LAST = "encap gtp key 4294967295"
TAKEN = [
    # what is special: arguments of gtp()
    ("no options", {}),
    ("a sequence number", {"flags": SEQ, "options": b"\x12\x34\0\0"}),
    ("an N-PDU number", {"flags": NPDU, "options": b"\0\0\x99\0"}),
    ("all three fields", {"flags": NEXT | SEQ | NPDU, "options": b"\x12\x34\x99\0"}),
    ("the field of a flag that is not set", {"flags": SEQ, "options": b"\x12\x34\x99\x85"}),
    ("the reserved bit", {"flags": 8}),
    ("a PDU session container, downlink", {"flags": NEXT, "options": extension([CONTAINER])}),
    ("a PDU session container, uplink", {"flags": NEXT, "options": extension([UPLINK])}),
    ("a long PDU session container",
     {"flags": NEXT, "options": extension([(0x85, b"\x08\x09" + bytes(8))])}),
    ("a UDP port", {"flags": NEXT, "options": extension([UDP_PORT])}),
    ("an unknown header that need not be known",
     {"flags": NEXT, "options": extension([(0x3f, bytes(10))])}),
    ("a UDP port and a container",
     {"flags": NEXT | SEQ, "options": extension([UDP_PORT, CONTAINER])}),
    ("eight headers", {"flags": NEXT, "options": extension([UDP_PORT] * 7 + [CONTAINER])}),
    ("a header of 1020 bytes",
     {"flags": NEXT, "options": extension([(0x20, bytes(1018)), CONTAINER])}),
]


@ktap.table("{1} over {0} takes {2} (inner {4})", [
    (family, words, what, changes, kind) for family in FAMILIES for words in (PLAIN, CLASS)
    for what, changes in TAKEN for kind in FAMILIES])
def taken(test, family, words, _, changes, kind):
    tunnel, inner = test.bed.tunnel(words, family), pkt.inner(kind)
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(udp(tunnel, gtp(tunnel, inner, **changes), OTHER_PORT)), inner,
                "delivered")


@ktap.table("over {0} {1}", [
    (family, what, words, changes) for family in FAMILIES for what, words, changes in (
        ("the greatest TEID is taken", LAST, {}),
        ("what is behind the length is no part of the packet", PLAIN, {"behind": b"behind"}),
        ("a packet without a UDP checksum is taken", "encap gtp key 32 noudpcsum",
         {"chksum": 0}))])
def also_taken(test, family, _, words, changes):
    tunnel, inner = test.bed.tunnel(words, family), pkt.inner("v4")
    changes = dict(changes)
    data = gtp(tunnel, inner) + changes.pop("behind", b"")
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(udp(tunnel, data, **changes)), inner, "delivered")


# ---- broken packets ----

@contextlib.contextmanager
def counts(tunnel, *names, alone=True):
    """The block moves these counters by one each, delivers and sends nothing.

    alone: else something is sent.  What comes last tells that all before has
    been done: a right packet, and the answer to an echo request.
    """
    tunnel.peer.drain()
    with tunnel.counts(lambda inner: udp(tunnel, gtp(tunnel, inner)), *names):
        yield
    if alone:
        tunnel.peer.send(udp(tunnel, message(ECHO, sequence=0xabcd)))
        ktap.eq(answer_to(tunnel), message(ECHOED, b"\x0e\0", 0xabcd), "sent first")


def answer_to(tunnel):
    """The next message that the host sends to the tunnel's peer."""
    seen = tunnel.next()
    return seen[pkt.outer_fields(seen)["header"] + 8:]


REQUIRED = [(kind, bytes(2)) for kind in (0x80, 0x81, 0x82, 0x83, 0x84, 0xc0, 0xc1, 0xff)]
BAD = [
    # name, what is wrong, arguments of gtp()
    *(("rx-version", f"version {number}", {"first": number << 5 | 16}) for number in (0, 2, 3, 7)),
    ("rx-version", "GTP'", {"first": 0x20}),
    *(("rx-control", f"message type {kind}", {"kind": kind})
      for kind in (0, ECHO, ECHOED, ERROR, SUPPORTED, 253, END)),
    ("rx-option", "a header without length",
     {"flags": NEXT, "options": b"\0\0\0\x85\0\0\0\0"}),
    ("rx-option", "a second header without length",
     {"flags": NEXT, "options": b"\0\0\0\x40\1\0\0\x40\0\0\0\0"}),
    ("rx-option", "nine headers", {"flags": NEXT, "options": extension([UDP_PORT] * 9)}),
    ("rx-option", "a header that need not be understood, without length, that ends like one",
     {"flags": NEXT, "options": b"\0\0\0\x40\0\0\0\xc0"}),
    ("rx-truncated", "a header longer than the packet",
     {"flags": NEXT, "options": b"\0\0\0\x40\xff\0\0\0"}),
    ("rx-truncated", "a header longer than the length says",
     {"flags": NEXT, "options": extension([(0x40, bytes(10))]), "length": 15}),
    ("rx-truncated", "a length of 0 with options", {"flags": SEQ, "length": 0}),
    ("rx-truncated", "a length that ends within the options", {"flags": SEQ, "length": 3}),
    ("rx-truncated", "a length of one byte more than there is", {"length": 45}),
    ("rx-truncated", "a length of 65535", {"length": 65535}),
    ("rx-inner-malformed", "a length of 0", {"length": 0}),
    ("rx-inner-malformed", "a length that ends with the options", {"flags": SEQ, "length": 4}),
    ("rx-inner-malformed", "a length that ends within the inner header", {"length": 19}),
    ("rx-inner-malformed", "a length of one byte less than there is", {"length": 43}),
    *(("rx-inner-protocol", f"a payload that begins with {first:#x}",
       {"inner": bytes([first]) + bytes(43)}) for first in (0, 0x35, 0x55, 0x75, 0xff)),
]


@ktap.table("{1}: {2} (over {0})", [
    (family, name, what, changes) for family in FAMILIES for name, what, changes in BAD])
def bad(test, family, name, _, changes):
    tunnel = test.bed.tunnel(PLAIN, family)
    with counts(tunnel, name):
        tunnel.peer.send(udp(tunnel, gtp(tunnel, **{"inner": pkt.inner("v4"), **changes})))


@ktap.table("{1} over {0}: {2}", [
    (family, *row) for family in FAMILIES for row in (
        ("rx-checksum", "a wrong checksum", {"chksum": 0x1234}),
        ("rx-no-checksum", "none", {"chksum": 0}),
        ("rx-ecn", "congestion that the inner sender cannot learn", {"tos": 3}))
    if (family, row[0]) != ("v4", "rx-no-checksum")])
def bad_outer(test, family, name, _, words):
    tunnel = test.bed.tunnel(PLAIN, family)
    with counts(tunnel, name):
        tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4")), **words))


CUT = [(PLAIN, {}), (PLAIN, {"flags": SEQ}),
       (CLASS, {"flags": NEXT, "options": extension([UDP_PORT, CONTAINER])})]


@ktap.table("cut off at every byte over {0}: {2}", [
    (family, *row) for family in FAMILIES for row in CUT])
def cut(test, family, words, changes):
    tunnel = test.bed.tunnel(words, family)
    whole = gtp(tunnel, pkt.inner("v4"), **changes)
    wrong_after(tunnel, [(whole[:length], "rx-truncated") for length in range(len(whole))])


@ktap.table("cut off at every byte over {0}, and the length follows: {2}", [
    (family, *row) for family in FAMILIES for row in CUT])
def cut_told(test, family, words, changes):
    tunnel = test.bed.tunnel(words, family)
    inner = pkt.inner("v4")
    whole = gtp(tunnel, inner, **changes)
    header = len(whole) - len(inner)
    rows = []
    for length in range(8, len(whole)):
        packet = whole[:2] + struct.pack("!H", length - 8) + whole[4:length]
        rows.append((packet, "rx-truncated" if length < header else "rx-inner-malformed"))
    wrong_after(tunnel, rows)


def wrong_after(tunnel, rows):
    """The right name for each packet; ends at the third wrong one."""
    wrong = []
    for data, name in rows:
        try:
            with counts(tunnel, name, alone=False):
                tunnel.peer.send(udp(tunnel, data))
        except ktap.Failed as error:
            wrong.append(f"{len(data)} bytes, {name}: {error}")
            if len(wrong) == 3:
                break
    ktap.eq(wrong, [], "wrong after cutting")


# ---- messages between nodes ----

def whole(tunnel, data, dport):
    """The packet with which the host answers, from where it was asked."""
    seen = tunnel.next()
    fields = pkt.outer_fields(seen)
    own = ({"flags": fields["df"] and "DF", "id": fields["id"]} if tunnel.family == "v4"
           else {"fl": fields["flow"]})
    expected = udp(tunnel, data, PORT, dport, src=tunnel.local, dst=tunnel.remote, **own)
    ktap.eq(seen, bytes(expected), "answer")


@ktap.table("an echo request is answered over {0}", FAMILIES)
def echo(test, family):
    g = contrib()
    tunnel = test.bed.tunnel(PLAIN, family)
    for sequence, port in ((0, PORT), (0xffff, OTHER_PORT), (0x1234, 65535)):
        with tunnel.ns.moves(tunnel.dev):
            tunnel.peer.drain()
            tunnel.peer.send(udp(tunnel, bytes(g.GTPHeader(gtp_type=ECHO, S=1, seq=sequence,
                                                           teid=0)), port))
            whole(tunnel, bytes(g.GTPHeader(gtp_type=ECHOED, S=1, seq=sequence, teid=0)
                                / g.IE_Recovery(restart_counter=0)), port)


@ktap.table("an echo request from who has no tunnel is answered over {0}", FAMILIES)
def echo_stranger(test, family):
    tunnel = stranger(test, family)
    tunnel.peer.send(udp(tunnel, message(ECHO, sequence=5), OTHER_PORT))
    whole(tunnel, message(ECHOED, b"\x0e\0", 5), OTHER_PORT)


def stranger(test, family, number=60):
    """A tunnel's end that the host does not know, for sending from it."""
    tunnel = test.bed.tunnel(PLAIN, family)
    ktap.defer(setattr, tunnel, "remote", tunnel.remote)
    tunnel.remote = {"v4": f"192.0.2.{number}", "v6": f"2001:db8::{number}"}[family]
    tunnel.peer.add(tunnel.remote)
    tunnel.peer.drain()
    return tunnel


SILENT = [
    ("an echo response", lambda t: message(ECHOED, b"\x0e\0", 3)),
    ("an echo request without sequence number", lambda t: message(ECHO, flags=0)),
    ("an echo request of 8 bytes", lambda t: message(ECHO, flags=0)[:2] + bytes(6)),
    ("an echo request to a tunnel there is not", lambda t: message(ECHO, teid=999)),
    ("an echo request that is cut off", lambda t: message(ECHO)[:11]),
    ("an echo request that says more than there is", lambda t: message(ECHO, b"\0")[:12]),
    ("an echo request of GTP'", lambda t: b"\x22" + message(ECHO)[1:]),
    ("supported extension headers", lambda t: message(SUPPORTED, b"\x8d\1\x85")),
    ("a message that is not known", lambda t: message(77)),
    ("an end marker to a tunnel there is not", lambda t: gtp(t, kind=END, teid=999)),
    ("an error indication", lambda t: message(ERROR, indication(999, t.remote))),
]


@ktap.table("no answer to {1} over {0}", [
    (family, *row) for family in FAMILIES for row in SILENT])
def silent(test, family, what, make):
    tunnel = test.bed.tunnel(PLAIN, family)
    # Of what has no TEID to read, the tunnel between these ends is the one to count.
    names = ["rx-version"] if "GTP'" in what else []
    with counts(tunnel, *names):
        tunnel.peer.send(udp(tunnel, make(tunnel)))


@ktap.table("no answer to UDP port 0 over {0}", FAMILIES)
def no_port(test, family):
    tunnel = test.bed.tunnel(PLAIN, family)
    with counts(tunnel):
        tunnel.peer.send(udp(tunnel, message(ECHO), sport=0))


@ktap.case("no answer to what was sent to many")
def many(test):
    tunnel = test.bed.tunnel(PLAIN, "v4")
    for dst in ("192.0.2.255", "255.255.255.255", "224.0.0.1"):
        with counts(tunnel):
            tunnel.peer.send(udp(tunnel, message(ECHO), dst=dst))
    tunnel = test.bed.tunnel(PLAIN, "v6")
    with counts(tunnel):
        tunnel.peer.send(udp(tunnel, message(ECHO), dst="ff02::1"))


ASKED = "encap gtp ikey 40 okey 41"


def indication(teid, end):
    data = net.packed(end)
    return struct.pack("!BIBH", TEID, teid, ADDRESS, len(data)) + data


@ktap.table("a TEID that no tunnel has is answered with an error indication over {0}: {1}", [
    (family, *row) for family in FAMILIES for row in (
        ("plain", {}), ("with a sequence number", {"flags": SEQ}),
        ("with a container", {"flags": NEXT, "options": extension([CONTAINER])}))])
def unknown(test, family, _, changes):
    g = contrib()
    tunnel = test.bed.tunnel(PLAIN, family)
    with counts(tunnel, "rx-other-key", alone=False):
        tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), teid=0xfffffffe, **changes),
                             OTHER_PORT))
        data = net.packed(tunnel.local)
        element = struct.pack("!BH", ADDRESS, len(data)) + data
        # To the port of GTP-U, whatever the packet's was.
        whole(tunnel, bytes(g.GTP_U_Header(gtp_type=ERROR, S=1, teid=0)
                            / g.IE_TEIDI(TEIDI=0xfffffffe) / element), PORT)


@ktap.table("an error indication to who has no tunnel over {0}", FAMILIES)
def unknown_stranger(test, family):
    tunnel = stranger(test, family)
    tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), teid=997)))
    whole(tunnel, message(ERROR, indication(997, tunnel.local)), PORT)


@ktap.table("no error indication about the TEID of another peer's tunnel over {0}", FAMILIES)
def known_stranger(test, family):
    tunnel = test.bed.tunnel(ASKED, family)
    other = stranger(test, family, 66)
    other.peer.drain()
    with tunnel.ns.moves(tunnel.dev, rx_other_peer=1):
        other.peer.send(udp(other, gtp(other, pkt.inner("v4"), teid=40)))
        other.peer.send(udp(other, message(ECHO, sequence=7)))
        ktap.eq(answer_to(other), message(ECHOED, b"\x0e\0", 7), "sent first")


@ktap.table("no error indication about the TEID of a tunnel that is down over {0}", FAMILIES)
def known_down(test, family):
    tunnel = test.bed.tunnel(ASKED, family)
    tunnel.ns.ip(f"link set {tunnel.dev} down")
    ktap.defer(tunnel.ns.ip, f"link set {tunnel.dev} up")
    tunnel.peer.drain()
    with tunnel.ns.moves(tunnel.dev):
        tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), teid=40)))
        tunnel.peer.send(udp(tunnel, message(ECHO, sequence=7)))
        ktap.eq(answer_to(tunnel), message(ECHOED, b"\x0e\0", 7), "sent first")


@ktap.table("no error indication over {0}: {1}", [
    (family, *row) for family in FAMILIES for row in (
        ("TEID 0", "rx-other-key", {"teid": 0}),
        ("a length that is not there", "rx-other-key", {"teid": 998, "length": 45}),
        ("a packet cut off", None, {"teid": 998, "flags": NEXT, "options": b"\0\0\0\x85"}))])
def no_indication(test, family, _, name, changes):
    tunnel = test.bed.tunnel(PLAIN, family)
    inner = b"" if "options" in changes and len(changes["options"]) == 4 else pkt.inner("v4")
    with counts(tunnel, *([name] if name else [])):
        tunnel.peer.send(udp(tunnel, gtp(tunnel, inner, **changes)))


# ---- headers that have to be understood ----

# Section 7.2.3: what is understood, a number of one byte, and so many types of one byte.
UNDERSTOOD = bytes([HEADER_TYPES, 1, 0x85])
NOT_UNDERSTOOD = [
    *((f"extension header {each[0]:#x}", [each]) for each in REQUIRED),
    ("PDCP PDU number 0xc0 behind known headers", [UDP_PORT, CONTAINER, (0xc0, b"\x12\x34")]),
    ("one that is longer, behind one that is", [(0x20, bytes(30)), (0x84, bytes(26))]),
    ("the ninth", [UDP_PORT] * 8 + [(0xc0, bytes(2))]),
]


@ktap.table("{1} is answered with the headers that are understood over {0}", [
    (family, *row) for family in FAMILIES for row in NOT_UNDERSTOOD])
def not_understood(test, family, _, kinds):
    tunnel = test.bed.tunnel(PLAIN, family)
    with counts(tunnel, "rx-option", alone=False):
        tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), flags=NEXT,
                                         options=extension(kinds)), OTHER_PORT))
        whole(tunnel, message(SUPPORTED, UNDERSTOOD), PORT)


@ktap.table("{1} to a tunnel there is not is answered likewise over {0}", [
    (family, *row) for family in FAMILIES for row in NOT_UNDERSTOOD[-3:]])
def not_understood_stranger(test, family, _, kinds):
    tunnel = stranger(test, family, 67)
    tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), teid=995, flags=NEXT,
                                     options=extension(kinds))))
    whole(tunnel, message(SUPPORTED, UNDERSTOOD), PORT)


@ktap.table("no answer about a header over {0}: {1}", [
    (family, *row) for family in FAMILIES for row in (
        ("a wrong checksum", {}, {"chksum": 0x1234}),
        ("a length that is not there", {"length": 65}, {}))])
def no_notification(test, family, _, changes, outer):
    tunnel = test.bed.tunnel(PLAIN, family)
    with counts(tunnel, "rx-option"):
        tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), flags=NEXT,
                                         options=extension(REQUIRED[:1]), **changes), **outer))


@ktap.case("tshark reads the headers that are understood")
def understood_tshark(test):
    tunnel = test.bed.tunnel(PLAIN, "v4")
    tunnel.peer.drain()
    tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), flags=NEXT,
                                     options=extension(REQUIRED[:1]))))
    names = ("gtp.message", "gtp.teid", "gtp.flags.s", "_ws.expert.severity")
    ktap.eq(capture.tshark_fields([tunnel.next()], *names), [[["0x1f"], ["0x00000000"], ["1"], []]],
            ", ".join(names))


LIMITED = {
    "error indications": ({}, lambda tunnel: message(ERROR, indication(996, tunnel.local))),
    "answers about headers": ({"flags": NEXT, "options": extension(REQUIRED[:1])},
                              lambda tunnel: message(SUPPORTED, UNDERSTOOD)),
}


@ktap.table("{1} have the limits of ICMP errors over {0}", [
    (family, what) for family in FAMILIES for what in LIMITED])
def limited(test, family, what):
    changes, answer = LIMITED[what]
    tunnel = stranger(test, family, 65 if "flags" in changes else 64)
    name = {"v4": "net.ipv4.icmp_ratelimit", "v6": "net.ipv6.icmp.ratelimit"}[family]
    tunnel.ns.sysctl({name: 10000})
    ktap.defer(tunnel.ns.sysctl, {name: 0})
    packet = bytes(udp(tunnel, gtp(tunnel, pkt.inner("v4"), teid=996, **changes)))
    for _ in range(200):
        tunnel.peer.send(packet)
    tunnel.peer.send(udp(tunnel, message(ECHO, sequence=9)))
    seen = []
    while (one := answer_to(tunnel)) != message(ECHOED, b"\x0e\0", 9):
        ktap.eq(one, answer(tunnel), "answer")
        seen.append(one)
    ktap.true(1 <= len(seen) <= 50, f"{len(seen)} answers to 200 packets")


# ---- error indications that come ----

def told(tunnel):
    """Whether the sender of a packet is told of an error that holds."""
    before = tunnel.ns.counters(tunnel.dev)["err-again"]
    inner = pkt.inner("v4")
    tunnel.peer.drain()
    tunnel.route(inner)
    tunnel.next()
    return tunnel.ns.counters(tunnel.dev)["err-again"] - before


def good_sign(tunnel):
    """A packet from the peer: whatever was wrong is no more."""
    tunnel.into(udp(tunnel, gtp(tunnel, pkt.inner("v4"))))


@ktap.table("an error indication about our packets is host unreachable over {0}", FAMILIES)
def indicated(test, family):
    tunnel = test.bed.tunnel(ASKED, family)
    good_sign(tunnel)
    ktap.eq(told(tunnel), 0, "errors before")
    with tunnel.ns.moves(tunnel.dev, err_unknown_key=1):
        tunnel.peer.send(udp(tunnel, message(ERROR, indication(41, tunnel.remote)), OTHER_PORT))
    ktap.eq(told(tunnel), 1, "errors while it holds")
    ktap.eq(told(tunnel), 1, "errors for the next packet")
    good_sign(tunnel)
    ktap.eq(told(tunnel), 0, "errors after a packet from the peer")


@ktap.table("an error indication with {1} is understood over {0}", [
    (family, *row) for family in FAMILIES for row in (
        ("a UDP port", lambda body: struct.pack("!BBHIHBB", 0x36, ERROR, 8 + len(body), 0, 0, 0,
                                                0x40) + b"\1\x08\x68\0" + body),
        ("elements in another order", lambda body: message(ERROR, body[5:] + body[:5])),
        ("a recovery counter before", lambda body: message(ERROR, b"\x0e\0" + body)),
        ("a private extension behind", lambda body: message(ERROR, body + b"\xff\0\3\0\1\2")),
        ("half an element behind", lambda body: message(ERROR, body + b"\xff\0\3\0")))])
def indicated_so(test, family, _, make):
    tunnel = test.bed.tunnel(ASKED, family)
    good_sign(tunnel)
    with tunnel.ns.moves(tunnel.dev, err_unknown_key=1):
        tunnel.peer.send(udp(tunnel, make(indication(41, tunnel.remote))))
    ktap.eq(told(tunnel), 1, "errors while it holds")
    good_sign(tunnel)


@ktap.table("an error indication is not for us over {0}: {1}", [
    (family, *row) for family in FAMILIES for row in (
        ("another TEID", lambda t: message(ERROR, indication(40, t.remote))),
        ("TEID 0", lambda t: message(ERROR, indication(0, t.remote))),
        ("another end", lambda t: message(ERROR, indication(41, t.local))),
        ("an end of the other family", lambda t: message(ERROR, indication(
            41, {"v4": "2001:db8::2", "v6": "192.0.2.2"}[t.family]))),
        ("no TEID", lambda t: message(ERROR, indication(41, t.remote)[5:])),
        ("no end", lambda t: message(ERROR, indication(41, t.remote)[:5])),
        ("no sequence number", lambda t: message(ERROR, indication(41, t.remote), flags=0)),
        ("in a tunnel", lambda t: message(ERROR, indication(41, t.remote), teid=7)),
        ("an element that has no known length", lambda t: message(
            ERROR, b"\x11\0\0\0\0" + indication(41, t.remote))))])
def not_for_us(test, family, _, make):
    tunnel = test.bed.tunnel(ASKED, family)
    good_sign(tunnel)
    with counts(tunnel):
        tunnel.peer.send(udp(tunnel, make(tunnel)))
    ktap.eq(told(tunnel), 0, "errors afterwards")


@ktap.table("an error indication cut off at every byte is not understood over {0}", FAMILIES)
def indication_cut(test, family):
    tunnel = test.bed.tunnel(ASKED, family)
    data = message(ERROR, indication(41, tunnel.remote))
    for length in range(12, len(data)):
        part = data[:2] + struct.pack("!H", length - 8) + data[4:length]
        with tunnel.ns.moves(tunnel.dev):
            tunnel.peer.send(udp(tunnel, part))
            good_sign(tunnel)
            ktap.eq(told(tunnel), 0, f"errors after {length} bytes")


@ktap.table("an error indication from another address changes nothing over {0}", FAMILIES)
def indicated_by_stranger(test, family):
    tunnel = test.bed.tunnel(ASKED, family)
    good_sign(tunnel)
    other = {"v4": "192.0.2.61", "v6": "2001:db8::61"}[family]
    with counts(tunnel):
        for end in (other, tunnel.remote):
            tunnel.peer.send(udp(tunnel, message(ERROR, indication(41, end)), src=other))
    ktap.eq(told(tunnel), 0, "errors afterwards")


@ktap.table("with remote any an error indication is counted and no more over {0}", FAMILIES)
def indicated_any(test, family):
    tunnel = test.bed.tunnel("encap gtp ikey 42 okey 43", family)
    tunnel.set("remote any")
    ktap.defer(tunnel.set, f"remote {tunnel.remote}")
    with tunnel.ns.moves(tunnel.dev, err_unknown_key=1):
        tunnel.peer.send(udp(tunnel, message(ERROR, indication(43, tunnel.remote))))
    tunnel.set(f"remote {tunnel.remote}")
    ktap.eq(told(tunnel), 0, "errors afterwards")


@ktap.table("icmp-relay off over {0}: senders are not told of an error indication", FAMILIES)
def indicated_off(test, family):
    tunnel = test.bed.tunnel("encap gtp ikey 44 okey 45 icmp-relay off", family)
    with tunnel.ns.moves(tunnel.dev, err_unknown_key=1):
        tunnel.peer.send(udp(tunnel, message(ERROR, indication(45, tunnel.remote))))
    ktap.eq(told(tunnel), 0, "errors afterwards")


errors.register([(words, sender) for words in (PLAIN, CLASS) for sender in ("IPv4", "IPv6")],
                lambda test: test.bench)


# ---- configuration ----

REFUSED = [
    ("encap gtp", "key: encapsulation gtp needs one"),
    ("encap gtp ikey 1", "okey: encapsulation gtp needs one"),
    ("encap gtp key 0", "key: 0 is not in the range of gtp, 1 to 4294967295"),
    ("encap gtp ikey 1 okey 0", "okey: 0 is not in the range of gtp, 1 to 4294967295"),
    ("encap gtp key 1 payload eth", "payload: encapsulation gtp does not carry eth"),
    ("encap gtp key 1 csum", "csum: encapsulation gtp has no use for it; say nocsum"),
    ("encap gtp key 1 oseq", "oseq: encapsulation gtp has no use for it; say nooseq"),
    ("encap gtp key 1 pdu uplink",
     "pdu: only packets with a qfi tell it; give one, or say pdu downlink"),
    ("encap gre qfi 3", "qfi: encapsulation gre has no use for it"),
    ("encap vxlan key 1 qfi 0", "qfi: encapsulation vxlan has no use for it"),
    ("encap gre pdu uplink", "pdu: encapsulation gre has no use for it"),
]


def refusal(ns, line):
    """What the kernel says of a line; ip(8) ends it with a stop."""
    said, = ns.refused(line)
    return said and said.rstrip(".")


@ktap.table("refused: {0}", REFUSED)
def refused(test, words, text):
    said = refusal(test.hosts.a, f"link add r0 type xtun {words} remote 192.0.2.9")
    ktap.eq(said, text, "what the kernel says")


@ktap.case("the port is for one encapsulation")
def port(test):
    a, _ = both_ends(test, "encap gtp key 5", "v4")
    said = refusal(a, "link add r0 type xtun encap vxlan key 1 dport 2152 remote 192.0.2.9")
    ktap.eq(said, "dport: t0 has port 2152 for another encapsulation", "what the kernel says")


@ktap.case("the port of the in-tree driver is not taken away")
def port_taken(test):
    net.need_modules("gtp")
    b = test.hosts.b
    in_tree(b, "g0", b.v4, test.hosts.a.v4, [])
    said = refusal(b, f"link add r0 type xtun encap gtp key 1 local {b.v4} remote 192.0.2.9")
    ktap.eq(said, "dport: gtp_encap_recv [gtp] has port 2152", "what the kernel says")


@ktap.table("{0} is printed as it was said", [
    "encap gtp payload ip local 192.0.2.1 remote 192.0.2.9 key 1 dport 2152",
    "encap gtp payload ip local 192.0.2.1 remote 192.0.2.9 ikey 1 okey 2 dport 2152 qfi 0",
    "encap gtp payload ip local 192.0.2.1 remote 192.0.2.9 key 1 sport 2152 dport 2152 "
    "qfi 63 pdu uplink"])
def printed(test, words):
    a = test.hosts.a
    a.ip(f"link add r0 type xtun {words}")
    ktap.defer(a.ip, "link del r0")
    ktap.contains(" ".join(a.check("tunctl", "show", "r0").split()), words, "tunctl show")
    ktap.contains(" ".join(a.check("ip", "-d", "link", "show", "r0").split()), words, "ip -d link")


@ktap.case("qfi goes with encap gtp only, on a live device too")
def changed(test):
    a = test.hosts.a
    a.ip("link add r0 type xtun encap gtp key 1 qfi 5 remote 192.0.2.9")
    ktap.defer(a.ip, "link del r0")
    ktap.eq(refusal(a, "link set r0 type xtun encap gre qfi none"),
            "qfi: encapsulation gre has no use for it", "what the kernel says")
    for words, qfi in (("encap gtp", 5), ("encap gre", None), ("encap gtp", None)):
        a.ip(f"link set r0 type xtun {words}")
        ktap.eq(a.tunctl("show", "r0")[0]["conf"].get("qfi"), qfi, f"qfi after {words}")


# ---- tshark ----

LAYER = {"v4": "ip", "v6": "ipv6"}


@ktap.case("tshark takes the packets apart without a warning")
def tshark(test):
    if not shutil.which("tshark"):
        ktap.skip("there is no tshark here")
    packets, layers = [], []
    for family in FAMILIES:
        begin = f"raw:{LAYER[family]}:udp:gtp"
        # What comes from another port it does not take for GTP.
        for words in ("key 50 sport 2152", "key 51 qfi 9 sport 2152",
                      "key 52 qfi 9 pdu uplink sport 2152"):
            tunnel = test.bed.tunnel(f"encap gtp {words}", family)
            for kind in FAMILIES:
                packets.append(tunnel.out(pkt.inner(kind)))
                layers.append(f"{begin}:{LAYER[kind]}:udp:data")
        tunnel.peer.drain()
        tunnel.peer.send(udp(tunnel, message(ECHO, sequence=7)))
        packets.append(tunnel.next())
        tunnel.peer.send(udp(tunnel, gtp(tunnel, pkt.inner("v4"), teid=997)))
        packets.append(tunnel.next())
        layers += [begin] * 2
    seen = capture.tshark_fields(packets, "frame.protocols", "_ws.expert.message")
    ktap.eq([row[0][0] for row in seen], layers, "layers")
    ktap.eq([row[1] for row in seen], [[]] * len(layers), "what it has to say")


ktap.main(setup)
