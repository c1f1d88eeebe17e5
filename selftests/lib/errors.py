# SPDX-License-Identifier: GPL-2.0
"""ICMP errors about outer packets, and what the inner sender is told of them.

    bench = Bench()
    tunnel = bench.tunnel("encap gre key 7", "v4")
    sent = bench.send(tunnel, "IPv6")
    answers = bench.answers(tunnel, about(sent, 3, 1))
    sent.told(answers, (1, 3))
"""

import collections

from lib import ktap, net, pkt
from lib.bed import Bed

MOST = {"v4": 576, "v6": 1280}          # bytes of an error: RFC 1812, RFC 4443
HEADERS = {"v4": 20 + 8, "v6": 40 + 8}  # of an error, before the quote
LEAST = {"v4": 20 + 8, "v6": 40 + 8}    # of a quote that says whose packet it was
TOO_BIG = {"v4": (3, 4), "v6": (2, 0)}
HOST = {"v4": (3, 1), "v6": (1, 3)}     # a host that cannot be reached

# Inner senders by name: what they send, and whether a bridge is between.
SENDERS = {f"{where}IP{kind}": (kind, bool(where))
           for where in ("", "bridged ") for kind in ("v4", "v6")}

# Rate limits off: none counts a kind that is not in its mask; and as they are
# by themselves, but for the time between two errors.
UNLIMITED = {"net.ipv4.icmp_ratemask": 0, "net.ipv6.icmp.ratemask": 255}
LIMITED = {"net.ipv4.icmp_ratemask": 0x1818, "net.ipv6.icmp.ratemask": "0-1,3-127"}


# ---- what is told ----

# Type and code that an IPv4 sender is told, and an IPv6 sender.
TOLD = {
    "no network": ((3, 0), (1, 0)), "no host": ((3, 1), (1, 3)),
    "network prohibited": ((3, 9), (1, 1)), "host prohibited": ((3, 10), (1, 1)),
    "prohibited": ((3, 13), (1, 1)), "time exceeded": ((11, 0), (3, 0)),
    "too big": ((3, 4), (2, 0)),
}
RELAYED = [
    # family, type and code of the outer error, its other 32 bits
    *(("v4", 3, code, 0, "no network") for code in (0, 6, 11)),
    *(("v4", 3, code, 0, "no host") for code in (1, 7, 8, 12, 2, 3)),
    ("v4", 3, 9, 0, "network prohibited"), ("v4", 3, 10, 0, "host prohibited"),
    ("v4", 3, 13, 0, "prohibited"),
    *(("v4", 3, 4, mtu, "too big") for mtu in (1400, 600)),
    ("v4", 11, 0, 0, "time exceeded"),
    *(("v4", 12, code, 20 << 24, "no host") for code in (0, 1, 2)),
    ("v6", 1, 0, 0, "no network"),
    *(("v6", 1, code, 0, "no host") for code in (2, 3, 4)),
    *(("v6", 1, code, 0, "prohibited") for code in (1, 5, 6)),
    *(("v6", 2, 0, mtu, "too big") for mtu in (1400, 1300)),
    ("v6", 3, 0, 0, "time exceeded"),
    *(("v6", 4, code, 40, "no host") for code in (0, 1, 2)),
]
NOT_RELAYED = [
    ("v4", 11, 1, 0, "err-reassembly"), ("v6", 3, 1, 0, "err-reassembly"),
    ("v4", 4, 0, 0, "err-source-quench"), ("v4", 3, 5, 0, "err-source-route"),
    *(("v4", 5, code, 0xc00002fc, "err-redirect") for code in range(4)),
    ("v4", 3, 14, 0, "err-other"), ("v4", 3, 15, 0, "err-other"),
    ("v6", 1, 7, 0, "err-other"), ("v6", 100, 0, 0, "err-other"),
]


def told(what, sent):
    return TOLD[what][sent.kind == "v6"]


def room(sent, mtu):
    """The MTU that a sender is told."""
    return max(mtu - sent.overhead, 1280 if sent.kind == "v6" else 0)


