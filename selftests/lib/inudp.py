# SPDX-License-Identifier: GPL-2.0
"""What every encapsulation in UDP has to do; its test file says how it looks.

    FORM = inudp.Form(name="vxlan", ...)
    inudp.register(FORM)
    ktap.main(lambda: inudp.Stage(FORM))

Subtests get a Stage: hosts, two of them with an in-tree driver on the other; and
bench, one whose peers are all played by the test.
"""

import collections
import errno
import re
import socket
import struct

from lib import bed, capture, errors, ktap, net, peers, pkt, traffic

FAMILIES = ("v4", "v6")
UDP = 17
WARNING = 0x600000      # of tshark's severities; errors are more

# name: of the encapsulation; words: wordings, with the keys that its header
# has, as header() takes them; port: of a wording, where packets go to; header(payload, kind,
# **fields): the header (bytes or scapy) and what follows, where kind is "v4",
# "v6" or "eth"; length(words, kind): bytes of it; broken: rows of counter, what
# is wrong, wording, fields; modules and pairs: of lib.peers; layers(words): what
# tshark calls the header, None if it knows none; holder(family, port): what has
# the in-tree driver hold a port (ip(8)), and part of its name; beside(family): the
# same for a whole tunnel h0 of the in-tree driver on port 9999, with {local} and
# {remote}.
Form = collections.namedtuple("Form", "name words port header length broken modules pairs "
                              "layers holder beside")


class Stage:
    """Made when it is asked for: not every subtest needs all of it."""

    def __init__(self, form):
        self.form = form
        self._bench = self._hosts = None
        net.load_module()
        net.need_modules(*form.modules, "veth")

    @property
    def bench(self):
        if not self._bench:
            with ktap.for_file():
                self._bench = errors.Bench()
        return self._bench

    @property
    def hosts(self):
        if not self._hosts:
            with ktap.for_file():
                self._hosts = net.two()
        return self._hosts

    def tunnel(self, words, family):
        return self.bench.bed.tunnel(f"encap {self.form.name} {words}".strip(), family)


def senders(form, words):
    """Of errors.SENDERS, those whose packets such a tunnel carries."""
    where = "bridged " if bed.is_eth(f"{form.name} {words}") else ""
    return [f"{where}IP{kind}" for kind in FAMILIES]


def outer(stage, tunnel, inner, kind=None, sport=50000, ip=None, udp=None, **fields):
    """An outer packet (scapy) from a tunnel's peer.

    ip, udp: fields of those headers; fields: of the encapsulation's.
    """
    form, words = stage.form, short(stage, tunnel)
    kind = kind or ("eth" if tunnel.eth else pkt.version(inner))
    header = form.header(inner, kind, **{**form.words[words], **fields})
    ports = {"sport": sport, "dport": arrives(form, words), **(udp or {})}
    return tunnel.outer(pkt.UDP(**ports) / header, UDP, **(ip or {}))


def short(stage, tunnel):
    """The wording as the form has it."""
    return tunnel.words.replace(f"encap {stage.form.name}", "", 1).strip()


def arrives(form, words):
    """The port where the tunnel's packets arrive."""
    found = re.search(r"lport (\d+)", words)
    return int(found[1]) if found else form.port(words)


def counts(stage, tunnel, *names):
    """Tunnel.counts() with right packets of the form."""
    return tunnel.counts(lambda inner: outer(stage, tunnel, inner), *names)


def register(form):
    """The subtests of an encapsulation."""
    rows = [(words, family) for words in form.words for family in FAMILIES]
    _register_peers(form)
    _register_wire(form, rows)
    _register_broken(form, rows)
    _register_several(form)
    _register_tshark(form, rows)
    _register_ports(form)
    _register_errors(form)


# ---- the in-tree driver ----

