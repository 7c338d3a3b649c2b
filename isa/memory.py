"""Where everything lies: the control segment and the named tensors of simulated memory.

Addresses are bytes. The control segment is a space of its own, int64 words from address 0, read
and written only by `ld`, `st` and gather indices. Tensor memory starts at 64 KiB, so that a small
number used as a tensor address by mistake always faults.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError, did_you_mean

TENSOR_BASE = 0x10000
PAGE_BYTES = 4096
LINE_BYTES = 64
ELEMENT_BYTES = {"f32": 4, "bf16": 2, "i64": 8}
STORAGE: dict[str, np.dtype[Any]] = {
    "f32": np.dtype("<f4"),
    "bf16": np.dtype("<u2"),
    "i64": np.dtype("<i8"),
}


@dataclass(frozen=True)
class Tensor:
    """A named range of tensor memory: `nbytes` bytes from `address`.

    `layout` describes the order of the elements (`row-major`, or the name of a packing).
    """

    name: str
    address: int
    nbytes: int
    dtype: str
    shape: tuple[int, ...]
    layout: str = "row-major"

    @property
    def end(self) -> int:
        """The first address after the tensor."""
        return self.address + self.nbytes


@dataclass
class MemoryMap:
    """Tensors at increasing addresses, and the size of the control segment in bytes."""

    control_bytes: int = 0
    tensors: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_name = {tensor.name: tensor for tensor in self.tensors}
        self._starts = [tensor.address for tensor in self.tensors]
        self._end = max((tensor.end for tensor in self.tensors), default=TENSOR_BASE)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._by_name.get(name)
        if tensor is None:
            raise UserError(f"there is no tensor {name!r};{did_you_mean(name, self._by_name)}")
        return tensor

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def add(
        self,
        name: str,
        nbytes: int,
        dtype: str,
        shape: tuple[int, ...],
        align: int = PAGE_BYTES,
        layout: str = "row-major",
    ) -> Tensor:
        """Place a tensor after the last one, at a multiple of `align` (a power of two, >= 64).

        `nbytes` may exceed the size of the shape (packed layouts are padded). Raises `UserError`
        for a name used twice, an unknown type, or a size or alignment that cannot be.
        """
        if name in self._by_name:
            raise UserError(f"tensor {name!r} is declared twice")
        if dtype not in ELEMENT_BYTES:
            raise UserError(f"tensor {name!r}: unknown type {dtype!r}; use f32, bf16 or i64")
        if nbytes < 1:
            raise UserError(f"tensor {name!r} has {nbytes} bytes; it needs at least 1")
        if math.prod(shape) * ELEMENT_BYTES[dtype] > nbytes:
            raise UserError(
                f"tensor {name!r}: shape {shape} of {dtype} does not fit {nbytes} bytes"
            )
        if align < LINE_BYTES or align & (align - 1):
            raise UserError(f"tensor {name!r}: alignment {align} is no power of two >= 64")
        address = -(-self._end // align) * align
        tensor = Tensor(name, address, nbytes, dtype, tuple(shape), layout)
        self.tensors.append(tensor)
        self._by_name[name] = tensor
        self._starts.append(address)
        self._end = tensor.end
        return tensor

    @property
    def total_bytes(self) -> int:
        """End of tensor memory, rounded up to a cache line: the size of the memory array."""
        return -(-self._end // LINE_BYTES) * LINE_BYTES

    def allocate(self) -> NDArray[np.uint8]:
        """Return zeroed tensor memory, indexed by address (the first 64 KiB are unused)."""
        return np.zeros(self.total_bytes, dtype=np.uint8)

    def allocate_control(self) -> NDArray[np.int64]:
        """Return a zeroed control segment as int64 words."""
        return np.zeros(-(-self.control_bytes // 8), dtype=np.int64)

    def array(self, mem: NDArray[np.uint8], name: str) -> NDArray[Any]:
        """Return a view of a row-major tensor in `mem`: float32, int64, or uint16 for bf16."""
        tensor = self[name]
        dtype = STORAGE[tensor.dtype]
        count = math.prod(tensor.shape)
        end = tensor.address + count * dtype.itemsize
        return mem[tensor.address : end].view(dtype).reshape(tensor.shape)

    def find(self, address: int) -> Tensor | None:
        """Return the tensor that contains `address`, if any."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self.tensors[index].end:
            return self.tensors[index]
        return None

    def nearest(self, address: int) -> Tensor | None:
        """Return the tensor that contains or lies closest to `address`; None without tensors."""
        if not self.tensors:
            return None
        index = bisect_right(self._starts, address) - 1
        around = self.tensors[max(index, 0) : index + 2]
        return min(around, key=lambda t: max(t.address - address, address - t.end + 1, 0))
