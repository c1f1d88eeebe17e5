#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# A tunnel whose outer packets come back to it is recognised, counted and
# logged once, and harms nothing else; a packet that goes back into the tunnel
# it came from is no loop, and its sender is told when it does not fit.
import contextlib
import errno
import os
import re
import socket

from lib import errors, ktap, net, pkt, traffic
from lib.bed import Bed

FAMILIES = ("v4", "v6")
PACKETS = 20
OTHERS = {"v4": "192.0.2.99", "v6": "2001:db8::99"}


class Lab:
    """Two hosts on one link, a bed, and the kernel's log from now on."""

    def __init__(self):
        net.load_module()
        self.hosts = net.two()
        # What is dropped is told of, and told on through tunnels: all of it.
        self.hosts.a.sysctl(errors.UNLIMITED)
        self._log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        ktap.defer(os.close, self._log)
        os.lseek(self._log, 0, os.SEEK_END)
        self._bed = None

    def bed(self):
        with ktap.for_file():
            self._bed = self._bed or Bed()
        return self._bed

    def logged(self):
        """What the kernel has logged about xtun devices since the last call."""
        lines = []
        while True:
            try:
                lines.append(os.read(self._log, 8192).decode(errors="replace"))
            except BlockingIOError:
                return [line for line in lines if re.search(r"\bt[01]: ", line)]


def setup():
    return Lab()


def make(ns, dev, words, family, remote, last):
    ns.ip(f"link add {dev} type xtun {words} local {getattr(ns, family)} remote {remote}")
    ktap.defer(ns.ip, f"link del {dev}")
    ns.ip(f"link set {dev} up", net.address_line(dev, f"10.9.{last}.1/24"),
          net.address_line(dev, f"fd00:9:{last}::1/64"))
    return ns


def send(ns, number, size=0):
    """Packets of both families into tunnel t0 or t1; size: of all of it."""
    for address, headers in ((f"10.9.{number}.9", 28), (f"fd00:9:{number}::9", 48)):
        sender = traffic.udp(ns, family=net.family_of(address))
        traffic.set_df(sender, "unset")
        for _ in range(PACKETS):
            sender.sendto(b"round and round".ljust(size - headers, b"!"), (address, 9))


def nothing_harmed(hosts):
    for address in (hosts.b.v4, hosts.b.v6):
        ktap.true(traffic.ping(hosts.a, address), f"{address} answers over the underlay")


def far_end(hosts, words, family):
    """The peer of t0 begins to exist; the inner address 9 is its own."""
    remote = getattr(hosts.a, family)
    hosts.b.ip(f"addr add {OTHERS[family]}/{'32' if family == 'v4' else '128 nodad'} dev under0",
               f"link add t0 type xtun {words} local {OTHERS[family]} remote {remote}",
               "link set t0 up", net.address_line("t0", "10.9.0.9/24"),
               net.address_line("t0", "fd00:9:0::9/64"))
    ktap.defer(hosts.b.ip, "link del t0",
               f"addr del {OTHERS[family]}/{'32' if family == 'v4' else '128'} dev under0")


def recovers(hosts):
    with hosts.a.moves("t0"):
        for address in ("10.9.0.9", "fd00:9:0::9"):
            ktap.true(traffic.ping(hosts.a, address), f"{address} answers through the tunnel")


@ktap.table("{0} over {1}: a route into the tunnel itself", [
    (words, family) for words in ("encap ip", "encap gre key 7 csum seq")
    for family in FAMILIES])
def itself(lab, words, family):
    hosts = lab.hosts
    make(hosts.a, "t0", words, family, OTHERS[family], 0)
    far_end(hosts, words, family)
    recovers(hosts)
    lab.logged()
    hosts.a.ip(f"route add {OTHERS[family]} dev t0")
    for _ in range(2):
        with hosts.a.moves("t0", tx_route_loop=2 * PACKETS):
            send(hosts.a, 0)
        nothing_harmed(hosts)
    told_once(lab, "t0")
    hosts.a.ip(f"route del {OTHERS[family]} dev t0")
    recovers(hosts)


