"""A core without memory: branch prediction, window, units, retirement.

Written from docs/timing.md alone, following its words as directly as it can; it shares no line
with the engine, so that the two can only agree about the rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.machine import Machine

# --- branch prediction (F5) -----------------------------------------------------------------------


class TwoBitCounters:
    """Counters 0..3 that start weakly taken, indexed by pc."""

    def __init__(self, entries: int) -> None:
        self.counters = [2] * entries

    def predicts(self, pc: int, taken: bool) -> bool:
        """Whether the prediction is right; trains."""
        i = pc % len(self.counters)
        right = (self.counters[i] >= 2) == taken
        self.counters[i] = min(self.counters[i] + 1, 3) if taken else max(self.counters[i] - 1, 0)
        return right


class GShare(TwoBitCounters):
    """The same counters, indexed by pc xor history: a list of outcomes, the last one first."""

    def __init__(self, entries: int, bits: int) -> None:
        super().__init__(entries)
        self.history = [False] * bits

    def predicts(self, pc: int, taken: bool) -> bool:
        """Whether the prediction is right; trains."""
        history = sum(outcome << i for i, outcome in enumerate(self.history))
        self.history = [taken, *self.history][: len(self.history)]
        return super().predicts(pc ^ history, taken)


class ReturnStack:
    """A ring of return addresses: too many calls overwrite the oldest."""

    def __init__(self, entries: int) -> None:
        self.ring = [-1] * entries
        self.depth = 0

    def call(self, address: int) -> None:
        if self.ring:
            self.ring[self.depth % len(self.ring)] = address
            self.depth += 1

    def predicts(self, target: int) -> bool:
        """Pop; whether the popped address is the target."""
        if not self.depth:
            return False
        self.depth -= 1
        return self.ring[self.depth % len(self.ring)] == target


# --- a core without memory (F1-F3, F6, F7, W1-W4, I1-I6) ------------------------------------------


@dataclass
class Step:
    """One executed instruction, with what the machine file says about it, and its cycles.

    `sources` are indices of the latest older writers; `accumulator` is that of a matmul which this
    matmul continues (I6), -1: none. `redirect`: the branch is mispredicted.
    """

    unit: str
    slots: int
    uops: int
    latency: int
    sources: list[int]
    accumulator: int = -1
    accumulate_latency: int = 0
    chain: int = 0
    taken: bool = False
    redirect: bool = False
    entered: int = -1
    dispatch: int = -1
    issue: int = -1
    end: int = -1
    complete: int = -1
    retire: int = -1

    def accumulates_from(self) -> int:
        """When a matmul may start to add to this one's result."""
        again = self.accumulate_latency
        return max(self.end + again, self.issue + self.chain * again)


class Pipeline:
    """Runs steps through window and units, a cycle at a time."""

    def __init__(self, m: Machine, steps: list[Step], first: int) -> None:
        self.core = m.core
        self.steps = steps
        self.cycle = first
        self.free = dict.fromkeys(m.core.units, 0)  # next free pipe slot of each unit
        self.dispatched = 0  # steps that have entered the window
        self.uops_left = 0  # of the last one, still without a dispatch slot
        self.stop_before = first  # no dispatch before this cycle
        self.retired = 0
        self.retire_left = steps[0].uops if steps else 0

    def run(self) -> None:
        while self.retired < len(self.steps):
            self._retire()
            self._issue()
            self._dispatch()
            self.cycle += 1

    def _retire(self) -> None:
        budget = self.core.retire_width
        while self.retired < self.dispatched and budget:
            step = self.steps[self.retired]
            if step.complete < 0 or step.complete > self.cycle:
                return
            taken = min(budget, self.retire_left)
            budget -= taken
            self.retire_left -= taken
            if self.retire_left == 0:
                step.retire = self.cycle
                self.retired += 1
                if self.retired < len(self.steps):
                    self.retire_left = self.steps[self.retired].uops

    def _ready(self, step: Step) -> bool:
        if step.dispatch < 0 or step.dispatch >= self.cycle:
            return False
        waits = [self.steps[i].complete for i in step.sources]
        if step.accumulator >= 0:
            producer = self.steps[step.accumulator]
            waits.append(producer.accumulates_from() if producer.issue >= 0 else -1)
        return all(0 <= when <= self.cycle for when in waits)

    def _issue(self) -> None:
        for step in self.steps[self.retired : self.dispatched]:
            if step.issue >= 0:
                continue
            pipes = self.core.units[step.unit].pipes
            start = max(self.free[step.unit], self.cycle * pipes)
            if self._ready(step) and start < (self.cycle + 1) * pipes:
                self.free[step.unit] = start + step.slots
                step.issue, step.end = self.cycle, (start + step.slots - 1) // pipes
                step.complete = step.end + step.latency
                if step.chain:
                    chained = step.issue + (step.chain - 1) * step.accumulate_latency
                    step.complete = max(step.complete, chained + step.latency)
            elif self.core.kind == "in-order":
                return

    def _room(self, step: Step) -> bool:
        inside = self.steps[self.retired : self.dispatched]
        waiting = sum(1 for other in inside if other.issue < 0 and other.unit == step.unit)
        used = sum(other.uops for other in inside)
        return used < self.core.rob and waiting < self.core.units[step.unit].queue

    def _dispatch(self) -> None:
        core = self.core
        budget = core.width
        while budget and self.cycle >= self.stop_before:
            if self.uops_left == 0:
                if self.dispatched:
                    last = self.steps[self.dispatched - 1]
                    if last.redirect and (
                        last.complete < 0 or self.cycle < last.complete + core.mispredict_penalty
                    ):
                        return
                if self.dispatched == len(self.steps) or not self._room(
                    self.steps[self.dispatched]
                ):
                    return
                self.uops_left = self.steps[self.dispatched].uops
                self.dispatched += 1
            taken = min(budget, self.uops_left)
            budget -= taken
            self.uops_left -= taken
            step = self.steps[self.dispatched - 1]
            if self.uops_left == 0:
                step.dispatch = self.cycle
                if step.taken and not step.redirect:
                    self.stop_before = self.cycle + 1 + core.taken_branch_bubble
