"""What `--check-races` of `run` and `run-asm` has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sim.engines import REFERENCE

if TYPE_CHECKING:
    from sim.result import Race

SHOWN = 10
EXIT_RACES = 1

RacesOption = Annotated[
    bool,
    typer.Option(
        "--check-races",
        help="Look for data races between cores (on the reference engine); exit code 1 if any.",
    ),
]


def note_engine(engine: str) -> None:
    """Say on stderr which engine it is, where another one was meant."""
    if engine != REFERENCE:
        typer.echo(
            "note: races are looked for on the reference engine, which takes longer", err=True
        )


def show_races(races: Sequence[Race], *, partial: bool) -> None:
    """Print how many there are, and the first of them; of a ``partial`` run what was run."""
    if not races:
        print("no data races in what was run" if partial else "no data races")
        return
    print(f"{len(races)} data race{'s' if len(races) > 1 else ''}: no signal orders")
    for race in races[:SHOWN]:
        print(race)
    if len(races) > SHOWN:
        print(f"and {len(races) - SHOWN} more")
