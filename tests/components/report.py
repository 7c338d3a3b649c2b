"""The figures of all components as tables, and the part of docs/validation.md that holds them."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from tests.components import caches, dram, fma, systolic
from tests.components.check import Check

PARTS = (caches, dram, fma, systolic)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "validation.md"
BEGIN = "<!-- measured: written by `python -m tests.components --write`, do not edit -->"
END = "<!-- end of the measured part -->"


def measured() -> list[Check]:
    """All figures, from simulations."""
    return [check for part in PARTS for check in part.checks()]


def tables(checks: list[Check]) -> str:
    """A table per part, in Markdown."""
    lines = []
    for part, members in groupby(checks, key=lambda check: check.part):
        lines += [f"### {part}", "", "| what | theirs | ours | difference allowed |"]
        lines += ["| --- | --: | --: | --: |"]
        lines += [f"| {' | '.join(member.cells())} |" for member in members]
        lines.append("")
    return "\n".join(lines)


def measured_part(page: str) -> str:
    """What stands between the marks of a page. Raises ValueError where there are none."""
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)].strip()


def renewed(page: str, checks: list[Check]) -> str:
    """The page with these figures between its marks."""
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    return f"{before}{BEGIN}\n\n{tables(checks)}\n{END}{after}"
