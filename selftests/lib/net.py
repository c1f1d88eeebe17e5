# SPDX-License-Identifier: GPL-2.0
"""Modules, namespaces, topologies and counters.

A Namespace is entered by this process itself ("with ns:"), for a moment:
sockets and processes made meanwhile belong to it.  That costs microseconds,
where `ip netns exec` costs a tenth of a second on an emulated machine.
"""

import collections
import contextlib
import ctypes
import fcntl
import ipaddress
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile

from lib import iproute, ktap

NETNS_DIR = "/run/netns"
LIMIT = 300             # seconds for one command, on the slowest machine

# What Python has no name for.
SO_TIMESTAMP, SO_RCVBUFFORCE, SOL_PACKET = 29, 33, 263

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2


# While nobody else wants time stamps, each ping has the kernel patch its running
# code, and back.  Emulated processors have been seen to stumble over that ("Oops:
# int3" in dev_queue_xmit_nit); for this socket it is done once.
_stamped = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
_stamped.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)


def unstamp():
    """Received packets get no time stamp any more, which costs instructions."""
    _stamped.close()


def _call(name, *args):
    if getattr(_libc, name)(*args):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


# ---- modules ----

def load_module():
    """Loads xtun: the file that XTUN_KO names, else the installed one."""
    need_root()
    if os.path.isdir("/sys/module/xtun"):
        return
    # insmod resolves no dependencies.
    for name in ("tunnel4", "tunnel6", "nf_defrag_ipv6", "udp_tunnel", "ip6_udp_tunnel"):
        has_module(name)
    path = os.environ.get("XTUN_KO")
    if path:
        seen = _plain("insmod", path)
        ktap.true(seen.returncode == 0, f"insmod {path} ({seen.stderr.strip()})")
    elif _plain("modprobe", "xtun").returncode:
        ktap.skip("no module xtun: set XTUN_KO or install it")


def need_root():
    if os.geteuid():
        ktap.skip("not root")


def has_module(name):
    """Loads a module of the kernel's own, if there is one."""
    return _plain("modprobe", "-q", name).returncode == 0


def kernel_before(*version):
    """Whether this kernel is older than this one: major and minor number."""
    return tuple(map(int, os.uname().release.split(".")[:2])) < version


def need_modules(*names):
    """Loads modules of the kernel's own, or skips."""
    need_root()
    for name in names:
        if not has_module(name):
            ktap.skip(f"this kernel has no module {name}")


def _plain(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LIMIT)


# ---- processes ----

def one_processor():
    """This process, and those it starts, stay on one until the scope ends."""
    before = os.sched_getaffinity(0)
    ktap.defer(os.sched_setaffinity, 0, before)
    os.sched_setaffinity(0, {min(before)})


class Process:
    """A command in the background, with what it says."""

    def __init__(self, argv):
        self._text = tempfile.TemporaryFile("w+")
        self.name = argv[0]
        self._popen = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self._text,
            stderr=subprocess.STDOUT, start_new_session=True)
        ktap.defer(self.kill)

    def output(self):
        # pread: the file's offset is the one that the process writes at.
        return os.pread(self._text.fileno(), 1 << 24, 0).decode(errors="replace")

    def wait_output(self, pattern, limit=60):
        """Waits until the output matches; returns the match."""
        return ktap.wait_for(lambda: re.search(pattern, self.output()),
                             f"'{pattern}' from {self.name}, which said: "
                             f"{self.output()!r}", limit)

    def running(self):
        return self._popen.poll() is None

    def wait(self, limit=LIMIT):
        """Waits for the end; returns the exit status."""
        return self._popen.wait(limit)

    def kill(self, number=signal.SIGKILL):
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)
        return self._popen.wait(LIMIT)


def in_order(*namespaces):
    """Nothing overtakes anything on under0 until the scope ends.

    veth has a queue for each processor that sends, and timers run on any.
    """
    one_processor()
    for ns in namespaces:
        ns.steer("under0", 1)
        ktap.defer(ns.steer, "under0", 0)


# ---- namespaces ----

class IpError(ktap.Failed):
    """A line of `ip -batch` failed; message is what the kernel said."""

    def __init__(self, line, text):
        super().__init__(f"ip {line}: {text}")
        self.line = line
        self.message = text


