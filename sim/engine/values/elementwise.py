"""Arithmetic of two tiles, or of a tile with a row, a column or a constant."""

from typing import Any

from isa.errors import InternalError
from isa.table import OP
from sim.engine.jit import inline
from sim.engine.lanes import float_of_bits, load, select, splat, spread, store
from sim.engine.values.slots import F32_STRIDE, TRANSPOSED

Array = Any

FADD, FSUB, FMUL, FMAX, FCMPGT = (OP[name] for name in ("fadd", "fsub", "fmul", "fmax", "fcmpgt"))
TILE, ROW, COLUMN, CONSTANT = range(4)
FORMS = 4

for _base in ("fadd", "fsub", "fmul", "fmax", "fcmpgt"):
    for _form, _suffix in enumerate(("", ".row", ".col", ".const")):
        if OP[_base + _suffix] != OP[_base] + _form or OP[_base] % FORMS:
            raise InternalError(f"{_base}{_suffix}: the compiled kernels expect another opcode")

_ONE, _ZERO = float_of_bits(0x3F800000), float_of_bits(0)


@inline
def binary(op: int, T: Array, td: int, ta: int, tb: int, rows: int, extra: int) -> None:
    """td = ta op b. `extra` is the column of tb or the bits of the constant."""
    form = op % FORMS
    operation = op - form
    b, step = tb, F32_STRIDE
    if form != TILE:
        # All forms become the first: b is copied to where it may be read while td is written.
        b = td + TRANSPOSED
        if form == COLUMN:
            for row in range(rows):
                store(T, b + row * F32_STRIDE, spread(T, tb + row * F32_STRIDE + extra))
        else:
            step = 0
            if form == ROW:
                store(T, b, load(T, tb))
            else:
                store(T, b, splat(float_of_bits(extra)))
    _tiles(operation, T, td, ta, b, rows, step)


@inline
def _tiles(operation: int, T: Array, td: int, ta: int, tb: int, rows: int, step: int) -> None:
    """td = ta op tb, the rows of tb `step` elements apart."""
    if operation == FADD:
        for row in range(rows):
            at = row * F32_STRIDE
            store(T, td + at, load(T, ta + at) + load(T, tb + row * step))
    elif operation == FMUL:
        for row in range(rows):
            at = row * F32_STRIDE
            store(T, td + at, load(T, ta + at) * load(T, tb + row * step))
    elif operation == FSUB:
        for row in range(rows):
            at = row * F32_STRIDE
            store(T, td + at, load(T, ta + at) - load(T, tb + row * step))
    elif operation == FMAX:
        for row in range(rows):
            at = row * F32_STRIDE
            a, b = load(T, ta + at), load(T, tb + row * step)
            store(T, td + at, select(a > b, a, b))
    elif operation == FCMPGT:
        for row in range(rows):
            at = row * F32_STRIDE
            a, b = load(T, ta + at), load(T, tb + row * step)
            store(T, td + at, select(a > b, splat(_ONE), splat(_ZERO)))
