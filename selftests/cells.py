#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# From the tunnel to the stack: what GRO may merge is merged, all else goes on as it
# came and in its order, and what is too much is counted.
import collections
import contextlib
import functools
import json
import select
import socket
import struct

from lib import bed, capture, ktap, net, pkt, traffic

ENCAPS = ("encap ip", "encap gre payload eth", "encap vxlan key 7")
FRAMES = ENCAPS[1:]
FAMILIES = ("v4", "v6")
UDP, VXLAN_PORT = 17, 4789
UDP_SEGMENT, UDP_GRO = 103, 104
PORT = 50000
SIZE, COUNT = 500, 16
MAX_BACKLOG = "/proc/sys/net/core/netdev_max_backlog"

# ns: the router; under, lan: a net.Peer at each of its links.
Router = collections.namedtuple("Router", "ns under lan")
Bridged = collections.namedtuple("Bridged", "hosts stations")


class Lab:
    def __init__(self):
        net.load_module()

    @functools.cached_property
    def router(self):
        """A router whose neighbours, in the underlay and in a LAN, are the test."""
        net.need_modules("sch_plug")
        with ktap.for_file():
            under = net.peer()
            router = Router(under.ns, under, net.peer(second=under.ns))
        router.ns.forward()
        router.under.merge()
        return router

    @functools.cached_property
    def hosts(self):
        with ktap.for_file():
            return net.two()

    @functools.cached_property
    def plain(self):
        """Nobody cuts or merges what is in the underlay."""
        with ktap.for_file():
            hosts = net.two()
        for ns in hosts:
            ns.check(*"ethtool -K under0 tx off gso off tso off gro off".split())
        return hosts

    @functools.cached_property
    def bridged(self):
        """Two hosts with a bridge each, and a station behind each bridge."""
        net.need_modules("bridge")
        with ktap.for_file():
            hosts = net.two()
            stations = net.Two(net.Namespace("station"), net.Namespace("station"))
        for number, (host, station) in enumerate(zip(hosts, stations)):
            net.veth(station, "lan0", host, "port0", link_local=False)
            host.ip("link add br0 type bridge", "link set br0 up", "link set port0 master br0")
            station.ip(*addresses("lan0", number))
        return Bridged(hosts, stations)


def setup():
    return Lab()


def addresses(dev, number):
    return (net.address_line(dev, f"{pkt.INNER['v4'][number]}/24"),
            net.address_line(dev, f"{pkt.INNER['v6'][number]}/64"))


# ---- a router whose peer is the test ----

def peered(router, words, gro):
    """The router's tunnel t0 to the test; gro: of the underlay."""
    ns = router.ns
    ns.check("ethtool", "-K", router.under.dev, "gro", gro)
    ns.tunnel("t0", f"{words} local {ns.v4} remote {router.under.v4}")
    ktap.defer(ns.ip, "link del t0")
    ns.ip(*addresses("t0", 0))


def encapsulated(router, words, kind, inner):
    """The packet that the tunnel's peer sends, by the RFCs (scapy)."""
    if bed.is_eth(words):
        inner = pkt.frame(inner, back=True, dst=router.ns.mac("t0").hex(":"),
                          type=pkt.ETHERTYPE[kind])
    if "vxlan" in words:
        header = bytes.fromhex("0800000000000700")      # RFC 7348: a VNI, 7
        payload, proto = pkt.UDP(sport=40001, dport=VXLAN_PORT) / (header + inner), UDP
    elif "gre" in words:
        payload, proto = pkt.gre("eth", inner), pkt.GRE_PROTO
    else:
        payload, proto = inner, pkt.PROTOCOL[kind]
    return bytes(pkt.ip("v4", router.under.v4, router.ns.v4, payload, proto, flags="DF"))


def from_peer(router, words, kind, inners):
    """The router gets these inner packets out of the tunnel, all at once."""
    router.under.send_at_once([encapsulated(router, words, kind, inner) for inner in inners])


