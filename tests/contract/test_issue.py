"""Issue and execution: rules I1-I6 of docs/timing.md."""

from __future__ import annotations

import pytest

from tests.contract.harness import (
    Simulation,
    ceil_div,
    chain,
    latency,
    machine,
    plain,
    repeat,
    run,
    slots,
)

PRESETS = ["teach", "cortex-a76", "avx512", "sapphire-rapids"]

# One full tile of each shape a class needs: t0 f32, t1 a second one, t2 raw bf16, t3 a state of
# softmax (-inf, 0, 1, ...), t4 an accumulator.
TILES = """
.control 64
main:
    li x1, {rows}
    li x2, {cols}
    li x3, 0
    li x4, f32(0.5)
    fill.f32 t0, x4, x1, x2
    fill.f32 t1, x4, x1, x2
    fill.f32 t3, x4, x1, x2
    fill.f32 t4, x4, x1, x1
    pack.bf16 t2, t0
"""

# class, type, an instruction whose result is its own source
CHAINS = [
    ("scalar", "i64", "addi x3, x3, 0"),
    ("mul", "i64", "mul x3, x3, x3"),
    ("control", "i64", "ld x3, 0(x3)"),
    ("elementwise", "f32", "fmul t0, t0, t1"),
    ("transcendental", "f32", "tanh t0, t0"),
    ("divide", "f32", "recip t0, t0"),
    ("pack", "bf16", "append.bf16 t2, t5"),
    ("matmul", "f32", "matmul.f32 t4, t0, t1"),
    ("matmul", "bf16", "matmul.bf16 t4, t2, t2"),
]


def setup(m):
    """Full tiles of the machine."""
    target = m.target()
    return TILES.format(rows=target.rows, cols=target.f32_cols), target.rows, target.f32_cols


def on_presets(cases):
    """Pairs of preset and case, without what a machine cannot do."""
    return [
        pytest.param(name, *case, id=f"{name}-{case[0]}-{case[1]}")
        for name in PRESETS
        for case in cases
        if machine(name).core.op(case[0], case[1]) is not None
    ]


# --- I1, I5: latency ------------------------------------------------------------------------------


def test_an_instruction_issues_in_the_cycle_after_its_dispatch():
    r = run("main:\n" + repeat(5, "addi x1, x0, {i}") + "\nhalt", plain("core.width=1"))
    assert [row.issue for row in r.rows] == [row.dispatch + 1 for row in r.rows]


@pytest.mark.parametrize(("name", "cls", "dtype", "line"), on_presets(CHAINS))
def test_a_dependent_chain_runs_at_the_latency(name, cls, dtype, line):
    m = machine(name)
    text, rows, cols = setup(m)
    op = m.core.op(cls, dtype)
    pipes = m.core.units[op.unit].pipes
    narrow = "\nli x5, 1\nfill.f32 t5, x4, x1, x5"  # the column that append takes
    r = run(f"{text}{narrow}\nchain:\n" + repeat(4, line) + "\nhalt", m)
    across = 1 if cls == "pack" else (rows if cls == "matmul" else cols)
    n = slots(m, cls, dtype, rows, across, k=cols)
    after = 0  # how long after an issue the next may follow
    for row, following in zip(r.block("chain", 4), r.block("chain", 4)[1:], strict=False):
        last = (n - 1) // pipes  # cycles to the last slot of an idle unit
        result = after = last + op.latency
        if cls == "matmul":
            again = op.accumulate_latency if op.accumulate_latency is not None else op.latency
            links = chain(dtype, cols) if op.slot == "vector" else 0
            if links:
                result = max(result, (links - 1) * again + op.latency)
            after = max(last + again, links * again)
        assert row.complete == row.issue + result
        assert following.issue == row.issue + after


