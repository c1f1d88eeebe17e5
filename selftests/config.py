#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# What a tunnel can be told: what is refused and how that is said, what is
# taken on a live device, and which of several tunnels a packet is for.
import json
import re
import socket
import tempfile

from lib import ktap, net, pkt, traffic

LOCAL = {"v4": "192.0.2.1", "v6": "2001:db8::1"}
REMOTE = {"v4": "192.0.2.9", "v6": "2001:db8::9"}
ENDS = {family: f"local {LOCAL[family]} remote {REMOTE[family]}" for family in LOCAL}
V4, V6 = ENDS["v4"], ENDS["v6"]

FOREIGN_INDEX = 4711    # of a device in another netns only


class Refuser:
    """A namespace with two tunnels, base and other, that stay as they are."""

    def __init__(self):
        self.ns = net.Namespace("refuser")
        self.foreign = net.Namespace("foreign")
        self.foreign.ip(f"link add d0 index {FOREIGN_INDEX} type dummy")
        self.ns.device("under0", "type dummy", "192.0.2.1/24", "2001:db8::1/64")
        self.ns.tunnel("base", f"encap gre {V4} key 7")
        self.ns.tunnel("other", "encap gre local 192.0.2.1 remote 192.0.2.98")
        self.before = self.ns.ip_json("link", "show")
        self.shown = self.ns.tunctl("show")
        self._said = None

    def said(self, command):
        """Tries all that has to be refused; returns what came of one command."""
        if not self._said:
            self._said = {**self._ip(), **self._others()}
        return self._said[command]

    def _ip(self):
        """By one ip, which is quick, with a look at the devices after each."""
        lines = [command for command, tool in refusals() if tool == "ip"]
        said = self.ns.run("ip", "-j", "-d", "-force", "-batch", "-", text="".join(
            f"{line}\nlink show\n" for line in lines))
        errors = {}
        for text, number in re.findall(r"(.*?)\s*Command failed -:(\d+)", said.stderr, re.S):
            errors[int(number)] = text.strip()
        shown = documents(said.stdout)
        ktap.eq(len(shown), len(lines), "answers of ip -batch")
        return {line: (int(2 * number + 1 in errors), errors.get(2 * number + 1, ""),
                       links == self.before)
                for number, (line, links) in enumerate(zip(lines, shown))}

    def _others(self):
        """By one shell, as neither takes lines of which some cannot be parsed.

        Each is a process, which an emulated machine takes its time for: the
        devices are looked at when all have been tried.
        """
        lines = [command for command, tool in refusals() if tool != "ip"]
        said = self.ns.run("sh", text="".join(
            f"{line} 2>&1 >/dev/null; echo status $?\n" for line in lines))
        seen = re.findall(r"(.*?)status (\d+)\n", said.stdout, re.S)
        ktap.eq(len(seen), len(lines), "answers of the shell")
        same = self.ns.tunctl("show") == self.shown
        return {line: (int(status), text.strip(), same)
                for line, (text, status) in zip(lines, seen)}


def documents(text):
    """JSON values one after the other."""
    decoder, values, place = json.JSONDecoder(), [], 0
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        values.append(value)
        place += len(text) - place - len(text[place:].lstrip())
    return values


def setup():
    net.load_module()
    return Refuser()


# ---- refusals ----

