#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# L2TPv3 (RFC 3931) over UDP and over IP: with the in-tree driver as the other
# end and beside it, with a control daemon on the same port, and bit for bit.
#
#	a  t0 (xtun) -- under0 ======== under0 -- t0 (in-tree)  b
import errno
import fcntl
import os
import shutil
import socket
import struct

from lib import capture, errors, ktap, net, peers, pkt, traffic
from lib.peers import BOTH, Pair

FAMILIES = ("v4", "v6")
PORT, PROTOCOL = 1701, 115
ENCAPS = ("encap l2tp", "encap l2tp-ip")


class Lab:
    """Two hosts on one link, and a bench for packets made by hand."""

    def __init__(self):
        net.load_module()
        net.need_modules("l2tp_netlink", "l2tp_eth", "l2tp_ip", "l2tp_ip6", "veth")
        self.hosts = net.two()
        self._bench = None

    @property
    def bench(self):
        with ktap.for_file():
            self._bench = self._bench or errors.Bench()
        return self._bench

    def tunnel(self, words, family):
        return self.bench.bed.tunnel(words, family)


def setup():
    return Lab()


# ---- the in-tree driver at the other end ----

SAME = "session_id 7 peer_session_id 7"
# Words of xtun behind encap, and the in-tree driver's for session and tunnel.
WORDS = [
    ("key 7", SAME, ""),
    ("ikey 7 okey 4294967295", "session_id 4294967295 peer_session_id 7", ""),
    ("key 7 cookie 01020304", f"{SAME} cookie 01020304 peer_cookie 01020304", ""),
    ("key 7 icookie a1b2c3d4 ocookie 0102030405060708",
     f"{SAME} cookie a1b2c3d4 peer_cookie 0102030405060708", ""),
    ("key 7 l2spec none", f"{SAME} l2spec_type none", ""),
]
UDP_WORDS = WORDS + [
    ("key 7 sport 5000 dport 6000", SAME, "udp_sport 6000 udp_dport 5000"),
    ("key 7 noudpcsum", SAME, "udp6_csum_tx off udp6_csum_rx off"),
    ("key 7 l2spec default", f"{SAME} l2spec_type default", "udp_csum on"),
]


def in_tree(encap, session, tunnel=""):
    if encap == "encap l2tp-ip":
        return f"encap ip {session}"
    if "udp_sport" not in tunnel:
        tunnel += f" udp_sport {PORT} udp_dport {PORT}"
    return f"encap udp {tunnel} {session}"


def pairs(encap, rows):
    return [Pair(family, f"{encap} {words}", [(in_tree(encap, session, tunnel), BOTH)])
            for family in FAMILIES for words, session, tunnel in rows]


PAIRS = pairs("encap l2tp", UDP_WORDS) + pairs("encap l2tp-ip", WORDS)
# The in-tree driver has no pseudowire for packets.
PACKETS = [Pair(family, f"{encap} payload ip {words}", [(f"xtun {encap} payload ip {words}", BOTH)])
           for encap in ENCAPS for family in FAMILIES
           for words in ("key 7", "key 7 cookie 0102030405060708 l2spec none")]
PLAIN = {encap: pairs(encap, WORDS[:1]) + [pair for pair in PACKETS
                                           if pair.words == f"{encap} payload ip key 7"]
         for encap in ENCAPS}


@ktap.table("{1}", [(pair, peers.text(pair)) for pair in PAIRS + PACKETS])
def talk(lab, pair, _):
    peers.talk(lab.hosts, pair)


# The in-tree driver loses those: it does not cut, nor leave checksums to others.
LARGE = [Pair(family, "encap l2tp key 7", [("xtun encap l2tp key 7", BOTH)])
         for family in FAMILIES] + PLAIN["encap l2tp"][2:]


@ktap.table("large packets: {1}", [(pair, peers.text(pair)) for pair in LARGE])
def large(lab, pair, _):
    peers.large(lab.hosts, pair)


@ktap.table("large packets in segments: {1}", [
    (pair, peers.text(pair)) for pair in PLAIN["encap l2tp"]])
def segments(lab, pair, _):
    peers.segments(lab.hosts, pair)


@ktap.table("large packets, which are cut before: {1}", [
    (pair, peers.text(pair)) for pair in PLAIN["encap l2tp-ip"]])
