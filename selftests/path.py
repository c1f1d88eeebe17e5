#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What is known of the path to a peer: path-get and the events, in the hands of
# the kernel tree's own client; tunctl path, and the story that tunctl monitor
# tells while it happens.
import contextlib
import functools
import ipaddress
import json
import os
import re
import signal
import socket
import struct
import time
from errno import EDESTADDRREQ, EINVAL, ENETUNREACH, ENODEV, EOPNOTSUPP

from lib import ktap, net, pkt, traffic, ynl

DEV = "t0"
GRE = "encap gre key 7"
FAMILIES = ("v4", "v6")
# What routers say of a packet that is too big, and that there is no route.
TOO_BIG = {"v4": (3, 4), "v6": (2, 0)}
UNREACHABLE = {"v4": (3, 1), "v6": (1, 0)}
ROUTER = {"v4": "192.0.2.254", "v6": "2001:db8:1::fe"}


def raw(address):
    return ipaddress.ip_address(address).packed


class Lab:
    def __init__(self):
        net.load_module()

    @functools.cached_property
    def path(self):
        with ktap.for_file():
            return net.path()

    def tunnel(self, words=GRE, family="v4"):
        """The path, with a new tunnel."""
        self.path.tunnel_anew(words, family, DEV)
        return self.path


def known(ns, dev=DEV):
    """What tunctl path has of a tunnel's only peer."""
    paths = ns.tunctl("path", dev)
    ktap.eq(len(paths), 1, "peers")
    return paths[0]["path"]


def narrow(path, inner="v4"):
    """A path MTU of 1400, told by r about a large packet from a."""
    path.narrow(1400)
    ktap.defer(path.narrow, 1500)
    size = {"v4": 1420, "v6": 1400}[inner]
    traffic.ping(path.a, getattr(path.b, inner), size=size, df="set", tries=1, limit=1)
    ktap.wait_for(lambda: known(path.ingress).get("learned-mtu"), "the error", 10)


def lasting(told):
    """What does not change by itself: without the times of the last packets."""
    path = {key: value for key, value in told["path"].items() if key not in ("heard-ago", "sent-ago")}
    return {**told, "path": path}


def breaks(router, route):
    """A route that drops packets, until the subtest ends."""
    router.ip(f"route add {route}")
    ktap.defer(router.ip, f"route del {route}")


@ktap.table("what is known of a peer without news: {0} over {1}",
            [(words, family) for words in (GRE, "encap ip") for family in FAMILIES])
def without_news(lab, words, family):
    path = lab.tunnel(words, family)
    client = ynl.client(path.ingress)
    local, peer = getattr(path.ingress, family), getattr(path.egress, family)
    got = lasting(client.do("path-get", {"ifname": DEV}))
    for asked in ({}, {"ifindex": got["ifindex"]}):
        ktap.eq([lasting(told) for told in client.dump("path-get", asked)], [got], f"dump of {asked}")
    ktap.eq(lasting(client.do("path-get", {"ifname": DEV, "addr": raw(peer)})), got, "with addr")
    ktap.eq(got["ifname"], DEV, "ifname")
    overhead = client.do("get", {"ifname": DEV})["overhead"]
    under = path.ingress.link("under0")["ifindex"]
    ktap.eq(got["path"], {"peer": raw(peer), "link": under, "link-name": "under0",
                          "gateway": raw(ROUTER[family]), "source": raw(local),
                          "link-mtu": 1500, "mtu": 1500, "fits": 1500 - overhead, "errors": 0},
            "path")
    ktap.holds(known(path.ingress), {
        "peer": peer, "link": under, "link-name": "under0", "gateway": ROUTER[family],
        "source": local, "mtu": 1500, "fits": 1500 - overhead, "errors": 0}, "tunctl -j path")
    text = path.ingress.check("tunctl", "path")
    for word in (f"t0 peer {peer}\n", f"dev under0 via {ROUTER[family]} src {local}",
                 "path MTU 1500", f"up to {1500 - overhead} bytes", "no errors"):
        ktap.contains(text, word, "tunctl path")


