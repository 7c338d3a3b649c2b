"""Running a lowered model step by step: prefill, decode, the choice of tokens, their text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sim.interrupt import stop_on_interrupt
from sim.ledger import Ledger
from sim.request import Request, arbitrary_ids
from sim.result import Region

if TYPE_CHECKING:
    from sim.engines import AnyCpu
    from workloads.lowering import Lowered
    from workloads.tokenizer import DecodeStream, Tokenizer

TOP = 5

OnText = Callable[[str], None]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 leaves it to the simulated CPU."""

    temperature: float
    top_k: int
    top_p: float
    rng: np.random.Generator

    def __post_init__(self) -> None:
        from workloads.sampling import check_sampling

        check_sampling(self.temperature, self.top_k, self.top_p)


class TextOutput:
    """Turns generated ids into text as they come; the prompt is shown before the first."""

    def __init__(self, tokenizer: Tokenizer | None, shown: str, on_text: OnText | None) -> None:
        self._stream: DecodeStream | None = tokenizer.decode_stream() if tokenizer else None
        self._ends = frozenset(tokenizer.eos_ids if tokenizer else ())
        self._shown = shown
        self._on_text = on_text
        self.text = ""

    def token(self, token: int) -> None:
        """Take a generated id."""
        if self._stream is not None and token not in self._ends:
            self._emit(self._stream.step(token))

    def finish(self) -> None:
        """Give out what was held back for an incomplete character."""
        if self._stream is not None:
            self._emit(self._stream.finish())

    def _emit(self, piece: str) -> None:
        self.text += piece
        if self._on_text is not None:
            self._on_text(self._shown + piece)
        self._shown = ""


@dataclass
class Generation:
    """One run of the programs: prefill, then decode steps, booked in a ledger."""

    lowered: Lowered
    cpu: AnyCpu
    request: Request
    sampling: Sampling
    ends: frozenset[int]
    seed: int
    output: TextOutput
    progress: OnText | None
    partial: bool = False
    top: list[list[tuple[int, float]]] = field(default_factory=list)
    ledger: Ledger = field(init=False)
    generated: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        regions = [Region(r.name, r.kind, r.layer) for r in self.lowered.regions]
        self.ledger = Ledger(self.cpu, regions)
        self.generated = [[] for _ in range(self.lowered.batch)]

    def execute(self) -> None:
        """Run all steps; Ctrl-C ends the run with what there is."""
        lowered, cpu, request = self.lowered, self.cpu, self.request
        with stop_on_interrupt() as stopped:
            if request.context:
                lowered.start_context(cpu.control, cpu.mem, request.context, self.seed)
            chosen: list[int] | None = None
            steps = request.tokens
            if request.ids:
                sequences = [request.ids] * lowered.batch
                starts = [request.context] * lowered.batch
                lowered.begin_prefill(cpu.control, sequences, starts)
                going_on = self._step("prefill", len(request.ids), stopped)
                chosen = self._choose() if going_on else None
                steps -= 1
            else:
                going_on = True
                if cpu.mem is not None:
                    first = arbitrary_ids(1, lowered.config.vocab, self.seed)
                    chosen = first * lowered.batch
            for _ in range(steps):
                if not going_on or self._ended():
                    break
                if stopped():
                    self.partial = True
                    break
                lowered.begin_decode(cpu.control, cpu.mem, chosen)
                going_on = self._step("decode", 1, stopped)
                chosen = self._choose() if going_on else None
        self.output.finish()

    def _step(self, kind: str, rows: int, stopped: Callable[[], bool]) -> bool:
        """Run the program once and book it; False when it was interrupted."""
        lowered, cpu = self.lowered, self.cpu
        done = len(self.generated[0])
        if kind == "prefill":
            what = f"prefill of {rows} token{'s' * (rows > 1)}"
        else:
            what = f"token {done + 1} of {self.request.tokens}"
        cpu.start(kind)
        finished = cpu.run(
            should_stop=stopped,
            progress=lambda: self._tell(f"{what}: cycle {cpu.cycles:,}"),
        )
        context = max(lowered.lengths(cpu.control))
        self.ledger.close_step(kind, rows * lowered.batch, context, partial=not finished)
        self.partial = not finished
        return finished

    def _tell(self, text: str) -> None:
        if self.progress is not None:
            self.progress(text)

    def _choose(self) -> list[int] | None:
        """The next token of every sequence; None with values off."""
        mem = self.cpu.mem
        if mem is None:
            return None
        logits = self.lowered.logits(mem)
        self.top.append(_top(logits[0]))
        sampling = self.sampling
        if sampling.temperature == 0:
            chosen = self.lowered.next_tokens(mem)
        else:
            from workloads.sampling import sample

            chosen = [
                sample(row, sampling.temperature, sampling.top_k, sampling.top_p, sampling.rng)
                for row in logits
            ]
        for tokens, token in zip(self.generated, chosen, strict=True):
            tokens.append(token)
        self.output.token(chosen[0])
        return chosen

    def _ended(self) -> bool:
        """Whether every sequence has said its end-of-text token."""
        return bool(self.ends) and all(not self.ends.isdisjoint(ids) for ids in self.generated)


def _top(logits: np.ndarray) -> list[tuple[int, float]]:
    """The best ids with their logits, best first; equal logits by id."""
    order = np.argsort(-logits, kind="stable")[:TOP]
    return [(int(token), float(logits[token])) for token in order]
