"""The machine description: what a TOML file may say, with every number checked.

Units are fixed by the type: sizes are bytes, clocks MHz, times nanoseconds, rates GB/s; every
other number is a count or core cycles. ``hit_cycles`` is what a level *adds*: the load-to-use of
an L2 hit is ``l1.hit_cycles + l2.hit_cycles + l1.fill_cycles``. `sim.machine.core` has what is in
a core, `sim.machine.memory` what is around it, `sim.machine.section` what tables have in common.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    Field,
    model_validator,
)

from isa.errors import UserError, did_you_mean
from isa.target import Target
from sim.machine.core import Core
from sim.machine.memory import MAX_CORES, Cache, Dram, Interconnect, Numa, SharedCache
from sim.machine.section import NONE, Megahertz, Nanoseconds, Section

MAX_TURN_NS = 1e3  # far more than a request takes to L3 and back
MAX_LOAD_AHEAD = 1000  # cycles, likewise


class CoreType(Core):
    """A core of another kind than `[core]`, with its own caches; without ``clock`` the machine's.

    In a file its table holds only what differs from `[core]`, `[l1]` and `[l2]`.
    """

    clock: Megahertz | None = None
    l1: Cache
    l2: Annotated[Cache | None, NONE] = None


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
    Several cores are worked on in turns of ``turn_ns``, or, if that is 0, cycle by cycle (T3); a
    load makes the accesses of ``load_ahead_cycles`` ahead of other cores (L5).
    """

    name: str
    description: str = ""
    clock: Megahertz
    cores: Annotated[int, Field(ge=1, le=MAX_CORES)] = 1
    core_clocks: Annotated[tuple[Megahertz, ...] | None, NONE] = None
    core_type: Annotated[tuple[str, ...] | None, NONE] = None
    turn_ns: Annotated[Nanoseconds, Field(le=MAX_TURN_NS)] = 2
    load_ahead_cycles: Annotated[int, Field(ge=0, le=MAX_LOAD_AHEAD)] = 32
    core: Core
    core_types: dict[str, CoreType] = Field(default_factory=dict)
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
