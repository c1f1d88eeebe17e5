#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What people see of a tunnel: ip link, tunctl and ethtool say the same, what
# they print makes the tunnel again, counters add up and drops have a name.
import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile

from lib import ktap, net, pkt, traffic

V4 = "local 192.0.2.1 remote 192.0.2.{0}"
V6 = "local 2001:db8::1 remote 2001:db8::{0:x}"

# Each with a remote of its own, so that all of them exist at once.
CONFIGS = [
    "encap ip " + V4,
    "encap ip " + V6 + " encaplimit 4 flowlabel 0x12345",
    "encap ip remote 192.0.2.{0} ttl inherit tos 0x20",
    "encap ip " + V6 + " encaplimit 0 flowlabel 0 ttl 255",
    "encap ip local 192.0.2.{0} remote any allow 10.0.0.0/8,192.168.7.1/32,fd00::/8",
    "encap gre " + V4 + " key 0",
    "encap gre " + V4 + " key 4294967295 csum seq",
    "encap gre " + V4 + " ikey 5 okey 6 icsum oseq",
    "encap gre " + V4 + " ikey 0",
    "encap gre " + V4 + " okey 0 ocsum iseq",
    "encap gre " + V6 + " flowlabel inherit frag never",
    "encap gre " + V4 + " df unset frag outer",
    "encap gre " + V4 + " df inherit mtu 1400",
    "encap gre " + V4 + " icmp-relay strict icmp-memory on mss auto",
    "encap ip " + V6 + " icmp-relay off icmp-memory off mss 536",
    "encap gre payload eth " + V4 + " mss 65534",
    "encap gre " + V4 + " dev under0 fwmark 0xdeadbeef tos 0",
    "encap gre dev under0 remote fe80::{0:x}",
    "encap gre " + V4 + " fwmark inherit mark-in keep",
    "encap gre payload eth " + V4 + " key 7 ttl 1 fwmark 1 mark-in 2",
    "encap gre payload eth " + V6 + " mtu 9000",
    "encap nvgre " + V4 + " key 5000",
    "encap nvgre " + V6 + " ikey 4096 okey 16777215",
    "",
    "payload eth",
    "mtu 1300",
]


class Bench:
    """All configurations at once: made, shown, made again of what was shown."""

    def __init__(self):
        self.ns = net.Namespace("bench")
        self.ns.device("under0", "type dummy", "192.0.2.1/24", "2001:db8::1/64")
        self.names = [f"c{number}" for number in range(len(CONFIGS))]
        self._make(words.format(number + 2) for number, words in enumerate(CONFIGS))
        self.by_ip, self.by_tunctl = self.shown()
        self.words = {"ip -d link": self._words_of_ip(), "tunctl show": self._words_of_tunctl()}
        self.again = {}
        for source, words in self.words.items():
            self._delete()
            if source == "tunctl show":
                self._make_by_tunctl(words)
            else:
                self._make(words)
            self.again[source] = self.shown()

    def shown(self):
        """The JSON of both, a list each; without what another device has anew."""
        links = {link["ifname"]: link["linkinfo"].get("info_data", {})
                 for link in self.ns.ip_json("link", "show", "type", "xtun")}
        tunnels = {tunnel["ifname"]: tunnel for tunnel in self.ns.tunctl("show")}
        for tunnel in tunnels.values():
            del tunnel["ifindex"]
        return ([links.get(dev) for dev in self.names], [tunnels.get(dev) for dev in self.names])

    def _make(self, words):
        self.ns.ip(*(f"link add name {dev} type xtun {words_}"
                     for dev, words_ in zip(self.names, words)))

    def _make_by_tunctl(self, words):
        self.ns.check("sh", "-e", text="".join(
            f"tunctl add {dev} {words_}\n" for dev, words_ in zip(self.names, words)))

    def _delete(self):
        self.ns.ip(*(f"link del {dev}" for dev in self.names))

    def _words_of_ip(self):
        text = self.ns.check("ip", "-d", "-o", "link", "show", "type", "xtun")
        found = dict(re.findall(r"^\d+: (\S+?)[@:].*?\\    xtun ?(.*?) ?(?:addrgenmode|numtxqueues) ",
                                text, re.M))
        return [found.get(dev, "nothing") for dev in self.names]

    def _words_of_tunctl(self):
        lines = [line.partition(" ") for line in self.ns.check("tunctl", "show").splitlines()]
        found = {dev: words for dev, _, words in lines}
        return [found.get(dev, "nothing") for dev in self.names]


