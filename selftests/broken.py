#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Right packets are delivered byte for byte; each kind of broken one is dropped
# under its name: exactly one counter moves, and by one.  Packets for others
# move none.
import contextlib

from lib import ktap, pkt, traffic
from lib.bed import Bed

FAMILIES = ("v4", "v6")

# Wordings, and the GRE header that a right packet for each has; None: no GRE.
IP, GRE, KEY = "encap ip", "encap gre", "encap gre key 7"
ICSUM, ISEQ = "encap gre key 8 icsum", "encap gre key 9 iseq"
ALLOW = "encap gre key 10 allow 10.9.0.0/24,fd00:9::/64"
ALLOW_IP = "encap ip allow 10.9.0.0/24,fd00:9::/64"
ETH, NVGRE = "encap gre payload eth", "encap nvgre key 0x123456"
ALL = "encap gre key 11 csum seq"
HEADER = {
    IP: None, ALLOW_IP: None, GRE: {}, ETH: {}, KEY: {"key": 7},
    ICSUM: {"key": 8, "csum": True}, ISEQ: {"key": 9, "seq": True},
    ALLOW: {"key": 10}, NVGRE: {"key": 0x12345600},
    ALL: {"key": 11, "csum": True, "seq": True},
}


def setup():
    return Bed()


def header(tunnel, **changes):
    """What a right packet has, with changes; the next sequence number."""
    fields = dict(HEADER[tunnel.words])
    if fields.get("seq"):
        tunnel.sequence += 1
        fields["seq"] = tunnel.sequence
    return {**fields, **changes}


def encapsulate(tunnel, inner, kind=None, outer=None, **changes):
    """An outer packet (scapy) of a tunnel's peer.

    kind: what the header says is inside, else what is; changes: of the GRE
    header; outer: fields of the outer one.
    """
    if kind is None:
        kind = "eth" if tunnel.eth else pkt.version(inner)
    if HEADER[tunnel.words] is None:
        return tunnel.outer(inner, pkt.PROTOCOL[kind], **(outer or {}))
    return tunnel.outer(pkt.gre(kind, inner, **header(tunnel, **changes)),
                        pkt.GRE_PROTO, **(outer or {}))


def counts(tunnel, *names):
    """Tunnel.counts() with right packets of this file."""
    return tunnel.counts(lambda inner: encapsulate(tunnel, inner), *names)


# ---- right packets ----

RIGHT = [
    # what is special: tunnel, inner, arguments of encapsulate()
    *((f"inner {kind}", words, kind, {}) for words in HEADER for kind in FAMILIES),
    *((f"a checksum ({kind})", words, kind, {"csum": True})
      for words in (GRE, KEY, ETH, ICSUM) for kind in FAMILIES),
    *((f"a sequence number ({kind})", words, kind, {"seq": 5})
      for words in (GRE, KEY, ETH, ICSUM) for kind in FAMILIES),
    # RFC 2784: bits 6 to 12 are ignored
    *((f"flag bit {bit}", GRE, "v4", fields) for bit, fields in (
        (6, {"recursion_control": 2}), (7, {"recursion_control": 1}),
        *((8 + n, {"flags": 16 >> n}) for n in range(5)))),
    ("Reserved1 that is not 0", GRE, "v4", {"csum": True, "offset": 0x1234}),
    ("an empty inner packet", IP, "v4", {"data": b""}),
    ("an odd number of bytes", ICSUM, "v4", {"data": b"odd"}),
    ("an outer TTL of 1", GRE, "v4", {"outer": {"ttl": 1}}),
    ("another DSCP outside", GRE, "v4", {"outer": {"tos": 0xb8}}),
    ("a long packet", ALL, "v6", {"data": bytes(1300)}),
]


@ktap.table("{1} over {0} takes {2}", [
    (family, words, what, kind, changes) for family in FAMILIES
    for what, words, kind, changes in RIGHT])
def right(bed, family, words, _, kind, changes):
    tunnel = bed.tunnel(words, family)
    changes = dict(changes)
    data = {"data": changes.pop("data")} if "data" in changes else {}
    inner = tunnel.inner(kind, **data)
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(encapsulate(tunnel, inner, **changes)), inner, "delivered")


