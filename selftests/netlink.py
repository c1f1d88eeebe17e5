#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Netlink as programs see it: the spec in the hands of the kernel tree's own
# client, events, what malformed requests get, long dumps, and who may do what.
import contextlib
import errno
import json
import os
import re
import socket
import struct
import subprocess

from lib import ktap, net, rawnl, ynl
from lib.rawnl import (IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, NESTED,
                       NETLINK_ADD_MEMBERSHIP, NETLINK_GENERIC, NLM_F_CREATE, NLM_F_DUMP,
                       NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE, RTM_NEWLINK,
                       SOL_NETLINK, Raw, attr, attrs_of, nest, u8, u16, u32)

V4 = {"local": socket.inet_pton(socket.AF_INET, "192.0.2.1"),
      "remote": socket.inet_pton(socket.AF_INET, "192.0.2.9")}


def setup():
    net.load_module()
    ns = net.Namespace("host")
    ns.device("under0", "type dummy", "192.0.2.1/24", "2001:db8::1/64")
    return ns


# ---- pyynl ----

# Words of the spec in, and what differs in what is said of it.
YNL_CONFS = [
    {"encap": "gre", **V4, "ikey": 7, "okey": 8, "ttl": 3, "tos": 0x20, "fwmark": 9,
     "mark-in-from": "packet",
     "df": "unset", "frag": "outer", "mtu": 1300},
    {"encap": "gre", "payload": "eth", **V4, "ikey": 0, "mss": 65535, "fwmark-from": "packet",
     "mark-in": 0xffffffff},
    {"encap": "gre", **V4, "icmp-relay": "strict", "icmp-memory": "off", "mss": 1300},
    {"encap": "nvgre", "payload": "eth", **V4, "ikey": 5000, "okey": 5001},
    {"encap": "ip", "local": bytes(15) + b"\1", "remote": bytes(15) + b"\2",
     "flowlabel": 0x12345, "encaplimit": 4,
     "allow": {"prefix": [{"addr": b"\x0a\0\0\0", "len": 8},
                          {"addr": b"\xfd" + bytes(15), "len": 8}]}},
]


@ktap.table("pyynl makes, changes and deletes: {0[encap]}", [(conf,) for conf in YNL_CONFS])
def client(ns, conf):
    family = ynl.client(ns)
    made = family.do("new", {"ifname": "y0", "conf": conf})
    ktap.holds(made["conf"], conf, "what was made")
    seen = family.do("get", {"ifname": "y0"})
    ktap.eq(seen, made, "get, by name")
    ktap.eq(family.do("get", {"ifindex": made["ifindex"]}), made, "get, by index")
    ktap.eq(family.dump("get", {}), [made], "dump")
    ktap.eq(made["device-mtu"], ns.mtu("y0"), "device-mtu")
    family.do("set", {"ifname": "y0", "conf": {"ttl": 77, "nokey": True, "ikey": 5003, "okey": 5003}
                      if conf["encap"] != "ip" else {"ttl": 77}})
    after = family.do("get", {"ifname": "y0"})["conf"]
    ktap.eq(after["ttl"], 77, "ttl")
    ktap.holds(after, {word: value for word, value in conf.items()
                       if word not in ("ttl", "ikey", "okey")}, "what was not changed")
    stats = family.do("stats-get", {"ifname": "y0"})
    drops = {drop["name"]: drop["packets"] for drop in stats["stats"]["drop"]}
    ktap.eq(drops, ns.counters("y0"), "drop reasons")
    ktap.eq(family.dump("stats-get", {}), [stats], "dump of statistics")
    family.do("del", {"ifname": "y0"})
    ktap.eq(family.dump("get", {}), [], "dump in the end")


@ktap.case("pyynl is told of flags by their names")
def flags(ns):
    family = ynl.client(ns)
    everything = {"icsum", "ocsum", "iseq", "oseq"}
    made = family.do("new", {"ifname": "y0", "conf": {
        "encap": "gre", **V4, "flags": {"value": ["icsum", "oseq"], "selector": ["icsum", "oseq"]}}})
    ktap.eq(made["conf"]["flags"], {"value": {"icsum", "oseq"}, "selector": everything}, "flags")
    family.do("set", {"ifname": "y0", "conf": {"flags": {"value": 0, "selector": ["icsum"]}}})
    seen = family.do("get", {"ifname": "y0"})["conf"]["flags"]
    ktap.eq(seen, {"value": {"oseq"}, "selector": everything}, "flags")
    family.do("del", {"ifname": "y0"})


