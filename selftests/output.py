#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# How outer packets leave this host: whoever asks to see them sees them from the next
# packet on, and where nobody does they are, and are counted as, what IP's output would
# have made of them.  The neighbours of the underlay and of the tunnel; IPv6 fragments
# beside a tunnel that takes its packets from local input; and the queue that all
# tunnels share on the way in.
import contextlib
import errno
import functools
import json
import mmap
import os
import signal
import socket
import struct
import time

from lib import capture, errors, ktap, net, pkt, traffic
from lib.bed import Bed

FAMILIES = ("v4", "v6")
ENCAPS = ("encap ip", "encap gre", "encap vxlan key 7")
EACH = [(words, family) for words in ENCAPS for family in FAMILIES]
TABLE = {"v4": "ip", "v6": "ip6"}
ETHERTYPE = {"v4": b"\x08\x00", "v6": b"\x86\xdd"}
ESP = 50
# Neighbours of the host that the test plays beside its own, and their MAC addresses.
GIVEN = {"v4": "192.0.2.90", "v6": "2001:db8::90"}
GATEWAYS = {"v4": ("192.0.2.91", "192.0.2.92"), "v6": ("2001:db8::91", "2001:db8::92")}
MACS = ("02:00:00:00:00:91", "02:00:00:00:00:92")


class Lab:
    def __init__(self):
        net.load_module()

    @functools.cached_property
    def bed(self):
        with ktap.for_file():
            return ready(Bed())

    @functools.cached_property
    def router(self):
        """Another host, which forwards to a second link, with a tunnel of the hook."""
        with ktap.for_file():
            bed = ready(Bed())
            bed.ns.forward()
            bed.second_link()
        bed.tunnel("encap gre", "v6")
        return bed


def ready(bed):
    """Its errors are not rationed, and nobody speaks of multicast groups now and then."""
    bed.ns.sysctl(errors.UNLIMITED)
    bed.ns.ip(*(f"neigh replace {gateway} lladdr {mac} dev under0 nud permanent"
                for family in FAMILIES for gateway, mac in zip(GATEWAYS[family], MACS)),
              f"neigh replace {GIVEN['v6']} lladdr {MACS[0]} dev under0 nud permanent")
    return bed


def setup():
    return Lab()


# ---- packets that flow ----

def numbered(tunnel, number):
    """An inner packet with its number at the end, without a UDP checksum."""
    whole = tunnel.inner(data=bytes(32))
    place = 14 * tunnel.eth + 20
    return whole[:place + 6] + b"\0\0" + whole[place + 8:-4] + struct.pack("!I", number)


def number_of(packet):
    return int.from_bytes(packet[-4:], "big")


class Flow:
    """Packets with the numbers 0, 1, 2... that a process of its own sends all the time.

    sendto(number) sends one.  It may send so many as the first word of what is shared
    says; the second is how many it has sent, the third is set while it is at rest.
    """

    def __init__(self, sendto):
        self._shared = mmap.mmap(-1, 24)
        self._pid = os.fork()
        if not self._pid:
            self._child(sendto)
        ktap.defer(self._kill)

    def _words(self):
        return struct.unpack("=3Q", self._shared[:])

    def _set(self, place, value):
        self._shared[8 * place:8 * place + 8] = struct.pack("=Q", value)

    def _child(self, sendto):
        try:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            # What one processor sends stays in its order.
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            while True:
                most, sent, _ = self._words()
                self._set(2, int(sent >= most))
                if sent < most:
                    sendto(sent)
                    self._set(1, sent + 1)
                time.sleep(0.003)
        finally:
            os._exit(1)

    def _kill(self):
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    @property
    def sent(self):
        return self._words()[1]

    def on(self):
        """It flows, and goes on to."""
        goal = self.sent + 20
        self._set(0, 1 << 32)
        ktap.wait_for(lambda: self.sent >= goal, "packets to flow")

    def rest(self):
        """All that it has begun to send it has sent."""
        self._set(0, 0)
        ktap.wait_for(lambda: self._words()[2], "the sender to rest")

    def more(self, count):
        """From rest, exactly so many more."""
        goal = self.sent + count
        self._set(0, goal)
        ktap.wait_for(lambda: self.sent >= goal, f"{count} packets to be sent")


def into(tunnel):
    """A flow into the tunnel's device."""
    tunnel.peer.drain()
    # Made here: a child that has to load scapy takes seconds to begin.
    template = numbered(tunnel, 0)[:-4]
    return Flow(lambda number: tunnel.push(template + struct.pack("!I", number)))


