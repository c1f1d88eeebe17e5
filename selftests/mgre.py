#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# GRE with many ends on one device (mGRE): told apart by key alone, each peer named
# by a neighbour, or by the gateway of a route; with the kernel's own at other ends.
#
#	a (xtun)   b (ip_gre, ip6_gre)   c (xtun)
#	     \          |           /
#	      +---- a bridge ------+		inside: 10.9.0.1, .2, .3; fd00:9::1...
#
# The kernel's own over IPv6 sends to no address that a neighbour has: there b has one
# remote, a.
import contextlib
import socket
import struct

from lib import errors, ktap, net, pkt, rawnl, traffic

FAMILIES = ("v4", "v6")
KEY = 42
NHRP = 0x2001

# As in uapi/linux/if_arp.h.
TYPES = {"v4": ("gre", 778, 4), "v6": ("gre6", 823, 16)}

# Neither local nor remote; over IPv6 that has to be said.
ANY = {"v4": "", "v6": "local ::"}


class Hosts:
    """Three hosts on one link, each with a device t0 and nobody's address in it."""

    def __init__(self, family):
        self.family = family
        middle = net.Namespace("middle")
        middle.device("br0", "type bridge")
        self.all = self.a, self.b, self.c = [net.Namespace(name) for name in "abc"]
        for number, ns in enumerate(self.all, 1):
            net.veth(ns, "under0", middle, f"port{number}", link_local=False)
            middle.ip(f"link set port{number} master br0")
            ns.v4, ns.v6 = f"192.0.2.{number}", f"2001:db8::{number}"
            ns.inner = {"v4": f"10.9.0.{number}", "v6": f"fd00:9::{number}"}
            ns.ip(net.address_line("under0", f"{ns.v4}/24"),
                  net.address_line("under0", f"{ns.v6}/64"))

    def outer(self, ns):
        return getattr(ns, self.family)

    def tunnels(self):
        for ns in (self.a, self.c):
            ns.tunnel("t0", f"encap gre key {KEY} {ANY[self.family]}")
        own = "gre" if self.family == "v4" else f"ip6gre encaplimit none remote {self.outer(self.a)}"
        self.b.device("t0", f"type {own} key {KEY} local {self.outer(self.b)}")
        for ns in self.all:
            ns.ip(net.address_line("t0", f"{ns.inner['v4']}/24"),
                  net.address_line("t0", f"{ns.inner['v6']}/64"))

    def pairs(self):
        """Which of them can speak, both ways."""
        a, b, c = self.all
        found = [(a, b), (a, c), (b, c)] if self.family == "v4" else [(a, b), (a, c)]
        return found + [(other, one) for one, other in found]

    def neighbour(self, ns, other):
        """ns learns where other is."""
        if ns is self.b and self.family == "v6":
            return
        ns.ip(*(f"neigh add {other.inner[kind]} lladdr {lladdr(self.outer(other))} dev t0"
                for kind in FAMILIES))


def lladdr(address):
    """As ip(8) takes it: of IPv6, bytes."""
    return address if "." in address else net.packed(address).hex(":")


def setup():
    net.load_module()
    net.need_modules("ip_gre", "ip6_gre", "bridge")


@ktap.table("three ends over {0}: neighbours name the peers", FAMILIES)
def three(_, family):
    hosts = Hosts(family)
    hosts.tunnels()
    for ns, other in hosts.pairs():
        hosts.neighbour(ns, other)
    with hosts.a.moves("t0"), hosts.c.moves("t0"):
        for ns, other in hosts.pairs():
            for kind in FAMILIES:
                ktap.true(traffic.ping(ns, other.inner[kind]), f"{ns} reaches {other}")
    for kind in FAMILIES:
        said = hosts.a.run("tunctl", "explain", hosts.b.inner[kind])
        ktap.contains(said.stdout, f"peer: {hosts.outer(hosts.b)}", "what explain says")
    # A peer that moves, as a spoke with a new address does.
    ns, moved = hosts.a, {"v4": "192.0.2.77", "v6": "2001:db8::77"}[family]
    hosts.c.ip(f"addr add {moved}/{'32' if family == 'v4' else '128 nodad'} dev under0")
    ns.ip(*(f"neigh replace {hosts.c.inner[kind]} lladdr {lladdr(moved)} dev t0"
            for kind in FAMILIES))
    for kind in FAMILIES:
        ktap.true(traffic.ping(ns, hosts.c.inner[kind]), "a reply from where it has gone")


