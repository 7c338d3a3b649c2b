"""The values of tile instructions, computed in compiled code.

Read `slots.py` (where tiles lie), `execute.py` (one instruction), then the kernels: `moves.py`,
`matmul.py`, `elementwise.py`, `functions.py`, `reduce.py`. They are written in the vector
vocabulary of `sim.engine.lanes` and equal `isa.functions` bit for bit.
"""

from sim.engine.values.execute import tile_execute
from sim.engine.values.slots import (
    F32_STRIDE,
    RAW_STRIDE,
    SLOT,
    TRANSPOSED,
    aligned_zeros,
)

__all__ = ["F32_STRIDE", "RAW_STRIDE", "SLOT", "TRANSPOSED", "aligned_zeros", "tile_execute"]