def arrived(tunnel, count):
    """The frames (bytes) that have come to the tunnel's peer, as many as are to come."""
    frames = []

    def all_there():
        while frame := tunnel.peer.poll():
            if tunnel.remote == pkt.outer_fields(frame[14:])["dst"]:
                frames.append(frame)
        return len(frames) >= count
    with contextlib.suppress(ktap.Failed):
        ktap.wait_for(all_there, "packets", 20)
    ktap.eq(len(frames), count, "packets at the peer")
    return frames


def is_esp(packet):
    return pkt.outer_fields(packet)["proto"] == ESP


# ---- what is there to see them ----

@contextlib.contextmanager
def rule(tunnel, hook, does, kind="filter", priority=0, name="watch"):
    table = f"{TABLE[tunnel.family]} {name}"
    tunnel.ns.check("nft", f"""table {table} {{
        chain {name} {{
            type {kind} hook {hook} priority {priority};
            {TABLE[tunnel.family]} daddr {tunnel.remote} {does}
        }}
    }}""")
    try:
        yield functools.partial(rule_count, tunnel, table)
    finally:
        tunnel.ns.check("nft", f"delete table {table}")


def rule_count(tunnel, table):
    """Packets that its only counter has seen."""
    told = json.loads(tunnel.ns.check("nft", "-j", f"list table {table}"))["nftables"]
    rules = [entry["rule"] for entry in told if "rule" in entry]
    counts = [word["counter"]["packets"] for word in rules[0]["expr"] if "counter" in word]
    ktap.eq(len(counts), 1, "counters of the rule")
    return counts[0]


def by_rule(hook, does="counter"):
    return lambda tunnel: rule(tunnel, hook, does)


def clsact(ns):
    """The kernel drops what comes while a queueing discipline is put there or taken away."""
    net.need_modules("sch_ingress", "cls_matchall", "act_gact")
    ns.check(*"tc qdisc add dev under0 clsact".split())
    ktap.defer(ns.check, *"tc qdisc del dev under0 clsact".split())


@contextlib.contextmanager
def tc_filter(tunnel, action="ok"):
    protocol = {"v4": "ip", "v6": "ipv6"}[tunnel.family]
    where, which = "tc filter {} dev under0 egress", f"protocol {protocol} pref 1 matchall"
    tunnel.ns.check(*f"{where.format('add')} {which} action gact {action}".split())
    try:
        yield lambda: tc_count(tunnel.ns, where.format("show").replace("tc", "tc -s -j", 1))
    finally:
        tunnel.ns.check(*f"{where.format('del')} {which}".split())


def tc_count(ns, command):
    text = ns.check(*command.split())
    for entry in json.loads(text):
        for action in entry.get("options", {}).get("actions", []):
            return action["stats"]["packets"]
    return ktap.fail(f"no action in {text}")


@contextlib.contextmanager
def packet_socket(tunnel):
    seen = capture.Capture(tunnel.ns, "under0")
    try:
        yield lambda: len([packet for packet in seen.packets(outgoing=True)
                           if tunnel.is_mine(packet)])
    finally:
        seen.close()


WATCHERS = {
    "a rule in output": by_rule("output"),
    "a rule in postrouting": by_rule("postrouting"),
    "a rule for what is new to conntrack": by_rule("output", "ct state new counter"),
    "a filter of tc": tc_filter,
    "a packet socket": packet_socket,
}


def dealt(names):
    """Rows of (words, family, name): each over both families, encapsulations by turns."""
    return [(ENCAPS[(number + turn) % len(ENCAPS)], family, name)
            for number, name in enumerate(names) for turn, family in enumerate(FAMILIES)]


@ktap.table("{0} over {1}: {2}, there while packets flow and gone again, sees each sent after it",
            dealt(WATCHERS))
def seen(lab, words, family, name):
    tunnel = lab.bed.tunnel(words, family)
    if "tc" in name:
        clsact(tunnel.ns)
    with tunnel.ns.moves(tunnel.dev):
        flow = into(tunnel)
        flow.on()
        before = flow.sent
        with WATCHERS[name](tunnel) as count:
            after = flow.sent
            flow.on()
            flow.rest()
            first = count()
            # One may have been on its way.
            ktap.true(flow.sent - after - 1 <= first <= flow.sent - before,
                      f"{first} are all of {flow.sent - after} packets sent after it")
            flow.more(20)
            ktap.eq(count() - first, 20, "of further 20, those that it has seen")
            flow.on()
        flow.on()
        flow.rest()
        frames = arrived(tunnel, flow.sent)
    ktap.eq([number_of(frame) for frame in frames], list(range(flow.sent)), "numbers at the peer")


