"""What a faster core clock should bring, by the account of a run at the usual one."""

from __future__ import annotations

from dataclasses import dataclass

from sim import simulate
from sim.machine import load_machine

# Causes that last as many ns at any core clock: L3 has a clock of its own here, DRAM has none.
FIXED = ("memory: L3", "memory: DRAM", "memory: coherence")


@dataclass(frozen=True)
class Doubled:
    """`fixed` is the share of cycles that do not get shorter in ns; `speedup` was measured."""

    fixed: float
    speedup: float

    @property
    def predicted(self) -> float:
        """Speed-up if just the fixed share stays and all else takes half."""
        return 1 / (self.fixed + (1 - self.fixed) / 2)


def doubled(workload: str, machine: str, *overrides: str, cores: int = 1) -> Doubled:
    """A decode step at the machine's clock and at twice that, L3's clock being held."""
    described = load_machine(machine, overrides)
    held = [f"l3.clock={described.clock}MHz"] if described.l3 else []
    usual, fast = (
        simulate(
            workload,
            machine,
            context=16,
            tokens=1,
            values=False,
            cores=cores,
            overrides=[*overrides, *held, f"clock={clock}MHz"],
        )
        for clock in (described.clock, 2 * described.clock)
    )
    fixed = sum(usual.account.causes[cause] for cause in FIXED) / usual.cycles
    return Doubled(fixed, usual.seconds / fast.seconds)
