"""Placing everything in simulated memory: weights, constants, caches, activations, scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from isa.memory import LINE_BYTES, PAGE_BYTES, MemoryMap, Tensor
from workloads.config import ModelConfig
from workloads.kernels.attention_naive import score_bytes
from workloads.kernels.attention_online import OTHER_TILES
from workloads.kernels.attention_units import AttentionShape
from workloads.kernels.kv_append import CacheShape
from workloads.kernels.linear_blocked import partial_sum_bytes
from workloads.kernels.space import RowSpace
from workloads.kernels.tiling import Tiling
from workloads.lowering.control import ControlLayout
from workloads.lowering.operators import Operator
from workloads.lowering.packing import Matrix, Packed, Table, Vector
from workloads.lowering.values import Value

Cuts = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass
class Placement:
    """Where everything lies. `activations[space name][value name]` are addresses."""

    memory: MemoryMap
    weights: dict[str, Packed]  # tensor name -> how it is packed
    activations: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def weight_range(self) -> tuple[int, int]:
        """First and last-plus-one address of the weights, which lie together."""
        tensors = [self.memory[name] for name in self.weights]
        return tensors[0].address, tensors[-1].end


def add(
    memory: MemoryMap,
    name: str,
    nbytes: int,
    dtype: str,
    shape: Iterable[int],
    layout: str = "row-major",
) -> Tensor:
    """Place a tensor: on its own pages, unless it is smaller than one.

    Small tensors follow each other line by line; if all began a page they would share a few sets
    of L1.
    """
    align = LINE_BYTES if nbytes < PAGE_BYTES else PAGE_BYTES
    return memory.add(name, nbytes, dtype, tuple(shape), align=align, layout=layout)


def place_weights(
    operators: list[Operator],
    values: dict[str, Value],
    config: ModelConfig,
    t: Tiling,
    cuts: Mapping[str, Cuts],
) -> Placement:
    """Place all weights in the order in which a forward pass reads them.

    `cuts`: name of a linear operator -> how its weight is cut: first tiles, first steps along K.
    """
    packed: dict[str, Packed] = {}

    def note(weight: Packed) -> None:
        packed.setdefault(weight.name, weight)

    shapes = config.weight_shapes()
    for op in operators:
        if op.kind == "embed":
            for canonical in op.weights.values():
                note(Table(canonical, *shapes[canonical]))
        elif op.kind == "linear":
            source = values[op.inputs[0]]
            note(Matrix(op.weights["weight"], values[op.result], source, *cuts[op.name]))
            if "bias" in op.weights:
                note(Vector(op.weights["bias"], values[op.result]))
        else:
            for canonical in op.weights.values():
                note(Vector(canonical, values[op.result]))
    memory = MemoryMap()
    for name, weight in packed.items():
        dtype = "f32" if isinstance(weight, Vector) else t.dtype
        layout = "panels of tiles" if isinstance(weight, Matrix) else "row-major"
        add(memory, name, weight.nbytes(t), dtype, shapes[weight.canonical], layout)
    return Placement(memory, packed)


def place_constants(
    placement: Placement, config: ModelConfig, t: Tiling, context: int, batch: int
) -> None:
    """Place the tables kernels read, and the feedback rows of decode."""
    memory = placement.memory
    if config.rope_base is not None:
        width = t.whole_blocks(config.head_dim)
        for name in ("cosines", "sines"):
            add(memory, name, context * width * 4, "f32", (context, width))
    add(memory, "iota", t.rows * t.row_bytes, "f32", (t.rows, t.f32_cols))
    add(memory, "softmax_start", 12, "f32", (3,))
    feedback = Table("feedback", batch, config.d_model)
    columns = feedback.row_bytes(t) // t.element_bytes
    add(memory, "feedback", feedback.nbytes(t), t.dtype, (batch, columns))


def place_caches(
    placement: Placement, config: ModelConfig, cache: CacheShape, t: Tiling, batch: int
) -> None:
    """Place one key and one value cache per layer."""
    blocks = cache.head_cols // t.k_cols
    shape = (batch, cache.kv_heads, cache.position_blocks, blocks, t.n_cols, t.k_cols)
    for layer in range(config.layers):
        for name in ("keys", "values"):
            nbytes = batch * cache.slot_bytes(t)
            add(placement.memory, f"layer{layer}.{name}", nbytes, t.dtype, shape, "blocks")


def place_activations(
    placement: Placement,
    operators: list[Operator],
    values: dict[str, Value],
    control: ControlLayout,
    t: Tiling,
) -> None:
    """Place the activations of both spaces; values that never live together share a buffer."""
    until_select = next(i for i, op in enumerate(operators) if op.kind == "select_last")
    own_tensor = {op.result for op in operators if op.kind == "argmax"} | {logits_of(operators)}
    for space, blocks, ops in (
        (control.prompt, control.prompt_blocks, operators[:until_select]),
        (control.step, control.step_blocks, operators),
    ):
        sizes = {
            name: blocks * t.activation_row_bytes(value.width, space.block_rows, t.element_bytes)
            for name, value in values.items()
            if name not in own_tensor
        }
        placement.activations[space.name] = _place_buffers(placement, space, ops, sizes, t)


def _place_buffers(
    placement: Placement, space: RowSpace, ops: list[Operator], sizes: dict[str, int], t: Tiling
) -> dict[str, int]:
    """Assign buffers in one pass over the operators, reusing those whose value is dead."""
    last_use = {name: index for index, op in enumerate(ops) for name in op.reads}
    buffers: list[int] = []  # bytes
    free: list[int] = []
    buffer_of: dict[str, int] = {}
    for index, op in enumerate(ops):
        replaced = _replaces(op)
        if op.result not in sizes:
            pass
        elif replaced and last_use[replaced] == index:
            buffer_of[op.result] = buffer_of[replaced]
        else:
            fitting = [number for number in free if buffers[number] == sizes[op.result]]
            if fitting:
                free.remove(fitting[0])
            else:
                buffers.append(sizes[op.result])
            buffer_of[op.result] = fitting[0] if fitting else len(buffers) - 1
        for name in dict.fromkeys(op.reads):
            dead = last_use[name] == index and name in buffer_of
            if dead and buffer_of[name] != buffer_of.get(op.result):
                free.append(buffer_of[name])
    addresses = [
        add(
            placement.memory,
            f"{space.name}.activation{number}",
            size,
            t.dtype,
            (size // t.element_bytes,),
            "blocks",
        ).address
        for number, size in enumerate(buffers)
    ]
    return {name: addresses[number] for name, number in buffer_of.items()}


def _replaces(op: Operator) -> str | None:
    """The value an operator may replace in place: each tile is read just before it is written."""
    if op.kind in ("rope", "select_last"):
        return op.inputs[0]
    return op.residual if op.residual not in op.inputs else None


def place_records(placement: Placement, shape: AttentionShape, jobs: int, t: Tiling) -> None:
    """Place the partial results of attention with cut keys."""
    records = jobs * shape.cache.kv_heads * shape.units(t) * shape.key_parts
    nbytes = records * shape.record_bytes(t)
    add(placement.memory, "records", nbytes, "f32", (nbytes // 4,), "blocks")


def place_partial_results(
    placement: Placement,
    operators: list[Operator],
    values: dict[str, Value],
    control: ControlLayout,
    t: Tiling,
    parts: int,
) -> None:
    """Place the f32 results of linear operators that are cut along K, one tensor per part."""
    logits = logits_of(operators)
    width = max(
        values[op.result].width for op in operators if op.kind == "linear" and op.result != logits
    )
    nbytes = max(
        blocks * t.activation_row_bytes(width, space.block_rows, 4)
        for space, blocks in (
            (control.prompt, control.prompt_blocks),
            (control.step, control.step_blocks),
        )
    )
    for part in range(parts):
        add(placement.memory, f"partial_result{part}", nbytes, "f32", (nbytes // 4,), "blocks")


def of_core(name: str, core: int) -> str:
    """The name of a core's own scratch tensor."""
    return f"{name}.core{core}" if core else name


