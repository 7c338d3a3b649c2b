"""The window: instructions between dispatch and retirement (W1 to W4)."""

from __future__ import annotations

from collections import deque

from sim.machine.core import Core as CoreConfig
from sim.reference.instruction import Flight


class Window:
    """Unretired instructions in program order, and the line accesses their loads hold (F3)."""

    def __init__(self, config: CoreConfig) -> None:
        self.entries = config.rob
        self.retire_width = config.retire_width
        self.load_entries = config.load_queue
        self.flights: deque[Flight] = deque()
        self.used = 0
        self.loads = 0

    @property
    def full(self) -> bool:
        """Whether no entry is free; an instruction needs one to enter (F3)."""
        return self.used >= self.entries

    @property
    def oldest(self) -> Flight | None:
        """The oldest unretired instruction."""
        return self.flights[0] if self.flights else None

    def takes_load(self, accesses: int) -> bool:
        """Whether the load queue has room; an empty one takes any load (F3)."""
        return self.loads == 0 or self.loads + accesses <= self.load_entries

    def enter(self, flight: Flight) -> None:
        """Hold entries for all uops (W1) and the load queue for all line accesses."""
        self.flights.append(flight)
        self.used += flight.uops
        if flight.is_load:
            self.loads += flight.line_accesses

    def retire(self, cycle: int) -> list[Flight]:
        """Retire in order, ``retire_width`` uops a cycle; returns those that are gone (W4)."""
        gone = []
        slots = self.retire_width
        while slots and self.flights:
            flight = self.flights[0]
            if flight.complete is None or flight.complete > cycle:
                break
            step = min(slots, flight.uops - flight.retire_slots)
            flight.retire_slots += step
            slots -= step
            if flight.retire_slots < flight.uops:
                break
            flight.retire = cycle
            self.flights.popleft()
            self.used -= flight.uops
            if flight.is_load:
                self.loads -= flight.line_accesses
            gone.append(flight)
        return gone