def _register_peers(form):
    rows = [(pair, peers.text(pair)) for pair in form.pairs]

    @ktap.table("{1}", rows)
    def talk(stage, pair, _):
        peers.talk(stage.hosts, pair)

    @ktap.table("large packets: {1}", rows)
    def large(stage, pair, _):
        peers.large(stage.hosts, pair)

    @ktap.table("large packets in segments: {1}", rows)
    def segments(stage, pair, _):
        peers.segments(stage.hosts, pair)

    @ktap.table("what comes in segments is merged before it is taken off: {1}", [
        next(row for row in rows if row[0].family == family and "noudpcsum" not in row[1]
             and {"v4", "v6"} <= set(peers.families(row[0]))) for family in FAMILIES])
    def merged(stage, pair, _):
        peers.merged(stage.hosts, pair)


# fou and gue share a driver, and their words on its tunnels.
FOU_MODULES = ["fou", "fou6", "ipip", "sit", "ip6_tunnel", "ip_gre", "ip6_gre"]
_FOU_CSUM = {("", "v4"): "encap-csum", ("", "v6"): "encap-udp6-csum",
             (" noudpcsum", "v4"): "noencap-csum", (" noudpcsum", "v6"): "noencap-udp6-csum"}


def fou_pairs(family, words, device, inside, port, rule, back=None):
    """With and without checksum; device: its type; rule: what it takes at the port.

    back: the port where its packets go to, if another.
    """
    kind = words.split()[1]
    for csum in ("", " noudpcsum"):
        encap = (f"encap {kind} encap-sport auto encap-dport {back or port} "
                 f"{_FOU_CSUM[csum, family]}")
        yield peers.Pair(family, words + csum, [(f"{device} {encap}", inside)],
                         [fou_port(family, port, rule)])


def fou_port(family, port, rule):
    return f"{'-6 ' if family == 'v6' else ''}fou add port {port} {rule}"


def fou_beside(family, kind, rule):
    device = {"v4": "ipip", "v6": "ip6tnl mode ipip6 encaplimit none"}[family]
    return [fou_port(family, 9999, rule),
            f"link add h0 type {device} local {{local}} remote {{remote}} encap {kind} "
            "encap-sport auto encap-dport 9999"]


# ---- bytes ----

def _register_wire(form, rows):
    kinds = [(*row, kind) for row in rows for kind in FAMILIES]

    @ktap.table("{0} over {1} sends IP{2} as scapy would", kinds)
    def sent(stage, words, family, kind):
        tunnel = stage.tunnel(words, family)
        inner = tunnel.inner(kind)
        seen = tunnel.out(inner)
        fields = pkt.outer_fields(seen)
        sport = int.from_bytes(seen[fields["header"]:][:2], "big")
        ktap.true(49152 <= sport or "sport" in words, f"source port {sport} is a dynamic one")
        ends = {"src": tunnel.local, "dst": tunnel.remote}
        free = ({"flags": "DF", "id": fields["id"]} if family == "v4" else {"fl": fields["flow"]})
        none = {"chksum": 0} if "noudpcsum" in words else {}
        udp = {"dport": form.port(words), **none}
        expected = outer(stage, tunnel, inner, sport=sport, udp=udp, ip={**ends, **free})
        ktap.eq(seen, bytes(expected), "packet")

    @ktap.table("{0} over {1} takes IP{2} as scapy makes it", kinds)
    def taken(stage, words, family, kind):
        tunnel = stage.tunnel(words, family)
        inner = tunnel.inner(kind)
        with tunnel.ns.moves(tunnel.dev):
            ktap.eq(tunnel.into(outer(stage, tunnel, inner)), inner, "delivered")

    @ktap.table("{0} over {1}: a flow has one source port, flows have many", rows)
    def spread(stage, words, family):
        tunnel = stage.tunnel(words, family)
        at = pkt.IP_LEN[family]

        def port(number):
            seen = tunnel.out(tunnel.inner(sport=number))
            return int.from_bytes(seen[at:at + 2], "big")
        ports = {number: {port(number) for _ in range(3)} for number in pkt.PORTS[:16]}
        ktap.eq([len(each) for each in ports.values()], [1] * 16, "ports of each flow")
        count = len(set.union(*ports.values()))
        ktap.true(count == 1 if "sport 4000" in words else count > 10, f"{count} source ports")

    @ktap.table("{0} over {1}: what fits exactly is sent whole, the MTU says what", rows)
    def exact(stage, words, family):
        tunnel = stage.tunnel(words, family)
        inner = tunnel.inner("v4")
        grown = len(tunnel.out(inner)) - len(inner)
        mtu = 1500 - grown - (14 if tunnel.eth else 0)
        ktap.eq(tunnel.ns.mtu(tunnel.dev), mtu, "MTU")
        for kind, header in (("v4", 28), ("v6", 48)):
            words_of = {"flags": "DF"} if kind == "v4" else {}
            seen = tunnel.out(tunnel.inner(kind, data=bytes(mtu - header), **words_of))
            ktap.eq(len(seen), 1500, "bytes of the largest outer packet")
            # A pinned MTU, so that the device takes it: the path decides.
            tunnel.set("mtu 1600")
            with tunnel.ns.moves(tunnel.dev, tx_too_big=1):
                tunnel.push(tunnel.inner(kind, data=bytes(mtu - header + 1), **words_of))
            tunnel.set("mtu auto")


