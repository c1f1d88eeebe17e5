# SPDX-License-Identifier: GPL-2.0
"""ICMP errors: routers that make them, and what their receivers see.

    path = net.path()
    trouble.Underlay(path)
    path.ingress.tunnel("t0", f"encap ip local {path.ingress.v4} "
                        f"remote {trouble.peer('v4', 1)}", "10.9.0.1/24")
    # The DSCP is handed on by the tunnel: a sender chooses what is to happen.
    sender = trouble.Udp(path.a, "10.9.0.2", dscp=trouble.DSCP["v4"]["no route"])
    sender.told(trouble.NET["v4"], ["10.1.0.1"])
"""

import collections
import contextlib
import errno
import itertools
import select
import socket
import struct

from lib import capture, errors, ktap, net, pkt, traffic

# ---- what becomes of an error ----

# Type and code.  NET and HOST are "unreachable", TIME and TOO_BIG what they say.
NET, HOST = {"v4": (3, 0), "v6": (1, 0)}, {"v4": (3, 1), "v6": (1, 3)}
TIME, TOO_BIG = {"v4": (11, 0), "v6": (3, 0)}, {"v4": (3, 4), "v6": (2, 0)}
PROHIBITED = {"v4": (3, 13), "v6": (1, 1)}

# An error of the underlay: what the sender of the inner packet is told.
TOLD = {
    "v4": {
        **dict.fromkeys([(3, 0), (3, 6), (3, 11)], NET),
        **dict.fromkeys([(3, 1), (3, 7), (3, 8), (3, 12), (3, 2), (3, 3), (12, 0)], HOST),
        **{(3, code): {"v4": (3, code), "v6": (1, 1)} for code in (9, 10, 13)},
        (3, 4): TOO_BIG, (11, 0): TIME,
    },
    "v6": {
        (1, 0): NET,
        **dict.fromkeys([(1, 2), (1, 3), (1, 4), (4, 1), (4, 0), (4, 2)], HOST),
        **dict.fromkeys([(1, 1), (1, 5), (1, 6)], PROHIBITED),
        (2, 0): TOO_BIG, (3, 0): TIME,
    },
}

# What the sender's stack makes of it, and whether it tells a connected UDP
# socket that has not asked for errors: icmp_err_convert[] and its like.
ERRNO = {
    "v4": {(3, 0): errno.ENETUNREACH, (3, 1): errno.EHOSTUNREACH, (3, 4): errno.EMSGSIZE,
           (3, 9): errno.ENETUNREACH, (3, 10): errno.EHOSTUNREACH,
           (3, 13): errno.EHOSTUNREACH, (11, 0): errno.EHOSTUNREACH},
    "v6": {(1, 0): errno.ENETUNREACH, (1, 1): errno.EACCES, (1, 3): errno.EHOSTUNREACH,
           (2, 0): errno.EMSGSIZE, (3, 0): errno.EHOSTUNREACH},
}
HARD = {"v4": [(3, 9), (3, 10), (3, 13), (3, 4)], "v6": [(1, 1), (2, 0)]}
ORIGIN = {"v4": 2, "v6": 3}         # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6

# Bytes of the packet that an error of Linux quotes: RFC 1812, RFC 4443.
QUOTED = {"v4": 576 - 20 - 8, "v6": 1280 - 40 - 8}


def family(address):
    return {socket.AF_INET: "v4", socket.AF_INET6: "v6"}[net.family_of(address)]


# ---- causes ----

PEERS = {"v4": "203.0.113.{}", "v6": "2001:db8:3::{:x}"}
NETS = {"v4": "203.0.113.0/24", "v6": "2001:db8:3::/64"}
NARROW = 1400


def peer(which, number):
    """An address behind r."""
    return PEERS[which].format(number)


# What the router r does with a packet, and the error that comes of it.  A
# route is a line of ip-route(8); None: no route at all.
Cause = collections.namedtuple("Cause", "route reject errors", defaults=(None, None, None))


def _route(line, v4, v6):
    return Cause(route=line, errors={"v4": v4, "v6": v6})


