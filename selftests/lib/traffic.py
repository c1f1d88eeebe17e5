# SPDX-License-Identifier: GPL-2.0
"""Ping, UDP and TCP between namespaces, as sockets of this process."""

import contextlib
import errno
import mmap
import os
import random
import select
import signal
import socket
import struct
import time
import traceback

from lib import ktap, net, pkt

# What setsockopt takes that Python's socket has no name for.
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IPV6_DONTFRAG = 10, 23, 62
IP_RECVERR, IPV6_RECVERR = 11, 25
PMTUDISC = {None: 1, "unset": 0, "set": 2, "probe": 3}  # None: as routes have it


def set_df(sock, df):
    """The DF bit of what the socket sends: None, "unset", "set" or "probe".

    "set" obeys the path MTU and "probe" the device's only; for IPv6 they
    refuse to fragment here.
    """
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC[df])
        return
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC[df])
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, int(df in ("set", "probe")))


# ---- ping ----

class Pinger:
    """Echo requests to one address; send() raises what the kernel says.

    size: bytes of data, as for ping -s: the packet has 28 more, or 48 for
    IPv6.
    """

    _identity = os.getpid() & 0xffff

    def __init__(self, ns, dst, df=None, source=None, dev=None):
        self.family = net.family_of(dst)
        proto = (socket.IPPROTO_ICMP if self.family == socket.AF_INET
                 else socket.IPPROTO_ICMPV6)
        self.sock = ns.socket(self.family, socket.SOCK_RAW, proto)
        self.sock.setblocking(False)
        set_df(self.sock, df)
        if dev:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
        if source:
            self.sock.bind((source, 0))
        self.sock.connect((dst, 0))
        Pinger._identity = (Pinger._identity + 1) & 0xffff
        self.identity = Pinger._identity
        self.sequence = 0

    def send(self, size=56):
        self.sequence += 1
        kind = 8 if self.family == socket.AF_INET else 128
        data = _pattern(size)
        packet = struct.pack("!BBHHH", kind, 0, 0, self.identity, self.sequence) + data
        if self.family == socket.AF_INET:       # for IPv6 the kernel does it
            packet = packet[:2] + struct.pack("!H", pkt.checksum(packet)) + packet[4:]
        self.sock.send(packet)
        return self.sequence, data

    def replied(self, sent, limit):
        """Whether a reply with the same data comes before the limit."""
        end = time.monotonic() + limit
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return False
            with contextlib.suppress(OSError):  # an error about one is no reply
                if self._is_reply(self.sock.recv(1 << 16), *sent):
                    return True
        return False

    def _is_reply(self, packet, sequence, data):
        kind = 129
        if self.family == socket.AF_INET:
            packet = packet[(packet[0] & 15) * 4:]
            kind = 0
        return (packet[0] == kind and packet[8:] == data and
                struct.unpack_from("!HH", packet, 4) == (self.identity, sequence))

    def close(self):
        self.sock.close()


def ping(ns, dst, size=56, df=None, tries=3, limit=10, source=None, dev=None):
    """Whether a reply comes to one of some echo requests.

    A request that the kernel refuses as too long counts as one without a
    reply: the next may go through when that was news to the sender.
    """
    pinger = Pinger(ns, dst, df, source, dev)
    try:
        for _ in range(tries):
            try:
                sent = pinger.send(size)
            except OSError as error:
                if error.errno in (errno.EMSGSIZE, errno.ENOBUFS):
                    continue
                raise
            if pinger.replied(sent, limit):
                return True
        return False
    finally:
        pinger.close()


# ---- UDP ----

def udp(ns, address="", port=0, family=None):
    """A UDP socket, bound; not blocking."""
    family = family or net.family_of(address)
    sock = ns.socket(family, socket.SOCK_DGRAM)
    if address or port:
        sock.bind((address, port))
    sock.setblocking(False)
    return sock


def recv(sock, what="a datagram", limit=30):
    """The next datagram and where it came from."""
    ktap.true(select.select([sock], [], [], limit)[0], f"{what} came")
    return sock.recvfrom(1 << 16)


def udp_crosses(src, dst, address, size=64, df=None):
    """One datagram of this many bytes of data gets to address, whole."""
    receiver = udp(dst, address)
    sender = udp(src, family=receiver.family)
    set_df(sender, df)
    data = _pattern(size)
    try:
        sender.sendto(data, receiver.getsockname()[:2])
        seen, _ = recv(receiver, f"a datagram of {size} bytes to {address}")
        ktap.eq(seen, data, f"datagram of {size} bytes to {address}")
    finally:
        sender.close()
        receiver.close()


def errors(sock):
    """What the error queue of a socket with receive_errors() holds.

    A list of dicts: errno, origin, type, code, info (the MTU), offender
    (who reported it), data (of the packet that failed).
    """
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data, control, _, _ = sock.recvmsg(1 << 16, 1 << 10, socket.MSG_ERRQUEUE)
            found += [_error(value, data) for level, kind, value in control
                      if (level, kind) in ((0, IP_RECVERR), (41, IPV6_RECVERR))]
    return found


