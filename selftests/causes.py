#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What goes wrong in the underlay, really and in each way that a Linux router
# knows, reaches the application that has sent the packet: errno, error queue,
# traceroute.  And what must not reach it does not.
#
# On net.Path with trouble.Underlay: the DSCP of a packet chooses its trouble.
import collections
import errno
import functools
import re
import socket
import struct

from lib import bed, errors, ktap, net, pkt, traffic, trouble
from lib.trouble import ALL, EACH, FAMILIES, KINDS, OTHER_ROWS, headers

# More DSCPs: of what the ingress's own filter rejects, and of what r passes on
# the first fragment only.
REJECTED_HERE, FRAGMENT_LOST = 60, 61


class Tunnel:
    """A tunnel of the ingress, t1, t2..., to a peer of its own."""

    def __init__(self, number, words, family):
        self.number, self.words, self.family = number, words, family
        self.dev = f"t{number}"
        self.headers = headers(words, family)

    def target(self, inner):
        """An address that the ingress routes into it."""
        return {"v4": f"10.20.{self.number}.2", "v6": f"fd00:20:{self.number:x}::2"}[inner]

    def lines(self, local):
        remote = trouble.peer(self.family, self.number)
        yield f"link add {self.dev} type xtun {self.words} local {local} remote {remote}"
        yield f"link set {self.dev} up"
        for inner, bits in (("v4", 24), ("v6", 64)):
            address = self.target(inner)
            yield net.address_line(self.dev, f"{address[:-1]}1/{bits}")
            if bed.is_eth(self.words):
                yield f"neigh add {address} lladdr 02:00:00:00:00:02 dev {self.dev} nud permanent"


# What is to be set up for a cause: lines of ip(8) at the ingress, and back.  A
# line with {dev} is one for each tunnel of that family of the underlay.
Setting = collections.namedtuple("Setting", "enter leave errors dscp", defaults=(0,))


def settings(family):
    """Name: Setting, for what the DSCP alone does not bring about."""
    time = trouble.TIME[family]
    host = trouble.HOST[family]
    prefix = trouble.NETS[family]
    via = trouble.VIA[family]
    detour = trouble.DSCP[family]["a detour"]
    every = {
        "a peer without the tunnel": Setting([], [], None),
        "its own filter": Setting([], [], trouble.PROHIBITED[family], REJECTED_HERE),
        "its own silent neighbour": Setting(
            [f"route del {via}", f"route add {prefix} dev under0"],
            [f"route del {prefix} dev under0", f"route add {via}"], host),
        **{f"ttl {ttl}": Setting([f"link set {{dev}} type xtun ttl {ttl}"],
                                 ["link set {dev} type xtun ttl 64"], time, detour)
           for ttl in (1, 2, 3)},
    }
    if family == "v6":
        every["encaplimit 0"] = Setting(["link set {dev} type xtun encaplimit 0"],
                                        ["link set {dev} type xtun encaplimit none"],
                                        (4, 0), trouble.DSCP[family]["another tunnel"])
    return every


SETTINGS = {family: settings(family) for family in FAMILIES}


def no_tunnel(words, family):
    """How the kernel answers what nobody takes; tunnel4 and tunnel6 are loaded."""
    if "gre" in words or "l2tp-ip" in words:
        return {"v4": (3, 2), "v6": (4, 1)}[family]
    return {"v4": (3, 3), "v6": (1, 4)}[family]