def large_ip(lab, pair, _):
    hosts = lab.hosts
    peers.make(hosts, pair)
    for family in BOTH:
        near, far = peers.INNER[family][:2]
        inner, outer = peers.bulk_seen(hosts, hosts.a, hosts.b, far, "t0", "under0")
        peers.is_large(inner, True, f"{family} into the tunnel")
        ktap.eq(capture.large(outer, True), [], "large packets on the underlay")
        inner, = peers.bulk_seen(hosts, hosts.b, hosts.a, near, "t0")
        peers.is_large(inner, False, f"{family} out of the tunnel, merged")


@ktap.table("datagrams over {0} that GRO has merged are taken apart", FAMILIES)
def merged(lab, family):
    a = lab.hosts.a
    ktap.defer(a.check, *"ethtool -K under0 rx-udp-gro-forwarding off".split())
    a.check(*"ethtool -K under0 rx-udp-gro-forwarding on".split())
    # GRO leaves alone what has no checksum.
    peers.merged(lab.hosts, Pair(family, "encap l2tp key 7", [
        (in_tree("encap l2tp", SAME, "udp_csum on"), BOTH)]))


class Program:
    """Hands packets to a host as a card does, through its device tun0."""

    SETIFF, FLAGS = 0x400454ca, 0x5001      # IFF_TUN, IFF_NO_PI, IFF_VNET_HDR
    ENDS = {"v4": ("192.0.2.1", "192.0.2.9", 24), "v6": ("2001:db8::1", "2001:db8::9", 64)}

    def __init__(self, family):
        self.family = family
        self.host, self.peer, bits = self.ENDS[family]
        self.ns = net.Namespace("host")
        with self.ns:
            self._file = os.open("/dev/net/tun", os.O_RDWR)
            ktap.defer(os.close, self._file)
            fcntl.ioctl(self._file, self.SETIFF, struct.pack("16sH22x", b"tun0", self.FLAGS))
        self.ns.ip(net.address_line("tun0", f"{self.host}/{bits}"), "link set tun0 up")

    def send(self, messages, aside=0):
        """Datagrams of one size as a large one that says so.

        aside: by so much it is wrong where the checksum starts.
        """
        whole = datagram(b"".join(messages))
        packet = bytearray(bytes(pkt.ip(self.family, self.peer, self.host, whole,
                                        socket.IPPROTO_UDP)))
        start = pkt.IP_LEN[self.family]
        length = len(packet) - start
        pseudo = b"".join(map(net.packed, (self.peer, self.host))) + struct.pack(
            "!HH", socket.IPPROTO_UDP, length)
        packet[start + 6:start + 8] = struct.pack("!H", pkt.checksum(pseudo) ^ 0xffff)
        os.write(self._file, struct.pack(
            "=BBHHHH", 1, 5, start + 8, len(messages[0]), start + aside, 6) + packet)


# Older kernels take no such datagrams of a program.
@ktap.table("of merged datagrams over {0} each is taken; what cannot be cut is counted",
            [] if net.kernel_before(6, 2) else FAMILIES)
def handed(_, family):
    net.need_modules("tun")
    program = Program(family)
    words = "encap l2tp payload ip key 7"
    program.ns.tunnel("t0", f"{words} local {program.host} remote {program.peer}", "10.9.0.2/24")
    seen = capture.Capture(program.ns, "t0")
    inners = [pkt.inner("v4", data=bytes([number] * 100)) for number in (1, 2)]
    messages = [header(words, False) + inner for inner in inners]
    with program.ns.moves("t0"):
        program.send(messages)
        for inner in inners:
            seen.wait(lambda packet: packet == inner, "a packet out of the tunnel")
    with program.ns.moves("t0", rx_no_memory=1):
        program.send(messages, aside=2)


# ---- beside the in-tree driver, and a control daemon ----

@ktap.table("{0} over {1}: another session of the in-tree driver beside, made {2}", [
    (encap, family, when) for encap in ENCAPS for family in FAMILIES
    for when in ("before", "after")])
def beside(lab, encap, family, when):
    a, b = lab.hosts
    near, far = getattr(a, family), getattr(b, family)

    def ours():
        a.tunnel("t0", f"{encap} key 7 local {near} remote {far}", "10.9.0.1/24")
        ktap.defer(a.ip, "link del t0")
    if when == "after":
        ours()
    peers.l2tp(a, "i0", in_tree(encap, "session_id 9 peer_session_id 9"), near, far,
               "10.9.1.1/24")
    if when == "before":
        ours()
    number = peers.l2tp(b, "t0", in_tree(encap, SAME), far, near, "10.9.0.2/24")
    b.ip(f"l2tp add session name i0 tunnel_id {number} session_id 9 peer_session_id 9",
         "link set i0 up", "addr add 10.9.1.2/24 dev i0")
    for _ in range(2):
        for address in ("10.9.0.2", "10.9.1.2"):
            ktap.true(traffic.ping(a, address, 1200), f"{address} answers")
    ktap.eq(set(a.drops("t0")), {"rx-other-key"}, "what xtun has left to others")
    a.ip("link set t0 down")
    ktap.true(traffic.ping(a, "10.9.1.2"), "the in-tree driver goes on alone")


