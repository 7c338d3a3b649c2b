"""The worked examples of docs/timing.md: found, run, and compared number by number.

To add one, write it behind its rule: a paragraph that begins ``*Example F1, F2.*`` (the rules it
shows), a block ``asm``, and tables, behind which the next example, rule or heading comes. In the
block

``# set KEY=VALUE ...``   overrides the base machine, tests/contract/plain.toml;
``# change TIME,CORE,CLOCK``  changes clocks, as a line of a governor's file;
``# core N``              begins the program of core N; what stands above the first belongs to all;
``before:``               where there is such a label, a run from there comes first, and all numbers
                          are those of the run from ``main``, whose first cycle is 0.

The first heading of a table says what its rows are: ``instruction`` (a label, for a later execution
``label (2)``), ``run`` (``before`` or ``main``), ``level`` (a cache, DRAM or the directory),
``node`` (its number) or ``operator`` (its number; operators and causes that are left out have no
slots). A cell is a number worked out by hand, or the calculation that ends in it:
``2 + 7 + 1 = 10``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sim.governor import Change, parse_change, schedule
from tests.contract import harness

PAGE = "docs/timing.md"
LOG_COLUMNS = ("dispatch", "issue", "complete", "retire")
_BEGIN = re.compile(r"^\*Example ", re.MULTILINE)
_EXAMPLE = re.compile(
    r"\*Example (?P<rules>[A-Z]\d+(?:, [A-Z]\d+)*)\.\*(?:(?!^```|^\*Example ).)*"
    r"^```asm\n(?P<text>(?:(?!^```).)*)```\n(?P<tables>(?:\n(?:\|[^\n]*\|\n)+)+)"
    r"(?=\n\*Example |\n\*\*|\n## |\Z)",
    re.MULTILINE | re.DOTALL,
)
_CALCULATION = re.compile(r"[\d+\-·() ]+(?:=[\d+\-·() ]+)*")
Table = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Example:
    """Rules, assembly, and tables: what the rows are, row, column, number."""

    rules: tuple[str, ...]
    line: int
    text: str
    tables: list[tuple[str, Table]]

    @property
    def overrides(self) -> list[str]:
        """What differs from the base machine."""
        lines = re.findall(r"^# set (.*)$", self.text, re.MULTILINE)
        return [word for line in lines for word in line.split()]

    @property
    def changes(self) -> list[Change]:
        """When which clocks change."""
        lines = re.findall(r"^# change (.*)$", self.text, re.MULTILINE)
        return [parse_change(line.split(","), len(self.programs)) for line in lines]

    @property
    def programs(self) -> list[str]:
        """The assembly of every core."""
        common, *cores = re.split(r"^# core \d+$", self.text, flags=re.MULTILINE)
        return [common + core for core in cores] or [common]


def rules(page: str) -> list[str]:
    """The rules that a page states, in its order."""
    return re.findall(r"\*\*([A-Z]\d+)\b", page)


def examples(page: str) -> list[Example]:
    """The examples of a page. Raises `ValueError` for what is none or not a calculation."""
    found = []
    for begin in _BEGIN.finditer(page):
        line = page.count("\n", 0, begin.start()) + 1
        match = _EXAMPLE.match(page, begin.start())
        if match is None:
            raise ValueError(f"line {line}: an example is its rules, an asm block, and tables")
        tables = [_table(text) for text in match["tables"].strip().split("\n\n")]
        found.append(Example(tuple(match["rules"].split(", ")), line, match["text"], tables))
    return found


def _table(text: str) -> tuple[str, Table]:
    lines = text.splitlines()
    (kind, *columns), _, *rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines
    ]
    table = {name: dict(zip(columns, map(number, cells), strict=True)) for name, *cells in rows}
    if len(table) < len(rows):
        raise ValueError(f"two rows of a table have the same name: {text}")
    return kind, table


def number(cell: str) -> int:
    """The number of a cell. Raises `ValueError` where its calculation does not give it."""
    if not _CALCULATION.fullmatch(cell):
        raise ValueError(f"{cell!r} is neither a number nor a calculation")
    values = {eval(part.replace("·", "*")) for part in cell.split("=")}
    if len(values) > 1:
        raise ValueError(f"{cell!r} does not add up")
    return int(values.pop())


# --- running --------------------------------------------------------------------------------------


def measure(example: Example, engine: type[Any]) -> dict[str, Table]:
    """What an engine does in an example, in tables as those of the page."""
    machine = harness.plain(*example.overrides)
    simulation = harness.Simulation(example.programs, machine, engine=engine)
    governor = schedule(example.changes)
    simulation.cpu.environment.process(governor(simulation.cpu))
    entries = [name for name in ("before", "main") if name in simulation.programs[0].labels]
    runs = {entry: simulation.run(entry) for entry in entries}
    last = runs["main"]
    levels = {**last.caches, "DRAM": last.dram, "directory": last.coherence}
    times = {e: {"begins": r.first, "ends": r.last, "cycles": r.cycles} for e, r in runs.items()}
    return {
        "instruction": dict(_instructions(last)),
        "run": {entry: _spaced(run.core) | times[entry] for entry, run in runs.items()},
        "level": {level: _spaced(row) for level, row in levels.items()},
        "node": {str(i): _spaced(row) for i, row in enumerate(last.nodes)},
        "operator": {
            str(i): {cause: row[cause] for cause in last.cpu.causes()}
            for i, row in enumerate(last.operators)
        },
    }


def _spaced(row: dict[str, int]) -> dict[str, int]:
    return {name.replace("_", " "): value for name, value in row.items()}


def _instructions(run: harness.Run) -> Iterator[tuple[str, dict[str, int]]]:
    """The executions of every label that only one core's program has."""
    cores = Counter(label for labels in run.labels for label in labels)
    for core, labels in enumerate(run.labels):
        for label in labels:
            for n, row in enumerate(run.all(label, core) if cores[label] == 1 else [], 1):
                name = label if n == 1 else f"{label} ({n})"
                yield name, {stage: getattr(row, stage) - run.first for stage in LOG_COLUMNS}


def differences(example: Example, measured: dict[str, Table]) -> list[str]:
    """Every number of an example's tables that is not the one measured."""
    found = []
    for kind, table in example.tables:
        if kind == "operator":  # what is left out is 0
            rows = measured[kind].items()
            table = table | {
                name: dict.fromkeys(row, 0) | table.get(name, {}) for name, row in rows
            }
        for name, cells in table.items():
            row = measured[kind].get(name, {})
            found += [
                f"{kind} {name}, {column}: {value} on the page, {row.get(column)} measured"
                for column, value in cells.items()
                if value != row.get(column)
            ]
    return found
