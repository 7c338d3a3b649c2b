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
