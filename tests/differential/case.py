"""A program on a machine, run by both engines and compared in everything that can be seen.

A case is a text file: `machine:`, `set:` and `runs:` lines, a line `---`, then assembly. So a
failing case can be read, changed by hand, and kept in the folder `kept`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isa.assembler import assemble
from isa.errors import SimulationFault
from sim.engine import ACCOUNT_COLUMNS, LOG_FIELDS, Cpu
from sim.machine import load_machine
from sim.reference import ReferenceCpu

FOLDER = Path(__file__).parent
LOG = 200_000
LIMIT = 3_000
REGIONS = 4


@dataclass(frozen=True)
class Case:
    """A machine (a preset or a file of this folder), overrides, and a program's text."""

    machine: str
    overrides: tuple[str, ...]
    text: str
    runs: int = 1

    def __str__(self) -> str:
        """The text of the case's file."""
        sets = "".join(f"set: {override}\n" for override in self.overrides)
        return f"machine: {self.machine}\n{sets}runs: {self.runs}\n---\n{self.text}"

    @classmethod
    def parse(cls, text: str) -> Case:
        """The case in a file's text."""
        head, program = text.split("---\n", 1)
        fields = [line.split(": ", 1) for line in head.splitlines() if ": " in line]
        values = {key: value for key, value in fields if key != "set"}
        overrides = tuple(value for key, value in fields if key == "set")
        return cls(values["machine"], overrides, program, int(values["runs"]))

    def load(self) -> Any:
        """The machine; raises `UserError` for overrides that do not fit together."""
        own = FOLDER / self.machine
        return load_machine(str(own) if own.exists() else self.machine, list(self.overrides))


@dataclass
class Outcome:
    """Everything a run shows."""

    fault: str
    cycles: int
    log: list[tuple[int, ...]]
    account: dict[str, list[int]]
    counters: dict[str, dict[str, int]]
    mem: np.ndarray
    control: np.ndarray


def execute(engine: type[Any], case: Case) -> Outcome:
    """Run a case on an engine."""
    assembled = assemble(case.text)
    cpu = engine(case.load(), [assembled.program], assembled.memory, regions=REGIONS, log=LOG)
    assembled.write_tensors(cpu.mem)
    cpu.control[:] = np.arange(len(cpu.control)) % 24
    fault = ""
    try:
        for _ in range(case.runs):
            cpu.start()
            cpu.run(instruction_limit=LIMIT)
    except SimulationFault as error:
        fault = str(error)
    names = [*ACCOUNT_COLUMNS, *cpu.causes()]
    table = cpu.account()
    return Outcome(
        fault=fault,
        cycles=cpu.cycles,
        log=[tuple(map(int, row)) for row in cpu.log()],
        account={name: table[:, i].tolist() for i, name in enumerate(names)},
        counters={
            **cpu.cache_counters(),
            "DRAM": cpu.dram_counters(),
            "core": cpu.core_counters(),
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


def differences(case: Case) -> Iterator[str]:
    """What the engines disagree about, in words, the most telling first."""
    lines = case.text.splitlines()
    program = assemble(case.text).program
    mine, theirs = execute(ReferenceCpu, case), execute(Cpu, case)
    if mine.fault != theirs.fault:
        yield f"fault: reference {mine.fault!r}, compiled {theirs.fault!r}"
    for index, (a, b) in enumerate(zip(mine.log, theirs.log, strict=False)):
        if a != b:
            source = lines[program.lines[a[1]] - 1].strip() if program.lines else ""
            fields = [
                f"{name} {x} / {y}" for name, x, y in zip(LOG_FIELDS, a, b, strict=True) if x != y
            ]
            yield f"log {index} pc {a[1]} [{source}]: reference / compiled: {', '.join(fields)}"
            break
    if mine.fault:
        return  # an instruction with a mistake ends the run before or when there is room for it
    if len(mine.log) != len(theirs.log):
        yield f"log length: reference {len(mine.log)}, compiled {len(theirs.log)}"
    if mine.cycles != theirs.cycles:
        yield f"cycles: reference {mine.cycles}, compiled {theirs.cycles}"
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
