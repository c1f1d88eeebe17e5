#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What the way out drops, its sender is told of, if a route or a bridge has led
# his packet into the tunnel; whose packet was mirrored, or put there by a packet
# socket, is told nothing, and not of errors from the path either.
import contextlib

from lib import errors, ktap, net, pkt, traffic

FAMILIES = ("v4", "v6")
VXLAN, ETH = "encap vxlan key 7", "encap gre payload eth"
TUNNELS = [
    ("encap ip", "v4", "IPv4"), ("encap gre key 7 csum seq", "v6", "IPv4"),
    ("encap gre key 7", "v4", "IPv6"), ("encap fou dport 5555", "v6", "IPv6"),
    (VXLAN, "v4", "bridged IPv4"), (ETH, "v6", "bridged IPv6"), (ETH, "v4", "IPv6"),
    ("encap gtp key 7", "v4", "IPv4"),
]


def setup():
    return errors.Bench()


# ---- dropped on the way out ----

def to(kind):
    return lambda tunnel: net.routed(tunnel.ns, f"{kind} {tunnel.remote}")


def into_itself(tunnel):
    return net.routed(tunnel.ns, f"{tunnel.remote} dev {tunnel.dev}")


@contextlib.contextmanager
def no_route(tunnel):
    """There is no way at all: another peer, whom no route leads to."""
    nowhere = {"v4": "203.0.113.77", "v6": "2001:db8:ffff::77"}[tunnel.family]
    tunnel.set(f"remote {nowhere}")
    try:
        yield
    finally:
        tunnel.set(f"remote {tunnel.remote}")


def filtered(hook):
    @contextlib.contextmanager
    def rule(tunnel):
        table = {"v4": "ip", "v6": "ip6"}[tunnel.family]
        tunnel.ns.check("nft", f"""table {table} refuse {{
            chain refuse {{
                type filter hook {hook} priority 0;
                {table} daddr {tunnel.remote} drop
            }}
        }}""")
        try:
            yield
        finally:
            tunnel.ns.check("nft", f"delete table {table} refuse")
    return rule


def policy(tunnel):
    return net.blocked(tunnel.ns, f"src {tunnel.local} dst {tunnel.remote} dir out")


CAUSES = {
    "there is no route": (no_route, "tx-no-route", "no network"),
    "the route is unreachable": (to("unreachable"), "tx-no-route", "no host"),
    "the route is prohibit": (to("prohibit"), "tx-no-route", "prohibited"),
    "the route is blackhole": (to("blackhole"), "tx-no-route", "no host"),
    "the route leads into the tunnel": (into_itself, "tx-route-loop", "no host"),
    "a filter of what is sent": (filtered("output"), "tx-filtered", "prohibited"),
    "a filter behind that": (filtered("postrouting"), "tx-filtered", "prohibited"),
    "an IPsec policy": (policy, "tx-filtered", "prohibited"),
}


@ktap.table("{0} over {1}, {3}: {2} is told", [
    (*tunnel, cause) for tunnel in TUNNELS for cause in CAUSES])
def told(bench, words, family, sender, cause):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, sender)
    make, counter, what = CAUSES[cause]
    with make(tunnel):
        bench.clear(tunnel)
        with errors.moves(tunnel, **{counter.replace("-", "_"): 1}):
            bench.again(tunnel, sent.inner, sent.bridged)
            answers = bench.come(tunnel)
        sent.told(answers, errors.told(what, sent), quote=sent.packet)
    ktap.true(bench.send(tunnel, sender), "the tunnel carries packets again")


@ktap.table("{0} over {1}, {2}: an ICMP error is not answered", [
    ("encap gre key 7", family, cause) for family in FAMILIES for cause in CAUSES])
def not_told(bench, words, family, cause):
    tunnel = bench.tunnel(words, family)
    sent = bench.send(tunnel, "IPv4")
    fields = pkt.outer_fields(sent.packet)
    error = bytes(pkt.ip("v4", fields["src"], fields["dst"],
                         pkt.ICMP(type=3, code=1) / sent.packet))
    make, counter, _ = CAUSES[cause]
    with make(tunnel):
        bench.clear(tunnel)
        with errors.moves(tunnel, **{counter.replace("-", "_"): 1}):
            bench.again(tunnel, error)
            ktap.eq(bench.come(tunnel), [], "errors to the sender")


# ---- not routed into the tunnel ----

@ktap.table("{0} over {1}: who sends by a packet socket is told nothing ({2})", [
    (words, family, kind) for words in ("encap ip", "encap gre key 7", "encap fou dport 5555")
    for family in FAMILIES for kind in FAMILIES])