@ktap.table("a path MTU that was learned: of whom, until when; over {0}", FAMILIES)
def learned(lab, family):
    path = lab.tunnel(GRE, family)
    narrow(path)
    overhead = {"v4": 28, "v6": 48}[family]
    kind, code = TOO_BIG[family]
    got = ynl.client(path.ingress).do("path-get", {"ifname": DEV})["path"]
    ktap.holds(got, {"link-mtu": 1500, "mtu": 1400, "fits": 1400 - overhead, "learned-mtu": 1400,
                     "learned-from": raw(ROUTER[family]), "errors": 1, "last-type": kind,
                     "last-code": code, "last-from": raw(ROUTER[family])}, "path-get")
    ktap.true(500 < got["expires"] <= 600, f"expires in {got['expires']} s")
    ktap.true(got["learned-ago"] < 60 and got["last-ago"] < 60, "not long ago")
    told = known(path.ingress)
    ktap.holds(told, {"mtu": 1400, "learned-mtu": 1400, "learned-from": ROUTER[family],
                      "last-from": ROUTER[family], "last-type": kind, "last-code": code},
               "tunctl -j path")
    text = path.ingress.check("tunctl", "path", DEV)
    for word in (f"{ROUTER[family]} told an MTU of 1400", "path MTU 1400 of 1500, for ",
                 f"up to {1400 - overhead} bytes fit", "1 error, the last "):
        ktap.contains(text, word, "tunctl path")
    # Other words do not change the path.
    path.ingress.ip(f"link set {DEV} type xtun ttl 63")
    ktap.holds(known(path.ingress), {"mtu": 1400, "learned-mtu": 1400, "errors": 1},
               "after a change of the tunnel")
    # What the kernel forgets is still told, and told to be no more in force.
    path.ingress.ip("route flush cache")
    ktap.holds(known(path.ingress), {"mtu": 1500, "learned-mtu": 1400, "expires": None},
               "after the kernel has forgotten it")
    ktap.contains(path.ingress.check("tunctl", "path", DEV), "not in force", "tunctl path")


@ktap.table("over {0} what was learned of a path {2} after: {1}", [
    (family, *row) for family in FAMILIES for row in (
        ("dev under0", "is void"), ("fwmark 5", "is void"), ("fwmark inherit", "is void"),
        ("tos 0x10", "is void"), ("ttl 63", "holds"), ("frag outer", "holds"))])
def other_way(lab, family, words, what):
    path = lab.tunnel(GRE, family)
    narrow(path)
    path.narrow(1500)
    path.ingress.ip(f"link set {DEV} type xtun {words}")
    told = known(path.ingress)
    if what == "holds":
        ktap.holds(told, {"mtu": 1400, "learned-mtu": 1400}, "the path")
        ktap.true("expires" in told, "it expires some time")
        return
    ktap.holds(told, {"mtu": 1500, "learned-mtu": 1400, "expires": None}, "the path")
    # With "probe" it does not matter what the sender itself has learned.
    largest = 1500 - {"v4": 28, "v6": 48}[family] - 28
    ktap.true(traffic.ping(path.a, path.b.v4, size=largest, df="probe"),
              "a reply to what needs all of the link")


def send_anew(ns, dst, size, times, processor):
    """A child whose every datagram has the kernel look routes up; its number."""
    sock = ns.socket(net.family_of(dst), socket.SOCK_DGRAM)
    traffic.set_df(sock, "probe")
    sock.connect((dst, 9))
    with ns:
        flush = os.open("/proc/sys/net/ipv4/route/flush", os.O_WRONLY)
    child = os.fork()
    if child:
        os.close(flush)
        return child
    with contextlib.suppress(BaseException):
        os.sched_setaffinity(0, {processor})
        for _ in range(times):
            os.write(flush, b"1")
            with contextlib.suppress(OSError):      # some other datagram's end
                sock.send(bytes(size))
        os._exit(0)
    os._exit(1)


def all_ended(children):
    """Whether none of these processes works any more; they must have come to their end."""
    for child in list(children):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            children.remove(child)
            ktap.eq(status, 0, "exit status of a sender")
    return not children


def kill_all(children):
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@ktap.table("a route that another processor's lookup takes away says nothing of the path, inner {0}",
            FAMILIES)