# ---- from a router ----

def about(sent, kind, code, rest=0, quote=None):
    """What a router on the path says of an outer packet.

    quote: other bytes than it begins with, or fewer.
    """
    family = sent.tunnel.family
    quote = sent.outer if quote is None else quote
    return pkt.icmp(family, sent.tunnel.peer.address(family), sent.tunnel.local,
                    kind, code, rest, quote[:MOST[family] - HEADERS[family]])


def unreachable(sent, quote=None):
    return about(sent, *HOST[sent.tunnel.family], quote=quote)


def too_big(sent, mtu, quote=None):
    return about(sent, *TOO_BIG[sent.tunnel.family], mtu, quote)


# ---- to the inner sender ----

# An ICMP error in its packet.  link: the header of the frame that it came out
# of the tunnel's device in, empty where that carries packets, or None when it
# came to the LAN.
Told = collections.namedtuple("Told", "link src dst kind code rest quote packet")


def read(packet, link=None):
    """An ICMP error (bytes)."""
    fields = pkt.outer_fields(packet)
    proto = {"v4": 1, "v6": 58}[pkt.version(packet)]
    ktap.eq(fields["proto"], proto, "protocol of what comes to the sender")
    body = packet[fields["header"]:fields["length"]]
    return Told(link, fields["src"], fields["dst"], body[0], body[1],
                int.from_bytes(body[4:8], "big"), body[8:], packet)


class Sent:
    """A packet that has gone through a tunnel.

    inner: as its device took it, the IP packet with the link layer before it;
    outer: as its path got it.
    """

    def __init__(self, bench, tunnel, inner, outer, bridged=False):
        self._bench, self.bridged = bench, bridged
        self.tunnel, self.inner, self.outer = tunnel, inner, outer
        self.packet, self.link = split(tunnel, inner)
        self.overhead = len(outer) - len(self.packet)

    @property
    def kind(self):
        """The sender's family: "v4" or "v6"."""
        return pkt.version(self.packet)

    def quoted(self, held=None):
        """What the sender gets of his packet when so much of the outer was quoted."""
        if held is None:
            held = MOST[self.tunnel.family] - HEADERS[self.tunnel.family]
        held = min(held, len(self.outer)) - self.overhead
        return self.packet[:min(held, MOST[self.kind] - HEADERS[self.kind])]

    def told(self, answers, what, rest=0, quote=None):
        """The sender got exactly this error, right to the last bit."""
        ktap.eq(len(answers), 1, f"errors to the sender, {answers}")
        ktap.holds(answers[0]._asdict(), {
            **self._ends(), "kind": what[0], "code": what[1], "rest": rest}, "error to the sender")
        ktap.eq(answers[0].quote, self.quoted() if quote is None else quote, "quote")
        ktap.eq(pkt.bad_checksums(answers[0].packet), [], "wrong checksums")

    def _ends(self):
        """Link, src and dst of an error to the sender, as in Told."""
        fields = pkt.outer_fields(self.packet)
        if self.bridged:
            return {"link": self.link[6:12] + self.link[:6] + self.link[12:],
                    "src": fields["dst"], "dst": fields["src"]}
        return {"link": None, "src": self._bench.LAN[self.kind], "dst": fields["src"]}


