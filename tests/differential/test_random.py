"""Random programs on random machines, and every case that once told the engines apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from sim.governor import Change
from tests.differential.case import FOLDER, Case, differences
from tests.differential.strategy import cases

KEPT = sorted((FOLDER / "kept").glob("*.case"))


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases())
def test_engines_agree_on_random_cases(case: Case) -> None:
    assert list(differences(case)) == []


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_engines_agree_on_a_kept_case(path: Path) -> None:
    assert list(differences(Case.parse(path.read_text()))) == []


def test_a_case_survives_its_file() -> None:
    texts = ("main:\n halt\n", "main:\n signal 1\n halt\n")
    changes = (Change(7, None, 999), Change(5, 1, 2000))
    case = Case("teach", ("core.width=3", "l2=none"), texts, 2, changes)
    assert Case.parse(str(case)) == case
