#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# The device's MTU is what the headers leave of the underlay's and follows it;
# what does not fit is told to its sender or fragmented; the path's MTU is
# learned from real too-bigs and not from forged ones.
import errno
import functools
import random
import re
import socket
import struct

from lib import ktap, net, pkt, rawnl, traffic
from lib.bed import Bed

FAMILIES = ("v4", "v6")
HEADERS = {"v4": 20 + 8, "v6": 40 + 8}          # of a UDP datagram
ALL = "encap gre key 7 csum seq"
GRE = ("encap gre", "encap gre key 7", "encap gre csum", "encap gre seq", ALL)
NVGRE = "encap nvgre key 5000"
ENCAPS = ("encap ip", *GRE, *(f"{words} payload eth" for words in GRE), NVGRE)
LIMITED = tuple(f"{words} encaplimit 4" for words in
                ("encap ip", ALL, "encap gre payload eth", NVGRE))
# One of each kind, where all would take long to tell little more; EACH has
# every kind and both families, but not each of one with each of the other.
KINDS = ("encap ip", ALL, "encap gre payload eth", NVGRE)
EACH = tuple(zip(KINDS, ("v4", "v6", "v6", "v4")))
BOTH = tuple((words, family) for words in KINDS for family in FAMILIES)
NARROW = 1400


def is_eth(words):
    return "payload eth" in words or "nvgre" in words


def overhead(words, family):
    """Bytes that the RFCs' headers take of a packet of the underlay.

    RFC 791, RFC 8200; RFC 2473 section 5.1 padded to 8 bytes; RFC 2784 and
    2890; RFC 7637; and the inner frame's own header.
    """
    present = words.split()
    size = pkt.IP_LEN[family]
    if "encaplimit" in present:
        size += 8
    if "gre" in present:
        size += 4 + 4 * sum(field in present for field in ("key", "csum", "seq"))
    if "nvgre" in present:
        size += 8
    return size + (14 if is_eth(words) else 0)


class Lab:
    """The topologies, each made when first needed."""

    def __init__(self):
        net.load_module()
        self._small = {}

    @functools.cached_property
    def hosts(self):
        with ktap.for_file():
            hosts = net.two()
            net.veth(hosts.a, "under1", hosts.b, "under1", f"mtu {NARROW}")
            return hosts

    @functools.cached_property
    def path(self):
        with ktap.for_file():
            return net.path()

    @functools.cached_property
    def bed(self):
        with ktap.for_file():
            return Bed()

    def small(self, mtu):
        """Two hosts on a link of that MTU."""
        if mtu not in self._small:
            with ktap.for_file():
                hosts = self._small[mtu] = net.two()
            for ns in hosts:
                ns.ip(f"link set under0 mtu {mtu}")
        return self._small[mtu]


def tunnel(near, far, words, family, device_ns=None, addresses=True):
    """t0 at both ends, with 10.9.0.1 and .2, fd00:9::1 and ::2.

    device_ns: where the near one is moved to.
    """
    for ns, other, last in ((near, far, 1), (far, near, 2)):
        made = (f"link add t0 type xtun {words} local {getattr(ns, family)} "
                f"remote {getattr(other, family)}")
        # The link-local one: a router asks for neighbours from no other.
        up = ("link set t0 up", *(net.address_line("t0", address) for address in (
            f"10.9.0.{last}/24", f"fd00:9::{last}/64", f"fe80::{last}/64") if addresses))
        if ns is near and device_ns not in (None, ns):
            ns.ip(made, f"link set t0 netns {device_ns}")
            ktap.defer(device_ns.ip, "link del t0")
            device_ns.ip(*up)
        else:
            ns.ip(made, *up)
            ktap.defer(ns.ip, "link del t0")


class Flow:
    """Datagrams with DF from one namespace to another.

    Sizes are those of the IP packet.  offenders: who may report an error.
    """

    def __init__(self, src, dst, address, offenders=None):
        self.src = src
        self._receiver = traffic.udp(dst, address)
        self._sender = traffic.udp(src, family=net.family_of(address))
        self._v4 = self._sender.family == socket.AF_INET
        traffic.set_df(self._sender, "set")
        traffic.receive_errors(self._sender)
        self._target = self._receiver.getsockname()[:2]
        self._offenders = offenders

    def send(self, size):
        data = random.Random(size).randbytes(size - HEADERS["v4" if self._v4 else "v6"])
        self._sender.sendto(data, self._target)
        return data

    def passes(self, size):
        data = self.send(size)
        seen, _ = traffic.recv(self._receiver, f"a packet of {size} bytes to {self._target[0]}")
        ktap.eq(seen, data, f"packet of {size} bytes")

    def refused(self, size):
        """The sending stack knows already."""
        ktap.raises(errno.EMSGSIZE, self.send, size, what=f"send {size} bytes")
        traffic.errors(self._sender)

    def silent(self):
        """The sending stack has been told nothing."""
        ktap.eq(traffic.errors(self._sender), [], "errors")

    def told(self, size, mtu):
        """One packet is sent, and is told to be too big for this MTU."""
        self.send(size)
        seen = ktap.wait_for(lambda: traffic.errors(self._sender),
                             f"an error about {size} bytes to {self._target[0]}", 20)
        ktap.eq(len(seen), 1, "errors")
        origin, kind, code = (2, 3, 4) if self._v4 else (3, 2, 0)
        ktap.holds(seen[0], {"errno": errno.EMSGSIZE, "origin": origin, "type": kind,
                             "code": code, "info": mtu}, "error")
        if self._offenders:
            ktap.one_of(seen[0]["offender"], self._offenders, "who reported it")


