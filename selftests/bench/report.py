#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes tables of what bench.py has counted, and compares it with what was written down.

usage: report.py [--update] FIGURES...

FIGURES: files of bench.py, without their ending .json.  --update writes them down in
Documentation/performance/: figures.json, table.rst and added.svg.
"""
import argparse
import json
import math
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FOLDER = os.path.join(TOP, "Documentation", "performance")
WAYS = ("way out", "way in", "end to end")
# How TCP bundles its segments differs from run to run.
DEARER, DEARER_TCP = 1.02, 1.05
# How memory is handed back is up to what was there before: it may take one more or less.
MORE_LOCKED = 1
MANY = 1000

# A bar for each row and way.
SVG_ROW, SVG_LEFT, SVG_WIDTH = 34, 150, 480
COLOURS = {"way out": "#4477aa", "way in": "#cc6677", "end to end": "#999933"}


class Kernel:
    """What one kernel's machine has counted."""

    def __init__(self, figures):
        self.figures = figures
        self.rows = []
        for name in figures:
            row, comma, _ = name.rpartition(", xtun: ")
            if comma and row not in self.rows:
                self.rows.append(row)

    def value(self, name):
        """Of a figure, or None."""
        seen = self.figures.get(name)
        return seen and seen[0]

    def added(self, row, whose, way):
        """What a tunnel adds to the same path without one, or None."""
        seen = self.value(f"{row}, {whose}: {way}")
        family = self.figures[f"{row}: inner"]
        floor = self.value(f"none {family}: {way}")
        return None if seen is None or floor is None else seen - floor

    def ending(self, end):
        return {name: text for name, text in self.figures.items() if name.endswith(end)}


# ---- tables ----

def cell(digits, theirs, ours, ratio=True):
    """Both and how many times theirs ours is."""
    if theirs is None or ours is None:
        return "none"
    parts = [f"{theirs:.{digits}f}", f"{ours:.{digits}f}"]
    if ratio:
        parts.append(f"{ours / theirs:.2f}" if theirs > 0 else "-")
    return " / ".join(parts)


def list_table(title, heads, rows):
    """As reStructuredText has it; without rows nothing."""
    if not rows:
        return []
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for first, *others in (heads, *rows):
        lines += [f"   * - {first}", *(f"     - {text}" for text in others)]
    return lines + [""]


def added_table(kernel, title, ways, whose="in-tree", digits=0, suffix="", ratio=True):
    """What both add; rows of which nothing was counted are left out."""
    rows = []
    for row in kernel.rows:
        cells = [cell(digits, kernel.added(row, whose, way + suffix),
                      kernel.added(row, "xtun", way + suffix), ratio) for way in ways]
        if any(text != "none" for text in cells):
            rows.append([row, *cells])
    return list_table(title, ["encapsulation", *ways], rows)


def bulk_table(kernel, title):
    """What a byte of TCP costs in all."""
    heads = ("all offloads", "no offloads")
    rows = []
    for row in kernel.rows:
        cells = [cell(2, *(kernel.value(f"{row}, {whose}: TCP, a byte{suffix}")
                           for whose in ("in-tree", "xtun")))
                 for suffix in ("", ", no offloads")]
        if any(text != "none" for text in cells):
            rows.append([row, *cells])
    return list_table(title, ["encapsulation", *heads], rows)


def others_table(kernel, title):
    """What those pay who have no tunnel of xtun's, while it is loaded."""
    rows = []
    for text, with_it, without in (
            ("no tunnel", "none v4", "none v4 without xtun loaded"),
            ("ipip of the kernel", "4in4, in-tree", "4in4, in-tree without xtun loaded")):
        pairs = [(kernel.value(f"{without}: {way}"), kernel.value(f"{with_it}: {way}"))
                 for way in WAYS]
        if all(None not in pair for pair in pairs):
            rows.append([text, *(f"{before:.0f} / {now:.0f} / {now - before:+.0f}"
                                 for before, now in pairs)])
    return list_table(title, ["path", *WAYS], rows)


