"""Branch prediction (F5): counters by pc, or pc and history, and a return stack; or perfection."""

from __future__ import annotations

from collections import deque

from isa.encoding import Instr
from sim.machine.core import Core as CoreConfig

WEAKLY_TAKEN = 2
STRONGLY_TAKEN = 3


class Predictor:
    """Says, for every branch, whether it was foreseen, and learns from it."""

    def __init__(self, config: CoreConfig) -> None:
        self.kind = config.predictor
        self.counters = [WEAKLY_TAKEN] * config.predictor_entries
        self.history = 0  # the last outcome is its lowest bit; two-bit counters ignore it
        self.histories = 1 << config.history_bits
        self.returns: deque[int] = deque(maxlen=config.return_stack)

    def foresees(self, pc: int, instr: Instr, target: int, *, taken: bool) -> bool:
        """Whether the branch at ``pc`` was predicted right; ``target`` is where it went."""
        if self.kind == "perfect" or instr.mnemonic == "j":
            return True
        if instr.mnemonic == "jal":
            self.returns.append(pc + 1)  # a full ring loses its oldest entry
            return True
        if instr.mnemonic == "jr":
            return bool(self.returns) and self.returns.pop() == target
        index = (pc ^ self.history if self.kind == "gshare" else pc) % len(self.counters)
        self.history = (2 * self.history + taken) % self.histories
        counter = self.counters[index]
        self.counters[index] = min(counter + 1, STRONGLY_TAKEN) if taken else max(counter - 1, 0)
        return (counter >= WEAKLY_TAKEN) == taken