class Lab:
    def __init__(self):
        net.load_module()
        self.path = net.path()
        self.underlay = trouble.Underlay(self.path)
        self.a, self.ingress = self.path.a, self.path.ingress
        self.tunnels = {(words, family): Tunnel(number, words, family)
                        for number, (words, family) in enumerate(
                            ((words, family) for family in FAMILIES
                             for words in KINDS + trouble.OTHERS), 1)}
        self._filters()
        self.ingress.ip(*(line for tunnel in self.tunnels.values()
                          for line in tunnel.lines(getattr(self.ingress, tunnel.family))))
        self.a.check(*DELAY)
        self.wire = trouble.Wire(self.a, "lan0")
        self.outer = trouble.Wire(self.ingress, "under0")
        self._setting = None

    def _filters(self):
        # Nobody speaks of groups in the tunnels.
        self.ingress.check("nft", "-f", "-", text="\n".join(
            f"""table {table} own {{
                chain out {{
                    type filter hook output priority 0;
                    {drops}
                    oifname under0 {table} dscp {REJECTED_HERE} reject with {icmp} type {code}
                }}
            }}""" for table, drops, icmp, code in (
                ("ip", 'oifname "t*" ip protocol igmp drop', "icmp", 13),
                ("ip6", "\n".join(f'oifname "t*" icmpv6 type {kind} drop' for kind in (
                    "mld-listener-report", "mld-listener-done", "mld2-listener-report")),
                 "icmpv6", 1))))
        self.path.r.check("nft", "-f", "-", text="\n".join(
            f"""table {table} fragments {{
                chain on {{
                    type filter hook forward priority 0;
                    iifname left {table} dscp {FRAGMENT_LOST} {field} != 0 drop
                }}
            }}""" for table, field in (("ip", "ip frag-off & 0x1fff"), ("ip6", "frag frag-off"))))

    def cause(self, name, words, family):
        """Brings the cause about; the DSCP for it and the outer error."""
        self._forget()
        setting = SETTINGS[family].get(name)
        self._enter(setting, family)
        if not setting:
            return trouble.DSCP[family][name], trouble.CAUSES[family][name].errors[family]
        return setting.dscp, setting.errors or no_tunnel(words, family)

    def _forget(self):
        """The sender knows nothing about paths any more."""
        self.a.ip(*(f"route {what} default via {OWN[inner][0]}"
                    for inner in FAMILIES for what in ("del", "add")))

    def _enter(self, setting, family):
        if setting and self._setting == (setting, family):
            return
        if self._setting:
            before, which = self._setting
            self._setting = None
            self._run(before.leave, which)
        if setting:
            self._run(setting.enter, family)
            self._setting = setting, family

    def _run(self, lines, family):
        devs = [tunnel.dev for tunnel in self.tunnels.values() if tunnel.family == family]
        every = [line.format(dev=dev) for line in lines
                 for dev in (devs if "{dev}" in line else devs[:1])]
        if every:
            self.ingress.ip(*every)

    def clear(self):
        self.settle()
        self.wire.clear()
        self.outer.clear()

    def settle(self):
        """What is on its way to a has come."""
        ktap.true(traffic.ping(self.a, "10.1.0.1"), "a reply from the ingress")

    def outer_errors(self, tunnel):
        """Those about packets to the tunnel's peer."""
        peer = trouble.peer(tunnel.family, tunnel.number)
        return [error for error in self.outer.errors()
                if pkt.outer_fields(error.quote)["dst"] == peer]

    def outer_quotes(self):
        """All of them, for who has to find out where one is from."""
        return "; ".join(f"{error.src} {error.kind} about {error.quote.hex()}"
                         for error in self.outer.errors())

    def whole_sums(self):
        """What a sends has all its checksums: in a tunnel's tunnel they are made.

        Not for all causes: of protocol 4 with whole sums, 6.1 rejects nothing.
        """
        ktap.defer(self.a.check, "ethtool", "-K", "lan0", "tx", "on")
        self.a.check("ethtool", "-K", "lan0", "tx", "off")

    def set(self, tunnel, words, back):
        """Changes the live tunnel until the end of the subtest."""
        ktap.defer(self.ingress.ip, f"link set {tunnel.dev} type xtun {back}")
        self.ingress.ip(f"link set {tunnel.dev} type xtun {words}")


# No answer comes while connect() is still at work.
DELAY = "tc qdisc replace dev lan0 root netem delay 5ms".split()


def setup():
    return Lab()


# ---- each cause ----

OWN = {"v4": ["10.1.0.1"], "v6": ["fd00:1::1"]}     # of the ingress, where a is
HERE = ("its own filter", "its own silent neighbour")
NOT_TOLD = ("a detour", "a better router", "another tunnel", "reject 3/5", "reject 3/14",
            "reject 3/15")
# Those for which routes or tunnels have to be changed come last and together.
TOLD = [(family, name, words, inner) for family in FAMILIES
        for name in (*trouble.CAUSES[family], *SETTINGS[family]) if name not in NOT_TOLD
        for words in KINDS for inner in FAMILIES]
