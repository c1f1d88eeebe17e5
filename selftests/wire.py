#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What is on the wire: every encapsulation, underlay and payload, compared byte
# for byte with what scapy makes of the RFCs, on the way out and on the way in.
from lib import ktap, pkt, traffic
from lib.bed import Bed
from lib.net import address_line, family_of

FAMILIES = ("v4", "v6")
KEY, VSID = 0xdeadbeef, 0x123456

# wording: fields of the GRE header, as pkt.gre() takes them.  What differs
# from packet to packet, the sequence number and NVGRE's flow id, is put there
# from what was seen.
GRE = {
    "encap gre": {},
    f"encap gre key {KEY}": {"key": KEY},
    "encap gre key 0": {"key": 0},
    "encap gre csum": {"csum": True},
    "encap gre seq": {"seq": 0},
    f"encap gre key {KEY} csum": {"key": KEY, "csum": True},
    f"encap gre key {KEY} csum seq": {"key": KEY, "csum": True, "seq": 0},
}
GRE_ETH = {f"{words} payload eth": fields for words, fields in GRE.items()}
NVGRE = {f"encap nvgre key {VSID}": {"key": VSID << 8}}


def arp():
    """A frame without IP inside, shorter than any IP header's minimum."""
    return pkt.frame(pkt.ARP(hwsrc=pkt.INNER_MACS[0], psrc="10.9.0.1", pdst="10.9.0.2"),
                     dst="ff:ff:ff:ff:ff:ff")


def vlan():
    return pkt.frame(pkt.Dot1Q(vlan=5) / pkt.inner_packet("v4"))


FRAMES = {"an IPv4 frame": lambda: pkt.inner("eth-v4"),
          "an IPv6 frame": lambda: pkt.inner("eth-v6"),
          "an ARP frame": arp, "a tagged frame": vlan}
PACKETS = {"IPv4": lambda: pkt.inner("v4"), "IPv6": lambda: pkt.inner("v6")}

ROWS = [(words, fields, family, name, make)
        for encaps, payloads in (({"encap ip": None, **GRE}, PACKETS),
                                 ({**GRE_ETH, **NVGRE}, FRAMES))
        for words, fields in encaps.items()
        for family in FAMILIES
        for name, make in payloads.items()]


def encapsulated(tunnel, fields, inner, seen=None, **words):
    """The packet that scapy makes: outer header, encapsulation, inner.

    seen: what the host has sent, for what it is free to choose.
    """
    if fields is None:
        payload, proto = inner, pkt.PROTOCOL[pkt.version(inner)]
    else:
        fields = dict(fields)
        if seen:
            copy_free_fields(tunnel, fields, seen)
        kind = "eth" if tunnel.eth else pkt.version(inner)
        payload, proto = pkt.gre(kind, inner, **fields), pkt.GRE_PROTO
    return bytes(tunnel.outer(payload, proto, **words))


def copy_free_fields(tunnel, fields, seen):
    header = pkt.dissect(seen)[pkt.GRE]
    if "seq" in fields:
        fields["seq"] = header.sequence_number
    if "nvgre" in tunnel.words:
        fields["key"] |= header.key & 0xff


def outer_words(tunnel, seen):
    """Addresses as the host sends them, and the fields that it may choose."""
    words = {"src": tunnel.local, "dst": tunnel.remote}
    fields = pkt.outer_fields(seen)
    if tunnel.family == "v4":
        return {**words, "flags": "DF", "id": fields["id"]}
    return {**words, "fl": fields["flow"]}


def setup():
    return Bed()


@ktap.table("{0} over {2} sends {3}", ROWS)
def sent(bed, words, fields, family, _, make):
    tunnel, inner = bed.tunnel(words, family), make()
    seen = tunnel.out(inner)
    expected = encapsulated(tunnel, fields, inner, seen, **outer_words(tunnel, seen))
    ktap.eq(seen, expected, "packet")


@ktap.table("{0} over {2} takes {3}", ROWS)
def taken(bed, words, fields, family, _, make):
    tunnel, inner = bed.tunnel(words, family), make()
    fields = numbered(tunnel, fields)
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(encapsulated(tunnel, fields, inner)), inner, "delivered")