@ktap.table("{0} over {1}: packets wait in a queue of tc until it lets them go", dealt(["plug"]))
def queued(lab, words, family, kind):
    net.need_modules(f"sch_{kind}")
    tunnel = lab.bed.tunnel(words, family)
    tc = f"tc qdisc {{}} dev under0 root {kind} {{}}"
    tunnel.ns.check(*tc.format("add", "limit 100000").split())
    ktap.defer(tunnel.ns.check, *"tc qdisc del dev under0 root".split())
    tunnel.peer.drain()
    with tunnel.ns.moves(tunnel.dev):
        for number in range(20):
            tunnel.push(numbered(tunnel, number))
        told = json.loads(tunnel.ns.check(*"tc -s -j qdisc show dev under0 root".split()))
        ktap.eq(told[0]["qlen"], 20, "packets that wait")
        ktap.eq(tunnel.peer.poll(), None, "what has come")
        tunnel.ns.check(*tc.format("change", "release_indefinite").split())
        frames = arrived(tunnel, 20)
    ktap.eq(list(map(number_of, frames)), list(range(20)), "numbers at the peer")


# ---- what changes them, or stops them ----

def conntrack_nat(tunnel):
    return rule(tunnel, "postrouting", f"snat to {GIVEN[tunnel.family]}", "nat", 100)


@contextlib.contextmanager
def esp(tunnel):
    """IPsec, transport mode: the peer cannot read it, and need not."""
    if not all(map(net.has_module, ("esp4", "esp6"))):
        ktap.skip("this kernel has no ESP")
    ends, key = f"src {tunnel.local} dst {tunnel.remote}", "0x" + "11" * 16
    state = f"{ends} proto esp spi 0x77"
    tunnel.ns.ip(f"xfrm state add {state} mode transport auth hmac(sha1) {key}1111111a "
                 f"enc cbc(aes) {key}",
                 f"xfrm policy add {ends} dir out tmpl {ends} proto esp mode transport")
    try:
        yield
    finally:
        tunnel.ns.ip(f"xfrm policy del {ends} dir out", f"xfrm state del {state}")


def policy(tunnel):
    return net.blocked(tunnel.ns, f"src {tunnel.local} dst {tunnel.remote} dir out")


def gateway(tunnel, which=1):
    return net.routed(tunnel.ns, f"{tunnel.remote} via {GATEWAYS[tunnel.family][which]} dev under0")


def mac(frame):
    return frame[:6].hex(":")


# What begins; what packets are then, or nothing where none are sent; the counter.
CHANGES = {
    "source NAT": (conntrack_nat, lambda tunnel, frame:
                   pkt.outer_fields(frame[14:])["src"] == GIVEN[tunnel.family], None),
    "IPsec": (esp, lambda tunnel, frame: is_esp(frame[14:]), None),
    "a route by a gateway": (gateway, lambda tunnel, frame: mac(frame) == MACS[1], None),
    "a policy that blocks": (policy, None, "tx-filtered"),
    "a rule in output that drops": (by_rule("output", "drop"), None, "tx-filtered"),
    "a rule in postrouting that drops": (by_rule("postrouting", "drop"), None, "tx-filtered"),
    "a filter of tc that drops": (lambda tunnel: tc_filter(tunnel, "drop"), None, "tx-underlay"),
}


@ktap.table("{0} over {1}: {2}, there while packets flow and gone again, is for each sent after it",
            dealt(CHANGES))
def obeyed(lab, words, family, name):
    # Of its own: conntrack remembers for a while what it did not translate.
    tunnel = lab.bed.tunnel(f"{words} ttl 63", family)
    if "tc" in name:
        clsact(tunnel.ns)
    begins, is_new, counter = CHANGES[name]
    before = tunnel.ns.counters(tunnel.dev)
    flow, times = into(tunnel), []
    flow.on()
    if name == "source NAT":
        # What comes while it is put there may be remembered as not to be translated.
        flow.rest()
    times.append(flow.sent)
    with begins(tunnel):
        times.append(flow.sent)
        flow.on()
        times.append(flow.sent)
    times.append(flow.sent)
    flow.on()
    flow.rest()
    after = tunnel.ns.counters(tunnel.dev)
    lost = after[counter] - before[counter] if counter else 0
    frames = arrived(tunnel, flow.sent - lost)
    judge(tunnel, frames, is_new, times, flow.sent)
    ktap.eq({name: after[name] - before[name] for name in after
             if name[:3] in ("tx-", "rx-") and after[name] != before[name]},
            {counter: lost} if lost else {}, "drops")


