"""A whole model on a machine: values, account, requests that cannot be, interruption."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest

from isa.errors import UserError
from sim import simulate
from sim.machine import load_machine
from workloads.open import open_workload
from workloads.tokenizer import Tokenizer

TOY = {"workload": "toy-llama", "machine": "teach", "ids": [1, 2, 3], "tokens": 4}


@pytest.fixture(scope="module")
def toy():
    """A short greedy run of the toy model."""
    return simulate(**TOY)


def test_the_submodules_do_not_hide_the_function():
    import sim
    import sim.simulation

    assert sim.simulate is sim.simulation.simulate


def test_a_run_repeats_to_the_cycle_and_the_bit(toy):
    again = simulate(**TOY)
    assert again.account == toy.account
    assert again.tokens == toy.tokens
    assert again.logits_top5 == toy.logits_top5


def test_values_off_gives_the_same_cycles(toy):
    without = simulate(**TOY, values=False)
    assert without.account == toy.account
    assert (without.tokens, without.text, without.logits_top5) == ([], "", [])


def test_the_cpus_own_argmax_chooses_the_best_logit(toy):
    assert toy.tokens == [step[0][0] for step in toy.logits_top5]
    for step in toy.logits_top5:
        values = [value for _, value in step]
        assert values == sorted(values, reverse=True)


def test_the_text_is_that_of_the_tokens(toy):
    tokenizer = open_workload("toy-llama").tokenizer()
    assert toy.text == tokenizer.decode(toy.tokens)


def test_steps_are_a_prefill_and_a_decode_per_further_token(toy):
    assert [step.kind for step in toy.account.steps] == ["prefill", *["decode"] * 3]
    assert [step.tokens for step in toy.account.steps] == [3, 1, 1, 1]
    assert [step.context for step in toy.account.steps] == [3, 4, 5, 6]


def test_everything_booked_adds_up(toy):
    account = toy.account
    assert sum(step.cycles for step in account.steps) == account.cycles
    assert account.seconds == pytest.approx(account.cycles / 1e9)  # teach runs at 1 GHz
    assert sum(account.causes.values()) == pytest.approx(account.cycles)
    for rows in (account.operators, [*account.kinds.values()]):
        works = [getattr(row, "work", row) for row in rows]
        assert sum(work.cycles for work in works) == pytest.approx(account.cycles)
        assert sum(work.instructions for work in works) == account.instructions
        assert sum(work.flops for work in works) == account.flops
        lines = account.dram["reads"] + account.dram["writes"]
        assert sum(work.dram_bytes for work in works) == 64 * lines
    for counters in account.caches.values():
        assert counters["accesses"] == counters["hits"] + counters["misses"]


def test_the_flops_of_linear_operators_are_those_of_the_model():
    """Every weight of a linear layer is multiplied and added once per row that passes it.

    In f32, where no head of the toy model needs padding on 4 x 4 tiles.
    """
    config = open_workload("toy-llama").config
    shapes = config.weight_shapes()
    per_layer = [
        np.prod(shapes[f"layer0.{name}"]) for name in ("q", "k", "v", "o", "gate", "up", "down")
    ]
    rows = 3 + 1 + 1 + 1
    products = rows * config.layers * int(sum(per_layer))
    products += 4 * config.vocab * config.d_model  # one row a step reaches the logits
    residuals = 2 * rows * config.layers * config.d_model  # fused into o and down
    linear = simulate(**TOY, dtype="f32").account.kinds["linear"].flops
    assert 2 * products <= linear <= 2 * products + 2 * residuals


def test_the_json_object_has_all_that_is_promised(toy):
    values = json.loads(toy.to_json())
    promised = {
        *("workload", "machine", "prompt_ids", "tokens", "text", "logits_top5", "cycles"),
        *("seconds", "instructions", "steps", "operators", "caches", "dram", "host_seconds"),
    }
    assert promised <= set(values)
    assert values["machine"]["core"]["rob"] == load_machine("teach").core.rob
    assert values["prompt_ids"] == [1, 2, 3]
    operator = values["operators"][1]
    for field in ("name", "layer", "step", "cycles", "instructions", "flops", "dram_bytes"):
        assert field in operator
    assert {"accesses", "hits", "misses", "writebacks"} <= set(values["caches"]["L1"])
    assert {"reads", "writes", "row_hits"} <= set(values["dram"])
    assert values["partial"] is False


def test_a_text_prompt_is_shown_first_and_text_comes_in_pieces():
    pieces = []
    result = simulate("toy-llama", "teach", prompt="hello", tokens=5, on_text=pieces.append)
    assert result.prompt_ids == list(b"hello")
    assert "".join(pieces) == "hello" + result.text
    assert pieces[0].startswith("hello")


def test_a_batch_runs_the_same_sequence_side_by_side(toy):
    three = simulate(**TOY, batch=3)
    assert three.batch_tokens == [toy.tokens] * 3
    assert three.account.steps[1].tokens == 3
    assert three.cycles > toy.cycles


def test_context_alone_starts_with_decoding():
    long = simulate("toy-llama", "teach", context=100, tokens=2)
    assert [step.kind for step in long.account.steps] == ["decode", "decode"]
    assert [step.context for step in long.account.steps] == [101, 102]
    assert (
        long.account == simulate("toy-llama", "teach", context=100, tokens=2, values=False).account
    )
    short = simulate("toy-llama", "teach", context=10, tokens=2)
    assert short.account.kinds["attention"].cycles < long.account.kinds["attention"].cycles
    after = simulate("toy-llama", "teach", context=100, ids=[5, 6], tokens=1)
    assert [step.context for step in after.account.steps] == [102]


def test_defaults_do_something_useful():
    assert len(simulate("toy-llama", "teach", prefill=7).account.steps) == 1
    assert len(simulate("toy-llama", "teach", context=7).account.steps) == 1
    plain = simulate("toy-llama", "teach", values=False)
    assert len(plain.account.steps) == 16


def test_sampling_is_seeded():
    def tokens(seed):
        return simulate(
            "toy-llama", "teach", ids=[1], tokens=6, temperature=5.0, top_k=50, seed=seed
        ).tokens

    # The seed also makes the weights: compare runs of one seed, and sampling with greedy.
    assert tokens(3) == tokens(3)
    assert tokens(3) != simulate("toy-llama", "teach", ids=[1], tokens=6, seed=3).tokens


def test_a_clock_and_overrides_change_the_machine(toy):
    double = simulate(**TOY, clock="2GHz")
    assert double.machine["clock"] == "2GHz"
    assert double.seconds < toy.seconds < 2 * double.seconds  # DRAM does not get faster
    small = simulate(**TOY, overrides=["l2=none"])
    assert "L2" not in small.account.caches
    loaded = load_machine("teach")
    assert simulate(**{**TOY, "machine": loaded}).account == toy.account
    with pytest.raises(UserError, match="takes no changes"):
        simulate(**{**TOY, "machine": loaded}, clock="2GHz")


def with_end(monkeypatch, end):
    """Let the toy model's tokenizer take ``end`` for its end of text, and chat."""
    original = Tokenizer.__init__

    def init(self, backend, **options):
        options |= {"eos_ids": (end,), "chat_template": "{{ messages[0].content }}"}
        original(self, backend, **options)

    monkeypatch.setattr(Tokenizer, "__init__", init)