# Header of a message, and who gets it.
CONTROL = struct.pack("!HHIHH", 0xc803, 12, 0, 0, 0)
MESSAGES = {
    "a control message": CONTROL,
    # As a session there is.
    "a control message of connection 7": struct.pack("!HHIHH", 0xc803, 12, 7, 0, 0),
    "nothing": b"", "one byte": b"\0", "no session": struct.pack("!HHH", 3, 0, 0),
    "a control message without length": struct.pack("!HHIHH", 0x8003, 0, 0, 0, 0),
    "a control message of L2TPv2": struct.pack("!HHHHHH", 0xc802, 12, 0, 0, 0, 0),
    "data of L2TPv2": struct.pack("!HHH", 0x0002, 7, 7) + b"\xff\x03\xc0\x21" + bytes(20),
    "data of L2TPv2 with a length": struct.pack("!HHHH", 0x4002, 32, 7, 7) + bytes(24),
    "version 1": struct.pack("!HHI", 0x0001, 0, 7) + bytes(24),
    "version 4": struct.pack("!HHI", 0x0004, 0, 7) + bytes(24),
    "data of session 0": struct.pack("!HHI", 0x0003, 0, 0) + bytes(24),
    "data of another session": struct.pack("!HHI", 0x0003, 0, 8) + bytes(24),
}


@ktap.table("a control daemon over {0} has the port, and what is not of a tunnel", FAMILIES)
def daemon(lab, family):
    tunnel = lab.tunnel("encap l2tp payload eth key 7", family)
    ns = tunnel.ns
    sock = traffic.udp(ns, getattr(ns, family), PORT)
    for what, message in MESSAGES.items():
        others = {"rx_other_key": 1} if "another" in what else {}
        with ns.moves(tunnel.dev, **others):
            tunnel.send(datagram(message), socket.IPPROTO_UDP)
            data, source = traffic.recv(sock, what)
            ktap.eq((data, source[:2]), (message, (tunnel.remote, PORT)), what)
    inner = tunnel.inner()
    ktap.eq(tunnel.into(outer(tunnel, inner)), inner, "data of the tunnel's session")
    ktap.raises(errno.EAGAIN, sock.recv, 1, what="data that comes to the daemon")
    tunnel.peer.drain()
    sock.sendto(CONTROL, (tunnel.remote, PORT))
    ktap.eq(tunnel.peer.recv(tunnel.is_mine)[-len(CONTROL):], CONTROL, "what the daemon sends")
    # A tunnel is made while the port is the daemon's.
    again = lab.tunnel("encap l2tp payload eth key 78", family)
    ktap.eq(again.into(outer(again, inner)), inner, "data of another tunnel's session")
    sock.close()


@ktap.case("control messages over IP get to the in-tree driver's socket")
def control_ip(lab):
    tunnel = lab.tunnel("encap l2tp-ip payload eth key 7", "v4")
    sock = tunnel.ns.socket(socket.AF_INET, socket.SOCK_DGRAM, PROTOCOL)
    sock.bind((tunnel.local, 0))
    sock.setblocking(False)
    with tunnel.ns.moves(tunnel.dev):
        tunnel.send(bytes(4) + CONTROL, PROTOCOL)
        data, _ = traffic.recv(sock, "a control message")
    ktap.eq(data, CONTROL, "control message")


# ---- what is on the wire ----

WIRE = {encap: [f"{encap} payload {words}" for words in (
    "eth key 7", "ip ikey 8 okey 4294967295", "eth key 9 cookie 01020304",
    "ip key 10 icookie 0102030405060708 ocookie a1b2c3d4", "eth key 11 l2spec none",
    "ip key 12 cookie 1112131421222324 l2spec none")] for encap in ENCAPS}
WIRE["encap l2tp"] += ["encap l2tp payload eth key 13 sport 5000 dport 6000",
                       "encap l2tp payload ip key 14 noudpcsum"]