# What the kernel refuses, when a tunnel is made and when other is changed into
# it: words, and what the message has to name.
REFUSED = [
    ("encap gre local 192.0.2.1 remote 2001:db8::9", "families"),
    ("encap gre local 2001:db8::1 remote 192.0.2.9", "families"),
    ("encap ip local 192.0.2.1 remote 2001:db8::9", "families"),
    ("encap nvgre payload eth key 5000 local 192.0.2.1 remote 2001:db8::9", "families"),
    ("encap gre local any remote any", "remote"),
    ("encap ip local 0.0.0.0 remote ::", "remote"),
    (f"encap nvgre payload eth {V4}", "key"),
    (f"encap nvgre payload eth {V4} ikey 5000", "okey"),
    (f"encap nvgre payload eth {V4} key 4095", "key"),
    (f"encap nvgre payload eth {V4} key 0x1000000", "key"),
    (f"encap nvgre payload eth {V4} ikey 5000 okey 1", "okey"),
    (f"encap ip {V4} key 1", "key"),
    (f"encap ip {V4} key 0", "key"),
    (f"encap ip {V4} okey 1", "okey"),
    (f"encap ip {V4} csum", "csum"),
    (f"encap ip {V6} ocsum", "ocsum"),
    (f"encap ip {V4} seq", "seq"),
    (f"encap ip {V6} oseq", "oseq"),
    (f"encap nvgre payload eth {V4} key 5000 csum", "csum"),
    (f"encap nvgre payload eth {V4} key 5000 iseq", "iseq"),
    (f"encap gre {V4} encaplimit 4", "encaplimit"),
    (f"encap ip {V4} flowlabel 0x12345", "flowlabel"),
    (f"encap gre {V4} flowlabel inherit", "flowlabel"),
    (f"encap gre {V6} df unset", "df"),
    (f"encap ip {V6} df inherit", "df"),
    (f"encap gre payload eth {V4} allow 10.0.0.0/8", "allow"),
    (f"encap nvgre payload eth {V4} key 5000 allow fd00::/8", "allow"),
    (f"encap gre {V4} tos 0x3", "tos"),
    (f"encap gre {V6} tos 0x12", "tos"),
    (f"encap gre {V4} dev if9999", "dev"),
    (f"encap gre {V4} dev if{FOREIGN_INDEX}", "dev"),
    ("encap gre local 224.0.0.1 remote 192.0.2.9", "local"),
    ("encap gre local 192.0.2.1 remote 239.1.2.3", "remote"),
    ("encap ip local 192.0.2.1 remote 255.255.255.255", "remote"),
    ("encap ip local ff02::1 remote 2001:db8::9", "local"),
    ("encap gre local 2001:db8::1 remote ff0e::1", "remote"),
    ("encap gre local ::ffff:192.0.2.1 remote 2001:db8::9", "local"),
    ("encap gre local ::ffff:192.0.2.1 remote ::ffff:192.0.2.9", "local"),
    ("encap gre local 2001:db8::1 remote fe80::9", "remote"),
    ("encap ip local fe80::1 remote 2001:db8::9", "local"),
    (f"encap ip payload eth {V4}", "payload"),
    (f"encap nvgre payload ip {V4} key 5000", "payload"),
    (f"encap gre {V4} external", "external"),
    (f"encap gre {V4} sport 1000-2000", "sport"),
    (f"encap ip {V4} dport 4789", "dport"),
    (f"encap ip {V4} lport 4789", "lport"),
    (f"encap vxlan key 1 {V4} lport 4790", "lport"),
    (f"encap l2tp key 1 {V4} lport 1702", "lport"),
    (f"encap gre {V4} udpcsum", "udpcsum"),
    (f"encap gre {V4} key 7", "base"),
    (f"encap gre {V4} key 7 ttl 3 tos 0x20 csum", "base"),
    (f"encap gre {V4} ikey 7 okey 8", "base"),
]

# Those only when a tunnel is made: other has what is missing in them.
REFUSED_ADD = [
    ("encap gre", "remote"),
    ("encap ip remote any", "local"),
    ("ttl 5", "encap"),
    (V4, "encap"),
    ("key 5", "encap"),
    ("allow 10.0.0.0/8", "encap"),
    ("icmp-relay off", "encap"),
    ("icmp-memory on", "encap"),
    ("mss auto", "encap"),
    ("encap gre local 192.0.2.1 remote 192.0.2.98", "other"),
]

REFUSED_SET = [
    ("dev other", "dev"),
    ("remote 192.0.2.9 key 7", "base"),
    ("remote 192.0.2.9 ikey 7", "base"),
    ("remote 2001:db8::9", "families"),
    ("remote any local any", "remote"),
    ("payload eth", "payload"),
    ("encap nvgre key 5000", "payload"),
    ("encaplimit 0", "encaplimit"),
    ("encap ip key 5", "key"),
]


MANY = ",".join(f"10.{number}.0.0/16" for number in range(65))

# What cannot even be sent: the grammar refuses it, which is told by status 1.
# That the kernel refuses it, too, is seen in netlink.py.
UNSENDABLE = [
    ("ttl 256", "ttl"),
    ("tos 256", "tos"),
    ("dev nosuch", "dev"),
    ("encap nosuch", "encap"),
    ("key 0x100000000", "key"),
    ("allow 10.0.0.0/33", "allow"),
    ("allow fd00::/129", "allow"),
    ("allow 10.0.0.0/8,", "allow"),
    ("allow nonsense", "allow"),
    ("local 192.0.2", "local"),
    ("icmp-relay loud", "icmp-relay"),
    ("icmp-memory 1", "icmp-memory"),
    ("mss 1", "mss takes a number from 536 to 65534, auto or off"),
    ("mss 535", "mss"),
    ("mss 65535", "mss"),
    ("mss on", "mss"),
    ("mtu 67", "mtu"),
    ("mtu 65536", "mtu"),
    ("encaplimit 257", "encaplimit"),
    ("flowlabel 0x100001", "flowlabel"),
    ("sport 5-4", "sport"),
    ("nosuch", "nosuch"),
    ("key 5 ikey 5", "ikey"),
    ("ttl 5 ttl 6", "ttl"),
]


