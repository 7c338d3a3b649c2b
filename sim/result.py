"""What a run gives back: the values it computed and the account of its cycles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


class Region(NamedTuple):
    """An operator that instructions belong to; its number is its place in the run's list."""

    name: str
    kind: str
    layer: int | None = None


class Race(NamedTuple):
    """A data race: the byte where two accesses meet, and what they are, in this run's order."""

    place: str
    first: str
    second: str

    def __str__(self) -> str:
        """Three lines."""
        return f"{self.place}\n  {self.first}\n  {self.second}"


@dataclass(frozen=True)
class Step:
    """One run of the program: the prefill of a prompt or the decoding of one token.

    Attributes:
        kind: ``prefill``, ``decode`` or ``program`` (hand-written assembler).
        tokens: tokens that went in, over all sequences.
        context: tokens of the longest sequence after the step.
        cycles, seconds: simulated.
        partial: the step was interrupted.
    """

    kind: str
    tokens: int
    context: int
    cycles: int
    seconds: float
    instructions: int
    partial: bool = False


@dataclass(frozen=True)
class Work:
    """What was done for one operator, kind of operator or whole run.

    Attributes:
        cycles: dispatch slots charged, divided by the slots of a cycle; sums over operators are
            the cycles of the run.
        dram_bytes: read from and written to DRAM.
        causes: cycles by cause, where they are not zero.
    """

    cycles: float
    instructions: int
    flops: int
    dram_bytes: int
    causes: dict[str, float]


@dataclass(frozen=True)
class Operator:
    """The work for one operator in one step (``step`` counts from 0)."""

    name: str
    kind: str
    layer: int | None
    step: int
    work: Work

    def to_dict(self) -> dict[str, Any]:
        """Flat values for JSON, without the causes."""
        values = {"name": self.name, "kind": self.kind, "layer": self.layer, "step": self.step}
        return values | _flat(self.work)


@dataclass
class Account:
    """Where the cycles went.

    Attributes:
        cycles: of core 0; ``core_cycles`` has those of every core, of its own clock. Cycles of
            operators, kinds and causes are means over the cores.
        operators: per step and operator, those that did anything.
        kinds: per kind of operator, over all steps, most cycles first.
        causes: cycles of the whole run by cause, all of them.
        caches, dram, core, coherence: counters.
        nodes: counters of every node, of a machine with several.
    """

    cycles: int
    seconds: float
    instructions: int
    flops: int
    steps: list[Step]
    operators: list[Operator]
    kinds: dict[str, Work]
    causes: dict[str, float]
    caches: dict[str, dict[str, int]]
    dram: dict[str, int]
    core: dict[str, int]
    coherence: dict[str, int]
    nodes: list[dict[str, int]]
    core_cycles: list[int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``core_cycles`` where clocks of cores differ.

        ``coherence`` is there where there is anything to count: several cores, an inclusive L3.
        """
        several = {"core_cycles": self.core_cycles} if len(set(self.core_cycles)) > 1 else {}
        return {
            "cycles": self.cycles,
            **several,
            "seconds": self.seconds,
            "instructions": self.instructions,
            "flops": self.flops,
            "steps": [asdict(step) for step in self.steps],
            "operators": [operator.to_dict() for operator in self.operators],
            "kinds": [
                {"kind": kind} | _flat(work) | {"causes": _rounded(work.causes)}
                for kind, work in self.kinds.items()
            ],
            "causes": _rounded(self.causes),
            "caches": self.caches,
            "dram": self.dram,
            "core": self.core,
            **({"coherence": self.coherence} if self.has_coherence else {}),
            **({"nodes": self.nodes} if self.nodes else {}),
        }

    @property
    def has_coherence(self) -> bool:
        """Whether caches had to be kept coherent."""
        return len(self.core_cycles) > 1 or any(self.coherence.values())


@dataclass
class Result:
    """One simulated generation.

    Attributes:
        machine: the whole description that was simulated.
        engine: its name, of `sim.engines.ENGINES`; it changes nothing but ``host_seconds``.
        governor: what changed clocks during the run: ``fixed`` (nothing), or its name.
        prompt_ids, tokens, text: what went in, the generated ids, and their text ("" where the
            model has no tokenizer). The first sequence of a batch; ``batch_tokens`` has all.
        logits_top5: per generated token the five best (id, logit) pairs; empty with values off.
        account: where the simulated cycles went.
        host_seconds: how long the simulation took on this computer.
        partial: the run was interrupted; the account covers what was simulated.
        races: data races that were found; None where nobody looked.
    """

    workload: str
    origin: str
    machine: dict[str, Any]
    engine: str
    governor: str
    dtype: str
    attention: str
    partition: str
    values: bool
    prompt_ids: list[int]
    tokens: list[int]
    text: str
    logits_top5: list[list[tuple[int, float]]]
    account: Account
    host_seconds: float
    partial: bool = False
    batch_tokens: list[list[int]] = field(default_factory=list)
    races: list[Race] | None = None

    @property
    def cycles(self) -> int:
        """Simulated cycles."""
        return self.account.cycles

    @property
    def seconds(self) -> float:
        """Simulated seconds."""
        return self.account.seconds

    def to_dict(self) -> dict[str, Any]:
        """One plain object with everything, as ``--json`` writes it."""
        values: dict[str, Any] = {
            "workload": self.workload,
            "origin": self.origin,
            "machine": self.machine,
            "engine": self.engine,
            "governor": self.governor,
            "dtype": self.dtype,
            "attention": self.attention,
            "partition": self.partition,
            "values": self.values,
            "partial": self.partial,
            "prompt_ids": self.prompt_ids,
            "tokens": self.tokens,
            "text": self.text,
            "logits_top5": [[list(pair) for pair in step] for step in self.logits_top5],
        }
        if len(self.batch_tokens) > 1:
            values["batch_tokens"] = self.batch_tokens
        if self.races is not None:
            values["races"] = [race._asdict() for race in self.races]
        return values | self.account.to_dict() | {"host_seconds": round(self.host_seconds, 3)}

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON text."""
        return to_json(self.to_dict())


def to_json(values: Mapping[str, Any]) -> str:
    """JSON text: one line per key, so that it can be read and compared."""
    lines = [f"  {json.dumps(key)}: {_compact(value)}" for key, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: Any) -> str:
    """JSON with a line per element of a list of objects."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in value)
        return f"[\n{rows}\n  ]"
    return json.dumps(value, ensure_ascii=False)


def _rounded(causes: Mapping[str, float]) -> dict[str, float]:
    return {cause: round(cycles, 3) for cause, cycles in causes.items()}


def _flat(work: Work) -> dict[str, Any]:
    return {
        "cycles": round(work.cycles, 3),
        "instructions": work.instructions,
        "flops": work.flops,
        "dram_bytes": work.dram_bytes,
    }