class Namespace:
    """A network namespace, deleted with the scope it was made in.

    No duplicate address detection, no link-local addresses by themselves and
    no router solicitations: nothing speaks on a link but what the test makes speak.
    """

    _number = 0

    def __init__(self, name):
        Namespace._number += 1
        self.name = f"{name}-{os.getpid()}-{Namespace._number}"
        self.v4 = self.v6 = None        # addresses on the underlay, if any
        self._path = os.path.join(NETNS_DIR, self.name)
        self._entered = []
        self._iproute = {}      # options: a process of ip(8)
        self._make()
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        ktap.defer(self.delete)
        self.sysctl({
            "net.ipv6.conf.all.accept_dad": 0,
            "net.ipv6.conf.default.accept_dad": 0,
            "net.ipv6.conf.default.accept_ra": 0,
            "net.ipv6.conf.default.router_solicitations": 0,
            "net.ipv6.conf.default.addr_gen_mode": 1,
            # A reverse path filter would hide what the test is about.
            "net.ipv4.conf.all.rp_filter": 0,
            "net.ipv4.conf.default.rp_filter": 0,
            # As long round trips take on a slow machine: TCP's segments leave together.
            "net.ipv4.tcp_tso_rtt_log": 31,
        })
        self.ip("link set lo up")

    def _make(self):
        _share_netns_dir()
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o444))
        with _saved_netns():
            _call("unshare", _CLONE_NEWNET)
            _call("mount", b"/proc/thread-self/ns/net", self._path.encode(),
                  b"none", ctypes.c_ulong(_MS_BIND), None)

    def delete(self):
        """Deletes it now; sockets and devices elsewhere may keep it alive."""
        if self._fd is None:
            return
        self._end_ip_processes(lambda _: True)
        os.close(self._fd)
        self._fd = None
        _call("umount2", self._path.encode(), _MNT_DETACH)
        os.unlink(self._path)

    def __str__(self):
        return self.name

    def __enter__(self):
        self._entered.append(_own_netns())
        _call("setns", self._fd, _CLONE_NEWNET)
        return self

    def __exit__(self, *_):
        fd = self._entered.pop()
        _call("setns", fd, _CLONE_NEWNET)
        os.close(fd)

    # -- commands --

    def steer(self, dev, processors):
        """What the device receives is for these processors (a bit each), or any (0)."""
        # ip netns exec: it has the namespace's own /sys.
        self.check("ip", "netns", "exec", self.name, "sh", "-c",
                   f"echo {processors} >/sys/class/net/{dev}/queues/rx-0/rps_cpus")

    def run(self, *argv, text=None, limit=LIMIT):
        """Runs a command to its end: returncode, stdout, stderr."""
        with self:
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(text, limit)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def check(self, *argv, text=None):
        """Runs a command that has to succeed; returns its output."""
        seen = self.run(*argv, text=text)
        if seen.returncode:
            ktap.fail(f"{' '.join(argv)}: exit {seen.returncode}: "
                      f"{(seen.stderr or seen.stdout).strip()}")
        return seen.stdout

    def spawn(self, *argv):
        with self:
            return Process(argv)

    def ip(self, *lines):
        """Runs commands of ip(8), without the word ip; a line may begin with options."""
        done = self._ip_lines(lines, until_failure=True)
        if done and done[-1][1] is not None:
            raise IpError(lines[len(done) - 1], _refusal(done[-1][1]))
        for line in lines:
            self._wait_for_address(line)
        return "".join(out for out, _ in done)

    def _wait_for_address(self, line):
        """What is sent to an IPv6 address that was just added gets there.

        The kernel makes the route to it in a work item, a moment after the address.
        """
        match = re.match(r"addr add ([0-9a-f:]+)/\d+ dev (\S+)", line)
        if not match:
            return
        address, dev = packed(match[1]).hex(), match[2]
        ktap.wait_for(lambda: not self._flags(dev) & 0x40 or self._has_own_route(address),
                      f"the route to {match[1]} in {self}")

    def _has_own_route(self, address):
        """address: in hexadecimal digits, as procfs has it."""
        with self, open("/proc/thread-self/net/ipv6_route") as file:
            return any(line.startswith(f"{address} 80 ") and
                       int(line.split()[8], 16) & 1 << 31 for line in file)  # RTF_LOCAL

    def refused(self, *lines):
        """What ip(8) says of each line; None if it took it."""
        return [None if text is None else _refusal(text)
                for _, text in self._ip_lines(lines, until_failure=False)]

    def _ip_lines(self, lines, until_failure):
        """Of each line what it printed, and what it said if it failed, else None."""
        self._end_stale_ip_processes()
        done = []
        for line in lines:
            words = line.split()
            options = tuple(itertools.takewhile(lambda word: word.startswith("-"), words))
            process = self._ip_process(options)
            done.append(process.run(" ".join(words[len(options):]), LIMIT))
            if until_failure and done[-1][1] is not None:
                break
        # What this has made, others may take away before the next time.
        self._end_stale_ip_processes()
        return done

    def _ip_process(self, options):
        self._end_ip_processes(lambda process: not process.running())
        if options not in self._iproute:
            with self:
                self._iproute[options] = iproute.Iproute(*options)
        return self._iproute[options]

    def _end_ip_processes(self, ends):
        for options, process in list(self._iproute.items()):
            if ends(process):
                process.close()
                del self._iproute[options]

    def _end_stale_ip_processes(self):
        with self:
            devices = {name: index for index, name in socket.if_nameindex()}
        self._end_ip_processes(lambda process: not process.remembers(devices))

    def ip_json(self, *argv):
        return json.loads(self.ip("-j -d " + " ".join(argv)) or "[]")

    def link(self, dev):
        """`ip -j -d link show` of a device."""
        return self.ip_json("link", "show", "dev", dev)[0]

    def tunctl(self, *argv):
        """`tunctl -j` and what it says."""
        return json.loads(self.check("tunctl", "-j", *argv) or "null")

    # -- devices --

    def tunnel(self, dev, words, *addresses):
        """Makes an xtun device with these words, up and with addresses."""
        self.device(dev, f"type xtun {words}", *addresses)

    def device(self, dev, words, *addresses):
        """Makes a device (`ip link add`), up and with addresses."""
        self.ip(f"link add {dev} {words}", f"link set {dev} up",
                *(address_line(dev, address) for address in addresses))

    def wait_running(self, *devs):
        """Waits until packets that are sent to the devices are not lost.

        A carrier that comes after `link set up` is acted upon by a worker.
        """
        for dev in devs:
            ktap.wait_for(lambda: self._flags(dev) & 0x40, f"carrier of {dev}")

    def _flags(self, dev):
        ifreq = struct.pack("16s16x", dev.encode())
        with self, _control_socket() as sock:
            return struct.unpack_from(
                "H", fcntl.ioctl(sock, 0x8913, ifreq), 16)[0]  # SIOCGIFFLAGS

    def mac(self, dev):
        ifreq = struct.pack("16s24x", dev.encode())
        with self, _control_socket() as sock:
            return fcntl.ioctl(sock, 0x8927, ifreq)[18:24]     # SIOCGIFHWADDR

    def mtu(self, dev):
        ifreq = struct.pack("16s24x", dev.encode())
        with self, _control_socket() as sock:
            return struct.unpack_from(
                "i", fcntl.ioctl(sock, 0x8921, ifreq), 16)[0]  # SIOCGIFMTU

    def sysctl(self, settings):
        """Sets sysctls of the namespace from a dict, or reads one."""
        with self:
            if isinstance(settings, str):
                with open(_sysctl_path(settings)) as file:
                    return file.read().strip()
            for key, value in settings.items():
                with open(_sysctl_path(key), "w") as file:
                    file.write(str(value))
        return None

    def forward(self):
        self.sysctl({"net.ipv4.ip_forward": 1,
                     "net.ipv6.conf.all.forwarding": 1})

    # -- sockets --

    def socket(self, *args):
        """socket.socket(...) of this namespace, closed with the scope."""
        with self:
            sock = socket.socket(*args)
        ktap.defer(sock.close)
        return sock

    # -- counters --

    def stats(self, dev):
        """The device's rx_packets, rx_bytes, tx_dropped..., from procfs."""
        seen = self.all_stats()
        return seen[dev] if dev in seen else ktap.fail(f"no device {dev} in {self}")

    def all_stats(self):
        """Those of all devices, by name."""
        with self, open("/proc/thread-self/net/dev") as file:
            lines = [line.partition(":") for line in list(file)[2:]]
        return {name.strip(): dict(zip(_DEV_FIELDS, map(int, rest.split())))
                for name, _, rest in lines}

    def counters(self, dev):
        """What `ethtool -S` shows, asked of the kernel in the same way."""
        with self, _control_socket() as sock:
            return _ethtool_stats(sock, dev)

    def drops(self, dev):
        """The counters of lost packets that are not zero."""
        return {name: count for name, count in self.counters(dev).items()
                if count and re.match(r"[rt]x-", name)}

    def peer_mtu(self, address):
        """The path MTU to a peer, as the tunnels that know of it have it, or None."""
        return min((told["path"]["mtu"] for told in self.tunctl("path")
                    if told["path"]["peer"] == address), default=None)

    def snmp(self):
        """The kernel's counters of IPv4, and of UDP and TCP over it, by protocol."""
        with self, open("/proc/thread-self/net/snmp") as file:
            lines = [line.split() for line in file]
        return {names[0].rstrip(":"): dict(zip(names[1:], map(int, values[1:])))
                for names, values in zip(lines[::2], lines[1::2])}

    def snmp6(self):
        """Those of IPv6."""
        with self, open("/proc/thread-self/net/snmp6") as file:
            return {name: int(value) for name, value in map(str.split, file)}

    def bad_sums(self):
        """TCP and UDP checksums that the namespace has found wrong."""
        four = self.snmp()
        return (four["Tcp"]["InCsumErrors"] + four["Udp"]["InCsumErrors"]
                + sum(value for name, value in self.snmp6().items() if "InCsumErrors" in name))

    def path_mtu(self, address):
        """What the kernel knows of the path's MTU, or None."""
        found = re.search(r"\bmtu (?:lock )?(\d+)", self.ip(f"route get {address}"))
        return int(found[1]) if found else None

    @contextlib.contextmanager
    def moves(self, dev, limit=20, **expected):
        """The block moves exactly these counters, by so much: drops and errors.

        Names are written with _ for -: moves("t0", rx_checksum=1).
        """
        expected = {name.replace("_", "-"): by for name, by in expected.items()}
        before = self.counters(dev)
        yield
        with contextlib.suppress(ktap.Failed):
            ktap.wait_for(lambda: expected == self._moved(dev, before),
                          "counters", limit if expected else 0)
        ktap.eq(self._moved(dev, before), expected, f"counters of {dev} moved")

    def _moved(self, dev, before):
        after = self.counters(dev)
        return {name: after[name] - before.get(name, 0) for name in after
                if re.match(r"(rx|tx|err)-", name) and after[name] != before.get(name, 0)}