ADD, SET, BOTH = ["add bad"], ["set other"], ["add bad", "set other"]
TABLES = [(REFUSED, BOTH), (REFUSED_ADD, ADD), (REFUSED_SET, SET)]


def refusals():
    """Every command line to try, and what tries it."""
    for rows, commands in TABLES:
        for words, _ in rows:
            for command in commands:
                yield f"link {command} type xtun {words}", "ip"
                yield f"tunctl {command} {words}", "tunctl"
    for words, _ in UNSENDABLE:
        for command in BOTH:
            yield f"ip link {command} type xtun {words}", "sh"
            yield f"tunctl {command} {words}", "sh"


def judge(host, line, part, statuses):
    """The command was refused, in these words, and has changed nothing."""
    status, text, same = host.said(line)
    ktap.one_of(status, statuses, f"exit status of {line} ({text})")
    ktap.contains(text, part, f"what {line} says")
    ktap.true(same, f"devices are after {line} what they were before")


def refused(host, words, part, commands):
    """Neither ip nor tunctl gets that done, and both say why."""
    for command in commands:
        judge(host, f"link {command} type xtun {words}", part, [1])
        judge(host, f"tunctl {command} {words}", part, [2])


@ktap.table("refused: {0}", REFUSED)
def refuse(host, words, part):
    refused(host, words, part, BOTH)


@ktap.table("refused when made: {0}", REFUSED_ADD)
def refuse_add(host, words, part):
    refused(host, words, part, ADD)


@ktap.table("refused when set: {0}", REFUSED_SET)
def refuse_set(host, words, part):
    refused(host, words, part, SET)


@ktap.table("not sent: {0}", UNSENDABLE)
def unsendable(host, words, part):
    for command in BOTH:
        judge(host, f"ip link {command} type xtun {words}", part, [1, 255])
        judge(host, f"tunctl {command} {words}", part, [1])


@ktap.case("65 prefixes are too many")
def too_many_prefixes(host):
    for words in (["ip", "link", "add", "bad", "type", "xtun"], ["tunctl", "add", "bad"]):
        seen = host.ns.run(*words, *f"encap gre {V6} allow {MANY}".split())
        ktap.true(seen.returncode, f"{words[0]} was refused")
        ktap.contains(seen.stderr, "allow", f"what {words[0]} says")
    ktap.eq(host.ns.ip_json("link", "show"), host.before, "devices afterwards")


@ktap.case("64 prefixes are taken, and come back")
def most_prefixes(host):
    prefixes = MANY.split(",")[:64]
    host.ns.tunctl("add", "many", *f"encap gre {V6}".split(), "allow", ",".join(prefixes))
    ktap.defer(host.ns.ip, "link del many")
    ktap.eq(info(host.ns, "many")["allow"], prefixes, "allow")


# ---- live changes ----

def info(ns, dev):
    return ns.link(dev)["linkinfo"]["info_data"]


# For each family: words, and what is then shown; None for what is not shown
# because it is the default.
COMMON = [
    ("ttl 3", {"ttl": 3}),
    ("ttl inherit", {"ttl": "inherit"}),
    ("ttl 64", {"ttl": None}),
    ("tos 0x20", {"tos": 0x20}),
    ("tos 0", {"tos": 0}),
    ("tos inherit", {"tos": None}),
    ("key 0", {"key": 0}),
    ("ikey 1 okey 2", {"key": None, "ikey": 1, "okey": 2}),
    ("nokey okey 3", {"key": None, "ikey": None, "okey": 3}),
    ("nokey", {"key": None, "ikey": None, "okey": None}),
    ("key 4294967295", {"key": 4294967295}),
    ("csum", {"csum": True}),
    ("noicsum", {"csum": None, "ocsum": True}),
    ("nocsum", {"csum": None, "ocsum": None}),
    ("oseq", {"oseq": True}),
    ("seq", {"oseq": None, "seq": True}),
    ("noseq", {"seq": None}),
    ("fwmark 0x2a", {"fwmark": 0x2a}),
    ("fwmark inherit", {"fwmark": "inherit"}),
    ("fwmark 2 mark-in 1", {"fwmark": 2, "mark-in": 1}),
    ("mark-in keep", {"mark-in": "keep"}),
    ("mark-in clear", {"mark-in": None}),
    ("fwmark none", {"fwmark": None}),
    ("frag outer", {"frag": "outer"}),
    ("frag never", {"frag": "never"}),
    ("frag inner", {"frag": None}),
    ("icmp-relay strict", {"icmp-relay": "strict"}),
    ("icmp-relay off icmp-memory on", {"icmp-relay": "off", "icmp-memory": "on"}),
    ("icmp-relay transparent", {"icmp-relay": None}),
    ("icmp-memory off", {"icmp-memory": "off"}),
    ("icmp-memory auto", {"icmp-memory": None}),
    ("mss 536", {"mss": 536}),
    ("mss 65534", {"mss": 65534}),
    ("mss auto", {"mss": "auto"}),
    ("mss off", {"mss": None}),
    ("mtu 1300", {"mtu": 1300}),
    ("mtu auto", {"mtu": None}),
    ("allow 10.0.0.0/8,fd00::/8", {"allow": ["10.0.0.0/8", "fd00::/8"]}),
    ("allow 10.1.2.3/8", {"allow": ["10.0.0.0/8"]}),
    ("allow any", {"allow": None}),
    ("dev under0", {"dev": "under0"}),
    ("dev none", {"dev": None}),
    ("local any", {"local": "any"}),
    ("encap ip nokey", {"encap": "ip", "key": None}),
    ("encap gre", {"encap": "gre"}),
]

