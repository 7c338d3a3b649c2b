"""The stream micro-program: how fast a machine moves memory into tile registers."""

from __future__ import annotations

from isa import Builder, MemoryMap, Program, Target
from sim.engine import Cpu
from sim.machine.schema import Machine

STREAM_BYTES = 1 << 22  # more than any cache of the machines it is used with


def stream_bandwidth(machine: Machine, loads: int, size: int = STREAM_BYTES) -> float:
    """Bytes per cycle of a loop that does nothing but load tiles one after the other, once.

    `loads` load instructions in the loop: a stride prefetcher learns each of them for itself. Of
    several cores each does that with its share of the `size` bytes, and the last one counts.
    """
    target = machine.target()
    memory = MemoryMap()
    turn = loads * target.rows * target.row_bytes
    share = size // target.cores // turn * turn
    buffer = memory.add("buffer", share * target.cores, "f32", (share * target.cores // 4,))
    starts = [buffer.address + core * share for core in range(target.cores)]
    programs = [_stream(target, loads, start, start + share) for start in starts]
    cpu = Cpu(machine, programs, memory, values=False)
    cpu.start()
    cpu.run()
    return share * target.cores / max(cpu.core_cycles)


def _stream(target: Target, loads: int, start: int, stop: int) -> Program:
    """The loop of one core, over the bytes from `start` to `stop`."""
    b = Builder("stream", target)
    b.label("main")
    at, end, stride, rows, cols = b.xs("at", "end", "stride", "rows", "cols")
    tiles = b.tiles("tile", 2)
    b.li(stride, target.row_bytes)
    b.li(rows, target.rows)
    b.li(cols, target.f32_cols)
    b.li(at, start)
    b.li(end, stop)
    top = b.new_label("top")
    b.place(top)
    for index in range(loads):
        b.load_f32(tiles[index % 2], at, stride, rows, cols)
        b.addi(at, at, target.rows * target.row_bytes)
    b.blt(at, end, top)
    b.halt()
    return b.build()
