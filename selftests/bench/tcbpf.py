#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compiles tc_bpf.c for each end of each tunnel that bench.py makes of it.

usage: tcbpf.py

The objects are where bench.py looks for them, in build/bench; none stays from before.
"""
import ipaddress
import os
import subprocess
import sys

import bench

# Types of this processor, which are the same for BPF's.
INCLUDE = "/usr/include/x86_64-linux-gnu"


def words(row, end):
    """What the program knows of the tunnel."""
    local, remote = (int(ipaddress.ip_address(bench.UNDER[row.outer][each]))
                     for each in (end, 1 - end))
    mac = bytes.fromhex(bench.TC_BPF_MAC[end].replace(":", ""))
    return {bench.TC_BPF[row.name]: 1, "LOCAL": local, "REMOTE": remote,
            "UNDERLAY": bench.UNDERLAY, "VNI": bench.TC_BPF_VNI,
            "OWN_MAC": int.from_bytes(mac[-2:], "big")}


def main():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tc_bpf.c")
    ends = [(bench.BY_NAME[name], end) for name in bench.TC_BPF for end in (0, 1)]
    for row, end in ends:
        path = bench.tc_bpf_object(row, end)
        if os.path.exists(path):
            os.unlink(path)
    try:
        for row, end in ends:
            subprocess.run(["clang", "-O2", "-mcpu=v3", "-Wall", "-Werror", "-target", "bpf",
                            "-I", INCLUDE,
                            *(f"-D{name}={value}" for name, value in words(row, end).items()),
                            "-c", source, "-o", bench.tc_bpf_object(row, end)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"tcbpf.py: {error}")


if __name__ == "__main__":
    main()
