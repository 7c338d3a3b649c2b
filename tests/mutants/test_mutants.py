"""The table of mutants fits the sources and its page; the runner tells caught from not tested."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from tests.mutants import page
from tests.mutants.table import ROOT, load
from tests.mutants.trial import Verdict, attempt, copy

MUTANTS = load()
LIMIT = 300.0


def verdict(name: str, limit: float = LIMIT, **changes: object) -> Verdict:
    """Try a mutant, changed or as it is."""
    with copy() as unbroken:
        return asyncio.run(attempt(replace(MUTANTS[name], **changes), unbroken, limit))


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_mutant_changes_one_place_and_breaks_a_rule_that_exists(mutant):
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.patched(source) != source
    timing = (ROOT / "docs" / "timing.md").read_text(encoding="utf-8")
    for rule in mutant.rules:
        assert re.search(rf"\*\*{rule}\b", timing), rule
    assert all((ROOT / test).exists() for test in mutant.tests)


def test_every_chapter_of_the_contract_and_both_engines_are_broken():
    assert {rule[0] for mutant in MUTANTS.values() for rule in mutant.rules} == set("TFWILSMCDA")
    assert {mutant.engine for mutant in MUTANTS.values()} == {"compiled", "reference"}


def test_the_page_lists_the_table_and_tests_that_exist():
    listed = page.listed()
    rules = {name: rules for name, (rules, _, _) in listed.items()}
    assert rules == {name: ", ".join(mutant.rules) for name, mutant in MUTANTS.items()}
    for _, file, test in listed.values():
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"\ndef {test}(" in source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "catcher"),
    [
        ("two-drains-a-cycle", "test_stores.py::test_entries_leave_in_order"),
        ("reference-in-part-is-enough", "test_stores.py::test_a_partial_overlap"),
    ],
)
def test_a_mutant_is_caught(name, catcher):
    found = verdict(name)
    assert (found.kind, found.error) == ("failed", "AssertionError")
    assert catcher in found.test


@pytest.mark.slow
def test_a_mutant_that_does_not_load_is_not_caught():
    found = verdict("two-drains-a-cycle", new="S[core + C_SQ_LAST_DRAIN] +)")
    assert (found.kind, found.caught) == ("broken", False)


@pytest.mark.slow
def test_a_time_out_says_so():
    assert verdict("two-drains-a-cycle", limit=0.1).kind == "time-out"


def test_a_place_that_is_not_unique_is_refused():
    mutant = MUTANTS["two-drains-a-cycle"]
    with pytest.raises(ValueError, match="occurs 2 times"):
        mutant.patched(2 * mutant.old)
