#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Deals test files out to virtual machines, several at once, and sums up.

run-tests.sh, which has the usage, starts it.  A file that fails is run once more,
alone, in a fresh machine: what passes then has failed by chance, which is told and
is no failure of the run.  What the kernel complained of is one, whatever comes of the
second run.
"""

import argparse
import collections
import fcntl
import functools
import glob
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

VM_DIR = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(VM_DIR))
LOGS = os.path.join(TOP, "build", "log")

UNTRUSTED = 71          # guest.py's status when its kernel said too much
OVERHEAD = 30           # seconds to keep for ending in good order
SILENCE = 2520          # seconds without a word: the limit of a test, and two minutes
MACHINE_MEMORY = 3600   # MB: what vm.sh gives the guest, and qemu's own
MACHINE_DISK = 200      # MB: its initramfs and what it prints
KERNEL_DISK = 1500      # MB: to fetch one
MOST_RUN_AGAIN = 6      # files: more than that do not fail by chance
SHOWN = 60              # lines about the failures of a file
SLOWEST = 5


def say(text):
    # In one piece: several threads write.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def start(*argv):
    """A process in a group of its own, which end() ends with all that it has started."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *argv], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def end(process):
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


def lines_of(process, limit):
    """What a process prints, until it ends; None when it has said nothing for so long."""
    rest = b""
    while select.select([process.stdout], [], [], max(limit(), 0))[0]:
        data = os.read(process.stdout.fileno(), 1 << 16)
        if not data:
            if rest:
                yield rest.decode(errors="replace")
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    yield None


class Run:
    """What came of a test file on a kernel, once."""

    def __init__(self, kernel, test, log):
        self.kernel, self.test, self.log = kernel, test, log
        self.name = test.rpartition(".")[0] or test
        self.passed = self.skipped = self.seconds = 0
        self.failures = []
        self.complaints = 0     # of the failures, the kernel's own

    def failed(self):
        return bool(self.failures)

    def excuses(self, first):
        """Whether this, the second run, says that the first one failed by chance."""
        return (not self.failed() and not first.complaints and self.passed
                and self.skipped <= first.skipped)

    def tell(self):
        count = self.passed + self.skipped + len(self.failures)
        where = f"{self.kernel} {self.name}"
        if not self.failed():
            say(f"ok {where} ({count} subtests, {self.seconds} s)")
            return
        for line in self._about_failures():
            say(f"  {line}")
        say(f"not ok {where} ({len(self.failures)} of {count} failed, {self.seconds} s; "
            f"all of it: {os.path.relpath(self.log, TOP)})")

    def _about_failures(self):
        """Of the log, the subtests that failed with what they said before."""
        shown, said = [], []
        with open(self.log, encoding="utf-8", errors="replace") as log:
            for line in log.read().splitlines():
                said.append(line)
                if line.startswith(("not ok ", "@fail ", "@complaint ")):
                    shown += said
                if not line.startswith("#"):
                    said = []
        shown += said[-SHOWN:]
        return shown if len(shown) <= SHOWN else [*shown[:SHOWN], "..."]


# What a machine is for: tests of one kernel that want so many processors.
Lot = collections.namedtuple("Lot", "kernel processors")


