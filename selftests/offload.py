#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# TCP and UDP segmentation and merging go through every encapsulation as few
# large packets, and what is on the wire afterwards is right to the last sum.
import collections
import functools
import random
import struct

from lib import capture, ktap, net, pkt, traffic

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


def bad_sums(ns):
    """TCP and UDP checksums that the namespace has found wrong."""
    with ns:
        with open("/proc/thread-self/net/snmp") as file:
            lines = [line.split() for line in file if line.startswith(("Tcp:", "Udp:"))]
        with open("/proc/thread-self/net/snmp6") as file:
            six = [line.split() for line in file if "InCsumErrors" in line]
    return sum(int(values[names.index("InCsumErrors")])
               for names, values in zip(lines[::2], lines[1::2])) + sum(
                   int(value) for _, value in six)


def transfer(hosts, address, nbytes, source=""):
    """A bulk from a to b; nothing is dropped and no sum is wrong."""
    with hosts.a.moves("t0"), hosts.b.moves("t0"):
        before = bad_sums(hosts.b)
        traffic.tcp_bulk(hosts.a, hosts.b, address, nbytes, source)
        ktap.eq(bad_sums(hosts.b) - before, 0, "wrong checksums that b has seen")


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
        share = capture.large_share(merged.frames, False)
        ktap.true(share > 0.5, f"{share:.0%} of the data was merged")
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


ktap.main(setup)
