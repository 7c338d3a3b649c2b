"""One core: the phases of a cycle, and the jump to the next cycle in which something happens."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from isa.program import Program
from isa.state import State
from sim.machine.core import Core as CoreConfig
from sim.reference.account import Account
from sim.reference.cache import FirstLevel
from sim.reference.frontend import FrontEnd
from sim.reference.instruction import Flight
from sim.reference.issue import Issue
from sim.reference.storebuffer import StoreBuffer
from sim.reference.window import Window


class Core:
    """Front end, window, issue and store buffer over an L1.

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
        load_ahead_cycles: int,
        account: Account,
        count_instruction: Callable[[], None],
        retired: Callable[[int, Flight], None],
        seen_from: Callable[[int, int], int],
    ) -> None:
        self.number = number
        self.state = state
        self.line_bytes = line_bytes
        self.account = account
        self.count_instruction = count_instruction
        self.retired = retired
        self.seen_from = seen_from  # first cycle in which so many signals of a counter are seen
        self.l1 = l1
        self.agenda: list[int] = []
        self.window = Window(config)
        self.stores = StoreBuffer(config, l1, number, self.wake)
        self.issue = Issue(config, l1, self.stores, number, load_ahead_cycles, self.wake)
        self.front = FrontEnd(self, config, program, state)
        self.now = 0
        self.next = 0

    def wake(self, cycle: int | None) -> None:
        """Note a cycle in which something may become possible."""
        if cycle is not None:
            heappush(self.agenda, cycle)

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
            busy |= self.issue.cycle(now)
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