@ktap.case("events tell of what happens, to this netns only")
def events(ns):
    elsewhere = net.Namespace("elsewhere")
    elsewhere.device("under0", "type dummy", "192.0.2.1/24")
    clients = {"here": ynl.client(ns), "there": ynl.client(elsewhere)}
    for one in clients.values():
        one.ntf_subscribe("events")
    ns.ip("link add e0 type xtun encap gre local 192.0.2.1 remote 192.0.2.9",
          "link set e0 type xtun ttl 5", f"link set e0 netns {elsewhere}")
    ns.tunctl("add", "e1", *"encap gre local 192.0.2.1 remote 192.0.2.10 key 6".split())
    ns.tunctl("set", "e1", "mtu", "1300")
    ns.tunctl("del", "e1")
    elsewhere.ip("link del e0")
    expected = {
        "here": [("new-ntf", "e0", 64), ("set-ntf", "e0", 5), ("del-ntf", "e0", 5),
                 ("new-ntf", "e1", 64), ("set-ntf", "e1", 64), ("del-ntf", "e1", 64)],
        "there": [("new-ntf", "e0", 5), ("del-ntf", "e0", 5)],
    }
    seen = {}
    for where, one in clients.items():
        seen[where] = wait_events(one, expected[where][-1][:2])
        # What follows a change of the MTU is told as well; once is enough.
        story = [(event["name"], event["msg"]["ifname"], event["msg"]["conf"]["ttl"])
                 for event in seen[where]]
        ktap.eq([step for place, step in enumerate(story) if step not in story[:place]],
                expected[where], f"events {where}")
    last = seen["here"][-1]["msg"]
    ktap.holds(last["conf"], {"encap": "gre", "ikey": 6, "okey": 6, "mtu": 1300}, "of the last")
    ktap.eq(last["device-mtu"], 1300, "device-mtu of the last")
    ktap.true("link-netnsid" in seen["there"][0]["msg"], "the underlay is told to be elsewhere")


def wait_events(one, last):
    def done():
        one.check_ntf()
        return any((event["name"], event["msg"]["ifname"]) == last for event in one.async_msg_queue)
    ktap.wait_for(done, f"the event {last}", 20)
    return one.async_msg_queue


# ---- requests, byte by byte ----

# Of uapi/linux/xtun.h, by hand: what programs were built with stays as it is.
GET, NEW, SET, DEL, STATS_GET, PATH_GET = 1, 2, 3, 4, 5, 9
A_IFINDEX, A_IFNAME, A_CONF = 1, 2, 3
(ENCAP, PAYLOAD, C_LOCAL, C_REMOTE, LINK, FWMARK, NOKEY, IKEY, OKEY, TTL, TOS, FLOWLABEL,
 ENCAPLIMIT, DF, FRAG, FLAGS, MTU, ALLOW, SPORT_MIN, SPORT_MAX, DPORT, EXTERNAL, ICMP_RELAY,
 ICMP_MEMORY, MSS) = range(1, 26)
LINK_NAME, HIDDEN_ATTR = 33, 38
PREFIX, ADDR, LEN = 1, 1, 2
WAITS_FOR = 13

def name(text):
    return attr(A_IFNAME, text.encode() + b"\0")


class Family(rawnl.Family):
    """The family xtun, as a client without a spec speaks it."""

    def __init__(self, ns):
        super().__init__(ns, "xtun")

    def new(self, conf, dev="bad"):
        return self.do(NEW, name(dev), attr(A_CONF | NESTED, conf))

    def set(self, conf, dev="victim"):
        return self.do(SET, name(dev), attr(A_CONF | NESTED, conf))

    def get(self, dev="victim"):
        """All that is said of the device."""
        seen = self.do(GET, name(dev))
        ktap.eq(seen.errno, 0, f"get {dev}")
        return self.replies[0]

    def exists(self, dev):
        return self.do(GET, name(dev)).errno == 0


class Link(Raw):
    """The same with rtnetlink."""

    def new(self, conf, dev="bad"):
        return self._link(dev, conf, NLM_F_CREATE | NLM_F_EXCL)

    def set(self, conf, dev="victim"):
        return self._link(dev, conf, 0)

    def _link(self, dev, conf, flags):
        info = nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"xtun\0"), attr(IFLA_INFO_DATA, conf))
        return self.ask(RTM_NEWLINK, bytes(16) + attr(IFLA_IFNAME, dev.encode() + b"\0") + info, flags)


GOOD = u32(ENCAP, 2) + attr(C_LOCAL, V4["local"]) + attr(C_REMOTE, V4["remote"])
TEN = struct.pack("=I", 10)


def prefix(data, bits):
    return nest(PREFIX, attr(ADDR, data), u8(LEN, bits))