ALL_WORDS = sum(WIRE.values(), [])
# Each part of a header is in some of these.
FEW = [words for words in ALL_WORDS if "key 7" in words or "key 10 " in words or "key 12" in words]


def said(words):
    """The words of a tunnel: a dict."""
    words = words.replace(" noudpcsum", " udpcsum off").split()
    return dict(zip(words[::2], words[1::2]))


def header(words, sent, **changes):
    """The header of a message (bytes), the carrier's left out, with changes."""
    way, told = "o" if sent else "i", said(words)
    session = int(told.get(way + "key") or told["key"])
    cookie = bytes.fromhex(told.get(way + "cookie") or told.get("cookie", ""))
    parts = {"flags": 3, "reserved": 0, "session": session, "cookie": cookie,
             "spec": b"" if told.get("l2spec") == "none" else bytes(4), **changes}
    start = struct.pack("!HH", parts["flags"], parts["reserved"])
    return ((start if told["encap"] == "l2tp" else b"") + struct.pack("!I", parts["session"])
            + parts["cookie"] + parts["spec"])


def datagram(message, sport=PORT, dport=PORT, **fields):
    return pkt.UDP(sport=sport, dport=dport, **fields) / message


def carried(tunnel, message, sent=False, udp=None, **fields):
    """An outer packet (scapy), from the tunnel or to it; udp: fields of its header."""
    told = said(tunnel.words)
    if told["encap"] != "l2tp":
        return tunnel.outer(message, PROTOCOL, **fields)
    near, far = int(told.get("sport", PORT)), int(told.get("dport", PORT))
    ports = {"sport": near, "dport": far} if sent else {"sport": far, "dport": near}
    if sent and told.get("udpcsum") == "off":
        ports["chksum"] = 0
    return tunnel.outer(datagram(message, **{**ports, **(udp or {})}), socket.IPPROTO_UDP, **fields)


def outer(tunnel, inner, udp=None, **changes):
    """An outer packet (scapy) of the tunnel's peer; changes: of the header."""
    return carried(tunnel, header(tunnel.words, False, **changes) + inner, udp=udp)


def arp():
    return pkt.frame(pkt.ARP(hwsrc=pkt.INNER_MACS[0], psrc="10.9.0.1", pdst="10.9.0.2"))


@ktap.table("{0} over {1}: what is sent, and what is taken", [
    (words, family) for words in ALL_WORDS for family in FAMILIES])
def wire(lab, words, family):
    tunnel = lab.tunnel(words, family)
    inners = [tunnel.inner(kind) for kind in FAMILIES]
    for inner in inners + ([arp()] if tunnel.eth else []):
        seen = tunnel.out(inner)
        fields = pkt.outer_fields(seen)
        free = ({"flags": "DF", "id": fields["id"]} if family == "v4" else {"fl": fields["flow"]})
        expected = carried(tunnel, header(words, True) + inner, True, src=tunnel.local,
                           dst=tunnel.remote, **free)
        ktap.eq(seen, bytes(expected), "packet")
        ktap.eq(pkt.bad_checksums(seen),
                ["no UDP"] if "noudpcsum" in words and family == "v6" else [], "wrong checksums")
        with tunnel.ns.moves(tunnel.dev):
            ktap.eq(tunnel.into(outer(tunnel, inner)), inner, "delivered")


@ktap.table("{0} over {1}: what has no meaning is ignored", [
    (words, family) for words in FEW for family in FAMILIES])
def ignored(lab, words, family):
    tunnel = lab.tunnel(words, family)
    rows = []
    if "l2spec none" not in words:
        rows += [{"spec": value} for value in (
            bytes.fromhex("40000005"), bytes.fromhex("40ffffff"), bytes.fromhex("40000001"),
            b"\xff\xff\xff\xff")]
    if said(words)["encap"] == "l2tp":
        rows += [{"flags": 0x7ff3}, {"flags": 0x0013}, {"reserved": 0xffff},
                 {"udp": {"sport": 40000}}]
        rows += [{"udp": {"chksum": 0}}] if family == "v4" else []
    inner = tunnel.inner(data=b"as if nothing were")
    for changes in rows:
        with tunnel.ns.moves(tunnel.dev):
            ktap.eq(tunnel.into(outer(tunnel, inner, **changes)), inner, f"with {changes}")


# ---- broken packets ----

def is_counted(tunnel, what, names, packet):
    """What is wrong about that, or nothing."""
    try:
        with tunnel.counts(lambda inner: outer(tunnel, inner), *names):
            tunnel.peer.send(packet)
    except ktap.Failed as error:
        return [f"{what}, {names}: {error}"]
    return []


