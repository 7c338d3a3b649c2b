"""What `lower` gives to the host: program, regions, control tables, memory, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isa import Target, UserError
from isa.interpreter import Interpreter
from tests.lowering.runner import GPT2, LLAMA, Session, prompt
from workloads.config import ModelConfig
from workloads.lowering import lower
from workloads.weights.random import RandomWeights

TARGET = Target(8, 16, 64)


class Unreadable(RandomWeights):
    """A source whose weights must not be touched."""

    def get(self, name: str) -> Any:
        raise AssertionError(f"{name} was read")


def test_program_size_is_independent_of_context_and_prompt(machine: Target, dtype: str) -> None:
    for config, attention in ((LLAMA, "online"), (GPT2, "naive")):
        options = {"dtype": dtype, "attention": attention}
        sizes = {
            len(
                lower(
                    RandomWeights(config), machine, context=n, prompt_rows_max=rows, **options
                ).programs[0]
            )
            for n, rows in ((1, 1), (16, 16), (17, 17), (64, 512))
        }
        assert len(sizes) == 1


def test_layers_share_kernels() -> None:
    """Another layer adds calls, not kernels: three to ten instructions per operator."""
    sizes = [
        len(lower(RandomWeights(replace(LLAMA, layers=layers)), TARGET).programs[0])
        for layers in (2, 3, 4)
    ]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]
    assert sizes[1] - sizes[0] < 2 * 15 * 8


def test_no_weight_is_read_without_values() -> None:
    source = Unreadable(LLAMA)
    lowered = lower(source, TARGET, context=16, values=False)
    control = lowered.memory.allocate_control()
    lowered.begin_prefill(control, [[1, 2, 3]])
    lowered.begin_decode(control, None, None)
    lowered.start_context(control, None, 7)
    lowered.begin_decode(control, None, None)
    assert lowered.lengths(control) == [8]


def test_values_change_nothing_in_program_and_memory() -> None:
    on, off = (lower(RandomWeights(LLAMA), TARGET, values=values) for values in (True, False))
    np.testing.assert_array_equal(on.programs[0].words, off.programs[0].words)
    assert on.memory.tensors == off.memory.tensors


def test_regions_name_every_operator_once() -> None:
    lowered = lower(RandomWeights(LLAMA), TARGET)
    assert [region.id for region in lowered.regions] == list(range(len(lowered.regions)))
    assert (lowered.regions[0].name, lowered.regions[0].layer) == ("other", None)
    names = [region.name for region in lowered.regions]
    assert len(set(names)) == len(names)
    by_name = {region.name: region for region in lowered.regions}
    assert by_name["layer1.q_proj"].kind == "linear"
    assert by_name["layer1.q_proj"].layer == 1
    assert by_name["argmax"].layer is None
    program = lowered.programs[0]
    assert {program.regions[r.id] for r in lowered.regions[1:]} == set(names[1:])


def test_residual_additions_and_gelu_are_fused() -> None:
    names = {region.name for region in lower(RandomWeights(GPT2), TARGET).regions}
    assert not any(name.endswith(("add", "gelu")) for name in names)


def test_control_segment_of_a_ragged_prefill() -> None:
    """Every sequence starts a row block; lengths, positions and jobs follow."""
    lowered = lower(RandomWeights(LLAMA), TARGET, batch=3, context=40)
    control = lowered.memory.allocate_control()
    lowered.begin_prefill(control, [[7] * 17, [8], [9] * 3], [0, 5, 0])
    offsets = lowered.control.offsets

    def words(name: str, count: int) -> list[int]:
        return [int(w) for w in control[offsets[name] // 8 :][:count]]

    assert words("prompt.blocks", 1) == [4]
    assert words("prompt.rows", 4) == [16, 1, 1, 3]
    assert words("prompt.tokens", 64)[::16] == [7, 7, 8, 9]
    assert words("prompt.positions", 33)[15:17] == [15, 16]
    assert words("prompt.positions", 33)[32] == 5
    block_row_rows_position_slot = np.reshape(words("prompt.jobs", 20), (4, 5)).tolist()
    assert block_row_rows_position_slot == [
        [0, 0, 16, 0, 0], [1, 0, 1, 16, 0], [2, 0, 1, 5, 1], [3, 0, 3, 0, 2],
    ]  # fmt: skip
    assert words("select", 12) == [1, 0, 0, 0, 2, 0, 0, 1, 3, 2, 0, 2]
    assert lowered.lengths(control) == [17, 6, 3]
    lowered.begin_decode(control, None, None)
    assert words("step.positions", 3) == [17, 6, 3]
    assert words("step.jobs", 5) == [0, 0, 1, 17, 0]
    assert lowered.lengths(control) == [18, 7, 4]


def test_programs_never_write_the_control_segment() -> None:
    session = Session(LLAMA, TARGET, context=24)
    session.lowered.begin_prefill(session.control, [prompt(LLAMA, 19)])
    before = session.control.copy()
    session.interpreter.run("prefill")
    np.testing.assert_array_equal(session.control, before)


def test_values_do_not_change_the_instructions_executed() -> None:
    """Control flow reads only the control segment: zeros in memory run the same way."""
    counts = []
    for fill in (True, False):
        lowered = lower(RandomWeights(LLAMA), TARGET, context=24)
        mem, control = lowered.memory.allocate(), lowered.memory.allocate_control()
        if fill:
            lowered.write_weights(mem)
        interpreter = Interpreter(lowered.programs[0], lowered.memory, mem, control, TARGET)
        lowered.begin_prefill(control, [prompt(LLAMA, 19)])
        counts.append(interpreter.run("prefill"))
        lowered.begin_decode(control, mem, [5])
        counts.append(interpreter.run("decode"))
    assert counts[:2] == counts[2:]


def test_start_context_is_seeded_and_finite() -> None:
    logits = []
    for seed in (1, 1, 2):
        session = Session(LLAMA, TARGET, context=24)
        session.lowered.start_context(session.control, session.mem, 20, seed)
        logits.append(session.decode([5]))
        assert session.lowered.lengths(session.control) == [21]
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])


def test_start_context_of_no_tokens_is_an_empty_cache() -> None:
    session = Session(LLAMA, TARGET, context=24)
    session.lowered.start_context(session.control, session.mem, 0)
    empty = session.decode([5])
    np.testing.assert_allclose(empty, session.prefill([[5]]), atol=1e-5)


@pytest.mark.parametrize(
    ("sequences", "starts", "message"),
    [
        ([[]], None, "the prompt is empty"),
        ([[1] * 25], None, "longer than the context: 25 tokens, but there is room for 24"),
        ([[1] * 5], [20], "longer than the context: 25 tokens"),
        ([[1] * 17], None, "have 17 tokens, but the program was made for 16"),
        ([[131]], None, "token 131 does not exist.* 0 to 130"),
        ([[1], [2]], None, "2 sequences for a batch of 1"),
    ],
)
def test_bad_prompts(sequences: list[list[int]], starts: list[int] | None, message: str) -> None:
    lowered = lower(RandomWeights(LLAMA), TARGET, context=24, prompt_rows_max=16)
    with pytest.raises(UserError, match=message):
        lowered.begin_prefill(lowered.memory.allocate_control(), sequences, starts)


def test_full_context() -> None:
    lowered = lower(RandomWeights(LLAMA), TARGET, context=4)
    control = lowered.memory.allocate_control()
    lowered.begin_prefill(control, [[1, 2, 3]])
    lowered.begin_decode(control, None, None)
    with pytest.raises(UserError, match="the context is full: 4 tokens"):
        lowered.begin_decode(control, None, None)
    with pytest.raises(UserError, match="leaves no room for another; at most 3"):
        lowered.start_context(control, None, 4)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (Target(7, 16, 64), {}, "7 tile registers; models need at least 8"),
        (TARGET, {"dtype": "f16"}, "unknown dtype 'f16'; use f32 or bf16"),
        (Target(8, 16, 64, matmul_types=("f32",)), {"dtype": "bf16"}, "has no matmul.bf16"),
        (TARGET, {"attention": "fast"}, "unknown kind of attention 'fast'"),
        (TARGET, {"batch": 0}, "a batch of 0 sequences"),
        (TARGET, {"context": 65}, "a context of 65 tokens; this model allows 1 to 64"),
        (TARGET, {"prompt_rows_max": 0}, "prompts of 0 tokens"),
    ],
)
def test_bad_options(target: Target, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        lower(RandomWeights(LLAMA), target, **options)


# The weights of a few MB, which are kept as a file once that is worth it.
LARGER = ModelConfig(
    name="larger", family="llama", layers=1, d_model=64, heads=2, kv_heads=1, head_dim=32,
    ffn=96, vocab=900, context=32, norm_eps=1e-5, tied=True, activation="silu", rope_base=10000.0,
)  # fmt: skip


def test_packed_weights_are_kept_and_found_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("workloads.lowering.image.WORTH_KEEPING", 100_000)
    lowered = lower(RandomWeights(LARGER), TARGET)
    packed = lowered.memory.allocate()
    lowered.write_weights(packed)
    (image,) = (cache / "packed").glob("*.bin")
    assert "packing" in capsys.readouterr().err
    again = lower(Unreadable(LARGER), TARGET, context=16)
    mem = again.memory.allocate()
    again.write_weights(mem)
    first, end = again.placement.weight_range
    np.testing.assert_array_equal(mem[first:end], packed[first:end])
    assert capsys.readouterr().err == ""
    # Other bytes, another file: by type, geometry and weights.
    for source, target, dtype in (
        (RandomWeights(LARGER), TARGET, "bf16"),
        (RandomWeights(LARGER), Target(8, 4, 64), "f32"),
        (RandomWeights(LARGER, seed=1), TARGET, "f32"),
    ):
        other = lower(source, target, dtype=dtype)
        other.write_weights(other.memory.allocate())
    assert len(list((cache / "packed").glob("*.bin"))) == 4
    # A damaged file is packed anew.
    image.write_bytes(b"short")
    lowered.write_weights(packed)
    assert image.stat().st_size == end - first


def test_small_models_and_unknown_weights_are_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Anonymous(RandomWeights):
        key = None  # type: ignore[assignment]

    for source in (RandomWeights(LARGER), Anonymous(LARGER)):
        lowered = lower(source, TARGET)
        lowered.write_weights(lowered.memory.allocate())
        monkeypatch.setattr("workloads.lowering.image.WORTH_KEEPING", 100_000)
    assert not cache.exists() or not list(cache.rglob("*.bin"))