# ---- broken packets ----

# counter, what is wrong, arguments of outer()
BAD_UDP = [
    ("rx-checksum", "a wrong UDP checksum", {"udp": {"chksum": 0x1234}}),
    ("rx-truncated", "a UDP length of 7", {"udp": {"len": 7, "chksum": 0x1234}}),
    ("rx-truncated", "a UDP length beyond the packet", {"udp": {"len": 2000}}),
    ("none", "another port", {"udp": {"dport": 9}}),
]
STRANGER = {"v4": "192.0.2.99", "v6": "2001:db8::99"}


def _register_broken(form, rows):
    @ktap.table("{0}: {1} ({2} over {3})", [
        (*row[:2], words, family, row[2]) for words, family in rows for row in BAD_UDP
        if not ("noudpcsum" in words and "len" in row[2].get("udp", {}))])
    def bad_udp(stage, name, _, words, family, changes):
        tunnel = stage.tunnel(words, family)
        with counts(stage, tunnel, *([] if name == "none" else [name])):
            tunnel.peer.send(outer(stage, tunnel, tunnel.inner(), **changes))

    @ktap.table("{0} over {1}: another sender's packets are not taken", rows)
    def stranger(stage, words, family):
        tunnel = stage.tunnel(words, family)
        with counts(stage, tunnel):
            tunnel.peer.send(outer(stage, tunnel, tunnel.inner(),
                                   ip={"src": STRANGER[family]}))

    @ktap.table("{0} over {1}: without a UDP checksum, as RFC 6935 has it", rows)
    def no_checksum(stage, words, family):
        tunnel = stage.tunnel(words, family)
        inner = tunnel.inner()
        packet = outer(stage, tunnel, inner, udp={"chksum": 0})
        if family == "v6" and "noudpcsum" not in words:
            with counts(stage, tunnel, "rx-no-checksum"):
                tunnel.peer.send(packet)
        else:
            with tunnel.ns.moves(tunnel.dev):
                ktap.eq(tunnel.into(packet), inner, "delivered")

    @ktap.table("{0} over {1}: bytes behind the UDP packet are not part of it", rows)
    def trailer(stage, words, family):
        tunnel = stage.tunnel(words, family)
        inner = tunnel.inner()
        packet = outer(stage, tunnel, inner) / (b"behind" * 3)
        length = len(bytes(outer(stage, tunnel, inner))) - pkt.IP_LEN[family]
        packet[pkt.UDP].len = length
        packet[pkt.UDP].chksum = outer_checksum(stage, tunnel, inner)
        with tunnel.ns.moves(tunnel.dev):
            ktap.eq(tunnel.into(packet), inner, "delivered")

    @ktap.table("{0}: {1} ({2} over {4})", [
        (name, what, words, fields, family) for name, what, words, fields in form.broken
        for family in FAMILIES])
    def bad_header(stage, name, _, words, fields, family):
        tunnel = stage.tunnel(words, family)
        fields = dict(fields)
        make = fields.pop("inner", None)
        inner = make() if make else tunnel.inner()
        packet = outer(stage, tunnel, inner, **fields)
        if name == "taken":
            with tunnel.ns.moves(tunnel.dev):
                ktap.eq(tunnel.into(packet), inner, "delivered")
            return
        with counts(stage, tunnel, *([] if name == "none" else [name])):
            tunnel.peer.send(packet)

    @ktap.table("headers cut off at every byte: {0} over {1}, inner IP{2}", [
        (*row, kind) for row in rows for kind in FAMILIES])
    def cut(stage, words, family, kind):
        tunnel = stage.tunnel(words, family)
        inner = tunnel.inner(kind)
        whole = bytes(outer(stage, tunnel, inner))
        start = pkt.IP_LEN[family] + 8
        header = form.length(words, kind)
        inside = 14 if tunnel.eth else pkt.IP_LEN[kind]
        wrong = []
        for length in range(header + inside):
            name = "rx-truncated" if length < header or not length else "rx-inner-malformed"
            try:
                with counts(stage, tunnel, name):
                    tunnel.peer.send(tunnel.outer(
                        pkt.UDP(sport=50000, dport=arrives(form, words)) /
                        whole[start:start + length], UDP))
            except ktap.Failed as error:
                wrong.append(f"{length} bytes, {name}: {error}")
        ktap.eq(wrong[:3], [], "wrong after cutting")

    @ktap.table("{0} over {1} takes a packet in outer fragments", rows)
    def fragments(stage, words, family):
        tunnel = stage.tunnel(words, family)
        inner = tunnel.inner("v6", data=bytes(range(256)) * 4)
        tunnel.delivered()
        with tunnel.ns.moves(tunnel.dev):
            tunnel.fragments(outer(stage, tunnel, inner))
            ktap.eq(tunnel.wait_delivered(), [inner], "delivered")


