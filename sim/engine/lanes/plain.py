"""What every lane function means, in NumPy; run when the JIT is off, and the test's oracle.

`array` is a flat C-contiguous array: the float32 tile storage, or the simulated memory as uint8.
`index` counts elements of that array, so in memory it is a byte address. Negative indices do not
wrap around.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

WIDTH = 16
_WHOLE_NUMBERS = np.float32(1.5 * 2**23)

Lanes = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


def _view(array: Array, index: int, nbytes: int, dtype: Any) -> Array:
    """View `nbytes` bytes from element `index` of `array` as `dtype`."""
    count = nbytes // array.itemsize
    if index < 0 or index + count > array.size:
        raise IndexError(f"elements {index}..{index + count - 1} of {array.size}")
    return array[index : index + count].view(dtype)


# --- one element --------------------------------------------------------------------------------


def at(array: Array, index: int) -> np.float32:
    """Return the f32 at `index`."""
    return np.float32(_view(array, index, 4, np.float32)[0])


def put(array: Array, index: int, value: np.float32) -> None:
    """Write one f32 at `index`."""
    _view(array, index, 4, np.float32)[0] = value


def float_of_bits(bits: int) -> np.float32:
    """Return the f32 whose bit pattern is the low 32 bits of `bits`."""
    return np.uint32(bits & 0xFFFFFFFF).view(np.float32)


# --- sixteen elements ---------------------------------------------------------------------------


def splat(value: np.float32) -> Lanes:
    """Return 16 copies of a value."""
    return np.full(WIDTH, value, dtype=np.float32)


def spread(array: Array, index: int) -> Lanes:
    """Return 16 copies of the f32 at `index`."""
    return splat(at(array, index))


def load(array: Array, index: int) -> Lanes:
    """Return the 16 f32 from `index` on."""
    return _view(array, index, 64, np.float32).copy()


def store(array: Array, index: int, value: Lanes) -> None:
    """Write 16 f32 from `index` on."""
    _view(array, index, 64, np.float32)[:] = value


def load_first(array: Array, index: int, count: int) -> Lanes:
    """Return the `count` <= 16 f32 from `index` on, then zeros; touches nothing beyond them."""
    result = np.zeros(WIDTH, dtype=np.float32)
    result[:count] = _view(array, index, 4 * count, np.float32)
    return result


def store_first(array: Array, index: int, value: Lanes, count: int) -> None:
    """Write the first `count` <= 16 lanes from `index` on."""
    _view(array, index, 4 * count, np.float32)[:] = value[:count]


def load_column(array: Array, index: int, stride: int) -> Lanes:
    """Return the 16 f32 at `index`, `index` + `stride`, ..."""
    return np.array([at(array, index + lane * stride) for lane in range(WIDTH)])


def store_column(array: Array, index: int, stride: int, value: Lanes) -> None:
    """Write 16 f32 at `index`, `index` + `stride`, ..."""
    for lane in range(WIDTH):
        put(array, index + lane * stride, value[lane])


# --- bf16: the upper half of an f32 -------------------------------------------------------------


def _widen(halves: Array) -> Lanes:
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _narrow(value: Lanes) -> Array:
    bits = value.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(
        16
    )
    quiet_nan = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(value), quiet_nan, rounded).astype(np.uint16)


def load_bf16(array: Array, index: int) -> Lanes:
    """Return 16 bf16 from `index` on, widened."""
    return _widen(_view(array, index, 32, np.uint16))


def store_bf16(array: Array, index: int, value: Lanes) -> None:
    """Write 16 bf16 from `index` on, rounded to nearest even; NaN stays NaN."""
    _view(array, index, 32, np.uint16)[:] = _narrow(value)


def load_first_bf16(array: Array, index: int, count: int) -> Lanes:
    """As `load_first`, of bf16."""
    result = np.zeros(WIDTH, dtype=np.float32)
    result[:count] = _widen(_view(array, index, 2 * count, np.uint16))
    return result


def store_first_bf16(array: Array, index: int, value: Lanes, count: int) -> None:
    """As `store_first`, of bf16."""
    _view(array, index, 2 * count, np.uint16)[:] = _narrow(value)[:count]


def round_bf16(value: Lanes) -> Lanes:
    """Round every lane to the nearest bf16, ties to even; NaN stays NaN."""
    return _widen(_narrow(value))


# --- lane by lane -------------------------------------------------------------------------------


def select(condition: Mask, yes: Lanes | np.float32, no: Lanes | np.float32) -> Lanes:
    """Return `yes` where the condition holds, else `no`; at most one is a single value."""
    return np.where(condition, yes, no)


def keep_first(value: Lanes, count: int, other: Lanes) -> Lanes:
    """Return the first `count` lanes of `value` (none if negative), then those of `other`."""
    return np.where(np.arange(WIDTH) < count, value, other)


def swap_pairs(value: Lanes) -> Lanes:
    """Exchange lanes 2i and 2i+1."""
    return value.reshape(-1, 2)[:, ::-1].reshape(-1).copy()


def square_root(value: Lanes) -> Lanes:
    """Return the correctly rounded square root of every lane."""
    return np.sqrt(value)


def absolute(value: Lanes) -> Lanes:
    """Clear the sign bits."""
    return np.abs(value)


def copy_sign(magnitude: Lanes, sign: Lanes) -> Lanes:
    """Give every lane of `magnitude` the sign bit of `sign`."""
    return np.copysign(magnitude, sign)


def round_down(value: Lanes) -> Lanes:
    """Return the largest whole number not above each lane."""
    return np.floor(value)


def scale_by_power_of_two(value: Lanes, n: Lanes) -> Lanes:
    """Return (value * 2^h) * 2^(n - h) with h = floor(n / 2), for whole numbers |n| <= 252."""
    # 1.5 * 2^23 + n holds n in its lowest bits, whatever the sign.
    whole = (n + _WHOLE_NUMBERS).view(np.int32) - _WHOLE_NUMBERS.view(np.int32)
    half = whole >> 1
    return (value * _power_of_two(half)) * _power_of_two(whole - half)


def exponent_above(value: Lanes, base: np.float32) -> Lanes:
    """Return the k with base * 2^k <= value < base * 2^(k+1), for positive normal numbers."""
    return ((value.view(np.int32) - base.view(np.int32)) >> np.int32(23)).astype(np.float32)


def fraction_above(value: Lanes, base: np.float32) -> Lanes:
    """Return value / 2^k for that k: at least base and less than 2 * base."""
    above = (value.view(np.int32) - base.view(np.int32)) & np.int32(0x7FFFFF)
    return (above + base.view(np.int32)).view(np.float32)


def _power_of_two(n: npt.NDArray[np.int32]) -> Lanes:
    return ((n + np.int32(127)) << np.int32(23)).view(np.float32)


# --- transposition ------------------------------------------------------------------------------


def transpose_16x16(
    source: Array, first: int, stride: int, target: Array, to: int, to_stride: int
) -> None:
    """Write the transpose of 16 rows of 16 f32; the strides count elements of the two arrays."""
    rows = [load(source, first + row * stride) for row in range(WIDTH)]
    for column in range(WIDTH):
        store(target, to + column * to_stride, np.array([row[column] for row in rows]))
