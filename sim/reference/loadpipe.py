"""Loads on the load unit: one line access after another (L1 to L4, S2)."""

from __future__ import annotations

from collections.abc import Callable

from sim.reference.cache import FirstLevel, Requester
from sim.reference.instruction import Flight
from sim.reference.pieces import Piece
from sim.reference.storebuffer import StoreBuffer
from sim.reference.units import Unit


class LoadPipe:
    """Makes the accesses of the load that its unit runs."""

    def __init__(
        self,
        unit: Unit,
        l1: FirstLevel,
        stores: StoreBuffer,
        forward: int,
        core: int,
        wake: Callable[[int | None], None],
    ) -> None:
        self.unit = unit
        self.l1 = l1
        self.stores = stores
        self.forward_cycles = forward
        self.core = core
        self.wake = wake
        self.forwards = 0

    def start(self, load: Flight, cycle: int) -> None:
        """A load takes the unit: it is issued, its first access may be made at once."""
        load.issue = cycle
        self.unit.running = load
        self.proceed(cycle)

    def proceed(self, cycle: int) -> bool:
        """Make the accesses whose first slots lie in this cycle (L1); returns whether any was."""
        load, unit = self.unit.running, self.unit
        moved = False
        while load and load.pieces and unit.position < (cycle + 1) * unit.pipes:
            piece = load.pieces[0]
            if not self._access(load, piece, cycle):
                unit.block_until(self.l1.next_fill())  # L3
                return moved
            unit.take(cycle, -(-piece.nbytes // (unit.bytes or piece.nbytes)))
            del load.pieces[0]
            moved = True
        if load and not load.pieces:
            load.complete = load.arrival
            self.wake(load.complete)
            unit.running = None
        return moved

    def _access(self, load: Flight, piece: Piece, cycle: int) -> bool:
        """One access; False if it must wait for an MSHR."""
        who = Requester(self.core, load.pc, load.region)
        if load.cls == "prefetch":  # L4: waits for nothing
            self.l1.access(piece.line, cycle, who)
            load.arrival = cycle + 1
            return True
        if self.stores.youngest_older(load, piece):  # S2; the store has completed
            self.forwards += 1
            load.arrival = max(load.arrival, cycle + self.forward_cycles)
            return True
        answer = self.l1.access(piece.line, cycle, who)
        if answer is None:
            return False
        if answer.time >= load.arrival:
            load.arrival, load.level = answer  # A3: the level of the last line to arrive
        return True
