#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# tunctl explain: a set-up that is broken in one way or another, and the first
# line that says how; in JSON too. The packets really do not get through.
import contextlib
import functools
import json
import re
import socket
import struct
import time

from lib import ktap, net, pkt, traffic

DEV = "t0"
CAUSE = 4               # exit status where something is wrong
GRE = "encap gre key 7"
FAMILIES = ("v4", "v6")


class Lab:
    """The topologies, each made when first needed."""

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


def prefix_len(address):
    return f"{address}/{32 if '.' in address else 128}"


def breaks(ns, line, mend):
    """A command of ip(8) that is undone when the subtest ends."""
    ns.ip(line)
    ktap.defer(ns.ip, mend)


def no_reply(path, family="v4", source=None):
    """What is sent from a to b does not get through."""
    source = source or path.a
    try:
        reply = traffic.ping(source, getattr(path.b, family), tries=2, limit=0.5)
    except OSError:             # told so: that is no reply either
        reply = False
    ktap.true(not reply, "it is broken")


def since(text):
    """Without the seconds that pass between two looks at the same."""
    return re.sub(r"\d+ s\b", "N s", text)


def explain(ns, question):
    """Exit status, lines and JSON; what is asked is an address, and words behind it."""
    words = question.split()
    seen = ns.run("tunctl", "explain", *words)
    ktap.eq(seen.stderr, "", "standard error")
    told = ns.run("tunctl", "-j", "explain", *words)
    ktap.eq(told.returncode, seen.returncode, "exit status with -j")
    return seen.returncode, seen.stdout.splitlines(), json.loads(told.stdout)[0]


def names(ns, address, cause, *words):
    """The first line, and the first finding of the JSON, name the cause."""
    status, lines, told = explain(ns, address)
    ktap.eq(told["cause"], cause, f"cause in JSON ({lines[0]})")
    for word in words:
        ktap.contains(lines[0], word, "the first line")
    ktap.eq(status, CAUSE, "exit status")
    ktap.eq(told["findings"][0]["cause"], cause, "first finding")
    ktap.eq(since(told["findings"][0]["text"]), since(lines[0]), "text of the first finding")
    ktap.eq(told["addr"], address.split()[0], "addr in JSON")
    return lines, told


def healthy(ns, address, *words):
    status, lines, told = explain(ns, address)
    ktap.eq((status, told["cause"], told["findings"]), (0, "none", []), f"{lines}")
    ktap.contains(lines[0], "Nothing is known to be wrong", "the first line")
    for word in words:
        ktap.contains(lines[0], word, "the first line")
    return lines, told


@ktap.table("healthy, over {0}: nothing is wrong, and the way is told", FAMILIES)
def fine(lab, family):
    path = lab.tunnel(GRE, family)
    for inner in FAMILIES:
        ktap.true(traffic.ping(path.a, getattr(path.b, inner)), "it works")
        lines, told = healthy(path.ingress, getattr(path.b, inner), DEV,
                              getattr(path.egress, family))
        ktap.holds(told["route"], {"dev": DEV}, "route")
        ktap.holds(told["tunnel"]["conf"], {"encap": "gre", "key": 7}, "tunnel")
        ktap.holds(told["path"], {"peer": getattr(path.egress, family), "link-name": "under0",
                                  "source": getattr(path.ingress, family), "mtu": 1500,
                                  "fits": path.ingress.mtu(DEV), "errors": 0}, "path")
        text = "\n".join(lines[1:])
        for word in ("dev t0", "encap gre", "dev under0 via", "path MTU 1500", "counters: none"):
            ktap.contains(text, word, "what follows")


