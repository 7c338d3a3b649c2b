"""The control segment: where the host writes tokens, lengths and positions, and what it writes.

Programs read it and never write it. The lengths of the sequences are kept in it, so the state of
a run is its memory and nothing besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.kernels.select_last import SELECT_BYTES
from workloads.kernels.space import JOB_BYTES, RowSpace
from workloads.kernels.tiling import Tiling

Control = NDArray[np.int64]
WORD = 8


@dataclass(frozen=True)
class ControlLayout:
    """Byte offsets in the control segment; `lengths` holds one word per sequence."""

    prompt: RowSpace
    step: RowSpace
    prompt_blocks: int
    select: int
    lengths: int
    control_bytes: int
    batch: int

    @property
    def offsets(self) -> dict[str, int]:
        """Names of all tables -> byte offsets."""
        tables = ("blocks", "rows", "tokens", "positions", "job_count", "jobs")
        spaces = {
            f"{space.name}.{table}": getattr(space, table)
            for space in (self.prompt, self.step)
            for table in tables
        }
        return {**spaces, "select": self.select, "lengths": self.lengths}

    def current_lengths(self, control: Control) -> list[int]:
        """Tokens in the cache of every sequence."""
        start = self.lengths // WORD
        return [int(length) for length in control[start : start + self.batch]]


def layout_control(t: Tiling, batch: int, prompt_rows_max: int) -> ControlLayout:
    """Lay out the tables for `batch` sequences and prompts of `prompt_rows_max` rows together.

    Every sequence starts a new row block, so there may be one partly filled block per sequence.
    """
    end = 0

    def words(count: int) -> int:
        nonlocal end
        offset = end
        end += count * WORD
        return offset

    def space(name: str, block_rows: int, blocks: int, jobs: int, *, step: bool) -> RowSpace:
        return RowSpace(
            name=name,
            block_rows=block_rows,
            one_block=step and blocks == 1,
            single_row_jobs=step,
            blocks=words(1),
            rows=words(blocks),
            tokens=words(blocks * block_rows),
            positions=words(blocks * block_rows),
            job_count=words(1),
            jobs=words(jobs * JOB_BYTES // WORD),
        )

    prompt_blocks = -(-prompt_rows_max // t.rows) + batch
    prompt = space("prompt", t.rows, prompt_blocks, prompt_blocks, step=False)
    step_rows = min(batch, t.rows)
    step = space("step", step_rows, -(-batch // step_rows), batch, step=True)
    select = words(batch * SELECT_BYTES // WORD)
    lengths = words(batch)
    return ControlLayout(prompt, step, prompt_blocks, select, lengths, end, batch)


def write_prompt(
    control: Control,
    layout: ControlLayout,
    sequences: Sequence[Sequence[int]],
    starts: Sequence[int],
) -> None:
    """Write the tables of a prefill: sequence i continues at position starts[i]."""
    space = layout.prompt
    rows: list[int] = []
    jobs: list[list[int]] = []
    select: list[list[int]] = []
    for slot, (tokens, start) in enumerate(zip(sequences, starts, strict=True)):
        for done in range(0, len(tokens), space.block_rows):
            part = np.asarray(tokens[done : done + space.block_rows], dtype=np.int64)
            block = len(rows)
            first = block * space.block_rows
            _write(control, space.tokens + first * WORD, part)
            positions = start + done + np.arange(len(part))
            _write(control, space.positions + first * WORD, positions)
            jobs.append([block, 0, len(part), start + done, slot])
            rows.append(len(part))
        block_rows = layout.step.block_rows
        select.append([len(rows) - 1, rows[-1] - 1, slot // block_rows, slot % block_rows])
    _write(control, space.blocks, [len(rows)])
    _write(control, space.rows, rows)
    _write(control, space.job_count, [len(jobs)])
    _write(control, space.jobs, jobs)
    _write(control, layout.select, select)
    _write(control, layout.lengths, [s + len(t) for s, t in zip(starts, sequences, strict=True)])
    # The last rows go on in the step space, where they have neither positions nor jobs.
    write_step(control, layout, [0] * layout.batch)


def write_step(control: Control, layout: ControlLayout, positions: Sequence[int]) -> None:
    """Write the tables of the step space: one row per sequence at the position given."""
    space, batch = layout.step, layout.batch
    starts = range(0, batch, space.block_rows)
    _write(control, space.blocks, [len(starts)])
    _write(control, space.rows, [min(space.block_rows, batch - start) for start in starts])
    _write(control, space.tokens, range(batch))
    _write(control, space.positions, positions)
    _write(control, space.job_count, [batch])
    jobs = [
        [slot // space.block_rows, slot % space.block_rows, 1, position, slot]
        for slot, position in enumerate(positions)
    ]
    _write(control, space.jobs, jobs)


def write_lengths(control: Control, layout: ControlLayout, lengths: Sequence[int]) -> None:
    """Write the number of tokens in the cache of every sequence."""
    _write(control, layout.lengths, lengths)


def _write(
    control: Control, offset: int, words: Sequence[int] | Sequence[list[int]] | Control
) -> None:
    flat = np.asarray(words, dtype=np.int64).ravel()
    control[offset // WORD : offset // WORD + len(flat)] = flat
