"""Books the engine's counters step by step into an account."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.account import ACCOUNT_COLUMNS, CAUSES
from sim.result import Account, Operator, Region, Step, Work

if TYPE_CHECKING:
    from sim.engines import AnyCpu

FIRST_CAUSE = len(ACCOUNT_COLUMNS)
WAITING = FIRST_CAUSE + CAUSES.index("waiting for other cores")


class _Counters(NamedTuple):
    """The engine's account, slots booked and cycles passed of every core, and sums over cores.

    Slots are in parts of a cycle, of which a slot of any core is a whole number.
    """

    table: NDArray[np.int64]
    parts: NDArray[np.int64]
    cycles: NDArray[np.int64]
    seconds: float
    instructions: int


class Ledger:
    """Reads the engine's counters after every step and keeps what the step added.

    Args:
        cpu: the machine that runs.
        regions: operator number -> operator, as the programs' ``region`` instructions count them.
    """

    def __init__(self, cpu: AnyCpu, regions: Iterable[Region]) -> None:
        self._cpu = cpu
        self._regions = list(regions)
        self._cores = range(len(cpu.programs))
        # Slots of cores of different widths are added up in equal parts of a cycle.
        widths = [cpu.machine.kind_of(core).core.width for core in self._cores]
        self._parts_per_core = math.lcm(*widths)
        self._parts_per_slot = [self._parts_per_core // width for width in widths]
        self._parts_per_cycle = self._parts_per_core * len(self._cores)
        self._before = self._read()
        self._began = self._before.cycles
        self._tables: list[NDArray[np.int64]] = []
        self.steps: list[Step] = []

    def _read(self) -> _Counters:
        cpu = self._cpu
        parts = [cpu.slots(core) * each for core, each in enumerate(self._parts_per_slot)]
        table = cpu.account()
        table[:, FIRST_CAUSE:] = sum(parts)
        return _Counters(
            table=table,
            parts=np.array([each.sum() for each in parts]),
            cycles=np.array(cpu.core_cycles),
            seconds=cpu.seconds,
            instructions=cpu.instructions,
        )

    def close_step(self, kind: str, tokens: int, context: int, *, partial: bool = False) -> Step:
        """Book everything since the last call as one step."""
        before, now = self._before, self._read()
        gained = now.table - before.table
        passed = now.cycles - before.cycles
        if len(self._cores) > 1:
            # Of cores that had halted while others still ran. What an interrupted core has booked
            # beyond now is left as it is.
            unbooked = passed * self._parts_per_core - (now.parts - before.parts)
            gained[0, WAITING] += unbooked.clip(min=0).sum()
        self._tables.append(gained)
        step = Step(
            kind=kind,
            tokens=tokens,
            context=context,
            cycles=int(passed[0]),
            seconds=now.seconds - before.seconds,
            instructions=now.instructions - before.instructions,
            partial=partial,
        )
        self.steps.append(step)
        self._before = now
        return step

    def account(self) -> Account:
        """Everything booked so far."""
        names = self._cpu.causes()
        total = sum(self._tables, start=np.zeros_like(self._before.table))
        whole = self._work(total.sum(axis=0), names)
        cycles = total[:, FIRST_CAUSE:].sum(axis=0) / self._parts_per_cycle
        return Account(
            cycles=sum(step.cycles for step in self.steps),
            seconds=sum(step.seconds for step in self.steps),
            instructions=sum(step.instructions for step in self.steps),
            flops=whole.flops,
            steps=self.steps,
            operators=[
                Operator(*self._regions[number], step=step, work=self._work(table[number], names))
                for step, table in enumerate(self._tables)
                for number in np.flatnonzero(table.any(axis=1))
            ],
            kinds=self._kinds(total, names),
            causes=dict(zip(names, cycles.tolist(), strict=True)),
            caches=self._cpu.cache_counters(),
            dram=self._cpu.dram_counters(),
            core=self._cpu.core_counters(),
            coherence=self._cpu.coherence_counters(),
            nodes=self._cpu.node_counters(),
            core_cycles=(self._before.cycles - self._began).tolist(),
        )

    def _kinds(self, total: NDArray[np.int64], names: list[str]) -> dict[str, Work]:
        rows: dict[str, NDArray[np.int64]] = {}
        for region, row in zip(self._regions, total, strict=True):
            if row.any():
                rows[region.kind] = rows.get(region.kind, 0) + row
        works = {kind: self._work(row, names) for kind, row in rows.items()}
        return dict(sorted(works.items(), key=lambda item: -item[1].cycles))

    def _work(self, row: NDArray[np.int64], names: list[str]) -> Work:
        by_cause = row[FIRST_CAUSE:] / self._parts_per_cycle
        return Work(
            cycles=float(by_cause.sum()),
            instructions=int(row[0]),
            flops=int(row[1]),
            dram_bytes=int(row[2] + row[3]),
            causes={
                name: float(cycles)
                for name, cycles in zip(names, by_cause, strict=True)
                if cycles > 0
            },
        )