def judge(tunnel, frames, is_new, times, sent):
    """Each is what it was to be at its time; while that changes it may be either."""
    encrypted = 0
    old, new = set(), set()
    for frame in frames:
        if is_esp(frame[14:]):
            encrypted += 1
            continue
        (new if is_new and is_new(tunnel, frame) else old).add(number_of(frame))
    made, there, ending, ended = times
    all_old = {*range(made), *range(ended + 1, sent)}
    ktap.eq(sorted(all_old - old), [], "missing before it was there, or after it")
    ktap.eq(sorted(old & {*range(there + 1, ending)}), [], "what it was not for while it was there")
    if is_new and not encrypted:
        ktap.eq(sorted({*range(there + 1, ending)} - new), [], "what is missing")
    if encrypted:
        ktap.true(ending - there - 1 <= encrypted <= ended - made + 1, f"{encrypted} are encrypted")
    order = [number_of(frame) for frame in frames if not is_esp(frame[14:])]
    ktap.eq(order, sorted(order), "order")


@ktap.table("{0} over {1}, IP{2}: the sender is told while {3} drops its packets, not before or after",
            [("encap ip", "v4", "v4", "output"), ("encap gre", "v6", "v6", "output"),
             ("encap gre", "v4", "v6", "postrouting"), ("encap ip", "v6", "v4", "postrouting")])
def told(lab, words, family, kind, hook):
    tunnel = lab.bed.tunnel(words, family)
    sock = sender(tunnel, kind)

    def errors_of(count):
        """Of so many datagrams; the kernel tells of an error instead of sending the next."""
        found = []
        for number in range(count):
            sock.send(struct.pack("!I", number))
            found += [(error["type"], error["code"]) for error in traffic.errors(sock)]
        return found
    tunnel.peer.drain()
    ktap.eq(errors_of(5), [], "errors before")
    with by_rule(hook, "drop")(tunnel), tunnel.ns.moves(tunnel.dev, tx_filtered=5):
        ktap.eq(errors_of(5), [{"v4": (3, 13), "v6": (1, 1)}[kind]] * 5, "errors")
    ktap.eq(errors_of(5), [], "errors afterwards")
    arrived(tunnel, 10)


def sender(tunnel, kind):
    """A UDP socket whose peer is behind the tunnel, and that is told of errors."""
    number = int(tunnel.dev[3:])
    prefix, far = {"v4": (f"10.9.{number}.0/24", f"10.9.{number}.2"),
                   "v6": (f"fd00:9:{number}::/64", f"fd00:9:{number}::2")}[kind]
    tunnel.ns.ip(f"route add {prefix} dev {tunnel.dev}")
    ktap.defer(tunnel.ns.ip, f"route del {prefix} dev {tunnel.dev}")
    sock = traffic.udp(tunnel.ns, family=net.family_of(far))
    traffic.receive_errors(sock)
    sock.connect((far, 9))
    return sock


# ---- the same, whether anybody looks or not ----

def ip_counters(ns):
    """All that IP counts in a netns and, of IPv6, on its underlay."""
    found = {f"Ip {name}": value for name, value in ns.snmp()["Ip"].items()}
    found.update(ns.snmp6())
    with ns:
        with open("/proc/thread-self/net/dev_snmp6/under0") as file:
            found.update({f"under0 {name}": int(value) for name, value in map(str.split, file)})
        with open("/proc/thread-self/net/netstat") as file:
            lines = [line.split() for line in file if line.startswith("IpExt:")]
    found.update({f"IpExt {name}": int(value) for name, value in zip(*lines) if name != "IpExt:"})
    return found


def sends(tunnel, packets):
    """What the host makes of the packets (frames), and what it counts of them."""
    seen = capture.Capture(tunnel.ns, "under0", chatter=True)

    def undisturbed():
        before = ip_counters(tunnel.ns)
        seen.clear()
        for packet in packets:
            tunnel.push(packet)
        frames = ktap.wait_for(lambda: enough(seen, len(packets)), "the packets on the underlay")
        after = ip_counters(tunnel.ns)
        moved = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        return None if any("OutMcast" in name for name in moved) else (frames, moved)
    try:
        return ktap.wait_for(undisturbed, "a moment in which nobody speaks of multicast groups")
    finally:
        seen.close()


def enough(seen, count):
    seen.poll()
    frames = [frame.data for frame in seen.frames if frame.outgoing]
    return frames if len(frames) >= count else None


def without_ident(frame):
    """Where it may be fragmented, each packet has an identification of its own."""
    if frame[12:14] != ETHERTYPE["v4"] or frame[20] & 0x40:
        return frame
    return frame[:18] + bytes(2) + frame[20:24] + bytes(2) + frame[26:]


def route(tunnel, words):
    return net.routed(tunnel.ns, f"{tunnel.remote} {words}")


def by_gateway(family, words="{}", via=None):
    return words.format(f"via {via or GATEWAYS[family][0]} dev under0")


