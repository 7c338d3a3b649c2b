"""``tickformer run-asm``: a hand-written kernel on a machine, its values and its cycles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isa.errors import SimulationFault, UserError, did_you_mean
from sim.cli.options import EngineOption, GovernorOption
from sim.cli.races import EXIT_RACES, RacesOption, note_engine, show_races
from sim.engines import (
    COMPILED,
    REFERENCE,
    announce_compilation,
    check_engine,
    cpu_maker,
    race_check,
)
from sim.interrupt import EXIT_INTERRUPTED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from isa.assembler import Assembled
    from isa.memory import Tensor
    from isa.program import Program
    from sim.engines import AnyCpu, RaceCheck
    from sim.result import Account

START = "main"
MAX_LIMIT = 10**15
MAX_LOG = 1_000_000
REAL_KINDS = "biuf"  # of NumPy types


def run_asm(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Assembler text with .tensor directives; a file per core."
        ),
    ],
    machine: Annotated[str, typer.Option("--machine", help="Preset or .toml file.")] = "teach",
    clock: Annotated[str, typer.Option("--clock", help="As 3.0GHz; default: the machine's.")] = "",
    governor: GovernorOption = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As core.rob=64.")
    ] = None,
    engine: EngineOption = COMPILED,
    tensor: Annotated[
        list[str] | None,
        typer.Option("--tensor", metavar="NAME=FILE.npy", help="Fill a tensor before the run."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="NAME=FILE.npy", help="Compare a tensor afterwards."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Largest absolute difference that passes.")
    ] = 1e-4,
    out: Annotated[
        list[str] | None,
        typer.Option("--out", metavar="NAME=FILE.npy", help="Write a tensor afterwards."),
    ] = None,
    entry: Annotated[
        str, typer.Option("--entry", help="Label to start at; default: main, or the beginning.")
    ] = "",
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, max=MAX_LIMIT, help="Stop a runaway loop after so many instructions."
        ),
    ] = 1_000_000_000,
    log: Annotated[
        int,
        typer.Option(
            "--log", min=0, max=MAX_LOG, help="Show the cycles of the first N instructions."
        ),
    ] = 0,
    check_races: RacesOption = False,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the account as JSON.")
    ] = None,
) -> int:
    """Assemble a kernel, run it on a machine, and say what it computed and how long it took.

    With several files each core runs one of them. They share one memory and declare the same.

    \b
    Examples:
      tickformer run-asm kernel.s
      tickformer run-asm kernel.s --machine sapphire-rapids --set core.rob=64
      tickformer run-asm kernel.s --tensor a=a.npy --tensor b=b.npy --expect c=c.npy
      tickformer run-asm kernel.s --log 20 --engine reference
      tickformer run-asm first.s second.s --check-races
    """
    from sim.cli.output import STDOUT, check_writable, write_text
    from sim.governor import governor_of, name_of
    from sim.machine import load_machine
    from sim.result import to_json

    changes = [*(overrides or []), *([f"clock={clock}"] if clock else [])]
    if len(files) > 1:
        changes.append(f"cores={len(files)}")
    if not tolerance >= 0:
        raise UserError(f"--tolerance {tolerance:g}: it must be 0 or above")
    check_engine(engine)
    described = load_machine(machine, changes)
    governs = governor_of(governor, cores=len(files))
    cores = _assemble(files)
    assembled = cores[0]
    inputs = _pairs(assembled, "--tensor", tensor)
    expected = {name: _load(path) for name, path in _pairs(assembled, "--expect", expect).items()}
    outputs = _pairs(assembled, "--out", out)
    for target in outputs.values():
        check_writable(target)
        if [*outputs.values()].count(target) > 1:
            raise UserError(f"--out: {target} is named for two tensors; give each its own file")
    if json is not None:
        check_writable(json)
    for name, values in expected.items():
        _check_shape("--expect", assembled.memory[name], values)

    races = race_check() if check_races else None
    if check_races:
        note_engine(engine)
        engine = REFERENCE
    programs = [_with_start(each.program) for each in cores]
    cpu = _prepare(engine, programs, assembled, described, inputs, log, races)
    if governs is not None:
        cpu.environment.process(governs(cpu))
    account = _execute(cpu, entry or START, limit)
    partial = account.steps[-1].partial
    if partial:  # half-computed tensors are neither results nor to be judged
        outputs, expected = {}, {}
    for name, path in outputs.items():
        _save(path, _values(cpu, name))
    differences = {name: _difference(cpu, name, wanted) for name, wanted in expected.items()}
    if json is not None:
        report = {
            "machine": described.resolved(),
            "engine": engine,
            "governor": name_of(governor),
            "partial": partial,
            "differences": differences,
        }
        if races:
            report["races"] = [race._asdict() for race in races.races]
        write_text(json, to_json(report | account.to_dict()))
    if json != STDOUT:
        _print(cpu, assembled, account, differences, governed=governor is not None)
        if races:
            show_races(races.races, partial=partial)
    if partial:
        typer.echo("interrupted: the account above is partial", err=True)
        return EXIT_INTERRUPTED
    _judge(cpu, expected, differences, tolerance)
    return EXIT_RACES if races and races.races else 0


def _assemble(files: list[Path]) -> list[Assembled]:
    """The programs of all cores, which must declare the same memory."""
    from isa.assembler import assemble_file

    cores = [assemble_file(file) for file in files]
    first = cores[0]
    for file, other in zip(files, cores, strict=True):
        if (other.memory, other.init) != (first.memory, first.init):
            raise UserError(
                f"{file} declares another memory than {files[0]}: all cores share one, so begin "
                "each file with the same .tensor and .control lines"
            )
    return cores


def _with_start(program: Program) -> Program:
    """A program that can be started at `main`, by default its beginning."""
    import dataclasses

    if START in program.labels:
        return program
    return dataclasses.replace(program, labels={**program.labels, START: 0})


def _pairs(assembled: Assembled, option: str, given: list[str] | None) -> dict[str, Path]:
    """``NAME=FILE`` options as a dict; every name must be a declared tensor."""
    pairs: dict[str, Path] = {}
    names = [tensor.name for tensor in assembled.memory.tensors]
    for text in given or []:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise UserError(f"{option} {text}: write it as NAME=FILE.npy")
        if name not in names:
            raise UserError(
                f"{option} {text}: the program declares no tensor {name!r}."
                f"{did_you_mean(name, names)} Tensors: {', '.join(names) or 'none'}"
            )
        if name in pairs:
            raise UserError(f"{option} {text}: {name} was given twice; keep one")
        pairs[name] = Path(path)
    return pairs


def _load(path: Path) -> NDArray[np.float32]:
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, EOFError, MemoryError) as error:
        raise UserError(
            f"{path} is damaged or no .npy file of numbers; write it with numpy.save"
        ) from error
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in REAL_KINDS:
        what = loaded.dtype if isinstance(loaded, np.ndarray) else "an archive of arrays"
        raise UserError(f"{path} holds {what}; a tensor needs one array of real numbers")
    with np.errstate(over="ignore"):
        values = loaded.astype(np.float32)
    if (np.isinf(values) & ~np.isinf(loaded)).any():
        raise UserError(f"{path} holds numbers beyond the range of f32, 3.4e38")
    return values


def _check_shape(option: str, tensor: Tensor, values: NDArray[np.float32]) -> None:
    if values.shape != tensor.shape:
        raise UserError(
            f"{option} {tensor.name}: the file holds {_by(values.shape)}, but the program declares "
            f"{tensor.name} as {_by(tensor.shape)}"
        )


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape) or "a single number"


def _prepare(
    engine: str,
    programs: list[Program],
    assembled: Assembled,
    machine: Any,
    inputs: dict[str, Path],
    log: int,
    races: RaceCheck | None,
) -> AnyCpu:
    """A CPU with the programs and their tensors' first contents."""
    from isa.functions import bf16_bits
    from sim.host import check_host_memory

    numbers = {number for program in programs for number in program.regions}
    for program in programs:
        numbers |= {i.operands[0] for i in program.decoded() if i.mnemonic == "region"}
    regions = 1 + max(numbers, default=0)
    check_host_memory(
        assembled.memory.total_bytes + assembled.memory.control_bytes,
        "declare smaller tensors or a smaller control segment",
    )
    make = cpu_maker(engine, races)
    cpu = make(machine, programs, assembled.memory, values=True, regions=regions, log=log)
    assert cpu.mem is not None
    assembled.write_tensors(cpu.mem)
    for name, path in inputs.items():
        values = _load(path)
        tensor = assembled.memory[name]
        _check_shape("--tensor", tensor, values)
        cpu.tensor(name)[...] = bf16_bits(values) if tensor.dtype == "bf16" else values
    announce_compilation(engine)
    return cpu