def data_of(number, size=SIZE):
    return struct.pack("!I", number) * (size // 4)


def datagrams(kind, dst, ttl=64, count=COUNT):
    """Those of one flow, all as long, from the host behind the tunnel (bytes)."""
    # GRO merges none whose identifications do not count.
    return [bytes(pkt.udp(kind, pkt.INNER[kind][1], dst, data_of(number), dport=PORT, ttl=ttl,
                          **({"id": number} if kind == "v4" else {})))
            for number in range(count)]


def merging_socket(ns, address, dev=None):
    sock = traffic.udp(ns, family=net.family_of(address))
    if dev:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
    sock.bind((address, PORT))
    sock.setsockopt(UDP, UDP_GRO, 1)
    return sock


def take_merged(sock):
    """What is read next: data, and the size of the datagrams in it."""
    ktap.true(select.select([sock], [], [], 30)[0], "a datagram came")
    data, control, _, _ = sock.recvmsg(1 << 17, 256)
    sizes = [struct.unpack("=i", value[:4])[0] for level, name, value in control
             if (level, name) == (UDP, UDP_GRO)]
    return data, sizes[0] if sizes else len(data)


@ktap.table("{0}, {1} inside, GRO of the underlay {2}: who wants merged datagrams gets them",
            [(words, kind, gro) for gro in ("off", "on") for words in ENCAPS for kind in FAMILIES])
def merged(lab, words, kind, gro):
    router, address = lab.router, pkt.INNER[kind][0]
    peered(router, words, gro)
    sock = merging_socket(router.ns, address)
    with router.ns.moves("t0"):
        from_peer(router, words, kind, datagrams(kind, address))
        seen = []
        while sum(len(data) for data, _ in seen) < COUNT * SIZE:
            seen.append(take_merged(sock))
    ktap.eq(b"".join(data for data, _ in seen),
            b"".join(data_of(number) for number in range(COUNT)), "data of all")
    ktap.eq({size for _, size in seen}, {SIZE}, "sizes of the datagrams")
    ktap.true(len(seen) < COUNT, f"some of them were merged: {len(seen)} came of {COUNT}")


@ktap.table("encap ip in a VRF, {0} inside: who wants merged datagrams gets them", FAMILIES)
def merged_in_vrf(lab, kind):
    net.need_modules("vrf")
    if net.kernel_before(6, 6):
        ktap.skip("this kernel's GRO looks for no socket that is bound to a VRF")
    router, address = lab.router, pkt.INNER[kind][0]
    peered(router, "encap ip", "off")
    router.ns.ip("link add red type vrf table 10", "link set red up", "link set t0 master red")
    if kind == "v6":
        # It is lost when the device gets a master.
        router.ns.ip(addresses("t0", 0)[1])
    ktap.defer(router.ns.ip, "link del red")
    sock = merging_socket(router.ns, address, "red")
    from_peer(router, "encap ip", kind, datagrams(kind, address))
    seen = []
    while sum(len(data) for data, _ in seen) < COUNT * SIZE:
        seen.append(take_merged(sock))
    ktap.true(len(seen) < COUNT, f"some of them were merged: {len(seen)} came of {COUNT}")


@ktap.table("{0}: a datagram that comes alone does not overtake what GRO holds", ENCAPS)
def held(lab, words):
    router, address = lab.router, pkt.INNER["v4"][0]
    peered(router, words, "off")
    # Each CPU has its own queue and its own GRO.
    net.one_processor()
    ktap.defer(router.ns.steer, router.under.dev, 0)
    router.ns.steer(router.under.dev, 1)
    # So long it holds what has come in the last tick.
    router.ns.check("ip", "netns", "exec", str(router.ns), "sh", "-c",
                    "echo 2000000000 >/sys/class/net/t0/gro_flush_timeout")
    sock = merging_socket(router.ns, address)
    packets = datagrams("v4", address)
    from_peer(router, words, "v4", packets[:-1])
    from_peer(router, words, "v4", packets[-1:])
    data = b""
    while len(data) < COUNT * SIZE:
        data += take_merged(sock)[0]
    ktap.eq([data[start:start + SIZE] == data_of(number)
             for number, start in enumerate(range(0, len(data), SIZE))], [True] * COUNT,
            "datagrams that are in their place")


def is_datagram(packet):
    return len(packet) > SIZE


@ktap.table("{0}, {1} inside, GRO of the underlay {2}: datagrams for others stay what they are",
            [(words, kind, gro) for gro in ("off", "on") for words in ENCAPS for kind in FAMILIES])
def passed_on(lab, words, kind, gro):
    router = lab.router
    peered(router, words, gro)
    # A socket that takes datagrams to any address makes the kernel's GRO merge all.
    merging_socket(router.ns, {"v4": "0.0.0.0", "v6": "::"}[kind])
    seen = capture.Capture(router.ns, "t0")
    router.lan.drain()
    address = router.lan.address(kind)
    with router.ns.moves("t0"):
        from_peer(router, words, kind, datagrams(kind, address))
        packets = [router.lan.recv(is_datagram, f"datagram {number} in the LAN")
                   for number in range(COUNT)]
    eq_packets(packets, datagrams(kind, address, ttl=63))
    ktap.eq(router.lan.poll(), None, "further packets in the LAN")
    if gro == "off":
        ktap.eq([(frame.gso, len(frame.data) - frame.header) for frame in seen.poll()],
                [(0, len(packet)) for packet in packets],
                "packets out of the tunnel, merged or not, and their lengths")


def eq_packets(seen, expected):
    for number, packets in enumerate(zip(seen, expected)):
        ktap.eq(*packets, f"packet {number}")
    ktap.eq(len(seen), len(expected), "packets")


# ---- order ----

def in_fragments(packet, ident):
    """An IPv6 datagram in two fragments (bytes)."""
    fields, body = pkt.outer_fields(packet), packet[40:]
    for start, end in ((0, 304), (304, len(body))):
        header = pkt.IPv6ExtHdrFragment(nh=fields["proto"], offset=start // 8,
                                        m=int(end < len(body)), id=ident)
        yield bytes(pkt.ip("v6", fields["src"], fields["dst"], header / body[start:end],
                           44, ttl=fields["ttl"]))


def mixed(dst, ttl=64):
    """Datagrams of a flow, of which each third is in fragments."""
    packets = []
    for number, packet in enumerate(datagrams("v6", dst, ttl)):
        packets += in_fragments(packet, number) if number % 3 == 1 else [packet]
    return packets


def number_of(packet):
    """The number of a datagram: None for a fragment that is not the first."""
    start = 40
    if packet[6] == 44:
        if int.from_bytes(packet[42:44], "big") & ~7:
            return None
        start += 8
    return struct.unpack_from("!I", packet, start + 8)[0]


@ktap.table("{0}: datagrams of a flow leave in their order, those in IPv6 fragments too", ENCAPS)
def order(lab, words):
    router = lab.router
    peered(router, words, "off")
    address = router.lan.v6
    router.lan.drain()
    with router.ns.moves("t0"):
        from_peer(router, words, "v6", mixed(address))
        expected = mixed(address, ttl=63)
        packets = [router.lan.recv(lambda packet: packet[6] in (UDP, 44),
                                   f"packet {number} in the LAN")
                   for number in range(len(expected))]
    ktap.eq([number_of(packet) for packet in packets],
            [number_of(packet) for packet in expected], "numbers, in the order of the packets")
    eq_packets(packets, expected)


# ---- too many ----

def max_backlog(value=None):
    """net.core.netdev_max_backlog, which is for all namespaces; sets it."""
    with open(MAX_BACKLOG, "r" if value is None else "w") as file:
        return file.read() if value is None else file.write(value)


def link_stats(ns):
    return json.loads(ns.ip("-j -s link show dev t0"))[0]["stats64"]["rx"]


@ktap.table("{0}, {1} inside: what nobody takes in time is counted as rx-backlog",
            [(words, kind) for words in ENCAPS for kind in FAMILIES])
def backlog(lab, words, kind):
    router, address, count = lab.router, pkt.INNER[kind][0], 40
    # The underlay's GRO has a queue of its own, which the limit is not for.
    peered(router, words, "on")
    sock = traffic.udp(router.ns, address, PORT)
    ktap.defer(max_backlog, max_backlog())
    max_backlog("1")
    before = link_stats(router.ns)["dropped"]
    from_peer(router, words, kind, datagrams(kind, address, count=count))
    taken = []

    def lost():
        return router.ns.drops("t0").get("rx-backlog", 0)

    def all_accounted():
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(sock.recv(1 << 16))
        return len(taken) + lost() >= count
    ktap.wait_for(all_accounted, f"all of {count} datagrams, taken or counted", 30)
    ktap.eq(router.ns.drops("t0"), {"rx-backlog": count - len(taken)}, "drops")
    ktap.true(lost(), "there were too many")
    ktap.true(taken, "some were taken")
    ktap.eq(taken, [data for data in map(data_of, range(count)) if data in taken],
            "datagrams that were taken")
    ktap.eq(link_stats(router.ns)["dropped"] - before, lost(), "rx dropped of ip -s link")


# ---- UDP GSO through bridges ----

def both_ends(hosts, words):
    for near, far in (hosts, reversed(hosts)):
        near.tunnel("t0", f"{words} local {near.v4} remote {far.v4}")
        ktap.defer(near.ip, "link del t0")


def send_as_one(src, dst, kind, address):
    """Datagrams that src sends as one; all have to arrive at dst as they are."""
    size, count = 1200, 12
    data = b"".join(data_of(number, size) for number in range(count))[:-100]
    receiver = traffic.udp(dst, address)
    sender = traffic.udp(src, family=net.family_of(address))
    sender.setsockopt(UDP, UDP_SEGMENT, size)
    sender.sendto(data, receiver.getsockname()[:2])
    seen = [traffic.recv(receiver, f"datagram {number} to {address}")[0]
            for number in range(count)]
    ktap.eq(seen, [data[start:start + size] for start in range(0, len(data), size)],
            "datagrams")
    sender.close()
    receiver.close()


@ktap.table("{0}, {1} inside, UDP offload of the port {2}: datagrams sent as one cross bridges",
            [(words, kind, port) for words in FRAMES for kind in FAMILIES
             for port in ("on", "off")])
def bridges(lab, words, kind, port):
    hosts, stations = lab.bridged
    both_ends(hosts, words)
    for host in hosts:
        host.ip("link set t0 master br0")
        host.check("ethtool", "-K", "port0", "tx-udp-segmentation", port)
    ktap.true(traffic.ping(stations.a, pkt.INNER[kind][1]), "a reply through the bridges")
    with contextlib.ExitStack() as stack:
        before = [host.stats("t0")["rx_packets"] for host in hosts]
        for host in hosts:
            stack.enter_context(host.moves("t0"))
        send_as_one(stations.a, stations.b, kind, pkt.INNER[kind][1])
        send_as_one(stations.b, stations.a, kind, pkt.INNER[kind][0])
        for host, count in zip(hosts, before):
            ktap.true(host.stats("t0")["rx_packets"] - count < 12,
                      "they came out of the tunnel as few")
    for host in hosts:
        ktap.eq(host.drops("t0"), {}, f"drops of {host}")


# ---- packet sockets ----

def inner_of(words, outer):
    """The inner packet of an outer one (bytes)."""
    start = pkt.outer_fields(outer)["header"]
    if "vxlan" in words:
        return outer[start + 8 + 8 + 14:]
    return outer[start + 4 + 14:] if "gre" in words else outer[start:]


@ktap.table("{0}, {1} inside: a packet socket in the underlay sees packets as they came",
            [(words, kind) for words in ENCAPS for kind in FAMILIES])
def packet_socket(lab, words, kind):
    hosts, nbytes = lab.plain, 256 << 10
    both_ends(hosts, words)
    for number, ns in enumerate(hosts):
        ns.ip(*addresses("t0", number))
    # What it has, shares its bytes with what goes into the tunnel.
    seen, merged_ones = capture.Capture(hosts.b, "under0"), capture.Capture(hosts.b, "t0")
    with hosts.a.moves("t0"), hosts.b.moves("t0"):
        traffic.tcp_bulk(hosts.a, hosts.b, pkt.INNER[kind][1], nbytes)
    ktap.true(capture.large(merged_ones.poll(), False), "GRO has merged some of it")
    packets = [packet for packet in seen.packets(outgoing=False) if len(packet) > 1000]
    ktap.true(len(packets) > nbytes // 1500, "all packets were seen")
    for number, packet in enumerate(packets):
        ktap.eq(pkt.bad_checksums(packet), [], f"wrong checksums of packet {number}")
        inner = inner_of(words, packet)
        ktap.eq(pkt.bad_checksums(inner), [], f"wrong checksums in packet {number}")
        ktap.eq(pkt.outer_fields(inner)["length"], len(inner), f"length in packet {number}")


ktap.main(setup)
