"""The layout of the engine's state has room for what machine files may ask for."""

from __future__ import annotations

from sim.engine import layout
from sim.machine import core, memory


def test_the_layout_has_room_for_the_largest_machine() -> None:
    assert core.MAX_UNITS <= layout.MAX_UNITS
    assert memory.MAX_NODES <= layout.MAX_NODES
    assert memory.MAX_WRITE_BATCH <= layout.WRITE_QUEUE
    assert layout.OWNER > 1 << memory.MAX_CORES
