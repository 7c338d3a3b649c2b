"""`python -m tests.mutants [NAME ...]`: break rules one by one, and see which test notices.

Exit code 0 if every mutant was caught, 1 if one was not, 2 if the tests fail without any.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.mutants.page import PAGE, text
from tests.mutants.table import Mutant, load
from tests.mutants.trial import Verdict, attempt, copy, run_tests

COLUMNS = {"": 5, "name": None, "rule": 6, "engine": 9, "caught by": None, "seconds": 7}
SHARES = {"name": 2, "caught by": 4}  # of the space that is left
WIDE = 160  # where there is no terminal


def row(mutant: Mutant, verdict: Verdict) -> list[str]:
    """A line of the table that is printed, without its number."""
    test = verdict.test.removeprefix("tests/")
    found = {
        "failed": test if verdict.error == "AssertionError" else f"{test} ({verdict.error})",
        "time-out": f"time-out {verdict.error} in {test}",
        "passed": "SURVIVED",
        "broken": f"NOT TESTED: {verdict.error} {test}",
    }[verdict.kind]
    rules = ", ".join(mutant.rules)
    return [mutant.name, rules, mutant.engine, found, f"{verdict.seconds:.0f}"]


def show(console: Console, cells: list[str]) -> None:
    """Print one line of the table: the lines come one by one, as mutants are done."""
    table = Table(box=None, show_header=False, pad_edge=False, expand=True)
    for name, width in COLUMNS.items():
        right = "right" if name == "seconds" else "left"
        table.add_column(width=width, ratio=SHARES.get(name), overflow="fold", justify=right)
    table.add_row(*map(Text, cells))
    console.print(table)


async def check(mutants: list[Mutant], unbroken: Path, limit: float) -> list[str]:
    """Run the mutants' tests without mutants, so that a failure means something."""
    wrong = []
    for engine in sorted({mutant.engine for mutant in mutants}):
        tests = {test for mutant in mutants if mutant.engine == engine for test in mutant.tests}
        verdict = await run_tests(unbroken, engine, tuple(sorted(tests)), limit)
        if verdict.kind != "passed":
            wrong.append(f"{engine} engine: {verdict.kind} {verdict.test} {verdict.error}")
    return wrong


async def run(
    mutants: list[Mutant], jobs: int, limit: float, console: Console
) -> dict[Mutant, Verdict]:
    """Try all mutants; returns their verdicts in the same order, none if the tests are unsound."""
    task = asyncio.current_task()
    assert task is not None
    for stop in (signal.SIGINT, signal.SIGTERM):  # leave no process and no folder behind
        asyncio.get_running_loop().add_signal_handler(stop, task.cancel)
    turns = asyncio.Semaphore(jobs)
    verdicts: dict[Mutant, Verdict] = {}

    async def one(mutant: Mutant) -> None:
        async with turns:
            verdicts[mutant] = await attempt(mutant, unbroken, limit)
        done = f"{len(verdicts)}/{len(mutants)}"
        show(console, [done, *row(mutant, verdicts[mutant])])

    with copy() as unbroken:
        console.print(f"{len(mutants)} mutants; first their tests without them")
        if wrong := await check(mutants, unbroken, limit):
            console.print("The tests fail without any mutant:", *wrong, sep="\n", markup=False)
            return {}
        show(console, list(COLUMNS))
        async with asyncio.TaskGroup() as group:
            for mutant in mutants:
                group.create_task(one(mutant))
    return {mutant: verdicts[mutant] for mutant in mutants}


def main() -> int:
    """The command."""
    known = load()
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to try (default: all)")
    parser.add_argument("--jobs", type=int, default=2, choices=(1, 2), help="at a time")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one run of pytest")
    parser.add_argument("--write", action="store_true", help="write docs/mutants.md")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no mutant {', '.join(unknown)}; there are {', '.join(known)}")
    if options.write and options.names:
        parser.error("--write needs all mutants: leave out the names")
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    mutants = [known[name] for name in options.names] or list(known.values())
    try:
        verdicts = asyncio.run(run(mutants, options.jobs, options.limit, console))
    except asyncio.CancelledError:
        console.print("interrupted")
        return 130
    if not verdicts:
        return 2
    caught = sum(verdict.caught for verdict in verdicts.values())
    console.print(f"{caught}/{len(verdicts)} caught")
    if caught < len(verdicts):
        return 1
    if options.write:
        PAGE.write_text(text(verdicts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
