"""From what the user typed to weights: a catalogue name, a GGUF file, or a model folder."""

from __future__ import annotations

import os
from pathlib import Path

from isa.errors import UserError
from workloads.catalogue import Entry, entries, unknown_workload
from workloads.notice import notice
from workloads.weights.random import RandomWeights
from workloads.weights.source import WeightSource


def open_workload(
    name_or_path: str | os.PathLike[str], seed: int = 0, *, random_weights: bool = False
) -> WeightSource:
    """Open a workload.

    A catalogue name comes first: a folder of the same name is reached as ``./name``. A model of
    the catalogue without published weights gets seeded random ones, and stderr says so.

    Args:
        seed: seed of random weights, where random weights are used.
        random_weights: use seeded random weights even for a catalogue model that has real ones.

    Raises:
        UserError: no such workload, or its weights cannot be had or read.
    """
    name = os.fspath(name_or_path)
    if name in entries():
        return _open_entry(entries()[name], seed, random_weights)
    path = Path(name).expanduser()
    if path.is_dir():
        from workloads.weights.safetensors import open_folder

        return open_folder(path)
    if path.is_file():
        if path.suffix == ".safetensors":
            raise UserError(
                f"{path} holds weights without their shape; give the folder that has its "
                "config.json beside it"
            )
        from workloads.weights.gguf import open_gguf

        return open_gguf(path)
    if path.suffix == ".gguf" or os.sep in name:
        raise UserError(f"no such file or folder: {path}")
    raise unknown_workload(name)


def _open_entry(entry: Entry, seed: int, random_weights: bool) -> WeightSource:
    name = entry.name
    if entry.weights is not None and not random_weights:
        from workloads.fetch import fetch
        from workloads.weights.gguf import open_gguf

        return open_gguf(fetch(name), name=name)
    if not entry.byte_tokenizer:
        notice(f"{name}: no real weights at hand, using seeded random ones (seed {seed})")
    return RandomWeights(entry.config, seed, byte_tokenizer=entry.byte_tokenizer)
