"""Machine files: bases, overrides, and a clear error for everything that cannot be."""

import pytest

from isa.errors import UserError
from isa.target import Target
from sim.machine import load_machine
from sim.machine.figures import figures, full_tile_latency


def message(*overrides, machine="sapphire-rapids"):
    with pytest.raises(UserError) as caught:
        load_machine(machine, overrides)
    return str(caught.value)


def test_overrides_set_dotted_keys_with_units():
    machine = load_machine(
        "sapphire-rapids",
        [
            "core.rob=64",
            "l1.size=24KiB",
            "clock=3.1GHz",
            "core.units.load.pipes=1",
            "core.ops.load.uops=1",
            "core.ops.store.uops=1",
            "core.ops.matmul.f32.uops=1",
            "core.ops.matmul.bf16.latency=40",
            "dram.tcl_ns=14ns",
        ],
    )
    assert machine.core.rob == 64
    assert machine.l1.size == 24 << 10
    assert machine.l1.sets == 32
    assert machine.clock == 3100
    assert machine.core.units["load"].pipes == 1
    assert machine.core.op("matmul", "bf16").latency == 40
    assert machine.core.op("matmul", "f32").latency == 4
    assert machine.dram.tcl_ns == 14


def test_none_removes_a_table():
    assert load_machine("sapphire-rapids", ["l3=none"]).l3 is None
    assert load_machine("teach", ["l3=none"]).l3 is None  # it has none
    assert load_machine("teach", ['core_clocks=["2GHz"]', "core_clocks=none"]).core_clocks is None
    machine = load_machine("sapphire-rapids", ["l3=none", "l2=none"])
    assert machine.target().l2_bytes == 0


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("core.robb=4", "core: unknown key 'robb'. Did you mean 'rob'?"),
        ("cor.rob=4", "unknown key 'cor'. Did you mean 'core'?"),
        (
            "core.ops.scalar.latncy=3",
            "core.ops.scalar: unknown key 'latncy'. Did you mean 'latency'?",
        ),
        ("core.ops.matmull.latency=3", "Did you mean 'matmul"),
        ("core.rob=abc", "core.rob: must be a whole number, not 'abc'"),
        ("core.units.load.pipes=0", "core.units.load.pipes: must be at least 1, not 0"),
        (
            "core.ops.matmul.f32.latency=3",
            "accumulate_latency: 4 cycles are more than",
        ),
        ("core.kind=ooo", "core.kind: must be 'out-of-order' or 'in-order', not 'ooo'"),
        ("core.predictor_entries=1000", "core.predictor_entries: must be a power of two"),
        ("core.predictor=oracle", "core.predictor: must be 'two-bit', 'gshare' or 'perfect'"),
        ("core.history_bits=17", "core.history_bits: must be at most 16, not 17"),
        ("l1.replacement=fifo", "l1.replacement: must be 'lru', 'plru', 'srrip' or 'random'"),
        ("l1.replacement_seed=0", "l1.replacement_seed: must be at least 1, not 0"),
        ("l1.replacement=plru", "l1.replacement: 'plru' halves the ways again and again, so 12"),
        ("clock=3", "clock: 3 has no unit"),
        ("clock=3ghz", "did you mean GHz?"),
        (
            'core_clocks=["3GHz", "2GHz"]',
            "core_clocks: 2 clocks for cores = 1; give every core one",
        ),
        ('core_clocks=["3"]', "core_clocks: '3' has no unit"),
        (
            "core_types.little.widht=2",
            "little: unknown key 'widht'. Did you mean 'width'?",
        ),
        ("core_types.little.width=0", "core_types.little.width: must be at least 1, not 0"),
        ("core_types.core.width=1", "core_types.core: is the name of [core]; take another"),
        ("core_types.little.tiles.rows=2", "core_types.little: its tiles are not those of [core]"),
        ("core_types.little.l1.line=32", "core_types.little: its cache lines are not those of"),
        (
            "core_types.little.ops.mut.latency=1",
            "no operation row mut. Did you mean 'mul'?",
        ),
        ("l1.size=48KB", "use B, KiB, MiB, GiB"),
        ("l1.line=48", "l1.line: must be 16, 32 or 64 bytes, not 48"),
        ("l2.line=32", "all cache levels need one line size"),
        ("core.tiles.row_bytes=24", "core.tiles: target tile rows have 24 bytes; use 16, 32 or 64"),
        ("core.tiles.rows=17", "target tiles have 17 rows"),
        ("core.load_queue=10", "make it at least 64"),
        ("core.store_queue=31", "make it at least 32"),
        ("core.ops.scalar.unit=scaler", "unit 'scaler' is not described. Did you mean 'scalar'?"),
        ("core.ops.load.latency=4", "must be 0 for load, since the caches give it"),
        ("core.units.matrix=none", "unit 'matrix' is not described"),
        ("l2=none", "needs an l2"),
        ("dram.trfc_ns=4000", "leaves no time for accesses"),
        ("dram.row_bytes=100", "no multiple of the 64-byte line"),
        ("core.units=3", "set one of core.units.scalar"),
        ("core.rob", "write it as key=value"),
        ("name.first=x", "name is no table"),
        ("numa.remote_ns=50", "numa.nodes is missing"),
        ("numa.nodes=2", "numa.remote_ns is missing"),
        ("numa.nodes=0", "numa.nodes: must be at least 1, not 0"),
        ("numa.nodes=9", "numa.nodes: must be at most 8, not 9"),
        ("numa.nodes=1.5", "numa.nodes: must be a whole number, not 1.5"),
        ("numa.remote_ns=-1", "numa.remote_ns: -1 is no quantity; write it like"),
        ("numa.link=0", "numa.link: must be at least 0.001"),
        ("numa.link=fast", "numa.link: 'fast' is no quantity"),
        ("numa.interleave=line", "numa.interleave: must be 'page' or 'block', not 'line'"),
        ("numa.node=2", "numa: unknown key 'node'. Did you mean 'nodes'?"),
        ("numa=2", "numa: must be a table of numa keys, not 2"),
    ],
)
def test_a_wrong_override_says_where_what_and_what_is_allowed(override, expected):
    assert expected in message(override)


