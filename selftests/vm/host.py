#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a guest has this machine do for it: run tshark.

An emulated processor takes seven seconds for what tshark does when it starts, and
this machine a fifth of one; the answer is the same.  vm.sh starts this program beside
qemu, which leads the guest's port "host" to two FIFOs, FIFO.out and FIFO.in.

A request is a line of JSON, {"argv": [...], "size": N}, and N bytes of a capture
file that tshark is given; the reply is a line, {"status": S, "out": N, "err": N},
and what was printed.  lib/capture.py is the other end.

usage: host.py FIFO
"""

import json
import os
import subprocess
import sys
import tempfile

LIMIT = 300     # seconds


def answer(request, data, where):
    """Exit status, standard output and standard error of one tshark."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        path = os.path.join(folder, "packets.pcap")
        with open(path, "wb") as file:
            file.write(data)
        try:
            seen = subprocess.run(
                ["tshark", *request["argv"], "-r", path], stdin=subprocess.DEVNULL,
                capture_output=True, timeout=LIMIT, check=False,
                env={"PATH": os.environ["PATH"], "HOME": folder, "LANG": "C.UTF-8"})
        except subprocess.TimeoutExpired:
            return 1, b"", f"tshark did not end in {LIMIT} s".encode()
    return seen.returncode, seen.stdout, seen.stderr


def main():
    fifo = sys.argv[1]
    with open(f"{fifo}.out", "rb") as requests, open(f"{fifo}.in", "wb") as replies:
        while line := requests.readline():
            request = json.loads(line)
            status, out, err = answer(request, requests.read(request["size"]),
                                      os.path.dirname(fifo))
            head = json.dumps({"status": status, "out": len(out), "err": len(err)})
            replies.write(head.encode() + b"\n" + out + err)
            replies.flush()


main()