def receive_errors(sock):
    """From now on, ICMP errors about what the socket sent are in errors()."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)


def _error(value, data):
    number, origin, kind, code, _, info, _ = struct.unpack_from("=IBBBBII", value)
    offender = None
    if len(value) >= 32 and struct.unpack_from("=H", value, 16)[0] == socket.AF_INET:
        offender = socket.inet_ntop(socket.AF_INET, value[20:24])
    elif len(value) >= 44:
        offender = socket.inet_ntop(socket.AF_INET6, value[24:40])
    return {"errno": number, "origin": origin, "type": kind, "code": code,
            "info": info, "offender": offender, "data": data}


# ---- TCP ----

_PERIOD = 1000003       # a prime: no segment size hides a loss or a repetition


def _pattern(size, _cache=[]):
    if not _cache:
        _cache.append(random.Random(1).randbytes(_PERIOD))
    return (_cache[0] * (1 + size // _PERIOD))[:size]


class Bulk:
    """A TCP transfer in a process of its own, while the test does things.

    Every byte is compared where it arrives.
    """

    def __init__(self, src, dst, address, nbytes, source="", dev=None):
        family = net.family_of(address)
        listener = dst.socket(family, socket.SOCK_STREAM)
        listener.bind((address, 0))
        listener.listen()
        sender = src.socket(family, socket.SOCK_STREAM)
        if dev:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
        if source:
            sender.bind((source, 0))
        self.nbytes = nbytes
        # received; then what went wrong, in words
        self._shared = mmap.mmap(-1, 4096)
        self._pid = os.fork()
        if not self._pid:
            self._child(sender, listener)
        listener.close()
        sender.close()
        self._status = None
        ktap.defer(self.kill)

    def _child(self, sender, listener):
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            self._transfer(sender, listener)
            status = 0
        except BaseException as error:
            text = str(error) or traceback.format_exc()
            self._shared[8:] = f"{type(error).__name__}: {text}".encode()[:4088].ljust(4088, b"\0")
        finally:
            os._exit(status)

    def _transfer(self, sender, listener):
        # Who is killed leaves nothing that sends on.
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sender.setblocking(False)
        sender.connect_ex(listener.getsockname())
        receiver, _ = listener.accept()
        receiver.setblocking(False)
        pattern = memoryview(_pattern(_PERIOD + (1 << 18)))
        sent = received = 0
        while received < self.nbytes:
            readable, writable, _ = select.select(
                [receiver], [sender] if sent < self.nbytes else [], [])
            if writable:
                start, left = sent % _PERIOD, self.nbytes - sent
                sent += sender.send(pattern[start:start + min(left, 1 << 18)])
                if sent == self.nbytes:
                    sender.shutdown(socket.SHUT_WR)
            if readable:
                received += self._compare(receiver.recv(1 << 18), received, pattern)
                self._shared[:8] = struct.pack("=Q", received)

    @staticmethod
    def _compare(data, received, pattern):
        if not data:
            raise EOFError(f"the connection ended after {received} bytes")
        start = received % _PERIOD
        if data != bytes(pattern[start:start + len(data)]):
            raise ValueError(f"wrong data after {received} bytes")
        return len(data)

    def received(self):
        """Bytes that have arrived so far."""
        return struct.unpack("=Q", self._shared[:8])[0]

    def running(self):
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is None

    def progress(self, nbytes=1, limit=120):
        """Waits until this many more bytes have arrived, or all."""
        goal = min(self.received() + nbytes, self.nbytes)
        ktap.wait_for(lambda: self.received() >= goal or not self.running(),
                      f"{nbytes} more bytes than {self.received()}", limit)
        ktap.true(self.received() >= goal, f"the transfer goes on: {self._text()}")

    def finish(self, limit=600):
        """Waits for the end; all has to have arrived as it was sent."""
        ktap.wait_for(lambda: not self.running(),
                      f"the end of {self.nbytes} bytes", limit)
        ktap.true(self._status == 0,
                  f"{self.nbytes} bytes arrived: {self.received()} did; {self._text()}")

    def _text(self):
        return self._shared[8:].rstrip(b"\0").decode(errors="replace")

    def kill(self):
        if self.running():
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._status = -signal.SIGKILL


def tcp_bulk(src, dst, address, nbytes, source=""):
    """Sends this many bytes to address over TCP and compares them there."""
    # By itself TCP hands down in one packet what a millisecond has time for, which on a
    # slow machine is one segment or two.
    least = src.sysctl("net.ipv4.tcp_min_tso_segs")
    src.sysctl({"net.ipv4.tcp_min_tso_segs": 16})
    try:
        Bulk(src, dst, address, nbytes, source).finish()
    finally:
        src.sysctl({"net.ipv4.tcp_min_tso_segs": least})
