"""Lowering: from a model's dataflow graph to a program of the tile CPU, in small passes.

Read in this order: `operators` (fusing), `values` (how activations are stored), `partition`
(cutting operators into pieces for several cores), `packing`, `control`, `placement`, `hazards` and
`schedule` (which core does what, in which order), `emit`, then `lowered` (what the host does) and
`image` (the cached weights). The kernels are in `workloads.kernels`.
"""

from __future__ import annotations

from dataclasses import replace

from isa.errors import UserError
from isa.memory import MemoryMap
from isa.target import Target
from workloads.config import ModelConfig
from workloads.graph import build_graph
from workloads.kernels.attention_units import AttentionShape
from workloads.kernels.kv_append import CacheShape
from workloads.kernels.tiling import choose_tiling
from workloads.lowering.control import Team, layout_control
from workloads.lowering.emit import Emitter, RegionInfo, regions_of
from workloads.lowering.lowered import Lowered
from workloads.lowering.operators import fuse_activations, fuse_residuals, operators_of
from workloads.lowering.partition import Partition, check_partition
from workloads.lowering.placement import (
    place_activations,
    place_caches,
    place_constants,
    place_partial_results,
    place_records,
    place_scratch,
    place_weights,
)
from workloads.lowering.schedule import make_plan
from workloads.lowering.values import stored_values
from workloads.weights.source import WeightSource

__all__ = ["Lowered", "RegionInfo", "lower"]

PROMPT_ROWS = 512  # of a prefill, unless more are asked for
# Arg-max keeps indices in f32.
LARGEST_VOCABULARY = 2**24
# What the immediates of `ld` and `li` reach.
MOST_CONTROL_BYTES = 2**31
MOST_MEMORY_BYTES = 2**47


def lower(
    source: WeightSource,
    target: Target,
    *,
    batch: int = 1,
    context: int | None = None,
    prompt_rows_max: int | None = None,
    dtype: str = "f32",
    attention: str = "online",
    values: bool = True,
    partition: str = "auto",
) -> Lowered:
    """Lower a model to programs for `target`.

    Args:
        batch: sequences that run together, at least 1.
        context: positions the caches have room for, per sequence; default the model's.
        prompt_rows_max: prompt tokens of all sequences in one prefill; default 512, or the
            whole context of every sequence where that is less.
        dtype: `f32` or `bf16`: how weights, activations and caches are stored.
        attention: `online` or `naive`.
        values: whether memory will be filled; no weights are read here either way, and without
            values never.
        partition: how operators are cut into pieces for several cores, one of
            `workloads.lowering.partition.PARTITIONS`; no matter for one core.

    The program depends on the model, the target, the batch, the dtype and the kind of attention;
    `context` and `prompt_rows_max` change addresses in it, not its length.

    Raises:
        UserError: an option that cannot be, or a target without the tiles or types it takes.
    """
    config = source.config
    context = config.context if context is None else context
    if prompt_rows_max is None:
        prompt_rows_max = min(PROMPT_ROWS, context) * batch
    _check(batch, context, prompt_rows_max, config.context, config.vocab, attention)
    check_partition(partition, attention)
    tiling = choose_tiling(target, dtype)
    operators = fuse_residuals(fuse_activations(operators_of(build_graph(config))))
    stored = stored_values(operators, tiling)
    cut = Partition(operators, stored, tiling, batch, target.cores, partition, target.core_speeds)
    control = layout_control(tiling, batch, prompt_rows_max, _teams(cut, config))
    cache = CacheShape(
        config.kv_heads, tiling.whole_blocks(config.head_dim), -(-context // tiling.n_cols)
    )
    shapes = [
        AttentionShape(space, config.heads, config.head_dim, cache)
        for space in (control.prompt, control.step)
    ]
    placement = place_weights(operators, stored, config, tiling, cut.weight_cuts())
    place_constants(placement, config, tiling, context, batch)
    place_caches(placement, config, cache, tiling, batch)
    place_activations(placement, operators, stored, control, tiling)
    place_scratch(placement, shapes, control, config.vocab, tiling, attention, target.cores)
    if "step" in control.divisions and control.divisions["step"].team.key_parts:
        shape = replace(shapes[1], dealt=control.divisions["step"].dealt[0])
        place_records(placement, shape, batch, tiling)
    if partition == "k" and target.cores > 1:
        place_partial_results(placement, operators, stored, control, tiling, target.cores)
    placement.memory.control_bytes = control.control_bytes
    _check_addresses(placement.memory, batch)
    plan = make_plan(cut, placement)
    emitters = [
        Emitter(operators, cut, placement, control, cache, attention, plan, core)
        for core in range(target.cores)
    ]
    return Lowered(
        programs=[emitter.program(config.name, target) for emitter in emitters],
        plan=plan,
        memory=placement.memory,
        control=control,
        regions=regions_of(operators),
        config=config,
        target=target,
        tiling=tiling,
        placement=placement,
        source=source,
        batch=batch,
        context=context,
        prompt_rows_max=prompt_rows_max,
        attention=attention,
        values=values,
    )


def _teams(cut: Partition, config: ModelConfig) -> dict[str, Team]:
    """Over whom the spaces are divided; one core needs no tables for that."""
    if cut.cores == 1:
        return {}
    return {
        space: Team(
            cut.cores,
            cut.row_parts(space),
            config.heads,
            config.kv_heads,
            cut.key_parts(space),
            -(-(config.heads // config.kv_heads) // cut.tiling.rows),
            cut.speeds,
        )
        for space in ("prompt", "step")
    }


def _check(
    batch: int, context: int, prompt_rows_max: int, longest: int, vocab: int, attention: str
) -> None:
    if batch < 1:
        raise UserError(f"a batch of {batch} sequences; it needs at least 1")
    if not 1 <= context <= longest:
        raise UserError(f"a context of {context} tokens; this model allows 1 to {longest}")
    if prompt_rows_max < 1:
        raise UserError(f"prompts of {prompt_rows_max} tokens; they need at least 1")
    if attention not in ("online", "naive"):
        raise UserError(f"unknown kind of attention {attention!r}; use online or naive")
    if vocab > LARGEST_VOCABULARY:
        raise UserError(f"a vocabulary of {vocab} tokens; at most {LARGEST_VOCABULARY} can be told "
                        "apart in f32")  # fmt: skip


def _check_addresses(memory: MemoryMap, batch: int) -> None:
    if memory.control_bytes > MOST_CONTROL_BYTES or memory.total_bytes > MOST_MEMORY_BYTES:
        raise UserError(
            f"{batch} sequences take {memory.total_bytes / 1e9:.0f} GB of simulated memory and "
            f"{memory.control_bytes / 1e9:.0f} GB of control segment; programs can address "
            f"{MOST_MEMORY_BYTES / 1e9:.0f} GB and {MOST_CONTROL_BYTES / 1e9:.0f} GB: "
            "use a smaller batch"
        )
