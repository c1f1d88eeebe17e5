#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a guest has this machine do for it: run tshark.

An emulated processor takes seven seconds for what tshark does when it starts, and
this machine a fifth of one; the answer is the same.  vm.sh starts this program beside
qemu, which leads the guest's port "host" to two FIFOs, FIFO.out and FIFO.in.

A request is a line of JSON, {"number": X, "argv": [...], "size": N}, and N bytes of a
capture file that tshark is given; the reply is a line, "xtun-reply " and {"number": X,
"status": S, "out": N, "err": N}, and what was printed.  lib/capture.py is the other
end.  Of tshark's options and preferences only those are taken that tests need, since
there are some that run programs or write files; and tshark has no rights here.

usage: host.py FIFO
"""

import json
import os
import subprocess
import sys

LIMIT = 250     # seconds, less than lib/capture.py waits
FLAGS = ("-n", "-V", "--no-duplicate-keys")
OPTIONS = ("-T", "-E", "-e", "-Y", "-d")
PREFERENCES = ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum",
               "tcp.analyze_sequence_numbers", "l2tp.cookie_size", "l2tp.l2_specific")
NOBODY = "65534"


def harmless(argv):
    """Whether it is what tests ask tshark for; without names looked up, above all."""
    rest = list(argv)
    if "-n" not in rest or any(not isinstance(word, str) or "\0" in word for word in rest):
        return False
    while rest:
        option = rest.pop(0)
        if option in FLAGS:
            continue
        value = rest.pop(0) if rest else None
        if value is None or not (option in OPTIONS or option == "-o" and
                                 value.partition(":")[0] in PREFERENCES):
            return False
    return True


def answer(argv, data):
    """Exit status, standard output and standard error of one tshark."""
    if not harmless(argv):
        return 1, b"", f"not for this machine: {argv}".encode()
    try:
        seen = subprocess.run(
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
             "--no-new-privs", "--bounding-set=-all",
             "tshark", *argv, "-r", "-"], input=data, capture_output=True, timeout=LIMIT,
            check=False, cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"})
    except (OSError, subprocess.SubprocessError) as why:
        return 1, b"", str(why).encode()
    return seen.returncode, seen.stdout, seen.stderr


def main():
    fifo = sys.argv[1]
    with open(f"{fifo}.out", "rb") as requests, open(f"{fifo}.in", "wb") as replies:
        while line := requests.readline():
            request = json.loads(line)
            status, out, err = answer(request["argv"], requests.read(request["size"]))
            head = json.dumps({"number": request["number"], "status": status,
                               "out": len(out), "err": len(err)})
            replies.write(b"xtun-reply " + head.encode() + b"\n" + out + err)
            replies.flush()


main()
