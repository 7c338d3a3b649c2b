"""The rules, one by one, hold for the reference engine too."""

from __future__ import annotations

import pytest

from tests.contract.test_engine_modes import in_a_process


@pytest.mark.slow
def test_the_tests_of_the_contract_pass_on_the_reference_engine() -> None:
    command = ["-m", "pytest", "-q", "-m", "not slow", "tests/contract"]
    in_a_process(command, CONTRACT_ENGINE="reference")