CHANGES = {
    "v4": COMMON + [
        ("df unset", {"df": "unset"}),
        ("df inherit", {"df": "inherit"}),
        ("df set", {"df": None}),
        ("local 192.0.2.1", {"local": "192.0.2.1"}),
        ("remote any", {"remote": "any"}),
        ("remote 192.0.2.55", {"remote": "192.0.2.55"}),
        ("local 2001:db8::1 remote 2001:db8::55", {"local": "2001:db8::1", "remote": "2001:db8::55"}),
    ],
    "v6": COMMON + [
        ("flowlabel 0x12345", {"flowlabel": 0x12345}),
        ("flowlabel 0", {"flowlabel": 0}),
        ("flowlabel inherit", {"flowlabel": "inherit"}),
        ("flowlabel auto", {"flowlabel": None}),
        ("encaplimit 0", {"encaplimit": 0}),
        ("encaplimit 255", {"encaplimit": 255}),
        ("encaplimit none", {"encaplimit": None}),
        ("local 2001:db8::1", {"local": "2001:db8::1"}),
        ("remote any", {"remote": "any"}),
        ("dev under0 remote fe80::9", {"remote": "fe80::9", "dev": "under0"}),
        ("dev none local 192.0.2.1 remote 192.0.2.55",
         {"local": "192.0.2.1", "remote": "192.0.2.55", "dev": None}),
    ],
}


@ktap.table("every attribute changes on a live device, {0}", sorted(CHANGES))
def change(host, family):
    ns = host.ns
    ns.tunnel("live", f"encap gre {ENDS[family]}", "10.8.0.1/24")
    ktap.defer(ns.ip, "link del live")
    expected = dict(info(ns, "live"))
    seen = documents(ns.check("ip", "-j", "-d", "-batch", "-", text="".join(
        f"link set live type xtun {words}\nlink show live\n" for words, _ in CHANGES[family])))
    for (words, shown), links in zip(CHANGES[family], seen):
        expected.update(shown)
        expected = {word: value for word, value in expected.items() if value is not None}
        ktap.eq(links[0]["linkinfo"]["info_data"], expected, words)


# How a device was made, what it is told then, and the payload that it keeps.
OTHER_PAYLOAD = [
    ("encap gre", "payload eth", "ip"),
    ("encap gre payload eth", "payload ip", "eth"),
    ("encap gre", "encap nvgre key 5000 payload eth", "ip"),
    # One that is made without words is for ip; encap vxlan alone would be for eth.
    ("", "encap vxlan key 5", "ip"),
    ("payload ip", "encap vxlan key 5 payload eth", "ip"),
    ("payload eth", "encap gre payload ip", "eth"),
]


@ktap.table("made with \"{0}\", set to \"{1}\": refused, the payload stays {2}", OTHER_PAYLOAD)
def payload(_, made, words, stays):
    peer = net.peer()
    ns = peer.ns
    ends = f"local {ns.v4} remote {peer.v4}"
    ns.ip(f"link add t0 type xtun {made} {ends if 'encap' in made else ''}")
    user = ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
    user.bind(("t0", 3))
    before, type_ = {**ns.link("t0"), "qdisc": "noqueue"}, user.getsockname()[3:]
    ktap.eq(before["link_type"], {"ip": "none", "eth": "ether"}[stays], "type of the device")
    for state in ("down", "up"):
        ns.ip(f"link set t0 {state}")
        told = [ns.refused(f"link set t0 type xtun {words} {'' if 'encap' in made else ends}")[0]]
        seen = ns.run("tunctl", "set", "t0", *words.split(), *ends.split())
        ktap.true(seen.returncode, "tunctl set is refused")
        for text in (*told, seen.stderr):
            ktap.contains(text, "delete it and make it anew", f"refusal while it is {state}")
            ktap.contains(text, f"payload {stays}", "what else can be said")
    ns.ip("link set t0 down")
    ktap.eq(ns.link("t0"), before, "the device afterwards")
    ktap.eq(user.getsockname()[3:], type_, "what a packet socket knows of it")