def _causes(which, codes):
    """Name: Cause, of one family of the underlay."""
    unreachable = {"v4": 3, "v6": 1}[which]
    found = {
        "no route": _route(None, (3, 0), (1, 0)),
        "an unreachable route": _route("unreachable {net}", (3, 1), (1, 0)),
        "a prohibiting route": _route("prohibit {net}", (3, 13), (1, 1)),
        "a silent neighbour": _route("{net} dev side", (3, 1), (1, 3)),
        "a narrow link": _route("{net} via inet6 fe80::2 dev thin", (3, 4), (2, 0)),
        "a detour": _route("{net} via inet6 fe80::2 dev side", None, None),
        "a better router": _route("{net} via {better} dev left", (5, 1), (137, 0)),
        **{f"reject {unreachable}/{code}": Cause(reject=code, errors={which: (unreachable, code)})
           for code in codes},
    }
    if which == "v6":
        # RFC 2473 section 4.1.1: for what may enter no more tunnels.
        found["another tunnel"] = _route("{net} dev nest", None, (4, 0))
    return found


CAUSES = {
    "v4": _causes("v4", (0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
    "v6": _causes("v6", range(7)),
}
# What a packet from the ingress has to have to meet it; with 0 it gets to the
# egress.
DSCP = {which: {name: number for number, name in enumerate(causes, 1)}
        for which, causes in CAUSES.items()}
GATEWAY = {"v4": "192.0.2.254", "v6": "2001:db8:1::fe"}    # r, for the ingress
VIA = {which: f"{NETS[which]} via {GATEWAY[which]}" for which in NETS}
BETTER = {"v4": "192.0.2.253", "v6": "fe80::fd"}

# Those of routes that lead nowhere, and of redirects, are the machine's.
_ROUTE_LIMITS = {"error_cost": 0, "redirect_load": 0, "redirect_silence": 0}


def unlimited(*namespaces):
    """Every packet gets its error, however many there are."""
    for ns in namespaces:
        ns.sysctl(errors.UNLIMITED)
    for name, value in _ROUTE_LIMITS.items():
        path = f"/proc/sys/net/ipv4/route/{name}"
        ktap.defer(_write, path, _write(path, value))


def _write(path, value):
    """Returns what was there before."""
    with open(path, "r+") as file:
        before = file.read().strip()
        file.seek(0)
        file.write(str(value))
    return before


class Underlay:
    """Peers behind the router r of a net.Path that may be hard to reach.

        ingress ---- left  r  right ---- egress         the peers are addresses
                           r  thin  ---- thin egress    of the egress
                           r  side  ---- side r2
    """

    def __init__(self, path):
        self.path = path
        self.r, self.r2 = path.r, net.Namespace("r2")
        unlimited(path.a, path.ingress, path.r, self.r2, path.egress, path.b)
        net.veth(self.r, "thin", path.egress, "thin", f"mtu {NARROW}")
        net.veth(self.r, "side", self.r2, "side")
        self.r2.forward()
        self.r2.ip("addr add 198.51.101.2/32 dev lo", "addr add 2001:db8:4::2/128 dev lo",
                   "route add 0.0.0.0/0 via inet6 fe80::1 dev side",
                   "route add ::/0 via fe80::1 dev side")
        self.r.device("nest", "type ip6tnl mode any local 2001:db8:2::fe remote 2001:db8:2::1")
        self._neighbours()
        path.ingress.ip(*(f"route add {via}" for via in VIA.values()))
        path.egress.ip(*(f"route add local {prefix} dev lo" for prefix in NETS.values()))
        for which in ("v4", "v6"):
            self._routes(which)
        path.r.check("nft", "-f", "-", text="\n".join(map(self._rules, ("v4", "v6"))))

    def _neighbours(self):
        """Who does not answer is given up soon, and who is there is known.

        But not before all of a scene's packets wait for the neighbour: the
        kernel loses without a word what comes while it gives one up.
        """
        for ns, dev in ((self.r, "side"), (self.path.ingress, "under0")):
            for which in ("ipv4", "ipv6"):
                ns.sysctl({f"net.{which}.neigh.{dev}.retrans_time_ms": 100,
                           f"net.{which}.neigh.{dev}.mcast_solicit": 1})
        self.path.ingress.ip(*(f"neigh replace {address} lladdr {self.r.mac('left').hex(':')} "
                               "dev under0 nud permanent" for address in GATEWAY.values()))
        self.r.ip(f"neigh replace fe80::2 lladdr {self.r2.mac('side').hex(':')} dev side "
                  "nud permanent",
                  *(f"neigh add {address} lladdr 02:00:00:00:00:fd dev left nud permanent"
                    for address in BETTER.values()),
                  "addr add 198.51.101.1/32 dev lo",
                  "route add 198.51.101.2 via inet6 fe80::2 dev side",
                  "route add 2001:db8:4::2 via fe80::2 dev side")

    def _routes(self, which):
        lines = [f"route add {NETS[which]} via inet6 fe80::2 dev right table 99",
                 "rule add fwmark 0/0xffffffff lookup 99 pref 99"]
        for name, number in DSCP[which].items():
            cause = CAUSES[which][name]
            if cause.route:
                line = cause.route.format(net=NETS[which], better=BETTER[which])
                lines += [f"route add {line} table {number}",
                          f"rule add fwmark {number} lookup {number} pref {number}"]
        self.r.ip(*(f"-{which[1]} {line}" for line in lines))

    def _rules(self, which):
        table, field, icmp = {"v4": ("ip", "ip dscp", "icmp"),
                              "v6": ("ip6", "ip6 dscp", "icmpv6")}[which]
        causes = CAUSES[which].items()
        # No map: 6.1's nf_tables is not clean with sets, which the debug kernel tells.
        marks = "\n".join(f"iifname left {field} {DSCP[which][name]} "
                          f"meta mark set {DSCP[which][name]}"
                          for name, cause in causes if cause.reject is None)
        rejects = "\n".join(f"iifname left {field} {DSCP[which][name]} "
                            f"reject with {icmp} type {cause.reject}"
                            for name, cause in causes if cause.reject is not None)
        return f"""table {table} trouble {{
            chain marks {{
                type filter hook prerouting priority -150;
                {marks}
            }}
            chain rejects {{
                type filter hook forward priority 0;
                {rejects}
            }}
        }}"""

    def forget(self, which):
        """The ingress knows nothing about paths any more."""
        if which == "v4":
            self.path.ingress.sysctl({"net.ipv4.route.flush": 1})
        else:
            self.path.ingress.ip(*(f"route {what} {prefix} via {GATEWAY[which]}"
                                   for prefix in (NETS[which], "2001:db8:2::/64")
                                   for what in ("del", "add")))


# ---- what they send through ----

FAMILIES = ("v4", "v6")
ALL = "encap gre key 7 csum seq"
ETH = ("encap gre payload eth", "encap nvgre key 5000")
KINDS = ("encap ip", ALL, *ETH)
# One of each kind and both families of the underlay.
EACH = tuple(zip(KINDS, ("v4", "v6", "v6", "v4")))
# Those of the other carriers, each in its longest form; and each over one family.
OTHERS = ("encap vxlan key 7", "encap geneve payload ip key 7", "encap fou dport 5555",
          "encap gue payload eth", "encap l2tp key 7 cookie 0102030405060708",
          "encap l2tp-ip payload ip key 7", "encap gtp key 7 qfi 9",
          "encap icmp key 7 echo request")
OTHER_ROWS = tuple(zip(OTHERS, itertools.cycle(("v4", "v6", "v6", "v4"))))
# Bytes of the encapsulation, an inner Ethernet header among them.
_ENCAPSULATION = {
    **dict(zip(KINDS, (0, 16, 4 + 14, 8 + 14))),
    **dict(zip(OTHERS, (8 + 8 + 14, 8 + 8, 8, 8 + 4 + 4 + 14, 8 + 8 + 8 + 4 + 14, 4 + 4,
                        8 + 12 + 4, 8 + 12)))}


def headers(words, family):
    """Bytes that an outer packet is longer."""
    return pkt.IP_LEN[family] + _ENCAPSULATION[words]


# ---- who sends ----

def mark(sock, dscp=0, ttl=None, dev=None):
    """dev: what SO_BINDTODEVICE binds to."""
    v4 = sock.family == socket.AF_INET
    if dscp:
        sock.setsockopt(*((0, socket.IP_TOS) if v4 else (41, socket.IPV6_TCLASS)), dscp << 2)
    if ttl:
        sock.setsockopt(*((0, socket.IP_TTL) if v4 else (41, socket.IPV6_UNICAST_HOPS)), ttl)
    if dev:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())


class Application:
    """A connected socket whose packets fail.

    queue: it has asked for the errors, with IP_RECVERR.
    """

    kind = None

    def __init__(self, ns, dst, queue=True, source=None, port=9, proto=0, **words):
        self.family = family(dst)
        self.sock = ns.socket(net.family_of(dst), self.kind, proto)
        self.sock.setblocking(False)
        self.queue = queue
        if queue:
            traffic.receive_errors(self.sock)
        mark(self.sock, **words)
        if source:
            self.sock.bind(source if isinstance(source, tuple) else (source, 0))
        self._dst = (dst, port)
        self._poll = select.poll()
        self._poll.register(self.sock, 0)       # POLLERR comes unasked

    def failed(self):
        """Whether there is an error for it now."""
        return any(events & select.POLLERR for _, events in self._poll.poll(0))

    def told(self, error, offenders, info=0):
        """It is told of the error, and of that only; its entry of the queue.

        error: type and code.  offenders: who may be named as its source.
        """
        what = f"{type(self).__name__} to {self._dst[0]}"
        ktap.wait_for(self.failed, f"an error for {what}")
        number = ERRNO[self.family][error]
        if not self.queue:
            self._has_errno(number, what)
            return None
        self._has_errno(number, what)
        seen = traffic.errors(self.sock)
        self._count(seen, what)
        for each in seen:
            ktap.holds(each, {"errno": number, "origin": ORIGIN[self.family], "type": error[0],
                              "code": error[1], "info": info}, f"error of {what}")
            ktap.one_of(each["offender"], offenders, "who reported it")
        return seen[0]

    def _count(self, seen, what):
        ktap.eq(len(seen), 1, f"errors in the queue of {what}")

    def _has_errno(self, number, what):
        seen = []

        def failed():
            try:
                self.sock.recv(1)
            except BlockingIOError:     # the queue has the error before the socket
                return False
            except OSError as error:
                seen.append(error.errno)
            return True
        ktap.wait_for(failed, f"an errno for {what}")
        ktap.eq(seen, [number], f"errno for {what}")


class Udp(Application):
    """Sends one datagram, or more with send().  df: as of traffic.set_df()."""

    kind = socket.SOCK_DGRAM

    def __init__(self, ns, dst, data=b"Is anybody there?", df="set", **words):
        super().__init__(ns, dst, **words)
        traffic.set_df(self.sock, df)
        self.data = bytes(data)
        self.sock.connect(self._dst)
        self.send()

    def send(self):
        self.sock.send(self.data)

    def repeat(self, times):
        """More of the same; an error about an earlier one ends nothing."""
        while times:
            with contextlib.suppress(OSError):
                self.send()
                times -= 1

    def told(self, *args, **words):
        entry = super().told(*args, **words)
        if entry:
            ktap.true(self.is_mine(entry["data"]),
                      f"the data of its own packet: {entry['data']!r}")
        return entry

    def is_mine(self, data):
        """Whether an error that quotes so much of a packet is about one of these."""
        return data and self.data.startswith(data)


class Raw(Udp):
    """The same with a protocol of its own."""

    kind = socket.SOCK_RAW

    def __init__(self, ns, dst, proto, data, **words):
        super().__init__(ns, dst, data, proto=proto, port=0, **words)


class Tcp(Application):
    """Tries to connect."""

    kind = socket.SOCK_STREAM

    def __init__(self, ns, dst, **words):
        super().__init__(ns, dst, **words)
        self.sock.connect_ex(self._dst)

    # While connect() has the socket, an error ends nothing yet; the next SYN
    # brings another.

    def _has_errno(self, number, what):
        ktap.wait_for(lambda: self._ended() == number, f"errno {number} for {what}")

    def _count(self, seen, what):
        ktap.true(seen, f"errors in the queue of {what}")

    def _ended(self):
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


# ---- what passes where he is ----

# An ICMP error as the wire has it.  rest: the word behind the checksum; dst,
# packet and frame: None where they are not known.
Error = collections.namedtuple("Error", "family src dst kind rest quote packet frame")


def parse(packet, frame=None):
    """The ICMP error that a packet (bytes) is, or None."""
    which = pkt.version(packet)
    fields = pkt.outer_fields(packet)
    body = packet[fields["header"]:fields["length"]]
    if which == "v4" and (fields["proto"] != 1 or body[0] not in (3, 4, 5, 11, 12)):
        return None
    if which == "v6" and (fields["proto"] != 58 or body[0] >= 128 and body[0] != 137):
        return None
    if fields.get("frag"):
        return None
    quote = _redirected(body[40:]) if body[0] == 137 else body[8:]
    return Error(which, fields["src"], fields["dst"], (body[0], body[1]),
                 int.from_bytes(body[4:8], "big"), quote, packet, frame)


def _redirected(options):
    """The packet in the options of an IPv6 redirect."""
    while options[0] != 4:
        options = options[8 * options[1]:]
    return options[8:]


def parse_icmpv6(message, src):
    """The same of what a raw ICMPv6 socket hears, and from whom."""
    if message[0] >= 128:
        return None
    return Error("v6", src, None, (message[0], message[1]),
                 int.from_bytes(message[4:8], "big"), message[8:], None, None)


class Wire:
    """What goes over the link of a sender: his packets, and errors for him."""

    def __init__(self, ns, dev):
        # As it is: what is quoted has not got a checksum from a card either.
        self.capture = capture.Capture(ns, dev, as_is=True)

    def clear(self):
        self.capture.clear()

    def sent(self, dst):
        """What he has sent to that address, as IP or IPv6 packets."""
        return [packet for packet in self.capture.packets(True)
                if pkt.outer_fields(packet)["dst"] == dst]

    def errors(self):
        self.capture.poll()
        found = [parse(frame.data[frame.header:], frame) for frame in self.capture.frames
                 if not frame.outgoing]
        return [error for error in found if error]

    def told(self, dst, error, src, hops, info=0, overhead=None):
        """He was told once about each packet to dst that he sent, and rightly.

        hops: how often his packets' TTL is decremented before the tunnel.
        src: the addresses an error may come from.  overhead: the underlay's
        family and the bytes that outer packets are longer.
        """
        ktap.true(self.sent(dst), "packets were sent")

        def each_told():
            errors = self.errors()      # first: what is sent since then has none yet
            sent = self.sent(dst)
            return (sent, errors) if len(errors) >= len(sent) else None
        sent, errors = ktap.wait_for(each_told, "errors at the sender's link")
        about = [about_one_of(seen, sent, hops, overhead) for seen in errors]
        ktap.eq(sorted(about), list(range(len(sent))), "which packets they are about")
        for seen in errors:
            ktap.eq(seen.kind, error, "type and code")
            ktap.eq(seen.rest, info, "MTU, or nothing")
            ktap.one_of(seen.src, src, "source of the error")
            if seen.packet:
                ktap.eq(pkt.bad_checksums(seen.packet), [], "wrong checksums of the error")
                ktap.eq(seen.dst, pkt.outer_fields(seen.quote)["src"], "who is told")
        return errors


def decremented(packet, hops):
    """The packet when so many routers have passed it on."""
    if pkt.version(packet) == "v6":
        return packet[:7] + bytes([packet[7] - hops]) + packet[8:]
    packet = bytearray(packet)
    packet[8] -= hops
    header = (packet[0] & 15) * 4
    packet[10:12] = bytes(2)
    packet[10:12] = struct.pack("!H", pkt.checksum(packet[:header]))
    return bytes(packet)


def completed(packet):
    """The packet with the checksum that a card would have made."""
    fields = pkt.outer_fields(packet)
    place = {6: 16, 17: 6}.get(fields["proto"])
    if place is None:
        return packet
    body = bytearray(packet[fields["header"]:])
    body[place:place + 2] = bytes(2)
    ends = packet[12:20] if pkt.version(packet) == "v4" else packet[8:40]
    pseudo = ends + struct.pack("!II", len(body), fields["proto"])
    body[place:place + 2] = struct.pack("!H", pkt.checksum(pseudo + bytes(body)) or 0xffff)
    return packet[:fields["header"]] + bytes(body)


def about_one_of(error, sent, hops, overhead=None):
    """Which of the packets the error quotes, with all that could be quoted.

    A tunnel may have made their checksums by then.
    """
    packets = [decremented(packet, hops) for packet in sent]
    for number, packet in enumerate(packets):
        if packet.startswith(error.quote) or completed(packet).startswith(error.quote):
            if overhead:
                ktap.eq(len(error.quote), quoted_length(len(packet), error.family, *overhead),
                        "bytes quoted")
            return number
    nearest = min(packets, key=lambda packet: sum(
        one != other for one, other in zip(packet[:64], error.quote[:64])))
    return ktap.eq(error.quote, nearest[:len(error.quote)], "quoted packet")


def quoted_length(length, inner, outer, overhead):
    """Bytes of an inner packet when all of the underlay's quote is handed on."""
    return min(length, QUOTED[outer] - overhead, QUOTED[inner])
