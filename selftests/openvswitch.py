#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# A peer that is not of the kernel: Open vSwitch, whose datapath in user space makes and
# takes off the headers itself.  Every encapsulation that it has, both ways.
#
#	a  t0 (xtun) -- under0 ====== under0 - [br0] - br0    [t0] - t0  b
#
# [br0] and [t0] are its bridges in b, br0 and t0 their own ports, which have addresses.
# A port of [t0] is the tunnel; what that sends goes out of br0, to be sent by [br0].
#
# What Open vSwitch 3.1 cannot do, and is left out:
# - geneve with payload ip: it takes no ethertype but that of frames;
# - fou, gue, l2tp, ip: it has none of them in user space;
# - over IPv6, to send UDP without a checksum; it takes what comes without;
# - gtp with qfi: it takes an extension header for a part of the packet inside;
# - gre with csum and seq: it writes the number after having computed the checksum;
# - gtp with a right UDP checksum: it writes the length after having computed it, and
#   cannot do without over IPv4 either.  a takes these checksums off (Setup.mend);
# - gtp from xtun with IPv6 inside: it calls that no IP.
import collections
import functools
import glob
import os
import shutil
import socket
import tempfile

from lib import capture, ktap, net, peers, pkt, traffic
from lib.peers import BOTH, Pair

# Where selftests/vm/prepare.sh has it.
ROOT = os.path.join(os.environ.get("XTUN_CACHE", "/nonexistent"), "openvswitch/usr")
PATH = ":".join([*(os.path.join(ROOT, part) for part in ("bin", "sbin", "lib/openvswitch-switch")),
                 os.environ["PATH"]])

MAC = {"br0": "02:00:00:00:00:01", "t0": "02:00:00:00:00:02"}

# With all headers it fits the underlay, where the switch fragments nothing.
MTU = 1400
BULK = 1 << 17

# The ports of [t0] that are a tunnel, of which there is one at a time.
PLAIN, OPTIONS = 1, 2

# Class, type, length, and 8 bytes of data.
OPTION = bytes.fromhex("0102" "03" "02" "1122334455667788")

# What comes without an Ethernet header is given an empty one.
FLOWS = f"""
in_port=LOCAL,actions={PLAIN},set_field:0x1122334455667788->tun_metadata0,{OPTIONS}
priority=2,dl_dst=00:00:00:00:00:00,actions=mod_dl_dst:{MAC['t0']},LOCAL
priority=1,actions=LOCAL
"""


class Switch:
    """The daemons, in a namespace; all that they keep is in a folder that goes with them."""

    def __init__(self, ns):
        if not shutil.which("ovs-vswitchd", path=PATH):
            ktap.skip("there is no Open vSwitch here")
        self._ns = ns
        folder = tempfile.TemporaryDirectory()
        ktap.defer(folder.cleanup)
        self._folder = folder.name
        self._env = ["env", f"PATH={PATH}", *(
            f"OVS_{kind}DIR={folder.name}" for kind in ("RUN", "LOG", "DB", "SYSCONF"))]
        for libraries in glob.glob(os.path.join(ROOT, "lib/*-linux-gnu")):
            self._env.append(f"LD_LIBRARY_PATH={libraries}")
        self._start()

    def _start(self):
        schema = next(filter(os.path.exists, (
            os.path.join(usr, "share/openvswitch/vswitch.ovsschema") for usr in (ROOT, "/usr"))))
        database, sock, control = map(self._path, ("conf.db", "db.sock", "control"))
        self.run("ovsdb-tool", "create", database, schema)
        self._spawn(sock, "ovsdb-server", database, f"--remote=punix:{sock}")
        self._spawn(control, "ovs-vswitchd", f"unix:{sock}", f"--unixctl={control}")

    def _path(self, name):
        return os.path.join(self._folder, name)

    def _spawn(self, sock, *argv):
        """A daemon that listens."""
        daemon = self._ns.spawn(*self._env, *argv)
        ktap.wait_for(lambda: os.path.exists(sock) or not daemon.running(), sock)
        ktap.true(daemon.running(), f"{argv[0]} runs; it said {daemon.output()!r}")

    def run(self, command, *argv, text=None):
        """A command that has to find nothing wrong; returns what it says."""
        # On a slow machine they warn of that.
        seen = self._ns.run(*self._env, command, "--verbose=err", *argv, text=text)
        ktap.eq((seen.returncode, seen.stderr), (0, ""), f"{command} {' '.join(argv)}")
        return seen.stdout

    def set(self, *lines):
        """Commands of ovs-vsctl(8), done together; they have taken effect afterwards."""
        self.run("ovs-vsctl", "--timeout=60",
                 *(word for line in lines for word in ("--", *line.split())))

    def ask(self, *words):
        """ovs-appctl(8)"""
        return self.run("ovs-appctl", "-t", self._path("control"), *words)

    def bridge(self, name, *lines):
        self.set(f"add-br {name}", f"set bridge {name} datapath_type=netdev "
                 f"other-config:hwaddr={MAC[name]}", *lines)

    def tunnel(self, cell, ns, dev, local, remote, _):
        """The other end of a pair of lib/peers."""
        ktap.defer(self.remove, ns, dev)
        self.set(f"add-port {dev} far0",
                 f"set interface far0 ofport_request={cell.port} options:local_ip={local} "
                 f"options:remote_ip={remote} {cell.options}")
        # Packets of the new tunnel could yet meet what it had decided for the old one's.
        self.ask("revalidator/purge")
        # What the host itself says then goes through no other tunnel.
        ns.ip(f"link set {dev} arp {'on' if cell.payload == 'eth' else 'off'} up")

    def remove(self, ns, dev):
        # Down: it forgets its neighbours.
        ns.ip(f"link set {dev} down", f"addr flush dev {dev}")
        self.set("--if-exists del-port far0")


