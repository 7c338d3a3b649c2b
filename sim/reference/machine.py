"""The reference CPU: the machine of docs/timing.md as SimPy processes, one per core.

It has the face of the compiled `sim.engine.Cpu`, and can be stepped and looked into.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy.events import EventPriority

from isa.errors import InternalError, SimulationFault
from isa.faults import Fault, Trap, Waiting, deadlock, simulation_fault
from isa.memory import MemoryMap
from isa.program import Program
from isa.state import State
from sim.account import ACCOUNT_COLUMNS, LOG_FIELDS
from sim.machine.clocks import END_FS, check_clock, end_of_time
from sim.machine.schema import Machine
from sim.reference.account import Account
from sim.reference.cache import Below, Cache, Crossing, FirstLevel
from sim.reference.clock import Clock, nanoseconds
from sim.reference.core import Core
from sim.reference.directory import Directory
from sim.reference.dram import Dram
from sim.reference.instruction import Flight
from sim.reference.invariant import CheckedFirstLevel, Invariant
from sim.reference.nodes import Nodes
from sim.reference.observe import CoreView, view
from sim.reference.races import RaceCheck
from sim.reference.shared import PrivateCaches, Shared

FS_PER_SECOND = 10**15
FIRST_CAUSE = len(ACCOUNT_COLUMNS)
SIGNALS_KEPT = 4096  # with their times
FIRST_CORE = 2  # SimPy's own priorities are 0 and 1
STEPS = 1_000  # cycles between two looks at `should_stop`: some hundredths of a second


class ReferenceCpu:
    """The reference engine with one machine, one program per core and one memory.

    ``mem`` is tensor memory (``None`` with values off), ``control`` the control segment (int64
    words); the caller fills both. ``log`` keeps the dispatch, issue, complete and retire cycles of
    that many instructions. ``check_coherence`` checks the invariant (see the method) after every
    access of an instruction; ``races`` looks for data races. Raises `UserError` for programs that
    do not fit the machine.
    """

    def __init__(
        self,
        machine: Machine,
        programs: list[Program],
        memory: MemoryMap,
        *,
        values: bool = True,
        regions: int = 1,
        log: int = 0,
        check_coherence: bool = False,
        races: RaceCheck | None = None,
    ) -> None:
        target = machine.target()
        for program in programs:
            program.check_target(target)
        self.machine = machine
        self.programs = programs
        self.memory = memory
        self.values = values
        self.environment = simpy.Environment()
        # Without values the tensors are computed too, from zeros: no cycle depends on them.
        hidden = memory.allocate()
        self.mem: NDArray[np.uint8] | None = hidden if values else None
        self.control: NDArray[np.int64] = memory.allocate_control()
        self.clocks = [Clock(machine.clock_of(core)) for core in range(len(programs))]
        units = machine.unit_names(len(programs))
        self._accounts = [Account(regions, units) for _ in programs]
        self._account = Account(regions, units)  # of what the cores share: DRAM's bytes
        self._log: list[tuple[int, ...]] = []
        self._log_length = log
        self._races = races
        self._instructions = 0
        self._limit: int | None = None
        self._cycles_done = 0
        self._at_work: tuple[int, int] = (0, 0)  # start and core of the cycle worked on
        self._latest = 0  # the latest of these starts
        # counters that were raised, and the starts of the cycles they were raised in
        self._given: deque[tuple[int, int]] = deque(maxlen=SIGNALS_KEPT)
        self._turn = nanoseconds(machine.turn_ns) if len(programs) > 1 else 0
        self._signalled = self.environment.event()
        self._build_caches(check_coherence)
        self._counters: dict[int, int] = {}
        self._cores = [
            Core(
                number,
                machine.kind_of(number).core,
                program,
                State(memory, hidden, self.control, target, self._counters),
                self._l1[number],
                machine.l1.line,
                machine.load_ahead_cycles,
                self._accounts[number],
                self._count_instruction,
                self._retired,
                partial(self._seen_from, number),
            )
            for number, program in enumerate(programs)
        ]
        self._parked: set[int] = set()
        self._lives: dict[int, simpy.Process] = {}

    def _build_caches(self, check: bool) -> None:
        """L1 and L2 of each core in its cycles, L3 and DRAM in fs (T1)."""
        machine = self.machine
        lines = self.memory.total_bytes // machine.l1.line
        cores = len(self.clocks)
        self._nodes = Nodes(machine, cores, lines)
        self._drams = [
            Dram(machine.dram, machine.l1.line, self._account, self._nodes, node)
            for node in self._nodes.nodes
        ]
        kind = Directory if cores > 1 else Shared
        self._shared = kind(machine, self._nodes, lines, Clock(machine.clock), self._drams)
        inclusive = machine.l3 is not None and machine.l3.inclusive
        self._invariant = Invariant(self._shared, inclusive=inclusive)
        below: list[Below] = [Crossing(clock, self._shared) for clock in self.clocks]
        self._l2: list[Cache | None] = []
        self._l1: list[FirstLevel] = []
        for core, each in enumerate(below):
            made = machine.kind_of(core)
            second = Cache("L2", made.l2, each, lines) if made.l2 else None
            above = second or each
            first = (
                CheckedFirstLevel(made.l1, above, lines, self._invariant)
                if check
                else FirstLevel("L1", made.l1, above, lines)
            )
            self._l2.append(second)
            self._l1.append(first)
            self._shared.private.append(PrivateCaches(*filter(None, (first, second))))

    # --- running ---------------------------------------------------------------------------------

    def start(self, entry: str = "main") -> None:
        """Let every core begin at a label of its program, in its first cycle after all halted."""
        self._counters.clear()
        self._given.clear()
        begins = self.core_cycles
        recording = self._races.begin(self.programs, self.memory) if self._races else None
        for core, program, begin in zip(self._cores, self.programs, begins, strict=True):
            pc = core.state.pc = program.entry(entry)
            if pc >= len(program):
                raise simulation_fault(Fault.JUMP_OUTSIDE, (pc,), program, pc, self.memory)
            core.state.region = 0
            core.state.halted = False
            core.next = begin
            core.front.restart(begin)
            core.front.recording = recording
            self._lives[core.number] = self.environment.process(self._live(core))

    def run(
        self,
        *,
        instruction_limit: int | None = None,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[], None] | None = None,
    ) -> bool:
        """Run until every core has halted; returns False if ``should_stop`` ended it before.

        Raises `SimulationFault` for what a program may not do: the faults of `isa.faults`, a
        deadlock, or more than ``instruction_limit`` instructions.
        """
        if instruction_limit is None:
            self._limit = None
        else:
            self._limit = self._instructions + instruction_limit
        looked = self._cycles_done
        with np.errstate(all="ignore"):
            while self.running:
                self.environment.step()
                self._check_deadlock()
                if self._cycles_done - looked >= STEPS:
                    looked = self._cycles_done
                    if progress is not None:
                        progress()
                    if should_stop is not None and should_stop():
                        return False
        return True

    def step(self) -> bool:
        """Run one cycle in which something may happen; returns whether any core still runs."""
        done = self._cycles_done
        with np.errstate(all="ignore"):
            while self.running and self._cycles_done == done:
                self.environment.step()
                self._check_deadlock()
        return self.running

    def set_clock(self, core: int, megahertz: int) -> None:
        """Change a core's clock from its first cycle behind now (T5); `UserError` if it can't.

        Now is the environment's: a SimPy process calls this in the middle of a run.
        """
        check_clock(core, len(self._cores), megahertz)
        self.clocks[core].change(self._turn_after(math.ceil(self.environment.now)), megahertz)
        life = self._lives.get(core)
        if life is not None and life.is_alive:
            life.interrupt()  # its next cycle starts at another time

    def observe(self, *, states: bool = False) -> list[CoreView]:
        """Who is where in each core's pipeline, what waits for what, and the lines' states."""
        private = self._shared.private if states else [None] * len(self._cores)
        return [view(core, caches) for core, caches in zip(self._cores, private, strict=True)]

    @property
    def running(self) -> bool:
        """Whether a core has not halted."""
        return any(not core.state.halted for core in self._cores)

    def _live(self, core: Core) -> Generator[simpy.Event, Any, None]:
        """The SimPy process of a core: from one cycle in which something happens to the next."""
        while not core.state.halted:
            yield from self._await_cycle(core)
            if self.environment.now >= END_FS:
                raise end_of_time()
            begins = self.clocks[core.number].start(core.next)
            self._at_work = begins, core.number
            self._latest = max(self._latest, begins)
            counters = dict(core.state.counters)
            try:
                core.cycle(core.next)
            except Trap as trap:
                program, pc = self.programs[core.number], core.state.pc
                fault, arguments = trap.fault, trap.arguments
                raise simulation_fault(fault, arguments, program, pc, self.memory) from None
            self._cycles_done += 1
            for counter, count in core.state.counters.items():
                if count != counters.get(counter, 0):
                    raised = count - counters.get(counter, 0)
                    self._given.extend([(counter, begins)] * raised)
            if counters != core.state.counters:
                self._signal()

    def _signal(self) -> None:
        """Wake the cores that wait for a counter."""
        self._parked.clear()
        signalled, self._signalled = self._signalled, self.environment.event()
        signalled.succeed()

    def _await_cycle(self, core: Core) -> Generator[simpy.Event, Any, None]:
        """Let time pass to the core's next cycle.

        In `wait` a signal may bring it forward, to the first cycle at or after the signal's (F8). A
        change of the core's clock moves its start (T5).
        """
        while True:
            waits = core.front.waits_for is not None
            signalled = self._signalled
            try:
                if core.next >= 0:
                    yield self._at(core) | signalled if waits else self._at(core)
                elif waits:
                    self._parked.add(core.number)
                    yield signalled
                else:
                    raise InternalError(f"core {core.number} stands still: {view(core)}")
            except simpy.Interrupt:
                continue
            if not (waits and signalled.triggered):
                return
            looks = self._looks(core)
            core.next = looks if core.next < 0 else min(looks, core.next)

    def _turn_after(self, time: int) -> int:
        """The first start of a turn at or after a time; without turns the time itself (T3)."""
        return -(-time // self._turn) * self._turn if self._turn else time

    def _looks(self, core: Core) -> int:
        """The cycle in which a core sees the signal just given: if it had its turn, in the next."""
        given, giver = self._at_work
        if self._turn and core.number < giver:
            given = self._turn_after(given + 1)
        return self.clocks[core.number].first_at(given)

    def _seen_from(self, core: int, counter: int, count: int) -> int:
        """The first cycle of a core in which so many signals of a counter have been given (F8)."""
        latest = sorted((time for of, time in self._given if of == counter), reverse=True)
        unneeded = self._counters.get(counter, 0) - count
        return self.clocks[core].first_at(latest[unneeded]) if unneeded < len(latest) else 0

    def _at(self, core: Core) -> simpy.Event:
        """The start of the core's next cycle, or of its turn; the lowest core goes first (T3)."""
        event = simpy.Event(self.environment)
        event._ok = True
        event._value = None
        start = self.clocks[core.number].start(core.next)
        if self._turn:
            start -= start % self._turn
        delay = start - self.environment.now
        priority = EventPriority(FIRST_CORE + core.number)
        self.environment.schedule(event, priority=priority, delay=delay)
        return event

    def _count_instruction(self) -> None:
        if self._limit is not None and self._instructions >= self._limit:
            raise Trap(Fault.RUNAWAY, self._limit)
        self._instructions += 1

    def _retired(self, core: int, flight: Flight) -> None:
        if len(self._log) < self._log_length:
            times = (flight.dispatch, flight.issue, flight.complete, flight.retire)
            self._log.append((core, flight.pc, *(-1 if t is None else t for t in times)))

    def _check_deadlock(self) -> None:
        live = [core for core in self._cores if not core.state.halted]
        if live and all(core.number in self._parked for core in live):
            raise self._deadlock(live)

    def _deadlock(self, live: list[Core]) -> SimulationFault:
        waiting = []
        for core in live:
            number, pc = core.number, core.state.pc
            if core.front.waits_for is None:
                raise InternalError(f"core {number} stands still at pc {pc} without waiting")
            counter, count = core.front.waits_for
            have = core.state.counters.get(counter, 0)
            waiting.append(Waiting(number, self.programs[number], pc, counter, have, count))
        return deadlock(waiting)

    # --- reading ---------------------------------------------------------------------------------

    @property
    def cycles(self) -> int:
        """Cycles of core 0 since the first start."""
        return self._cores[0].now

    @property
    def core_cycles(self) -> list[int]:
        """Of every core the cycles of its own clock before now, whether it runs or has halted."""
        return [clock.first_at(self.now_fs) for clock in self.clocks]

    @property
    def now_fs(self) -> int:
        """Simulated time in femtoseconds: of the environment; or of the last cycle of all.

        While cores take turns, the end of the turn: so far all of them have been worked.
        """
        now = math.ceil(self.environment.now)
        return self._turn_after(now) if self._turn and self.running else max(now, self._latest)

    @property
    def seconds(self) -> float:
        """Simulated time in seconds."""
        return self.now_fs / FS_PER_SECOND

    @property
    def instructions(self) -> int:
        """Instructions dispatched by all cores."""
        return self._instructions

    def tensor(self, name: str) -> NDArray[Any]:
        """Bytes of a tensor as a view of its stored type (row-major tensors in their shape)."""
        if self.mem is None:
            raise InternalError("there are no tensor values: the run is with values off")
        return self.memory.array(self.mem, name)

    def causes(self) -> list[str]:
        """Names of the causes, in the order of the account's columns."""
        return self._account.causes

    def account(self) -> NDArray[np.int64]:
        """A copy of the account: [operator, column]; columns are `ACCOUNT_COLUMNS` + causes()."""
        tables = [account.table[:, :FIRST_CAUSE] for account in [self._account, *self._accounts]]
        slots = [self.slots(core) for core in range(len(self._cores))]
        return np.hstack([sum(tables), sum(slots)])

    def slots(self, core: int, *, settled: bool = False) -> NDArray[np.int64]:
        """A core's dispatch slots up to now: [operator, cause], a copy.

        In the middle of a run those of a load on its way are booked by the level seen so far, or,
        with ``settled``, left out until that is known.
        """
        life = self._cores[core]
        if not life.state.halted:
            now = self.clocks[core].first_at(self.now_fs)
            life.front.book_empty(now if life.next < 0 else min(now, life.next))
        account = self._accounts[core].copy()
        if not settled:
            life.front.book_deferred(account)
        return account.table[:, FIRST_CAUSE:]

    def cache_counters(self, core: int | None = None) -> dict[str, dict[str, int]]:
        """Per level accesses and the counters of `Cache`, summed over slices of L3.

        Of the private levels those of one core, or summed over all.
        """
        numbers = range(len(self._cores)) if core is None else [core]
        levels: dict[str, list[Cache]] = {"L1": [self._l1[number] for number in numbers]}
        second = [level for number in numbers if (level := self._l2[number])]
        if second:
            levels["L2"] = second
        if self._shared.slices:
            levels["L3"] = list(self._shared.slices)
        result = {}
        for name, caches in levels.items():
            counts = {key: sum(cache.count[key] for cache in caches) for key in caches[0].count}
            result[name] = {"accesses": counts["hits"] + counts["misses"], **counts}
        return result

    def dram_counters(self) -> dict[str, int]:
        """Counters of DRAM, summed over channels."""
        each = [dram.counters() for dram in self._drams]
        return {name: sum(counts[name] for counts in each) for name in each[0]}

    def coherence_counters(self) -> dict[str, int]:
        """Transactions and messages between cores (C8)."""
        return dict(self._shared.count)

    def node_counters(self) -> list[dict[str, int]]:
        """Counters of every node (C9); none of a machine that is one."""
        return [dict(count) for count in self._nodes.count] if len(self._drams) > 1 else []

    def check_coherence(self) -> None:
        """Raises `InternalError` if a line is held as no line may be.

        A core that may write a line is its owner in the directory and the only one to hold it; L1
        and L2 of a core agree on that; a shared line is dirty nowhere; who holds a line is known
        to the directory; what a core holds, an inclusive L3 holds too.
        """
        self._invariant.check()

    def core_counters(self) -> dict[str, int]:
        """Instructions, branches, mispredictions and forwarded line accesses of all cores."""
        names = ("instructions", "branches", "mispredictions")
        counts = {name: sum(core.front.counts[name] for core in self._cores) for name in names}
        return {**counts, "forwards": sum(core.issue.loads.forwards for core in self._cores)}

    def log(self) -> NDArray[np.int64]:
        """Rows of `LOG_FIELDS`, one per retired instruction in the order of retirement."""
        return np.array(self._log, dtype=np.int64).reshape(len(self._log), len(LOG_FIELDS))
