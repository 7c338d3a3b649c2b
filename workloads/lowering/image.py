"""The packed weights of a model as one file, so that packing is done once per machine geometry."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workloads.cache import atomic_file, cache_folder
from workloads.kernels.tiling import Tiling
from workloads.lowering.packing import Matrix, Vector
from workloads.lowering.placement import Placement
from workloads.notice import megabytes, notice
from workloads.weights.source import WeightSource

# Part of every file's name: changing how weights are packed must not find old files.
PACKING = "panels-2"
# Smaller models are packed faster than a file is worth.
WORTH_KEEPING = 20_000_000


def fill_weights(
    mem: NDArray[np.uint8], placement: Placement, source: WeightSource, t: Tiling
) -> None:
    """Write all weights to simulated memory, from the cached image where there is one."""
    first, end = placement.weight_range
    key = source.key
    if key is None or end - first < WORTH_KEEPING:
        _pack(mem, placement, source, t)
        return
    path = _image_path(key, placement, t)
    if _read_image(path, mem[first:end]):
        return
    notice(f"packing {megabytes(end - first)} of weights, once for this model and geometry ...")
    _pack(mem, placement, source, t)
    with atomic_file(path) as partial, partial.open("wb") as file:
        mem[first:end].tofile(file)


def _pack(mem: NDArray[np.uint8], placement: Placement, source: WeightSource, t: Tiling) -> None:
    for name, packed in placement.weights.items():
        tensor = placement.memory[name]
        packed.pack(source.get(packed.canonical), mem[tensor.address : tensor.end], t)


def _image_path(key: str, placement: Placement, t: Tiling) -> Path:
    """The image's file, named after everything that decides its bytes."""
    first, _ = placement.weight_range
    layout = [
        (name, placement.memory[name].address - first, placement.memory[name].nbytes)
        for name in placement.weights
    ]
    vectors = [name for name, packed in placement.weights.items() if isinstance(packed, Vector)]
    matrices = [packed for packed in placement.weights.values() if isinstance(packed, Matrix)]
    cuts = [(matrix.cuts, matrix.step_cuts) for matrix in matrices]
    geometry = [t.dtype, t.n_cols, t.row_bytes, t.panel]
    text = json.dumps([PACKING, key, geometry, layout, vectors, cuts])
    return cache_folder("packed") / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.bin"


def _read_image(path: Path, to: NDArray[np.uint8]) -> bool:
    """Fill `to` from the file; False where there is none of that size."""
    try:
        if path.stat().st_size != len(to):
            return False
        with path.open("rb") as file:
            return file.readinto(to.data) == len(to)
    except OSError:
        return False
