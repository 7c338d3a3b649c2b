"""A program: encoded words plus the names that make it readable."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from isa.encoding import Instr, decode
from isa.errors import UserError, did_you_mean
from isa.target import Target

__all__ = ["LABEL_NAME", "REGION_NAME", "Instr", "Program"]

# Names the assembler can read back: no register and not the word f32.
LABEL_NAME = re.compile(r"(?!([xt]\d+|f32)$)[A-Za-z_.$][\w.$]*", re.ASCII)
REGION_NAME = re.compile(r"[\w.:$-]+", re.ASCII)


# Programs are made of few different instructions, most of all those of several cores.
KEPT = 1 << 14
_decode = lru_cache(KEPT)(decode)


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions of one core. The program counter (pc) counts words from 0.

    `labels` maps names to pcs, `regions` operator numbers to names, `lines` gives each
    instruction's source line where there is a source. Raises `UserError` for a name the assembler
    could not read back.
    """

    words: NDArray[np.uint64]
    labels: dict[str, int] = field(default_factory=dict)
    regions: dict[int, str] = field(default_factory=dict)
    lines: list[int] | None = None
    name: str = "program"

    def __post_init__(self) -> None:
        for label in self.labels:
            if not LABEL_NAME.fullmatch(label):
                raise UserError(f"program {self.name!r}: {label!r} cannot be a label")
        for region in self.regions.values():
            if not REGION_NAME.fullmatch(region):
                raise UserError(
                    f"program {self.name!r}: region name {region!r} has characters other than "
                    "letters, digits and _ . : $ -"
                )

    def __len__(self) -> int:
        return len(self.words)

    def entry(self, label: str) -> int:
        """Return the pc of a label; raises `UserError` naming the known ones if there is none."""
        if label not in self.labels:
            known = ", ".join(sorted(self.labels)) or "none"
            raise UserError(
                f"program {self.name!r} has no label {label!r};"
                f"{did_you_mean(label, self.labels)} Labels: {known}"
            )
        return self.labels[label]

    @cached_property
    def _decoded(self) -> tuple[Instr, ...]:
        instructions = []
        for pc, word in enumerate(self.words):
            try:
                instructions.append(_decode(int(word)))
            except UserError as error:
                raise UserError(f"program {self.name!r}, pc {pc}: {error}") from None
        return tuple(instructions)

    def decoded(self) -> list[Instr]:
        """Return the decoded instructions; raises `UserError` for a word that is none."""
        return list(self._decoded)

    def instruction(self, pc: int) -> Instr:
        """Return the decoded instruction at `pc`."""
        return self._decoded[pc]

    def check_target(self, target: Target) -> None:
        """Raise `UserError` where the program needs tile registers or types the target lacks."""
        for instr in dict.fromkeys(self._decoded):
            for value, operand in zip(instr.operands, instr.row.operands, strict=True):
                if operand.kind.name == "t" and value >= target.tiles:
                    pc = self._decoded.index(instr)
                    raise UserError(
                        f"program {self.name!r}, pc {pc}: {instr.mnemonic} uses t{value}, but the "
                        f"target has {target.tiles} tile registers (t0 to t{target.tiles - 1})"
                    )
            if instr.row.cls == "matmul" and instr.row.dtype not in target.matmul_types:
                pc = self._decoded.index(instr)
                raise UserError(
                    f"program {self.name!r}, pc {pc}: the target has no {instr.mnemonic}; "
                    f"it multiplies {', '.join(target.matmul_types)}"
                )