class Machine:
    """A virtual machine that runs tests of one lot, and what it tells."""

    def __init__(self, suite, lot, deal, done, suffix=""):
        """deal: returns the next test, or None; done: called with each Run."""
        self._suite, self._lot, self._deal, self._done = suite, lot, deal, done
        self._suffix = suffix
        self._run = self._log = self._input = self._start = None
        self._last = collections.deque(maxlen=SHOWN)
        self.dealt = None       # a test that it was given and has not begun
        self.ended = []         # those that it has done with

    def run(self):
        """Until no test is left or it has died; returns vm.sh's exit status."""
        # What is left of a run that was killed, vm.sh removes: it knows by the number.
        with tempfile.TemporaryDirectory(prefix="vm.run.", suffix=f".{os.getpid()}",
                                         dir=self._suite.options.cache) as folder:
            fifo = os.path.join(folder, "input")
            os.mkfifo(fifo)
            # Both ends: so that neither waits for the other.
            self._input = os.open(fifo, os.O_RDWR)
            try:
                return self._attend(fifo)
            finally:
                os.close(self._input)
                if self._log:
                    self._log.close()

    def _attend(self, fifo):
        left = max(self._suite.time_left() - OVERHEAD, 1)
        process = start(
            os.path.join(VM_DIR, "vm.sh"), "-b", "-K", self._lot.kernel, "-t", str(left),
            "-p", str(self._lot.processors), "-i", fifo, "-c", "env",
            f"XTUN_SEED={self._suite.options.seed}", "/usr/bin/python3", os.path.join(VM_DIR, "guest.py"))
        with self._suite.attended(process):
            for line in lines_of(process, lambda: SILENCE):
                if line is None:
                    self._last.append(f"it said nothing for {SILENCE} s and was ended")
                    break
                self._line(line)
            else:
                process.wait()
        if self._run:
            self._run.failures.append("the machine did not survive it")
            self._log.write("".join(f"# {line}\n" for line in self._last))
            self._end()
        elif process.returncode not in (0, UNTRUSTED):
            say("".join(f"  {line}\n" for line in self._last) +
                f"# a machine with {self._lot.kernel} ended with status {process.returncode}")
        return process.returncode

    def _line(self, line):
        if line.startswith(" ") and self._run:
            self._log.write(line[1:] + "\n")
            self._log.flush()
            self._suite.verbose(self._run, line[1:])
            return
        verb, _, rest = line.partition(" ")
        if verb == "@next":
            self.dealt = self._deal()
            os.write(self._input, f"{self.dealt or ''}\n".encode())
        elif verb == "@begin":
            self._begin(rest)
        elif verb in ("@pass", "@skip", "@fail", "@complaint", "@end") and self._run:
            self._judgement(verb, rest, line)
        else:
            self._last.append(line)

    def _judgement(self, verb, rest, line):
        if verb == "@pass":
            self._run.passed = int(rest)
        elif verb == "@skip":
            self._run.skipped = int(rest)
        elif verb == "@end":
            self._run.seconds = int(rest.split()[1])
            self._end()
        else:
            self._run.failures.append(rest)
            self._run.complaints += verb == "@complaint"
            self._log.write(line + "\n")

    def _begin(self, test):
        self.dealt = None
        name = test.rpartition(".")[0]
        path = os.path.join(LOGS, self._lot.kernel, f"{name}{self._suffix}.log")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._log = open(path, "w", encoding="utf-8")
        self._run = Run(self._lot.kernel, test, path)
        self._start = time.monotonic()

    def _end(self):
        self._log.close()
        run, self._run = self._run, None
        run.seconds = run.seconds or round(time.monotonic() - self._start)
        self.ended.append(run)
        self._done(run)


class Attended:
    """A process that ends when the block or the suite does."""

    def __init__(self, suite, process):
        self._suite, self._process = suite, process

    def __enter__(self):
        self._suite.processes.add(self._process)

    def __exit__(self, *_):
        if self._process.poll() is None:
            end(self._process)
            self._process.wait()
        self._process.stdout.close()
        self._suite.processes.discard(self._process)


