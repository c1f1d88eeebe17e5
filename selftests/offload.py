#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# TCP and UDP segmentation and merging go through every encapsulation as few
# large packets, and what is on the wire afterwards is right to the last sum.
import collections
import functools
import random
import re
import struct

from lib import bed, capture, ktap, net, pkt, traffic

FAMILIES = ("v4", "v6")
INNER = ("10.9.0.2", "fd00:9::2")
ALL = "encap gre key 7 csum seq"
ENCAPS = [
    (words, family) for family in FAMILIES
    for words in ("encap ip", "encap gre", "encap gre key 7 csum", "encap gre payload eth",
                  "encap gre csum payload eth", "encap nvgre key 5000")
] + [("encap ip encaplimit 4", "v6"), ("encap gre key 7 csum encaplimit 4", "v6")]
NUMBERED = [(words, family) for words in ("encap gre seq", ALL, f"{ALL} payload eth")
            for family in FAMILIES]
MSS = 1300              # less than any of them: a bound for the number of segments
UDP_SEGMENT = 103

# Addresses that tunnels have on a host that translates them.
TRANSLATED = {"v4": "10.77.0.1", "v6": "fd00:77::1"}

# ns: the router; under, lan: a net.Peer at each of its links.
Router = collections.namedtuple("Router", "ns under lan")


class Lab:
    """Two hosts as they come, two whose underlay leaves nothing to a card."""

    def __init__(self):
        net.load_module()
        # One packet of each kind, for tshark.
        self.seen = collections.OrderedDict()

    @functools.cached_property
    def hosts(self):
        with ktap.for_file():
            return net.two()

    @functools.cached_property
    def plain(self):
        """The sender puts single segments on the wire; the receiver merges them."""
        with ktap.for_file():
            hosts = net.two()
        for ns in hosts:
            ns.check("ethtool", "-K", "under0", "tx", "off", "gso", "off", "tso", "off",
                     "gro", "on")
        return hosts

    @functools.cached_property
    def translators(self):
        """Two hosts whose neighbour is the test, and which translate what they send.

        By whether their cards make checksums; tunnels have addresses of their own there.
        """
        net.need_modules("nft_masq", "nft_chain_nat")
        with ktap.for_file():
            peers = {"on": net.peer(offloads=True), "off": net.peer()}
            for peer in peers.values():
                peer.ns.ip(*(net.address_line("lo", each) for each in TRANSLATED.values()))
                peer.ns.check("nft", "-f", "-", text="""table inet nat {
                    chain post {
                        type nat hook postrouting priority srcnat
                        oifname under0 meta l4proto udp masquerade
                    }
                }""")
        return peers

    @functools.cached_property
    def router(self):
        """A router whose neighbours, in the underlay and in a LAN, are the test."""
        net.need_modules("sch_plug")
        with ktap.for_file():
            under = net.peer()
            router = Router(under.ns, under, net.peer(second=under.ns))
        router.ns.forward()
        for link in (router.under, router.lan):
            link.merge()
        return router


def setup():
    return Lab()


def tunnel(hosts, words, family, dev="t0", net_number=9):
    """The same tunnel at both hosts, 10.9.0.1 and .2 there."""
    if " seq" in words:
        net.in_order(*hosts)
    for near, far, last in ((hosts.a, hosts.b, 1), (hosts.b, hosts.a, 2)):
        near.ip(f"link add {dev} type xtun {words} local {getattr(near, family)} "
                f"remote {getattr(far, family)}")
        ktap.defer(near.ip, f"link del {dev}")
        near.ip(f"link set {dev} up", *addresses(dev, net_number, last))


def addresses(dev, number, last):
    return (net.address_line(dev, f"10.{number}.0.{last}/24"),
            net.address_line(dev, f"fd00:{number}::{last}/64"))


def transfer(hosts, address, nbytes, source=""):
    """A bulk from a to b; nothing is dropped and no sum is wrong."""
    with hosts.a.moves("t0"), hosts.b.moves("t0"):
        before = hosts.b.bad_sums()
        traffic.tcp_bulk(hosts.a, hosts.b, address, nbytes, source)
        ktap.eq(hosts.b.bad_sums() - before, 0, "wrong checksums that b has seen")


