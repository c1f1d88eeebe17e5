#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What a tunnel is told of its underlay: dev and local.  A port of a VRF stands for
# that VRF, as with the in-tree tunnels, which the other end has; dev is a name,
# and carrier says whether it and local are there.
#
#     near under0 ---- under0 far          near under1 ---- under0 aside
#
# Where it is about a VRF, under0 and under1 are ports of red; the tunnels' devices are
# in none.
import os
import subprocess

from lib import ktap, net, traffic

FAMILIES = ("v4", "v6")
NEAR = {"v4": "192.0.2.1", "v6": "2001:db8::1"}
FAR = {"v4": "192.0.2.2", "v6": "2001:db8::2"}
BITS = {"v4": 24, "v6": 64}
INNER = ("10.9.0.1", "10.9.0.2")

# Words of xtun, and those of the in-tree driver for the same.
KINDS = {
    "gre": ("encap gre key 7", {"v4": "gre key 7", "v6": "ip6gre key 7 encaplimit none"}),
    "vxlan": ("encap vxlan key 7", dict.fromkeys(FAMILIES, "vxlan id 7 dstport 4789")),
}
MODULES = ("vrf", "dummy", "ip_gre", "ip6_gre", "vxlan")


def setup():
    net.need_modules(*MODULES)
    net.load_module()


def line_of(words, family, local, remote):
    return f"{words} local {local[family]} remote {remote[family]}"


class Scene:
    """The hosts; the ports of near are in the VRF if it is told so."""

    def __init__(self, enslaved=True):
        self.near, self.far, self.aside = (
            net.Namespace(name) for name in ("near", "far", "aside"))
        net.veth(self.near, "under0", self.far, "under0")
        net.veth(self.near, "under1", self.aside, "under0")
        self.near.ip("link add red type vrf table 1000", "link set red up")
        if enslaved:
            self.enslave("under0", "under1")
        self.address(self.near, NEAR)
        self.address(self.far, FAR)

    def link_again(self):
        """under0, deleted, is made anew, on both ends."""
        net.veth(self.near, "under0", self.far, "under0")
        self.address(self.near, NEAR)
        self.address(self.far, FAR)

    @staticmethod
    def address(ns, addresses, dev="under0"):
        ns.ip(*(net.address_line(dev, f"{address}/{BITS[family]}")
                for family, address in addresses.items()))

    def enslave(self, *ports):
        self.near.ip(*(f"link set {port} master red" for port in ports))
        # The addresses of IPv6 do not go along.
        self.near.ip(*(net.address_line(port, "fe80::1/64") for port in ports))

    def other_end(self, kind, family):
        """The in-tree driver's."""
        self.far.device("t0", f"type {line_of(KINDS[kind][1][family], family, FAR, NEAR)}",
                        f"{INNER[1]}/24")

    def tunnel(self, kind, family, words, dev="t0"):
        self.near.tunnel(dev, f"{line_of(KINDS[kind][0], family, NEAR, FAR)} {words}",
                         f"{INNER[0]}/24")

    def works(self, what=""):
        ktap.true(traffic.ping(self.near, INNER[1]), f"a reply to near {what}")
        ktap.true(traffic.ping(self.far, INNER[0]), f"a reply to far {what}")


# ---- in a VRF ----

EACH = [(kind, family) for kind in KINDS for family in FAMILIES]


@ktap.table("{0} over {1} in a VRF: local, and dev is {2}", [
    (*row, dev) for row in EACH for dev in ("red", "under0", "under1")])
def vrf(_, kind, family, dev):
    """under1: the packets do not leave through it, and do not come from there."""
    scene = Scene()
    scene.other_end(kind, family)
    scene.tunnel(kind, family, f"dev {dev}")
    with scene.near.moves("t0"):
        scene.works()
    ktap.eq(scene.near.link("t0")["linkinfo"]["info_data"].get("dev"), dev, "dev, as shown")


