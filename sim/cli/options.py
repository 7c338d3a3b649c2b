"""Options that several commands have."""

from typing import Annotated

import typer

EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="compiled, or reference: the same cycles and values, about a hundred times slower.",
    ),
]

GovernorOption = Annotated[
    str | None,
    typer.Option(
        "--governor",
        metavar="FILE|memory-aware",
        help="Change clocks: at times (time,core,clock), or low where cores wait for memory.",
    ),
]