def taken_away(lab, inner):
    path = lab.tunnel()
    # Only after there was a path MTU do the lookups of all processors share a route.
    narrow(path)
    path.narrow(1500)
    path.ingress.sysctl({"net.ipv4.route.flush": 1})
    before = path.ingress.counters(DEV)
    sent = path.ingress.stats(DEV)["tx_packets"]
    client, seen = ynl.client(path.ingress), set()
    size = 1500 - 28 - {"v4": 28, "v6": 48}[inner]
    processors = sorted(os.sched_getaffinity(0))
    ktap.true(len(processors) > 1, "two processors")
    children = []
    ktap.defer(kill_all, children)
    for processor in processors[:2]:
        children.append(send_anew(path.ingress, getattr(path.b, inner), size, 5000, processor))
    while not all_ended(children):
        got = client.do("path-get", {"ifname": DEV})["path"]
        seen.add((got["mtu"], got["link-mtu"]))
    ktap.eq(seen, {(1500, 1500)}, "MTU of path and link, whenever asked for")
    after = path.ingress.counters(DEV)
    for name in ("tx-too-big", "tx-no-route"):
        ktap.eq(after[name] - before[name], 0, name)
    ktap.true(path.ingress.stats(DEV)["tx_packets"] - sent > 5000, "packets were sent")


@ktap.table("the last error, and how many there were, over {0}", FAMILIES)
def last_error(lab, family):
    path = lab.tunnel(GRE, family)
    peer = getattr(path.egress, family)
    breaks(path.r, f"unreachable {peer}")
    for count in (1, 2):
        try:
            traffic.ping(path.a, path.b.v4, tries=1, limit=0.2)
        except OSError:
            pass
        ktap.wait_for(lambda: known(path.ingress)["errors"] >= count, "the error", 10)
    type_, code = UNREACHABLE[family]
    ktap.holds(known(path.ingress), {"errors": 2, "last-type": type_, "last-code": code,
                                     "last-from": ROUTER[family]}, "tunctl -j path")
    ktap.contains(path.ingress.check("tunctl", "path"),
                  f"(ICMP {type_}/{code}) from {ROUTER[family]}", "tunctl path")


@ktap.table("when packets came and went last, over {0}", FAMILIES)
def last_packets(lab, family):
    path = lab.tunnel(GRE, family)
    # The devices themselves shall say nothing.
    for ns in (path.ingress, path.egress):
        ns.ip(f"link del {DEV}")
        ns.sysctl({"net.ipv6.conf.default.disable_ipv6": 1})
        ktap.defer(ns.sysctl, {"net.ipv6.conf.default.disable_ipv6": 0})
    for near, far in ((path.ingress, path.egress), (path.egress, path.ingress)):
        near.tunnel(DEV, f"{GRE} local {getattr(near, family)} remote {getattr(far, family)}")
    path.ingress.ip(f"route add 10.2.0.0/24 dev {DEV}")
    path.egress.ip(f"route add 10.1.0.0/24 dev {DEV}")
    ktap.holds(known(path.ingress), {"heard-ago": None, "sent-ago": None}, "in the beginning")
    # Who has no socket there would answer.
    traffic.udp(path.b, path.b.v4, 50000)
    sock = traffic.udp(path.a, path.a.v4, 40000)
    sock.sendto(b"x", (path.b.v4, 50000))
    ktap.wait_for(lambda: "heard-ago" in known(path.egress), "the packet", 10)
    ktap.holds(known(path.egress), {"sent-ago": None}, "at the other end")
    ktap.holds(known(path.ingress), {"heard-ago": None}, "at this end")
    ktap.true("sent-ago" in known(path.ingress), "it is told that one was sent")
    ktap.contains(path.ingress.check("tunctl", "path"),
                  "last packets: none from the peer yet, to it ", "tunctl path")
    ktap.true(traffic.ping(path.a, path.b.v4), "a reply")
    for ns in (path.ingress, path.egress):
        told = known(ns)
        ktap.true(told["heard-ago"] < 60 and told["sent-ago"] < 60, "both ways")
        ktap.true(re.search(r"last packets: from the peer \d+ s ago, to it \d+ s ago\n",
                            ns.check("tunctl", "path")), "tunctl path")
    # Another peer has not said anything yet.
    path.ingress.ip(f"link set {DEV} type xtun remote " + {"v4": "203.0.113.9",
                                                           "v6": "2001:db8:9::9"}[family])
    ktap.holds(known(path.ingress), {"heard-ago": None, "sent-ago": None}, "of another peer")


@ktap.table("no route, and one into the tunnel itself, over {0}", FAMILIES)
def no_route(lab, family):
    path = lab.tunnel(GRE, family)
    peer = getattr(path.egress, family)
    route = {"v4": "198.51.100.0/24 via 192.0.2.254",
             "v6": "2001:db8:2::/64 via 2001:db8:1::fe"}[family]
    path.ingress.ip(f"route del {route}")
    ktap.defer(path.ingress.ip, f"route add {route}")
    ktap.holds(known(path.ingress), {"error": ENETUNREACH, "link": None, "mtu": None, "loop": None},
               "without a route")
    ktap.contains(path.ingress.check("tunctl", "path"), "none: Network is unreachable", "tunctl path")
    path.ingress.ip(f"route add {peer} dev {DEV}")
    ktap.holds(known(path.ingress), {"error": None, "loop": True, "link-name": DEV, "mtu": None},
               "with a loop")
    ktap.contains(path.ingress.check("tunctl", "path"), "into the tunnel itself", "tunctl path")