# What no client may send, beside what is right.
MALFORMED = [
    ("unknown attribute", u32(200, 1)),
    ("attribute 0", u32(0, 1)),
    ("the first attribute that does not exist", u32(MSS + 1, 1)),
    ("a number too short", attr(FWMARK, b"\1\2")),
    ("a number too long", attr(TTL, bytes(4))),
    ("a number of no bytes", attr(IKEY)),
    ("a number as nest", attr(IKEY | NESTED, TEN)),
    ("a flag with a value", attr(NOKEY, TEN)),
    ("encap 0", u32(ENCAP, 0)),
    ("encap 4", u32(ENCAP, 4)),
    ("payload 0", u32(PAYLOAD, 0)),
    ("payload 3", u32(PAYLOAD, 3)),
    ("df 0", u32(DF, 0)),
    ("df 4", u32(DF, 4)),
    ("frag 9", u32(FRAG, 9)),
    ("encaplimit 257", u16(ENCAPLIMIT, 257)),
    ("icmp-relay 0", u32(ICMP_RELAY, 0)),
    ("icmp-relay 4", u32(ICMP_RELAY, 4)),
    ("icmp-memory 0", u32(ICMP_MEMORY, 0)),
    ("icmp-memory 4", u32(ICMP_MEMORY, 4)),
    ("mss 535", u32(MSS, 535)),
    ("mss 65536", u32(MSS, 1 << 16)),
    ("mss of 2 bytes", u16(MSS, 1400)),
    ("an address of 5 bytes", attr(C_REMOTE, bytes(range(5)))),
    ("an address of 17 bytes", attr(C_LOCAL, bytes(range(17)))),
    ("an address of 1000 bytes", attr(C_LOCAL, b"a" * 1000)),
    ("flags of 4 bytes", attr(FLAGS, TEN)),
    ("flags that do not exist", attr(FLAGS, struct.pack("=II", 0x80, 0x80))),
    ("flags that are not selected", attr(FLAGS, struct.pack("=II", 1, 0))),
    ("allow that is no nest", attr(ALLOW, TEN)),
    ("allow without the flag of nests", attr(ALLOW, prefix(TEN, 8))),
    ("unknown attribute in allow", nest(ALLOW, u32(7, 1))),
    ("a prefix without a length", nest(ALLOW, nest(PREFIX, attr(ADDR, TEN)))),
    ("a prefix without an address", nest(ALLOW, nest(PREFIX, u8(LEN, 8)))),
    ("a prefix of nothing", nest(ALLOW, nest(PREFIX))),
    ("a prefix of 33 bits", nest(ALLOW, prefix(TEN, 33))),
    ("a prefix of 129 bits", nest(ALLOW, prefix(bytes(16), 129))),
    ("a prefix of an address of 5 bytes", nest(ALLOW, prefix(bytes(5), 8))),
    ("a prefix without the flag of nests", nest(ALLOW, attr(PREFIX, attr(ADDR, TEN) + u8(LEN, 8)))),
    ("an unknown attribute in a prefix", nest(ALLOW, nest(
        PREFIX, attr(ADDR, TEN), u8(LEN, 8), u32(9, 1)))),
    ("the second prefix is wrong", nest(ALLOW, prefix(TEN, 8), prefix(TEN, 60))),
    ("65 prefixes", nest(ALLOW, *[prefix(TEN, 8)] * 65)),
    ("an attribute that is cut off", attr(IKEY, TEN, length=40)),
    ("an attribute shorter than its header", struct.pack("=HH", 3, IKEY)),
    ("trailing bytes", u8(TTL, 5) + b"\1\2\3"),
    ("a dev of another netns", u32(LINK, 4711)),
    ("a name of a dev without its zero", attr(LINK_NAME, b"under0")),
    ("a name of a dev too long", attr(LINK_NAME, b"a" * 16 + b"\0")),
    ("a name that no dev may have", attr(LINK_NAME, b"a/b\0")),
    ("a dev and another name", u32(LINK, 1) + attr(LINK_NAME, b"under0\0")),
    ("a word for other encapsulations", u16(DPORT, 5)),
]


class Victim:
    """A tunnel that refused requests must not touch."""

    def __init__(self, ns):
        self.clients = {"genl": Family(ns), "rtnl": Link(ns)}
        self.family = self.clients["genl"]
        ktap.eq(self.family.new(GOOD + u32(IKEY, 99), "victim").errno, 0, "a right request")
        ktap.defer(self.family.do, DEL, name("victim"))
        self.before = self.family.get()

    def untouched(self, what):
        ktap.eq(self.family.get(), self.before, f"the tunnel after {what}")
        ktap.true(not self.family.exists("bad"), f"nothing is made by {what}")


@ktap.case("what is malformed is refused, with words, and changes nothing")
def malformed(ns):
    victim = Victim(ns)
    wrong = []
    for what, blob in MALFORMED:
        for api, client_ in victim.clients.items():
            for request, seen in (("new", client_.new(GOOD + blob)), ("set", client_.set(blob))):
                if not seen.errno or not seen.message:
                    wrong.append(f"{what}: {api} {request}: {seen}")
                victim.untouched(f"{what} ({api} {request})")
    ktap.eq(wrong, [], "not refused, or without a word")


