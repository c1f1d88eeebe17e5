#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# A routing daemon (BIRD) at both ends of a tunnel: OSPF finds its neighbour, and says so
# when the MTUs of the two ends differ.
#
#	a  BIRD  t0 (xtun) -- under0 ======== under0 -- t0 (xtun)  BIRD  b
import glob
import os
import re
import shutil
import tempfile

from lib import ktap, net, traffic

# Where selftests/vm/prepare.sh has it.
ROOT = os.path.join(os.environ.get("XTUN_CACHE", "/nonexistent"), "bird/usr")
PATH = os.path.join(ROOT, "sbin")

# Behind each end, an address that only OSPF tells the other of.
BEHIND = {"a": "10.50.1.1", "b": "10.50.2.1"}

CONFIG = """
log "{folder}/log" all;
router id {ident};
protocol device {{ scan time 1; }}
protocol kernel {{ ipv4 {{ export all; }}; }}
protocol ospf v2 {{
    ipv4 {{ import all; export none; }};
    area 0 {{
        interface "t0" {{ type ptp; hello 1; dead count 10; }};
        stubnet {behind}/32;
    }};
}}
"""


class Daemon:
    """BIRD in a namespace; all that it keeps is in a folder that goes with it."""

    def __init__(self, ns, name, ident):
        folder = tempfile.TemporaryDirectory()
        ktap.defer(folder.cleanup)
        self._ns, self._folder = ns, folder.name
        with open(self._file("conf"), "w") as file:
            file.write(CONFIG.format(folder=folder.name, ident=ident, behind=BEHIND[name]))
        self._env = ["env", *(f"LD_LIBRARY_PATH={libraries}"
                              for libraries in glob.glob(os.path.join(ROOT, "lib/*-linux-gnu")))]
        ns.spawn(*self._env, os.path.join(PATH, "bird"), "-f", "-c", self._file("conf"),
                 "-s", self._file("ctl"), "-P", self._file("pid"))
        ktap.wait_for(lambda: os.path.exists(self._file("ctl")), "BIRD")

    def _file(self, name):
        return os.path.join(self._folder, name)

    def state(self):
        """Of the neighbour, as "Full"."""
        said = self._ns.run(*self._env, os.path.join(PATH, "birdc"), "-s", self._file("ctl"),
                            "show", "ospf", "neighbors").stdout
        found = re.search(r"^\S+\s+\d+\s+(\w+)/", said, re.MULTILINE)
        return found and found[1]

    def mismatches(self):
        """The MTUs that it has warned of: the neighbour's and its own."""
        # It makes the file when it has something to say.
        if not os.path.exists(self._file("log")):
            return []
        with open(self._file("log")) as file:
            return [tuple(map(int, found)) for found in re.findall(
                r"MTU mismatch with nbr .*\(remote (\d+), local (\d+)\)", file.read())]


def setup():
    net.load_module()
    if not shutil.which("bird", path=PATH):
        ktap.skip("there is no BIRD here")
    hosts = net.two()
    # Each end's MTU follows its own link.
    hosts.b.ip("link set under0 mtu 9000")
    for name, ns in zip(BEHIND, hosts):
        ns.ip(net.address_line("lo", f"{BEHIND[name]}/32"))
    return hosts


def tunnel(hosts, words):
    for near, far, last in ((hosts.a, hosts.b, 1), (hosts.b, hosts.a, 2)):
        near.tunnel("t0", f"{words} local {near.v4} remote {far.v4}", f"10.9.0.{last}/24")
        ktap.defer(near.ip, "link del t0")
        near.ip("link set t0 multicast on")


def daemons_of(hosts):
    return [Daemon(ns, name, f"10.0.0.{number}")
            for number, (name, ns) in enumerate(zip(BEHIND, hosts), 1)]


def full(daemons):
    for daemon in daemons:
        ktap.wait_for(lambda: daemon.state() == "Full", "a neighbour that is Full", 120)


def routes(hosts):
    """Both have learned of what is behind the other, and it can be had."""
    for ns, far in ((hosts.a, BEHIND["b"]), (hosts.b, BEHIND["a"])):
        ktap.wait_for(lambda: "proto bird" in ns.ip(f"route show {far}"), f"a route to {far}")
    ktap.true(traffic.ping(hosts.a, BEHIND["b"], source=BEHIND["a"]), "ping")


WORDS = ("encap gre", "encap gre payload eth", "encap fou dport 5555")


@ktap.table("OSPF over {0}: one MTU at both ends, no complaint", WORDS)
def pinned(hosts, words):
    tunnel(hosts, f"{words} mtu 1400")
    daemons = daemons_of(hosts)
    full(daemons)
    routes(hosts)
    ktap.eq([daemon.mismatches() for daemon in daemons], [[], []], "complaints")


@ktap.table("OSPF over {0}: MTUs that follow differ, until they are pinned it gets no further", WORDS)
def follows(hosts, words):
    tunnel(hosts, words)
    mtus = [ns.mtu("t0") for ns in hosts]
    ktap.true(mtus[0] < 1500 < 8900 < mtus[1], f"MTUs {mtus}")
    daemons = daemons_of(hosts)
    # Each sends its description again and again.
    ktap.wait_for(lambda: sum(len(daemon.mismatches()) for daemon in daemons) >= 3,
                  "complaints of both, or of one again and again", 120)
    for daemon, expected in zip(daemons, (tuple(reversed(mtus)), tuple(mtus))):
        ktap.eq(set(daemon.mismatches()) - {expected}, set(), "other complaints: remote, local")
        ktap.eq(daemon.state(), "ExStart", "state of the neighbour")
    for ns in hosts:
        ns.ip("link set t0 mtu 1400")
    full(daemons)
    routes(hosts)


ktap.main(setup)
