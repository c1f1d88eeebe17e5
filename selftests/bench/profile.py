#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Says which functions the instructions are of that bench.py has counted.

usage: profile.py FIGURES [BLOCKS]

FIGURES: a file of bench.py, without its ending .json; BLOCKS: what profile.c has written
meanwhile.  Adds to FIGURES.json how many of the instructions are locked,

    "NAME OF A FIGURE, locked": [FOR A PACKET, SPREAD]

and writes FIGURES.profile: a table of functions for each row and way.  From FIGURES.json
it takes what is there for it only, "dumps" and "symbols"; without BLOCKS that is all.
"""
import bisect
import collections
import json
import sys

from bench import figure

WHOSE = ("xtun", "in-tree", "tc-bpf", "none")
KERNEL_SPACE = 0xffff800000000000
# Functions with less for a packet are left out.
LEAST = 0.5

# Instructions for a packet, and the locked ones among them, by function.
Counts = collections.namedtuple("Counts", "all locked")
# What profile.c has written: locked instructions of each batch, and lines of blocks with
# address, instructions, times, locked.
Dump = collections.namedtuple("Dump", "batches blocks")


class Symbols:
    """Functions by address."""

    def __init__(self, lines):
        """lines: of /proc/kallsyms."""
        pairs = []
        for address, kind, name, *_ in map(str.split, lines):
            if kind in "tTwW":
                name = "(BPF program)" if name.startswith("bpf_prog_") else name
                pairs.append((int(address, 16), name))
        self._addresses, self._names = zip(*sorted(pairs))

    def function(self, address):
        if address < KERNEL_SPACE:
            return "(programs)"
        place = bisect.bisect_right(self._addresses, address) - 1
        return self._names[place] if place >= 0 else hex(address)


def dumps(path):
    seen, batches = [], []
    with open(path) as file:
        for line in file:
            first, *numbers = line.split()
            if first == "reset":
                batches = []
            elif first == "batch":
                batches.append(int(numbers[0]))
            elif first == "dump":
                seen.append(Dump(tuple(batches), []))
            else:
                seen[-1].blocks.append((int(first, 16), *map(int, numbers)))
    return seen


def count(blocks, packets, symbols):
    counts = Counts(collections.Counter(), collections.Counter())
    for address, instructions, times, locked in blocks:
        function = symbols.function(address)
        counts.all[function] += instructions * times / packets
        counts.locked[function] += locked * times / packets
    return counts


def sides(row, way, counts, figures):
    """What there is to compare: the tunnels of this row, and the path without one."""
    names = {whose: f"{row}, {whose}: {way}" for whose in WHOSE[:-1]}
    names["none"] = f"none {figures.get(f'{row}: inner')}: {way}"
    return {whose: counts[name] for whose, name in names.items() if name in counts}


def line(instructions, locked, last):
    return ("".join(f"{value:10.0f}" for value in instructions) + "  |"
            + "".join(f"{value:10.1f}" for value in locked) + "  | " + last)


def table(title, seen):
    """The function first of which the first side has the most."""
    heads = "".join(f"{whose:>10}" for whose in seen)
    lines = [title, f"{heads}  |{heads}  | function",
             line([sum(each.all.values()) for each in seen.values()],
                  [sum(each.locked.values()) for each in seen.values()], "all of them")]
    functions = {name for each in seen.values() for name, value in each.all.items()
                 if value >= LEAST}
    rows = [([each.all[name] for each in seen.values()],
             [each.locked[name] for each in seen.values()], name) for name in functions]
    return lines + [line(*row) for row in sorted(rows, reverse=True)] + [""]


def profile(counts, figures):
    lines = ["Instructions for a packet | how many of them are locked | function", ""]
    for name in counts:
        row, ours, way = name.partition(", xtun: ")
        if ours:
            lines += table(f"{row}: {way}", sides(row, way, counts, figures))
    return "\n".join(lines)


def add(data, path, seen):
    """Of each dump a figure and a table."""
    named, symbols, counts = data["dumps"], Symbols(data["symbols"]), {}
    if len(seen) != len(named):
        sys.exit(f"profile.py: {len(seen)} dumps, and figures of {len(named)}")
    for (name, packets), dump in zip(named, seen):
        counts[name] = count(dump.blocks, packets, symbols)
        size = packets / len(dump.batches)
        data["figures"][f"{name}, locked"] = figure([each / size for each in dump.batches])
    with open(f"{path}.profile", "w") as file:
        file.write(profile(counts, data["figures"]))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.split("\n\n")[1])
    path = sys.argv[1]
    with open(f"{path}.json") as file:
        data = json.load(file)
    if len(sys.argv) == 3:
        add(data, path, dumps(sys.argv[2]))
    del data["dumps"], data["symbols"]
    with open(f"{path}.json", "w") as file:
        json.dump(data, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
