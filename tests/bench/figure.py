"""One measured figure, its budget, and whether the budget is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A row of the report.

    Attributes:
        group: the heading it stands under.
        what: what was measured, for a reader who has not seen the code.
        value, unit: the best of all repetitions, or a median where what was measured says so.
        budget, aim: limits of the architecture page, in `unit`; None where it sets none.
        more_is_better: the limits are lower ones.
    """

    group: str
    what: str
    value: float
    unit: str
    budget: float | None = None
    aim: float | None = None
    more_is_better: bool = False

    @property
    def used(self) -> float | None:
        """Share of the budget that is used up: at most 1 where it is kept."""
        if self.budget is None:
            return None
        return self.budget / self.value if self.more_is_better else self.value / self.budget

    @property
    def verdict(self) -> str:
        """`kept` or `missed`; where there is an aim too, whether that is reached."""
        if self.used is None:
            return ""
        if self.used > 1:
            return "missed"
        if self.aim is None:
            return "kept"
        reached = self.value >= self.aim if self.more_is_better else self.value <= self.aim
        return "kept, aim reached" if reached else "kept, aim not reached"

    @property
    def limits(self) -> str:
        """Budget and aim as text."""
        if self.budget is None:
            return ""
        sign = "≥" if self.more_is_better else "≤"
        text = f"{sign} {number(self.budget)} {self.unit}"
        return text if self.aim is None else f"{text} (aim {number(self.aim)})"

    def cells(self) -> list[str]:
        """What, measured, budget, share used, verdict."""
        used = "" if self.used is None else f"{self.used:.2f}"
        return [self.what, f"{number(self.value)} {self.unit}", self.limits, used, self.verdict]


COLUMNS = ("what", "measured", "budget", "used", "verdict")


def number(value: float) -> str:
    """Three digits, never in exponents."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"