class Bench:
    """A Bed whose host has a LAN, played by the test too.

        LAN ---- under1  host  under0 ---- peers and routers
                          xN: 10.9.N.1, fd00:9:N::/64 are behind it

    The inner sender is on the LAN or, bridged, where other ports of a bridge
    would be: then the frames that a tunnel carries are not from its device's
    own MAC address.  Who is behind a tunnel has the last number 2.  No ICMP
    rate limits.
    """

    LAN = {"v4": "198.51.100.1", "v6": "2001:db8:1::1"}     # the host there

    def __init__(self):
        # What one processor is given it does in order: see come().
        net.one_processor()
        self.bed = Bed()
        self.ns, self.lan = self.bed.ns, self.bed.second_link()
        self.ns.sysctl(UNLIMITED)
        # Fragments that are sent are not to be put together before they leave.
        self.ns.check("nft", """table ip6 bench {
            chain pieces {
                type filter hook output priority -450;
                exthdr frag exists notrack
            }
        }""")
        self._number = {}
        self._echo = 0

    def tunnel(self, words, family, peer_of=None):
        """The tunnel with these words over this underlay, and its networks."""
        tunnel = self.bed.tunnel(words, family, peer_of)
        if tunnel not in self._number:
            self._number[tunnel] = len(self._number) + 1
            # No IPv6 address: the device would speak of multicast groups.
            self.ns.ip(f"addr add {self.network(tunnel, 'v4')}1/24 dev {tunnel.dev}",
                       f"route add {self.network(tunnel, 'v6')}/64 dev {tunnel.dev}")
            if tunnel.eth:
                self.ns.ip(*(f"neigh replace {self.network(tunnel, kind)}2 dev {tunnel.dev} "
                             f"lladdr {pkt.INNER_MACS[1]} nud permanent" for kind in MOST))
        return tunnel

    def network(self, tunnel, kind):
        """The network behind a tunnel, up to the last number."""
        number = self._number[tunnel]
        return f"10.9.{number}." if kind == "v4" else f"fd00:9:{number:x}::"

    def send(self, tunnel, sender, packet=None, **words):
        """Somebody sends a packet through the tunnel; arguments as of inner()."""
        return self.push(tunnel, *self.inner(tunnel, sender, packet, **words))

    def inner(self, tunnel, sender, packet=None, length=None, **words):
        """A datagram, or a packet (scapy), as the device takes it; and whether bridged.

        length: of the IP packet, which must not be fragmented then; words: as
        of pkt.inner().
        """
        kind, bridged = SENDERS[sender]
        if length:
            words["data"] = bytes(length - HEADERS[kind])
            words.update({"flags": "DF"} if kind == "v4" else {})
        if not packet:
            words = {"src": self.lan.address(kind), "dst": self.network(tunnel, kind) + "2", **words}
            packet = pkt.inner_packet(kind, **words)
        if not tunnel.eth:
            return bytes(packet), bridged
        macs = {} if bridged else {"src": self.ns.mac(tunnel.dev).hex(":")}
        return pkt.frame(packet, **macs), bridged

    def push(self, tunnel, inner, bridged=False):
        """A packet, or frame, as it is (bytes)."""
        self.bed.peer.drain()
        self.again(tunnel, inner, bridged)
        outer = self.bed.peer.recv(lambda packet: tunnel.is_mine(packet) and inner in packet,
                                   f"a packet from {tunnel.dev} ({tunnel.words})")
        return Sent(self, tunnel, inner, outer, bridged)

    def again(self, tunnel, inner, bridged=False):
        """As push(), and nobody looks what becomes of it."""
        if bridged:
            tunnel.push(inner)
        else:
            packet, _ = split(tunnel, inner)
            tunnel.route(packet, self.network(tunnel, pkt.version(packet)) + "2")

    def quotes(self, tunnel, sender):
        """A packet and a quote of it, for each number of bytes from RFC 792's 8 on.

        It was sent a moment ago: what is remembered ages, while a slow machine
        is at it.
        """
        sent = self.send(tunnel, sender)
        header = pkt.IP_LEN[tunnel.family]
        for length in range(8, len(sent.outer) - header + 1):
            if length % 16 == 0:
                sent = self.send(tunnel, sender)
            yield sent, sent.outer[:header + length]

    def answers(self, tunnel, *packets):
        """The errors that come of packets to the host from the underlay."""
        self.clear(tunnel)
        for packet in packets:
            tunnel.peer.send(packet)
        return self.come(tunnel)

    def clear(self, tunnel):
        """Forgets what has come so far."""
        self.lan.drain()
        tunnel.delivered()

    def come(self, tunnel):
        """All errors that have come, or are about to, since clear().

        An echo over the LAN is the last in the same queue.
        """
        self._echo += 1
        self.lan.send(pkt.icmp("v4", self.lan.v4, self.LAN["v4"], 8, 0, self._echo))
        seen = []

        def is_reply(packet):
            if pkt.version(packet) == "v4" and packet[9] == 1 and packet[20] == 0:
                return int.from_bytes(packet[24:28], "big") == self._echo
            seen.append(read(packet))
            return False
        self.lan.recv(is_reply, "an echo reply over the LAN")
        return seen + [read(*split(tunnel, inner)) for inner in tunnel.delivered()]

    def nothing(self, tunnel, counter, *packets):
        """The packets move the counter by one each, and nobody is told anything.

        counter: None for packets that are nobody's.
        """
        with moves(tunnel, **({counter: len(packets)} if counter else {})):
            ktap.eq(self.answers(tunnel, *packets), [], "errors to the sender")