def numbered(tunnel, fields):
    """The fields with a sequence number later than all before."""
    if not fields or "seq" not in fields:
        return fields
    tunnel.sequence += 1
    return {**fields, "seq": tunnel.sequence}


# ---- keys ----

@ktap.table("{1} over {0}: sends key {2}, takes key {3}", [
    (family, words, okey, ikey) for family in FAMILIES
    for words, okey, ikey in (("ikey 21 okey 22", 22, 21), ("okey 23", 23, None),
                              ("ikey 24", None, 24), ("key 4294967295", 2**32 - 1, 2**32 - 1))])
def key_pair(bed, family, words, okey, ikey):
    tunnel = bed.tunnel(f"encap gre {words}", family)
    inner = pkt.inner("v4")
    header = pkt.dissect(tunnel.out(inner))[pkt.GRE]
    ktap.eq(header.key if header.key_present else None, okey, "key sent")
    takes_only(tunnel, ikey, {None, 0, 21, 22, 23, 24, 2**32 - 1} - {ikey})


@ktap.table("no key and key 0 differ over {0}", FAMILIES)
def key_zero(bed, family):
    takes_only(bed.tunnel("encap gre", family), None, {0, 1})
    takes_only(bed.tunnel("encap gre key 0", family), 0, {None, 1})


def takes_only(tunnel, key, others):
    """Packets with other keys are left to whoever wants them, and counted."""
    with tunnel.ns.moves(tunnel.dev, rx_other_key=len(others)):
        for other in others:
            tunnel.send(pkt.gre("v4", pkt.inner("v4", data=b"not yours"), key=other),
                        pkt.GRE_PROTO)
        inner = pkt.inner("v4", data=b"yours")
        ktap.eq(tunnel.into(encapsulated(tunnel, {"key": key}, inner)), inner, "delivered")


@ktap.table("nokey on a live device over {0}", FAMILIES)
def key_removed(bed, family):
    tunnel = bed.tunnel("encap gre key 77", family)
    tunnel.set("nokey")
    ktap.eq(pkt.dissect(tunnel.out(pkt.inner("v4")))[pkt.GRE].key_present, 0, "key_present")
    takes_only(tunnel, None, {77, 0})
    tunnel.set("key 78")
    ktap.eq(pkt.dissect(tunnel.out(pkt.inner("v4")))[pkt.GRE].key, 78, "key")
    takes_only(tunnel, 78, {77, None})


@ktap.table("NVGRE over {0}: a flow keeps its flow id, flows differ", FAMILIES)
def flow_id(bed, family):
    tunnel = bed.tunnel(f"encap nvgre key {VSID}", family)
    ids = {port: {flow_of(tunnel, port) for _ in range(3)} for port in pkt.PORTS[:16]}
    ktap.true(all(len(seen) == 1 for seen in ids.values()), f"one id a flow: {ids}")
    ktap.true(len(set.union(*ids.values())) > 4, f"flows differ: {ids}")


def flow_of(tunnel, port):
    seen = tunnel.out(pkt.frame(pkt.inner_packet("v4", sport=port)))
    key = pkt.dissect(seen)[pkt.GRE].key
    ktap.eq(key >> 8, VSID, "virtual subnet id")
    return key & 0xff


# ---- checksum and sequence number ----

FLAG_ROWS = [
    # words, one after the other: checksum sent, checksum demanded
    ("csum", True, True), ("nocsum", False, False),
    ("icsum", False, True), ("ocsum", True, False),
    ("csum, noicsum", True, False), ("csum, noocsum", False, True),
]


@ktap.table("{1} over {0}: checksum sent {2}, demanded {3}",
            [(family, *row) for family in FAMILIES for row in FLAG_ROWS])
def csum_words(bed, family, words, sent_one, demanded):
    tunnel = fresh(bed, family, "csum", words)
    seen = tunnel.out(pkt.inner("v6"))
    ktap.eq(bool(pkt.dissect(seen)[pkt.GRE].chksum_present), sent_one, "checksum sent")
    ktap.eq(pkt.bad_checksums(seen), [], "wrong checksums")
    refuses(tunnel, {}, demanded and "rx-no-checksum")
    refuses(tunnel, {"csum": True}, None)