@ktap.case("a device made without words is for ip, whatever the encapsulation")
def bare_payload(_):
    peer = net.peer()
    ns = peer.ns
    ns.ip("link add t0 type xtun",
          f"link set t0 type xtun encap gre local {ns.v4} remote {peer.v4} payload ip",
          "link set t0 up")
    arrives(ns, "t0", lambda: peer.send(pkt.ip(
        "v4", peer.v4, ns.v4, pkt.gre("v4", pkt.inner("v4", back=True)), pkt.GRE_PROTO)))


def arrives(ns, dev, send):
    """One packet comes out of the tunnel."""
    before = ns.stats(dev)["rx_packets"]
    send()
    ktap.wait_for(lambda: ns.stats(dev)["rx_packets"] == before + 1, f"a packet out of {dev}", 10)


# ---- what rtnetlink has words for ----

# What ip(8) is told beside, and what it shows then.
BESIDE = {
    "txqueuelen 77": {"txqlen": 77},
    "group 5": {"group": "5"},
    "mtu 1300": {"mtu": 1300},
    "numtxqueues 4 numrxqueues 2": {"num_tx_queues": 4, "num_rx_queues": 2},
    "gso_max_size 20000 gso_max_segs 7": {"gso_max_size": 20000, "gso_max_segs": 7},
    "gro_max_size 21000": {"gro_max_size": 21000},
}
BESIDE_ETH = {
    "address 02:00:00:00:00:77": {"address": "02:00:00:00:00:77"},
    "broadcast 02:00:00:00:00:78": {"broadcast": "02:00:00:00:00:78"},
}


@ktap.table("what is said beside the tunnel is kept: {0}",
            ["encap gre", "encap gre payload eth", "encap vxlan key 5", "payload eth", ""])
def beside(_, words):
    ns = net.Namespace("beside")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    ends = "local 192.0.2.1 remote 192.0.2.9" if "encap" in words else ""
    eth = "eth" in words or "vxlan" in words
    given = {**BESIDE, **(BESIDE_ETH if eth else {})}
    ns.ip(f"link add name plain type xtun {words} {ends}")
    plain = ns.link("plain")
    ktap.holds(plain, {"txqlen": 1000, "group": "default", "num_tx_queues": 1,
                       **({"broadcast": "ff:ff:ff:ff:ff:ff"} if eth else {"broadcast": None})},
               "without them")
    ns.ip("link del plain", f"link add name t0 {' '.join(given)} type xtun {words} {ends}")
    expected = {name: value for shown in given.values() for name, value in shown.items()}
    ktap.holds(ns.link("t0"), expected, "the device")


@ktap.table("udev is told that it is of type xtun: {0}", ["encap gre", "encap gre payload eth", ""])
def devtype(_, words):
    ns = net.Namespace("udev")
    ends = "local 192.0.2.1 remote 192.0.2.9" if words else ""
    ns.ip(f"link add name t0 type xtun {words} {ends}")
    # What /sys shows is of the netns that it was mounted in.
    text = ns.check("unshare", "-m", "sh", "-c",
                    "mount -t sysfs sysfs /sys && cat /sys/class/net/t0/uevent")
    ktap.contains(text.splitlines(), "DEVTYPE=xtun", "uevent of the device")


@ktap.table("refused: {1}, {0}", [
    ("encap gre", "broadcast 02:00:00:00:00:78", "only devices with payload eth"),
    ("", "broadcast 02:00:00:00:00:78", "only devices with payload eth"),
    ("encap gre payload eth", "broadcast 192.0.2.1", "not an Ethernet address"),
    ("encap gre", "address 02:00:00:00:00:78", "only devices with payload eth"),
    ("encap gre payload eth", "address 01:00:00:00:00:78", "not an Ethernet address")])
def beside_refused(_, words, beside_, why):
    ns = net.Namespace("beside")
    ends = "local 192.0.2.1 remote 192.0.2.9" if words else ""
    text = ns.refused(f"link add name t0 {beside_} type xtun {words} {ends}")[0]
    ktap.contains(text, beside_.split()[0] + ": ", "refusal")
    ktap.contains(text, why, "refusal")


# ---- not configured ----