ROUTES = {
    "the link": lambda family: "",
    "a gateway": by_gateway,
    "a route with a locked MTU": lambda family: "dev under0 mtu lock 1400",
    "a route that labels (MPLS)": lambda family: f"encap mpls 100 {by_gateway(family)}",
    "a route with segments": lambda family: f"encap seg6 mode inline segs {GIVEN[family]} "
                                            f"{by_gateway(family)}",
    "a route by a gateway of IPv6": lambda family: by_gateway(
        family, via=f"inet6 {GATEWAYS['v6'][0]}"),
}
NEEDS = {"a route that labels (MPLS)": ("mpls_router", "mpls_iptunnel")}
# None: the frame begins with an IP header.
LINK = {"a route that labels (MPLS)": b"\x88\x47"}


@ktap.table("{0} over {1}, by {2}: packets and counters are the same with a rule and without", [
    *((words, family, "the link") for words, family in EACH),
    ("encap gre df unset", "v4", "the link"),
    *(("encap gre", family, name) for name in ROUTES for family in FAMILIES
      if name != "the link" and family != {"a route with segments": "v4",
                                           "a route by a gateway of IPv6": "v6"}.get(name))])
def same(lab, words, family, name):
    tunnel = lab.bed.tunnel(words, family)
    net.need_modules(*NEEDS.get(name, ()))
    packets = [numbered(tunnel, 1), numbered(tunnel, 2), tunnel.inner("v6"),
               tunnel.inner("v4", data=bytes(1200)), tunnel.inner("v4", data=bytes(1201))]
    with contextlib.ExitStack() as stack:
        if name != "the link":
            try:
                stack.enter_context(route(tunnel, ROUTES[name](family)))
            except net.IpError as error:
                if "segments" in name:
                    ktap.skip(f"this kernel has no segment routing: {error.message}")
                raise
        with tunnel.ns.moves(tunnel.dev):
            frames, moved = sends(tunnel, packets)
            with by_rule("output")(tunnel):
                frames_of_rule, moved_of_rule = sends(tunnel, packets)
    ktap.eq(len(frames), len(frames_of_rule), "frames")
    for number, pair in enumerate(zip(frames, frames_of_rule)):
        ktap.eq(*map(without_ident, pair), f"frame {number}")
    ktap.eq(moved, moved_of_rule, "what IP counts")
    for frame in frames:
        right(tunnel, name, frame)


def right(tunnel, name, frame):
    """Addresses and types of the link, lengths and checksums of the outer packet."""
    ktap.eq(frame[12:14], LINK.get(name, ETHERTYPE[tunnel.family]), "type of the frame")
    if "gateway" in name or "labels" in name or "segments" in name:
        ktap.eq(mac(frame), MACS[0], "whom it is for")
    if name in LINK or "segments" in name:
        return
    packet = frame[14:]
    ktap.eq(pkt.outer_fields(packet)["length"], len(packet), "length")
    ktap.eq(pkt.bad_checksums(packet), [], "wrong checksums")


@ktap.case("a gateway of IPv6 for IPv4: each family's frames have its type")
def gateway_of_both(lab):
    tunnels = {family: lab.bed.tunnel("encap gre", family) for family in FAMILIES}
    with contextlib.ExitStack() as stack:
        stack.enter_context(route(tunnels["v6"], by_gateway("v6")))
        stack.enter_context(route(tunnels["v4"], ROUTES["a route by a gateway of IPv6"]("v4")))
        for family in ("v6", "v4", "v6", "v4"):
            tunnel = tunnels[family]
            tunnel.peer.drain()
            tunnel.push(tunnel.inner())
            frame = tunnel.peer.recv_frame(lambda packet: True)
            ktap.eq((mac(frame), frame[12:14]), (MACS[0], ETHERTYPE[family]), "the frame")


# ---- devices ----

@ktap.table("over {0}: the device of the VRF that the underlay is in sees packets", FAMILIES)
def in_vrf(_, family):
    net.need_modules("vrf")
    peer = net.peer()
    ns = peer.ns
    ns.device("red", "type vrf table 1000")
    ns.ip("link set under0 master red")
    # The addresses of IPv6 do not go along.
    ns.refused(net.address_line("under0", f"{ns.v6}/64"))
    peer.add(peer.v4, peer.v6)
    local, remote = getattr(ns, family), peer.address(family)
    ns.tunnel("t0", f"encap gre local {local} remote {remote} dev red")
    sock = ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
    seen = capture.Capture(ns, "red")

    def is_mine(packet):
        return pkt.outer_fields(packet)["dst"] == remote
    for number in range(1, 4):
        sock.sendto(pkt.inner("v4"), ("t0", pkt.ETHERTYPE["v4"]))
        peer.recv(is_mine)
        seen.wait(is_mine, "packets at the VRF", count=number)


