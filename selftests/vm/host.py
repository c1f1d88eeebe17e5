#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a guest has this machine do for it: run tshark.

An emulated processor takes seven seconds for what tshark does when it starts, and
this machine a fifth of one; the answer is the same.  vm.sh starts this program beside
qemu, which leads the guest's port "host" to two FIFOs, FIFO.out and FIFO.in.

A request is a line of JSON, {"number": X, "argv": [...], "size": N}, and N bytes of a
capture file that tshark is given; the reply is a line, "xtun-reply " and {"number": X,
"status": S, "out": N, "err": N}, and what was printed.  lib/capture.py is the other
end.  Of tshark's options only those are taken that can do nothing but print.

usage: host.py FIFO
"""

import json
import os
import subprocess
import sys
import tempfile

LIMIT = 250     # seconds, less than lib/capture.py waits
WITHOUT_VALUE = ("-n", "-V", "-x", "--no-duplicate-keys")
WITH_VALUE = ("-o", "-T", "-E", "-e", "-Y", "-d")


def harmless(argv):
    """Whether tshark writes nowhere and runs nothing for these options."""
    rest = list(argv)
    while rest:
        option = rest.pop(0)
        if option in WITH_VALUE and rest:
            rest.pop(0)
        elif option not in WITHOUT_VALUE:
            return False
    return True


def answer(request, data, where):
    """Exit status, standard output and standard error of one tshark."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        path = os.path.join(folder, "packets.pcap")
        with open(path, "wb") as file:
            file.write(data)
        if not harmless(request["argv"]):
            return 1, b"", f"not for this machine: {request['argv']}".encode()
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
            head = json.dumps({"number": request["number"], "status": status,
                               "out": len(out), "err": len(err)})
            replies.write(b"xtun-reply " + head.encode() + b"\n" + out + err)
            replies.flush()


main()