def inner_header(tunnel, kind):
    if tunnel.eth:
        return 14
    return pkt.IP_LEN[kind]


@ktap.table("{0} over {1}: cut off at every byte", [
    (words, family) for words in FEW for family in FAMILIES])
def cut(lab, words, family):
    tunnel = lab.tunnel(words, family)
    for kind in FAMILIES if not tunnel.eth else FAMILIES[:1]:
        message = header(words, False) + tunnel.inner(kind)
        start, wrong = len(header(words, False)), []
        for length in range(start + inner_header(tunnel, kind)):
            names = ["rx-truncated" if length < start else "rx-inner-malformed"]
            if udp_len(words) and length < session_end(words):
                names = []          # it may be the daemon's
            wrong += is_counted(tunnel, f"{length} bytes", names,
                                carried(tunnel, message[:length]))
            if len(wrong) > 2:
                break
        ktap.eq(wrong, [], f"wrong after cutting inner {kind}")


COOKIES = [words for words in ALL_WORDS if "cookie" in words]


@ktap.table("{0} over {1}: rx-cookie, whatever byte is wrong", [
    (words, family) for words in COOKIES for family in FAMILIES])
def wrong_cookie(lab, words, family):
    tunnel = lab.tunnel(words, family)
    told = said(words)
    cookie = bytes.fromhex(told.get("icookie") or told["cookie"])
    others = [cookie[:place] + bytes([cookie[place] ^ bit]) + cookie[place + 1:]
              for place in range(len(cookie)) for bit in (1, 0x80)]
    others += [bytes(len(cookie)), b"", cookie[1:] + b"\0"]
    wrong = []
    for other in others:
        wrong += is_counted(tunnel, f"cookie {other.hex()}", ["rx-cookie"],
                            outer(tunnel, tunnel.inner(), cookie=other))
    ktap.eq(wrong[:3], [], "wrong cookies")


def bad_udp(tunnel):
    """It is UDP's own length that counts, not what else there is in the packet."""
    head = header(tunnel.words, False)
    message = head + tunnel.inner()
    for length in (0, 1, len(head) - 1, len(head)):
        whole = bytes(carried(tunnel, message[:length]))
        yield (f"a UDP packet of {length} bytes in a longer one",
               ["rx-truncated" if length < len(head) else "rx-inner-malformed"],
               tunnel.outer(whole[pkt.outer_fields(whole)["header"]:] + message[length:],
                            socket.IPPROTO_UDP))
    for length in (0, 7, len(message) + 9, 65535):
        yield (f"a UDP length of {length}", ["rx-truncated"],
               carried(tunnel, message, udp={"len": length, "chksum": 1}))
    yield "a UDP checksum", ["rx-checksum"], carried(tunnel, message, udp={"chksum": 0x1234})
    if tunnel.family == "v6":
        yield "no UDP checksum", ["rx-no-checksum"], carried(tunnel, message, udp={"chksum": 0})


@ktap.table("{0} over {1}: what else can be wrong", [
    (words, family) for words in FEW for family in FAMILIES])
def broken(lab, words, family):
    tunnel = lab.tunnel(words, family)
    rows = [("another session", ["rx-other-key"], outer(tunnel, tunnel.inner(), session=99))]
    if said(words)["encap"] == "l2tp":
        rows += bad_udp(tunnel)
        rows += [(f"flags {flags:#06x}", [], outer(tunnel, tunnel.inner(), flags=flags))
                 for flags in (0x8003, 0xc803, 0x0002, 0x0000, 0x000b)]
    else:
        rows += [("session 0", [], outer(tunnel, tunnel.inner(), session=0))]
    if not tunnel.eth:
        rows += [(f"an inner version {version}", ["rx-inner-protocol"],
                  outer(tunnel, bytes([version << 4]) + bytes(39))) for version in (0, 5, 15)]
        rows += [("an inner length", ["rx-inner-malformed"],
                  outer(tunnel, b"\x45\0\0\xff" + bytes(36)))]
    ktap.eq(sum((is_counted(tunnel, *row) for row in rows), [])[:3], [], "wrong")


# ---- ICMP errors ----

OTHER = {"v4": "IPv6", "v6": "IPv4"}
QUOTED = [(words, family, "bridged IPv4" if "eth" in words else OTHER[family])
          for words in FEW for family in FAMILIES]


