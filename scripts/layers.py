#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Says which calls go upwards in the layers of the module.

usage: layers.py FOLDER

FOLDER has the module's Kbuild, which lists its objects with the lowest layer first,
and the objects.  Nothing is said of xtun_nl.o, whose table of operations names the
functions that it registers.
"""

import os
import re
import subprocess
import sys

REGISTERS = "xtun_nl.o"


def objects(folder):
    with open(os.path.join(folder, "Kbuild"), encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    return re.search(r"^xtun-y := (.*)$", text, re.M)[1].split()


def symbols(path):
    """Those that it defines for others, and those that it wants."""
    text = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    words = [line.split()[-2:] for line in text.splitlines()]
    return ({name for kind, name in words if kind.isupper() and kind != "U"},
            {name for kind, name in words if kind == "U"})


def main(folder):
    names = objects(folder)
    defined, wanted = {}, {}
    for rank, name in enumerate(names):
        own, wanted[name] = symbols(os.path.join(folder, name))
        defined.update(dict.fromkeys(own, rank))
    upwards = [(name, names[defined[symbol]], symbol)
               for rank, name in enumerate(names) if name != REGISTERS
               for symbol in sorted(wanted[name]) if defined.get(symbol, -1) > rank]
    for name, other, symbol in upwards:
        print(f"{name} asks {other}, which is above it, for {symbol}")
    return bool(upwards)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
