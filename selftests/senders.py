#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Whoever has sent an inner packet is told what went wrong with it: on the
# ingress or behind it, behind NAT, in other namespaces and VRFs than the
# underlay's, or at an Ethernet that is bridged to the tunnel.
#
# On net.Path with trouble.Underlay; the tunnels have no other end.
import socket
import struct

from lib import bed, capture, errors, ktap, net, pkt, traffic, trouble
from lib.trouble import EACH, FAMILIES, KINDS, OTHER_ROWS

PEERS = {family: trouble.peer(family, 1) for family in FAMILIES}

# What the senders talk to: inside the tunnel, and at a bridged Ethernet.
TARGETS = {"v4": "10.9.0.2", "v6": "fd00:9::2"}
FAR_MAC = "02:00:00:00:00:02"


class Home(trouble.Wire):
    """Senders on the machine of the tunnel: their packets are seen on its device,
    and errors by sockets that hear all of ICMP.

    The kernel has looked at the checksums of what these hear.
    """

    def __init__(self, ns, dev):
        super().__init__(ns, dev)
        self._ears = {family: ns.socket(net.family_of(TARGETS[family]), socket.SOCK_RAW, proto)
                      for family, proto in (("v4", socket.IPPROTO_ICMP),
                                            ("v6", socket.IPPROTO_ICMPV6))}
        for ear in self._ears.values():
            ear.setblocking(False)
        self._heard = []

    def clear(self):
        super().clear()
        self.errors()
        self._heard = []

    def errors(self):
        for family, ear in self._ears.items():
            while True:
                try:
                    data, source = ear.recvfrom(1 << 16)
                except BlockingIOError:
                    break
                self._heard.append(trouble.parse(data) if family == "v4" else
                                   trouble.parse_icmpv6(data, source[0]))
        # Those that come from the underlay are not for the sender.
        self._heard = [error for error in self._heard if error and pkt.outer_fields(
            error.quote)["dst"] not in PEERS.values()]
        return self._heard

    def close(self):
        self.capture.close()
        for ear in self._ears.values():
            ear.close()


class Place:
    """Where a sender is.

    wire: of his errors.  own: the addresses of the ingress, by family, that an
    error to him may come from.  hops: routers before the tunnel; extra: bytes
    of VLAN tags; words: of sockets there.
    """

    def __init__(self, ns, wire, own, hops=0, extra=0, targets=None, **words):
        self.ns, self.wire, self.own, self.hops, self.extra = ns, wire, own, hops, extra
        self.targets, self._words = targets or TARGETS, words

    def options(self, _):
        """Of sockets there."""
        return self._words


class Lab:
    def __init__(self):
        net.load_module()
        self.path = net.path()
        self.underlay = trouble.Underlay(self.path)
        self.a, self.ingress = self.path.a, self.path.ingress
        # Errors come when who has sent is not at work any more.
        self.ingress.check(*"tc qdisc add dev under0 root netem delay 5ms".split())
        net.veth(self.a, "lan1", self.ingress, "lan1", link_local=False)
        self.ingress.ip("link add br0 type bridge mcast_snooping 0", "link set br0 up",
                        "link set lan1 master br0")
        # Whole checksums, as in a quote.
        for dev in ("lan0", "lan1"):
            self.a.check("ethtool", "-K", dev, "tx", "off")
        self._scenes = {}
        self._current = None

    def place(self, scene, name, words, family):
        """A Place of a scene, with a tunnel of these words."""
        if (scene, words, family) != self._current:
            self._leave()
            if scene not in self._scenes:
                with ktap.for_file():
                    self._scenes[scene] = SCENES[scene](self)
            self._scenes[scene].enter(words, family)
            self._current = scene, words, family
        self.scene = self._scenes[scene]
        return self.scene.places[name]

    def _leave(self):
        if self._current:
            self._scenes[self._current[0]].leave()
            self._current = None


def peer_lines(words, targets, dev):
    """Neighbours, where there are any, that nobody has to ask for."""
    if not bed.is_eth(words):
        return []
    return [f"neigh replace {address} lladdr {FAR_MAC} dev {dev} nud permanent"
            for address in targets.values()]