@ktap.table("{1} over {0} takes a packet in outer fragments",
            [(family, words) for family in FAMILIES for words in (IP, ALL, ETH)])
def outer_fragments(bed, family, words):
    tunnel = bed.tunnel(words, family)
    inner = tunnel.inner("v6", data=bytes(range(256)) * 4)
    tunnel.delivered()
    with tunnel.ns.moves(tunnel.dev):
        tunnel.fragments(encapsulate(tunnel, inner))
        ktap.eq(tunnel.wait_delivered(), [inner], "delivered")


@ktap.case("a packet in one piece is not put together with fragments of others (RFC 6946)")
def atomic(bed):
    tunnel = bed.tunnel(GRE, "v6")
    whole, cut = tunnel.inner("v4"), tunnel.inner("v6", data=bytes(range(256)) * 4)
    alone, body = (bytes(encapsulate(tunnel, inner))[40:] for inner in (whole, cut))
    tunnel.delivered()
    with tunnel.ns.moves(tunnel.dev):
        for part, at, more in ((body[:512], 0, 1), (alone, 0, 0), (body[512:], 512, 0)):
            tunnel.send(pkt.IPv6ExtHdrFragment(nh=pkt.GRE_PROTO, offset=at // 8, m=more,
                                               id=78) / part, 44)
        ktap.eq(tunnel.wait_delivered(2), [whole, cut], "delivered")


@ktap.case("a later fragment on its way to another segment is not looked into")
def segment(bed):
    tunnel = bed.tunnel(GRE, "v6")
    route = pkt.IPv6ExtHdrRouting(nh=44, type=4, segleft=1, addresses=[tunnel.remote])
    part = pkt.IPv6ExtHdrFragment(nh=pkt.GRE_PROTO, offset=64, m=0, id=79) / bytes(64)
    with counts(tunnel):
        tunnel.send(route / part, 43)


# ---- broken GRE headers ----

def flipped(tunnel, byte, bit=1, **changes):
    """A packet with one bit of it wrong, counted from its end."""
    packet = bytearray(bytes(encapsulate(tunnel, tunnel.inner(), **changes)))
    packet[-byte] ^= bit
    return bytes(packet)


ROUTING = bytes([0, 0, 0, 0])           # RFC 1701: the null SRE
BAD_HEADER = [
    # name, what is wrong, tunnel, arguments of encapsulate()
    *(("rx-version", f"version {number}", words, {"version": number})
      for number in range(2, 8) for words in (GRE, KEY)),
    *(("rx-routing", "a routing field", words, {"routing": ROUTING})
      for words in (GRE, KEY, ETH, ALL)),
    *(("rx-flags", "flag bit 4", words, {"strict_route_source": 1})
      for words in (GRE, KEY, ETH)),
    ("rx-flags", "flag bit 5", GRE, {"recursion_control": 4}),
    *(("rx-no-checksum", "no checksum", words, {"csum": False}) for words in (ICSUM, ALL)),
    *(("rx-checksum", f"checksum {number:#x}", words, {"csum": number})
      for number in (0, 0xffff, 0x1234) for words in (GRE, ICSUM)),
    ("rx-no-sequence", "no sequence number", ISEQ, {"seq": None}),
    *(("rx-inner-protocol", f"ethertype {kind:#06x}", GRE, {"kind": kind})
      for kind in (0x0806, 0x88b5, 0x0000, 0xffff, 0x86de)),
    ("rx-inner-malformed", "an ethertype of the other family", GRE, {"kind": "v6"}),
    ("rx-inner-malformed", "a protocol of the other family", IP, {"kind": "v6"}),
    ("rx-ecn", "congestion that the inner sender cannot learn", GRE, {"outer": {"tos": 3}}),
    ("rx-ecn", "congestion that the inner sender cannot learn", IP, {"outer": {"tos": 3}}),
    # for others
    ("none", "version 1, which is PPTP", GRE, {"version": 1}),
    ("rx-other-key", "no key", KEY, {"key": None}),
    ("rx-other-key", "another key", KEY, {"key": 6}),
    ("rx-other-key", "a key that is 0", GRE, {"key": 0}),
    ("rx-other-key", "another virtual subnet", NVGRE, {"key": 0x12345700}),
    ("rx-other-key", "a checksum, which NVGRE has not", NVGRE, {"csum": True}),
    ("rx-other-key", "a sequence number, which NVGRE has not", NVGRE, {"seq": 1}),
    ("none", "an IPv4 packet instead of a frame", ETH, {"kind": "v4"}),
    ("none", "a frame instead of a packet", GRE, {"kind": "eth"}),
    ("none", "another sender", GRE, {"outer": {"src": {"v4": "192.0.2.99",
                                                       "v6": "2001:db8::99"}}}),
]


