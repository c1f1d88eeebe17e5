#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# tshark takes the packets of every encapsulation, underlay and payload apart
# without a warning: made one by one, and made by segmentation of TCP.
import shutil

from lib import capture, ktap, net, pkt, traffic
from lib.bed import Bed

FAMILIES = ("v4", "v6")
OUTER = {"v4": "ip", "v6": "ipv6"}
WARNING = 0x600000      # of tshark's severities; errors are more

# wording: the layers between the outer header and the payload
ENCAPS = {"encap ip": "", "encap ip encaplimit 4": "",
          **{f"encap gre{words}": ":gre" for words in (
              "", " key 0", " key 0xdeadbeef", " csum", " seq", " key 7 csum seq",
              " encaplimit 4")}}
ETH_ENCAPS = {**{f"{words} payload eth": layers + ":eth:ethertype"
                 for words, layers in ENCAPS.items() if "gre" in words},
              "encap nvgre key 0x123456": ":gre:eth:ethertype"}


def icmp(family):
    echo = pkt.ICMP(id=1, seq=1) if family == "v4" else pkt.ICMPv6EchoRequest(id=1, seq=1)
    return pkt.ip(family, *pkt.INNER[family], payload=echo / b"0123456789")


def tcp(family):
    segment = pkt.TCP(sport=40000, dport=50000, flags="A", seq=1, ack=1) / b"0123456789"
    return pkt.ip(family, *pkt.INNER[family], payload=segment)


# payload: its layers, how it is made
PACKETS = {
    "UDP in IPv4": (":ip:udp:data", lambda: pkt.inner("v4")),
    "UDP in IPv6": (":ipv6:udp:data", lambda: pkt.inner("v6")),
    "an echo request in IPv4": (":ip:icmp:data", lambda: icmp("v4")),
    "an echo request in IPv6": (":ipv6:icmpv6:data", lambda: icmp("v6")),
    "TCP in IPv4": (":ip:tcp:data", lambda: tcp("v4")),
    "TCP in IPv6": (":ipv6:tcp:data", lambda: tcp("v6")),
}
FRAMES = {
    **{name: (layers, lambda make=make: pkt.frame(pkt.dissect(bytes(make()))))
       for name, (layers, make) in PACKETS.items()},
    "ARP": (":arp", lambda: pkt.frame(pkt.ARP(hwsrc=pkt.INNER_MACS[0],
                                              psrc="10.9.0.1", pdst="10.9.0.2"))),
    "a tagged frame": (":vlan:ethertype:ip:udp:data", lambda: pkt.frame(
        pkt.Dot1Q(vlan=5) / pkt.inner_packet("v4"))),
}

ROWS = [(words, family) for words in (*ENCAPS, *ETH_ENCAPS) for family in FAMILIES
        if not ("encaplimit" in words and family == "v4")]


def setup():
    if not shutil.which("tshark"):
        ktap.skip("there is no tshark here")
    packets, expected = [], {}
    bed = Bed()
    for words, family in ROWS:
        expected[words, family] = []
        for name, (layers, make) in payloads(words).items():
            seen = bed.tunnel(words, family).out(bytes(make()))
            expected[words, family].append((len(packets), name, chain(words, family, layers)))
            packets.append(seen)
    return Results(expected, judge(packets))


class Results:
    """What tshark said of single packets, and frames it is still to see."""

    def __init__(self, expected, seen):
        self.expected, self.seen = expected, seen
        self.hosts = net.two()
        for host in self.hosts:
            # The underlay's card can do nothing: all is done before the capture.
            host.check("ethtool", "-K", "under0", "tx", "off", "tso", "off", "gso", "off")
        self.frames = []        # of all transfers, one after the other
        self.transfers = {}     # row: its part of them


def payloads(words):
    return FRAMES if words in ETH_ENCAPS else PACKETS


def chain(words, family, layers):
    """tshark's name for all layers of a packet; options are seen in IPv6's."""
    options = ":ipv6.dstopts" if "encaplimit" in words else ""
    return "raw:" + OUTER[family] + options + {**ENCAPS, **ETH_ENCAPS}[words] + layers


def judge(packets):
    """One run of tshark for all: the layers and complaints of each."""
    lines = capture.tshark_fields(packets, "frame.protocols", "_ws.expert.severity",
                                  "_ws.expert.message")
    ktap.eq(len(lines), len(packets), "lines of tshark")
    return [(layers[0], complaints(severities, messages))
            for layers, severities, messages in lines]


def complaints(severities, messages):
    if any(int(severity, 0) >= WARNING for severity in severities):
        return messages
    return []


@ktap.table("{0} over {1}", ROWS)
def single(results, words, family):
    wrong = [f"{name}: {results.seen[place][1]} in {results.seen[place][0]}"
             for place, name, layers in results.expected[words, family]
             if results.seen[place] != (layers, [])]
    ktap.eq(wrong, [], "complaints, or other layers than expected")


SEGMENTED = [(words, family, kind) for words in (
    "encap ip", "encap gre", "encap gre key 7 csum", "encap gre csum seq",
    "encap gre payload eth", "encap gre key 7 csum payload eth", "encap nvgre key 0x123456")
    for family in FAMILIES for kind in FAMILIES]


@ktap.table("TCP in {2} through {0} over {1} is segmented, checksums are right", SEGMENTED)
def segmented(results, words, family, kind):
    a, b = results.hosts
    for near, far, last in ((a, b, 1), (b, a, 2)):
        near.tunnel("t0", f"{words} local {getattr(near, family)} remote {getattr(far, family)}",
                    f"10.9.0.{last}/24", f"fd00:9::{last}/64")
        ktap.defer(near.ip, "link del t0")
    under = capture.Capture(a, "under0")
    traffic.tcp_bulk(a, b, pkt.INNER[kind][1], 100000)
    under.poll()
    frames = [frame for frame in under.frames if len(frame.data) > 1000]
    results.transfers[words, family, kind] = range(
        len(results.frames), len(results.frames) + len(frames))
    results.frames += frames
    ktap.true(len(frames) > 50, f"{len(frames)} segments")
    ktap.eq([frame.gso for frame in frames if frame.gso], [], "frames that are to be segmented")
    bad = [pkt.bad_checksums(frame.data[frame.header:]) for frame in frames]
    ktap.eq([names for names in bad if names], [], "wrong checksums")


@ktap.case("tshark has nothing against the segments")
def segments(results):
    ktap.eq(len(results.transfers), len(SEGMENTED), "transfers")
    lines = capture.tshark_fields(results.frames, "_ws.expert.severity", "_ws.expert.message",
                                  "tcp.dstport")
    ktap.eq(len(lines), len(results.frames), "lines of tshark")
    wrong = {row: complaints(*lines[place][:2]) or "no TCP"
             for row, places in results.transfers.items() for place in places
             if complaints(*lines[place][:2]) or not lines[place][2]}
    ktap.eq(wrong, {}, "complaints")


ktap.main(setup)
