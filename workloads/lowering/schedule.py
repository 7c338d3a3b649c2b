"""Which core does which piece, in which order, and what it waits for.

List scheduling: operators come in forward order, each piece goes to the core that can finish it
first by the estimates of `partition`, larger pieces before smaller ones. So the projections q, k
and v, or anything else that does not depend on each other, fill the cores together.

Where a piece needs what another core made, or would overwrite what another core still reads, it
waits for a signal of that core. Counter c counts the signals of core c, and a vector clock per
core says what it knows of the others' progress: what is known already is not waited for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from workloads.lowering.hazards import Accesses, History
from workloads.lowering.partition import Partition, Piece
from workloads.lowering.placement import Placement

SIGNAL = 30  # tile operations between the end of a piece and the start of one that waits for it


@dataclass
class Task:
    """A piece in its place.

    `start` and `end` are estimates, in tile operations. Before it the core waits until the counter
    of each core in `waits` has reached the number given; `signal` is the number its own core's
    counter has afterwards, None where nobody waits for it.
    """

    piece: Piece
    core: int
    index: int  # among the tasks of its core
    start: float
    end: float
    after: list[Task]  # on other cores, as far as they are waited for
    signal: int | None = None

    @property
    def waits(self) -> list[tuple[int, int]]:
        """Cores and the counts to wait for."""
        return [(task.core, task.signal) for task in self.after if task.signal is not None]


@dataclass
class Schedule:
    """`lanes[core]` are the tasks of a core in order."""

    lanes: list[list[Task]]

    @property
    def tasks(self) -> list[Task]:
        """All tasks, core by core."""
        return [task for lane in self.lanes for task in lane]


@dataclass
class Plan:
    """The schedules of a program: of both entries, and of the head in which they end."""

    prefill: Schedule
    decode: Schedule
    head: Schedule


def make_plan(partition: Partition, placement: Placement) -> Plan:
    """Schedule both entries and the head of a model's programs."""
    operators = partition.operators
    select = next(i for i, op in enumerate(operators) if op.kind == "select_last")
    accesses = Accesses(operators, placement)

    def planned(numbers: range, space: str) -> Schedule:
        stages = (stage for number in numbers for stage in partition.stages(number, space))
        return schedule(stages, accesses, partition.cores, partition.speeds)

    return Plan(
        prefill=planned(range(select + 1), "prompt"),
        decode=planned(range(select), "step"),
        head=planned(range(select + 1, len(operators)), "step"),
    )


def schedule(
    stages: Iterable[list[Piece]], accesses: Accesses, cores: int, speeds: Sequence[float] = ()
) -> Schedule:
    """Place the pieces of operators, or stages of them, that are given in forward order.

    `speeds` are those of unequal cores: estimates are tile operations of one of speed 1.
    """
    scheduler = _Scheduler(History(accesses), cores, speeds or (1.0,) * cores)
    for pieces in stages:
        scheduler.add(pieces)
    return Schedule(scheduler.finish())


@dataclass
class _Scheduler:
    history: History
    cores: int
    speeds: Sequence[float]
    lanes: list[list[Task]] = field(init=False)
    task_of: dict[Piece, Task] = field(default_factory=dict)
    core_of: dict[tuple[str | None, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lanes = [[] for _ in range(self.cores)]
        # clocks[core][other]: tasks of `other` that `core` knows to be finished
        self.clocks = [[0] * self.cores for _ in range(self.cores)]
        self.published: dict[tuple[int, int], list[int]] = {}

    def add(self, pieces: list[Piece]) -> None:
        """Place the pieces of one stage."""
        before = {piece: [self.task_of[p] for p in self.history.before(piece)] for piece in pieces}
        for piece in sorted(pieces, key=lambda piece: (-piece.cost, piece.part)):
            core = self._core(piece, before[piece])
            self._place(piece, core, before[piece])
        self.history.add(pieces)

    def _core(self, piece: Piece, before: list[Task]) -> int:
        """The core that finishes the piece first; of equals the one of its number, or the next."""
        if piece.core is not None:
            return piece.core
        together = (piece.bundle, piece.part)
        if piece.bundle and together in self.core_of:
            return self.core_of[together]
        core = min(
            range(self.cores),
            key=lambda core: (
                self._start(core, before) + piece.cost / self.speeds[core],
                (core - piece.part) % self.cores,
            ),
        )
        self.core_of[together] = core
        return core

    def _start(self, core: int, before: list[Task]) -> float:
        free = self.lanes[core][-1].end if self.lanes[core] else 0.0
        ready = (task.end + (SIGNAL if task.core != core else 0) for task in before)
        return max(free, *ready, 0.0)

    def _place(self, piece: Piece, core: int, before: list[Task]) -> None:
        lane, clock = self.lanes[core], self.clocks[core]
        start = self._start(core, before)
        task = Task(piece, core, len(lane), start, start + piece.cost / self.speeds[core], [])
        # What finishes last is waited for first: it may say that the others are finished.
        for other in sorted(before, key=lambda task: (-task.end, task.core)):
            if other.core != core and clock[other.core] <= other.index:
                task.after.append(other)
                known = self.published[other.core, other.index]
                clock[:] = [max(pair) for pair in zip(clock, known, strict=True)]
        lane.append(task)
        clock[core] = len(lane)
        self.published[core, task.index] = list(clock)
        self.task_of[piece] = task

    def finish(self) -> list[list[Task]]:
        """Number the signals that somebody waits for."""
        awaited = {(t.core, t.index) for lane in self.lanes for task in lane for t in task.after}
        for core, lane in enumerate(self.lanes):
            signals = [task for task in lane if (core, task.index) in awaited]
            for number, task in enumerate(signals, start=1):
                task.signal = number
        return self.lanes
