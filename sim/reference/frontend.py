"""The front end: which instruction is dispatched when, and why not (F1 to F8, A2, A3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isa.encoding import Instr
from isa.faults import Fault, Trap
from isa.program import Program
from isa.semantics import FUNCTIONS
from isa.state import State
from sim.machine.array import Dataflow
from sim.machine.core import Core as CoreConfig
from sim.machine.core import Op
from sim.reference.account import Account
from sim.reference.instruction import Flight
from sim.reference.pieces import memory_rows, split
from sim.reference.predictor import Predictor
from sim.reference.races import Recording
from sim.reference.work import Work, measure

if TYPE_CHECKING:
    from sim.reference.core import Core


LOADING = "a load whose last level is not known yet"


class FrontEnd:
    """Dispatches in program order; ``position`` is the next dispatch slot, from cycle 0 on."""

    def __init__(self, core: Core, config: CoreConfig, program: Program, state: State) -> None:
        self.core = core
        self.config = config
        self.width = config.width
        self.state = state
        self.predictor = Predictor(config)
        self.code: list[tuple[Instr, Op | None]] = [
            (instr, config.op(instr.row.cls, instr.row.dtype)) for instr in program.decoded()
        ]
        self.writers: dict[str, Flight] = {}
        self.position = 0
        self.resume = 0  # no dispatch before this cycle
        self.reason = "front end"  # what the slots until then are booked on
        self.guilty = 0  # the operator they are booked on
        self.unresolved: Flight | None = None  # a mispredicted branch
        self.deferred = 0  # slots of a load that has not made all its accesses
        self.waits_for: tuple[int, int] | None = None  # counter and count, for `wait`
        self.stop = ""  # what stopped dispatch in the last cycle
        self.recording: Recording | None = None  # of accesses, to look for races
        self.counts = {"instructions": 0, "branches": 0, "mispredictions": 0}

    def restart(self, cycle: int) -> None:
        """Begin at ``state.pc`` in this cycle."""
        self.position = cycle * self.width

    # --- a cycle ---------------------------------------------------------------------------------

    def dispatch(self, cycle: int) -> bool:
        """Fill this cycle's slots as far as possible; returns whether any was filled (F1)."""
        self.position = max(self.position, cycle * self.width)
        before = self.counts["instructions"]
        end = (cycle + 1) * self.width
        self.stop = ""
        while self.position < end and not self.state.halted:
            self.stop = self._stopped(cycle)
            if self.stop:
                break
            self._dispatch_one(cycle)
        if self.position >= end:
            self.core.wake(self.position // self.width)
        return self.counts["instructions"] > before

    def book_empty(self, until: int) -> None:
        """Book the empty slots of all cycles before ``until`` (A2, A3).

        Slots charged to a load wait until it is known which level serves its last line.
        """
        oldest = self.core.window.oldest
        if oldest and oldest.complete is not None:
            self.book_deferred(self.core.account)
            self.deferred = 0
        empty = until * self.width - self.position
        if empty > 0:
            region, cause = self._cause()
            if cause == LOADING:
                self.deferred += empty
            else:
                self.core.account.add(region, cause, empty)
            self.position = until * self.width

    def book_deferred(self, account: Account) -> None:
        """Book the slots of a load on the level that serves the last of its lines so far."""
        if self.deferred:
            load = self.core.window.flights[0]
            account.add(load.region, f"memory: {load.level}", self.deferred)

    # --- why not ---------------------------------------------------------------------------------

    def _stopped(self, cycle: int) -> str:
        """What stops the next instruction in this cycle: a word, or nothing."""
        if self.unresolved is not None:  # F7
            complete = self.unresolved.complete
            if complete is None:
                return "mispredicted"
            self.resume = complete + self.config.mispredict_penalty
            self.unresolved = None
            self.core.wake(self.resume)
        if cycle < self.resume:
            return "resuming"
        instr, op = self.code[self.state.pc]
        if op is None:  # region costs nothing
            return ""
        if instr.row.cls == "sync":  # done with its slot: needs no room
            return self._fence(instr, cycle)
        return self._no_room(instr, op)

    def _fence(self, instr: Instr, cycle: int) -> str:
        """F8: what `signal`, `halt` and `wait` wait for."""
        core = self.core
        self.waits_for = None
        if instr.mnemonic in ("signal", "halt"):
            shared = self.position > cycle * self.width  # a cycle with what was dispatched in it
            if core.window.flights:
                return "fence"
            if core.stores.entries:
                return "drain"
            return "fence" if shared and instr.mnemonic == "halt" else ""
        if instr.mnemonic == "wait":
            counter, register = instr.operands
            if self.state.counters.get(counter, 0) < self.state.x[register]:
                self.waits_for = (counter, self.state.x[register])
                return "wait"
            given = core.seen_from(counter, self.state.x[register])
            if given > cycle:  # by a core that is ahead (T3)
                core.wake(given)
                return "wait"
        return ""

    def _no_room(self, instr: Instr, op: Op) -> str:
        """F3: window, the unit's queue, the load and the store queue."""
        core = self.core
        if core.window.full:
            return "window"
        if core.issue.units[op.unit].full:
            return "queue"
        cls = instr.row.cls
        if cls in ("load", "prefetch", "store"):
            accesses = len(split(memory_rows(self.state, instr), core.line_bytes))
            if cls == "store":
                return "" if core.stores.takes(accesses) else "store queue"
            return "" if core.window.takes_load(accesses) else "load queue"
        return ""

    def _cause(self) -> tuple[int, str]:
        """Operator and cause of the slots that stay empty (A2, A3)."""
        here = self.state.region
        if self.stop == "mispredicted" or (
            self.stop == "resuming" and self.reason == "bad speculation"
        ):
            return self.guilty, "bad speculation"
        if self.stop == "wait":
            return here, "waiting for other cores"
        oldest = self.core.window.oldest
        if self.stop == "drain":
            return here, "memory: store"
        if self.stop in ("resuming", "") or oldest is None:
            return here, "memory: store" if self.stop == "store queue" else "front end"
        if oldest.is_load and oldest.issue is not None:
            known = oldest.complete is not None
            return oldest.region, f"memory: {oldest.level}" if known else LOADING
        if self.stop == "store queue":
            return oldest.region, "memory: store"
        return oldest.region, f"core: {oldest.op.unit}"

    # --- one instruction -------------------------------------------------------------------------

    def _dispatch_one(self, cycle: int) -> None:
        state = self.state
        pc = state.pc
        instr, op = self.code[pc]
        if instr.mnemonic == "halt":  # takes no slot
            state.halted = True
            return
        if op is not None:  # region is none of those that count
            self.core.count_instruction()
        flight = None if op is None else self._flight(pc, instr, op)
        if self.recording:
            self.recording.see(self.core.number, state, instr)
        state.next_pc = pc + 1
        FUNCTIONS[instr.mnemonic](state, *instr.operands)  # F4
        if not 0 <= state.next_pc < len(self.code):
            raise Trap(Fault.JUMP_OUTSIDE, state.next_pc)
        taken = state.next_pc != pc + 1
        target = state.next_pc
        state.pc = target
        if flight is None:
            return
        self.counts["instructions"] += 1
        self.core.account.add(flight.region, "instructions", 1)
        self.core.account.add(flight.region, "retiring", flight.uops)
        if instr.row.cls == "sync":  # done with its slot
            return
        self._enter(flight)
        self._rename(flight)
        if instr.row.cls == "branch":
            self._branch(flight, target, taken=taken)

    def _flight(self, pc: int, instr: Instr, op: Op) -> Flight:
        """Take the dispatch slots and look up what the instruction needs (F1, F2, W2)."""
        state, core = self.state, self.core
        unit = core.issue.units[op.unit]
        pieces = split(memory_rows(state, instr), core.line_bytes) if instr.row.access else []
        if pieces:
            slots = sum(-(-piece.nbytes // (unit.bytes or piece.nbytes)) for piece in pieces)
            work = Work(len(pieces), slots, 0, 0)
        else:
            work = measure(state, instr, op, unit)
        core.account.add(state.region, "flops", work.flops)
        uops = work.parts if op.uops == "slot" else op.uops
        if instr.row.cls == "sync":
            uops = 1
        self.position += uops
        return Flight(
            number=self.counts["instructions"],
            pc=pc,
            instr=instr,
            op=op,
            region=state.region,
            uops=uops,
            slots=work.slots,
            additions=work.additions,
            dispatch=(self.position - 1) // self.width,
            sources=self._sources(instr),
            pieces=pieces,
            line_accesses=len(pieces),
            stream=work.stream,
        )

    def _enter(self, flight: Flight) -> None:
        """Take the places that there is room for (F3): from the next cycle on it may issue (I1)."""
        core = self.core
        core.window.enter(flight)
        core.issue.enter(flight)
        if flight.cls == "store":
            core.stores.enter(flight)
        array = core.issue.units[flight.op.unit].array
        if array is not None and flight.stream:
            self._lay_on_array(flight, array.dataflow)
        core.wake(flight.dispatch + 1)

    def _sources(self, instr: Instr) -> list[tuple[Flight, bool]]:
        """The latest older writers of all sources, accumulators marked (W2, I6)."""
        sources = []
        for value, operand in zip(instr.operands, instr.row.operands, strict=True):
            if operand.role == "write" or operand.kind.name not in ("x", "t"):
                continue
            producer = self.writers.get(f"{operand.kind.name}{value}")
            if producer is not None:
                accumulator = (
                    operand.role == "readwrite"
                    and instr.row.cls == "matmul"
                    and producer.cls == "matmul"
                )
                sources.append((producer, accumulator))
        return sources

    def _lay_on_array(self, flight: Flight, dataflow: Dataflow) -> None:
        """Which value a matmul of a single fold needs in the array, and which it leaves (I7)."""
        td, ta, tb = flight.instr.operands
        register = {"os": td, "ws": tb, "is": ta}[dataflow]
        flight.stationary = (self.writers[f"t{register}"].number, register)
        flight.leaves = (flight.number, td) if dataflow == "os" else flight.stationary

    def _rename(self, flight: Flight) -> None:
        for value, operand in zip(flight.instr.operands, flight.instr.row.operands, strict=True):
            if operand.role != "read" and operand.kind.name in ("x", "t"):
                name = f"{operand.kind.name}{value}"
                if name != "x0":
                    self.writers[name] = flight

    def _branch(self, flight: Flight, target: int, *, taken: bool) -> None:
        """F5 to F7: what follows a branch."""
        self.counts["branches"] += 1
        if not self.predictor.foresees(flight.pc, flight.instr, target, taken=taken):
            self.counts["mispredictions"] += 1
            self.unresolved = flight
            self.reason, self.guilty = "bad speculation", flight.region
        elif taken:
            self.reason = "front end"
            self.resume = flight.dispatch + 1 + self.config.taken_branch_bubble
            self.core.wake(self.resume)