@ktap.table("bulk over {0} to the kernel's own, both ways", FAMILIES)
def bulk(_, family):
    hosts = Hosts(family)
    hosts.tunnels()
    hosts.neighbour(hosts.a, hosts.b)
    hosts.neighbour(hosts.b, hosts.a)
    with hosts.a.moves("t0"):
        traffic.tcp_bulk(hosts.a, hosts.b, hosts.b.inner["v4"], 1 << 18)
        traffic.tcp_bulk(hosts.b, hosts.a, hosts.a.inner["v6"], 1 << 18)


@ktap.table("over {0} the device is what ip_gre makes", FAMILIES)
def device(_, family):
    hosts = Hosts(family)
    hosts.tunnels()
    seen = hosts.a.ip_json("-d", "link", "show", "t0")[0]
    ktap.eq(seen["link_type"], TYPES[family][0], "type")
    ktap.eq(sorted(set(seen["flags"]) & {"NOARP", "POINTOPOINT", "BROADCAST"}), ["NOARP"], "flags")
    own = hosts.b.ip_json("-d", "link", "show", "t0")[0]      # with a remote or not
    ktap.eq(seen["link_type"], own["link_type"], "type of the kernel's own")
    ktap.eq(len(net.packed(seen["address"])), TYPES[family][2], "length of addresses")


@ktap.case("a daemon sends NHRP to whom it likes, and sees from whom it comes")
def daemon(_):
    # Over IPv6 an address does not fit into what Python has for packet sockets.
    hosts = Hosts("v4")
    hosts.tunnels()
    ends = []
    for ns in hosts.all:
        sock = ns.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        sock.bind(("t0", NHRP))
        sock.setblocking(False)
        ends.append(sock)
    for src, dst in ((0, 1), (1, 0), (0, 2), (2, 0)):
        ends[src].sendto(b"registration", ("t0", NHRP, 0, 0, net.packed(hosts.outer(hosts.all[dst]))))
        data, address = traffic.recv(ends[dst])
        ktap.eq(data, b"registration", "what came")
        ktap.eq(address[4], net.packed(hosts.outer(hosts.all[src])), "from whom")
        ktap.eq(address[3], TYPES["v4"][1], "type of device")


@ktap.case("without a neighbour's address the gateway is the peer")
def gateway(_):
    hosts = Hosts("v4")
    hosts.tunnels()
    a, c = hosts.a, hosts.c
    for ns, other in ((a, c), (c, a)):
        ns.ip(f"addr add 10.8.0.{ns.inner['v4'][-1]}/32 dev t0",
              f"route add 10.8.0.{other.inner['v4'][-1]}/32 via {hosts.outer(other)} dev t0 onlink "
              f"src 10.8.0.{ns.inner['v4'][-1]}")
    with a.moves("t0"):
        ktap.true(traffic.ping(a, "10.8.0.3"), "a reply through the gateways")
    with a.moves("t0", limit=1, tx_no_peer=1), contextlib.suppress(OSError):
        with traffic.udp(a, family=socket.AF_INET) as sock:
            sock.sendto(b"to whom?", ("10.9.0.3", 9))


@ktap.case("a destination without gateway is no peer, whatever was learned of its path")
def no_gateway(_):
    bench = errors.Bench()
    ns, peer = bench.ns, bench.bed.peer
    ns.tunnel("t0", f"encap gre key {KEY}", "10.9.0.1/24")
    # About an echo reply that nobody has sent.
    quote = pkt.icmp("v4", "10.9.0.1", "10.9.0.3", 0, 0)
    peer.send(pkt.icmp("v4", peer.v4, ns.v4, 3, 4, 1000, quote))
    ktap.wait_for(lambda: ns.path_mtu("10.9.0.3") == 1000, "the kernel's path MTU")
    with ns.moves("t0", limit=1, tx_no_peer=1), contextlib.suppress(OSError):
        traffic.udp(ns, family=socket.AF_INET).sendto(b"to whom?", ("10.9.0.3", 9))


@ktap.table("{0} is no peer", ["224.0.0.5", "255.255.255.255"])
def group(_, lost):
    hosts = Hosts("v4")
    hosts.tunnels()
    sock = hosts.a.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    with hosts.a.moves("t0", limit=1, tx_no_peer=1):
        sock.sendto(pkt.inner("v4"), ("t0", 0x800, 0, 0, net.packed(lost)))


# ---- on a live device ----

