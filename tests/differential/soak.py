"""Random cases up to a count or a disagreement: ``python -m tests.differential.soak 10000``.

A disagreement is shrunk, written to the folder `kept` (where the tests pick it up) and shown.
"""

from __future__ import annotations

import random
import sys
import time
from hashlib import sha256

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.differential.case import FOLDER, Case, differences
from tests.differential.strategy import cases


def soak(count: int, first_seed: int, *, shrink: bool = True) -> list[tuple[Case, list[str]]]:
    """Run ``count`` cases; returns the disagreements, shrunk ones of each hundred at most one."""
    found: list[tuple[Case, list[str]]] = []
    began = time.perf_counter()
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    done = 0
    while done < count and not found:
        worst: list[tuple[Case, list[str]]] = []

        @seed(first_seed + done)
        @settings(
            max_examples=min(200, count - done),
            database=None,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        )
        @given(cases())
        def agree(case: Case) -> None:
            wrong = list(differences(case))
            if wrong:
                worst[:] = [(case, wrong)]  # noqa: B023  used within this round
            assert not wrong

        try:
            agree()
        except AssertionError:
            found += worst
        done += 200
        rate = min(done, count) / (time.perf_counter() - began)
        print(f"{min(done, count)} of {count} cases, {rate:.1f} a second", flush=True)
    return found


def main() -> int:
    """Exit code 1 if the engines disagreed about a case."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    first_seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {first_seed}")
    found = soak(count, first_seed)
    for case, wrong in found:
        text = str(case)
        path = FOLDER / "kept" / f"{sha256(text.encode()).hexdigest()[:8]}.case"
        path.write_text(text)
        print(f"\n{text}\n", *wrong, f"kept as {path}", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
