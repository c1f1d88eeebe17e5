#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Firewall marks: the outer packet has that of fwmark, what comes out that of
# mark-in, and neither that of the other packet unless the tunnel is told so.
import socket

from lib import errors, ktap, net, pkt, traffic

FAMILIES = ("v4", "v6")
INNER, OUTER, NUMBER = 0x4d, 0x55, 0x80000001

# By what brings their packets: the chain of protocols 4 and 41, the input hook,
# and a UDP port.
ENCAPS = ("encap ip", "encap gre key 7", "encap gre payload eth", "encap vxlan key 7",
          "encap gue", "encap l2tp-ip key 7")

SO_RCVMARK = 75


class Marks:
    """Packets that pass a device from now on, and their marks."""

    def __init__(self, ns, dev):
        self._sock = ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
        self._sock.bind((dev, 3))               # ETH_P_ALL
        self._sock.setblocking(False)
        self._ethernet = self._sock.getsockname()[3] == 1
        ktap.defer(self._sock.close)

    def _take(self, outgoing):
        try:
            data, control, _, address = self._sock.recvmsg(1 << 16, 256)
        except BlockingIOError:
            return None
        packet = data[14:] if self._ethernet else data
        if (address[2] == 4) != outgoing or net.is_chatter(packet):
            return self._take(outgoing)
        return packet, {kind: int.from_bytes(value, "little") for level, kind, value in control
                        if level == socket.SOL_SOCKET}[socket.SO_MARK]

    def next(self, outgoing):
        """The mark of the next packet that is sent, or received."""
        return ktap.wait_for(lambda: self._take(outgoing), "a packet with its mark", 10)[1]


def setup():
    bench = errors.Bench()
    # All that comes from the underlay has a mark.
    bench.ns.check("nft", "-f", "-", text=f"""table inet marks {{
        chain pre {{
            type filter hook prerouting priority mangle;
            iifname under0 meta mark set {OUTER}
        }}
    }}""")
    return bench


def push(tunnel, mark, inner=None):
    """The host sends an inner packet with a mark into the device."""
    sock = tunnel.ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    inner = inner or tunnel.inner()
    ethertype = 0x800 if tunnel.eth else pkt.ETHERTYPE[pkt.version(inner)]
    with sock:
        sock.sendto(inner, (tunnel.dev, ethertype))


@ktap.table("{0} over {1}: mark of what is sent", [
    (words, family) for words in ENCAPS for family in FAMILIES])
def sent(bench, words, family):
    tunnel = bench.tunnel(words, family)
    marks = Marks(tunnel.ns, "under0")
    ktap.defer(tunnel.set, "fwmark none")
    for said, expected in (("fwmark none", 0), ("fwmark inherit", INNER),
                           (f"fwmark {NUMBER}", NUMBER), ("fwmark inherit", INNER),
                           ("fwmark none", 0)):
        tunnel.set(said)
        push(tunnel, INNER)
        ktap.eq(marks.next(True), expected, f"mark with {said}")


@ktap.table("{0} over {1}: mark of what comes out", [
    (words, family) for words in ENCAPS for family in FAMILIES])
def taken(bench, words, family):
    tunnel = bench.tunnel(words, family)
    # What the tunnel sends is what it takes, the other way round.
    packet = turned(tunnel, tunnel.out(tunnel.inner()))
    marks = Marks(tunnel.ns, tunnel.dev)
    ktap.defer(tunnel.set, "mark-in clear")
    for said, expected in (("mark-in clear", 0), ("mark-in keep", OUTER),
                           (f"mark-in {NUMBER}", NUMBER), ("mark-in keep", OUTER),
                           ("mark-in clear", 0)):
        tunnel.set(said)
        with tunnel.ns.moves(tunnel.dev):
            tunnel.peer.send(packet)
            ktap.eq(marks.next(False), expected, f"mark with {said}")


def turned(tunnel, outer):
    fields = pkt.outer_fields(outer)
    body = outer[fields["header"]:fields["length"]]
    return tunnel.outer(body, fields["proto"])


# ---- routes ----

ASIDE = {"v4": "192.0.2.250", "v6": "2001:db8::250"}
ASIDE_MAC = "02:00:00:00:00:50"
TABLE = 77


def aside(tunnel):
    """What has the mark INNER goes by another router."""
    net.rule(tunnel.ns, tunnel.family, f"fwmark {INNER} lookup {TABLE}")
    route = f"{tunnel.remote} via {ASIDE[tunnel.family]} dev under0 table {TABLE}"
    tunnel.ns.ip(f"neigh replace {ASIDE[tunnel.family]} lladdr {ASIDE_MAC} dev under0 "
                 "nud permanent", f"route add {route}")
    ktap.defer(tunnel.ns.ip, f"route del {route}")


def way(tunnel, mark, inner=None):
    """The MAC address that a packet with this mark goes to."""
    tunnel.peer.drain()
    push(tunnel, mark, inner)
    return tunnel.peer.recv_frame(tunnel.is_mine)[:6].hex(":")