class Setup:
    def __init__(self):
        net.load_module()
        net.need_modules("veth", "tun")
        a, b = self.hosts = net.Two(net.Namespace("a"), net.Namespace("b"))
        net.veth(a, "under0", b, "under0", link_local=False)
        for ns, last in ((a, 1), (b, 2)):
            ns.v4, ns.v6 = f"192.0.2.{last}", f"2001:db8::{last}"
        # The switch takes frames as they are: nothing may be left to a network card.
        a.check("ethtool", "-K", "under0", "tx", "off", "tso", "off", "gso", "off")
        # b has its addresses on br0, and would answer here as well.
        b.ip("link set under0 arp off")
        self.mend(a)
        self.switch = Switch(b)
        self.switch.bridge("br0", "add-port br0 under0")
        b.ip("link set br0 up")
        self.switch.bridge("t0", f"set interface t0 mtu_request={MTU}")
        self.switch.run("ovs-ofctl", "add-tlv-map", "t0",
                        "{class=0x102,type=3,len=8}->tun_metadata0")
        self.switch.run("ovs-ofctl", "add-flows", "t0", "-", text=FLOWS)
        self.underlay(a, b)

    @staticmethod
    def mend(ns):
        """Incoming GTP has no checksum, instead of a wrong one."""
        ns.check("nft", "-f", "-", text="""
            table inet mend {
                chain in {
                    type filter hook prerouting priority raw
                    udp dport 2152 @th,48,16 set 0
                }
            }""")

    def underlay(self, a, b):
        """Addresses and neighbours, for the switch too."""
        macs = {"under0": a.mac("under0").hex(":"), "br0": MAC["br0"]}
        for ns, dev, far, far_dev in ((a, "under0", b, "br0"), (b, "br0", a, "under0")):
            ns.ip(net.address_line(dev, f"{ns.v4}/24"), net.address_line(dev, f"{ns.v6}/64"),
                  *(f"neigh add {address} lladdr {macs[far_dev]} dev {dev} nud permanent"
                    for address in (far.v4, far.v6)))
        for address in (a.v4, a.v6):
            self.switch.ask("tnl/neigh/set", "br0", address, macs["under0"])
        # It hears of b's addresses later than the kernel has them.
        ktap.wait_for(lambda: all(f" dev br0 SRC {address}\n" in self.switch.ask("ovs/route/show")
                                  for address in (b.v4, b.v6)), "the switch's routes")
        for address in (b.v4, b.v6):
            ktap.true(traffic.ping(a, address), f"ping {address}, in no tunnel")


# ---- encapsulations ----

# family: of the underlay; words: of xtun; options: of the switch's port, whose number is port.
Cell = collections.namedtuple("Cell", "family words payload options port", defaults=[PLAIN])