@ktap.table("{1} over {0}: number sent {2}, demanded {3}",
            [(family, words.replace("csum", "seq"), *rest)
             for family in FAMILIES for words, *rest in FLAG_ROWS])
def seq_words(bed, family, words, sent_one, demanded):
    tunnel = fresh(bed, family, "seq", words)
    headers = [pkt.dissect(tunnel.out(pkt.inner("v4")))[pkt.GRE] for _ in range(3)]
    ktap.eq([bool(header.seqnum_present) for header in headers], [sent_one] * 3, "numbers sent")
    if sent_one:
        first = headers[0].sequence_number
        ktap.eq([header.sequence_number for header in headers],
                [first, first + 1, first + 2], "numbers")
    refuses(tunnel, {}, demanded and "rx-no-sequence")
    refuses(tunnel, numbered(tunnel, {"seq": 0}), None)


FLAG_KEYS = {"csum": 50, "seq": 51}


def fresh(bed, family, what, words):
    """One tunnel, told on live; first as if nothing had ever been said."""
    tunnel = bed.tunnel(f"encap gre key {FLAG_KEYS[what]}", family)
    for word in (f"no{what}", *words.split(", ")):
        tunnel.set(word)
    return tunnel


def refuses(tunnel, fields, name):
    """A packet with such a header is dropped under this name, or delivered."""
    key = int(tunnel.words.split()[-1])
    outer = encapsulated(tunnel, {"key": key, **fields}, pkt.inner("v4"))
    with tunnel.ns.moves(tunnel.dev, **({name: 1} if name else {})):
        if name:
            tunnel.peer.send(outer)
        else:
            ktap.eq(tunnel.into(outer), pkt.inner("v4"), "delivered")


# ---- the outer header ----

@ktap.table("{1} over {0}: inner {2} goes out with {3}", [
    (family, *row) for family in FAMILIES for row in (
        ("", 33, 64), ("ttl 1", 33, 1), ("ttl 255", 33, 255),
        ("ttl inherit", 33, 33), ("ttl inherit", 1, 1))])
def ttl(bed, family, words, inner_ttl, expected):
    for kind in FAMILIES:
        seen = bed.tunnel(f"encap ip {words}", family).out(pkt.inner(kind, ttl=inner_ttl))
        ktap.eq(pkt.outer_fields(seen)["ttl"], expected, f"TTL around {kind}")


@ktap.table("{1} over {0}: inner {2:#x} goes out as {3:#x}", [
    (family, *row) for family in FAMILIES for row in (
        ("", 0, 0), ("", 0xb8, 0xb8), ("", 0xb9, 0xb9), ("tos inherit", 0x28, 0x28),
        ("tos 0x50", 0xb8, 0x50), ("tos 0x50", 0xba, 0x52), ("tos 0", 0xb9, 0x01))])
def tos(bed, family, words, inner_tos, expected):
    for kind in FAMILIES:
        seen = bed.tunnel(f"encap ip {words}", family).out(pkt.inner(kind, tos=inner_tos))
        ktap.eq(pkt.outer_fields(seen)["tos"], expected, f"TOS around {kind}")


@ktap.table("{0}: inner {1}, DF {2}, goes out with DF {3}", [
    ("", "v4", 0, 1), ("", "v4", 1, 1), ("", "v6", None, 1),
    ("df set", "v4", 0, 1), ("df inherit", "v4", 0, 0), ("df inherit", "v4", 1, 1),
    ("df inherit", "v6", None, 1), ("df unset", "v4", 0, 0), ("df unset", "v4", 1, 0),
    ("df unset", "v6", None, 0)])
def df(bed, words, kind, inner_df, expected):
    flags = {"flags": "DF"} if inner_df else {}
    for encap in ("ip", "gre"):
        seen = bed.tunnel(f"encap {encap} {words}").out(pkt.inner(kind, **flags))
        ktap.eq(pkt.outer_fields(seen)["df"], expected, f"DF of {encap}")


@ktap.case("packets that may be fragmented have different identifications")
def identification(bed):
    tunnel = bed.tunnel("encap gre df unset")
    ids = [pkt.outer_fields(tunnel.out(pkt.inner("v4")))["id"] for _ in range(16)]
    ktap.eq(len(set(ids)), 16, f"different ones of {ids}")


