"""Units: pipes behind a queue of instructions that wait to issue (I1 to I4, I7)."""

from __future__ import annotations

from collections.abc import Callable

from sim.machine.core import Unit as UnitConfig
from sim.reference.instruction import Flight, TileValue

Ready = Callable[[Flight, int], bool]


class Unit:
    """``pipes`` slots a cycle, taken one after another (I2).

    ``position`` is the next free slot, counted from cycle 0. ``running`` is a load that still has
    accesses to make: it is not interrupted (I3). ``held`` is what stays in an array (I7).
    """

    def __init__(self, name: str, config: UnitConfig) -> None:
        self.name = name
        self.pipes = config.pipes
        self.bytes = config.bytes
        self.array = config.array
        self.capacity = config.queue
        self.queue: list[Flight] = []
        self.position = 0
        self.running: Flight | None = None
        self.held: TileValue | None = None

    @property
    def full(self) -> bool:
        """Whether the queue takes no further instruction (F3)."""
        return len(self.queue) >= self.capacity

    @property
    def busy_until(self) -> int:
        """Cycle of the next free slot."""
        return self.position // self.pipes

    def free(self, cycle: int) -> bool:
        """Whether a slot of this cycle is free and no load is under way."""
        return self.running is None and self.position < (cycle + 1) * self.pipes

    def take(self, cycle: int, slots: int) -> tuple[int, int]:
        """Take consecutive slots from this cycle on; returns the cycles of first and last."""
        first = max(self.position, cycle * self.pipes)
        self.position = first + slots
        return first // self.pipes, (self.position - 1) // self.pipes

    def slots(self, flight: Flight) -> int:
        """Slots of an instruction that issues now: on an array it may continue a fold (I7)."""
        if self.array is None:
            return flight.slots
        continues = flight.stationary is not None and flight.stationary == self.held
        self.held = flight.leaves
        return flight.stream if continues else flight.slots

    def oldest_ready(self, cycle: int, ready: Ready) -> Flight | None:
        """The oldest instruction of the queue that can start (I3)."""
        return next((flight for flight in self.queue if ready(flight, cycle)), None)

    def block_until(self, cycle: int) -> None:
        """No slot before a cycle: what the load unit does while no MSHR is free (L3)."""
        self.position = max(self.position, cycle * self.pipes)