def setup():
    return Lab()


# ---- the device's MTU ----

@ktap.table("MTU over {0}: what the headers of each encapsulation leave", FAMILIES)
def headers_left(lab, family):
    a = lab.hosts.a
    every = ENCAPS + (LIMITED if family == "v6" else ())
    prefix = {"v4": "192.0.2.", "v6": "2001:db8::"}[family]
    a.ip(*(f"link add x{number} type xtun {words} local {getattr(a, family)} "
           f"remote {prefix}{100 + number}" for number, words in enumerate(every)))
    for number in range(len(every)):
        ktap.defer(a.ip, f"link del x{number}")
    ktap.eq({words: a.mtu(f"x{number}") for number, words in enumerate(every)},
            {words: 1500 - overhead(words, family) for words in every}, "MTU")


@ktap.table("{0} over {1}: the MTU is exact to the byte", [
    *((words, "v4") for words in ENCAPS),
    *((words, "v6") for words in (*KINDS, *LIMITED[:3]))])
def exact(lab, words, family):
    a, b = lab.hosts
    room = 1500 - overhead(words, family)
    if " seq" in words:
        net.in_order(a, b)
    tunnel(a, b, words, family)
    ktap.eq(a.mtu("t0"), room, "device MTU")
    flows = [Flow(a, b, address) for address in ("10.9.0.2", "fd00:9::2")]
    for flow in flows:
        flow.passes(room)
        flow.refused(room + 1)
    # The tunnel itself refuses it as well, where nobody before it does.
    a.ip("link set t0 mtu 3000")
    for flow in flows:
        flow.told(room + 1, room)
        flow.passes(room)


class Watch:
    """The MTUs that RTM_NEWLINK tells of a device."""

    def __init__(self, ns, dev):
        self._sock = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sock.bind((0, 1))         # RTMGRP_LINK
        self._sock.setblocking(False)
        self._dev = dev
        self._seen = []

    def wait(self, mtu):
        def told():
            self._poll()
            return mtu in self._seen
        ktap.wait_for(told, f"RTM_NEWLINK of {self._dev} with MTU {mtu}, not {self._seen}", 20)
        self._seen.clear()

    def _poll(self):
        while True:
            try:
                data = self._sock.recv(1 << 16)
            except BlockingIOError:
                return
            for kind, _, _, body in rawnl.messages(data):
                if kind == rawnl.RTM_NEWLINK:
                    self._take(rawnl.attrs_of(body[16:]))

    def _take(self, found):
        name = found.get(rawnl.IFLA_IFNAME, b"").rstrip(b"\0").decode()
        if name == self._dev and rawnl.IFLA_MTU in found:
            self._seen.append(struct.unpack("=I", found[rawnl.IFLA_MTU])[0])


FOLLOW = [
    # what, done in the underlay, undone, MTU of the underlay then
    ("a smaller underlay", "link set under0 mtu 1450", "link set under0 mtu 1500", 1450),
    ("a larger underlay", "link set under0 mtu 9000", "link set under0 mtu 1500", 9000),
    ("a route's mtu", "route add {0} dev under0 mtu 1420", "route del {0}", 1420),
    ("another device", "route add {0} dev under1", "route del {0}", NARROW),
    ("the floor", "link set under0 mtu 1290", "link set under0 mtu 1500", None),
]


@ktap.table("MTU over {0}, device {1}: follows {2}", [
    *((family, "here", *row) for family in FAMILIES for row in FOLLOW),
    ("v4", "moved", *FOLLOW[0]), ("v6", "moved", *FOLLOW[2])])
def follow(lab, family, where, what, line, undo, outer):
    a, b = lab.hosts
    inside = net.Namespace("inside") if where == "moved" else a
    tunnel(a, b, "encap gre", family, inside)
    headers = overhead("encap gre", family)
    watch = Watch(inside, "t0")
    for command, expected in ((line, outer - headers if outer else 1280),
                              (undo, 1500 - headers)):
        a.ip(command.format(getattr(b, family)))
        ktap.defer(a.refused, undo.format(getattr(b, family)))
        watch.wait(expected)
        ktap.eq(inside.mtu("t0"), expected, f"MTU after {command}")


CHANGES = [
    # what is said of a live device, and its words then
    ("key 7", "encap gre key 7"), ("csum", "encap gre key 7 csum"), ("seq", ALL),
    ("nokey", "encap gre csum seq"), ("nocsum noseq", "encap gre"), ("encap ip", "encap ip"),
]
LIMITS = [("encaplimit 4", "encap ip encaplimit 4"), ("encaplimit none", "encap ip")]


@ktap.table("MTU over {0}: follows each change of an option", FAMILIES)
def options(lab, family):
    a, b = lab.hosts
    tunnel(a, b, "encap gre", family)
    for change, words in CHANGES + (LIMITS if family == "v6" else []):
        watch = Watch(a, "t0")
        a.ip(f"link set t0 type xtun {change}")
        expected = 1500 - overhead(words, family)
        ktap.eq(a.mtu("t0"), expected, f"MTU after {change}, at once")
        watch.wait(expected)


