#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Tunnels come, move and go, and what is under them goes first: nothing hangs,
# nothing is left, and what remains still works.  What the kernel says about
# references and leaks, the runner reads.
import os
import re
import subprocess
import tempfile

from lib import ktap, net, traffic

INNER = ("10.9.0.1", "10.9.0.2")


def setup():
    net.load_module()


def pair(words="encap gre", elsewhere=False):
    """Two hosts with a tunnel each; elsewhere: the first one's device is not there."""
    near, far = net.two()
    for ns, other, inner in ((near, far, INNER[0]), (far, near, INNER[1])):
        ns.tunnel("t0", f"{words} local {ns.v4} remote {other.v4}", f"{inner}/24")
    if not elsewhere:
        return near, far, near
    home = net.Namespace("home")
    move(near, home)
    return near, far, home


def move(source, target, address=INNER[0]):
    """Moving a device takes its addresses away and sets it down."""
    source.ip(f"link set t0 netns {target}")
    target.ip("link set t0 up", net.address_line("t0", f"{address}/24"))


def gone(ns, dev="t0"):
    return all(link["ifname"] != dev for link in ns.ip_json("link", "show"))


def works(ns, what):
    ktap.true(traffic.ping(ns, INNER[1]), f"a reply {what}")


# ---- from one netns to another ----

@ktap.table("a tunnel works wherever it is moved: {0}", ["encap ip", "encap gre key 5 csum seq"])
def moved(_, words):
    near, far, home = pair(words, elsewhere=True)
    works(home, "from where it was moved to")
    link = home.link("t0")
    ktap.true("link_netnsid" in link, "it says where its underlay is")
    home.ip("link set t0 type xtun ttl 9")
    works(home, "after a change")
    # The underlay did not move with it: the same match is taken there.
    said = near.refused(f"link add t1 type xtun {words} local {near.v4} remote {far.v4}")[0]
    ktap.contains(said or "", "t0", "who takes the same packets")
    move(home, near)
    works(near, "after it came back")
    ktap.true("link_netnsid" not in near.link("t0"), "its underlay is here")
    ktap.eq(near.link("t0")["linkinfo"]["info_data"].get("ttl"), 9, "ttl")


@ktap.case("a tunnel follows its underlay's MTU from another netns")
def moved_mtu(_):
    near, _, home = pair(elsewhere=True)
    ktap.eq(home.mtu("t0"), 1476, "MTU")
    near.ip("link set under0 mtu 1400")
    ktap.wait_for(lambda: home.mtu("t0") == 1376, "the MTU of the tunnel")


# ---- a netns without tunnels ----

class Calls:
    """How often functions of the kernel were called, while the scope lasts."""

    ROOT = "/sys/kernel/tracing"

    def __init__(self, *names):
        if not os.path.exists(f"{self.ROOT}/kprobe_events"):
            ktap.skip("this kernel has no kprobes, or no tracefs")
        self.names = names
        ktap.defer(self._write, "kprobe_events", "")
        self._write("kprobe_events", "".join(f"p:xtuntest/{name} {name}\n" for name in names))
        self._write("trace", "")
        self._write("events/xtuntest/enable", "1")
        ktap.defer(self._write, "events/xtuntest/enable", "0")

    def _write(self, name, text):
        """What was there is gone; that file cannot be appended to by Python."""
        with open(os.path.join(self.ROOT, name), "w") as file:
            file.write(text)

    def seen(self):
        with open(f"{self.ROOT}/trace") as file:
            text = file.read()
        return {name: len(re.findall(rf" {name}: ", text)) for name in self.names}


# Few others watch routes; what they do with nexthops goes with it.
WATCH, UNWATCH = "register_fib_notifier", "unregister_fib_notifier"
# What a netns costs in its end that had tunnels; and each.
EXIT, CLEANUP = "xtun_follow_net_exit", "cleanup_net"


@ktap.case("routes are watched while a netns has tunnels; one without pays nothing")
def watches(_):
    calls = Calls(WATCH, UNWATCH, EXIT, CLEANUP)

    def settle():
        """Those that were deleted are gone: one is dealt with after the other."""
        for _ in range(2):
            before = calls.seen()[CLEANUP]
            net.Namespace("brief").delete()
            ktap.wait_for(lambda: calls.seen()[CLEANUP] > before, "the end of a netns")
        return calls.seen()
    before = settle()
    without = net.Namespace("without")
    without.device("under0", "type dummy", "192.0.2.1/24")
    without.ip("link set under0 mtu 1400", "route add 198.51.100.0/24 dev under0")
    without.delete()
    after = settle()
    ktap.holds(after, {name: before[name] for name in (WATCH, UNWATCH, EXIT)},
               "calls after a netns without tunnels")

    def called(watch, unwatch):
        seen = calls.seen()
        return (seen[WATCH] - before[WATCH], seen[UNWATCH] - before[UNWATCH]) == (watch, unwatch)
    ns = net.Namespace("with")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    words = "type xtun encap gre local 192.0.2.1 remote 192.0.2.9"
    ns.ip(f"link add t0 {words} key 1", f"link add t1 {words} key 2")
    ktap.wait_for(lambda: called(1, 0), "the watch")
    ns.ip("link del t0", "link set under0 mtu 1400")
    ktap.wait_for(lambda: ns.mtu("t1") == 1372, "the MTU of the tunnel that is left")
    ktap.true(called(1, 0), "while one is left, it is watched")
    ns.ip("link del t1")
    ktap.wait_for(lambda: called(1, 1), "the end of the watch")
    ns.ip(f"link add t0 {words}")
    ktap.wait_for(lambda: called(2, 1), "the watch again")
    ktap.eq(ns.mtu("t0"), 1376, "MTU")
    # Routes too, and not devices only.
    ns.ip("route add 192.0.2.9/32 dev under0 mtu 1350")
    ktap.wait_for(lambda: ns.mtu("t0") == 1326, "the MTU of the route")
    ns.delete()
    ktap.wait_for(lambda: called(2, 2), "the end of the netns")