@ktap.table("a peer on the link has no gateway, whatever the kernel has learned, over {0}", FAMILIES)
def on_link(_, family):
    peer = net.peer()
    ns, local, remote = peer.ns, getattr(peer.ns, family), peer.address(family)
    ns.tunnel(DEV, f"{GRE} local {local} remote {remote}")
    kind, code = TOO_BIG[family]
    # About an echo reply that nobody has sent: what comes of it is the kernel's only.
    quote = pkt.icmp(family, local, remote, {"v4": 0, "v6": 129}[family], 0)
    for mtu in (1500, 1300):
        if mtu != 1500:
            peer.send(pkt.icmp(family, remote, local, kind, code, mtu, quote))
            ktap.wait_for(lambda: ns.path_mtu(remote) == 1300, "the kernel's path MTU")
        ktap.holds(known(ns), {"link-name": "under0", "gateway": None, "source": local},
                   "tunctl -j path")
        ktap.true(" via " not in ns.check("tunctl", "path"), "no via in tunctl path")


@ktap.case("a tunnel whose underlay is another netns")
def elsewhere(lab):
    path = lab.tunnel()
    inside = net.Namespace("inside")
    path.ingress.ip(f"link set {DEV} netns {inside}")
    ktap.defer(inside.ip, f"link del {DEV}")
    got = ynl.client(inside).do("path-get", {"ifname": DEV})
    ktap.true("link-netnsid" in got, "it is told")
    ktap.holds(got["path"], {"link": path.ingress.link("under0")["ifindex"], "link-name": "under0",
                             "gateway": raw("192.0.2.254"), "source": raw("192.0.2.1")}, "path")
    ktap.eq(ynl.client(path.ingress).dump("path-get", {}), [], "what is left where it was")
    ktap.contains(inside.check("tunctl", "path"), "in another netns", "tunctl path")


# What nobody is shown who may not see the underlay.
UNDERLAY = dict.fromkeys(("link", "link-name", "gateway", "source", "learned-from", "last-from"))


@ktap.case("who was given a tunnel is not shown the way that its packets take")
def given(lab):
    path = lab.tunnel()
    user = net.UserNamespace(path.ingress)
    path.ingress.ip(f"link set {DEV} netns {user.pid}")
    ktap.defer(user.run, "ip", "link", "del", DEV)
    for line in (f"link set {DEV} up", f"addr add 10.1.9.1/24 dev {DEV}",
                 f"route add 10.2.0.0/24 dev {DEV}"):
        seen = user.run("ip", *line.split())
        ktap.eq(seen.returncode, 0, f"ip {line} ({seen.stderr})")
    watch = user.spawn("tunctl", "-j", "monitor")

    def listens():
        # It is told of at once; what the underlay does would be a moment later, or not.
        for mtu in ("1471", "1472"):
            user.run("ip", "link", "set", DEV, "mtu", mtu)
        return "set" in watch.output()
    ktap.wait_for(listens, "tunctl monitor listening")
    path.narrow(1400)
    ktap.defer(path.narrow, 1500)
    user.run("ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", path.b.v4)
    watch.wait_output('"event":"path".*\n')
    breaks(path.r, "unreachable 198.51.100.1")
    user.run("ping", "-c", "1", "-W", "1", path.b.v4)
    watch.wait_output('"code":1,.*\n')
    told = [json.loads(line) for line in watch.output().splitlines()]
    errors = [event["error"] for event in told if event["event"] == "error"]
    for error in errors:
        ktap.holds(error, {"from": None, "peer": "198.51.100.1"}, "an error")
    # The system itself speaks too, of groups.
    ktap.true("10.1.9.1" in [error.get("inner-source") for error in errors], "the ping is told of")
    ktap.holds([event["path"] for event in told if event["event"] == "path"][0],
               {**UNDERLAY, "mtu": 1400, "learned-mtu": 1400}, "the event of the path")
    seen = json.loads(user.run("tunctl", "-j", "path", DEV).stdout)[0]["path"]
    ktap.holds(seen, {**UNDERLAY, "mtu": 1400, "learned-mtu": 1400, "last-code": 1}, "tunctl path")
    ktap.true(seen["errors"] >= len(errors), "errors are counted")
    ktap.eq(json.loads(user.run("tunctl", "-j", "path").stdout)[0]["path"].keys(), seen.keys(),
            "of all tunnels")
    for command in (["path", DEV], ["explain", path.b.v4], ["-j", "explain", path.b.v4]):
        text = user.run("tunctl", *command).stdout
        ktap.true(text and not re.search(r"192\.0\.2\.254|under0", text),
                  f"nothing of the underlay in tunctl {command[0]}: {text}")
    text = user.run("tunctl", "path").stdout
    for words in ("not for you to see", "a host of the underlay told an MTU of 1400",
                  "from a host of the underlay"):
        ktap.contains(text, words, "tunctl path")
    # Root sees all of it, also from there.
    seen = path.ingress.run("nsenter", "-t", user.pid, "-n", "tunctl", "-j", "path", DEV)
    ktap.holds(json.loads(seen.stdout)[0]["path"], {
        "link-name": "under0", "gateway": "192.0.2.254", "source": "192.0.2.1",
        "learned-from": "192.0.2.254", "last-from": "192.0.2.254"}, "what root is told")


