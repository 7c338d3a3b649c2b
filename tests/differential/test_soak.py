"""`make soak` itself, with engines that are said to disagree: no engine runs here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.differential import soak
from tests.differential.case import Case, Outcome, differences


@pytest.fixture
def about(monkeypatch: pytest.MonkeyPatch):
    """Let the engines disagree about the cases of which a function is true."""

    def let(disagree) -> None:
        monkeypatch.setattr(
            soak, "differences", lambda case: iter(["cycles: 1, 2"] if disagree(case) else [])
        )

    return let


def test_agreement_ends_with_the_count(
    about, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "ROUND", 8)
    about(lambda case: False)
    assert soak.main(["20", "--seed", "1"], tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    out = capsys.readouterr().out
    assert out.startswith("seed 1\n20 of 20 cases, ")
    assert out.endswith("the engines agreed about 20\n")


@pytest.mark.parametrize("failures", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_disagreement_is_shrunk_and_kept_and_the_run_goes_on(
    about, tmp_path: Path, capsys, failures: int
) -> None:
    about(lambda case: case.texts[0].count("\n") > 22)
    code = soak.main(["10000", "--seed", "1", "--failures", str(failures)], tmp_path)
    out = capsys.readouterr().out
    assert code == 1
    assert out.count("shrinking the case") == out.count("kept as") == failures
    assert out.endswith(f"disagreed about {failures}\n")
    for path in tmp_path.iterdir():
        case = Case.parse(path.read_text())
        assert str(case) in out
        assert case.texts[0].count("\n") == 23  # as short as it can be


@pytest.mark.parametrize("broken", [("Cpu",), ("ReferenceCpu",), ("ReferenceCpu", "Cpu")])
def test_a_crash_of_an_engine_is_a_disagreement(
    monkeypatch: pytest.MonkeyPatch, broken: tuple[str, ...]
) -> None:
    """Told by its traceback, whatever the other engine does."""
    nothing = Outcome("", [], 0, [], {}, {}, np.zeros(0, np.uint8), np.zeros(0, np.int64))

    def execute(engine: type, case: Case) -> Outcome:
        if engine.__name__ in broken:
            raise IndexError("off the end")
        return nothing

    monkeypatch.setattr("tests.differential.case.execute", execute)
    told = list(differences(Case("teach", (), ("main: halt\n",))))
    assert [text.split("\n")[0] for text in told] == [f"{engine} crashed" for engine in broken]
    assert all(text.endswith("IndexError: off the end\n") for text in told)


@pytest.mark.parametrize("disagreed", [False, True])
def test_ctrl_c_says_how_many_agreed(about, tmp_path: Path, capsys, disagreed: bool) -> None:
    cases = []

    def disagree(case: Case) -> bool:
        cases.append(case)
        if len(cases) == 8:
            raise KeyboardInterrupt
        return disagreed and len(cases) > 5

    about(disagree)
    assert soak.main(["100", "--seed", "1"], tmp_path) == (1 if disagreed else 130)
    out = capsys.readouterr().out
    assert "\ninterrupted: " in out
    agreed = 5 if disagreed else 7
    assert f"agreed about {agreed}" in out
    assert len(list(tmp_path.iterdir())) == disagreed