@ktap.table("{0}: {2} ({3} over {1})", [
    (name, family, what, words, changes) for family in FAMILIES
    for name, what, words, changes in BAD_HEADER])
def bad_header(bed, name, family, _, words, changes):
    tunnel = bed.tunnel(words, family)
    outer = {key: value[family] if isinstance(value, dict) else value
             for key, value in changes.get("outer", {}).items()}
    packet = encapsulate(tunnel, tunnel.inner(), **{**changes, "outer": outer})
    with counts(tunnel, *([] if name == "none" else [name])):
        tunnel.peer.send(packet)


@ktap.table("rx-checksum: {2} is wrong ({1} over {0})", [
    (family, words, *row) for family in FAMILIES for words in (GRE, ICSUM, ETH)
    for row in (("the last byte", 1), ("the inner header", 44))])
def bad_checksum(bed, family, words, _, byte):
    tunnel = bed.tunnel(words, family)
    with counts(tunnel, "rx-checksum"):
        tunnel.peer.send(flipped(tunnel, byte, csum=True))


@ktap.table("sequence numbers over {0}: old ones are dropped", FAMILIES)
def old_sequence(bed, family):
    tunnel = bed.tunnel(ISEQ, family)
    # Each is what came last when the next arrives.
    for last, old in ((100, 100), (200, 199), (300, 1), (0x7fffffff, 5)):
        arrives(tunnel, last)
        tunnel.sequence = last
        with counts(tunnel, "rx-sequence"):
            tunnel.peer.send(encapsulate(tunnel, tunnel.inner(), seq=old))
            tunnel.sequence = last


@ktap.table("sequence numbers over {0}: newer ones pass, across the end too", FAMILIES)
def new_sequence(bed, family):
    tunnel = bed.tunnel(ISEQ, family)
    # Down and up: the peer may have started anew.
    tunnel.ns.ip(f"link set {tunnel.dev} down", f"link set {tunnel.dev} up")
    for number in (1, 2, 1000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0, 1):
        arrives(tunnel, number)
    tunnel.sequence = 1
    with counts(tunnel, "rx-sequence"):
        tunnel.peer.send(encapsulate(tunnel, tunnel.inner(), seq=0xffffffff))
        tunnel.sequence = 1


def arrives(tunnel, number):
    inner = tunnel.inner(data=b"number %d" % number)
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(encapsulate(tunnel, inner, seq=number)), inner, "delivered")


# ---- frames that come back ----

@ktap.table("{1} over {0}: a frame from the device's own address is rx-own-source", [
    (family, words) for family in FAMILIES for words in (ETH, NVGRE)])
def own_source(bed, family, words):
    tunnel = bed.tunnel(words, family)
    frame = tunnel.inner()
    with counts(tunnel, "rx-own-source"):
        bed.peer.send(encapsulate(tunnel, frame[:6] + tunnel.ns.mac(tunnel.dev) + frame[12:]))
    # To it is what all else is.
    right_ = tunnel.ns.mac(tunnel.dev) + frame[6:]
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(encapsulate(tunnel, right_)), right_, "delivered")


# ---- broken payload ----

def patched(kind, *changes):
    """An inner packet with bytes replaced: place, value."""
    packet = bytearray(pkt.inner(kind))
    for place, value in changes:
        packet[place] = value
    if kind == "v4":                    # only what is said to be wrong is
        packet[10:12] = b"\0\0"
        packet[10:12] = pkt.checksum(packet[:20]).to_bytes(2, "big")
    return bytes(packet)