# ---- a test that plays the peers ----

class Host:
    """A host, tunnels of which the test itself is all peers."""

    def __init__(self, words, remote="any"):
        self.peer = net.peer()
        self.ns = self.peer.ns
        self.ns.tunnel(DEV, f"{words} local {self.ns.v4} remote {remote}")
        self.client = ynl.client(self.ns)

    def via(self, count=1):
        """Peers, each with a host behind it; pairs of addresses."""
        pairs = [(f"192.0.2.{100 + number}", f"10.50.{number}.1") for number in range(count)]
        self.ns.ip(*(self.peer.neighbour_line(peer) for peer, _ in pairs),
                   *(f"route add {far}/32 via {peer} dev {DEV} onlink" for peer, far in pairs))
        return pairs

    def sent(self, peer, far, size=40):
        """The outer packet that a datagram becomes."""
        self.peer.drain()
        traffic.udp(self.ns, family=net.family_of(far)).sendto(b"x" * size, (far, 50000))
        return self.peer.recv(lambda packet: pkt.outer_fields(packet)["dst"] == peer,
                              f"a packet to {peer}")

    def error(self, outer, kind, code, info=0, length=None, times=1):
        """An ICMP error about an outer packet, and the same again."""
        body = struct.pack("!BBHI", kind, code, 0, info) + outer[:548 if length is None else length]
        body = body[:2] + struct.pack("!H", pkt.checksum(body)) + body[4:]
        packet = bytes(pkt.ip("v4", self.peer.v4, self.ns.v4, body, 1))
        for _ in range(times):
            self.peer.send(packet)

    def counted(self, name, count):
        ktap.wait_for(lambda: self.ns.counters(DEV)[name] == count, f"{name} {count}", 20)


@ktap.case("with remote any, each peer that errors were about, and any that is asked for")
def many_peers(_):
    host = Host(GRE)
    ktap.eq(host.client.dump("path-get", {}), [], "peers without news")
    # More than a message holds, and more than are kept: the first one has news again.
    pairs = host.via(70)
    for number, pair in enumerate(pairs[:64] + pairs[:1] + pairs[64:], 1):
        host.error(host.sent(*pair), 3, 1)
        host.counted("err-relayed", number)
    peers = [peer for peer, _ in pairs]
    kept = [*reversed(peers[7:]), peers[0]]
    seen = [told["path"]["peer"] for told in host.client.dump("path-get", {"ifname": DEV})]
    ktap.eq(seen, [raw(peer) for peer in kept], "peers in a dump")
    ktap.eq([told["path"]["peer"] for told in host.ns.tunctl("path")], kept,
            "peers of tunctl path")
    got = host.client.do("path-get", {"ifname": DEV, "addr": raw(peers[-1])})["path"]
    ktap.holds(got, {"peer": raw(peers[-1]), "errors": 1, "last-type": 3, "link-name": "under0"},
               "a peer with news")
    got = host.client.do("path-get", {"ifname": DEV, "addr": raw("203.0.113.7")})["path"]
    ktap.eq(got, {"peer": raw("203.0.113.7"), "error": ENETUNREACH, "errors": 0},
            "a peer that nothing is known of")
    # A peer that has changed is another one.
    host.ns.ip(f"link set {DEV} type xtun local {host.ns.v4} remote {host.peer.v4}")
    ktap.eq([told["path"]["peer"] for told in host.client.dump("path-get", {})],
            [raw(host.peer.v4)], "peers of a tunnel with a remote")


