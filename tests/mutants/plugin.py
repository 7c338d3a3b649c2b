"""A pytest plugin for runs on a copy: it reports events as they come, and nothing is random.

The file that MUTANT_REPORT names gets a line per event, `EVENT TAB TEST TAB ERROR`: a test starts,
a test fails, a file cannot be collected.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

import sim

REPORT = Path(os.environ["MUTANT_REPORT"])

# The first counterexample will do, and it is the same in every run.
settings.register_profile(
    "mutants", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None
)
settings.load_profile("mutants")


def pytest_configure() -> None:
    """What is tested is the copy, not what is installed."""
    own = Path(str(sim.__file__)).resolve()
    if not own.is_relative_to(Path.cwd().resolve()):
        raise pytest.UsageError(f"{own} is not in the folder under test")


def _report(*words: str) -> None:
    with REPORT.open("a", encoding="utf-8") as file:
        file.write("\t".join(words) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    """The test that a time-out ends is the last that started."""
    _report("start", nodeid, "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """The kind of error is known only here."""
    report = yield
    if report.failed:
        _report("fail", item.nodeid, call.excinfo.typename)
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be imported."""
    if report.failed:
        _report("collect", report.nodeid, "")