# Each of the others over one family and with one inside, in turn.  Where there is no
# tunnel an echo is answered as any other.
TOLD += [(family, name, words, FAMILIES[(place + number) // 2 % 2]) for family in FAMILIES
         for place, name in enumerate((*trouble.CAUSES[family], *SETTINGS[family]))
         if name not in NOT_TOLD
         for number, words in enumerate(trouble.OTHERS)
         if (family == "v4") == ((place + number) % 2 == 0)
         and ("icmp" not in words or name != "a peer without the tunnel")]


@ktap.table("{1}, over {0}: a sender of {3} through {2} is told", TOLD)
def told(lab, family, name, words, inner):
    tunnel = lab.tunnels[words, family]
    dscp, outer = lab.cause(name, words, family)
    error = trouble.TOLD[family][outer][inner]
    # What an echo carries has its checksum, which the sender has left to his card.
    if name == "encaplimit 0" or "icmp" in words:
        lab.whole_sums()
    lab.clear()
    before = lab.ingress.counters(tunnel.dev)
    info = 0
    if name == "a narrow link":
        info = narrow(lab, tunnel, inner, dscp)
    else:
        applications(lab, tunnel, inner, dscp, error)
    seen = lab.wire.told(tunnel.target(inner), error, OWN[inner], 1, info,
                         (family, tunnel.headers))
    # What its own filter refuses the ingress tells by itself, at once.
    counted = {"err-mute" if name == "its own filter" else "err-relayed": len(seen),
               **({"err-too-big": len(seen)} if info else {})}
    after = lab.ingress.counters(tunnel.dev)
    ktap.eq({key: after[key] - before[key] for key in after
             if key.startswith("err-") and after[key] != before[key]}, counted,
            f"counters moved; {lab.outer_quotes()}")
    if name not in HERE:
        ktap.eq([each.kind for each in lab.outer_errors(tunnel)], [outer] * len(seen),
                "errors that came to the ingress")


def applications(lab, tunnel, inner, dscp, error):
    """UDP and TCP sockets learn of it by their errno, and by their queue."""
    dst = tunnel.target(inner)
    every = [trouble.Udp(lab.a, dst, b"Who is there?", dscp=dscp),
             trouble.Tcp(lab.a, dst, dscp=dscp), trouble.Tcp(lab.a, dst, queue=False, dscp=dscp)]
    # Without asking, UDP hears only of what will not go away by itself.
    if error in trouble.HARD[inner]:
        every.append(trouble.Udp(lab.a, dst, queue=False, dscp=dscp))
    for each in every:
        each.told(error, OWN[inner])


def narrow(lab, tunnel, inner, dscp):
    """The first packet that is too long; the MTU that its sender is told."""
    lab.underlay.forget(tunnel.family)
    mtu = trouble.NARROW - tunnel.headers
    sender = full_size(lab.a, tunnel.target(inner), 1500 - tunnel.headers, dscp=dscp)
    sender.told(trouble.TOO_BIG[inner], OWN[inner], mtu)
    # The stacks know now, his and the ingress's.
    ktap.eq(lab.a.path_mtu(tunnel.target(inner)), mtu, "path MTU of the sender")
    ktap.eq(lab.ingress.peer_mtu(trouble.peer(tunnel.family, tunnel.number)), trouble.NARROW,
            "path MTU of the ingress")
    return mtu


def full_size(ns, dst, size, **words):
    """A datagram with DF whose packet has this many bytes."""
    header = pkt.IP_LEN[trouble.family(dst)] + 8
    return trouble.Udp(ns, dst, bytes(size - header), **words)


# ---- what is not told ----

SILENT = [
    ("v4", "reject 3/5", "err_source_route"), ("v4", "reject 3/14", "err_other"),
    ("v4", "reject 3/15", "err_other"),
    ("v4", "a better router", "err_redirect"), ("v6", "a better router", "err_redirect")]


@ktap.table("{1}, over {0}: nobody is told through {3}", [
    # r sends no more than six redirects at once.
    (*row, words) for row in SILENT for words in (KINDS[:2] if row[1] == "a better router" else KINDS)])
def silent(lab, family, name, counter, words):
    tunnel = lab.tunnels[words, family]
    dscp, outer = lab.cause(name, words, family)
    if name == "a better router":
        accept_redirects(lab)
    lab.clear()
    for inner in FAMILIES:
        lab.underlay.forget(family)
        with lab.ingress.moves(tunnel.dev, **{counter: 1}):
            trouble.Udp(lab.a, tunnel.target(inner), dscp=dscp)
    lab.settle()
    ktap.eq(lab.wire.errors(), [], "errors for the sender")
    ktap.eq([each.kind for each in lab.outer_errors(tunnel)], [outer] * 2,
            "errors that came to the ingress")
    if (family, name) == ("v4", "a better router"):
        ktap.contains(lab.ingress.ip(f"route get {trouble.peer(family, tunnel.number)}"),
                      f"via {trouble.BETTER[family]} ", "the ingress's own route")


def accept_redirects(lab):
    """Routers do so when they are told to, and IPv6 routers never."""
    key = "net.ipv4.conf.{}.accept_redirects"
    ktap.defer(lab.ingress.sysctl, {key.format("all"): 0, "net.ipv4.route.flush": 1})
    lab.ingress.sysctl({key.format("all"): 1, key.format("under0"): 1})
    lab.ingress.ip(f"neigh replace {trouble.BETTER['v4']} lladdr 02:00:00:00:00:fd dev under0 "
                   "nud permanent")


@ktap.table("a fragment that is lost, over {1}: nobody is told through {0}", [
    # Linux tells protocol handlers, as encap ip over v4 is one, nothing of it.
    (ALL, "v4"), ("encap ip", "v6")])
def reassembly(lab, words, family):
    tunnel = lab.tunnels[words, family]
    lab.cause("a peer without the tunnel", words, family)
    lab.path.egress.sysctl({"net.ipv4.ipfrag_time": 1, "net.ipv6.ip6frag_time": 1})
    lab.set(tunnel, "frag outer mtu 1500", "frag inner mtu auto")
    lab.clear()
    with lab.ingress.moves(tunnel.dev, err_reassembly=1):
        trouble.Udp(lab.a, tunnel.target("v4"), bytes(1472), "unset", dscp=FRAGMENT_LOST)
    lab.settle()
    ktap.eq(lab.wire.errors(), [], "errors for the sender")
    ktap.eq([each.kind for each in lab.outer_errors(tunnel)],
            [{"v4": (11, 1), "v6": (3, 1)}[family]], "errors that came to the ingress")


@ktap.table("{0} over {1}: an error about {2}/{3} of {4} is not told", [
    (*row, *error) for row in EACH for error in (
        (3, 1, "v4"), (11, 0, "v4"), (12, 0, "v4"),
        (1, 3, "v6"), (2, 0, "v6"), (3, 0, "v6"), (4, 0, "v6"))])
def about_errors(lab, words, family, kind, code, inner):
    tunnel = lab.tunnels[words, family]
    dscp, outer = lab.cause("no route", words, family)
    message = struct.pack("!BBHI", kind, code, 0, 0) + bytes(48)
    proto = {"v4": socket.IPPROTO_ICMP, "v6": socket.IPPROTO_ICMPV6}[inner]
    if inner == "v4":           # for IPv6 the kernel does it
        message = message[:2] + struct.pack("!H", pkt.checksum(message)) + message[4:]
    lab.clear()
    with lab.ingress.moves(tunnel.dev, err_mute=1):
        trouble.Raw(lab.a, tunnel.target(inner), proto, message, dscp=dscp)
    lab.settle()
    ktap.eq(lab.wire.errors(), [], "errors for the sender")
    ktap.eq([each.kind for each in lab.outer_errors(tunnel)], [outer],
            "errors that came to the ingress")


@ktap.table("{0} over {1}: a packet of {2} in fragments is told of once", [
    (*row, inner) for row in EACH for inner in FAMILIES])
def fragments(lab, words, family, inner):
    tunnel = lab.tunnels[words, family]
    dscp, _ = lab.cause("no route", words, family)
    line = f"{tunnel.target(inner)} via {OWN[inner][0]} mtu 1300"
    lab.a.ip(f"route add {line}")
    ktap.defer(lab.a.ip, f"route del {line}")
    lab.clear()
    with lab.ingress.moves(tunnel.dev, err_relayed=1, err_mute=3):
        sender = trouble.Udp(lab.a, tunnel.target(inner), bytes(4000), "unset", dscp=dscp)
    sender.told(trouble.NET[inner], OWN[inner])
    lab.settle()
    ktap.eq([each.kind for each in lab.wire.errors()], [trouble.NET[inner]],
            "errors for the sender")


@ktap.table("{0} over {1}: the system's limit of errors to a sender of {2} holds", [
    (*row, inner, 10 + number) for number, row in enumerate(EACH) for inner in FAMILIES])
def limits(lab, words, family, inner, last):
    tunnel = lab.tunnels[words, family]
    dscp, outer = lab.cause("no route", words, family)
    ktap.defer(lab.ingress.sysctl, errors.UNLIMITED)
    # Six at once, and then one each ten seconds; for IPv6, four times as many.
    lab.ingress.sysctl({**errors.LIMITED, "net.ipv4.icmp_ratelimit": 10000,
                        "net.ipv6.icmp.ratelimit": 10000})
    # The limit is each receiver's own.
    source, bits = {"v4": (f"10.1.0.{last}", 32), "v6": (f"fd00:1::{last}", 128)}[inner]
    lab.a.ip(net.address_line("lan0", f"{source}/{bits}"))
    lab.clear()
    sender = trouble.Udp(lab.a, tunnel.target(inner), source=source, dscp=dscp)
    sender.repeat(59)
    ktap.wait_for(lambda: len(lab.outer_errors(tunnel)) == 60, "60 errors from the router")
    ktap.eq({each.kind for each in lab.outer_errors(tunnel)}, {outer}, "errors from the router")
    lab.settle()
    count = len(lab.wire.errors())
    ktap.true(0 < count <= 20, f"few errors for the sender: {count}")


# ---- modes ----

@ktap.table("{0} over {1}: icmp-relay {2}: what {3} is told when the TTL runs out", [
    (*row, mode, inner) for row in EACH for mode in ("strict", "off") for inner in FAMILIES])
def modes(lab, words, family, mode, inner):
    tunnel = lab.tunnels[words, family]
    lab.cause("no route", words, family)
    lab.set(tunnel, f"ttl 1 icmp-relay {mode}", "ttl 64 icmp-relay transparent")
    lab.clear()
    if mode == "strict":
        applications(lab, tunnel, inner, 0, trouble.HOST[inner])
        return
    with lab.ingress.moves(tunnel.dev, err_off=1):
        trouble.Udp(lab.a, tunnel.target(inner))
    lab.settle()
    ktap.eq(lab.wire.errors(), [], "errors for the sender")


@ktap.table("{0} over {1}: icmp-relay off: the path is learned", EACH)
def off_learns(lab, words, family):
    tunnel = lab.tunnels[words, family]
    dscp, _ = lab.cause("a narrow link", words, family)
    lab.set(tunnel, "icmp-relay off", "icmp-relay transparent")
    lab.underlay.forget(family)
    lab.clear()
    size = 1500 - tunnel.headers
    with lab.ingress.moves(tunnel.dev, err_off=1, err_too_big=1):
        full_size(lab.a, tunnel.target("v4"), size, df="probe", dscp=dscp)
    lab.settle()
    ktap.eq(lab.wire.errors(), [], "errors for the sender")
    # What the ingress refuses by itself is no error of the underlay.
    sender = full_size(lab.a, tunnel.target("v4"), size, df="probe", dscp=dscp)
    sender.told(trouble.TOO_BIG["v4"], OWN["v4"], trouble.NARROW - tunnel.headers)


# ---- traceroute ----

def pair(lab, words, family):
    """t0 of the ingress and the egress, and through it a and b reach each other."""
    lab.cause("no route", words, family)        # nothing that is to be set up
    path = lab.path
    answers = words.replace("echo request", "echo reply")
    for near, far, kind, last, lan in ((path.ingress, path.egress, words, 1, "b"),
                                       (path.egress, path.ingress, answers, 2, "a")):
        near.ip(f"link add t0 type xtun {kind} local {getattr(near, family)} "
                f"remote {getattr(far, family)}", "link set t0 up",
                net.address_line("t0", f"10.9.0.{last}/24"),
                net.address_line("t0", f"fd00:9::{last}/64"),
                net.address_line("t0", f"fe80::{last}/64"),
                *(f"route add {prefix} via {gateway}" for prefix, gateway in zip(
                    path.LANS[lan], (f"10.9.0.{3 - last}", f"fd00:9::{3 - last}"))))
        ktap.defer(near.ip, "link del t0")
    if bed.is_eth(words):
        # Nobody asks for these later, when errors are counted.
        for near, far, last in ((path.ingress, path.egress, 2), (path.egress, path.ingress, 1)):
            near.ip(*(f"neigh replace {address} lladdr {far.mac('t0').hex(':')} dev t0 "
                      "nud permanent" for address in (f"10.9.0.{last}", f"fd00:9::{last}")))
    # Whoever has to ask for others has done so.
    for inner in FAMILIES:
        ktap.true(traffic.ping(path.a, getattr(path.b, inner)), "a reply from b")


def traceroute(ns, target, dscp=0, most=5):
    """What it prints of each hop: address, and a mark or nothing."""
    text = ns.check("traceroute", "-n", "-q1", "-N1", "-w5", f"-m{most}", "-t", str(dscp << 2),
                    target)
    found = re.findall(r"^ *\d+  (\S+)(?:  [\d.]+ ms)?(?: (!\S+))?$", text, re.M)
    return ktap.true(found, f"hops in {text!r}")


# Where an inner TTL ends with each way of choosing the outer one: at routers of
# the underlay, in whose place the ingress stands; and at the egress.
HOPS = {"ttl 64": ("own", "egress", "b"), "ttl inherit": ("own", "own", "b"),
        "ttl 1": ("own", "own", "own", "own", "own")}


@ktap.table("{0} over {1}: traceroute shows where {3} ends, {2}", [
    *((*row, ttl, inner) for row in EACH for ttl in HOPS for inner in FAMILIES),
    *((*row, "ttl inherit", FAMILIES[number // 2 % 2]) for number, row in enumerate(OTHER_ROWS))])
def hops(lab, words, family, ttl, inner):
    pair(lab, words, family)
    lab.ingress.ip(f"link set t0 type xtun {ttl}")
    names = {"own": OWN[inner][0], "egress": {"v4": "10.9.0.2", "v6": "fd00:9::2"}[inner],
             "b": getattr(lab.path.b, inner)}
    ktap.eq(traceroute(lab.a, names["b"]), [(names[name], "") for name in HOPS[ttl]], "hops")


MARKS = [("v4", "no route", "!N"), ("v4", "an unreachable route", "!H"),
         ("v4", "a prohibiting route", "!X"), ("v4", "a peer without the tunnel", "!H"),
         ("v6", "no route", "!N"), ("v6", "a silent neighbour", "!H"),
         ("v6", "a prohibiting route", "!X"), ("v6", "a peer without the tunnel", "!H")]


@ktap.table("{1}, over {0}: traceroute of {4} through {3} says {2}", [
    (*row, KINDS[number % 4], inner) for number, row in enumerate(MARKS) for inner in FAMILIES])
def marks(lab, family, name, sign, words, inner):
    dscp, _ = lab.cause(name, words, family)
    own = OWN[inner][0]
    ktap.eq(traceroute(lab.a, lab.tunnels[words, family].target(inner), dscp),
            [(own, ""), (own, sign)], "hops")


@ktap.table("{0} over {1}: tracepath finds the path MTU of {2}", [
    *((*row, inner) for row in EACH for inner in FAMILIES),
    *((*row, FAMILIES[number // 2 % 2]) for number, row in enumerate(OTHER_ROWS))])
def tracepath(lab, words, family, inner):
    pair(lab, words, family)
    ktap.defer(lab.path.narrow, 1500)
    lab.path.narrow(trouble.NARROW)
    lab.underlay.forget(family)
    text = lab.a.check("tracepath", "-n", "-m", "6", getattr(lab.path.b, inner))
    ktap.contains(text, f"Resume: pmtu {trouble.NARROW - headers(words, family)} ", "tracepath")


# ---- a path that widens again, and two paths ----

@ktap.table("{0} over {1}: TCP uses a path that narrows, and that widens again", [
    ("encap ip", "v4"), (ALL, "v6"), *OTHER_ROWS[::3]])
def widens(lab, words, family):
    path = lab.path
    for ns in (path.a, path.ingress):
        for which in ("ipv4", "ipv6"):
            key = f"net.{which}.route.mtu_expires"
            ktap.defer(ns.sysctl, {key: ns.sysctl(key)})
            ns.sysctl({key: 1})
    pair(lab, words, family)
    # What was learned before is not forgotten so soon.
    lab.underlay.forget(family)
    ktap.defer(path.a.check, *DELAY)
    ktap.defer(path.narrow, 1500)
    path.a.check(*"tc qdisc replace dev lan0 root netem rate 30mbit".split())
    bulks = [traffic.Bulk(path.a, path.b, getattr(path.b, inner), 1 << 30) for inner in FAMILIES]
    for bulk in bulks:
        bulk.progress(1 << 16)
    for mtu in (trouble.NARROW, 1500):
        path.narrow(mtu)
        try:
            ktap.wait_for(lambda: segments(path.a) == [mtu - headers(words, family)] * 2,
                          f"connections that use an MTU of {mtu} outside", 60)
        except ktap.Failed:
            for ns, command in ((path.a, "ss -tin"), (path.ingress, "tunctl path t0"),
                                (path.ingress, "tunctl stats t0")):
                ktap.diag(ns.check(*command.split()))
            raise
        for bulk in bulks:
            bulk.progress(1 << 16)


def segments(ns):
    """The MTU that each connection of the namespace goes by."""
    return [int(mtu) for mtu in re.findall(r"\bpmtu:(\d+)", ns.check(
        "ss", "-tinH", "state", "established"))]


# Of peers behind r that only this test has; those with 2 are behind a narrow link.
ENDS = {"v4": ("203.0.112.1", "203.0.112.2"), "v6": ("2001:db8:5::1", "2001:db8:5::2")}


@ktap.table("{0} over {1}: two peers of one device have paths of their own, for {2}", [
    (words, family, inner) for words in ("encap ip", ALL) for family in FAMILIES
    for inner in FAMILIES])
def two_peers(lab, words, family, inner):
    lab.cause("no route", words, family)
    ingress, r = lab.ingress, lab.path.r
    overhead = headers(words, family)
    ktap.defer(ingress.refused, "link del t0")
    ingress.ip(f"link add t0 type xtun {words} local {getattr(ingress, family)} remote any "
               "dev under0", "link set t0 up", net.address_line("t0", "10.22.0.1/32"),
               net.address_line("t0", "fd00:22::1/128"))
    prefixes = {"v4": ("10.22.1.0/24", "10.22.2.0/24"),
                "v6": ("fd00:22:1::/64", "fd00:22:2::/64")}[inner]
    targets = [prefix.split("/")[0][:-1] + "2" if inner == "v4" else prefix.split("/")[0] + "2"
               for prefix in prefixes]
    # IPv6 refuses a gateway that it knows to be at another device.
    for prefix, end, link in zip(prefixes, ENDS[family], ("right", "thin")):
        for ns, line in ((ingress, f"{prefix} {nexthop(family, inner, end)} dev t0 onlink"),
                         (ingress, f"{end} via {trouble.GATEWAY[family]}"),
                         (r, f"{end} via inet6 fe80::2 dev {link}"),
                         (lab.path.egress, f"local {end} dev lo")):
            ns.ip(f"route add {line}")
            ktap.defer(ns.refused, f"route del {line}")
    # The wide peer's system, which has no tunnel, answers what gets there.
    wide, thin = 1500 - overhead, trouble.NARROW - overhead
    there, mtu = trouble.HOST[inner], trouble.TOO_BIG[inner]
    for target, size, error, info in (
            (targets[0], wide, there, 0), (targets[1], wide, mtu, thin),
            (targets[0], wide, there, 0), (targets[1], thin, there, 0)):
        full_size(lab.a, target, size).told(error, OWN[inner], info)
    ktap.eq([ingress.peer_mtu(end) for end in ENDS[family]], [1500, trouble.NARROW],
            "path MTUs of the peers")


def nexthop(family, inner, end):
    """How the route of an inner packet names the peer."""
    if family == inner:
        return f"via {end}"
    return f"via ::ffff:{end}" if family == "v4" else f"via inet6 {end}"


# ---- tunnels in tunnels ----

NESTED = [(words, family, *inside, name) for (words, family), inside in zip(
              EACH, (("encap ip", "v6"), (ALL, "v4"), ("encap ip", "v4"), (ALL, "v6")))
          for name in ("no route", "a prohibiting route", "a narrow link", "ttl 1")]


@ktap.table("{4}: {2} over {3} in {0} over {1}: a sender of {5} is told once, through both", [
    (*row, inner) for row in NESTED for inner in FAMILIES])
def nested(lab, words, family, inside_words, middle, name, inner):
    tunnel = lab.tunnels[words, family]
    dscp, outer = lab.cause(name, words, family)
    far = tunnel.target(middle)
    lab.whole_sums()
    lab.ingress.tunnel("t0", f"{inside_words} local {far[:-1]}1 remote {far}",
                       "10.23.0.1/24", "fd00:23::1/64")
    ktap.defer(lab.ingress.ip, "link del t0")
    target = {"v4": "10.23.0.2", "v6": "fd00:23::2"}[inner]
    both = tunnel.headers + headers(inside_words, middle)
    error = trouble.TOLD[middle][trouble.TOLD[family][outer][middle]][inner]
    counters, info = {"err_relayed": 1}, 0
    if name == "a narrow link":
        counters, info = {"err_relayed": 1, "err_too_big": 1}, trouble.NARROW - both
        lab.underlay.forget(family)
        prefix = {"v4": f"{far[:-1]}0/24", "v6": f"{far[:-1]}/64"}[middle]
        lab.ingress.ip(*(f"route {what} {prefix} dev {tunnel.dev}" for what in ("del", "add")))
    lab.clear()
    with lab.ingress.moves(tunnel.dev, **counters), lab.ingress.moves("t0", **counters):
        full_size(lab.a, target, 1500 - both if info else 100, dscp=dscp).told(
            error, OWN[inner], info)
    lab.settle()
    ktap.eq(len(lab.wire.told(target, error, OWN[inner], 1, info)), 1, "errors for the sender")


@ktap.table("{0} over {1}: an error for {2} that is itself lost in a tunnel ends there", [
    (*row, inner) for row in EACH for inner in FAMILIES])
def no_loop(lab, words, family, inner):
    """b's packets come out of t0 and go into another tunnel, whose error goes
    back into t0, for which there is an error as well."""
    tunnel = lab.tunnels[words, family]
    pair(lab, words, family)
    target = tunnel.target(inner)
    prefix, gateway = {"v4": ("10.20.0.0/16", "10.9.0.1"),
                       "v6": ("fd00:20::/32", "fd00:9::1")}[inner]
    lab.path.egress.ip(f"route add {prefix} via {gateway}")
    ktap.defer(lab.path.egress.refused, f"route del {prefix}")
    dscp, outer = lab.cause("no route", words, family)
    with lab.ingress.moves("t0"), lab.ingress.moves(tunnel.dev, err_relayed=1):
        trouble.Udp(lab.path.b, target, dscp=dscp).told(
            trouble.NET[inner], [{"v4": "10.9.0.1", "v6": "fd00:9::1"}[inner]])
    lab.ingress.ip("link set t0 type xtun ttl 1")
    lab.clear()
    with lab.ingress.moves("t0", err_mute=1), lab.ingress.moves(tunnel.dev, err_relayed=1):
        trouble.Udp(lab.path.b, target, dscp=dscp)
    lab.settle()
    ktap.eq([each.kind for each in lab.outer.errors()], [outer, trouble.TIME[family]],
            f"errors that came to the ingress; {lab.outer_quotes()}")


# ---- others ----

SOCKETS = {"a UDP socket": trouble.Udp, "a TCP socket": trouble.Tcp,
           # A key that no tunnel has, between ends that do have one.
           "a raw GRE socket": functools.partial(
               trouble.Raw, proto=socket.IPPROTO_GRE,
               data=struct.pack("!HHI", 0x2000, 0x0800, 99) + bytes(20))}
OTHERS = [("no route", trouble.NET), ("a prohibiting route", trouble.PROHIBITED)]


@ktap.table("{1}, over {0}: {2} of the ingress is told, and no tunnel", [
    (family, name, kind) for family in FAMILIES for name, _ in OTHERS for kind in SOCKETS])
def sockets(lab, family, name, kind):
    tunnel = lab.tunnels[ALL, family]
    dscp, outer = lab.cause(name, ALL, family)
    ktap.eq(outer, dict(OTHERS)[name][family], "what is expected")
    with lab.ingress.moves(tunnel.dev):
        SOCKETS[kind](lab.ingress, trouble.peer(family, tunnel.number), dscp=dscp).told(
            outer, [trouble.GATEWAY[family]])


# Not sit but for too-bigs: its word comes from an IPv4-mapped address, and is
# dropped by ip6_rcv(); and ip6gre only counts.
IN_TREE = [("ipip", "v4", "v4", "an unreachable route"), ("gre key 9", "v4", "v4", "no route"),
           ("sit", "v4", "v6", "a narrow link"), ("gre key 9", "v4", "v6", "a narrow link"),
           ("ip6tnl mode any", "v6", "v4", "a silent neighbour"),
           ("ip6tnl mode any", "v6", "v6", "a narrow link"),
           ("ip6gre key 9", "v6", "v4", "a narrow link")]


@ktap.table("{3}, over {1}: an in-tree {0} that carries {2} is told, and no tunnel", IN_TREE)
def in_tree(lab, words, family, inner, name):
    net.need_modules({"gre": "ip_gre", "ip6gre": "ip6_gre", "ip6tnl": "ip6_tunnel"}.get(
        words.split()[0], words.split()[0]))
    # Its peer is one of a tunnel's, but for IP in IP.
    tunnel = lab.tunnels[ALL, family]
    peer = trouble.peer(family, tunnel.number if "gre" in words else 99)
    dscp, _ = lab.cause(name, ALL, family)
    lab.underlay.forget(family)
    lab.ingress.device("other", f"type {words} local {getattr(lab.ingress, family)} "
                       f"remote {peer} tos inherit",
                       {"v4": "10.24.0.1/24", "v6": "fd00:24::1/64"}[inner])
    ktap.defer(lab.ingress.ip, "link del other")
    target = {"v4": "10.24.0.2", "v6": "fd00:24::2"}[inner]
    sock = traffic.udp(lab.ingress, family=net.family_of(target))
    traffic.set_df(sock, "set")
    traffic.receive_errors(sock)
    trouble.mark(sock, dscp)
    sock.connect((target, 9))
    size = lab.ingress.mtu("other") - pkt.IP_LEN[inner] - 8 if name == "a narrow link" else 10

    def is_told():
        try:
            sock.send(bytes(size))
        except OSError as error:
            return error.errno
        return None
    with lab.ingress.moves(tunnel.dev):
        seen = ktap.wait_for(is_told, "an error")
    if name == "a narrow link":
        ktap.eq(seen, errno.EMSGSIZE, "errno")
        ktap.eq(lab.ingress.path_mtu(peer), trouble.NARROW, "path MTU")
    else:
        ktap.one_of(seen, (errno.EHOSTUNREACH, errno.ENETUNREACH), "errno")


ktap.main(setup)
