"""The compiled CPU as Python sees it: programs in, cycles and counters out.

A `simpy.Environment` is the engine's surroundings: one process calls the compiled loop up to the
environment's next event, so whatever needs Python (a sampler, a governor, arrivals) is an ordinary
SimPy process.  Its clock is simulated time in femtoseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from isa.errors import InternalError, SimulationFault
from isa.faults import Fault, Waiting, deadlock, simulation_fault
from isa.memory import MemoryMap
from isa.program import Program
from sim.account import CAUSES, COHERENCE_COUNTERS, NODE_COUNTERS
from sim.engine import check, state
from sim.engine import layout as at
from sim.engine.advance import advance, charge_idle
from sim.engine.clock import cycle_to_fs, fs_to_cycle
from sim.engine.turns import turn_after, turn_of
from sim.engine.values import SLOT, aligned_zeros
from sim.machine.clocks import END_FS, check_clock, end_of_time
from sim.machine.schema import Machine

FS_PER_SECOND = 10**15
STEPS = 200_000  # cycles worked on per compiled call: a few hundredths of a second
LEVEL_COUNTERS = {
    "hits": at.V_HITS,
    "misses": at.V_MISSES,
    "merges": at.V_MERGES,
    "writebacks": at.V_WRITEBACKS,
    "prefetches": at.V_PREFETCHES,
    "prefetch_useful": at.V_PREFETCH_USEFUL,
    "prefetch_late": at.V_PREFETCH_LATE,
    "prefetch_dropped": at.V_PREFETCH_DROPPED,
    "mshr_stalls": at.V_MSHR_STALLS,
}
DRAM_COUNTERS = {
    "reads": at.K_READS,
    "writes": at.K_WRITES,
    "row_hits": at.K_ROW_HITS,
    "row_misses": at.K_ROW_MISSES,
    "row_conflicts": at.K_ROW_CONFLICTS,
    "write_batches": at.K_BATCHES,
}


class Cpu:
    """The compiled engine with one machine, one program per core and one memory.

    ``mem`` is tensor memory (``None`` with values off), ``control`` the control segment (int64
    words); the caller fills both.  ``log`` keeps the dispatch, issue, complete and retire cycles
    of that many instructions.  Raises `UserError` for programs that do not fit the machine.
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
    ) -> None:
        target = machine.target()
        for program in programs:
            program.check_target(target)
        built = state.build(machine, programs, memory, values=values, regions=regions, log=log)
        self.machine = machine
        self.programs = programs
        self.memory = memory
        self.values = values
        self.environment = simpy.Environment()
        self.mem: NDArray[np.uint8] | None = (
            aligned_zeros(memory.total_bytes, np.uint8) if values else None
        )
        self._S = built.S
        self._P = built.P
        self._M = self.mem if self.mem is not None else np.zeros(64, dtype=np.uint8)
        slots = len(programs) * machine.core.tiles.count if values else 1
        self._latest = 0  # start of the last cycle worked on before a change of clock
        self._T = aligned_zeros(slots * SLOT, np.float32)
        words = memory.control_bytes // 8
        self.control: NDArray[np.int64] = self._S[built.control : built.control + words]

    # --- running ---------------------------------------------------------------------------------

    def start(self, entry: str = "main") -> None:
        """Let every core begin at a label of its program, in its first cycle after all halted."""
        signals = int(self._S[at.H_SIGNALS])
        self._S[signals : signals + state.SIGNALS] = 0
        self._S[self._S[at.H_GIVEN]] = 0
        begins = self.core_cycles
        for i, program in enumerate(self.programs):
            core = self._core(i)
            begin = begins[i]
            core[at.C_PC] = program.entry(entry)
            core[at.C_NEXT] = begin
            core[at.C_DISPATCH_SLOT] = begin * core[at.C_WIDTH]
            core[at.C_HALTED] = 0
            core[at.C_REGION] = 0
            core[at.N_PC] = -1
        self._S[at.H_RUNNING] = len(self.programs)

    def run(
        self,
        *,
        instruction_limit: int | None = None,
        should_stop: Callable[[], bool] | None = None,
        progress: Callable[[], None] | None = None,
    ) -> bool:
        """Run until every core has halted; returns False if ``should_stop`` ended it before.

        ``should_stop`` and ``progress`` are called every few hundredths of a second of host time.
        Raises `SimulationFault` for what a program may not do: the faults of `isa.faults`, a
        deadlock, or more than ``instruction_limit`` instructions.
        """
        done = int(self._S[at.H_INSTRUCTIONS])
        limit = at.INF if instruction_limit is None else done + instruction_limit
        self._S[at.H_INSTRUCTION_LIMIT] = limit
        process = self.environment.process(self._advance(should_stop, progress))
        return bool(self.environment.run(until=process))

    def _advance(
        self,
        should_stop: Callable[[], bool] | None,
        progress: Callable[[], None] | None,
    ) -> Generator[simpy.Event, Any, bool]:
        env = self.environment
        S = self._S
        while True:
            until = env.peek()
            bound = at.INF if until >= at.INF else math.ceil(until)
            code = advance(S, self._P, self._T, self._M, bound, END_FS, STEPS)
            if code == at.RUN_UNTIL and bound > END_FS:
                raise end_of_time()
            reached = bound if code == at.RUN_UNTIL else int(turn_of(S, self._worked_fs))
            yield env.timeout(max(reached - env.now, 0))
            if code == at.RUN_HALTED:
                return True
            if code == at.RUN_FAULT:
                raise self._fault()
            if code == at.RUN_DEADLOCK:
                raise self._deadlock()
            if progress is not None:
                progress()
            if should_stop is not None and should_stop():
                return False

    def set_clock(self, core: int, megahertz: int) -> None:
        """Change a core's clock from its first cycle behind now (T5); `UserError` if it can't.

        Now is the environment's: a SimPy process calls this in the middle of a run.
        """
        check_clock(core, len(self.programs), megahertz)
        words = self._core(core)
        offset = self._offset(core)
        self._latest = self._worked_fs
        when = turn_after(self._S, math.ceil(self.environment.now))
        cycle = fs_to_cycle(self._S, offset, when)
        start = cycle_to_fs(self._S, offset, cycle)
        words[at.C_ANCHOR_CYCLE] = words[at.C_US_CYCLE] = cycle
        words[at.C_ANCHOR_FS] = words[at.C_US_FS] = start
        words[at.C_F_MHZ] = megahertz

    def _fault(self) -> SimulationFault:
        fault = Fault(int(self._S[at.H_FAULT]))
        core = int(self._S[at.H_FAULT_CORE])
        arguments = tuple(int(v) for v in self._S[at.H_FAULT_ARGUMENTS : at.H_FAULT_ARGUMENTS + 4])
        pc = int(self._S[at.H_FAULT_PC])
        return simulation_fault(fault, arguments, self.programs[core], pc, self.memory)

    def _deadlock(self) -> SimulationFault:
        waiting = []
        for i, program in enumerate(self.programs):
            core = self._core(i)
            if core[at.C_HALTED]:
                continue
            pc, signal = int(core[at.C_PC]), int(core[at.C_WAIT_SIGNAL])
            if signal < 0:
                raise InternalError(f"core {i} stands still at pc {pc} without waiting")
            have = int(self._S[self._S[at.H_SIGNALS] + signal])
            waiting.append(Waiting(i, program, pc, signal, have, int(core[at.C_WAIT_COUNT])))
        return deadlock(waiting)

    # --- reading ---------------------------------------------------------------------------------

    def _offset(self, i: int) -> int:
        return int(self._S[at.H_CORE_BASE]) + i * int(self._S[at.H_CORE_STRIDE])

    def _core(self, i: int) -> NDArray[np.int64]:
        start = self._offset(i)
        return self._S[start : start + int(self._S[at.H_CORE_STRIDE])]

    @property
    def cycles(self) -> int:
        """Cycles of core 0 since the first start: the number of the cycle in which it halted."""
        return int(self._core(0)[at.C_NOW])

    @property
    def core_cycles(self) -> list[int]:
        """Of every core the cycles of its own clock before now, whether it runs or has halted."""
        now = self.now_fs
        cores = range(len(self.programs))
        return [int(fs_to_cycle(self._S, self._offset(i), now)) for i in cores]

    @property
    def now_fs(self) -> int:
        """Simulated time in femtoseconds: of the last cycle worked on, or of a SimPy event since.

        While cores take turns, the end of the turn: so far all of them have been worked.
        """
        if self._S[at.H_TURN] and self._S[at.H_RUNNING]:
            return int(turn_after(self._S, math.ceil(self.environment.now)))
        return self._worked_fs

    @property
    def _worked_fs(self) -> int:
        """The start of the last cycle worked on, or a SimPy event since.

        Cycles before their core's last change of clock count as they were then.
        """
        now = max(math.ceil(self.environment.now), self._latest)
        for i in range(len(self.programs)):
            core = self._core(i)
            if core[at.C_NOW] >= core[at.C_ANCHOR_CYCLE]:
                now = max(now, int(cycle_to_fs(self._S, self._offset(i), core[at.C_NOW])))
        return now

    @property
    def seconds(self) -> float:
        """Simulated time in seconds."""
        return self.now_fs / FS_PER_SECOND

    @property
    def instructions(self) -> int:
        """Instructions dispatched by all cores."""
        return int(self._S[at.H_INSTRUCTIONS])

    def tensor(self, name: str) -> NDArray[Any]:
        """Bytes of a tensor as a view of its stored type (row-major tensors in their shape)."""
        if self.mem is None:
            raise InternalError("there are no tensor values: the run is with values off")
        return self.memory.array(self.mem, name)

    def causes(self) -> list[str]:
        """Names of the causes, in the order of the account's columns."""
        units = self.machine.unit_names(len(self.programs))
        return [*CAUSES, *(f"core: {name}" for name in units)]

    def account(self) -> NDArray[np.int64]:
        """A copy of the account: [operator, column]; columns are `ACCOUNT_COLUMNS` + causes().

        Causes count dispatch slots, which are cycles when divided by the width of their core.
        """
        tables = [self._table(i)[:, : at.A_CAUSES] for i in range(len(self.programs))]
        slots = [self.slots(i) for i in range(len(self.programs))]
        return np.hstack([sum(tables), sum(slots)])

    def slots(self, core: int, *, settled: bool = False) -> NDArray[np.int64]:
        """A core's dispatch slots up to now: [operator, cause], a copy.

        In the middle of a run those of a load on its way are booked by the level seen so far, or,
        with ``settled``, left out until that is known.
        """
        words = self._core(core)
        offset = self._offset(core)
        if not words[at.C_HALTED]:
            until = min(fs_to_cycle(self._S, offset, self.now_fs), words[at.C_NEXT])
            charge_idle(self._S, offset, until)
        booked = self._table(core)[:, at.A_CAUSES :]
        units = list(self.machine.kind_of(core).core.units)
        names = self.machine.unit_names(len(self.programs))
        slots = np.zeros((len(booked), at.X_UNIT + len(names)), dtype=np.int64)
        slots[:, : at.X_UNIT] = booked[:, : at.X_UNIT]
        slots[:, [at.X_UNIT + names.index(name) for name in units]] = booked[
            :, at.X_UNIT : at.X_UNIT + len(units)
        ]
        if words[at.C_DEFERRED] and not settled:
            index = int(words[at.C_HEAD] & self._S[at.H_RING])
            load = words[int(self._S[at.H_ENTRIES]) + index * at.E_SIZE :]
            slots[load[at.E_REGION], load[at.E_LEVEL]] += words[at.C_DEFERRED]
        return slots

    def _table(self, core: int) -> NDArray[np.int64]:
        """A core's account: [operator, A_COLUMNS]."""
        rows = int(self._S[at.H_REGIONS])
        start = int(self._core(core)[at.C_ACCOUNT])
        return self._S[start : start + rows * at.A_COLUMNS].reshape(rows, at.A_COLUMNS)

    def cache_counters(self, core: int | None = None) -> dict[str, dict[str, int]]:
        """Per level (private levels of one core, or summed) accesses and `LEVEL_COUNTERS`.

        Accesses (hits + misses) are those of instructions; prefetches are counted apart.
        """
        S = self._S
        base, stride = int(S[at.H_CORE_BASE]), int(S[at.H_CORE_STRIDE])
        numbers = range(len(self.programs)) if core is None else [core]
        cores = [base + i * stride for i in numbers]
        places = {"L1": [c + int(S[at.H_LEVEL1]) for c in cores]}
        second = [c + int(S[at.H_LEVEL2]) for c in cores if S[S[c + at.C_L2] + at.L_PRESENT]]
        if second:
            places["L2"] = second
        if self.machine.l3:
            size = int(S[S[at.H_L3] + at.L_SLICE_SIZE])
            places["L3"] = [int(S[at.H_L3_STATE]) + i * size for i in range(self.machine.homes)]
        counters: dict[str, dict[str, int]] = {}
        for level, starts in places.items():
            counts = {
                name: sum(int(S[start + word]) for start in starts)
                for name, word in LEVEL_COUNTERS.items()
            }
            counters[level] = {"accesses": counts["hits"] + counts["misses"], **counts}
        return counters

    def dram_counters(self) -> dict[str, int]:
        """Counters of `DRAM_COUNTERS`, summed over channels."""
        S = self._S
        start = int(S[at.H_DRAM_STATE])
        stride = int(S[int(S[at.H_DRAM]) + at.D_CHANNEL_STRIDE])
        count = self.machine.dram.channels * self.machine.nodes
        channels = [start + i * stride for i in range(count)]
        return {
            name: sum(int(S[channel + word]) for channel in channels)
            for name, word in DRAM_COUNTERS.items()
        }

    def coherence_counters(self) -> dict[str, int]:
        """Transactions and messages between cores (rule C8)."""
        counts = self._S[self._S[at.H_COHERENCE] :][: len(COHERENCE_COUNTERS)]
        return dict(zip(COHERENCE_COUNTERS, map(int, counts), strict=True))

    def node_counters(self) -> list[dict[str, int]]:
        """Counters of every node (rule C9); none of a machine that is one."""
        if self.machine.nodes == 1:
            return []
        start = int(self._S[at.H_NODE_STATE])
        nodes = self._S[start:][: self.machine.nodes * at.M_SIZE].reshape(-1, at.M_SIZE)
        return [dict(zip(NODE_COUNTERS, map(int, node), strict=False)) for node in nodes]

    def check_coherence(self) -> None:
        """Raise `InternalError` if the caches or the directory contradict each other (C1)."""
        check.check_coherence(self._S)

    def core_counters(self) -> dict[str, int]:
        """Instructions, branches, mispredictions and forwarded line accesses of all cores."""
        words = {
            "instructions": at.C_DISPATCHED,
            "branches": at.C_BRANCHES,
            "mispredictions": at.C_MISPREDICTS,
            "forwards": at.C_FORWARDS,
        }
        cores = [self._core(i) for i in range(len(self.programs))]
        return {name: sum(int(core[word]) for core in cores) for name, word in words.items()}

    def log(self) -> NDArray[np.int64]:
        """Rows of `LOG_FIELDS`, one per retired instruction in the order of retirement."""
        count = int(self._S[at.H_LOG_COUNT])
        start = int(self._S[at.H_LOG])
        return self._S[start : start + count * at.G_SIZE].reshape(count, at.G_SIZE).copy()