def outer_checksum(stage, tunnel, inner):
    at = pkt.IP_LEN[tunnel.family]
    return int.from_bytes(bytes(outer(stage, tunnel, inner))[at + 6:at + 8], "big")


SOL_UDP, UDP_SEGMENT = 17, 103


def _register_several(form):
    words = next(iter(form.words))

    @ktap.table("several packets that were sent as one are taken, over {0}", FAMILIES)
    def several(stage, family):
        a, b = stage.hosts
        a.tunnel("t0", f"encap {form.name} {words} local {getattr(a, family)} "
                 f"remote {getattr(b, family)}", "10.9.0.1/24")
        ktap.defer(a.ip, "link del t0")
        receiver = traffic.udp(a, "10.9.0.1")
        eth = bed.is_eth(f"{form.name} {words}")
        parts = []
        for text in (b"one", b"two", b"six"):
            inner = pkt.udp("v4", "10.9.0.2", "10.9.0.1", text,
                            dport=receiver.getsockname()[1])
            inner = pkt.frame(inner, dst=a.mac("t0").hex(":")) if eth else bytes(inner)
            parts.append(bytes(form.header(inner, "eth" if eth else "v4", **form.words[words])))
        sender = b.socket(net.family_of(getattr(b, family)), socket.SOCK_DGRAM)
        sender.setsockopt(SOL_UDP, UDP_SEGMENT, len(parts[0]))
        sender.sendto(b"".join(parts), (getattr(a, family), arrives(form, words)))
        ktap.eq([traffic.recv(receiver)[0] for _ in parts], [b"one", b"two", b"six"], "received")
        ktap.eq(a.drops("t0"), {}, "drops")


# ---- tshark ----

