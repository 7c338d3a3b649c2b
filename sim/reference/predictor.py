"""Branch prediction (F5): two-bit counters and a return stack."""

from __future__ import annotations

from collections import deque

from isa.encoding import Instr
from sim.machine.schema import Core as CoreConfig

WEAKLY_TAKEN = 2
STRONGLY_TAKEN = 3


class Predictor:
    """Says, for every branch, whether it was foreseen, and learns from it."""

    def __init__(self, config: CoreConfig) -> None:
        self.counters = [WEAKLY_TAKEN] * config.predictor_entries
        self.returns: deque[int] = deque(maxlen=config.return_stack)

    def foresees(self, pc: int, instr: Instr, target: int, *, taken: bool) -> bool:
        """Whether the branch at ``pc`` was predicted right; ``target`` is where it went."""
        if instr.mnemonic == "j":
            return True
        if instr.mnemonic == "jal":
            self.returns.append(pc + 1)  # a full ring loses its oldest entry
            return True
        if instr.mnemonic == "jr":
            return bool(self.returns) and self.returns.pop() == target
        index = pc % len(self.counters)
        counter = self.counters[index]
        self.counters[index] = min(counter + 1, STRONGLY_TAKEN) if taken else max(counter - 1, 0)
        return (counter >= WEAKLY_TAKEN) == taken
