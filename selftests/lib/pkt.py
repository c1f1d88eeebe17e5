# SPDX-License-Identifier: GPL-2.0
"""Packets made and taken apart with scapy; checksums of our own.

scapy takes seconds to load on an emulated machine: it is imported when
first needed, through this module (pkt.IP, pkt.GRE, pkt.Ether...).
"""

import functools
import random
import socket
import struct

_LAYERS = {
    "IP": "inet", "IPOption": "inet", "UDP": "inet", "TCP": "inet", "ICMP": "inet",
    "IPv6": "inet6", "IPv6ExtHdrDestOpt": "inet6", "IPv6ExtHdrFragment": "inet6",
    "IPv6ExtHdrHopByHop": "inet6", "IPv6ExtHdrRouting": "inet6",
    "ICMPv6EchoRequest": "inet6", "ICMPv6EchoReply": "inet6",
    "ICMPv6PacketTooBig": "inet6", "ICMPv6ParamProblem": "inet6",
    "ICMPv6TimeExceeded": "inet6", "ICMPv6DestUnreach": "inet6",
    "ICMPv6Unknown": "inet6", "HBHOptUnknown": "inet6", "PadN": "inet6",
    "Ether": "l2", "ARP": "l2", "Dot1AD": "l2", "Dot1Q": "l2", "GRE": "l2", "GRErouting": "l2",
    "LLC": "l2",
}


def __getattr__(name):
    if name in _LAYERS or name == "Raw":
        return _scapy(name)
    raise AttributeError(name)


def _scapy(name):
    import importlib
    # Both, whichever is asked for: GRE and IP find each other's packets only
    # when all of them are loaded.
    importlib.import_module("scapy.layers.inet")
    importlib.import_module("scapy.layers.inet6")
    module = "scapy.packet" if name == "Raw" else f"scapy.layers.{_LAYERS[name]}"
    layer = getattr(importlib.import_module(module), name)
    globals()[name] = layer
    return layer


IP_IN_IP, IPV6_IN_IP, GRE_PROTO = 4, 41, 47
ETHERTYPE = {"v4": 0x0800, "v6": 0x86dd, "eth": 0x6558}
PROTOCOL = {"v4": IP_IN_IP, "v6": IPV6_IN_IP}


# Bytes of a header without options or extensions.
IP_LEN = {"v4": 20, "v6": 40}


def version(packet):
    """"v4" or "v6", whatever the bytes begin with."""
    return {4: "v4", 6: "v6"}[packet[0] >> 4]


# ---- making ----

def ip(family, src, dst, payload=b"", proto=None, ttl=64, tos=0, **fields):
    """An IP or IPv6 packet (scapy): the same words for both families.

    Further fields are scapy's own names.
    """
    if family == "v4":
        if proto is not None:
            fields["proto"] = proto
        packet = _get("IP")(src=src, dst=dst, ttl=ttl, tos=tos, **fields)
    else:
        if proto is not None:
            fields["nh"] = proto
        packet = _get("IPv6")(src=src, dst=dst, hlim=ttl, tc=tos, **fields)
    return _on(packet, payload)


def _on(lower, upper):
    """lower / upper, where lower is new: scapy's own operator would copy it first."""
    if isinstance(upper, (bytes, bytearray)):
        upper = _get("Raw")(load=bytes(upper))
    else:
        upper = upper.copy()
    lower.add_payload(upper)
    return lower


def udp(family, src, dst, data=b"0123456789abcdef", sport=40000, dport=50000, **words):
    """A whole UDP datagram, checksum and all (scapy)."""
    return ip(family, src, dst, _on(_get("UDP")(sport=sport, dport=dport), data), **words)


# Inner addresses: networks that no underlay of lib/net.py has.
INNER = {"v4": ("10.9.0.1", "10.9.0.2"), "v6": ("fd00:9::1", "fd00:9::2")}
INNER_MACS = ("02:00:00:00:09:01", "02:00:00:00:09:02")

# Ports of which no two are related.  Of one port after the other the tags would
# be so far from each other too, and by chance many of them alike.
PORTS = random.Random(5).sample(range(1024, 49152), 64)


def remembered(make):
    """Decorator: what the function made of the same arguments is returned again.

    For functions that return bytes: scapy takes 20 ms for a frame on an emulated
    machine, and tests want the same few packets again and again.
    """
    known = functools.lru_cache(maxsize=4096)(make)

    @functools.wraps(make)
    def made(*args, **words):
        try:
            return known(*args, **words)
        except TypeError:       # an argument that has no hash, such as a list
            return make(*args, **words)
    return made


@remembered
def inner(family, back=False, data=b"0123456789abcdef", **words):
    """A datagram between the two inner hosts, as bytes.

    back: from the second to the first.  "eth-v4" and "eth-v6": in a frame.
    """
    if family.startswith("eth-"):
        return frame(inner_packet(family[4:], back, data, **words), back)
    return bytes(inner_packet(family, back, data, **words))


def inner_packet(family, back=False, data=b"0123456789abcdef", **words):
    src, dst = reversed(INNER[family]) if back else INNER[family]
    words.setdefault("src", src)
    words.setdefault("dst", dst)
    return udp(family, data=data, **words)


def frame(packet, back=False, **words):
    """An Ethernet frame between the two inner hosts, as bytes."""
    src, dst = reversed(INNER_MACS) if back else INNER_MACS
    return bytes(_on(_get("Ether")(**{"src": src, "dst": dst, **words}), packet))