def test_cores_have_the_machine_s_clock_or_their_own(tmp_path):
    assert load_machine("teach", ["cores=2"]).clock_of(1) == 1000
    file = tmp_path / "two.toml"
    file.write_text('base = "teach"\ncores = 2\ncore_clocks = ["3GHz", "850MHz"]\n', "utf-8")
    two = load_machine(file)
    assert [two.clock_of(0), two.clock_of(1), two.clock] == [3000, 850, 1000]
    assert two.resolved()["core_clocks"] == ["3GHz", "0.85GHz"]
    assert figures(two).load_to_use_ns["l1"] == pytest.approx(2 / 3)
    assert "core_clocks give every core" in message("clock=2GHz", machine=file)
    with pytest.raises(UserError, match="no clock for core 2"):
        two.clock_of(2)


TWO_NODES = ("numa.nodes=2", "numa.remote_ns=50", "numa.link=48GB/s")


def test_slices_are_dealt_to_nodes_evenly_and_any_number_of_cores_may_run():
    assert "l3.slices: 16 cannot be dealt to 3 nodes evenly; make it a multiple of 3" in message(
        *TWO_NODES, "numa.nodes=3"
    )
    assert load_machine("sapphire-rapids", TWO_NODES).nodes == 2
    without_l3 = load_machine("teach", [*TWO_NODES, "cores=3"])
    assert [without_l3.node_of_core(core, 3) for core in range(3)] == [0, 0, 1]
    assert load_machine("teach", [*TWO_NODES, "numa=none"]).nodes == 1


def test_another_node_is_two_ways_farther_and_channels_are_those_of_all_nodes():
    one, two = (figures(load_machine("sapphire-rapids", sets)) for sets in ((), TWO_NODES))
    assert two.load_to_use_ns["l3 remote"] == one.load_to_use_ns["l3"] + 100
    assert two.load_to_use_ns["dram remote"] == one.load_to_use_ns["dram"] + 100
    assert two.load_to_use_ns["dram"] == one.load_to_use_ns["dram"]
    assert two.dram_gigabytes_per_second == 2 * one.dram_gigabytes_per_second


def test_an_impossible_geometry_names_the_nearest_possible_ones():
    text = message("l1.size=32KiB")
    assert "42.67 sets" in text
    assert "multiple of 768 bytes" in text
    assert "32256B or 33024B" in text


def test_several_mistakes_are_reported_together():
    text = message("core.rob=abc", "l1.mshrs=0", "clock=fast")
    assert "3 mistakes" in text
    assert "core.rob" in text
    assert "l1.mshrs: must be at least 1, not 0" in text


def test_an_unknown_machine_names_the_presets():
    text = message(machine="saphire-rapids")
    assert "Did you mean 'sapphire-rapids'?" in text
    assert "teach" in text
    assert "cannot be read" in message(machine="no/such/file.toml")


