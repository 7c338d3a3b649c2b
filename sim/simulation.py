"""A model, a machine and a prompt in; tokens and the account of every cycle out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from isa.errors import UserError
from sim.interrupt import stop_on_interrupt
from sim.machine import load_machine
from sim.result import Region, Result

if TYPE_CHECKING:
    from sim.engine import Cpu
    from sim.ledger import Ledger
    from sim.machine import Machine
    from workloads.lowering import Lowered
    from workloads.tokenizer import DecodeStream, Tokenizer
    from workloads.weights.source import WeightSource

DEFAULT_PROMPT = "Once upon a time"
DEFAULT_PREFILL = 16  # where a model has no tokenizer
DEFAULT_TOKENS = 16
ROOM_STEP = 256  # caches are laid out for multiples of so many positions
TOP = 5

OnText = Callable[[str], None]


def simulate(
    workload: str | os.PathLike[str],
    machine: str | os.PathLike[str] | Machine = "sapphire-rapids",
    *,
    cores: int = 1,
    clock: str | None = None,
    overrides: Sequence[str] = (),
    prompt: str | None = None,
    chat: str | None = None,
    ids: Sequence[int] | None = None,
    prefill: int = 0,
    context: int = 0,
    tokens: int | None = None,
    dtype: str = "bf16",
    attention: str = "online",
    values: bool = True,
    batch: int = 1,
    stop: bool = False,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    on_text: OnText | None = None,
    progress: OnText | None = None,
) -> Result:
    """Run a model on a simulated machine.

    Args:
        workload: a catalogue name, a ``.gguf`` file or a Hugging Face folder.
        machine: a preset, a ``.toml`` file, or a loaded machine (then without ``overrides``).
        clock, overrides: changes of the machine: ``"3GHz"``, ``["core.rob=64"]``.
        prompt, chat, ids, prefill: at most one: a text to continue, a question to a chat model,
            token ids, or a number of arbitrary tokens. Without any, and without ``context``, a
            short built-in prompt.
        context: tokens that are in the cache before the first step, without having been
            simulated; their keys and values are arbitrary.
        tokens: how many to generate, by default 16, or 1 after ``prefill`` or ``context``. A
            prefill gives the first.
        dtype: ``f32`` or ``bf16``: how weights, activations and caches are stored.
        attention: ``online`` or ``naive``.
        values: False simulates the same cycles without computing the tensors.
        batch: sequences that run the same prompt side by side.
        stop: end at the model's end-of-text token; always so for ``chat``.
        temperature, top_k, top_p: sampling on the host; temperature 0 takes the simulated CPU's
            own arg-max.
        seed: of sampling, arbitrary tokens, and random weights.
        on_text: called with every piece of text, the prompt's first.
        progress: called now and then with a line that says what is going on.

    Returns:
        The result; ``partial`` after Ctrl-C.

    Raises:
        UserError: an input that cannot be; ``SimulationFault`` for a program that fails.
    """
    begin = time.perf_counter()
    described = _machine(machine, cores, clock, overrides)
    tokens_given = ids is not None or prefill > 0 or context > 0
    needs_text = prompt is not None or chat is not None or not tokens_given
    source = _open(workload, values, seed, needs_text=needs_text)
    request = _request(source, prompt, chat, ids, prefill, context, tokens, seed)
    sampling = Sampling(temperature, top_k, top_p, np.random.default_rng(seed))
    lowered = _lower(source, described, request, batch, dtype, attention, values)
    run = Generation(
        lowered=lowered,
        cpu=_cpu(described, lowered, progress),
        request=request,
        sampling=sampling,
        ends=_ends(source) if stop or chat is not None else frozenset(),
        seed=seed,
        output=TextOutput(source.tokenizer() if values else None, request.shown, on_text),
        progress=progress,
    )
    run.execute()
    return Result(
        workload=os.fspath(workload),
        origin=source.origin,
        machine=described.resolved(),
        dtype=dtype,
        attention=attention,
        values=values,
        prompt_ids=request.ids,
        tokens=run.generated[0],
        text=run.output.text,
        logits_top5=run.top,
        account=run.ledger.account(),
        host_seconds=time.perf_counter() - begin,
        partial=run.partial,
        batch_tokens=run.generated,
    )


# --- from arguments to what is run --------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What goes in: ids of the prompt (possibly none), the text shown for them, how many come out.

    ``context`` counts the tokens in the cache before.
    """

    ids: list[int]
    shown: str
    context: int
    tokens: int

    @property
    def positions(self) -> int:
        """Cache positions needed: the last generated token does not go back in."""
        steps = self.tokens - 1 if self.ids else self.tokens
        return self.context + len(self.ids) + steps


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


def _machine(
    machine: str | os.PathLike[str] | Machine,
    cores: int,
    clock: str | None,
    overrides: Sequence[str],
) -> Machine:
    changes = [*overrides, *([f"clock={clock}"] if clock else [])]
    if cores != 1:
        changes.append(f"cores={cores}")
    if isinstance(machine, str | os.PathLike):
        return load_machine(machine, changes)
    if changes:
        raise UserError(f"a loaded machine takes no changes ({', '.join(changes)}): load it so")
    return machine


