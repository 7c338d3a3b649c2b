"""Writing kernels in Python: an embedded assembler with named registers, labels and loops.

    b = Builder("scale", target)
    b.label("main")
    row, stride, rows, cols = b.xs("row", "stride", "rows", "cols")
    tile = b.tile("tile")
    ...
    b.load_f32(tile, row, stride, rows, cols)
    b.fmul_const(tile, tile, factor)
    b.store_f32(tile, row, stride)
    b.halt()
    program = b.build()

There is one method per mnemonic (dots become underscores), made from `isa.table`, with the
operands in assembly order: `ld x5, 8(x1)` is `b.ld(X(5), 8, X(1))`. Mistakes raise
`InternalError` at the call, because a kernel that cannot be built is a fault of its author.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.encoding import Instr, conflict, encode
from isa.errors import InternalError
from isa.program import KEPT, Program
from isa.table import BY_NAME, ROWS, Instruction, Operand
from isa.target import Target

SCALAR_REGISTERS = 32
_encoded = lru_cache(KEPT)(encode)


class X(int):
    """A scalar register, x0 to x31."""

    def __repr__(self) -> str:
        return f"x{int(self)}"

    __str__ = __repr__


class T(int):
    """A tile register, t0 to t63."""

    def __repr__(self) -> str:
        return f"t{int(self)}"

    __str__ = __repr__


ZERO = X(0)
LINK = X(SCALAR_REGISTERS - 1)


@dataclass(frozen=True)
class Label:
    """A place in a program under construction; the name is unique in its builder."""

    name: str


class _Registers:
    """The free and the named registers of one kind, lowest number first."""

    def __init__(self, what: str, registers: list[X] | list[T]) -> None:
        self.what = what
        self.free: list[Any] = list(registers)
        self.names: dict[Any, str] = {}

    def allocate(self, name: str) -> Any:
        if not self.free:
            held = ", ".join(f"{register}={name}" for register, name in self.names.items())
            raise InternalError(f"no {self.what} register left for {name!r}; in use: {held}")
        register = self.free.pop(0)
        self.names[register] = name
        return register

    def release(self, register: X | T) -> None:
        if register not in self.names:
            raise InternalError(f"{register!r} is freed but was not allocated")
        del self.names[register]
        self.free.append(register)
        self.free.sort()


class Builder:
    """A program under construction for one target."""

    if TYPE_CHECKING:
        # One method per mnemonic is attached below, from the instruction table.
        def __getattr__(self, name: str) -> Callable[..., None]: ...

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self.target = target
        self._instructions: list[tuple[Instruction, tuple[int | str, ...]]] = []
        self._labels: dict[str, int] = {}
        self._reserved: set[str] = set()
        self._regions: dict[int, str] = {}
        # x0 is zero and x31 the link register; neither is handed out.
        self._scalars = _Registers("scalar", [X(i) for i in range(1, LINK)])
        self._tiles = _Registers("tile", [T(i) for i in range(target.tiles)])

    # Registers

    def x(self, name: str) -> X:
        """Allocate a scalar register; raises `InternalError` when none is free."""
        register: X = self._scalars.allocate(name)
        return register

    def xs(self, *names: str) -> tuple[X, ...]:
        """Allocate one scalar register per name."""
        return tuple(self.x(name) for name in names)

    def tile(self, name: str) -> T:
        """Allocate a tile register; raises `InternalError` when none is free."""
        register: T = self._tiles.allocate(name)
        return register

    def tiles(self, name: str, count: int) -> list[T]:
        """Allocate `count` tile registers, named `name0`, `name1`, ..."""
        return [self.tile(f"{name}{index}") for index in range(count)]

    @property
    def free_tiles(self) -> int:
        """Tile registers that are not allocated."""
        return len(self._tiles.free)

    @property
    def free_scalars(self) -> int:
        """Scalar registers that are not allocated."""
        return len(self._scalars.free)

    def free(self, *registers: X | T) -> None:
        """Give registers back; raises `InternalError` for one that is not allocated."""
        for register in registers:
            pool = self._scalars if isinstance(register, X) else self._tiles
            pool.release(register)

    @contextmanager
    def scratch(self, *names: str) -> Iterator[tuple[X, ...]]:
        """Allocate scalar registers for the body of a `with` statement."""
        registers = self.xs(*names)
        try:
            yield registers
        finally:
            self.free(*registers)

    @contextmanager
    def scratch_tiles(self, *names: str) -> Iterator[tuple[T, ...]]:
        """Allocate tile registers for the body of a `with` statement."""
        registers = tuple(self.tile(name) for name in names)
        try:
            yield registers
        finally:
            self.free(*registers)

    # Labels and structure

    @property
    def pc(self) -> int:
        """The number of the next instruction."""
        return len(self._instructions)

    def new_label(self, name: str) -> Label:
        """Return a label that is not placed yet; a number is appended where the name is taken."""
        unique, number = name, 1
        while unique in self._reserved:
            number += 1
            unique = f"{name}_{number}"
        self._reserved.add(unique)
        return Label(unique)

    def place(self, label: Label) -> None:
        """Let `label` mean the next instruction; raises `InternalError` the second time."""
        if label.name in self._labels:
            raise InternalError(f"{self.name}: label {label.name!r} is placed twice")
        self._reserved.add(label.name)
        self._labels[label.name] = self.pc

    def label(self, name: str) -> Label:
        """Place the label `name` here, keeping the name exactly (entries, functions)."""
        label = Label(name)
        self.place(label)
        return label

    def region(self, number: int, name: str | None = None) -> None:
        """Start operator `number` of the account; `name` is kept in `Program.regions`."""
        if name is not None and self._regions.setdefault(number, name) != name:
            raise InternalError(
                f"{self.name}: region {number} is {self._regions[number]!r} and {name!r}"
            )
        self.emit("region", number)

    @contextmanager
    def loop(self, counter: X, start: int | X, stop: int | X, step: int | X = 1) -> Iterator[X]:
        """Repeat the body for counter = start, start + step, ... while counter < stop.

        `stop` and `step` registers must not change in the body; a step register must be positive.
        The test is at the bottom; a guard at the top is left out where `start < stop` is known.
        An integer `stop` takes one more scalar register for the length of the loop.
        """
        if not isinstance(step, X) and step < 1:
            raise InternalError(f"{self.name}: loop step {step} is not positive")
        if not isinstance(stop, X):
            with self.scratch("loop_stop") as (bound,):
                self.li(bound, stop)
                known = not isinstance(start, X) and start < stop
                with self._loop(counter, start, bound, step, guard=not known):
                    yield counter
        else:
            with self._loop(counter, start, stop, step, guard=True):
                yield counter

    @contextmanager
    def _loop(
        self, counter: X, start: int | X, stop: X, step: int | X, *, guard: bool
    ) -> Iterator[None]:
        top, end = self.new_label("loop"), self.new_label("loop_end")
        if not isinstance(start, X):
            self.li(counter, start)
        elif start != counter:
            self.addi(counter, start, 0)
        if guard:
            self.bge(counter, stop, end)
        self.place(top)
        yield
        if isinstance(step, X):
            self.add(counter, counter, step)
        else:
            self.addi(counter, counter, step)
        self.blt(counter, stop, top)
        self.place(end)

    @contextmanager
    def function(self, name: str, link: X = LINK) -> Iterator[Label]:
        """Define a function: a label, the body, and a jump back through `link`.

        A function that calls others must use, or save, another link register. Raises
        `InternalError` where the preceding code would run into the function.
        """
        if self._instructions and self._instructions[-1][0].mnemonic not in ("halt", "j", "jr"):
            raise InternalError(f"{self.name}: the code before function {name!r} runs into it")
        label = self.label(name)
        yield label
        self.jr(link)

    def call(self, name: str | Label, link: X = LINK) -> None:
        """Call a function, which may be defined later."""
        self.jal(link, name)

    # Instructions

    @staticmethod
    def f32(value: float) -> int:
        """Return the bits of a constant rounded to f32, as `li` and `.const` forms take them."""
        with np.errstate(over="ignore"):
            return int(np.float32(value).view(np.uint32))

    def emit(self, mnemonic: str, *operands: int | str | Label) -> None:
        """Append an instruction by its mnemonic; raises `InternalError` for wrong operands."""
        entry = BY_NAME.get(mnemonic)
        if entry is None:
            raise InternalError(f"{self.name}: unknown instruction {mnemonic!r}")
        if len(operands) != len(entry.operands):
            raise InternalError(
                f"{self.name}: {mnemonic} takes {len(entry.operands)} operands "
                f"({entry.syntax}), not {len(operands)}"
            )
        checked = tuple(
            self._operand(entry, operand, value)
            for operand, value in zip(entry.operands, operands, strict=True)
        )
        if problem := conflict(entry, checked):
            raise InternalError(f"{self.name}, pc {self.pc}: {problem}")
        self._instructions.append((entry, checked))

    def _operand(self, entry: Instruction, operand: Operand, value: Any) -> int | str:
        """Check one operand against its kind; labels stay names until `build`."""
        kind = operand.kind.name
        if kind == "x" and isinstance(value, X) and value < SCALAR_REGISTERS:
            return int(value)
        if kind == "t" and isinstance(value, T) and value < self.target.tiles:
            return int(value)
        if kind == "label" and isinstance(value, Label | str):
            return value.name if isinstance(value, Label) else str(value)
        is_integer = isinstance(value, int | np.integer) and not isinstance(value, X | T | bool)
        if kind.startswith("imm") and is_integer:
            number = int(value)
            if operand.kind.low <= number <= operand.kind.high:
                return number
        wanted = {
            "x": "a scalar register",
            "t": f"a tile register below t{self.target.tiles}",
            "label": "a label",
        }.get(kind, f"an integer in {operand.kind.low}..{operand.kind.high}")
        raise InternalError(
            f"{self.name}, pc {self.pc}: operand {operand.name} of {entry.mnemonic} must be "
            f"{wanted}, not {value!r}"
        )

    def build(self) -> Program:
        """Resolve the labels and return the program; raises `InternalError` for a missing label."""
        resolved = []
        for pc, (entry, operands) in enumerate(self._instructions):
            values = []
            for value in operands:
                if isinstance(value, str):
                    if value not in self._labels:
                        raise InternalError(
                            f"{self.name}, pc {pc}: {entry.mnemonic} to label {value!r}, "
                            "which is never placed"
                        )
                    value = self._labels[value] - pc
                values.append(value)
            resolved.append(Instr(entry.mnemonic, tuple(values)))
        words = np.array([_encoded(instr) for instr in resolved], dtype=np.uint64)
        return Program(words, dict(self._labels), dict(self._regions), None, self.name)


def _attach_methods() -> None:
    def make(entry: Instruction) -> Callable[..., None]:
        def method(self: Builder, *operands: int | str | Label) -> None:
            self.emit(entry.mnemonic, *operands)

        method.__name__ = entry.mnemonic.replace(".", "_")
        method.__doc__ = f"`{entry.mnemonic} {entry.syntax}`: {entry.doc}"
        return method

    for entry in ROWS:
        name = entry.mnemonic.replace(".", "_")
        if not hasattr(Builder, name):  # `region` takes a name besides its operand
            setattr(Builder, name, make(entry))


_attach_methods()
