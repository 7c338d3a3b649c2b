"""An instruction in flight, and what the machine file says about its kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from isa.encoding import Instr
from sim.machine.core import Op
from sim.reference.pieces import Piece

TileValue = tuple[int, int]  # the number of the instruction that wrote it, and the tile register


@dataclass(eq=False, slots=True)
class Flight:
    """One executed instruction on its way from dispatch to retirement; cycles are core cycles.

    ``sources`` are the instructions whose results it waits for; the flag marks an accumulator that
    one matmul hands to the next (I6). ``pieces`` are line accesses: of a load those still to make.
    A matmul of a single fold takes ``stream`` slots where the array holds ``stationary``; it
    ``leaves`` the same there, or the accumulator it has added to (I7).
    """

    number: int
    pc: int
    instr: Instr
    op: Op
    region: int
    uops: int
    slots: int
    additions: int
    dispatch: int
    sources: list[tuple[Flight, bool]]
    pieces: list[Piece] = field(default_factory=list)
    line_accesses: int = 0
    stream: int = 0
    stationary: TileValue | None = None
    leaves: TileValue | None = None
    issue: int | None = None
    complete: int | None = None
    accumulated: int | None = None
    retire: int | None = None
    retire_slots: int = 0
    arrival: int = 0
    level: str = "L1"
    _available: int | None = None

    @property
    def cls(self) -> str:
        """Instruction class, as in machine files."""
        return self.instr.row.cls

    @property
    def is_load(self) -> bool:
        """Whether it makes accesses on the load unit."""
        return self.cls in ("load", "prefetch")

    def available(self) -> int | None:
        """First cycle in which it may issue as far as sources go (I1), None while unknown."""
        if self._available is None:
            latest = self.dispatch + 1
            for producer, accumulator in self.sources:
                ready = producer.accumulated if accumulator else producer.complete
                if ready is None:
                    return None
                latest = max(latest, ready)
            self._available = latest
            self.sources = []
        return self._available

    def start(self, first: int, last: int) -> None:
        """Take the pipe slots from cycle ``first`` to ``last``: results follow (I5, I6)."""
        op, latency = self.op, self.op.latency
        step = latency if op.accumulate_latency is None else op.accumulate_latency
        self.issue = first
        self.complete = last + latency
        self.accumulated = last + step
        if self.additions:
            self.complete = max(self.complete, first + (self.additions - 1) * step + latency)
            self.accumulated = max(self.accumulated, first + self.additions * step)
