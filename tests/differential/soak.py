"""Random cases on both engines: ``python -m tests.differential.soak 10000 [--failures 3]``.

A case they disagree about, or about which one of them crashes, is shrunk, shown, and written to the
folder `kept`, where the tests pick it up. So many disagreements end the run. Exit code 1 if there
was any.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from sim.cli.console import Progress
from sim.interrupt import EXIT_INTERRUPTED
from tests.differential.case import FOLDER, Case, differences
from tests.differential.strategy import cases

KEPT = FOLDER / "kept"
ROUND = 200  # cases from one seed: a disagreement ends a round


class Soak:
    """What has been done so far."""

    def __init__(self, count: int, folder: Path) -> None:
        self.count = count
        self.folder = folder
        self.agreed = 0
        self.failures = 0
        self._began = time.perf_counter()
        self._progress = Progress()

    @property
    def done(self) -> int:
        """Cases decided; those tried while shrinking are none of them."""
        return self.agreed + self.failures

    def summary(self) -> str:
        """How many cases were run, how fast, and what came of them."""
        rate = self.done / (time.perf_counter() - self._began)
        disagreed = f", disagreed about {self.failures}" if self.failures else ""
        return (
            f"{self.done:,} of {self.count:,} cases, {rate:.1f} a second: "
            f"the engines agreed about {self.agreed:,}{disagreed}"
        )

    def round(self, first_seed: int) -> None:
        """Run cases up to a disagreement, which is kept, but no more than a round's."""
        smallest: list[tuple[Case, list[str]]] = []
        agreed_before = self.agreed

        @seed(first_seed)
        @settings(
            max_examples=min(ROUND, self.count - self.done),
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(cases())
        def agree(case: Case) -> None:
            wrong = list(differences(case))
            if wrong:
                if not smallest:
                    self._say(f"{self.summary()}\nthe engines disagree; shrinking the case ...")
                smallest[:] = [(case, wrong)]
            elif not smallest:
                self.agreed += 1
            self._progress.update("shrinking" if smallest else self.summary())
            assert not wrong

        try:
            agree()
        except AssertionError:
            if not smallest:
                raise
        finally:  # also when shrinking was interrupted
            if smallest:
                self.failures += 1
                self._keep(*smallest[0])
        assert smallest or self.agreed > agreed_before, "no case was made"

    def _keep(self, case: Case, wrong: list[str]) -> None:
        text = str(case)
        path = self.folder / f"{sha256(text.encode()).hexdigest()[:8]}.case"
        path.write_text(text)
        self._say("\n".join(["", text, *wrong, f"kept as {path}", ""]))

    def _say(self, text: str) -> None:
        self._progress.clear()
        print(text, flush=True)


def main(arguments: list[str] | None = None, folder: Path = KEPT) -> int:
    """Exit code 1 if the engines disagreed about a case, 130 if Ctrl-C ended it before."""
    parser = argparse.ArgumentParser(prog="soak", description="Random cases on both engines.")
    parser.add_argument("cases", type=int, nargs="?", default=10_000)
    parser.add_argument("--failures", type=int, default=3, help="end after so many disagreements")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", flush=True)
    soak = Soak(options.cases, folder)
    interrupted = False
    try:
        while soak.done < soak.count and soak.failures < options.failures:
            soak.round(options.seed + soak.done)
    except KeyboardInterrupt:
        interrupted = True
    print(("interrupted: " if interrupted else "") + soak.summary())
    if soak.failures:
        return 1
    return EXIT_INTERRUPTED if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
