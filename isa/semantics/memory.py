"""Loads, stores and constants: what moves between tensor memory and tile registers."""

from __future__ import annotations

from typing import Any

import numpy as np

from isa import functions as fn
from isa.functions import Floats
from isa.memory import STORAGE
from isa.state import State


def _view(s: State, dtype: str, address: int, stride: int, rows: int, cols: int) -> Any:
    """Return rows x cols elements of memory as a strided view."""
    kind = STORAGE[dtype]
    return np.ndarray((rows, cols), kind, s.mem, address, (stride, kind.itemsize))


def _read(s: State, dtype: str, address: int, stride: int, rows: int, cols: int) -> Floats:
    """Return rows x cols elements of memory, widened to f32."""
    size = STORAGE[dtype].itemsize
    s.check_alignment(address, stride, size)
    s.check_rows(address, stride, rows, cols * size)
    view = _view(s, dtype, address, stride, rows, cols)
    return fn.from_bf16(view) if dtype == "bf16" else view.copy()


def _load(s: State, dtype: str, d: int, a: int, xs: int, r: int, c: int, *, raw: bool) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols, raw=raw)
    s.write_t(d, _read(s, dtype, s.x[a], s.x[xs], rows, cols), raw=raw)


def load_f32(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _load(s, "f32", d, a, xs, r, c, raw=False)


def load_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _load(s, "bf16", d, a, xs, r, c, raw=False)


def load_raw_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _load(s, "bf16", d, a, xs, r, c, raw=True)


def _loadt(s: State, dtype: str, d: int, a: int, xs: int, r: int, c: int, *, raw: bool) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols, raw=raw)
    in_memory = _read(s, dtype, s.x[a], s.x[xs], cols, rows)
    s.write_t(d, np.ascontiguousarray(in_memory.T), raw=raw)


def loadt_f32(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _loadt(s, "f32", d, a, xs, r, c, raw=False)


def loadt_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _loadt(s, "bf16", d, a, xs, r, c, raw=False)


def loadt_raw_bf16(s: State, d: int, a: int, xs: int, r: int, c: int) -> None:
    _loadt(s, "bf16", d, a, xs, r, c, raw=True)


def _gather(s: State, dtype: str, d: int, a: int, xs: int, xi: int, r: int, c: int) -> None:
    rows, cols, base, stride = s.x[r], s.x[c], s.x[a], s.x[xs]
    size = STORAGE[dtype].itemsize
    s.check_shape(rows, cols)
    s.check_alignment(base, stride, size)
    numbers = [int(s.control[s.control_index(s.x[xi] + 8 * i)]) for i in range(rows)]
    addresses = sorted(base + number * stride for number in numbers)
    s.check_range(addresses[0], addresses[-1] + cols * size)
    data = [_read(s, dtype, base + number * stride, 0, 1, cols) for number in numbers]
    s.write_t(d, np.concatenate(data))


def gather_f32(s: State, d: int, a: int, xs: int, xi: int, r: int, c: int) -> None:
    _gather(s, "f32", d, a, xs, xi, r, c)


def gather_bf16(s: State, d: int, a: int, xs: int, xi: int, r: int, c: int) -> None:
    _gather(s, "bf16", d, a, xs, xi, r, c)


def _bcast(s: State, dtype: str, d: int, a: int, r: int, c: int) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols)
    s.write_t(d, np.repeat(_read(s, dtype, s.x[a], 0, 1, cols), rows, axis=0))


def bcast_f32(s: State, d: int, a: int, r: int, c: int) -> None:
    _bcast(s, "f32", d, a, r, c)


def bcast_bf16(s: State, d: int, a: int, r: int, c: int) -> None:
    _bcast(s, "bf16", d, a, r, c)


def _store(s: State, dtype: str, ts: int, a: int, xs: int) -> None:
    data = s.f32(ts)
    address, stride, (rows, cols) = s.x[a], s.x[xs], data.shape
    size = STORAGE[dtype].itemsize
    s.check_alignment(address, stride, size)
    s.check_rows(address, stride, rows, cols * size)
    out = fn.bf16_bits(data) if dtype == "bf16" else data
    # Row by row: where rows overlap in memory, the later row wins.
    for row in range(rows):
        _view(s, dtype, address + row * stride, 0, 1, cols)[0] = out[row]


def store_f32(s: State, ts: int, a: int, xs: int) -> None:
    _store(s, "f32", ts, a, xs)


def store_bf16(s: State, ts: int, a: int, xs: int) -> None:
    _store(s, "bf16", ts, a, xs)


def prefetch(s: State, a: int) -> None:
    s.check_range(s.x[a], s.x[a] + 1)


def fill_f32(s: State, d: int, v: int, r: int, c: int) -> None:
    rows, cols = s.x[r], s.x[c]
    s.check_shape(rows, cols)
    s.write_t(d, np.full((rows, cols), s.constant(v), dtype=np.float32))
