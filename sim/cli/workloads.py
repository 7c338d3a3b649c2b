"""``tickformer workloads``: the catalogue of models, or one of them in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isa.errors import UserError

if TYPE_CHECKING:
    from workloads.catalogue import Entry


def workloads(
    action: Annotated[str, typer.Argument(help="list, or show.")] = "list",
    name: Annotated[str, typer.Argument(help="For show: a catalogue name.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List the models known by name, or show one.

    \b
    Examples:
      tickformer workloads
      tickformer workloads show smollm2
      tickformer workloads show gpt2 --json
    """
    if action == "list":
        _list(json)
    elif action == "show" and name:
        _show(name, json)
    elif action == "show":
        raise UserError("workloads show needs a name: tickformer workloads show smollm2")
    else:
        raise UserError(f"workloads {action}: use list, or show NAME")


def _summary(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": entry.title,
        "parameters": entry.config.parameters(),
        "real_weights": entry.weights is not None,
        "source": entry.source,
        "shape": entry.config.to_dict(),
    }


def _list(as_json: bool) -> None:
    from sim.cli.console import si, stdout_console, table
    from sim.cli.output import STDOUT, write_text
    from workloads.catalogue import entries

    if as_json:
        from json import dumps

        listed = [_summary(entry) for entry in entries().values()]
        write_text(STDOUT, dumps(listed, indent=2) + "\n")
        return
    rows = []
    for entry in entries().values():
        config = entry.config
        shape = f"{config.layers} x {config.d_model}"
        weights = "fetched" if entry.weights else "seeded random"
        rows.append([entry.name, si(config.parameters()), shape, weights, entry.title])
    columns = ["workload", "parameters", "layers x width", "weights", "title"]
    stdout_console().print(table("", columns, rows, left=("weights", "title")))


def _show(name: str, as_json: bool) -> None:
    from sim.cli.console import si, stdout_console, table
    from sim.cli.output import STDOUT, write_text
    from workloads.catalogue import lookup

    entry = lookup(name)
    if as_json:
        from json import dumps

        write_text(STDOUT, dumps(_summary(entry), indent=2) + "\n")
        return
    rows = [["parameters", si(entry.config.parameters())]]
    rows += [[key, _shown(value)] for key, value in entry.config.to_dict().items()]
    if entry.weights is None:
        rows.append(["weights", "seeded random ones; a path to your own model works too"])
    else:
        rows.append(["weights", f"{entry.weights.requirement} ({entry.weights.licence})"])
    rows.append(["source", entry.source])
    stdout_console().print(table(f"{entry.name}: {entry.title}", ["", ""], rows, left=("",)))


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values from {min(value):g} to {max(value):g}"
    return str(value)