@ktap.table("no route to the peer, over {0}", FAMILIES)
def no_outer_route(lab, family):
    path = lab.tunnel(GRE, family)
    line = {"v4": "198.51.100.0/24 via 192.0.2.254",
            "v6": "2001:db8:2::/64 via 2001:db8:1::fe"}[family]
    breaks(path.ingress, f"route del {line}", f"route add {line}")
    no_reply(path)
    lines, told = names(path.ingress, path.b.v4, "no-outer-route", "no route to the peer", DEV,
                        getattr(path.egress, family), "unreachable")
    ktap.eq(told["path"]["error"], 101, "error in JSON")
    ktap.contains("\n".join(lines), "tx-no-route", "counters")


@ktap.table("the route to the peer leads into the tunnel, over {0}", FAMILIES)
def route_loop(lab, family):
    path = lab.tunnel(GRE, family)
    path.ingress.ip(f"route add {prefix_len(getattr(path.egress, family))} dev {DEV}")
    no_reply(path)
    names(path.ingress, path.b.v4, "route-loop", "leads into t0 itself",
          getattr(path.egress, family))


@ktap.case("outer packets come back through another tunnel")
def long_loop(lab):
    path = lab.tunnel()
    path.ingress.tunnel("t1", "encap gre key 8 local 192.0.2.1 remote 198.51.100.7")
    ktap.defer(path.ingress.ip, "link del t1")
    path.ingress.ip("route add 198.51.100.1/32 dev t1", f"route add 198.51.100.7/32 dev {DEV}")
    no_reply(path)
    names(path.ingress, path.b.v4, "route-loop", "come back", "tx-route-loop")


@ktap.table("a router prohibits packets to the peer, over {0}", FAMILIES)
def prohibited(lab, family):
    path = lab.tunnel(GRE, family)
    peer = getattr(path.egress, family)
    breaks(path.r, f"route add prohibit {prefix_len(peer)}", f"route del prohibit {prefix_len(peer)}")
    no_reply(path)
    _, told = names(path.ingress, path.b.v4, "prohibited", "prohibited", peer,
                    {"v4": "192.0.2.254", "v6": "2001:db8:1::fe"}[family],
                    {"v4": "ICMP 3/13", "v6": "ICMP 1/1"}[family])
    ktap.true(told["path"]["errors"], "errors in JSON")


@ktap.table("the peer cannot be reached, says a router, over {0}", FAMILIES)
def unreachable(lab, family):
    path = lab.tunnel(GRE, family)
    peer = getattr(path.egress, family)
    breaks(path.r, f"route add unreachable {prefix_len(peer)}",
           f"route del unreachable {prefix_len(peer)}")
    no_reply(path)
    names(path.ingress, path.b.v4, "unreachable", "cannot be reached", peer,
          {"v4": "192.0.2.254 says host unreachable", "v6": "2001:db8:1::fe says"}[family])


@ktap.case("the path is longer than the outer TTL lasts")
def too_far(lab):
    path = lab.tunnel()
    path.ingress.ip(f"link set {DEV} type xtun ttl 1")
    no_reply(path)
    names(path.ingress, path.b.v4, "too-far", "ttl 1", "time to live exceeded", "192.0.2.254")
    # With ttl inherit, who traces the path wants just that.
    path.ingress.ip(f"link set {DEV} type xtun ttl inherit")
    healthy(path.ingress, path.b.v4)


def was(told, lines, cause, why, words):
    """It is told as past, below the first line, in JSON and for people."""
    ktap.eq([(past["cause"], past["why"]) for past in told["past"]], [(cause, why)], "past in JSON")
    below = [line for line in lines[1:] if line.startswith("past: ")]
    ktap.eq([since(line) for line in below], [since("past: " + told["past"][0]["text"])],
            "lines about the past")
    ktap.contains(below[0], words, "what is said of the past")


def is_past(path, cause):
    """A packet of the peer comes, and with it the cause is over; what explain says."""
    jiffy_passes()
    ktap.true(traffic.ping(path.a, path.b.v4), "it works")
    lines, told = healthy(path.ingress, path.b.v4)
    was(told, lines, cause, "mended", "a packet of the peer has come since")
    return lines, told


