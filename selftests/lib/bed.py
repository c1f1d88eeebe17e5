# SPDX-License-Identifier: GPL-2.0
"""Tunnels of a host whose far ends are all played by the test.

    bed = Bed()
    tunnel = bed.tunnel("encap gre key 7", "v4")
    outer = tunnel.out(inner)           # what the host makes of a packet
    inner = tunnel.into(outer)          # what it delivers of one

Packets go into the device and are taken from it by a packet socket: as they
are, with no route, filter or socket between.  Whoever sends them so is told of
no errors; route() is for those who are.
"""

import contextlib
import socket

from lib import capture, ktap, net, pkt


class Bed:
    """A net.Peer and tunnels, one for each wording, made when asked for.

    Every tunnel has a remote address of its own, so that a packet which is
    too broken to have a key still is for one tunnel only.
    """

    def __init__(self, offloads=False):
        net.load_module()
        self.peer = net.peer(offloads)
        self.ns = self.peer.ns
        self._tunnels = {}
        self._second = None

    def second_link(self):
        """A net.Peer at another link of the same host, under1."""
        with ktap.for_file():
            self._second = self._second or net.peer(second=self.ns)
        return self._second

    def tunnel(self, words, family="v4", peer_of=None):
        """The tunnel with these words over this underlay, up.

        peer_of: another tunnel, whose peer it has too.
        """
        if (words, family) not in self._tunnels:
            number = sum(known == family for _, known in self._tunnels)
            far = peer_of.remote if peer_of else remote(family, number)
            with ktap.for_file():
                self._tunnels[words, family] = Tunnel(self, words, family, number, far)
        return self._tunnels[words, family]


class Tunnel:
    """One tunnel: dev; local and remote; eth: the payload is Ethernet."""

    def __init__(self, bed, words, family, number, far):
        self.peer, self.ns, self.family = bed.peer, bed.ns, family
        self.dev = f"x{family[1]}n{number}"
        self.local, self.remote = getattr(self.ns, family), far
        self.words = words
        self.ns.ip(self.peer.neighbour_line(self.remote),
                   f"link add {self.dev} type xtun {words} local {self.local} "
                   f"remote {self.remote}", f"link set {self.dev} up")
        self.eth = is_eth(words)
        if self.eth:
            # As where a bridge is: whose frames come by is told of errors.
            self.ns.ip(f"link add link {self.dev} name {self.dev}.v type vlan id 4000")
        self._raw = {}
        self._sock = self.ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._capture = capture.Capture(self.ns, self.dev, chatter=True)
        self.sequence = 0         # of the last packet that was sent to it

    def set(self, words):
        """Changes the live device."""
        self.ns.ip(f"link set {self.dev} type xtun {words}")

    def push(self, inner, ethertype=None):
        """The host sends an inner packet, or frame, into the device."""
        inner = bytes(inner)
        if self.eth:
            ethertype = ethertype or int.from_bytes(inner[12:14], "big")
        else:
            ethertype = ethertype or pkt.ETHERTYPE[pkt.version(inner)]
        self._sock.sendto(inner, (self.dev, ethertype))

    def route(self, packet, towards=None):
        """The host sends an IP packet (bytes), for which a route leads to the device.

        towards: the address of that route, if it is not the packet's own.
        """
        kind = pkt.version(packet)
        if kind not in self._raw:
            with ktap.for_file():
                self._raw[kind] = self.ns.socket(
                    {"v4": socket.AF_INET, "v6": socket.AF_INET6}[kind], socket.SOCK_RAW,
                    socket.IPPROTO_RAW)
            self._raw[kind].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                                       self.dev.encode())
        self._raw[kind].sendto(packet, (towards or pkt.outer_fields(packet)["dst"], 0))

    def is_mine(self, outer):
        """Whether the tunnel has sent this packet."""
        fields = pkt.outer_fields(outer)
        return (fields["src"], fields["dst"]) == (self.local, self.remote)

    def next(self):
        """The next packet that the tunnel sends."""
        return self.peer.recv(self.is_mine, f"a packet from {self.dev} ({self.words})")

    def out(self, inner):
        """What the tunnel makes of an inner packet (bytes)."""
        self.peer.drain()
        self.push(inner)
        return self.next()

    def outer(self, payload, proto, **words):
        """An outer packet (scapy) to the tunnel, from its peer."""
        words = {"src": self.remote, "dst": self.local, **words}
        return pkt.ip(self.family, payload=payload, proto=proto, **words)

    def send(self, payload, proto, **words):
        """The peer sends one."""
        self.peer.send(self.outer(payload, proto, **words))

    def delivered(self):
        """What has come out of the tunnel since this was last called."""
        return [frame.data for frame in self._capture.poll() if not frame.outgoing]

    def wait_delivered(self, count=1):
        """Waits for so many packets out of the tunnel; the last of them too."""
        seen = []

        def enough():
            seen.extend(self.delivered())
            return len(seen) >= count
        ktap.wait_for(enough, f"{count} packets out of {self.dev} ({self.words})", 10)
        return seen

    def into(self, outer):
        """What the host delivers of an outer packet: exactly one (bytes)."""
        self.delivered()
        self.peer.send(outer)
        seen = self.wait_delivered()
        ktap.eq(len(seen), 1, "packets delivered")
        return seen[0]

    def inner(self, kind="v4", **words):
        """A packet of a family as the tunnel carries it: in a frame, or as it is."""
        return pkt.inner(f"eth-{kind}" if self.eth else kind, **words)

    @contextlib.contextmanager
    def counts(self, encapsulate, *names):
        """The block moves exactly these counters by one each, delivers nothing.

        A right packet follows, which encapsulate(inner) makes, and is awaited:
        by then all has been counted.
        """
        self.delivered()
        moved = {name: names.count(name) for name in names}
        with self.ns.moves(self.dev, limit=1, **moved):
            yield
            right = self.inner(data=b"the right one behind")
            self.peer.send(encapsulate(right))
            others = []
            while right not in (seen := self.wait_delivered()):
                others += seen
            others += [packet for packet in seen if packet != right]
            ktap.eq([packet.hex() for packet in others], [], "delivered beside the right packet")

    def fragments(self, outer, at=512):
        """The peer sends an outer packet (scapy) in two fragments."""
        whole = bytes(outer)
        header, proto = (20, whole[9]) if self.family == "v4" else (40, whole[6])
        body = whole[header:]
        for start, end in ((0, at), (at, len(body))):
            more, part = end < len(body), body[start:end]
            if self.family == "v4":
                self.send(part, proto, id=77, frag=start // 8, flags="MF" if more else 0)
            else:
                self.send(pkt.IPv6ExtHdrFragment(nh=proto, offset=start // 8, m=int(more),
                                                 id=77) / part, 44)


def is_eth(words):
    """Whether a tunnel with these words carries frames."""
    if "payload" in words:
        return "payload eth" in words
    return any(name in words for name in ("nvgre", "vxlan", "geneve", "l2tp"))


def remote(family, number):
    """The address of the peer of tunnel so-and-so."""
    if family == "v6":
        return f"2001:db8::1:{number:x}"
    ktap.true(number < 140, "there are addresses left")
    return f"192.0.2.{100 + number}"