def short(sent, length):
    """A quote of so many bytes behind the outer IP header."""
    return sent.outer[:pkt.IP_LEN[sent.tunnel.family] + length]


# Each payload and each carrier, and a cookie in front of both.
errors.register([("encap l2tp payload eth key 7", "bridged IPv4"),
                 ("encap l2tp payload ip key 12 cookie 1112131421222324 l2spec none", "IPv6"),
                 ("encap l2tp-ip payload ip key 10 icookie 0102030405060708 ocookie a1b2c3d4",
                  "IPv4")], lambda lab: lab.bench)


@ktap.table("{0} over {1}: {2} is told without a memory, from the quote", QUOTED)
def quoted(lab, words, family, sender):
    bench = lab.bench
    tunnel = bench.tunnel(f"{words} icmp-memory off", family)
    sent = bench.send(tunnel, sender)
    sent.told(bench.answers(tunnel, errors.unreachable(sent)), errors.HOST[sent.kind])
    bench.nothing(tunnel, None, errors.unreachable(sent, with_byte(sent, words, 0, 1)))
    for place in range(len(header(words, True, spec=b"")) - session_end(words)):
        bench.nothing(tunnel, "err_forged", errors.unreachable(
            sent, with_byte(sent, words, place + 4, 1)))
    if "payload ip" in words:
        bench.nothing(tunnel, "err_short", errors.unreachable(
            sent, short(sent, udp_len(words) + len(header(words, True)))))


def udp_len(words):
    return 8 if said(words)["encap"] == "l2tp" else 0


def session_end(words):
    return 8 if said(words)["encap"] == "l2tp" else 4


def with_byte(sent, words, place, bits):
    """A quote with another byte, counted from the session id on."""
    place += len(short(sent, 0)) + udp_len(words) + session_end(words) - 4
    return sent.outer[:place] + bytes([sent.outer[place] ^ bits]) + sent.outer[place + 1:]


@ktap.table("{0} over {1}: errors about others' messages are others'", [
    (encap, family) for encap in ENCAPS for family in FAMILIES])
def others_quoted(lab, encap, family):
    bench = lab.bench
    tunnel = bench.tunnel(f"{encap} payload eth key 7 icmp-memory off", family)
    sent = bench.send(tunnel, "bridged IPv4")
    fields = {"src": tunnel.local, "dst": tunnel.remote}
    messages = [*MESSAGES.values()] if encap == "encap l2tp" else [bytes(4) + CONTROL, b"\0\0\0\5"]
    quotes = [bytes(carried(tunnel, message, True, **fields)) for message in messages]
    bench.nothing(tunnel, None, *(errors.unreachable(sent, quote) for quote in quotes))
    if encap == "encap l2tp":
        cut_off = [quote[:pkt.IP_LEN[family] + udp_len(encap)] for quote in quotes[:1]]
        bench.nothing(tunnel, None, *(errors.unreachable(sent, quote) for quote in cut_off))
        tunnel.set("icmp-memory on")
        ktap.defer(tunnel.set, "icmp-memory off")
        bench.nothing(tunnel, None, *(errors.unreachable(sent, quote) for quote in cut_off))


@ktap.table("over {0}, of two tunnels to two ports with one okey, the one is told that has sent",
            FAMILIES)
def one_okey(lab, family):
    bench = lab.bench
    one = bench.tunnel("encap l2tp payload ip ikey 50 okey 52", family)
    two = bench.tunnel("encap l2tp payload ip ikey 51 okey 52 sport 1701 dport 5000", family, one)
    for tunnel in (one, two):
        sent = bench.send(tunnel, "IPv4")
        with errors.moves(tunnel, err_relayed=1):
            sent.told(bench.answers(tunnel, errors.unreachable(sent)), errors.HOST[sent.kind])


@ktap.table("over {0} the header tells whose it was where both ports are those of tunnels",
            FAMILIES)
def both_ports(lab, family):
    bench = lab.bench
    one = bench.tunnel("encap l2tp payload ip key 60 sport 1701 dport 4789", family)
    two = bench.tunnel("encap vxlan payload ip key 60 sport 1701 dport 4789", family)
    for tunnel in (one, two):
        sent = bench.send(tunnel, "IPv4")
        with errors.moves(tunnel, err_relayed=1):
            sent.told(bench.answers(tunnel, errors.unreachable(sent)), errors.HOST[sent.kind])


# ---- configuration ----

