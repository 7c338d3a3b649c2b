"""What a machine description promises: figures derived from it, to print beside measured ones."""

from __future__ import annotations

from dataclasses import dataclass

from sim.machine.schema import Machine


@dataclass(frozen=True)
class Figures:
    """Promised figures of core 0 of a machine.

    Attributes:
        load_to_use_ns: by level, from the start of a load to its data; ``dram`` is an idle machine
            with the row closed, without the burst; where there are nodes ``remote`` is another's.
        flops_per_cycle: by operand type, matmul of full tiles.
        dram_gigabytes_per_second: pin rate of all channels of all nodes together.
        dram_usable: share of the pin rate that refresh leaves.
    """

    load_to_use_ns: dict[str, float]
    flops_per_cycle: dict[str, float]
    dram_gigabytes_per_second: float
    dram_usable: float


def figures(machine: Machine) -> Figures:
    """Derive the figures of a machine."""
    dram = machine.dram
    return Figures(
        load_to_use_ns=load_to_use_ns(machine),
        flops_per_cycle={
            kind: machine.core.matmul_flops(kind) for kind in machine.core.matmul_types
        },
        dram_gigabytes_per_second=machine.nodes * dram.channels * dram.gigabytes_per_second,
        dram_usable=1 - dram.trfc_ns / dram.trefi_ns if dram.trefi_ns else 1.0,
    )


def load_to_use_ns(machine: Machine) -> dict[str, float]:
    """Nanoseconds from the start of a load to its data, by the level that has the line."""
    cycle = 1000 / machine.clock_of(0)
    total = machine.l1.hit_cycles * cycle
    result = {"l1": total}
    total += machine.l1.fill_cycles * cycle
    if machine.l2 is not None:
        total += machine.l2.hit_cycles * cycle
        result["l2"] = total
        total += machine.l2.fill_cycles * cycle
    if machine.l3 is not None:
        total += machine.l3.hit_cycles * 1000 / (machine.l3.clock or machine.clock)
        result["l3"] = total
    dram = machine.dram
    result["dram"] = total + dram.controller_ns + dram.trcd_ns + dram.tcl_ns
    if machine.numa is not None and machine.nodes > 1:
        shared = [level for level in ("l3", "dram") if level in result]
        there_and_back = 2 * machine.numa.remote_ns
        result |= {f"{level} remote": result[level] + there_and_back for level in shared}
    return result


def full_tile_latency(machine: Machine, cls: str, dtype: str) -> int:
    """Cycles from the start of an instruction to its result, on full tiles; loads hit L1."""
    core = machine.core
    row = core.op(cls, dtype)
    if row is None:  # `region`, or a matmul type that this machine lacks
        return 0
    unit = core.units[row.unit]
    if cls in ("load", "store"):
        tiles = core.tiles
        slots = tiles.rows * -(-tiles.row_bytes // (unit.bytes or tiles.row_bytes))
    else:
        slots = core.most_slots(row, dtype) * row.occupancy
    latency = machine.l1.hit_cycles if cls == "load" else row.latency
    last = (slots - 1) // unit.pipes + latency
    if cls == "matmul" and row.slot == "vector":
        # Cracked into multiply-adds, of which each element needs one after another.
        return max(last, core.tiles.row_bytes // 4 * latency)
    return last
