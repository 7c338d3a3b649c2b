"""Attention against calculations by hand: what the score matrix costs, how the cache grows.

The model has one layer, three query heads that share one key/value head, and 16 elements a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from sim import simulate
from sim.machine import load_machine
from sim.result import Result, Work
from tests.end_to_end.models import HEADS, Model

LINE = 64
LARGE_L2 = ["l2.size=1MiB"]


def attention(run: Result, step: int = 0) -> Work:
    """The account of attention in a step."""
    (work,) = (o.work for o in run.account.operators if o.kind == "attention" and o.step == step)
    return work


def line_accesses(run: Result) -> int:
    """Accesses of loads and stores to L1, and those a store queued before them answered."""
    return run.account.caches["L1"]["accesses"] + run.account.core["forwards"]


def units(rows: int, tokens: int) -> list[tuple[int, int]]:
    """Tiles of queries of one head in a prefill: (active rows, positions they may look at)."""
    return [
        (min(rows, tokens - start), min(start + rows, tokens)) for start in range(0, tokens, rows)
    ]


def score_tiles(rows: int, units: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(Active rows, score tiles) of every unit: as many positions a tile as it has rows."""
    return [(active, -(-positions // rows)) for active, positions in units]


@pytest.mark.parametrize("tokens", [7, 100])
@pytest.mark.parametrize(
    ("machine", "dtype"),
    # Not avx512 in bf16, where eight result tiles do not fit and online sums go to memory too.
    [("teach", "f32"), ("cortex-a76", "bf16"), ("sapphire-rapids", "f32"),
     ("sapphire-rapids", "bf16")],
)  # fmt: skip
def test_naive_attention_adds_the_traffic_of_the_scores(
    heads: Model, machine: str, dtype: str, tokens: int
) -> None:
    """Per score tile 3 stores and 4 loads of its rows, and nothing else differs.

    Naive attention stores a tile of scores, loads it for the row maximum, loads it and stores it
    for the exponentials, loads it and stores it for the division, loads it for the weighted sum.
    A tile row lies in one line, so each of the 7 takes as many accesses as the tile has rows.
    Besides, a unit starts its maximum from the first column of the scores (an access a row),
    where online attention loads the starting state of softmax (one row).
    """
    run = {
        kind: simulate(
            heads.folder, machine, prefill=tokens, tokens=2, dtype=dtype, values=False,
            attention=kind,
        )
        for kind in ("online", "naive")
    }  # fmt: skip
    rows = load_machine(machine).core.tiles.rows
    # Three heads in the prefill; in the decode step they are the three rows of one tile.
    all_units = 3 * units(rows, tokens) + [(3, tokens + 1)]
    by_hand = sum(7 * active * tiles + active - 1 for active, tiles in score_tiles(rows, all_units))
    assert line_accesses(run["naive"]) - line_accesses(run["online"]) == by_hand


def test_naive_attention_fetches_every_line_of_the_scores(heads: Model) -> None:
    """Writing a score matrix allocates its lines; online attention has none.

    On `teach` a score tile, 4 rows of 16 bytes, is one line. With an L2 that holds everything
    each comes from DRAM once: T = 100 tokens are 25 units a head of 1 to 25 tiles.
    """
    missed = {
        kind: attention(
            simulate(
                heads.folder, "teach", prefill=100, tokens=1, dtype="f32", values=False,
                attention=kind, overrides=LARGE_L2,
            )
        ).dram_bytes
        for kind in ("online", "naive")
    }  # fmt: skip
    scores = 3 * sum(range(1, 26)) * LINE
    # The starting state of softmax is a line that only online attention reads.
    assert missed["naive"] - missed["online"] == scores - LINE


CONTEXTS = (64, 124, 184, 244)  # one size of cache, so that addresses stay


def decode_at(
    model: Model, context: int, machine: str, dtype: str, overrides: Sequence[str] = ()
) -> Result:
    """Two decode steps from a context that is not in the caches yet."""
    return simulate(
        model.folder, machine, context=context, tokens=2, dtype=dtype, values=False,
        overrides=overrides,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_decode_attention_reads_the_whole_cache_once(heads: Model, dtype: str) -> None:
    """Keys and values of every earlier position: 2 x 16 elements, for all query heads together."""
    bytes_of = [
        attention(decode_at(heads, context, "teach", dtype, LARGE_L2)).dram_bytes
        for context in CONTEXTS
    ]
    position = 2 * HEADS.kv_heads * HEADS.head_dim * {"f32": 4, "bf16": 2}[dtype]
    assert np.diff(bytes_of).tolist() == [60 * position] * 3
    # Besides the cache: the starting state of softmax, and the result's lines written first here.
    result = HEADS.heads * HEADS.head_dim * {"f32": 4, "bf16": 2}[dtype]
    assert bytes_of[0] - CONTEXTS[0] * position <= LINE + result


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("machine", ["teach", "cortex-a76", "avx512", "sapphire-rapids"])
def test_decode_attention_grows_linearly_with_the_context(
    heads: Model, machine: str, dtype: str
) -> None:
    """Equal steps in the context cost equal cycles, within 2% in warm caches.

    The first step is cold; the second finds keys and values in L2 where that is large enough.
    """
    overrides = LARGE_L2 if machine == "teach" else []
    contexts = (200, 456, 712, 968)  # whole tiles of every machine
    cycles = [
        attention(decode_at(heads, context, machine, dtype, overrides), step=1).cycles
        for context in contexts
    ]
    growth = np.diff(cycles)
    assert growth == pytest.approx(growth.mean(), rel=0.02)


def test_online_attention_grows_by_its_chain_of_softmaxes(heads: Model) -> None:
    """On sapphire-rapids in bf16 a tile of 16 positions costs the latency of one softmax.

    Each softmax takes the running state of the last, so they follow each other. Three rows of 16
    scores are 3 slots of 32 pipe-cycles, 48 cycles on two pipes; the last slot starts in cycle 47
    and is done 112 later: 159. The products run on the tile unit meanwhile; within 5%, since
    rescaling and packing use the same pipes.
    """
    machine = load_machine("sapphire-rapids")
    op = machine.core.op("softmax", "f32")
    assert op is not None
    slots = 3 * op.occupancy // machine.core.units["vector"].pipes
    chain = slots - 1 + op.latency
    assert chain == 159
    near, far = (
        attention(decode_at(heads, context, "sapphire-rapids", "bf16"), step=1).cycles
        for context in (200, 1000)
    )
    assert (far - near) / (800 / 16) == pytest.approx(chain, rel=0.05)