BAD_INNER = [
    ("version 0", "v4", (0, 0x05)), ("version 6 in IPv4", "v4", (0, 0x65)),
    ("version 15", "v4", (0, 0xf5)),
    ("a header of 0 bytes", "v4", (0, 0x40)), ("a header of 16 bytes", "v4", (0, 0x44)),
    ("a header longer than the packet", "v4", (0, 0x4f)),
    ("a length less than the header", "v4", (2, 0), (3, 19)),
    ("a length of 0", "v4", (2, 0), (3, 0)),
    ("one byte more than there is", "v4", (2, 0), (3, 45)),
    ("65535 bytes", "v4", (2, 0xff), (3, 0xff)),
    ("version 0", "v6", (0, 0x00)), ("version 4 in IPv6", "v6", (0, 0x45)),
    ("one byte more than there is", "v6", (4, 0), (5, 25)),
    ("65535 bytes", "v6", (4, 0xff), (5, 0xff)),
]


@ktap.table("rx-inner-malformed: {1}, inner {2} ({3} over {0})", [
    (family, what, kind, words, changes) for family in FAMILIES
    for words in (IP, GRE, ALL) for what, kind, *changes in BAD_INNER])
def bad_inner(bed, family, _, kind, words, changes):
    tunnel = bed.tunnel(words, family)
    with counts(tunnel, "rx-inner-malformed"):
        tunnel.peer.send(encapsulate(tunnel, patched(kind, *changes), kind=kind))


@ktap.table("allow ({0} over {1}): inner {2} from {3} is {4}", [
    (words, family, kind, source, verdict)
    for words in (ALLOW, ALLOW_IP) for family in FAMILIES
    for kind, source, verdict in (
        ("v4", "10.9.0.255", "taken"), ("v4", "10.9.1.0", "dropped"),
        ("v4", "10.8.255.255", "dropped"), ("v4", "127.0.0.1", "dropped"),
        ("v6", "fd00:9::ffff", "taken"), ("v6", "fd00:9:0:1::", "dropped"),
        ("v6", "::ffff:10.9.0.1", "dropped"))])
def allow(bed, words, family, kind, source, verdict):
    tunnel = bed.tunnel(words, family)
    inner = pkt.inner(kind, src=source)
    if verdict == "dropped":
        with counts(tunnel, "rx-not-allowed"):
            tunnel.peer.send(encapsulate(tunnel, inner))
    else:
        with tunnel.ns.moves(tunnel.dev):
            ktap.eq(tunnel.into(encapsulate(tunnel, inner)), inner, "delivered")


@ktap.table("allow any on a live device over {0}", FAMILIES)
def allow_any(bed, family):
    tunnel = bed.tunnel(ALLOW, family)
    inner = pkt.inner("v4", src="10.8.0.1")
    tunnel.set("allow any")
    ktap.eq(tunnel.into(encapsulate(tunnel, inner)), inner, "delivered")
    tunnel.set("allow 10.9.0.0/24,fd00:9::/64")
    with counts(tunnel, "rx-not-allowed"):
        tunnel.peer.send(encapsulate(tunnel, inner))


# ---- cut off ----

CUT_ROWS = [(family, words, kind) for family in FAMILIES for words in HEADER
            for kind in FAMILIES if words not in (ALLOW, ALLOW_IP)]


@ktap.table("headers cut off at every byte: {1} over {0}, inner {2}", CUT_ROWS)
def cut_headers(bed, family, words, kind):
    tunnel = bed.tunnel(words, family)
    inner = tunnel.inner(kind)
    cut_at(tunnel, inner, range(gre_length(words) + header_length(tunnel, inner)))


@ktap.table("an inner packet cut off behind its header: {1} over {0}, inner {2}", [
    row for row in CUT_ROWS if "eth" not in row[1] and "nvgre" not in row[1]])
def cut_payload(bed, family, words, kind):
    tunnel = bed.tunnel(words, family)
    inner = tunnel.inner(kind)
    start = gre_length(words)
    cut_at(tunnel, inner, range(start + header_length(tunnel, inner), start + len(inner)))