@ktap.table("MTU over {0}: pinned by {1}, until it is auto", [
    ("v4", "link set t0 mtu 1333"), ("v6", "link set t0 type xtun mtu 1333")])
def pinned(lab, family, how):
    a, b = lab.hosts
    tunnel(a, b, "encap gre", family)
    # Another one tells when the underlay's change has been acted upon.
    a.tunnel("t1", f"encap gre key 1 local {getattr(a, family)} remote {getattr(b, family)}")
    ktap.defer(a.ip, "link del t1")
    ktap.defer(a.ip, "link set under0 mtu 1500")
    other = Watch(a, "t1")
    a.ip(how)
    for outer in (1300, 1450):
        a.ip(f"link set under0 mtu {outer}")
        other.wait(max(outer - overhead("encap gre key 1", family), 1280))
        ktap.eq(a.mtu("t0"), 1333, f"pinned MTU over {outer}")
    watch = Watch(a, "t0")
    a.ip("link set t0 type xtun mtu auto")
    expected = 1450 - overhead("encap gre", family)
    ktap.eq(a.mtu("t0"), expected, "MTU, auto")
    watch.wait(expected)
    a.ip("link set under0 mtu 1500")
    watch.wait(1500 - overhead("encap gre", family))


@ktap.table("MTU over {0}: pinned when it is made", FAMILIES)
def made_pinned(lab, family):
    a, b = lab.hosts
    a.ip(f"link add t0 mtu 1333 type xtun encap gre local {getattr(a, family)} "
         f"remote {getattr(b, family)}")
    ktap.defer(a.ip, "link del t0")
    ktap.eq(a.mtu("t0"), 1333, "MTU")
    a.ip("link set t0 type xtun mtu auto")
    ktap.eq(a.mtu("t0"), 1500 - overhead("encap gre", family), "MTU, auto")


@ktap.table("MTU over {0}: without a peer it is that of dev", FAMILIES)
def of_dev(lab, family):
    a = lab.hosts.a
    headers = overhead("encap gre", family)
    a.ip(f"link add t0 type xtun encap gre local {getattr(a, family)} remote any dev under1")
    ktap.defer(a.ip, "link del t0")
    ktap.eq(a.mtu("t0"), NARROW - headers, "MTU")
    watch = Watch(a, "t0")
    ktap.defer(a.ip, f"link set under1 mtu {NARROW}")
    a.ip("link set under1 mtu 1350")
    watch.wait(1350 - headers)
    a.ip("link set t0 type xtun dev under0")
    ktap.eq(a.mtu("t0"), 1500 - headers, "MTU of the other dev")


# ---- a narrow path ----

def forget(path):
    """Nobody knows anything about the path's MTU any more."""
    for ns, lines in ((path.ingress, ("198.51.100.0/24 via 192.0.2.254",
                                      "2001:db8:2::/64 via 2001:db8:1::fe")),
                      (path.a, ("default via 10.1.0.1", "default via fd00:1::1"))):
        # Taken out and put in again: replacing keeps what was learned.
        ns.ip(*(f"route {what} {line}" for line in lines for what in ("del", "add")))


def route_lans(path):
    """a and b reach each other through the tunnel."""
    for router, gateway, lan in ((path.ingress, 2, "b"), (path.egress, 1, "a")):
        v4, v6 = path.LANS[lan]
        router.ip(f"route add {v4} via 10.9.0.{gateway}", f"route add {v6} via fd00:9::{gateway}")


INGRESS = ("10.9.0.1", "fd00:9::1", "10.1.0.1", "fd00:1::1")


def local(path, words, family):
    tunnel(path.ingress, path.egress, words, family)
    return [Flow(path.ingress, path.egress, address, INGRESS)
            for address in ("10.9.0.2", "fd00:9::2")]


def routed(path, words, family):
    tunnel(path.ingress, path.egress, words, family)
    route_lans(path)
    return [Flow(path.a, path.b, address, INGRESS) for address in (path.b.v4, path.b.v6)]


def masqueraded(path, words, family):
    flows = routed(path, words, family)
    path.ingress.check("nft", "-f", "-", text="""table inet hide {
        chain out {
            type nat hook postrouting priority 100;
            oifname t0 masquerade
        }
    }""")
    ktap.defer(path.ingress.check, "nft", "delete table inet hide")
    return flows


def moved(path, words, family):
    inside = net.Namespace("inside")
    tunnel(path.ingress, path.egress, words, family, inside)
    return [Flow(inside, path.egress, address, INGRESS) for address in ("10.9.0.2", "fd00:9::2")]