def test_a_class_needs_a_row_and_only_one(tmp_path):
    file = tmp_path / "mine.toml"
    twice = '[[core.ops]]\nclass = "mul"\nunit = "scalar"\nlatency = 1\n' * 2
    file.write_text('base = "teach"\n' + twice, encoding="utf-8")
    assert "class 'mul' has two rows" in message(machine=file)
    file.write_text(
        'base = "teach"\n[[core.ops]]\nclass = "mull"\nunit = "scalar"\nlatency = 1\n',
        encoding="utf-8",
    )
    assert "unknown instruction class 'mull'. Did you mean 'mul'?" in message(machine=file)


def test_a_missing_key_and_bad_toml_are_named(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nclock = "1GHz"\n', encoding="utf-8")
    text = message(machine=file)
    assert "core is missing" in text
    assert "dram is missing" in text
    file.write_text("name = ", encoding="utf-8")
    assert "no valid TOML" in message(machine=file)
    file.write_bytes(b"\xff\xfe\x00")
    assert "no UTF-8 text" in message(machine=file)


def test_a_file_holds_only_what_differs_from_its_base(tmp_path):
    (tmp_path / "first.toml").write_text(
        'base = "teach"\nname = "first"\n[core]\nrob = 64\n'
        "[core.units]\nmatrix = { pipes = 1, queue = 2 }\n"
        '[[core.ops]]\nclass = "matmul"\ndtype = "bf16"\nunit = "matrix"\nlatency = 9\n',
        encoding="utf-8",
    )
    second = tmp_path / "second.toml"
    second.write_text('base = "first.toml"\nname = "second"\nl2 = "none"\n', encoding="utf-8")
    machine = load_machine(second)
    teach = load_machine("teach")
    assert (machine.name, machine.core.rob, machine.l2) == ("second", 64, None)
    assert machine.core.op("matmul", "bf16").unit == "matrix"
    assert machine.core.op("matmul", "f32") == teach.core.op("matmul", "f32")
    assert machine.l1 == teach.l1


def test_a_file_that_names_itself_as_base_is_an_error(tmp_path):
    file = tmp_path / "loop.toml"
    file.write_text('base = "loop.toml"\n', encoding="utf-8")
    assert "does one name itself?" in message(machine=file)


def test_an_operation_left_out_is_an_operation_the_target_lacks(tmp_path):
    text = load_machine("teach").resolved()
    text["core"]["ops"] = [
        row for row in text["core"]["ops"] if (row["class"], row.get("dtype")) != ("matmul", "bf16")
    ]
    from sim.machine import Machine

    machine = Machine.model_validate(text)
    assert machine.target() == Target(
        tiles=8, rows=4, row_bytes=16, l1_bytes=4096, l2_bytes=32768, matmul_types=("f32",)
    )


# --- systolic arrays ------------------------------------------------------------------------------


def array(dataflow="ws", rows=16, columns=16, *more):
    """Overrides that make the matrix unit of sapphire-rapids an array."""
    return [
        f"core.units.matrix.dataflow={dataflow}",
        f"core.units.matrix.array_rows={rows}",
        f"core.units.matrix.array_columns={columns}",
        "core.ops.matmul.bf16.slot=array",
        *more,
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (array("ss"), "core.units.matrix.dataflow: must be 'os', 'ws' or 'is', not 'ss'"),
        (array(rows=0), "core.units.matrix.array_rows: must be at least 1, not 0"),
        (array()[1:], "core.units.matrix: a systolic array needs all of dataflow, array_rows"),
        (array()[:1], "core.units.matrix: a systolic array needs all of dataflow, array_rows"),
        (array()[:3], "ops.matmul.bf16: slot must be 'array', not 'row', since unit 'matrix' is"),
        (array()[3:], "ops.matmul.bf16: slot 'array' needs a systolic array, and unit 'matrix'"),
        ([*array(), "core.units.matrix.pipes=2"], "matrix.pipes: a systolic array is one pipe"),
        ([*array(), "core.ops.mul.unit=matrix"], "ops.mul: unit 'matrix' is a systolic array"),
        ([*array(), "core.ops.matmul.bf16.uops=slot"], "matmul.bf16.uops: must be a number"),
        (array("os", 17), "16 x 64 B fill at most 16 x 16 of an array with dataflow 'os'"),
        (array("ws", 33), "16 x 64 B fill at most 32 x 16 of an array with dataflow 'ws'"),
        (array("is", 32, 17), "so the rest of 32 x 17 could never work"),
        (
            [*array("os", 16, 16), "core.tiles.row_bytes=32"],
            "core.units.matrix: tiles of 16 x 32 B fill at most 16 x 8",
        ),
    ],
)
def test_an_array_that_cannot_be_is_refused(overrides, expected):
    assert expected in message(*overrides)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (array("os", 16, 16), {"bf16": 512, "f32": 64}),
        (array("ws", 32, 16), {"bf16": 1024, "f32": 64}),
        (array("is", 8, 4, "core.ops.matmul.bf16.occupancy=2"), {"bf16": 32, "f32": 64}),
        (
            # k of f32 fills half the rows
            array("ws", 32, 16, "core.ops.matmul.unit=matrix", "core.ops.matmul.slot=array",
                  "core.ops.matmul.uops=1"),
            {"bf16": 1024, "f32": 512},
        ),
    ],
)  # fmt: skip
def test_the_peak_of_an_array_is_two_operations_of_every_multiply_adder(overrides, expected):
    assert figures(load_machine("sapphire-rapids", overrides)).flops_per_cycle == expected


