"""Assembler text to programs and their tensors.

    .equ  N 16                       # a name for a number
    .tensor x f32 N N random 1       # row-major, at the address x
    .tensor y bf16 N N               # zeros
    .control 64                      # bytes of the control segment
    main:
        .region 1 scale              # the instructions below belong to operator 1, 'scale'
        li x1, x
        li x2, N * 4
        li x3, N
        li x4, f32(0.5)              # the bits of a constant
        load.f32 t0, (x1), x2, x3, x3
        fmul.const t0, t0, x4
        ...
        blt x5, x3, main             # a label, or a distance such as -8
        halt

One statement a line; a label may stand before an instruction. Numbers may be sums and products of
integers and names; a label among them is its pc. `.equ` and `.tensor` may use names defined above.
Errors are `AsmError`: file, line, column, a caret, and what would be right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from isa.builder import Builder
from isa.encoding import Instr, conflict, encode_all
from isa.errors import UserError, did_you_mean
from isa.functions import Floats, bf16_bits
from isa.lexer import AsmError, Line, Token
from isa.memory import ELEMENT_BYTES, MemoryMap
from isa.program import LABEL_NAME, REGION_NAME, Program
from isa.table import BY_NAME, Operand

__all__ = ["AsmError", "Assembled", "Init", "assemble", "assemble_file"]

_REGISTER = re.compile(r"([xt])(\d+)")
_DIRECTIVES = (".tensor", ".control", ".region", ".equ")
LARGEST_NUMBER = 1 << 64
F32_INF = 0x7F800000
_INITS = ("zeros", "ones", "random", "iota")


@dataclass(frozen=True)
class Init:
    """First contents of a tensor: `zeros`, `ones`, `iota` (0, 1, 2, ... along the rows) or
    `random` (standard normal, from a seed)."""

    kind: str = "zeros"
    seed: int = 0

    def values(self, shape: tuple[int, ...]) -> Floats:
        """Return the contents as f32."""
        if self.kind == "random":
            return np.random.default_rng(self.seed).standard_normal(shape, dtype=np.float32)
        if self.kind == "iota":
            return np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
        return np.full(shape, self.kind == "ones", dtype=np.float32)


@dataclass(frozen=True)
class Assembled:
    """What assembler text declares: a program, its memory, the tensors' first contents by name."""

    program: Program
    memory: MemoryMap
    init: dict[str, Init]

    def write_tensors(self, mem: NDArray[np.uint8]) -> None:
        """Write every tensor's first contents into simulated memory."""
        for name, init in self.init.items():
            tensor = self.memory[name]
            values = init.values(tensor.shape)
            array = self.memory.array(mem, name)
            array[...] = bf16_bits(values) if tensor.dtype == "bf16" else values


@dataclass(frozen=True)
class _Statement:
    """An instruction whose operands are still to be read; the line stands before the first."""

    mnemonic: str
    line: Line


def assemble(text: str, filename: str = "<asm>") -> Assembled:
    """Assemble text; `filename` appears in messages. Raises `AsmError`."""
    assembler = _Assembler(filename)
    for number, source in enumerate(text.splitlines(), start=1):
        assembler.first_pass(Line(filename, number, source))
    return assembler.second_pass()