def jiffy_passes():
    """What happens in one tick of the clock is not told one after the other."""
    coarse = 6
    start = time.clock_gettime(coarse)
    ktap.wait_for(lambda: time.clock_gettime(coarse) != start, "the next tick")


@ktap.table("the peer's tunnel comes up a moment later, over {0}: that is past, and hides nothing",
            FAMILIES)
def mended(lab, family):
    path = lab.tunnel(GRE, family)
    path.egress.ip(f"link set {DEV} type xtun key 8")
    no_reply(path)
    names(path.ingress, path.b.v4, "not-taken", "does not take")
    ktap.eq(path.ingress.tunctl("stats", DEV)[0]["mended"], [], "what stats calls mended")
    path.egress.ip(f"link set {DEV} type xtun key 7")
    lines, told = is_past(path, "not-taken")
    ktap.true(told["path"]["last-mended"], "last-mended")
    text = "\n".join(lines)
    ktap.contains(text, "; mended: a packet of the peer has come since", "the path")
    ktap.true(re.search(r"err-relayed \d+ \(\d+ s ago, mended\)", text), "the counter")
    ktap.contains(path.ingress.check("tunctl", "path", DEV), "; mended: ", "tunctl path")
    ktap.eq(path.ingress.tunctl("stats", DEV)[0]["mended"], ["err-relayed"],
            "what stats calls mended")
    ktap.true(re.search(r"drop err-relayed \d+, mended\n", path.ingress.check("tunctl", "stats", DEV)),
              "tunctl stats")
    # What comes later is the cause, and the only one.
    path.ingress.ip(f"link set {DEV} type xtun allow 10.9.0.0/16")
    no_reply(path)
    lines, told = names(path.ingress, path.b.v4, "not-allowed", "allow")
    ktap.eq(len(told["findings"]), 1, "findings")
    was(told, lines, "not-taken", "mended", "a packet of the peer has come since")
    # And when it is lost once more, it is no longer past.
    path.ingress.ip(f"link set {DEV} type xtun allow any")
    path.egress.ip(f"link set {DEV} type xtun key 8")
    jiffy_passes()
    no_reply(path)
    names(path.ingress, path.b.v4, "not-taken", "does not take")


@ktap.case("a filter of this host that was taken away is past")
def filter_gone(lab):
    path = lab.tunnel()
    path.ingress.check("nft", "add table inet shut; add chain inet shut out "
                       "{ type filter hook output priority 0; }; "
                       "add rule inet shut out meta l4proto gre drop")
    ktap.defer(path.ingress.run, "nft", "delete table inet shut")
    no_reply(path)
    names(path.ingress, path.b.v4, "filtered", "tx-filtered")
    path.ingress.check("nft", "delete table inet shut")
    is_past(path, "filtered")


SHUT = [
    ("filtered", "tx-filtered",
     lambda path: nft(path.ingress, "shut", "output", "meta l4proto gre drop")),
    ("underlay", "tx-underlay", lambda path: queue_of_none(path.ingress, "under0")),
]


@contextlib.contextmanager
def nft(ns, table, hook, rule):
    ns.check("nft", f"add table inet {table}; add chain inet {table} c "
             f"{{ type filter hook {hook} priority 0; }}; add rule inet {table} c {rule}")
    try:
        yield
    finally:
        ns.check("nft", f"delete table inet {table}")


@contextlib.contextmanager
def queue_of_none(ns, dev):
    ns.check("tc", "qdisc", "add", "dev", dev, "root", "pfifo", "limit", "0")
    try:
        yield
    finally:
        ns.check("tc", "qdisc", "del", "dev", dev, "root")


