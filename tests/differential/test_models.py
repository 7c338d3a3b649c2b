"""Two-layer models, prefill and three decode steps: the same values and the same cycles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.engine import Cpu
from sim.machine import load_machine
from sim.reference import ReferenceCpu
from tests.end_to_end.models import GPT2, LLAMA
from workloads.config import ModelConfig
from workloads.lowering import lower
from workloads.weights.random import RandomWeights

LOG = 200_000
# As small as a model can be that still has two layers, heads that share keys, and ragged tiles.
MODELS = [
    replace(LLAMA, name="llama", d_model=10, heads=2, kv_heads=1, head_dim=6, ffn=14, vocab=23),
    replace(GPT2, name="gpt2", d_model=10, heads=2, kv_heads=2, head_dim=5, ffn=18, vocab=23),
]


def steps(engine: type[Any], config: ModelConfig, dtype: str) -> list[Any]:
    """What can be seen after a prefill and after each of three decode steps."""
    machine = load_machine("teach")
    lowered = lower(RandomWeights(config, 7), machine.target(), dtype=dtype, context=16)
    cpu = engine(machine, lowered.programs, lowered.memory, regions=len(lowered.regions), log=LOG)
    lowered.write_weights(cpu.mem)
    seen: list[Any] = []
    lowered.begin_prefill(cpu.control, [[3, 1, 4, 1, 5]])
    for entry in ("prefill", "decode", "decode", "decode"):
        if entry == "decode":
            lowered.begin_decode(cpu.control, cpu.mem, lowered.next_tokens(cpu.mem))
        cpu.start(entry)
        assert cpu.run()
        counters = (cpu.cache_counters(), cpu.dram_counters(), cpu.core_counters())
        seen.append((cpu.cycles, counters, cpu.account().tolist(), cpu.mem.copy()))
    seen.append(cpu.log())
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.name)
def test_a_model_takes_the_same_cycles_and_gives_the_same_bits(
    config: ModelConfig, dtype: str
) -> None:
    *mine, my_log = steps(ReferenceCpu, config, dtype)
    *theirs, their_log = steps(Cpu, config, dtype)
    assert np.array_equal(my_log, their_log)
    for (cycles, counters, account, mem), expected in zip(mine, theirs, strict=True):
        assert cycles == expected[0]
        assert counters == expected[1]
        assert account == expected[2]
        assert np.array_equal(mem, expected[3])