def setup():
    net.load_module()
    return Bench()


@ktap.table("what is shown makes it again: {1}", [
    (number, words.format(number + 2) or "not configured") for number, words in enumerate(CONFIGS)])
def again(bench, number, _):
    for source, (by_ip, by_tunctl) in bench.again.items():
        told = f"{source}: {bench.words[source][number]}"
        ktap.eq(by_ip[number], bench.by_ip[number], told)
        ktap.eq(by_tunctl[number], bench.by_tunctl[number], told)


@ktap.case("ip and tunctl say the same, in text and in JSON")
def same(bench):
    ktap.eq([tunnel["conf"] for tunnel in bench.by_tunctl], bench.by_ip, "JSON")
    ktap.eq([words.strip() for words in bench.words["ip -d link"]],
            bench.words["tunctl show"], "text")


# ---- tunctl ----

# Arguments, exit status, and what is said, be it good or bad.
STATUSES = [
    ("help", 0, "Usage: tunctl"),
    ("help add", 0, "Makes a tunnel"),
    ("help key", 0, "number of the network"),
    ("--help", 0, "Usage: tunctl"),
    ("-V", 0, "tunctl "),
    ("", 0, "s0 encap gre"),
    ("show", 0, "s0 encap gre"),
    ("show s0", 0, "key 7"),
    ("-d show s0", 0, "device-mtu 1472"),
    ("-j -p show s0", 0, '"key": 7'),
    ("stats s0", 0, "rx-packets 0"),
    ("stats -a s0", 0, "drop rx-checksum 0"),
    ("path", 0, "s0 peer 192.0.2.9"),
    ("path s0", 0, "outer route: dev under0 src 192.0.2.1"),
    ("-j -p path s0", 0, '"peer": "192.0.2.9"'),
    ("explain 192.0.2.1", 0, "this host"),
    ("explain 192.0.2.8", 4, "goes out of under0"),
    ("-j explain 203.0.113.1", 4, '"no-route"'),
    ("help path", 0, "tunctl path"),
    ("help explain", 0, "tunctl explain"),
    ("help netns", 0, "tunctl add"),
    ("help vrf", 0, "tunctl explain"),
    ("set s0", 0, ""),
    ("-j add s1 encap ip remote 192.0.2.4", 0, '"s1"'),
    ("del s1", 0, ""),
    ("add s%d encap ip remote 192.0.2.5", 0, "s1 encap ip"),
    ("del s1", 0, ""),
    ("nosuch", 1, "nosuch"),
    ("--nosuch", 1, "nosuch"),
    ("help nosuch", 1, "nosuch"),
    ("add", 1, "NAME"),
    ("add averyverylongname", 1, "averyverylongname"),
    ("add s1 nosuch", 1, "nosuch"),
    ("add s1 ttl", 1, "ttl"),
    ("add s1 ttl x", 1, "ttl"),
    ("add s1 netns nosuch", 1, "nosuch"),
    ("del s0 s1", 1, "s1"),
    ("show s0 s1", 1, "s1"),
    ("monitor s0", 1, "s0"),
    ("path s0 s1", 1, "s1"),
    ("explain", 1, "one address"),
    ("explain s0", 1, "s0"),
    ("-n nosuch show", 1, "nosuch"),
    ("show nosuch", 2, "no such device"),
    ("stats nosuch", 2, "no such device"),
    ("path nosuch", 2, "no such device"),
    ("path under0", 2, "not of kind xtun"),
    ("del nosuch", 2, "no such device"),
    ("set nosuch ttl 3", 2, "no such device"),
    ("show under0", 2, "not of kind xtun"),
    ("del lo", 2, "not of kind xtun"),
    ("add s0 encap ip remote 192.0.2.4", 2, "already"),
    ("add s1 encap gre", 2, "remote"),
    ("add s1 encap gre local 192.0.2.1 remote 192.0.2.9 key 7", 2, "s0"),
]


