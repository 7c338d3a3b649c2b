"""Every rule of the timing contract has a worked example, and both engines do what it says."""

from __future__ import annotations

import re
from itertools import groupby

import pytest

from sim.engines import ENGINES, REFERENCE, engine_class
from tests.contract.harness import plain
from tests.docs.examples import ROOT
from tests.docs.timing_examples import (
    PAGE,
    Example,
    differences,
    examples,
    measure,
    number,
    rules,
)

TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
EXAMPLES = examples(TEXT)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "example", [pytest.param(each, id=f"{'-'.join(each.rules)}:{each.line}") for each in EXAMPLES]
)
def test_an_engine_does_what_the_example_says(example: Example, engine: str) -> None:
    assert not differences(example, measure(example, engine_class(engine)))


@pytest.mark.parametrize("rule", rules(TEXT))
def test_every_rule_has_an_example(rule: str) -> None:
    assert any(rule in example.rules for example in EXAMPLES)


def test_every_rule_is_found_and_examples_name_no_other() -> None:
    found = rules(TEXT)
    sections = re.findall(r"^## ([A-Z]): ", TEXT, re.MULTILINE)
    groups = {letter: list(group) for letter, group in groupby(found, key=lambda rule: rule[0])}
    assert list(groups) == sections
    for letter, group in groups.items():
        assert group == [f"{letter}{i}" for i in range(1, len(group) + 1)]
    assert {rule for example in EXAMPLES for rule in example.rules} <= set(found)


def test_the_base_machine_is_as_the_page_says() -> None:
    keys = re.findall(r"^\| `([\w.]+)` \| (\S+) \|", TEXT, re.MULTILINE)
    assert len(keys) > 20
    for key, value in keys:
        assert plain(f"{key}={value}") == plain(), key


# --- the comparison itself ------------------------------------------------------------------------

SMALL = """
*Example W3.* Words.

```asm
# set core.width=1
main:
    li  x1, 2
a:  li  x2, 3
    halt
```

| instruction | dispatch | complete |
| --- | --- | --- |
| a | 1 | 1 + 1 + 1 = 3 |

| operator | retiring | core: scalar |
| --- | --- | --- |
| 0 | 2 | 1 |
"""


def compare(text: str) -> list[str]:
    """The differences of the only example of a text."""
    (example,) = examples(text)
    return differences(example, measure(example, engine_class(REFERENCE)))


def test_a_wrong_number_and_a_cause_left_out_are_differences() -> None:
    assert compare(SMALL) == []
    assert compare(SMALL.replace("| a | 1 |", "| a | 2 |")) == [
        "instruction a, dispatch: 2 on the page, 1 measured"
    ]
    assert compare(SMALL.replace("core: scalar", "core: vector"))
    assert compare(SMALL.replace("| 0 | 2 |", "| 0 | 3 |"))
    assert compare(SMALL.replace("| 0 | 2 |", "| 1 | 2 |"))
    assert compare(SMALL.replace("a:  li", "    .region 1 other\na:  li"))
    assert compare(SMALL.replace("| a |", "| b |"))
    assert compare(SMALL.replace("# set core.width=1\n", ""))


def test_a_calculation_has_to_add_up() -> None:
    assert number("2 + 3·(4 - 1) = 11") == number("11") == 11
    for cell in ("2 + 2 = 5", "x", "", "1 = 2 = 2"):
        with pytest.raises(ValueError, match=r"does not add up|neither a number"):
            number(cell)


def test_what_is_no_example_is_refused() -> None:
    without_tables, table = SMALL.split("\n|", 1)
    for text in (
        SMALL.replace("```asm", "```"),
        without_tables + SMALL,
        f"{SMALL}\nWords, then another table.\n\n|{table}",
        "*Example X.*\n",
    ):
        with pytest.raises(ValueError, match="an example is"):
            examples(text)
    with pytest.raises(ValueError, match="same name"):
        examples(SMALL.replace("| a | 1 |", "| a | 1 | 3 |\n| a | 1 |"))
