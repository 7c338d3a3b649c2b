"""The architectural state of one core: registers, memory, counters, and the checks on access.

`isa.semantics` changes it, one function per instruction; what an instruction may not do ends in a
`Trap`, which `isa.faults` turns into a message.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from isa.faults import Fault, Trap
from isa.functions import Floats
from isa.memory import MemoryMap
from isa.target import Target

SCALAR_REGISTERS = 32
_SIGN = 1 << 63
_MASK = (1 << 64) - 1


def wrap64(value: int) -> int:
    """Return value modulo 2^64 as a signed number."""
    return ((value + _SIGN) & _MASK) - _SIGN


@dataclass(frozen=True)
class Tile:
    """Contents of a tile register: f32 values, or a raw bf16 operand held as f32 values."""

    data: Floats
    raw: bool = False


@dataclass
class State:
    """One core. `mem` is indexed by byte address, `control` by word (byte address / 8).

    `counters` are those of `signal` and `wait`; cores that work together share one dictionary.
    """

    memory: MemoryMap
    mem: NDArray[np.uint8]
    control: NDArray[np.int64]
    target: Target
    counters: dict[int, int] = field(default_factory=dict)
    pc: int = 0
    next_pc: int = 0
    halted: bool = False
    region: int = 0

    def __post_init__(self) -> None:
        self.x: list[int] = [0] * SCALAR_REGISTERS
        self.t: list[Tile | None] = [None] * self.target.tiles

    # Registers

    def write_x(self, register: int, value: int) -> None:
        """Write a scalar register modulo 2^64; writes to x0 are lost."""
        if register:
            self.x[register] = value if -_SIGN <= value < _SIGN else wrap64(value)

    def f32(self, register: int) -> Floats:
        """Return the values of a tile register that must hold an f32 tile."""
        tile = self.t[register]
        if tile is None:
            raise Trap(Fault.TILE_WITHOUT_SHAPE, register)
        if tile.raw:
            raise Trap(Fault.TILE_IS_RAW, register)
        return tile.data

    def raw(self, register: int) -> Floats:
        """Return the values of a tile register that must hold a raw bf16 operand."""
        tile = self.t[register]
        if tile is None:
            raise Trap(Fault.TILE_WITHOUT_SHAPE, register)
        if not tile.raw:
            raise Trap(Fault.TILE_IS_F32, register)
        return tile.data

    def write_t(self, register: int, data: Floats, *, raw: bool = False) -> None:
        """Write a tile register; its shape is the shape of the data."""
        self.t[register] = Tile(data, raw)

    def constant(self, register: int) -> np.float32:
        """Return the f32 whose bits are the low 32 bits of a scalar register."""
        value: np.float32 = np.uint32(self.x[register] & 0xFFFFFFFF).view(np.float32)
        return value

    # Checks, in the order in which an access makes them: shape, alignment, range

    def check_shape(self, rows: int, cols: int, *, raw: bool = False) -> None:
        """Raise a trap unless a tile register can hold rows x cols."""
        most = self.target.bf16_cols if raw else self.target.f32_cols
        if not (1 <= rows <= self.target.rows and 1 <= cols <= most):
            raise Trap(Fault.BAD_SHAPE, rows, cols, self.target.rows, most)

    def check_alignment(self, address: int, stride: int, element_bytes: int) -> None:
        """Raise a trap unless address and stride are multiples of the element size."""
        if address % element_bytes:
            raise Trap(Fault.MISALIGNED_ADDRESS, address, element_bytes)
        if stride % element_bytes:
            raise Trap(Fault.MISALIGNED_STRIDE, stride, element_bytes)

    def check_rows(self, address: int, stride: int, rows: int, row_bytes: int) -> None:
        """Raise a trap unless rows at address, address + stride, ... lie in one tensor."""
        span = (rows - 1) * stride
        low, high = (address, address + span) if span >= 0 else (address + span, address)
        self.check_range(low, high + row_bytes)

    def check_range(self, first: int, end: int) -> None:
        """Raise a trap unless bytes first..end-1 lie wholly in one tensor."""
        tensor = self.memory.find(first)
        if tensor is None or end > tensor.end:
            raise Trap(Fault.OUTSIDE_TENSOR, first, end - 1)

    def control_index(self, address: int) -> int:
        """Return the word of a control address; raises a trap where there is none."""
        if address % 8:
            raise Trap(Fault.MISALIGNED_CONTROL, address)
        if not 0 <= address <= self.memory.control_bytes - 8:
            raise Trap(Fault.OUTSIDE_CONTROL, address, self.memory.control_bytes)
        return address >> 3
