"""The machine description: what a TOML file may say, with every number checked.

Units are fixed by the type: sizes are bytes, clocks MHz, times nanoseconds, rates GB/s; every
other number is a count or core cycles. ``hit_cycles`` is what a level *adds*: the load-to-use of
an L2 hit is ``l1.hit_cycles + l2.hit_cycles + l1.fill_cycles``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from isa.errors import UserError, did_you_mean
from isa.table import ROWS
from isa.target import Target
from sim.machine.array import Array, Dataflow
from sim.machine.units import (
    format_clock,
    format_size,
    parse_clock,
    parse_rate,
    parse_size,
    parse_time,
)

# Far above every real machine, and low enough that neither the host's memory nor 64-bit counts of
# cycles and femtoseconds run out.
MAX_BYTES = 4 << 30
MAX_CYCLES = 1_000_000
MAX_ENTRIES = 1 << 16
MAX_NS = 1e6
MAX_TURN_NS = 1e3  # far more than a request takes to L3 and back
MIN_RATE, MAX_RATE = 1e-3, 1e5

Bytes = Annotated[
    int, BeforeValidator(parse_size), Field(le=MAX_BYTES), PlainSerializer(format_size)
]
Megahertz = Annotated[int, BeforeValidator(parse_clock), PlainSerializer(format_clock)]
Nanoseconds = Annotated[float, BeforeValidator(parse_time), Field(ge=0, le=MAX_NS)]
GigabytesPerSecond = Annotated[float, BeforeValidator(parse_rate), Field(ge=MIN_RATE, le=MAX_RATE)]
Count = Annotated[int, Field(ge=1, le=MAX_CYCLES)]
Entries = Annotated[int, Field(ge=1, le=MAX_ENTRIES)]
Cycles = Annotated[int, Field(ge=0, le=MAX_CYCLES)]
NONE = BeforeValidator(lambda value: None if value == "none" else value)  # of what may be left out

MAX_UNITS = 8
MAX_CORES = 60  # a directory entry is one word: a bit per core and the owner's mark
MAX_WRITE_BATCH = 64
MAX_NODES = 8
MAX_MSHRS = 1024
MAX_TREE_WAYS = 32  # the bits of a set's tree are one word
MAX_SEED = 2**31 - 2  # the greatest remainder that the generator of rule M1 can have

# Classes whose accesses become line pieces on the load and store pipes.
MEMORY_CLASSES = ("load", "store")
# (class, type) pairs of the instruction table that a machine must time; `region` costs nothing.
PAIRS: tuple[tuple[str, str], ...] = tuple(
    dict.fromkeys((row.cls, row.dtype) for row in ROWS if row.cls != "region")
)


def power_of_two(value: int) -> bool:
    """Whether ``value`` is 1, 2, 4, ..."""
    return value > 0 and value & (value - 1) == 0


class Section(BaseModel):
    """A table of the file. Unknown keys are errors that name the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"must be a table of {cls.__name__.lower()} keys, not {data!r}")
        known = {field.alias or name for name, field in cls.model_fields.items()}
        annotations = {f.alias or name: f.annotation for name, f in cls.model_fields.items()}
        for key in data:
            if key not in known:
                raise ValueError(
                    f"unknown key {key!r}.{did_you_mean(str(key), known)} "
                    f"Known here: {', '.join(sorted(known))}"
                )
            if isinstance(data[key], bool) and annotations[key] is not bool:
                raise ValueError(f"{key}: must be a quantity or text, not {data[key]}")
        return data


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


class Cache(Section):
    """One cache level. ``bytes_per_cycle`` is towards the level above it."""

    size: Bytes
    ways: Count
    line: Bytes = 64
    hit_cycles: Cycles
    fill_cycles: Cycles = 0
    mshrs: Annotated[int, Field(ge=1, le=MAX_MSHRS)]
    bytes_per_cycle: Count | None = None
    replacement: Literal["lru", "plru", "srrip", "random"] = "lru"
    replacement_seed: Annotated[int, Field(ge=1, le=MAX_SEED)] = 1
    prefetch: Literal["none", "next-line", "stride"] = "none"
    prefetch_degree: Annotated[int, Field(ge=1, le=64)] = 1
    prefetch_distance: Annotated[int, Field(ge=1, le=1024)] = 1

    @property
    def sets(self) -> int:
        """Number of sets."""
        return self.size // (self.ways * self.line)

    @model_validator(mode="after")
    def _geometry(self) -> Self:
        if not power_of_two(self.line) or not 16 <= self.line <= 64:
            raise ValueError(f"line: must be 16, 32 or 64 bytes, not {self.line}")
        step = self.ways * self.line
        if self.size < step or self.size % step:
            low = self.size // step * step
            near = [format_size(size) for size in (low, low + step) if size]
            raise ValueError(
                f"impossible geometry: {format_size(self.size)} in {self.ways} ways of "
                f"{self.line}-byte lines is {self.size / step:.2f} sets; size must be a multiple "
                f"of {step} bytes (nearest: {' or '.join(near)}), or change ways"
            )
        if self.replacement == "plru" and not (
            power_of_two(self.ways) and self.ways <= MAX_TREE_WAYS
        ):
            raise ValueError(
                f"replacement: 'plru' halves the ways again and again, so {self.ways} ways are "
                f"not possible; make ways a power of two, {MAX_TREE_WAYS} at most"
            )
        return self


