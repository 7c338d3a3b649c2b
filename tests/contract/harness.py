"""Small programs on described machines, and what happened in which cycle.

The tests of this folder take a rule of docs/timing.md, work out by hand what it means for a few
instructions, and look at the engine's log. Nothing here knows how the engine is built, so
CONTRACT_ENGINE=reference runs the same tests on the reference engine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isa.assembler import assemble
from sim.engine import ACCOUNT_COLUMNS
from sim.engine import Cpu as CompiledCpu
from sim.machine import Machine, load_machine
from sim.reference import ReferenceCpu

ENGINES = {"compiled": CompiledCpu, "reference": ReferenceCpu}
Cpu = ENGINES[os.environ.get("CONTRACT_ENGINE", "compiled")]
PLAIN = str(Path(__file__).with_name("plain.toml"))
LOG = 20_000
FS_PER_NS = 10**6
FS_PER_US = 10**9


@cache
def machine(name: str, *overrides: str) -> Machine:
    """A preset or file with overrides."""
    return load_machine(name, overrides)


def plain(*overrides: str) -> Machine:
    """The machine of plain.toml with overrides."""
    return machine(PLAIN, *overrides)


# --- running --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One executed instruction: the cycles in which it passed each stage."""

    core: int
    pc: int
    dispatch: int
    issue: int
    complete: int
    retire: int


@dataclass(frozen=True)
class Run:
    """What one run from an entry to `halt` did; counters hold what this run added.

    Cycles are absolute: `first` is the cycle in which dispatch began, `last` that of `halt`, in
    which the next run begins.
    """

    machine: Machine
    cpu: CompiledCpu | ReferenceCpu
    labels: list[dict[str, int]]
    rows: list[Row]
    first: int
    last: int
    caches: dict[str, dict[str, int]]
    dram: dict[str, int]
    core: dict[str, int]
    coherence: dict[str, int]
    nodes: list[dict[str, int]]
    operators: list[dict[str, int]]

    @property
    def cycles(self) -> int:
        """Cycles of the run."""
        return self.last - self.first

    @property
    def slots(self) -> dict[str, int]:
        """Dispatch slots by cause, over all operators; causes without any left out."""
        total = {name: sum(row[name] for row in self.operators) for name in self.cpu.causes()}
        return {name: slots for name, slots in total.items() if slots}

    def all(self, label: str, core: int = 0) -> list[Row]:
        """Every execution of the instruction at a label of a core's program."""
        pc = self.labels[core][label]
        return [row for row in self.rows if (row.core, row.pc) == (core, pc)]

    def at(self, label: str, n: int = 0, core: int = 0) -> Row:
        """The n-th execution of the instruction at a label."""
        return self.all(label, core)[n]

    def block(self, label: str, count: int) -> list[Row]:
        """The first execution of each of `count` instructions from a label of core 0 on."""
        first = self.labels[0][label]
        by_pc = {row.pc: row for row in reversed(self.rows) if row.core == 0}
        return [by_pc[pc] for pc in range(first, first + count)]


class Simulation:
    """A machine with one program per core; runs follow each other with caches as they are left."""

    def __init__(
        self,
        texts: str | list[str],
        machine: Machine,
        *,
        values: bool = True,
        log: int = LOG,
        regions: int = 8,
        engine: Any = Cpu,
    ) -> None:
        # All cores share the memory that the first program declares.
        assembled = [assemble(text) for text in ([texts] if isinstance(texts, str) else texts)]
        self.machine = machine
        self.programs = [each.program for each in assembled]
        self.memory = assembled[0].memory
        self.cpu = engine(
            machine, self.programs, self.memory, values=values, regions=regions, log=log
        )
        if self.cpu.mem is not None:
            assembled[0].write_tensors(self.cpu.mem)

    def run(self, entry: str = "main") -> Run:
        """Run every core from a label to `halt`."""
        cpu = self.cpu
        cycles, logged, before = cpu.cycles, len(cpu.log()), self._counters()
        nodes = cpu.node_counters()
        cpu.start(entry)
        assert cpu.run()
        caches, dram, core, operators, coherence = self._counters()
        return Run(
            machine=self.machine,
            cpu=cpu,
            labels=[program.labels for program in self.programs],
            rows=[Row(*map(int, row)) for row in cpu.log()[logged:]],
            first=cycles,
            last=cpu.cycles,
            caches={level: _difference(caches[level], before[0][level]) for level in caches},
            dram=_difference(dram, before[1]),
            core=_difference(core, before[2]),
            coherence=_difference(coherence, before[4]),
            nodes=[_difference(*pair) for pair in zip(cpu.node_counters(), nodes, strict=True)],
            operators=[_difference(*pair) for pair in zip(operators, before[3], strict=True)],
        )

    def _counters(self) -> tuple[dict, dict, dict, list[dict[str, int]], dict]:
        cpu = self.cpu
        names = (*ACCOUNT_COLUMNS, *cpu.causes())
        operators = [dict(zip(names, map(int, row), strict=True)) for row in cpu.account()]
        return (
            cpu.cache_counters(),
            cpu.dram_counters(),
            cpu.core_counters(),
            operators,
            cpu.coherence_counters(),
        )


def _difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}


def run(text: str, on: Machine | None = None, *, values: bool = True) -> Run:
    """Run a program from `main` on a cold machine, by default on the plain one."""
    return Simulation(text, on or plain(), values=values).run()


# --- arithmetic of the contract -------------------------------------------------------------------


def cycle_fs(m: Machine, cycle: int) -> int:
    """When a core cycle starts (T1)."""
    microseconds, rest = divmod(cycle, m.clock)
    return microseconds * FS_PER_US + rest * FS_PER_US // m.clock


def first_cycle_from(m: Machine, fs: int) -> int:
    """The first core cycle that starts at or after a time (T1)."""
    cycle = max(fs * m.clock // FS_PER_US - 2, 0)
    while cycle_fs(m, cycle) < fs:
        cycle += 1
    return cycle


def fs(ns: float) -> int:
    """Nanoseconds of a machine file in femtoseconds."""
    return round(ns * FS_PER_NS)


def ceil_div(value: int, divisor: int) -> int:
    """value / divisor, rounded up."""
    return -(-value // divisor)


def latency(m: Machine, cls: str, dtype: str = "f32") -> int:
    """Latency of an instruction class."""
    op = m.core.op(cls, dtype)
    assert op is not None
    return op.latency


def slots(m: Machine, cls: str, dtype: str, rows: int, cols: int, k: int = 0) -> int:
    """Pipe slots of an instruction on rows x cols (I2); matmul: cols = n, and k."""
    op = m.core.op(cls, dtype)
    n = {"instruction": 1, "row": rows}.get(op.slot)
    if n is None:
        width = m.core.units[op.unit].bytes
        n = rows * ceil_div(4 * cols, width)
        if cls == "matmul":
            n = chain(dtype, k) * ceil_div(4 * rows * cols, width)
    return n * op.occupancy


def chain(dtype: str, k: int) -> int:
    """Multiply-adds into one element of a cracked matmul (I2)."""
    return k if dtype == "f32" else ceil_div(k, 2)


def repeat(count: int, line: str) -> str:
    """Assembler lines: `{i}` in the line counts up."""
    return "\n".join(line.format(i=i) for i in range(count))