# Numbers that tunctl and ip do not let pass, over IPv6, and what the kernel says.
OUT_OF_RANGE = [
    ("flowlabel 0x100001", u32(FLOWLABEL, 0x100001), "flowlabel: it has 20 bits"),
    ("encaplimit 257", u16(ENCAPLIMIT, 257), "encaplimit: 0 to 255"),
    ("mtu 67", u32(MTU, 67), "mtu: 68 to 65535"),
    ("mtu 65536", u32(MTU, 65536), "mtu: 68 to 65535"),
    ("mss 1", u32(MSS, 1), "mss: 536 to 65534"),
    ("mss 535", u32(MSS, 535), "mss: 536 to 65534"),
    ("mss 65536", u32(MSS, 65536), "mss: 536 to 65534"),
]


@ktap.table("a number out of its range is refused by the kernel, too: {0}", OUT_OF_RANGE)
def out_of_range(ns, _, blob, words):
    victim = Victim(ns)
    v6 = (u32(ENCAP, 2) + attr(C_LOCAL, bytes(15) + b"\1") + attr(C_REMOTE, bytes(15) + b"\2"))
    for client_ in victim.clients.values():
        for seen in (client_.new(v6 + blob), client_.set(v6 + blob)):
            ktap.true(seen.errno, "the request is refused")
            ktap.contains(seen.message, words, "what the kernel says")
    victim.untouched("a number out of its range")


@ktap.case("a dev by its name: one that is there, one that comes later, and none")
def link_name(ns):
    family = Victim(ns).family

    def said(conf):
        """Link, its name, and what is waited for, after a change."""
        ktap.eq(family.set(conf).errno, 0, "a right request")
        seen = attrs_of(family.get()[4:])
        conf = attrs_of(seen[A_CONF])
        index, waits = (struct.unpack("=I", found)[0] if found else None
                        for found in (conf.get(LINK), seen.get(WAITS_FOR)))
        return index, conf.get(LINK_NAME), waits
    with ns:
        index = socket.if_nametoindex("under0")
    before = said(b"")[2]
    ktap.eq(said(attr(LINK_NAME, b"under0\0")), (index, b"under0\0", before), "by its name")
    ktap.eq(said(u32(LINK, index) + attr(LINK_NAME, b"under0\0")),
            (index, b"under0\0", before), "by both")
    ktap.eq(said(attr(LINK_NAME, b"later0\0")), (None, b"later0\0", 2), "one that comes later")
    seen = family.new(GOOD + u32(IKEY, 99) + attr(LINK_NAME, b"later0\0"))
    ktap.contains(seen.message, "victim", "refusal of another one that waits for the same")
    ns.ip("link add later0 type dummy", "link set later0 up")
    ktap.defer(ns.ip, "link del later0")
    with ns:
        later = socket.if_nametoindex("later0")
    ktap.eq(said(b""), (later, b"later0\0", before), "when it has come")
    ktap.eq(said(attr(LINK_NAME, b"\0")), (None, None, before), "none, by no name")
    ktap.eq(said(u32(LINK, index)), (index, b"under0\0", before), "by its index")
    ktap.eq(said(u32(LINK, 0)), (None, None, before), "none, by no index")


# Whole requests: command, attributes; beside the conf.
BAD_REQUESTS = [
    ("get without a name", GET, []),
    ("get of an unknown name", GET, [name("nosuch")]),
    ("get of an unknown index", GET, [u32(A_IFINDEX, 0x7fffffff)]),
    ("get of another kind of device", GET, [name("under0")]),
    ("set of another kind of device", SET, [name("lo"), nest(A_CONF, u8(TTL, 3))]),
    ("del of another kind of device", DEL, [name("lo")]),
    ("del without a name", DEL, []),
    ("a name too long", NEW, [name("a" * 16), nest(A_CONF, GOOD)]),
    ("a name without its zero", NEW, [attr(A_IFNAME, b"abcd"), nest(A_CONF, GOOD)]),
    ("a name that no device may have", NEW, [name("a/b"), nest(A_CONF, GOOD)]),
    ("the empty name", NEW, [name(""), nest(A_CONF, GOOD)]),
    ("a name in use", NEW, [name("under0"), nest(A_CONF, GOOD)]),
    ("conf without the flag of nests", NEW, [name("bad"), attr(A_CONF, GOOD)]),
    ("an attribute that new does not take", NEW, [name("bad"), u32(A_IFINDEX, 9)]),
    ("an attribute that get does not take", GET, [name("victim"), nest(A_CONF, GOOD)]),
    ("a netns that is none", NEW, [name("bad"), u32(4, 0), nest(A_CONF, GOOD)]),
    ("a netns that is no file", NEW, [name("bad"), u32(4, 99999), nest(A_CONF, GOOD)]),
    ("an unknown command", 77, []),
]


@ktap.case("wrong requests are refused, with words")
def requests(ns):
    victim = Victim(ns)
    wrong = []
    for what, command, attrs in BAD_REQUESTS:
        seen = victim.family.do(command, *attrs)
        if not seen.errno or not seen.message and command != 77:
            wrong.append(f"{what}: {seen}")
        victim.untouched(what)
    ktap.eq(wrong, [], "not refused, or without a word")