def cut_at(tunnel, inner, lengths):
    """The right name for each length; ends at the third wrong one."""
    wrong = []
    for length in lengths:
        name = cut_reason(tunnel, inner, length)
        try:
            with counts(tunnel, *([name] if name else [])):
                tunnel.peer.send(cut_packet(tunnel, inner, length))
        except ktap.Failed as error:
            wrong.append(f"{length} bytes, {name}: {error}")
            if len(wrong) == 3:
                break
    ktap.eq(wrong, [], "wrong after cutting")


def gre_length(words):
    if HEADER[words] is None:
        return 0
    return 4 + 4 * len(HEADER[words])


def header_length(tunnel, inner):
    if tunnel.eth:
        return 14
    return pkt.IP_LEN[pkt.version(inner)]


def cut_reason(tunnel, inner, length):
    if length < gre_length(tunnel.words):
        return "rx-truncated"
    if HEADER[tunnel.words] is None and length < header_length(tunnel, inner):
        # It never gets to a tunnel: the kernel's own demultiplexer of
        # protocols 4 and 41 wants a whole header.
        return None
    return "rx-inner-malformed"


def cut_packet(tunnel, inner, length):
    """So many bytes behind the outer header; the GRE checksum is right."""
    if HEADER[tunnel.words] is None:
        return tunnel.outer(inner[:length], pkt.PROTOCOL[pkt.version(inner)])
    kind = "eth" if tunnel.eth else pkt.version(inner)
    keep = max(length - gre_length(tunnel.words), 0)
    whole = bytes(pkt.gre(kind, inner[:keep], **header(tunnel)))
    return tunnel.outer(whole[:length], pkt.GRE_PROTO)


# ---- the way out ----

BAD_OUT = [
    ("tx-inner-protocol", "ARP", b"\0\1\x08\0\6\4\0\1" + bytes(20), 0x0806),
    ("tx-inner-protocol", "an unknown ethertype", bytes(40), 0x88b5),
    ("tx-inner-malformed", "19 bytes", b"\x45" + bytes(18), 0x0800),
    ("tx-inner-malformed", "1 byte", b"\x45", 0x0800),
    ("tx-inner-malformed", "IPv6 as IPv4", b"\x60" + bytes(39), 0x0800),
    ("tx-inner-malformed", "IPv4 as IPv6", b"\x45" + bytes(39), 0x86dd),
    ("tx-inner-malformed", "a header of 16 bytes", b"\x44" + bytes(39), 0x0800),
    ("tx-inner-malformed", "a header longer than the packet", b"\x4f" + bytes(39), 0x0800),
    ("tx-inner-malformed", "39 bytes", b"\x60" + bytes(38), 0x86dd),
]


@ktap.table("{0}: {2} ({3} over {1})", [
    (name, family, what, words, packet, ethertype) for family in FAMILIES
    for words in (IP, KEY) for name, what, packet, ethertype in BAD_OUT])
def bad_out(bed, name, family, _, words, packet, ethertype):
    tunnel = bed.tunnel(words, family)
    with sends_nothing(bed, tunnel, name):
        tunnel.push(packet, ethertype)


@contextlib.contextmanager
def sends_nothing(bed, tunnel, name):
    """The block moves the counter by one, and no outer packet is sent."""
    behind = bed.tunnel("encap gre key 99", tunnel.family)
    tunnel.peer.drain()
    with tunnel.ns.moves(tunnel.dev, **{name: 1}):
        yield
    behind.push(pkt.inner("v4"))
    seen = tunnel.peer.recv(lambda packet: tunnel.is_mine(packet) or behind.is_mine(packet))
    ktap.true(behind.is_mine(seen), "nothing was sent by the tunnel before")


@ktap.table("tx-no-peer: no route tells who ({0})", FAMILIES)
def no_peer(bed, family):
    tunnel = bed.tunnel("encap gre key 12", family)
    tunnel.set("remote any")
    for kind in FAMILIES:
        with sends_nothing(bed, tunnel, "tx-no-peer"):
            tunnel.push(pkt.inner(kind))