# ---- what goes first ----

def flood(ns, address=INNER[1]):
    """Packets into the tunnel until the scope ends, whatever becomes of it."""
    return ns.spawn("ping", "-f", "-q", "-W", "1", address)


def busy(ns):
    """Packets flow both ways by now."""
    before = ns.stats("t0")["rx_packets"]
    ktap.wait_for(lambda: ns.stats("t0")["rx_packets"] > before + 20, "traffic")


@ktap.table("the underlay's netns goes first, {0}", ["idle", "under traffic"])
def underlay_netns(_, how):
    near, _, home = pair(elsewhere=True)
    works(home, "at first")
    if how != "idle":
        flood(home)
        busy(home)
    near.delete()
    ktap.wait_for(lambda: gone(home), "the end of the tunnel")
    ktap.true(traffic.ping(home, "127.0.0.1"), "the netns of the device lives on")


@ktap.table("the device's netns goes first, {0}", ["idle", "under traffic"])
def device_netns(_, how):
    near, far, home = pair(elsewhere=True)
    works(home, "at first")
    if how != "idle":
        flood(far, INNER[0])
        busy(home)
    home.delete()
    again = f"link add t0 type xtun encap gre local {near.v4} remote {far.v4}"
    # It is taken while the old one still is there.
    ktap.wait_for(lambda: near.refused(again) == [None], "the end of the old tunnel")
    near.ip("link set t0 up", net.address_line("t0", f"{INNER[0]}/24"))
    works(near, "through a new tunnel")


@ktap.table("{0} end goes first, under traffic", ["the sending", "the receiving"])
def end(_, which):
    near, far, _ = pair()
    first, last = (near, far) if which == "the sending" else (far, near)
    flooding = flood(near)
    busy(near)
    first.ip("link del t0")
    ktap.true(gone(first), "the tunnel is deleted")
    last.ip("link set t0 type xtun ttl 3", "link del t0")
    ktap.true(gone(last), "the other tunnel is deleted")
    flooding.kill()
    ktap.true(traffic.ping(near, far.v4), "the underlay works")


@ktap.case("both netns go with tunnels and traffic in them")
def both_netns(_):
    near, far, _ = pair()
    flooding = flood(near)
    busy(near)
    far.delete()
    near.delete()
    flooding.kill()


@ktap.table("the underlay's device goes, comes back: {0}", [
    ("not bound", ""), ("bound to it", "dev under0")])
def underlay_device(_, what, words):
    near, far, _ = pair(f"encap gre {words}")
    flooding = flood(near)
    busy(near)
    near.ip("link del under0")
    flooding.kill()
    ktap.true(not gone(near), "the tunnel stays")
    ktap.true(not gone(far), "that of the other end stays too")
    ktap.wait_for(lambda: "NO-CARRIER" in near.link("t0")["flags"], "the end of the carrier")
    net.veth(near, "under0", far, "under0")
    for ns in (near, far):
        ns.ip(net.address_line("under0", f"{ns.v4}/24"))
        ns.wait_running("t0")
    works(near, "over the new device")


# ---- loading and unloading ----

def loaded():
    return os.path.isdir("/sys/module/xtun")


