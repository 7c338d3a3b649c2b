"""What all kernels share: constant registers, arguments, and accesses in the storage type.

A kernel is a frozen dataclass: its fields are what is fixed when the program is made (widths,
heads, the row space), its `emit` writes the body of a function. Addresses are arguments, so the
layers of a model share one instance per shape; rows and positions come from the control segment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from isa.builder import ZERO, Builder, T, X
from isa.errors import InternalError
from workloads.kernels.tiling import Tiling

ARGUMENTS = 5


@dataclass(frozen=True)
class SharedRows:
    """The address of a core's share of an activation at `base`: it starts at the row block whose
    number is the control word `first`, and row blocks are `row_block_bytes` apart."""

    base: int
    row_block_bytes: int
    first: int


Address = int | SharedRows


class Kernel(ABC):
    """A function to be emitted once per program; equal kernels are the same function."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The label of the function: readable, and different for different kernels."""

    @property
    @abstractmethod
    def arguments(self) -> tuple[str, ...]:
        """Names of the address arguments, in the order in which `emit` takes their registers."""

    @abstractmethod
    def emit(self, kit: Kit, *arguments: X) -> None:
        """Write the body; argument registers may be overwritten."""


class Kit:
    """A program under construction together with the conventions of the kernels.

    `addresses` are those of the constants and scratch tensors kernels use: `iota`,
    `softmax_start`, `reduction`, `partial_sums`, `accumulators`, `scores`.

    `first_row` in 0..1 is how far into the rows a core begins, where it may take them in any order:
    cores that read the same rows then do not ask for the same lines at the same time.
    """

    def __init__(
        self, b: Builder, tiling: Tiling, addresses: dict[str, int], first_row: float = 0
    ) -> None:
        self.b = b
        self.first_row = first_row
        self.tiling = tiling
        self.addresses = addresses
        values = (1, tiling.row_bytes, tiling.f32_cols, tiling.k_cols, tiling.n_cols)
        self._constants = {value: b.x(f"const{value}") for value in sorted(set(values))}
        self._arguments = [b.x(f"argument{index}") for index in range(ARGUMENTS)]
        self._kernels: dict[str, Kernel] = {}
        self.one = self._constants[1]
        self.row_bytes = self._constants[tiling.row_bytes]
        self.f32_cols = self._constants[tiling.f32_cols]
        self.k_cols = self._constants[tiling.k_cols]
        self.n_cols = self._constants[tiling.n_cols]

    # Program structure

    def load_constants(self) -> None:
        """Set the registers that hold the same value throughout; every entry starts with it."""
        for value, register in self._constants.items():
            self.b.li(register, value)

    def call(self, kernel: Kernel, **addresses: Address) -> None:
        """Set the arguments and call a kernel, which `emit_kernels` will write later."""
        if set(addresses) != set(kernel.arguments):
            raise InternalError(f"{kernel.name} takes {kernel.arguments}, not {tuple(addresses)}")
        known = self._kernels.setdefault(kernel.name, kernel)
        if known != kernel:
            raise InternalError(f"two different kernels are called {kernel.name!r}")
        for register, argument in zip(self._arguments, kernel.arguments, strict=False):
            self._set_address(register, addresses[argument])
        self.b.call(kernel.name)

    def _set_address(self, register: X, address: Address) -> None:
        if isinstance(address, int):
            self.b.li(register, address)
            return
        with self.b.scratch("size") as (size,):
            self.b.ld(register, address.first, ZERO)
            self.b.li(size, address.row_block_bytes)
            self.b.mul(register, register, size)
            self.b.li(size, address.base)
            self.b.add(register, register, size)

    def emit_kernels(self) -> None:
        """Write the functions of all kernels called so far."""
        for kernel in self._kernels.values():
            with self.b.function(kernel.name):
                kernel.emit(self, *self._arguments[: len(kernel.arguments)])

    # Accesses in the storage type

    def load(self, td: T, xa: X, stride: X, rows: X, cols: X) -> None:
        """Load stored elements into an f32 tile."""
        self.b.emit(f"load.{self.tiling.dtype}", td, xa, stride, rows, cols)

    def gather(self, td: T, xa: X, stride: X, index: X, rows: X, cols: X) -> None:
        """Load rows by index into an f32 tile."""
        self.b.emit(f"gather.{self.tiling.dtype}", td, xa, stride, index, rows, cols)

    def store(self, ts: T, xa: X, stride: X) -> None:
        """Store an f32 tile in the storage type."""
        self.b.emit(f"store.{self.tiling.dtype}", ts, xa, stride)

    def load_operand(self, td: T, xa: X, stride: X, rows: X, cols: X) -> None:
        """Load a matmul operand."""
        self.b.emit("load.raw.bf16" if self.bf16 else "load.f32", td, xa, stride, rows, cols)

    def loadt_operand(self, td: T, xa: X, stride: X, rows: X, cols: X) -> None:
        """Load a matmul operand, transposed; `rows` and `cols` are those of the tile."""
        self.b.emit("loadt.raw.bf16" if self.bf16 else "loadt.f32", td, xa, stride, rows, cols)

    def matmul(self, tc: T, ta: T, tb: T) -> None:
        """Multiply operands of the storage type."""
        self.b.emit(f"matmul.{self.tiling.dtype}", tc, ta, tb)

    @property
    def bf16(self) -> bool:
        """Whether activations and weights are stored as bf16."""
        return self.tiling.dtype == "bf16"

    def advance(self, pointer: X, step: int) -> None:
        """Add a constant to a pointer, unless it is 0."""
        if step:
            self.b.addi(pointer, pointer, step)

    def move(self, to: X, source: X) -> None:
        """Copy a scalar register."""
        self.b.addi(to, source, 0)