class Scene:
    """A tunnel t0, in its surroundings, and the senders at places there."""

    master = None       # of the tunnel's device

    def __init__(self, lab):
        self.lab = lab
        self.ns = lab.ingress   # where the tunnel's device is
        self.places = {}
        self._home = None
        self.words = None
        self.build()

    def build(self):
        """What stays when the tunnel goes."""

    def enter(self, words, family):
        self.words = words
        ingress = self.lab.ingress
        ingress.ip(f"link add t0 type xtun {words} ttl inherit local {getattr(ingress, family)} "
                   f"remote {PEERS[family]}",
                   *([f"link set t0 netns {self.ns}"] if self.ns is not ingress else []))
        self.ns.ip(*([f"link set t0 master {self.master}"] if self.master else []),
                   *self.addresses(words))
        self.settle()
        with ktap.for_file():
            self.arrange(words)

    def addresses(self, words):
        return ["link set t0 up", net.address_line("t0", "10.9.0.1/24"),
                net.address_line("t0", "fd00:9::1/64"), *peer_lines(words, TARGETS, "t0")]

    def forget(self):
        """Nobody knows anything about paths through the tunnel any more."""
        self.ns.ip("addr del 10.9.0.1/24 dev t0", "addr del fd00:9::1/64 dev t0",
                   *self.addresses(self.words))
        self.settle()

    def settle(self):
        """The kernel makes the route to an IPv6 address a moment after the address."""
        where = f" vrf {self.master}" if self.master else ""
        ktap.wait_for(lambda: self.ns.ip(f"route get fd00:9::1{where}").startswith("local "),
                      "the route to the tunnel's own address")

    def arrange(self, words):
        """Sets the places up; a home is one for as long as the device."""

    def home(self, **words):
        self._home = Home(self.ns, "t0")
        own = {"v4": ["10.9.0.1"], "v6": ["fd00:9::1"]}
        return Place(self.ns, self._home, own, **words)

    def leave(self):
        if self._home:
            self._home.close()
            self._home = None
        self.ns.ip("link del t0")


OWN = {"v4": ["10.1.0.1"], "v6": ["fd00:1::1"]}     # of the ingress, where a is


class Plain(Scene):
    def build(self):
        self.places["routed"] = Place(self.lab.a, trouble.Wire(self.lab.a, "lan0"), OWN, 1)

    def arrange(self, words):
        self.places["local"] = self.home()
        self.places["local, from another address"] = OtherAddress(
            self.ns, self.places["local"].wire, OWN)


class OtherAddress(Place):
    """Senders whose address is not the tunnel's."""

    def options(self, family):
        return {"source": self.own[family][0]}


class Masquerade(Plain):
    """a is hidden behind the tunnel's addresses.

    The error comes from the address that it went to before it was led back.
    """

    rules = ["masquerade"]
    ports = range(1024, 65536)

    def build(self):
        super().build()
        hidden = self.places.pop("routed")
        hidden.own = {"v4": ["10.1.0.1", "10.9.0.1"], "v6": ["fd00:1::1", "fd00:9::1"]}
        self.places["hidden"] = hidden

    def arrange(self, words):
        self.inside = capture.Capture(self.ns, "t0")
        rules = "\n".join(f"oifname t0 {rule}" for rule in self.rules)
        self.ns.check("nft", "-f", "-", text=f"""table inet hide {{
            chain out {{
                type nat hook postrouting priority 100;
                {rules}
            }}
        }}""")

    def forget(self):
        """There is nothing: the ingress learns nothing for those whom it hides.

        Without its address it would soon forget them too, even those of a moment later.
        """

    def leave(self):
        self.ns.check("nft", "delete table inet hide")
        self.inside.close()
        super().leave()


class OtherPorts(Masquerade):
    """And each connection has another port."""

    ports = range(1024, 2048)           # never a socket's own choice
    rules = [f"meta l4proto {proto} masquerade to :1024-2047" for proto in ("tcp", "udp")]