@ktap.case("tunctl ends with the status that it should, and says why")
def statuses(_):
    ns = net.Namespace("statuses")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    ns.tunnel("s0", "encap gre local 192.0.2.1 remote 192.0.2.9 key 7")
    said = ns.run("sh", text="".join(
        f"tunctl {line} 2>&1; echo status $?\n" for line, _, _ in STATUSES)).stdout
    seen = re.findall(r"(.*?)status (\d+)\n", said, re.S)
    ktap.eq(len(seen), len(STATUSES), "answers")
    wrong = [(line, text, int(status)) for (line, expected, part), (text, status)
             in zip(STATUSES, seen) if int(status) != expected or part not in text]
    ktap.eq(wrong, [], "not as expected")


@ktap.case("tunctl tells that there is nobody to talk to, or nobody to listen")
def no_talking(_):
    ns = net.Namespace("silent")
    seen = ns.run("sh", "-c", "tunctl help >/dev/full")
    ktap.eq((seen.returncode, "output" in seen.stderr), (3, True), f"into the void ({seen.stderr})")
    with ktap.scope():
        ktap.defer(net.load_module)
        ktap.wait_for(lambda: subprocess.run(
            ["rmmod", "xtun"], capture_output=True).returncode == 0
            or not os.path.isdir("/sys/module/xtun"), "rmmod")
        # Or the kernel would load it again by itself, if it is installed.
        seen = ns.run("setpriv", "--bounding-set", "-sys_module", "--inh-caps", "-sys_module",
                      "tunctl", "show")
    if not os.environ.get("XTUN_KO"):
        ktap.skip("the kernel may load the installed module")
    ktap.eq(seen.returncode, 3, f"without the module ({seen.stderr})")
    ktap.contains(seen.stderr, "xtun", "what is said then")


@ktap.case("help knows every word that ip link help has")
def words_of_help(bench):
    by_ip = bench.ns.run("ip", "link", "help", "xtun")
    words = re.findall(r"^  ([a-z][a-z0-9-]*)", by_ip.stderr + by_ip.stdout, re.M)
    words = [word for word in words if word != "ip"]
    ktap.true({"encap", "key", "ttl", "allow", "encaplimit", "mss"} <= set(words), "ip link help")
    said = bench.ns.run("sh", text="".join(f"tunctl help {word} || echo no {word}\n"
                                           for word in words)).stdout
    ktap.eq(re.findall(r"^no (.*)", said, re.M), [], "words that tunctl help does not know")


ENDS = "local 192.0.2.1 remote 192.0.2.9"
# What each encapsulation cannot do without, and a use of each word that not all have.
NEEDS = {"ip": "", "gre": "", "nvgre": "key 5000", "vxlan": "key 7", "geneve": "key 7",
         "fou": "dport 5555", "gue": "", "gtp": "key 7", "l2tp": "key 7 dport 1701",
         "l2tp-ip": "key 7", "icmp": "key 7 echo request"}
USES = {"key": "key 5001", "ikey": "ikey 5001 okey 5002", "okey": "okey 5002 ikey 5001", "csum": "csum", "icsum": "icsum",
        "ocsum": "ocsum", "seq": "seq", "iseq": "iseq", "oseq": "oseq", "sport": "sport 4000",
        "dport": "dport 4001", "lport": "lport 4002", "udpcsum": "udpcsum",
        "noudpcsum": "noudpcsum", "qfi": "qfi 5", "pdu": "qfi 5 pdu uplink",
        "cookie": "cookie 00112233", "icookie": "icookie 00112233", "ocookie": "ocookie 00112233",
        "l2spec": "l2spec none", "echo": "echo request", "keepalive": "keepalive 9"}


