"""Random machines: overrides on four bases, from the roomy to the absurdly small."""

from __future__ import annotations

from hypothesis import strategies as st

# Bases, and rows and row bytes of their tiles.
TILES = {
    "teach": (4, 16),
    "wide.toml": (8, 32),
    "cortex-a76": (4, 16),
    "sapphire-rapids": (16, 64),
}

# Each key with its values; None as a value leaves the base's.
CLOCKS = (1000, 999, 2300, 700, 3000)  # MHz
CHOICES: dict[str, tuple[object, ...]] = {
    "clock": tuple(f"{megahertz}MHz" for megahertz in CLOCKS),
    "core.kind": ("in-order", "out-of-order"),
    "core.width": (1, 2, 3, 4, 8),
    "core.retire_width": (1, 2, 3, 5, 8),
    "core.mispredict_penalty": (0, 1, 5, 17),
    "core.return_stack": (0, 1, 2, 16),
    "core.taken_branch_bubble": (0, 1, 3),
    "core.predictor": ("two-bit", "gshare", "gshare", "perfect"),
    "core.predictor_entries": (1, 2, 64),
    "core.history_bits": (0, 1, 3, 16),
    "core.forward_cycles": (1, 2, 5),
    "core.units.scalar.pipes": (1, 2, 5),
    "core.units.scalar.queue": (1, 2, 7),
    "core.units.load.pipes": (1, 2, 3),
    "core.units.load.queue": (1, 2, 5),
    "core.units.load.bytes": (4, 8, 12, 32, 64),
    "core.units.store.pipes": (1, 2),
    "core.units.store.queue": (1, 3),
    "core.units.store.bytes": (4, 8, 12, 64),
    "core.units.vector.pipes": (1, 2, 3),
    "core.units.vector.queue": (1, 2, 6),
    "core.units.vector.bytes": (16, 20, 32, 64),
    "core.ops.scalar.latency": (0, 1, 3),
    "core.ops.branch.latency": (0, 1, 4),
    "core.ops.mul.occupancy": (1, 3),
    "core.ops.store.latency": (0, 1, 9),
    "core.ops.elementwise.latency": (0, 1, 3, 8),
    "core.ops.elementwise.occupancy": (1, 2, 7),
    "core.ops.elementwise.slot": ("instruction", "row", "vector"),
    "core.ops.elementwise.unit": ("scalar", "load", "store"),
    "core.ops.control.unit": ("vector", "store"),
    "core.ops.reduce.unit": ("scalar", "load"),
    "core.ops.matmul.f32.latency": (4, 6, 9),
    "core.ops.matmul.f32.accumulate_latency": (0, 1, 4),
    "core.ops.matmul.f32.uops": (1, 3),
    "core.ops.matmul.bf16.slot": ("instruction", "row"),
    "core.ops.divide.uops": (1, 5),
    "l1.mshrs": (1, 2, 3, 8),
    "l1.hit_cycles": (1, 2, 5),
    "l1.fill_cycles": (0, 1, 4),
    "l1.prefetch": ("none", "next-line", "stride"),
    "l1.prefetch_degree": (1, 2, 4),
    "l1.prefetch_distance": (1, 2, 5),
    "dram.channels": (1, 2, 3),
    "dram.banks": (1, 2, 3, 8),
    "dram.row_bytes": ("64B", "256B", "1KiB", "4KiB"),
    "dram.gigabytes_per_second": ("1GB/s", "6.4GB/s", "9.7GB/s", "100GB/s"),
    "dram.controller_ns": (0, 3.7, 20),
    "dram.trcd_ns": (0, 13.75, 40),
    "dram.trp_ns": (0, 13.75, 60),
    "dram.tcl_ns": (0, 15, 33.3),
    "dram.tras_ns": (0, 32, 200),
    "dram.twr_ns": (0, 15, 90),
    "dram.trtp_ns": (0, 7.5, 70),
    "dram.twtr_ns": (0, 10, 80),
    "dram.trtw_ns": (0, 5, 50),
    "dram.write_batch": (1, 2, 5, 16),
}
L2 = {
    "l2.mshrs": (1, 2, 4, 16),
    "l2.hit_cycles": (0, 1, 7, 13),
    "l2.fill_cycles": (0, 1, 3),
    "l2.bytes_per_cycle": (4, 16, 24, 64),
    "l2.prefetch": ("none", "next-line", "stride"),
    "l2.prefetch_degree": (1, 2, 5),
    "l2.prefetch_distance": (1, 3),
}
L3 = {
    "l3.mshrs": (1, 2, 8),
    "l3.hit_cycles": (0, 5, 20),
    "l3.fill_cycles": (0, 2),
    "l3.clock": ("500MHz", "1.3GHz", "2.1GHz"),
    "l3.bytes_per_cycle": (3, 8, 64),
}
INTERCONNECT = {
    "interconnect.topology": ("crossbar", "ring", "mesh"),
    "interconnect.hop_cycles": (0, 1, 3, 40),
    "interconnect.snoop_cycles": (0, 1, 7, 90),
}
NUMA = {
    "numa.remote_ns": (0, 3.7, 60),
    "numa.link": ("1GB/s", "9.7GB/s", "100GB/s"),
    "numa.interleave": ("page", "block"),
}
LOADS_AHEAD = (0, 0, 1, 3, 32, 100)
TURNS = (0, 0, 0, 1, 2, 3.7, 20, 333)  # ns
REFRESH = (("0", "0"), ("400", "150"), ("7800", "300"), ("1000", "860"))