def _register_tshark(form, rows):
    @ktap.table("tshark has nothing against what {0} over {1} sends", rows)
    def dissected(stage, words, family):
        tunnel = stage.tunnel(words, family)
        packets = [tunnel.out(tunnel.inner(kind)) for kind in FAMILIES]
        lines = capture.tshark_fields(packets, "frame.protocols", "_ws.expert.severity",
                                      "_ws.expert.message")
        under = {"v4": "raw:ip:udp", "v6": "raw:ipv6:udp"}[family]
        inside = ":eth:ethertype" if tunnel.eth else ""
        layers = form.layers(words)
        # Where the port is nobody's, tshark looks no further.
        ktap.eq([line[0] for line in lines],
                [[f"{under}:data" if layers is None else
                  f"{under}{layers}{inside}:{layer}:udp:data"] for layer in ("ip", "ipv6")],
                "layers")
        # tshark knows nothing of RFC 6935.
        none = "noudpcsum" in words and family == "v6"
        expected = ["Illegal checksum value (0)"] if none else []
        ktap.eq([[text for severity, text in zip(line[1], line[2])
                  if int(severity, 0) >= WARNING] for line in lines], [expected] * 2,
                "complaints")


# ---- ports ----

def _register_ports(form):
    first = next(iter(form.words))
    # The port is said with each.
    kind = re.sub(r"dport \d+", "", f"encap {form.name} {first}").strip()
    default = form.port(first)

    def make(ns, dev, family, words="", dport=default):
        far = {"v4": "192.0.2.2", "v6": "2001:db8::2"}[family]
        return ns.refused(f"link add {dev} type xtun {kind} {words} dport {dport} "
                          f"local {getattr(ns, family)} remote {far}")[0]

    def bound(ns, family, port):
        with ns:
            sock = socket.socket(net.family_of(getattr(ns, family)), socket.SOCK_DGRAM)
        sock.bind(("", port))
        return sock

    @ktap.table("a port over {0} that a program has is refused, and nothing is left", FAMILIES)
    def program(stage, family):
        ns, port = stage.hosts.a, default
        with bound(ns, family, port):
            text = make(ns, "t0", family)
            ktap.contains(text, f"another socket has port {port}", "what is said")
            ktap.eq(ns.refused("link show t0")[0] is None, False, "there is a t0")
        ktap.eq(make(ns, "t0", family), None, "once it is free")
        ktap.defer(ns.ip, "link del t0")

    @ktap.table("a port over {0} is held as long as a tunnel has it", FAMILIES)
    def held(stage, family):
        ns, port = stage.hosts.a, default
        ktap.eq([make(ns, "t0", family), make(ns, "t1", family, "sport 5000-6000", 999)],
                [None, None], "refusals")
        for number in (port, 999):
            ktap.raises(errno.EADDRINUSE, bound, ns, family, number)
        ns.ip("link set t1 type xtun dport 998")
        bound(ns, family, 999).close()
        ktap.raises(errno.EADDRINUSE, bound, ns, family, 998)
        ns.ip("link del t0", "link del t1")
        for number in (port, 998):
            bound(ns, family, number).close()

    @ktap.table("a port over {0} that another encapsulation's tunnel has is refused", FAMILIES)
    def other(stage, family):
        ns, port = stage.hosts.a, default
        encap = "gue" if form.name != "gue" else "geneve key 1"
        far = {"v4": "192.0.2.3", "v6": "2001:db8::3"}[family]
        ns.ip(f"link add t9 type xtun encap {encap} dport {port} remote {far}")
        ktap.defer(ns.ip, "link del t9")
        ktap.contains(make(ns, "t0", family), f"t9 has port {port}", "what is said")
        ktap.eq(make(ns, "t0", family, dport=997), None, "on another port")
        ns.ip("link del t0")

    @ktap.table("a port over {0} that the in-tree driver has is refused by name", FAMILIES)
    def driver(stage, family):
        ns, port = stage.hosts.a, default
        lines, module = form.holder(family, port)
        run_ip(ns, lines)
        text = make(ns, "t0", family)
        ktap.contains(text, f"has port {port}", "what is said")
        ktap.contains(text, module, "who has it")
        ktap.eq(make(ns, "t0", family, dport=996), None, "on another port")
        ns.ip("link del t0")

    @ktap.table("beside a tunnel of the in-tree driver over {0} each gets its own", FAMILIES)
    def beside(stage, family):
        a, b = stage.hosts
        for near, far, last in ((a, b, 1), (b, a, 2)):
            ends = {"local": getattr(near, family), "remote": getattr(far, family)}
            near.tunnel("t0", f"{kind} dport {default} local {ends['local']} "
                        f"remote {ends['remote']}",
                        f"10.9.0.{last}/24")
            ktap.defer(near.ip, "link del t0")
            run_ip(near, [line.format(**ends) for line in form.beside(family)])
            near.ip("link set h0 up", f"addr add 10.8.0.{last}/24 dev h0")
        for address in ("10.9.0.2", "10.8.0.2", "10.9.0.2"):
            ktap.true(traffic.ping(a, address), f"ping {address}")
            traffic.udp_crosses(b, a, f"{address[:-1]}1", 1200)
        ktap.eq(a.drops("t0"), {}, "packets that xtun lost")

    @ktap.table("{0} is refused by name: {1}", [
        ("sport 0-5", "sport"), ("csum", "csum"), ("oseq", "oseq")])
    def refused(stage, words, name):
        ktap.contains(make(stage.hosts.a, "t0", "v4", words), name, "what is said")

    @ktap.table("packets get through while the port is changed, over {0}", FAMILIES)
    def live(stage, family):
        a, b = stage.hosts
        for near, far, last in ((a, b, 1), (b, a, 2)):
            near.tunnel("t0", f"{kind} dport {default} local {getattr(near, family)} "
                        f"remote {getattr(far, family)}", f"10.9.0.{last}/24")
            ktap.defer(near.ip, "link del t0")
        for port in (default, 1111, 2222):
            for ns in (a, b):
                ns.ip(f"link set t0 type xtun dport {port}")
            ktap.true(traffic.ping(a, "10.9.0.2"), f"ping on port {port}")


