"""The numbers kernels read besides weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.memory import MemoryMap
from workloads.config import ModelConfig

Memory = NDArray[np.uint8]


def write_constants(mem: Memory, memory: MemoryMap, config: ModelConfig) -> None:
    """Write rotary tables, iota, the start of a softmax, and -inf where logits may be padding."""
    if config.rope_base is not None:
        _write_rotations(mem, memory, config)
    iota = memory.array(mem, "iota")
    iota[...] = np.arange(iota.size, dtype=np.float32).reshape(iota.shape)
    memory.array(mem, "softmax_start")[:] = (-np.inf, 0.0, 1.0)
    memory.array(mem, "logits")[...] = -np.inf


def _write_rotations(mem: Memory, memory: MemoryMap, config: ModelConfig) -> None:
    """cos and (-sin, +sin) per position and element; zeros in the padding of heads."""
    cosines: NDArray[Any] = memory.array(mem, "cosines")
    sines: NDArray[Any] = memory.array(mem, "sines")
    frequencies = config.inverse_frequencies()
    angles = np.arange(len(cosines), dtype=np.float64)[:, None] * frequencies
    even, odd = slice(0, config.head_dim, 2), slice(1, config.head_dim, 2)
    cosines[:, even] = cosines[:, odd] = np.cos(angles)
    sines[:, even] = -np.sin(angles)
    sines[:, odd] = np.sin(angles)
