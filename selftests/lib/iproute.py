# SPDX-License-Identifier: GPL-2.0
"""ip(8) that stays: one process for many commands.

To start ip takes a tenth of a second on an emulated machine, and a command of it
a few milliseconds.  So each namespace keeps a process of `ip -batch` and writes
line by line to it.

Such a process remembers the index of each device name, and forgets that of a
device which it has deleted itself.  So it is told which devices there are, and is
ended when it remembers one that is gone.
"""

import os
import re
import selectors
import subprocess

from lib import ktap

# ip knows no such object and says so on standard error.  That it said it means that
# the line before has been done, and that all that it said of it has arrived.
_MARK = "mark"
_SAID_OF_MARK = re.compile(r'Object "mark" is unknown, try "ip help"\.\n'
                           r"Command failed -:\d+\n\Z")
_FAILED = re.compile(r"Command failed -:\d+\n?")


class Iproute:
    """A process of ip(8) with these options, in the netns where it is made."""

    def __init__(self, *options):
        # Its output is for a pipe, and would come when 4096 bytes are together.
        self._popen = subprocess.Popen(
            ["stdbuf", "-o", "L", "ip", *options, "-force", "-batch", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._selector = selectors.DefaultSelector()
        for file in (self._popen.stdout, self._popen.stderr):
            os.set_blocking(file.fileno(), False)
            self._selector.register(file, selectors.EVENT_READ)
        self._devices = {}

    def run(self, line, limit):
        """Runs a command: what it printed, and the text of its failure or None."""
        out, said = self._ask(line, limit)
        if match := re.match(r"link del(?:ete)? (?:dev )?(\S+)$", line):
            self._devices.pop(match[1], None)
        failed = _FAILED.search(said)
        text = _FAILED.sub("", said).strip()
        # Some mistakes of usage end the process, with no word of a failed command.
        return out, text if failed or not self.running() else None

    def remembers(self, devices):
        """Whether all that it may remember is right; devices: the indexes by name."""
        right = all(devices.get(name) == index for name, index in self._devices.items())
        self._devices.update(devices)
        return right

    def _ask(self, line, limit):
        assert "\n" not in line, line
        try:
            self._popen.stdin.write(f"{line}\n{_MARK}\n".encode())
            self._popen.stdin.flush()
        except BrokenPipeError:
            pass                    # it has ended, and said why
        said = {self._popen.stdout: b"", self._popen.stderr: b""}
        while not _SAID_OF_MARK.search(said[self._popen.stderr].decode(errors="replace")):
            ready = self._selector.select(limit)
            if not ready:
                self._popen.kill()      # what it still says is about this line
                self._popen.wait()
                ktap.fail(f"ip {line}: no answer in {limit} s")
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                said[key.fileobj] += data
                if not data:
                    self._selector.unregister(key.fileobj)
            if not self._selector.get_map():
                self._popen.wait(limit)
                break
        out, text = (said[file].decode(errors="replace")
                     for file in (self._popen.stdout, self._popen.stderr))
        return out + self._rest(), _SAID_OF_MARK.sub("", text)

    def _rest(self):
        """What else is there of standard output: it was written before the mark."""
        rest = b""
        while self._popen.stdout in [key.fileobj for key, _ in self._selector.select(0)]:
            data = os.read(self._popen.stdout.fileno(), 1 << 16)
            if not data:
                break
            rest += data
        return rest.decode(errors="replace")

    def running(self):
        return self._popen.poll() is None

    def close(self):
        self._selector.close()
        self._popen.kill()
        for file in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            file.close()
        self._popen.wait()
