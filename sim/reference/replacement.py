"""Which way of a full set is vacated (M1): one policy per set, which knows ways and no lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from sim.machine.memory import Cache as CacheConfig


class Policy(Protocol):
    """What a policy is told, and asked."""

    def filled(self, way: int) -> None:
        """A new line is in this way."""

    def used(self, way: int) -> None:
        """The line in this way is used again."""

    def victim(self) -> int:
        """The way whose line leaves; all are full."""


class Lru:
    """The least recently used line leaves."""

    def __init__(self, ways: int) -> None:
        self.order = list(range(ways))  # the most recently used way is last

    def used(self, way: int) -> None:
        """It is the most recently used one."""
        self.order.remove(way)
        self.order.append(way)

    filled = used

    def victim(self) -> int:
        """The least recently used one."""
        return self.order[0]


class TreePlru:
    """Halves, and halves of halves: the victim is sought where the last use was not."""

    def __init__(self, ways: int) -> None:
        self.ways = ways
        self.in_upper: dict[range, bool] = {}  # ways -> which half was not used last

    def used(self, way: int) -> None:
        """The other half is next, in each range of ways that this one lies in."""
        part = range(self.ways)
        while len(part) > 1:
            lower, upper = _halves(part)
            self.in_upper[part] = way in lower
            part = lower if way in lower else upper

    filled = used

    def victim(self) -> int:
        """Down to a single way."""
        part = range(self.ways)
        while len(part) > 1:
            part = _halves(part)[self.in_upper[part]]
        return part[0]


def _halves(part: range) -> tuple[range, range]:
    half = len(part) // 2
    return part[:half], part[half:]


class Srrip:
    """Ages 0 to 3: young when used again, rather old when new."""

    NEW, OLD = 2, 3

    def __init__(self, ways: int) -> None:
        self.ages = [self.NEW] * ways

    def filled(self, way: int) -> None:
        """A new line."""
        self.ages[way] = self.NEW

    def used(self, way: int) -> None:
        """It has proved its worth."""
        self.ages[way] = 0

    def victim(self) -> int:
        """The first old one; where there is none, all grow older."""
        while self.OLD not in self.ages:
            self.ages = [age + 1 for age in self.ages]
        return self.ages.index(self.OLD)


class Random:
    """A way is drawn; all sets of a cache draw from one generator."""

    def __init__(self, ways: int, draws: Iterator[int]) -> None:
        self.ways = ways
        self.draws = draws

    def filled(self, way: int) -> None:
        """Nothing to remember."""

    used = filled

    def victim(self) -> int:
        """One draw."""
        return next(self.draws) % self.ways


def minimal_standard(seed: int) -> Iterator[int]:
    """The generator of M1."""
    while True:
        seed = 48271 * seed % (2**31 - 1)
        yield seed


def policy_maker(config: CacheConfig) -> Callable[[], Policy]:
    """What makes the policy of one set after another, for one cache."""
    if config.replacement == "random":
        draws = minimal_standard(config.replacement_seed)
        return lambda: Random(config.ways, draws)
    kinds: dict[str, Callable[[int], Policy]] = {"lru": Lru, "plru": TreePlru, "srrip": Srrip}
    return lambda: kinds[config.replacement](config.ways)
