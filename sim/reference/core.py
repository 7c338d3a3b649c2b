"""One core: the phases of a cycle, and the jump to the next cycle in which something happens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

from isa.program import Program
from isa.state import State
from sim.machine.schema import Core as CoreConfig
from sim.reference.account import Account
from sim.reference.cache import FirstLevel
from sim.reference.frontend import FrontEnd
from sim.reference.instruction import Flight
from sim.reference.loadpipe import LoadPipe
from sim.reference.storebuffer import StoreBuffer
from sim.reference.units import Unit
from sim.reference.window import Window


class Core:
    """Front end, window, units and store buffer over an L1.

    ``agenda`` holds cycles in which something may become possible. A cycle in which nothing
    happened is followed by the earliest of them: in between, nothing can happen either.
    """

    def __init__(
        self,
        number: int,
        config: CoreConfig,
        program: Program,
        state: State,
        l1: FirstLevel,
        line_bytes: int,
        account: Account,
        count_instruction: Callable[[], None],
        retired: Callable[[int, Flight], None],
    ) -> None:
        self.number = number
        self.in_order = config.kind == "in-order"
        self.state = state
        self.line_bytes = line_bytes
        self.account = account
        self.count_instruction = count_instruction
        self.retired = retired
        self.l1 = l1
        self.agenda: list[int] = []
        self.window = Window(config)
        self.units = {name: Unit(name, unit) for name, unit in config.units.items()}
        self.stores = StoreBuffer(config, l1, number, self.wake)
        load_unit = next(self.units[op.unit] for op in config.ops if op.cls == "load")
        self.loads = LoadPipe(load_unit, l1, self.stores, config.forward_cycles, number, self.wake)
        self.unissued: deque[Flight] = deque()  # all units together, for in-order issue
        self.front = FrontEnd(self, config, program, state)
        self.now = 0
        self.next = 0

    def wake(self, cycle: int | None) -> None:
        """Note a cycle in which something may become possible."""
        if cycle is not None:
            heappush(self.agenda, cycle)

    def enter(self, flight: Flight) -> None:
        """A dispatched instruction takes its places (F3)."""
        self.window.enter(flight)
        self.units[flight.op.unit].queue.append(flight)
        if self.in_order:
            self.unissued.append(flight)
        if flight.cls == "store":
            self.stores.enter(flight)
        self.wake(flight.dispatch + 1)

    # --- a cycle ---------------------------------------------------------------------------------

    def cycle(self, now: int) -> None:
        """Work through one cycle, phase by phase (T2), and set ``next``.

        A core that stood at a `wait` in this cycle, when the signal came, goes on with its dispatch
        (F8).
        """
        again = self.now == now and self.front.stop == "wait"
        busy = again  # before the signal came, it may have been
        if not again:
            self.front.book_empty(now)
            self.now = now
            busy |= self._retire(now)
            busy |= self.stores.drain(now)
            busy |= self._issue(now)
        busy |= self.front.dispatch(now)
        self.next = now + 1 if busy else self._next_on_agenda(now)

    def _next_on_agenda(self, now: int) -> int:
        """The earliest cycle after this one in which something may happen; -1 if there is none."""
        while self.agenda and self.agenda[0] <= now:
            heappop(self.agenda)
        return self.agenda[0] if self.agenda else -1

    def _retire(self, now: int) -> bool:
        head = self.window.oldest
        before = head.retire_slots if head else 0
        gone = self.window.retire(now)
        for flight in gone:
            self.retired(self.number, flight)
        return bool(gone) or (head is not None and head.retire_slots > before)

    def _issue(self, now: int) -> bool:
        """I3 and I4; a load that is under way goes on first."""
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
            flight.start(*unit.take(now, flight.slots))
            self.wake(flight.complete)
            self.wake(flight.accumulated)