def told_once(lab, *devs):
    """Each device has said so in one line, and nothing else."""
    lines = lab.logged()
    said = [re.search(r"\b(t[01]): the route to the peer leads into the tunnel itself", line)
            for line in lines]
    ktap.eq(sorted(found[1] if found else line for found, line in zip(said, lines)),
            sorted(devs), "lines in the log")


def goes_round(hosts, number, dev, other):
    """What is sent into dev comes back to it through the other one, and is dropped
    there.  Its sender hears of it by way of both, which is counted too."""
    before, beside = hosts.a.drops(dev).get("tx-route-loop", 0), hosts.a.drops(other)
    send(hosts.a, number)
    ktap.wait_for(lambda: hosts.a.drops(dev).get("tx-route-loop", 0) - before >= 2 * PACKETS,
                  "the packets that came back", 20)
    nothing_harmed(hosts)
    ktap.eq(hosts.a.drops(dev)["tx-route-loop"] - before, 2 * PACKETS, f"drops of {dev}")
    ktap.eq(set(hosts.a.drops(dev)), {"tx-route-loop"}, f"reasons of {dev}")
    ktap.eq(hosts.a.drops(other), beside, f"drops of {other}")
    ktap.true(hosts.a.counters(dev)["err-relayed"], "the sender was told")


@ktap.table("{0} over {1} and {2} over {3}: two tunnels into each other", [
    ("encap gre key 1", "v4", "encap gre key 2", "v4"),
    ("encap ip", "v4", "encap gre", "v6"),
    ("encap gre key 1", "v6", "encap ip", "v6")])
def each_other(lab, first, first_family, second, second_family):
    hosts = lab.hosts
    second_remote = {"v4": "192.0.2.98", "v6": "2001:db8::98"}[second_family]
    make(hosts.a, "t0", first, first_family, OTHERS[first_family], 0)
    make(hosts.a, "t1", second, second_family, second_remote, 1)
    far_end(hosts, first, first_family)
    recovers(hosts)
    lab.logged()
    hosts.a.ip(f"route add {OTHERS[first_family]} dev t1", f"route add {second_remote} dev t0")
    for number, dev in enumerate(("t0", "t1")):
        other = "t1" if dev == "t0" else "t0"
        goes_round(hosts, number, dev, other)
    told_once(lab, "t0", "t1")
    # Neither is left to shrink the other for ever.
    for dev in ("t0", "t1"):
        ktap.wait_for(lambda: hosts.a.mtu(dev) == 1280, f"MTU of {dev}")
    hosts.a.ip(f"route del {OTHERS[first_family]} dev t1", f"route del {second_remote} dev t0")
    recovers(hosts)


# ---- with a queue: what comes back comes when nobody remembers ----

def queue(ns, *devs):
    for dev in devs:
        ns.check("tc", "qdisc", "add", "dev", dev, "root", "pfifo", "limit", "1000")


def ended(hosts, *devs):
    """Nothing goes round any more: no device has sent or lost a packet while
    others have come and gone."""
    def state():
        return [(hosts.a.counters(dev), hosts.a.stats(dev)) for dev in devs]

    def still():
        before = state()
        nothing_harmed(hosts)
        return state() == before
    ktap.wait_for(still, "the end of the packets")


@ktap.table("{0} over {1} and {2} over {3}: two tunnels into each other, with queues", [
    ("encap gre key 1 df unset", "v4", "encap gre key 2 df unset", "v4"),
    ("encap ip df unset frag outer", "v4", "encap gre df unset frag outer", "v4"),
    ("encap gre key 1", "v6", "encap ip", "v6"),
    ("encap ip encaplimit 4", "v6", "encap gre df unset", "v4"),
    ("encap l2tp payload ip key 1 df unset", "v4",
     "encap l2tp-ip payload ip key 2 cookie 01020304 df unset", "v4"),
    ("encap l2tp payload ip key 1 l2spec none", "v6", "encap gre", "v6")])