@ktap.table("encap {0} takes the words that tunctl help says it has, and no others", NEEDS.items())
def words_of_encap(bench, encap, needs):
    said = bench.ns.run("sh", text="".join(f"tunctl help {word}\n" for word in USES)).stdout
    listed = dict(zip(USES, re.findall(r"^    with encap (.*)", said, re.M)))
    ktap.eq(len(listed), len(USES), "words that say which encapsulations have them")
    bench.ns.check("tunctl", "add", "words0", "encap", encap, *f"{ENDS} {needs}".split())
    bench.ns.ip("link del words0")
    wrong = []
    for word, use in USES.items():
        given = use.split()[0]
        kept = re.sub(r"\bkey \S+" if "key" in given else rf"\b{given} \S+", "", needs)
        seen = bench.ns.run("tunctl", "add", "words0", "encap", encap,
                            *f"{ENDS} {kept} {use}".split())
        bench.ns.run("ip", "link", "del", "words0")
        has = encap in listed[word].split(", ")
        about = "key" if "key" in given else given.removeprefix("no")
        refused = seen.returncode == 2 and f"{about}:" in seen.stderr
        if not (seen.returncode == 0 if has else refused):
            wrong.append((use, listed[word], seen.stderr))
    ktap.eq(wrong, [], "words about which help and kernel differ")


@ktap.table("tunctl {0} tells what happens", ["monitor", "-j monitor"])
def monitor(_, command):
    ns = net.Namespace("monitor")
    ns.ip("link add name first type xtun")
    watch = ns.spawn("tunctl", *command.split())

    def listens():
        ns.ip("link set first type xtun mtu 1300", "link set first type xtun mtu auto")
        return "first" in watch.output()
    ktap.wait_for(listens, "tunctl monitor listening")
    ns.ip("link add m0 type xtun encap gre local 192.0.2.1 remote 192.0.2.9 key 7",
          "link set m0 type xtun ttl 3", "link set m0 mtu 1333", "link del m0")
    watch.wait_output(r"del\b.*m0")
    lines = [line for line in watch.output().splitlines() if "m0" in line]
    if "-j" in command:
        events = [json.loads(line) for line in lines]
        seen = [(event["event"], event["conf"].get("ttl")) for event in events]
        mtus = [event["device-mtu"] for event in events]
    else:
        matches = [re.match(r"(\w+) m0 encap gre .*key 7(?: ttl (\d+))?.* device-mtu (\d+)", line)
                   for line in lines]
        ktap.true(all(matches), f"{lines} have the words of the tunnel")
        seen = [(match[1], match[2] and int(match[2])) for match in matches]
        mtus = [int(match[3]) for match in matches]
    story = [step for place, step in enumerate(seen) if step not in seen[:place]]
    ktap.eq(story, [("new", None), ("set", 3), ("del", 3)], "events")
    ktap.eq(mtus[-1], 1333, "the last MTU")


@ktap.case("tunctl -n acts in that netns, netns makes the device in it")
def netns(_):
    here, there = net.Namespace("here"), net.Namespace("there")
    here.check("tunctl", "-n", str(there), *"add n0 encap gre remote 192.0.2.9".split())
    ktap.eq([tunnel["ifname"] for tunnel in there.tunctl("show")], ["n0"], "tunnels there")
    ktap.eq(here.check("tunctl", "show"), "", "tunnels here")
    ktap.contains(here.check("tunctl", "show", "-n", str(there)), "n0", "what is shown of there")
    here.check("tunctl", "add", "n1", "netns", str(there), *"encap gre remote 192.0.2.9".split())
    ktap.contains(there.check("tunctl", "-d", "show", "n1"), "link-netnsid", "details of n1")
    here.check("tunctl", "--netns", str(there), "del", "n0")
    ktap.eq([tunnel["ifname"] for tunnel in there.tunctl("show")], ["n1"], "tunnels there")