@ktap.table("{0}: it is past once packets get out again, though nothing comes back", SHUT)
def passed(lab, cause, counter, shuts):
    path = lab.tunnel()
    with nft(path.b, "deaf", "input", "drop"):
        with shuts(path):
            no_reply(path)
            names(path.ingress, path.b.v4, cause, counter)
        jiffy_passes()
        no_reply(path)
        # It may have been a filter for some packets only: for five seconds.
        ktap.wait_for(lambda: not path.ingress.run("tunctl", "explain", path.b.v4).returncode,
                      "that it is not blamed any more", 20)
        lines, told = healthy(path.ingress, path.b.v4)
        was(told, lines, cause, "passed", "packets have got out since")
        ktap.eq(path.ingress.tunctl("stats", DEV)[0]["mended"], [counter], "what stats calls mended")


@ktap.case("what came in with another key before a good packet is past")
def other_key_gone(lab):
    path = lab.tunnel()
    path.egress.ip(f"link set {DEV} type xtun okey 8")
    no_reply(path)
    names(path.ingress, path.b.v4, "other-key", "keys of the ends")
    path.egress.ip(f"link set {DEV} type xtun okey 7")
    is_past(path, "other-key")


@ktap.case("an error that nothing was sent after is past in the end, and blamed again after the next")
def untried(lab):
    path = lab.tunnel()
    # The device itself shall say nothing.
    path.ingress.sysctl({f"net.ipv6.conf.{DEV}.disable_ipv6": 1})
    breaks(path.r, "route add unreachable 198.51.100.1/32", "route del unreachable 198.51.100.1/32")
    no_reply(path)
    names(path.ingress, path.b.v4, "unreachable", "cannot be reached")

    ktap.wait_for(lambda: not path.ingress.run("tunctl", "explain", path.b.v4).returncode,
                  "that the error is not blamed any more", 50)
    lines, told = healthy(path.ingress, path.b.v4)
    was(told, lines, "unreachable", "untried", "nothing was sent since")
    no_reply(path)
    names(path.ingress, path.b.v4, "unreachable", "cannot be reached")


@ktap.table("the peer does not know the key, over {0}", FAMILIES)
def not_taken(lab, family):
    path = lab.tunnel(GRE, family)
    path.egress.ip(f"link set {DEV} type xtun key 8")
    no_reply(path)
    # In which words depends on whether its kernel has another driver for GRE.
    names(path.ingress, path.b.v4, "not-taken", "does not take", "key 7",
          f"{getattr(path.egress, family)} says ")


@ktap.case("the peer sends with another key")
def other_key(lab):
    path = lab.tunnel()
    path.egress.ip(f"link set {DEV} type xtun okey 8")
    with path.ingress.moves(DEV, rx_other_key=1):
        sock = traffic.udp(path.b, family=socket.AF_INET)
        sock.sendto(b"x", (path.a.v4, 9))
    names(path.ingress, path.b.v4, "other-key", "keys of the ends", "key 7", "rx-other-key 1")


GTP = "encap gtp key 5"


@ktap.case("the peer says that it has no such tunnel")
def no_such(lab):
    path = lab.tunnel(GTP)
    path.egress.ip(f"link set {DEV} type xtun ikey 6")
    no_reply(path)
    names(path.ingress, path.b.v4, "not-taken", "says that it has no tunnel", "key 5",
          "err-unknown-key")


@ktap.case("the peer sends from another address")
def other_peer(lab):
    path = lab.tunnel(GTP)
    path.ingress.ip(f"link set {DEV} type xtun remote 198.51.100.77")
    with path.ingress.moves(DEV, rx_other_peer=1):
        sock = traffic.udp(path.b, family=socket.AF_INET)
        sock.sendto(b"x", (path.a.v4, 9))
    names(path.ingress, path.b.v4, "other-peer", "another address than 198.51.100.77", "key 5",
          "rx-other-peer 1")