class Moved(Scene):
    """The device is in another namespace, and a host c behind that."""

    def build(self):
        self.ns = net.Namespace("inside")
        self.ns.forward()
        host = lan(self.ns, "lan0", 5)
        trouble.unlimited(self.ns, host)
        self.places["routed"] = Place(host, trouble.Wire(host, "lan0"),
                                      {"v4": ["10.5.0.1"], "v6": ["fd00:5::1"]}, 1)

    def arrange(self, words):
        self.places["local"] = self.home()


class Vrf(Scene):
    """The device is in a VRF, with another port of that and a host behind it."""

    master = "red"

    def build(self):
        self.ns.ip("link add red type vrf table 1000", "link set red up")
        host = lan(self.ns, "lan2", 4, "red")
        trouble.unlimited(host)
        self.places["routed"] = Place(host, trouble.Wire(host, "lan0"),
                                      {"v4": ["10.4.0.1"], "v6": ["fd00:4::1"]}, 1)

    def arrange(self, words):
        self.places["local"] = self.home(dev="red")


def lan(router, dev, number, master=None):
    """A host behind the router's device."""
    host = net.Namespace("c")
    net.veth(host, "lan0", router, dev, link_local=False)
    host.check("ethtool", "-K", "lan0", "tx", "off")
    router.ip(*([f"link set {dev} master {master}"] if master else []),
              *(net.address_line(dev, address) for address in (
                  f"10.{number}.0.1/24", f"fd00:{number}::1/64", "fe80::1/64")))
    host.ip(*(net.address_line("lan0", address) for address in (
                f"10.{number}.0.2/24", f"fd00:{number}::2/64", "fe80::2/64")),
            f"route add 0.0.0.0/0 via 10.{number}.0.1", f"route add ::/0 via fd00:{number}::1")
    return host


class Bridge(Scene):
    """a has a link to a bridge without any address, where the tunnel is a port."""

    tag = ""
    master = "br0"

    def build(self):
        a, dev = self.lab.a, f"lan1{self.tag}"
        if self.tag:
            a.ip(f"link add {dev} link lan1 type vlan id {self.tag[1:]}", f"link set {dev} up")
        number = 2 if self.tag else 1
        targets = {"v4": f"10.3.{number}.2", "v6": f"fd00:3:{number}::2"}
        a.ip(net.address_line(dev, targets["v4"][:-1] + "1/24"),
             net.address_line(dev, targets["v6"][:-1] + "1/64"),
             *peer_lines(trouble.ETH[0], targets, dev))
        # As if from the destination.
        self.places["bridged"] = Place(
            a, trouble.Wire(a, dev), {family: [target] for family, target in targets.items()},
            0, 4 if self.tag else 0, targets)

    def addresses(self, words):
        # A bridge forwards nothing that is longer than a port's MTU and tells nobody.
        return ["link set t0 mtu 1500", "link set t0 up"]

    def forget(self):
        pass

    def settle(self):
        pass


class Tagged(Bridge):
    tag = ".5"


SCENES = {"plain": Plain, "masquerade": Masquerade, "masquerade to other ports": OtherPorts,
          "moved": Moved, "VRF": Vrf, "bridge": Bridge, "bridge and VLAN tag": Tagged}


def setup():
    return Lab()


# ---- each sender, each cause ----

CAUSES = ("a TTL that runs out", "an unreachable route", "a prohibiting route", "a narrow link")
PLACES = [("plain", "local"), ("plain", "local, from another address"),
          ("plain", "routed"), ("masquerade", "hidden"),
          ("masquerade to other ports", "hidden"), ("moved", "local"), ("moved", "routed"),
          ("VRF", "local"), ("VRF", "routed"), ("bridge", "bridged"),
          ("bridge and VLAN tag", "bridged")]


# Linux looks for the socket by the port of the VRF, to which it is not bound,
# when IPv4's error was made here: that of a rule with "reject" as well.
NO_TCP = ("VRF", "local", "v4")


def rows():
    """Those of one scene with the same tunnel follow each other."""
    for scene in SCENES:
        for words in KINDS:
            if "bridge" in scene and not bed.is_eth(words):
                continue
            for family in FAMILIES:
                for name in (place for which, place in PLACES if which == scene):
                    for cause in CAUSES:
                        for inner in FAMILIES:
                            yield scene, name, words, family, cause, inner
        yield from other_rows(scene)


