#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# mss: SYN and SYN-ACK ask for no longer segments than fit, in both directions;
# whatever else comes is as it was, to the last bit.
import functools
import socket
import struct

from lib import capture, ktap, net, pkt
from lib.bed import Bed

FAMILIES = ("v4", "v6")
INNER = {"v4": 40, "v6": 60}            # of IP and TCP, as RFC 6691 counts
ALL = "encap gre key 7 csum seq"
NVGRE = "encap nvgre key 5000"
# wording: fields of the GRE header, as pkt.gre() takes them; bytes between the
# outer and the inner IP header.
KINDS = {
    "encap ip": (None, 0),
    ALL: ({"key": 7, "csum": True, "seq": 0}, 16),
    "encap gre payload eth": ({}, 4 + 14),
    NVGRE: ({"key": 5000 << 8}, 8 + 14),
}
BOTH = [(words, family) for words in KINDS for family in FAMILIES]
EACH = list(zip(KINDS, ("v4", "v6", "v6", "v4")))
SYN, SYN_ACK = "S", "SA"
NARROW = 1400
N = 1000


class Lab:
    """The topologies, each made when first needed."""

    def __init__(self):
        net.load_module()

    @functools.cached_property
    def bed(self):
        with ktap.for_file():
            return Bed()

    @functools.cached_property
    def path(self):
        """Segments are as long as their ends have agreed, without more options."""
        with ktap.for_file():
            path = net.path()
        for host in (path.a, path.b):
            host.sysctl({"net.ipv4.tcp_timestamps": 0})
        return path


def setup():
    return Lab()


def auto(words, family, inner, outer=1500):
    """What a segment may carry in an outer packet of so many bytes."""
    return outer - pkt.IP_LEN[family] - KINDS[words][1] - INNER[inner]


# ---- packets ----

def option(mss):
    return struct.pack("!BBH", 2, 4, mss)