_DEV_FIELDS = [f"{way}_{name}" for way, names in (
    ("rx", "bytes packets errors dropped fifo frame compressed multicast"),
    ("tx", "bytes packets errors dropped fifo collisions carrier compressed"),
) for name in names.split()]


class UserNamespace:
    """The root of a user namespace, who is nobody outside, and its netns."""

    def __init__(self, ns):
        self.host = ns
        process = ns.spawn("unshare", "--user", "--map-root-user", "--net",
                           "sh", "-c", "echo pid $$; exec sleep 1000")
        self.pid = process.wait_output(r"pid (\d+)")[1]

    def run(self, *argv, own_netns=True):
        """In its own netns, or as the same user in the netns of the host."""
        return self.host.run(*self._enter(own_netns), *argv)

    def spawn(self, *argv):
        """The same in the background, in its own netns."""
        return self.host.spawn(*self._enter(True), *argv)

    def _enter(self, own_netns):
        return ("nsenter", "-t", self.pid, "-U", *(["-n"] if own_netns else []),
                "--preserve-credentials")


def _share_netns_dir():
    """As `ip netns add` does it, so that both see each other's namespaces."""
    os.makedirs(NETNS_DIR, exist_ok=True)
    path = NETNS_DIR.encode()
    with open("/proc/self/mountinfo") as file:
        if any(line.split()[4] == NETNS_DIR for line in file):
            return
    _call("mount", path, path, b"none", ctypes.c_ulong(_MS_BIND | _MS_REC), None)
    _call("mount", b"", path, b"none", ctypes.c_ulong(_MS_SHARED | _MS_REC), None)


