"""``tickformer run``: a model on a machine; the text as it comes, then where the cycles went."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from isa.errors import UserError
from sim.cli.options import EngineOption, GovernorOption
from sim.cli.races import EXIT_RACES, RacesOption, note_engine, show_races
from sim.engines import COMPILED, REFERENCE
from sim.interrupt import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from sim.result import Result


def run(
    workload: Annotated[
        str, typer.Argument(help="A catalogue name, a .gguf file, or a Hugging Face folder.")
    ],
    machine: Annotated[
        str, typer.Option("--machine", help="A preset (tickformer machines) or a .toml file.")
    ] = "sapphire-rapids",
    cores: Annotated[
        int | None,
        typer.Option("--cores", min=1, help="Number of cores; default: the machine's."),
    ] = None,
    clock: Annotated[str, typer.Option("--clock", help="As 3.0GHz; default: the machine's.")] = "",
    governor: GovernorOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the machine, as core.rob=64."),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Text to continue.")] = None,
    chat: Annotated[str | None, typer.Option("--chat", help="A question to a chat model.")] = None,
    ids: Annotated[
        str | None, typer.Option("--ids", help="Token ids instead of text: 1,2,3.")
    ] = None,
    prefill: Annotated[
        int, typer.Option("--prefill", min=0, help="A prompt of N arbitrary tokens.")
    ] = 0,
    context: Annotated[
        int, typer.Option("--context", min=0, help="Start decoding after N tokens, unsimulated.")
    ] = 0,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            min=1,
            help="Tokens to generate; default 16, or 1 without a text.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="f32 or bf16.")] = "bf16",
    attention: Annotated[
        str, typer.Option("--attention", help="online (softmax in tiles) or naive.")
    ] = "online",
    values: Annotated[
        str, typer.Option("--values", help="on, or off: the same cycles without the arithmetic.")
    ] = "on",
    engine: EngineOption = COMPILED,
    batch: Annotated[
        int, typer.Option("--batch", min=1, help="Run the prompt so many times side by side.")
    ] = 1,
    partition: Annotated[
        str,
        typer.Option("--partition", help="How cores share the work: auto, columns, rows, k, keys."),
    ] = "auto",
    check_races: RacesOption = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="End at the model's end-of-text token (--chat does).")
    ] = False,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Sample instead of taking the best token.")
    ] = 0.0,
    top_k: Annotated[int, typer.Option("--top-k", help="Sample from the K best; 0: all.")] = 0,
    top_p: Annotated[
        float, typer.Option("--top-p", help="Sample from the best with this much probability.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", help="Of sampling, and of weights where there are none.")
    ] = 0,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write everything as JSON.")
    ] = None,
) -> int:
    """Run a model on a machine.

    \b
    Examples:
      tickformer run smollm2 --prompt "The capital of France is" --tokens 16
      tickformer run smollm2 --chat "What is a cache?" --tokens 60 --machine avx512
      tickformer run gpt2 --prefill 128 --dtype f32 --values off
      tickformer run llama-3.2-1b --context 1000 --tokens 2 --values off --json out.json
      tickformer run toy-llama --prompt hi --machine teach --set l1.size=8KiB --clock 2GHz
    """
    from sim.cli.output import STDOUT, check_writable, write_text
    from sim.simulation import simulate

    if values not in ("on", "off"):
        raise UserError(f"--values {values}: use on or off")
    if json is not None:
        check_writable(json)
    if check_races:
        note_engine(engine)
    quiet = json == STDOUT
    screen = Screen(echo=not quiet)
    try:
        result = simulate(
            workload,
            machine=machine,
            cores=cores,
            clock=clock or None,
            governor=governor,
            overrides=overrides or [],
            prompt=prompt,
            chat=chat,
            ids=None if ids is None else parse_ids(ids),
            prefill=prefill,
            context=context,
            tokens=tokens,
            dtype=dtype,
            attention=attention,
            values=values == "on",
            engine=engine,
            batch=batch,
            partition=partition,
            check_races=check_races,
            stop=stop,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            on_text=screen.text,
            progress=screen.progress,
        )
    finally:
        screen.close()
    if json is not None:
        write_text(json, result.to_json())
    if not quiet:
        _print(result)
        if result.races is not None:
            show_races(result.races, partial=result.partial)
    if result.partial:
        typer.echo("interrupted: the account above is partial", err=True)
        return EXIT_INTERRUPTED
    return EXIT_RACES if result.races else 0


def parse_ids(text: str) -> list[int]:
    """Token ids from ``1,2,3``.

    Raises:
        UserError: something between the commas is no number.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--ids {text}: write token numbers with commas, as in 1,2,3") from None


class Screen:
    """The generated text on stdout as it comes, and on stderr what takes long.

    Text on a terminal shows by itself that the run goes on, so progress ends where it begins.
    """

    def __init__(self, *, echo: bool) -> None:
        from sim.cli.console import Progress

        self._echo = echo
        self._progress: Progress | None = Progress()
        self._written = False

    def text(self, piece: str) -> None:
        """Show a piece of generated text."""
        if not self._echo or not piece:
            return
        if self._progress is not None and sys.stdout.isatty():
            self._progress.clear()
            self._progress = None
        sys.stdout.write(piece)
        sys.stdout.flush()
        self._written = True

    def progress(self, text: str) -> None:
        """Say what is going on."""
        if self._progress is not None:
            self._progress.update(text)

    def close(self) -> None:
        """End the line of text and remove the progress."""
        if self._progress is not None:
            self._progress.clear()
        if self._written:
            sys.stdout.write("\n\n")
            sys.stdout.flush()


def _print(result: Result) -> None:
    from sim.cli.console import si, stdout_console
    from sim.cli.tables import account_tables, summary

    console = stdout_console()
    partial = " (partial: interrupted)" if result.partial else ""
    engine = ", reference engine" if result.engine == REFERENCE else ""
    machine = result.machine
    names = machine.get("core_type", ("core",))[: machine["cores"]]
    types = [machine["core_types"].get(name, {}) for name in names]
    of_types = dict.fromkeys(each.get("clock", machine["clock"]) for each in types)
    clocks = ", ".join(machine.get("core_clocks", of_types))
    governed = "" if result.governor == "fixed" else f", governor {result.governor}"
    cores = f"{machine['cores']} cores of " if machine["cores"] > 1 else ""
    print(
        f"{result.workload} on {cores}{machine['name']} at {clocks}{governed}, {result.dtype}, "
        f"{result.attention} attention{engine}{partial}"
    )
    print(summary(result.account, governed=bool(governed)))
    decode = [step for step in result.account.steps if step.kind == "decode"]
    if decode and not result.partial:
        seconds = sum(step.seconds for step in decode)
        count = sum(step.tokens for step in decode)
        cycles = sum(step.cycles for step in decode) / count
        print(f"decode: {cycles:,.0f} cycles a token, {si(count / seconds)} tokens/s")
    print(f"simulated in {result.host_seconds:.1f} s")
    print()
    for made in account_tables(result.account):
        console.print(made)