@ktap.table("fwmark inherit, {0} over {1}: each packet goes by the route of its mark", [
    (words, family) for words in ("encap ip", "encap gre key 7", "encap vxlan key 7")
    for family in FAMILIES])
def routed(bench, words, family):
    tunnel = bench.tunnel(words, family)
    aside(tunnel)
    straight = tunnel.peer.mac.hex(":")
    ktap.eq(way(tunnel, INNER), straight, "with a mark that is not inherited")
    tunnel.set("fwmark inherit")
    ktap.defer(tunnel.set, "fwmark none")
    for mark, expected in ((0, straight), (INNER, ASIDE_MAC), (0, straight), (INNER, ASIDE_MAC),
                           (INNER + 1, straight), (INNER, ASIDE_MAC)):
        ktap.eq(way(tunnel, mark), expected, f"with the mark {mark:#x}")


@ktap.table("fwmark inherit, {0} over {1}: a too big that has the mark is about its route", [
    (words, family) for words in ("encap ip", "encap gre key 7") for family in FAMILIES])
def learned(bench, words, family):
    tunnel = bench.tunnel(words, family)
    ktap.defer(errors.forget, tunnel)
    aside(tunnel)
    net.rule(tunnel.ns, family, f"fwmark {OUTER} lookup {TABLE}")
    tunnel.set("fwmark inherit")
    ktap.defer(tunnel.set, "fwmark none")
    sent_once = bench.send(tunnel, "IPv4", length=1400)
    # The rule gives all from the underlay OUTER, as ct mark would give INNER.
    bench.answers(tunnel, errors.too_big(sent_once, 1400))
    with tunnel.ns.moves(tunnel.dev, tx_too_big=1):
        push(tunnel, INNER, sent_once.inner)


@ktap.table("{0} over {1}: who is told of an error gets no mark of it", [
    (words, family) for words in ("encap ip", "encap gre key 7") for family in FAMILIES])
def relayed(bench, words, family):
    tunnel = bench.tunnel(words, family)
    # Errors have the mark of what they are about.
    reflect = {"net.ipv4.fwmark_reflect": 1, "net.ipv6.fwmark_reflect": 1}
    tunnel.ns.sysctl(reflect)
    ktap.defer(tunnel.ns.sysctl, dict.fromkeys(reflect, 0))
    tunnel.set("fwmark inherit mark-in keep")
    ktap.defer(tunnel.set, "fwmark none mark-in clear")
    marks = Marks(tunnel.ns, "under1")
    for kind in FAMILIES:
        sent_once = bench.send(tunnel, f"IP{kind}")
        ktap.eq(len(bench.answers(tunnel, errors.unreachable(sent_once))), 1, "errors")
        ktap.eq(marks.next(True), 0, f"mark of the error to IP{kind}")


@ktap.table("{0} over {1}: an error in a frame has the mark of what comes out", [
    (words, family) for words in ("encap gre payload eth", "encap vxlan key 7")
    for family in FAMILIES])
def in_frame(bench, words, family):
    tunnel = bench.tunnel(words, family)
    marks = Marks(tunnel.ns, tunnel.dev)
    ktap.defer(tunnel.set, "mark-in clear")
    for said, expected in (("mark-in clear", 0), (f"mark-in {NUMBER}", NUMBER),
                           ("mark-in keep", 0)):
        tunnel.set(said)
        sent_once = bench.send(tunnel, "bridged IPv4")
        ktap.eq(len(bench.answers(tunnel, errors.unreachable(sent_once))), 1, "errors")
        ktap.eq(marks.next(False), expected, f"mark with {said}")


@ktap.table("{0}: no mark goes from one netns to the other", ["encap ip", "encap gre key 9"])
def foreign(_, words):
    near, far = net.two()
    inside = net.Namespace("inside")
    near.ip(f"link add t0 type xtun {words} local {near.v4} remote {far.v4} fwmark inherit "
            f"mark-in keep", f"link set t0 netns {inside.name}")
    inside.ip("addr add 10.9.0.1/24 dev t0", "link set t0 up",
              f"rule add fwmark {INNER} lookup main")
    far.tunnel("t0", f"{words} local {far.v4} remote {near.v4}", "10.9.0.2/24")
    near.check("nft", "-f", "-", text=f"""table inet marks {{
        chain pre {{
            type filter hook prerouting priority mangle;
            meta mark set {OUTER}
        }}
    }}""")
    out, back = Marks(near, "under0"), Marks(inside, "t0")
    with traffic.udp(inside, family=socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, INNER)
        sock.sendto(b"marked", ("10.9.0.2", 9))
    ktap.eq(out.next(True), 0, "mark of the outer packet")
    # Nobody has the port: an ICMP error comes back.
    ktap.eq(back.next(False), 0, "mark of what comes out")


ktap.main(setup)
