#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs tests inside a virtual machine, and looks after each at what it left
behind and at what the kernel said.

run_tests.py starts it and deals it the tests: it asks with the line "@next" and
is told the name of a file, or an empty line when there is none.  It tells

    @begin TEST   @pass N   @skip N   @fail DESCRIPTION   @complaint DESCRIPTION
    @end TEST SECONDS

where a complaint is a failure that the kernel itself told of, and, with a space before it, each line of what the test printed.  It ends early,
with status 71, when the kernel can no longer be trusted: what remains is then
run in a new machine.
"""

import ctypes
import errno
import importlib
import os
import re
import runpy
import select
import signal
import subprocess
import sys
import time
import traceback

# Nothing of this is ever expected, whoever it is about.
SPLAT = re.compile("|".join((
    r"WARNING|\bBUG\b|\bOops\b|Call Trace|general protection fault|unable to handle",
    r"KASAN|KCSAN|UBSAN|KFENCE|ODEBUG|use-after-free|out-of-bounds|double-free",
    r"suspicious RCU|possible circular|possible recursive|possible irq lock",
    r"inconsistent lock state|held lock freed|lock held when returning",
    r"invalid wait context|sleeping function called|scheduling while atomic",
    r"bad unlock balance|turning off the locking|soft lockup|hard LOCKUP|detected stall",
    r"self-detected|INFO: task|blocked for more than|unregister_netdevice: waiting",
    r"refcount|ref_tracker|leaked reference|unreferenced object|memory leak",
    r"kernel tried to execute|Objects remaining|list_(add|del) corruption",
    r"page allocation failure")))

UNTRUSTED = 71
LATE = 72
RMMOD_LIMIT = 60        # seconds
KILL_LIMIT = 20         # from the polite signal to the other one
LOG_LINES = 120
OUT = "/tmp/ktap"
GROUP = "/sys/fs/cgroup/test"
NETNS_DIR = "/run/netns"
KMEMLEAK = "/sys/kernel/debug/kmemleak"

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_DELETE_MODULE = 176        # x86-64


def tell(text):
    """One line to run_tests.py."""
    data = text.encode(errors="replace") + b"\n"
    while data:
        data = data[os.write(1, data):]


# ---- the kernel's log ----

class KernelLog:
    """What the kernel says from the last call of since() on.

    Nothing is passed over: what comes after a test has been judged is for the next.
    """

    LOST = "(lines were lost here: the buffer is too small)"

    def __init__(self):
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def since(self, mark):
        """Its lines, of which the last is the mark.

        A line that has no end yet is not shown to readers until another one begins.
        """
        _write("/dev/kmsg", f"xtun-test: {mark}\n")
        lines = []
        while True:
            try:
                record = os.read(self._fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                lines.append(self.LOST)
                continue
            head, _, text = record.partition(";")
            stamp = int(head.split(",")[2]) / 1e6
            # Lines that begin with a space are properties of the device.
            lines.append(f"[{stamp:12.6f}] {text.splitlines()[0] if text else ''}")


# ---- modules ----

def loaded_modules():
    with open("/proc/modules") as file:
        return [line.split()[0] for line in file]


def delete_module(name):
    """As rmmod does it, without the tenth of a second to start that; 0 or an errno."""
    if not _libc.syscall(_SYS_DELETE_MODULE, name.encode(), os.O_NONBLOCK):
        return 0
    return ctypes.get_errno()


# ---- one test ----

class Test:
    """A test file: runs, and is judged."""

    def __init__(self, name, log, fresh):
        self.name, self._log, self._fresh = name, log, fresh
        self.untrusted = False

    def run(self):
        start = time.monotonic()
        tell(f"@begin {self.name}")
        self._check_log("what came before", f"{self.name} begins")
        status = self._run()
        passed, skipped = self._judge(status)
        self._end_processes()
        self._end_namespaces()
        self._end_devices()
        self._unload()
        self._unload_others()
        self._scan_leaks()
        self._check_log("the kernel complained", f"{self.name} has ended")
        tell(f"@pass {passed}")
        tell(f"@skip {skipped}")
        tell(f"@end {self.name} {time.monotonic() - start:.0f}")

    def _fail(self, text):
        tell(f"@fail {text}")

    def _complain(self, text):
        tell(f"@complaint {text}")

    def _run(self):
        """Runs it in a control group of its own, where all that it starts stays.

        Its output goes to a file: a pipe would stay open as long as a process that
        it left.
        """
        os.makedirs(GROUP, exist_ok=True)
        with open(OUT, "wb"):
            pass
        child = os.fork()
        if not child:
            _become_test(self.name)
        limit = time_limit()
        if not _follow(child, limit):
            self._fail(f"it did not end in {limit} s and was killed")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def _judge(self, status):
        """Counts the top level of the test's KTAP; what is indented belongs to it."""
        plan, passed, skipped, failed, seen = None, 0, 0, 0, 0
        with open(OUT, errors="replace") as file:
            for line in file:
                line = line.rstrip("\n")
                if match := re.match(r"1\.\.(\d+)", line):
                    plan = int(match[1])
                    skipped += not plan
                elif re.match(r"ok \d+", line):
                    seen += 1
                    if "# SKIP" in line:
                        skipped += 1
                    else:
                        passed += 1
                elif match := re.match(r"not ok \d+ *(- )?(.*)", line):
                    seen += 1
                    failed += 1
                    self._fail(match[2])
                elif line.startswith("Bail out!"):
                    failed += 1
                    self._fail(line)
        if plan is None:
            self._fail(f"it printed no plan (exit status {status})")
        elif seen != plan:
            self._fail(f"it planned {plan} subtests and did {seen} (exit status {status})")
        elif not failed and status and not (status == 4 and not passed):
            self._fail(f"no subtest failed, but its exit status is {status}")
        elif failed and not status:
            self._fail("a subtest failed, but its exit status is 0")
        return passed, skipped

    def _end_processes(self):
        """Processes of the test that outlive it, given a moment to end."""
        for _ in range(40):
            with open(f"{GROUP}/cgroup.procs") as file:
                left = file.read().split()
            if not left:
                return
            time.sleep(0.05)
        names = sorted({_process_name(pid) for pid in left})
        self._fail(f"processes left running: {' '.join(names)}")
        with open(f"{GROUP}/cgroup.kill", "w") as file:
            file.write("1")

    def _end_namespaces(self):
        left = os.listdir(NETNS_DIR) if os.path.isdir(NETNS_DIR) else []
        if left:
            self._fail(f"network namespaces left: {' '.join(left)}")
            for name in left:
                subprocess.run(["ip", "netns", "delete", name], check=False)

    def _end_devices(self):
        if "xtun" not in loaded_modules():
            return
        seen = subprocess.run(["ip", "-o", "link", "show", "type", "xtun"],
                              capture_output=True, text=True, check=False).stdout
        if seen:
            names = [line.split(":")[1].strip() for line in seen.splitlines()]
            self._fail(f"devices left in the first namespace: {' '.join(names)}")

    def _unload(self):
        """Unloads xtun, which has a user while its namespaces are being taken down."""
        end = time.monotonic() + RMMOD_LIMIT
        while (number := delete_module("xtun")) not in (0, errno.ENOENT):
            if time.monotonic() > end:
                self._complain(f"rmmod xtun failed for {RMMOD_LIMIT} s: {os.strerror(number)}")
                with open("/proc/sysrq-trigger", "w") as file:
                    file.write("w")
                self.untrusted = True
                return
            time.sleep(0.05)

    def _unload_others(self):
        """Each test finds the modules of a fresh machine.

        Some drivers do things, such as believing an ICMP error, in every namespace
        and without any device of theirs.
        """
        before, left = None, self._new_modules()
        while left and left != before:
            for name in left:
                delete_module(name)
            before, left = left, self._new_modules()

    def _new_modules(self):
        return [name for name in loaded_modules() if name not in self._fresh]

    def _scan_leaks(self):
        """Two scans: what the first finds may have been in motion."""
        if not os.access(KMEMLEAK, os.W_OK):
            return
        time.sleep(6)           # younger objects are not looked at
        for order in ("scan", "scan"):
            _write(KMEMLEAK, order)
        with open(KMEMLEAK) as file:
            found = file.read().splitlines()
        _write(KMEMLEAK, "clear")
        if found:
            count = sum(line.startswith("unreferenced") for line in found)
            self._complain(f"kmemleak: {count} objects leaked")
            for line in found[:60]:
                tell(f" # {line}")

    def _check_log(self, what, mark):
        lines = self._log.since(mark)
        bad = next((line for line in lines if SPLAT.search(line) or line == KernelLog.LOST), None)
        if bad:
            self._complain(f"{what}: {bad}")
            for line in lines[-LOG_LINES:]:
                tell(f" # {line}")
            self.untrusted = True


