"""The widths of the values that flow between operators, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass

from isa.errors import InternalError
from workloads.kernels.tiling import Tiling
from workloads.lowering.operators import Operator


@dataclass(frozen=True)
class Value:
    """A stored activation: `width` elements per row, padding included.

    Values made of heads keep each head in whole storage blocks (`heads` of `head_dim` elements,
    padded with zeros), so that a head starts at a block wherever it is used. A head_dim that is
    no multiple of a block pays for its padding; those of real models are.
    """

    width: int
    heads: int = 0
    head_dim: int = 0


def stored_values(operators: list[Operator], t: Tiling) -> dict[str, Value]:
    """Return the stored form of every operator's result, by name; caches have none."""
    heads = _head_values(operators)
    values: dict[str, Value] = {}
    for op in operators:
        if op.result in heads:
            count, head_dim = heads[op.result]
            values[op.result] = Value(count * t.whole_blocks(head_dim), count, head_dim)
        elif op.kind == "kv_append":
            continue
        elif op.kind in ("linear", "silu_mul", "gelu", "argmax"):
            values[op.result] = Value(1 if op.kind == "argmax" else op.attrs["n"])
        else:
            values[op.result] = Value(op.attrs["d"])
    return values


def _head_values(operators: list[Operator]) -> dict[str, tuple[int, int]]:
    """Names of values made of heads, with the number of heads and their dimension."""
    heads: dict[str, tuple[int, int]] = {}
    for op in reversed(operators):
        if op.kind == "attention":
            shape = (op.attrs["heads"], op.attrs["head_dim"])
            heads[op.result] = heads[op.inputs[0]] = shape
        elif op.kind == "kv_append":
            for name in op.inputs:
                heads[name] = (op.attrs["kv_heads"], op.attrs["head_dim"])
        elif op.kind == "rope":
            if op.result not in heads:
                raise InternalError(f"{op.name} turns values that no attention reads")
            heads[op.inputs[0]] = heads[op.result]
    return heads
