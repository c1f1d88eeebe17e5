#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# IP in ICMP echo: two ends of xtun, also with a NAT between them; the bytes; and
# pings, which are none of a tunnel's business.  No other driver speaks it:
# scapy is the other end.
#
#	a  t0 (request) -- under0 === left  m (NAT)  right === under0 -- t0 (reply)  b
import contextlib
import shutil
import socket
import struct

from lib import capture, errors, ktap, net, peers, pkt, traffic
from lib.errors import Bench
from lib.peers import BOTH, INNER, Pair

FAMILIES = ("v4", "v6")
MAGIC, VERSION, REQUEST = 0x7874756e, 1, 0x8000
NEXT = {"v4": 4, "v6": 41, "nothing": 59}
REQUESTS, REPLIES = "encap icmp key 7 echo request keepalive off", "encap icmp key 8 echo reply"
KEYS = {REQUESTS: 7, REPLIES: 8}
PROTO = {"v4": 1, "v6": 58}
TYPE = {"v4": {True: 8, False: 0}, "v6": {True: 128, False: 129}}
# Of the echo's header and of ours.
ECHO, OURS = 8, 12


def setup():
    return Bench()


# ---- by hand ----

def message(family, request, ident, seq, data):
    """An ICMP echo (scapy)."""
    if family == "v4":
        return pkt.ICMP(type=8 if request else 0, id=ident, seq=seq) / data
    make = pkt.ICMPv6EchoRequest if request else pkt.ICMPv6EchoReply
    return make(id=ident, seq=seq, data=data)


def header(key, request, following, version=VERSION, flags=0, magic=MAGIC):
    flags |= REQUEST if request else 0
    return struct.pack("!IBBHI", magic, version, following, flags, key)


def fields(packet):
    """Type, identifier and sequence number of an ICMP packet (bytes)."""
    start = pkt.outer_fields(packet)["header"]
    return packet[start], *struct.unpack_from("!HH", packet, start + 4)


def is_request(tunnel):
    return "echo request" in tunnel.words


def key_of(tunnel):
    words = tunnel.words.split()
    return int(words[words.index("key") + 1])


def own_id(tunnel):
    """The identifier of an end that sends requests."""
    return fields(tunnel.out(pkt.inner("v4")))[1]


def answer_to(tunnel, seq=1):
    """What the other end's packets have to have: request, identifier, number."""
    return (False, own_id(tunnel), seq) if is_request(tunnel) else (True, 0x1234, seq)


def right(tunnel, inner, echo=None, data=None, outer=None, **changes):
    """A packet of the other end (scapy).

    echo: request, identifier and sequence number; data: instead of all that is
    behind the echo's header; changes: of our header.
    """
    request, ident, seq = echo or answer_to(tunnel)
    if data is None:
        following = NEXT[pkt.version(inner)] if inner else NEXT["nothing"]
        words = {"key": key_of(tunnel), "request": not is_request(tunnel),
                 "following": following, **changes}
        data = header(**words) + inner
    return tunnel.outer(message(tunnel.family, request, ident, seq, data),
                        PROTO[tunnel.family], **(outer or {}))


def asked(tunnel, ident=0x1234, seq=1, **words):
    """The end that replies has got a request."""
    inner = pkt.inner("v4", data=b"a request")
    ktap.eq(tunnel.into(right(tunnel, inner, (True, ident, seq), **words)), inner, "delivered")


def told_tunnel(bench, words, family):
    tunnel = bench.tunnel(words, family)
    is_asked(tunnel)
    return tunnel


def is_asked(tunnel):
    if not is_request(tunnel):
        asked(tunnel)


def counts(tunnel, *names):
    """Tunnel.counts() with right packets of this file."""
    echo = answer_to(tunnel)
    return tunnel.counts(lambda inner: right(tunnel, inner, echo), *names)


# ---- bytes ----

@ktap.table("{0} over {1} sends {2}", [
    (words, family, kind) for words in KEYS for family in FAMILIES for kind in FAMILIES])
