"""A model on several cores: the same bits, no races, a fair share for everyone."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isa import Target, UserError
from tests.lowering.runner import GPT2, LLAMA, prompt
from tests.lowering.together import Race, Together
from workloads.catalogue import entries
from workloads.config import ModelConfig
from workloads.lowering import lower
from workloads.lowering.control import deal, share_of
from workloads.lowering.partition import PARTITIONS, cut
from workloads.weights.random import RandomWeights

MODELS = {
    "odd-llama": LLAMA,
    "odd-gpt2": GPT2,
    **{name: entries()[name].config for name in ("toy-llama", "toy-gpt2")},
}
AMX, NEON = Target(8, 16, 64), Target(8, 4, 16)
BATCHES = {1: (17,), 3: (1, 33, 5)}


def logits(config: ModelConfig, target: Target, lengths: tuple[int, ...], **options: Any) -> Any:
    """Logits and tokens of a prefill and three decode steps, cores in both orders."""
    together = Together(config, target, batch=len(lengths), context=40, **options)
    sequences = [prompt(config, length, seed) for seed, length in enumerate(lengths)]
    steps = [together.prefill(sequences, order=-1)]
    steps += [together.decode(order) for order in (1, -1, 1)]
    return np.array(steps), together.lowered.next_tokens(together.mem)


@functools.cache
def of_one_core(
    config: ModelConfig, target: Target, lengths: tuple[int, ...], **options: Any
) -> Any:
    """`logits` that several tests compare with; a partition is no matter for one core."""
    return logits(config, target, lengths, **options)


FEW_OR_MANY = [3, pytest.param(8, marks=pytest.mark.slow)]


@pytest.mark.parametrize("model", ["odd-llama", "odd-gpt2"])
@pytest.mark.parametrize("cores", FEW_OR_MANY)
@pytest.mark.parametrize("partition", ["columns", "rows"])
def test_cores_change_no_bit(model: str, cores: int, partition: str) -> None:
    """And no two cores access the same bytes without an order."""
    config, lengths = MODELS[model], BATCHES[3]
    alone, tokens = of_one_core(config, AMX, lengths, dtype="bf16")
    shared, shared_tokens = logits(
        config, replace(AMX, cores=cores), lengths, watched=True, dtype="bf16", partition=partition
    )
    np.testing.assert_array_equal(shared, alone)
    assert shared_tokens == tokens


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("attention", ["online", "naive"])
@pytest.mark.parametrize(("dtype", "target"), [("f32", NEON), ("bf16", AMX)])
def test_cores_change_no_bit_anywhere(
    model: str, attention: str, dtype: str, target: Target
) -> None:
    """As `auto` cuts; batches of one and three in turn."""
    options: dict[str, Any] = {"dtype": dtype, "attention": attention}
    alone = {
        batch: of_one_core(MODELS[model], target, lengths, **options)
        for batch, lengths in BATCHES.items()
    }
    for cores, batch in ((2, 3), (3, 1), (4, 3), (8, 1), (16, 3)):
        shared = logits(
            MODELS[model], replace(target, cores=cores), BATCHES[batch], watched=cores == 4,
            **options,
        )  # fmt: skip
        np.testing.assert_array_equal(shared[0], alone[batch][0])
        assert shared[1] == alone[batch][1]


@pytest.mark.parametrize(
    "length", [1, *(pytest.param(length, marks=pytest.mark.slow) for length in (5, 33))]
)
def test_prompts_of_any_length(length: int) -> None:
    """Fewer row blocks than cores leave cores without rows."""
    config = MODELS["odd-llama"]
    alone, _ = of_one_core(config, AMX, (length,))
    for cores in (3, 16):
        shared, _ = logits(config, replace(AMX, cores=cores), (length,), partition="rows")
        np.testing.assert_array_equal(shared, alone)


def test_more_sequences_than_rows_in_a_tile() -> None:
    """Then a decode step has several row blocks, which norms share."""
    target, lengths = Target(8, 4, 64), (2,) * 9
    alone, _ = logits(GPT2, target, lengths)
    shared, _ = logits(GPT2, replace(target, cores=2), lengths, watched=True)
    np.testing.assert_array_equal(shared, alone)


def test_a_missing_wait_is_a_race() -> None:
    """The detector sees what the schedule is for."""
    together = Together(LLAMA, replace(AMX, cores=2), watched=True, context=24)
    core = together.cores[1]
    waits = [pc for pc, (function, _) in enumerate(core._code) if function.__name__ == "wait"]
    no_wait = core._code[waits[0] - 1]  # loads the count instead, a second time
    core._code[waits[0]] = no_wait
    with pytest.raises(Race):
        together.prefill([prompt(LLAMA, 19)], order=-1)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_one_core_knows_nothing_of_others(partition: str) -> None:
    source = RandomWeights(LLAMA)
    program = lower(source, AMX, partition=partition).programs[0]
    np.testing.assert_array_equal(program.words, lower(source, AMX).programs[0].words)
    assert not {"signal", "wait"} & {instr.mnemonic for instr in program.decoded()}


def test_programs_do_not_depend_on_prompt_and_context() -> None:
    sizes = {
        tuple(len(program) for program in lowered.programs)
        for n, rows in ((1, 1), (17, 17), (64, 512))
        for lowered in [lower(RandomWeights(LLAMA), Target(8, 16, 64, 3), context=n,
                              prompt_rows_max=rows)]
    }  # fmt: skip
    assert len(sizes) == 1


def test_regions_have_the_same_numbers_on_all_cores() -> None:
    lowered = lower(RandomWeights(GPT2), Target(8, 16, 64, 4))
    names = {region.id: region.name for region in lowered.regions}
    for program in lowered.programs:
        assert program.regions.items() <= names.items()


def test_signals_are_few() -> None:
    """Per layer and core at most one wait per other core and hand-over of data."""
    cores = 4
    sizes = []
    for layers in (1, 2):
        config = replace(GPT2, layers=layers)
        programs = lower(RandomWeights(config), Target(8, 16, 64, cores)).programs
        sizes.append([sum(i.mnemonic == "wait" for i in program.decoded()) for program in programs])
    # prefill and decode: norm, q k v, append, attention, output, norm, up, down
    assert all(two - one <= 2 * 8 * (cores - 1) for one, two in zip(*sizes, strict=True))


def test_cut_and_share_are_even() -> None:
    for count in range(1, 40):
        for parts in range(1, 20):
            spans = cut(count, parts)
            assert [end for _, end in spans[:-1]] == [first for first, _ in spans[1:]]
            assert (spans[0][0], spans[-1][1]) == (0, count)
            sizes = {end - first for first, end in spans}
            assert min(sizes) > 0
            assert max(sizes) - min(sizes) <= 1
            shares = [share_of(count, part, parts) for part in range(parts)]
            assert [block for share in shares for block in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_causal_triangle_is_dealt_evenly() -> None:
    """16 row blocks of 12 heads, the last 16 times as much work as the first."""
    costs = [block + 1 for block in range(16) for _ in range(12)]
    piles = deal(costs, 8)
    assert sorted(number for pile in piles for number in pile) == list(range(len(costs)))
    loads = [sum(costs[number] for number in pile) for pile in piles]
    assert max(loads) <= 1.01 * sum(costs) / 8


@pytest.mark.parametrize("model", ["odd-llama", "odd-gpt2"])
@pytest.mark.parametrize("cores", FEW_OR_MANY)
@pytest.mark.parametrize("partition", ["k", "keys"])
def test_cut_sums_differ_by_rounding(model: str, cores: int, partition: str) -> None:
    """f32: sums of at most 130 terms in another order, through two layers: a few 2^-24 each."""
    config = MODELS[model]
    alone, tokens = of_one_core(config, AMX, (17,))
    shared, shared_tokens = logits(
        config, replace(AMX, cores=cores), (17,), partition=partition, watched=True
    )
    np.testing.assert_allclose(shared, alone, rtol=0, atol=64 * 2**-24 * np.abs(alone).max())
    assert shared_tokens == tokens


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("target", [AMX, NEON, Target(8, 4, 64)], ids=["16x64", "4x16", "4x64"])
@pytest.mark.parametrize("batch", BATCHES)
def test_cut_keys_in_bf16(model: str, target: Target, batch: int) -> None:
    """A part rounds its weights relative to its own maximum: by a unit of bf16, 2^-8, or less."""
    config, lengths = MODELS[model], BATCHES[batch]
    alone, _ = of_one_core(config, target, lengths, dtype="bf16")
    shared, _ = logits(
        config, replace(target, cores=4), lengths, watched=True, dtype="bf16", partition="keys"
    )
    np.testing.assert_allclose(shared, alone, rtol=0, atol=4 * 2**-8 * np.abs(alone).max())


def test_partitions_that_cannot_be() -> None:
    narrow = replace(GPT2, d_model=16, heads=1, kv_heads=1, head_dim=16)
    with pytest.raises(UserError, match=r"layer0.q_proj adds up 1 block .* use columns"):
        lower(RandomWeights(narrow), Target(8, 16, 64, 2), partition="k")
    with pytest.raises(UserError, match="keys needs online attention"):
        lower(RandomWeights(GPT2), AMX, partition="keys", attention="naive")


def test_unknown_partition() -> None:
    with pytest.raises(
        UserError, match=r"unknown partition 'cols'.* use auto, columns, rows, k, keys"
    ):
        lower(RandomWeights(LLAMA), AMX, partition="cols")


BIG_LITTLE = (1.0, 0.25, 0.5)


@pytest.mark.parametrize(
    "partition", ["auto", pytest.param("columns", marks=pytest.mark.slow), "keys"]
)
def test_cores_of_unequal_speed_change_no_bit(partition: str) -> None:
    """Keys are added up in other parts, but in parts that do not depend on speeds."""
    equal, _ = logits(LLAMA, replace(AMX, cores=3), BATCHES[3], dtype="bf16", partition=partition)
    speeds = replace(AMX, cores=3, core_speeds=BIG_LITTLE)
    unequal, _ = logits(LLAMA, speeds, BATCHES[3], watched=True, dtype="bf16", partition=partition)
    np.testing.assert_array_equal(unequal, equal)


def test_little_cores_get_less() -> None:
    assert cut(28, 3, BIG_LITTLE) == [(0, 16), (16, 20), (20, 28)]
    assert cut(2, 3, (1.0, 0.1, 1.0)) == [(0, 1), (1, 2)]  # none is empty
    piles = deal([4] * 14, 3, BIG_LITTLE)
    assert [len(pile) for pile in piles] == [8, 2, 4]
    assert deal([1], 2, (0.5, 1.0)) == [[], [0]]


def test_a_little_core_s_pieces_end_with_those_of_a_big_one() -> None:
    config = entries()["smollm2"].config
    target = replace(NEON, cores=2, core_speeds=(1.0, 0.25))
    plan = lower(RandomWeights(config, 0), target, values=False).plan
    for operator in {t.piece.operator for t in plan.decode.tasks if t.piece.columns}:
        tasks = [[t for t in lane if t.piece.operator == operator] for lane in plan.decode.lanes]
        if all(tasks):
            big, little = (sum(t.piece.cost for t in lane) for lane in tasks)
            assert little <= big / 2
    ends = [lane[-1].end for lane in plan.decode.lanes]
    assert min(ends) > 0.9 * max(ends)