def _execute(cpu: AnyCpu, entry: str, limit: int) -> Account:
    from sim.cli.console import progress
    from sim.interrupt import stop_on_interrupt
    from sim.ledger import Ledger
    from sim.result import Region

    names: dict[int, str] = {}
    for program in cpu.programs:
        names = {**program.regions, **names}
    count = cpu.account().shape[0]
    labels = {number: names.get(number, f"region {number}") for number in range(1, count)}
    regions = [Region("other", "other")]
    regions += [Region(labels[number], labels[number]) for number in range(1, count)]
    ledger = Ledger(cpu, regions)
    cpu.start(entry)
    with progress() as shown, stop_on_interrupt() as stopped:
        finished = cpu.run(
            instruction_limit=limit,
            should_stop=stopped,
            progress=lambda: shown.update(f"simulating: cycle {cpu.cycles:,}"),
        )
    ledger.close_step("program", 0, 0, partial=not finished)
    return ledger.account()


def _values(cpu: AnyCpu, name: str) -> NDArray[np.float32]:
    from isa.functions import from_bf16

    stored = cpu.tensor(name)
    return from_bf16(stored) if cpu.memory[name].dtype == "bf16" else stored


def _save(path: Path, values: NDArray[np.float32]) -> None:
    import numpy as np

    from sim.cli.output import atomic_writer

    with atomic_writer(path, binary=True) as file:
        np.save(file, values)