# For the other encapsulations, one in each scene.
OTHERS_PLACES = {"plain": "routed", "masquerade": "hidden", "moved": "routed", "VRF": "routed",
                 "bridge": "bridged"}


def other_rows(scene):
    if scene not in OTHERS_PLACES:
        return
    for words, family in OTHER_ROWS:
        if scene != "bridge" or bed.is_eth(words):
            for number, cause in enumerate(CAUSES):
                yield scene, OTHERS_PLACES[scene], words, family, cause, FAMILIES[number % 2]


@ktap.table("{0}: {4}: a sender of {5}, {1}, through {2} over {3}", list(rows()))
def told(lab, scene, name, words, family, cause, inner):
    place = lab.place(scene, name, words, family)
    longer = trouble.headers(words, family) + place.extra
    target, own = place.targets[inner], place.own[inner]
    place.wire.clear()
    info = 0
    options = {**place.options(inner), "dscp": trouble.DSCP[family].get(cause, 0)}
    if cause == "a narrow link":
        info = trouble.NARROW - longer
        error = trouble.TOO_BIG[inner]
        lab.underlay.forget(family)
        lab.scene.forget()
        data = bytes(1500 - longer - pkt.IP_LEN[inner] - 8)
        senders = [trouble.Udp(place.ns, target, data, "probe", **options)]
    else:
        if cause == "a TTL that runs out":
            error = trouble.TIME[inner]
            options["ttl"] = place.hops + 1
        else:
            outer = trouble.CAUSES[family][cause].errors[family]
            error = trouble.TOLD[family][outer][inner]
        senders = [trouble.Udp(place.ns, target, **options)]
        if (scene, name, inner) != NO_TCP:
            senders.append(trouble.Tcp(place.ns, target, **options))
    for sender in senders:
        sender.told(error, own, info)
    seen = place.wire.told(target, error, own, place.hops, info, (family, longer))
    if "bridge" in scene:
        from_destination(lab, seen)
    if "masquerade" in scene:
        was_hidden(lab, inner, len(seen))


def from_destination(lab, seen):
    """The frames are what the destination itself would have sent."""
    for error in seen:
        ktap.eq(error.frame.data[:12], lab.a.mac("lan1") + bytes.fromhex(FAR_MAC.replace(":", "")),
                "MAC addresses")


def was_hidden(lab, inner, count):
    """In the tunnel the packets had another source, and a port of the range."""
    inside = lab.scene.inside
    ports = lab.scene.ports
    packets = [packet for packet in inside.packets(True)
               if pkt.outer_fields(packet)["dst"] == TARGETS[inner]]
    ktap.true(len(packets) >= count, f"{count} packets in the tunnel")
    for packet in packets:
        fields = pkt.outer_fields(packet)
        ktap.eq(fields["src"], {"v4": "10.9.0.1", "v6": "fd00:9::1"}[inner], "source in the tunnel")
        ktap.one_of(struct.unpack_from("!H", packet, fields["header"])[0], ports, "its port")
    inside.clear()


# ---- NAT that has to tell two senders apart ----

class Echo(trouble.Raw):
    """An echo request with a number."""

    def __init__(self, ns, dst, source, **words):
        v4 = trouble.family(dst) == "v4"
        message = struct.pack("!BBHHH", 8 if v4 else 128, 0, 0, source[1], 1) + b"Is anybody there?"
        if v4:                  # for IPv6 the kernel does it
            message = message[:2] + struct.pack("!H", pkt.checksum(message)) + message[4:]
        super().__init__(ns, dst, socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6, message,
                         source=source[0], **words)

    def is_mine(self, data):
        return data[:2] + data[4:] == self.data[:2] + self.data[4:]


NUMBER = 5555
ALIKE = {"UDP": (trouble.Udp, 0), "TCP": (trouble.Tcp, 0), "echo": (Echo, 4)}


@ktap.table("{0} over {1}: {2} of two hidden senders of {3} with the same number", [
    (*row, kind, inner) for row in EACH for kind in ALIKE for inner in FAMILIES])