@ktap.case("IPv6 is switched off on the underlay while packets flow, and on again")
def disabled(_):
    bed = Bed()
    tunnel, ns = bed.tunnel("encap gre", "v6"), bed.ns
    flow = into(tunnel)
    flow.on()
    key = "net.ipv6.conf.under0.disable_ipv6"
    before = flow.sent
    ns.sysctl({key: 1})
    after = flow.sent
    flow.on()
    there = flow.sent
    ns.sysctl({key: 0})
    ns.ip(net.address_line("under0", f"{ns.v6}/64"), bed.peer.neighbour_line(tunnel.remote))
    # Without a way to its peer it has no carrier, so nobody counts what it does not get.
    ns.wait_running(tunnel.dev)
    again = flow.sent
    flow.on()
    flow.rest()
    numbers = set()

    def all_there():
        while frame := bed.peer.poll():
            numbers.add(number_of(frame))
        return flow.sent - 1 in numbers
    ktap.wait_for(all_there, "the last packet")
    ktap.eq(sorted({*range(before), *range(again + 1, flow.sent)} - numbers), [], "what is missing")
    ktap.eq(sorted(numbers & {*range(after + 1, there)}), [], "what was sent while it was off")


# ---- neighbours of the underlay ----

def asks_for(address, frame):
    """Whether the frame asks for the neighbour with this address."""
    wanted = net.packed(address)
    if len(wanted) == 4:
        return frame[12:14] == b"\x08\x06" and frame[38:42] == wanted
    return frame[20] == 58 and frame[54] == 135 and frame[62:78] == wanted


def answer(tunnel, address):
    """The test says that it is this neighbour."""
    peer = tunnel.peer
    if tunnel.family == "v4":
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + peer.mac + net.packed(address)
        body += peer.host_mac + net.packed(tunnel.local)
        peer.send_frame(peer.host_mac + peer.mac + b"\x08\x06" + body)
        return
    body = net.packed(address) + b"\x02\x01" + peer.mac
    packet = bytearray(pkt.icmp("v6", address, tunnel.local, 136, 0, 0x60000000, body))
    packet[7] = 255         # RFC 4861: no router has passed it on
    peer.send(packet)


def forget_neighbour(tunnel, address):
    tunnel.ns.ip(f"neigh del {address} dev under0")
    ktap.defer(tunnel.ns.ip, tunnel.peer.neighbour_line(address))


@ktap.table("{0} over {1}: packets wait until the neighbour is known",
            [("encap ip", "v4"), ("encap gre", "v6"), ("encap vxlan key 7", "v4")])
def unresolved(lab, words, family):
    tunnel = lab.bed.tunnel(words, family)
    forget_neighbour(tunnel, tunnel.remote)
    seen = capture.Capture(tunnel.ns, "under0", chatter=True)
    tunnel.peer.drain()
    with tunnel.ns.moves(tunnel.dev):
        for number in range(3):
            tunnel.push(numbered(tunnel, number))
        ktap.wait_for(lambda: any(asks_for(tunnel.remote, frame.data) for frame in seen.poll()),
                      "a question for the neighbour")
        ktap.eq(tunnel.peer.poll(), None, "what is sent before it is known")
        answer(tunnel, tunnel.remote)
        frames = arrived(tunnel, 3)
        tunnel.push(numbered(tunnel, 3))
        frames += arrived(tunnel, 1)
    ktap.eq(list(map(number_of, frames)), [0, 1, 2, 3], "numbers at the peer")


@ktap.table("{0} over {1}, IP{2}: the sender is told of a neighbour that does not answer, {3}", [
    ("encap ip", "v4", "v4", "without a rule"), ("encap ip", "v4", "v4", "with one"),
    ("encap gre", "v6", "v6", "without a rule"), ("encap gre", "v6", "v6", "with one")])
def silent(lab, words, family, kind, ruled):
    tunnel = lab.bed.tunnel(words, family)
    settings = {f"net.ip{family}.neigh.under0.{name}": value
                for name, value in (("retrans_time_ms", 50), ("mcast_solicit", 1))}
    for key in settings:
        ktap.defer(tunnel.ns.sysctl, {key: tunnel.ns.sysctl(key)})
    tunnel.ns.sysctl(settings)
    forget_neighbour(tunnel, tunnel.remote)
    sock = sender(tunnel, kind)
    with by_rule("output")(tunnel) if ruled == "with one" else contextlib.nullcontext():
        with tunnel.ns.moves(tunnel.dev, err_relayed=1):
            sock.send(b"silent")
            found = ktap.wait_for(lambda: traffic.errors(sock), "an error")
    ktap.eq([(error["type"], error["code"]) for error in found],
            [{"v4": (3, 1), "v6": (1, 3)}[kind]], "errors")