@ktap.case("with remote any, an error about one peer is over when a packet comes from that one")
def mended(_):
    host = Host(GRE)
    pairs = host.via(2)
    for number, pair in enumerate(pairs, 1):
        host.error(host.sent(*pair), 3, 1)
        host.counted("err-relayed", number)

    def since():
        """By peer: which packets there were since its last error."""
        told = host.client.dump("path-get", {"ifname": DEV})
        by_peer = {socket.inet_ntoa(path["path"]["peer"]): path["path"].get("last-since") for path in told}
        return [set(by_peer[peer] or ()) for peer, _ in pairs]

    def from_peer(number):
        peer, far = pairs[number]
        inner = bytes(pkt.ip("v4", far, host.ns.v4, bytes(20), 17))
        host.peer.send(bytes(pkt.ip("v4", peer, host.ns.v4, pkt.gre("v4", inner, key=7),
                                    pkt.GRE_PROTO)))
    ktap.eq(since(), [set(), set()], "in the beginning")

    def seen(number, what):
        """Whether it is told after one more: as long as the clock has not ticked it is not."""
        if what == "sent":
            host.sent(*pairs[number])
        else:
            from_peer(number)
        return what in since()[number]
    ktap.wait_for(lambda: seen(0, "sent"), "a packet to the first peer", 10)
    ktap.eq(since(), [{"sent"}, set()], "after packets to the first one")
    ktap.wait_for(lambda: seen(1, "heard"), "a packet from the second peer", 10)
    ktap.eq(since(), [{"sent"}, {"heard"}], "after packets from the second one")
    paths = {told["path"]["peer"]: told["path"] for told in host.ns.tunctl("path")}
    ktap.eq([paths[peer].get("last-mended") for peer, _ in pairs], [None, True], "tunctl -j path")
    ktap.true("since" not in next(drop for drop in host.client.do(
        "stats-get", {"ifname": DEV})["stats"]["drop"] if drop["name"] == "err-relayed"),
        "a drop is no peer's")
    ktap.wait_for(lambda: seen(0, "heard"), "a packet from the first peer", 10)
    # And so is the next one.
    host.error(host.sent(*pairs[0]), 3, 1)
    host.counted("err-relayed", 3)
    ktap.eq(since(), [set(), {"heard"}], "after another error")


@ktap.case("a dump has each of 300 tunnels once, some of them with two peers")
def many_tunnels(_):
    host = Host(GRE)
    for number, pair in enumerate(host.via(2), 1):
        host.error(host.sent(*pair), 3, 1)
        host.counted("err-relayed", number)
    host.ns.ip(*(f"link add m{number} type xtun encap gre key {number + 100} local 192.0.2.1 "
                 f"remote 192.0.2.{number % 90 + 3}" for number in range(300)), "link add name bare type xtun")
    seen = [(told["ifname"], told["path"]["peer"]) for told in host.client.dump("path-get", {})]
    ktap.eq(seen, [(DEV, raw("192.0.2.101")), (DEV, raw("192.0.2.100"))]
            + [(f"m{number}", raw(f"192.0.2.{number % 90 + 3}")) for number in range(300)],
            "tunnels and peers")


@ktap.case("path-get refuses, with words")
def refusals(_):
    host = Host(GRE)
    host.ns.ip("link add fixed type xtun encap gre local 192.0.2.1 remote 192.0.2.9",
               "link add name bare type xtun")
    do, dump = host.client.do, host.client.dump
    for asked, errno, words in (
            ({}, EINVAL, "ifindex or ifname"),
            ({"ifname": "nosuch"}, ENODEV, "no such device"),
            ({"ifname": "under0"}, EOPNOTSUPP, "not of kind xtun"),
            ({"ifname": "bare"}, EDESTADDRREQ, "not configured"),
            ({"ifname": DEV}, EDESTADDRREQ, "addr"),
            ({"ifname": DEV, "addr": raw("2001:db8::9")}, EINVAL, "family"),
            ({"ifname": DEV, "addr": b"abc"}, EINVAL, "family"),
            ({"ifname": "fixed", "addr": raw("192.0.2.8")}, EINVAL, "remote")):
        seen = ynl.refusal(do, "path-get", asked)
        ktap.true(seen, f"{asked} is refused")
        ktap.eq(seen[0], errno, f"errno of {asked}")
        ktap.contains(seen[1], words, f"words about {asked}")
    seen = ynl.refusal(dump, "path-get", {"ifname": "nosuch"})
    ktap.eq(seen and seen[0], ENODEV, "errno of a dump")
    ktap.eq(dump("path-get", {"ifname": "bare"}), [], "a dump of what has no peer")