def run_ip(ns, lines):
    """Lines of ip(8), options and all; what they add goes with the subtest."""
    for line in lines:
        ns.ip(line)
        if " add " in line:
            ktap.defer(ns.ip, line.split(" type ")[0].replace(" add ", " del "))


# ---- errors about outer packets ----

def _register_errors(form):
    # Neither makes a difference to an error, and each error takes its time.
    tunnels = [(f"encap {form.name} {words}".strip(), sender) for words in form.words
               if not any(each in words for each in ("sport", "lport", "noudpcsum"))
               for sender in senders(form, words)]
    rows = [(family, *row) for family in FAMILIES for row in tunnels]
    errors.register(tunnels, lambda stage: stage.bench)

    @ktap.table("{1} over {0}: what was never sent is not believed ({2})", rows)
    def forged(stage, family, words, sender):
        tunnel = stage.bench.tunnel(words, family)
        sent = stage.bench.send(tunnel, sender)
        at = pkt.IP_LEN[family]
        # Source port, destination port, and identification or flow label.
        for place, counter in ((at + 1, "err-forged"), (at + 3, None),
                               (4 if family == "v4" else 2, "err-forged")):
            quote = bytearray(sent.outer)
            quote[place] ^= 0x80
            stage.bench.nothing(tunnel, counter, errors.unreachable(sent, bytes(quote)))
        # Nor one about another flow, whose source port is not this one.
        quote = bytearray(sent.outer)
        inside = len(sent.outer) - len(sent.packet) + pkt.IP_LEN[sent.kind]
        quote[inside + 1] ^= 1
        stage.bench.nothing(tunnel, "err-forged", errors.unreachable(sent, bytes(quote)))

    @ktap.table("{1} over {0}: {2} is told although a program has the source port", rows)
    def shared_port(stage, family, words, sender):
        tunnel = stage.bench.tunnel(words, family)
        sent = stage.bench.send(tunnel, sender)
        at = pkt.IP_LEN[family]
        sport, = struct.unpack_from("!H", sent.outer, at)
        sock = tunnel.ns.socket(net.family_of(tunnel.local), socket.SOCK_DGRAM)
        sock.bind(("", sport))
        sent.told(stage.bench.answers(tunnel, errors.unreachable(sent)),
                  errors.HOST[sent.kind])
