"""The operators that become kernels: the nodes of the graph, with neighbours fused.

Fusing saves a walk over memory and nothing else: what was fused appears in the account under the
linear operator that absorbed it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True)
class Operator:
    """One operator: `name` is its node in the graph, `result` the value it computes.

    The result carries the name of the last node that was fused into the operator. A linear
    operator applies `activation` to its sums, then adds the value named by `residual`.
    """

    name: str
    kind: str
    layer: int | None
    inputs: tuple[str, ...]
    weights: dict[str, str]
    attrs: dict[str, Any]
    result: str
    activation: str | None = None
    residual: str | None = field(default=None)

    @property
    def reads(self) -> tuple[str, ...]:
        """All values the operator reads."""
        return (*self.inputs, *([self.residual] if self.residual else []))


def operators_of(graph: networkx.DiGraph[str]) -> list[Operator]:
    """The nodes of a model graph in forward order, nothing fused."""
    return [
        Operator(
            name=name,
            kind=node["op"],
            layer=node["layer"],
            inputs=tuple(node["inputs"]),
            weights=dict(node["weights"]),
            attrs=dict(node["attrs"]),
            result=name,
        )
        for name, node in graph.nodes(data=True)
    ]


def fuse_activations(operators: list[Operator]) -> list[Operator]:
    """Let a linear operator apply the GELU that is the only reader of its result."""

    def absorb(linear: Operator, user: Operator) -> Operator | None:
        if user.kind != "gelu" or linear.activation or linear.residual:
            return None
        return replace(linear, activation=user.attrs["kind"], result=user.result)

    return _fuse(operators, absorb)


def fuse_residuals(operators: list[Operator]) -> list[Operator]:
    """Let a linear operator add the residual, if it alone feeds the addition."""

    def absorb(linear: Operator, user: Operator) -> Operator | None:
        if user.kind != "add" or linear.residual:
            return None
        first, second = user.inputs
        other = first if second == linear.result else second
        before = {op.result for op in operators[: operators.index(linear)]}
        if other == linear.result or other not in before:
            return None
        return replace(linear, residual=other, result=user.result)

    return _fuse(operators, absorb)


def _fuse(operators: list[Operator], absorb: Any) -> list[Operator]:
    """Replace pairs of a linear operator and its only reader where `absorb` gives a fused one."""
    readers = Counter(value for op in operators for value in op.reads)
    user_of = {value: op for op in operators for value in op.inputs}
    gone: set[str] = set()
    fused = []
    for op in operators:
        if op.name in gone:
            continue
        if op.kind == "linear" and readers[op.result] == 1:
            user = user_of.get(op.result)
            together = absorb(op, user) if user else None
            if user and together:
                gone.add(user.name)
                op = together
        fused.append(op)
    return fused