@ktap.case("a filter of this host drops outer packets")
def filtered(lab):
    path = lab.tunnel()
    path.ingress.check("nft", "-f", "-", text="""table inet shut {
        chain out { type filter hook output priority 0; meta l4proto gre drop; }
    }""")
    ktap.defer(path.ingress.check, "nft", "delete table inet shut")
    with path.ingress.moves(DEV, tx_filtered=2):
        no_reply(path)
    names(path.ingress, path.b.v4, "filtered", "filter of this host", "tx-filtered 2")


@ktap.table("an IPsec policy {0}", [
    ("that blocks", "action block", "blocks what t0 sends"),
    ("without an SA", "tmpl {ends} proto esp mode transport", "asks for an SA")])
def ipsec_policy(lab, _, words, said):
    path = lab.tunnel()
    ends = f"src {path.ingress.v4} dst {path.egress.v4}"
    breaks(path.ingress, f"xfrm policy add {ends} dir out {words.format(ends=ends)}",
           f"xfrm policy del {ends} dir out")
    no_reply(path)
    names(path.ingress, path.b.v4, "filtered", said, "tx-filtered 2")


@ktap.case("the underlay refuses outer packets")
def refused(lab):
    path = lab.tunnel()
    ktap.true(traffic.ping(path.a, path.b.v4), "it works")
    path.ingress.check("tc", "qdisc", "add", "dev", "under0", "root", "pfifo", "limit", "0")
    ktap.defer(path.ingress.check, "tc", "qdisc", "del", "dev", "under0", "root")
    no_reply(path)
    names(path.ingress, path.b.v4, "underlay", "underlay refuses", "tx-underlay")


@ktap.case("the device is down")
def down(lab):
    path = lab.tunnel()
    path.ingress.ip(f"addr add 10.9.0.1/24 dev {DEV}", f"link set {DEV} down")
    no_reply(path)
    names(path.ingress, "10.9.0.2", "device-down", "t0", "is down", "ip link set t0 up")
    names(path.ingress, path.b.v4, "no-route", "no IPv4 route", "down", DEV)
    names(path.ingress, path.b.v6, "no-route", "no IPv6 route", "down", DEV)


@ktap.case("the packet does not use a tunnel, and t0 is down")
def down_elsewhere(lab):
    path = lab.tunnel()
    breaks(path.ingress, "route add default via 192.0.2.254", "route del default via 192.0.2.254")
    path.ingress.ip(f"link set {DEV} down")
    names(path.ingress, path.b.v4, "no-tunnel", "does not use a tunnel", "under0", "down", DEV)


@ktap.case("the device has no encapsulation yet")
def not_configured(lab):
    ns = net.Namespace("bare")
    ns.ip("link add name t0 type xtun", "link set t0 up", "route add 10.2.0.0/24 dev t0")
    names(ns, "10.2.0.2", "not-configured", DEV, "not configured")


def gateways(lab):
    """remote any, over IPv4: the gateway of the route is the peer."""
    path = lab.path
    ktap.defer(path.ingress.ip, f"link del {DEV}")
    path.ingress.tunnel(DEV, "encap gre local 192.0.2.1 remote any")
    return path


@ktap.case("the gateway of an IPv6 route is no IPv4 peer, or there is none")
def wrong_family(lab):
    path = gateways(lab)
    far = "fd00:2::2"
    path.ingress.ip(f"route add {far}/128 dev {DEV}")
    no_reply(path, "v6")
    names(path.ingress, far, "no-peer", "no peer", "no gateway")
    path.ingress.ip(f"route replace {far}/128 via fe80::9 dev {DEV}")
    no_reply(path, "v6")
    names(path.ingress, far, "family", "no peer", "fe80::9", "IPv4", "::ffff:")
    path.ingress.ip(f"route replace {far}/128 via ::ffff:198.51.100.1 dev {DEV} onlink")
    _, told = healthy(path.ingress, far, "198.51.100.1")
    ktap.eq(told["peer"], "198.51.100.1", "peer")