def gre(proto, payload=b"", key=None, csum=False, seq=None, routing=None, **fields):
    """A GRE header (scapy) and what follows it.

    proto: "v4", "v6", "eth" or a number.  csum: True for the right one, or
    the number to put there.  routing: bytes of the routing field.
    """
    fields["proto"] = ETHERTYPE.get(proto, proto)
    if key is not None:
        fields.update(key_present=1, key=key)
    if csum is not False:
        fields["chksum_present"] = 1
        if csum is not True:
            fields["chksum"] = csum
    if seq is not None:
        fields.update(seqnum_present=1, sequence_number=seq)
    if routing is not None:
        fields["routing_present"] = 1
        payload = routing + bytes(payload)
    return _on(_get("GRE")(**fields), payload)


def dest_options(proto, payload, limit=4):
    """RFC 2473's Tunnel Encapsulation Limit in destination options (bytes)."""
    return bytes([proto, 0, 4, 1, limit, 1, 1, 0]) + bytes(payload)


def icmp(family, src, dst, kind, code, rest=0, body=b""):
    """An ICMP or ICMPv6 message in its packet (bytes), by hand.

    rest: the 32 bits behind the checksum.
    """
    message = struct.pack("!BBHI", kind, code, 0, rest) + bytes(body)
    if family == "v4":
        ends = socket.inet_pton(socket.AF_INET, src) + socket.inet_pton(socket.AF_INET, dst)
        header = struct.pack("!HHIBBH", 0x4500, 20 + len(message), 0, 64, 1, 0) + ends
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        value = checksum(message)
    else:
        ends = socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst)
        header = struct.pack("!IHBB", 6 << 28, len(message), 58, 64) + ends
        value = checksum(ends + struct.pack("!II", len(message), 58) + message)
    return header + message[:2] + struct.pack("!H", value) + message[4:]


def _get(name):
    return globals().get(name) or _scapy(name)


# ---- taking apart ----

def dissect(packet):
    """scapy's view of an IP or IPv6 packet."""
    return _get("IP" if version(packet) == "v4" else "IPv6")(packet)


def outer_fields(packet):
    """The outer header in words that both families share, by hand.

    v4 has df, id, mf and frag beside; v6 flow.  header: length of it and of
    IPv6's extension headers; proto: what follows them; options: those bytes.
    """
    if version(packet) == "v4":
        length, ident, frag, ttl, proto = struct.unpack_from("!HHHBB", packet, 2)
        return {"src": socket.inet_ntop(socket.AF_INET, packet[12:16]),
                "dst": socket.inet_ntop(socket.AF_INET, packet[16:20]),
                "header": (packet[0] & 15) * 4, "length": length, "ttl": ttl,
                "tos": packet[1], "proto": proto, "id": ident,
                "df": frag >> 14 & 1, "mf": frag >> 13 & 1, "frag": frag & 0x1fff,
                "options": packet[20:(packet[0] & 15) * 4]}
    word, length, proto, ttl = struct.unpack_from("!IHBB", packet)
    header = 40
    while proto in (0, 43, 60):
        proto, header = packet[header], header + 8 + 8 * packet[header + 1]
    return {"src": socket.inet_ntop(socket.AF_INET6, packet[8:24]),
            "dst": socket.inet_ntop(socket.AF_INET6, packet[24:40]),
            "header": header, "length": 40 + length, "ttl": ttl,
            "tos": word >> 20 & 0xff, "flow": word & 0xfffff, "proto": proto,
            "options": packet[40:header]}


# ---- checksums, not scapy's ----

def ones_sum(data):
    """The ones' complement sum of 16-bit words (RFC 1071)."""
    data = bytes(data) + bytes(len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def checksum(data):
    return ~ones_sum(data) & 0xffff


def bad_checksums(packet):
    """The checksums of an IP or IPv6 packet that are wrong, by name.

    Inner packets and frames of IP in IP and of GRE are looked at as well.
    """
    packet = bytes(packet)
    fields = outer_fields(packet)
    bad = []
    if version(packet) == "v4" and ones_sum(packet[:fields["header"]]) != 0xffff:
        bad.append("IP header")
    body = packet[fields["header"]:fields["length"]]
    if fields.get("mf") or fields.get("frag"):
        return bad
    return bad + _bad_body(packet, fields, body)


def _bad_body(packet, fields, body):
    proto = fields["proto"]
    if proto in (IP_IN_IP, IPV6_IN_IP):
        return ["inner " + name for name in bad_checksums(body)]
    if proto == GRE_PROTO:
        return _bad_gre(body)
    if proto == 1:
        return [] if ones_sum(body) == 0xffff else ["ICMP"]
    if proto not in (6, 17, 58):
        return []
    if proto == 17 and body[6:8] == b"\0\0":
        return [] if version(packet) == "v4" else ["no UDP"]
    return [] if _pseudo_sum(packet, proto, body) == 0xffff else [f"protocol {proto}"]


def _pseudo_sum(packet, proto, body):
    addresses = packet[12:20] if version(packet) == "v4" else packet[8:40]
    return ones_sum(addresses + struct.pack("!II", proto, len(body)) + body)


def _bad_gre(body):
    flags, proto = struct.unpack_from("!HH", body)
    bad = []
    if flags & 0x8000 and ones_sum(body) != 0xffff:
        bad.append("GRE")
    inner_packet = body[4 + 4 * bin(flags & 0xb000).count("1"):]
    if proto == ETHERTYPE["eth"]:
        proto, inner_packet = struct.unpack_from("!H", inner_packet, 12)[0], inner_packet[14:]
    if proto in (ETHERTYPE["v4"], ETHERTYPE["v6"]):
        bad += ["inner " + name for name in bad_checksums(inner_packet)]
    return bad