@ktap.table("over {0} a remote goes before neighbours, and can be taken back", FAMILIES)
def remote(_, family):
    hosts = Hosts(family)
    hosts.tunnels()
    a, b, c = hosts.all
    for ns, other in ((b, a), (c, a), (a, c)):
        hosts.neighbour(ns, other)
    ktap.true(traffic.ping(a, c.inner["v4"]), "a reply from the neighbour")
    a.ip(f"link set t0 type xtun remote {hosts.outer(b)}")
    ktap.true(traffic.ping(a, b.inner["v4"]), "a reply from the remote, no neighbour of which is known")
    a.ip("link set t0 type xtun remote any")
    ktap.true(traffic.ping(a, c.inner["v6"]), "a reply from the neighbour again")
    other = {"v4": "2001:db8::9", "v6": "192.0.2.9"}[family]
    message = a.refused(f"link set t0 type xtun remote {other}")[0]
    ktap.contains(message, "make another device", "what the refusal says")
    ktap.true(traffic.ping(a, c.inner["v6"]), "a reply after the refusal")


# ---- whose packets ----

WITHOUT_ENDS = [
    ("encap gre key 0", None), ("encap gre ikey 7", None), ("encap gre payload eth key 7", None),
    ("encap nvgre key 5000", None), ("encap vxlan key 7", None),
    ("encap geneve payload ip key 7", None), ("encap gtp key 7", None),
    ("encap l2tp-ip key 7", None), ("encap fou dport 5555", None), ("encap gue", None),
    ("encap ip", "remote"), ("encap gre", "remote"), ("encap gre okey 7", "remote"),
]


@ktap.table("{0} without ends over {2}: {1}", [
    (words, "refused" if word else "made, and shown as it is", family)
    for words, word in WITHOUT_ENDS for family in FAMILIES])
def made(_, words, expected, family):
    ns = net.Namespace("host")
    line = f"link add t0 type xtun {words} {ANY[family]}"
    if expected == "refused":
        message = ns.refused(line)[0]
        ktap.contains(message, "remote: give the peer's address", "what the refusal says")
        return
    ns.ip(line)
    said = ns.check("tunctl", "show", "t0").split("\n")[0].split(" ", 1)[1].strip()
    ktap.contains(said, {"v4": "local any remote any", "v6": "local :: remote any"}[family], "ends")
    ns.ip("link del t0", f"link add t0 type xtun {said}")
    ktap.eq(ns.check("tunctl", "show", "t0").split("\n")[0].split(" ", 1)[1].strip(), said,
            "made again of what was shown")
    ktap.contains(ns.refused(f"link add t1 type xtun {words} {ANY[family]}")[0],
                  "takes the same packets", "what is said of a second one")


@ktap.table("without ends over {0} it takes nobody else's packets", FAMILIES)
def others(_, family):
    bench = errors.Bench()
    ns, peer = bench.ns, bench.bed.peer
    local, far = getattr(ns, family), peer.address(family)
    ns.tunnel("t0", f"encap gre key {KEY} {ANY[family]}")
    kind = "gre" if family == "v4" else "ip6gre"
    more = " encaplimit none" if family == "v6" else ""
    ns.device("plain", f"type {kind} local {local} remote {far}{more}")
    ns.device("keyed", f"type {kind} local {local} remote {far} key 43{more}")
    before = ns.stats("plain")["rx_packets"], ns.stats("keyed")["rx_packets"]
    with ns.moves("t0"):
        for words in ({}, {"key": 43}, {"version": 3}, {"routing": bytes(4)}, {"key": 44},
                      {"key": 43, "version": 2}):
            peer.send(pkt.ip(family, far, local, pkt.gre("v4", pkt.inner("v4"), **words),
                             pkt.GRE_PROTO))
        # A header that ends before its key.
        peer.send(pkt.ip(family, far, local, b"\x20\0\x08\0", pkt.GRE_PROTO))
        ktap.wait_for(lambda: (ns.stats("plain")["rx_packets"], ns.stats("keyed")["rx_packets"])
                      == (before[0] + 1, before[1] + 1), "packets of the others")
        ktap.eq(ns.stats("t0")["rx_packets"], 0, "packets of the tunnel")
    peer.send(pkt.ip(family, far, local, pkt.gre("v4", pkt.inner("v4"), key=KEY), pkt.GRE_PROTO))
    ktap.wait_for(lambda: ns.stats("t0")["rx_packets"] == 1, "the tunnel's own packet")


# ---- what netfilter tells of a packet's link layer ----