def _own_netns():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _saved_netns():
    fd = _own_netns()
    try:
        yield
    finally:
        _call("setns", fd, _CLONE_NEWNET)
        os.close(fd)


def _control_socket():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _sysctl_path(key):
    """net.ipv4.conf.all.x or, where a part has a dot, net/ipv4/conf/e0.5/x."""
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))


def _refusal(text):
    """The kernel's words in what ip(8) says on standard error."""
    text = re.sub(r"Command failed -:\d+", "", text).strip()
    return re.sub(r"^(Error|RTNETLINK answers): ", "", text)


def address_line(dev, address):
    nodad = " nodad" if ":" in address else ""
    return f"addr add {address} dev {dev}{nodad}"


# ---- ethtool -S ----

def _ethtool(sock, dev, request):
    """SIOCETHTOOL; returns what the kernel made of the request."""
    data = ctypes.create_string_buffer(request, len(request))
    ifreq = struct.pack("16sP16x", dev.encode(), ctypes.addressof(data))
    fcntl.ioctl(sock, 0x8946, ifreq)
    return data.raw


def _ethtool_stats(sock, dev):
    strings, stats = 1, struct.Struct("=IIQI4x")    # ETH_SS_STATS
    try:
        reply = _ethtool(sock, dev, stats.pack(0x37, 0, 1 << strings, 0))
    except OSError:
        return {}
    _, _, mask, count = stats.unpack(reply)
    if not mask or not count:
        return {}
    names = _ethtool(sock, dev, struct.pack("=III", 0x1b, strings, count)
                     + bytes(32 * count))[12:]
    values = _ethtool(sock, dev, struct.pack("=II", 0x1d, count)
                      + bytes(8 * count))[8:]
    return {names[32 * n:32 * n + 32].split(b"\0")[0].decode():
            struct.unpack_from("=Q", values, 8 * n)[0] for n in range(count)}