def queued(lab, first, first_family, second, second_family):
    hosts = lab.hosts
    second_remote = {"v4": "192.0.2.98", "v6": "2001:db8::98"}[second_family]
    make(hosts.a, "t0", first, first_family, OTHERS[first_family], 0)
    make(hosts.a, "t1", second, second_family, second_remote, 1)
    far_end(hosts, first, first_family)
    recovers(hosts)
    hosts.a.ip(f"route add {OTHERS[first_family]} dev t1", f"route add {second_remote} dev t0")
    for dev in ("t0", "t1"):
        ktap.wait_for(lambda: hosts.a.mtu(dev) == 1280, f"MTU of {dev}")
    lab.logged()
    for devs in (("t0",), ("t1",)):
        queue(hosts.a, *devs)
        for number, dev in enumerate(("t0", "t1")):
            other = "t1" if dev == "t0" else "t0"
            goes_round(hosts, number, dev, other)
    told_once(lab, "t0", "t1")
    # In pieces, the first one of which knows more than the others.
    for number, dev in enumerate(("t0", "t1")):
        send(hosts.a, number, 1280)
        ended(hosts, "t0", "t1")
    for dev in ("t0", "t1"):
        ktap.eq(set(hosts.a.drops(dev)), {"tx-route-loop"}, f"reasons of {dev}")
    hosts.a.ip(f"route del {OTHERS[first_family]} dev t1", f"route del {second_remote} dev t0")
    recovers(hosts)


@ktap.table("{0} over {1}: as port of the bridge that the route to the peer leads to, {2}", [
    (words, family, how) for words in ("encap gre payload eth", "encap nvgre key 5000")
    for family in FAMILIES for how in ("with a queue", "without")])
def bridged(lab, words, family, how):
    hosts = lab.hosts
    ns, remote = hosts.a, OTHERS[family]
    ns.ip(f"link add t0 type xtun {words} local {getattr(ns, family)} remote {remote}",
          "link add br0 type bridge mcast_snooping 0")
    ktap.defer(ns.ip, "link del br0", "link del t0")
    if how == "with a queue":
        queue(ns, "t0")
    ns.ip("link set t0 master br0", "link set t0 up", "link set br0 up")
    ns.wait_running("t0", "br0")
    lab.logged()
    for address in (remote, "10.9.0.9", "fd00:9:0::9"):
        ns.ip(f"neigh add {address} lladdr 02:00:00:00:00:99 dev br0 nud permanent",
              f"route add {address} dev br0")
    for _ in range(2):
        with ns.moves("t0", tx_route_loop=2 * PACKETS, err_relayed=2 * PACKETS):
            send(ns, 0)
        nothing_harmed(hosts)
    told_once(lab, "t0")
    # What is on its way when the path narrows may be lost; with time the two
    # shrink each other as far as it goes.
    ktap.wait_for(lambda: send(ns, 0) or {ns.link(dev)["mtu"] for dev in ("t0", "br0")} == {1280},
                  "the smallest MTU")
    send(ns, 0, 1280)
    ended(hosts, "t0", "br0")
    # Behind its first piece nothing tells whose packet it is, but how deep it is in.
    ktap.eq(set(ns.drops("t0")) - {"tx-nesting"}, {"tx-route-loop"}, "reasons")


@ktap.table("{0} over {1}: a neighbour is looked for through the tunnel too, {2}", [
    (words, family, how) for words in ("encap gre payload eth", "encap nvgre key 5000")
    for family in FAMILIES for how in ("with a queue", "without")])
