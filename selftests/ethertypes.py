#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What payload ip carries beside IPv4 and IPv6, where the encapsulation can name it:
# IS-IS, NHRP, MPLS; and what routers send to web caches.
import socket
import struct

from lib import errors, ktap, net, pkt, traffic

FAMILIES = ("v4", "v6")
OSI, NHRP, MPLS, MPLS_GROUP = 0x00fe, 0x2001, 0x8847, 0x8848
WCCP, UNKNOWN = 0x883e, 0x88b5

GRE = {"encap gre": {}, "encap gre key 7 csum seq": {"key": 7, "csum": True, "seq": 0}}
IP, GENEVE, GUE, VXLAN = ("encap ip", "encap geneve payload ip key 7", "encap gue",
                          "encap vxlan payload ip key 7")
CARRIED = [(words, family, kind) for words, kinds in (
    *((words, (OSI, NHRP, MPLS, MPLS_GROUP)) for words in (*GRE, GENEVE)),
    (IP, (MPLS,)), (GUE, (MPLS,)), (VXLAN, (MPLS,)))
    for family in FAMILIES for kind in kinds]
# A label and something else, over each family.
FEW = [row for row in CARRIED if row[0] in (IP, "encap gre", GUE) and row[2] in (MPLS, NHRP)]
REFUSED = [(words, family, kind) for words, kinds in (
    ("encap gre", (WCCP, UNKNOWN)), (IP, (OSI, NHRP, MPLS_GROUP, UNKNOWN)),
    (GUE, (NHRP, UNKNOWN)), (VXLAN, (NHRP,)), ("encap fou dport 5555", (MPLS,)),
    ("encap gtp key 7", (MPLS,)), ("encap l2tp-ip payload ip key 7", (MPLS,)))
    for family in FAMILIES for kind in kinds]

# A label, the last one, and a packet.
LABEL = struct.pack("!I", 100 << 12 | 1 << 8 | 64)


def setup():
    return errors.Bench()


def inside(kind, length=40):
    """A packet of this ethertype."""
    if kind in (MPLS, MPLS_GROUP):
        return LABEL + pkt.inner("v4", data=bytes(length))
    return bytes([0x83]) + bytes(number & 0xff for number in range(length))


def encapsulated(tunnel, words, kind, inner, seq=None):
    """What scapy and the standards make of it, and its protocol number."""
    if words in GRE:
        fields = dict(GRE[words])
        if "seq" in fields:
            fields["seq"] = seq
        return bytes(pkt.gre(kind, inner, **fields)), pkt.GRE_PROTO
    if words == IP:
        return inner, 137                               # RFC 4023
    header = {GENEVE: struct.pack("!BBHI", 0, 0, kind, 7 << 8),
              GUE: bytes([0, 137, 0, 0]),
              VXLAN: bytes([0x0c, 0, 0, 5]) + struct.pack("!I", 7 << 8)}[words]
    port = {GENEVE: 6081, GUE: 6080, VXLAN: 4790}[words]
    return pkt.UDP(sport=50000, dport=port) / (header + inner), 17


def carried(tunnel, words, outer):
    """What is behind the outer header, but for a UDP header."""
    fields = pkt.outer_fields(outer)
    body = outer[fields["header"]:fields["length"]]
    return (body[8:] if fields["proto"] == 17 else body), fields["proto"]


@ktap.table("{0} over {1} sends {2:#06x}", CARRIED)
def sent(bench, words, family, kind):
    tunnel, inner = bench.tunnel(words, family), inside(kind)
    tunnel.peer.drain()
    with tunnel.ns.moves(tunnel.dev):
        tunnel.push(inner, kind)
        seen, proto = carried(tunnel, words, tunnel.next())
    seq = int.from_bytes(seen[12:16], "big") if "seq" in words else None
    expected, number = encapsulated(tunnel, words, kind, inner, seq)
    ktap.eq((seen, proto), (bytes(expected)[8:] if number == 17 else expected, number), "packet")


def receiver(tunnel, kind):
    """A socket that is given packets of this ethertype only."""
    sock = tunnel.ns.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    sock.bind((tunnel.dev, kind))
    sock.setblocking(False)
    return sock


@ktap.table("{0} over {1} takes {2:#06x}", CARRIED)
def taken(bench, words, family, kind):
    tunnel, inner = bench.tunnel(words, family), inside(kind)
    sock = receiver(tunnel, kind)
    tunnel.sequence += 1
    with tunnel.ns.moves(tunnel.dev):
        tunnel.send(*encapsulated(tunnel, words, kind, inner, tunnel.sequence))
        ktap.eq(traffic.recv(sock)[0], inner, "delivered")


@ktap.table("tx-inner-protocol: {0} over {1} does not send {2:#06x}", REFUSED)
def not_sent(bench, words, family, kind):
    tunnel = bench.tunnel(words, family)
    with tunnel.ns.moves(tunnel.dev, tx_inner_protocol=1):
        tunnel.push(inside(kind), kind)


@ktap.table("rx-inner-protocol: {0} over {1} does not take {2:#06x}", [
    (words, family, kind) for words, family, kind in REFUSED
    if words in (*GRE, GENEVE) and kind != WCCP])