def random_attr(rand, depth=0):
    kind = rand.choice([rand.randrange(0, 30), rand.randrange(0, 30), rand.randrange(1 << 16)])
    if depth < 3 and rand.random() < 0.3:
        data = b"".join(random_attr(rand, depth + 1) for _ in range(rand.randrange(4)))
        kind |= NESTED * (rand.random() < 0.8)
    else:
        data = rand.randbytes(rand.choice([0, 1, 2, 4, 4, 4, 8, 16, 16, rand.randrange(64)]))
    length = 4 + len(data)
    if rand.random() < 0.1:
        length = rand.randrange(1 << 16)
    return attr(kind, data, length)


def damaged(rand, blob):
    """Cut off, or with some bits turned over."""
    blob = bytearray(blob)
    for _ in range(rand.randrange(3)):
        blob[rand.randrange(len(blob))] ^= 1 << rand.randrange(8)
    return bytes(blob[:rand.choice([len(blob), rand.randrange(len(blob))])])


WHOLE = (GOOD + u32(IKEY, 7) + u32(OKEY, 8) + u8(TTL, 3) + u16(ENCAPLIMIT, 256)
         + attr(FLAGS, struct.pack("=II", 3, 3)) + nest(ALLOW, prefix(TEN, 8), prefix(bytes(16), 64)))


@ktap.table("{0} random and {1} damaged requests harm nobody", [(300, 300)])
def fuzz(ns, made_up, damaged_ones):
    rand = ktap.chance("requests")
    victim = Victim(ns)
    blobs = [b"".join(random_attr(rand) for _ in range(rand.randrange(1, 5)))
             for _ in range(made_up)] + [damaged(rand, WHOLE) for _ in range(damaged_ones)]
    taken = 0
    for number, blob in enumerate(blobs):
        client_ = victim.clients[("genl", "rtnl")[number % 2]]
        if not client_.new(blob).errno:
            ktap.eq(victim.family.do(DEL, name("bad")).errno, 0, "deletion of what was made")
        if client_.set(blob).errno:
            victim.untouched(f"blob {number}: {blob.hex()}")
        else:
            taken += 1
            victim.before = victim.family.get()
    ktap.diag(f"{taken} of {len(blobs)} requests were valid")
    # What is shown of it still is a configuration.
    ktap.true(ns.tunctl("show", "victim"), "the tunnel is shown")


# ---- long dumps ----

@ktap.case("a dump has each of 300 tunnels once, with and without statistics")
def dumps(_):
    many = net.Namespace("many")
    names = [f"m{number}" for number in range(300)]
    prefixes = ",".join(f"10.{number}.0.0/16" for number in range(10))
    many.ip(*(f"link add {dev} type xtun encap gre local 192.0.2.1 remote 192.0.2.9 "
              f"key {number} allow {prefixes}" for number, dev in enumerate(names)))
    for command in ("show", "stats"):
        ktap.eq([tunnel["ifname"] for tunnel in many.tunctl(command)], names, f"tunctl {command}")
    shown = many.tunctl("show")
    ktap.eq([tunnel["conf"]["key"] for tunnel in shown], list(range(300)), "keys")
    # Older kernels do not dump links in the order of their making.
    links = sorted(many.ip_json("link", "show", "type", "xtun"), key=lambda link: link["ifindex"])
    ktap.eq([link["linkinfo"]["info_data"] for link in links],
            [tunnel["conf"] for tunnel in shown], "configurations")


