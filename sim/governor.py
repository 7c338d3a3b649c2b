"""Governors: SimPy processes that change the clocks of cores while a program runs.

A governor is a function that takes a CPU and gives the generator of a SimPy process. It waits with
``yield cpu.environment.timeout(fs)``, in whole femtoseconds, and acts with ``cpu.set_clock(core,
megahertz)``, rule T5 of docs/timing.md. It ends when it returns, or with the run. `schedule` is an
example: it makes the changes of a list. Both engines have the face that it needs, `Clocked`.
`memory_aware` decides for itself: cores that mostly wait for memory get a lower clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import simpy

from isa.errors import UserError, did_you_mean
from isa.program import Program
from sim.account import CAUSES
from sim.machine.units import format_clock, parse_clock, parse_time

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sim.machine.schema import Machine

FS_PER_NS = 10**6
FS_PER_US = 10**9
COLUMNS = ["time", "core", "clock"]
ALL = "all"
EXAMPLE = "5us,all,2GHz"


class Clocked(Protocol):
    """What a governor sees of a CPU; of both engines it may read the counters too."""

    environment: simpy.Environment
    machine: Machine
    programs: list[Program]
    core_cycles: list[int]

    def slots(self, core: int, *, settled: bool = False) -> NDArray[np.int64]:
        """A core's dispatch slots up to now: [operator, cause]."""

    def set_clock(self, core: int, megahertz: int) -> None:
        """Change a core's clock from its first cycle at or after now."""


Governor = Callable[[Any], Generator[simpy.Event, Any, None]]


@dataclass(frozen=True)
class Change:
    """A new clock for one core, or for all with ``core`` None, from a time on."""

    time_fs: int
    core: int | None
    megahertz: int


def schedule(changes: Iterable[Change]) -> Governor:
    """A governor that makes changes at their times; of two at one time the later given holds."""
    in_order = sorted(changes, key=lambda change: change.time_fs)

    def govern(cpu: Clocked) -> Generator[simpy.Event, Any, None]:
        for change in in_order:
            yield cpu.environment.timeout(max(change.time_fs - cpu.environment.now, 0))
            cores = range(len(cpu.programs)) if change.core is None else [change.core]
            for core in cores:
                cpu.set_clock(core, change.megahertz)

    return govern


MEMORY_AWARE = "memory-aware"
# Causes that last as many ns at any clock of the core.
MEMORY = [CAUSES.index(f"memory: {level}") for level in ("L3", "DRAM", "coherence")]


