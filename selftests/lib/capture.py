# SPDX-License-Identifier: GPL-2.0
"""Frames off a device, and what tshark thinks of them."""

import collections
import contextlib
import errno
import json
import os
import select
import socket
import struct
import subprocess
import tempfile
import time

from lib import ktap, net, pkt

# data: from the link layer's header on, which is header bytes long; outgoing:
# sent by the host that has the device; gso: size of the segments that the
# frame stands for, or 0.  A checksum that was left to the network card is
# filled in, except where there are segments.
Frame = collections.namedtuple("Frame", "data header outgoing gso")

_PACKET_AUXDATA, _PACKET_VNET_HDR = 8, 15
_VNET_HDR = struct.Struct("=BBHHHH")
_NEEDS_CSUM = 1
_ETHER = 1
_LINKTYPE = {14: 1, 0: 101}     # of pcap: Ethernet, raw IP


class Capture:
    """What passes a device from now on, in a socket's buffer.

    as_is: checksums that were left to the network card are not filled in.
    """

    def __init__(self, ns, dev, chatter=False, as_is=False):
        self._chatter, self._as_is = chatter, as_is
        self._sock = ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._sock.setsockopt(socket.SOL_SOCKET, net.SO_RCVBUFFORCE, 1 << 24)
        self._sock.setsockopt(net.SOL_PACKET, _PACKET_VNET_HDR, 1)
        self._sock.setsockopt(net.SOL_PACKET, _PACKET_AUXDATA, 1)
        self._sock.bind((dev, 3))       # ETH_P_ALL
        self._sock.setblocking(False)
        self.frames = []                # all that poll() has seen

    def poll(self):
        """Takes what is there; returns the frames that are new."""
        new = []
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    frame = self._take()
                except OSError as error:
                    # ENETDOWN: told once when the device goes down; frames come
                    # again when it is up.  EINVAL: a packet that stands for many
                    # datagrams, for which struct virtio_net_hdr has no word before
                    # 6.2; it is off the queue then.
                    if error.errno not in (errno.ENETDOWN, errno.EINVAL):
                        raise
                    continue
                if self._chatter or not net.is_chatter(frame.data[frame.header:]):
                    new.append(frame)
        self.frames += new
        return new

    def _take(self):
        data, control, _, address = self._sock.recvmsg(1 << 17, 256)
        flags, _, _, gso, start, offset = _VNET_HDR.unpack_from(data)
        data = data[_VNET_HDR.size:]
        if flags & _NEEDS_CSUM and not gso and not self._as_is:
            data = _fill_checksum(data, start, offset)
        for _, kind, value in control:
            if kind == _PACKET_AUXDATA:
                data = _put_tag_back(data, value)
        header = 14 if address[3] == _ETHER else 0
        return Frame(data, header, address[2] == 4, gso)    # 4: PACKET_OUTGOING

    def packets(self, outgoing=None):
        """The IP and IPv6 packets, as bytes, of all frames so far."""
        self.poll()
        return [frame.data[frame.header:] for frame in self.frames
                if outgoing in (None, frame.outgoing)]

    def wait(self, match, what, count=1, limit=30):
        """Waits for packets (bytes) that match; returns the first, or a list."""
        def found():
            seen = [packet for packet in self.packets() if match(packet)]
            return seen if len(seen) >= count else None
        seen = ktap.wait_for(found, what, limit)
        return seen[0] if count == 1 else seen

    def clear(self):
        self.poll()
        self.frames = []

    def close(self):
        self._sock.close()


def large(frames, outgoing):
    """Lengths of the frames that stand for many segments, in bytes."""
    return [len(frame.data) for frame in frames
            if frame.outgoing == outgoing and frame.gso and len(frame.data) > 1000]


def _fill_checksum(data, start, offset):
    """What a network card does: the field holds the pseudo header's sum."""
    place = start + offset
    value = pkt.checksum(data[start:]) or 0xffff
    return data[:place] + struct.pack("!H", value) + data[place + 2:]


