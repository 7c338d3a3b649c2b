"""What the loop nests of a linear operator share: its shape, result tiles and K loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from isa.builder import ZERO, T, X
from workloads.kernels.kit import Kit
from workloads.kernels.space import RowSpace
from workloads.kernels.tiling import Tiling


@dataclass(frozen=True)
class LinearShape:
    """`n` columns out, `k` columns in, and what happens to a result tile before it is stored.

    The bias starts the accumulators; activation and residual follow when the sum is complete.
    `f32_result` stores f32 whatever the storage type (logits). Where `n` are only a part of the
    columns of the result, from a whole storage block on, `all_columns` says how many it has; so
    does `all_depth` for the source, where `k` are only a part of its columns.
    """

    space: RowSpace
    n: int
    k: int
    bias: bool = False
    activation: str | None = None
    residual: bool = False
    f32_result: bool = False
    all_columns: int | None = None
    all_depth: int | None = None


@dataclass(frozen=True)
class LinearArguments:
    """Address registers of a linear operator; `bias` and `residual` only where it has them.

    `residual` holds the distance from the result to the residual, which is laid out alike.
    """

    source: X
    weight: X
    result: X
    bias: X | None
    residual: X | None


@dataclass(frozen=True)
class Panels:
    """How the result columns of a linear operator are cut into tiles and panels."""

    shape: LinearShape
    t: Tiling

    @property
    def result_bytes(self) -> int:
        """Bytes of a stored result element."""
        return 4 if self.shape.f32_result else self.t.element_bytes

    @property
    def tiles_per_block(self) -> int:
        """Result tiles side by side in one storage block of the result."""
        return self.t.row_bytes // (self.t.n_cols * self.result_bytes)

    @property
    def group_tiles(self) -> int:
        """Tiles after which the offsets of result tiles repeat: one or more panels.

        A single row is contiguous, so there every panel is like the last; otherwise a panel may
        end inside a storage block.
        """
        if self.shape.space.folded:
            return self.t.panel
        return max(self.t.panel, self.tiles_per_block)

    @property
    def groups(self) -> int:
        """Number of groups of full panels."""
        return self.shape.n // (self.t.n_cols * self.group_tiles)

    def group(self) -> list[list[int]]:
        """The columns of every tile of every panel in a full group."""
        return [[self.t.n_cols] * self.t.panel] * (self.group_tiles // self.t.panel)

    def rest(self) -> list[list[int]]:
        """The panels after the last full group."""
        left = self.shape.n - self.groups * self.group_tiles * self.t.n_cols
        panels = []
        while left:
            panel: list[int] = []
            while left and len(panel) < self.t.panel:
                panel.append(min(left, self.t.n_cols))
                left -= panel[-1]
            panels.append(panel)
        return panels

    def offset(self, tile: int) -> int:
        """Bytes from the start of a group's first result tile to its tile number `tile`."""
        block, inside = divmod(tile, self.tiles_per_block)
        block_bytes = self.shape.space.block_rows * self.t.row_bytes
        return block * block_bytes + inside * self.t.n_cols * self.result_bytes

    @property
    def source_row_block(self) -> int:
        """Bytes of one row block of the source."""
        space = self.shape.space
        columns = self.shape.all_depth or self.shape.k
        return self.t.activation_row_bytes(columns, space.block_rows, self.t.element_bytes)

    @property
    def result_row_block(self) -> int:
        """Bytes of one row block of the result."""
        space = self.shape.space
        columns = self.shape.all_columns or self.shape.n
        return self.t.activation_row_bytes(columns, space.block_rows, self.result_bytes)


def start_tile(kit: Kit, bias: X | None, tile: int, c: T, rows: X, cols: X, at: X) -> None:
    """Start an accumulator from 0, or from the bias of the group's tile number `tile`."""
    b = kit.b
    if bias is None:
        b.fill_f32(c, ZERO, rows, cols)
        return
    b.addi(at, bias, tile * kit.tiling.n_cols * 4)
    b.bcast_f32(c, at, rows, cols)


def finish_tile(
    kit: Kit,
    panels: Panels,
    arguments: LinearArguments,
    tile: int,
    result: X,
    c: T,
    scratch: T,
    rows: X,
    cols: X,
    at: X,
) -> None:
    """Apply activation and residual to a complete sum and store it; `result` points at the group.

    `at` is a scratch register.
    """
    b, shape = kit.b, panels.shape
    if shape.activation is not None:
        b.emit(shape.activation, c, c)
    if arguments.residual is not None:
        b.addi(at, result, panels.offset(tile))
        b.add(at, at, arguments.residual)
        kit.load(scratch, at, kit.row_bytes, rows, cols)
        b.fadd(c, c, scratch)
    b.addi(at, result, panels.offset(tile))
    if shape.f32_result:
        b.store_f32(c, at, kit.row_bytes)
    else:
        kit.store(c, at, kit.row_bytes)


def k_loop(
    kit: Kit, steps: int, tail: int, a: X, step_bytes: int, step: Callable[[int, X], None]
) -> None:
    """Emit `steps` full steps along K, two per iteration, then one of `tail` columns if any.

    `step` gets the parity of the step, for tiles that alternate, and the register with its
    columns; it must advance the pointer `a` by `step_bytes`.
    """
    b = kit.b
    pairs, odd = divmod(steps, 2)
    if pairs:
        with b.scratch("k_end") as (end,):
            top = b.new_label("k")
            if pairs > 1:
                b.addi(end, a, 2 * pairs * step_bytes)
                b.place(top)
            step(0, kit.k_cols)
            step(1, kit.k_cols)
            if pairs > 1:
                b.blt(a, end, top)
    if odd:
        step(0, kit.k_cols)
    if tail:
        with b.scratch("tail") as (cols,):
            b.li(cols, tail)
            step(odd, cols)
