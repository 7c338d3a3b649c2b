"""From placed operators to a program per core: a region and calls per piece of an operator.

    prefill:  embed, layers, select_last, then jump to head
    decode:   embed, layers
    head:     final norm, logits, arg-max; halt
    kernels

Both entries end in the same head: `select_last` puts the last row of every sequence where a
decode step has its rows. Several cores meet before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from isa.builder import ZERO, Builder
from isa.errors import InternalError
from isa.program import Program
from isa.target import Target
from workloads.kernels.argmax import Argmax
from workloads.kernels.attention_keys import CombineKeys
from workloads.kernels.attention_naive import NaiveAttention
from workloads.kernels.attention_online import OnlineAttention
from workloads.kernels.attention_units import AttentionShape
from workloads.kernels.combine import Combine
from workloads.kernels.elementwise import Elementwise, Operation
from workloads.kernels.embed import Embed
from workloads.kernels.kit import Address, Kernel, Kit, SharedRows
from workloads.kernels.kv_append import CacheShape, KvAppend
from workloads.kernels.linear import Linear
from workloads.kernels.linear_shape import LinearShape
from workloads.kernels.norm import Norm
from workloads.kernels.rope import Rope
from workloads.kernels.select_last import SelectLast
from workloads.kernels.space import RowSpace
from workloads.lowering.control import ControlLayout
from workloads.lowering.operators import Operator
from workloads.lowering.packing import Matrix, Table
from workloads.lowering.partition import Partition, Piece, Span
from workloads.lowering.placement import Placement, logits_of, of_core
from workloads.lowering.schedule import Plan, Schedule
from workloads.lowering.values import Value

# Tensors that kernels know by name: some are the core's own, all cores have the others.
SHARED = ("iota", "softmax_start", "scores", "records")
OWN_SCRATCH = ("reduction", "partial_sums", "accumulators")

Call = tuple[Kernel, dict[str, Address]]
Emit = Callable[[Operator, RowSpace, Span | None], Call]


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
    """Writes the program of one core: its tasks of the three schedules."""

    operators: list[Operator]
    partition: Partition
    placement: Placement
    control: ControlLayout
    cache: CacheShape
    attention: str
    plan: Plan
    core: int
    kit: Kit = field(init=False)

    def __post_init__(self) -> None:
        self.values, self.tiling = self.partition.values, self.partition.tiling

    def program(self, name: str, target: Target) -> Program:
        """Emit everything and return the program."""
        memory = self.placement.memory
        own = {name: of_core(name, self.core) for name in OWN_SCRATCH}
        tensors = {**{name: name for name in SHARED}, **own}
        addresses = {
            name: memory[tensor].address for name, tensor in tensors.items() if tensor in memory
        }
        b = Builder(name, target)
        self.kit = Kit(b, self.tiling, addresses, first_row=self.core / target.cores)
        head = b.new_label("head")
        b.label("prefill")
        self.kit.load_constants()
        self._tasks(self.plan.prefill)
        b.j(head)
        b.label("decode")
        self.kit.load_constants()
        self._tasks(self.plan.decode)
        b.place(head)
        self._meet()
        self._tasks(self.plan.head, first_counter=target.cores)
        b.region(0)
        b.halt()
        self.kit.emit_kernels()
        return b.build()

    def _tasks(self, schedule: Schedule, first_counter: int = 0) -> None:
        """Emit the core's tasks; counter `first_counter` + c belongs to core c."""
        b = self.kit.b
        for task in schedule.lanes[self.core]:
            op = self.operators[task.piece.operator]
            b.region(task.piece.operator + 1, op.name)
            for core, count in task.waits:
                self._wait(first_counter + core, count)
            self._piece(op, task.piece)
            if task.signal is not None:
                b.signal(first_counter + self.core)

    def _meet(self) -> None:
        """Wait for all cores: what the head needs depends on where they come from."""
        cores = self.partition.cores
        if cores > 1:
            b, counter = self.kit.b, 2 * cores
            first = self.plan.head.lanes[self.core]
            operator = first[0].piece.operator if first else len(self.operators) - 1
            b.region(operator + 1, self.operators[operator].name)
            b.signal(counter)
            self._wait(counter, cores)

    def _wait(self, counter: int, count: int) -> None:
        with self.kit.b.scratch("count") as (number,):
            self.kit.b.li(number, count)
            self.kit.b.wait(counter, number)

    def _piece(self, op: Operator, piece: Piece) -> None:
        """Emit the calls of a piece; a share without rows is left out when the program runs."""
        b, space = self.kit.b, self._space(piece)
        if space.first is None:
            self._calls(op, space, piece)
            return
        done = b.new_label("no_rows")
        with b.scratch("blocks") as (blocks,):
            b.ld(blocks, space.blocks, ZERO)
            b.beq(blocks, ZERO, done)
        self._calls(op, space, piece)
        b.place(done)

    def _calls(self, op: Operator, space: RowSpace, piece: Piece) -> None:
        if piece.jobs:
            self._combine_keys(op, space, *piece.jobs)
            return
        if piece.depth or piece.combine:
            emit_part = self._partial_linear if piece.depth else self._combine
            kernel, addresses = emit_part(op, space, piece)
            self.kit.call(kernel, **addresses)
            return
        emit: Emit | None = getattr(self, f"_{op.kind}", None)
        if emit is None:
            raise InternalError(f"no kernel for operator {op.name} of kind {op.kind!r}")
        for columns in self._cuts(op, piece):
            kernel, addresses = emit(op, space, columns)
            self.kit.call(kernel, **addresses)

    def _cuts(self, op: Operator, piece: Piece) -> list[Span | None]:
        """The columns of each call: of a linear operator, what is packed together."""
        if op.kind != "linear":
            return [piece.columns]
        first, end = piece.columns or (0, 1 << 62)
        return [cut for cut in self.partition.linear_columns(op) if first <= cut[0] < end]

    def _space(self, piece: Piece) -> RowSpace:
        if piece.share:
            part, parts = piece.share
            return self.control.divisions[piece.space].shares[parts][part]
        return self.control.prompt if piece.space == "prompt" else self.control.step

    # Addresses

    def _at(self, value: str, space: RowSpace, columns: Span | None = None) -> Address:
        """Address of an activation: of the space's first row block, from a storage block on."""
        t = self.tiling
        if value == logits_of(self.operators):
            base, width, nbytes = self._tensor("logits"), self.values[value].width, 4
        else:
            whole = self.control.step if space.single_row_jobs else self.control.prompt
            base = self.placement.activations[whole.name][value]
            width, nbytes = self.values[value].width, t.element_bytes
        base += columns[0] * space.block_rows * t.row_bytes if columns else 0
        if space.first is None:
            return base
        row_block_bytes = t.activation_row_bytes(width, space.block_rows, nbytes)
        return SharedRows(base, row_block_bytes, space.first)

    def _tensor(self, name: str) -> int:
        return self.placement.memory[name].address

    def _vector(self, op: Operator, role: str, first: int = 0) -> dict[str, Address]:
        """Address of a vector weight from an element on, empty where the operator has none."""
        if role not in op.weights:
            return {}
        return {role: self._tensor(f"vector.{op.weights[role]}") + first * 4}

    def _width(self, op: Operator, columns: Span | None) -> tuple[int, int | None]:
        """Elements in some columns of a result, and in all if these are not all."""
        width = self.values[op.result].width
        if columns is None:
            return width, None
        per_block = self.partition.block_columns(op)
        part = min(columns[1] * per_block, width) - columns[0] * per_block
        return part, None if part == width else width

    def _heads(self, value: Value, columns: Span | None) -> tuple[int, int, int | None]:
        """First and number of the heads in some columns, and of all heads if these are not all."""
        if columns is None:
            return 0, value.heads, None
        per_head = value.width // value.heads // self.tiling.k_cols
        first, end = (column // per_head for column in columns)
        return first, end - first, None if end - first == value.heads else value.heads

    # One method per kind of operator: its kernel and the addresses of this call

    def _embed(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        weights = self.placement.weights
        table = weights[f"table.{op.weights['table']}"]
        assert isinstance(table, Table)
        decode = space.single_row_jobs
        addresses: dict[str, Address] = {}
        addresses["table"] = self._tensor("feedback" if decode else table.name)
        addresses["result"] = self._at(op.result, space)
        if "position" in op.weights:
            addresses["positions"] = self._tensor(f"table.{op.weights['position']}")
        stride = table.row_bytes(self.tiling)
        return Embed(space, table.width, stride, "position" in op.weights), addresses

    def _norm(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        shift = {"shift": self._vector(op, "bias")["bias"]} if op.kind == "layernorm" else {}
        kernel = Norm(space, op.attrs["d"], op.attrs["eps"], centred=op.kind == "layernorm")
        source, result = self._at(op.inputs[0], space), self._at(op.result, space)
        return kernel, {"source": source, "result": result, **self._vector(op, "scale"), **shift}

    _rmsnorm = _layernorm = _norm

    def _linear(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        matrix = self.placement.weights[f"weight.{op.weights['weight']}"]
        assert isinstance(matrix, Matrix)
        n, all_columns = self._width(op, columns)
        first = columns[0] * self.partition.block_columns(op) if columns else 0
        shape = LinearShape(
            space,
            n=n,
            k=matrix.source.width,
            bias="bias" in op.weights,
            activation=op.activation,
            residual=op.residual is not None,
            f32_result=op.result == logits_of(self.operators) and self.kit.bf16,
            all_columns=all_columns,
        )
        weight = self._tensor(matrix.name)
        weight += matrix.offset(first // self.tiling.n_cols, self.tiling)
        addresses = {
            "source": self._at(op.inputs[0], space),
            "weight": weight,
            "result": self._at(op.result, space, columns),
            **self._vector(op, "bias", first),
        }
        if op.residual is not None:
            addresses["residual"] = self._at(op.residual, space, columns)
        return Linear(shape), addresses

    def _partial_linear(self, op: Operator, space: RowSpace, piece: Piece) -> Call:
        matrix = self.placement.weights[f"weight.{op.weights['weight']}"]
        assert isinstance(matrix, Matrix)
        assert piece.depth
        first, end = piece.depth
        k, t = matrix.source.width, self.tiling
        depth = min(end * t.k_cols, k) - first * t.k_cols
        shape = LinearShape(
            space, n=matrix.result.width, k=depth, f32_result=self.kit.bf16, all_depth=k
        )
        return Linear(shape), {
            "source": self._at(op.inputs[0], space, piece.depth),
            "weight": self._tensor(matrix.name) + matrix.step_offset(first, t),
            "result": self._tensor(f"partial_result{piece.part}"),
        }

    def _combine(self, op: Operator, space: RowSpace, piece: Piece) -> Call:
        n, all_columns = self._width(op, piece.columns)
        first, per_block = piece.columns[0] if piece.columns else 0, self.tiling.k_cols
        partial = self.placement.memory["partial_result0"]
        kernel = Combine(
            space,
            n=n,
            parts=piece.combine,
            part_bytes=self._tensor("partial_result1") - partial.address,
            bias="bias" in op.weights,
            activation=op.activation,
            residual=op.residual is not None,
            all_columns=all_columns,
        )
        f32_blocks = first * self.tiling.halves
        addresses = {
            "partial": partial.address + f32_blocks * space.block_rows * self.tiling.row_bytes,
            "result": self._at(op.result, space, piece.columns),
            **self._vector(op, "bias", first * per_block),
        }
        if op.residual is not None:
            addresses["residual"] = self._at(op.residual, space, piece.columns)
        return kernel, addresses

    def _rope(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        value = self.values[op.result]
        if self._at(op.inputs[0], space) != self._at(op.result, space):
            raise InternalError(f"{op.name} cannot turn in place: its input is read again")
        _, heads, all_heads = self._heads(value, columns)
        kernel = Rope(space, heads, value.width // value.heads, all_heads)
        tables = {name: self._tensor(name) for name in ("cosines", "sines")}
        return kernel, {"values": self._at(op.result, space, columns), **tables}

    def _kv_append(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        keys, values = (self._at(name, space, columns) for name in op.inputs)
        first, heads, all_heads = self._heads(self.values[op.inputs[0]], columns)
        offset = first * self.cache.head_bytes(self.tiling)
        caches = {
            "key_cache": self._tensor(f"layer{op.layer}.keys") + offset,
            "value_cache": self._tensor(f"layer{op.layer}.values") + offset,
        }
        kernel = KvAppend(space, self.cache, heads if all_heads else None)
        return kernel, {"keys": keys, "values": values, **caches}

    def _attention(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        shape = self._attention_shape(op, space)
        kernel = NaiveAttention(shape) if self.attention == "naive" else OnlineAttention(shape)
        return kernel, {
            "query": self._at(op.inputs[0], space),
            "keys": self._tensor(f"layer{op.layer}.keys"),
            "values": self._tensor(f"layer{op.layer}.values"),
            "result": self._at(op.result, space),
        }

    def _attention_shape(self, op: Operator, space: RowSpace) -> AttentionShape:
        division = self.control.divisions.get(space.name)
        dealt = division.dealt[self.core] if division else None
        return AttentionShape(space, op.attrs["heads"], op.attrs["head_dim"], self.cache, dealt)

    def _combine_keys(self, op: Operator, space: RowSpace, first: int, end: int) -> None:
        """A call per job: what one sequence's row gets in the query heads of a key/value head."""
        shape, t = self._attention_shape(op, space), self.tiling
        per_job = shape.units(t) * shape.key_parts * shape.record_bytes(t)
        result = self.placement.activations["step"][op.result]
        row_block_bytes = shape.heads * shape.head_bytes(t)
        for job in range(first, end):
            slot, kv_head = divmod(job, self.cache.kv_heads)
            block, row = divmod(slot, space.block_rows)
            at = block * row_block_bytes + row * t.row_bytes
            at += kv_head * shape.group * shape.head_bytes(t)
            record = self._tensor("records") + job * per_job
            self.kit.call(CombineKeys(shape), record=record, result=result + at)

    def _silu_mul(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        return self._elementwise(op, space, columns, "silu_mul")

    def _gelu(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        return self._elementwise(op, space, columns, op.attrs["kind"])

    def _add(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        return self._elementwise(op, space, columns, "add")

    def _elementwise(
        self, op: Operator, space: RowSpace, columns: Span | None, operation: Operation
    ) -> Call:
        sources = dict(zip(("first", "second"), op.inputs, strict=False))
        addresses = {name: self._at(value, space, columns) for name, value in sources.items()}
        addresses["result"] = self._at(op.result, space, columns)
        n, all_columns = self._width(op, columns)
        return Elementwise(space, n, operation, all_columns), addresses

    def _select_last(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        step = self.control.step
        kernel = SelectLast(space, step, op.attrs["d"], self.control.batch, self.control.select)
        source, result = self._at(op.inputs[0], space), self._at(op.result, step)
        return kernel, {"source": source, "result": result}

    def _argmax(self, op: Operator, space: RowSpace, columns: Span | None) -> Call:
        logits, result = self._tensor("logits"), self._tensor("next_token")
        return Argmax(space, op.attrs["n"]), {"logits": logits, "result": result}