def _put_tag_back(data, auxdata):
    """The kernel takes a VLAN tag off received frames and tells it beside."""
    status, tci, tpid = struct.unpack_from("=I12xHH", auxdata)
    if not status & 0x10:       # TP_STATUS_VLAN_VALID
        return data
    return data[:12] + struct.pack("!HH", tpid or 0x8100, tci) + data[12:]


def write_pcap(path, packets, linktype=101):
    """packets: bytes or Frames, all with the same link layer."""
    data = [packet.data if isinstance(packet, Frame) else bytes(packet)
            for packet in packets]
    if packets and isinstance(packets[0], Frame):
        linktype = _LINKTYPE[packets[0].header]
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 1 << 18, linktype))
        for number, packet in enumerate(data):
            file.write(struct.pack("=IIII", number, 0, len(packet), len(packet)) + packet)


# Where the machine that runs this virtual one takes orders, if it does; what the
# head of its replies begins with.
_HOST = os.environ.get("XTUN_HOST")
_REPLY = b"xtun-reply "

# Every checksum is looked at; no packet is judged by earlier ones.
_TSHARK = ["-n", "-o", "ip.check_checksum:TRUE",
           "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
           "-o", "tcp.analyze_sequence_numbers:FALSE"]


def tshark(packets, *argv, linktype=101):
    """What tshark prints about packets, given in one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "packets.pcap")
        write_pcap(path, packets, linktype)
        status, out, err = (_run_there if _HOST else _run_here)(path, [*_TSHARK, *argv])
    ktap.true(status == 0, f"tshark ran ({err.strip()[-500:]})")
    return out


def _run_here(path, argv):
    seen = subprocess.run(
        ["tshark", "-r", path, *argv], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=600,
        env={**os.environ, "HOME": os.path.dirname(path)})
    return seen.returncode, seen.stdout, seen.stderr


def _run_there(path, argv):
    """By the machine that runs this virtual one (vm/host.py)."""
    with open(path, "rb") as file:
        data = file.read()
    number = f"{os.getpid()}.{time.monotonic_ns()}"
    head = json.dumps({"number": number, "argv": argv, "size": len(data)})
    with open(_HOST, "r+b", buffering=0) as port:
        _write_all(port, head.encode() + b"\n" + data)
        while True:
            reply = _head(port)
            if reply and reply["number"] == number:
                break               # else it is for a test that was killed
        out, err = (_read(port, reply[name]).decode(errors="replace")
                    for name in ("out", "err"))
    return reply["status"], out, err


def _write_all(port, data):
    while data:
        data = data[port.write(data):]


def _head(port):
    """The next line, if it is a head: what is before may be the rest of another reply."""
    line = b""
    while not line.endswith(b"\n"):
        line += _read(port, 1)
    _, found, text = line.rpartition(_REPLY)
    return json.loads(text) if found else None


def _read(port, size):
    data = b""
    while len(data) < size:
        ktap.true(select.select([port], [], [], net.LIMIT)[0],
                  f"an answer to tshark's packets in {net.LIMIT} s")
        data += ktap.true(port.read(size - len(data)), "the machine outside answers")
    return data


def tshark_json(packets, linktype=101):
    """A dict of layers for each packet."""
    text = tshark(packets, "-T", "json", "--no-duplicate-keys", linktype=linktype)
    return [packet["_source"]["layers"] for packet in json.loads(text)]


def tshark_fields(packets, *fields, linktype=101):
    """A list of values for each packet, and of those a list for each field."""
    words = [word for field in fields for word in ("-e", field)]
    text = tshark(packets, "-T", "fields", "-E", "aggregator=\x1f", *words,
                  linktype=linktype)
    return [[value.split("\x1f") if value else [] for value in line.split("\t")]
            for line in text.splitlines()]
