#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# xtun takes nothing away from anyone: beside the in-tree tunnels, loaded before
# or after it, between the same two addresses, each gets its own packets and
# ICMP errors; and filters, connection tracking and IPsec see the outer packets
# as they see those of the in-tree tunnels.
#
# On net.Path: tunnels between ingress and egress, routers r between them.
import contextlib
import errno
import os
import re
import socket
import struct
import subprocess

from lib import capture, ktap, net, pkt, traffic

# What gre and tunnel6 are to others, unloading them in this order takes along.
IN_TREE = ("fou", "ip6_gre", "ip_gre", "ipip", "sit", "ip6_tunnel")
# What insmod needs; and with them, foreign IP in IP has somewhere to go.
NEEDED = ("tunnel4", "tunnel6", "nf_defrag_ipv6", "udp_tunnel", "ip6_udp_tunnel")

XTUN, OTHERS = "xtun", "the in-tree drivers"
ORDERS = {"xtun first": (XTUN, OTHERS), "xtun last": (OTHERS, XTUN)}

FOU_PORT = 5555
FOU = f"encap fou encap-sport auto encap-dport {FOU_PORT}"

# owner, family of the underlay, words, number of the addresses, what it carries
TUNNELS = {
    "gre-1": (XTUN, "v4", "encap gre key 1", 1, "v4 v6"),
    "gre-6": (XTUN, "v4", "encap gre key 6", 1, "v4 v6"),
    "eth-2": (XTUN, "v4", "encap gre payload eth key 2", 1, "v4 v6"),
    "ip": (XTUN, "v4", "encap ip", 1, "v4 v6"),
    "gre-1-over-v6": (XTUN, "v6", "encap gre key 1", 1, "v4 v6"),
    "gre-6-over-v6": (XTUN, "v6", "encap gre key 6", 1, "v4 v6"),
    "eth-2-over-v6": (XTUN, "v6", "encap gre payload eth key 2", 1, "v4 v6"),
    "ip-over-v6": (XTUN, "v6", "encap ip", 1, "v4 v6"),
    "in-tree gre-2": (OTHERS, "v4", "gre key 2", 1, "v4 v6"),
    "in-tree gre": (OTHERS, "v4", "gre", 1, "v4 v6"),
    "in-tree gre-10 in fou": (OTHERS, "v4", f"gre key 10 {FOU}", 1, "v4 v6"),
    "in-tree gretap-6": (OTHERS, "v4", "gretap key 6", 1, "v4 v6"),
    "in-tree ipip": (OTHERS, "v4", "ipip", 2, "v4"),
    "in-tree sit": (OTHERS, "v4", "sit", 2, "v6"),
    "in-tree ip6gre-2": (OTHERS, "v6", "ip6gre key 2", 1, "v4 v6"),
    "in-tree ip6gre": (OTHERS, "v6", "ip6gre", 1, "v4 v6"),
    "in-tree ip6gretap-6": (OTHERS, "v6", "ip6gretap key 6", 1, "v4 v6"),
    "in-tree ip6tnl": (OTHERS, "v6", "ip6tnl mode any", 2, "v4 v6"),
}

# Outer packets as alike as they get: the same addresses but for IP in IP, and
# some even the same key, with another payload.
NEIGHBOURS = [
    ("gre-1", "in-tree gre-2"), ("gre-1", "in-tree gre"),
    ("gre-1", "in-tree gre-10 in fou"), ("gre-6", "in-tree gretap-6"),
    ("eth-2", "in-tree gre-2"), ("eth-2", "in-tree gretap-6"),
    ("ip", "in-tree ipip"), ("ip", "in-tree sit"),
    ("gre-1-over-v6", "in-tree ip6gre-2"), ("gre-1-over-v6", "in-tree ip6gre"),
    ("gre-6-over-v6", "in-tree ip6gretap-6"), ("eth-2-over-v6", "in-tree ip6gre-2"),
    ("eth-2-over-v6", "in-tree ip6gretap-6"), ("ip-over-v6", "in-tree ip6tnl"),
]


