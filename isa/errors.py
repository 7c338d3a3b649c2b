"""Errors of the whole project: the user's mistakes, faults of a running program, and our own.

`UserError` and `SimulationFault` are printed without a traceback; their text must say what was
wrong, where, and what would be right. `InternalError` means the project itself is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake the user can correct: bad input, an unknown name, an impossible machine."""

    exit_code = 1


class SimulationFault(UserError):
    """A running program did something impossible: a bad access, a bad shape, a runaway loop."""

    exit_code = 2


class InternalError(Exception):
    """A mistake in the project itself, such as a kernel that runs out of registers."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the known name closest to `wrong`, or an empty string."""
    matches = get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{matches[0]}'?" if matches else ""