UDP = [
    ("vxlan key 7", "eth", "type=vxlan options:key=7"),
    ("vxlan payload ip key 0xffffff", "ip", "type=vxlan options:key=16777215 options:exts=gpe "
     "options:packet_type=legacy_l3 options:dst_port=4790"),
    ("geneve key 0 dport 1234", "eth", "type=geneve options:key=0 options:dst_port=1234"),
]
GTP = ("gtp ikey 0x10203040 okey 0x50607080", "ip",
       f"type=gtpu options:out_key={0x10203040} options:in_key={0x50607080}")
GRE = [
    ("gre", ""),
    ("gre key 7 csum", "options:key=7 options:csum=true"),
]
GRE_SEQ = ("gre ikey 1 okey 2 seq", "options:out_key=1 options:in_key=2 options:seq=true")
GRE_ETH = [
    ("gre payload eth key 0", "options:key=0"),
    ("gre payload eth key 0xffffffff csum", "options:key=4294967295 options:csum=true"),
]
VSID = 0x123456


def cells(family):
    for words, payload, options in UDP:
        yield Cell(family, words, payload, f"{options} options:csum=true")
        yield Cell(family, f"{words} noudpcsum", payload, f"{options} options:csum=false")
    yield Cell(family, "geneve key 7", "eth", "type=geneve options:key=7", OPTIONS)
    words, payload, options = GTP
    if family == "v4":
        yield Cell(family, words, payload, options)
    yield Cell(family, f"{words} noudpcsum", payload, options)
    for words, options in GRE + ([GRE_SEQ] if family == "v4" else []):
        yield Cell(family, words, "ip", f"type=gre options:packet_type=legacy_l3 {options}")
    for words, options in GRE_ETH:
        yield Cell(family, words, "eth", f"type=gre {options}")
    # A flow id comes with the key, and need not be sent.
    yield Cell(family, f"nvgre key {VSID}", "eth",
               f"type=gre options:in_key=flow options:out_key={VSID << 8}")


def text(cell):
    options = cell.options.replace("options:", "").rstrip()
    return f"{cell.words} over {cell.family} and {options}" + (
        ", with an option" if cell.port == OPTIONS else "")


@ktap.table("{1}", [(cell, text(cell)) for family in BOTH for cell in cells(family)])
def talk(test, cell, _):
    a = test.hosts.a
    pair = Pair(cell.family, f"encap {cell.words}",
                [(functools.partial(test.switch.tunnel, cell), BOTH)])
    peers.make(test.hosts, pair)
    ways = [way for way in peers.ways(test.hosts, pair)
            if not ("gtp" in cell.words and ":" in way[2])]
    seen = capture.Capture(a, "under0")
    for src, _, address in ways:
        ktap.true(traffic.ping(src, address), f"ping {address}")
    look_at(seen, cell)
    seen.close()
    for src, dst, address in ways:
        traffic.udp_crosses(src, dst, address, 1200)
        traffic.tcp_bulk(src, dst, address, BULK)
    if "gtp" in cell.words:
        traffic.udp_crosses(test.hosts.b, a, peers.INNER["v6"][0], 1200)
    ktap.eq(a.drops("t0"), {}, "packets that xtun lost")


def look_at(seen, cell):
    """What either end would take anyway is there where it was asked for, and only there."""
    start = pkt.IP_LEN[cell.family]
    # Not what the hosts say to each other beside, as an ICMP error.
    for packet in seen.packets(outgoing=False):
        if pkt.outer_fields(packet)["proto"] == socket.IPPROTO_UDP:
            ktap.eq(OPTION in packet, cell.port == OPTIONS,
                    f"an option in what came: {packet.hex()}")
    # gre takes nothing that differs from its words.
    if cell.words.startswith("gre") or "csum=" not in cell.options:
        return
    for outgoing in (True, False):
        bare = "noudpcsum" in cell.words and (outgoing or cell.family == "v4")
        for packet in seen.packets(outgoing):
            # Not an ICMP error of either host, whose next fields may be zero as well.
            if pkt.outer_fields(packet)["proto"] == socket.IPPROTO_UDP:
                ktap.eq(packet[start + 6:start + 8] == bytes(2), bare,
                        f"no checksum in what {'left' if outgoing else 'came'}: {packet.hex()}")


ktap.main(Setup)