class Dump:
    """A dump, of which one piece after the other is asked for."""

    def __init__(self, ns, command):
        # Pieces are as long as a socket was read from, which the other was.
        self._sock = Raw(ns, NETLINK_GENERIC).sock
        self.names, self.interrupted, self.done = [], False, False
        self._sock.send(struct.pack("=IHHII", 20, Family(ns).family, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
                        + struct.pack("=BBH", command, 1, 0))

    def piece(self):
        """The names of tunnels that it has, no more than a page of the kernel's."""
        data, names = self._sock.recv(4096), []
        while data:
            length, kind, flags = struct.unpack_from("=IHH", data)
            self.interrupted |= bool(flags & NLM_F_DUMP_INTR)
            if kind == NLMSG_DONE:
                self.done = True
            else:
                names.append(attrs_of(data[20:length])[A_IFNAME].rstrip(b"\0").decode())
            data = data[length + 3 & ~3:]
        self.names += names
        return names

    def rest(self):
        while not self.done:
            self.piece()


@ktap.table("{0}: who was there all the time is told, once, whoever else goes; and that some went",
            [("get", GET), ("stats-get", STATS_GET), ("path-get", PATH_GET)])
def dump_goes_on(_, __, command):
    many = net.Namespace("many")
    names = [f"m{number}" for number in range(200)]
    many.ip(*(f"link add {dev} type xtun encap gre local 192.0.2.1 remote 192.0.2.9 key {number}"
              for number, dev in enumerate(names)))
    quiet = Dump(many, command)
    quiet.rest()
    ktap.eq((quiet.names, quiet.interrupted), (names, False), "a dump in peace")
    dump = Dump(many, command)
    # When a piece is read the kernel makes the next one.
    told = dump.piece() + dump.piece()
    ktap.true(not dump.done, "there is more")
    many.ip(*(f"link del {dev}" for dev in told[:-1]))
    dump.rest()
    ktap.eq(dump.names, names, "tunnels told")
    ktap.true(dump.interrupted, "it is told that some went")


# ---- namespaces and privilege ----

@ktap.case("a tunnel is made in another netns, and says where its underlay is")
def other_netns(ns):
    inside = net.Namespace("inside")
    family = Family(ns)
    with open(f"/run/netns/{inside}", "rb") as file:
        seen = family.do(NEW, name("n0"), u32(4, file.fileno()), attr(A_CONF | NESTED, GOOD))
    ktap.eq(seen, rawnl.Answer(0, "", None), "new")
    ktap.true(not family.exists("n0"), "it is not here")
    shown, = inside.tunctl("show")
    link = inside.link("n0")
    ktap.eq(shown["link-netnsid"], link["link_netnsid"], "link-netnsid")
    ids = {int(id_): nsname for id_, nsname in re.findall(
        r"nsid (\d+) .*name:? ([^\s)]+)", inside.check("ip", "netns", "list-id"))}
    ktap.eq(ids.get(shown["link-netnsid"]), str(ns), "netns of this id")
    ktap.eq(shown["conf"], link["linkinfo"]["info_data"], "configuration")
    # Within one netns there is nothing to say.
    ns.tunctl("add", "n1", *"encap gre local 192.0.2.1 remote 192.0.2.7".split())
    ktap.defer(ns.ip, "link del n1")
    ktap.true("link-netnsid" not in ns.tunctl("show", "n1")[0], "no id")


TUNNEL = "encap gre local 192.0.2.1 remote 192.0.2.9 key 55".split()


def denied(seen, what):
    ktap.true(seen.returncode, f"{what} is refused")
    ktap.contains(seen.stderr.lower(), "permi" if "privileged" not in seen.stderr else "privileged",
                  f"what is said of {what}")


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]

# Commands that change something, each for both ways to tell it.
ORDERS = [["tunctl", "add", "p0", *TUNNEL], ["ip", "link", "add", "p0", "type", "xtun", *TUNNEL],
          ["tunctl", "set", "guarded", "ttl", "9"],
          ["ip", "link", "set", "guarded", "type", "xtun", "ttl", "9"],
          ["tunctl", "del", "guarded"], ["ip", "link", "del", "guarded"]]


@ktap.case("users without privilege may look and not touch")
def unprivileged(ns):
    ns.tunctl("add", "guarded", *"encap gre local 192.0.2.1 remote 192.0.2.8".split())
    ktap.defer(ns.ip, "link del guarded")
    before = ns.tunctl("show")
    user = NOBODY
    for order in ORDERS:
        denied(ns.run(*user, *order), " ".join(order[:3]))
    for order in (["show"], ["stats", "guarded"]):
        seen = ns.run(*user, "tunctl", *order)
        ktap.eq(seen.returncode, 0, f"tunctl {order} ({seen.stderr})")
    ktap.eq(ns.tunctl("show"), before, "tunnels")


@ktap.case("the root of a user namespace rules its own netns only")
def user_namespace(ns):
    ns.tunctl("add", "guarded", *"encap gre local 192.0.2.1 remote 192.0.2.8".split())
    ktap.defer(ns.ip, "link del guarded")
    before = ns.tunctl("show")
    user = net.UserNamespace(ns)
    for order in ORDERS:
        denied(user.run(*order, own_netns=False), " ".join(order[:3]))
    ktap.eq(ns.tunctl("show"), before, "tunnels of the host")
    for order in ORDERS[:1] + [["tunctl", "set", "p0", "ttl", "9"],
                               ["ip", "link", "set", "p0", "type", "xtun", "tos", "0x20"],
                               ["tunctl", "show", "p0"], ["ip", "link", "del", "p0"]]:
        seen = user.run(*order)
        ktap.eq(seen.returncode, 0, f"{' '.join(order[:3])} in its own netns ({seen.stderr})")