def assemble_file(path: str | PurePath) -> Assembled:
    """Assemble a file. Raises `UserError` if it cannot be read, `AsmError` for its contents."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read assembler file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"cannot read assembler file {path}: no UTF-8 text (byte {error.start}); words are for "
            "`tickformer disasm`"
        ) from None
    return assemble(text, str(path))


class _Assembler:
    """Two passes: the first defines all names, the second reads the operands."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.memory = MemoryMap()
        self.init: dict[str, Init] = {}
        self.labels: dict[str, int] = {}
        self.symbols: dict[str, int] = {}
        self.regions: dict[int, str] = {}
        self.statements: list[_Statement] = []

    # First pass: labels, directives, mnemonics

    def first_pass(self, line: Line) -> None:
        while line.peek().kind == "name" and line.peek(1).text == ":":
            token = line.take()
            line.take()
            self._define(line, token, self.labels, len(self.statements))
        if line.peek().kind == "end":
            return
        token = line.expect_name("an instruction, a label or a directive")
        if token.text.startswith("."):
            self._directive(line, token)
        elif token.text in BY_NAME:
            self.statements.append(_Statement(token.text, line))
        else:
            hint = did_you_mean(token.text, BY_NAME)
            raise line.error(f"unknown instruction {token.text!r}.{hint}", token)

    def _define(self, line: Line, token: Token, names: dict[str, int], value: int) -> None:
        if not LABEL_NAME.fullmatch(token.text):
            raise line.error(f"{token.text!r} cannot be a name: it means something else", token)
        if token.text in self.labels or token.text in self.symbols:
            raise line.error(f"{token.text!r} is defined twice", token)
        names[token.text] = value

    def _directive(self, line: Line, token: Token) -> None:
        if token.text not in _DIRECTIVES:
            hint = did_you_mean(token.text, _DIRECTIVES)
            raise line.error(
                f"unknown directive {token.text!r}.{hint} Known: {', '.join(_DIRECTIVES)}", token
            )
        if token.text == ".region":
            self._region(line)
            return
        if token.text == ".equ":
            name = line.expect_name("a name")
            self._define(line, name, self.symbols, self._number(line))
        elif token.text == ".control":
            place = line.peek()
            size = self._number(line)
            if size < 8 or size % 8:
                raise line.error(
                    f"the control segment needs a positive multiple of 8 bytes, not {size}", place
                )
            if self.memory.control_bytes:
                raise line.error("the control segment is declared twice", token)
            self.memory.control_bytes = size
        else:
            self._tensor(line)
        line.expect_end()

    def _region(self, line: Line) -> None:
        """`.region N NAME` is the instruction `region N` and a name for N."""
        start = line.position
        place = line.peek()
        number = self._number(line)
        if line.peek().kind == "end":
            raise line.error("expected a name for the region, as in '.region 3 layer0.q_proj'")
        name, at = line.rest()
        if not REGION_NAME.fullmatch(name):
            raise line.error(
                f"region name {name!r} has characters other than letters, digits and _ . : $ -", at
            )
        if self.regions.setdefault(number, name) != name:
            raise line.error(f"region {number} is already {self.regions[number]!r}", place)
        # The second pass reads the number again, and nothing after it.
        del line.tokens[line.tokens.index(at) :]
        line.position = start
        self.statements.append(_Statement("region", line))

    def _tensor(self, line: Line) -> None:
        """`.tensor NAME f32|bf16 ROWS COLS [zeros|ones|random SEED|iota]`"""
        name = line.expect_name("a name for the tensor")
        dtype = line.expect_name("the type f32 or bf16")
        if dtype.text not in ("f32", "bf16"):
            raise line.error(f"unknown type {dtype.text!r}; use f32 or bf16", dtype)
        shape = []
        for what in ("rows", "columns"):
            place = line.peek()
            if place.kind == "end":
                raise line.error(f"expected the number of {what}")
            shape.append(self._number(line))
            if shape[-1] < 1:
                raise line.error(f"a tensor needs at least 1 of {what}, not {shape[-1]}", place)
        init = Init()
        if line.peek().kind == "name":
            kind = line.take()
            if kind.text not in _INITS:
                hint = did_you_mean(kind.text, _INITS)
                raise line.error(
                    f"unknown contents {kind.text!r}.{hint} Known: zeros, ones, random SEED, iota",
                    kind,
                )
            place = line.peek()
            init = Init(kind.text, self._number(line) if kind.text == "random" else 0)
            if init.seed < 0:
                raise line.error(f"the seed is {init.seed}; it must be 0 or above", place)
        nbytes = shape[0] * shape[1] * ELEMENT_BYTES[dtype.text]
        self._define(line, name, self.symbols, 0)
        tensor = self.memory.add(name.text, nbytes, dtype.text, (shape[0], shape[1]))
        self.symbols[name.text] = tensor.address
        self.init[name.text] = init

    # Numbers: sums and products of integers, names and f32(...)

    def _number(self, line: Line) -> int:
        place = line.peek()
        value = self._product(line)
        while line.peek().text in ("+", "-"):
            sign = line.take().text
            term = self._product(line)
            value += term if sign == "+" else -term
        if abs(value) >= LARGEST_NUMBER:
            raise line.error("the number is too large: 64 bits are the most", place)
        return value

    def _product(self, line: Line) -> int:
        value = self._term(line)
        while line.accept("*"):
            value *= self._term(line)
        return value

    def _term(self, line: Line) -> int:
        sign = 1
        while line.peek().text in ("+", "-"):
            sign = -sign if line.take().text == "-" else sign
        return sign * self._factor(line)

    def _factor(self, line: Line) -> int:
        token = line.peek()
        if token.kind == "number":
            line.take()
            try:
                return int(token.text, 16 if token.text[:2] in ("0x", "0X") else 10)
            except ValueError:
                raise line.error(
                    f"{token.text!r} is not an integer; write f32({token.text}) for the bits of a "
                    "constant",
                    token,
                ) from None
        if token.text == "f32" and line.peek(1).text == "(":
            return self._f32(line)
        if token.kind == "name":
            line.take()
            for names in (self.symbols, self.labels):
                if token.text in names:
                    return names[token.text]
            if _REGISTER.fullmatch(token.text):
                raise line.error(f"expected a number, not the register {token.text}", token)
            hint = did_you_mean(token.text, [*self.symbols, *self.labels])
            raise line.error(f"unknown name {token.text!r}.{hint}", token)
        raise line.error(f"expected a number, not {line.shown()}")

    def _f32(self, line: Line) -> int:
        line.take()
        line.take()
        sign = -1.0 if line.accept("-") else 1.0
        token = line.take()
        try:
            value = sign * float(token.text)
        except ValueError:
            raise line.error(
                f"{token.text!r} is not a number; f32 takes one such as 0.5, 1e-5 or -inf", token
            ) from None
        line.expect(")", "after the constant")
        bits = Builder.f32(value)
        if np.isfinite(value) and bits & F32_INF == F32_INF:
            raise line.error(f"{token.text} is beyond the range of f32, 3.4e38", token)
        return bits

    # Second pass: operands

    def second_pass(self) -> Assembled:
        instructions = [self._operands(pc, s) for pc, s in enumerate(self.statements)]
        program = Program(
            words=encode_all(instructions),
            labels=self.labels,
            regions=self.regions,
            lines=[statement.line.number for statement in self.statements],
            name=PurePath(self.filename).stem,
        )
        return Assembled(program, self.memory, self.init)

    def _operands(self, pc: int, statement: _Statement) -> Instr:
        entry, line = BY_NAME[statement.mnemonic], statement.line
        usage = f"{entry.mnemonic} {entry.syntax}".rstrip()
        first = line.peek()
        values: list[int] = []
        previous_form = ""
        for operand in entry.operands:
            if line.peek().kind == "end":
                raise line.error(f"operand {operand.name} is missing; write '{usage}'")
            if values and previous_form != "offset":
                line.expect(",", f"before operand {operand.name} of '{usage}'")
            values.append(self._operand(pc, line, operand, usage))
            previous_form = operand.form
        if line.peek().kind != "end":
            raise line.error(f"unexpected {line.shown()}; write '{usage}'")
        if problem := conflict(entry, values):
            raise line.error(problem, first)
        return Instr(entry.mnemonic, tuple(values))

    def _operand(self, pc: int, line: Line, operand: Operand, usage: str) -> int:
        if operand.form == "parens":
            line.expect("(", f"before operand {operand.name} of '{usage}'")
            value = self._register(line, operand, usage)
            line.expect(")", f"after operand {operand.name} of '{usage}'")
            return value
        if operand.kind.name in ("x", "t"):
            return self._register(line, operand, usage)
        place = line.peek()
        value = self._target(line, pc) if operand.kind.name == "label" else self._number(line)
        low, high = operand.kind.low, operand.kind.high
        if not low <= value <= high:
            raise line.error(f"{operand.name} is {value}; it must be in {low}..{high}", place)
        return value

    def _register(self, line: Line, operand: Operand, usage: str) -> int:
        letter, most = operand.kind.name, operand.kind.high
        token = line.peek()
        match = _REGISTER.fullmatch(token.text)
        if match is None or match[1] != letter or int(match[2]) > most:
            what = "scalar" if letter == "x" else "tile"
            raise line.error(
                f"operand {operand.name} of '{usage}' is a {what} register, {letter}0 to "
                f"{letter}{most}, not {line.shown()}"
            )
        line.take()
        return int(match[2])

    def _target(self, line: Line, pc: int) -> int:
        """A label, or a distance in instructions with its sign."""
        token = line.peek()
        if token.kind == "name":
            line.take()
            if token.text not in self.labels:
                hint = did_you_mean(token.text, self.labels)
                raise line.error(f"unknown label {token.text!r}.{hint}", token)
            return self.labels[token.text] - pc
        if token.text in ("+", "-"):
            return self._number(line)
        raise line.error(f"expected a label or a distance such as -8, not {line.shown()}")
