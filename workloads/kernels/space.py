"""Row spaces: which rows a program works on, as tables in the control segment.

Programs know neither how many tokens a prompt has nor how long a sequence is; the host writes
both into the control segment before a step. The **prompt** space holds the rows of a prefill:
every sequence starts a new block of `block_rows` rows, so a block belongs to one sequence and
holds consecutive positions. The **step** space holds one row per sequence: the rows of a decode
step, and the last rows of a prefill on their way to the logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isa.builder import ZERO, X

if TYPE_CHECKING:
    from workloads.kernels.kit import Kit

# A job is a run of consecutive rows of one sequence inside one row block: what attention and the
# caches are addressed by. Byte offsets of its int64 words:
JOB_BLOCK = 0  # row block
JOB_ROW = 8  # first row inside the block
JOB_ROWS = 16  # number of rows
JOB_POSITION = 24  # position of the first row = length of the sequence before it
JOB_SLOT = 32  # sequence number: which part of the caches
JOB_BYTES = 40
# A dealt job is a part of a job, one tile of query rows that meets one key/value head, and names
# both heads besides. A prompt's has one query head, a single row's all that share the keys.
JOB_HEAD = 40  # first query head
JOB_KV_HEAD = 48
DEALT_BYTES = 56
# One that meets only some of the keys says which, and where its partial result goes.
JOB_FIRST_KEY = 56  # position
JOB_KEYS_END = 64
JOB_RECORD = 72  # number of the record of its first unit
KEYED_BYTES = 80


@dataclass(frozen=True)
class RowSpace:
    """A set of rows in blocks of `block_rows`, and the control offsets (bytes) of its tables.

    `blocks`: word, number of row blocks. `rows`: words per block, its active rows. `tokens`,
    `positions`: words per row, counted through all blocks. `job_count`, `jobs`: the jobs.
    `one_block` says that there is never more than one block; `single_row_jobs` that every job is
    one row. The share of one core has tables of its own, counted from its first block; `first` is
    the word with the number of that block, None where a space begins at block 0.
    """

    name: str
    block_rows: int
    one_block: bool
    single_row_jobs: bool
    blocks: int
    rows: int
    tokens: int
    positions: int
    job_count: int
    jobs: int
    first: int | None = None

    @property
    def folded(self) -> bool:
        """Whether a block is a single row.

        A row is then contiguous in memory, and kernels that work element by element read several
        storage blocks of it as the rows of one tile.
        """
        return self.block_rows == 1


@dataclass(frozen=True)
class DealtJobs:
    """One core's jobs of attention: those from the number in word `first` to that in `first` + 8.

    `jobs` is the table of all cores, in the order of cores. With `key_parts` every job meets one of
    so many parts of the keys, and leaves a partial result.
    """

    first: int
    jobs: int
    key_parts: int = 0

    @property
    def job_bytes(self) -> int:
        """Bytes from one job to the next."""
        return KEYED_BYTES if self.key_parts else DEALT_BYTES


@contextmanager
def row_blocks(kit: Kit, space: RowSpace) -> Iterator[X]:
    """Repeat the body for every row block; yields the register with the block's active rows.

    The body must leave its pointers at the next row block.
    """
    b = kit.b
    with b.scratch("rows", "block", "block_end") as (rows, block, end):
        if space.one_block:
            b.ld(rows, space.rows, ZERO)
            yield rows
            return
        b.ld(end, space.blocks, ZERO)
        b.slli(end, end, 3)
        b.li(block, 0)
        top = b.new_label("row_block")
        b.place(top)
        b.ld(rows, space.rows, block)
        yield rows
        b.addi(block, block, 8)
        b.blt(block, end, top)


@contextmanager
def each_job(kit: Kit, space: RowSpace) -> Iterator[X]:
    """Repeat the body for every job; yields the register with the control address of the job."""
    b = kit.b
    with b.scratch("job", "job_end") as (job, end):
        b.ld(end, space.job_count, ZERO)
        b.li(job, JOB_BYTES)
        b.mul(end, end, job)
        b.li(job, space.jobs)
        b.add(end, end, job)
        top = b.new_label("job")
        b.place(top)
        yield job
        b.addi(job, job, JOB_BYTES)
        b.blt(job, end, top)


@contextmanager
def each_dealt_job(kit: Kit, dealt: DealtJobs) -> Iterator[X]:
    """Repeat the body for every job of the core, of which there may be none."""
    b = kit.b
    with b.scratch("job", "job_end") as (job, end):
        done = b.new_label("jobs_end")
        with b.scratch("job_bytes") as (size,):
            b.li(size, dealt.job_bytes)
            for register, word in ((job, dealt.first), (end, dealt.first + 8)):
                b.ld(register, word, ZERO)
                b.mul(register, register, size)
                b.addi(register, register, dealt.jobs)
        b.bge(job, end, done)
        top = b.new_label("job")
        b.place(top)
        yield job
        b.addi(job, job, dealt.job_bytes)
        b.blt(job, end, top)
        b.place(done)


def job_row_address(kit: Kit, job: X, to: X, base: X, row_block_bytes: int) -> None:
    """Set `to` to the address of a job's first row in an activation at `base`."""
    b = kit.b
    with b.scratch("t") as (t,):
        b.ld(to, JOB_BLOCK, job)
        b.li(t, row_block_bytes)
        b.mul(to, to, t)
        b.ld(t, JOB_ROW, job)
        b.slli(t, t, kit.tiling.row_shift)
        b.add(to, to, t)
        b.add(to, to, base)