def packet_socket(bench, words, family, kind):
    tunnel = bench.tunnel(words, family)
    inner, _ = bench.inner(tunnel, f"IP{kind}")
    with to("prohibit")(tunnel):
        bench.clear(tunnel)
        with errors.moves(tunnel, tx_no_route=1):
            tunnel.push(inner)
            ktap.eq(bench.come(tunnel), [], "errors to the sender")
    sent = errors.Sent(bench, tunnel, inner, tunnel.out(inner))
    bench.nothing(tunnel, "err-mute", errors.unreachable(sent))
    # The memory knows it, too.
    short = sent.outer[:pkt.IP_LEN[family] + 8]
    bench.nothing(tunnel, "err-mute", errors.unreachable(sent, short))
    # Not so one of the same flow that was routed.
    sent = bench.send(tunnel, f"IP{kind}")
    sent.told(bench.answers(tunnel, errors.unreachable(sent)), errors.HOST[sent.kind])


def by_tc(ns, dev, kind):
    tc = ("tc", "filter", "add", "dev", "under1", "egress", "protocol",
          {"v4": "ip", "v6": "ipv6"}[kind], "matchall", "action", "mirred", "egress", "mirror",
          "dev", dev)
    ns.check("tc", "qdisc", "add", "dev", "under1", "clsact")
    ktap.defer(ns.check, "tc", "qdisc", "del", "dev", "under1", "clsact")
    ns.check(*tc)


def by_nft(ns, dev, kind, egress="under1"):
    ns.check("nft", "-f", "-", text=f"""table netdev copies {{
        chain out {{ type filter hook egress device "{egress}" priority 0;
                     meta protocol {kind.replace("v4", "ip").replace("v6", "ip6")} dup to "{dev}"; }}
    }}""")
    ktap.defer(ns.check, "nft", "delete table netdev copies")


@ktap.table("{0} over {1}: whose datagram is mirrored into the tunnel is told nothing ({2}, {3})", [
    ("encap gre key 7", "v4", "v4", "tc", by_tc), ("encap gre key 7", "v6", "v6", "tc", by_tc),
    ("encap ip", "v6", "v4", "tc", by_tc), ("encap gre payload eth key 9", "v4", "v6", "tc", by_tc),
    # nft does not take the Ethernet header off.
    ("encap gre payload eth key 9", "v4", "v4", "nft", by_nft),
    ("encap vxlan key 7", "v6", "v6", "nft", by_nft)])
def mirrored(bench, words, family, kind, _, mirrors):
    tunnel = bench.tunnel(f"{words} mtu 1500", family)
    ns, far = tunnel.ns, bench.lan.address(kind)
    if tunnel.eth:
        # What is mirrored comes to no bridge.
        if ns.run("ip", "link", "show", f"{tunnel.dev}.v").returncode == 0:
            ns.ip(f"link del {tunnel.dev}.v")
    mirrors(ns, tunnel.dev, kind)
    sock = traffic.udp(ns, family=net.family_of(far))
    traffic.set_df(sock, "set")
    traffic.receive_errors(sock)
    sock.connect((far, 9))

    def sends(size):
        data = bytes(size)
        bench.lan.drain()
        bench.bed.peer.drain()
        sock.send(data)
        bench.lan.recv(lambda packet: data in packet, "the datagram itself")

    def heard():
        """What the socket is told; the echo is behind it."""
        bench.come(tunnel)
        try:
            return sock.recv(1)
        except BlockingIOError:
            return None

    sends(100)
    outer = bench.bed.peer.recv(tunnel.is_mine, "the copy")
    inner = outer[outer.index(bytes(100)) - {"v4": 28, "v6": 48}[kind]:]
    sent = errors.Sent(bench, tunnel, inner if not tunnel.eth else bytes(14) + inner, outer)
    with errors.moves(tunnel, err_mute=1):
        tunnel.peer.send(errors.unreachable(sent))
        ktap.eq(heard(), None, "what the socket is told of an error from the path")
    with net.routed(tunnel.ns, f"{tunnel.remote} dev under0 mtu 1300"):
        with errors.moves(tunnel, tx_too_big=1):
            sends(1400)
            ktap.eq(heard(), None, "what the socket is told of a copy that is too big")
    ktap.eq(ns.path_mtu(far), None, "path MTU of the socket's peer")


@ktap.table("encap gre over v4: a copy by nft of what another tunnel sends teaches no route ({0})",
            [(kind,) for kind in FAMILIES])
def copied(bench, kind):
    first, tunnel = bench.tunnel("encap gre key 21", "v6"), bench.tunnel("encap gre key 7", "v4")
    ns, far = first.ns, bench.network(first, kind) + "2"
    by_nft(ns, tunnel.dev, kind, first.dev)
    sock = traffic.udp(ns, family=net.family_of(far))
    traffic.set_df(sock, "set")
    sock.connect((far, 9))
    with net.routed(tunnel.ns, f"{tunnel.remote} dev under0 mtu 1300"):
        bench.bed.peer.drain()
        with errors.moves(tunnel, tx_too_big=1):
            sock.send(bytes(1350))
            first.next()
    ktap.eq(ns.path_mtu(far), None, "path MTU of the socket's peer")


ktap.main(setup)
