"""Where every dispatch slot went (A1): a table of operators and causes."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

from sim.account import ACCOUNT_COLUMNS, CAUSES


class Account:
    """Counts per operator (row): `ACCOUNT_COLUMNS`, then slots by cause."""

    def __init__(self, regions: int, units: list[str]) -> None:
        self.causes = [*CAUSES, *(f"core: {name}" for name in units)]
        names = [*ACCOUNT_COLUMNS, *self.causes]
        self._column = {name: index for index, name in enumerate(names)}
        self.table: NDArray[np.int64] = np.zeros((regions, len(names)), dtype=np.int64)

    def copy(self) -> Account:
        """An account of its own with the same counts."""
        return copy.deepcopy(self)

    def add(self, region: int, column: str, count: int) -> None:
        """Book ``count`` on an operator and a column."""
        self.table[region, self._column[column]] += count