@ktap.table("{0}: the tags of some flows do not tell those of others", [
    ("encap gre ttl 11", "v4"), ("encap gre ttl 11", "v6")])
def unlike(bed, words, family):
    """Between the tags of flows whose ports are one apart lies no constant, as it would
    with a hash that is linear in them."""
    tunnel = bed.tunnel(words, family)
    tags = []
    for port in range(2000, 2032):
        tags.append(label_of(tunnel, "v4", sport=port) if family == "v6" else
                    pkt.outer_fields(tunnel.out(pkt.inner("v4", sport=port)))["id"])
    apart = {(after - before) % (1 << (16 if family == "v4" else 20))
             for before, after in zip(tags, tags[1:])}
    ktap.true(len(apart) > 24, f"{len(apart)} differences between 32 tags")


@ktap.case("flowlabel auto: a flow keeps its label, flows differ")
def flowlabel_auto(bed):
    tunnel = bed.tunnel("encap ip", "v6")
    for kind in FAMILIES:
        labels = {port: {label_of(tunnel, kind, sport=port) for _ in range(3)}
                  for port in range(1000, 1008)}
        ktap.true(all(len(seen) == 1 for seen in labels.values()), f"one a flow: {labels}")
        ktap.true(len(set.union(*labels.values())) > 4, f"flows differ: {labels}")


@ktap.table("{0}: inner {1} label {2:#x} goes out with {3:#x}", [
    ("flowlabel 0", "v6", 0x12345, 0), ("flowlabel 0x54321", "v6", 0x12345, 0x54321),
    ("flowlabel 0xfffff", "v4", 0, 0xfffff), ("flowlabel inherit", "v6", 0x12345, 0x12345),
    ("flowlabel inherit", "v6", 0, 0)])
def flowlabel(bed, words, kind, inner_label, expected):
    fields = {"fl": inner_label} if kind == "v6" else {}
    for encap in ("ip", "gre"):
        seen = label_of(bed.tunnel(f"encap {encap} {words}", "v6"), kind, **fields)
        ktap.eq(seen, expected, f"flow label of {encap}")


def label_of(tunnel, kind, **words):
    return pkt.outer_fields(tunnel.out(pkt.inner(kind, **words)))["flow"]


# ---- RFC 2473's Tunnel Encapsulation Limit ----

def limited(limit):
    """An inner IPv6 packet that brings a limit."""
    src, dst = pkt.INNER["v6"]
    datagram = bytes(pkt.udp("v6", src, dst))[40:]
    return bytes(pkt.ip("v6", src, dst, pkt.dest_options(17, datagram, limit), proto=60))


@ktap.table("{0} {1}: inner {2} goes out with {3}", [
    (encap, *row) for encap in ("encap ip", "encap gre") for row in (
        ("", "v4", None), ("", "v6", None), ("encaplimit none", "v6", None),
        ("encaplimit 4", "v4", 4), ("encaplimit 4", "v6", 4), ("encaplimit 0", "v6", 0),
        ("encaplimit 255", "v4", 255),
        # what the inner packet brings goes before what is configured
        ("", 7, 6), ("encaplimit 4", 7, 6), ("encaplimit 4", 1, 0))])
def encaplimit(bed, encap, words, kind, expected):
    tunnel = bed.tunnel(f"{encap} {words}", "v6")
    inner = limited(kind) if isinstance(kind, int) else pkt.inner(kind)
    seen = tunnel.out(inner)
    ktap.eq(seen, with_limit(tunnel, encap, inner, expected, seen), "packet")


def with_limit(tunnel, encap, inner, limit, seen):
    kind = pkt.version(inner)
    payload, proto = inner, pkt.PROTOCOL[kind]
    if encap == "encap gre":
        payload, proto = pkt.gre(kind, inner), pkt.GRE_PROTO
    if limit is not None:
        payload, proto = pkt.dest_options(proto, payload, limit), 60
    return bytes(tunnel.outer(payload, proto, **outer_words(tunnel, seen)))


@ktap.table("{0}: destination options before the encapsulation are taken",
            ["encap ip", "encap gre", f"encap gre key {KEY} csum"])
