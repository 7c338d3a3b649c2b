"""A lowered model on the compiled engine, step by step, where whole rows of logits are wanted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine import Cpu
from sim.machine import load_machine
from workloads.lowering import lower
from workloads.open import open_workload


class Session:
    """What `simulate` does, without its account, for a batch of different sequences."""

    def __init__(
        self, workload: str | os.PathLike[str], machine: str, batch: int = 1, **options: Any
    ) -> None:
        described = load_machine(machine)
        self.lowered = lower(
            open_workload(workload), described.target(), batch=batch, **{"context": 64, **options}
        )
        self.cpu = Cpu(
            described,
            self.lowered.programs,
            self.lowered.memory,
            regions=len(self.lowered.regions),
        )
        assert self.cpu.mem is not None
        self.mem: NDArray[np.uint8] = self.cpu.mem
        self.lowered.write_weights(self.mem)

    def prefill(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits [batch, vocab] after the last token of every sequence."""
        self.lowered.begin_prefill(self.cpu.control, sequences)
        return self._run("prefill")

    def decode(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Logits [batch, vocab] after one more token of every sequence."""
        self.lowered.begin_decode(self.cpu.control, self.mem, tokens)
        return self._run("decode")

    def next_tokens(self) -> list[int]:
        """The CPU's own arg-max of the last logits."""
        return self.lowered.next_tokens(self.mem)

    def _run(self, entry: str) -> NDArray[np.float32]:
        self.cpu.start(entry)
        assert self.cpu.run(instruction_limit=100_000_000)
        return self.lowered.logits(self.mem)