# ---- topologies ----

def veth(one, dev, other, far_dev, options="", link_local=True):
    """Joins two namespaces; both ends are up, and running, afterwards.

    A router asks for neighbours from its link-local address only.
    """
    one.ip(f"link add {dev} {options} type veth peer name {far_dev} {options} "
           f"netns {other}", f"link set {dev} up",
           *([address_line(dev, "fe80::1/64")] if link_local else []))
    other.ip(f"link set {far_dev} up",
             *([address_line(far_dev, "fe80::2/64")] if link_local else []))
    one.wait_running(dev)
    other.wait_running(far_dev)


Two = collections.namedtuple("Two", "a b")


def two(mtu=1500):
    """Hosts A and B on one link: A under0 ---- under0 B.

    ns.v4 and ns.v6 are their addresses there.
    """
    a, b = Namespace("a"), Namespace("b")
    veth(a, "under0", b, "under0", f"mtu {mtu}")
    for ns, last in ((a, 1), (b, 2)):
        ns.v4, ns.v6 = f"192.0.2.{last}", f"2001:db8::{last}"
        ns.ip(address_line("under0", f"{ns.v4}/24"),
              address_line("under0", f"{ns.v6}/64"))
    return Two(a, b)


class Path:
    """A host behind each of two routers that have a router between them.

        a ----- ingress ------- r ------- egress ----- b
          lan0  lan0  under0  left right  under0  lan0  lan0

        a        10.1.0.2    fd00:1::2          b        10.2.0.2   fd00:2::2
        ingress  10.1.0.1    fd00:1::1          egress   10.2.0.1   fd00:2::1
                 192.0.2.1   2001:db8:1::1               198.51.100.1  2001:db8:2::1
        r left   192.0.2.254 2001:db8:1::fe     r right  198.51.100.254 2001:db8:2::fe

    The inner networks reach each other through a tunnel only.
    """

    LANS = {"a": ("10.1.0.0/24", "fd00:1::/64"), "b": ("10.2.0.0/24", "fd00:2::/64")}

    def __init__(self, mtu=1500):
        self.a, self.ingress, self.r, self.egress, self.b = (
            Namespace(name) for name in ("a", "ingress", "r", "egress", "b"))
        for router in (self.ingress, self.r, self.egress):
            router.forward()
        size = f"mtu {mtu}"
        veth(self.a, "lan0", self.ingress, "lan0")
        veth(self.ingress, "under0", self.r, "left", size)
        veth(self.r, "right", self.egress, "under0", size)
        veth(self.egress, "lan0", self.b, "lan0")
        self._underlay()
        self._lan(self.a, self.ingress, 1)
        self._lan(self.b, self.egress, 2)

    def _underlay(self):
        self.r.ip(address_line("left", "192.0.2.254/24"),
                  address_line("left", "2001:db8:1::fe/64"),
                  address_line("right", "198.51.100.254/24"),
                  address_line("right", "2001:db8:2::fe/64"))
        for ns, net4, net6, far4, far6 in (
                (self.ingress, "192.0.2", "2001:db8:1", "198.51.100", "2001:db8:2"),
                (self.egress, "198.51.100", "2001:db8:2", "192.0.2", "2001:db8:1")):
            ns.v4, ns.v6 = f"{net4}.1", f"{net6}::1"
            ns.ip(address_line("under0", f"{ns.v4}/24"),
                  address_line("under0", f"{ns.v6}/64"),
                  f"route add {far4}.0/24 via {net4}.254",
                  f"route add {far6}::/64 via {net6}::fe")

    @staticmethod
    def _lan(host, router, number):
        host.v4, host.v6 = f"10.{number}.0.2", f"fd00:{number}::2"
        router.ip(address_line("lan0", f"10.{number}.0.1/24"),
                  address_line("lan0", f"fd00:{number}::1/64"))
        host.ip(address_line("lan0", f"{host.v4}/24"),
                address_line("lan0", f"{host.v6}/64"),
                f"route add default via 10.{number}.0.1",
                f"route add default via fd00:{number}::1")

    def tunnel(self, words, family="v4", dev="t0"):
        """The same tunnel on both routers, and the routes into it.

        words: encap and options; local and remote are those of family.
        """
        for near, far, lan in ((self.ingress, self.egress, "b"),
                               (self.egress, self.ingress, "a")):
            near.tunnel(dev, f"{words} local {getattr(near, family)} "
                             f"remote {getattr(far, family)}")
            near.ip(*(f"route replace {prefix} dev {dev}" for prefix in self.LANS[lan]))

    def tunnel_anew(self, words, family="v4", dev="t0"):
        """As tunnel(), until the scope ends; nothing is known of the path before.

        Its routers answer every packet that they must drop.
        """
        for ns in (self.r, self.egress):
            ns.sysctl({"net.ipv4.icmp_ratemask": 0, "net.ipv6.icmp.ratelimit": 0})
        for ns in (self.a, self.ingress, self.egress, self.b):
            ktap.defer(ns.ip, "-4 route flush cache", "-6 route flush cache")
        for ns in (self.ingress, self.egress):
            # It may have gone already.
            ktap.defer(ns.refused, f"link del {dev}")
        self.tunnel(words, family, dev)

    def narrow(self, mtu):
        """The link between r and the egress gets this MTU."""
        self.r.ip(f"link set right mtu {mtu}")
        self.egress.ip(f"link set under0 mtu {mtu}")