def table(kernels):
    """Those of each kernel, one behind the other."""
    lines = []
    for name, kernel in kernels.items():
        lines += added_table(kernel, f"{name}, instructions added: in-tree / xtun / ratio", WAYS)
        lines += added_table(kernel, f"{name}, locked instructions added: in-tree / xtun", WAYS,
                             digits=1, suffix=", locked", ratio=False)
        lines += added_table(kernel, f"{name}, bridged, instructions added: "
                             "in-tree / xtun / ratio",
                             [f"{way}, bridged" for way in WAYS[:2]])
        lines += bulk_table(kernel, f"{name}, instructions for a byte of TCP: "
                            "in-tree / xtun / ratio")
        lines += added_table(kernel, f"{name}, beside a BPF program, instructions added: "
                             "program / xtun / ratio", WAYS, "tc-bpf")
        lines += others_table(kernel, f"{name}, without a tunnel of xtun's, instructions: "
                              "xtun not loaded / loaded / difference")
    return "\n".join(lines)


def plot(kernel):
    """What xtun adds, as part of what the in-tree driver does: a bar each."""
    height = SVG_ROW * (len(kernel.rows) + 1)
    unit = SVG_WIDTH / 1.6
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{SVG_LEFT + SVG_WIDTH}" '
             f'height="{height}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>']
    for place, way in enumerate(WAYS):
        lines.append(f'<text x="{SVG_LEFT + place * 90}" y="14" fill="{COLOURS[way]}">{way}</text>')
    for number, row in enumerate(kernel.rows, 1):
        top = number * SVG_ROW
        lines.append(f'<text x="4" y="{top + 12}">{row}</text>')
        for place, way in enumerate(WAYS):
            theirs, ours = (kernel.added(row, whose, way) for whose in ("in-tree", "xtun"))
            if theirs and ours:
                lines.append(f'<rect x="{SVG_LEFT}" y="{top + place * 9 - 6}" height="8" '
                             f'width="{unit * ours / theirs:.1f}" fill="{COLOURS[way]}"/>')
    at = SVG_LEFT + unit
    lines += [f'<line x1="{at}" x2="{at}" y1="20" y2="{height}" stroke="black"/>',
              f'<text x="{at + 4}" y="{height - 4}">the in-tree driver</text>', "</svg>", ""]
    return "\n".join(lines)


def limit(figure, old):
    """What it has to exceed to have become dearer."""
    if "locked" in figure:
        return old + MORE_LOCKED
    # What it takes to make a few tunnels is, for the most part, what else happens then.
    few = re.search(r": (create|up|bytes|delete), of (\d+)$", figure)
    if few and int(few[2]) < MANY:
        return math.inf
    return old * (DEARER_TCP if "TCP" in figure else DEARER)


def compare(name, now, before):
    """What got dearer, by more than chance can do."""
    dearer = []
    for figure, value in now.items():
        old = before.get(figure)
        if isinstance(value, list) and old and value[0] > limit(figure, old[0]):
            dearer.append(f"{name}: {figure}: {old[0]:.2f} -> {value[0]:.2f}")
    return dearer


def written(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", action="store_true")
    parser.add_argument("figures", nargs="+")
    words = parser.parse_args()
    now = {os.path.basename(path): written(f"{path}.json") for path in words.figures}
    kernels = {name: Kernel(seen["figures"]) for name, seen in now.items()}
    print(table(kernels))
    path = os.path.join(FOLDER, "figures.json")
    before = written(path)
    for name, seen in now.items():
        for line in compare(name, seen["figures"], before.get(name, {}).get("figures", {})):
            print("dearer: " + line)
    if words.update:
        os.makedirs(FOLDER, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**before, **now}, file, indent=1)
            file.write("\n")
        with open(os.path.join(FOLDER, "table.rst"), "w", encoding="utf-8") as file:
            file.write(table(kernels))
        with open(os.path.join(FOLDER, "added.svg"), "w", encoding="utf-8") as file:
            file.write(plot(list(kernels.values())[-1]))
    missing = False
    for name, kernel in kernels.items():
        for figure, why in kernel.ending(": left out").items():
            print(f"{name}: {figure}: {why.splitlines()[0]}")
        for figure, why in kernel.ending(": error").items():
            missing = True
            print(f"no figures: {name}: {figure}: {why.splitlines()[0]}")
    return missing


if __name__ == "__main__":
    sys.exit(main())