def neighbour(lab, words, family, how):
    """The tunnel is a port of the bridge that leads to its own peer, and has to carry
    the broadcast that asks for the peer's MAC address."""
    hosts = lab.hosts
    ns, remote = hosts.a, OTHERS[family]
    ns.ip(f"link add t0 type xtun {words} local {getattr(ns, family)} remote {remote}",
          "link add br0 type bridge mcast_snooping 0",
          "link add br1 type veth peer name br1.far")
    ktap.defer(ns.ip, "link del br0", "link del t0", "link del br1")
    if how == "with a queue":
        queue(ns, "t0")
    ns.ip("link set t0 master br0", "link set br1 master br0", "link set t0 up",
          "link set br1 up", "link set br1.far up", "link set br0 up",
          f"route add {remote} dev br0", net.address_line("br0", "fe80::77/64"))
    ns.wait_running("t0", "br0", "br1")
    far = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    far.bind(("br1.far", 0))
    lab.logged()
    far.setblocking(False)

    def asked():
        """A broadcast goes into the tunnel, and its outer packet needs the neighbour."""
        far.send(bytes(6 * [255]) + b"\x02\0\0\0\x77\1" + b"\x88\xb5" + bytes(50))
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = far.recv(2048)
                if frame[12:14] in (b"\x08\x06", b"\x86\xdd") and net.packed(remote) in frame:
                    return True
        return False
    ktap.wait_for(asked, "a request over the bridge")
    ktap.wait_for(lambda: ns.stats("t0")["tx_packets"] > 1, "the request in the tunnel")
    ktap.eq(ns.drops("t0"), {}, "drops")
    ktap.eq(lab.logged(), [], "lines in the log")


# ---- many tunnels in each other ----

CHAIN = 100


def chain(ns, words, qdisc, length):
    """Tunnels of which each leads to the peer of the one before it; their names."""
    lines, devs, ports = [], [], []
    for number in range(length):
        dev, peer = f"c{number}", f"10.77.{number}.1"
        kind = words[number % len(words)]
        lines.append(f"link add {dev} type {kind.format(number + 1)} "
                     f"local {ns.v4} remote {peer}")
        lines.append(f"link set {dev} mtu 1280 up" + (" txqueuelen 100" if qdisc else ""))
        devs.append(dev)
        top = dev
        if "payload eth" in kind:
            # So many devices may stand on each other.
            for vlan in range(6):
                lines.append(f"link add link {top} name {dev}v{vlan} type vlan id {vlan + 2}")
                top = f"{dev}v{vlan}"
                lines.append(f"link set {top} arp off up" + (" txqueuelen 100" if qdisc else ""))
                ports.append(top)
        lines.append(f"route add 10.77.{number - 1 if number else 200}.0/24 dev {top} "
                     f"src {ns.v4}")
    last = f"10.77.{length - 1}.0/24 dev under0"
    ktap.defer(ns.ip, *(f"link del {dev}" for dev in devs), f"route del {last}")
    ns.ip(*lines, f"route add {last}")
    if qdisc:
        queue(ns, *devs, *ports)
    return devs


@ktap.table("{0} tunnels in each other, {1}, {2}: too many are refused, and nothing is harmed", [
    (length, name, how) for length, name in (
        (CHAIN, "gre"), (CHAIN, "many kinds"), (CHAIN, "xtun and in-tree gre"),
        (12, "six vlans between"))
    for how in ("with queues", "without")])
def nested(lab, length, name, how):
    hosts = lab.hosts
    kinds = {"gre": ["xtun encap gre key {0} mtu 1280"],
             "many kinds": ["xtun encap gre key {0} mtu 1280", "xtun encap ip mtu 1280",
                            "xtun encap fou dport 5555 mtu 1280", "xtun encap gtp key {0} mtu 1280",
                            "xtun encap l2tp-ip payload ip key {0} mtu 1280"],
             "xtun and in-tree gre": ["xtun encap gre key {0} mtu 1280", "gre key {0}"],
             "six vlans between": ["xtun encap gre payload eth key {0} mtu 1280"]}[name]
    if "in-tree" in name:
        net.need_modules("ip_gre")
    devs = chain(hosts.a, kinds, how == "with queues", length)
    # Nobody looks for an IP header behind so many tags.
    tells = "in-tree" not in name and "vlans" not in name
    sock = traffic.udp(hosts.a, family=socket.AF_INET)
    traffic.receive_errors(sock)
    sock.connect(("10.77.200.9", 9))
    if tells:
        ktap.wait_for(lambda: refused(sock) == errno.EHOSTUNREACH, "the sender is told")
    else:
        for _ in range(PACKETS):
            refused(sock)
    nothing_harmed(hosts)
    reasons = set().union(*(hosts.a.drops(dev) for number, dev in enumerate(devs)
                            if kinds[number % len(kinds)].startswith("xtun")))
    # In-tree tunnels have such a limit too, where they have any, and devices without
    # queues; they say nothing.
    counted = "in-tree" in name and not net.kernel_before(6, 12)
    if reasons or tells or (how == "with queues" and not counted):
        ktap.eq(reasons, {"tx-nesting"}, "reasons of all tunnels")