@ktap.case("an error that told too little: senders are answered, or memory is armed")
def short(_):
    host = Host(f"{GRE} icmp-memory off")
    pair = host.via()[0]
    host.error(host.sent(*pair), 3, 1, length=28)
    host.counted("err-short", 1)
    got = host.client.dump("path-get", {})[0]
    ktap.eq(got["path"]["answer"], "host", "answer")
    ktap.true(0 < got["path"]["answer-for"] <= 30, f"answer-for {got['path']['answer-for']}")
    ktap.true("armed-for" not in got, "nothing is armed")
    ktap.contains(host.ns.check("tunctl", "path"), "answered with: host unreachable", "tunctl path")
    ktap.eq(host.ns.tunctl("path")[0]["path"]["answer"], "host unreachable", "tunctl -j path")
    host.ns.ip(f"link set {DEV} type xtun icmp-memory auto")
    outer = bytearray(host.sent(*pair))
    outer[4:6] = struct.pack("!H", 0x1234 ^ int.from_bytes(outer[4:6], "big"))
    host.error(bytes(outer), 3, 1, length=28)
    host.counted("err-short", 2)
    got = host.client.dump("path-get", {})[0]
    ktap.true(0 < got["armed-for"] <= 60, f"armed-for {got.get('armed-for')}")
    ktap.contains(host.ns.check("tunctl", "path"), "every packet is remembered", "tunctl path")
    ktap.true(0 < host.ns.tunctl("path")[0]["armed-for"] <= 60, "tunctl -j path")


# ---- events ----

def events(client, name, count, limit=20):
    """The events of this name, at least so many."""
    def enough():
        client.check_ntf()
        seen = [event["msg"] for event in client.async_msg_queue if event["name"] == name]
        return seen if len(seen) >= count else None
    return ktap.wait_for(enough, f"{count} {name}", limit)


@ktap.table("an error is told to listeners of the device's netns: inner {0}", FAMILIES)
def error_event(lab, inner):
    path = lab.tunnel()
    clients = {"here": ynl.client(path.ingress), "there": ynl.client(path.egress)}
    for client in clients.values():
        client.ntf_subscribe("events")
    breaks(path.r, "unreachable 198.51.100.1")
    sock = traffic.udp(path.a, getattr(path.a, inner), 40000)
    sock.sendto(b"x", (getattr(path.b, inner), 50000))
    seen = events(clients["here"], "error-ntf", 1)
    ktap.eq([event["ifname"] for event in seen], [DEV], "events")
    ktap.eq(seen[0]["error"], {
        "peer": raw("198.51.100.1"), "from": raw("192.0.2.254"), "type": 3, "code": 1,
        "outcome": "err-relayed", "inner-source": raw(getattr(path.a, inner)),
        "inner-destination": raw(getattr(path.b, inner)), "inner-protocol": 17,
        "inner-sport": 40000, "inner-dport": 50000}, "the event")
    clients["there"].check_ntf()
    ktap.eq(clients["there"].async_msg_queue, [], "events elsewhere")


@ktap.table("a path MTU that was lowered is told, over {0}", FAMILIES)
def path_event(lab, family):
    path = lab.tunnel(GRE, family)
    client = ynl.client(path.ingress)
    client.ntf_subscribe("events")
    narrow(path)
    error = events(client, "error-ntf", 1)[0]["error"]
    kind, code = TOO_BIG[family]
    ktap.holds(error, {"type": kind, "code": code, "mtu": 1400, "outcome": "err-too-big"},
               "the error")
    told = events(client, "path-ntf", 1)[0]
    ktap.eq(told["ifname"], DEV, "ifname")
    ktap.holds(told["path"], {
        "peer": raw(getattr(path.egress, family)), "mtu": 1400, "link-mtu": 1500,
        "learned-mtu": 1400, "learned-from": raw(ROUTER[family])}, "the path")
    names = [event["name"] for event in client.async_msg_queue]
    ktap.true(names.index("error-ntf") < names.index("path-ntf"), "cause before consequence")