@ktap.case("who was given a tunnel does not rule its underlay")
def given(ns):
    user = net.UserNamespace(ns)
    ns.run("tunctl", "add", "g0", "netns", user.pid, *TUNNEL)
    shown = user.run("tunctl", "-j", "show", "g0").stdout
    ktap.contains(shown, "link-netnsid", "the tunnel that was given")
    for words in ("ttl 9", "key 56", "remote 192.0.2.10", "encap ip nokey"):
        for order in (["tunctl", "set", "g0"], ["ip", "link", "set", "g0", "type", "xtun"]):
            denied(user.run(*order, *words.split()), f"{order[0]} {words}")
    ktap.eq(user.run("tunctl", "-j", "show", "g0").stdout, shown, "the tunnel afterwards")
    ns.run("tunctl", "add", "g1", "netns", user.pid, *"encap gre remote any local 192.0.2.1".split())
    for line in ("link set g1 up", "addr add 10.7.0.1/32 dev g1",
                 "route add 10.8.0.0/16 via 192.0.2.77 dev g1 onlink"):
        seen = user.run("ip", *line.split())
        ktap.eq(seen.returncode, 0, f"ip {line} ({seen.stderr})")
    text = user.run("tunctl", "explain", "10.8.0.1").stdout
    ktap.contains(text, "not privileged", "what tunctl explain says")
    ktap.true("path MTU" not in text, "the underlay's routes are not shown")
    # What is the device's alone is theirs.
    for order in (["ip", "link", "set", "g0", "up"], ["ip", "addr", "add", "10.9.0.1/24", "dev", "g0"],
                  ["tunctl", "del", "g0"]):
        seen = user.run(*order)
        ktap.eq(seen.returncode, 0, f"{' '.join(order[:3])} ({seen.stderr})")


# ---- who may see what ----

L2TP = "encap l2tp-ip local 192.0.2.1 remote 192.0.2.9 key 5 icookie 01020304 ocookie a1b2c3d4e5f60708"


def conf_of(shown):
    """Of what tunctl or ip prints as JSON about one tunnel."""
    one = json.loads(shown)[0]
    return one.get("conf") or one["linkinfo"]["info_data"]


def sees(seen, words, what):
    """The words of a configuration and their values, None: it is not there."""
    ktap.eq(seen.returncode, 0, f"{what} ({seen.stderr})")
    ktap.holds(conf_of(seen.stdout), words, what)


ALL = {"icookie": "01020304", "ocookie": "a1b2c3d4e5f60708", "cookie": None}
HIDDEN = {"icookie": None, "ocookie": None, "cookie": "hidden"}


@ktap.case("cookies are told to who asks and has the right over the underlay")
def cookies(ns):
    user = net.UserNamespace(ns)
    ns.tunctl("add", "s0", *L2TP.split())
    ns.run("tunctl", "add", "s1", "netns", user.pid, *L2TP.replace("key 5", "key 6").split())
    ktap.defer(ns.ip, "link del s0")
    show, ip = ["tunctl", "-j", "show"], ["ip", "-j", "-d", "link", "show"]
    sees(ns.run(*show, "s0"), ALL, "root, tunctl")
    sees(ns.run("nsenter", "-t", user.pid, "-n", *show, "s1"), ALL, "root, where the device is")
    sees(ns.run(*NOBODY, *show, "s0"), HIDDEN, "nobody, tunctl")
    sees(user.run(*show, "s0", own_netns=False), HIDDEN, "another user namespace")
    sees(user.run(*show, "s1"), HIDDEN, "who was given the tunnel")
    # rtnetlink does not know who reads.
    sees(ns.run(*ip, "s0"), HIDDEN, "root, ip")
    sees(user.run(*ip, "s1"), HIDDEN, "who was given the tunnel, ip")
    # A dump is no other way.
    sees(ns.run(*NOBODY, *show), HIDDEN, "nobody, tunctl, all tunnels")
    # Who made it for himself sees it.
    ktap.eq(user.run("tunctl", "add", "own", *L2TP.split()).returncode, 0, "tunctl add")
    sees(user.run(*show, "own"), ALL, "the root of a user namespace, his own")
    # What is printed as hidden is refused with words, by all that take it.
    for order in (["tunctl", "set", "s0"], ["ip", "link", "set", "s0", "type", "xtun"]):
        seen = ns.run(*order, "cookie", "hidden")
        ktap.true(seen.returncode, "cookie hidden is refused")
        ktap.contains(seen.stderr, "may not see the cookie", "refusal")
    flag = attr(HIDDEN_ATTR)
    for client_ in (Family(ns), Link(ns)):
        seen = client_.set(flag, "s0")
        ktap.eq(seen.errno, errno.EOPNOTSUPP, "the flag in a request")
        ktap.contains(seen.message, "hidden: ", "refusal")


@ktap.case("who changes a tunnel without seeing its cookies does not lose them")
def cookies_stay(ns):
    ns.tunctl("add", "s0", *L2TP.split())
    ktap.defer(ns.ip, "link del s0")
    for order in ("ip link set s0 type xtun ttl 9", "ip link set s0 mtu 1300",
                  "ip link set s0 type xtun l2spec none ikey 8", "tunctl set s0 tos 0x20"):
        ktap.eq(ns.run(*order.split()).returncode, 0, order)
        sees(ns.run("tunctl", "-j", "show", "s0"), ALL, f"after {order}")
    # What tunctl show prints makes it again.
    line = ns.check("tunctl", "show", "s0").split()
    before = ns.tunctl("show", "s0")[0]["conf"]
    ns.check("tunctl", "del", "s0")
    ns.check("tunctl", "add", *line)
    ktap.eq(ns.tunctl("show", "s0")[0]["conf"], before, "made again")