# ---- neighbours of the tunnel ----

@ktap.table("{0} over {1}: packets of IP{2} go on whatever ip neigh does to the tunnel's neighbour", [
    ("encap ip", "v4", "v4"), ("encap gre", "v6", "v6"), ("encap gre", "v4", "v6")])
def own_neighbours(lab, words, family, kind):
    tunnel = lab.bed.tunnel(words, family)
    ns, dev, sock = tunnel.ns, tunnel.dev, sender(tunnel, kind)
    far = sock.getpeername()[0]
    with ns.moves(dev):
        tunnel.peer.drain()
        flow = Flow(lambda number: sock.send(struct.pack("!I", number)))
        for line in (f"neigh show nud all dev {dev}", f"neigh replace {far} dev {dev} nud permanent",
                     f"neigh del {far} dev {dev}", f"neigh flush dev {dev} nud all",
                     f"neigh replace {far} dev {dev} nud noarp",
                     f"neigh flush dev {dev} nud all"):
            flow.on()
            said = ns.refused(line)[0]
            ktap.true(not said or "flush" in line or "del" in line, f"{line}: {said}")
        flow.on()
        flow.rest()
        frames = arrived(tunnel, flow.sent)
    ktap.eq([number_of(frame) for frame in frames], list(range(flow.sent)), "numbers at the peer")


# ---- IPv6 fragments ----
#
# A fragmented packet of a tunnel is taken in broken.py, one in one piece in corrupt.py.

PORT = 5000
CUTS = (0, 400, 800)
OPTIONS = {"": (), "behind destination options": (60,), "behind hop-by-hop options": (0,),
           "behind both": (0, 60)}


def pieces(src, dst, data, ident, cuts=CUTS, chain=(), hlim=64):
    """A datagram in fragments (bytes), headers of this chain before that of fragments."""
    body = bytes(pkt.udp("v6", src, dst, data, dport=PORT))[40:]
    first, before = 44, b""
    for proto in reversed(chain):
        first, before = proto, bytes([first, 0, 1, 4, 0, 0, 0, 0]) + before
    for start, end in zip(cuts, (*cuts[1:], len(body))):
        header = struct.pack("!BBHI", 17, 0, start | (end < len(body)), ident)
        yield bytes(pkt.ip("v6", src, dst, before + header + body[start:end], first, ttl=hlim))


