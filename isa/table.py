"""The instruction table: every instruction is declared here, once.

The encoding, the assembler and disassembler, `docs/isa.md`, the builder's methods and the
properties used by the engines all derive from these rows. To add an instruction: add a row, a
function of the same name in `semantics.py`, and a test.

A word has 64 bits: the opcode in bits [7:0], then the operands packed upward from bit 8 in the
order in which the assembler writes them; the remaining bits are zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from isa.errors import InternalError

OPCODE_BITS = 8
WORD_BITS = 64


@dataclass(frozen=True)
class Kind:
    """What an operand field holds: its width in bits and whether it is signed."""

    name: str
    bits: int
    signed: bool

    @property
    def low(self) -> int:
        """Smallest value the field can hold."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value the field can hold."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


KINDS = {
    kind.name: kind
    for kind in (
        Kind("x", 5, signed=False),
        Kind("t", 6, signed=False),
        Kind("imm6", 6, signed=False),
        Kind("imm16", 16, signed=False),
        Kind("imm32", 32, signed=True),
        Kind("imm48", 48, signed=True),
        Kind("label", 32, signed=True),  # in instructions, relative to the branch itself
    )
}


@dataclass(frozen=True)
class Operand:
    """One operand: its name, kind, role (read, write, readwrite) and place in the word.

    `form` is how the assembler writes it: `plain`, in `parens`, or as the `offset` of the
    parenthesised register that follows without a comma.
    """

    name: str
    kind: Kind
    role: str
    form: str
    shift: int

    @property
    def mask(self) -> int:
        """The bits of the word this operand occupies."""
        return ((1 << self.kind.bits) - 1) << self.shift


@dataclass(frozen=True)
class FlopFormula:
    """Floating-point operations of one instruction: `mnk * m*n*k + mn * m*n`.

    For `matmul` (m, n, k) = (ta.rows, tb.rows, ta.cols); for all others m x n is the shape of the
    first source tile. One exp, log, division or comparison counts as one operation.
    """

    mnk: int
    mn: int

    def count(self, m: int, n: int, k: int = 0) -> int:
        """Return the number of operations for these sizes."""
        return self.mnk * m * n * k + self.mn * m * n


FLOPS = {
    "none": FlopFormula(0, 0),
    "matmul": FlopFormula(2, 0),
    "elements": FlopFormula(0, 1),
    "softmax": FlopFormula(0, 4),  # maximum, subtract, exp, sum
}


@dataclass(frozen=True)
class Instruction:
    """One row of the table.

    `cls` and `dtype` name the row of the machine file that times it. `access` says how a tile
    access walks memory: `rows`, `columns` (transposing), `gather`, `broadcast`, `byte` (prefetch)
    or empty. `raw` marks loads of matmul operands, which keep bf16 and may be twice as wide.
    `flops` is a key of `FLOPS`, `semantics` the function in `isa.semantics`.
    """

    opcode: int
    mnemonic: str
    syntax: str
    operands: tuple[Operand, ...]
    cls: str
    dtype: str
    doc: str
    flops: str
    access: str
    raw: bool

    @property
    def semantics(self) -> str:
        """Name of the function in `isa.semantics` that gives the instruction its meaning."""
        return self.mnemonic.replace(".", "_")

    @property
    def element_bytes(self) -> int:
        """Bytes of one element in memory (loads and stores)."""
        return 2 if self.dtype == "bf16" else 4

    @cached_property
    def used_bits(self) -> int:
        """Mask of the bits that carry the opcode or an operand; all others must be zero."""
        mask = (1 << OPCODE_BITS) - 1
        for operand in self.operands:
            mask |= operand.mask
        return mask


_OPERAND = re.compile(r"imm32\(x\w\)|\(x\w\)|[xt]\w|imm\d+|label")


def _parse_operands(syntax: str, writes: str, updates: str) -> tuple[Operand, ...]:
    """Lay out the operands of an assembly syntax such as `td, (xa), xs` from bit 8 upward."""
    parts = [part.strip() for part in syntax.split(",")] if syntax else []
    pieces: list[tuple[str, str]] = []
    for part in parts:
        if not _OPERAND.fullmatch(part):
            raise InternalError(f"operand {part!r} of {syntax!r} is not a known form")
        if part.startswith("imm32("):
            pieces += [("imm32", "offset"), (part[6:-1], "parens")]
        elif part.startswith("("):
            pieces.append((part[1:-1], "parens"))
        else:
            pieces.append((part, "plain"))
    operands: list[Operand] = []
    shift = OPCODE_BITS
    for name, form in pieces:
        kind = KINDS[name if name in KINDS else name[0]]
        role = (
            "readwrite"
            if name in updates.split()
            else "write"
            if name in writes.split()
            else "read"
        )
        operands.append(Operand(name, kind, role, form, shift))
        shift += kind.bits
    return tuple(operands)


