"""What coherence is for, checked line by line: one core writes, or several read (C1, C7)."""

from __future__ import annotations

from isa.errors import InternalError
from sim.machine.memory import Cache as CacheConfig
from sim.reference.cache import Answer, Below, FirstLevel, Line, Requester
from sim.reference.directory import Directory
from sim.reference.shared import Shared, state


class Invariant:
    """Private caches, directory and an inclusive L3 against each other."""

    def __init__(self, shared: Shared, *, inclusive: bool) -> None:
        self.shared = shared
        self.inclusive = inclusive

    def check(self) -> None:
        """All lines that a core holds."""
        for line in sorted(set().union(*[core.lines() for core in self.shared.private])):
            self.check_line(line)

    def check_touched(self) -> None:
        """The lines of the transactions since the last check."""
        if isinstance(self.shared, Directory):
            for line in sorted(self.shared.touched):
                self.check_line(line)
            self.shared.touched.clear()

    def check_line(self, line: int) -> None:
        """Raises `InternalError` with the line, the cores and how they hold it."""
        held = {
            core: copies
            for core, private in enumerate(self.shared.private)
            if (copies := private.copies(line))
        }
        for wrong in self._wrongs(line, held):
            states = ", ".join(f"core {core} {state(copies)}" for core, copies in held.items())
            raise InternalError(f"line {line:#x} {wrong}: {states}")

    def _wrongs(self, line: int, held: dict[int, list[Line]]) -> list[str]:
        wrongs = []
        for core, copies in held.items():
            shared = {copy.shared for copy in copies}
            if len(shared) > 1:
                wrongs.append(f"is shared in one of core {core}'s caches alone")
            if any(copy.shared and copy.dirty for copy in copies):
                wrongs.append(f"is dirty and shared in core {core}")
            if isinstance(self.shared, Directory):
                entry = self.shared.entries[line]
                if core not in entry.cores:
                    wrongs.append(f"was never given to core {core}")
                if False in shared and (len(held) > 1 or entry.owner != core):
                    wrongs.append(
                        f"may be written by core {core}, but the directory's owner is "
                        f"{entry.owner} and {len(held)} cores hold it"
                    )
        if self.inclusive and held and not self.shared.in_l3(line):
            wrongs.append("is not in the inclusive L3")
        return wrongs


class CheckedFirstLevel(FirstLevel):
    """An L1 after each of whose accesses the invariant must hold."""

    def __init__(self, config: CacheConfig, below: Below, lines: int, invariant: Invariant) -> None:
        super().__init__("L1", config, below, lines)
        self.invariant = invariant

    def access(self, line: int, cycle: int, who: Requester) -> Answer | None:
        """The access, and then the check of all lines its transactions were about."""
        answer = super().access(line, cycle, who)
        self.invariant.check_touched()
        return answer
