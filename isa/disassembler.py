"""Words back to text that assembles to the same words."""

from __future__ import annotations

from collections.abc import Callable

from isa.encoding import Instr
from isa.program import Program

INDENT = "    "


def format_instruction(instr: Instr, label: Callable[[int], str] | None = None) -> str:
    """Return one instruction as the assembler takes it.

    `label` names a branch target given its distance in instructions; without it the distance is
    written as a signed number, which the assembler also takes.
    """
    text = ""
    previous_form = ""
    for value, operand in zip(instr.operands, instr.row.operands, strict=True):
        kind = operand.kind.name
        if kind in ("x", "t"):
            shown = f"{kind}{value}"
        elif kind == "label":
            shown = label(value) if label else f"{value:+d}"
        else:
            shown = str(value)
        if operand.form == "parens":
            shown = f"({shown})"
        if text and previous_form != "offset":
            text += ", "
        text += shown
        previous_form = operand.form
    return f"{instr.mnemonic} {text}".rstrip()


def _label_names(program: Program) -> dict[int, list[str]]:
    """Return the labels of each pc: the program's own, and L0, L1, ... for other targets."""
    names: dict[int, list[str]] = {}
    for name, pc in sorted(program.labels.items()):
        names.setdefault(pc, []).append(name)
    targets = set()
    for pc, instr in enumerate(program.decoded()):
        for value, operand in zip(instr.operands, instr.row.operands, strict=True):
            if operand.kind.name == "label" and 0 <= pc + value <= len(program):
                targets.add(pc + value)
    number = 0
    for pc in sorted(targets - names.keys()):
        while f"L{number}" in program.labels:
            number += 1
        names[pc] = [f"L{number}"]
        number += 1
    return names


def disassemble(program: Program) -> str:
    """Return the text of a program: labels, operator names and instructions, one a line."""
    names = _label_names(program)
    lines: list[str] = []
    for pc, instr in enumerate(program.decoded()):
        lines += [f"{name}:" for name in names.get(pc, [])]

        def label(distance: int, pc: int = pc) -> str:
            known = names.get(pc + distance)
            return known[0] if known else f"{distance:+d}"

        if instr.mnemonic == "region" and instr.operands[0] in program.regions:
            number = instr.operands[0]
            lines.append(f"{INDENT}.region {number} {program.regions[number]}")
        else:
            lines.append(INDENT + format_instruction(instr, label))
    lines += [f"{name}:" for name in names.get(len(program), [])]
    return "\n".join(lines) + "\n" if lines else ""