def not_taken(bench, words, family, kind):
    tunnel = bench.tunnel(words, family)
    with tunnel.ns.moves(tunnel.dev, rx_inner_protocol=1):
        tunnel.send(*encapsulated(tunnel, words, kind, inside(kind)))


@ktap.table("rx-not-allowed: {0} over {1} with allow takes no {2:#06x}", FEW)
def not_allowed(bench, words, family, kind):
    tunnel = bench.tunnel(words, family)
    tunnel.set("allow 10.0.0.0/8,::/0")
    ktap.defer(tunnel.set, "allow any")
    with tunnel.ns.moves(tunnel.dev, rx_not_allowed=1):
        tunnel.send(*encapsulated(tunnel, words, kind, inside(kind)))


@ktap.table("encap gre over {0}: {1}", [
    (family, what, more) for family in FAMILIES for what, more in (
        ("WCCP version 1", b""), ("WCCP version 2", bytes([0, 51, 0, 0])))])
def web_cache(bench, family, _, more):
    tunnel, inner = bench.tunnel("encap gre", family), pkt.inner("v4")
    with tunnel.ns.moves(tunnel.dev):
        ktap.eq(tunnel.into(tunnel.outer(pkt.gre(WCCP, more + inner), pkt.GRE_PROTO)), inner,
                "delivered")


@ktap.table("rx-truncated: encap gre over {0}: WCCP with {1} bytes", [
    (family, length) for family in FAMILIES for length in (0, 1, 3)])
def web_cache_cut(bench, family, length):
    tunnel = bench.tunnel("encap gre", family)
    with tunnel.ns.moves(tunnel.dev, rx_truncated=1):
        tunnel.send(pkt.gre(WCCP, bytes(length)), pkt.GRE_PROTO)


@ktap.table("tx-too-big: {0} over {1}: {2:#06x} that does not fit", FEW)
def too_long(bench, words, family, kind):
    tunnel = bench.tunnel(words, family)
    # Longer than the device would let through by itself.
    tunnel.ns.ip(f"link set {tunnel.dev} mtu 1500")
    ktap.defer(tunnel.set, "mtu auto")
    with tunnel.ns.moves(tunnel.dev, tx_too_big=1):
        tunnel.push(inside(kind, 1490 - len(inside(kind, 0))), kind)


@ktap.table("{0} over {1}: an error about {2:#06x} is told to nobody, and lowers the path MTU", FEW)
def about(bench, words, family, kind):
    tunnel = bench.tunnel(words, family)
    ktap.defer(errors.forget, tunnel)
    tunnel.peer.drain()
    tunnel.push(inside(kind, 1380), kind)
    outer = tunnel.next()
    error = pkt.icmp(family, tunnel.peer.address(family), tunnel.local, *errors.TOO_BIG[family],
                     1300, outer[:errors.MOST[family] - errors.HEADERS[family]])
    with errors.moves(tunnel, err_too_big=1, err_mute=1):
        ktap.eq(bench.answers(tunnel, error), [], "errors")
    with tunnel.ns.moves(tunnel.dev, tx_too_big=1):
        tunnel.push(inside(kind, 1380), kind)


# ---- static labels, with the kernel's own at the other end ----

FAR = {"encap ip": {"v4": "ipip mode any", "v6": "ip6tnl mode any"},
       "encap gre": {"v4": "gre", "v6": "ip6gre"},
       "encap gre key 7": {"v4": "gre key 7", "v6": "ip6gre key 7"}}


@ktap.table("labels through {0} over {1}, with the kernel's own {2} at the other end", [
    (words, family, FAR[words][family]) for words in FAR for family in FAMILIES])
def labels(_, words, family, kind):
    net.need_modules("mpls_router", "mpls_iptunnel", {"gre": "ip_gre", "ip6gre": "ip6_gre",
                                                      "ipip": "ipip", "ip6tnl": "ip6_tunnel"}[kind.split()[0]])
    near, far = net.two()
    local, remote = getattr(near, family), getattr(far, family)
    near.tunnel("t0", f"{words} local {local} remote {remote}")
    more = " encaplimit none" if family == "v6" else ""
    far.device("t0", f"type {kind.split()[0]} local {remote} remote {local} "
                     f"{' '.join(kind.split()[1:])}{more}")
    for ns, own, other, out, back in ((near, 1, 2, 100, 200), (far, 2, 1, 200, 100)):
        ns.sysctl({"net.mpls.platform_labels": 1000, "net.mpls.conf.t0.input": 1})
        ns.ip(f"addr add 10.8.0.{own}/32 dev lo", "link set lo up",
              f"-M route add {back} dev lo",
              f"route add 10.8.0.{other}/32 encap mpls {out} dev t0 src 10.8.0.{own}")
    with near.moves("t0"):
        ktap.true(traffic.ping(near, "10.8.0.2"), "a reply")
        ktap.true(traffic.ping(far, "10.8.0.1"), "a reply")
        ktap.true(traffic.ping(near, "10.8.0.2", size=1300), "a reply to a long one")


@ktap.case("labels are taken only where net.mpls.conf lets them in")
def closed(_):
    net.need_modules("mpls_router")
    near, far = net.two()
    near.tunnel("t0", f"encap gre local {near.v4} remote {far.v4}")
    ktap.eq(near.check("cat", "/proc/sys/net/mpls/conf/t0/input").strip(), "0", "input of MPLS")


ktap.main(setup)