# Outer packets of xtun are marked, and marked packets have routes of their own,
# to the same place: what is learned of a path is learned by one owner.
MARK, TABLE = 7, 77
SO_MARK = 36


class Tunnel:
    """One tunnel, both ends of it; dev is its name on both."""

    def __init__(self, name):
        self.owner, self.family, words, self.pair, inside = TUNNELS[name]
        self.inside = inside.split()
        self.number = list(TUNNELS).index(name)
        self.dev = f"t{self.number}"
        self.kind, self.mark = ("type", 0)
        if self.owner == XTUN:
            self.kind, self.mark = (f"type xtun fwmark {MARK}", MARK)
        self.words = words

    def address(self, family, end):
        """Inside; end: 1 at the ingress, 2 at the egress."""
        net4, net6 = f"10.9.{self.number}.", f"fd00:9:{self.number:x}::"
        return f"{net4 if family == 'v4' else net6}{end}"

    def lines(self, stage, end):
        """What makes the device of one end, for ip(8)."""
        local, remote = (stage.outer(stage.ends[number - 1], self.family, self.pair)
                         for number in (end, 3 - end))
        yield (f"link add {self.dev} {self.kind} {self.words} local {local} "
               f"remote {remote}")
        yield f"link set {self.dev} up"
        for family in self.inside:
            bits = {"v4": 24, "v6": 64}[family]
            yield net.address_line(self.dev, f"{self.address(family, end)}/{bits}")

    def works(self, stage):
        for family in self.inside:
            for end, ns in enumerate(stage.ends, 1):
                address = self.address(family, 3 - end)
                ktap.true(traffic.ping(ns, address), f"ping {address} through {self.words}")


# What the path's ingress has to the egress.
FAR = ("198.51.100.0/24 via 192.0.2.254", "2001:db8:2::/64 via 2001:db8:1::fe")