def row(
    opcode: int,
    mnemonic: str,
    syntax: str,
    cls: str,
    dtype: str,
    doc: str,
    *,
    writes: str = "xd td",
    updates: str = "",
    flops: str = "none",
    access: str = "",
) -> Instruction:
    """Make one row; `writes` and `updates` name the operands that are written or read and written.

    An operand in neither list is only read.
    """
    operands = _parse_operands(syntax, writes, updates)
    raw = ".raw." in mnemonic
    return Instruction(opcode, mnemonic, syntax, operands, cls, dtype, doc, flops, access, raw)


def _scalar_rows() -> Iterable[Instruction]:
    three = "xd, xa, xb"
    branch = "xa, xb, label"
    yield row(0x10, "li", "xd, imm48", "scalar", "i64", "xd = imm48.")
    yield row(0x11, "add", three, "scalar", "i64", "xd = xa + xb, modulo 2^64.")
    yield row(0x12, "sub", three, "scalar", "i64", "xd = xa - xb, modulo 2^64.")
    yield row(0x13, "mul", three, "mul", "i64", "xd = xa * xb, modulo 2^64.")
    yield row(0x14, "min", three, "scalar", "i64", "xd = the smaller of xa and xb, signed.")
    yield row(0x15, "addi", "xd, xa, imm32", "scalar", "i64", "xd = xa + imm32, modulo 2^64.")
    yield row(0x16, "slli", "xd, xa, imm6", "scalar", "i64", "xd = xa shifted left by imm6.")
    yield row(
        0x17, "srli", "xd, xa, imm6", "scalar", "i64", "xd = xa shifted right by imm6, zeros in."
    )
    yield row(
        0x18, "ld", "xd, imm32(xa)", "control", "i64", "xd = the control word at byte xa + imm32."
    )
    yield row(
        0x19, "st", "xb, imm32(xa)", "control", "i64", "The control word at byte xa + imm32 = xb."
    )
    yield row(0x20, "beq", branch, "branch", "i64", "Jump to label if xa = xb.")
    yield row(0x21, "bne", branch, "branch", "i64", "Jump to label if xa and xb differ.")
    yield row(0x22, "blt", branch, "branch", "i64", "Jump to label if xa < xb, signed.")
    yield row(0x23, "bge", branch, "branch", "i64", "Jump to label if xa >= xb, signed.")
    yield row(0x24, "j", "label", "branch", "i64", "Jump to label.")
    yield row(0x25, "jal", "xd, label", "branch", "i64", "xd = pc + 1, then jump to label.")
    yield row(0x26, "jr", "xa", "branch", "i64", "Jump to the instruction whose number is in xa.")


