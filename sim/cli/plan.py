"""A plan for several cores as text, SVG, DOT or GraphML: pieces, their cores, and signals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from isa.errors import UserError

if TYPE_CHECKING:
    from workloads.config import ModelConfig
    from workloads.lowering import Lowered
    from workloads.lowering.schedule import Schedule, Task

STEPS = ("prefill", "decode", "head")  # the fields of a `Plan`

# SVG, in pixels
WIDTH = 1400
LEFT = 70
LANE = 34
BOX = 24
TOP = 48
LETTER = 6.2  # width of one in the 10-pixel font
COLOURS = {
    "linear": "#9ecae1",
    "attention": "#fdae6b",
    "rmsnorm": "#c7e9c0",
    "layernorm": "#c7e9c0",
    "kv_append": "#dadaeb",
    "rope": "#dadaeb",
    "silu_mul": "#fdd0a2",
}
OTHER_COLOUR = "#d9d9d9"


def plan_text(
    config: ModelConfig, machine: str, cores: int, partition: str, step: str, form: str
) -> str:
    """The plan of one step of a model.

    Raises:
        UserError: an unknown step, partition or machine.
    """
    from sim.machine import load_machine
    from workloads.lowering import lower
    from workloads.weights.random import RandomWeights

    if step not in STEPS:
        raise UserError(f"--step {step}: use {', '.join(STEPS)}")
    described = load_machine(machine, [f"cores={cores}"])
    lowered = lower(
        RandomWeights(config), described.target(), dtype="bf16", values=False, partition=partition
    )
    schedule: Schedule = getattr(lowered.plan, step)
    title = f"{config.name}, {step} on {cores} cores of {described.name}, partition {partition}"
    forms: dict[str, Callable[[Lowered, Schedule, str], str]] = {
        "text": _text, "svg": _svg, "dot": _dot, "graphml": _graphml,
    }  # fmt: skip
    return forms[form](lowered, schedule, title)


def _name(lowered: Lowered, task: Task) -> str:
    return lowered.regions[task.piece.operator + 1].name


def _part(task: Task) -> str:
    """Which part of the operator a piece is."""
    piece = task.piece
    words = []
    if piece.share:
        words.append(f"rows {piece.share[0] + 1}/{piece.share[1]}")
    if piece.columns:
        words.append(f"blocks {piece.columns[0]}-{piece.columns[1] - 1}")
    return ", ".join(words) or ("dealt" if piece.dealt else "all")


def _key(task: Task) -> str:
    return f"{task.core}.{task.index}"


def _text(lowered: Lowered, schedule: Schedule, title: str) -> str:
    span = max(task.end for task in schedule.tasks)
    waits = sum(len(task.waits) for task in schedule.tasks)
    lines = [
        f"{title}: {len(schedule.tasks)} pieces, {waits} waits",
        f"times are estimates, in tile operations; the last piece ends at {span:,.0f}",
        "",
        f"core  {'start':>10}  {'end':>10}  {'operator':24}  {'part':22}  waits for; signals",
    ]
    for task in sorted(schedule.tasks, key=lambda task: (task.piece.operator, task.core)):
        waits_for = ", ".join(f"core {core} >= {count}" for core, count in task.waits)
        signal = f"; signal {task.signal}" if task.signal else ""
        lines.append(
            f"{task.core:4d}  {task.start:10,.0f}  {task.end:10,.0f}  "
            f"{_name(lowered, task):24}  {_part(task):22}  {waits_for}{signal}".rstrip()
        )
    lines += ["", "work per core, of the longest"]
    loads = [sum(task.end - task.start for task in lane) for lane in schedule.lanes]
    lines += [
        f"{core:4d}  {load:10,.0f}  {load / max(loads):6.1%}" for core, load in enumerate(loads)
    ]
    return "\n".join(lines) + "\n"


def _svg(lowered: Lowered, schedule: Schedule, title: str) -> str:
    """Cores as lanes, pieces as boxes along estimated time, signals as arrows."""
    span = max(task.end for task in schedule.tasks)
    scale = (WIDTH - LEFT - 20) / span
    height = TOP + LANE * len(schedule.lanes) + 30

    def x(time: float) -> float:
        return round(LEFT + time * scale, 1)

    def y(core: int) -> int:
        return TOP + LANE * core

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="10">',
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0L6 3L0 6z" fill="#a50f15"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-size="14">{escape(title)}</text>',
        f'<text x="10" y="36" fill="#555">estimated time in tile operations, 0 to {span:,.0f}; '
        "arrows: signals that somebody waits for</text>",
    ]
    for core in range(len(schedule.lanes)):
        out.append(f'<text x="10" y="{y(core) + 16}">core {core}</text>')
        out.append(
            f'<path d="M{LEFT} {y(core) + BOX}H{WIDTH - 20}" stroke="#ddd" stroke-width="1"/>'
        )
    for task in schedule.tasks:
        name, part = _name(lowered, task), _part(task)
        left, wide = x(task.start), max((task.end - task.start) * scale, 1)
        colour = COLOURS.get(lowered.regions[task.piece.operator + 1].kind, OTHER_COLOUR)
        out.append(
            f"<g><title>{escape(f'{name}, {part}: {task.start:,.0f} to {task.end:,.0f}')}</title>"
            f'<rect x="{left}" y="{y(task.core)}" width="{wide:.1f}" height="{BOX}" '
            f'fill="{colour}" stroke="#666" stroke-width="0.5"/>'
        )
        room = int(wide / LETTER)
        if room >= 2:
            short = name.split(".")[-1][:room]
            out.append(f'<text x="{left + 2}" y="{y(task.core) + 15}">{escape(short)}</text>')
        out.append("</g>")
    for task in schedule.tasks:
        for before in task.after:
            out.append(
                f'<path d="M{x(before.end)} {y(before.core) + BOX // 2}'
                f'L{x(task.start)} {y(task.core) + BOX // 2}" stroke="#a50f15" '
                'stroke-width="0.6" stroke-opacity="0.6" marker-end="url(#tip)"/>'
            )
    return "\n".join([*out, "</svg>"]) + "\n"


def _edges(schedule: Schedule) -> list[tuple[Task, Task, str]]:
    """Order on one core, and signals between cores with their numbers."""
    edges = []
    for lane in schedule.lanes:
        edges += [(a, b, "") for a, b in itertools.pairwise(lane)]
        edges += [(a, b, f"signal {a.signal}") for b in lane for a in b.after]
    return edges


def _dot(lowered: Lowered, schedule: Schedule, title: str) -> str:
    lines = [f'digraph "{title}" {{', "  rankdir=LR; node [shape=box, fontname=monospace];"]
    for core, lane in enumerate(schedule.lanes):
        lines.append(f'  subgraph cluster_{core} {{ label="core {core}";')
        lines += [
            f'    "{_key(task)}" [label="{_name(lowered, task)}\\n{_part(task)}"];' for task in lane
        ]
        lines.append("  }")
    for a, b, label in _edges(schedule):
        style = f'label="{label}", color=red' if label else "style=dotted"
        lines.append(f'  "{_key(a)}" -> "{_key(b)}" [{style}];')
    return "\n".join([*lines, "}"]) + "\n"


def _graphml(lowered: Lowered, schedule: Schedule, title: str) -> str:
    import networkx as nx

    graph = nx.DiGraph(name=title)
    for task in schedule.tasks:
        graph.add_node(
            _key(task), operator=_name(lowered, task), part=_part(task), core=task.core,
            start=task.start, end=task.end,
        )  # fmt: skip
    for a, b, label in _edges(schedule):
        graph.add_edge(_key(a), _key(b), label=label)
    return "\n".join(nx.generate_graphml(graph)) + "\n"
