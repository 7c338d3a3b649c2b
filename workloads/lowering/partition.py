"""How operators are cut into pieces, so that several cores can work on one.

| operator | prompt | step (one row per sequence) |
| --- | --- | --- |
| linear | columns: whole storage blocks of the result; row blocks; or both | columns |
| SiLU product | as the linear operators it follows, on the same cores | the same |
| embedding, norms, GELU, addition | row blocks | row blocks, of which there may be one |
| rope, kv_append | row blocks | heads |
| attention | jobs, dealt out when the step begins (see `control`) | the same |
| select_last, arg-max, and what has one row block | core 0 | core 0 |

None of these changes a sum: a core adds up whole elements of the result, in the order in which one
core alone would. Cutting at storage blocks also keeps two cores from writing the same cache line.
Arg-max needs everything, so core 0 is the last to halt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

from isa.errors import UserError, did_you_mean
from workloads.kernels.tiling import Tiling
from workloads.lowering.operators import Operator
from workloads.lowering.placement import Cuts, logits_of
from workloads.lowering.values import Value

Span = tuple[int, int]  # first and last-plus-one

PARTITIONS = {
    "auto": "columns or rows, whatever is estimated to be faster; every result stays the same",
    "columns": "linear operators by columns of their result",
    "rows": "prompts by rows; decode steps by columns",
    "k": "linear operators but the last by the columns of their source: other sums, added later",
    "keys": "attention of decode steps by keys, for long contexts: other sums; the rest as columns",
}

# Estimates are in tile operations: a matrix product of two tiles, or a few instructions on one.
# A weight tile costs as many as it takes to load from DRAM meanwhile.
WEIGHT_TILE = 4
SOURCE_TILE = 2  # a tile of activations, from another core
ADDED_TILE = 3  # a tile of partial results, loaded and added
PROMPT_BLOCKS = 16  # row blocks of a prompt, which is not known yet
KEY_BLOCKS = 16  # blocks of keys that attention meets
TILE_OPERATIONS = {
    "embed": 3, "rmsnorm": 6, "layernorm": 9, "rope": 4, "kv_append": 2, "silu_mul": 20,
    "gelu.tanh": 20, "gelu.erf": 20, "add": 3, "select_last": 2, "argmax": 6,
}  # fmt: skip
BY_HEADS = ("rope", "kv_append")


@dataclass(frozen=True)
class Piece:
    """A part of an operator that one core does.

    `share` (part, parts) are its row blocks, `columns` the storage blocks of its result, both None
    where it has all. `dealt`: what it does is dealt out when the step begins. A piece with a
    `core` must run there; pieces of one `bundle` and `part` run on the same core.

    A sum that is cut has two stages: pieces with a `depth`, the storage blocks of the source they
    add up, and then pieces that `combine` the sums of so many of those. Attention with cut keys
    has dealt pieces, and then pieces that combine what those leave for some `jobs`.
    """

    operator: int
    space: str
    part: int
    cost: float
    share: Span | None = None
    columns: Span | None = None
    dealt: bool = False
    core: int | None = None
    bundle: str | None = None
    depth: Span | None = None
    combine: int = 0
    jobs: Span | None = None


def cut(count: int, parts: int, speeds: Sequence[float] = ()) -> list[Span]:
    """Cut a range into up to `parts` parts, none of them empty.

    They are as even as possible, or with `speeds` as these are to each other.
    """
    if speeds:
        ends = [round(count * done / sum(speeds)) for done in accumulate(speeds, initial=0)]
        return [span for span in pairwise(ends) if span[0] < span[1]]
    parts = min(parts, count)
    return [(i * count // parts, (i + 1) * count // parts) for i in range(parts)]


def check_partition(name: str, attention: str) -> None:
    """Raises `UserError` for a partition that does not exist, or not for this attention."""
    if name not in PARTITIONS:
        raise UserError(
            f"unknown partition {name!r};{did_you_mean(name, PARTITIONS)} "
            f"use {', '.join(PARTITIONS)}"
        )
    if name == "keys" and attention == "naive":
        raise UserError("partition keys needs online attention; use auto with naive attention")


@dataclass(frozen=True)
class Partition:
    """Cuts the operators of one model for `cores` cores.

    With `speeds` of unequal cores columns are cut in proportion, so that all have done their
    pieces at one time; shares of rows stay equal.
    """

    operators: list[Operator]
    values: dict[str, Value]
    tiling: Tiling
    batch: int
    cores: int
    policy: str
    speeds: tuple[float, ...] = ()

    @property
    def batch_blocks(self) -> int:
        """Row blocks of a step."""
        return -(-self.batch // self.tiling.rows)

    def row_parts(self, space: str) -> tuple[int, ...]:
        """Into how many shares the row blocks of a space are divided, in every way needed."""
        if self.cores == 1 or (space == "step" and self.batch_blocks == 1):
            return ()
        return self._prompt_parts if space == "prompt" else (self.cores,)

    @cached_property
    def _prompt_parts(self) -> tuple[int, ...]:
        chosen = {self._row_parts(op) for op in self.operators if op.kind == "linear"}
        return tuple(sorted({*chosen, self.cores} - {1}))

    def block_columns(self, op: Operator) -> int:
        """Columns in a storage block of an operator's result; logits are f32."""
        is_logits = op.result == logits_of(self.operators)
        return self.tiling.f32_cols if is_logits else self.tiling.k_cols

    def linear_columns(self, op: Operator) -> list[Span]:
        """The storage blocks of the result of a linear operator, as they are cut."""
        blocks = -(-self.values[op.result].width // self.block_columns(op))
        return cut(blocks, self.cores, self.speeds)

    def key_parts(self, space: str) -> int:
        """Into how many parts the keys of a job are cut: cores get equally many; 0 if not cut."""
        if self.policy != "keys" or self.cores == 1 or space == "prompt":
            return 0
        attention = next(op for op in self.operators if op.kind == "attention")
        parts = self.cores // math.gcd(self.cores, self.batch * attention.attrs["kv_heads"])
        return parts if parts > 1 else 0

    def depths(self, op: Operator) -> list[Span]:
        """The storage blocks of the source of a linear operator, as they are cut; empty if not."""
        if self.policy != "k" or self.cores == 1 or op.result == logits_of(self.operators):
            return []
        steps = -(-self.values[op.inputs[0]].width // self.tiling.k_cols)
        if steps < 2:
            raise UserError(
                f"partition k: {op.name} adds up {steps} block of {self.tiling.k_cols} columns, "
                "which cannot be cut; use columns"
            )
        return cut(steps, self.cores)

    def weight_cuts(self) -> dict[str, Cuts]:
        """First tiles and first steps of every cut, by the names of linear operators."""
        return {op.name: self._weight_cuts(op) for op in self.operators if op.kind == "linear"}

    def _weight_cuts(self, op: Operator) -> Cuts:
        depths = self.depths(op)
        if depths:
            return (0,), tuple(first for first, _ in depths)
        tiles_per_block = self.block_columns(op) // self.tiling.n_cols
        return tuple(first * tiles_per_block for first, _ in self.linear_columns(op)), (0,)

    def stages(self, number: int, space: str) -> list[list[Piece]]:
        """The pieces of an operator in a space; each stage needs what the one before has made."""
        op = self.operators[number]
        whole = Piece(number, space, 0, self._cost(op, space))
        if self.cores == 1:
            return [[whole]]
        pieces = list(self._cut(op, whole))
        if op.kind == "attention" and self.key_parts(space):
            parts, jobs = self.key_parts(space), cut(self.batch * op.attrs["kv_heads"], self.cores)
            cost = self._tiles(op, space) * ADDED_TILE * parts / len(jobs)
            combining = [
                replace(whole, part=part, jobs=span, combine=parts, cost=cost)
                for part, span in enumerate(jobs)
            ]
            return [pieces, combining]
        depths = self.depths(op) if op.kind == "linear" else []
        if not depths:
            return [pieces]
        sums = [
            replace(whole, part=part, depth=depth, cost=whole.cost / len(depths))
            for part, depth in enumerate(depths)
        ]
        adding = self._tiles(op, space) * ADDED_TILE * len(depths) / len(pieces)
        return [sums, [replace(piece, combine=len(depths), cost=adding) for piece in pieces]]

    def _cut(self, op: Operator, whole: Piece) -> Iterator[Piece]:
        parts = self.cores
        prompt = whole.space == "prompt"
        rows = self.row_parts(whole.space)
        if op.kind == "attention":
            speeds = self.speeds or (1.0,) * parts
            for core, speed in enumerate(speeds):
                cost = whole.cost * speed / sum(speeds)
                yield replace(whole, part=core, cost=cost, dealt=True, core=core)
        elif op.kind in ("linear", "silu_mul"):
            bundle = self._bundle(op)
            row_parts = self._row_parts(op) if prompt else 1
            blocks = self.linear_columns(op)[-1][1]
            for part, (row, columns) in enumerate(self._grid(op, row_parts)):
                cost = whole.cost * (columns[1] - columns[0]) / blocks / row_parts
                share = (row, row_parts) if row_parts > 1 else None
                yield replace(
                    whole, part=part, cost=cost, share=share, columns=columns, bundle=bundle
                )
        elif op.kind in BY_HEADS and not prompt:
            value = self.values[op.inputs[0]]
            blocks = value.width // value.heads // self.tiling.k_cols
            for part, (first, end) in enumerate(cut(value.heads, parts, self.speeds)):
                span = (first * blocks, end * blocks)
                cost = whole.cost * (end - first) / value.heads
                yield replace(whole, part=part, cost=cost, columns=span)
        elif rows and op.kind not in ("select_last", "argmax"):
            for core in range(parts):
                share = (core, parts)
                yield replace(whole, part=core, cost=whole.cost / parts, share=share, core=core)
        else:
            yield replace(whole, core=0)

    def _grid(self, op: Operator, row_parts: int) -> Iterator[tuple[int, Span]]:
        """Rows and columns of the pieces of a linear operator whose rows are cut so often."""
        cuts = self.linear_columns(op)
        groups = cut(len(cuts), self.cores // row_parts)
        for row in range(row_parts):
            for first, end in groups:
                yield row, (cuts[first][0], cuts[end - 1][1])

    def _row_parts(self, op: Operator) -> int:
        """Into how many parts the rows of a linear operator in a prompt are cut."""
        if op.kind == "silu_mul":  # as the operators it follows
            op = next(linear for linear in self.operators if linear.result == op.inputs[0])
        if self.policy == "rows":
            return self.cores
        if self.policy != "auto" or self.speeds:  # parts of rows are equal, so would be of no use
            return 1
        divisors = (parts for parts in range(1, self.cores + 1) if self.cores % parts == 0)
        return min(divisors, key=lambda parts: self._longest(op, parts))

    def _longest(self, op: Operator, row_parts: int) -> float:
        """Estimate of the longest piece of a linear operator, in tile operations per step of k."""
        rows = PROMPT_BLOCKS / row_parts
        columns = max(end - first for _, (first, end) in self._grid(op, row_parts))
        tiles = columns * self.block_columns(op) // self.tiling.n_cols
        return max(rows, 1) * (tiles + SOURCE_TILE) + tiles * WEIGHT_TILE

    def _bundle(self, op: Operator) -> str | None:
        """The SiLU product an operator is or feeds: equal columns of them share a core."""
        if op.kind == "silu_mul":
            return op.name
        readers = (user for user in self.operators if op.result in user.inputs)
        return next((user.name for user in readers if user.kind == "silu_mul"), None)

    def _tiles(self, op: Operator, space: str) -> float:
        """f32 tiles of an operator's result, or of what it reads if that is larger."""
        width = self.values[op.inputs[0] if op.kind in ("kv_append", "argmax") else op.result].width
        tiles = width / self.tiling.f32_cols
        if space == "prompt":
            return tiles * PROMPT_BLOCKS
        if self.batch == 1:  # a single row is folded into the rows of tiles
            return tiles / self.tiling.rows
        return tiles * self.batch_blocks

    def _cost(self, op: Operator, space: str) -> float:
        """Estimated tile operations of a whole operator."""
        t = self.tiling
        rows = PROMPT_BLOCKS if space == "prompt" else self.batch_blocks
        if op.kind == "linear":
            n, k = self.values[op.result].width, self.values[op.inputs[0]].width
            return n / t.n_cols * k / t.k_cols * max(rows, WEIGHT_TILE)
        if op.kind == "attention":
            return self._tiles(op, space) * 2 * KEY_BLOCKS
        return (
            self._tiles(op, space)
            * TILE_OPERATIONS[op.attrs["kind"] if op.kind == "gelu" else op.kind]
        )
