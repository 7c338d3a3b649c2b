"""How a matmul lies on a systolic array: rule I7 of docs/timing.md in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Dataflow = Literal["os", "ws", "is"]


class Extents(NamedTuple):
    """How long a product is along the rows and columns of an array, and how long it streams."""

    rows: int
    columns: int
    stream: int


class ArrayWork(NamedTuple):
    """A matmul on an array: its folds, and the slots of each before and during its stream."""

    folds: int
    set_up: int
    stream: int


@dataclass(frozen=True)
class Array:
    """A systolic array of ``rows`` x ``columns`` multiply-adders."""

    dataflow: Dataflow
    rows: int
    columns: int

    def extents(self, m: int, n: int, k: int) -> Extents:
        """How an m x k by n x k product lies on the array; k counts elements."""
        return {
            "os": Extents(rows=m, columns=n, stream=k),
            "ws": Extents(rows=k, columns=n, stream=m),
            "is": Extents(rows=k, columns=m, stream=n),
        }[self.dataflow]

    def work(self, m: int, n: int, k: int) -> ArrayWork:
        """The work of an m x k by n x k product; k counts elements."""
        extents = self.extents(m, n, k)
        folds = -(-extents.rows // self.rows) * -(-extents.columns // self.columns)
        skew = self.rows + self.columns - 2  # until the last multiply-adder has its operands
        load = 0 if self.dataflow == "os" else self.rows  # the stationary tile, row by row
        return ArrayWork(folds, load + skew, extents.stream)