@ktap.case("without configuration: no carrier; then it gets one")
def unconfigured(_):
    hosts = net.two()
    near, far = hosts
    near.ip("link add name u0 type xtun", "link set u0 up", "addr add 10.9.0.1/24 dev u0")
    seen = near.link("u0")
    ktap.contains(seen["flags"], "NO-CARRIER", "flags")
    ktap.eq(seen["linkinfo"].get("info_data", {}).get("encap"), None, "encap")
    for words in ("ttl 3", "key 4", f"local {near.v4} remote {far.v4}"):
        ktap.contains(near.refused(f"link set u0 type xtun {words}")[0], "encap", "refusal")
    far.tunnel("t0", f"encap gre local {far.v4} remote {near.v4}", "10.9.0.2/24")
    near.ip(f"link set u0 type xtun encap gre local {near.v4} remote {far.v4}")
    near.wait_running("u0")
    ktap.true(traffic.ping(near, "10.9.0.2"), "a reply")


@ktap.case("without configuration: MTU and payload can be given")
def unconfigured_words(host):
    ns = net.Namespace("bare")
    ns.ip("link add name u0 type xtun mtu 1400", "link add u1 type xtun payload eth")
    ktap.eq([link["mtu"] for link in ns.ip_json("link", "show", "type", "xtun")],
            [1400, 1500], "MTU")
    ktap.eq(ns.link("u1")["link_type"], "ether", "type of u1")


# ---- which tunnel is it for ----

# Most specific first: each takes the packet when those before it are down.
SHAPES = ["local {local} remote {remote} dev under0", "local {local} remote {remote}",
          "local any remote {remote} dev under0", "local any remote {remote}",
          "local {local} remote any dev under0", "local {local} remote any"]

# What tunnels are told beside, and a packet for them.
KINDS = {
    "encap ip": lambda: (pkt.inner("v4"), pkt.IP_IN_IP),
    "encap gre": lambda: (pkt.gre("v4", pkt.inner("v4")), pkt.GRE_PROTO),
    "encap gre key 0": lambda: (pkt.gre("v4", pkt.inner("v4"), key=0), pkt.GRE_PROTO),
    "encap gre key 5": lambda: (pkt.gre("v4", pkt.inner("v4"), key=5), pkt.GRE_PROTO),
    "encap nvgre key 5000": lambda: (pkt.gre("eth", pkt.inner("eth-v4"), key=5000 << 8),
                                     pkt.GRE_PROTO),
}


class Crowd:
    """Tunnels of all kinds and shapes at once; and a decoy on another link."""

    def __init__(self, family):
        self.family = family
        self.peer = net.peer()
        self.ns = self.peer.ns
        self.local, self.remote = getattr(self.ns, family), getattr(self.peer, family)
        self.ns.ip("link add nowhere type dummy", "link set nowhere up")
        self.chains, lines = {}, []
        for kind in KINDS:
            for shape in [*SHAPES, "local {local} remote {remote} dev nowhere"]:
                dev = f"c{len(lines)}"
                self.chains.setdefault(kind, []).append(dev)
                lines.append(f"link add {dev} type xtun {kind} "
                             + shape.format(local=self.local, remote=self.remote))
        self.devs = sum(self.chains.values(), [])
        self.ns.ip(*lines, *(f"link set {dev} up" for dev in self.devs))

    def takes(self, kind):
        """The device that a packet of this kind comes out of."""
        before = self._received()
        payload, proto = KINDS[kind]()
        self.peer.send(pkt.ip(self.family, self.remote, self.local, payload, proto))

        def changed():
            return [dev for dev, count in self._received().items() if count != before[dev]]
        return ktap.wait_for(changed, f"a packet of {kind} somewhere", 10)

    def _received(self):
        seen = self.ns.all_stats()
        return {dev: seen[dev]["rx_packets"] for dev in self.devs}


@ktap.table("the more specific tunnel has it, {0}", ["v4", "v6"])
def specific(_, family):
    crowd = Crowd(family)
    for place in range(len(SHAPES)):
        for kind, chain in crowd.chains.items():
            ktap.eq(crowd.takes(kind), [chain[place]], f"{kind}, {place} tunnels down")
        crowd.ns.ip(*(f"link set {chain[place]} down" for chain in crowd.chains.values()))


# ---- remote any ----

# Underlay, inner family, route: how the peer's address is told as a gateway.
GATEWAYS = [
    ("v4", "v4", "10.20.0.0/16 via 192.0.2.77"),
    ("v4", "v6", "fd00:20::/64 via ::ffff:192.0.2.77"),
    ("v6", "v6", "fd00:20::/64 via 2001:db8:77::1"),
    ("v6", "v4", "10.20.0.0/16 via inet6 2001:db8:77::1"),
]
FAR = {"v4": ("10.20.0.5", "10.21.0.5"), "v6": ("fd00:20::5", "fd00:21::5")}
# For IPv6 not in the network of the link: onlink takes no gateway that is known
# to be elsewhere by another route than the default one.
GATEWAY = {"v4": "192.0.2.77", "v6": "2001:db8:77::1"}


