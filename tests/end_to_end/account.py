"""What must hold for the JSON object of every run, whatever was run: that its sums agree."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

FIELDS = {
    "workload", "machine", "prompt_ids", "tokens", "text", "logits_top5", "cycles", "seconds",
    "instructions", "steps", "operators", "caches", "dram", "host_seconds",
}  # fmt: skip
OPERATOR_FIELDS = {"name", "layer", "step", "cycles", "instructions", "flops", "dram_bytes"}
LINE = 64
# An instruction's slots are booked when its dispatch begins, and some take many cycles (256 uops,
# six a cycle): an interrupted step may have booked that far ahead of its last cycle.
BOOKED_AHEAD = 50


def check(run: dict[str, Any]) -> None:
    """Assert that the object has all its fields and that everything booked adds up."""
    assert set(run) >= FIELDS
    _check_steps(run)
    _check_operators(run)
    _check_memory(run)


def _check_steps(run: dict[str, Any]) -> None:
    steps = run["steps"]
    kinds = [step["kind"] for step in steps]
    assert set(kinds[1:]) <= {"decode"}
    assert sum(step["cycles"] for step in steps) == run["cycles"]
    assert sum(step["instructions"] for step in steps) == run["instructions"]
    assert sum(step["seconds"] for step in steps) == pytest.approx(run["seconds"])
    megahertz = {"GHz": 1000, "MHz": 1}[run["machine"]["clock"][-3:]]
    hertz = float(run["machine"]["clock"][:-3]) * megahertz * 1e6
    assert run["seconds"] == pytest.approx(run["cycles"] / hertz)


def _check_operators(run: dict[str, Any]) -> None:
    operators = run["operators"]
    assert all(set(operator) >= OPERATOR_FIELDS for operator in operators)
    rounding = 0.0005 * (len(operators) + len(run["causes"]))  # JSON has three digits
    for number, step in enumerate(run["steps"]):
        rows = [operator for operator in operators if operator["step"] == number]
        ahead = sum(row["cycles"] for row in rows) - step["cycles"]
        assert -rounding <= ahead <= rounding + BOOKED_AHEAD * step["partial"]
        assert sum(row["instructions"] for row in rows) == step["instructions"]
        assert len({row["name"] for row in rows}) == len(rows)
    assert sum(row["flops"] for row in operators) == run["flops"]
    ahead = sum(run["causes"].values()) - run["cycles"]
    assert -rounding <= ahead <= rounding + BOOKED_AHEAD * run["partial"]
    for field in ("cycles", "instructions", "flops", "dram_bytes"):
        by_kind = sum(kind[field] for kind in run["kinds"])
        assert by_kind == pytest.approx(sum(row[field] for row in operators), abs=rounding)


def _check_memory(run: dict[str, Any]) -> None:
    levels, dram = list(run["caches"].values()), run["dram"]
    for level in levels:
        assert level["accesses"] == level["hits"] + level["misses"]
    # A demand miss is the next level's demand access, unless another core sends the line; only
    # prefetches come on top. A line that is sent and was written is written back, too.
    between = run.get("coherence", {"forwards": 0, "downgrades": 0})
    for i, (level, following) in enumerate(itertools.pairwise(levels)):
        sent = between["forwards"] if i == 1 else 0
        assert level["misses"] - sent <= following["accesses"] <= level["misses"]
    last = levels[-1]
    sent, written = (0, 0) if len(levels) == 3 else (between["forwards"], between["downgrades"])
    prefetches = sum(level["prefetches"] for level in levels)
    assert last["misses"] - sent <= dram["reads"] <= last["misses"] + prefetches
    assert last["writebacks"] <= dram["writes"] <= last["writebacks"] + written
    transferred = sum(operator["dram_bytes"] for operator in run["operators"])
    assert transferred == LINE * (dram["reads"] + dram["writes"])
    # Written lines wait in the channels' queues until a batch is full.
    waiting = run["machine"]["dram"]["channels"] * run["machine"]["dram"]["write_batch"]
    served = dram["row_hits"] + dram["row_misses"] + dram["row_conflicts"]
    assert 0 <= dram["reads"] + dram["writes"] - served <= waiting
