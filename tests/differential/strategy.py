"""Random cases: a machine, and programs for its tiles; one case in five has several cores."""

from __future__ import annotations

from hypothesis import reject
from hypothesis import strategies as st

from isa.errors import UserError
from tests.differential.case import Case
from tests.differential.machines import TILES, machines
from tests.differential.programs import programs, teams


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A random case."""
    base, overrides = draw(machines())
    alone = draw(st.sampled_from((True, True, True, True, False)))
    tiles = TILES[base]
    texts = (draw(programs(*tiles)),) if alone else draw(teams(*tiles))
    case = Case(base, overrides, texts, draw(st.sampled_from((1, 1, 2))))
    try:
        case.load()
    except UserError:  # overrides that do not fit together
        reject()
    return case
