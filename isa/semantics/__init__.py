"""What every instruction does: one function per row of `isa.table`, named after the mnemonic.

A function takes the state of a core and the operands in assembly order (register numbers and
immediates). It reads all its operands before it writes any. `state.next_pc` is pc + 1 unless a
branch changes it. The arithmetic itself is in `isa.functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from isa.encoding import Instr
from isa.errors import InternalError
from isa.semantics import memory, scalar, tiles
from isa.state import State
from isa.table import ROWS, Instruction

_MODULES: tuple[ModuleType, ...] = (scalar, memory, tiles)


def _function(row: Instruction) -> Callable[..., None]:
    for module in _MODULES:
        function: Callable[..., None] | None = getattr(module, row.semantics, None)
        if function is not None:
            return function
    raise InternalError(f"{row.mnemonic} has no function {row.semantics} in isa.semantics")


FUNCTIONS: dict[str, Callable[..., None]] = {row.mnemonic: _function(row) for row in ROWS}


def execute(state: State, instr: Instr) -> None:
    """Execute one instruction at `state.pc` and move `state.pc` to the next one.

    Raises `isa.faults.Trap` where the instruction may not do what it asks for.
    """
    state.next_pc = state.pc + 1
    FUNCTIONS[instr.mnemonic](state, *instr.operands)
    state.pc = state.next_pc