@dataclass(frozen=True)
class MemoryAware:
    """Looks at every core once a period and sets its clock by what its slots waited for.

    A core that spent more than half of its dispatch slots on L3, DRAM and other cores' lines gets
    the low clock: it would wait as long with the high one, which all other cores get.

    Attributes:
        low, high: MHz; by default half of the core's clock at the beginning, and that clock.
        period: fs.
    """

    low: int | None = None
    high: int | None = None
    period: int = 10 * FS_PER_US

    def __call__(self, cpu: Clocked) -> Generator[simpy.Event, Any, None]:
        """The SimPy process; `UserError` if a core's low clock is above its high one."""
        return self._govern(cpu, [self._clocks(cpu, core) for core in range(len(cpu.programs))])

    def _govern(
        self, cpu: Clocked, clocks: list[tuple[int, int]]
    ) -> Generator[simpy.Event, Any, None]:
        cores = range(len(clocks))
        before = [self._waited(cpu, core) for core in cores]
        while True:
            yield cpu.environment.timeout(self.period)
            after = [self._waited(cpu, core) for core in cores]
            for core in cores:
                slots, waited = (
                    now - then for now, then in zip(after[core], before[core], strict=True)
                )
                low, high = clocks[core]
                if slots:  # none where turns are longer than a period (T3)
                    cpu.set_clock(core, low if 2 * waited > slots else high)
            before = after

    def _clocks(self, cpu: Clocked, core: int) -> tuple[int, int]:
        """The low and the high clock of a core."""
        own = cpu.machine.clock_of(core)
        low, high = self.low or max(own // 2, 1), self.high or own
        if low > high:
            raise UserError(
                f"governor {MEMORY_AWARE}: core {core} has a low clock of {format_clock(low)} and "
                f"a high one of {format_clock(high)}; give both, as in low=1GHz,high=2GHz"
            )
        return low, high

    def _waited(self, cpu: Clocked, core: int) -> tuple[int, int]:
        """A core's dispatch slots before now, and those that waited for memory."""
        slots = cpu.core_cycles[core] * cpu.machine.kind_of(core).core.width
        return slots, int(cpu.slots(core, settled=True)[:, MEMORY].sum())


def parse_memory_aware(text: str) -> MemoryAware:
    """The governor that ``memory-aware`` or ``memory-aware:low=1GHz,high=2GHz,period=20us`` names.

    Raises:
        UserError: something behind the colon is none of these.
    """
    parse: dict[str, Callable[[object], int]] = {
        "low": parse_clock,
        "high": parse_clock,
        "period": lambda value: round(parse_time(value) * FS_PER_NS),
    }
    values: dict[str, int] = {}
    for part in filter(None, text.partition(":")[2].split(",")):
        key, _, value = (piece.strip() for piece in part.partition("="))
        try:
            if key not in parse:
                raise ValueError(f"{key!r} is none of {', '.join(parse)}")
            values[key] = parse[key](value)
        except ValueError as error:
            raise UserError(f"governor {text}: {error}") from None
    if values.get("period", FS_PER_NS) < FS_PER_NS:
        raise UserError(f"governor {text}: the period must be at least 1ns")
    return MemoryAware(**values)


def load_schedule(path: str | os.PathLike[str], cores: int) -> list[Change]:
    """The changes in a CSV file with the columns time, core (a number or "all") and clock.

    Args:
        path: of the file; empty lines and those that begin with ``#`` are left out.
        cores: how many run.

    Raises:
        UserError: there is no such file, it has no changes, or a line says what cannot be.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"governor file {path} is no UTF-8 text; write it as CSV") from error
    except OSError as error:
        raise UserError(
            f"governor file {path} cannot be read: {error.strerror}."
            f"{did_you_mean(os.fspath(path), [MEMORY_AWARE])}"
        ) from error
    rows = _rows(text)
    number, header = next(rows, (1, []))
    if header != COLUMNS:
        raise UserError(f"governor file {path}, line {number}: begin with {','.join(COLUMNS)}")
    changes = []
    for number, row in rows:
        try:
            changes.append(parse_change(row, cores))
        except ValueError as error:
            raise UserError(f"governor file {path}, line {number}: {error}") from None
    if not changes:
        raise UserError(
            f"governor file {path} has no changes; write some below {','.join(COLUMNS)}, as in "
            f"{EXAMPLE}"
        )
    return changes


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, [cell.strip() for cell in line.split(",")]


def parse_change(row: list[str], cores: int) -> Change:
    """The change in a row's cells; `ValueError` for what cannot be."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} columns; write {','.join(COLUMNS)}, as in {EXAMPLE}")
    time, core, clock = row
    if time.startswith("-"):
        raise ValueError(f"time {time}: the run begins at 0; a change cannot come before")
    if core != ALL and not (core.isdecimal() and int(core) < cores):
        known = "0" if cores == 1 else f"0 to {cores - 1}"
        raise ValueError(f"core {core}: there is none; use {known}, or {ALL}")
    return Change(
        time_fs=round(parse_time(time) * FS_PER_NS),
        core=None if core == ALL else int(core),
        megahertz=parse_clock(clock),
    )


def governor_of(given: str | os.PathLike[str] | Governor | None, cores: int) -> Governor | None:
    """The governor that is meant: a built-in one, that of a schedule file, or what is given."""
    if isinstance(given, str) and given.partition(":")[0] == MEMORY_AWARE:
        return parse_memory_aware(given)
    if isinstance(given, str | os.PathLike):
        return schedule(load_schedule(given, cores))
    return given


def name_of(given: str | os.PathLike[str] | Governor | None) -> str:
    """What a result calls it."""
    if given is None:
        return "fixed"
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    return getattr(given, "__name__", type(given).__name__)