@ktap.table("remote any sends to the gateway: {1} over {0}", GATEWAYS)
def gateway(_, family, inner, route):
    peer = net.peer()
    ns = peer.ns
    peer.add("192.0.2.77")
    ns.ip(f"route add default via {peer.v6}")
    ns.tunnel("t0", f"encap gre local {getattr(ns, family)} remote any",
              "10.9.0.1/24", "fd00:9::1/64")
    ns.ip(f"route add {route} dev t0 onlink",
          f"route add {FAR[inner][1]} dev t0")
    sock = traffic.udp(ns, family=net.family_of(FAR[inner][0]))
    with ns.moves("t0"):
        sock.sendto(b"via", (FAR[inner][0], 7))
        fields = pkt.outer_fields(peer.recv(what="a packet to the gateway"))
    ktap.eq((fields["dst"], fields["proto"]), (GATEWAY[family], pkt.GRE_PROTO), "outer header")
    with ns.moves("t0", tx_no_peer=1):
        sock.sendto(b"no peer", (FAR[inner][1], 7))


# ---- local ----

OWN = {"v4": ("203.0.113.1", 32), "v6": ("2001:db8:99::1", 128)}


@ktap.table("no carrier with a local that this host has no longer, over {0}", sorted(OWN))
def local_gone(_, family):
    near, far = net.two()
    own, bits = OWN[family]
    near.ip(net.address_line("lo", f"{own}/{bits}"))
    far.ip(f"route add {own} via {getattr(near, family)}")
    near.tunnel("t0", f"encap gre local {own} remote {getattr(far, family)}", "10.9.0.1/24")
    far.tunnel("t0", f"encap gre local {getattr(far, family)} remote {own}", "10.9.0.2/24")
    ktap.true(traffic.ping(near, "10.9.0.2"), "a reply with it")
    near.ip(f"addr del {own}/{bits} dev lo")
    ktap.wait_for(lambda: "NO-CARRIER" in near.link("t0")["flags"], "the end of the carrier")
    near.ip(net.address_line("lo", f"{own}/{bits}"))
    near.wait_running("t0")
    ktap.true(traffic.ping(near, "10.9.0.2"), "a reply with it again")


# ---- allow ----

SOURCES = [("v4", "10.9.0.77", True), ("v4", "10.9.1.1", False), ("v4", "10.10.0.1", True),
           ("v4", "10.10.0.2", False), ("v6", "fd00:9::5", True), ("v6", "fd00:a::5", False)]


@ktap.case("allow lets inner sources in, and no others")
def allow(_):
    peer = net.peer()
    ns = peer.ns
    ns.tunnel("t0", f"encap ip local {ns.v4} remote {peer.v4} "
                    "allow 10.9.0.0/24,10.10.0.1/32,fd00:9::/64")

    def send(family, source):
        peer.send(pkt.ip("v4", peer.v4, ns.v4, pkt.inner_packet(family, src=source),
                         pkt.PROTOCOL[family]))
    for family, source, taken in SOURCES:
        if taken:
            arrives(ns, "t0", lambda: send(family, source))
        else:
            with ns.moves("t0", rx_not_allowed=1):
                send(family, source)
    ns.ip("link set t0 type xtun allow any")
    for family, source, _ in SOURCES:
        arrives(ns, "t0", lambda: send(family, source))


# ---- MTU ----

@ktap.case("ip link set mtu pins the MTU, mtu auto lets it follow again")
def mtu(_):
    near, far = net.two()
    near.tunnel("t0", f"encap gre local {near.v4} remote {far.v4}")
    near.ip("link add t1 mtu 1350 type xtun encap gre "
            f"local {near.v4} remote {far.v4} key 1", "link set t1 up")
    ktap.eq((near.mtu("t0"), near.mtu("t1")), (1476, 1350), "MTU at first")
    ktap.eq(info(near, "t0").get("mtu"), None, "mtu of t0")
    ktap.eq(info(near, "t1").get("mtu"), 1350, "mtu of t1")
    near.ip("link set t0 mtu 1300")
    ktap.eq(info(near, "t0").get("mtu"), 1300, "mtu that is pinned")
    near.ip("link set under0 mtu 1450", "link set t1 type xtun mtu auto")
    ktap.wait_for(lambda: near.mtu("t1") == 1422, "t1 following the link")
    ktap.eq(near.mtu("t0"), 1300, "MTU of t0, pinned")
    near.ip("link set t0 type xtun mtu auto")
    ktap.eq(near.mtu("t0"), 1426, "MTU of t0, following")
    ktap.eq(info(near, "t0").get("mtu"), None, "mtu that is not pinned")
    ktap.true(near.refused("link set t0 mtu 67")[0], "67 bytes are refused")
    ktap.true(near.refused("link set t0 mtu 65600")[0], "65600 bytes are refused")
    ktap.eq((near.mtu("t0"), info(near, "t0").get("mtu")), (1426, None), "MTU after refusals")