def alike(lab, words, family, kind, inner):
    place = lab.place("masquerade", "hidden", words, family)
    own = getattr(lab.a, inner)
    other = own[:-1] + "3"
    lab.a.ip(net.address_line("lan0", other + ("/24" if inner == "v4" else "/64")))
    ktap.defer(lab.a.ip, f"addr del {other}{'/24' if inner == 'v4' else '/64'} dev lan0")
    place.wire.clear()
    lab.scene.inside.clear()
    make, offset = ALIKE[kind]
    cause = "an unreachable route"
    error = trouble.TOLD[family][trouble.CAUSES[family][cause].errors[family]][inner]
    senders = [make(lab.a, TARGETS[inner], source=(address, NUMBER),
                    dscp=trouble.DSCP[family][cause]) for address in (own, other)]
    for sender in senders:
        sender.told(error, place.own[inner])
    place.wire.told(TARGETS[inner], error, place.own[inner], 1)
    numbers = {packet[pkt.outer_fields(packet)["header"] + offset:][:2]
               for packet in lab.scene.inside.packets(True)
               if pkt.outer_fields(packet)["dst"] == TARGETS[inner]}
    ktap.eq(len(numbers), 2, "numbers in the tunnel")


# ---- frames ----

@ktap.table("{0} over {1}: a frame without IP is not answered", [
    (words, family) for words in trouble.ETH for family in FAMILIES])
def no_ip(lab, words, family):
    place = lab.place("bridge", "bridged", words, family)
    link = lab.a.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind(("lan1", 0))
    seen = capture.Capture(lab.a, "lan1", chatter=True)
    ktap.defer(seen.close)
    frame = bytes.fromhex(FAR_MAC.replace(":", "")) + lab.a.mac("lan1")
    before = lab.ingress.counters("t0")["err-mute"]
    # ARP, LLDP, and two bytes that are no IP.
    for rest in (b"\x08\x06" + bytes(28), b"\x88\xcc" + bytes(40), b"\x08\x00" + bytes(40)):
        link.send(frame + rest)
    ktap.wait_for(lambda: lab.ingress.counters("t0")["err-mute"] >= before + 3,
                  "errors about the three frames")
    # An error that is told comes behind them.
    dscp = trouble.DSCP[family]["no route"]
    trouble.Udp(lab.a, place.targets["v4"], dscp=dscp).told(
        trouble.NET["v4"], place.own["v4"])
    seen.poll()
    ktap.eq([each.data[12:14] for each in seen.frames if not each.outgoing], [b"\x08\x00"],
            "types of frames that came")


@ktap.table("{0} over {1}: the system's limit of errors to a bridged sender of {2} holds", [
    (*row, inner, 10 + number) for number, row in enumerate(zip(trouble.ETH, ("v6", "v4")))
    for inner in FAMILIES])
def limits(lab, words, family, inner, last):
    place = lab.place("bridge", "bridged", words, family)
    place.wire.clear()
    ktap.defer(lab.ingress.sysctl, errors.UNLIMITED)
    # Six at once, and then one each ten seconds.
    lab.ingress.sysctl({**errors.LIMITED, "net.ipv4.icmp_ratelimit": 10000,
                        "net.ipv6.icmp.ratelimit": 10000})
    before = lab.ingress.counters("t0")["err-relayed"]
    # The limit is each receiver's own.
    source = f"{place.targets[inner][:-1]}{last}"
    lab.a.ip(net.address_line("lan1", f"{source}/{32 if inner == 'v4' else 128}"))
    sender = trouble.Udp(lab.a, place.targets[inner], source=source,
                         dscp=trouble.DSCP[family]["no route"])
    sender.repeat(59)
    ktap.wait_for(lambda: lab.ingress.counters("t0")["err-relayed"] == before + 60,
                  "60 errors from the router")
    ktap.true(traffic.ping(lab.a, "10.1.0.1"), "a reply from the ingress")
    count = len(place.wire.errors())
    ktap.true(0 < count <= 20, f"few errors for the sender: {count}")


ktap.main(setup)
