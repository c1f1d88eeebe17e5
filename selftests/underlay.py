#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# The link that a tunnel is bound to.  A port of a VRF stands for that VRF, as
# with the in-tree tunnels, which the other end has.
#
#     near under0 ---- under0 far          near under1 ---- under0 aside
#
# under0 and under1 are ports of the VRF red; the tunnels' devices are in none.
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


ktap.main(setup)
