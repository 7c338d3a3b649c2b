"""The table of mutants: rules of docs/timing.md, each broken at one small place of an engine."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True)
class Mutant:
    """What is broken, by replacing the text ``old`` of ``file`` with ``new``.

    ``tests`` are arguments of pytest: where the test that should notice is looked for first.
    """

    name: str
    rules: tuple[str, ...]
    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def engine(self) -> str:
        """The engine it breaks, as the environment variable CONTRACT_ENGINE names it."""
        return "reference" if self.file.startswith("sim/reference/") else "compiled"

    def patched(self, source: str) -> str:
        """The file's text with the rule broken; ValueError if the place is not found once."""
        found = source.count(self.old)
        if found != 1:
            raise ValueError(f"{self.name}: `old` occurs {found} times in {self.file}, not once")
        return source.replace(self.old, self.new)


def load() -> dict[str, Mutant]:
    """All mutants by name, in the order of the table."""
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {
        name: Mutant(
            name=name,
            **{key: tuple(value) if isinstance(value, list) else value for key, value in e.items()},
        )
        for name, e in entries.items()
    }