def options_in(bed, encap):
    tunnel, inner = bed.tunnel(encap, "v6"), pkt.inner("v6")
    fields = {"encap ip": None, **GRE}[encap]
    plain = encapsulated(tunnel, fields, inner)
    outer = tunnel.outer(pkt.dest_options(plain[6], plain[40:]), 60)
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(outer), inner, "delivered")


# ---- which way ----

SECOND_MAC = bytes.fromhex("020000000002")


@ktap.table("fwmark over {0} chooses the route", FAMILIES)
def fwmark(bed, family):
    second = {"v4": "192.0.2.250", "v6": "2001:db8::250"}[family]
    tunnel = bed.tunnel("encap gre fwmark 5", family)
    tunnel.ns.ip(f"neigh replace {second} lladdr {SECOND_MAC.hex(':')} dev under0 nud permanent",
                 f"route add {tunnel.remote} via {second} dev under0 table 55")
    tunnel.ns.ip(f"-{family[1]} rule add fwmark 5 lookup 55")
    ktap.eq(gateway(tunnel), SECOND_MAC, "gateway with fwmark 5")
    tunnel.set("fwmark 6")
    ktap.eq(gateway(tunnel), tunnel.peer.mac, "gateway with fwmark 6")
    tunnel.set("fwmark 5")
    ktap.eq(gateway(tunnel), SECOND_MAC, "gateway with fwmark 5 again")
    tunnel.set("fwmark 0")
    ktap.eq(gateway(tunnel), tunnel.peer.mac, "gateway without fwmark")


def gateway(tunnel):
    """The MAC address that a packet of the tunnel goes to."""
    tunnel.peer.drain()
    tunnel.push(pkt.inner("v4"))
    return tunnel.peer.recv_frame(tunnel.is_mine)[:6]


@ktap.table("dev over {0}: out by that link, in from that link", FAMILIES)
def dev(bed, family):
    other = bed.second_link()
    tunnel = bed.tunnel("encap gre key 9", family)
    inner = pkt.inner("v4")
    header = {"key": 9}
    tunnel.ns.ip(other.neighbour_line(tunnel.remote),
                 f"route add {tunnel.remote} dev under1 metric 5000",
                 f"route add {tunnel.remote} dev under0 metric 4000")
    ktap.true(tunnel.is_mine(tunnel.out(inner)), "by the route: under0")

    tunnel.set("dev under1")
    other.drain()
    tunnel.push(inner)
    ktap.true(other.recv(tunnel.is_mine, "a packet on under1"), "by dev: under1")
    packet = encapsulated(tunnel, header, inner)
    with tunnel.ns.moves(tunnel.dev):
        tunnel.peer.send(encapsulated(tunnel, header, pkt.inner("v4", data=b"wrong link")))
        tunnel.delivered()
        other.send(packet)
        ktap.eq(tunnel.wait_delivered(), [inner], "delivered")

    tunnel.set("dev under0")
    ktap.true(tunnel.is_mine(tunnel.out(inner)), "by dev: under0")
    tunnel.set("dev none")
    for link in (tunnel.peer, other):
        link.send(packet)
        ktap.eq(tunnel.wait_delivered(), [inner], "delivered without dev")


@ktap.table("local any over {0}: the route chooses the source", FAMILIES)
def local_any(bed, family):
    tunnel = bed.tunnel("encap gre key 11", family)
    tunnel.set("local any")
    ktap.eq(pkt.outer_fields(tunnel.out(pkt.inner("v4")))["src"], tunnel.local, "source")
    with tunnel.ns.moves(tunnel.dev):
        outer = encapsulated(tunnel, {"key": 11}, pkt.inner("v4"))
        ktap.eq(tunnel.into(outer), pkt.inner("v4"), "delivered")


