"""A core to try single instructions on."""

from __future__ import annotations

import numpy as np

from isa.encoding import Instr
from isa.functions import Floats
from isa.memory import MemoryMap
from isa.semantics import execute
from isa.state import State, Tile
from isa.target import Target


class Bench:
    """A core whose tile registers a test fills; `apply` executes one instruction."""

    def __init__(self, target: Target) -> None:
        memory = MemoryMap(control_bytes=256)
        memory.add("data", 4096, "f32", (16, 64))
        self.state = State(memory, memory.allocate(), memory.allocate_control(), target)

    def apply(self, mnemonic: str, *tiles: Floats | Tile, tail: tuple[int, ...] = ()) -> Floats:
        """Put `tiles` into t1, t2, ..., execute `mnemonic t0, t1, t2, *tail`, return t0."""
        for register, tile in enumerate(tiles, start=1):
            self.state.t[register] = tile if isinstance(tile, Tile) else Tile(tile)
        with np.errstate(all="ignore"):
            execute(self.state, Instr(mnemonic, (0, *range(1, len(tiles) + 1), *tail)))
        return self.values(0)

    def values(self, register: int) -> Floats:
        """Return what a tile register holds."""
        tile = self.state.t[register]
        assert tile is not None
        return tile.data