@ktap.table("{0} over {1}: a route outside leads into the VRF, where local is", EACH)
def leak(_, kind, family):
    scene = Scene()
    scene.other_end(kind, family)
    scene.near.ip(f"route add {FAR[family]} dev under0")
    scene.tunnel(kind, family, "")
    with scene.near.moves("t0"):
        scene.works()


@ktap.case("over IPv6: local is that of another VRF than packets go through")
def elsewhere(_):
    scene = Scene()
    scene.near.ip("link add blue type vrf table 1001", "link set blue up",
                  "link add away type dummy", "link set away master blue", "link set away up",
                  f"addr del {NEAR['v6']}/64 dev under0", f"route add {FAR['v6']} dev under0 vrf red")
    scene.address(scene.near, {"v6": NEAR["v6"]}, "away")
    scene.tunnel("gre", "v6", "dev red")
    with scene.near.moves("t0", tx_no_route=1):
        scene.near.run("ping", "-c", "1", "-W", "1", INNER[1])


@ktap.table("{0} over {1}: dev becomes a port of a VRF, and is none again", EACH)
def joins(_, kind, family):
    scene = Scene(enslaved=False)
    scene.other_end(kind, family)
    scene.tunnel(kind, family, "dev under0")
    scene.works("before")
    scene.enslave("under0")
    # IPv6 addresses do not go along.
    scene.near.refused(*(net.address_line("under0", f"{address}/{BITS[each]}")
                         for each, address in NEAR.items()))
    scene.near.wait_running("t0")
    scene.works("in the VRF")
    scene.near.ip("link set under0 nomaster")
    scene.near.refused(*(net.address_line("under0", f"{address}/{BITS[each]}")
                         for each, address in NEAR.items()))
    scene.near.wait_running("t0")
    scene.works("after it")


@ktap.case("two tunnels of one VRF that differ in the port only: refused, or the later one waits")
def two_ports(_):
    scene = Scene(enslaved=False)
    scene.other_end("gre", "v4")
    scene.tunnel("gre", "v4", "dev under0")
    words = f"type xtun {line_of(KINDS['gre'][0], 'v4', NEAR, FAR)} dev under1"
    scene.near.ip(f"link add t1 {words}", "link set t1 up")
    scene.enslave("under0", "under1")
    scene.works("the first one in the VRF")
    ktap.contains(scene.near.refused("link add t2 " + words)[0] or "", "t0", "refusal")
    scene.near.ip("link del t0", "link set t1 down", "link set under1 nomaster",
                  "link set under1 master red", "link set t1 up",
                  net.address_line("t1", f"{INNER[0]}/24"))
    scene.works("the other one, alone")


@ktap.case("link-local ends are those of a port, not of its VRF")
def link_local(_):
    """Both neighbours have the same address."""
    scene = Scene()
    for far, dev, number in ((scene.far, "under0", 0), (scene.aside, "under1", 1)):
        far.device("t0", "type ip6gre local fe80::2 remote fe80::1 dev under0 encaplimit none",
                   f"10.9.{number}.2/24")
        scene.near.tunnel(f"t{number}", f"encap gre local fe80::1 remote fe80::2 dev {dev}",
                          f"10.9.{number}.1/24")
    for number, far in enumerate((scene.far, scene.aside)):
        ktap.true(traffic.ping(scene.near, f"10.9.{number}.2"), f"a reply by under{number}")
        ktap.true(traffic.ping(far, f"10.9.{number}.1"), f"a reply to the host at under{number}")


# ---- dev goes and comes ----

def shown(ns, dev="t0"):
    """What ip says that the tunnel is."""
    return ns.link(dev)["linkinfo"]["info_data"]


def waits_for(ns, dev="t0"):
    return ns.tunctl("show", dev)[0].get("waits-for")


