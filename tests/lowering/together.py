"""Several interpreters as one machine: a program per core, one memory, and a race detector.

The order in which cores run is the caller's: each goes on until it would wait. Every access is
checked against those of other cores with vector clocks, so a race is found whether or not it did
harm in this order. (The epochs are those of Flanagan and Freund, FastTrack, PLDI 2009; reads are
kept per core.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa import Target
from isa.faults import Fault, Trap
from isa.interpreter import Interpreter
from isa.state import State
from workloads.config import ModelConfig
from workloads.lowering import lower
from workloads.weights.random import RandomWeights

GRANULE = 2  # bytes: the smallest element


class Race(AssertionError):
    """Two cores access the same bytes in no order."""


class Clocks:
    """Vector clocks of the cores and of every counter, and the last accesses of all bytes."""

    def __init__(self, cores: int, nbytes: int) -> None:
        self.of_core = np.eye(cores, dtype=np.int64)
        self.of_counter: dict[int, NDArray[np.int64]] = {}
        self.reads = np.zeros((cores, -(-nbytes // GRANULE)), dtype=np.int64)
        self.writes = np.zeros_like(self.reads)

    def signal(self, core: int, counter: int) -> None:
        known = self.of_counter.setdefault(counter, np.zeros(len(self.of_core), dtype=np.int64))
        np.maximum(known, self.of_core[core], out=known)
        self.of_core[core, core] += 1

    def wait(self, core: int, counter: int) -> None:
        clock = self.of_core[core]
        np.maximum(clock, self.of_counter.get(counter, 0), out=clock)

    def access(self, core: int, where: slice, *, write: bool) -> None:
        clock = self.of_core[core]
        for earlier in (self.writes, self.reads) if write else (self.writes,):
            if (earlier[:, where] > clock[:, None]).any():
                others = (earlier[:, where] > clock[:, None]).any(axis=1).nonzero()[0]
                raise Race(f"cores {core} and {others} at {where.start * GRANULE:#x}")
        (self.writes if write else self.reads)[core, where] = clock[core]


class WatchedState(State):
    """A core's state that shows its accesses to the clocks."""

    core: int
    clocks: Clocks
    writing: bool

    def check_rows(self, address: int, stride: int, rows: int, row_bytes: int) -> None:
        super().check_rows(address, stride, rows, row_bytes)
        for row in range(rows):
            first = address + row * stride
            where = slice(first // GRANULE, (first + row_bytes) // GRANULE)
            self.clocks.access(self.core, where, write=self.writing)


class Together:
    """A lowered model on as many interpreters as its target has cores, decoding greedily."""

    def __init__(
        self, config: ModelConfig, target: Target, *, watched: bool = False, **options: Any
    ) -> None:
        self.lowered = lower(RandomWeights(config, seed=3), target, **options)
        self.mem = self.lowered.memory.allocate()
        self.control = self.lowered.memory.allocate_control()
        self.lowered.write_weights(self.mem)
        memory = self.lowered.memory
        self.cores = [
            Interpreter(program, memory, self.mem, self.control, target)
            for program in self.lowered.programs
        ]
        self.watched = watched
        self.target = target

    def prefill(self, sequences: Sequence[list[int]], order: int = 1) -> NDArray[np.float32]:
        """Logits after a prefill."""
        self.lowered.begin_prefill(self.control, sequences)
        self.run("prefill", order)
        return self.lowered.logits(self.mem)

    def decode(self, order: int = 1) -> NDArray[np.float32]:
        """Logits after one more token per sequence."""
        tokens = self.lowered.next_tokens(self.mem)
        self.lowered.begin_decode(self.control, self.mem, tokens)
        self.run("decode", order)
        return self.lowered.logits(self.mem)

    def run(self, entry: str, order: int) -> None:
        """Run all cores to their ends, each as far as it gets: upwards (1) or downwards (-1)."""
        clocks = Clocks(len(self.cores), len(self.mem)) if self.watched else None
        counters: dict[int, int] = {}
        for number, core in enumerate(self.cores):
            state_class = WatchedState if clocks else State
            core.state = state_class(
                core.memory, self.mem, self.control, self.target, counters,
                pc=core.program.entry(entry),
            )  # fmt: skip
            if isinstance(core.state, WatchedState) and clocks:
                core.state.core, core.state.clocks = number, clocks
        running = list(range(len(self.cores)))[::order]
        while running:
            going = [number for number in running if self._go_on(number, clocks)]
            assert going or not running, "deadlock"
            running = [number for number in running if not self.cores[number].state.halted]

    def _go_on(self, number: int, clocks: Clocks | None) -> bool:
        """Run a core until it waits or halts; False if it did not move."""
        core = self.cores[number]
        state, moved = core.state, False
        with np.errstate(all="ignore"):
            while not state.halted:
                function, operands = core._code[state.pc]
                state.next_pc = state.pc + 1
                if isinstance(state, WatchedState):
                    state.writing = function.__name__.startswith("store")
                try:
                    function(state, *operands)
                except Trap as trap:
                    if trap.fault is Fault.WAIT_FOREVER:
                        return moved
                    raise
                if clocks and function.__name__ in ("signal", "wait"):
                    getattr(clocks, function.__name__)(number, operands[0])
                state.pc, moved = state.next_pc, True
        return moved