def _open(
    workload: str | os.PathLike[str], values: bool, seed: int, *, needs_text: bool
) -> WeightSource:
    """The workload; cycles alone need the shape of a catalogue model, not its weights."""
    from workloads.catalogue import entries
    from workloads.open import open_workload

    name = os.fspath(workload)
    if not values and not needs_text and name in entries():
        from workloads.weights.random import RandomWeights

        entry = entries()[name]
        return RandomWeights(entry.config, seed, byte_tokenizer=entry.byte_tokenizer)
    return open_workload(workload, seed)


def _request(
    source: WeightSource,
    prompt: str | None,
    chat: str | None,
    ids: Sequence[int] | None,
    prefill: int,
    context: int,
    tokens: int | None,
    seed: int,
) -> Request:
    given = [
        name
        for name, is_given in (
            ("prompt", prompt is not None),
            ("chat", chat is not None),
            ("ids", ids is not None),
            ("prefill", prefill > 0),
        )
        if is_given
    ]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} were both given; choose one of them")
    if context < 0 or prefill < 0 or (tokens is not None and tokens < 1):
        raise UserError("context and prefill must be 0 or more, tokens at least 1")
    if not given and not context:
        if source.tokenizer() is None:
            prefill = DEFAULT_PREFILL
        else:
            prompt = DEFAULT_PROMPT
    shown = ""
    default_tokens = DEFAULT_TOKENS
    if prompt is not None:
        prompt_ids = _tokenizer(source, "prompt").encode(prompt)
        shown = prompt
    elif chat is not None:
        prompt_ids = _tokenizer(source, "chat").encode_chat(chat)
    elif ids is not None:
        prompt_ids = list(ids)
    else:
        prompt_ids = _arbitrary_ids(prefill, source.config.vocab, seed)
        default_tokens = 1
    if given and not prompt_ids:
        raise UserError("the prompt is empty; it needs at least one token")
    request = Request(prompt_ids, shown, context, tokens or default_tokens)
    limit = source.config.context
    if request.context + len(request.ids) > limit:
        raise UserError(
            f"the prompt is longer than the context: {request.context + len(request.ids)} tokens, "
            f"but {source.config.name} was made for {limit}; shorten it"
        )
    if request.positions > limit:
        raise UserError(
            f"{len(request.ids) + request.context} tokens before and {request.tokens} to generate "
            f"are longer than the context of {source.config.name}, {limit}; generate at most "
            f"{request.tokens - (request.positions - limit)}"
        )
    return request


def _tokenizer(source: WeightSource, option: str) -> Tokenizer:
    tokenizer = source.tokenizer()
    if tokenizer is None:
        raise UserError(
            f"{source.config.name} has no tokenizer here, so it takes no {option}; "
            "give token ids (ids) or a number of arbitrary tokens (prefill)"
        )
    return tokenizer


def _arbitrary_ids(count: int, vocab: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocab, count).tolist()


def _ends(source: WeightSource) -> frozenset[int]:
    tokenizer = source.tokenizer()
    return frozenset(tokenizer.eos_ids if tokenizer else ())


def _lower(
    source: WeightSource,
    machine: Machine,
    request: Request,
    batch: int,
    dtype: str,
    attention: str,
    values: bool,
) -> Lowered:
    from workloads.lowering import PROMPT_ROWS, lower

    room = min(-(-request.positions // ROOM_STEP) * ROOM_STEP, source.config.context)
    rows = max(len(request.ids), min(PROMPT_ROWS, room)) * batch
    lowered = lower(
        source,
        machine.target(),
        batch=batch,
        context=room,
        prompt_rows_max=rows,
        dtype=dtype,
        attention=attention,
        values=values,
    )
    if len(lowered.programs) != machine.cores:
        raise UserError(
            f"{machine.cores} cores: models are lowered for {len(lowered.programs)} core so far; "
            "leave out cores"
        )
    return lowered


def _cpu(machine: Machine, lowered: Lowered, progress: OnText | None) -> Cpu:
    """A CPU with the model's weights in its memory."""
    if progress is not None:
        progress("loading the engine")
    from sim.engine import Cpu
    from sim.warmup import announce_compilation

    if lowered.values:
        _check_host_memory(lowered.memory.total_bytes)
    cpu = Cpu(
        machine,
        lowered.programs,
        lowered.memory,
        values=lowered.values,
        regions=len(lowered.regions),
    )
    if cpu.mem is not None:
        if progress is not None:
            progress("writing the weights to simulated memory")
        lowered.write_weights(cpu.mem)
    announce_compilation()
    return cpu


def _check_host_memory(needed: int) -> None:
    """Refuse what cannot fit before the host starts to swap.

    Raises:
        UserError: with the sizes and the way out.
    """
    if not hasattr(os, "sysconf"):
        return
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise UserError(
            f"this run simulates {needed / 1e9:.1f} GB of memory and this computer has "
            f"{present / 1e9:.1f} GB; use bf16, a shorter context, or values off, which gives the "
            "same cycles"
        )


# --- running ------------------------------------------------------------------------------------


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
    cpu: Cpu
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
        from sim.ledger import Ledger

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
                    first = _arbitrary_ids(1, lowered.config.vocab, self.seed)
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
            what = f"prefill of {rows} tokens"
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