# From linux/netfilter/nfnetlink.h, nfnetlink_log.h and nfnetlink_queue.h, by the words
# of nft: subsystem, message for configuration and its attributes (bind, copy metadata,
# tell each packet at once), attribute of the address.
TELLERS = {
    "log group 5": (4, 1, ((1, b"\1"), (2, bytes(4) + b"\1\0"), (5, b"\0\0\0\1")), 8),
    "queue num 5": (3, 2, ((1, b"\1\0\0\0"), (2, bytes(4) + b"\1")), 9),
}


def told_of_packets(ns, words):
    """A socket that is told of the packets for which nft has these words."""
    subsystem, message, attributes, _ = TELLERS[words]
    body = struct.pack("!BBH", socket.AF_UNSPEC, 0, 5)
    body += b"".join(rawnl.attr(kind, value) for kind, value in attributes)
    raw = rawnl.Raw(ns, rawnl.NETLINK_NETFILTER)
    raw.needs(subsystem << 8 | message, body)
    return raw.sock


@ktap.table("over {0} {1} is told {2}", [
    (family, words, what) for words in TELLERS for family, what in (
        ("v4", "the link-layer source of a packet"), ("v6", "no link-layer source of a packet"))])
def filtered(_, family, words, _what):
    net.need_modules("nft_log", "nfnetlink_log", "nft_queue", "nfnetlink_queue")
    bench = errors.Bench()
    ns, peer = bench.ns, bench.bed.peer
    ns.tunnel("t0", f"encap gre key {KEY} {ANY[family]}")
    ns.check("nft", f"""table inet tell {{
        chain tell {{
            type filter hook prerouting priority 0;
            iifname t0 {words}
        }}
    }}""")
    sock = told_of_packets(ns, words)
    src = {"v4": "192.0.2.65", "v6": "2001:db8::4142:4344:4546:4748"}[family]
    peer.send(pkt.ip(family, src, getattr(ns, family),
                     pkt.gre("v4", pkt.inner("v4"), key=KEY), pkt.GRE_PROTO))
    seen, _ = traffic.recv(sock, "word of the packet")
    # The length of an address, and what has room for 8 bytes of it.
    expected = {"v4": struct.pack("!HH", 4, 0) + net.packed(src) + bytes(4), "v6": None}[family]
    ktap.eq(rawnl.attrs_of(seen[20:]).get(TELLERS[words][3]), expected, "link-layer source")


# ---- errors ----

@ktap.table("without ends over {0}, {1}: errors about what it sends find their sender", [
    (family, words) for family in FAMILIES for words in (f"key {KEY}", f"ikey {KEY} okey 43")])
def told(_, family, words):
    bench = errors.Bench()
    tunnel = bench.tunnel(f"encap gre {words}", family)
    far = tunnel.remote
    tunnel.ns.ip(f"link del {tunnel.dev}",
                 f"link add {tunnel.dev} type xtun encap gre {words} {ANY[family]}",
                 f"link set {tunnel.dev} up",
                 f"addr add {bench.network(tunnel, 'v4')}1/24 dev {tunnel.dev}",
                 f"neigh add {bench.network(tunnel, 'v4')}2 lladdr {lladdr(far)} dev {tunnel.dev}")
    long, little = (bytes(pkt.udp("v4", bench.lan.address("v4"), bench.network(tunnel, "v4") + "2",
                                  data=bytes(length), flags="DF")) for length in (1300, 100))
    sent = pushed(bench, tunnel, long, far)
    for make, what in ((errors.unreachable, "no host"), (errors.too_big, "too big")):
        args = (1300,) if what == "too big" else ()
        answers = bench.answers(tunnel, make(sent, *args))
        ktap.eq(len(answers), 1, f"errors to the sender ({what})")
        ktap.eq((answers[0].kind, answers[0].code), errors.told(what, sent), "kind and code")
    # By 8 bytes of the outer packet, once the memory is armed: the key is not there.
    short = sent.outer[:(20 if family == "v4" else 40) + 8]
    bench.answers(tunnel, errors.unreachable(sent, short))
    again = pushed(bench, tunnel, little, far)
    short = again.outer[:len(short)]
    ktap.eq(len(bench.answers(tunnel, errors.unreachable(again, short))), 1,
            "errors to the sender, about a short quote")


def pushed(bench, tunnel, inner, far):
    """The LAN sends a packet, which is forwarded; returns errors.Sent."""
    tunnel.ns.forward()
    tunnel.peer.drain()
    bench.lan.send(inner)
    outer = tunnel.peer.recv(lambda packet: pkt.outer_fields(packet)["dst"] == far, "a packet")
    fields = pkt.outer_fields(outer)
    packet = outer[fields["header"] + 8:]
    return errors.Sent(bench, tunnel, packet, outer)


ktap.main(setup)