@ktap.case("the gateway of an IPv4 route is the peer, or there is none")
def gateway_v4(lab):
    path = gateways(lab)
    path.ingress.ip(f"route add 10.2.0.0/24 dev {DEV}")
    names(path.ingress, path.b.v4, "no-peer", "no peer", path.b.v4)
    path.ingress.ip(f"route replace 10.2.0.0/24 via 198.51.100.1 dev {DEV} onlink")
    healthy(path.ingress, path.b.v4, "198.51.100.1")


@ktap.case("an MTU below 1280 carries no IPv6")
def narrow_for_v6(lab):
    path = lab.tunnel()
    path.ingress.ip(f"link set {DEV} mtu 1200")
    no_reply(path, "v6")
    names(path.ingress, path.b.v6, "family", "no route", "IPv6 does not pass", DEV, "1280")


@ktap.case("what comes back is not allowed")
def not_allowed(lab):
    path = lab.tunnel()
    path.ingress.ip(f"link set {DEV} type xtun allow 10.9.0.0/16,fd00:2::/64")
    no_reply(path)
    names(path.ingress, path.b.v4, "not-allowed", "sends back", path.b.v4, "allow",
          "rx-not-allowed 2")
    # It may be about another source.
    names(path.ingress, path.b.v6, "not-allowed", "allow", "rx-not-allowed 2")


@ktap.case("what comes back is allowed")
def all_allowed(lab):
    path = lab.tunnel()
    path.ingress.ip(f"link set {DEV} type xtun allow 10.2.0.0/23,fd00:2::/63")
    for inner in FAMILIES:
        ktap.true(traffic.ping(path.a, getattr(path.b, inner)), "it works")
        healthy(path.ingress, getattr(path.b, inner), DEV)


def narrow(lab, words):
    """A tunnel that has learned a path MTU of 1400."""
    path = lab.tunnel(words)
    path.narrow(1400)
    ktap.defer(path.narrow, 1500)
    traffic.ping(path.a, path.b.v4, size=1420, df="set", tries=1, limit=1)
    ktap.wait_for(lambda: path.ingress.tunctl("path", DEV)[0]["path"]["mtu"] == 1400,
                  "a path MTU of 1400", 10)
    return path


@ktap.case("an MTU hole: frag never, on a narrow path")
def hole_never(lab):
    path = narrow(lab, f"{GRE} frag never")
    # Or a, who was told, would cut them himself.
    path.a.ip("route flush cache")
    with path.ingress.moves(DEV, tx_frag_never=1):
        ktap.true(not traffic.ping(path.a, path.b.v4, size=1420, df="unset", tries=1, limit=0.5),
                  "large packets are lost")
    ktap.true(traffic.ping(path.a, path.b.v4), "small ones are not")
    names(path.ingress, path.b.v4, "mtu-hole", "MTU hole", "frag is never", "1472", "1372",
          "path MTU 1400", "192.0.2.254", "tx-frag-never 1")
    # Senders of IPv6 are told, and nothing is lost.
    healthy(path.ingress, path.b.v6)


@ktap.case("an MTU hole: a pinned MTU, on a narrow path")
def hole_pinned(lab):
    path = narrow(lab, GRE)
    healthy(path.ingress, path.b.v4)
    path.ingress.ip(f"link set {DEV} type xtun mtu 1472")
    names(path.ingress, path.b.v4, "mtu-hole", "MTU hole", "pinned", "1472", "1372",
          "path MTU 1400", "192.0.2.254")
    path.ingress.ip(f"link set {DEV} type xtun mtu 1372")
    healthy(path.ingress, path.b.v4)


def short_error(peer, outer):
    """Host unreachable, with 8 bytes of the packet behind its header."""
    quote = outer[:28]
    body = struct.pack("!BBHI", 3, 1, 0, 0) + quote
    body = body[:2] + struct.pack("!H", pkt.checksum(body)) + body[4:]
    return pkt.ip("v4", peer.v4, peer.ns.v4, body, 1)