def segment(inner, options, letters=SYN, data=b""):
    """A TCP segment with these bytes of options, checksum and all."""
    options += bytes(-len(options) % 4)
    header = pkt.TCP(sport=40000, dport=80, seq=0x01020304, flags=letters,
                     dataofs=5 + len(options) // 4)
    whole = packet(inner, header / (options + data))
    return whole[pkt.outer_fields(whole)["header"]:]


def packet(inner, body, proto=6, **fields):
    src, dst = pkt.INNER[inner]
    return bytes(pkt.ip(inner, src, dst, body, proto=proto, **fields))


@functools.lru_cache(None)
def syn(inner, mss, letters=SYN, tags=None):
    """A packet with a Linux host's options; tags: a frame with so many."""
    rest = bytes.fromhex("0402080a000000010000000001030307")
    whole = packet(inner, segment(inner, option(mss) + rest, letters))
    return whole if tags is None else framed(whole, tags)


def framed(whole, tags=0):
    ether = pkt.frame(pkt.IP(whole) if pkt.version(whole) == "v4" else pkt.IPv6(whole))
    return ether[:12] + b"\x81\0\0\5" * tags + ether[12:14] + whole


def encapsulated(tunnel, whole):
    """The packet that the tunnel's peer sends (scapy)."""
    fields, _ = KINDS[tunnel.words.partition(" mss")[0]]
    if fields is None:
        return tunnel.outer(whole, pkt.PROTOCOL[pkt.version(whole)])
    if "seq" in fields:
        tunnel.sequence += 1
        fields = {**fields, "seq": tunnel.sequence}
    kind = "eth" if tunnel.eth else pkt.version(whole)
    return tunnel.outer(pkt.gre(kind, whole, **fields), pkt.GRE_PROTO)


def goes_out(tunnel, sent, expected, what):
    seen = tunnel.out(sent)
    ktap.eq(seen[-len(expected):], expected, f"{what}, out")
    fields, between = KINDS[tunnel.words.partition(" mss")[0]]
    ktap.eq(len(seen) - len(expected),
            pkt.IP_LEN[tunnel.family] + between - (14 if tunnel.eth else 0), f"{what}: headers")
    if fields and "csum" in fields:
        ktap.eq(pkt.ones_sum(seen[pkt.IP_LEN[tunnel.family]:]), 0xffff, f"{what}: GRE checksum")


def comes_in(tunnel, sent, expected, what):
    ktap.eq(tunnel.into(encapsulated(tunnel, sent)), expected, f"{what}, in")


def both_ways(tunnel, sent, expected, what):
    """Out and in, the packet becomes what is expected; nothing is dropped."""
    with tunnel.ns.moves(tunnel.dev):
        goes_out(tunnel, sent, expected, what)
        comes_in(tunnel, sent, expected, what)


def clamped(tunnel, inner, most, asked, tags=None):
    """Who asks for so much gets no more than most."""
    for mss, letters in zip(asked, (SYN, SYN_ACK) * len(asked)):
        both_ways(tunnel, syn(inner, mss, letters, tags),
                  syn(inner, min(mss, most), letters, tags),
                  f"{inner} {letters} {mss}, {tags} tags")


# ---- what fits ----

@ktap.table("{0} over {1}: mss {2}", [
    *((*row, "auto") for row in BOTH), *((*row, N) for row in EACH)])
def lowered(lab, words, family, mss):
    tunnel = lab.bed.tunnel(f"{words} mss {mss}", family)
    for inner in FAMILIES:
        most = auto(words, family, inner) if mss == "auto" else N
        clamped(tunnel, inner, most, (9000, most + 1, most, 200), 0 if tunnel.eth else None)
        for tags in (1, 2) if tunnel.eth else ():
            # A tag takes of the path what is not in the device's MTU.
            room = most - 4 * tags if mss == "auto" else N
            clamped(tunnel, inner, room, (room + 1, room), tags)


def ask_a_lot(tunnel, expected, what):
    """SYNs of both families go and come with what is expected."""
    for inner in FAMILIES:
        tags = 0 if tunnel.eth else None
        both_ways(tunnel, syn(inner, 9000, SYN, tags),
                  syn(inner, expected[inner], SYN, tags), what)


def fits(words, family, outer=1500):
    return {inner: auto(words, family, inner, outer) for inner in FAMILIES}


def same(mss):
    return dict.fromkeys(FAMILIES, mss)


@ktap.table("{0} over {1}: off, auto and a number on a live device", EACH)
def live(lab, words, family):
    tunnel = lab.bed.tunnel(words, family)
    ktap.defer(tunnel.set, "mss off")
    ask_a_lot(tunnel, same(9000), "without a word")
    for change, expected in (("mss auto", fits(words, family)), ("mss 1111", same(1111)),
                             ("ttl 33", same(1111)), ("mss 65534", same(9000)),
                             ("mss 536", same(536)), ("mss off", same(9000))):
        tunnel.set(change)
        ask_a_lot(tunnel, expected, change)


@ktap.table("{0} over {1}: auto follows the path, as errors tell of it", EACH)
def follows(lab, words, family):
    tunnel = lab.bed.tunnel(f"{words} mss auto mtu 1500", family)
    # With the route goes what was learned about it.
    line = f"route {{}} {tunnel.remote} dev under0 mtu 1500"
    tunnel.ns.ip(line.format("add"))
    ktap.defer(tunnel.ns.ip, line.format("del"))
    ask_a_lot(tunnel, fits(words, family), "before")
    data = bytes(1500 - pkt.IP_LEN[family] - KINDS[words][1] - 28)
    sent = tunnel.out(pkt.inner("eth-v4" if tunnel.eth else "v4", data=data))
    tunnel.peer.send(too_big(tunnel, sent, NARROW))
    ktap.wait_for(lambda: tunnel.ns.peer_mtu(tunnel.remote) == NARROW, "a path MTU", 20)
    ask_a_lot(tunnel, fits(words, family, NARROW), "after")


def too_big(tunnel, quote, mtu):
    src, dst = tunnel.peer.address(tunnel.family), tunnel.local
    if tunnel.family == "v4":
        return pkt.ip("v4", src, dst, pkt.ICMP(type=3, code=4, nexthopmtu=mtu) / quote[:548])
    return pkt.ip("v6", src, dst, pkt.ICMPv6PacketTooBig(mtu=mtu) / quote[:1232])


@ktap.table("{0} over {1}: auto is no more than the device's MTU leaves", EACH)
def device(lab, words, family):
    tunnel = lab.bed.tunnel(f"{words} mss auto", family)
    ktap.defer(tunnel.set, "mtu auto")
    tunnel.set("mtu 1300")
    ask_a_lot(tunnel, {"v4": 1260, "v6": 1240}, "mtu 1300")
    # Nor so little that no host would have it.
    tunnel.set("mtu 68")
    tags = 0 if tunnel.eth else None
    comes_in(tunnel, syn("v4", 9000, SYN, tags), syn("v4", 88, SYN, tags), "mtu 68")


@ktap.table("encap ip over {0}, remote any: auto is what fits to each peer", FAMILIES)
def any_peer(lab, family):
    tunnel = lab.bed.tunnel("encap ip mss auto", family)
    other = tunnel.remote
    tunnel.set("remote any")
    ktap.defer(tunnel.set, f"remote {other}")
    for remote, mtu in ((tunnel.peer.address(family), NARROW), (other, 1300)):
        tunnel.ns.ip(f"route add {remote} dev under0 mtu {mtu}")
        ktap.defer(tunnel.ns.ip, f"route del {remote} dev under0")
        ktap.defer(setattr, tunnel, "remote", other)
        tunnel.remote = remote
        for inner in FAMILIES:
            comes_in(tunnel, syn(inner, 9000),
                     syn(inner, auto("encap ip", family, inner, mtu)), f"{inner} from {remote}")


# ---- other options ----

HIGH, LOW = option(9000), option(N)
SACK, STAMP, SCALE, NOP = b"\4\2", bytes.fromhex("080a0000000100000000"), b"\3\3\7", b"\1"
UNKNOWN = b"\xfd\5abc"

# The MSS in each of them is lowered.
LOWERED = {
    "alone": HIGH,
    "before others": HIGH + SACK + STAMP + NOP + SCALE,
    "behind others": SACK + STAMP + NOP + SCALE + HIGH,
    "at an odd byte": NOP + HIGH,
    "at an even byte that is no word's first": NOP + NOP + HIGH,
    "at an odd byte behind others": SCALE + HIGH + SACK,
    "behind an unknown one": UNKNOWN + HIGH,
    "at the end of 40 bytes": STAMP * 3 + UNKNOWN + NOP + HIGH,
    "twice, one at an odd byte": HIGH + SCALE + HIGH,
    "behind one of a wrong length": b"\2\3\1" + HIGH,
    "before one of length 0": HIGH + b"\3\0\1\1",
    "before one that is cut off": HIGH + b"\1\1\1\3",
    "with MD5": HIGH + b"\x13\x12" + bytes(16),
    "of 65535": option(65535),
    "of 1 more": option(N + 1),
}
# These stay as they are.
KEPT = {
    "no options": b"",
    "no MSS": SACK + STAMP + NOP + SCALE,
    "nothing but NOPs": NOP * 40,
    "an MSS of 0": option(0),
    "an MSS that fits": option(N),
    "an MSS that fits, at an odd byte": NOP + option(N - 1),
    "an MSS behind the end of options": b"\0\4\1\1" + HIGH,
    "an MSS behind one of length 0": b"\3\0" + HIGH,
    "an MSS behind one of length 1": NOP + b"\xfd\1" + HIGH,
    "an MSS behind one that is too long": b"\xfd\x0b" + NOP * 2 + HIGH,
    "an MSS inside of another option": b"\xfd\6" + HIGH,
    "an MSS of length 0": b"\2\0\xff\xff",
    "an MSS of length 1": b"\2\1\xff\xff",
    "an MSS of length 2": b"\2\2\1\1",
    "an MSS of length 3": b"\2\3\xff\1",
    "an MSS of length 5": b"\2\5\xff\xff\xff",
    "an MSS of length 255": b"\2\xff\xff\xff",
    "an MSS without a length": NOP * 3 + b"\2",
    "an MSS that is cut off": NOP + b"\2\4\xff",
    "an MSS under TCP-AO": HIGH + b"\x1d\x10" + bytes(14),
}


def number_tunnel(lab):
    return lab.bed.tunnel(f"encap gre payload eth mss {N}", "v4")


def frames_both_ways(lab, sent, expected, what):
    both_ways(number_tunnel(lab), framed(sent), framed(expected), what)


@ktap.table("the MSS is lowered {0}", sorted(LOWERED))
def options_lowered(lab, what):
    before = LOWERED[what]
    after = LOW if len(before) == 4 else before.replace(HIGH, LOW)
    for inner in FAMILIES:
        sent, expected = (packet(inner, segment(inner, options, data=b"odd"))
                          for options in (before, after))
        ktap.eq(pkt.bad_checksums(expected), [], "scapy's checksums")
        frames_both_ways(lab, sent, expected, inner)


@ktap.table("left alone: {0}", sorted(KEPT))
def options_kept(lab, what):
    for inner in FAMILIES:
        sent = packet(inner, segment(inner, KEPT[what], data=b"odd"))
        frames_both_ways(lab, sent, sent, inner)


# ---- other packets ----

def put(data, place, value):
    return data[:place] + value + data[place + len(value):]


def short_total(inner):
    """The IP header ends the packet before the option does; more bytes follow."""
    whole = packet(inner, segment(inner, HIGH + NOP * 4))
    place, count = (2, 42) if inner == "v4" else (4, 22)
    return put(whole, place, struct.pack("!H", count))


def doff(number):
    return lambda inner: packet(inner, put(
        segment(inner, HIGH + NOP * 4), 12, bytes([number << 4])))


def cut(count):
    return lambda inner: packet(inner, segment(inner, HIGH + NOP * 4)[:count])


def flags(letters):
    return lambda inner: packet(inner, segment(inner, HIGH, letters, b"data"))


def later_fragment(inner):
    body = segment(inner, HIGH)
    if inner == "v4":
        return packet(inner, body, frag=20, flags="MF")
    return packet(inner, b"\6\0" + struct.pack("!HI", 20 << 3 | 1, 7) + body, 44)


def authenticated(inner):
    header = b"\6\4" + bytes(22)
    return packet(inner, header + segment(inner, HIGH), 51)


OTHERS = {
    "an ACK with such an option": flags("A"),
    "data": flags("PA"),
    "a RST": flags("RA"),
    "a SYN with RST": flags("SR"),
    "a SYN with FIN": flags("SF"),
    "UDP that looks like a SYN": lambda inner: packet(inner, segment(inner, HIGH), 17),
    "a later fragment": later_fragment,
    "a SYN under an authentication header": authenticated,
    "a TCP header of 16 bytes": doff(4),
    "a TCP header that is longer than the packet": doff(15),
    "a TCP header that is longer than the IP packet": short_total,
    "a packet that ends in the option": cut(23),
    "a packet that ends before the option": cut(20),
    "a packet that ends in the TCP header": cut(19),
    "a packet that ends in the ports": cut(3),
    "a packet without a TCP header": cut(0),
}


@ktap.table("left alone: {0}", sorted(OTHERS))
def others(lab, what):
    for inner in FAMILIES:
        sent = OTHERS[what](inner)
        frames_both_ways(lab, sent, sent, inner)


def behind(proto, header):
    """IPv6 with an extension header before the segment."""
    return lambda options: packet("v6", header + segment("v6", options), proto)


def with_ip_options(options):
    header = bytearray(packet("v4", b"\1\1\1\0" + segment("v4", options))[:24])
    header[0], header[10:12] = 0x46, bytes(2)
    header[10:12] = struct.pack("!H", pkt.checksum(header))
    return bytes(header) + segment("v4", options)


DEEP = {
    "IPv4 options": with_ip_options,
    "IPv4, the first fragment": lambda options: packet(
        "v4", segment("v4", options, data=bytes(24)), flags="MF"),
    "hop-by-hop options": behind(0, b"\6\0\1\4" + bytes(4)),
    "destination options": behind(60, b"\6\1\1\14" + bytes(12)),
    "a routing header": behind(43, b"\6\2\4\0" + bytes(20)),
    "a fragment header, the first fragment": behind(44, b"\6\0\0\1" + bytes(4)),
    "two extension headers": behind(0, b"\74\0\1\4" + bytes(4) + b"\6\0\1\4" + bytes(4)),
}


@ktap.table("the MSS is lowered behind {0}", sorted(DEEP))
def deep(lab, what):
    for before, after in ((HIGH, LOW), (NOP + HIGH + SCALE, NOP + LOW + SCALE)):
        frames_both_ways(lab, DEEP[what](before), DEEP[what](after), what)


@ktap.case("left alone: frames that hold no IP, or none that they say")
def no_ip(lab):
    tunnel = number_tunnel(lab)
    whole = packet("v4", segment("v4", HIGH))
    for what, frame in (
            ("another ethertype", put(framed(whole), 12, b"\x88\xb5")),
            ("three tags", framed(whole, 3)),
            ("IPv4 called IPv6", put(framed(whole), 12, b"\x86\xdd")),
            ("IPv6 called IPv4", put(framed(packet("v6", segment("v6", HIGH))), 12, b"\x08\0")),
            ("a header too short", put(framed(whole), 14, b"\x44"))):
        both_ways(tunnel, frame, frame, what)


@ktap.table("a wrong checksum of {0} stays wrong", FAMILIES)
def wrong_checksum(lab, inner):
    def spoiled(mss):
        whole = framed(packet(inner, segment(inner, option(mss))))
        place = 14 + INNER[inner] - 4           # of TCP's checksum
        return put(whole, place, struct.pack(
            "!H", (struct.unpack_from("!H", whole, place)[0] + 0x0102) % 0xffff))
    both_ways(number_tunnel(lab), spoiled(9000), spoiled(N), inner)


@ktap.case("who listens on a device sees the packet that came, not what has become of it")
def listeners(lab):
    tunnel = number_tunnel(lab)
    sent = framed(packet("v4", segment("v4", HIGH)))
    outer = bytes(encapsulated(tunnel, sent))
    inside, outside = (capture.Capture(tunnel.ns, dev) for dev in (tunnel.dev, "under0"))
    tunnel.out(sent)
    tunnel.into(outer)
    ktap.eq([frame.data for frame in inside.poll() if frame.outgoing], [sent], "sent into it")
    ktap.eq([frame.data[frame.header:] for frame in outside.poll() if not frame.outgoing],
            [outer], "come from the underlay")


# ---- connections ----

def connect(near, far, address):
    """What both ends of a new connection think is a segment."""
    listener = far.socket(net.family_of(address), socket.SOCK_STREAM)
    listener.bind((address, 0))
    listener.listen()
    client = near.socket(listener.family, socket.SOCK_STREAM)
    for sock in (client, listener):
        sock.settimeout(30)
    client.connect(listener.getsockname()[:2])
    server, _ = listener.accept()
    found = [sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) for sock in (client, server)]
    for sock in (client, server, listener):
        sock.close()
    return found