def _pick(draw: st.DrawFn, choices: dict[str, tuple[object, ...]], most: int) -> list[str]:
    keys = draw(st.lists(st.sampled_from(sorted(choices)), max_size=most, unique=True))
    return [f"{key}={draw(st.sampled_from(choices[key]))}" for key in keys]


def _geometry(draw: st.DrawFn, level: str, line: int, nodes: int) -> list[str]:
    slices = nodes * draw(st.sampled_from((1, 2, 3, 5))) if level == "l3" else 1
    sets = slices * draw(st.sampled_from((1, 2, 3, 8, 12)))
    ways = draw(st.sampled_from((1, 2, 3, 4, 5, 8)))
    policies = ["lru", "srrip", "random"] if ways in (3, 5) else ["lru", "plru", "srrip", "random"]
    policy = draw(st.sampled_from(policies))
    seed = draw(st.sampled_from((1, 2**31 - 2)))
    sliced = [f"l3.slices={slices}"] if slices > 1 else []
    return [
        f"{level}.ways={ways}",
        f"{level}.size={sets * ways * line}B",
        *sliced,
        f"{level}.replacement={policy}",
        f"{level}.replacement_seed={seed}",
    ]


def _array(draw: st.DrawFn, rows: int, row_bytes: int) -> list[str]:
    """A systolic array for one type of matmul or both; from one multiply-adder to a full tile."""
    dtype = draw(st.sampled_from(("", "f32.", "bf16.")))
    dataflow = draw(st.sampled_from(("os", "ws", "is")))
    deep = row_bytes // (4 if dtype == "f32." else 2)
    most_rows = rows if dataflow == "os" else deep
    most_columns = rows if dataflow == "is" else min(rows, row_bytes // 4)
    unit, row = "core.units.array", f"core.ops.matmul.{dtype}"
    return [
        f"{unit}.pipes=1",
        f"{unit}.queue={draw(st.sampled_from((1, 3, 16)))}",
        f"{unit}.dataflow={dataflow}",
        f"{unit}.array_rows={draw(st.sampled_from((1, most_rows // 2, most_rows)))}",
        f"{unit}.array_columns={draw(st.sampled_from((1, most_columns // 2, most_columns)))}",
        f"{row}unit=array",
        f"{row}slot=array",
        f"{row}uops={draw(st.sampled_from((1, 2)))}",
    ]


@st.composite
def types(draw: st.DrawFn, base: str, sets: tuple[str, ...], cores: int) -> tuple[str, ...]:
    """Overrides that give some of the cores another type."""
    little = {key: values for key, values in CHOICES.items() if key.startswith(("core.", "l1."))}
    if base == "sapphire-rapids":
        del little["core.units.vector.bytes"]
    some = _pick(draw, little, 8)
    if "l2=none" not in sets:
        some += _pick(draw, L2, 3)
        if base == "teach" or "l3=none" in sets:
            some += draw(st.sampled_from(([], ["l2=none"])))
    some += [f"clock={draw(st.sampled_from(CLOCKS))}MHz"]
    little_ones = draw(st.sets(st.integers(0, cores - 1), min_size=1))
    names = ['"little"' if core in little_ones else '"core"' for core in range(cores)]
    inside = (f"core_types.little.{text.removeprefix('core.')}" for text in some)
    return (*inside, f"core_type=[{', '.join(names)}]")


@st.composite
def machines(draw: st.DrawFn) -> tuple[str, tuple[str, ...]]:
    """A base and overrides that fit it."""
    base = draw(st.sampled_from(sorted(TILES)))
    choices = dict(CHOICES)
    if base == "sapphire-rapids":
        del choices["core.units.vector.bytes"]  # its matmul.f32 would need a larger window
    sets = _pick(draw, choices, 8)
    tile_rows, row_bytes = TILES[base]
    if draw(st.booleans()):
        sets += _array(draw, tile_rows, row_bytes)
    if draw(st.booleans()):
        loads = 2 * max(tile_rows, row_bytes // 2)
        extra = draw(st.sampled_from((0, 1, 7)))
        sets.append(f"core.load_queue={loads + extra}")
        sets.append(f"core.store_queue={2 * tile_rows + extra}")
    if base in ("teach", "wide.toml") and draw(st.booleans()):
        # The largest instruction has 16 uops on teach and on wide.
        sets.append(f"core.rob={draw(st.sampled_from((16, 19, 40)))}")
    line = draw(st.sampled_from((16, 32, 64, 64, 64)))
    lines = line != 64
    levels = {"teach": 2, "wide.toml": 3, "cortex-a76": 3, "sapphire-rapids": 3}[base]
    keep = draw(st.sampled_from([n for n in (1, 2, 3) if n <= levels]))
    if keep < 3 and levels == 3:
        sets.append("l3=none")
    if keep < 2:
        sets.append("l2=none")
    else:
        sets += _pick(draw, L2, 4)
    inclusive = keep == 3 and draw(st.booleans())
    if keep == 3:
        sets += _pick(draw, L3, 4)
    if inclusive:
        sets.append("l3.inclusive=true")
    sets += _pick(draw, INTERCONNECT, 3)
    nodes = draw(st.sampled_from((1, 1, 2, 2, 3, 8)))
    if nodes > 1 or draw(st.booleans()):
        sets.append(f"numa.nodes={nodes}")
        sets += [f"{key}={draw(st.sampled_from(values))}" for key, values in NUMA.items()]
    sets.append(f"turn_ns={draw(st.sampled_from(TURNS))}")
    sets.append(f"load_ahead_cycles={draw(st.sampled_from(LOADS_AHEAD))}")
    for level in ("l1", "l2", "l3")[:keep]:
        if lines:
            sets.append(f"{level}.line={line}")
        small = draw(st.booleans())
        if level == "l3":
            small |= inclusive or nodes > 1  # or nothing ever leaves it, or slices cannot be dealt
        if lines or small:
            sets += _geometry(draw, level, line, nodes)
    if draw(st.booleans()):
        every, length = draw(st.sampled_from(REFRESH))
        sets += [f"dram.trefi_ns={every}", f"dram.trfc_ns={length}"]
    return base, tuple(sets)
