"""Random models of awkward shapes on every machine against an independent NumPy forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from isa.interpreter import Interpreter
from sim import simulate
from sim.machine import load_machine
from tests.end_to_end.models import SMALL, Model, token_ids
from tests.end_to_end.rounding import bf16_errors
from tests.end_to_end.session import Session

MACHINES = ("teach", "cortex-a76", "avx512", "sapphire-rapids")
NAMES = tuple(config.name for config in SMALL)
LENGTHS = (1, 5, 17, 33)
DECODE_STEPS = 3
TOLERANCE = 1e-3  # what the simulator promises in f32
# Two orders of the same f32 sums. A dot product of n terms of size 1 / sqrt(n) ends within about
# sqrt(n) 2^-24 of the exact one; some tens of them, n up to 156, lie between token and logit.
SAME_SUM = 2e-5


def on_machines(*names: str) -> pytest.MarkDecorator:
    """These models on every machine; every other combination is slow."""
    return pytest.mark.parametrize(
        ("name", "machine"),
        [
            pytest.param(name, machine, marks=[pytest.mark.slow] * ((i + j) % 2))
            for i, name in enumerate(names)
            for j, machine in enumerate(MACHINES)
        ],
    )


@on_machines(*NAMES)
def test_f32_logits_of_prefill_and_decode(
    models: dict[str, Model], name: str, machine: str
) -> None:
    """After prompts that divide nothing and after every decoded token; the CPU takes the best."""
    model = models[name]
    session = Session(model.folder, machine)
    for length in LENGTHS:
        ids = token_ids(model.config, length)
        logits = session.prefill([ids])[0]
        for _ in range(DECODE_STEPS):
            np.testing.assert_allclose(logits, model.logits(ids), atol=TOLERANCE, rtol=0)
            tokens = session.next_tokens()
            assert tokens == [int(np.argmax(logits))]
            ids += tokens
            logits = session.decode(tokens)[0]
        np.testing.assert_allclose(logits, model.logits(ids), atol=TOLERANCE, rtol=0)


@on_machines(*NAMES)
def test_bf16_logits_stay_within_the_errors_of_rounding(
    models: dict[str, Model], name: str, machine: str
) -> None:
    """Every logit within five deviations of what rounding does at worst, all together within one.

    `rounding` says where the deviation comes from. Errors of real rounding are smaller than its
    worst case by a factor of 0.74 (relative errors are largest only for mantissas near 1), which
    is the margin of the second bound. Cutting bits off instead of rounding would double them.
    """
    model = models[name]
    attention = "online" if name in ("nine-heads", "untied") else "naive"
    session = Session(model.folder, machine, dtype="bf16", attention=attention)
    squares = []
    for length in LENGTHS:
        ids = token_ids(model.config, length)
        logits = session.prefill([ids])[0]
        for _ in range(DECODE_STEPS):
            errors = (logits - model.logits(ids)) / bf16_errors(model.weights, ids)
            assert np.abs(errors).max() <= 5.0
            squares.append(np.mean(np.square(errors)))
            tokens = session.next_tokens()
            ids += tokens
            logits = session.decode(tokens)[0]
    assert np.sqrt(np.mean(squares)) <= 1.0


@pytest.mark.parametrize(("name", "machine"), list(zip(NAMES, MACHINES, strict=True)))
def test_the_command_line_gives_the_five_best_of_every_step(
    models: dict[str, Model], name: str, machine: str, run_json: Callable[..., dict[str, Any]]
) -> None:
    """`tickformer run` on a model folder: greedy tokens and their logits, step by step."""
    model = models[name]
    prompt = token_ids(model.config, 19)
    run = run_json(
        model.folder, "--machine", machine, "--dtype", "f32", "--tokens", 1 + DECODE_STEPS,
        "--ids", ",".join(map(str, prompt)),
    )  # fmt: skip
    assert run["prompt_ids"] == prompt
    assert len(run["tokens"]) == len(run["logits_top5"]) == 1 + DECODE_STEPS
    ids = list(prompt)
    for token, top in zip(run["tokens"], run["logits_top5"], strict=True):
        expected = model.logits(ids)
        best = np.argsort(-expected)[:5]
        assert [number for number, _ in top] == best.tolist()
        values = [value for _, value in top]
        np.testing.assert_allclose(values, expected[best], atol=TOLERANCE, rtol=0)
        assert token == best[0]
        ids.append(token)


@on_machines("nine-heads", "untied")
def test_naive_attention_gives_the_logits_of_online_attention(
    models: dict[str, Model], name: str, machine: str
) -> None:
    model = models[name]
    ids = token_ids(model.config, 37)
    logits: dict[str, list[Any]] = {}
    for attention in ("online", "naive"):
        session = Session(model.folder, machine, attention=attention)
        logits[attention] = [session.prefill([ids])]
        logits[attention] += [session.decode([token]) for token in (3, 1, 4)]
    np.testing.assert_allclose(logits["naive"], logits["online"], atol=SAME_SUM, rtol=0)


@on_machines("one-kv-head", "tied")
def test_every_sequence_of_a_ragged_batch_gets_what_it_gets_alone(
    models: dict[str, Model], name: str, machine: str
) -> None:
    """Six sequences: more than one tile of four rows, less than one of sixteen."""
    model = models[name]
    lengths = (3, 1, 17, 5, 33, 2)
    sequences = [token_ids(model.config, n, seed) for seed, n in enumerate(lengths)]
    following = np.array([token_ids(model.config, len(lengths), 9 + step) for step in range(3)])
    together = Session(model.folder, machine, batch=len(lengths), context=48)
    alone = Session(model.folder, machine, context=48)
    batch = [together.prefill(sequences), *(together.decode(row.tolist()) for row in following)]
    for number, ids in enumerate(sequences):
        single = [alone.prefill([ids]), *(alone.decode([t]) for t in following[:, number].tolist())]
        for expected, got in zip(single, batch, strict=True):
            np.testing.assert_allclose(got[number], expected[0], atol=SAME_SUM, rtol=0)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("nine-heads", "teach"),
        ("one-kv-head", "avx512"),
        ("tied", "sapphire-rapids"),
        ("untied", "cortex-a76"),
    ],
)
def test_the_engine_leaves_every_byte_as_the_interpreter_does(
    models: dict[str, Model], name: str, machine: str, dtype: str
) -> None:
    """Caches, activations, logits: the compiled arithmetic is that of isa, bit for bit."""
    ids = token_ids(models[name].config, 5)
    session = Session(models[name].folder, machine, dtype=dtype, context=16)
    lowered = session.lowered
    mem, control = session.mem.copy(), lowered.memory.allocate_control()
    session.prefill([ids])
    session.decode([7])
    target = load_machine(machine).target()
    interpreter = Interpreter(lowered.programs[0], lowered.memory, mem, control, target)
    lowered.begin_prefill(control, [ids])
    interpreter.run("prefill")
    lowered.begin_decode(control, mem, [7])
    interpreter.run("decode")
    np.testing.assert_array_equal(session.mem, mem)


def test_sampling_is_seeded_and_draws_from_the_best(models: dict[str, Model]) -> None:
    """With top-k 5 every token is one of the five best of its step; the seed decides which."""
    model = models["nine-heads"]

    def sampled(seed: int) -> Any:
        return simulate(
            model.folder, "teach", ids=[1, 2, 3], tokens=12, dtype="f32",
            temperature=2.0, top_k=5, seed=seed,
        )  # fmt: skip

    first, again, other = sampled(1), sampled(1), sampled(2)
    assert (first.tokens, first.logits_top5) == (again.tokens, again.logits_top5)
    assert first.tokens != other.tokens
    assert first.account == other.account
    greedy = 0
    ids = [1, 2, 3]
    for token, top in zip(first.tokens, first.logits_top5, strict=True):
        assert token in [number for number, _ in top]
        assert top[0][1] == pytest.approx(float(model.logits(ids).max()), abs=TOLERANCE)
        greedy += token == top[0][0]
        ids.append(token)
    assert 0 < greedy < len(first.tokens)
