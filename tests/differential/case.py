"""Programs on a machine, run by both engines and compared in everything that can be seen.

A case is a text file: `machine:`, `set:`, `change:` and `runs:` lines, then per core a line `---`
and assembly; all declare the same memory. So a failing case can be read, changed by hand, and kept
in the folder `kept`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isa.assembler import assemble
from isa.errors import SimulationFault
from sim.engine import ACCOUNT_COLUMNS, LOG_FIELDS, Cpu
from sim.governor import Change, schedule
from sim.machine import load_machine
from sim.reference import ReferenceCpu

FOLDER = Path(__file__).parent
LINE = "---\n"
LOG = 200_000
LIMIT = 3_000
REGIONS = 4


@dataclass(frozen=True)
class Case:
    """A machine (a preset or a file of this folder), overrides, and a program's text per core."""

    machine: str
    overrides: tuple[str, ...]
    texts: tuple[str, ...]
    runs: int = 1
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        """The text of the case's file."""
        sets = "".join(f"set: {override}\n" for override in self.overrides)
        changes = "".join(
            f"change: {each.time_fs} {'all' if each.core is None else each.core} {each.megahertz}\n"
            for each in self.changes
        )
        head = f"machine: {self.machine}\n{sets}{changes}runs: {self.runs}\n"
        return LINE.join([head, *self.texts])

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case in a file's text."""
        head, *texts = text.split(LINE)
        fields = [line.split(": ", 1) for line in head.splitlines() if ": " in line]
        values = dict(fields)
        overrides = tuple(value for key, value in fields if key == "set")
        rows = [value.split() for key, value in fields if key == "change"]
        changes = tuple(
            Change(int(time), None if core == "all" else int(core), int(megahertz))
            for time, core, megahertz in rows
        )
        return cls(values["machine"], overrides, tuple(texts), int(values["runs"]), changes)

    def load(self) -> Any:
        """The machine; raises `UserError` for overrides that do not fit together."""
        own = FOLDER / self.machine
        cores = f"cores={len(self.texts)}"
        return load_machine(str(own) if own.exists() else self.machine, [*self.overrides, cores])


@dataclass
class Outcome:
    """Everything a run shows."""

    fault: str
    cycles: list[int]
    now_fs: int
    logs: list[list[tuple[int, ...]]]
    account: dict[str, list[int]]
    counters: dict[str, dict[str, int]]
    mem: np.ndarray
    control: np.ndarray


def execute(engine: type[Any], case: Case) -> Outcome:
    """Run a case on an engine."""
    assembled = [assemble(text) for text in case.texts]
    programs, memory = [each.program for each in assembled], assembled[0].memory
    checks = {"check_coherence": True} if engine is ReferenceCpu else {}
    cpu = engine(case.load(), programs, memory, regions=REGIONS, log=LOG, **checks)
    cpu.environment.process(schedule(case.changes)(cpu))
    assembled[0].write_tensors(cpu.mem)
    cpu.control[:] = np.arange(len(cpu.control)) % 24
    fault = ""
    try:
        for _ in range(case.runs):
            cpu.start()
            cpu.run(instruction_limit=LIMIT)
    except SimulationFault as error:
        fault = str(error)
    cpu.check_coherence()
    names = [*ACCOUNT_COLUMNS, *cpu.causes()]
    table = cpu.account()
    rows = [tuple(map(int, row)) for row in cpu.log()]
    levels = {
        f"{level} of core {core}" if level in ("L1", "L2") else level: counts
        for core in range(len(programs))
        for level, counts in cpu.cache_counters(core).items()
    }
    return Outcome(
        fault=fault,
        cycles=[cpu.cycles, *cpu.core_cycles],
        now_fs=cpu.now_fs,
        logs=[[row for row in rows if row[0] == core] for core in range(len(programs))],
        account={name: table[:, i].tolist() for i, name in enumerate(names)},
        counters={
            **levels,
            "DRAM": cpu.dram_counters(),
            "core": cpu.core_counters(),
            "coherence": cpu.coherence_counters(),
            **{f"node {i}": counts for i, counts in enumerate(cpu.node_counters())},
        },
        mem=np.asarray(cpu.mem).copy(),
        control=cpu.control.copy(),
    )


def _nan_or_equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Per 32-bit word whether both are equal, or both hold NaNs (whose payload is unspecified)."""
    wa, wb = a.view(np.uint32), b.view(np.uint32)
    both_f32 = np.isnan(a.view(np.float32)) & np.isnan(b.view(np.float32))
    ha, hb = a.view(np.uint16), b.view(np.uint16)
    nan_a, nan_b = (((h & 0x7FFF) > 0x7F80) for h in (ha, hb))
    halves = ((ha == hb) | (nan_a & nan_b)).reshape(-1, 2).all(axis=1)
    return (wa == wb) | both_f32 | halves


def _log_differences(
    text: str, mine: list[tuple[int, ...]], theirs: list[tuple[int, ...]]
) -> Iterator[str]:
    """The first instruction of a core whose cycles differ."""
    program = assemble(text).program
    for index, (a, b) in enumerate(zip(mine, theirs, strict=False)):
        if a != b:
            source = text.splitlines()[program.lines[a[1]] - 1].strip() if program.lines else ""
            fields = [
                f"{name} {x} / {y}" for name, x, y in zip(LOG_FIELDS, a, b, strict=True) if x != y
            ]
            where = f"core {a[0]}, log {index} pc {a[1]} [{source}]"
            yield f"{where}: reference / compiled: {', '.join(fields)}"
            break


def differences(case: Case) -> Iterator[str]:
    """What the engines disagree about, in words, the most telling first.

    An engine that ends by an exception, other than for a fault of the program, disagrees too.
    """
    outcomes = []
    for engine in (ReferenceCpu, Cpu):
        try:
            outcomes.append(execute(engine, case))
        except Exception:
            yield f"{engine.__name__} crashed\n{traceback.format_exc()}"
    if len(outcomes) < 2:
        return
    mine, theirs = outcomes
    if mine.fault != theirs.fault:
        yield f"fault: reference {mine.fault!r}, compiled {theirs.fault!r}"
    for core, (a, b) in enumerate(zip(mine.logs, theirs.logs, strict=True)):
        yield from _log_differences(case.texts[core], a, b)
    if mine.fault:
        return  # an instruction with a mistake ends the run before or when there is room for it
    for core, (a, b) in enumerate(zip(mine.logs, theirs.logs, strict=True)):
        if len(a) != len(b):
            yield f"log length of core {core}: reference {len(a)}, compiled {len(b)}"
    if mine.cycles != theirs.cycles:
        yield f"cycles: reference {mine.cycles}, compiled {theirs.cycles}"
    if mine.now_fs != theirs.now_fs:
        yield f"time: reference {mine.now_fs} fs, compiled {theirs.now_fs} fs"
    for group, counts in theirs.counters.items():
        for name, count in counts.items():
            if mine.counters[group][name] != count:
                yield f"{group} {name}: reference {mine.counters[group][name]}, compiled {count}"
    for name, column in theirs.account.items():
        if mine.account[name] != column:
            yield f"account {name}: reference {mine.account[name]}, compiled {column}"
    if not np.array_equal(mine.control, theirs.control):
        yield f"control words {np.flatnonzero(mine.control != theirs.control)}"
    wrong = np.flatnonzero(~_nan_or_equal(mine.mem, theirs.mem))
    if len(wrong):
        yield f"memory differs in {len(wrong)} words, first at {4 * int(wrong[0]):#x}"
