"""docs/validation.md shows what the simulations give now."""

from __future__ import annotations

import pytest

from tests.components import report
from tests.components.check import Check


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return report.measured()


def test_the_page_holds_the_measured_figures(checks):
    page = report.PAGE.read_text(encoding="utf-8")
    now = report.tables(checks).strip()
    assert report.measured_part(page) == now, "python -m tests.components --write renews the page"


def test_every_figure_is_within_its_tolerance(checks):
    assert [check.what for check in checks if not check.agrees] == []


def test_a_figure_outside_its_tolerance_does_not_agree():
    assert Check("", "", 10.0, 10.5, "ns", 0.5).agrees
    assert not Check("", "", 10.0, 9.4, "ns", 0.5).agrees
    assert not Check("", "", 768, 769, "misses").agrees