def stops(ns, what, dev="t0"):
    """The tunnel has lost its carrier, whoever asks, for this reason."""
    ktap.wait_for(lambda: waits_for(ns, dev) == what, f"waits-for {what}, not {waits_for(ns, dev)}")
    ktap.wait_for(lambda: ns.link(dev)["operstate"] in ("DOWN", "LOWERLAYERDOWN"),
                  f"operstate of {dev}")
    ktap.contains(ns.link(dev)["flags"], "NO-CARRIER", "flags")


def runs(ns, dev="t0"):
    ns.wait_running(dev)
    ktap.eq(waits_for(ns, dev), None, "waits-for")


def plain(kind="gre", family="v4", words="dev under0"):
    """No VRF, and a tunnel on both ends."""
    scene = Scene(enslaved=False)
    scene.other_end(kind, family)
    scene.tunnel(kind, family, words)
    scene.works("at first")
    return scene


@ktap.table("{0} over {1}: dev goes, and comes back under its name", EACH)
def comes_back(_, kind, family):
    scene = plain(kind, family)
    near = scene.near
    near.ip("link del under0")
    stops(near, "dev")
    ktap.eq(shown(near).get("dev"), "under0", "dev, as ip shows it")
    seen = near.tunctl("show", "t0")[0]["conf"]
    ktap.eq(seen.get("dev"), "under0", "dev, as tunctl shows it")
    near.ip("link set t0 type xtun ttl 9")
    stops(near, "dev")
    scene.link_again()
    runs(near)
    scene.works("by the new link")
    ktap.eq(shown(near), {**seen, "ttl": 9}, "the configuration")
    ktap.eq(near.link("t0")["link"], "under0", "the link of the device")


@ktap.table("{0} over {1} in a VRF: dev goes, and comes back under its name",
            [("gre", "v6"), ("vxlan", "v4")])
def comes_back_vrf(_, kind, family):
    scene = Scene()
    scene.other_end(kind, family)
    scene.tunnel(kind, family, "dev under0")
    scene.works("at first")
    scene.near.ip("link del under0")
    stops(scene.near, "dev")
    net.veth(scene.near, "under0", scene.far, "under0")
    scene.enslave("under0")
    scene.address(scene.near, NEAR)
    scene.address(scene.far, FAR)
    runs(scene.near)
    scene.works("by the new link")


@ktap.case("nothing goes out of, or comes in from, another link meanwhile")
def nothing_else(_):
    scene = plain()
    scene.near.ip("link del under0")
    stops(scene.near, "dev")
    for ns, addresses in ((scene.near, NEAR), (scene.aside, FAR)):
        scene.address(ns, addresses, "under1" if ns is scene.near else "under0")
    scene.aside.device("t0", "type gre key 7 local 192.0.2.2 remote 192.0.2.1", f"{INNER[1]}/24")
    before = scene.near.stats("t0")
    scene.aside.run("ping", "-c", "3", "-i", "0.2", "-W", "1", INNER[0])
    ktap.eq({name: scene.near.stats("t0")[name] - before[name]
             for name in ("rx_packets", "tx_packets")},
            {"rx_packets": 0, "tx_packets": 0}, "packets of t0")


@ktap.case("events: ip monitor and tunctl monitor see it go and come")
def events(_):
    scene = plain()
    near = scene.near
    links = near.spawn("ip", "-o", "monitor", "link")
    tunnels = near.spawn("tunctl", "monitor")

    def listening():
        # Whatever it may be that they have seen.
        near.ip("link set t0 type xtun ttl 9", "link set t0 type xtun ttl 10")
        return "ttl" in tunnels.output() and "t0" in links.output()
    ktap.wait_for(listening, "both to listen")
    near.ip("link del under0")
    links.wait_output(r"t0@\S+: .*NO-CARRIER.* state (LOWERLAYER)?DOWN")
    tunnels.wait_output(r"set t0 .*waits-for dev\n")
    scene.link_again()
    links.wait_output(r"(?s)NO-CARRIER.*t0@under0: <\S*,UP,LOWER_UP>")
    tunnels.wait_output(r"(?s)waits-for dev\n.*set t0 .*overhead \d+\n")


