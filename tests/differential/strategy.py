"""Random cases: a machine, and a program for its tiles."""

from __future__ import annotations

from hypothesis import reject
from hypothesis import strategies as st

from isa.errors import UserError
from tests.differential.case import Case
from tests.differential.machines import machines
from tests.differential.programs import programs

TILES = {
    "teach": (4, 16),
    "wide.toml": (8, 32),
    "cortex-a76": (4, 16),
    "sapphire-rapids": (16, 64),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A random case."""
    base, overrides = draw(machines())
    text = draw(programs(*TILES[base]))
    case = Case(base, overrides, text, draw(st.sampled_from((1, 1, 2))))
    try:
        case.load()
    except UserError:  # overrides that do not fit together
        reject()
    return case