def _memory_rows() -> Iterable[Instruction]:
    shaped = "td, (xa), xs, xr, xc"
    load = (
        (0x30, "f32", "td = xr x xc tile: row i is xc elements at byte xa + i*xs."),
        (0x31, "bf16", "td = xr x xc tile of bf16 memory, widened to f32."),
        (0x32, "raw.bf16", "td = xr x xc raw bf16 operand for matmul.bf16."),
    )
    for opcode, suffix, doc in load:
        dtype = suffix.removeprefix("raw.")
        yield row(opcode, f"load.{suffix}", shaped, "load", dtype, doc, access="rows")
    loadt = (
        (0x34, "f32", "td = xr x xc tile, transposed: column j is xr elements at byte xa + j*xs."),
        (0x35, "bf16", "As loadt.f32 from bf16 memory, widened to f32."),
        (0x36, "raw.bf16", "As loadt.f32, but a raw bf16 operand for matmul.bf16."),
    )
    for opcode, suffix, doc in loadt:
        dtype = suffix.removeprefix("raw.")
        yield row(opcode, f"loadt.{suffix}", shaped, "load", dtype, doc, access="columns")
    gathered = "td, (xa), xs, (xi), xr, xc"
    doc = "td = xr x xc tile: row i is at byte xa + n*xs, n = the control word at byte xi + 8*i."
    yield row(0x38, "gather.f32", gathered, "load", "f32", doc, access="gather")
    doc = "As gather.f32 from bf16 memory, widened to f32."
    yield row(0x39, "gather.bf16", gathered, "load", "bf16", doc, access="gather")
    doc = "td = xr x xc tile: every row is the xc elements at byte xa."
    yield row(0x3C, "bcast.f32", "td, (xa), xr, xc", "load", "f32", doc, access="broadcast")
    doc = "As bcast.f32 from bf16 memory, widened to f32."
    yield row(0x3D, "bcast.bf16", "td, (xa), xr, xc", "load", "bf16", doc, access="broadcast")
    doc = "Store the f32 tile ts: row i at byte xa + i*xs."
    yield row(0x40, "store.f32", "ts, (xa), xs", "store", "f32", doc, access="rows")
    doc = "Store the f32 tile ts as bf16, rounded to nearest even."
    yield row(0x41, "store.bf16", "ts, (xa), xs", "store", "bf16", doc, access="rows")
    doc = "Hint: fetch the cache line of byte xa, which must lie in a tensor."
    yield row(0x48, "prefetch", "(xa)", "prefetch", "none", doc, access="byte")
    doc = "td = xr x xc tile, every element the f32 with the low 32 bits of xv."
    yield row(0x4C, "fill.f32", "td, xv, xr, xc", "fill", "f32", doc)


def _matmul_rows() -> Iterable[Instruction]:
    doc = "tc[m,n] += sum over k of ta[m,k] * tb[n,k], k upward; each product and sum rounded."
    args = {"updates": "tc", "flops": "matmul"}
    yield row(0x50, "matmul.f32", "tc, ta, tb", "matmul", "f32", doc, **args)
    doc = "As matmul.f32 with raw bf16 operands; tc and all arithmetic are f32."
    yield row(0x51, "matmul.bf16", "tc, ta, tb", "matmul", "bf16", doc, **args)
    doc = "td = raw bf16 operand with the elements of ta, rounded to nearest even."
    yield row(0x58, "pack.bf16", "td, ta", "pack", "bf16", doc)
    doc = "Columns of ta, rounded to bf16, are appended after the columns of the operand td."
    yield row(0x59, "append.bf16", "td, ta", "pack", "bf16", doc, updates="td")


def _elementwise_rows() -> Iterable[Instruction]:
    operations = (
        (0x60, "fadd", "a + b"),
        (0x64, "fsub", "a - b"),
        (0x68, "fmul", "a * b"),
        (0x6C, "fmax", "a if a > b, else b"),
        (0x70, "fcmpgt", "1.0 if a > b, else 0.0"),
    )
    for opcode, name, meaning in operations:
        forms = (
            ("", "td, ta, tb", "b from the tile tb of equal shape"),
            (".row", "td, ta, tb", "b from row 0 of tb (tb.cols = ta.cols)"),
            (".col", "td, ta, tb, imm6", "b from column imm6 of tb (tb.rows = ta.rows)"),
            (".const", "td, ta, xv", "b the f32 with the low 32 bits of xv"),
        )
        for step, (suffix, syntax, source) in enumerate(forms):
            doc = f"Each element {meaning}: a from ta, {source}."
            yield row(
                opcode + step, name + suffix, syntax, "elementwise", "f32", doc, flops="elements"
            )
    pair = "td, ta"
    yield row(0x80, "mov", pair, "elementwise", "f32", "td = ta.")
    yield row(0x81, "swap", pair, "elementwise", "f32", "td = ta, columns 2i and 2i+1 exchanged.")
    doc = "td = ta, each element rounded to the nearest bf16 (ties to even), kept as f32."
    yield row(0x82, "cvt.bf16", pair, "elementwise", "f32", doc)
    doc = "td = ta with -inf where column > row + xv (signed)."
    yield row(0x83, "mask", "td, ta, xv", "elementwise", "f32", doc)
    doc = "td = max(ta, 0): a if a > 0, else 0."
    yield row(0x84, "relu", pair, "elementwise", "f32", doc, flops="elements")


