"""Books the engine's counters step by step into an account."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.account import ACCOUNT_COLUMNS, CAUSES
from sim.result import Account, Operator, Region, Step, Work

if TYPE_CHECKING:
    from sim.engines import AnyCpu

FIRST_CAUSE = len(ACCOUNT_COLUMNS)
WAITING = FIRST_CAUSE + CAUSES.index("waiting for other cores")


class Ledger:
    """Reads the engine's counters after every step and keeps what the step added.

    Args:
        cpu: the machine that runs.
        regions: operator number -> operator, as the programs' ``region`` instructions count them.
    """

    def __init__(self, cpu: AnyCpu, regions: Iterable[Region]) -> None:
        self._cpu = cpu
        self._regions = list(regions)
        self._slots_per_cycle = cpu.machine.core.width * len(cpu.programs)
        self._before = self._read()
        self._began = self._before[1]
        self._tables: list[NDArray[np.int64]] = []
        self.steps: list[Step] = []

    def _read(self) -> tuple[NDArray[np.int64], NDArray[np.int64], float, int]:
        """The account's table, the cycles of every core, seconds and instructions."""
        cpu = self._cpu
        return cpu.account(), np.array(cpu.core_cycles), cpu.seconds, cpu.instructions

    def close_step(self, kind: str, tokens: int, context: int, *, partial: bool = False) -> Step:
        """Book everything since the last call as one step."""
        table, cycles, seconds, instructions = now = self._read()
        table_before, cycles_before, seconds_before, instructions_before = self._before
        gained = table - table_before
        passed = cycles - cycles_before
        if len(self._cpu.programs) > 1 and not partial:
            # Cores that had halted while others still ran.
            slots = passed.sum() * self._cpu.machine.core.width
            gained[0, WAITING] += slots - gained[:, FIRST_CAUSE:].sum()
        self._tables.append(gained)
        step = Step(
            kind=kind,
            tokens=tokens,
            context=context,
            cycles=int(passed[0]),
            seconds=seconds - seconds_before,
            instructions=instructions - instructions_before,
            partial=partial,
        )
        self.steps.append(step)
        self._before = now
        return step

    def account(self) -> Account:
        """Everything booked so far."""
        names = self._cpu.causes()
        shape = self._before[0].shape
        total = sum(self._tables, start=np.zeros(shape, dtype=np.int64))
        whole = self._work(total.sum(axis=0), names)
        slots = total[:, FIRST_CAUSE:].sum(axis=0) / self._slots_per_cycle
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
            causes=dict(zip(names, slots.tolist(), strict=True)),
            caches=self._cpu.cache_counters(),
            dram=self._cpu.dram_counters(),
            core=self._cpu.core_counters(),
            coherence=self._cpu.coherence_counters(),
            core_cycles=(self._before[1] - self._began).tolist(),
        )

    def _kinds(self, total: NDArray[np.int64], names: list[str]) -> dict[str, Work]:
        rows: dict[str, NDArray[np.int64]] = {}
        for region, row in zip(self._regions, total, strict=True):
            if row.any():
                rows[region.kind] = rows.get(region.kind, 0) + row
        works = {kind: self._work(row, names) for kind, row in rows.items()}
        return dict(sorted(works.items(), key=lambda item: -item[1].cycles))

    def _work(self, row: NDArray[np.int64], names: list[str]) -> Work:
        slots = row[FIRST_CAUSE:] / self._slots_per_cycle
        return Work(
            cycles=float(slots.sum()),
            instructions=int(row[0]),
            flops=int(row[1]),
            dram_bytes=int(row[2] + row[3]),
            causes={
                name: float(cycles) for name, cycles in zip(names, slots, strict=True) if cycles > 0
            },
        )
