"""Stores from dispatch to the cache (S2 to S4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sim.machine.core import Core as CoreConfig
from sim.reference.cache import FirstLevel, Requester
from sim.reference.instruction import Flight
from sim.reference.pieces import Piece

NEVER = 1 << 62


@dataclass(eq=False, slots=True)
class Entry:
    """One row and line of a store; ``owned`` is the cycle that brings the line, once asked."""

    flight: Flight
    piece: Piece
    owned: int = NEVER

    def supplies(self, cycle: int) -> bool:
        """Whether the stored bytes are known (S2)."""
        complete = self.flight.complete
        return complete is not None and complete <= cycle


class StoreBuffer:
    """Entries in program order; they leave in order, at most one a cycle."""

    def __init__(
        self, config: CoreConfig, l1: FirstLevel, core: int, wake: Callable[[int | None], None]
    ) -> None:
        self.capacity = config.store_queue
        self.l1 = l1
        self.core = core
        self.wake = wake
        self.entries: deque[Entry] = deque()
        self.asked = 0  # so many entries, the oldest, have asked for their lines
        self.ask_again = 0

    def takes(self, accesses: int) -> bool:
        """Whether there is room; an empty queue takes any store (F3)."""
        return not self.entries or len(self.entries) + accesses <= self.capacity

    def enter(self, flight: Flight) -> None:
        """One entry per row and line, from dispatch on (S1)."""
        self.entries.extend(Entry(flight, piece) for piece in flight.pieces)

    def hold_older(self, load: Flight) -> bool:
        """Whether an entry older than a load has not drained."""
        return bool(self.entries) and self.entries[0].flight.number < load.number

    def youngest_older(self, load: Flight, piece: Piece) -> Entry | None:
        """The youngest entry older than a load that holds bytes of its access (S2)."""
        for entry in reversed(self.entries):
            if entry.flight.number < load.number and entry.piece.overlaps(piece):
                return entry
        return None

    def lets_issue(self, load: Flight, cycle: int) -> bool:
        """Whether no older store holds a load back: S2 for whole accesses, S3 for parts."""
        for piece in load.pieces if self.entries else ():
            entry = self.youngest_older(load, piece)
            if entry and not (entry.piece.covers(piece) and entry.supplies(cycle)):
                return False
        return True

    def drain(self, cycle: int) -> bool:
        """Ask for a line, then let the oldest entry go (S4); returns whether anything happened."""
        asked = self._ask(cycle)
        if not self.asked or self.entries[0].owned > cycle:
            return asked
        self.entries.popleft()
        self.asked -= 1
        return True

    def _ask(self, cycle: int) -> bool:
        if self.asked == len(self.entries) or cycle < self.ask_again:
            return False
        entry = self.entries[self.asked]
        if entry.flight.retire is None:
            return False
        who = Requester(self.core, entry.flight.pc, entry.flight.region, write=True)
        answer = self.l1.access(entry.piece.line, cycle, who)
        if answer is None:
            self.ask_again = self.l1.next_fill()
            self.wake(self.ask_again)
            return False
        entry.owned = answer.time
        self.wake(entry.owned)
        self.asked += 1
        return True