class CoreType(Core):
    """A core of another kind than `[core]`, with its own caches; ``clock`` is by default theirs.

    In a file its table holds only what differs from `[core]`, `[l1]` and `[l2]`.
    """

    clock: Megahertz | None = None
    l1: Cache
    l2: Annotated[Cache | None, NONE] = None


class SharedCache(Cache):
    """The last level, shared by all cores; with a ``clock``, its cycles are of that clock.

    Prefetchers belong to a core's own levels.
    """

    clock: Megahertz | None = None
    prefetch: Literal["none"] = "none"
    slices: Annotated[int, Field(ge=1, le=MAX_CORES)] = 1
    inclusive: bool = False

    @model_validator(mode="after")
    def _sliced(self) -> Self:
        if self.sets % self.slices:
            raise ValueError(
                f"slices: {self.sets} sets cannot be dealt to {self.slices} slices evenly; "
                "change size, ways or slices"
            )
        return self


class Interconnect(Section):
    """The way between cores, L3 slices and each other, in cycles of L3's clock (rules C2, C4)."""

    topology: Literal["crossbar", "ring", "mesh"] = "crossbar"
    hop_cycles: Cycles = 0
    snoop_cycles: Cycles = 20

    def hops(self, a: int, b: int, stops: int) -> int:
        """Hops between two of ``stops`` stops."""
        if self.topology == "crossbar":
            return 1
        if self.topology == "ring":
            return min(abs(a - b), stops - abs(a - b))
        columns = math.isqrt(stops - 1) + 1
        return abs(a % columns - b % columns) + abs(a // columns - b // columns)


BLOCKS = "block"  # how memory may be dealt to nodes


class Numa(Section):
    """Nodes with cores, L3 slices and memory of their own, and the links between them (rule C9).

    ``link`` is the rate from one node to another; ``remote_ns`` is added to a message's way.
    """

    nodes: Annotated[int, Field(ge=1, le=MAX_NODES)]
    remote_ns: Nanoseconds
    link: GigabytesPerSecond
    interleave: Literal["page", "block"] = "page"


class Dram(Section):
    """Main memory of each node: channels of banks of rows, timings in ns, pin rate per channel."""

    channels: Annotated[int, Field(ge=1, le=64)]
    banks: Annotated[int, Field(ge=1, le=1024)]
    row_bytes: Bytes
    gigabytes_per_second: GigabytesPerSecond
    controller_ns: Nanoseconds
    trcd_ns: Nanoseconds
    tcl_ns: Nanoseconds
    trp_ns: Nanoseconds
    tras_ns: Nanoseconds
    twr_ns: Nanoseconds
    trtp_ns: Nanoseconds
    twtr_ns: Nanoseconds
    trtw_ns: Nanoseconds
    trefi_ns: Nanoseconds
    trfc_ns: Nanoseconds
    write_batch: Annotated[int, Field(ge=1, le=MAX_WRITE_BATCH)] = 16

    @model_validator(mode="after")
    def _refresh(self) -> Self:
        if self.trefi_ns and self.trfc_ns >= self.trefi_ns:
            raise ValueError(
                f"trfc_ns: a refresh of {self.trfc_ns:g} ns every trefi_ns = {self.trefi_ns:g} ns "
                "leaves no time for accesses; trefi_ns = 0 switches refresh off"
            )
        return self


DEFAULT_TYPE = "core"


class CoreKind(NamedTuple):
    """What one core is made of; its clock in MHz."""

    core: Core
    l1: Cache
    l2: Cache | None
    clock: int


class Machine(Section):
    """A whole machine. ``l2`` and ``l3`` are optional; ``l1`` and ``l2`` belong to each core.

    ``clock`` is that of all cores, or, with ``core_clocks``, only of an L3 without one of its own.
    With ``core_type`` every core is one of ``core_types``, or "core": ``core``, ``l1``, ``l2``.
    Several cores are worked on in turns of ``turn_ns``, or, if that is 0, cycle by cycle (T3).
    """

    name: str
    description: str = ""
    clock: Megahertz
    cores: Annotated[int, Field(ge=1, le=MAX_CORES)] = 1
    core_clocks: Annotated[tuple[Megahertz, ...] | None, NONE] = None
    core_type: Annotated[tuple[str, ...] | None, NONE] = None
    turn_ns: Annotated[Nanoseconds, Field(le=MAX_TURN_NS)] = 0
    core: Core
    core_types: dict[str, CoreType] = {}
    l1: Cache
    l2: Annotated[Cache | None, NONE] = None
    l3: Annotated[SharedCache | None, NONE] = None
    interconnect: Interconnect = Interconnect()
    numa: Annotated[Numa | None, NONE] = None
    dram: Dram

    @model_validator(mode="before")
    @classmethod
    def _one_core_a_type(cls, table: Any) -> Any:
        """As many cores as `core_type` says, where nothing else says how many."""
        if isinstance(table, dict) and isinstance(table.get("core_type"), list):
            return {"cores": len(table["core_type"]), **table}
        return table

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.core_clocks is not None and len(self.core_clocks) != self.cores:
            raise ValueError(
                f"core_clocks: {len(self.core_clocks)} clocks for cores = {self.cores}; give every "
                "core one, or leave core_clocks out and all have the machine's clock"
            )
        self._check_types()
        lines = {cache.line for cache in self.levels}
        if len(lines) > 1:
            raise ValueError(f"all cache levels need one line size, not {sorted(lines)}")
        if self.l1.hit_cycles < 1:
            raise ValueError("l1.hit_cycles: must be at least 1; data come after the access")
        dram = self.dram
        # A closed row's access, its burst slot rounded up, has to fit between two refreshes.
        access_ns = dram.trcd_ns + dram.tcl_ns + 2 * self.l1.line / dram.gigabytes_per_second
        if dram.trefi_ns and dram.trfc_ns + access_ns > dram.trefi_ns:
            raise ValueError(
                f"dram.trefi_ns: {dram.trefi_ns:g} ns with a refresh of {dram.trfc_ns:g} ns leave "
                f"no room for an access of up to {access_ns:g} ns; 0 switches refresh off"
            )
        if self.dram.row_bytes % self.l1.line:
            raise ValueError(
                f"dram.row_bytes: {self.dram.row_bytes} is no multiple of the "
                f"{self.l1.line}-byte line"
            )
        if self.l3 is not None and self.l2 is None:
            raise ValueError("l3: needs an l2 between it and the core; remove l3 too, or keep l2")
        if self.l3 is not None and self.l3.slices % self.nodes:
            raise ValueError(
                f"l3.slices: {self.l3.slices} cannot be dealt to {self.nodes} nodes evenly; make "
                f"it a multiple of {self.nodes}, or change numa.nodes"
            )
        return self

    def _check_types(self) -> None:
        """One program set runs on all types, so what a `Target` holds is equal."""
        known = [DEFAULT_TYPE, *self.core_types]
        if DEFAULT_TYPE in self.core_types:
            raise ValueError(f"core_types.{DEFAULT_TYPE}: is the name of [core]; take another")
        for name in self.core_type or ():
            if name not in known:
                raise ValueError(
                    f"core_type: unknown type {name!r}.{did_you_mean(name, known)} "
                    f"Types: {', '.join(known)}"
                )
        if self.core_type is not None and len(self.core_type) < self.cores:
            raise ValueError(
                f"core_type: {len(self.core_type)} types for cores = {self.cores}; give every "
                f"core one of {', '.join(known)}, or leave core_type out and all are [core]"
            )
        for name, core in self.core_types.items():
            for what, mine, theirs in (
                ("tiles", core.tiles, self.core.tiles),
                ("types of matmul", set(core.matmul_types), set(self.core.matmul_types)),
                ("cache lines", {c.line for c in (core.l1, core.l2) if c}, {self.l1.line}),
            ):
                if mine != theirs:
                    raise ValueError(
                        f"core_types.{name}: its {what} are not those of [core], but one set of "
                        "programs runs on all cores; make them equal"
                    )
            if core.l1.hit_cycles < 1:
                raise ValueError(f"core_types.{name}.l1.hit_cycles: must be at least 1")
            if self.l3 is not None and core.l2 is None:
                raise ValueError(f"core_types.{name}.l2: needed between the core and l3")

    @property
    def levels(self) -> tuple[Cache, ...]:
        """The cache levels from the core outward."""
        return tuple(cache for cache in (self.l1, self.l2, self.l3) if cache is not None)

    def type_of(self, core: int) -> str:
        """The name of a core's type, of `kinds`; `UserError` for a core that has none."""
        if self.core_type is None:
            return DEFAULT_TYPE
        if core >= len(self.core_type):
            raise UserError(f"core_type has no type for core {core}; set cores too")
        return self.core_type[core]

    def kind_of(self, core: int) -> CoreKind:
        """What a core is made of."""
        return self.kinds[self.type_of(core)]

    @property
    def kinds(self) -> dict[str, CoreKind]:
        """The types of cores by name, `[core]` first."""
        own = {DEFAULT_TYPE: CoreKind(self.core, self.l1, self.l2, self.clock)}
        types = self.core_types.items()
        return own | {n: CoreKind(t, t.l1, t.l2, t.clock or self.clock) for n, t in types}

    def of_type(self, name: str) -> Machine:
        """The machine as cores of one type see it, which all its cores are."""
        kind = self.kinds[name]
        clocks = [self.clock_of(core) for core in range(self.cores) if self.type_of(core) == name]
        l3 = self.l3 and self.l3.model_copy(update={"clock": self.l3.clock or self.clock})
        return self.model_copy(
            update={
                **kind._asdict(),
                "clock": clocks[0] if clocks else kind.clock,
                "core_clocks": None,
                "core_type": None,
                "core_types": {},
                "l3": l3,
            }
        )

    def unit_names(self, cores: int) -> list[str]:
        """Names of the units of the first cores, each once."""
        kinds = (self.kind_of(core) for core in range(cores))
        return list(dict.fromkeys(name for kind in kinds for name in kind.core.units))

    def clock_of(self, core: int) -> int:
        """The clock a core starts with, in MHz; `UserError` for a core that has none."""
        if self.core_clocks is None:
            return self.kind_of(core).clock
        if core >= len(self.core_clocks):
            raise UserError(f"core_clocks has no clock for core {core}; set cores too")
        return self.core_clocks[core]

    @property
    def homes(self) -> int:
        """Places that keep the directory: slices of L3, or the memory controller of each node."""
        return self.l3.slices if self.l3 else self.nodes

    @property
    def nodes(self) -> int:
        """Number of nodes (rule C9)."""
        return self.numa.nodes if self.numa else 1

    def node_of_core(self, core: int, cores: int) -> int:
        """The node of a core (rule C9) where ``cores`` run programs."""
        return core * self.nodes // cores

    def node_of_home(self, home: int) -> int:
        """The node of a home (rule C9)."""
        return home * self.nodes // self.homes

    def home_hops(self, core: int, home: int, cores: int) -> int:
        """Hops from a core to a home (rule C2) where ``cores`` run programs."""
        return self.interconnect.hops(core, home * cores // self.homes, cores)

    def core_hops(self, a: int, b: int, cores: int) -> int:
        """Hops from one core to another (rule C2) where ``cores`` run programs."""
        return self.interconnect.hops(a, b, cores)

    def target(self) -> Target:
        """What programs for this machine are compiled for."""
        tiles = self.core.tiles
        return Target(
            tiles=tiles.count,
            rows=tiles.rows,
            row_bytes=tiles.row_bytes,
            cores=self.cores,
            l1_bytes=self.l1.size,
            l2_bytes=self.l2.size if self.l2 else 0,
            l3_bytes=self.l3.size if self.l3 else 0,
            matmul_types=self.core.matmul_types,
            core_speeds=self._core_speeds(),
        )

    def _core_speeds(self) -> tuple[float, ...]:
        """Matmul peaks of the cores against the highest; empty where they are equal."""
        kinds = [self.kind_of(core) for core in range(self.cores)]
        dtype = self.core.matmul_types[-1]  # bf16 if there is any
        peaks = [
            kind.core.matmul_flops(dtype) * self.clock_of(core) for core, kind in enumerate(kinds)
        ]
        if len(set(peaks)) == 1:
            return ()
        return tuple(peak / max(peaks) for peak in peaks)

    def resolved(self) -> dict[str, Any]:
        """The whole machine as a plain dict in the form of its file, for ``--json``."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