def _function_rows() -> Iterable[Instruction]:
    transcendental = (
        (0x90, "exp", "e to the power of each element."),
        (0x91, "log", "Natural logarithm of each element."),
        (0x92, "erf", "Error function of each element."),
        (0x93, "tanh", "Hyperbolic tangent of each element."),
        (0x94, "sigmoid", "1 / (1 + exp(-a))."),
        (0x95, "gelu.tanh", "0.5 a (1 + tanh(sqrt(2/pi) (a + 0.044715 a^3)))."),
        (0x96, "gelu.erf", "0.5 a (1 + erf(a / sqrt(2)))."),
        (0x97, "silu", "a / (1 + exp(-a))."),
    )
    for opcode, name, doc in transcendental:
        yield row(opcode, name, "td, ta", "transcendental", "f32", doc, flops="elements")
    division = (
        (0xA0, "rsqrt", "1 / sqrt(a)."),
        (0xA1, "recip", "1 / a."),
        (0xA2, "recip.safe", "1 / a, and 0 where a = 0."),
    )
    for opcode, name, doc in division:
        yield row(opcode, name, "td, ta", "divide", "f32", doc, flops="elements")
    reduction = (
        (0xB0, "rowsum", "td[i,0] = sum of row i of ta, from column 0 upward."),
        (0xB1, "rowmax", "td[i,0] = largest element of row i of ta."),
        (0xB2, "rowargmax", "td[i,0] = column of the largest element of row i, first on ties."),
        (0xB3, "colsum", "td[0,j] = sum of column j of ta, from row 0 upward."),
    )
    for opcode, name, doc in reduction:
        yield row(opcode, name, "td, ta", "reduce", "f32", doc, flops="elements")
    doc = (
        "One step of online softmax over the scores ts. tm holds per row m, l, a in columns 0, 1, "
        "2; m' = max(m, rowmax ts). If m' = -inf: p = 0, a = 1, l' = l; else a = exp(m - m'), "
        "p = exp(ts - m'), l' = a*l + rowsum p."
    )
    yield row(
        0xB8, "softmax", "tp, ts, tm", "softmax", "f32", doc,
        writes="tp", updates="tm", flops="softmax",
    )  # fmt: skip


def _system_rows() -> Iterable[Instruction]:
    doc = "Add 1 to counter imm16 once all earlier stores have left the store buffer."
    yield row(0xC0, "signal", "imm16", "sync", "none", doc)
    yield row(0xC1, "wait", "imm16, xn", "sync", "none", "Stop until counter imm16 is at least xn.")
    yield row(0xC2, "halt", "", "sync", "none", "End of the program on this core.")
    doc = "The instructions that follow belong to operator imm16; costs nothing."
    yield row(0xC8, "region", "imm16", "region", "none", doc)


def check_rows(rows: Iterable[Instruction]) -> None:
    """Raise `InternalError` where two rows overlap or a row does not fit a word."""
    by_opcode: dict[int, str] = {}
    names: set[str] = set()
    for entry in rows:
        name = entry.mnemonic
        if not 0 < entry.opcode < 1 << OPCODE_BITS:
            raise InternalError(f"{name}: opcode {entry.opcode} is not in 1..255")
        if entry.opcode in by_opcode:
            other = by_opcode[entry.opcode]
            raise InternalError(f"{name} and {other} share opcode {entry.opcode:#04x}")
        if name in names:
            raise InternalError(f"{name} is declared twice")
        covered = (1 << OPCODE_BITS) - 1
        for operand in entry.operands:
            if covered & operand.mask:
                raise InternalError(f"{name}: operand {operand.name} overlaps another field")
            covered |= operand.mask
        if covered >> WORD_BITS:
            raise InternalError(f"{name}: the operands need more than {WORD_BITS} bits")
        if entry.flops not in FLOPS:
            raise InternalError(f"{name}: unknown flops formula {entry.flops!r}")
        by_opcode[entry.opcode] = name
        names.add(name)


ROWS: tuple[Instruction, ...] = (
    *_scalar_rows(),
    *_memory_rows(),
    *_matmul_rows(),
    *_elementwise_rows(),
    *_function_rows(),
    *_system_rows(),
)
check_rows(ROWS)

BY_NAME: dict[str, Instruction] = {entry.mnemonic: entry for entry in ROWS}
BY_OPCODE: dict[int, Instruction] = {entry.opcode: entry for entry in ROWS}
OP: dict[str, int] = {entry.mnemonic: entry.opcode for entry in ROWS}
CLASSES: tuple[str, ...] = tuple(dict.fromkeys(entry.cls for entry in ROWS))