@pytest.mark.parametrize("name", PRESETS)
def test_reductions_and_softmax_follow_their_shapes(name):
    m = machine(name)
    text, rows, cols = setup(m)
    r = run(
        f"{text}\nsoftmax t5, t0, t3\nsecond: softmax t5, t0, t3\nthird: rowsum t6, t5\n"
        "fourth: rowsum t7, t6\nfifth: fadd t7, t7, t7\nhalt",
        m,
    )
    for label, cls, across, following in [
        ("second", "softmax", cols, "third"),
        ("third", "reduce", cols, "fourth"),
        ("fourth", "reduce", 1, "fifth"),  # a column is left
        ("fifth", "elementwise", 1, None),
    ]:
        op, row = m.core.op(cls, "f32"), r.at(label)
        last = (slots(m, cls, "f32", rows, across) - 1) // m.core.units[op.unit].pipes
        assert row.complete == row.issue + last + op.latency
        if following:
            assert r.at(following).issue == row.complete


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_an_accumulation_waits_less_only_behind_a_matmul(accumulate):
    m = plain("core.ops.matmul.latency=4", f"core.ops.matmul.accumulate_latency={accumulate}",
              "core.ops.matmul.slot=row")  # fmt: skip
    text, rows, _ = setup(m)
    r = run(
        f"{text}\nfill.f32 t6, x4, x1, x2\nfill: fill.f32 t5, x4, x1, x2\n"
        "a: matmul.f32 t5, t0, t1\nb: matmul.f32 t5, t0, t1\nc: matmul.f32 t6, t5, t1\nhalt",
        m,
    )
    last = rows - 1  # cycles to the last of `rows` slots
    assert r.at("a").issue == r.at("fill").complete
    assert r.at("b").issue == r.at("a").issue + max(last + accumulate, rows)
    # c multiplies by b's result and has to wait for all of it
    assert r.at("c").issue == r.at("b").complete == r.at("b").issue + last + 4


def test_an_accumulation_that_is_dispatched_late_waits_no_longer():
    # b is dispatched in the cycle in which a issues, when a's completion is known already
    m = plain("core.width=1", "core.ops.matmul.latency=40", "core.ops.matmul.accumulate_latency=2",
              "core.ops.matmul.slot=row")  # fmt: skip
    text, rows, _ = setup(m)
    sim = Simulation(
        f"{text}\nhalt\ngo:\na: matmul.f32 t4, t0, t1\nb: matmul.f32 t4, t0, t1\nhalt", m
    )
    sim.run("main")
    r = sim.run("go")
    assert r.at("b").dispatch == r.at("a").issue
    assert r.at("b").issue == r.at("a").issue + rows - 1 + 2


@pytest.mark.parametrize(("dtype", "k"), [("f32", 1), ("f32", 3), ("f32", 16), ("bf16", 5)])
@pytest.mark.parametrize("pipes", [1, 4, 64])
def test_a_cracked_matmul_adds_up_k_products_one_after_another(dtype, k, pipes):
    m = plain(f"core.units.vector.pipes={pipes}", "core.tiles.row_bytes=64", "core.load_queue=64",
              "core.ops.matmul.latency=4", "core.ops.matmul.accumulate_latency=2")  # fmt: skip
    pack = "" if dtype == "f32" else "\npack.bf16 t0, t0\npack.bf16 t1, t1"
    r = run(
        f"main: li x1, 4\nli x2, {k}\nfill.f32 t0, x0, x1, x2\nfill.f32 t1, x0, x1, x2{pack}\n"
        f"fill.f32 t2, x0, x1, x1\na: matmul.{dtype} t2, t0, t1\nb: matmul.{dtype} t2, t0, t1\n"
        "c: mov t3, t2\nhalt",
        m,
    )
    a, b, c = r.at("a"), r.at("b"), r.at("c")
    steps = chain(dtype, k)
    last = (4 * steps * 1 - 1) // pipes  # 4 rows of 16 bytes: one vector each
    assert b.issue == a.issue + max(last + 2, steps * 2)
    assert b.complete == b.issue + max(last + 4, (steps - 1) * 2 + 4)
    assert c.issue == b.complete


# --- I2: throughput -------------------------------------------------------------------------------