@ktap.table("{0} tunnels in each other, {1}: a packet goes through them", [
    (6, "with queues"), (3, "without")])
def few(lab, length, how):
    if os.environ.get("XTUN_K") == "debug":
        ktap.skip("its functions take more stack")
    ns = lab.hosts.a
    devs = chain(ns, ["xtun encap gre key {0} mtu 1280"], how == "with queues", length)
    sock = traffic.udp(ns, family=socket.AF_INET)
    sock.connect(("10.77.200.9", 9))
    sock.send(b"deep enough")
    ktap.wait_for(lambda: ns.stats(devs[-1])["tx_packets"] or ns.drops(devs[-1]),
                  "the packet in the last one")
    ktap.eq({dev: ns.drops(dev) for dev in devs if ns.drops(dev)}, {}, "drops")


def refused(sock):
    """The error that a datagram brings, or an earlier one has brought."""
    try:
        sock.send(b"deep down")
    except OSError as error:
        return error.errno
    return None


# What RFC 8200 lets be before a tunnel's header: its number, and bytes of which the
# first is that of GRE.
BETWEEN = {
    "": (pkt.GRE_PROTO, ""),
    ", hop-by-hop options between": (0, "2f 00 01 04 00000000"),
    ", a routing header between": (43, "2f 00 fd 00 00000000"),
    ", a fragment header between": (44, "2f 00 0000 00000007"),
    ", destination options between": (60, "2f 00 01 04 00000000"),
}


def levels(bed_tunnel, packet, count, between=""):
    """A packet in so many outer ones of the tunnel."""
    proto, before = BETWEEN[between]
    for _ in range(count):
        header = bytes.fromhex(before) + bytes(pkt.gre(bed_tunnel.family, packet, key=KEY))
        packet = bytes(bed_tunnel.outer(header, proto))
    return packet


@ktap.table("over {0}{2}: a packet comes out of a few tunnels in each other, not of {1}", [
    *((family, count, "") for family in FAMILIES for count in (20, 27)),
    *(("v6", 20, between) for between in BETWEEN if between)])
def out_of_many(lab, family, count, between):
    tunnel = lab.bed().tunnel(f"encap gre key {KEY}", family)
    inner = pkt.inner(family)
    tunnel.delivered()
    tunnel.peer.send(levels(tunnel, inner, 5, between))
    ktap.wait_for(lambda: inner in tunnel.delivered(), "the packet within five")
    with tunnel.ns.moves(tunnel.dev, rx_nesting=1):
        tunnel.peer.send(levels(tunnel, inner, count, between))
    ktap.eq(tunnel.delivered(), [], "delivered")


@ktap.table("over {0}: likewise out of tunnels that are ports of the VRF that they are bound to",
            FAMILIES)
def out_of_many_in_vrf(_, family):
    net.need_modules("vrf")
    bed = Bed()
    tunnel = bed.tunnel(f"encap gre key {KEY}", family)
    ns, length = bed.ns, {"v4": 24, "v6": 64}[family]
    ns.device("red", "type vrf table 100")
    ns.ip("link set under0 master red")
    # Moving it to another master takes its IPv6 addresses away.
    ns.refused(net.address_line("under0", f"{tunnel.local}/{length}"))
    tunnel.set("dev red")
    ns.ip(f"link set {tunnel.dev} master red")
    inner = pkt.inner(family)
    tunnel.delivered()
    tunnel.peer.send(levels(tunnel, inner, 5))
    ktap.wait_for(lambda: inner in tunnel.delivered(), "the packet within five")
    with ns.moves(tunnel.dev, rx_nesting=1):
        tunnel.peer.send(levels(tunnel, inner, 20))
    ktap.eq(tunnel.delivered(), [], "delivered")