class Stage:
    """The path, and both owners' tunnels on it, made in one of two orders."""

    def __init__(self, order):
        self.order = order
        self.spent = False
        self.path = net.path()
        self.ingress, self.r, self.egress = (
            self.path.ingress, self.path.r, self.path.egress)
        self.ends = (self.ingress, self.egress)
        self.tunnels = {name: Tunnel(name) for name in TUNNELS}
        for ns in (*self.ends, self.r):
            # Each packet of the test is answered, however many they are.
            ns.sysctl({"net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0})
        for ns in self.ends:
            ns.ip(*(net.address_line("under0", self.outer(ns, family, number) + bits)
                    for family, bits in (("v4", "/24"), ("v6", "/64"))
                    for number in (2, 9)))
        for option in ("-4", "-6"):
            self.ingress.ip(f"{option} rule add fwmark {MARK} table {TABLE}")
        self.ingress.ip(*(f"route add {line} table {TABLE}" for line in FAR))
        self.before = self.after = None
        self._width = 1500
        self._load()

    def _load(self):
        unload()
        for name in NEEDED:
            net.need_modules(name)
        first, second = ORDERS[self.order]
        # In-tree drivers answer for what nobody wants, so they count as what
        # was there before; without them it is the kernel itself.
        if first == OTHERS:
            self.add(OTHERS)
        self.before = answers(self)
        self.add(XTUN)
        self.after = answers(self)
        if second == OTHERS:
            self.add(OTHERS)

    def add(self, owner):
        if owner == XTUN:
            net.load_module()
        else:
            net.need_modules(*IN_TREE)
            for ns in self.ends:
                ns.ip(f"fou add port {FOU_PORT} ipproto 47")
        for end, ns in enumerate(self.ends, 1):
            ns.ip(*(line for tunnel in self.of(owner) for line in tunnel.lines(self, end)))
        # One of them is in use when the other owner comes.
        self.of(owner)[0].works(self)

    def remove(self, owner):
        for ns in self.ends:
            ns.ip(*(f"link del {tunnel.dev}" for tunnel in self.of(owner)))
            if owner == OTHERS:
                ns.ip(f"fou del port {FOU_PORT} ipproto 47")
        if owner == XTUN:
            remove_xtun()
        else:
            remove(*IN_TREE)

    def of(self, owner):
        return [tunnel for tunnel in self.tunnels.values() if tunnel.owner == owner]

    @staticmethod
    def outer(ns, family, number):
        """The addresses of a router: 1 (the one it has anyway), 2 and 9."""
        return re.sub("1$", str(number), getattr(ns, family))

    def delete(self):
        for ns in (self.path.a, self.ingress, self.r, self.egress, self.path.b):
            ns.delete()

    def width(self, mtu):
        """The MTU of the link between r and the egress."""
        if self._width != mtu:
            self.path.narrow(mtu)
            self._width = mtu

    def forget_paths(self):
        """What the ingress has learned of path MTUs goes with the routes."""
        self.ingress.ip(*(f"route {what} {line}{table}" for line in FAR
                          for table in ("", f" table {TABLE}") for what in ("del", "add")))


class Stages:
    """The stage of an order, made when it is first asked for."""

    def __init__(self):
        self._stage = None

    def of(self, order):
        if self._stage and not self._stage.spent and order == self._stage.order:
            return self._stage
        if self._stage:
            self._stage.delete()
            self._stage = None
        with ktap.for_file():
            self._stage = Stage(order)
        return self._stage


def setup():
    net.need_root()
    return Stages()


def _gone(*names):
    return not any(os.path.isdir(f"/sys/module/{name}") for name in names)


def remove(*names):
    """Unloads modules; namespaces that use them may still be on their way out."""
    def removed():
        subprocess.run(["modprobe", "-r", "-q", *names], capture_output=True)
        return _gone(*names)
    ktap.wait_for(removed, f"the end of {' '.join(names)}")


def remove_xtun():
    def removed():
        subprocess.run(["rmmod", "xtun"], capture_output=True)
        return _gone("xtun")
    ktap.wait_for(removed, "the end of xtun")


def unload():
    remove_xtun()
    remove(*IN_TREE)


# ---- each order ----

_in_order = []


def in_each_order(description, rows=((),), orders=tuple(ORDERS)):
    """As ktap.table(), for all orders; those of one order follow each other."""
    def register(function):
        _in_order.append((description, [row if isinstance(row, tuple) else (row,)
                                        for row in rows], function, orders))
        return function
    return register


def in_one_order(description, rows):
    """What has nothing to do with who was loaded first."""
    return in_each_order(description, rows, ("xtun last",))


def register_orders():
    for order in ORDERS:
        for description, rows, function, orders in _in_order:
            if order not in orders:
                continue
            ktap.table("{0}: " + description, [(order, *row) for row in rows])(
                lambda stages, order, *row, function=function:
                    function(stages.of(order), *row))


@in_each_order("all devices of both carry packets")
def load(stage):
    for tunnel in stage.tunnels.values():
        tunnel.works(stage)


@contextlib.contextmanager
def untouched(stage, tunnel):
    """Nothing but chatter passes the tunnel's devices meanwhile."""
    seen = [capture.Capture(ns, tunnel.dev) for ns in stage.ends]
    try:
        yield
        for each in seen:
            ktap.eq(each.packets(), [], f"packets on {tunnel.dev} ({tunnel.words})")
    finally:
        for each in seen:
            each.close()


def at_once(stage, *tunnels):
    """Requests through all of them are under way at the same time."""
    pingers = [traffic.Pinger(stage.ingress, tunnel.address(tunnel.inside[0], 2))
               for tunnel in tunnels]
    try:
        for _ in range(5):
            sent = [pinger.send() for pinger in pingers]
            for pinger, what, tunnel in zip(pingers, sent, tunnels):
                ktap.true(pinger.replied(what, 20), f"a reply through {tunnel.words}")
    finally:
        for pinger in pingers:
            pinger.close()


@in_each_order("{1} and {2} get their own packets", NEIGHBOURS)
def packets(stage, ours, theirs):
    ours, theirs = stage.tunnels[ours], stage.tunnels[theirs]
    with untouched(stage, ours):
        theirs.works(stage)
    with untouched(stage, theirs):
        ours.works(stage)
    at_once(stage, ours, theirs)


# RFC 1701 had a meaning for them; RFC 2784 section 2.3 leaves it to a receiver
# whether it has one. The in-tree drivers take such packets.
OLD_FLAGS = {"strict source route": 0x0800, "recursion control": 0x0400}


@in_each_order("{1} gets its packets with {2}", [
    (name, flag) for name in ("in-tree gre-2", "in-tree ip6gre-2") for flag in OLD_FLAGS])
def old_flags(stage, name, flag):
    tunnel = stage.tunnels[name]
    receiver = traffic.udp(stage.ingress, tunnel.address("v4", 1))
    seen = capture.Capture(stage.egress, "under0")
    ktap.defer(seen.close)
    data = b"first without the flag, then with it"
    sender = traffic.udp(stage.egress, family=socket.AF_INET)
    sender.sendto(data, receiver.getsockname())
    ktap.eq(traffic.recv(receiver)[0], data, "datagram without it")
    outer = seen.wait(lambda packet: data in packet, "its outer packet")
    body = outer[pkt.outer_fields(outer)["header"]:]
    flags, = struct.unpack_from("!H", body)
    src, dst = (stage.outer(ns, tunnel.family, tunnel.pair) for ns in stage.ends[::-1])
    raw = stage.egress.socket(net.family_of(dst), socket.SOCK_RAW, pkt.GRE_PROTO)
    raw.bind((src, 0))
    raw.sendto(struct.pack("!H", flags | OLD_FLAGS[flag]) + body[2:], (dst, 0))
    ktap.eq(traffic.recv(receiver, "a datagram with it")[0], data, "datagram with it")


def path_mtu(stage, tunnel, mark):
    """What the ingress believes of the path to the other end, as a socket has it; of
    a tunnel of ours, as the tunnel has it."""
    if tunnel.owner != OTHERS:
        return stage.ingress.tunctl("path", tunnel.dev)[0]["path"]["mtu"]
    local, remote = (stage.outer(ns, tunnel.family, tunnel.pair) for ns in stage.ends)
    sock = traffic.udp(stage.ingress, local)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        sock.connect((remote, 9))
        return sock.getsockopt(*{"v4": (socket.IPPROTO_IP, 14),         # IP_MTU
                                 "v6": (socket.IPPROTO_IPV6, 24)}[tunnel.family])
    finally:
        sock.close()


def is_too_long(sock, size):
    try:
        sock.send(bytes(size))
    except OSError as error:
        return error.errno == errno.EMSGSIZE
    return False


def sender(stage, tunnel):
    """A UDP socket at the ingress, connected through the tunnel."""
    address = tunnel.address(tunnel.inside[0], 2)
    sock = stage.ingress.socket(net.family_of(address), socket.SOCK_DGRAM)
    traffic.set_df(sock, "set")
    traffic.receive_errors(sock)
    sock.connect((address, 9))
    return sock


@in_each_order("a packet-too-big about {1} is believed", [
    name for name in TUNNELS if name not in ("gre-6", "gre-6-over-v6", "in-tree gre",
                                             "in-tree ip6gre")])
def too_big(stage, name):
    tunnel = stage.tunnels[name]
    stage.width(1400)
    stage.forget_paths()
    for mark in (0, MARK):
        ktap.eq(path_mtu(stage, tunnel, mark), 1500, "path MTU, to begin with")
    mtu = stage.ingress.mtu(tunnel.dev)
    sock = sender(stage, tunnel)
    longest = min(mtu, 1500) - (28 if tunnel.inside[0] == "v4" else 48)
    # The first goes out whole, and a later one is told from what it met.
    ktap.true(not is_too_long(sock, longest), "the first fits, as far as is known")
    ktap.wait_for(lambda: path_mtu(stage, tunnel, tunnel.mark) == 1400,
                  "a path MTU of 1400", 20)
    ktap.wait_for(lambda: is_too_long(sock, longest), "EMSGSIZE for the sender", 20)
    # The converse does not hold: ip_gre believes every error about GRE.
    if tunnel.owner == OTHERS:
        ktap.eq(path_mtu(stage, tunnel, MARK), 1500, "path MTU, as xtun has it")


# Not sit, whose word comes from an IPv4-mapped address and is dropped by
# ip6_rcv(), and not ip6gre, which only counts.
@in_each_order("a host unreachable about {1} is told by its driver", [
    "in-tree gre-2", "in-tree gretap-6", "in-tree ipip", "in-tree ip6tnl"])
def unreachable(stage, name):
    tunnel = stage.tunnels[name]
    stage.width(1500)
    line = f"unreachable {stage.outer(stage.egress, tunnel.family, tunnel.pair)}"
    stage.r.ip(f"route add {line}")
    ktap.defer(stage.r.ip, f"route del {line}")
    sock = sender(stage, tunnel)

    def told():
        with contextlib.suppress(OSError):
            sock.send(b"is anybody there?")
        return traffic.errors(sock)
    found = ktap.wait_for(told, "an error in the sender's queue", 20)
    ktap.one_of(found[0]["errno"], (errno.EHOSTUNREACH, errno.ENETUNREACH), "errno")


# ---- what belongs to nobody ----

IP4 = bytes.fromhex("45000014000000004001661e0a0000010a000002")
IP6 = bytes.fromhex("6000000000003b40") + bytes(15) + b"\1" + bytes(15) + b"\2"

# protocol number, payload, number of the source address
FOREIGN = {
    "GRE with a key nobody has": (47, struct.pack("!HHI", 0x2000, 0x0800, 99) + IP4, 1),
    "GRE without a key": (47, struct.pack("!HH", 0, 0x0800) + IP4, 9),
    "GRE of a protocol nobody has": (47, struct.pack("!HHI", 0x2000, 0x1234, 1), 9),
    "PPTP": (47, struct.pack("!HHHHI", 0x3001, 0x880b, 0, 1, 0), 1),
    "ERSPAN": (47, struct.pack("!HHI", 0x1000, 0x88be, 1) + bytes(22), 1),
    "IPv4 in IP from an unknown address": (4, IP4, 9),
    "IPv6 in IP from an unknown address": (41, IP6, 9),
}


def answers(stage):
    """Types and codes of the ICMP errors that each foreign packet brings."""
    return {(name, family): _answers(stage, family, *packet)
            for name, packet in FOREIGN.items() for family in ("v4", "v6")}


def _answers(stage, family, proto, data, number):
    src = stage.outer(stage.egress, family, number)
    dst = stage.outer(stage.ingress, family, 1)
    ktap.true(traffic.ping(stage.egress, dst, source=src), "the underlay")
    with ktap.scope():
        net.one_processor()
        sock = stage.egress.socket(net.family_of(dst), socket.SOCK_RAW, proto)
        sock.bind((src, 0))
        seen = capture.Capture(stage.egress, "under0")
        ktap.defer(seen.close)
        sock.sendto(data, (dst, 0))
        # What is sent later on the same processor is answered later.
        ktap.true(traffic.ping(stage.egress, dst, source=src), "the underlay, afterwards")
        # In-tree tunnels get errors about their own chatter at any time.
        about = {"src": src, "dst": dst, "proto": proto}
        return [error for error in (_error(packet, about, data)
                                    for packet in seen.packets(False)) if error]


def _error(packet, about, data):
    """(type, code) of an ICMP error whose quote has these fields of the outer
    header and this behind it; or None."""
    if packet[0] >> 4 == 4:
        icmp, errors = packet[20:], packet[9] == 1 and packet[20] in (3, 11, 12)
    else:
        icmp, errors = packet[40:], packet[6] == 58 and packet[40] < 128
    if not errors or icmp[8] >> 4 != packet[0] >> 4:
        return None
    quote = icmp[8:]
    fields = pkt.outer_fields(quote)
    if any(fields[name] != value for name, value in about.items()):
        return None
    # Eight bytes are quoted at least.
    behind = quote[fields["header"]:]
    return (icmp[0], icmp[1]) if behind[:8] == data[:8] else None


@in_each_order("{1} over {2} is answered as without xtun",
               [(name, family) for name in FOREIGN for family in ("v4", "v6")])
def foreign(stage, *what):
    ktap.eq(stage.after[what], stage.before[what], "ICMP errors (type, code)")


@in_each_order("foreign packets bring some errors to compare")
def foreign_some(stage):
    count = sum(map(len, stage.before.values()))
    ktap.true(count >= len(FOREIGN), f"{count} errors")


# ---- filters, connection tracking, IPsec ----

GRE_TUNNELS = {"v4": "gre-1", "v6": "gre-1-over-v6"}


class Rules:
    """nft rules in a namespace, by the hook that their chain is at; counters."""

    def __init__(self, ns, counters, **chains):
        self._ns = ns
        text = "".join(f"counter {name} {{ }}\n" for name in counters)
        for hook, rules in chains.items():
            priority = 0 if hook == "input" else -300   # before connection tracking
            lines = "\n".join(rules)
            text += (f"chain {hook} {{\ntype filter hook {hook} priority {priority};\n"
                     f"{lines}\n}}\n")
        ns.check("nft", "-f", "-", text=f"table inet coexist {{\n{text}}}\n")
        ktap.defer(self.delete)

    def count(self, name):
        text = self._ns.check("nft", "list", "counter", "inet", "coexist", name)
        return int(re.search(r"packets (\d+)", text)[1])

    def delete(self):
        self._ns.run("nft", "delete", "table", "inet", "coexist")


@in_one_order("what a filter drops is not delivered, GRE over {1}", GRE_TUNNELS)
def filtered(stage, family):
    """All GRE is dropped; chatter of the tunnels, which is short, is not counted."""
    tunnel = stage.tunnels[GRE_TUNNELS[family]]
    rules = Rules(stage.ingress, ["dropped"], input=[
        "meta l4proto gre meta length >= 500 counter name dropped",
        "meta l4proto gre drop"])
    receiver = traffic.udp(stage.ingress, tunnel.address("v4", 1))
    sending = traffic.udp(stage.egress, family=socket.AF_INET)
    with untouched_at(stage.ingress, tunnel.dev):
        sending.sendto(b"dropped".ljust(500), receiver.getsockname())
        ktap.wait_for(lambda: rules.count("dropped") == 1, "the rule to drop one")
    rules.delete()
    sending.sendto(b"passed", receiver.getsockname())
    ktap.eq(traffic.recv(receiver)[0], b"passed", "the first datagram received")


@contextlib.contextmanager
def untouched_at(ns, dev):
    before = ns.stats(dev)["rx_packets"]
    yield
    ktap.eq(ns.stats(dev)["rx_packets"] - before, 0, "packets out of the tunnel")


@in_one_order("connections of {1} are established by a reply", [
    "gre-1", "gre-1-over-v6", "ip", "ip-over-v6"])
def tracked(stage, name):
    """An entry that is not confirmed on its way in is forgotten, all packets
    would be new, and the reply would begin a connection of the other direction.

    A connection is all that goes between two addresses, whatever the key:
    chatter of other tunnels, which is short, has to be kept out of it.
    """
    tunnel = stage.tunnels[name]
    states = {"new": "state new", "established": "state established ct direction original",
              "backward": "direction reply", "invalid": "state invalid"}
    # A rule for each protocol: lockdep finds fault with what 6.1 makes of a set.
    protos = (4, 41, 47)
    chatter = [f"meta l4proto {proto} meta length < 500 notrack" for proto in protos]
    rules = Rules(stage.egress, states, prerouting=chatter, output=chatter, input=[
        f"meta l4proto {proto} meta length >= 500 ct {match} counter name {state}"
        for state, match in states.items() for proto in protos])
    for _ in range(5):
        ktap.true(traffic.ping(stage.ingress, tunnel.address("v4", 2), 500), "ping")
    ktap.eq({state: rules.count(state) for state in states},
            {"new": 1, "established": 4, "backward": 0, "invalid": 0},
            "packets that came, by state")


KEY = "0x" + "0123456789abcdef" * 2 + "89abcdef"


def esp_lines(ends):
    """Both directions: what of GRE goes between these two goes in ESP."""
    for spi, (src, dst) in enumerate((ends, ends[::-1]), 0x100):
        yield (f"xfrm state add src {src} dst {dst} proto esp spi {spi} reqid 1 "
               f"mode transport aead rfc4106(gcm(aes)) {KEY} 128")


def policy_lines(ends, here):
    for src, dst in (ends, ends[::-1]):
        way = "out" if src == here else "in"
        yield (f"xfrm policy add src {src} dst {dst} proto gre dir {way} "
               f"tmpl src {src} dst {dst} proto esp reqid 1 mode transport")


def protocols(seen, ends):
    """Protocol numbers of the outer packets between these two."""
    fields = [pkt.outer_fields(packet) for packet in seen]
    return {outer["proto"] for outer in fields if {outer["src"], outer["dst"]} == set(ends)}


@in_one_order("GRE over {1} in ESP, and no more in the clear", GRE_TUNNELS)
def esp(stage, family):
    net.need_modules(f"esp{family[1]}")
    tunnel = stage.tunnels[GRE_TUNNELS[family]]
    stage.width(1500)
    ends = [stage.outer(ns, family, tunnel.pair) for ns in stage.ends]
    for ns, here in zip(stage.ends, ends):
        ktap.defer(ns.ip, "xfrm policy flush", "xfrm state flush")
        ns.ip(*esp_lines(ends), *policy_lines(ends, here))

    seen = capture.Capture(stage.egress, "under0")
    with stage.ingress.moves(tunnel.dev), stage.egress.moves(tunnel.dev):
        tunnel.works(stage)
        traffic.udp_crosses(stage.ingress, stage.egress, tunnel.address("v4", 2), 4000)
        traffic.udp_crosses(stage.egress, stage.ingress, tunnel.address("v4", 1), 4000)
    ktap.eq(protocols(seen.packets(), ends), {socket.IPPROTO_ESP}, "protocols on the underlay")
    stage.egress.ip("xfrm policy flush")
    seen.clear()
    sock = traffic.udp(stage.egress, family=socket.AF_INET)
    with stage.ingress.moves(tunnel.dev, rx_policy=1):
        sock.sendto(b"in the clear", (tunnel.address("v4", 1), 9))
    ktap.eq(protocols(seen.packets(True), ends), {socket.IPPROTO_GRE}, "protocols of it")


# ---- unloading ----

@in_each_order("what was loaded last can be unloaded with the other in use")
def unload_last(stage):
    first, last = ORDERS[stage.order]
    stage.spent = True
    stage.remove(last)
    for tunnel in stage.of(first):
        tunnel.works(stage)
    before = {XTUN: stage.after, OTHERS: stage.before}[first]
    ktap.eq(answers(stage), before, "ICMP errors about foreign packets")


register_orders()
ktap.main(setup)
