"""One figure of another's tool or measurement beside ours, and what may lie between them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A row of docs/validation.md.

    ``theirs`` and ``ours`` are in ``unit``; ``tolerance`` is the largest difference allowed, 0 for
    equal.
    """

    part: str
    what: str
    theirs: float
    ours: float
    unit: str
    tolerance: float = 0.0

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return abs(self.ours - self.theirs) <= self.tolerance

    def cells(self) -> list[str]:
        """What, theirs, ours, tolerance, as text."""
        allowed = f"± {number(self.tolerance)} {self.unit}" if self.tolerance else "equal"
        figures = [f"{number(value)} {self.unit}" for value in (self.theirs, self.ours)]
        return [self.what, *figures, allowed]


def number(value: float) -> str:
    """A count in full, anything else to two places."""
    return f"{value:,.0f}" if value == int(value) and value >= 100 else f"{value:.2f}"
