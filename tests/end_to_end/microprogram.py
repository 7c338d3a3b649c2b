"""The stream micro-program: how fast a machine moves memory into tile registers."""

from __future__ import annotations

from isa import Builder, MemoryMap
from sim.engine import Cpu
from sim.machine.schema import Machine

STREAM_BYTES = 1 << 22  # more than any cache of the machines it is used with


def stream_bandwidth(machine: Machine, loads: int) -> float:
    """Bytes per cycle of a loop that does nothing but load tiles one after the other, once.

    `loads` load instructions in the loop: a stride prefetcher learns each of them for itself.
    """
    target = machine.target()
    memory = MemoryMap()
    buffer = memory.add("buffer", STREAM_BYTES, "f32", (STREAM_BYTES // 4,))
    b = Builder("stream", target)
    b.label("main")
    at, end, stride, rows, cols = b.xs("at", "end", "stride", "rows", "cols")
    tiles = b.tiles("tile", 2)
    b.li(stride, target.row_bytes)
    b.li(rows, target.rows)
    b.li(cols, target.f32_cols)
    b.li(at, buffer.address)
    b.li(end, buffer.end)
    top = b.new_label("top")
    b.place(top)
    for index in range(loads):
        b.load_f32(tiles[index % 2], at, stride, rows, cols)
        b.addi(at, at, target.rows * target.row_bytes)
    b.blt(at, end, top)
    b.halt()
    cpu = Cpu(machine, [b.build()], memory, values=False)
    cpu.start()
    cpu.run()
    return STREAM_BYTES / cpu.cycles