def logits_of(operators: list[Operator]) -> str:
    """The name of the value arg-max reads."""
    return next(op.inputs[0] for op in reversed(operators) if op.kind == "argmax")


def place_scratch(
    placement: Placement,
    shapes: list[AttentionShape],
    control: ControlLayout,
    vocab: int,
    t: Tiling,
    attention: str,
    cores: int,
) -> None:
    """Place results and scratch tensors; `shapes` are those of attention in both spaces.

    Every core has its own scratch tensors, except for scores: cores use different parts of them.
    """
    memory, step, blocks = placement.memory, control.step, control.step_blocks
    # Arg-max reads whole tiles, of a single row even whole tiles of blocks.
    row_blocks = -(-vocab // t.f32_cols)
    lines = -(-row_blocks // t.rows) * t.rows if step.folded else row_blocks * step.block_rows
    shape = (blocks, lines // step.block_rows, step.block_rows, t.f32_cols)
    add(memory, "logits", blocks * lines * t.row_bytes, "f32", shape, "blocks")
    add(memory, "next_token", control.batch * 4, "f32", (control.batch,))
    sums = partial_sum_bytes(t, max(control.prompt_blocks, blocks))
    tiles = max(shape.cache.head_cols // t.n_cols for shape in shapes)
    for core in range(cores):
        add(memory, of_core("reduction", core), LINE_BYTES, "f32", (LINE_BYTES // 4,))
        add(memory, of_core("partial_sums", core), sums, "f32", (sums // 4,), "blocks")
        if tiles + OTHER_TILES > t.tiles:
            nbytes, shape_ = tiles * t.rows * t.row_bytes, (tiles, t.rows, t.f32_cols)
            add(memory, of_core("accumulators", core), nbytes, "f32", shape_, "blocks")
    if attention == "naive":
        jobs = {"prompt": control.prompt_blocks, "step": control.batch}
        nbytes = max(score_bytes(t, shape, jobs[shape.space.name]) for shape in shapes)
        add(memory, "scores", nbytes, "f32", (nbytes // 4,), "blocks")
