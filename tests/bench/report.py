"""The figures as text for a terminal and as the measured part of docs/benchmarks.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.bench.figure import COLUMNS, Figure

BEGIN = "<!-- measured: written by `python -m tests.bench --write`, do not edit -->"
END = "<!-- end of the measured part -->"
PACKAGES = ("numba", "llvmlite", "numpy", "torch")


def host() -> str:
    """What the figures depend on besides the code: processor, cores, versions."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}; "
        f"Python {platform.python_version()}, {versions}"
    )


def processor() -> str:
    """The processor's name for itself and the widest vectors it has."""
    name, flags = platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = value
    vectors = next((f for f in ("avx512f", "avx2") if f in flags.split()), "")
    return f"{name} ({vectors})" if vectors else name


def summary(figures: Iterable[Figure]) -> str:
    """How many budgets are kept."""
    limited = [figure for figure in figures if figure.budget is not None]
    missed = [figure.what for figure in limited if figure.verdict == "missed"]
    text = f"{len(limited) - len(missed)} of {len(limited)} budgets are kept"
    return f"{text}; missed: {'; '.join(missed)}" if missed else text


def terminal(figures: list[Figure]) -> str:
    """A table per group with aligned columns."""
    rows = [figure.cells() for figure in figures]
    widths = [max(len(row[i]) for row in [list(COLUMNS), *rows]) for i in range(len(COLUMNS))]

    def line(cells: Iterable[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        others = (cell.rjust(width) for cell, width in rest[:-1])
        return "  ".join([first[0].ljust(first[1]), *others, rest[-1][0]]).rstrip()

    lines = []
    for group, members in groupby(figures, key=lambda figure: figure.group):
        lines += ["", group, line(COLUMNS), *(line(member.cells()) for member in members)]
    return "\n".join(lines)


def markdown(figures: list[Figure]) -> str:
    """The measured part of the page."""
    lines = [BEGIN, "", f"Host: {host()}.", "", f"{summary(figures)}.", ""]
    for group, members in groupby(figures, key=lambda figure: figure.group):
        lines += [
            f"### {group}",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "| --- | --: | --: | --: | --- |",
        ]
        lines += [f"| {' | '.join(member.cells())} |" for member in members]
        lines.append("")
    return "\n".join([*lines, END])


def write(page: Path, figures: list[Figure]) -> None:
    """Replace the measured part of the page; the rest is written by hand and stays.

    Raises ValueError where the page has no such part.
    """
    text = page.read_text(encoding="utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f"{page} has no part between\n{BEGIN}\nand\n{END}")
    page.write_text(text[:begin] + markdown(figures) + text[end + len(END) :], encoding="utf-8")
