"""From placed operators to one program: a region and a call per operator.

    prefill:  embed, layers, select_last, then jump to head
    decode:   embed, layers
    head:     final norm, logits, arg-max; halt
    kernels

Both entries end in the same head: `select_last` puts the last row of every sequence where a
decode step has its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from isa.builder import Builder
from isa.errors import InternalError
from isa.program import Program
from isa.target import Target
from workloads.kernels.argmax import Argmax
from workloads.kernels.attention_naive import NaiveAttention
from workloads.kernels.attention_online import OnlineAttention
from workloads.kernels.attention_units import AttentionShape
from workloads.kernels.elementwise import Elementwise, Operation
from workloads.kernels.embed import Embed
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.kv_append import CacheShape, KvAppend
from workloads.kernels.linear import Linear
from workloads.kernels.linear_shape import LinearShape
from workloads.kernels.norm import Norm
from workloads.kernels.rope import Rope
from workloads.kernels.select_last import SelectLast
from workloads.kernels.space import RowSpace
from workloads.kernels.tiling import Tiling
from workloads.lowering.control import ControlLayout
from workloads.lowering.operators import Operator
from workloads.lowering.packing import Matrix, Table
from workloads.lowering.placement import Placement, logits_of
from workloads.lowering.values import Value

CONSTANTS = ("iota", "softmax_start", "reduction", "partial_sums", "accumulators", "scores")


@dataclass(frozen=True)
class RegionInfo:
    """An entry of the account: what the cycles of region `id` were spent on."""

    id: int
    name: str
    kind: str
    layer: int | None


def regions_of(operators: list[Operator]) -> list[RegionInfo]:
    """One region per operator, numbered from 1; region 0 is everything outside of operators."""
    other = RegionInfo(0, "other", "other", None)
    return [
        other,
        *(RegionInfo(i, op.name, op.kind, op.layer) for i, op in enumerate(operators, start=1)),
    ]


@dataclass
class Emitter:
    """Writes the program of a model for one core."""

    operators: list[Operator]
    values: dict[str, Value]
    placement: Placement
    control: ControlLayout
    tiling: Tiling
    cache: CacheShape
    attention: str
    kit: Kit = field(init=False)

    def program(self, name: str, target: Target) -> Program:
        """Emit everything and return the program."""
        memory = self.placement.memory
        addresses = {name: memory[name].address for name in CONSTANTS if name in memory}
        b = Builder(name, target)
        self.kit = Kit(b, self.tiling, addresses)
        select = next(i for i, op in enumerate(self.operators) if op.kind == "select_last")
        body = list(enumerate(self.operators, start=1))
        head = b.new_label("head")
        b.label("prefill")
        self.kit.load_constants()
        for number, op in body[: select + 1]:
            self._operator(number, op, self.control.prompt)
        b.j(head)
        b.label("decode")
        self.kit.load_constants()
        for number, op in body[:select]:
            self._operator(number, op, self.control.step)
        b.place(head)
        for number, op in body[select + 1 :]:
            self._operator(number, op, self.control.step)
        b.region(0)
        b.halt()
        self.kit.emit_kernels()
        return b.build()

    def _operator(self, number: int, op: Operator, space: RowSpace) -> None:
        emit = getattr(self, f"_{op.kind}", None)
        if emit is None:
            raise InternalError(f"no kernel for operator {op.name} of kind {op.kind!r}")
        self.kit.b.region(number, op.name)
        kernel, addresses = emit(op, space)
        self.kit.call(kernel, **addresses)

    # Addresses

    def _at(self, value: str, space: RowSpace) -> int:
        """Address of an activation."""
        return self.placement.activations[space.name][value]

    def _tensor(self, name: str) -> int:
        return self.placement.memory[name].address

    def _vector(self, op: Operator, role: str) -> dict[str, int]:
        """Address of a vector weight, empty where the operator has none in that role."""
        if role not in op.weights:
            return {}
        return {role: self._tensor(f"vector.{op.weights[role]}")}

    # One method per kind of operator: its kernel and the addresses of this call

    def _embed(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        weights = self.placement.weights
        table = weights[f"table.{op.weights['table']}"]
        assert isinstance(table, Table)
        decode = space.single_row_jobs
        addresses = {"table": self._tensor("feedback" if decode else table.name)}
        addresses["result"] = self._at(op.result, space)
        if "position" in op.weights:
            addresses["positions"] = self._tensor(f"table.{op.weights['position']}")
        stride = table.row_bytes(self.tiling)
        return Embed(space, table.width, stride, "position" in op.weights), addresses

    def _norm(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        shift = {"shift": self._vector(op, "bias")["bias"]} if op.kind == "layernorm" else {}
        kernel = Norm(space, op.attrs["d"], op.attrs["eps"], centred=op.kind == "layernorm")
        source, result = self._at(op.inputs[0], space), self._at(op.result, space)
        return kernel, {"source": source, "result": result, **self._vector(op, "scale"), **shift}

    _rmsnorm = _layernorm = _norm

    def _linear(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        is_logits = op.result == logits_of(self.operators)
        matrix = self.placement.weights[f"weight.{op.weights['weight']}"]
        assert isinstance(matrix, Matrix)
        shape = LinearShape(
            space,
            n=matrix.result.width,
            k=matrix.source.width,
            bias="bias" in op.weights,
            activation=op.activation,
            residual=op.residual is not None,
            f32_result=is_logits and self.kit.bf16,
        )
        addresses = {"source": self._at(op.inputs[0], space), "weight": self._tensor(matrix.name)}
        addresses["result"] = self._tensor("logits") if is_logits else self._at(op.result, space)
        addresses.update(self._vector(op, "bias"))
        if op.residual is not None:
            addresses["residual"] = self._at(op.residual, space)
        return Linear(shape), addresses

    def _rope(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        value = self.values[op.result]
        if self._at(op.inputs[0], space) != self._at(op.result, space):
            raise InternalError(f"{op.name} cannot turn in place: its input is read again")
        kernel = Rope(space, value.heads, value.width // value.heads)
        tables = {name: self._tensor(name) for name in ("cosines", "sines")}
        return kernel, {"values": self._at(op.result, space), **tables}

    def _kv_append(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        keys, values = (self._at(name, space) for name in op.inputs)
        caches = {
            "key_cache": self._tensor(f"layer{op.layer}.keys"),
            "value_cache": self._tensor(f"layer{op.layer}.values"),
        }
        return KvAppend(space, self.cache), {"keys": keys, "values": values, **caches}

    def _attention(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        shape = AttentionShape(space, op.attrs["heads"], op.attrs["head_dim"], self.cache)
        kernel = NaiveAttention(shape) if self.attention == "naive" else OnlineAttention(shape)
        return kernel, {
            "query": self._at(op.inputs[0], space),
            "keys": self._tensor(f"layer{op.layer}.keys"),
            "values": self._tensor(f"layer{op.layer}.values"),
            "result": self._at(op.result, space),
        }

    def _silu_mul(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        return self._elementwise(op, space, "silu_mul")

    def _gelu(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        return self._elementwise(op, space, op.attrs["kind"])

    def _add(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        return self._elementwise(op, space, "add")

    def _elementwise(
        self, op: Operator, space: RowSpace, operation: Operation
    ) -> tuple[Kernel, dict[str, int]]:
        sources = dict(zip(("first", "second"), op.inputs, strict=False))
        addresses = {name: self._at(value, space) for name, value in sources.items()}
        addresses["result"] = self._at(op.result, space)
        return Elementwise(space, self.values[op.result].width, operation), addresses

    def _select_last(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        step = self.control.step
        kernel = SelectLast(space, step, op.attrs["d"], self.control.batch, self.control.select)
        source, result = self._at(op.inputs[0], space), self._at(op.result, step)
        return kernel, {"source": source, "result": result}

    def _argmax(self, op: Operator, space: RowSpace) -> tuple[Kernel, dict[str, int]]:
        logits, result = self._tensor("logits"), self._tensor("next_token")
        return Argmax(space, op.attrs["n"]), {"logits": logits, "result": result}