@ktap.table("local over {0}: another address of the host", FAMILIES)
def local_other(bed, family):
    tunnel = bed.tunnel("encap gre key 12", family)
    other = {"v4": "192.0.2.77", "v6": "2001:db8::77"}[family]
    tunnel.ns.ip(f"addr add {other}/{'32' if family == 'v4' else '128 nodad'} dev under0")
    tunnel.set(f"local {other}")
    first, tunnel.local = tunnel.local, other
    ktap.true(tunnel.out(pkt.inner("v4")), "sent from the other address")
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(encapsulated(tunnel, {"key": 12}, pkt.inner("v4"))),
                pkt.inner("v4"), "delivered")
        tunnel.send(pkt.gre("v4", pkt.inner("v4"), key=12), pkt.GRE_PROTO, dst=first)
        ktap.eq(tunnel.into(encapsulated(tunnel, {"key": 12}, pkt.inner("v6"))),
                pkt.inner("v6"), "and nothing for the first address before it")


# An inner network for each gateway.  The kernel refuses an IPv6 gateway that
# a route leads to by another device than the tunnel, unless it is the default.
GATEWAYS = {
    "v4": [("10.20.1.0/24", "10.20.1.9", "192.0.2.252"),
           ("10.20.2.0/24", "10.20.2.9", "192.0.2.253")],
    "v6": [("fd00:20:1::/64", "fd00:20:1::9", "2001:db8:9::252"),
           ("fd00:20:2::/64", "fd00:20:2::9", "2001:db8:9::253")],
}


@ktap.table("remote any over {0}: the inner route's gateway is the peer", FAMILIES)
def remote_any(bed, family):
    tunnel = bed.tunnel("encap gre key 13", family)
    tunnel.set("remote any")
    bed.peer.add("192.0.2.252", "192.0.2.253")
    tunnel.ns.ip(address_line(tunnel.dev, {"v4": "10.20.0.1/32", "v6": "fd00:20::1/128"}[family]),
                 f"route replace default via {bed.peer.v6} dev under0",
                 *(f"route add {prefix} via {gateway} dev {tunnel.dev} onlink"
                   for prefix, _, gateway in GATEWAYS[family]))
    for _, address, tunnel.remote in GATEWAYS[family]:
        bed.peer.drain()
        traffic.udp(bed.ns, family=family_of(address)).sendto(b"hello", (address, 9))
        ktap.eq(pkt.dissect(tunnel.next())[pkt.GRE].key, 13, f"key to {tunnel.remote}")
        with tunnel.ns.moves(tunnel.dev):
            ktap.eq(tunnel.into(encapsulated(tunnel, {"key": 13}, pkt.inner("v4"))),
                    pkt.inner("v4"), "delivered")


# ---- too long for the path ----

@ktap.table("frag {1} over {0}", [(family, word) for family in FAMILIES
                                  for word in ("inner", "outer")])
def frag(bed, family, word):
    tunnel = bed.tunnel(f"encap gre key 14 frag {word} mtu 1500", family)
    tunnel.ns.ip(f"route replace {tunnel.remote} dev under0 mtu 1300")
    inner = pkt.inner("v4", data=bytes(range(256)) * 5)
    tunnel.peer.drain()
    tunnel.push(inner)
    first, second = tunnel.next(), tunnel.next()
    for packet in (first, second):
        ktap.true(len(packet) <= 1300, f"{len(packet)} bytes fit in 1300")
    if word == "inner":
        ktap.eq(joined([inner_of(first), inner_of(second)]), inner[20:], "both fragments")
    else:
        ktap.eq(joined([first, second])[8:], inner, "both fragments")


def inner_of(packet):
    ktap.eq(pkt.bad_checksums(packet), [], "wrong checksums")
    fields = pkt.outer_fields(packet)
    ktap.true(not fields.get("mf") and not fields.get("frag"), "a whole outer packet")
    return packet[fields["header"] + 8:]


def joined(packets):
    """What two fragments are together, without their headers."""
    pieces = {}
    for packet in packets:
        fields = pkt.outer_fields(packet)
        if pkt.version(packet) == "v4":
            start, more, body = fields["frag"] * 8, fields["mf"], packet[fields["header"]:]
        else:
            header = packet[40:48]
            ktap.eq(packet[6], 44, "next header: fragment")
            start = int.from_bytes(header[2:4], "big") & 0xfff8
            more, body = header[3] & 1, packet[48:]
        ktap.eq(more, int(start == 0), "more fragments")
        pieces[start] = body
    return b"".join(pieces[start] for start in sorted(pieces))


ktap.main(setup)
