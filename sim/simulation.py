"""A model, a machine and a prompt in; tokens and the account of every cycle out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from isa.errors import UserError
from sim.engines import (
    COMPILED,
    REFERENCE,
    announce_compilation,
    check_engine,
    cpu_maker,
    race_check,
)
from sim.governor import Governor, governor_of, name_of
from sim.host import check_host_memory
from sim.machine import load_machine
from sim.request import Request, make_request
from sim.result import Result

if TYPE_CHECKING:
    from sim.engines import AnyCpu, RaceCheck
    from sim.generation import OnText
    from sim.machine import Machine
    from workloads.lowering import Lowered
    from workloads.weights.source import WeightSource

ROOM_STEP = 256  # caches are laid out for multiples of so many positions


def simulate(
    workload: str | os.PathLike[str],
    machine: str | os.PathLike[str] | Machine = "sapphire-rapids",
    *,
    cores: int | None = None,
    clock: str | None = None,
    governor: str | os.PathLike[str] | Governor | None = None,
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
    engine: str = COMPILED,
    batch: int = 1,
    partition: str = "auto",
    check_races: bool = False,
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
        machine: a preset, a ``.toml`` file, or a loaded machine (then without changes).
        cores, clock, overrides: changes of the machine: ``4``, ``"3GHz"``, ``["core.rob=64"]``.
        governor: changes clocks during the run: a schedule file (time, core, clock),
            ``memory-aware``, or a function; `sim.governor` describes them.
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
        engine: ``compiled``, or ``reference``: the same values and cycles, about a hundred
            times slower, from the engine that is written for reading.
        batch: sequences that run the same prompt side by side.
        partition: how operators are cut into pieces for several cores: ``auto``, ``columns``,
            ``rows``, ``k``, ``keys``.
        check_races: look for data races between cores, on the reference engine whatever
            ``engine`` says; the result's ``races`` has them.
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
    from sim.generation import Generation, Sampling, TextOutput

    begin = time.perf_counter()
    check_engine(engine)
    races = race_check() if check_races else None
    engine = REFERENCE if check_races else engine
    described = _machine(machine, cores, clock, overrides)
    governs = governor_of(governor, described.cores)
    tokens_given = ids is not None or prefill > 0 or context > 0
    needs_text = prompt is not None or chat is not None or not tokens_given
    source = _open(workload, values, seed, needs_text=needs_text)
    request = make_request(source, prompt, chat, ids, prefill, context, tokens, seed)
    sampling = Sampling(temperature, top_k, top_p, np.random.default_rng(seed))
    lowered = _lower(source, described, request, batch, dtype, attention, values, partition)
    cpu = _cpu(engine, described, lowered, races, progress)
    if governs is not None:
        cpu.environment.process(governs(cpu))
    run = Generation(
        lowered=lowered,
        cpu=cpu,
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
        engine=engine,
        governor=name_of(governor),
        dtype=dtype,
        attention=attention,
        partition=partition,
        values=values,
        prompt_ids=request.ids,
        tokens=run.generated[0],
        text=run.output.text,
        logits_top5=run.top,
        account=run.ledger.account(),
        host_seconds=time.perf_counter() - begin,
        partial=run.partial,
        batch_tokens=run.generated,
        races=races.races if races else None,
    )


def _machine(
    machine: str | os.PathLike[str] | Machine,
    cores: int | None,
    clock: str | None,
    overrides: Sequence[str],
) -> Machine:
    changes = [*overrides, *([f"clock={clock}"] if clock else [])]
    if cores is not None:
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
    partition: str,
) -> Lowered:
    from workloads.lowering import PROMPT_ROWS, lower

    room = min(-(-request.positions // ROOM_STEP) * ROOM_STEP, source.config.context)
    rows = max(len(request.ids), min(PROMPT_ROWS, room)) * batch
    return lower(
        source,
        machine.target(),
        batch=batch,
        context=room,
        prompt_rows_max=rows,
        dtype=dtype,
        attention=attention,
        values=values,
        partition=partition,
    )


def _cpu(
    engine: str,
    machine: Machine,
    lowered: Lowered,
    races: RaceCheck | None,
    progress: OnText | None,
) -> AnyCpu:
    """A CPU with the model's weights in its memory."""
    if progress is not None:
        progress("loading the engine")
    make = cpu_maker(engine, races)
    if lowered.values or engine == REFERENCE:  # which computes tensors in any case
        check_host_memory(
            lowered.memory.total_bytes,
            "use bf16, a shorter context, or the compiled engine with values off, which gives "
            "the same cycles",
        )
    cpu = make(
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
    announce_compilation(engine)
    return cpu
