"""A core of the machine description: tiles, units, operations."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from isa.errors import UserError, did_you_mean
from isa.table import ROWS
from isa.target import Target
from sim.machine.array import Array, Dataflow
from sim.machine.section import MAX_ENTRIES, Bytes, Count, Cycles, Entries, Section, power_of_two

MAX_UNITS = 8

# Classes whose accesses become line pieces on the load and store pipes.
MEMORY_CLASSES = ("load", "store")
# (class, type) pairs of the instruction table that a machine must time; `region` costs nothing.
PAIRS: tuple[tuple[str, str], ...] = tuple(
    dict.fromkeys((row.cls, row.dtype) for row in ROWS if row.cls != "region")
)


class Tiles(Section):
    """Tile registers: ``count`` of up to ``rows`` x ``row_bytes``."""

    count: Count
    rows: Count
    row_bytes: Bytes

    @model_validator(mode="after")
    def _possible(self) -> Self:
        try:
            Target(tiles=self.count, rows=self.rows, row_bytes=self.row_bytes)
        except UserError as error:
            raise ValueError(str(error)) from error
        return self


class Unit(Section):
    """A group of equal pipes behind one queue of instructions that wait to issue.

    ``bytes`` is the width of one pipe: the vector length, or what a load or store pipe moves per
    cycle. With ``dataflow`` the unit is a systolic array, which runs matmul alone.
    """

    pipes: Annotated[int, Field(ge=1, le=64)]
    queue: Entries
    bytes: Annotated[Bytes | None, Field(gt=0)] = None
    dataflow: Dataflow | None = None
    array_rows: Count | None = None
    array_columns: Count | None = None

    @model_validator(mode="after")
    def _whole_array(self) -> Self:
        given = [self.dataflow, self.array_rows, self.array_columns]
        if self.array is None and given != [None, None, None]:
            raise ValueError(
                "a systolic array needs all of dataflow, array_rows and array_columns; "
                "any other unit has none of them"
            )
        if self.array is not None and self.pipes != 1:
            raise ValueError(f"pipes: a systolic array is one pipe, not {self.pipes}")
        return self

    @property
    def array(self) -> Array | None:
        """The systolic array that this unit is, if it is one."""
        if self.dataflow is None or self.array_rows is None or self.array_columns is None:
            return None
        return Array(self.dataflow, self.array_rows, self.array_columns)


class Op(Section):
    """How instructions of one class (and type, where given) run.

    ``slot`` says what one pipe slot covers (``docs/machines.md``); ``uops`` is ``"slot"`` or a
    number per instruction; ``occupancy`` counts pipe cycles per slot, ``latency`` the cycles from
    a slot's start to its result, ``accumulate_latency`` the same from accumulator to accumulator.
    """

    cls: Annotated[str, Field(alias="class")]
    dtype: str | None = None
    unit: str
    slot: Literal["instruction", "row", "vector", "array"] = "instruction"
    uops: Count | Literal["slot"] = 1
    latency: Cycles
    occupancy: Count = 1
    accumulate_latency: Cycles | None = None
    source: str = ""

    @field_validator("cls")
    @classmethod
    def _known_class(cls, value: str) -> str:
        known = list(dict.fromkeys(pair[0] for pair in PAIRS))
        if value not in known:
            raise ValueError(
                f"unknown instruction class {value!r}.{did_you_mean(value, known)} "
                f"Known: {', '.join(known)}"
            )
        return value

    @model_validator(mode="after")
    def _known_type(self) -> Self:
        known = [dtype for cls, dtype in PAIRS if cls == self.cls]
        if self.dtype is not None and self.dtype not in known:
            raise ValueError(
                f"class {self.cls!r} has no type {self.dtype!r}; it has {', '.join(known)}"
            )
        return self

    @model_validator(mode="after")
    def _accumulation(self) -> Self:
        again = self.accumulate_latency
        if again is not None and again > self.latency:
            raise ValueError(
                f"accumulate_latency: {again} cycles are more than the latency of {self.latency}; "
                "an accumulation may start early, never late: give both, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _memory_slots(self) -> Self:
        loads = self.cls in ("load", "prefetch")
        if loads and self.latency:
            raise ValueError(f"latency: must be 0 for {self.cls}, since the caches give it")
        if (loads or self.cls == "store") and (self.slot != "instruction" or self.occupancy != 1):
            raise ValueError(
                f"slot and occupancy are not for {self.cls}, whose slots are the pieces of its "
                "rows; set 'bytes' of the unit"
            )
        return self

    @model_validator(mode="after")
    def _array_uops(self) -> Self:
        if self.slot == "array" and self.uops == "slot":
            raise ValueError(
                "uops: must be a number with slot 'array', since how many slots a matmul takes on "
                "an array is known only when it issues"
            )
        return self

    @property
    def key(self) -> str:
        """``matmul.bf16``, or ``matmul`` for a row that serves every type."""
        return self.cls if self.dtype is None else f"{self.cls}.{self.dtype}"


class Core(Section):
    """One core: front end, window, queues, tile registers, units and what runs on them."""

    kind: Literal["out-of-order", "in-order"]
    width: Annotated[int, Field(ge=1, le=64)]
    retire_width: Annotated[int, Field(ge=1, le=64)]
    rob: Entries
    load_queue: Entries
    store_queue: Entries
    predictor: Literal["two-bit", "gshare", "perfect"] = "two-bit"
    predictor_entries: Entries
    history_bits: Annotated[int, Field(ge=0, le=16)] = 8
    mispredict_penalty: Cycles
    return_stack: Annotated[int, Field(ge=0, le=MAX_ENTRIES)]
    taken_branch_bubble: Cycles = 0
    forward_cycles: Count
    tiles: Tiles
    units: dict[str, Unit]
    ops: list[Op]

    def op(self, cls: str, dtype: str) -> Op | None:
        """The row that times ``(cls, dtype)``: its own, else the one for every type of ``cls``."""
        general = None
        for row in self.ops:
            if row.cls == cls:
                if row.dtype == dtype:
                    return row
                if row.dtype is None:
                    general = row
        return general

    @property
    def matmul_rows(self) -> dict[str, Op]:
        """The row that times matmul, by operand type that the core can multiply."""
        rows = {t: self.op(cls, t) for cls, t in PAIRS if cls == "matmul"}
        return {t: row for t, row in rows.items() if row is not None}

    @property
    def matmul_types(self) -> tuple[str, ...]:
        """Operand types that the core can multiply."""
        return tuple(self.matmul_rows)

    @field_validator("predictor_entries")
    @classmethod
    def _mask(cls, value: int) -> int:
        if not power_of_two(value):
            raise ValueError(f"must be a power of two, not {value}: the pc's low bits index it")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_units()
        self._check_arrays()
        self._check_ops()
        self._check_queues()
        return self

    def _check_units(self) -> None:
        if not 1 <= len(self.units) <= MAX_UNITS:
            raise ValueError(f"units: has {len(self.units)} units; 1 to {MAX_UNITS} are possible")
        for row in self.ops:
            if row.unit not in self.units:
                raise ValueError(
                    f"ops.{row.key}: unit {row.unit!r} is not described."
                    f"{did_you_mean(row.unit, self.units)} Units: {', '.join(self.units)}"
                )
            by_bytes = row.slot == "vector" or row.cls in MEMORY_CLASSES
            if by_bytes and self.units[row.unit].bytes is None:
                raise ValueError(
                    f"units.{row.unit}: needs 'bytes', the width of one pipe, since "
                    f"ops.{row.key} splits its work by it"
                )

    def _check_arrays(self) -> None:
        for row in self.ops:
            array = self.units[row.unit].array
            if array is None and row.slot == "array":
                raise ValueError(
                    f"ops.{row.key}: slot 'array' needs a systolic array, and unit {row.unit!r} "
                    "has no dataflow"
                )
            if array is not None and row.cls != "matmul":
                raise ValueError(
                    f"ops.{row.key}: unit {row.unit!r} is a systolic array, which runs matmul "
                    "alone; name another unit"
                )
            if array is not None and row.slot != "array":
                raise ValueError(
                    f"ops.{row.key}: slot must be 'array', not {row.slot!r}, since unit "
                    f"{row.unit!r} is a systolic array"
                )
        for name, unit in self.units.items():
            types = [dtype for dtype, row in self.matmul_rows.items() if row.unit == name]
            if unit.array is None or not types:
                continue
            most = [unit.array.extents(*self.most_product(dtype)) for dtype in types]
            rows = max(extents.rows for extents in most)
            columns = max(extents.columns for extents in most)
            if unit.array.rows > rows or unit.array.columns > columns:
                raise ValueError(
                    f"units.{name}: tiles of {self.tiles.rows} x {self.tiles.row_bytes} B fill at "
                    f"most {rows} x {columns} of an array with dataflow {unit.dataflow!r}, so the "
                    f"rest of {unit.array_rows} x {unit.array_columns} could never work"
                )

    def _check_ops(self) -> None:
        seen: set[str] = set()
        for row in self.ops:
            if row.key in seen:
                raise ValueError(f"ops: class {row.key!r} has two rows; keep one")
            seen.add(row.key)
        missing = [f"{c}.{t}" for c, t in PAIRS if c != "matmul" and self.op(c, t) is None]
        if missing:
            raise ValueError(
                f"ops: no row times {', '.join(missing)}; a row without 'dtype' serves all types"
            )
        if not self.matmul_types:
            raise ValueError("ops: no row times matmul; give one for f32, bf16 or both")
        for classes in (("load", "prefetch"), ("store",)):
            units = sorted({row.unit for row in self.ops if row.cls in classes})
            if len(units) > 1:
                raise ValueError(
                    f"ops: all {' and '.join(classes)} rows must name one unit, "
                    f"not {', '.join(units)}"
                )

    def _check_queues(self) -> None:
        # A tile access that never fits its queue would wait for ever.
        rows, row_bytes = self.tiles.rows, self.tiles.row_bytes
        loads = self._most_lines("load")
        if self.load_queue < loads:
            raise ValueError(
                f"load_queue: {self.load_queue} entries cannot hold one tile load of up to {loads} "
                f"line accesses ({rows} x {row_bytes} B tiles); make it at least {loads}"
            )
        stores = self._most_lines("store")
        if self.store_queue < stores:
            raise ValueError(
                f"store_queue: {self.store_queue} entries cannot hold one tile store of up to "
                f"{stores} line accesses ({rows}-row tiles); make it at least {stores}"
            )

    def _most_lines(self, cls: str) -> int:
        """Line accesses of one tile access at most: every row may straddle two lines.

        A transposing load of a raw bf16 operand walks row_bytes / 2 memory rows.
        """
        rows = self.tiles.rows
        return 2 * (max(rows, self.tiles.row_bytes // 2) if cls == "load" else rows)

    def most_product(self, dtype: str) -> tuple[int, int, int]:
        """m, n and k of a matmul of an m x k by an n x k tile, on full tiles."""
        rows, row_bytes = self.tiles.rows, self.tiles.row_bytes
        return rows, min(rows, row_bytes // 4), row_bytes // (2 if dtype == "bf16" else 4)

    def most_slots(self, row: Op, dtype: str) -> int:
        """Pipe slots of an instruction of this row and type on full tiles, before ``occupancy``.

        Of an array, they are those of a matmul that finds another one's operands there.
        """
        rows, row_bytes = self.tiles.rows, self.tiles.row_bytes
        array = self.units[row.unit].array
        if array is not None:
            work = array.work(*self.most_product(dtype))
            return work.folds * (work.set_up + work.stream)
        if row.cls in MEMORY_CLASSES:
            return self._most_lines(row.cls)
        if row.slot == "instruction":
            return 1
        if row.slot == "row":
            return rows
        width = self.units[row.unit].bytes or row_bytes
        if row.cls == "matmul":
            # k multiply-adds an element for f32, k / 2 pairs for bf16: row_bytes / 4 either way.
            return (row_bytes // 4) * -(-4 * rows * rows // width)
        return rows * -(-row_bytes // width)

    def matmul_flops(self, dtype: str) -> float:
        """Peak floating-point operations per cycle of matmul on full tiles of ``dtype``.

        Of a systolic array: while operands stream through as much of it as a full tile fills.
        """
        row = self.op("matmul", dtype)
        if row is None:
            return 0.0
        unit = self.units[row.unit]
        m, n, k = self.most_product(dtype)
        if unit.array is not None:
            most = unit.array.extents(m, n, k)
            busy = min(unit.array.rows, most.rows) * min(unit.array.columns, most.columns)
            return 2 * busy / row.occupancy
        cycles = self.most_slots(row, dtype) * row.occupancy / unit.pipes
        return 2 * m * n * k / cycles
