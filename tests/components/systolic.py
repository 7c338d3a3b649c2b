"""Whole matrix products on a busy systolic array, and what SCALE-Sim counts for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil

from isa.assembler import assemble
from sim.machine import Machine, load_machine
from tests.components.check import Check
from tests.components.running import run

DATAFLOWS = ("os", "ws", "is")
TILE = 16  # rows, and f32 columns, of the largest tile
LATENCY = 5


@dataclass(frozen=True)
class Product:
    """An m x k by k x n product on an array of rows x columns."""

    dataflow: str
    rows: int
    columns: int
    m: int
    k: int
    n: int

    @property
    def closed_form(self) -> int:
        """Cycles, as the literature has them: folds x (set-up + stream)."""
        rows, columns, m, k, n = self.rows, self.columns, self.m, self.k, self.n
        return {
            "os": ceil(m / rows) * ceil(n / columns) * (k + rows + columns - 2),
            "ws": ceil(k / rows) * ceil(n / columns) * (2 * rows + columns + m - 2),
            "is": ceil(k / rows) * ceil(m / columns) * (2 * rows + columns + n - 2),
        }[self.dataflow]

    @property
    def program(self) -> str:
        """The product as folds of up to rows x columns."""
        m, k, n = self.m, self.k, self.n
        down, across, stream = {"os": (m, n, k), "ws": (k, n, m), "is": (k, m, n)}[self.dataflow]
        folds = [
            _folds(self.dataflow, height, width, stream, high * wide)
            for height, high in _cut(down, self.rows)
            for width, wide in _cut(across, self.columns)
        ]
        return "main:\n" + "".join(folds) + "halt"

    @property
    def machine(self) -> Machine:
        """A core that always has the next tiles ready."""
        return load_machine("sapphire-rapids", [
            f"core.units.matrix.dataflow={self.dataflow}",
            f"core.units.matrix.array_rows={self.rows}",
            f"core.units.matrix.array_columns={self.columns}",
            "core.units.matrix.queue=64",
            "core.ops.matmul.unit=matrix", "core.ops.matmul.slot=array", "core.ops.matmul.uops=1",
            f"core.ops.matmul.latency={LATENCY}", "core.ops.matmul.accumulate_latency=1",
            "core.ops.fill.slot=instruction", "core.ops.fill.uops=1", "core.ops.fill.latency=1",
        ])  # fmt: skip


# What SCALE-Sim 3.0.0 reports as "Total Cycles" (GEMM topology, bandwidth without limit). It is
# the number of the last cycle, the first being 0: one less than the cycles taken.
REPORTED = {
    Product("os", 16, 16, 128, 768, 768): 306_431,
    Product("ws", 16, 16, 128, 768, 768): 400_895,
    Product("is", 16, 16, 128, 768, 768): 312_575,
    Product("os", 8, 16, 33, 20, 17): 419,
    Product("ws", 8, 16, 33, 20, 17): 377,
    Product("is", 8, 16, 33, 20, 17): 422,
    Product("os", 4, 4, 9, 21, 14): 323,
    Product("ws", 4, 4, 9, 21, 14): 455,
    Product("is", 4, 4, 9, 21, 14): 431,
}


def _cut(length: int, most: int) -> list[tuple[int, int]]:
    """A length in pieces as (size, how many): as large as possible, then the rest."""
    pieces = [(most, length // most), (length % most, 1)]
    return [(size, count) for size, count in pieces if size and count]


def _fill(tile: int, rows: int, cols: int) -> str:
    return f"li x1, {rows}\nli x2, {cols}\nfill.f32 t{tile}, x0, x1, x2\n"


def _folds(dataflow: str, down: int, across: int, stream: int, count: int) -> str:
    """A loop of folds of down x across: each a new stationary tile t0, then all that streams.

    Every size of piece of the stream has tiles of its own for the other operands.
    """
    before, inside = "", ""
    for number, (piece, pieces) in enumerate(_cut(stream, TILE)):
        other, third = 1 + 2 * number, 2 + 2 * number
        m, n, k, tiles = {
            "os": (down, across, piece, (0, other, third)),
            "ws": (piece, across, down, (other, third, 0)),
            "is": (across, piece, down, (other, 0, third)),
        }[dataflow]
        shapes = dict(zip(tiles, [(m, n), (m, k), (n, k)], strict=True))
        rows, cols = shapes.pop(0)
        before += "".join(_fill(tile, *shape) for tile, shape in shapes.items())
        inside += "matmul.f32 t{}, t{}, t{}\n".format(*tiles) * pieces
    label = f"fold_{down}_{across}"
    return (
        f"{before}li x1, {rows}\nli x2, {cols}\nli x3, {count}\n"
        f"{label}:\nfill.f32 t0, x0, x1, x2\n{inside}"
        f"addi x3, x3, -1\nbne x3, x0, {label}\n"
    )


@cache
def cycles(product: Product, engine: str = "compiled") -> int:
    """Cycles from the first slot of the array to its last."""
    cpu = run(product.program, product.machine, engine=engine, log=100_000)
    instructions = assemble(product.program).program.decoded()
    matmuls = [
        (issue, complete)
        for _, pc, _, issue, complete, _ in cpu.log().tolist()
        if instructions[pc].row.cls == "matmul"
    ]
    first = min(issue for issue, _ in matmuls)
    last = max(complete for _, complete in matmuls) - LATENCY
    return int(last - first + 1)


def checks() -> Iterator[Check]:
    """Cycles of every product that was given to SCALE-Sim."""
    for product, reported in REPORTED.items():
        p = product
        what = f"{p.dataflow}, {p.m} x {p.k} by {p.k} x {p.n} on {p.rows} x {p.columns}"
        yield Check("Systolic arrays", what, reported + 1, cycles(p), "cycles")