def down(scene):
    scene.near.ip("link set under0 down")
    return lambda: (scene.near.ip("link set under0 up"), scene.address(scene.near, {"v6": NEAR["v6"]}))


def far_down(scene):
    scene.far.ip("link set under0 down")
    return lambda: (scene.far.ip("link set under0 up"), scene.address(scene.far, {"v6": FAR["v6"]}))


@ktap.table("{0} over {1}: carrier follows that of dev, which is set down, or loses it", EACH)
def follows(_, kind, family):
    scene = plain(kind, family)
    for how in (down, far_down):
        up = how(scene)
        stops(scene.near, "dev-carrier")
        up()
        runs(scene.near)
        scene.works("afterwards")


@ktap.table("carrier follows that of the VRF, with dev {0}", ["red", "under1"])
def follows_vrf(_, dev):
    scene = Scene()
    scene.other_end("gre", "v4")
    scene.tunnel("gre", "v4", f"dev {dev}")
    scene.near.ip("link set red down")
    stops(scene.near, "dev-carrier")
    scene.near.ip("link set red up")
    runs(scene.near)
    scene.works("afterwards")


@ktap.case("a bond takes the other tunnel when dev of the first one has lost its carrier")
def bond(_):
    net.need_modules("bonding")
    scene = Scene(enslaved=False)
    near = scene.near
    near.ip("link add bond0 type bond mode active-backup miimon 10")
    for number in (0, 1):
        near.ip(f"link add t{number} type xtun encap vxlan key {number} local any "
                f"remote 192.0.2.{number + 2} dev under{number}",
                f"link set t{number} master bond0")
    near.ip("link set bond0 up")

    def active():
        return near.link("bond0")["linkinfo"]["info_data"].get("active_slave")
    ktap.wait_for(lambda: active() == "t0", "t0 as the active one")
    near.ip("link del under0")
    ktap.wait_for(lambda: active() == "t1", "t1 as the active one")
    net.veth(near, "under0", scene.far, "under0")
    near.wait_running("t0")
    near.ip("link set under1 down")
    ktap.wait_for(lambda: active() == "t0", "t0 as the active one again")


@ktap.table("{0} over {1}: local goes, and comes back, with dev and without", EACH)
def local(_, kind, family):
    scene = plain(kind, family)
    for words in ("dev under0", "dev none"):
        scene.near.ip(f"link set t0 type xtun {words}",
                      f"addr del {NEAR[family]}/{BITS[family]} dev under0")
        stops(scene.near, "local")
        scene.address(scene.near, {family: NEAR[family]})
        runs(scene.near)
        scene.works(f"afterwards, with {words}")


@ktap.case("an IPv4 address of a device that is down counts as well")
def local_down(_):
    ns = net.Namespace("host")
    ns.ip("link add d0 type dummy", "link add t0 type xtun encap gre local 192.0.2.9 remote 192.0.2.2",
          "link set t0 up")
    stops(ns, "local")
    ns.ip("addr add 192.0.2.9/32 dev d0")
    runs(ns)
    ns.ip("addr del 192.0.2.9/32 dev d0")
    stops(ns, "local")


# ---- whose name it is ----

@ktap.case("a link that is renamed keeps its tunnel, which waits for the new name then")
def renamed(_):
    scene = plain()
    near = scene.near
    near.ip("link set under0 down", "link set under0 name wan0", "link set wan0 up")
    runs(near)
    scene.works("by the renamed link")
    ktap.eq(shown(near).get("dev"), "wan0", "dev")
    near.ip("link del wan0")
    stops(near, "dev")
    scene.link_again()
    stops(near, "dev")
    near.ip("link set under0 down", "link set under0 name wan0", "link set wan0 up")
    runs(near)
    scene.works("by the one that has got the name")


