#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# The inner TTL drops once at each router, the tunnel between them being one
# link however many routers are under it; the outer TTL is what `ttl` says.
import socket

from lib import capture, ktap, net, pkt, traffic

FAMILIES = ("v4", "v6")
TUNNELS = [(encap, family) for encap in ("ip", "gre", "gre key 7 csum seq")
           for family in FAMILIES]

# setsockopt and control message of the TTL, by inner family
SET_TTL = {"v4": (socket.IPPROTO_IP, socket.IP_TTL),
           "v6": (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}
TELL_TTL = {"v4": (socket.IPPROTO_IP, 12), "v6": (socket.IPPROTO_IPV6, 51)}
INNER_ENDS = {"v4": ("10.3.0.1", "10.3.0.2"), "v6": ("fd00:3::1", "fd00:3::2")}


class Tunnels:
    """The topology and a tunnel on it; each subtest chooses one.

    Those that follow each other with the same one share it.
    """

    def __init__(self):
        net.load_module()
        self.path = net.path()
        self._used = self._words = None

    def use(self, encap, family, words=""):
        routers = self.path.ingress, self.path.egress
        if self._used != (encap, family):
            if self._used:
                for router in routers:
                    router.ip("link del t0")
            self.path.tunnel(f"encap {encap} {words}", family)
            for router, end in zip(routers, (0, 1)):
                router.ip(*(net.address_line("t0", f"{ends[end]}/{length}")
                            for ends, length in ((INNER_ENDS["v4"], 30), (INNER_ENDS["v6"], 64))))
        elif self._words != words:
            for router in routers:
                router.ip(f"link set t0 type xtun {words or 'ttl 64'}")
        self._used, self._words = (encap, family), words
        return self.path


def setup():
    return Tunnels()


_for_each = []


def for_each_tunnel(description, rows):
    """As ktap.table(), for all tunnels; what is about the same one stays together."""
    def register(function):
        _for_each.append((description, [row if isinstance(row, tuple) else (row,)
                                        for row in rows], function))
        return function
    return register


def register_tunnels():
    for tunnel in TUNNELS:
        for description, rows, function in _for_each:
            ktap.table(description, [(*tunnel, *row) for row in rows])(function)


def send(ns, kind, ttl, address, source=None):
    """A socket that has sent a datagram with this TTL."""
    sock = traffic.udp(ns, source or "", family=net.family_of(address))
    sock.setsockopt(*SET_TTL[kind], ttl)
    traffic.receive_errors(sock)
    sock.sendto(b"ttl", (address, 9))
    return sock


def receiver(ns, kind, address):
    sock = traffic.udp(ns, address, 9)
    sock.setsockopt(*TELL_TTL[kind], 1)
    return sock


def received_ttl(sock):
    control = ktap.wait_for(lambda: receive(sock), "the datagram", 30)
    return next(int.from_bytes(value, "little") for _, kind, value in control
                if kind in (2, 52))     # IP_TTL, IPV6_HOPLIMIT


def receive(sock):
    try:
        return sock.recvmsg(100, 100)[1]
    except BlockingIOError:
        return None


@for_each_tunnel("{2} through {0} over {1}: one less at each router, none under them", FAMILIES)
def forwarded(tunnels, encap, family, kind):
    path = tunnels.use(encap, family)
    at_b = receiver(path.b, kind, getattr(path.b, kind))
    send(path.a, kind, 64, getattr(path.b, kind))
    ktap.eq(received_ttl(at_b), 62, "TTL behind two routers")


@for_each_tunnel("{2} through {0} over {1}: nothing less from end to end", FAMILIES)
def end_to_end(tunnels, encap, family, kind):
    path = tunnels.use(encap, family)
    near, far = INNER_ENDS[kind]
    at_egress = receiver(path.egress, kind, far)
    send(path.ingress, kind, 1, far, near)
    ktap.eq(received_ttl(at_egress), 1, "TTL at the other end")


@for_each_tunnel("{2} through {0} over {1}: traceroute shows the two routers", FAMILIES)
def traceroute(tunnels, encap, family, kind):
    path = tunnels.use(encap, family)
    address = getattr(path.b, kind)
    lan = {"v4": "10.1.0.1", "v6": "fd00:1::1"}[kind]
    exceeded = {"v4": (11, 0), "v6": (3, 0)}[kind]
    for ttl, router in ((1, lan), (2, INNER_ENDS[kind][1])):
        sock = send(path.a, kind, ttl, address)
        error = ktap.wait_for(lambda: traffic.errors(sock), f"an error for TTL {ttl}", 30)[0]
        ktap.holds(error, {"offender": router, "type": exceeded[0], "code": exceeded[1]},
                   f"error for TTL {ttl}")
    at_b = receiver(path.b, kind, address)
    send(path.a, kind, 3, address)
    ktap.eq(received_ttl(at_b), 1, "TTL at the host")


@for_each_tunnel("{3} around {4}, {0} over {1}: TTL {2} under the tunnel", [
    (expected, words, kind)
    for words, expected in (("", 64), ("ttl 7", 7), ("ttl inherit", 39))
    for kind in FAMILIES])
def outer(tunnels, encap, family, expected, words, kind):
    path = tunnels.use(encap, family, words)
    under = capture.Capture(path.ingress, "under0")
    at_b = receiver(path.b, kind, getattr(path.b, kind))
    send(path.a, kind, 40, getattr(path.b, kind))
    ktap.eq(received_ttl(at_b), 38, "inner TTL at the host")
    sent = under.wait(lambda packet: pkt.outer_fields(packet)["dst"] ==
                      getattr(path.egress, family), "the outer packet")
    ktap.eq(pkt.outer_fields(sent)["ttl"], expected, "outer TTL")


@for_each_tunnel("an outer TTL of 1 ends at the next router, one of 2 does not ({0} over {1})",
                 [()])
def too_low(tunnels, encap, family):
    path = tunnels.use(encap, family, "ttl 1")
    under = capture.Capture(path.ingress, "under0")
    send(path.ingress, "v4", 64, INNER_ENDS["v4"][1])
    under.wait(lambda packet: is_exceeded(packet, family), "time exceeded from the underlay")
    tunnels.use(encap, family, "ttl 2")
    at_egress = receiver(path.egress, "v4", INNER_ENDS["v4"][1])
    send(path.ingress, "v4", 64, INNER_ENDS["v4"][1])
    ktap.eq(received_ttl(at_egress), 64, "inner TTL")


def is_exceeded(packet, family):
    fields = pkt.outer_fields(packet)
    kind = packet[fields["header"]]
    return (fields["proto"], kind) == {"v4": (1, 11), "v6": (58, 3)}[family]


register_tunnels()
ktap.main(setup)
