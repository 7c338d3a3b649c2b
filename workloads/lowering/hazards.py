"""What pieces read and write, and which of them therefore must not run at the same time.

A region of memory is a buffer, some of its row blocks and some of its storage blocks. Buffers are
named by their addresses: two values may share one after another. Rows are divided when a program
runs, so two shares are known to be apart only if they are different parts of the same division.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from workloads.lowering.operators import Operator
from workloads.lowering.partition import Piece, Span
from workloads.lowering.placement import Placement, logits_of


@dataclass(frozen=True)
class Access:
    """A region and whether it is written; None stands for all rows or all columns."""

    buffer: int
    rows: Span | None
    columns: Span | None
    write: bool

    def conflicts(self, other: Access) -> bool:
        """Whether the order of two accesses matters."""
        if self.buffer != other.buffer or not (self.write or other.write):
            return False
        if self.rows and other.rows and self.rows[1] == other.rows[1] and self.rows != other.rows:
            return False
        if self.columns and other.columns:
            (first, end), (other_first, other_end) = self.columns, other.columns
            return first < other_end and other_first < end
        return True


@dataclass
class Accesses:
    """The accesses of pieces to what other pieces access, too."""

    operators: list[Operator]
    placement: Placement

    def of(self, piece: Piece) -> Iterator[Access]:
        """All accesses of a piece to activations, caches and results."""
        op, rows, columns = self.operators[piece.operator], piece.share, piece.columns
        if op.kind == "kv_append":
            for value, cache in zip(op.inputs, ("keys", "values"), strict=True):
                yield Access(self._value(value, piece.space), rows, columns, write=False)
                yield Access(self._tensor(f"layer{op.layer}.{cache}"), rows, columns, write=True)
            return
        if op.kind == "attention" and piece.combine:
            yield Access(self._tensor("records"), None, None, write=True)
            yield Access(self._value(op.result, piece.space), None, None, write=True)
            return
        if op.kind == "attention":
            if "records" in self.placement.memory and piece.space == "step":
                yield Access(self._tensor("records"), None, None, write=True)
            yield Access(self._value(op.inputs[0], piece.space), None, None, write=False)
            for cache in ("keys", "values"):
                yield Access(self._tensor(f"layer{op.layer}.{cache}"), None, None, write=False)
            yield Access(self._value(op.result, piece.space), None, None, write=True)
            return
        if piece.depth:
            yield Access(self._value(op.inputs[0], piece.space), rows, piece.depth, write=False)
            yield Access(self._tensor(f"partial_result{piece.part}"), None, None, write=True)
            return
        for part in range(piece.combine):
            yield Access(self._tensor(f"partial_result{part}"), None, None, write=False)
        for value in op.inputs:
            if value == "tokens" or piece.combine:
                continue
            elementwise = op.kind in ("silu_mul", "gelu", "add", "rope")
            read = columns if elementwise else None
            yield Access(self._value(value, piece.space), rows, read, write=False)
        if op.residual:
            yield Access(self._value(op.residual, piece.space), rows, columns, write=False)
        space = "step" if op.kind == "select_last" else piece.space
        yield Access(self._value(op.result, space), rows, columns, write=True)

    def _value(self, name: str, space: str) -> int:
        if name == logits_of(self.operators):
            return self._tensor("logits")
        if self.operators[-1].result == name:
            return self._tensor("next_token")
        return self.placement.activations[space][name]

    def _tensor(self, name: str) -> int:
        return self.placement.memory[name].address


@dataclass
class History:
    """The accesses so far, and which earlier pieces a new one must not run beside.

    Operators come one after another. One that writes a buffer writes all of it, so whatever came
    before in that buffer is ordered through its pieces and can be forgotten.
    """

    accesses: Accesses
    _last: dict[int, list[tuple[Access, Piece]]] = field(default_factory=dict)

    def before(self, piece: Piece) -> list[Piece]:
        """Earlier pieces of other operators that must be finished before `piece` begins."""
        earlier: dict[Piece, None] = {}
        for access in self.accesses.of(piece):
            for other, owner in self._last.get(access.buffer, ()):
                if access.conflicts(other):
                    earlier[owner] = None
        return list(earlier)

    def add(self, pieces: list[Piece]) -> None:
        """Note the accesses of all pieces of an operator."""
        new: dict[int, list[tuple[Access, Piece]]] = {}
        for piece in pieces:
            for access in self.accesses.of(piece):
                new.setdefault(access.buffer, []).append((access, piece))
        for buffer, entries in new.items():
            if any(access.write for access, _ in entries):
                self._last[buffer] = entries
            else:
                self._last.setdefault(buffer, []).extend(entries)
