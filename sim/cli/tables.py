"""The account of a run as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.cli.console import percent, si, table
from sim.result import Account, Step

if TYPE_CHECKING:
    from rich.console import RenderableType

STEPS_SHOWN = 6


def account_tables(account: Account) -> Iterator[RenderableType]:
    """Steps, kinds of operators, causes, memory."""
    if account.steps and account.steps[0].kind != "program":
        yield steps_table(account)
    if len(account.kinds) > 1:
        yield kinds_table(account)
    yield causes_table(account)
    yield caches_table(account)
    if account.has_coherence:
        yield coherence_table(account)
    yield dram_table(account)
    if account.nodes:
        yield nodes_table(account)


def steps_table(account: Account) -> RenderableType:
    """A row per step; a long generation shows its first and last steps."""
    steps = list(enumerate(account.steps))
    rows = []
    for number, step in steps:
        if len(steps) > STEPS_SHOWN + 1 and STEPS_SHOWN // 2 < number < len(steps) - 3:
            if number == STEPS_SHOWN // 2 + 1:
                rows.append(["..."])
            continue
        rows.append(_step_row(number, step))
    columns = ["step", "tokens in", "context", "cycles", "simulated", "tokens/s"]
    return table("Steps", columns, rows)


def _step_row(number: int, step: Step) -> list[str]:
    mark = " (partial)" if step.partial else ""
    rate = si(step.tokens / step.seconds) if step.seconds else ""
    return [
        f"{number} {step.kind}{mark}",
        str(step.tokens),
        str(step.context),
        f"{step.cycles:,}",
        f"{1e3 * step.seconds:.4g} ms",
        rate,
    ]


def kinds_table(account: Account) -> RenderableType:
    """Where the cycles went, by kind of operator."""
    total = sum(account.causes.values())
    rows = [
        [
            kind,
            f"{work.cycles:,.0f}",
            percent(work.cycles, total),
            si(work.instructions),
            si(work.flops),
            f"{work.flops / work.cycles:.1f}" if work.cycles else "",
            si(work.dram_bytes, "B"),
        ]
        for kind, work in account.kinds.items()
    ]
    columns = ["operator", "cycles", "share", "instructions", "flops", "flops/cycle", "DRAM"]
    return table("Where the cycles went, by operator", columns, rows)


def causes_table(account: Account) -> RenderableType:
    """Why the cycles were spent: every dispatch slot has one cause."""
    total = sum(account.causes.values())
    rows = [
        [cause, f"{cycles:,.0f}", percent(cycles, total)]
        for cause, cycles in account.causes.items()
        if cycles
    ]
    return table(
        "Why, by what the oldest instruction waited for", ["cause", "cycles", "share"], rows
    )


def caches_table(account: Account) -> RenderableType:
    """Counters of every cache level."""
    rows = [
        [
            level,
            f"{count['accesses']:,}",
            f"{count['misses']:,}",
            percent(count["hits"], count["accesses"]),
            f"{count['writebacks']:,}",
            f"{count['prefetches']:,}",
            percent(count["prefetch_useful"], count["prefetches"]),
        ]
        for level, count in account.caches.items()
    ]
    columns = ["cache", "accesses", "misses", "hit rate", "writebacks", "prefetches", "used"]
    return table("Caches", columns, rows)


def coherence_table(account: Account) -> RenderableType:
    """Transactions and messages that kept the cores' caches coherent."""
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in account.coherence.items()]
    return table("Coherence", ["transactions and messages", "count"], rows)


def dram_table(account: Account) -> RenderableType:
    """DRAM's lines and what they amount to."""
    dram = account.dram
    lines = dram["reads"] + dram["writes"]
    total_bytes = sum(work.dram_bytes for work in account.kinds.values())
    rate = f"{total_bytes / account.seconds / 1e9:.2f} GB/s" if account.seconds else ""
    row = [f"{dram['reads']:,}", f"{dram['writes']:,}", percent(dram["row_hits"], lines), rate]
    return table("DRAM", ["lines read", "lines written", "row hits", "rate"], [row])


def nodes_table(account: Account) -> RenderableType:
    """Who read the memory of every node, and what it sent to others."""
    rows = [
        [
            str(node),
            f"{count['local_reads']:,}",
            f"{count['remote_reads']:,}",
            percent(count["local_reads"], count["local_reads"] + count["remote_reads"]),
            f"{count['lines_sent']:,}",
        ]
        for node, count in enumerate(account.nodes)
    ]
    columns = ["node", "read by its cores", "by others", "local", "lines sent to other nodes"]
    return table("Nodes", columns, rows)


def summary(account: Account, *, governed: bool = False) -> str:
    """One line: cycles, time, instructions per cycle; another where clocks of cores differ.

    With a governor, another says what clocks the cores had on average.
    """
    ipc = account.instructions / account.cycles if account.cycles else 0.0
    flops = si(account.flops, "flop")
    each = ""
    if len(set(account.core_cycles)) > 1:
        each = "\ncycles by core: " + ", ".join(f"{cycles:,}" for cycles in account.core_cycles)
    if governed and account.seconds:
        clocks = (si(cycles / account.seconds, "Hz") for cycles in account.core_cycles)
        each += "\naverage clock: " + ", ".join(clocks)
    return (
        f"{account.cycles:,} cycles, {1e3 * account.seconds:.6g} ms simulated, "
        f"{account.instructions:,} instructions ({ipc:.2f} a cycle), {flops}{each}"
    )
