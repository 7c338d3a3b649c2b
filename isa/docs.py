"""Writes docs/isa.md from the instruction table: `python -m isa.docs > docs/isa.md`."""

from __future__ import annotations

import inspect
import re
import sys

from isa import assembler, polynomials
from isa.faults import FAULT_TEXTS
from isa.memory import TENSOR_BASE
from isa.table import FLOPS, KINDS, OPCODE_BITS, ROWS, Instruction
from isa.target import MAX_ROW_BYTES, MAX_ROWS, MAX_TILES

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Scalar instructions", ("scalar", "mul", "control")),
    ("Branches", ("branch",)),
    ("Loads, stores and constants", ("load", "store", "prefetch", "fill")),
    ("Matrix products", ("matmul", "pack")),
    ("Elementwise", ("elementwise",)),
    ("Functions", ("transcendental", "divide")),
    ("Reductions and softmax", ("reduce", "softmax")),
    ("Cores, accounting, the end", ("sync", "region")),
)

INTRODUCTION = f"""\
# The instruction set

Generated from `isa/table.py` by `python -m isa.docs`; do not edit.

A scalar core drives tile registers.

* **Scalar registers** `x0` to `x31` hold 64-bit integers; `x0` is always 0. By convention `x31` is
  the link register of `jal` and `jr`.
* **Tile registers** `t0`, `t1`, ... (at most {MAX_TILES}; how many belongs to the target). A
  tile has up to {MAX_ROWS} rows of {MAX_ROW_BYTES} bytes and carries its shape, set by the
  instruction that writes it. It holds `f32` values, or a **raw bf16 operand** for
  `matmul.bf16`, which may be twice as wide. Elements outside the shape cannot be observed.
* **The control segment** is a memory of 64-bit words from address 0, read and written only by
  `ld`, `st` and the indices of `gather`. The host writes token ids, lengths and positions there,
  so control flow and addresses never depend on tensor values.
* **Tensor memory** starts at {TENSOR_BASE:#x}. Every tile access must lie wholly in one tensor,
  from the first byte of its lowest row to the last byte of its highest, and address and stride must
  be multiples of the element size. Strides may be zero or negative.
* The **pc** counts instructions. Branch distances are relative to the branch itself.
* An instruction reads all its operands before it writes any. A register that is read and written
  (`tc` of `matmul`, `td` of `append.bf16`, `tm` of `softmax`) must differ from the instruction's
  other tile registers.

Operands: `xd`, `td`, `tp` are written, `tc` and `tm` are read and written, all others are read.
`xr`, `xc` hold rows and columns, `xa` an address, `xs` a stride in bytes, `xv` a value.

## Encoding

A word has 64 bits: the opcode in bits 7..0, then the operands packed upward from bit
{OPCODE_BITS} in assembly order. All other bits are zero; a word with any of them set is rejected.
"""

ARITHMETIC = """\
## Arithmetic

All tile arithmetic is IEEE f32, rounded to nearest even after every operation, without fused
multiply-add and without reordering, so results are the same bit for bit everywhere.

* `matmul`: for k = 0, 1, ... `C[m,n] = C[m,n] + (A[m,k] * B[n,k])`, product and sum each rounded.
* `rowsum`, `colsum`: start with element 0 and add upward. `rowmax` keeps the first of equals.
* Maximum of a and b: a if a > b, else b.
* Subnormal numbers are kept, but for results of `exp` below 2^-126, which become 0.
* bf16 rounding is to nearest, ties to even; a NaN stays a NaN, whatever its bits; comparing with a
  NaN is false, so a maximum passes over a NaN unless it comes first.
"""


def _bits(entry: Instruction) -> str:
    fields = [f"{o.name} {o.shift + o.kind.bits - 1}..{o.shift}" for o in entry.operands]
    return ", ".join(fields) or "none"


def _kinds() -> str:
    lines = ["| operand | bits | values |", "| --- | --- | --- |"]
    for kind in KINDS.values():
        lines.append(f"| {kind.name} | {kind.bits} | {kind.low} to {kind.high} |")
    return "\n".join(lines) + "\n"


def _group(title: str, classes: tuple[str, ...]) -> str:
    lines = [
        f"### {title}\n",
        "| instruction | opcode | class, type | operations | meaning | bits |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in ROWS:
        if entry.cls in classes:
            usage = f"{entry.mnemonic} {entry.syntax}".rstrip()
            lines.append(
                f"| `{usage}` | {entry.opcode:#04x} | {entry.cls}, {entry.dtype} "
                f"| {_operations(entry)} | {entry.doc} | {_bits(entry)} |"
            )
    return "\n".join(lines) + "\n"


def _operations(entry: Instruction) -> str:
    formula = FLOPS[entry.flops]
    terms = [(formula.mnk, "m n k"), (formula.mn, "m n")]
    shown = [f"{factor} {sizes}" if factor > 1 else sizes for factor, sizes in terms if factor]
    return " + ".join(shown) or "0"


def _docstring(module: object) -> str:
    return f"```text\n{(inspect.getdoc(module) or '').strip()}\n```\n"


def _faults() -> str:
    lines = ["| fault | message |", "| --- | --- |"]
    for fault, text in FAULT_TEXTS.items():
        shown = re.sub(r"\{[^}]*\}", "N", text)
        lines.append(f"| {fault.name.lower().replace('_', ' ')} | {shown} |")
    return "\n".join(lines) + "\n"


def generate() -> str:
    """Return the text of docs/isa.md."""
    return "\n".join(
        [
            INTRODUCTION,
            _kinds(),
            "## Instructions\n",
            "'Operations' counts floating-point operations for the account: m x n is the shape of\n"
            "the first source tile, for `matmul` (m, n, k) = (ta.rows, tb.rows, ta.cols).\n",
            *(_group(title, classes) for title, classes in GROUPS),
            ARITHMETIC,
            "### exp, log, tanh, erf and what is made of them\n",
            _docstring(polynomials),
            "## Assembler\n",
            _docstring(assembler),
            "## Faults\n",
            "A fault stops the run with exit code 2 and names the pc and the instruction.\n"
            "Registers are checked first, in assembly order, then shapes, alignment, and range.\n",
            _faults(),
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(generate())
