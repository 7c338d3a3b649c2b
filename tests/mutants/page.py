"""docs/mutants.md: the table of mutants with the tests that caught them."""

from __future__ import annotations

import re

from tests.mutants.table import ROOT, Mutant
from tests.mutants.trial import Verdict

PAGE = ROOT / "docs" / "mutants.md"
ENGINES = {"compiled": "The compiled engine", "reference": "The reference engine"}
INTRODUCTION = """\
# Broken rules

Would the tests notice if an engine broke a rule of [the timing contract](timing.md)? Each line
below is a small change of one engine's source that breaks a rule, and the first test that failed
with it. `make mutants` makes every change in a copy and runs the tests there without compiling; the
changes themselves stand in `tests/mutants/mutants.toml`. The tests of `tests/contract/` run on
either engine (`CONTRACT_ENGINE=reference`), those of `tests/differential/` compare both.
`python -m tests.mutants --write` renews this page.
"""
_ROW = re.compile(r"^\| ([\w-]+) \| ([A-Z0-9, ]+) \| .* \| `tests/(\S+)::(\w+)` \|$", re.MULTILINE)


def text(verdicts: dict[Mutant, Verdict]) -> str:
    """The page."""
    parts = [INTRODUCTION]
    for engine, title in ENGINES.items():
        parts.append(f"\n## {title}\n\n| name | rule | what is broken | caught by |\n")
        parts.append("| --- | --- | --- | --- |\n")
        for mutant, verdict in verdicts.items():
            if mutant.engine == engine:
                test = verdict.test.split("[", 1)[0]
                late = ", by its time-out" if verdict.kind == "time-out" else ""
                parts.append(f"| {mutant.name} | {', '.join(mutant.rules)} | {mutant.breaks} ")
                parts.append(f"| `{test}`{late} |\n")
    return "".join(parts)


def listed() -> dict[str, tuple[str, str, str]]:
    """What the page says: rules, and file (in `tests`) and function of the catcher, by name."""
    source = PAGE.read_text(encoding="utf-8")
    return {name: (rules, file, test) for name, rules, file, test in _ROW.findall(source)}