# ---- in by a tunnel and out by it again ----

NETS = {"v4": ("10.21.1.0/24", "10.21.1.9", "10.21.2.0/24", "10.21.2.9"),
        "v6": ("fd00:21:1::/64", "fd00:21:1::9", "fd00:21:2::/64", "fd00:21:2::9")}
PEERS = {"v4": ("192.0.2.252", "192.0.2.253"), "v6": ("2001:db8:9::252", "2001:db8:9::253")}
PATH = 1400
KEY = 5


def gateway(family, inner, peer):
    """How the route of an inner packet names the peer."""
    if family == inner:
        return f"via {peer}"
    return f"via ::ffff:{peer}" if family == "v4" else f"via inet6 {peer}"


@ktap.table("{1} inside over {0}: hairpin through remote any", [
    (family, inner) for family in FAMILIES for inner in FAMILIES])
def hairpin(lab, family, inner):
    bed = lab.bed()
    ns, peer = bed.ns, bed.peer
    tunnel = bed.tunnel(f"encap gre key {KEY}", family)
    tunnel.set("remote any")
    ns.forward()
    near, far = PEERS[family]
    near_net, src, far_net, dst = NETS[inner]
    bed.peer.add(PEERS["v4"][0], PEERS["v4"][1])
    router = peer.address(family)
    own = {"v4": "10.21.0.1/32", "v6": "fd00:21::1/128"}[inner]
    # IPv6 refuses a gateway that it knows to be at another device: first the
    # inner routes, then those to the gateways.
    ns.ip(net.address_line(tunnel.dev, own), f"route replace default via {peer.v6} dev under0")
    # With the last address the kernel takes the routes away: it goes after them.
    ktap.defer(ns.ip, f"addr del {own} dev {tunnel.dev}")
    for prefix, way in ((near_net, f"{gateway(family, inner, near)} dev {tunnel.dev} onlink"),
                        (far_net, f"{gateway(family, inner, far)} dev {tunnel.dev} onlink"),
                        (near, f"via {router} dev under0"),
                        (far, f"via {router} dev under0 mtu {PATH}")):
        ns.ip(f"route add {prefix} {way}")
        ktap.defer(ns.ip, f"route del {prefix}")
    limit = PATH - pkt.IP_LEN[family] - 8

    def through(size):
        """What the host makes of an inner packet of this size from near."""
        data = bytes(size - {"v4": 28, "v6": 48}[inner])
        fields = {"flags": "DF"} if inner == "v4" else {}
        packet = pkt.inner(inner, src=src, dst=dst, data=data, **fields)
        tunnel.remote = near
        peer.drain()
        tunnel.send(pkt.gre(inner, packet, key=KEY), pkt.GRE_PROTO)
        seen = peer.recv(lambda seen: pkt.outer_fields(seen)["proto"] == pkt.GRE_PROTO)
        return packet, seen

    _, seen = through(limit)
    ktap.eq(pkt.outer_fields(seen)["dst"], far, "what fits goes to the other peer")
    with ns.moves(tunnel.dev, tx_too_big=1):
        packet, seen = through(limit + 40)
    ktap.eq(pkt.outer_fields(seen)["dst"], near, "the error goes back to the first peer")
    ktap.eq(pkt.bad_checksums(seen), [], "wrong checksums")
    error = seen[pkt.outer_fields(seen)["header"] + 8:]
    fields = pkt.outer_fields(error)
    ktap.eq(fields["dst"], src, "told")
    body = error[fields["header"]:]
    ktap.eq((body[0], body[1], int.from_bytes(body[4:8], "big")),
            (3, 4, limit) if inner == "v4" else (2, 0, limit), "type, code, MTU")
    ktap.eq(body[8:8 + fields_end(packet)][12:], packet[12:fields_end(packet)], "quoted packet")


def fields_end(packet):
    """IP header and ports: as much as every error quotes."""
    return pkt.outer_fields(packet)["header"] + 8


ktap.main(setup)