def sent(bench, words, family, kind):
    tunnel = bench.bed.tunnel(words, family)
    if not is_request(tunnel):
        asked(tunnel, 0x4321, 99)
    # An odd number of bytes too.
    for inner in (pkt.inner(kind), pkt.inner(kind, data=b"odd")):
        seen = tunnel.out(inner)
        _, ident, seq = fields(seen)
        outer = pkt.outer_fields(seen)
        words_of = {"src": tunnel.local, "dst": tunnel.remote,
                    **({"flags": "DF", "id": outer["id"]} if family == "v4" else
                       {"fl": outer["flow"]})}
        if not is_request(tunnel):
            ktap.eq((ident, seq), (0x4321, 99), "identifier and number of the request")
        data = header(KEYS[words], is_request(tunnel), NEXT[kind]) + inner
        expected = tunnel.outer(message(family, is_request(tunnel), ident, seq, data),
                                PROTO[family], **words_of)
        ktap.eq(seen, bytes(expected), "packet")
        ktap.eq(pkt.bad_checksums(seen), [], "wrong checksums")


@ktap.table("requests over {0} have one identifier, and numbers that go up", FAMILIES)
def numbers(bench, family):
    tunnel = bench.bed.tunnel(REQUESTS, family)
    seen = [fields(tunnel.out(pkt.inner("v4", sport=port))) for port in range(1000, 1008)]
    kind, ident, first = seen[0]
    ktap.eq(seen, [(kind, ident, (first + n) & 0xffff) for n in range(8)], "requests")


@ktap.table("{0} over {1} takes {2}", [
    (words, family, kind) for words in KEYS for family in FAMILIES for kind in FAMILIES])
def taken(bench, words, family, kind):
    tunnel = bench.bed.tunnel(words, family)
    with tunnel.ns.moves(tunnel.dev):
        for inner in (pkt.inner(kind), pkt.inner(kind, data=b"odd"),
                      pkt.inner(kind, data=bytes(1300))):
            packet = right(tunnel, inner)
            ktap.eq(tunnel.into(packet), inner, "delivered")


# ---- who asks ----