# ---- ethtool, statistics, tracepoint ----

@ktap.case("ethtool knows driver, statistics and features")
def ethtool(_):
    ns = net.Namespace("ethtool")
    ns.ip("link add c5 type xtun encap gre remote 192.0.2.9", "link add name bare type xtun",
          "link set c5 up", "link set bare up")
    said = ns.check("ethtool", "-i", "c5")
    ktap.contains(said, "driver: xtun\n", "ethtool -i")
    ktap.true(re.search(r"^version: \S", said, re.M), f"a version in {said}")
    said = ns.check("ethtool", "-S", "c5")
    names = re.findall(r"^ +((?:[rt]x|err)-[a-z-]+): 0$", said, re.M)
    ktap.eq(names, list(ns.counters("c5")), "ethtool -S")
    ktap.eq(names, list(ns.tunctl("stats", "c5")[0]["drop"]), "reasons of tunctl stats")
    features = ns.check("ethtool", "-k", "c5")
    for feature in ("scatter-gather", "tx-checksumming", "tcp-segmentation-offload",
                    "generic-segmentation-offload", "generic-receive-offload"):
        ktap.contains(features, f"{feature}: on", "ethtool -k")
    ktap.contains(ns.check("ethtool", "c5"), "Link detected: yes", "ethtool")
    ktap.contains(ns.check("ethtool", "bare"), "Link detected: no", "ethtool, not configured")


class Wire:
    """A tunnel whose other end is the test; drops of several kinds."""

    def __init__(self):
        self.peer = net.peer()
        self.ns = self.peer.ns
        self.ns.tunnel("t0", f"encap gre local {self.ns.v4} remote {self.peer.v4} icsum "
                             "allow 10.9.0.0/16", f"{pkt.INNER['v4'][0]}/24")

    def send(self, *args, **words):
        self.peer.send(pkt.ip("v4", self.peer.v4, self.ns.v4, pkt.gre(*args, **words),
                              pkt.GRE_PROTO))

    def bad(self):
        """Packets that are dropped: the reason, how many, what sends one."""
        inner = pkt.inner("v4", back=True)
        return [
            ("rx-checksum", 2, lambda: self.send("v4", inner, csum=1)),
            ("rx-no-checksum", 3, lambda: self.send("v4", inner)),
            ("rx-inner-protocol", 4, lambda: self.send(0x1234, inner, csum=True)),
            ("rx-not-allowed", 5, lambda: self.send(
                "v4", pkt.inner("v4", back=True, src="10.10.0.1"), csum=True)),
            ("rx-truncated", 6, lambda: self.peer.send(pkt.ip(
                "v4", self.peer.v4, self.ns.v4, b"\0\0", pkt.GRE_PROTO))),
        ]


# Where ip -s -s link shows each; beside those of the sum.
FIELDS = {"rx-checksum": "crc_errors", "rx-no-checksum": "crc_errors",
          "rx-inner-protocol": "frame_errors", "rx-truncated": "length_errors",
          "rx-not-allowed": "dropped"}
ERRORS = ("crc_errors", "frame_errors", "length_errors", "fifo_errors", "over_errors")