def moves(tunnel, **counters):
    """The block moves exactly these; whatever came is counted when it has come."""
    return tunnel.ns.moves(tunnel.dev, limit=1, **counters)


def split(tunnel, inner):
    """The IP packet in what a tunnel carries, and the link layer before it."""
    start = 14 if tunnel.eth else 0
    while start and inner[start - 2:start] in (b"\x81\0", b"\x88\xa8"):
        start += 4
    return inner[start:], inner[:start]


def forget(tunnel):
    """Nothing is known of the MTU to the tunnel's peer any more.

    With the route goes what was learned about it; but for the metric it would
    be one and the same in the kernel as other peers' routes.
    """
    line = f"route {{}} {tunnel.remote} dev under0 metric {100 + int(tunnel.dev[3:])} mtu 1500"
    ktap.eq(tunnel.ns.refused(line.format("del"), line.format("add"))[1], None, "a new route")


def register(tunnels, bench, ready=lambda tunnel: None):
    """Subtests of what becomes of each error, for tunnels with their senders.

    tunnels: (words, one of SENDERS); bench: gets the Bench from what the file's
    setup returns; ready: has a new tunnel send what it is given.
    """
    def made(lab, words, family):
        tunnel = bench(lab).tunnel(words, family)
        ready(tunnel)
        return tunnel

    @ktap.table("{0} {1}/{2} {3:#x} about {5}: {6} is told: {4}", [
        (*row, *tunnel) for row in RELAYED for tunnel in tunnels])
    def relayed(lab, family, kind, code, rest, what, words, sender):
        tunnel = made(lab, words, family)
        length, rest_told, counters = None, 0, {}
        if what == "too big":
            ktap.defer(forget, tunnel)
            length, counters = 1400, {"err_too_big": 1}
        sent = bench(lab).send(tunnel, sender, length=length)
        if what == "too big":
            rest_told = room(sent, rest)
        with moves(tunnel, err_relayed=1, **counters):
            answers = bench(lab).answers(tunnel, about(sent, kind, code, rest))
            sent.told(answers, told(what, sent), rest_told)

    @ktap.table("{0} {1}/{2} about {5}: {6} is told nothing: {4}", [
        (*row, *tunnel) for row in NOT_RELAYED for tunnel in tunnels])
    def not_relayed(lab, family, kind, code, rest, counter, words, sender):
        tunnel = made(lab, words, family)
        sent = bench(lab).send(tunnel, sender)
        bench(lab).nothing(tunnel, counter, about(sent, kind, code, rest))

    @ktap.table("{1} over {0}: {2} is told whatever the quote's length, of what is remembered", [
        (family, *tunnel) for family in pkt.IP_LEN for tunnel in tunnels])
    def short_quotes(lab, family, words, sender):
        tunnel = made(lab, f"{words} icmp-memory on", family)
        for sent, quote in bench(lab).quotes(tunnel, sender):
            answers = bench(lab).answers(tunnel, unreachable(sent, quote))
            ktap.eq(len(answers), 1, f"errors for a quote of {len(quote)} bytes")
            sent.told(answers, HOST[sent.kind], 0, sent.packet[:len(answers[0].quote)])