@ktap.table("the end that replies over {0} has no peer until a request has come", FAMILIES)
def no_peer(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    # What is known is of the key that the tunnel had.
    tunnel.set("key 108")
    with tunnel.ns.moves(tunnel.dev, tx_no_peer=1):
        tunnel.push(pkt.inner("v4"))
    tunnel.set("key 8")
    asked(tunnel, 7, 8)
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(fields(tunnel.out(pkt.inner("v4")))[1:], (7, 8), "identifier and number")


@ktap.table("the end that replies over {0} follows identifier and number", FAMILIES)
def follows(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    for ident, seq in ((1, 1), (1, 2), (0xffff, 0xffff), (0, 0), (77, 5)):
        asked(tunnel, ident, seq)
        for _ in range(2):
            ktap.eq(fields(tunnel.out(pkt.inner("v6")))[1:], (ident, seq), "identifier and number")


@ktap.table("an empty request over {0} is delivered to nobody, and makes a peer", FAMILIES)
def empty(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    before = tunnel.ns.stats(tunnel.dev)["rx_packets"]
    tunnel.delivered()
    with tunnel.ns.moves(tunnel.dev):
        tunnel.peer.send(right(tunnel, b"", (True, 555, 6)))
        ktap.wait_for(lambda: fields(tunnel.out(pkt.inner("v4")))[1:] == (555, 6),
                      "a reply to the empty request", 10)
    ktap.eq(tunnel.delivered(), [], "delivered")
    ktap.eq(tunnel.ns.stats(tunnel.dev)["rx_packets"], before, "packets counted")


@ktap.table("an empty request over {0} is a good sign: errors that held do so no more", FAMILIES)
def good_sign(bench, family):
    tunnel = told_tunnel(bench, "encap icmp key 11 echo reply icmp-memory off", family)
    one = bench.send(tunnel, "IPv4")
    start = pkt.IP_LEN[family]

    def told():
        before = tunnel.ns.counters(tunnel.dev)["err-again"]
        tunnel.peer.drain()
        tunnel.route(pkt.inner("v4"))
        tunnel.next()
        return tunnel.ns.counters(tunnel.dev)["err-again"] - before
    # Too short to tell the sender of this one.
    tunnel.peer.send(errors.unreachable(one, one.outer[:start + ECHO + OURS + 4]))
    ktap.wait_for(lambda: told() == 1, "an error that holds", 10)
    tunnel.peer.send(right(tunnel, b"", (True, 556, 7)))
    ktap.wait_for(lambda: told() == 0, "the end of it", 10)


@ktap.table("a request to many over {0} is taken, and makes no peer", FAMILIES)
def to_many(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    tunnel.set("local any")
    ktap.defer(tunnel.set, f"local {tunnel.local}")
    asked(tunnel, 31, 32)
    asked(tunnel, 33, 34, outer={"dst": {"v4": "192.0.2.255", "v6": "ff02::1"}[family]})
    tunnel.peer.drain()
    seen = tunnel.out(pkt.inner("v4"))
    ktap.eq(fields(seen)[1:], (31, 32), "identifier and number")


@ktap.table("remote any over {0}: replies go to who has asked last", FAMILIES)
def moved(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    tunnel.set("remote any")
    ktap.defer(tunnel.set, f"remote {tunnel.remote}")
    peer = tunnel.peer
    for number, source in enumerate((peer.address(family), tunnel.remote, peer.address(family))):
        asked(tunnel, 40 + number, 3, outer={"src": source})
        peer.drain()
        tunnel.push(pkt.inner("v4"))
        seen = peer.recv(lambda packet: packet[-16:] == b"0123456789abcdef")
        ktap.eq(pkt.outer_fields(seen)["dst"], source, "destination")
        ktap.eq(fields(seen)[1:], (40 + number, 3), "identifier and number")


@ktap.table("local any over {0}: the source is the address that was asked", FAMILIES)
def asked_address(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    second = {"v4": "192.0.2.77/24", "v6": "2001:db8::77/64"}[family]
    tunnel.ns.ip(net.address_line("under0", second))
    ktap.defer(tunnel.ns.ip, f"addr del {second} dev under0")
    tunnel.set("local any")
    ktap.defer(tunnel.set, f"local {tunnel.local}")
    for local in (second.split("/")[0], tunnel.local, second.split("/")[0]):
        asked(tunnel, outer={"dst": local})
        tunnel.peer.drain()
        tunnel.push(pkt.inner("v4"))
        seen = tunnel.peer.recv(lambda packet: packet[-16:] == b"0123456789abcdef")
        ktap.eq(pkt.outer_fields(seen)["src"], local, "source")


@ktap.table("a given remote over {0}: others ask in vain, it is a ping", FAMILIES)
def not_the_peer(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    asked(tunnel, 21, 22)
    other = tunnel.peer.address(family)
    with tunnel.ns.moves(tunnel.dev):
        pinged(tunnel, header(8, True, 4) + pkt.inner("v4"), source=other)
    ktap.eq(fields(tunnel.out(pkt.inner("v4")))[1:], (21, 22), "identifier and number")


# ---- keepalive ----

@ktap.table("empty requests over {0} when the device is set up, and from then on", FAMILIES)
def keepalive(bench, family):
    tunnel = bench.bed.tunnel("encap icmp key 10 echo request keepalive off", family)
    ident, tx = own_id(tunnel), tunnel.ns.stats(tunnel.dev)["tx_packets"]
    tunnel.peer.drain()
    tunnel.set("keepalive 1")
    ktap.defer(tunnel.set, "keepalive off")
    seen = [tunnel.next() for _ in range(3)]
    kinds = [fields(packet) for packet in seen]
    ktap.eq(kinds, [(kinds[0][0], ident, (kinds[0][2] + n) & 0xffff) for n in range(3)],
            "requests")
    for packet in seen:
        start = pkt.outer_fields(packet)["header"] + ECHO
        ktap.eq(packet[start:], header(10, True, NEXT["nothing"]), "behind the echo's header")
        ktap.eq(pkt.bad_checksums(packet), [], "wrong checksums")
    ktap.eq(tunnel.ns.stats(tunnel.dev)["tx_packets"], tx, "packets counted")

    tunnel.set("keepalive 1000")
    tunnel.ns.ip(f"link set {tunnel.dev} down")
    tunnel.peer.drain()
    tunnel.ns.ip(f"link set {tunnel.dev} up")
    ktap.eq(tunnel.next()[-7:-6], bytes([NEXT["nothing"]]), "kind of the first packet")


# ---- broken ones ----

BAD = [
    # name, what is wrong, of which end, changes
    *(("rx-version", f"version {version}", words, {"version": version})
      for words in KEYS for version in (0, 2, 255)),
    *(("rx-flags", f"flag {flag:#x}", words, {"flags": flag})
      for words in KEYS for flag in (0x4000, 0x0001)),
    *(("rx-inner-protocol", f"protocol {number}", words, {"following": number})
      for words in KEYS for number in (0, 6, 47, 255)),
    *(("rx-inner-malformed", "a protocol of the other family", words, {"following": 41})
      for words in KEYS),
]


@ktap.table("{0}: {2} ({3} over {1})", [(name, family, what, words, changes)
                                        for family in FAMILIES
                                        for name, what, words, changes in BAD])
def bad_header(bench, name, family, _, words, changes):
    tunnel = bench.bed.tunnel(words, family)
    packet = right(tunnel, pkt.inner("v4"), **changes)
    with counts(tunnel, name):
        tunnel.peer.send(packet)


@ktap.table("rx-checksum: byte {2} from the end is wrong ({1} over {0})", [
    (family, words, byte) for family in FAMILIES for words in KEYS for byte in (1, 44, 57)])
def bad_checksum(bench, family, words, byte):
    tunnel = bench.bed.tunnel(words, family)
    packet = bytearray(bytes(right(tunnel, pkt.inner("v4"))))
    packet[-byte] ^= 1
    with counts(tunnel, "rx-checksum"):
        tunnel.peer.send(packet)


@ktap.table("a tunnel over {0} does not take what it has sent itself", FAMILIES)
def reflected(bench, family):
    tunnel = bench.bed.tunnel(REQUESTS, family)
    sent_one = tunnel.out(pkt.inner("v4"))
    start = pkt.outer_fields(sent_one)["header"]
    _, ident, seq = fields(sent_one)
    # As the kernel of a host without the tunnel replies.
    back = tunnel.outer(message(family, False, ident, seq, sent_one[start + ECHO:]),
                        PROTO[family])
    with counts(tunnel, "rx-reflected"):
        tunnel.peer.send(back)
    # And as it was.
    back = tunnel.outer(message(family, True, ident, seq, sent_one[start + ECHO:]),
                        PROTO[family])
    with counts(tunnel, "rx-same-role"):
        tunnel.peer.send(back)


@ktap.table("the end that replies over {0} takes no replies", FAMILIES)
def replies(bench, family):
    tunnel = bench.bed.tunnel(REPLIES, family)
    inner = pkt.inner("v4")
    for name, echo, request in (("rx-same-role", (False, 0x1234, 1), False),
                                ("rx-reflected", (False, 0x1234, 1), True),
                                ("rx-reflected", (True, 0x1234, 1), False)):
        with counts(tunnel, name):
            tunnel.peer.send(right(tunnel, inner, echo, request=request))


@ktap.table("rx-echo-id: a reply over {0} with another identifier", FAMILIES)
def other_id(bench, family):
    tunnel = bench.bed.tunnel(REQUESTS, family)
    packet = right(tunnel, pkt.inner("v4"), (False, own_id(tunnel) ^ 1, 1))
    with counts(tunnel, "rx-echo-id"):
        tunnel.peer.send(packet)


@ktap.table("cut off at every byte: {1} over {0}", [
    (family, words) for family in FAMILIES for words in KEYS])
def cut(bench, family, words):
    tunnel = bench.bed.tunnel(words, family)
    inner = pkt.inner("v4", data=b"cut")
    whole = header(KEYS[words], not is_request(tunnel), NEXT["v4"]) + inner
    wrong = []
    for length in range(len(whole)):
        # Without the whole magic number it is a ping.
        name = ("none" if length < 4 else
                "rx-truncated" if length < OURS else "rx-inner-malformed")
        packet = right(tunnel, inner, data=whole[:length])
        try:
            with counts(tunnel, *([] if name == "none" else [name])):
                tunnel.peer.send(packet)
        except ktap.Failed as error:
            wrong.append(f"{length} bytes, {name}: {error}")
    # Not even the echo's header; but at least the type.
    whole = bytes(right(tunnel, inner))
    start = len(whole) - ECHO - OURS - len(inner)
    for length in range(1, ECHO):
        packet = tunnel.outer(whole[start:start + length], PROTO[family])
        try:
            with counts(tunnel):
                tunnel.peer.send(packet)
        except ktap.Failed as error:
            wrong.append(f"{length} bytes of ICMP: {error}")
    ktap.eq(wrong[:3], [], "wrong after cutting")


@ktap.table("{1} over {0} takes a packet in outer fragments", [
    (family, words) for family in FAMILIES for words in KEYS])
def fragments(bench, family, words):
    tunnel = bench.bed.tunnel(words, family)
    inner = pkt.inner("v6", data=bytes(range(256)) * 4)
    whole = bytes(right(tunnel, inner))
    body = whole[pkt.outer_fields(whole)["header"]:]
    tunnel.delivered()
    with tunnel.ns.moves(tunnel.dev):
        for start, end in ((0, 512), (512, len(body))):
            more = end < len(body)
            if family == "v4":
                part = tunnel.outer(body[start:end], 1, id=77, frag=start // 8,
                                    flags="MF" if more else 0)
            else:
                part = tunnel.outer(pkt.IPv6ExtHdrFragment(
                    nh=58, offset=start // 8, m=int(more), id=77) / body[start:end], 44)
            tunnel.peer.send(part)
        ktap.eq(tunnel.wait_delivered(), [inner], "delivered")


# ---- pings ----

def pinged(tunnel, data, ident=0x7777, source=None):
    """The kernel answers a ping with this data."""
    source = source or tunnel.remote
    tunnel.peer.drain()
    tunnel.peer.send(tunnel.outer(message(tunnel.family, True, ident, 5, data),
                                  PROTO[tunnel.family], src=source))

    def is_reply(packet):
        outer = pkt.outer_fields(packet)
        return outer["dst"] == source and packet[outer["header"]] == TYPE[tunnel.family][False]
    seen = tunnel.peer.recv(is_reply, "an echo reply")
    ktap.eq(fields(seen)[1:], (ident, 5), "identifier and number")
    ktap.eq(seen[pkt.outer_fields(seen)["header"] + ECHO:], data, "data")
    ktap.eq(pkt.bad_checksums(seen), [], "wrong checksums")


PINGS = {"no data": b"", "one byte": b"x", "the timestamps of ping": bytes(56),
         "a part of the magic number": struct.pack("!I", MAGIC)[:3],
         "almost the magic number": header(7, True, 4, magic=MAGIC ^ 1) + bytes(40),
         "many bytes": bytes(range(256)) * 4}


@ktap.table("a ping with {2} is answered by the host of {1} over {0}", [
    (family, words, what) for family in FAMILIES for words in KEYS for what in PINGS])
def foreign(bench, family, words, what):
    tunnel = bench.bed.tunnel(words, family)
    with tunnel.ns.moves(tunnel.dev):
        pinged(tunnel, PINGS[what])
    ktap.eq(tunnel.delivered(), [], "delivered")


@ktap.table("a ping with a key that nobody has is answered ({1} over {0})", [
    (family, words) for family in FAMILIES for words in KEYS])
def foreign_key(bench, family, words):
    tunnel = bench.bed.tunnel(words, family)
    with tunnel.ns.moves(tunnel.dev, rx_other_key=1):
        pinged(tunnel, header(99, True, 4) + pkt.inner("v4"))


@ktap.table("another code than 0 is for the kernel ({1} over {0})", [
    (family, words) for family in FAMILIES for words in KEYS])
def other_code(bench, family, words):
    tunnel = bench.bed.tunnel(words, family)
    packet = right(tunnel, pkt.inner("v4"))
    layer = packet.payload
    layer.code = 1
    with counts(tunnel):
        tunnel.peer.send(packet)


@ktap.table("a program's own ping over {0} gets its reply", FAMILIES)
def own_ping(bench, family):
    tunnel = bench.bed.tunnel(REQUESTS, family)
    tunnel.ns.sysctl({"net.ipv4.ping_group_range": "0 2147483647"})
    proto = {"v4": socket.IPPROTO_ICMP, "v6": socket.IPPROTO_ICMPV6}[family]
    sock = tunnel.ns.socket(net.family_of(tunnel.local), socket.SOCK_DGRAM, proto)
    sock.settimeout(10)
    for data in (b"", b"xt", b"0123456789abcdef", header(99, True, 4)):
        tunnel.peer.drain()
        sock.sendto(struct.pack("!BBHHH", TYPE[family][True], 0, 0, 0, 9) + data,
                    (tunnel.remote, 0))
        _, ident, seq = fields(tunnel.next())
        tunnel.peer.send(tunnel.outer(message(family, False, ident, seq, data), PROTO[family]))
        ktap.eq(sock.recv(2000)[ECHO:], data, "data of the reply")


# ---- errors ----

errors.register([(words, sender) for words in KEYS for sender in ("IPv4", "IPv6")],
                lambda bench: bench, is_asked)


@ktap.table("an error with another identifier is none of the tunnel's ({1} over {0})", [
    (family, words) for family in FAMILIES for words in KEYS])
def forged(bench, family, words):
    tunnel = told_tunnel(bench, words, family)
    one = bench.send(tunnel, "IPv4")
    start = pkt.IP_LEN[family]
    quote = bytearray(one.outer)
    quote[start + 5] ^= 1
    bench.nothing(tunnel, None, errors.unreachable(one, bytes(quote)))
    quote = bytearray(one.outer)
    quote[start] ^= 8 if family == "v4" else 1          # a reply of a request
    bench.nothing(tunnel, None, errors.unreachable(one, bytes(quote)))


@ktap.table("an error about a ping is none of the tunnel's ({1} over {0})", [
    (family, words) for family in FAMILIES for words in KEYS])
def about_ping(bench, family, words):
    tunnel = told_tunnel(bench, words, family)
    one = bench.send(tunnel, "IPv4")
    for data in (b"", b"xt", bytes(56)):
        ping = tunnel.outer(message(family, True, 0x5555, 1, data), PROTO[family],
                            src=tunnel.local, dst=tunnel.remote)
        bench.nothing(tunnel, None, errors.unreachable(one, bytes(ping)))


@ktap.table("a path that is too narrow is learned, and told ({1} over {0})", [
    (family, words) for family in FAMILIES for words in KEYS])
def too_big(bench, family, words):
    tunnel = told_tunnel(bench, words, family)
    ktap.defer(errors.forget, tunnel)
    one = bench.send(tunnel, "IPv4", length=1400)
    overhead = one.overhead
    with errors.moves(tunnel, err_too_big=1, err_relayed=1):
        one.told(bench.answers(tunnel, errors.too_big(one, 1300)), errors.TOO_BIG["v4"],
                 1300 - overhead)
    ktap.eq(tunnel.ns.peer_mtu(tunnel.remote), 1300, "path MTU")
    ktap.eq(overhead, pkt.IP_LEN[family] + ECHO + OURS, "overhead")


@ktap.table("an error about an empty request is for nobody, over {0}", FAMILIES)
def about_empty(bench, family):
    tunnel = told_tunnel(bench, REQUESTS, family)
    one = bench.send(tunnel, "IPv4")
    bench.bed.peer.drain()
    tunnel.set("keepalive 1000")
    ktap.defer(tunnel.set, "keepalive off")
    quote = tunnel.next()
    bench.nothing(tunnel, "err_mute", errors.unreachable(one, quote))
    bench.nothing(tunnel, "err_forged", errors.too_big(one, 1280, quote))


# ---- words ----

END = {"v4": "local 192.0.2.1 remote 192.0.2.99", "v6": "local 2001:db8::1 remote 2001:db8::99"}
REFUSED = [
    ("encap icmp {end} key 70", "echo: encapsulation icmp needs it, request or reply"),
    ("encap icmp {end} echo request", "key: encapsulation icmp needs one"),
    ("encap icmp {end} ikey 70 echo request", "okey: encapsulation icmp needs one"),
    ("encap icmp local {local} remote any key 70 echo request", "remote: needed with echo request"),
    ("encap icmp {end} key 70 echo reply keepalive 5", "keepalive: only with echo request"),
    ("encap icmp payload eth {end} key 70 echo reply", "payload"),
    ("encap icmp {end} key 70 echo reply csum", "csum"),
    ("encap icmp {end} key 70 echo reply seq", "seq"),
    ("encap icmp {end} key 70 echo reply dport 9", "dport"),
    ("encap icmp {end} key 70 echo reply noudpcsum", "udpcsum"),
    ("encap gre {end} key 70 echo request", "echo: encapsulation gre has no use for it"),
    ("encap gre {end} key 70 keepalive off", "keepalive: encapsulation gre has no use for it"),
]


@ktap.table("refused over {0}: {1}", [(family, words, says) for family in FAMILIES
                                      for words, says in REFUSED])
def refused(bench, family, words, says):
    local = END[family].split()[1]
    said, = bench.ns.refused(
        f"link add r0 type xtun {words.format(end=END[family], local=local)}")
    ktap.contains(said or "nothing", says, "refusal")


@ktap.table("words over {0} are printed as they make the tunnel again", FAMILIES)
def printed(bench, family):
    for words in ("key 71 echo request", "key 71 echo request keepalive off",
                  "key 71 echo request keepalive 5", "ikey 1 okey 2 echo reply"):
        words = f"encap icmp payload ip {END[family]} {words}"
        bench.ns.ip(f"link add r0 type xtun {words}")
        try:
            seen = bench.ns.check("tunctl", "show", "r0").split()
            ktap.eq(" ".join(seen[1:]), words, "words")
            seen = bench.ns.check("ip", "-d", "link", "show", "r0")
            ktap.contains(" ".join(seen.split()), words, "ip -d link show")
        finally:
            bench.ns.ip("link del r0")


@ktap.table("another role, another encapsulation on a live device over {0}", FAMILIES)
def changed(bench, family):
    tunnel = bench.bed.tunnel("encap icmp key 9 echo request keepalive off", family)
    request = tunnel.out(pkt.inner("v4"))
    tunnel.set("echo reply")
    ktap.eq(tunnel.ns.link(tunnel.dev)["linkinfo"]["info_data"].get("keepalive"), None,
            "keepalive of the end that replies")
    with tunnel.ns.moves(tunnel.dev, tx_no_peer=1):
        tunnel.push(pkt.inner("v4"))
    tunnel.set("encap gre")
    ktap.eq(pkt.outer_fields(tunnel.out(pkt.inner("v4")))["proto"], 47, "protocol")
    tunnel.set("encap icmp echo request keepalive off")
    ktap.eq(fields(tunnel.out(pkt.inner("v4")))[:2], fields(request)[:2], "type and identifier")


# ---- tshark ----

@ktap.case("tshark has nothing against requests, replies and empty ones")
def tshark(bench):
    if not shutil.which("tshark"):
        ktap.skip("there is no tshark here")
    packets, layers = [], []
    for family in FAMILIES:
        for words in KEYS:
            tunnel = told_tunnel(bench, words, family)
            chain = {"v4": "raw:ip:icmp:data", "v6": "raw:ipv6:icmpv6:data"}[family]
            for kind in FAMILIES:
                packets.append(tunnel.out(pkt.inner(kind)))
                layers.append(chain)
            if is_request(tunnel):
                tunnel.peer.drain()
                tunnel.set("keepalive 1000")
                packets.append(tunnel.next())
                layers.append(chain)
                tunnel.set("keepalive off")
    seen = capture.tshark_fields(packets, "frame.protocols", "_ws.expert.severity",
                                 "_ws.expert.message")
    ktap.eq([line[0][0] for line in seen], layers, "layers")
    ktap.eq([line[2] for line in seen
             if any(int(severity, 0) >= 0x600000 for severity in line[1])], [], "complaints")


# ---- two ends ----

@contextlib.contextmanager
def complete(*ends):
    """Namespace and device: nothing is left to do of what goes out there."""
    for ns, dev in ends:
        ns.check("ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off")
    yield
    for ns, dev in ends:
        ns.check("ethtool", "-K", dev, "tx", "on", "tso", "on", "gso", "on")


def two_ends(family):
    hosts = net.two()
    peers.make(hosts, Pair(family, "encap icmp key 7 echo reply",
                           [("xtun encap icmp key 7 echo request", BOTH)]))
    ktap.wait_for(lambda: traffic.ping(hosts.a, INNER["v4"][1], tries=1, limit=1), "a peer")
    return hosts


@ktap.table("two ends over {0}", FAMILIES)
def talk(_, family):
    hosts = two_ends(family)
    everything(hosts.a, hosts.b)


def everything(a, b):
    """Both ways, both inner families; nothing is lost.

    a replies, but need not wait for more than b's first empty request.
    """
    ktap.wait_for(lambda: traffic.ping(a, INNER["v4"][1], tries=1, limit=1), "a peer")
    # What a had to say before is lost.
    before = {ns: ns.drops("t0") for ns in (a, b)}
    for src, dst, end in ((a, b, 1), (b, a, 0)):
        for kind in FAMILIES:
            address = INNER[kind][end]
            ktap.true(traffic.ping(src, address), f"ping {address}")
            for size in (1200, 4000):
                traffic.udp_crosses(src, dst, address, size)
            traffic.tcp_bulk(src, dst, address, peers.BULK)
    for ns in (a, b):
        ktap.eq(ns.drops("t0"), before[ns], f"packets that xtun lost in {ns}")


@ktap.table("TCP over {0} is segmented before it is encapsulated, checksums are right", FAMILIES)
def segmented(_, family):
    hosts = two_ends(family)
    with complete((hosts.a, "under0")):
        for kind in FAMILIES:
            inner, outer = peers.bulk_seen(hosts, hosts.a, hosts.b, INNER[kind][1], "t0", "under0")
            peers.is_large(inner, True, f"{kind} into the tunnel")
            sizes = [frame for frame in outer if len(frame.data) > 1000 and frame.outgoing]
            ktap.eq([frame.gso for frame in sizes if frame.gso], [], "frames to be segmented")
            ktap.true(len(sizes) > 100, f"{len(sizes)} frames")
            packets = [frame.data[frame.header:] for frame in sizes]
            ktap.eq([pkt.bad_checksums(packet) + inner_sums(packet) for packet in packets
                     if pkt.bad_checksums(packet) + inner_sums(packet)], [], "wrong checksums")


def inner_sums(packet):
    return pkt.bad_checksums(packet[pkt.outer_fields(packet)["header"] + ECHO + OURS:])


class Nat:
    """a and b with m between them, which translates what a sends."""

    def __init__(self, family):
        self.a, self.m, self.b = (net.Namespace(name) for name in "amb")
        self.m.forward()
        net.veth(self.a, "under0", self.m, "left")
        net.veth(self.m, "right", self.b, "under0")
        self.family = family
        near, far = (("192.0.2", "198.51.100") if family == "v4" else
                     ("2001:db8:1:", "2001:db8:2:"))
        dot, bits = (".", 24) if family == "v4" else (":", 64)
        self.addr_a, gate_a = f"{near}{dot}1", f"{near}{dot}254"
        self.addr_b, self.outside = f"{far}{dot}1", f"{far}{dot}254"
        self.a.ip(net.address_line("under0", f"{self.addr_a}/{bits}"))
        self.m.ip(net.address_line("left", f"{gate_a}/{bits}"),
                  net.address_line("right", f"{self.outside}/{bits}"))
        self.b.ip(net.address_line("under0", f"{self.addr_b}/{bits}"))
        self.a.ip(f"route add {self.addr_b} via {gate_a}")
        # Identifiers are mapped, as if others had taken them.
        self.m.check("nft", "-f", "-", text="""table inet nat {
            chain post { type nat hook postrouting priority 100
                oifname right masquerade random
            }
        }""")

    def tunnel(self, remote):
        self.b.tunnel("t0", f"encap icmp key 7 echo reply local {self.addr_b} remote {remote}",
                      *peers.addresses(0, BOTH))
        self.a.tunnel("t0", f"encap icmp key 7 echo request local {self.addr_a} "
                            f"remote {self.addr_b}", *peers.addresses(1, BOTH))


@ktap.table("through a NAT over {0}, with the reply end's remote {1}",
            [("v4", "any"), ("v6", "the NAT")])
def nat(_, family, remote):
    net.need_modules("nft_masq", "nft_chain_nat")
    lab = Nat(family)
    # What m sends is complete, and is verified by b.
    with complete((lab.m, "right"), (lab.m, "left")):
        seen_a, seen_b = capture.Capture(lab.a, "under0"), capture.Capture(lab.b, "under0")
        lab.tunnel("any" if remote == "any" else lab.outside)
        # The first empty request; the end that replies may speak after it.
        seen_b.wait(lambda packet: pkt.outer_fields(packet)["proto"] == PROTO[family],
                    "a request behind the NAT")
        everything(lab.b, lab.a)
        ids = [{fields(packet)[1] for packet in seen.packets()
                if pkt.outer_fields(packet)["proto"] == PROTO[family]}
               for seen in (seen_a, seen_b)]
    ktap.eq([len(each) for each in ids], [1, 1], f"identifiers, {ids}")
    ktap.true(ids[0] != ids[1], f"the NAT has mapped the identifier, {ids}")


@ktap.table("a host without the tunnel answers requests over {0}, which are not taken", FAMILIES)
def no_tunnel(_, family):
    hosts = net.two()
    near, far = getattr(hosts.a, family), getattr(hosts.b, family)
    hosts.a.tunnel("t0", f"encap icmp key 7 echo request keepalive off local {near} remote {far}",
                   *peers.addresses(0, ("v4",)))
    with hosts.a.moves("t0", rx_reflected=1):
        ktap.true(not traffic.ping(hosts.a, INNER["v4"][1], tries=1, limit=1), "nobody answers")
    before = hosts.a.stats("t0")["rx_packets"]
    ktap.eq(before, 0, "packets delivered")
    # Two that request.
    hosts.b.tunnel("t0", f"encap icmp key 7 echo request keepalive off local {far} remote {near}",
                   *peers.addresses(1, ("v4",)))
    with hosts.b.moves("t0", rx_same_role=1), hosts.a.moves("t0"):
        ktap.true(not traffic.ping(hosts.a, INNER["v4"][1], tries=1, limit=1), "nobody answers")


ktap.main(setup)