@ktap.case("statistics of 64 bits add up with the drops")
def stats(_):
    wire = Wire()
    ns = wire.ns
    inner = pkt.inner("v4", back=True)
    # Or errors would be sent about them.
    traffic.udp(ns, "10.9.0.1", 50000)
    expected, total = {}, 0
    for reason, count, send in wire.bad():
        for _ in range(count):
            send()
        expected[reason] = count
        total += count
    for _ in range(7):
        wire.send("v4", inner, csum=True)
    sock = traffic.udp(ns, family=net.family_of("10.9.0.2"))
    for _ in range(3):
        sock.sendto(b"x" * 100, ("10.9.0.2", 7))
    ktap.wait_for(lambda: sum(ns.drops("t0").values()) == total
                  and ns.stats("t0")["rx_packets"] == 7, "all packets", 10)
    ktap.eq(ns.drops("t0"), expected, "drops")
    seen = json.loads(ns.check("ip", "-j", "-s", "-s", "link", "show", "t0"))[0]["stats64"]
    ktap.eq(seen["rx"]["bytes"], 7 * len(inner), "bytes received")
    ktap.holds(seen["tx"], {"packets": 3, "bytes": 3 * 128, "errors": 0, "dropped": 0}, "sent")
    sums = {}
    for reason, count in expected.items():
        sums[FIELDS[reason]] = sums.get(FIELDS[reason], 0) + count
    ktap.holds(seen["rx"], {"packets": 7, **sums}, "received")
    ktap.eq(seen["rx"]["errors"], sum(seen["rx"].get(field, 0) for field in ERRORS), "errors")
    told = ns.tunctl("stats", "t0")[0]
    ktap.holds(told, {"rx-packets": 7, "rx-bytes": 7 * len(inner), "tx-packets": 3,
                      "tx-bytes": 3 * 128}, "tunctl stats")
    ktap.eq({reason: count for reason, count in told["drop"].items() if count}, expected,
            "drops of tunctl stats")


# What the kernel's own list has for each of them.
CORE = {"rx-checksum": "SKB_CSUM", "rx-no-checksum": "SKB_CSUM",
        "rx-inner-protocol": "UNHANDLED_PROTO", "rx-not-allowed": "IP_RPFILTER",
        "rx-truncated": "HDR_TRUNC", "tx-inner-protocol": "UNHANDLED_PROTO"}


class Tracepoint:
    """xtun:xtun_drop and skb:kfree_skb, on while the scope lasts."""

    EVENTS = ("xtun/xtun_drop", "skb/kfree_skb")

    def __init__(self):
        self.root = next((root for root in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
                          if os.path.exists(root + "/events")), None)
        if not self.root:
            self._mount()
        if not os.path.isdir(self.root + "/events/xtun"):
            ktap.skip("this kernel has no tracepoints of modules")
        self.write("trace", "")
        for event in self.EVENTS:
            self.write(f"events/{event}/enable", "1")
            ktap.defer(self.write, f"events/{event}/enable", "0")

    def _mount(self):
        self.root = tempfile.mkdtemp()
        ktap.defer(os.rmdir, self.root)
        if subprocess.run(["mount", "-t", "tracefs", "nodev", self.root],
                          capture_output=True).returncode:
            ktap.skip("no tracefs")
        ktap.defer(subprocess.run, ["umount", self.root])

    def write(self, name, text):
        with open(os.path.join(self.root, name), "w") as file:
            file.write(text)

    def seen(self):
        """Device, reason and the kernel's reason of every drop so far."""
        with open(os.path.join(self.root, "trace")) as file:
            events = re.findall(r"(?:xtun_drop: dev=(\S+) |kfree_skb: )skbaddr=(\S+) .*?"
                                r"reason(?:: |=)(\S+)", file.read())
        found, last = [], {}
        for dev, address, reason in events:
            if dev:
                last[address] = len(found)
                found.append((dev, reason, ""))
            elif address in last:
                found[last.pop(address)] += (reason,)
        return sorted((dev, reason, *core[-1:]) for dev, reason, *core in found)


@ktap.case("the tracepoints tell of each drop, by name")
def tracepoint(_):
    wire = Wire()
    trace = Tracepoint()
    odd = wire.ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
    bad = [*wire.bad(), ("tx-inner-protocol", 7, lambda: odd.sendto(bytes(64), ("t0", 0x1234)))]
    expected = []
    for reason, count, send in bad:
        for _ in range(count):
            send()
        expected += [("t0", reason, CORE[reason])] * count
    with contextlib.suppress(ktap.Failed):
        ktap.wait_for(lambda: trace.seen() == sorted(expected), "the drops", 10)
    ktap.eq(trace.seen(), sorted(expected), "drops in the trace")


ktap.main(setup)