@ktap.case("senders are answered, for an error that told too little")
def soft(_):
    peer = net.peer()
    peer.ns.tunnel(DEV, f"{GRE} local {peer.ns.v4} remote {peer.v4} icmp-memory off",
                   "10.9.0.1/24")
    sock = traffic.udp(peer.ns, family=socket.AF_INET)
    peer.drain()
    sock.sendto(b"x" * 20, ("10.9.0.2", 9))
    outer = peer.recv(lambda packet: packet[9] == pkt.GRE_PROTO)
    peer.send(short_error(peer, outer))
    ktap.wait_for(lambda: peer.ns.counters(DEV)["err-short"], "the error", 10)
    _, told = names(peer.ns, "10.9.0.2", "unreachable", "cannot be reached", peer.v4,
                    "host unreachable", "are answered")
    ktap.eq(told["path"]["answer"], "host unreachable", "answer in JSON")
    ktap.true(0 < told["path"]["answer-for"] <= 30, "answer-for in JSON")


@ktap.case("no route at all, another device, this host")
def not_ours(lab):
    path = lab.tunnel()
    for address, family in (("203.0.113.1", "IPv4"), ("2001:db8:ffff::1", "IPv6")):
        _, told = names(path.ingress, address, "no-route", f"no {family} route", address,
                        "unreachable")
        ktap.eq(told["route"]["error"], 101, "error in JSON")
    names(path.ingress, path.a.v4, "no-tunnel", "This packet does not use a tunnel: it goes out of lan0")
    names(path.ingress, "198.51.100.1", "no-tunnel", "under0")
    healthy(path.ingress, "10.1.0.1", "this host")


@ktap.table("a route that leads nowhere, {0}", [
    ("blackhole", "v4", "a blackhole"), ("prohibit", "v4", "of type prohibit"),
    ("unreachable", "v4", "of type unreachable"), ("blackhole", "v6", "a blackhole")])
def nowhere(lab, kind, family, text):
    path = lab.tunnel()
    address = prefix_len({"v4": "10.9.0.2", "v6": "fd00:9::2"}[family])
    breaks(path.ingress, f"route add {kind} {address}", f"route del {kind} {address}")
    names(path.ingress, address.partition("/")[0], "no-route", "leads nowhere", text)


@ktap.case("the tunnel is in a VRF, or its address is one that every link has")
def one_of_many(_):
    ns = net.Namespace("many")
    ns.ip("link add name eth0 type dummy", "link set eth0 up", "addr add 192.0.2.1/24 dev eth0",
          "link add name red type vrf table 10", "link set red up",
          "link add name t0 type xtun encap gre key 7 local 192.0.2.1 remote 192.0.2.2",
          "link set t0 master red", "link set t0 up", "route add 10.2.0.0/24 dev t0 table 10",
          "addr add fe80::1/64 dev t0")
    names(ns, "10.2.0.2", "no-route", "no IPv4 route")
    for words in ("vrf red", "oif t0"):
        lines, told = healthy(ns, f"10.2.0.2 {words}", "t0 to 192.0.2.2")
        ktap.eq(told["addr"], "10.2.0.2", "addr in JSON")
    healthy(ns, "fe80::77 oif t0", "t0 to 192.0.2.2")
    for words, text in (("fe80::77", "say oif NAME"), ("fe80::77 vrf red", "say oif NAME"),
                        ("10.2.0.2 vrf eth0", "it is no VRF"), ("0.0.0.0", "no address of a host"),
                        ("::", "no address of a host"), ("10.2.0.2 vrf blue", "no such device"),
                        ("10.2.0.2 dev t0", "neither vrf nor oif"), ("10.2.0.2 vrf", "one address")):
        seen = ns.run("tunctl", "explain", *words.split())
        ktap.eq((seen.returncode, seen.stdout), (1, ""), f"explain {words}")
        ktap.contains(seen.stderr, text, f"explain {words}")