V4 = "local 192.0.2.1 remote 192.0.2.9"
REFUSED = [
    (f"encap l2tp {V4}", "key: encapsulation l2tp needs one"),
    (f"encap l2tp-ip {V4} ikey 5", "okey: encapsulation l2tp-ip needs one"),
    (f"encap l2tp {V4} key 0", "key: 0 is not in the range of l2tp, 1 to 4294967295"),
    (f"encap l2tp-ip {V4} ikey 1 okey 0", "okey: 0 is not"),
    (f"encap l2tp {V4} key 5 seq", "seq: encapsulation l2tp has no use for it"),
    (f"encap l2tp-ip {V4} key 5 iseq", "iseq: encapsulation l2tp-ip has no use"),
    (f"encap l2tp {V4} key 5 csum", "csum"),
    (f"encap l2tp {V4} key 5 sport 1000-2000", "sport: l2tp has one"),
    (f"encap l2tp-ip {V4} key 5 sport 1000", "sport: encapsulation l2tp-ip has no ports"),
    (f"encap l2tp-ip {V4} key 5 dport 1701", "dport"),
    (f"encap l2tp-ip {V4} key 5 noudpcsum", "udpcsum"),
    (f"encap l2tp {V4} key 7", "base"),
    (f"encap l2tp payload ip {V4} key 7 cookie 01020304", "base"),
    (f"encap gre {V4} cookie 01020304", "cookie: encapsulation gre has no use for it"),
    (f"encap ip {V4} icookie 01020304", "icookie: encapsulation ip"),
    (f"encap vxlan {V4} key 1 ocookie 0102030405060708", "ocookie: encapsulation vxlan"),
    (f"encap gre {V4} l2spec none", "l2spec: encapsulation gre has no use for it"),
    (f"encap vxlan {V4} key 1 dport 1701", "dport: base has port 1701 for another"),
    (f"encap l2tp {V4} key 5 sport 4789", "sport: other has port 4789 for another"),
]


@ktap.case("what is refused, and how that is said")
def refused(_):
    ns = net.Namespace("refuser")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    ns.tunnel("base", f"encap l2tp {V4} key 7")
    ns.tunnel("other", f"encap vxlan {V4} key 7")
    seen = ns.refused(*(f"link add bad type xtun {words}" for words, _ in REFUSED))
    wrong = [f"{words}: {text}" for (words, part), text in zip(REFUSED, seen)
             if not text or part not in text]
    ktap.eq(wrong, [], "not refused, or not in these words")
    ktap.contains(ns.refused("link set base type xtun encap gre nokey dport auto payload eth "
                             "cookie 01020304")[0], "cookie", "refusal")


@ktap.table("a port over {0} is held when its tunnel changes to VXLAN, and let go of again",
            FAMILIES)
def turns(_, family):
    ns = net.Namespace("turns")
    near, far = {"v4": ("192.0.2.1", "192.0.2.9"), "v6": ("2001:db8::1", "2001:db8::9")}[family]
    ns.device("under0", "type dummy", "192.0.2.1/24", "2001:db8::1/64")
    ns.tunnel("t0", f"encap l2tp key 7 local {near} remote {far}")

    def change(words):
        return ns.refused(f"link set t0 type xtun {words}")[0]

    def bound():
        sock = ns.socket(net.family_of(near), socket.SOCK_DGRAM)
        sock.bind(("", PORT))
        return sock
    sock = bound()
    ktap.contains(change(f"encap vxlan dport {PORT}"), f"another socket has port {PORT}", "refusal")
    sock.close()
    ktap.eq(change(f"encap vxlan dport {PORT}"), None, "to VXLAN")
    ktap.raises(errno.EADDRINUSE, bound)
    # The port may be shared, but the tunnel cannot be: that leaves it held.
    ktap.contains(change("encap l2tp sport 1-2"), "sport", "refusal")
    ktap.raises(errno.EADDRINUSE, bound)
    ktap.eq(change("encap l2tp"), None, "back to L2TP")
    bound().close()


CHANGES = [
    ("cookie 01020304", {"cookie": "01020304"}),
    ("icookie 0102030405060708", {"cookie": None, "icookie": "0102030405060708",
                                  "ocookie": "01020304"}),
    ("icookie none", {"icookie": None}),
    ("cookie none", {"ocookie": None}),
    ("l2spec none", {"l2spec": "none"}),
    ("l2spec default", {"l2spec": None}),
    ("sport 5000", {"sport": 5000}),
    ("dport 6000", {"dport": 6000}),
    ("sport auto dport auto", {"sport": None, "dport": PORT}),
    ("cookie ffffffffffffffff l2spec none", {"cookie": "f" * 16, "l2spec": "none"}),
    ("encap l2tp-ip", {"encap": "l2tp-ip", "dport": None}),
    ("encap gre nokey", {
        "encap": "gre", "cookie": None, "l2spec": None, "key": None}),
]


