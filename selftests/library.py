#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# The library itself, with tunnels of the kernel's own: not part of the suite,
# but the first thing to run when many tests fail at once.
import itertools

from lib import capture, ktap, net, pkt, traffic


def setup():
    net.need_modules("ip_gre", "ip6_gre", "veth")
    return net.two()


@ktap.table("the underlay carries {0}", ["v4", "v6"])
def underlay(hosts, family):
    address = getattr(hosts.b, family)
    ktap.true(traffic.ping(hosts.a, address), "ping")
    ktap.true(traffic.ping(hosts.a, address, size=1400, df="set"), "long ping")
    ktap.true(not traffic.ping(hosts.a, address, size=1500, df="set"), "too long")
    traffic.udp_crosses(hosts.a, hosts.b, address)
    traffic.tcp_bulk(hosts.a, hosts.b, address, 3000000)


@ktap.case("GRE with a key, as seen on the underlay")
def keyed(hosts):
    for near, far, last in ((hosts.a, hosts.b, 1), (hosts.b, hosts.a, 2)):
        near.device("g0", f"type gre local {near.v4} remote {far.v4} key 7 csum seq",
                    f"10.9.0.{last}/24", f"fd00:9::{last}/64")
    under = capture.Capture(hosts.a, "under0")
    ktap.true(traffic.ping(hosts.a, "10.9.0.2"), "ping")
    ktap.true(traffic.ping(hosts.a, "fd00:9::2"), "ping v6")
    packets = under.packets()
    ktap.eq(len(packets), 4, "packets")
    for packet in packets:
        ktap.eq(pkt.bad_checksums(packet), [], "wrong checksums")
        ktap.eq(pkt.dissect(packet)[pkt.GRE].key, 7, "key")
    ktap.eq(capture.tshark_fields(under.frames, "gre.key", "_ws.expert.message"),
            [[["0x00000007"], []]] * 4, "tshark")


@ktap.table("the peer talks {0}", ["v4", "v6"])
def scapy_peer(_, family):
    peer = net.peer()
    src, dst = peer.address(family), getattr(peer.ns, family)
    request = pkt.udp(family, src, dst, dport=7)
    receiver = traffic.udp(peer.ns, dst, 7)
    peer.send(request)
    data, address = traffic.recv(receiver)
    receiver.sendto(data, address[:2])
    packet = peer.recv()
    ktap.eq(pkt.bad_checksums(packet), [], "wrong checksums")
    ktap.eq(bytes(pkt.dissect(packet)[pkt.UDP].payload), data, "echo")


@ktap.case("the path narrows under TCP")
def path(_):
    path = net.path()
    for near, far, lan in ((path.ingress, path.egress, "b"), (path.egress, path.ingress, "a")):
        near.device("t0", f"type ip6gre local {near.v6} remote {far.v6} encaplimit none")
        near.ip(*(f"route add {prefix} dev t0" for prefix in path.LANS[lan]))
    ktap.true(traffic.ping(path.a, path.b.v4), "ping v4")
    ktap.true(traffic.ping(path.a, path.b.v6), "ping v6")
    bulk = traffic.Bulk(path.a, path.b, path.b.v4, 20000000)
    bulk.progress(1000000)
    path.narrow(1400)
    bulk.progress()
    bulk.finish()


@ktap.case("commands, refusals, counters")
def commands(hosts):
    ns = net.Namespace("x")
    ns.device("d0", "type dummy", "10.1.2.3/24")
    ktap.eq(ns.link("d0")["linkinfo"]["info_kind"], "dummy", "kind")
    said = ns.refused("link add d1 type dummy", "link add d1 type dummy",
                      "link add d2 type dummy", "link set nosuch up")
    ktap.eq(said[::2], [None, None], "taken")
    ktap.contains(said[1], "File exists", "refusal")
    ktap.contains(said[3], "nosuch", "refusal")
    ktap.true(hosts.a.stats("under0")["rx_packets"], "rx_packets")
    ktap.true(hosts.a.counters("under0"), "ethtool -S")
    process = ns.spawn("ip", "monitor")
    mtus = itertools.cycle((1300, 1400))

    def heard():
        ns.ip(f"link set d0 mtu {next(mtus)}")
        return "mtu 1300" in process.output()
    ktap.wait_for(heard, "ip monitor's word")


ktap.main(setup)
