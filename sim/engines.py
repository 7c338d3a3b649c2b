"""The two engines by name: which one runs a program is decided here and nowhere else.

Neither is imported before it is chosen: the reference engine runs without Numba, the compiled one
without the reference.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from isa.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from typing import TypeAlias

    from sim.engine import Cpu
    from sim.reference import RaceCheck as RaceCheck
    from sim.reference import ReferenceCpu

    AnyCpu: TypeAlias = Cpu | ReferenceCpu

COMPILED, REFERENCE = "compiled", "reference"
ENGINES = (COMPILED, REFERENCE)


def check_engine(name: str) -> None:
    """Raise `UserError` for a name that is none of `ENGINES`; imports nothing."""
    if name not in ENGINES:
        raise UserError(
            f"there is no engine {name!r}.{did_you_mean(name, ENGINES)} "
            f"Engines: {', '.join(ENGINES)}"
        )


def engine_class(name: str) -> type[AnyCpu]:
    """The class of CPU with this engine; raises `UserError` for an unknown name."""
    check_engine(name)
    if name == REFERENCE:
        from sim.reference import ReferenceCpu

        return ReferenceCpu
    from sim.engine import Cpu

    return Cpu


def race_check() -> RaceCheck:
    """What looks for data races: the reference engine alone can."""
    from sim.reference import RaceCheck

    return RaceCheck()


def cpu_maker(name: str, races: RaceCheck | None) -> Callable[..., AnyCpu]:
    """`engine_class`, or with a race check the reference engine that it looks at."""
    if races is None:
        return engine_class(name)
    from sim.reference import ReferenceCpu

    return partial(ReferenceCpu, races=races)


def announce_compilation(name: str) -> None:
    """Say so, on stderr, where the next simulation compiles its engine first, which takes long."""
    if name != COMPILED:
        return
    from sim.engine.advance import advance
    from sim.engine.jit import needs_compilation

    if needs_compilation(advance):
        print(
            "compiling the simulator for this computer: once, a minute or two ...",
            file=sys.stderr,
            flush=True,
        )
