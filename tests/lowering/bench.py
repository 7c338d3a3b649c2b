"""A bench for single kernels: places NumPy arrays as activations and runs on the interpreter.

Everything the kernel is not given is NaN, so that a kernel that reads inactive rows, columns or
blocks shows it. The blocked layout is written out here a second time, element by element in the
index arithmetic of its description, not with the project's packing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa import Builder, MemoryMap, Target
from isa.interpreter import Interpreter
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.space import RowSpace
from workloads.kernels.tiling import choose_tiling
from workloads.lowering.control import layout_control, write_lengths, write_prompt, write_step

F32 = NDArray[np.float32]

TARGETS = {
    "8x16x64": Target(8, 16, 64),
    "8x4x64": Target(8, 4, 64),
    "8x4x16": Target(8, 4, 16),
    "32x16x64": Target(32, 16, 64),
    "9x12x32": Target(9, 12, 32),
}


def to_bf16(x: Any) -> F32:
    """Round to bf16 by arithmetic: eight significant bits, ties to even."""
    mantissa, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    return np.ldexp(np.rint(mantissa * 256.0) / 256.0, exponent).astype(np.float32)


def stored(x: Any, dtype: str) -> F32:
    """The values that remain when x is stored."""
    return to_bf16(x) if dtype == "bf16" else np.asarray(x, dtype=np.float32)


def bits(x: F32, dtype: str) -> NDArray[Any]:
    """The elements as memory holds them; x must be representable."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    return (x.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bf16" else x


def values(elements: NDArray[Any]) -> F32:
    """The inverse of `bits`."""
    if elements.dtype == np.uint16:
        return (elements.astype(np.uint32) << 16).view(np.float32)
    return elements.astype(np.float32)


class Bench:
    """Memory, control segment and row spaces for prompts of the given lengths."""

    def __init__(
        self,
        target: Target,
        dtype: str = "f32",
        lengths: Sequence[int] = (1,),
        starts: Sequence[int] | None = None,
        *,
        step: bool = False,
    ) -> None:
        self.target, self.dtype = target, dtype
        self.tiling = choose_tiling(target, dtype)
        self.layout = layout_control(self.tiling, len(lengths), sum(lengths))
        self.memory = MemoryMap(self.layout.control_bytes)
        self.control = self.memory.allocate_control()
        starts = [0] * len(lengths) if starts is None else list(starts)
        if step:
            write_step(self.control, self.layout, starts)
            write_lengths(self.control, self.layout, [start + 1 for start in starts])
            self.rows = [divmod(i, self.layout.step.block_rows) for i in range(len(lengths))]
        else:
            tokens = [[0] * length for length in lengths]
            write_prompt(self.control, self.layout, tokens, starts)
            self.rows, block = [], 0
            for length in lengths:
                r = self.tiling.rows
                self.rows += [(block + i // r, i % r) for i in range(length)]
                block += -(-length // r)
        self.space: RowSpace = self.layout.step if step else self.layout.prompt
        self.blocks = max(block for block, _ in self.rows) + 1
        self._data: dict[str, NDArray[Any]] = {}
        self._shapes: dict[str, tuple[int, int, str]] = {}
        t = self.tiling
        iota = np.arange(t.rows * t.f32_cols, dtype=np.float32)
        self.raw("iota", iota)
        self.raw("softmax_start", np.array([-np.inf, 0, 1], dtype=np.float32))
        self.raw("reduction", np.full(16, np.nan, dtype=np.float32))
        for name in ("partial_sums", "accumulators", "scores"):
            self.raw(name, np.full(1 << 18, np.nan, dtype=np.float32))

    def raw(self, name: str, data: NDArray[Any], dtype: str = "f32") -> int:
        """Place an array as it is and return its address."""
        data = np.ascontiguousarray(data)
        self._data[name] = data
        return self.memory.add(name, data.nbytes, dtype, data.shape).address

    def activation(self, name: str, x: F32, dtype: str | None = None) -> int:
        """Place rows as a blocked activation, NaN wherever no row of `x` is."""
        dtype = dtype or self.dtype
        width = x.shape[1]
        cols = self.target.row_bytes // (2 if dtype == "bf16" else 4)
        block_rows = self.space.block_rows
        blocked = np.full(
            (self.blocks, -(-width // cols), block_rows, cols), np.nan, dtype=np.float32
        )
        for (block, row), values_of_row in zip(self.rows, x, strict=True):
            for column, value in enumerate(values_of_row):
                blocked[block, column // cols, row, column % cols] = value
        self._shapes[name] = (*x.shape, dtype)
        return self.raw(name, bits(blocked, dtype), dtype)

    def empty(self, name: str, width: int, dtype: str | None = None) -> int:
        """Place a blocked activation of NaN."""
        nothing = np.full((len(self.rows), width), np.nan, dtype=np.float32)
        return self.activation(name, nothing, dtype)

    def run(self, kernel: Kernel, **addresses: int) -> int:
        """Run one call of the kernel; returns the number of instructions."""
        b = Builder("kernel", self.target)
        kit = Kit(b, self.tiling, {tensor.name: tensor.address for tensor in self.memory.tensors})
        b.label("main")
        kit.load_constants()
        kit.call(kernel, **addresses)
        b.halt()
        kit.emit_kernels()
        self.mem = self.memory.allocate()
        for name, data in self._data.items():
            tensor = self.memory[name]
            self.mem[tensor.address : tensor.end] = data.reshape(-1).view(np.uint8)
        interpreter = Interpreter(b.build(), self.memory, self.mem, self.control, self.target)
        return interpreter.run()

    def elements(self, name: str) -> NDArray[Any]:
        """A tensor after the run, in the shape it was placed with."""
        data, tensor = self._data[name], self.memory[name]
        return self.mem[tensor.address : tensor.end].view(data.dtype).reshape(data.shape)

    def result(self, name: str) -> F32:
        """The rows of a blocked activation after the run."""
        rows, width, _ = self._shapes[name]
        blocked = values(self.elements(name))
        cols = blocked.shape[3]
        out = np.empty((rows, width), dtype=np.float32)
        for index, (block, row) in enumerate(self.rows):
            for column in range(width):
                out[index, column] = blocked[block, column // cols, row, column % cols]
        return out
