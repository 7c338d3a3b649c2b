"""``tickformer fetch``: get a model's real weights into the user's cache."""

from __future__ import annotations

from typing import Annotated

import typer


def fetch(
    workload: Annotated[str, typer.Argument(help="A catalogue name.")] = "smollm2",
) -> None:
    """Fetch the real weights of a catalogue model, by exact version and checksum.

    Prints where the file is. Does nothing where the weights are there already.

    \b
    Examples:
      tickformer fetch
      tickformer fetch smollm2
    """
    from workloads.fetch import fetch as fetch_weights

    typer.echo(str(fetch_weights(workload)))