def bridged(path, words, family, tag=""):
    """Hosts at one Ethernet; the bridges have no address at all."""
    tunnel(path.ingress, path.egress, words, family, addresses=False)
    for host, router, last in ((path.a, path.ingress, 1), (path.b, path.egress, 2)):
        net.veth(host, "lan1", router, "lan1", link_local=False)
        ktap.defer(host.ip, "link del lan1")
        router.device("br0", "type bridge")
        ktap.defer(router.ip, "link del br0")
        # A bridge forwards nothing that is longer than a port's MTU and tells nobody.
        router.ip("link set lan1 master br0", "link set t0 mtu 1500", "link set t0 master br0")
        if tag:
            host.ip(f"link add lan1{tag} link lan1 type vlan id {tag[1:]}",
                    f"link set lan1{tag} up")
        host.ip(net.address_line(f"lan1{tag}", f"10.3.0.{last}/24"),
                net.address_line(f"lan1{tag}", f"fd00:3::{last}/64"))
    return [Flow(path.a, path.b, address, [address]) for address in ("10.3.0.2", "fd00:3::2")]


@ktap.table("{0} over {1}, bridged: what is longer than the MTU the bridge drops without a word", [
    row for row in EACH if is_eth(row[0])])
def bridge_drops(lab, words, family):
    path = lab.path
    forget(path)
    flows = bridged(path, words, family)
    room = 1500 - overhead(words, family)
    path.ingress.ip("link set t0 type xtun mtu auto")
    ktap.eq(path.ingress.mtu("t0"), room, "MTU of the port")
    for flow in flows:
        with path.ingress.moves("t0"):
            flow.send(1500)
            flow.passes(room)
        flow.silent()
    # What helps (mtu.rst).
    path.ingress.ip("link set t0 mtu 1500")
    for flow in flows:
        flow.told(1500, room)


SENDERS = {
    "local": local, "routed": routed, "masqueraded": masqueraded, "moved": moved,
    "bridged": bridged, "bridged with a VLAN tag": functools.partial(bridged, tag=".5"),
}


@ktap.table("{0} over {1}: a sender that is {2} is told of a narrow path", [
    *((*row, kind) for kind in ("local", "routed") for row in EACH),
    *((*row, kind) for row, kind in zip(EACH, ("masqueraded", "moved", "masqueraded", "moved"))),
    *((*row, kind) for row in EACH for kind in SENDERS if is_eth(row[0]) and "bridged" in kind)])
def narrow(lab, words, family, kind):
    path = lab.path
    forget(path)
    ktap.defer(path.narrow, 1500)
    path.narrow(NARROW)
    remote = getattr(path.egress, family)
    # With it, already the error about the first packet would reach the sender.
    flows = SENDERS[kind](path, f"{words} icmp-relay off", family)
    headers = overhead(words, family) + (4 if "tag" in kind else 0)
    if "bridged" in kind:
        # The underlay's own MTU is news to them.
        flows[0].told(1500, 1500 - headers)
    # Where the device is, who may see it looks.
    home = flows[0].src if kind == "moved" else path.ingress
    ktap.eq(home.peer_mtu(remote), 1500, "path MTU before")
    flows[0].send(1500 - headers)
    ktap.wait_for(lambda: home.peer_mtu(remote) < 1500, "a path MTU", 20)
    ktap.eq(home.peer_mtu(remote), NARROW, "path MTU")
    for flow in flows:
        flow.told(1500 - headers, NARROW - headers)
        flow.refused(NARROW - headers + 1)
        flow.passes(NARROW - headers)


# ---- senders here whom no error reaches ----

@ktap.table("{0} over {1}: long echo replies of the ingress itself fit, later if not at once",
            EACH)
def echo_replies(lab, words, family):
    path = lab.path
    forget(path)
    ktap.defer(path.narrow, 1500)
    path.narrow(NARROW)
    # ICMPv6 cannot send errors about what it sends itself.
    tunnel(path.ingress, path.egress, f"{words} icmp-relay off", family)
    for address, headers in (("10.9.0.1", 28), ("fd00:9::1", 48)):
        size = 1500 - overhead(words, family) - headers
        ktap.true(traffic.ping(path.egress, address, size, tries=5, limit=1),
                  f"a reply of {size} bytes from {address}")


def without_lo(path, words, family):
    inside = net.Namespace("inside")
    tunnel(path.ingress, path.egress, words, family, inside)
    inside.ip("link set lo down")
    return inside, None


def in_vrf(path, words, family):
    path.ingress.device("red", "type vrf table 1000")
    ktap.defer(path.ingress.ip, "link del red")
    tunnel(path.ingress, path.egress, words, family)
    path.ingress.ip("link set t0 master red", net.address_line("t0", "fd00:9::1/64"))
    return path.ingress, "red"


DEAF = {"where lo is down": without_lo, "a VRF": in_vrf}


@ktap.table("{0} over {1}: TCP crosses a narrow path from {2}", [
    (*row, where) for row in EACH for where in DEAF])
def deaf(lab, words, family, where):
    path = lab.path
    net.one_processor()         # Two bulks would overtake each other in a tunnel with seq.
    forget(path)
    src, dev = DEAF[where](path, words, family)
    # The far end does not know, and asks for long segments.
    ktap.defer(path.narrow, 1500)
    path.r.ip(f"link set right mtu {NARROW}")
    bulks = [traffic.Bulk(src, path.egress, address, 1 << 20, dev=dev)
             for address in ("10.9.0.2", "fd00:9::2")]
    for bulk in bulks:
        bulk.finish(120)
    ktap.eq(src.peer_mtu(getattr(path.egress, family)), NARROW, "path MTU")