def _difference(cpu: AnyCpu, name: str, wanted: NDArray[np.float32]) -> float:
    """Largest absolute difference; infinite where only one of the two is no number."""
    import numpy as np

    found = _values(cpu, name)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(found - wanted)
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    return float(np.where(same, 0.0, np.where(np.isnan(gaps), np.inf, gaps)).max())


def _judge(
    cpu: AnyCpu,
    expected: dict[str, NDArray[np.float32]],
    differences: dict[str, float],
    tolerance: float,
) -> None:
    """Raise `SimulationFault` for the first tensor that differs by more than the tolerance."""
    import numpy as np

    for name, difference in differences.items():
        if difference <= tolerance:
            continue
        found, wanted = _values(cpu, name), expected[name]
        gaps = np.where(np.isnan(found - wanted), np.inf, np.abs(found - wanted))
        wrong = int((gaps > tolerance).sum())
        at = tuple(int(i) for i in np.unravel_index(int(gaps.argmax()), gaps.shape))
        raise SimulationFault(
            f"{name} is not as expected: {wrong} of {gaps.size} elements differ by more than "
            f"{tolerance:g}; the largest difference, {difference:g}, is at {list(at)}: "
            f"computed {float(found[at]):g}, expected {float(wanted[at]):g}"
        )


def _print(
    cpu: AnyCpu,
    assembled: Assembled,
    account: Account,
    differences: dict[str, float],
    *,
    governed: bool,
) -> None:
    from sim.cli.console import stdout_console
    from sim.cli.tables import account_tables, summary

    console = stdout_console()
    partial = " (partial: interrupted)" if account.steps[-1].partial else ""
    print(summary(account, governed=governed) + partial)
    console.print(_tensors(cpu, assembled, differences))
    if cpu.log().size:
        console.print(_log(cpu))
    for made in account_tables(account):
        console.print(made)


def _tensors(cpu: AnyCpu, assembled: Assembled, differences: dict[str, float]) -> RenderableType:
    from sim.cli.console import table

    rows = []
    for tensor in assembled.memory.tensors:
        values = _values(cpu, tensor.name)
        difference = differences.get(tensor.name)
        rows.append(
            [
                tensor.name,
                f"{tensor.dtype} {_by(tensor.shape)}",
                f"{tensor.address:#x}",
                " ".join(f"{value:.4g}" for value in values.ravel()[:4]),
                f"{values.sum(dtype=float):.6g}",
                "" if difference is None else f"{difference:.3g}",
            ]
        )
    columns = ["tensor", "type", "address", "first values", "sum", "max difference"]
    return table("Tensors", columns, rows, left=("type",))


def _log(cpu: AnyCpu) -> RenderableType:
    from isa.disassembler import format_instruction
    from sim.account import LOG_FIELDS
    from sim.cli.console import table

    several = len(cpu.programs) > 1
    rows = []
    for row in cpu.log():
        times = dict(zip(LOG_FIELDS, row, strict=True))
        program = cpu.programs[int(times["core"])]
        text = format_instruction(program.instruction(int(times["pc"])))
        core = [str(times["core"])] if several else []
        cycles = [str(times[name]) for name in ("dispatch", "issue", "complete", "retire")]
        rows.append([f"{times['pc']:5d}  {text}", *core, *cycles])
    core = ["core"] if several else []
    columns = ["pc    instruction", *core, "dispatch", "issue", "complete", "retire"]
    return table("Instructions, by cycle", columns, rows)
