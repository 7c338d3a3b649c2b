"""The contract between software and hardware: what the tile CPU can do and what it means.

Read in this order: `table` (the instructions), `encoding`, `program`, `memory`, `assembler`,
`builder`, `semantics`, `interpreter`. This package imports neither `workloads` nor `sim`.
"""

from isa.builder import LINK, ZERO, Builder, Label, T, X
from isa.encoding import Instr
from isa.errors import InternalError, SimulationFault, UserError
from isa.memory import MemoryMap, Tensor
from isa.program import Program
from isa.target import Target

__all__ = [
    "LINK",
    "ZERO",
    "Builder",
    "Instr",
    "InternalError",
    "Label",
    "MemoryMap",
    "Program",
    "SimulationFault",
    "T",
    "Target",
    "Tensor",
    "UserError",
    "X",
]