def path(mtu=1500):
    return Path(mtu)


class Peer:
    """A host under test whose neighbour is the test itself.

        ns under0 (ns.v4, ns.v6) ---- far0, a raw socket

    The far end has no addresses and answers nothing by itself; the host has
    static neighbours for the addresses that the test plays, which are v4
    and v6 and what add() adds.  Checksum and segmentation offloads of the
    host's end are off: what the test sees is what a wire would carry.

    second=ns: another link of the same host, under1, with other networks.
    """

    def __init__(self, offloads=False, mtu=1500, second=None):
        self.ns, self._far = second or Namespace("host"), Namespace("far")
        self.dev = "under1" if second else "under0"
        self._far.sysctl({"net.ipv6.conf.default.disable_ipv6": 1})
        veth(self.ns, self.dev, self._far, "far0", f"mtu {mtu}", link_local=False)
        self.host_mac, self.mac = self.ns.mac(self.dev), self._far.mac("far0")
        net4, net6 = ("198.51.100", "2001:db8:1:") if second else ("192.0.2", "2001:db8:")
        self.v4, self.v6 = f"{net4}.2", f"{net6}:2"
        if not second:
            self.ns.v4, self.ns.v6 = f"{net4}.1", f"{net6}:1"
        self.ns.ip(address_line(self.dev, f"{net4}.1/24"),
                   address_line(self.dev, f"{net6}:1/64"))
        self.add(self.v4, self.v6)
        if not offloads:
            self.ns.check("ethtool", "-K", self.dev, "tx", "off", "tso", "off",
                          "gso", "off")
        self._sock = self._far.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
        self._sock.bind(("far0", 3))            # ETH_P_ALL
        self._sock.setblocking(False)

    def add(self, *addresses):
        """More addresses of the test, in the host's networks."""
        self.ns.ip(*map(self.neighbour_line, addresses))

    def neighbour_line(self, address):
        return (f"neigh replace {address} lladdr {self.mac.hex(':')} "
                f"dev {self.dev} nud permanent")

    def address(self, family):
        """The test's own address: family is "v4" or "v6"."""
        return getattr(self, family)

    def send(self, packet):
        """Sends an IP or IPv6 packet (bytes or scapy) to the host."""
        packet = bytes(packet)
        kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        self.send_frame(self.host_mac + self.mac + kind + packet)

    def send_frame(self, frame):
        self._sock.send(bytes(frame))

    def merge(self):
        """From now on the host merges segments that send_at_once() sends."""
        self.ns.check("ethtool", "-K", self.dev, "gro", "on")
        # veth has GRO only for what comes from a device that cuts nothing.
        self._far.check("ethtool", "-K", "far0", "tso", "off")
        self._far.check(*"tc qdisc add dev far0 root plug".split())
        self._plug("release_indefinite")

    def send_at_once(self, packets):
        """Sends packets (bytes or scapy) of which the host takes none before all are there.

        They wait in a queue that is closed.  Who opens it passes them on as fast as
        the device takes them, and the host's end looks for packets afterwards only.
        """
        self._plug("block")
        for packet in packets:
            self.send(packet)
        self._plug("release_indefinite")

    def _plug(self, word):
        self._far.check(*f"tc qdisc change dev far0 root plug {word}".split())

    def drain(self):
        """Forgets what has arrived so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sock.recv(1 << 16)

    def poll(self):
        """The next frame with IP or IPv6 that is there, or None; no chatter."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self._sock.recv(1 << 16)
                if not is_chatter(frame[14:]):
                    return frame
        return None

    def recv_frame(self, match=None, what="a packet from the host", limit=10):
        """The next frame with IP or IPv6 that the host sends.

        match: a function of the packet; what it rejects is forgotten.
        """
        def wanted():
            while frame := self.poll():
                if not match or match(frame[14:]):
                    return frame
            return None
        return ktap.wait_for(wanted, what, limit)

    def recv(self, match=None, what="a packet from the host", limit=10):
        """As recv_frame(), but the packet without its Ethernet header."""
        return self.recv_frame(match, what, limit)[14:]


