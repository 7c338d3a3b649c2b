"""The control segment: where the host writes tokens, lengths and positions, and what it writes.

Programs read it and never write it. The lengths of the sequences are kept in it, so the state of
a run is its memory and nothing besides.

With several cores it also says who does what, since the number of rows and the length of the
context are known only here: the row blocks of a space are divided into shares, and its attention
is dealt out job by job so that every core gets as much.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workloads.kernels.select_last import SELECT_BYTES
from workloads.kernels.space import DEALT_BYTES, JOB_BYTES, KEYED_BYTES, DealtJobs, RowSpace
from workloads.kernels.tiling import Tiling

Control = NDArray[np.int64]
WORD = 8


@dataclass(frozen=True)
class Team:
    """What dividing the work of a space over `cores` depends on.

    `row_parts`: into how many shares its row blocks are divided, for every way in which they are.
    `key_parts`: into how many parts the keys of an attention job are cut, 0 if they are not; then
    a job leaves `units` partial results in every part. `speeds`: of unequal cores, else empty.
    """

    cores: int
    row_parts: tuple[int, ...]
    heads: int
    kv_heads: int
    key_parts: int = 0
    units: int = 1
    speeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Division:
    """The tables of a space that say what each core does.

    `shares[parts]` are its row blocks divided by so many, `dealt` the attention jobs of every
    core; `key_block` positions are one block of keys.
    """

    team: Team
    shares: dict[int, tuple[RowSpace, ...]]
    dealt: tuple[DealtJobs, ...]
    key_block: int


@dataclass(frozen=True)
class ControlLayout:
    """Byte offsets in the control segment; `lengths` holds one word per sequence.

    `divisions` are those of the spaces, by name; empty for one core.
    """

    prompt: RowSpace
    step: RowSpace
    prompt_blocks: int
    select: int
    lengths: int
    control_bytes: int
    batch: int
    divisions: dict[str, Division] = field(default_factory=dict)

    @property
    def step_blocks(self) -> int:
        """Row blocks of the step space."""
        return -(-self.batch // self.step.block_rows)

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


class _Words:
    """Hands out the words of the control segment, in order."""

    def __init__(self) -> None:
        self.end = 0

    def take(self, count: int) -> int:
        """The byte offset of `count` more words."""
        offset = self.end
        self.end += count * WORD
        return offset

    def space(
        self, name: str, block_rows: int, blocks: int, jobs: int, *, step: bool, share: bool = False
    ) -> RowSpace:
        """A row space of up to `blocks` blocks and `jobs` jobs."""
        return RowSpace(
            name=name,
            block_rows=block_rows,
            one_block=step and blocks == 1 and not share,
            single_row_jobs=step,
            blocks=self.take(1),
            rows=self.take(blocks),
            tokens=self.take(blocks * block_rows),
            positions=self.take(blocks * block_rows),
            job_count=self.take(1),
            jobs=self.take(jobs * JOB_BYTES // WORD),
            first=self.take(1) if share else None,
        )

    def division(self, space: RowSpace, blocks: int, jobs: int, team: Team, t: Tiling) -> Division:
        """The tables that divide `space`, of up to `blocks` blocks and `jobs` jobs, over a team."""
        step = space.single_row_jobs
        shares = {}
        for parts in team.row_parts:
            most = -(-blocks // parts)
            most_jobs = most * space.block_rows if step else most
            shares[parts] = tuple(
                self.space(
                    f"{space.name}.share{part}of{parts}", space.block_rows, most, most_jobs,
                    step=step, share=True,
                )
                for part in range(parts)
            )  # fmt: skip
        per_job = team.kv_heads if step else team.heads
        first = self.take(team.cores + 1)
        per_job *= max(team.key_parts, 1)
        job_bytes = KEYED_BYTES if team.key_parts else DEALT_BYTES
        table = self.take(jobs * per_job * job_bytes // WORD)
        dealt = tuple(
            DealtJobs(first + core * WORD, table, team.key_parts) for core in range(team.cores)
        )
        return Division(team, shares, dealt, t.n_cols)


def layout_control(
    t: Tiling, batch: int, prompt_rows_max: int, teams: dict[str, Team] | None = None
) -> ControlLayout:
    """Lay out the tables for `batch` sequences and prompts of `prompt_rows_max` rows together.

    Every sequence starts a new row block, so there may be one partly filled block per sequence.
    `teams` says over whom the spaces `prompt` and `step` are divided.
    """
    words = _Words()
    prompt_blocks = -(-prompt_rows_max // t.rows) + batch
    prompt = words.space("prompt", t.rows, prompt_blocks, prompt_blocks, step=False)
    step_rows = min(batch, t.rows)
    step_blocks = -(-batch // step_rows)
    step = words.space("step", step_rows, step_blocks, batch, step=True)
    select = words.take(batch * SELECT_BYTES // WORD)
    lengths = words.take(batch)
    sizes = {"prompt": (prompt, prompt_blocks, prompt_blocks), "step": (step, step_blocks, batch)}
    divisions = {
        name: words.division(*sizes[name], team, t) for name, team in (teams or {}).items()
    }
    return ControlLayout(prompt, step, prompt_blocks, select, lengths, words.end, batch, divisions)


@dataclass(frozen=True)
class Rows:
    """What the host knows about the rows of a step.

    `active`: rows of every block; `tokens`, `positions` [block][row]; `jobs`: words of every job.
    """

    active: list[int]
    tokens: Control
    positions: Control
    jobs: list[list[int]]


def write_prompt(
    control: Control,
    layout: ControlLayout,
    sequences: Sequence[Sequence[int]],
    starts: Sequence[int],
) -> None:
    """Write the tables of a prefill: sequence i continues at position starts[i]."""
    space = layout.prompt
    blocks = sum(-(-len(tokens) // space.block_rows) for tokens in sequences)
    shape = (blocks, space.block_rows)
    rows = Rows([], np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64), [])
    select: list[list[int]] = []
    for slot, (tokens, start) in enumerate(zip(sequences, starts, strict=True)):
        for done in range(0, len(tokens), space.block_rows):
            part = np.asarray(tokens[done : done + space.block_rows], dtype=np.int64)
            block = len(rows.active)
            rows.tokens[block, : len(part)] = part
            rows.positions[block, : len(part)] = start + done + np.arange(len(part))
            rows.jobs.append([block, 0, len(part), start + done, slot])
            rows.active.append(len(part))
        block_rows = layout.step.block_rows
        last = len(rows.active) - 1
        select.append([last, rows.active[last] - 1, slot // block_rows, slot % block_rows])
    _write_rows(control, layout, space, rows)
    _write(control, layout.select, select)
    _write(control, layout.lengths, [s + len(t) for s, t in zip(starts, sequences, strict=True)])
    # The last rows go on in the step space, where they have neither positions nor jobs.
    write_step(control, layout, [0] * layout.batch)


def write_step(control: Control, layout: ControlLayout, positions: Sequence[int]) -> None:
    """Write the tables of the step space: one row per sequence at the position given."""
    space, batch = layout.step, layout.batch
    starts = range(0, batch, space.block_rows)
    shape = (len(starts), space.block_rows)
    slots = np.arange(shape[0] * shape[1]).reshape(shape)
    padded = np.zeros(shape[0] * shape[1], dtype=np.int64)
    padded[:batch] = positions
    rows = Rows(
        active=[min(space.block_rows, batch - start) for start in starts],
        tokens=slots,
        positions=padded.reshape(shape),
        jobs=[
            [slot // space.block_rows, slot % space.block_rows, 1, position, slot]
            for slot, position in enumerate(positions)
        ],
    )
    _write_rows(control, layout, space, rows)


def write_lengths(control: Control, layout: ControlLayout, lengths: Sequence[int]) -> None:
    """Write the number of tokens in the cache of every sequence."""
    _write(control, layout.lengths, lengths)


def share_of(blocks: int, part: int, parts: int) -> range:
    """The row blocks of a share: as many as in any other, or one more."""
    return range(part * blocks // parts, (part + 1) * blocks // parts)


def deal(costs: Sequence[int], cores: int, speeds: Sequence[float] = ()) -> list[list[int]]:
    """Deal jobs of the given costs to cores: the largest first, to whoever will be done first.

    Returns the numbers of every core's jobs, in order. Of equal cores (without `speeds`) the
    largest sum exceeds the smallest by no more than the cost of one job.
    """
    piles: list[list[int]] = [[] for _ in range(cores)]
    speeds = speeds or (1.0,) * cores
    done = sorted((0.0, -speed, core) for core, speed in enumerate(speeds))
    for number in sorted(range(len(costs)), key=lambda number: (-costs[number], number)):
        time, slowness, core = done[0]
        piles[core].append(number)
        heapq.heapreplace(done, (time + costs[number] / speeds[core], slowness, core))
    return [sorted(pile) for pile in piles]


def _write_rows(control: Control, layout: ControlLayout, space: RowSpace, rows: Rows) -> None:
    """Write the tables of a space, and those that divide it."""
    blocks = len(rows.active)
    _write_space(control, space, rows, range(blocks))
    division = layout.divisions.get(space.name)
    if division is None:
        return
    for parts, shares in division.shares.items():
        for part, share in enumerate(shares):
            _write_space(control, share, rows, share_of(blocks, part, parts))
    _write_dealt(control, division, rows.jobs, stacked=space.single_row_jobs)


def _write_space(control: Control, space: RowSpace, rows: Rows, blocks: range) -> None:
    """Write the tables of a space, or of a share that has only some of the row blocks."""
    here = slice(blocks.start, blocks.stop)
    jobs = [[block - blocks.start, *rest] for block, *rest in rows.jobs if block in blocks]
    _write(control, space.blocks, [len(blocks)])
    _write(control, space.rows, rows.active[here])
    _write(control, space.tokens, rows.tokens[here])
    _write(control, space.positions, rows.positions[here])
    _write(control, space.job_count, [len(jobs)])
    _write(control, space.jobs, jobs)
    if space.first is not None:
        _write(control, space.first, [blocks.start])


def _write_dealt(
    control: Control, division: Division, jobs: list[list[int]], *, stacked: bool
) -> None:
    """Deal the jobs of attention, each of one query head, or of a whole group where stacked."""
    team = division.team
    group = team.heads // team.kv_heads
    heads = range(0, team.heads, group if stacked else 1)
    parts = [[*job, head, head // group] for job in jobs for head in heads]
    # The causal triangle: a job meets all keys up to its last row.
    costs = [-(-(position + rows) // division.key_block) for _, _, rows, position, *_ in parts]
    if team.key_parts:
        parts, costs = _cut_keys(division, parts, costs)
    piles = deal(costs, team.cores, team.speeds)
    firsts = np.cumsum([0, *(len(pile) for pile in piles)])
    first = division.dealt[0]
    _write(control, first.first, firsts)
    _write(control, first.jobs, [parts[number] for pile in piles for number in pile])


def _cut_keys(
    division: Division, jobs: list[list[int]], blocks: list[int]
) -> tuple[list[list[int]], list[int]]:
    """Cut the keys of every job into parts, at whole blocks: some are empty if there are few."""
    team = division.team
    parts, costs = [], []
    for number, (job, count) in enumerate(zip(jobs, blocks, strict=True)):
        _, _, rows, position, *_ = job
        for part in range(team.key_parts):
            first, end = (k * count // team.key_parts for k in (part, part + 1))
            keys = [first * division.key_block, min(end * division.key_block, position + rows)]
            record = number * team.units * team.key_parts + part
            parts.append([*job, *keys, record])
            costs.append(end - first)
    return parts, costs


def _write(
    control: Control, offset: int, words: Sequence[int] | Sequence[list[int]] | Control
) -> None:
    flat = np.asarray(words, dtype=np.int64).ravel()
    control[offset // WORD : offset // WORD + len(flat)] = flat
