"""How tiles lie in the engine's tile storage.

The storage is one float32 array; every tile register of every core has a slot of `SLOT` elements:

    [0, TRANSPOSED)       the tile. f32 tiles have row stride F32_STRIDE, raw bf16 operands row
                          stride RAW_STRIDE, their values widened to f32.
    [TRANSPOSED, +512)    the transposed copy (K x N, row stride F32_STRIDE) of a tile that served
                          as matmul's B; scratch while an instruction writes the slot.
    the rest              is not used: with a power of two between slots, the rows that are used
                          would crowd into a quarter of the host's cache sets.

Rows are always 16 (or 32) elements long, also when a tile or the machine has fewer columns: kernels
compute whole rows, and nobody ever sees the elements outside a tile's shape.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

F32_STRIDE = 16
RAW_STRIDE = 32
TRANSPOSED = 512
SLOT = 1024 + 256

_ALIGNMENT = 64


def aligned_zeros(count: int, dtype: Any) -> npt.NDArray[Any]:
    """Return `count` zeros whose first element starts a cache line.

    NumPy aligns to 16 bytes only; every 64-byte row of a tile would then straddle two lines.
    """
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(count * itemsize + _ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + count * itemsize].view(dtype)