def peer(offloads=False, mtu=1500, second=None):
    return Peer(offloads, mtu, second)


def rule(ns, family, words):
    """A rule of routing, which most packets escape, until the scope ends."""
    option = family.replace("v", "-")
    ns.ip(f"{option} rule add {words}")
    ktap.defer(ns.ip, f"{option} rule del {words}")


@contextlib.contextmanager
def routed(ns, line):
    """A route, as ip(8) has it."""
    ns.ip(f"route add {line}")
    try:
        yield
    finally:
        ns.ip(f"route del {line}")


@contextlib.contextmanager
def blocked(ns, words):
    """An IPsec policy that blocks what the words of ip(8) select."""
    ns.ip(f"xfrm policy add {words} action block")
    try:
        yield
    finally:
        ns.ip(f"xfrm policy del {words}")


def is_chatter(packet):
    """Neither IP nor IPv6, or a word of MLD, IGMP or neighbour discovery."""
    if len(packet) < 20:
        return True
    if packet[0] >> 4 == 4:
        return packet[9] == 2
    if packet[0] >> 4 != 6 or len(packet) < 48:
        return packet[0] >> 4 != 6
    if packet[6] == 0 and packet[40] == 58:     # hop-by-hop options: MLD
        return packet[48] in (130, 131, 132, 143)
    return packet[6] == 58 and packet[40] in (130, 131, 132, 133, 134, 135, 136, 143)


def family_of(address):
    """socket.AF_INET or AF_INET6, whichever the address is of."""
    version = ipaddress.ip_address(address).version
    return socket.AF_INET if version == 4 else socket.AF_INET6


def packed(address):
    """The address as packets have it (bytes)."""
    return socket.inet_pton(family_of(address), address)