@ktap.case("every word changes on a live device, and is shown")
def change(_):
    ns = net.Namespace("changer")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    ns.tunnel("live", f"encap l2tp {V4} key 7")
    expected = dict(ns.tunctl("show", "live")[0]["conf"])
    ktap.eq(expected, {"encap": "l2tp", "payload": "eth", "local": "192.0.2.1",
                       "remote": "192.0.2.9", "key": 7, "dport": PORT}, "what is shown")
    for words, shown in CHANGES:
        ns.ip(f"link set live type xtun {words}")
        expected = {word: value for word, value in {**expected, **shown}.items()
                    if value is not None}
        ktap.eq(ns.tunctl("show", "live")[0]["conf"], expected, words)


# What is changed, and what the tunnel has then.
LIVE = [
    ("cookie 01020304", "cookie 01020304"),
    ("cookie 0102030405060708 l2spec none", "cookie 0102030405060708 l2spec none"),
    ("ocookie none", "icookie 0102030405060708 l2spec none"),
    ("icookie none l2spec default", ""),
]


@ktap.table("{0} over {1}: cookie and sublayer change on a live device, the MTU follows", [
    (encap, family) for encap in ENCAPS for family in FAMILIES])
def live(lab, encap, family):
    tunnel = lab.tunnel(f"{encap} payload eth key 77", family)
    outside = pkt.IP_LEN[family] + udp_len(tunnel.words) + 14
    inner, before = tunnel.inner(), tunnel.words
    for words, now in LIVE:
        tunnel.words = before + " " + now
        tunnel.set(words)
        head = header(tunnel.words, True)
        ktap.eq(tunnel.out(inner)[-len(head + inner):], head + inner, f"sent: {words}")
        ktap.eq(tunnel.into(outer(tunnel, inner)), inner, f"delivered: {words}")
        ktap.eq(tunnel.ns.mtu(tunnel.dev), 1500 - outside - len(head), f"MTU: {words}")
    tunnel.words = before


# ---- tshark ----

OUTER = {"v4": "ip", "v6": "ipv6"}
COOKIE = {0: "None", 4: "4 Byte Cookie", 8: "8 Byte Cookie"}
SUBLAYER = {"none": "None", "default": "Default L2-Specific"}


def agreed(words):
    """What both ends know beforehand, and tshark has to be told: it is slow to
    start, and takes all at once for which that is the same."""
    told_words = said(words)
    cookie = len(told_words.get("ocookie", told_words.get("cookie", ""))) // 2
    return told_words["payload"], cookie, told_words.get("l2spec", "default")


# It does not know port 6000, and wants a checksum over IPv6.
AGREED = {}
for each in ALL_WORDS:
    if "dport" not in each and "noudpcsum" not in each:
        AGREED.setdefault(agreed(each), []).append(each)


@ktap.table("payload {0}, cookie of {1} bytes, sublayer {2}: tshark has nothing against it",
            list(AGREED))
def tshark(lab, payload, cookie, sublayer):
    if not shutil.which("tshark"):
        ktap.skip("there is no tshark here")
    # Its name for the layer that was agreed on is left out.
    inside = ({"v4": ":ethertype:ip", "v6": ":ethertype:ipv6"} if payload == "eth" else
              {"v4": "", "v6": ":ipv6"})
    packets, expected = [], []
    for words in AGREED[payload, cookie, sublayer]:
        udp = ":udp" if udp_len(words) else ""
        for family in FAMILIES:
            tunnel = lab.tunnel(words, family)
            for kind in FAMILIES:
                packets.append(tunnel.out(tunnel.inner(kind)))
                expected.append(f"raw:{OUTER[family]}{udp}:l2tp{inside[kind]}:udp:data\t")
    text = capture.tshark(
        packets, "-o", f"l2tp.cookie_size:{COOKIE[cookie]}",
        "-o", f"l2tp.l2_specific:{SUBLAYER[sublayer]}", "-d", f"l2tp.pw_type==0,{payload}",
        "-T", "fields", "-e", "frame.protocols", "-e", "_ws.expert.message")
    ktap.eq(text.splitlines(), expected, "layers and complaints")


ktap.main(setup)