# ---- changes under traffic ----

# Ten changes of each end.  What one end demands, the other sends by then.
ROUND = [
    ["ttl 3", "tos 0x20", "ocsum", "oseq", "fwmark 5", "mark-in keep"],
    ["icsum", "iseq", "df unset", "frag outer", "local any", "fwmark inherit"],
    ["noicsum", "noiseq", "key {number}", "mtu 1300", "dev under0"],
    ["nocsum", "noseq", "df set", "mtu auto", "allow 10.9.0.0/24"],
]
RESTORE = "ttl 64 tos inherit fwmark none mark-in clear frag inner dev none allow any local {local}"


def tcp_pair():
    near, far = net.two()
    for ns, other, inner in ((near, far, "10.9.0.1/24"), (far, near, "10.9.0.2/24")):
        ns.tunnel("t0", f"encap gre local {ns.v4} remote {other.v4}", inner)
    return near, far


def change_both(near, far, bulk):
    """A hundred and more changes, at both ends, while data moves."""
    count = 0
    for number in range(3):
        for step in ROUND:
            for ns in (near, far):
                ns.ip(*(f"link set t0 type xtun {words.format(number=number)}"
                        for words in step))
                count += len(step)
            bulk.progress()
        for ns in (near, far):
            ns.ip(f"link set t0 type xtun {RESTORE.format(local=ns.v4)}")
    ktap.true(count >= 100, "a hundred changes")


@ktap.case("TCP lives through a hundred changes of both ends")
def hundred(_):
    near, far = tcp_pair()
    # Slow, so that it is the changes that the processor has its time for; a
    # kernel without this queue is slow enough.
    near.run("tc", "qdisc", "add", "dev", "under0", "root", "tbf", "rate", "50mbit",
             "burst", "256kb", "limit", "1mb")
    # Where changes take long, a transfer may end before they do.
    for megabytes in (24, 192, 1536):
        bulk = traffic.Bulk(near, far, "10.9.0.2", megabytes << 20)
        change_both(near, far, bulk)
        outlived = bulk.running()
        bulk.finish()
        if outlived:
            return
    ktap.fail("no transfer lasted as long as the changes")


def batch(lines):
    """A file of commands for ip -batch."""
    file = tempfile.NamedTemporaryFile("w", suffix=".batch")
    file.write("\n".join(lines) + "\n")
    file.flush()
    ktap.defer(file.close)
    return file.name


@ktap.case("two processes change tunnels at once while traffic flows")
def hammer(_):
    near, far = tcp_pair()
    same = f"local {near.v4} remote {far.v4}"
    near.ip(f"link add t1 type xtun encap gre {same} key 9")
    # Harmless to the transfer through t0, whoever comes last.
    mild = ["ttl 9", "dev under0", "csum", "tos 0x40", "local any", "mtu 1400", "nocsum",
            "dev none", f"local {near.v4}", "mtu auto", "frag never", "allow 10.9.0.0/24"]
    # Of the other tunnel: much that is refused, as it would be t0 otherwise.
    wild = ["nokey", "key 1", f"encap ip nokey {same}", "ttl 300", f"encap gre {same}",
            f"local {near.v6} remote {far.v6}", "payload eth", f"key 7 {same}", "tos 1", "oseq"]
    # far must not demand what near sends now and then only.
    bulk = traffic.Bulk(far, near, "10.9.0.1", 32 << 20)
    processes = [near.spawn("ip", "-force", "-batch", batch(
        [f"link set {dev} type xtun {words}" for words in changes * 20]))
        for dev, changes in (("t0", mild), ("t0", mild[::-1]), ("t1", [
            words for words in wild if words not in ("ttl 300", "tos 1")]))]
    for process in processes:
        process.wait()
    near.ip(f"link set t0 type xtun {RESTORE.format(local=near.v4)} nocsum mtu auto")
    bulk.finish()
    ktap.eq(info(near, "t0"), {"encap": "gre", "payload": "ip", "local": near.v4,
                               "remote": far.v4}, "t0 in the end")
    ktap.true(traffic.ping(near, "10.9.0.2"), "a reply")


ktap.main(setup)
