"""``tickformer graph``: the operators of a model, their pieces on several cores, or the dataflow of
a stretch of assembler."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isa.errors import UserError

if TYPE_CHECKING:
    import networkx as nx

    from isa.program import Program
    from workloads.config import ModelConfig

FORMATS = ("text", "dot", "graphml")
PLAN_FORMATS = (*FORMATS, "svg")
AUTO, PREFILL, TEACH = "auto", "prefill", "teach"


def graph(
    source: Annotated[
        str, typer.Argument(metavar="WORKLOAD|FILE.s", help="A workload, or assembler text.")
    ],
    form: Annotated[
        str, typer.Option("--format", help="text, dot, graphml; with --cores svg.")
    ] = "text",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here instead of stdout.")
    ] = None,
    layers: Annotated[
        int, typer.Option("--layers", min=0, help="Of a model, only so many layers; 0: all.")
    ] = 0,
    cores: Annotated[
        int, typer.Option("--cores", min=0, help="Of a model, the pieces so many cores get.")
    ] = 0,
    partition: Annotated[
        str, typer.Option("--partition", help="How cores share the work, as in run.")
    ] = AUTO,
    step: Annotated[
        str, typer.Option("--step", help="With --cores: prefill, decode, or head, their end.")
    ] = PREFILL,
    start: Annotated[
        str, typer.Option("--from", help="Of assembler text: label or pc where it begins.")
    ] = "",
    stop: Annotated[
        str, typer.Option("--to", help="Label or pc where it ends; default: the next branch.")
    ] = "",
    machine: Annotated[
        str, typer.Option("--machine", help="Machine of the critical path, or of the cores.")
    ] = TEACH,
) -> None:
    """Show a dataflow graph: of a model's tensor operators, or of instructions.

    Instructions come with the critical path, for full tiles that are in L1. With --cores a model's
    operators are cut into pieces: who does what, in which order, and who waits for whom.

    \b
    Examples:
      tickformer graph toy-llama --layers 1
      tickformer graph gpt2 --layers 1 --format dot | dot -Tsvg > gpt2.svg
      tickformer graph toy-llama --layers 1 --cores 4 --format svg -o pieces.svg
      tickformer graph kernel.s --from loop --machine sapphire-rapids
    """
    from sim.cli.output import STDOUT, check_writable, write_text

    assembler = source.endswith((".s", ".asm"))
    _check_options(source, assembler, cores, partition, step, start, stop, machine)
    formats = PLAN_FORMATS if cores else FORMATS
    if form not in formats:
        raise UserError(f"--format {form}: use {', '.join(formats)}")
    if output is not None:
        check_writable(output)
    if assembler:
        text = _of_assembler(Path(source), start, stop, machine, form)
    elif cores:
        from sim.cli.plan import plan_text

        text = plan_text(_config(source, layers), machine, cores, partition, step, form)
    else:
        text = _of_model(_config(source, layers), form)
    write_text(output or STDOUT, text)


def _check_options(
    source: str,
    assembler: bool,
    cores: int,
    partition: str,
    step: str,
    start: str,
    stop: str,
    machine: str,
) -> None:
    """Refuse options that would change nothing."""
    if assembler and cores:
        raise UserError(f"{source} is assembler text: --cores is for models; leave it out")
    if not assembler and (start or stop):
        raise UserError(f"{source} is a model: --from and --to are for assembler text; leave out")
    if not (cores or assembler) and machine != TEACH:
        raise UserError(f"--machine {machine}: operators are the same on all; add --cores N")
    if not cores and (partition, step) != (AUTO, PREFILL):
        raise UserError("--partition and --step are of the pieces for several cores: add --cores N")


# --- models ------------------------------------------------------------------------------------


def _config(source: str, layers: int) -> ModelConfig:
    """The shape of a workload, of its first layers or (0) of all; weights are not needed for it."""
    import dataclasses

    from workloads.catalogue import entries
    from workloads.open import open_workload

    known = entries()
    config = known[source].config if source in known else open_workload(source).config
    return dataclasses.replace(config, layers=min(layers, config.layers)) if layers else config


def _of_model(config: ModelConfig, form: str) -> str:
    from workloads.graph import build_graph

    operators = build_graph(config)
    if form == "text":
        lines = [f"{config.name}: {len(operators)} operators, {config.parameters():,} weights"]
        for name, node in operators.nodes(data=True):
            weights = ", ".join(node["weights"].values())
            inputs = ", ".join(node["inputs"])
            lines.append(
                f"{name:24s} {node['op']:12s} <- {inputs}" + (f"  [{weights}]" * bool(weights))
            )
        return "\n".join(lines) + "\n"
    labels = {name: f"{name}\\n{node['op']}" for name, node in operators.nodes(data=True)}
    edges = {
        (a, b): " x ".join(str(length) for length in data["shape"])
        for a, b, data in operators.edges(data=True)
    }
    return _drawn(operators, config.name, labels, edges, set(), form)


# --- assembler ---------------------------------------------------------------------------------


def _place(program: Program, text: str) -> int:
    """A pc from a number or a label."""
    return int(text) if text.isdecimal() else program.entry(text)


def _stretch(program: Program, start: str, stop: str) -> tuple[int, int]:
    """First and last-plus-one pc; by default up to the first branch or halt."""
    begin = _place(program, start) if start else 0
    if stop:
        return begin, _place(program, stop)
    for pc in range(begin, len(program)):
        instr = program.instruction(pc)
        if instr.row.cls == "branch" or instr.mnemonic == "halt":
            return begin, pc + 1
    return begin, len(program)


def _of_assembler(file: Path, start: str, stop: str, machine: str, form: str) -> str:
    from isa.assembler import assemble_file
    from isa.dataflow import critical_path, dataflow_graph
    from sim.machine import load_machine
    from sim.machine.figures import full_tile_latency

    program = assemble_file(file).program
    described = load_machine(machine)
    dataflow = dataflow_graph(program, *_stretch(program, start, stop))
    path = critical_path(
        dataflow, lambda instr: full_tile_latency(described, instr.row.cls, instr.row.dtype)
    )
    if form == "text":
        lines = []
        for pc, node in dataflow.nodes(data=True):
            mark = "*" if pc in path.pcs else " "
            reads = [
                f"{', '.join(data['registers'])} of {producer}"
                for producer, _, data in dataflow.in_edges(pc, data=True)
            ]
            lines.append(f"{mark} {pc:5d}  {node['text']:40s} {'; '.join(reads)}".rstrip())
        lines.append(
            f"critical path (*): {path.cycles} cycles on {described.name}, "
            "full tiles, all loads hit L1"
        )
        return "\n".join(lines) + "\n"
    labels = {pc: f"{pc}: {node['text']}" for pc, node in dataflow.nodes(data=True)}
    edges = {(a, b): ", ".join(data["registers"]) for a, b, data in dataflow.edges(data=True)}
    return _drawn(dataflow, program.name, labels, edges, set(path.pcs), form)


# --- drawing -----------------------------------------------------------------------------------


def _drawn(
    source: nx.DiGraph,
    name: str,
    labels: dict[Any, str],
    edges: dict[tuple[Any, Any], str],
    marked: set[Any],
    form: str,
) -> str:
    """DOT or GraphML text; ``marked`` nodes stand out."""
    if form == "dot":
        lines = [f"digraph {_quoted(name)} {{", "  node [shape=box, fontname=monospace];"]
        for node, label in labels.items():
            style = ", style=bold, color=red" if node in marked else ""
            lines.append(f"  {_quoted(str(node))} [label={_quoted(label)}{style}];")
        for (a, b), label in edges.items():
            lines.append(f"  {_quoted(str(a))} -> {_quoted(str(b))} [label={_quoted(label)}];")
        return "\n".join([*lines, "}"]) + "\n"
    import networkx as nx

    plain = nx.DiGraph(name=name)
    for node in source:
        plain.add_node(node, label=labels[node].replace("\\n", " "), critical=node in marked)
    for (a, b), label in edges.items():
        plain.add_edge(a, b, label=label)
    return "\n".join(nx.generate_graphml(plain)) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', r"\"") + '"'