def time_limit():
    """The seconds that settings gives each test, as kselftest's runner reads it."""
    with open("settings") as file:
        found = re.search(r"^timeout=(\d+)", file.read(), re.M)
    return int(found[1]) if found else 45


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


def _process_name(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return pid


def _become_test(name):
    """This process, just forked, runs the file as if it had been started so."""
    status = 1
    try:
        _write(f"{GROUP}/cgroup.procs", "0")
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(OUT, os.O_WRONLY | os.O_APPEND), 1)
        os.dup2(1, 2)
        sys.argv = [f"./{name}"]
        sys.path[0] = os.getcwd()
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _follow(child, limit):
    """Tells what the test prints until it ends; False when it had to be ended."""
    ended = os.pidfd_open(child)
    end = time.monotonic() + limit
    numbers = [signal.SIGTERM, signal.SIGKILL]
    rest = b""
    with open(OUT, "rb") as out:
        while True:
            over = select.select([ended], [], [], 0.2)[0]
            *lines, rest = (rest + out.read()).split(b"\n")
            if lines:
                tell("\n".join(f" {line.decode(errors='replace')}" for line in lines))
            if over:
                break
            if time.monotonic() > end and numbers:
                os.kill(child, numbers.pop(0))
                end += KILL_LIMIT
    os.close(ended)
    if rest:
        tell(f" {rest.decode(errors='replace')}")
    return len(numbers) == 2


def load_what_tests_load():
    """Each test is a fork of this process: it need not load scapy again."""
    for name in ("inet", "inet6", "l2"):
        try:
            importlib.import_module(f"scapy.layers.{name}")
        except ImportError as why:
            tell(f"# {why}")


def main():
    os.chdir(os.path.join(os.environ["XTUN_TOP"], "selftests"))
    fresh = set(loaded_modules())
    log = KernelLog()
    load_what_tests_load()
    while True:
        tell("@next")
        name = sys.stdin.readline().strip()
        if not name:
            late = [line for line in log.since("the end") if SPLAT.search(line)]
            for line in late:
                tell(f"the kernel complained after all tests: {line}")
            return LATE if late else 0
        test = Test(name, log, fresh)
        test.run()
        if test.untrusted:
            return UNTRUSTED


sys.exit(main())