def routed(path, words, family):
    """A tunnel between the routers; only one end of it knows of mss."""
    for near, far, last, lan, setting in ((path.ingress, path.egress, 1, "b", "mss auto"),
                                          (path.egress, path.ingress, 2, "a", "mss off")):
        near.tunnel("t0", f"{words} {setting} local {getattr(near, family)} "
                          f"remote {getattr(far, family)}",
                    f"10.9.0.{last}/24", f"fd00:9::{last}/64", f"fe80::{last}/64")
        ktap.defer(near.ip, "link del t0")
        v4, v6 = path.LANS[lan]
        near.ip(f"route add {v4} via 10.9.0.{3 - last}", f"route add {v6} via fd00:9::{3 - last}")


def offloads(path, setting):
    """Whether the ends of the tunnel leave checksums to their cards."""
    for ns in (path.ingress, path.egress):
        ns.check("ethtool", "-K", "under0", "tx", setting)


@ktap.table("{0} over {1}: connections agree upon it, checksums left to a card or not", EACH)
def connection(lab, words, family):
    path = lab.path
    routed(path, words, family)
    for setting in ("on", "off"):
        offloads(path, setting)
        for inner in FAMILIES:
            most = auto(words, family, inner)
            ktap.eq(connect(path.a, path.b, getattr(path.b, inner)), [most, most],
                    f"{inner} there, offloads {setting}")
            ktap.eq(connect(path.b, path.a, getattr(path.a, inner)), [most, most],
                    f"{inner} back, offloads {setting}")
        path.ingress.ip(f"link set t0 type xtun mss {N}")
        ktap.eq(connect(path.ingress, path.b, path.b.v4), [N, N], f"own, offloads {setting}")
        path.ingress.ip("link set t0 type xtun mss auto")


ktap.main(setup)