@ktap.case("one that was found by its name is lost with it, as udev gives others")
def found(_):
    scene = plain()
    near = scene.near
    near.ip("link del under0", "link add under0 type dummy", "link set under0 up")
    scene.address(near, {"v4": NEAR["v4"]})
    runs(near)
    near.ip("link set under0 down", "link set under0 name usb7", "link set usb7 up")
    stops(near, "dev")
    ktap.eq(shown(near).get("dev"), "under0", "dev")
    near.ip("link del usb7")
    scene.link_again()
    runs(near)
    scene.works("by the one that has the name now")


@ktap.case("a link is moved to another netns, and back")
def moved_link(_):
    scene = plain()
    other = net.Namespace("other")
    scene.near.ip(f"link set under0 netns {other}")
    stops(scene.near, "dev")
    other.ip(f"link set under0 netns {scene.near}")
    scene.near.ip("link set under0 up")
    scene.address(scene.near, NEAR)
    runs(scene.near)
    scene.works("by the link that is back")


@ktap.case("a tunnel whose device is in another netns than its underlay")
def moved_tunnel(_):
    scene = plain()
    home = net.Namespace("home")
    scene.near.ip(f"link set t0 netns {home}")
    home.ip("link set t0 up", net.address_line("t0", f"{INNER[0]}/24"))
    # An index there is not one here, and ip shows the underlay to nobody here.
    ktap.eq(shown(home).get("dev"), None, "dev, as ip shows it")
    by_index = home.tunctl("show", "t0")[0]["conf"].get("dev", "")
    ktap.true(by_index.startswith("if"), f"{by_index} is dev, as tunctl shows it")
    scene.near.ip("link del under0")
    stops(home, "dev")
    ktap.eq(home.tunctl("show", "t0")[0]["conf"].get("dev"), "under0", "dev, as tunctl shows it")
    scene.link_again()
    runs(home)
    ktap.true(traffic.ping(home, INNER[1]), "a reply")


@ktap.case("two tunnels become the same: the later one waits until the other one is gone")
def same(_):
    scene = plain()
    near = scene.near
    near.ip(f"link add t1 type xtun {line_of(KINDS['gre'][0], 'v4', NEAR, FAR)} dev under1",
            "link set t1 up", "link del under0", "link set under1 down",
            "link set under1 name under0", "link set under0 up")
    ktap.eq(shown(near, "t1").get("dev"), "under0", "dev of the other one")
    scene.address(near, NEAR)
    runs(near, "t1")
    stops(near, "dev")
    near.ip("link del t1")
    runs(near)


@ktap.case("tunctl explain says what is waited for")
def explained(_):
    scene = plain()
    near = scene.near

    def cause(name, *words):
        seen = near.run("tunctl", "explain", INNER[1])
        ktap.eq(seen.returncode, 4, f"status ({seen.stderr})")
        first = seen.stdout.splitlines()[0]
        for word in words:
            ktap.contains(first, word, "what it says first")
        ktap.contains(near.run("tunctl", "-j", "explain", INNER[1]).stdout, f'"{name}"', "JSON")
    scene.far.ip("link set under0 down")
    stops(near, "dev-carrier")
    cause("no-carrier", "under0", "no carrier")
    near.ip("addr del 192.0.2.1/24 dev under0")
    scene.far.ip("link set under0 up")
    stops(near, "local")
    cause("no-carrier", "192.0.2.1")
    near.ip("link del under0")
    stops(near, "dev")
    cause("no-carrier", "under0", "no such device")


@ktap.case("the module goes with tunnels that wait")
def unload(_):
    scene = plain()
    scene.near.ip("link del under0")
    stops(scene.near, "dev")

    def gone():
        subprocess.run(["rmmod", "xtun"], capture_output=True)
        return not os.path.isdir("/sys/module/xtun")
    ktap.wait_for(gone, "the end of the module")
    scene.near.ip("link add under0 type dummy", "link set under0 up")
    net.load_module()


ktap.main(setup)
