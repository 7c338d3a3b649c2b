"""Measure the budgets: `python -m tests.bench [--write] [part ...]` (`make bench`).

Prints every figure with its budget; `--write` also puts them into docs/benchmarks.md. Nothing here
fails for being slow: the verdicts are for people to read.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import report
from tests.bench.figure import Figure

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BUSY = 0.3  # load of other processes that is worth a warning


def startup() -> Iterator[Figure]:
    """Compiling, starting, memory."""
    from tests.bench import startup as part

    return part.figures()


def parts() -> Iterator[Figure]:
    """Nanoseconds of the engine's parts."""
    from tests.bench import parts as part

    return part.figures()


def prefill() -> Iterator[Figure]:
    """GPT-2 against PyTorch."""
    from tests.bench import models

    return models.gpt2_prefill()


def decode() -> Iterator[Figure]:
    """SmolLM2 against PyTorch."""
    from tests.bench import models

    return models.smollm2_decode()


def cores() -> Iterator[Figure]:
    """Many cores beside one."""
    from tests.bench import cores as part

    return part.figures()


PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "parts": parts,
    "cores": cores,
    "prefill": prefill,
    "decode": decode,
    "startup": startup,
}


def main() -> None:
    """Measure what was asked for, print it, and write it if that was asked for too."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--write", action="store_true", help=f"update {PAGE.name}; needs all parts")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.part) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if arguments.write and arguments.part:
        parser.error("--write takes no parts: the page holds figures of one run")

    load = os.getloadavg()[0]
    if load > BUSY:
        print(f"this host is busy (load {load:.1f}): the figures will be worse", file=sys.stderr)
    begin = time.perf_counter()
    measured: list[Figure] = []
    for name in arguments.part or PARTS:
        print(f"measuring: {name} ({time.perf_counter() - begin:.0f} s)", file=sys.stderr)
        measured += PARTS[name]()
    print(f"{report.host()}\n{report.terminal(measured)}\n\n{report.summary(measured)}")
    print(f"measured in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    if arguments.write:
        report.write(PAGE, measured)
        print(f"written to {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
