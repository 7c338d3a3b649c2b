"""Runs a program for its values alone: no time, no caches, one core.

The quickest way to see whether a kernel computes what it should. It uses `isa.semantics`, the
meaning every engine must match, and its faults read like theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isa.faults import Fault, Trap, simulation_fault
from isa.memory import MemoryMap
from isa.program import Program
from isa.semantics import FUNCTIONS
from isa.state import State
from isa.target import Target

INSTRUCTION_LIMIT = 50_000_000


class Interpreter:
    """One core with a program, tensor memory and a control segment.

    `mem` is `MemoryMap.allocate()`, `control` is `MemoryMap.allocate_control()`, both filled by
    the caller; the program changes them in place. Registers live on from one `run` to the next in
    `state`. Raises `UserError` if the program does not fit the target.
    """

    def __init__(
        self,
        program: Program,
        memory_map: MemoryMap,
        mem: NDArray[np.uint8],
        control: NDArray[np.int64],
        target: Target,
    ) -> None:
        program.check_target(target)
        self.program = program
        self.memory = memory_map
        self.state = State(memory_map, mem, control, target)
        self.instructions = 0
        self._code = [(FUNCTIONS[i.mnemonic], i.operands) for i in program.decoded()]

    def run(self, entry: str = "main", max_instructions: int = INSTRUCTION_LIMIT) -> int:
        """Run from a label to `halt` and return the number of instructions executed.

        Raises `UserError` for an unknown label and `SimulationFault` for anything the program may
        not do, including more than `max_instructions` instructions.
        """
        state = self.state
        state.pc = self.program.entry(entry)
        state.halted = False
        start = self.instructions
        try:
            with np.errstate(all="ignore"):
                self._run(state, start + max_instructions)
        except Trap as trap:
            if trap.fault is Fault.RUNAWAY:
                trap.arguments = (max_instructions,)
            raise simulation_fault(
                trap.fault, trap.arguments, self.program, state.pc, self.memory
            ) from None
        return self.instructions - start

    def _run(self, state: State, limit: int) -> None:
        code = self._code
        length = len(code)
        if state.pc >= length:
            raise Trap(Fault.JUMP_OUTSIDE, state.pc)
        while not state.halted:
            pc = state.pc
            if self.instructions >= limit:
                raise Trap(Fault.RUNAWAY, limit)
            state.next_pc = pc + 1
            function, operands = code[pc]
            function(state, *operands)
            self.instructions += 1
            if not 0 <= state.next_pc < length and not state.halted:
                # Reported at the instruction that jumps or runs out of the program.
                raise Trap(Fault.JUMP_OUTSIDE, state.next_pc)
            state.pc = state.next_pc