def carried(ns, dev, name, before):
    return ns.stats(dev)[name] - before[name]


@ktap.table("{0} over {1}: TCP segments stay together", ENCAPS)
def together(lab, words, family):
    a, b = lab.hosts
    tunnel(lab.hosts, words, family)
    nbytes = 2 << 20
    for address in INNER:
        before = a.stats("t0"), b.stats("t0")
        transfer(lab.hosts, address, nbytes)
        few(carried(a, "t0", "tx_packets", before[0]), nbytes, "sent")
        few(carried(b, "t0", "rx_packets", before[1]), nbytes, "received")


@ktap.table("{0} over {1}: and in a VLAN on top", [
    (words, family) for words, family in ENCAPS if "eth" in words or "nvgre" in words])
def in_vlan(lab, words, family):
    a, b = lab.hosts
    tunnel(lab.hosts, words, family)
    for ns, last in ((a, 1), (b, 2)):
        # The tag is 4 bytes more.
        ns.ip("link add link t0 name v0 type vlan id 5", f"link set v0 mtu {ns.mtu('t0') - 4} up",
              *addresses("v0", 8, last))
    nbytes = 2 << 20
    for address in ("10.8.0.2", "fd00:8::2"):
        before = a.stats("t0"), b.stats("t0")
        transfer(lab.hosts, address, nbytes)
        few(carried(a, "t0", "tx_packets", before[0]), nbytes, "sent")
        few(carried(b, "t0", "rx_packets", before[1]), nbytes, "received")


def features(ns, dev):
    """What is on."""
    lines = re.findall(r"^\t*([a-z0-9-]+): on", ns.check("ethtool", "-k", dev), re.M)
    return {name for name in lines if not name.startswith("rx-") and name != "highdma"}


@ktap.case("a VLAN on top of a tunnel has what one on top of the in-tree driver has")
def vlan_features(_):
    net.need_modules("vxlan", "8021q")
    ns = net.Namespace("features")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    ends = "local 192.0.2.1 remote 192.0.2.9"
    for dev, words in (("theirs", f"type vxlan id 5 dstport 4790 {ends} dev under0"),
                       ("ours", f"type xtun encap vxlan key 5 {ends}")):
        ns.ip(f"link add name {dev} {words}",
              f"link add link {dev} name v-{dev} type vlan id 5")
    missing = features(ns, "v-theirs") - features(ns, "v-ours")
    ktap.eq(missing, set(), "what only the in-tree driver's has")
    ktap.true("tx-checksum-ip-generic" in features(ns, "v-ours"), "checksums are left to the tunnel")


def few(packets, nbytes, what):
    ktap.true(packets < nbytes // MSS // 4,
              f"{packets} packets {what} are few for {nbytes} bytes of TCP")


@ktap.table("{0} over {1}: the wire has right segments, merged where they arrive",
            ENCAPS + NUMBERED)
