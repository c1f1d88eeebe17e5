# SPDX-License-Identifier: GPL-2.0
"""Netlink byte by byte: requests that no client makes, and what no client shows.

    raw = rawnl.Raw(ns)
    seen = raw.ask(RTM_NEWLINK, bytes(16) + rawnl.attr(IFLA_IFNAME, b"t0\0"))
    ktap.eq(seen.errno, 0, seen.message)
"""
import collections
import socket
import struct

from . import ktap

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE, NLM_F_EXCL = 1, 4, 0x300, 0x400, 0x200
NLM_F_DUMP_INTR, NLM_F_ACK_TLVS = 0x10, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NESTED = 0x8000
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 1, 10, 11
NETLINK_NETFILTER, NETLINK_GENERIC = 12, 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
RTM_NEWLINK, IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO = 16, 3, 4, 18
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2

Answer = collections.namedtuple("Answer", "errno message offset")


def attr(kind, data=b"", length=None):
    """An attribute, padded; length: what it says that it has, if that is not so."""
    length = 4 + len(data) if length is None else length
    return struct.pack("=HH", length, kind) + data + bytes(-len(data) % 4)


def u8(kind, value):
    return attr(kind, struct.pack("=B", value))


def u16(kind, value):
    return attr(kind, struct.pack("=H", value))


def u32(kind, value):
    return attr(kind, struct.pack("=I", value))


def nest(kind, *attrs):
    return attr(kind | NESTED, b"".join(attrs))


def attrs_of(data):
    """A dict of attributes."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3fff] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def messages(data):
    """Type, flags, sequence number and content of each message in a datagram."""
    while len(data) >= 16:
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data)
        yield kind, flags, sequence, data[16:length]
        data = data[(length + 3) & ~3:]


def _answer(body, flags):
    number, = struct.unpack_from("=i", body)
    found = attrs_of(body[20:]) if flags & NLM_F_ACK_TLVS else {}
    offset = struct.unpack("=I", found[2])[0] if 2 in found else None
    return Answer(-number, found.get(1, b"").rstrip(b"\0").decode(), offset)


class Raw:
    """A netlink socket that sends what it is given."""

    def __init__(self, ns, proto=socket.NETLINK_ROUTE):
        self.sock = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, proto)
        self.sock.bind((0, 0))
        self.sock.settimeout(30)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self.sock.setsockopt(SOL_NETLINK, option, 1)
        self.sequence = 0
        self.replies = []

    def ask(self, kind, payload, flags=0):
        """Sends a request; returns how it ended."""
        self.sequence += 1
        header = struct.pack("=IHHII", 16 + len(payload), kind,
                             NLM_F_REQUEST | NLM_F_ACK | flags, self.sequence, 0)
        self.sock.send(header + payload)
        self.replies = []
        while True:
            for kind_of, flags_of, sequence, body in messages(self.sock.recv(1 << 17)):
                if kind_of == NLMSG_ERROR and sequence == self.sequence:
                    return _answer(body, flags_of)
                if kind_of == NLMSG_DONE:
                    return Answer(0, "", None)
                self.replies.append(body)

    def needs(self, kind, payload, flags=0):
        """Sends a request that has to be taken."""
        seen = self.ask(kind, payload, flags)
        ktap.eq(seen.errno, 0, f"errno of the request ({seen.message})")


class Family(Raw):
    """A family of generic netlink, as a client without a spec speaks it."""

    def __init__(self, ns, name):
        super().__init__(ns, NETLINK_GENERIC)
        self.needs(GENL_ID_CTRL, struct.pack("=BBH", CTRL_CMD_GETFAMILY, 1, 0)
                   + attr(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0"))
        self.family, = struct.unpack("=H", attrs_of(self.replies[0][4:])[CTRL_ATTR_FAMILY_ID])

    def do(self, command, *attrs, flags=0, version=1):
        return self.ask(self.family, struct.pack("=BBH", command, version, 0) + b"".join(attrs),
                        flags)