# class, type, independent instructions: {i} counts from 0
STREAMS = [
    ("scalar", "i64", 24, "addi x5, x0, {i}"),
    ("mul", "i64", 24, "mul x5, x1, x1"),
    ("control", "i64", 24, "ld x5, 8(x0)"),
    ("branch", "i64", 12, "bne x0, x0, 1"),
    ("fill", "f32", 4, "fill.f32 t{i}, x0, x1, x2"),
    ("elementwise", "f32", 4, "fadd t7, t0, t{i}"),
    ("transcendental", "f32", 4, "gelu.erf t7, t{i}"),
    ("divide", "f32", 4, "rsqrt t7, t{i}"),
    ("reduce", "f32", 4, "rowmax t7, t{i}"),
    ("pack", "bf16", 4, "pack.bf16 t7, t{i}"),
    ("softmax", "f32", 3, "softmax t7, t0, t{i}"),
    ("matmul", "f32", 2, "matmul.f32 t{i}, t2, t3"),
    ("matmul", "bf16", 2, "matmul.bf16 t{i}, t4, t4"),
]


@pytest.mark.parametrize(("name", "cls", "dtype", "count", "line"), on_presets(STREAMS))
def test_independent_instructions_keep_every_pipe_busy(name, cls, dtype, count, line):
    m = machine(name)
    _, rows, cols = setup(m)
    if cls == "matmul":
        cols = min(rows, cols)  # square tiles serve as operands and as accumulators
    if cls == "softmax":
        line = line.replace("{i}", "{tm}")
    tiles = "".join(f"fill.f32 t{i}, x3, x1, x2\n" for i in range(4)) + "pack.bf16 t4, t0\n"
    body = "\n".join(line.format(i=i, tm=i + 1) for i in range(count)).replace("x0, 1", "x0, +1")
    sim = Simulation(
        f".control 64\nmain: li x1, {rows}\nli x2, {cols}\nli x3, f32(0.5)\n{tiles}halt\n"
        f"stream:\n{body}\nhalt",
        m,
    )
    sim.run("main")
    if cls == "branch":
        sim.run("stream")  # trains the predictor
    r = sim.run("stream")
    op = m.core.op(cls, dtype)
    pipes = m.core.units[op.unit].pipes
    n = slots(m, cls, dtype, rows, cols, k=cols)
    again = op.accumulate_latency if op.accumulate_latency is not None else op.latency
    cracked = cls == "matmul" and op.slot == "vector"
    additions = (chain(dtype, cols) - 1) * again + op.latency if cracked else 0
    first = r.rows[0].issue * pipes  # slots follow each other without a gap
    assert r.rows[0].issue == r.rows[0].dispatch + 1
    for i, row in enumerate(r.rows):
        assert row.issue == (first + i * n) // pipes
        assert row.complete == max((first + (i + 1) * n - 1) // pipes + op.latency,
                                   row.issue + additions)  # fmt: skip


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 4), (5, 5), (16, 16), (7, 13)])
@pytest.mark.parametrize("slot", ["instruction", "row", "vector"])
@pytest.mark.parametrize(("pipes", "unit_bytes", "occupancy"), [(1, 16, 1), (3, 32, 2), (2, 64, 5)])
def test_slots_of_ragged_tiles(rows, cols, slot, pipes, unit_bytes, occupancy):
    m = plain("core.tiles.rows=16", "core.tiles.row_bytes=64", "core.load_queue=64",
              f"core.units.vector.pipes={pipes}", f"core.units.vector.bytes={unit_bytes}",
              f"core.ops.elementwise.slot={slot}", f"core.ops.elementwise.occupancy={occupancy}",
              "core.ops.elementwise.latency=3")  # fmt: skip
    sim = Simulation(
        f"main: li x1, {rows}\nli x2, {cols}\nfill.f32 t0, x0, x1, x2\nhalt\n"
        f"stream: {repeat(4, 'fadd t1, t0, t0')}\nhalt",
        m,
    )
    sim.run("main")
    r = sim.run("stream")
    n = {
        "instruction": 1,
        "row": rows,
        "vector": rows * ceil_div(4 * cols, unit_bytes),
    }[slot] * occupancy
    first = r.rows[0].issue * pipes
    assert [row.issue for row in r.rows] == [(first + i * n) // pipes for i in range(4)]
    assert [row.complete for row in r.rows] == [
        (first + (i + 1) * n - 1) // pipes + 3 for i in range(4)
    ]


# --- I3: oldest ready first -----------------------------------------------------------------------

RACE = """
main:
    li x1, 4
    li x2, 3
    fill.f32 t0, x0, x1, x1
    halt
go:
product:
    mul x3, x2, x2
late:
    fill.f32 t1, x3, x1, x1
early:
    fadd t2, t0, t0
also:
    fadd t3, t0, t0
    halt
"""


def race(product_latency):
    """Run `RACE`: two additions, four slots each, and an older `fill` that waits for a product."""
    sim = Simulation(RACE, plain(f"core.ops.mul.latency={product_latency}"))
    sim.run("main")
    r = sim.run("go")
    assert r.at("early").issue == r.at("product").issue == r.first + 1
    assert r.at("product").complete == r.first + 1 + product_latency
    return r


@pytest.mark.parametrize("product_latency", [5, 6, 7])
def test_a_younger_ready_instruction_overtakes_and_is_not_interrupted(product_latency):
    r = race(product_latency)
    assert r.at("also").issue == r.at("early").issue + 4
    assert r.at("late").issue == r.at("also").issue + 4


@pytest.mark.parametrize("product_latency", [1, 4])
def test_the_oldest_of_the_ready_goes_first(product_latency):
    r = race(product_latency)
    assert r.at("late").issue == r.at("early").issue + 4
    assert r.at("also").issue == r.at("late").issue + 4


# --- I4: in order ---------------------------------------------------------------------------------

MIXED = """
main:
    li x1, 4
    fill.f32 t0, x0, x1, x1
    halt
go:
long:
    exp t1, t0
use:
    fadd t2, t1, t1
scalar:
    addi x2, x0, 1
vector:
    fadd t3, t0, t0
    halt
"""


def test_in_order_and_out_of_order_on_the_same_program():
    runs = {}
    for kind in ("in-order", "out-of-order"):
        m = plain(f"core.kind={kind}")
        sim = Simulation(MIXED, m)
        sim.run("main")
        runs[kind] = sim.run("go")
    occupancy = m.core.op("transcendental", "f32").occupancy
    busy = 4 * occupancy  # slots of `long` on the one vector pipe
    result = busy - 1 + latency(m, "transcendental")
    add = 4 - 1 + latency(m, "elementwise")
    for r in runs.values():  # all four are dispatched in one cycle; `long` issues in the next
        assert r.at("long").issue == r.first + 1
        assert r.at("long").complete == r.first + 1 + result
        assert r.at("use").issue == r.at("long").complete

    ordered = runs["in-order"]
    assert ordered.at("scalar").issue == ordered.at("use").issue  # several issue in one cycle
    assert ordered.at("vector").issue == ordered.at("use").issue + 4
    assert ordered.last == ordered.at("use").issue + 4 + add

    free = runs["out-of-order"]
    assert free.at("scalar").issue == free.first + 1
    assert free.at("vector").issue == free.at("long").issue + busy  # before `use`
    assert free.last == free.at("use").issue + add
    assert ordered.cycles - free.cycles == 4


def test_in_order_units_wait_for_each_other():
    m = plain("core.kind=in-order")
    r = run(
        "main: li x1, 4\nfill.f32 t0, x0, x1, x1\na: fadd t1, t0, t0\nb: fadd t2, t0, t0\n"
        "c: addi x2, x0, 1\nd: addi x3, x0, 1\nhalt",
        m,
    )
    # b has no pipe for four cycles; c and d have, and wait behind it
    assert r.at("b").issue == r.at("a").issue + 4
    assert r.at("c").issue == r.at("d").issue == r.at("b").issue