class Suite:
    """All tests on all kernels, dealt out to machines."""

    def __init__(self, options):
        self.options = options
        self._start = time.monotonic()
        self._end = self._start + options.limit
        self._changed = threading.Condition()
        self._queues = {}       # of tests, by lot
        for kernel in options.kernels:
            for test in options.tests:
                self._queues.setdefault(self._lot_of(kernel, test), []).append(test)
        self._building = list(options.kernels)
        self._in_vain = collections.Counter()   # machines of a kernel that ran nothing
        self.processes = set()
        self.runs = []          # of test files
        self.troubles = []      # (kernel, text): failures that no test could tell
        self.again = []         # pairs of runs, of what was run once more

    def time_left(self):
        return int(self._end - time.monotonic())

    def _lot_of(self, kernel, test):
        return Lot(kernel, 2 if test in self.options.smp else 1)

    # -- called by machines --

    def attended(self, process):
        return Attended(self, process)

    def result(self, run):
        with self._changed:
            self.runs.append(run)
            run.tell()

    def verbose(self, run, line):
        if self.options.verbose:
            say(f"  {run.kernel} {run.name}: {line}")

    def _next_of(self, lot):
        with self._changed:
            queue = self._queues[lot]
            if not queue or self.time_left() <= 2 * OVERHEAD:
                return None
            return queue.pop(0)

    def trouble(self, kernel, text):
        with self._changed:
            self.troubles.append((kernel, text))
            say(f"not ok {kernel}: {text}")

    # -- building --

    def _build(self):
        """One kernel after the other; what is built is tested meanwhile."""
        for kernel in self.options.kernels:
            try:
                why = self._build_for(kernel)
                if why:
                    self._give_up(kernel, f"it could not be had or built: {why}")
            finally:
                with self._changed:
                    self._building.remove(kernel)
                    self._changed.notify_all()

    def _build_for(self, kernel):
        """None, or in words why the module could not be built."""
        process = start(os.path.join(VM_DIR, "build.sh"), kernel)
        last = collections.deque(["no reason was told"], maxlen=3)
        with self.attended(process):
            for line in lines_of(process, lambda: self.time_left() - OVERHEAD):
                if line is None:
                    return "there was no time for it"
                say(line)
                last.append(line.strip())
            process.wait()
        return "; ".join(last) if process.returncode else None

    def _give_up(self, kernel, why):
        """why: what names the tests that are not run for it, in braces."""
        with self._changed:
            left = [test for lot, queue in self._queues.items() if lot.kernel == kernel
                    for test in queue]
            self._queues.update({lot: [] for lot in self._queues if lot.kernel == kernel})
        self.trouble(kernel, why.replace("{}", " ".join(left)))

    # -- machines --

    def _lot_to_run(self, last):
        """What a free machine takes; None if there is nothing to do."""
        with self._changed:
            while True:
                ready = [lot for lot, queue in self._queues.items()
                         if queue and lot.kernel not in self._building]
                if ready:
                    return last if last in ready else ready[0]
                if not self._building:
                    return None
                self._changed.wait()

    def _deal_out(self):
        """One machine after the other, as long as there is something to run."""
        lot = None
        while lot := self._lot_to_run(lot):
            if self.time_left() <= 2 * OVERHEAD:
                self._give_up(lot.kernel, "no time left for: {}")
                continue
            machine = Machine(self, lot, functools.partial(self._next_of, lot), self.result)
            self._ended(lot, machine, machine.run())

    def _ended(self, lot, machine, status):
        """What to do about a machine that did not end well."""
        kernel = lot.kernel
        if machine.dealt:
            with self._changed:
                self._queues[lot].insert(0, machine.dealt)
        if machine.ended:
            self._in_vain[kernel] = 0
            if status not in (0, UNTRUSTED) and machine.ended[-1].failures[-1:] != [
                    "the machine did not survive it"]:
                self.trouble(kernel, f"a machine ended with status {status} after "
                             f"{machine.ended[-1].name}")
        elif status:
            self._in_vain[kernel] += 1
            if self._in_vain[kernel] == 2:
                self._give_up(kernel, "two machines in a row ran nothing; not run: {}")

    def run(self, machines):
        threads = [threading.Thread(target=self._guarded, args=(function,), daemon=True)
                   for function in (self._build, *[self._deal_out] * machines)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _guarded(self, function):
        """What this program itself did wrong is a failure, and holds up nobody."""
        try:
            function()
        except Exception:
            self.trouble("any", traceback.format_exc().strip())

    def run_again(self):
        """What failed, once more: one file at a time, each in a fresh machine."""
        failed = [run for run in self.runs if run.failed()]
        if len(failed) > MOST_RUN_AGAIN:
            say(f"# {len(failed)} files failed, which is no chance: none is run once more")
            return
        for first in failed:
            if self.time_left() <= 2 * OVERHEAD:
                say(f"# no time left to run {first.kernel} {first.name} once more")
                continue
            say(f"# {first.kernel} {first.name} once more, alone in a fresh machine")
            left, runs = [first.test, None], []
            Machine(self, self._lot_of(first.kernel, first.test),
                    functools.partial(left.pop, 0), runs.append, ".again").run()
            for again in runs:
                again.tell()
                self.again.append((first, again))

    def end_all(self):
        for process in list(self.processes):
            end(process)

    # -- the end --

    def sum_up(self, machines):
        """Prints what came of all; whether nothing failed and something passed."""
        excused = {id(first): again for first, again in self.again if again.excuses(first)}
        final = [excused.get(id(run), run) for run in self.runs]
        self._find_what_was_not_run()
        self._table(final)
        say(f"{machines} machine{'s' * (machines > 1)} at a time, "
            f"{time.monotonic() - self._start:.0f} s in all")
        for first, again in self.again:
            for text in first.failures if id(first) in excused else []:
                say(f"by chance: {first.test}: {text}, kernel {first.kernel}, "
                    f"seed {self.options.seed} (logs: {os.path.relpath(first.log, TOP)}, "
                    f"{os.path.relpath(again.log, TOP)})")
        failures = [(run.kernel, f"{run.name}: {text}") for run in final for text in run.failures]
        failures += [(again.kernel, f"{again.name}: {text} (the second time)")
                     for first, again in self.again for text in again.failures
                     if text not in first.failures]
        failures += self.troubles
        for kernel, text in failures:
            say(f"failed: {kernel} {text}")
        passed, skipped = (sum(getattr(run, word) for run in final)
                           for word in ("passed", "skipped"))
        say(f"{passed} passed, {len(failures)} failed" +
            (f", {skipped} skipped" if skipped else ""))
        return passed and not failures

    def _find_what_was_not_run(self):
        """Whatever the reason is: no file of a kernel is missing without a word."""
        given_up = {kernel for kernel, _ in self.troubles}
        ran = {(run.kernel, run.test) for run in self.runs}
        for kernel in self.options.kernels:
            left = [test for test in self.options.tests if (kernel, test) not in ran]
            if left and kernel not in given_up:
                self.troubles.append((kernel, f"not run: {' '.join(left)}"))

    def _table(self, final):
        say("\nfile            kernel  subtests  seconds")
        for run in sorted(final, key=lambda run: (run.name, run.kernel)):
            count = run.passed + run.skipped + len(run.failures)
            say(f"{run.name:15s} {run.kernel:7s} {count:8d} {run.seconds:8d}"
                f"{'  FAILED' if run.failed() else ''}")
        slow = sorted(final, key=lambda run: -run.seconds)[:SLOWEST]
        say("the slowest: " + ", ".join(f"{run.name} on {run.kernel} {run.seconds} s"
                                        for run in slow))


# ---- how many machines ----

def memory_available():
    """In MB; of a container, what its limit leaves."""
    with open("/proc/meminfo") as file:
        free = int(re.search(r"^MemAvailable:\s+(\d+)", file.read(), re.M)[1]) // 1024
    try:
        limit, used = (int(open(f"/sys/fs/cgroup/memory.{name}").read())
                       for name in ("max", "current"))
        return min(free, (limit - used) // (1 << 20))
    except (OSError, ValueError):       # no such file, or the word "max"
        return free


def disk_available(options):
    """In MB, less what kernels take that are still to be fetched."""
    missing = [kernel for kernel in options.kernels if kernel != "debug" and
               not os.path.exists(os.path.join(options.cache, "kernel", kernel))]
    free = shutil.disk_usage(options.cache).free // 1000000
    return free - KERNEL_DISK * len(missing)


def machines_wanted(options):
    """As many as were asked for, if there is room for them.

    Else three for two processors: tests wait so much that one machine has something to
    do for two thirds of a processor.
    """
    wanted = options.jobs or max(len(os.sched_getaffinity(0)) * 3 // 2, 1)
    wanted = min(wanted, len(options.tests) * len(options.kernels))
    for what, room in (("memory", memory_available() // MACHINE_MEMORY),
                       ("disk space", disk_available(options) // MACHINE_DISK)):
        if room < wanted:
            wanted = max(room, 1)
            say(f"# {wanted} machine{'s' * (wanted > 1)} at a time: "
                f"there is no {what} for more")
    return wanted


def take_lock(options):
    """One run at a time, and no other machine beside it; None if that takes too long."""
    lock = open(os.path.join(options.cache, "vm.lock"), "a")
    until = time.monotonic() + options.limit - 2 * OVERHEAD
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if not told:
                say(f"waiting for another virtual machine to end ({holder(options.cache)})")
                told = True
            if time.monotonic() > until:
                return None
            time.sleep(1)
    with open(os.path.join(options.cache, "vm.holder"), "w") as file:
        file.write(f"process {os.getpid()}, the test suite\n")
    return lock


def holder(cache):
    try:
        with open(os.path.join(cache, "vm.holder")) as file:
            return file.read().strip()
    except OSError:
        return "nobody knows which"


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernels", nargs="+")
    parser.add_argument("--tests", nargs="+")
    parser.add_argument("--smp", nargs="*")
    parser.add_argument("--cache")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


class Ended(BaseException):
    """By a signal."""


def ended_by(number, _):
    raise Ended(signal.Signals(number).name)


def main():
    options = parse_options()
    suite = Suite(options)
    machines = 0
    lock = None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ended_by)
    try:
        lock = take_lock(options)
        if lock:
            for path in glob.glob(os.path.join(TOP, "build", "console.*")):
                os.remove(path)
            for kernel in options.kernels:
                shutil.rmtree(os.path.join(LOGS, kernel), ignore_errors=True)
            machines = machines_wanted(options)
            suite.run(machines)
            suite.run_again()
        else:
            suite.trouble("any", "another virtual machine did not end in time")
    except Ended as why:
        suite.end_all()
        suite.troubles.append(("any", f"ended by {why}"))
    return 0 if suite.sum_up(machines) else 1


if __name__ == "__main__":
    sys.exit(main())