def test_the_end_of_text_stops_a_chat_or_when_asked(monkeypatch, toy):
    end = toy.tokens[1]
    first = toy.tokens.index(end) + 1
    with_end(monkeypatch, end)
    assert simulate(**TOY).tokens == toy.tokens
    stopped = simulate(**TOY, stop=True)
    assert stopped.tokens == toy.tokens[:first]
    chat = {"workload": "toy-llama", "machine": "teach", "chat": "hi", "tokens": 3}
    assert simulate(**chat).prompt_ids == list(b"hi")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"prompt": "a", "ids": [1]}, "prompt and ids were both given"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"ids": []}, "the prompt is empty"),
        ({"ids": [1, 999]}, "token 999 does not exist"),
        ({"prefill": 300}, "longer than the context: 300 tokens, .* made for 256"),
        ({"context": 256, "tokens": 1}, "256 tokens before and 1 to generate"),
        ({"ids": [1] * 250, "tokens": 20}, "generate at most 7"),
        ({"chat": "hi"}, "no chat template"),
        ({"tokens": 0}, "tokens at least 1"),
        ({"ids": [1], "dtype": "f16"}, "f16"),
        ({"ids": [1], "attention": "flash"}, "use online or naive"),
        ({"ids": [1], "temperature": -1.0}, "temperature"),
        ({"ids": [1], "batch": 0}, "at least 1"),
        ({"ids": [1], "partition": "cols"}, "unknown partition 'cols'.*use auto, columns"),
        ({"ids": [1], "machine": "teech"}, "Did you mean 'teach'"),
        ({"ids": [1], "overrides": ["core.robb=4"]}, "Did you mean 'rob'"),
        ({"workload": "toy-lama", "ids": [1]}, "toy-llama"),
    ],
)
def test_what_cannot_be_run_is_said(arguments, expected):
    call = {"workload": "toy-llama", "machine": "teach", **arguments}
    with pytest.raises(UserError, match=expected) as caught:
        simulate(**call)
    assert caught.value.exit_code == 1


def test_a_model_without_tokenizer_takes_ids_only():
    with pytest.raises(UserError, match="no tokenizer here, so it takes no prompt"):
        simulate("gpt2", "teach", prompt="hi", tokens=1, values=False)


def test_more_memory_than_the_host_has_is_refused(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    with pytest.raises(UserError, match="values off"):
        simulate(**TOY)
    assert simulate(**TOY, values=False).cycles > 0


def press_ctrl_c():
    """In this thread, so that it is handled before anything follows, another Ctrl-C included."""
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_between_tokens_keeps_what_was_done():
    before = signal.getsignal(signal.SIGINT)
    pieces = []

    def once(text):
        if not pieces:
            press_ctrl_c()
        pieces.append(text)

    result = simulate("toy-llama", "teach", prompt="hello", tokens=9, on_text=once)
    assert result.partial
    assert len(result.tokens) == len(result.account.steps) < 9
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_inside_a_step_marks_the_step():
    pressed = []

    def once(text):
        if "cycle" in text and not pressed:
            pressed.append(text)
            press_ctrl_c()

    result = simulate("toy-llama", "teach", prefill=200, tokens=2, progress=once)
    assert pressed
    assert result.partial
    assert result.account.steps[-1].partial
    assert result.tokens == []
    whole = simulate("toy-llama", "teach", prefill=200)
    assert 0 < result.cycles < whole.cycles


def test_a_second_interrupt_ends_the_run_at_once():
    def twice(text):
        press_ctrl_c()
        press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        simulate("toy-llama", "teach", prompt="hello", on_text=twice)


def test_results_are_plain_data(toy):
    assert dataclasses.asdict(toy)["tokens"] == toy.tokens