def data_of(number, size=1000):
    return struct.pack("!I", number) * (size // 4)


@ktap.table("beside a tunnel that hooks into local input a socket gets fragmented datagrams, {0} {1}",
            [(order, chain) for chain in OPTIONS for order in ("in order", "the last one first")])
def for_socket(lab, order, chain):
    bed = lab.router
    tunnel = bed.tunnel("encap gre", "v6")
    sock = traffic.udp(bed.ns, bed.ns.v6, PORT)
    with bed.ns.moves(tunnel.dev):
        for number in range(3):
            made = list(pieces(bed.peer.v6, bed.ns.v6, data_of(number), 100 + number,
                               chain=OPTIONS[chain]))
            for packet in made if order == "in order" else reversed(made):
                bed.peer.send(packet)
            ktap.eq(traffic.recv(sock)[0], data_of(number), "datagram")


@ktap.case("fragments of a tunnel's packet and those of a datagram come by turns")
def both_in_fragments(lab):
    bed = lab.router
    tunnel = bed.tunnel("encap gre", "v6")
    sock = traffic.udp(bed.ns, bed.ns.v6, PORT)
    inner = tunnel.inner(data=bytes(range(200)) * 5)
    body = bytes(pkt.gre("v4", inner))
    tunnel.delivered()
    datagram = list(pieces(bed.peer.v6, bed.ns.v6, data_of(4), 401))
    with bed.ns.moves(tunnel.dev):
        for packet, start, end in zip(datagram, CUTS, (*CUTS[1:], len(body))):
            header = struct.pack("!BBHI", pkt.GRE_PROTO, 0, start | (end < len(body)), 401)
            tunnel.send(header + body[start:end], 44)
            bed.peer.send(packet)
        ktap.eq(tunnel.wait_delivered(), [inner], "delivered by the tunnel")
        ktap.eq(traffic.recv(sock)[0], data_of(4), "datagram")


# Places in the datagram where a fragment begins, where it ends, and what is said of it.
BAD = {
    "a length that is no multiple of eight": ((0, 397, 1), (400, 800, 1), (800, None, 0)),
    "an overlap": ((0, 400, 1), (392, 800, 1), (800, None, 0)),
    "an overlap of the last one": ((0, 400, 1), (800, None, 0), (400, 808, 1)),
    "one is missing": ((0, 400, 1), (800, None, 0)),
}


@ktap.table("beside such a tunnel no datagram comes of fragments: {0}", BAD)
def bad_fragments(lab, name):
    bed = lab.router
    tunnel = bed.tunnel("encap gre", "v6")
    sock = traffic.udp(bed.ns, bed.ns.v6, PORT)
    ends = bed.peer.v6, bed.ns.v6
    body = bytes(pkt.udp("v6", *ends, data_of(1), dport=PORT))[40:]
    with bed.ns.moves(tunnel.dev):
        for start, end, more in BAD[name]:
            header = struct.pack("!BBHI", 17, 0, start | more, 200 + list(BAD).index(name))
            bed.peer.send(pkt.ip("v6", *ends, header + body[start:end], 44))
        for packet in pieces(*ends, data_of(2), 300):
            bed.peer.send(packet)
        ktap.eq(traffic.recv(sock)[0], data_of(2), "the first that comes")
        ktap.raises(errno.EAGAIN, sock.recv, 1, what="another datagram")


@ktap.table("beside such a tunnel fragments for others are passed on as they are {0}", OPTIONS)
def forwarded(lab, chain):
    bed, lan = lab.router, lab.router.second_link()
    lan.drain()
    made = {hlim: list(pieces(bed.peer.v6, lan.v6, data_of(3), 400, chain=OPTIONS[chain], hlim=hlim))
            for hlim in (64, 63)}
    for packet in reversed(made[64]):
        bed.peer.send(packet)
    ktap.eq([lan.recv(lambda packet: pkt.outer_fields(packet)["dst"] == lan.v6) for _ in CUTS],
            made[63][::-1], "what comes to the LAN")


# ---- the queue that all tunnels share ----

def gre(tunnel, number, key=None, **words):
    """What the peer sends, number at its end (bytes)."""
    return bytes(tunnel.outer(pkt.gre("v4", numbered(tunnel, number), key=key), pkt.GRE_PROTO,
                              **words))


@ktap.table("over {0}: packets that come by turns from two tunnels come in the order of each", FAMILIES)
def by_turns(lab, family):
    bed, count = lab.bed, 200
    tunnels = [bed.tunnel("encap gre", family), bed.tunnel("encap gre ttl 63", family)]
    template = [gre(tunnel, 0)[:-4] for tunnel in tunnels]
    with bed.ns.moves(tunnels[0].dev), bed.ns.moves(tunnels[1].dev):
        for tunnel in tunnels:
            tunnel.delivered()
        for number in range(count):
            for packet in template:
                bed.peer.send(packet + struct.pack("!I", number))
        for tunnel in tunnels:
            ktap.eq(list(map(number_of, tunnel.wait_delivered(count))), list(range(count)), "numbers")


@ktap.table("{0} tunnels are deleted under a flood, {1}, and another one loses nothing", [
    (1, "by itself"), (50, "one by one"), (50, "at once"), (50, "set down before")])
def deleted(lab, count, how):
    bed = lab.bed
    left = bed.tunnel("encap gre ttl 63", "v4")
    ns, names = bed.ns, [f"d{number}" for number in range(count)]
    # Of another peer: what comes of a key that is gone is not for the one that is left.
    ns.ip(*(f"link add {name} type xtun encap gre key {number + 1} local {left.local} "
            f"remote {GATEWAYS['v4'][0]}" for number, name in enumerate(names)),
          *(f"link set {name} group 7 up" for name in names))
    flood = [gre(left, 0, key=number + 1, src=GATEWAYS["v4"][0]) for number in range(count)]
    right_one = gre(left, 0)[:-4]
    left.delivered()

    def burst(number):
        for other in range(8):
            bed.peer.send(flood[(8 * number + other) % count])
        bed.peer.send(right_one + struct.pack("!I", number))
    flow = Flow(burst)
    with ns.moves(left.dev):
        flow.on()
        ktap.true(all(ns.stats(name)["rx_packets"] for name in names), "all of them get packets")
        if how == "at once":
            ns.ip("link del group 7")
        elif how == "set down before":
            ns.ip("link set group 7 down", "link del group 7")
        else:
            ns.ip(*(f"link del {name}" for name in names))
        ktap.eq([link["ifname"] for link in ns.ip_json("link", "show") if link["ifname"] in names], [],
                "tunnels that were deleted")
        flow.on()
        flow.rest()
        ktap.eq(list(map(number_of, left.wait_delivered(flow.sent))), list(range(flow.sent)),
                "numbers that the other has delivered")


ktap.main(setup)
