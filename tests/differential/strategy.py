"""Random cases: a machine, programs for its tiles, and changes of its cores' clocks.

Two cases in five have several cores, half of them with clocks of their own and half of two types;
of all cases one in four has changes of clock.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import reject
from hypothesis import strategies as st

from isa.errors import UserError
from sim.governor import Change
from tests.differential.case import Case
from tests.differential.machines import CLOCKS, TILES, machines, types
from tests.differential.programs import meetings, programs, teams


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A random case."""
    base, overrides = draw(machines())
    kind = draw(st.sampled_from(("alone", "alone", "alone", "team", "meeting")))
    tiles = TILES[base]
    if kind == "alone":
        texts: tuple[str, ...] = (draw(programs(*tiles)),)
    else:
        texts = draw(teams(*tiles) if kind == "team" else meetings(*tiles))
    if len(texts) > 1 and draw(st.booleans()):
        clocks = ", ".join(f'"{draw(st.sampled_from(CLOCKS))}MHz"' for _ in texts)
        overrides = (*overrides, f"core_clocks=[{clocks}]")
    if len(texts) > 1 and draw(st.booleans()):
        overrides = (*overrides, *draw(types(base, overrides, len(texts))))
    case = Case(base, overrides, texts, draw(st.sampled_from((1, 1, 2))))
    try:
        case.load()
    except UserError:  # overrides that do not fit together
        reject()
    if not draw(st.sampled_from((False, False, False, True))):
        return case
    return replace(case, changes=draw(changes(len(texts))))


@st.composite
def changes(draw: st.DrawFn, cores: int) -> tuple[Change, ...]:
    """A few changes of clock, some at one time, most while random programs run."""
    times = st.one_of(st.integers(0, 300), st.integers(0, 5000)).map(lambda ns: 10**6 * ns)
    one = st.builds(
        Change,
        st.builds(int.__add__, times, st.sampled_from((0, 0, 1, 333_333, 999_999))),
        st.one_of(st.none(), st.integers(0, cores - 1)),
        st.sampled_from((*CLOCKS, 1, 100_000)),
    )
    return tuple(draw(st.lists(one, min_size=1, max_size=6)))