def wire(lab, words, family):
    a, b = lab.plain
    tunnel(lab.plain, words, family)
    nbytes = 256 << 10
    for address in INNER:
        wire_seen = capture.Capture(a, "under0")
        merged = capture.Capture(b, "t0")
        transfer(lab.plain, address, nbytes)
        packets = wire_seen.packets(outgoing=True)
        ktap.true(all(not frame.gso for frame in wire_seen.frames), "no large packet on the wire")
        ktap.true(len(packets) > nbytes // 1500, "as many packets as segments")
        for packet in packets:
            ktap.true(len(packet) <= 1500, f"{len(packet)} bytes fit")
            ktap.eq(pkt.bad_checksums(packet), [], "wrong checksums")
        if "seq" in words:
            numbers(packets)
        merged.poll()
        ktap.true(capture.large(merged.frames, False), "some of it was merged")
        lab.seen[words, family, address] = max(packets, key=len)
        wire_seen.close()
        merged.close()


def numbers(packets):
    """GRE sequence numbers: each once, none left out, in order."""
    seen = []
    for packet in packets:
        start = pkt.outer_fields(packet)["header"]
        flags = struct.unpack_from("!H", packet, start)[0]
        seen.append(struct.unpack_from("!I", packet, start + 4 * bin(flags & 0xb000).count("1"))[0])
    ktap.eq(seen, list(range(seen[0], seen[0] + len(seen))), "sequence numbers")


@ktap.case("tshark finds nothing wrong on the wire")
def experts(lab):
    if not lab.seen:
        ktap.skip("nothing was sent: this is about the packets of the tests before")
    names = ("ip.checksum.status", "gre.checksum.status", "tcp.checksum.status")
    for packet, rows in zip(lab.seen, capture.tshark_fields(list(lab.seen.values()), *names)):
        for name, values in zip(names, rows):
            ktap.true(all(value == "1" for value in values), f"{name} of {packet}: {values}")
        ktap.true(rows[2], f"{packet}: a TCP checksum was looked at")
        ktap.eq(bool(rows[1]), "csum" in packet[0], f"{packet}: a GRE checksum was looked at")


@ktap.table("{0} over {1}: each segment has a number of its own", NUMBERED)
def numbered(lab, words, family):
    tunnel(lab.hosts, words, family)
    for address in INNER:
        seen = capture.Capture(lab.hosts.a, "under0")
        transfer(lab.hosts, address, 512 << 10)
        numbers(seen.packets(outgoing=True))
        seen.close()


# ---- tunnels in tunnels ----

NESTED = [(outer, family, inner, inner_family)
          for outer, inner in (("encap ip", "encap gre key 1 csum"), ("encap gre", "encap ip"),
                               ("encap gre payload eth", "encap nvgre key 5000"))
          for family, inner_family in (("v4", "v6"), ("v6", "v4"))]


@ktap.table("{2} over {3} in {0} over {1}: carries TCP", NESTED)
def nested(lab, outer, family, inner, inner_family):
    for hosts in (lab.hosts, lab.plain):
        with ktap.scope():
            tunnel(hosts, outer, family)
            for near, last in ((hosts.a, 1), (hosts.b, 2)):
                prefix = {"v4": "10.9.0.", "v6": "fd00:9::"}[inner_family]
                near.tunnel("t1", f"{inner} local {prefix}{last} remote {prefix}{3 - last}",
                            f"10.8.0.{last}/24", f"fd00:8::{last}/64")
                ktap.defer(near.ip, "link del t1")
            for address in ("10.8.0.2", "fd00:8::2"):
                before = hosts.a.stats("t1")
                with hosts.b.moves("t1"):
                    transfer(hosts, address, 1 << 20)
                few(carried(hosts.a, "t1", "tx_packets", before), 1 << 20, "sent")


# ---- addresses that are translated on the way out ----

@ktap.table("{0} over {1}, checksum offload {2}: masquerade leaves right checksums", [
    (words, family, offload) for family in FAMILIES for offload in ("on", "off")
    for words in ("encap vxlan key 7", "encap vxlan key 7 payload ip", "encap geneve key 7",
                  "encap geneve key 7 payload ip", "encap fou dport 5555", "encap fou payload eth",
                  "encap gue", "encap gtp key 7", "encap l2tp key 7",
                  "encap geneve key 7 payload ip noudpcsum")])
def translated(lab, words, family, offload):
    peer = lab.translators[offload]
    peer.ns.tunnel("t0", f"{words} local {TRANSLATED[family]} remote {peer.address(family)}",
                   "10.9.0.1/24", "fd00:9::1/64")
    ktap.defer(peer.ns.ip, "link del t0")
    if bed.is_eth(words):
        peer.ns.ip(*(f"neigh add {address} lladdr {pkt.INNER_MACS[1]} dev t0 nud permanent"
                     for address in INNER))
    for kind, address in zip(FAMILIES, INNER):
        peer.drain()
        traffic.udp(peer.ns, family=net.family_of(address)).sendto(b"to be translated",
                                                                   (address, 50000))
        seen = peer.recv(lambda packet: packet.endswith(b"to be translated"))
        ktap.eq(pkt.outer_fields(seen)["src"], getattr(peer.ns, family), "outer source")
        bad = [] if "noudpcsum" not in words or family == "v4" else ["no UDP"]
        ktap.eq(pkt.bad_checksums(seen), bad, "wrong outer checksums")
        # Without an outer checksum the inner one may be left to the card.
        if "noudpcsum" not in words or offload == "off":
            inner = seen[-(pkt.IP_LEN[kind] + 8 + 16):]
            ktap.eq(pkt.bad_checksums(inner), [], "wrong inner checksums")


# ---- UDP segmentation, TCP without DF, VLANs ----

@ktap.table("{0} over {1}: datagrams that were sent as one", [
    (words, family) for words in ("encap ip", "encap gre key 7 csum", ALL,
                                  "encap gre payload eth") for family in FAMILIES])
def udp(lab, words, family):
    size, count = 1200, 12
    data = random.Random(2).randbytes(size * count - 100)
    for hosts in (lab.hosts, lab.plain):
        with ktap.scope():
            tunnel(hosts, words, family)
            for address in INNER:
                receiver = traffic.udp(hosts.b, address)
                sender = traffic.udp(hosts.a, family=receiver.family)
                sender.setsockopt(17, UDP_SEGMENT, size)
                before = hosts.a.stats("t0")
                sender.sendto(data, receiver.getsockname()[:2])
                seen = [traffic.recv(receiver)[0] for _ in range(count)]
                ktap.eq(seen, [data[start:start + size] for start in range(0, len(data), size)],
                        "datagrams")
                if "seq" not in words:
                    ktap.true(carried(hosts.a, "t0", "tx_packets", before) < count,
                              "they went through the tunnel's device as one")


@ktap.table("{0} over {1}: TCP without DF that does not fit, frag {2}", [
    (words, family, mode) for words, family in (
        ("encap ip", "v4"), (ALL, "v6"), ("encap gre payload eth", "v4"),
        ("encap nvgre key 5000", "v6")) for mode in ("inner", "outer")])
def without_df(lab, words, family, mode):
    for hosts in (lab.hosts, lab.plain):
        with ktap.scope():
            hosts.a.sysctl({"net.ipv4.ip_no_pmtu_disc": 1})
            ktap.defer(hosts.a.sysctl, {"net.ipv4.ip_no_pmtu_disc": 0})
            # Both, or the segments would be as small as the other end's MTU.
            tunnel(hosts, f"{words} frag {mode} mtu 1500", family)
            seen = capture.Capture(hosts.a, "under0")
            transfer(hosts, "10.9.0.2", 256 << 10)
            ktap.true(any(is_fragment(packet) for packet in seen.packets(outgoing=True))
                      == (mode == "outer"), f"outer fragments: {mode}")


def is_fragment(packet):
    fields = pkt.outer_fields(packet)
    return bool(fields.get("mf") or fields.get("frag") or fields["proto"] == 44)


@ktap.table("{0} over {1}: a VLAN carries TCP", [
    (words, family) for words in ("encap gre payload eth", f"{ALL} payload eth",
                                  "encap nvgre key 5000") for family in FAMILIES])
def vlan(lab, words, family):
    for hosts in (lab.hosts, lab.plain):
        with ktap.scope():
            tunnel(hosts, words, family)
            for near, last in ((hosts.a, 1), (hosts.b, 2)):
                near.ip("link add link t0 name t0.5 type vlan id 5", "link set t0.5 up",
                        *addresses("t0.5", 8, last))
                ktap.defer(near.ip, "link del t0.5")
                # The tag's four bytes are not in the device's MTU.
                near.ip(f"link set t0.5 mtu {near.mtu('t0') - 4}")
            for address in ("10.8.0.2", "fd00:8::2"):
                transfer(hosts, address, 512 << 10)


# ---- identifications of segments that were merged ----
#
# The kernel merges segments whose IPv4 identifications count, and ones that all have
# the same.  Which of them it was, it remembers for the outermost header and for those
# inside; so it can give each segment the one that it had when they are cut again.

SEGMENTS, SEGMENT_SIZE = 8, 1000
IDENTIFICATIONS = {
    "constant": lambda first: [first] * SEGMENTS,
    "counting": lambda first: [first + number & 0xffff for number in range(SEGMENTS)],
}
BEHIND = "10.9.0.2"     # the host that the router has the tunnel to
BURSTS = (0x4001, 0xfffb)       # the first identification of each; the second wraps


def routed(router, words, family):
    """The router's tunnel t0, and its route to the host behind that."""
    router.ns.tunnel("t0", f"{words} local {getattr(router.ns, family)} "
                     f"remote {router.under.address(family)}")
    ktap.defer(router.ns.ip, "link del t0")
    router.ns.ip(f"route add {BEHIND} dev t0")
    if bed.is_eth(words):
        router.ns.ip(f"neigh add {BEHIND} lladdr {pkt.INNER_MACS[1]} dev t0 nud permanent")


@pkt.remembered
def segment(src, dst, number, ident, ttl=64):
    """One of a flow, as bytes: the data are all different."""
    data = struct.pack("!I", number) * (SEGMENT_SIZE // 4)
    tcp = pkt.TCP(sport=40000, dport=50000, seq=1 + number * SEGMENT_SIZE, ack=1, flags="A")
    return bytes(pkt.ip("v4", src, dst, tcp / data, ttl=ttl, id=ident, flags="DF"))


def segments(src, dst, burst, idents, ttl=64):
    return [segment(src, dst, burst * SEGMENTS + number, ident, ttl)
            for number, ident in enumerate(idents)]


def is_segment(packet):
    """And no word that the router sends to its neighbours, through the tunnel too."""
    return len(packet) > SEGMENT_SIZE


def ident_of(packet):
    return pkt.outer_fields(packet)["id"]


def eq_segments(seen, expected):
    ktap.eq([ident_of(packet) for packet in seen], [ident_of(packet) for packet in expected],
            "inner identifications")
    for number, packets in enumerate(zip(seen, expected)):
        ktap.eq(*packets, f"segment {number}")


def merged_to_one(seen, outgoing):
    """What has passed the device was merged: otherwise nothing would be tested here."""
    ktap.eq([(frame.outgoing, frame.gso) for frame in seen.poll()], [(outgoing, SEGMENT_SIZE)],
            "packets at the tunnel's device, outgoing or not, and size of their segments")


def cut(words, idents):
    """The identifications of segments after the kernel has cut what is in the tunnel.

    7.3 takes what it remembers of the outermost header for the inner one too, when it
    cuts what is in GRE or UDP: where outer ones count, inner ones do.
    """
    if net.kernel_before(7, 0) or "encap ip" in words:
        return idents
    return IDENTIFICATIONS["counting"](idents[0])


def out_of_lan(router, words, dev, kind):
    """Segments from the LAN to the host behind: what the underlay carries of them.

    Yields for each burst the outer packets; those are cut there, and merged at dev.
    """
    seen = capture.Capture(router.ns, dev)
    for burst, first in enumerate(BURSTS):
        idents = IDENTIFICATIONS[kind](first)
        router.under.drain()
        router.lan.send_at_once(segments(router.lan.v4, BEHIND, burst, idents))
        packets = [router.under.recv(is_segment, f"segment {number} in the underlay")
                   for number in range(SEGMENTS)]
        merged_to_one(seen, outgoing=True)
        expected = segments(router.lan.v4, BEHIND, burst, cut(words, idents), ttl=63)
        eq_segments([packet[-len(expected[0]):] for packet in packets], expected)
        for packet in packets:
            ktap.eq(pkt.bad_checksums(packet), [], "wrong checksums")
        yield packets


@ktap.table("{0} over {1}: segments with {2} identifications are merged, sent, cut again", [
    (words, family, kind) for kind in IDENTIFICATIONS for words, family in (
        ("encap ip", "v4"), ("encap gre", "v4"), ("encap gre payload eth", "v4"),
        ("encap vxlan key 7", "v4"), ("encap gre df unset", "v4"),
        ("encap vxlan key 7 df unset", "v4"), ("encap gre", "v6"), ("encap vxlan key 7", "v6"))])
def kept_out(lab, words, family, kind):
    routed(lab.router, words, family)
    bursts = list(out_of_lan(lab.router, words, "t0", kind))
    if family == "v6":
        return
    ktap.eq({pkt.outer_fields(packet)["df"] for packet in sum(bursts, [])},
            {int("df unset" not in words)}, "outer DF")
    if "df unset" in words:
        differ(sum(bursts, []))
    else:
        for packets in bursts:
            tagged(packets)


def tagged(packets):
    """With DF it is a tag of the flow, to which cutting may add."""
    seen = [ident_of(packet) for packet in packets]
    ktap.one_of(seen, [idents(seen[0]) for idents in IDENTIFICATIONS.values()],
                "outer identifications")


def differ(packets):
    """What may be fragmented needs a number of its own."""
    seen = [ident_of(packet) for packet in packets]
    ktap.eq(len(set(seen)), len(seen), f"different outer identifications, of {seen}")


@ktap.table("a tunnel in a tunnel: segments with {0} identifications are merged, sent, cut again",
            IDENTIFICATIONS)
def kept_nested(lab, kind):
    router = lab.router
    router.ns.tunnel("t0", f"encap gre df unset local {router.ns.v4} remote {router.under.v4}",
                     "10.8.0.1/24")
    ktap.defer(router.ns.ip, "link del t0")
    words = "encap ip df unset"
    router.ns.tunnel("t1", f"{words} local 10.8.0.1 remote 10.8.0.2")
    ktap.defer(router.ns.ip, "link del t1")
    router.ns.ip(f"route add {BEHIND} dev t1")
    packets = sum(out_of_lan(router, words, "t1", kind), [])
    differ(packets)
    differ([packet[20 + 4:] for packet in packets])


def encapsulated(router, words, family, inner, ident):
    """The packet that the tunnel's peer sends, by the RFCs (scapy)."""
    if bed.is_eth(words):
        inner = pkt.frame(inner, back=True, dst=router.ns.mac("t0").hex(":"), type=0x0800)
    if "vxlan" in words:
        header = bytes.fromhex("0800000000000700")      # RFC 7348: a VNI, 7
        payload, proto = pkt.UDP(sport=40001, dport=4789) / (header + inner), 17
    elif "gre" in words:
        payload = pkt.gre("eth" if bed.is_eth(words) else "v4", inner)
        proto = pkt.GRE_PROTO
    else:
        payload, proto = inner, pkt.PROTOCOL["v4"]
    return pkt.ip(family, router.under.address(family), getattr(router.ns, family),
                  payload, proto, **({} if ident is None else {"id": ident, "flags": "DF"}))


TAKEN = [(words, family, kind)
         for family, kinds in (("v4", list(IDENTIFICATIONS)), ("v6", ["no"]))
         for words in ("encap ip", "encap gre", "encap gre payload eth", "encap vxlan key 7")
         for kind in kinds]


@ktap.table("{0} over {1}, {2} outer identifications: segments with {3} ones are merged, taken out",
            [(*row, kind) for row in TAKEN for kind in IDENTIFICATIONS])
def kept_in(lab, words, family, outer_kind, kind):
    router = lab.router
    routed(router, words, family)
    seen = capture.Capture(router.ns, "t0")
    for burst, first in enumerate(BURSTS):
        idents = IDENTIFICATIONS[kind](first)
        outer = [None] * SEGMENTS if family == "v6" else IDENTIFICATIONS[outer_kind](first ^ 0x800)
        before = router.ns.stats("t0")
        router.lan.drain()
        router.under.send_at_once([
            encapsulated(router, words, family, *each)
            for each in zip(segments(BEHIND, router.lan.v4, burst, idents), outer)])
        packets = [router.lan.recv(is_segment, f"segment {number} in the LAN")
                   for number in range(SEGMENTS)]
        # Counted where the header is taken off: what is merged later does not count.
        ktap.eq(carried(router.ns, "t0", "rx_packets", before), 1, "packets that came in as one")
        merged_to_one(seen, outgoing=False)
        eq_segments(packets, segments(BEHIND, router.lan.v4, burst, idents, ttl=63))


ktap.main(setup)