@ktap.case("a bridge has the tunnel for a port")
def bridged(lab):
    path = lab.tunnel(f"{GRE} payload eth")
    path.ingress.ip("link add name br0 type bridge", f"link set {DEV} master br0", "link set br0 up",
                    "addr add 10.9.0.1/24 dev br0")
    ktap.defer(path.ingress.ip, "link del br0")
    names(path.ingress, "10.9.0.2", "no-tunnel", "br0", "ports", DEV)


@ktap.case("the underlay is another netns")
def elsewhere(lab):
    path = lab.tunnel()
    inside = net.Namespace("inside")
    path.ingress.ip(f"link set {DEV} netns {inside}")
    ktap.defer(inside.ip, f"link del {DEV}")
    inside.ip(f"link set {DEV} up", f"route add 10.2.0.0/24 dev {DEV}")
    lines, told = healthy(inside, path.b.v4, "198.51.100.1")
    ktap.eq(told["path"]["link-name"], "under0", "outer device")
    ktap.contains("\n".join(lines), "in another netns", "the outer route")
    line = "198.51.100.0/24 via 192.0.2.254"
    breaks(path.ingress, f"route del {line}", f"route add {line}")
    names(inside, path.b.v4, "no-outer-route", "no route to the peer", "in the netns of its underlay")


@ktap.case("who has the device's netns alone, with remote any, sees what path tells him")
def given_away(lab):
    path = lab.path
    user = net.UserNamespace(path.ingress)
    path.ingress.ip(f"link add name {DEV} netns {user.pid} "
                    "type xtun encap gre local 192.0.2.1 remote any")
    for line in (f"link set {DEV} up", "addr add 10.1.0.77/24 dev lo", "link set lo up",
                 f"route add 10.2.0.0/24 via 198.51.100.1 dev {DEV} onlink"):
        ktap.eq(user.run("ip", *line.split()).returncode, 0, line)

    def asks():
        seen = user.run("tunctl", "-j", "explain", path.b.v4)
        ktap.eq(seen.stderr, "", "standard error")
        return json.loads(seen.stdout)[0]

    ktap.eq(asks().get("path"), None, "the path to a peer that nothing is known of")
    breaks(path.r, "route add prohibit 198.51.100.1/32", "route del prohibit 198.51.100.1/32")
    user.run("ping", "-c1", "-W1", path.b.v4)
    ktap.wait_for(lambda: asks()["cause"] == "prohibited", "that the error is blamed")
    told = asks()["path"]
    ktap.eq((told["peer"], told["errors"]), ("198.51.100.1", 1), "the path")
    ktap.true("link-name" not in told and "via" not in told, f"no underlay in {told}")


@ktap.case("of several causes, the one that a packet meets first")
def order(lab):
    path = lab.tunnel()
    path.ingress.ip(f"link set {DEV} type xtun allow 10.9.0.0/16")
    line = "198.51.100.0/24 via 192.0.2.254"
    breaks(path.ingress, f"route del {line}", f"route add {line}")
    lines, told = names(path.ingress, path.b.v4, "no-outer-route", "no route to the peer")
    ktap.eq([finding["cause"] for finding in told["findings"]], ["no-outer-route", "not-allowed"],
            "findings")
    ktap.true(re.match("also: .* allow", lines[1]), f"the second line ({lines[1]})")


@ktap.case("what is no address is no question")
def usage(lab):
    for words in (["192.0.2.256"], [], ["a", "b"]):
        seen = lab.path.ingress.run("tunctl", "explain", *words)
        ktap.eq((seen.returncode, seen.stdout), (1, ""), f"explain {words}")
    seen = lab.path.a.run("tunctl", "-n", str(lab.path.ingress), "explain", "10.1.0.1")
    ktap.eq(seen.returncode, 0, f"with -n ({seen.stderr})")


ktap.main(Lab)