def test_the_latency_of_a_full_tile_has_every_fold():
    quick = ("core.ops.matmul.bf16.latency=3", "core.ops.matmul.bf16.accumulate_latency=1")
    machine = load_machine("sapphire-rapids", array("ws", 16, 8, *quick))
    folds, set_up, stream = 2 * 2, 2 * 16 + 8 - 2, 16
    assert full_tile_latency(machine, "matmul", "bf16") == folds * (set_up + stream) - 1 + 3


def test_a_type_of_cores_holds_what_differs_from_core(tmp_path):
    file = tmp_path / "types.toml"
    file.write_text(
        """
        base = "teach"
        core_type = ["core", "little"]
        [core_types.little]
        width = 1
        l2 = "none"
        [core_types.little.l1]
        size = "2KiB"
        """,
        "utf-8",
    )
    sets = ["core.rob=20", "core_types.little.ops.matmul.f32.latency=9", "clock=2GHz"]
    machine = load_machine(file, sets)
    big, little = machine.kind_of(0), machine.kind_of(1)
    assert (big.core.width, big.l1.size, big.core.rob) == (2, 4 << 10, 20)
    assert (little.core.width, little.l1.size, little.l2, little.core.rob) == (1, 2 << 10, None, 20)
    assert (little.l1.ways, little.clock, machine.clock_of(1)) == (big.l1.ways, 2000, 2000)
    assert (big.core.op("matmul", "f32").latency, little.core.op("matmul", "f32").latency) == (4, 9)
    assert load_machine(file, ["core_types.little.clock=500MHz"]).clock_of(1) == 500


def test_rows_of_a_type_follow_those_of_core_that_come_later():
    sets = ["core_types.little.ops.mul.latency=7", "core.ops.scalar.latency=3"]
    kinds = load_machine("teach", [*sets, 'core_type=["core", "little"]']).kinds.values()
    rows = [[kind.core.op(cls, "-").latency for cls in ("mul", "scalar")] for kind in kinds]
    assert rows == [[3, 3], [7, 3]]


def test_the_number_of_cores_is_that_of_types_or_a_smaller_one():
    two = ["core_types.little.width=1", 'core_type=["core", "little"]']
    assert load_machine("teach", two).cores == 2
    one = load_machine("teach", [*two, "cores=1"])
    assert (one.cores, one.type_of(0), one.target().core_speeds) == (1, "core", ())
    assert load_machine("rk3588", ["core_type=none", "cores=9"]).type_of(8) == "core"


def test_none_takes_a_cache_from_a_type_that_has_its_own(tmp_path):
    file = tmp_path / "no-l2.toml"
    file.write_text('base = "rk3588"\nl3 = "none"\n[core_types.a55]\nl2 = "none"\n', "utf-8")
    by_override = load_machine("rk3588", ["l3=none", "core_types.a55.l2=none"])
    for machine in (load_machine(file), by_override):
        assert [machine.kind_of(core).l2 is None for core in (0, 4)] == [False, True]


def test_machines_show_lists_the_types_of_cores(tickformer):
    shown = tickformer("machines", "show", "rk3588").out
    assert "Type core, 4 of 8 cores" in shown
    assert "Type a55, 4 of 8 cores" in shown
    assert "in-order at 1.8GHz, 2 wide" in shown
