"""Issue: which queued instruction starts in which cycle (I1 to I4, I7), and what a load does then.

A load keeps its unit until it has made one access of L1 after another (L1 to L4, S2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sim.machine.core import Core as CoreConfig
from sim.reference.cache import FirstLevel, Requester
from sim.reference.instruction import Flight
from sim.reference.pieces import Piece
from sim.reference.storebuffer import StoreBuffer
from sim.reference.units import Unit

Wake = Callable[[int | None], None]


class Issue:
    """The units with their queues, and the loads on one of them."""

    def __init__(
        self,
        config: CoreConfig,
        l1: FirstLevel,
        stores: StoreBuffer,
        core: int,
        ahead_cycles: int,
        wake: Wake,
    ) -> None:
        self.in_order = config.kind == "in-order"
        self.stores = stores
        self.wake = wake
        self.units = {name: Unit(name, unit) for name, unit in config.units.items()}
        load_unit = next(self.units[op.unit] for op in config.ops if op.cls == "load")
        forward = config.forward_cycles
        self.loads = LoadPipe(load_unit, l1, stores, forward, ahead_cycles, core, wake)
        self.unissued: deque[Flight] = deque()  # all units together, for in-order issue

    def enter(self, flight: Flight) -> None:
        """A dispatched instruction queues at its unit."""
        self.units[flight.op.unit].queue.append(flight)
        if self.in_order:
            self.unissued.append(flight)

    def cycle(self, now: int) -> bool:
        """The issue phase (I3, I4); a load that is under way goes on first."""
        moved = self.loads.proceed(now) if self.loads.unit.running else False
        if self.in_order:
            while self.unissued and self._can_start(self.unissued[0], now):
                self._start(self.unissued.popleft(), now)
                moved = True
        else:
            for unit in self.units.values():
                while unit.free(now) and (flight := unit.oldest_ready(now, self._ready)):
                    self._start(flight, now)
                    moved = True
        for unit in self.units.values():
            if unit.busy_until > now:
                self.wake(unit.busy_until)
        return moved

    def _can_start(self, flight: Flight, now: int) -> bool:
        return self.units[flight.op.unit].free(now) and self._ready(flight, now)

    def _ready(self, flight: Flight, now: int) -> bool:
        """I1: sources are there; of a load also what older stores hold (S2, S3)."""
        available = flight.available()
        if available is None or available > now:
            return False
        return flight.cls != "load" or self.stores.lets_issue(flight, now)

    def _start(self, flight: Flight, now: int) -> None:
        unit = self.units[flight.op.unit]
        unit.queue.remove(flight)
        if flight.is_load:
            self.loads.start(flight, now)
        else:
            flight.start(*unit.take(now, unit.slots(flight)))
            self.wake(flight.complete)
            self.wake(flight.accumulated)


class LoadPipe:
    """Makes the accesses of the load that its unit runs."""

    def __init__(
        self,
        unit: Unit,
        l1: FirstLevel,
        stores: StoreBuffer,
        forward: int,
        ahead_cycles: int,
        core: int,
        wake: Wake,
    ) -> None:
        self.unit = unit
        self.l1 = l1
        self.stores = stores
        self.forward_cycles = forward
        self.ahead_cycles = ahead_cycles
        self.core = core
        self.wake = wake
        self.forwards = 0

    def start(self, load: Flight, cycle: int) -> None:
        """A load takes the unit: it is issued, its first access may be made at once."""
        load.issue = cycle
        self.unit.running = load
        self.proceed(cycle)

    def proceed(self, cycle: int) -> bool:
        """Make the accesses of a stretch that begins in this cycle (L5); returns whether any was.

        An access is made in the cycle of its first slot (L1).
        """
        load, unit = self.unit.running, self.unit
        if load is None or unit.busy_until > cycle:
            return False
        moved = False
        last = cycle if self.stores.hold_older(load) else cycle + self.ahead_cycles
        while load.pieces and (when := max(cycle, unit.busy_until)) <= last:
            piece = load.pieces[0]
            if not self._access(load, piece, when):
                unit.block_until(self.l1.next_fill())  # L3
                continue
            unit.take(when, -(-piece.nbytes // (unit.bytes or piece.nbytes)))
            del load.pieces[0]
            moved = True
        if not load.pieces:
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
        if answer.time >= load.arrival:  # A3: the level of the last line to arrive
            load.arrival, load.level = answer.time, answer.level
        return True
