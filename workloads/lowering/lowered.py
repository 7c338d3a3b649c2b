"""A lowered model: its programs, and what the host does between steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.errors import InternalError, UserError
from isa.functions import bf16_bits
from isa.memory import STORAGE, MemoryMap
from isa.program import Program
from isa.target import Target
from workloads.config import ModelConfig
from workloads.kernels.tiling import Tiling
from workloads.lowering.constants import write_constants
from workloads.lowering.control import (
    Control,
    ControlLayout,
    write_lengths,
    write_prompt,
    write_step,
)
from workloads.lowering.emit import RegionInfo
from workloads.lowering.image import fill_weights
from workloads.lowering.placement import Placement
from workloads.lowering.schedule import Plan
from workloads.weights.source import WeightSource

Memory = NDArray[np.uint8]
# Deviation of the numbers a synthetic context is filled with.
SYNTHETIC_DEVIATION = 0.5


@dataclass(frozen=True)
class Lowered:
    """Programs, one per core, with entries `prefill` and `decode`.

    A run is: `write_weights` (with values), then `begin_prefill` or `start_context`, then a step
    of the program, then `begin_decode` with the sampled tokens and a step, again and again. All
    state is in simulated memory and the control segment; this object never changes. With
    `values` off there is no memory and `mem` is None.
    """

    programs: list[Program]
    plan: Plan
    memory: MemoryMap
    control: ControlLayout
    regions: list[RegionInfo]
    config: ModelConfig
    target: Target
    tiling: Tiling
    placement: Placement
    source: WeightSource
    batch: int
    context: int
    prompt_rows_max: int
    attention: str
    values: bool

    # Memory

    def write_weights(self, mem: Memory) -> None:
        """Fill simulated memory with weights and constants.

        Large models are packed once and kept as a file in the user's cache. Raises `UserError`
        for weights that are missing or a cache that cannot be written.
        """
        if not self.values:
            raise InternalError("weights are not read when values are off")
        fill_weights(mem, self.placement, self.source, self.tiling)
        write_constants(mem, self.memory, self.config)

    # Steps

    def begin_prefill(
        self,
        control: Control,
        sequences: Sequence[Sequence[int]],
        starts: Sequence[int] | None = None,
    ) -> None:
        """Write the tables of a prefill of `batch` token sequences.

        Sequence i continues after `starts[i]` tokens that are in the cache already (default 0).
        Raises `UserError` for a sequence that is empty, too long, or has unknown tokens.
        """
        if len(sequences) != self.batch:
            raise UserError(f"{len(sequences)} sequences for a batch of {self.batch}")
        starts = [0] * self.batch if starts is None else list(starts)
        for tokens, start in zip(sequences, starts, strict=True):
            self._check_tokens(tokens)
            if not len(tokens):
                raise UserError("the prompt is empty; it needs at least one token")
            if start + len(tokens) > self.context:
                raise UserError(
                    f"the prompt is longer than the context: {start + len(tokens)} tokens, "
                    f"but there is room for {self.context}"
                )
        rows = sum(len(tokens) for tokens in sequences)
        if rows > self.prompt_rows_max:
            raise UserError(
                f"the prompts have {rows} tokens, but the program was made for "
                f"{self.prompt_rows_max} at once"
            )
        write_prompt(control, self.control, sequences, starts)

    def start_context(self, control: Control, mem: Memory | None, n: int, seed: int = 0) -> None:
        """Start from a synthetic context: `n` tokens in every cache, seeded small numbers.

        Raises `UserError` where `n` is negative or leaves no room for a token.
        """
        if not 0 <= n < self.context:
            raise UserError(
                f"a context of {n} tokens leaves no room for another; at most {self.context - 1}"
            )
        write_lengths(control, self.control, [n] * self.batch)
        if mem is None:
            return
        rng = np.random.default_rng(seed)
        blocks = -(-n // self.tiling.n_cols)
        for layer in range(self.config.layers):
            for name in (f"layer{layer}.keys", f"layer{layer}.values"):
                cache = self.memory.array(mem, name)[:, :, :blocks]
                numbers = rng.standard_normal(cache.shape, dtype=np.float32)
                numbers *= np.float32(SYNTHETIC_DEVIATION)
                cache[...] = bf16_bits(numbers) if self.tiling.dtype == "bf16" else numbers

    def begin_decode(
        self, control: Control, mem: Memory | None, tokens: Sequence[int] | None
    ) -> None:
        """Write the tables of a decode step, in which every sequence grows by one token.

        With values, the embedding rows of `tokens` are copied to the feedback tensor. Raises
        `UserError` where the context is full or a token is unknown.
        """
        lengths = self.control.current_lengths(control)
        if max(lengths) >= self.context:
            raise UserError(
                f"the context is full: {max(lengths)} tokens, there is room for {self.context}"
            )
        if mem is not None:
            if tokens is None or len(tokens) != self.batch:
                raise InternalError(f"decode needs {self.batch} tokens when values are on")
            self._check_tokens(tokens)
            table, feedback = self.memory["table.embed"], self.memory["feedback"]
            stride = feedback.nbytes // self.batch
            for row, token in enumerate(tokens):
                start = table.address + int(token) * stride
                to = feedback.address + row * stride
                mem[to : to + stride] = mem[start : start + stride]
        write_step(control, self.control, lengths)
        write_lengths(control, self.control, [length + 1 for length in lengths])

    def lengths(self, control: Control) -> list[int]:
        """Tokens in the cache of every sequence."""
        return self.control.current_lengths(control)

    # Results

    def logits(self, mem: Memory) -> NDArray[np.float32]:
        """The logits of the last step [batch, vocab]."""
        tensor = self.memory["logits"]
        blocks, columns, rows, width = tensor.shape
        stored: NDArray[Any] = mem[tensor.address : tensor.end].view(STORAGE["f32"])
        by_row = stored.reshape(blocks, columns, rows, width).transpose(0, 2, 1, 3)
        return np.array(by_row.reshape(blocks * rows, -1)[: self.batch, : self.config.vocab])

    def next_tokens(self, mem: Memory) -> list[int]:
        """The arg-max of the last step's logits, as the simulated CPU found it."""
        return [int(token) for token in self.memory.array(mem, "next_token")]

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            if not 0 <= token < self.config.vocab:
                raise UserError(
                    f"token {token} does not exist; the vocabulary of {self.config.name} is "
                    f"0 to {self.config.vocab - 1}"
                )
