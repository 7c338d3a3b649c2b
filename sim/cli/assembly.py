"""``tickformer asm`` and ``tickformer disasm``: text to words and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isa.errors import UserError

if TYPE_CHECKING:
    from isa.program import Program

WORD_BYTES = 8


def asm(
    file: Annotated[Path, typer.Argument(help="Assembler text.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the words here, 64-bit little-endian."),
    ] = None,
) -> None:
    """Assemble a file. Without --output, list every instruction with its word.

    \b
    Examples:
      tickformer asm kernel.s
      tickformer asm kernel.s -o kernel.bin
    """
    from isa.assembler import assemble_file
    from sim.cli.output import atomic_writer, check_writable

    if output is not None:
        check_writable(output)
        if output.exists() and file.exists() and output.samefile(file):
            raise UserError(f"--output {output} is the assembler file itself; name another file")
    program = assemble_file(file).program
    if output is not None:
        with atomic_writer(output, binary=True) as out:
            out.write(program.words.astype("<u8").tobytes())
        return
    from isa.disassembler import format_instruction

    names: dict[int, list[str]] = {}
    for label, pc in program.labels.items():
        names.setdefault(pc, []).append(label)
    for pc, instr in enumerate(program.decoded()):
        for label in names.get(pc, []):
            typer.echo(f"{label}:")
        typer.echo(f"{pc:6d}  {int(program.words[pc]):016x}  {format_instruction(instr)}")


def disasm(
    file: Annotated[Path, typer.Argument(help="Words as `asm --output` writes them, or text.")],
) -> None:
    """Turn words back into assembler text, or put assembler text into its plain form.

    \b
    Examples:
      tickformer disasm kernel.bin
      tickformer disasm kernel.s
    """
    from isa.disassembler import disassemble

    typer.echo(disassemble(read_program(file)), nl=False)


def read_program(file: Path) -> Program:
    """A program from assembler text (``.s``, ``.asm``) or from words.

    Raises:
        UserError: the file cannot be read, or holds no whole words.
    """
    import numpy as np

    from isa.assembler import assemble_file
    from isa.program import Program

    if file.suffix in (".s", ".asm"):
        return assemble_file(file).program
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    if not data or len(data) % WORD_BYTES:
        raise UserError(
            f"{file} has {len(data)} bytes, which is no whole number of 64-bit words; "
            "give a file that `tickformer asm --output` wrote, or assembler text named *.s"
        )
    return Program(np.frombuffer(data, dtype="<u8").astype(np.uint64), name=file.stem)