def rmmod():
    return subprocess.run(["rmmod", "xtun"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=net.LIMIT)


def unload():
    """A namespace that is being taken down elsewhere may still use it."""
    def done():
        seen = rmmod()
        return seen.returncode == 0 or not loaded()
    ktap.wait_for(done, "rmmod")
    ktap.true(not loaded(), "the module is unloaded")


@ktap.case("rmmod with tunnels up and traffic in them, three times")
def reload(_):
    # Whatever happens, those that follow have a module.
    ktap.defer(net.load_module)
    near, far = net.two()
    home = net.Namespace("home")
    for _ in range(3):
        net.load_module()
        for ns, other, inner in ((near, far, INNER[0]), (far, near, INNER[1])):
            ns.tunnel("t0", f"encap gre local {ns.v4} remote {other.v4}", f"{inner}/24")
            ns.tunnel("t6", f"encap ip local {ns.v6} remote {other.v6} encaplimit 4")
            ns.tunnel("te", f"encap nvgre local {ns.v4} remote {other.v4} key 5000")
            ns.ip("link add name tn type xtun")
        near.ip(f"link set t6 netns {home}")
        with ktap.scope():
            bulk = traffic.Bulk(far, near, INNER[0], 1 << 40)
            bulk.progress(1 << 20)
            flood(near)
            unload()
            for ns, dev in ((near, "t0"), (near, "te"), (near, "tn"), (far, "t0"), (home, "t6")):
                ktap.true(gone(ns, dev), f"{dev} went with the module")
        ktap.true(traffic.ping(near, far.v4), "the underlay works")


@ktap.case("loading it a second time is refused, and does no harm")
def load_twice(_):
    near, _, _ = pair()
    path = os.environ.get("XTUN_KO")
    if path:
        seen = subprocess.run(["insmod", path], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=net.LIMIT)
        ktap.true(seen.returncode, "the second insmod is refused")
        ktap.contains(seen.stderr, "exists", "what insmod says")
    else:
        ktap.true(net.has_module("xtun"), "modprobe of what is loaded")
    works(near, "afterwards")


# ---- many ----

COUNT = 200


def crowd(ns):
    """Many tunnels, of all kinds."""
    kinds = ["encap gre local 192.0.2.1 remote 192.0.2.9 key {0}",
             "encap ip local 2001:db8::1 remote 2001:db8::{0:x}",
             "encap nvgre local 192.0.2.1 remote any key {1}", ""]
    return [f"link add name m{number} type xtun "
            + kinds[number % len(kinds)].format(number + 1, number + 5000)
            for number in range(COUNT)]


def tunnels(ns):
    return len(ns.ip_json("link", "show", "type", "xtun"))


@ktap.table("{0} tunnels are made and deleted, {1}", [
    (COUNT, "one by one"), (COUNT, "at once"), (COUNT, "with their netns"),
    (COUNT, "from another netns")])
def many(_, count, how):
    ns, home = net.Namespace("many"), net.Namespace("home")
    ns.device("under0", "type dummy", "192.0.2.1/24", "2001:db8::1/64")
    if how == "from another netns":
        ns.ip(*(f"{line.replace(' type', f' netns {home} type', 1)}" for line in crowd(ns)))
    else:
        ns.ip(*crowd(ns), *(f"link set m{number} up" for number in range(0, count, 2)))
    where = home if how == "from another netns" else ns
    ktap.eq(tunnels(where), count, "tunnels")
    if how == "one by one":
        ns.ip(*(f"link del m{number}" for number in range(count)))
    elif how == "at once":
        ns.ip(*(f"link set m{number} group 7" for number in range(count)), "link del group 7")
    else:
        ns.delete()
        ktap.wait_for(lambda: not tunnels(home), "the end of the tunnels")
        return
    ktap.eq(tunnels(ns), 0, "tunnels left")


@ktap.case("hundreds of wrong requests leave nothing behind")
def wrong(_):
    ns = net.Namespace("wrong")
    ns.tunnel("good", "encap gre local 192.0.2.1 remote 192.0.2.9")
    wrong_words = ["encap gre", "encap ip local 192.0.2.1 remote 2001:db8::1", "ttl 3",
                   "encap gre local 192.0.2.1 remote 192.0.2.9", "encap nvgre remote 192.0.2.9",
                   "encap gre remote 192.0.2.8 allow 10.0.0.0/8,fd00::/8 mss 5",
                   "encap ip remote 192.0.2.8 key 7", "encap gre remote ff02::1"]
    lines = [f"link add w{number} type xtun {words}"
             for number in range(50) for words in wrong_words]
    said = ns.refused(*lines)
    ktap.eq([line for line, text in zip(lines, said) if not text], [], "what was taken")
    ktap.eq(tunnels(ns), 1, "tunnels")


@ktap.case("made and deleted by three processes at once")
def race(_):
    ns = net.Namespace("race")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    lines = [line for number in range(20) for line in (
        f"link add r{number % 3} type xtun encap gre local 192.0.2.1 remote 192.0.2.{number % 5 + 2}",
        f"link set r{number % 2} type xtun key {number % 4}", f"link set r{number % 3} up",
        f"link del r{number % 3}")]
    with tempfile.NamedTemporaryFile("w", suffix=".batch") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        processes = [ns.spawn("ip", "-force", "-batch", file.name) for _ in range(3)]
        for process in processes:
            process.wait()
    left = ns.ip_json("link", "show", "type", "xtun")
    if left:
        ns.ip(*(f"link del {link['ifname']}" for link in left))
    # What nobody has any more is free again.
    ns.ip("link add r0 type xtun encap gre local 192.0.2.1 remote 192.0.2.2", "link del r0")


ktap.main(setup)
