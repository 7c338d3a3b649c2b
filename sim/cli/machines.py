"""``tickformer machines``: the presets, or one machine in full with its derived figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isa.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sim.machine import Machine


def machines(
    action: Annotated[str, typer.Argument(help="list, or show.")] = "list",
    name: Annotated[str, typer.Argument(help="For show: a preset or a .toml file.")] = "",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key, as in core.rob=64."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List the machines, or show one: what it is made of and what it promises.

    \b
    Examples:
      tickformer machines
      tickformer machines show teach
      tickformer machines show sapphire-rapids --set core.rob=224 --set l2.size=1MiB
      tickformer machines show mine.toml --json
    """
    if action == "list":
        _list(json)
    elif action == "show" and name:
        _show(name, overrides or [], json)
    elif action == "show":
        raise UserError("machines show needs a name: tickformer machines show teach")
    else:
        raise UserError(f"machines {action}: use list, or show NAME")


def _list(as_json: bool) -> None:
    from sim.cli.console import stdout_console, table
    from sim.cli.output import STDOUT, write_text
    from sim.machine import load_machine, presets
    from sim.machine.units import format_clock

    loaded = [load_machine(name) for name in presets()]
    if as_json:
        from json import dumps

        summary = [{"name": m.name, "description": m.description} for m in loaded]
        write_text(STDOUT, dumps(summary, indent=2) + "\n")
        return
    rows = [[m.name, format_clock(m.clock), m.core.kind, m.description] for m in loaded]
    columns = ["machine", "clock", "core", "description"]
    stdout_console().print(table("", columns, rows, left=columns))


def _show(name: str, overrides: list[str], as_json: bool) -> None:
    from sim.cli.console import stdout_console
    from sim.cli.output import STDOUT, write_text
    from sim.machine import load_machine
    from sim.machine.units import format_clock

    machine = load_machine(name, overrides)
    if as_json:
        from json import dumps

        write_text(STDOUT, dumps(machine.resolved(), indent=2) + "\n")
        return
    console = stdout_console()
    print(f"{machine.name}: {machine.description}")
    for name in machine.kinds:
        numbers = [core for core in range(machine.cores) if machine.type_of(core) == name]
        one = machine.of_type(name)
        core, tiles = one.core, one.core.tiles
        clocks = [machine.clock_of(core) for core in numbers] or [one.clock]
        each = clocks if machine.core_clocks else clocks[:1]
        if machine.core_types:
            print(f"\nType {name}, {len(numbers)} of {machine.cores} cores")
        print(
            f"{core.kind} at {', '.join(map(format_clock, each))}, {core.width} wide, "
            f"window {core.rob}, queues {core.load_queue} loads and {core.store_queue} stores, "
            f"{core.predictor} predictor; "
            f"{tiles.count} tiles of {tiles.rows} x {tiles.row_bytes} B"
        )
        for made in (_units, _operations, _memory, _figures):
            console.print(made(one))
    console.print(_shared(machine))


def _units(machine: Machine) -> RenderableType:
    from sim.cli.console import table

    rows = []
    for name, unit in machine.core.units.items():
        array = unit.array
        shape = "" if array is None else f"{array.rows} x {array.columns} {array.dataflow}"
        rows.append([name, str(unit.pipes), str(unit.queue), str(unit.bytes or ""), shape])
    return table("Units", ["unit", "pipes", "queue", "bytes a pipe", "systolic array"], rows)


def _operations(machine: Machine) -> RenderableType:
    from sim.cli.console import table

    rows = []
    for op in machine.core.ops:
        accumulate = "" if op.accumulate_latency is None else str(op.accumulate_latency)
        rows.append(
            [op.key, op.unit, op.slot, str(op.uops), str(op.occupancy), str(op.latency), accumulate]
        )
    columns = ["class", "unit", "slot", "uops", "occupancy", "latency", "accumulate"]
    title = "Operations (cycles; loads: 0, the caches add theirs)"
    return table(title, columns, rows, left=("unit", "slot"))


def _memory(machine: Machine) -> RenderableType:
    from sim.cli.console import table
    from sim.machine.units import format_size

    rows = []
    for name, cache in zip(("L1", "L2", "L3"), machine.levels, strict=False):
        rows.append(
            [
                name,
                format_size(cache.size),
                *(str(n) for n in (cache.ways, cache.sets, cache.hit_cycles, cache.mshrs)),
                cache.replacement,
                cache.prefetch,
            ]
        )
    columns = ["level", "size", "ways", "sets", "adds cycles", "mshrs", "replacement", "prefetch"]
    return table("Caches", columns, rows)


def _shared(machine: Machine) -> RenderableType:
    from sim.cli.console import table
    from sim.machine.units import format_size

    l3, net, dram = machine.l3, machine.interconnect, machine.dram
    turns = f"in turns of {machine.turn_ns:g} ns" if machine.turn_ns else "cycle by cycle"
    ahead = machine.load_ahead_cycles
    loads = f", loads up to {ahead} cycles ahead" if ahead else ""
    rows = [["cores", str(machine.cores)], ["several are worked", f"{turns}{loads}"]]
    if l3 is not None:
        slices = f"{l3.slices} slice{'s' * (l3.slices > 1)} of {format_size(l3.size // l3.slices)}"
        rows.append(["L3", f"{slices}, {'' if l3.inclusive else 'not '}inclusive"])
    clock = "L3's clock" if l3 else "the machine's clock"
    rows += [
        ["interconnect", f"{net.topology}, {net.hop_cycles} cycles of {clock} a hop"],
        ["snoops", f"answered in {net.snoop_cycles} cycles of {clock}"],
        [
            "DRAM",
            f"{dram.channels} channel{'s' * (dram.channels > 1)} of "
            f"{dram.gigabytes_per_second:g} GB/s with {dram.banks} banks each",
        ],
    ]
    numa = machine.numa
    if numa is not None and numa.nodes > 1:
        link = f"a link of {numa.link:g} GB/s from each to each, {numa.remote_ns:g} ns away"
        rows.append(["nodes", f"{numa.nodes}, each with such DRAM; {link}; by {numa.interleave}"])
    return table("What the cores share", ["", ""], rows, left=("",))


def _figures(machine: Machine) -> RenderableType:
    from sim.cli.console import table
    from sim.machine.figures import figures

    promised = figures(machine)
    clock = machine.clock_of(0)
    cycle_ns = 1000 / clock
    rows = [
        [f"load-to-use {level}", f"{ns:.2f} ns", f"{ns / cycle_ns:.0f} cycles"]
        for level, ns in promised.load_to_use_ns.items()
    ]
    for dtype, flops in promised.flops_per_cycle.items():
        rate = flops * clock / 1000
        rows.append([f"matmul {dtype}", f"{rate:.1f} GFLOP/s", f"{flops:g} flops a cycle"])
    usable = promised.dram_gigabytes_per_second * promised.dram_usable
    pins = f"{promised.dram_gigabytes_per_second:.1f} GB/s"
    rows.append(["DRAM pins", pins, f"{usable:.1f} GB/s beside refresh"])
    title = "What this promises, for one core while all else is idle"
    return table(title, ["figure", "value", "per core clock"], rows)
