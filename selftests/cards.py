#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Network cards are told which UDP ports belong to tunnels, so that they look inside for
# flows: those that have been there, and those that come later.
import os
import re
import subprocess

from lib import ktap, net

VXLAN, GENEVE, GPE = "vxlan", "geneve", "vxlan-gpe"
ENDS = {"v4": "local 192.0.2.1 remote 192.0.2.2",
        "v6": "local 2001:db8::1 remote 2001:db8::2"}


DEBUGFS = "/sys/kernel/debug/xtun_bench"


def setup():
    net.load_module()
    path = os.path.join(os.environ.get("XTUN_TOP", ""), "build", os.environ.get("XTUN_K", ""),
                        "selftests", "bench", "xtun_bench.ko")
    if not os.path.exists(path):
        ktap.skip("no module xtun_bench: selftests/vm/build.sh makes it")
    subprocess.run(["insmod", path], check=True)
    ktap.defer(subprocess.run, ["rmmod", "xtun_bench"], check=True)


class Host:
    """A namespace with a network card of bench/xtun_bench.c."""

    def __init__(self):
        self.ns = net.Namespace("host")
        ktap.defer(self.delete)
        self.card("c0")

    def delete(self):
        """The cards go with their namespace, which takes the kernel a moment."""
        self.ns.delete()
        ktap.wait_for(lambda: not os.listdir(DEBUGFS), "the end of the cards")

    def card(self, name):
        self.ns.ip(f"link add {name} type xtun_bench", f"link set {name} up")

    def add(self, words, family="v4", name="t0"):
        self.ns.ip(f"link add {name} type xtun {words} {ENDS[family]}")

    def told(self, card="c0"):
        """What a card knows: pairs of port and kind, in order."""
        text = self.ns.check("ethtool", "--show-tunnels", card)
        return sorted((int(port), kind) for port, kind in
                      re.findall(r"port (\d+), (\S+)", text))

    def expect(self, *ports, card="c0"):
        # It is told by a work queue.
        ktap.wait_for(lambda: self.told(card) == sorted(ports), f"{card} to know {ports}")


def rows():
    for family in ENDS:
        yield family, "vxlan key 7", 4789, VXLAN
        yield family, "vxlan key 7 payload ip", 4790, GPE
        yield family, "geneve key 7", 6081, GENEVE
        yield family, "geneve key 7 payload ip", 6081, GENEVE


@ktap.table("{1} over {0}", rows())
def kinds(_, family, words, port, kind):
    host = Host()
    host.expect()
    host.add(f"encap {words}", family)
    host.expect((port, kind))
    host.ns.ip("link del t0")
    host.expect()


@ktap.case("the port changes, and goes")
def changes(_):
    host = Host()
    host.add("encap vxlan key 7")
    host.ns.ip("link set t0 type xtun dport 8472")
    host.expect((8472, VXLAN))
    host.ns.ip("link set t0 type xtun encap geneve")
    host.expect((8472, GENEVE))
    host.ns.ip("link set t0 type xtun encap gre dport auto")
    host.expect()


@ktap.table("two tunnels on one port, first {0}: told once, as what frames have if there are "
            "any, and forgotten with the last",
            [("vxlan key 7", VXLAN), ("vxlan key 7 payload ip dport 4789", GPE)])
def shared(_, words, kind):
    host = Host()
    host.add(f"encap {words}")
    host.expect((4789, kind))
    host.add("encap vxlan key 8", name="t1")
    host.expect((4789, VXLAN))
    host.ns.ip("link del t0")
    host.expect((4789, VXLAN))
    host.ns.ip("link del t1")
    host.expect()


@ktap.case("a card that comes later, or is asked again, knows them")
def later(_):
    host = Host()
    host.add("encap vxlan key 7")
    host.add("encap geneve key 7", "v6", name="t1")
    host.card("c1")
    host.expect((4789, VXLAN), (6081, GENEVE), card="c1")
    host.ns.check(*"ethtool -K c0 rx-udp_tunnel-port-offload off".split())
    host.expect()
    host.ns.check(*"ethtool -K c0 rx-udp_tunnel-port-offload on".split())
    host.expect((4789, VXLAN), (6081, GENEVE))


@ktap.case("what no card knows is not told")
def others(_):
    host = Host()
    for number, words in enumerate(("fou dport 5555", "gue dport 6080", "gtp key 7",
                                    "l2tp key 7 sport 1701 dport 1701")):
        host.add(f"encap {words}", name=f"t{number}")
    # The last one tells when the others would have been told.
    host.add("encap vxlan key 7", name="t9")
    host.expect((4789, VXLAN))


ktap.main(setup)