@ktap.case("events tell no cookies")
def cookies_events(ns):
    client_ = ynl.client(ns)
    client_.ntf_subscribe("events")
    ns.tunctl("add", "s0", *L2TP.split())
    ns.tunctl("set", "s0", "ttl", "9")
    ns.tunctl("del", "s0")
    told = [event["msg"]["conf"] for event in wait_events(client_, ("del-ntf", "s0"))
            if event["msg"]["ifname"] == "s0"]
    ktap.true(len(told) >= 3, "events")
    for conf in told:
        ktap.eq(({"icookie", "ocookie"} & set(conf), "hidden" in conf), (set(), True), "conf")


@ktap.case("the device of an underlay that is not theirs is not shown to those who were given a tunnel")
def underlay_device(ns):
    user = net.UserNamespace(ns)
    ns.run("tunctl", "add", "d0", "netns", user.pid, *TUNNEL, "dev", "under0")
    index = ns.link("under0")["ifindex"]
    ip = ["ip", "-j", "-d", "link", "show", "d0"]
    sees(user.run("tunctl", "-j", "show", "d0"), {"dev": None, "local": "192.0.2.1"}, "tunctl show")
    sees(user.run(*ip), {"dev": None, "local": "192.0.2.1"}, "ip link")
    link = json.loads(user.run(*ip).stdout)[0]
    ktap.holds(link, {"link_index": None, "link": None}, "the index of the device")
    seen = ns.run("nsenter", "-t", user.pid, "-n", "tunctl", "-j", "show", "d0")
    sees(seen, {"dev": f"if{index}"}, "root, where the device is")


class Nobody:
    """A process without rights that has joined all groups before xtun has one."""

    def __init__(self, ns):
        ours, theirs = socket.socketpair()
        with ns:
            self.pid = os.fork()
            if not self.pid:
                try:
                    os.setresgid(65534, 65534, 65534)
                    os.setresuid(65534, 65534, 65534)
                    self._listen(theirs)
                finally:
                    os._exit(0)
        theirs.close()
        self.pipe = ours
        ktap.defer(self._end)
        ktap.eq(self.pipe.recv(100), b"joined", "the listener")

    @staticmethod
    def _listen(pipe):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        sock.bind((0, 0))
        for group in range(1, 129):
            with contextlib.suppress(OSError):
                sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        sock.setblocking(False)
        pipe.send(b"joined")
        pipe.recv(100)
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(struct.unpack_from("=IH", sock.recv(1 << 16))[1])
        pipe.send(json.dumps(heard).encode())

    def heard(self):
        """The types of the messages so far: numbers of families."""
        self.pipe.send(b"?")
        return json.loads(self.pipe.recv(1 << 16))

    def _end(self):
        self.pipe.close()
        os.waitpid(self.pid, 0)


@ktap.case("events are for those with CAP_NET_ADMIN over the netns")
def listeners(ns):
    user = net.UserNamespace(ns)
    # One that is not refused would listen for ever.
    monitor = ["timeout", "10", "tunctl", "monitor"]
    for what, seen in (("nobody", ns.run(*NOBODY, *monitor)),
                       ("another user namespace", user.run(*monitor, own_netns=False))):
        ktap.true(seen.returncode not in (0, 124), f"{what} is refused ({seen.returncode})")
        ktap.contains(seen.stderr, "not permitted", f"what {what} is told")
    ktap.eq(user.run("tunctl", "add", "p1", *TUNNEL).returncode, 0, "tunctl add")
    process = user.spawn("tunctl", "monitor")

    def hears():
        for ttl in ("9", "64"):
            user.run("tunctl", "set", "p1", "ttl", ttl)
        return "set p1" in process.output()
    ktap.wait_for(hears, "an event in his own netns")


@ktap.case("who has joined the group before there was one is out")
def early_listeners(_):
    subprocess.run(["rmmod", "xtun"], check=True)
    ns = net.Namespace("early")
    ns.device("under0", "type dummy", "192.0.2.1/24")
    early = Nobody(ns)
    net.load_module()
    client_ = ynl.client(ns)
    client_.ntf_subscribe("events")
    ns.tunctl("add", "e0", *TUNNEL)
    ns.tunctl("del", "e0")
    wait_events(client_, ("del-ntf", "e0"))
    heard = early.heard()
    # It does hear what is for everybody, of the controller for one.
    ktap.true(16 in heard, f"others' events ({heard})")
    ktap.true(Family(ns).family not in heard, "no event for a process without rights")


ktap.main(setup)