@ktap.case("tx-no-peer: the route has no gateway, or one of another family")
def no_gateway(bed):
    tunnel = bed.tunnel("encap gre key 13", "v4")
    tunnel.set("remote any")
    tunnel.ns.ip(f"addr add 10.21.0.1/24 dev {tunnel.dev}",
                 f"route add 10.22.0.0/24 via inet6 2001:db8:7::1 dev {tunnel.dev} onlink")
    for address in ("10.21.0.9", "10.22.0.9"):
        sender = traffic.udp(tunnel.ns, "10.21.0.1")
        with sends_nothing(bed, tunnel, "tx-no-peer"):
            sender.sendto(b"hello", (address, 9))


@ktap.table("tx-no-route: {1} ({0})", [
    (family, kind) for family in FAMILIES for kind in ("unreachable", "blackhole", "prohibit")])
def no_route(bed, family, kind):
    tunnel = bed.tunnel(f"encap gre key {20 + len(kind)}", family)
    tunnel.ns.ip(f"route add {kind} {tunnel.remote}")
    with sends_nothing(bed, tunnel, "tx-no-route"):
        tunnel.push(pkt.inner("v4"))
    tunnel.ns.ip(f"route del {kind} {tunnel.remote}")
    ktap.true(tunnel.out(pkt.inner("v4")), "sent once there is a route")


@ktap.table("tx-route-loop: the route to the peer is the tunnel ({1} over {0})", [
    (family, encap) for family in FAMILIES for encap in ("ip", "gre key 14")])
def route_loop(bed, family, encap):
    tunnel = bed.tunnel(f"encap {encap} ttl 63", family)
    ktap.true(tunnel.out(pkt.inner("v4")), "sent before")
    tunnel.ns.ip(f"route add {tunnel.remote} dev {tunnel.dev}")
    with sends_nothing(bed, tunnel, "tx-route-loop"):
        tunnel.push(pkt.inner("v4"))
    tunnel.ns.ip(f"route del {tunnel.remote} dev {tunnel.dev}")
    ktap.true(tunnel.out(pkt.inner("v4")), "sent after")


@ktap.table("{2}: {3} bytes, inner {1}, for 1300 of path ({0})", [
    (family, kind, *row) for family in FAMILIES for kind, *row in (
        ("v4", "tx-frag-never", {}), ("v4", "tx-too-big", {"flags": "DF"}),
        ("v6", "tx-too-big", {}))])
def too_big(bed, family, kind, name, fields):
    tunnel = bed.tunnel("encap gre key 15 frag never mtu 1500", family)
    tunnel.ns.ip(f"route replace {tunnel.remote} dev under0 mtu 1340")
    room = 1340 - pkt.IP_LEN[family] - 8
    headers = 28 if kind == "v4" else 48
    with sends_nothing(bed, tunnel, name):
        tunnel.push(pkt.inner(kind, data=bytes(room - headers + 1), **fields))
    seen = tunnel.out(pkt.inner(kind, data=bytes(room - headers), **fields))
    ktap.eq(len(seen), 1340, "what fits exactly is sent; bytes")


@ktap.table("tx-encap-limit: {0} with an inner limit of 0", [IP, GRE])
def encap_limit(bed, words):
    tunnel = bed.tunnel(f"{words} encaplimit 4", "v6")
    src, dst = pkt.INNER["v6"]
    inner = bytes(pkt.ip("v6", src, dst, pkt.dest_options(59, b"", 0), proto=60))
    # The inner sender is behind the peer's address.
    tunnel.ns.ip(f"route replace {src} via {bed.peer.v6} dev under0")
    tunnel.ns.ip(f"route replace {dst} dev {tunnel.dev}")
    with sends_nothing(bed, tunnel, "tx-encap-limit"):
        tunnel.route(inner)
        error = pkt.dissect(bed.peer.recv(lambda packet: packet[6] == 58, "an ICMPv6 error"))
    ktap.eq(error.dst, src, "who is told")
    problem = error[pkt.ICMPv6ParamProblem]
    # RFC 2473 section 4.1.1: the option's third byte, here behind 40 + 2.
    ktap.eq((problem.code, problem.ptr), (0, 44), "code and pointer")
    ktap.eq(bytes(problem)[8:], inner, "what is quoted")
    ktap.eq(pkt.bad_checksums(bytes(error)), [], "wrong checksums")


ktap.main(setup)
