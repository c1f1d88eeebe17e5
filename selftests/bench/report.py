#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes tables of what bench.py has counted, and compares it with what was written down.

usage: report.py [--update] FIGURES...

FIGURES: files of bench.py, without their ending .json.  --update writes them down in
Documentation/performance/: figures.json, table.rst and added.svg.
"""
import argparse
import json
import os
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
FOLDER = os.path.join(TOP, "Documentation", "performance")
WAYS = ("way out", "way in", "end to end")
# How TCP bundles its segments differs from run to run.
DEARER, DEARER_TCP = 1.02, 1.05

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

    def added(self, row, whose, way):
        """Instructions that a tunnel adds to the same path without one, or None."""
        seen = self.figures.get(f"{row}, {whose}: {way}")
        family = self.figures[f"{row}: inner"]
        floor = self.figures.get(f"none {family}: {way}")
        return seen and floor and seen[0] - floor[0]

    def bulk(self, row):
        """What a byte of TCP costs in all."""
        theirs, ours = (self.figures.get(f"{row}, {whose}: TCP, a byte")
                        for whose in ("in-tree", "xtun"))
        if not theirs or not ours:
            return "none"
        return f"{theirs[0]:.2f} / {ours[0]:.2f} / {ours[0] / theirs[0]:.2f}"

    def errors(self):
        return [name for name in self.figures if name.endswith(": error")]


def table(kernels):
    """One table for each kernel, as list-table of reStructuredText."""
    lines = []
    for name, kernel in kernels.items():
        lines += [f".. list-table:: {name}: in-tree / xtun / ratio", "   :header-rows: 1", "",
                  "   * - encapsulation", *(f"     - {way}" for way in WAYS),
                  "     - TCP, a byte"]
        for row in kernel.rows:
            lines.append(f"   * - {row}")
            for way in WAYS:
                theirs, ours = (kernel.added(row, whose, way) for whose in ("in-tree", "xtun"))
                both = theirs and ours
                lines.append(f"     - {theirs:.0f} / {ours:.0f} / {ours / theirs:.2f}"
                             if both else "     - none")
            lines.append("     - " + kernel.bulk(row))
        lines.append("")
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


def compare(name, now, before):
    """What got dearer, by more than chance can do."""
    dearer = []
    for figure, value in now.items():
        old = before.get(figure)
        limit = DEARER_TCP if "TCP" in figure else DEARER
        if isinstance(value, list) and old and value[0] > old[0] * limit:
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
    missing = [f"{name}: {error}" for name, kernel in kernels.items() for error in kernel.errors()]
    for line in missing:
        print("no figures: " + line)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
