#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Deals test files out to virtual machines, several at once, and sums up.

run-tests.sh, which has the usage, starts it.  A file that fails is run once more,
alone, in a fresh machine: what passes then has failed by chance, which is told and
is no failure of the run.
"""

import argparse
import collections
import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

VM_DIR = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(VM_DIR))
LOGS = os.path.join(TOP, "build", "log")

UNTRUSTED = 71          # guest.py's status when its kernel said too much
OVERHEAD = 30           # seconds to keep for ending in good order
MACHINE_MEMORY = 3600   # MB: what vm.sh gives the guest, and qemu's own
MACHINE_DISK = 200      # MB: its initramfs and what it prints
CHANCES = 6             # more files than that do not fail by chance
SHOWN = 60              # lines about the failures of a file
SLOWEST = 5


def say(text):
    print(text, flush=True)


class Run:
    """What came of a test file on a kernel, once."""

    def __init__(self, kernel, test, log):
        self.kernel, self.test, self.log = kernel, test, log
        self.name = test.rpartition(".")[0] or test
        self.passed = self.skipped = self.seconds = 0
        self.failures = []

    def failed(self):
        return bool(self.failures)

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
        with open(self.log, errors="replace") as log:
            for line in log.read().splitlines():
                said.append(line)
                if line.startswith(("not ok ", "@fail ")):
                    shown += said
                if not line.startswith("#"):
                    said = []
        shown += said[-SHOWN:]
        return shown if len(shown) <= SHOWN else [*shown[:SHOWN], "..."]


class Machine:
    """A virtual machine that runs tests of one kernel, and what it tells."""

    def __init__(self, suite, kernel, deal, done, suffix=""):
        """deal: returns the next test, or None; done: called with each Run."""
        self._suite, self._kernel, self._deal, self._done = suite, kernel, deal, done
        self._suffix = suffix
        self._run = self._log = None
        self.began = False

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

    def _attend(self, fifo):
        left = max(self._suite.time_left() - OVERHEAD, 1)
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", os.path.join(VM_DIR, "vm.sh"), "-b", "-K", self._kernel, "-t", str(left),
             "-i", fifo, "-c", "env", f"XTUN_SEED={self._suite.options.seed}", "/usr/bin/python3",
             os.path.join(VM_DIR, "guest.py")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace")
        last = collections.deque(maxlen=SHOWN)
        for line in process.stdout:
            self._line(line.rstrip("\n"), last)
        status = process.wait()
        if self._run:
            self._run.failures.append("the machine did not survive it")
            self._log.write("".join(f"# {line}\n" for line in last))
            self._end()
        elif status not in (0, UNTRUSTED):
            say("".join(f"  {line}\n" for line in last) +
                f"# a machine with {self._kernel} ended with status {status}")
        return status

    def _line(self, line, last):
        if line.startswith(" ") and self._run:
            self._log.write(line[1:] + "\n")
            self._log.flush()
            self._suite.verbose(self._run, line[1:])
            return
        verb, _, rest = line.partition(" ")
        if verb == "@next":
            os.write(self._input, f"{self._deal() or ''}\n".encode())
        elif verb == "@begin":
            self._begin(rest)
        elif verb == "@pass":
            self._run.passed = int(rest)
        elif verb == "@skip":
            self._run.skipped = int(rest)
        elif verb == "@fail":
            self._run.failures.append(rest)
            self._log.write(line + "\n")
        elif verb == "@end":
            self._run.seconds = int(rest.split()[1])
            self._end()
        else:
            last.append(line)

    def _begin(self, test):
        self.began = True
        path = os.path.join(LOGS, self._kernel, f"{test.rpartition('.')[0]}{self._suffix}.log")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._log = open(path, "w")
        self._run = Run(self._kernel, test, path)
        self._start = time.monotonic()

    def _end(self):
        self._log.close()
        run, self._run = self._run, None
        run.seconds = run.seconds or round(time.monotonic() - self._start)
        self._done(run)


class Suite:
    """All tests on all kernels, dealt out to machines."""

    def __init__(self, options):
        self.options = options
        self._start = time.monotonic()
        self._end = self._start + options.limit
        self._changed = threading.Condition()
        self._queues = {kernel: list(options.tests) for kernel in options.kernels}
        self._building = list(options.kernels)
        self.runs = []          # of test files
        self.troubles = []      # (kernel, text): failures that no test could tell
        self.again = []         # pairs of runs, of what was run once more

    def time_left(self):
        return int(self._end - time.monotonic())

    # -- called by machines --

    def result(self, run):
        with self._changed:
            self.runs.append(run)
            run.tell()

    def verbose(self, run, line):
        if self.options.verbose:
            say(f"  {run.kernel} {run.name}: {line}")

    def _next_of(self, kernel):
        with self._changed:
            queue = self._queues[kernel]
            if not queue or self.time_left() <= 2 * OVERHEAD:
                return None
            return queue.pop(0)

    # -- building --

    def _build(self):
        """One kernel after the other; what is built is tested meanwhile."""
        for kernel in self.options.kernels:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", os.path.join(VM_DIR, "build.sh"), kernel],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace")
            last = "no reason was told"
            for line in process.stdout:
                say(line.rstrip("\n"))
                last = line.strip() or last
            failed = process.wait()
            with self._changed:
                if failed:
                    self._give_up(kernel, f"it could not be had or built: {last}")
                self._building.remove(kernel)
                self._changed.notify_all()

    def _give_up(self, kernel, why):
        self._queues[kernel] = []
        self.troubles.append((kernel, why))
        say(f"not ok {kernel}: {why}")

    # -- machines --

    def _kernel_to_run(self, last):
        """The kernel that a free machine takes; None if there is nothing to do."""
        with self._changed:
            while True:
                ready = [kernel for kernel in self.options.kernels
                         if self._queues[kernel] and kernel not in self._building]
                if ready:
                    return last if last in ready else ready[0]
                if not self._building:
                    return None
                self._changed.wait()

    def _slot(self):
        kernel, in_vain = None, 0
        while kernel := self._kernel_to_run(kernel):
            if self.time_left() <= 2 * OVERHEAD:
                with self._changed:
                    if left := self._queues[kernel]:
                        self._give_up(kernel, f"no time left for: {' '.join(left)}")
                continue
            machine = Machine(self, kernel, functools.partial(self._next_of, kernel), self.result)
            status = machine.run()
            in_vain = 0 if machine.began or not status else in_vain + 1
            if in_vain == 2:
                with self._changed:
                    if left := self._queues[kernel]:
                        self._give_up(kernel, f"no machine for: {' '.join(left)}")
                in_vain = 0

    def run(self, machines):
        threads = [threading.Thread(target=self._build, daemon=True)]
        threads += [threading.Thread(target=self._slot, daemon=True) for _ in range(machines)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run_again(self):
        """What failed, once more: one file at a time, each in a fresh machine."""
        failed = [run for run in self.runs if run.failed()]
        if len(failed) > CHANCES:
            say(f"# {len(failed)} files failed, which is no chance: none is run once more")
            return
        for first in failed:
            if self.time_left() <= 2 * OVERHEAD:
                say(f"# no time left to run {first.kernel} {first.name} once more")
                continue
            say(f"# {first.kernel} {first.name} once more, alone in a fresh machine")
            left, runs = [first.test, None], []
            Machine(self, first.kernel, functools.partial(left.pop, 0), runs.append,
                    ".again").run()
            for again in runs:
                again.tell()
                self.again.append((first, again))

    # -- the end --

    def sum_up(self, machines):
        """Prints what came of all; whether nothing failed and something passed."""
        second = {id(first): again for first, again in self.again}
        final = [second.get(id(run), run) for run in self.runs]
        self._table(final)
        say(f"{machines} machine{'s' * (machines > 1)} at a time, "
            f"{time.monotonic() - self._start:.0f} s in all")
        for first, again in self.again:
            if not again.failed():
                for text in first.failures:
                    say(f"by chance: {first.test}: {text}, kernel {first.kernel}, "
                        f"seed {self.options.seed} "
                        f"(logs: {os.path.relpath(first.log, TOP)}, "
                        f"{os.path.relpath(again.log, TOP)})")
        failures = [(run.kernel, f"{run.name}: {text}") for run in final for text in run.failures]
        failures += self.troubles
        for kernel, text in failures:
            say(f"failed: {kernel} {text}")
        passed, skipped = (sum(getattr(run, word) for run in final)
                           for word in ("passed", "skipped"))
        say(f"{passed} passed, {len(failures)} failed" +
            (f", {skipped} skipped" if skipped else ""))
        return passed and not failures

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
    """In MB."""
    with open("/proc/meminfo") as file:
        return int(re.search(r"^MemAvailable:\s+(\d+)", file.read(), re.M)[1]) // 1024


def machines_wanted(options, cache):
    """As many as were asked for, or as there are processors, if there is room for them."""
    wanted = options.jobs or os.cpu_count()
    wanted = min(wanted, len(options.tests) * len(options.kernels))
    for what, room in (("memory", memory_available() // MACHINE_MEMORY),
                       ("disk space", shutil.disk_usage(cache).free // 1000000 // MACHINE_DISK)):
        if room < wanted:
            wanted = max(room, 1)
            say(f"# {wanted} machine{'s' * (wanted > 1)} at a time: "
                f"there is no {what} for more")
    return wanted


def take_lock(cache):
    """One run at a time, and no other machine beside it."""
    lock = open(os.path.join(cache, "vm.lock"), "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("waiting for another virtual machine to end")
        fcntl.flock(lock, fcntl.LOCK_EX)
    with open(os.path.join(cache, "vm.holder"), "w") as file:
        file.write(f"process {os.getpid()}, the test suite\n")
    return lock


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernels", nargs="+")
    parser.add_argument("--tests", nargs="+")
    parser.add_argument("--cache")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def main():
    options = parse_options()
    lock = take_lock(options.cache)
    for kernel in options.kernels:
        shutil.rmtree(os.path.join(LOGS, kernel), ignore_errors=True)
    suite = Suite(options)
    machines = machines_wanted(options, options.cache)
    suite.run(machines)
    suite.run_again()
    good = suite.sum_up(machines)
    lock.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