# ---- IPv4 without DF ----

ROUTE_MTU = 1300


def with_options(packet):
    """An IPv4 packet with options: one is for the first fragment only."""
    record_route, router_alert = bytes([7, 7, 4, 0, 0, 0, 0]), bytes([148, 4, 0, 0])
    extra = record_route + router_alert + b"\1"
    later = b"\1" * 7 + router_alert + b"\1"
    header = bytearray(packet[:20])
    header[0] += len(extra) // 4
    header[2:4] = struct.pack("!H", len(packet) + len(extra))
    header[10:12] = bytes(2)
    header[10:12] = struct.pack("!H", pkt.checksum(header + extra))
    return bytes(header) + extra + packet[20:], later


def unfitting():
    """What, an inner packet that does not fit, its options as in later fragments."""
    data = random.Random(1).randbytes(1400)
    whole = pkt.inner("v4", data=data, id=0x1234)
    yield "a packet", whole, b""
    yield "a fragment", pkt.inner("v4", data=data, id=0x1235, frag=50, flags="MF"), b""
    yield ("a packet with options", *with_options(whole))


def framed(bed_tunnel, packet):
    """The packet as the device takes it: with these link layers before it."""
    if not bed_tunnel.eth:
        return [b""]
    ether = pkt.frame(pkt.IP(packet))[:14]
    return [ether, ether[:12] + b"\x81\0\0\5" + ether[12:]]


def too_long(lab, words, family, mode):
    """A tunnel over a route that is narrow for what its device takes."""
    bed_tunnel = lab.bed.tunnel(f"{words} mtu 2000", family)
    bed_tunnel.set(f"frag {mode}")
    bed_tunnel.ns.ip(f"route replace {bed_tunnel.remote} dev under0 mtu {ROUTE_MTU}")
    bed_tunnel.peer.drain()
    return bed_tunnel


def pieces(bed_tunnel):
    """What the tunnel has sent, up to a short packet behind it."""
    end = b"the end of it all"
    last = pkt.inner("v4", data=end)
    bed_tunnel.push(pkt.frame(pkt.IP(last)) if bed_tunnel.eth else last)
    found = []
    while end not in (packet := bed_tunnel.next()):
        ktap.true(len(packet) <= ROUTE_MTU, f"{len(packet)} bytes fit")
        found.append(packet)
    return found


def is_fragment(packet):
    fields = pkt.outer_fields(packet)
    return fields["proto"] == 44 if pkt.version(packet) == "v6" else (
        bool(fields["mf"] or fields["frag"]))


@ktap.table("{0} over {1}: frag inner", BOTH)
def frag_inner(lab, words, family):
    bed_tunnel = too_long(lab, words, family, "inner")
    for what, inner, later in unfitting():
        for link in framed(bed_tunnel, inner):
            bed_tunnel.push(link + inner)
            start = overhead(words, family) - (14 if bed_tunnel.eth else 0)
            fragments = []
            for packet in pieces(bed_tunnel):
                ktap.true(not is_fragment(packet), f"{what}: whole outer packets")
                ktap.eq(pkt.bad_checksums(packet), [], f"{what}: wrong checksums")
                ktap.eq(packet[start:start + len(link)], link, f"{what}: link layer")
                fragments.append(packet[start + len(link):])
            whole_again(what, inner, fragments, later)


def whole_again(what, inner, fragments, later):
    """The inner fragments are, together, the inner packet."""
    ktap.true(len(fragments) > 1, f"{what}: fragments")
    first, place = pkt.outer_fields(inner), 0
    for number, fragment in enumerate(fragments):
        fields = pkt.outer_fields(fragment)
        last = number == len(fragments) - 1
        ktap.holds(fields, {
            "src": first["src"], "dst": first["dst"], "id": first["id"], "ttl": first["ttl"],
            "df": 0, "frag": first["frag"] + place // 8, "mf": first["mf"] if last else 1,
            "length": len(fragment), "options": later if number else first["options"],
        }, f"{what}: fragment {number}")
        ktap.eq(pkt.ones_sum(fragment[:fields["header"]]), 0xffff, f"{what}: header checksum")
        body = fragment[fields["header"]:]
        ktap.eq(body, inner[first["header"] + place:][:len(body)], f"{what}: fragment {number}")
        place += len(body)
    ktap.eq(place, len(inner) - first["header"], f"{what}: length of all")


@ktap.table("{0} over {1}: frag outer", BOTH)
def frag_outer(lab, words, family):
    bed_tunnel = too_long(lab, words, family, "outer")
    for what, inner, _ in unfitting():
        for link in framed(bed_tunnel, inner):
            bed_tunnel.push(link + inner)
            whole = bytes(reassembled(bed_tunnel, pieces(bed_tunnel)))
            ktap.eq(pkt.bad_checksums(whole), [], f"{what}: wrong checksums")
            start = overhead(words, family) - (14 if bed_tunnel.eth else 0)
            ktap.eq(whole[start:], link + inner, what)