@ktap.case("what does not lower the path MTU is an error, and no news of the path")
def no_news(_):
    host = Host(GRE)
    host.client.ntf_subscribe("events")
    outer = host.sent(*host.via()[0], 1430)
    for number, mtu in enumerate((1400, 1400, 1300, 1350), 1):
        host.error(outer, 3, 4, mtu)
        host.counted("err-too-big", number)
    told = [event["error"]["mtu"] for event in events(host.client, "error-ntf", 4)]
    ktap.eq(told, [1400, 1400, 1300, 1350], "errors")
    told = [event["path"]["mtu"] for event in events(host.client, "path-ntf", 2)]
    ktap.eq(told, [1400, 1300], "path MTUs")


@ktap.case("of a flood of errors 50 a second are told, and how many were not")
def flood(_):
    host = Host(GRE)
    host.client.ntf_subscribe("events")
    outer = host.sent(*host.via()[0])
    before = time.monotonic()
    host.error(outer, 3, 1, times=500)
    host.counted("err-relayed", 500)
    seconds = 2 + int(time.monotonic() - before)
    seen = events(host.client, "error-ntf", 50)
    ktap.true(len(seen) <= 50 * seconds, f"{len(seen)} events in {seconds} seconds")
    sent = 500

    def settled():
        """One more error, now and then, until there is nothing left to tell."""
        nonlocal sent, seen
        host.error(outer, 3, 1)
        sent += 1
        host.counted("err-relayed", sent)
        seen = events(host.client, "error-ntf", len(seen))
        return sum(1 + event["error"].get("lost", 0) for event in seen) == sent
    ktap.wait_for(settled, "all errors, told or lost", 20)
    ktap.true(len(seen) < sent, "some were lost")


# ---- tunctl monitor ----

@ktap.table("tunctl {0} tells the story of a path that becomes narrow, and is cut",
            ["monitor", "-j monitor"])
def story(lab, command):
    path = lab.tunnel()
    watch = path.ingress.spawn("tunctl", *command.split())

    def listens():
        path.ingress.ip(f"link set {DEV} type xtun ttl 9", f"link set {DEV} type xtun ttl 64")
        return DEV in watch.output()
    ktap.wait_for(listens, "tunctl monitor listening")
    path.narrow(1400)
    ktap.defer(path.narrow, 1500)
    sock = traffic.udp(path.a, path.a.v4, 40000)
    traffic.set_df(sock, "set")
    sock.sendto(b"x" * 1440, (path.b.v4, 50000))
    watch.wait_output(r"path\b.*1400")
    breaks(path.r, "prohibit 198.51.100.1")
    sock.sendto(b"x", (path.b.v4, 50000))
    watch.wait_output(r"prohibited.*\n")
    lines = [line for line in watch.output().splitlines() if re.search(r"error|path", line)]
    ktap.eq(len(lines), 3, f"lines of the story ({lines})")
    if "-j" in command:
        events_ = [json.loads(line) for line in lines]
        ktap.eq([event["event"] for event in events_], ["error", "path", "error"], "events")
        ktap.holds(events_[0]["error"], {
            "peer": "198.51.100.1", "from": "192.0.2.254", "type": 3, "code": 4, "mtu": 1400,
            "text": "fragmentation needed", "outcome": "err-too-big", "inner-source": path.a.v4,
            "inner-destination": path.b.v4, "inner-protocol": 17, "inner-sport": 40000,
            "inner-dport": 50000}, "the first error")
        ktap.holds(events_[1]["path"], {"mtu": 1400, "fits": 1372, "learned-from": "192.0.2.254"},
                   "the path")
        ktap.holds(events_[2]["error"], {"type": 3, "code": 13, "outcome": "err-relayed"},
                   "the second error")
        return
    for line, words in zip(lines, (
            ("error t0 peer 198.51.100.1: 192.0.2.254 says fragmentation needed, MTU 1400 (ICMP 3/4)",
             "about UDP 10.1.0.2:40000 > 10.2.0.2:50000", "the path MTU is learned"),
            ("path t0 peer 198.51.100.1: now path MTU 1400 of 1500", "up to 1372 bytes fit",
             "192.0.2.254 told it"),
            ("error t0 peer 198.51.100.1: 192.0.2.254 says prohibited by a filter (ICMP 3/13)",
             "about UDP 10.1.0.2:40000 > 10.2.0.2:50000", "the sender is told"))):
        for word in words:
            ktap.contains(line, word, "a line of the story")


ktap.main(Lab)