def reassembled(bed_tunnel, fragments):
    ktap.true(len(fragments) > 1, "fragments")
    body = b""
    for number, packet in enumerate(fragments):
        more = int(number < len(fragments) - 1)
        if bed_tunnel.family == "v4":
            ktap.holds(pkt.outer_fields(packet), {"df": 0, "mf": more, "frag": len(body) // 8},
                       f"fragment {number}")
            proto, start = packet[9], 20
        else:
            ktap.eq(packet[6], 44, "next header: fragment")
            ktap.eq(struct.unpack_from("!H", packet, 42)[0], len(body) | more,
                    f"place of fragment {number}")
            proto, start = packet[40], 48
        body += packet[start:]
    return bed_tunnel.outer(body, proto, src=bed_tunnel.local, dst=bed_tunnel.remote)


@ktap.table("{0} over {1}: frag never", BOTH)
def frag_never(lab, words, family):
    bed_tunnel = too_long(lab, words, family, "never")
    for what, inner, _ in unfitting():
        for link in framed(bed_tunnel, inner):
            with bed_tunnel.ns.moves(bed_tunnel.dev, tx_frag_never=1):
                bed_tunnel.push(link + inner)
                ktap.eq(pieces(bed_tunnel), [], f"{what}: nothing sent")


@ktap.table("{0} over {1}: frag {2}: datagrams without DF cross a narrow path", [
    (*row, mode) for row in EACH for mode in ("inner", "outer")])
def frag_path(lab, words, family, mode):
    path = lab.path
    forget(path)
    ktap.defer(path.narrow, 1500)
    path.narrow(NARROW)
    # Pinned, and without relay, so that all fragmenting is left to the tunnel.
    flows = routed(path, f"{words} frag {mode} mtu 1500 icmp-relay off", family)
    flows[0].send(1500 - overhead(words, family))
    ktap.wait_for(lambda: path.ingress.peer_mtu(getattr(path.egress, family)) < 1500, "a path MTU", 20)
    before = fragmented(path.ingress, family)
    traffic.udp_crosses(path.a, path.b, path.b.v4, 4000, df="unset")
    ktap.eq(fragmented(path.ingress, family) > before, mode == "outer", "outer packets fragmented")


def fragmented(ns, family):
    """Fragments that the stack of the namespace has made."""
    if family == "v4":
        with ns, open("/proc/thread-self/net/snmp") as file:
            names, values = [line.split() for line in file if line.startswith("Ip: ")]
        return int(values[names.index("FragCreates")])
    with ns, open("/proc/thread-self/net/snmp6") as file:
        return int(re.search(r"Ip6FragCreates\s+(\d+)", file.read())[1])


# ---- IPv6's least MTU ----

@ktap.table("{0}: 1280 bytes of IPv6 cross {1} bytes of {2}", [
    (words, mtu, family) for mtu, family in ((1280, "v6"), (600, "v4")) for words in KINDS])
def least(lab, words, mtu, family):
    a, b = lab.small(mtu)
    tunnel(a, b, words, family)
    ktap.eq((a.mtu("t0"), b.mtu("t0")), (1280, 1280), "device MTUs")
    there, back = Flow(a, b, "fd00:9::2"), Flow(b, a, "fd00:9::1")
    for flow in (there, back):
        flow.passes(1280)
        flow.refused(1281)
    a.ip("link set t0 mtu 1400")
    there.told(1281, 1280)
    there.passes(1280)


# ---- forged too-bigs ----

def put(packet, place, value):
    return packet[:place] + value + packet[place + len(value):]


def other_address(place4, place6):
    """The last byte of an address in the quoted header differs."""
    def change(quote):
        place = place4 if pkt.version(quote) == "v4" else place6
        return put(quote, place, bytes([quote[place] ^ 0x40]))
    return change


def quote_fits(quote):
    v4 = pkt.version(quote) == "v4"
    return put(quote, 2 if v4 else 4, struct.pack("!H", FORGED_MTU - (0 if v4 else 40)))


def at_gre(place, value):
    return lambda quote: put(quote, pkt.outer_fields(quote)["header"] + place, value)


FORGED_MTU = 1300
FORGED = {
    "that would have fitted": (quote_fits, ("encap ip", "encap gre key 7")),
    "from another address": (other_address(15, 23), ("encap ip", "encap gre key 7")),
    "to another address": (other_address(19, 39), ("encap ip", "encap gre key 7")),
    "with another key": (at_gre(4, bytes([0, 0, 0, 8])), ("encap gre key 7",)),
    "without a key": (at_gre(0, bytes(2)), ("encap gre key 7",)),
    "with a key": (at_gre(0, bytes([0x20, 0])), ("encap gre",)),
    "of another payload": (at_gre(2, bytes([0x65, 0x58])), ("encap gre key 7",)),
}


def too_big(bed_tunnel, quote, mtu):
    """The error that a router sends about the quoted packet."""
    src, dst = bed_tunnel.peer.address(bed_tunnel.family), bed_tunnel.local
    if bed_tunnel.family == "v4":
        return pkt.ip("v4", src, dst, pkt.ICMP(type=3, code=4, nexthopmtu=mtu) / quote[:548])
    return pkt.ip("v6", src, dst, pkt.ICMPv6PacketTooBig(mtu=mtu) / quote[:1232])


def quoted(lab, words, family):
    """A tunnel whose path has not been measured, and what it sends."""
    bed_tunnel = lab.bed.tunnel(words, family)
    # With the route goes what was learned about it; but for the mtu it would be
    # one and the same in the kernel as other peers' routes.
    line = f"route {{}} {bed_tunnel.remote} dev under0 mtu 1500"
    bed_tunnel.ns.refused(line.format("del"))
    bed_tunnel.ns.ip(line.format("add"))
    ktap.defer(bed_tunnel.ns.ip, line.format("del"))
    inner = pkt.inner("v4", data=bytes(1380))
    return bed_tunnel, bed_tunnel.out(inner)


def learned(bed_tunnel, mtu):
    remote = bed_tunnel.remote
    ktap.wait_for(lambda: bed_tunnel.ns.peer_mtu(remote) < 1500, "a path MTU", 20)
    ktap.eq(bed_tunnel.ns.peer_mtu(remote), mtu, "path MTU")


@ktap.table("{0} over {1}: a too-big about a packet {2} is not believed", [
    (words, family, what) for what, (_, encaps) in FORGED.items()
    for words in encaps for family in FAMILIES])
def forged(lab, words, family, what):
    bed_tunnel, sent = quoted(lab, words, family)
    bed_tunnel.peer.send(too_big(bed_tunnel, FORGED[what][0](sent), FORGED_MTU))
    # The real one behind it does not raise what the forged one would have set.
    bed_tunnel.peer.send(too_big(bed_tunnel, sent, NARROW))
    learned(bed_tunnel, NARROW)


@ktap.table("{0} over {1}: a too-big with a wrong checksum is not believed", [
    (words, family) for words in ("encap ip", "encap gre key 7") for family in FAMILIES])
def bad_checksum(lab, words, family):
    bed_tunnel, sent = quoted(lab, words, family)
    error = bytearray(bytes(too_big(bed_tunnel, sent, FORGED_MTU)))
    error[pkt.IP_LEN[family] + 2] ^= 1
    bed_tunnel.peer.send(error)
    bed_tunnel.peer.send(too_big(bed_tunnel, sent, NARROW))
    learned(bed_tunnel, NARROW)


@ktap.table("{0} over {1}: a too-big does not raise the path MTU, and has a floor", [
    (words, family) for words in ("encap ip", "encap gre key 7") for family in FAMILIES])
def not_raised(lab, words, family):
    bed_tunnel, sent = quoted(lab, words, family)
    bed_tunnel.peer.send(too_big(bed_tunnel, sent, NARROW))
    learned(bed_tunnel, NARROW)
    bed_tunnel.peer.send(too_big(bed_tunnel, sent, NARROW + 8))
    answered(bed_tunnel)
    learned(bed_tunnel, NARROW)
    # RFC 8201 section 4 for IPv6.
    floor = 1280 if family == "v6" else int(bed_tunnel.ns.sysctl("net.ipv4.route.min_pmtu"))
    bed_tunnel.peer.send(too_big(bed_tunnel, sent, 300))
    answered(bed_tunnel)
    learned(bed_tunnel, floor)


def own_word(bed_tunnel, quote, mtu, source):
    """The host itself says that a packet is too big for its route."""
    v4 = bed_tunnel.family == "v4"
    sock = bed_tunnel.ns.socket(net.family_of(bed_tunnel.local), socket.SOCK_RAW,
                                socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6)
    sock.bind((source, 0))
    error = too_big(bed_tunnel, quote, mtu)[pkt.ICMP if v4 else pkt.ICMPv6PacketTooBig]
    sock.sendto(bytes(error), (bed_tunnel.local, 0))    # of IPv6 the kernel makes the checksum


@ktap.table("{0} over {1}: the host's own too-big counts, but not that of a route that is gone", [
    (words, family) for words in ("encap ip", "encap gre key 7") for family in FAMILIES])
def own_too_big(lab, words, family):
    bed_tunnel, sent = quoted(lab, words, family)
    second = {"v4": "192.0.2.77", "v6": "2001:db8:1::77"}[family]
    bed_tunnel.ns.ip(net.address_line("under0", f"{second}/{32 if family == 'v4' else 128}"))
    ktap.defer(bed_tunnel.ns.ip, f"addr del {second} dev under0")
    with bed_tunnel.ns.moves(bed_tunnel.dev, err_bogus_mtu=4):
        for source in (bed_tunnel.local, second):
            for mtu in (1, 68):
                own_word(bed_tunnel, sent, mtu, source)
    ktap.eq(bed_tunnel.ns.peer_mtu(bed_tunnel.remote), 1500, "MTU of the route")
    with bed_tunnel.ns.moves(bed_tunnel.dev, err_too_big=1):
        own_word(bed_tunnel, sent, NARROW, second)
    learned(bed_tunnel, NARROW)


def answered(bed_tunnel):
    """The host has dealt with what was sent to it before."""
    peer = bed_tunnel.peer
    src, dst = peer.address(bed_tunnel.family), bed_tunnel.local
    echo = pkt.ICMP(id=1) if bed_tunnel.family == "v4" else pkt.ICMPv6EchoRequest(id=1)
    peer.send(pkt.ip(bed_tunnel.family, src, dst, echo))
    peer.recv(lambda packet: pkt.outer_fields(packet)["dst"] == src, "an echo reply")


# The tunnel's dev, and a longer prefix at another: which of them a packet takes
# is for the tunnel to say, and an error is about that one.
ELSEWHERE = {"v4": ("203.0.113.9", "203.0.113.0/24"),
             "v6": ("2001:db8:77::9", "2001:db8:77::/64")}


@ktap.table("over {0}, local {1}: a too-big is about the route through dev", [
    ("v4", "given"), ("v6", "given"), ("v6", "any")])
def through_dev(lab, family, local_):
    bed, bed_tunnel = lab.bed, lab.bed.tunnel("encap gre key 9", family)
    ns, second = bed.ns, bed.second_link()
    remote, prefix = ELSEWHERE[family]
    for line in (f"default via {bed.peer.address(family)} dev under0",
                 f"{prefix} via {second.address(family)} dev under1"):
        ns.ip(f"route add {line}")
        ktap.defer(ns.ip, f"route del {line}")
    bed_tunnel.set(f"local {bed_tunnel.local if local_ == 'given' else 'any'} "
                   f"remote {remote} dev under0")
    bed_tunnel.remote = remote
    inner = pkt.inner("v4", data=bytes(1380), flags="DF")
    sent = bed_tunnel.out(inner)
    bed.peer.send(too_big(bed_tunnel, sent, NARROW))
    ktap.wait_for(lambda: ns.peer_mtu(remote) < 1500, "a path MTU through dev", 20)
    ktap.eq(ns.peer_mtu(remote), NARROW, "path MTU through dev")
    with ns.moves(bed_tunnel.dev, tx_too_big=1):
        bed_tunnel.push(inner)


# What the quoted packet has, and the tunnel's lookup had not.
ASIDE = [("tos inherit", "tos 0x10"), ("local any", "from LOCAL")]


@ktap.table("{1} over {0}: a too-big is about the tunnel's route, not about that of rule {2}", [
    (family, *row) for family in FAMILIES for row in ASIDE])
def own_route(lab, family, words, rule):
    bed_tunnel, _ = quoted(lab, "encap gre key 10", family)
    bed_tunnel.set(words)
    ktap.defer(bed_tunnel.set, f"tos 0 local {bed_tunnel.local}")
    net.rule(bed_tunnel.ns, family, f"{rule.replace('LOCAL', bed_tunnel.local)} table 100")
    aside = f"{bed_tunnel.remote} via {bed_tunnel.peer.address(family)} dev under0 table 100"
    bed_tunnel.ns.ip(f"route add {aside}")
    ktap.defer(bed_tunnel.ns.ip, f"route del {aside}")
    sent = bed_tunnel.out(pkt.inner("v4", data=bytes(1380), tos=0x10))
    bed_tunnel.peer.send(too_big(bed_tunnel, sent, NARROW))
    learned(bed_tunnel, NARROW)


@ktap.table("{0} over v4: a route with a locked MTU: no DF, and nothing is learned", [
    "encap ip", "encap gre key 7", "encap gre payload eth"])
def locked(lab, words):
    bed_tunnel = lab.bed.tunnel(f"{words} ttl 44")
    line = f"route {{}} {bed_tunnel.remote} dev under0 mtu lock 1400"
    bed_tunnel.ns.ip(line.format("add"))
    ktap.defer(bed_tunnel.ns.ip, f"route del {bed_tunnel.remote} dev under0")
    ktap.wait_for(lambda: bed_tunnel.ns.mtu(bed_tunnel.dev) == 1400 - overhead(words, "v4"),
                  "the MTU of the device")
    inner = bed_tunnel.inner("v4", flags="DF", data=bytes(1300))
    sent = bed_tunnel.out(inner)
    ktap.eq(pkt.outer_fields(sent)["df"], 0, "DF")
    with bed_tunnel.ns.moves(bed_tunnel.dev, err_bogus_mtu=1):
        bed_tunnel.peer.send(too_big(bed_tunnel, sent, 1300))
    ktap.eq(bed_tunnel.ns.peer_mtu(bed_tunnel.remote), 1400, "path MTU")
    bed_tunnel.ns.ip(line.format("replace").replace("lock ", ""))
    ktap.eq(pkt.outer_fields(bed_tunnel.out(inner))["df"], 1, "DF once it is not locked")


# ---- TCP ----

@ktap.table("{0} over {1}: TCP goes on when the path narrows", [*EACH, ("encap gre", "v6")])
def tcp(lab, words, family):
    path = lab.path
    forget(path)
    ktap.defer(path.narrow, 1500)
    tunnel(path.ingress, path.egress, words, family)
    route_lans(path)
    # They leave the machine time for other things, and end when they are killed.
    path.a.check("tc", "qdisc", "add", "dev", "lan0", "root", "netem", "rate", "60mbit")
    ktap.defer(path.a.check, "tc", "qdisc", "del", "dev", "lan0", "root")
    bulks = [traffic.Bulk(path.a, path.b, address, 1 << 40)
             for address in (path.b.v4, path.b.v6)]
    for bulk in bulks:
        bulk.progress(1 << 16)
    path.narrow(NARROW)
    remote = getattr(path.egress, family)
    ktap.wait_for(lambda: path.ingress.peer_mtu(remote) == NARROW,
                  "a path MTU, which a large segment finds out", 60)
    for bulk in bulks:
        bulk.progress(1 << 20)


ktap.main(setup)
