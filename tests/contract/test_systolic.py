"""Systolic arrays: rule I7 of docs/timing.md, by hand on a few instructions."""

from __future__ import annotations

import pytest

from tests.contract.harness import Simulation, plain

LATENCY = 3
DATAFLOWS = ["os", "ws", "is"]
# On tiles of 4 x 4 and an array of 4 x 4 every matmul is one fold: set-up, then a stream of 4.
SET_UP = {"os": 6, "ws": 10, "is": 10}
STREAM = 4
# t0 to t7 of 4 x 4.
TILES = "main:\nli x1, 4\n" + "".join(f"fill.f32 t{i}, x0, x1, x1\n" for i in range(8))


def systolic(dataflow, rows=4, columns=4, *overrides):
    """The plain machine with an array for both types, and accumulations one after another."""
    return plain(
        "core.units.matrix.pipes=1", "core.units.matrix.queue=64",
        f"core.units.matrix.dataflow={dataflow}",
        f"core.units.matrix.array_rows={rows}", f"core.units.matrix.array_columns={columns}",
        "core.ops.matmul.unit=matrix", "core.ops.matmul.slot=array",
        f"core.ops.matmul.latency={LATENCY}", "core.ops.matmul.accumulate_latency=1",
        *overrides,
    )  # fmt: skip


def taken(rows):
    """Slots of each of these executions."""
    return [row.complete - LATENCY - row.issue + 1 for row in rows]


def go(text, machine, prepare=""):
    """Run a program when its tiles, `TILES` and what `prepare` adds, are ready."""
    sim = Simulation(f"{TILES}{prepare}\nhalt\ngo:\n{text}\nhalt", machine)
    sim.run("main")
    return sim.run("go")


def matmuls(text, machine, prepare=""):
    """Slots of every matmul of a program, in program order."""
    lines = text.splitlines()
    numbers = [i for i, line in enumerate(lines) if line.startswith("matmul")]
    labelled = [f"m{i}: {line}" if i in numbers else line for i, line in enumerate(lines)]
    r = go("\n".join(labelled), machine, prepare)
    return taken(r.at(f"m{i}") for i in numbers)


# Lines, and per dataflow which of the matmuls continue the fold of the one before.
CONTINUING = {
    "the same accumulator": (
        "matmul.f32 t0, t1, t2\nmatmul.f32 t0, t4, t5\nmatmul.f32 t0, t1, t5",
        {"os": [1, 2], "ws": [2], "is": []},
    ),
    "the same tb": (
        "matmul.f32 t0, t1, t2\nmatmul.f32 t3, t4, t2\nmatmul.f32 t0, t1, t2",
        {"os": [], "ws": [1, 2], "is": []},
    ),
    "the same ta": (
        "matmul.f32 t0, t1, t2\nmatmul.f32 t3, t1, t4\nmatmul.f32 t0, t1, t2",
        {"os": [], "ws": [], "is": [1, 2]},
    ),
    "another matmul in between": (
        "matmul.f32 t0, t1, t2\nmatmul.f32 t3, t4, t5\nmatmul.f32 t0, t1, t2",
        {"os": [], "ws": [], "is": []},
    ),
    "other instructions in between": (
        "matmul.f32 t0, t1, t2\nfadd t7, t1, t2\nexp t6, t4\nmatmul.f32 t0, t1, t2",
        {"os": [1], "ws": [1], "is": [1]},
    ),
    "the stationary register written in between, with the same numbers": (
        "matmul.f32 t0, t1, t2\nmov t0, t0\nmov t1, t1\nmov t2, t2\nmatmul.f32 t0, t1, t2",
        {"os": [], "ws": [], "is": []},
    ),
    "only the others written in between": (
        "matmul.f32 t0, t1, t2\nfill.f32 t0, x0, x1, x1\nfill.f32 t1, x0, x1, x1\n"
        "matmul.f32 t0, t1, t2",
        {"os": [], "ws": [1], "is": []},
    ),
    "the same value in another register": (
        "mov t5, t2\nmatmul.f32 t0, t1, t2\nmatmul.f32 t3, t1, t5",
        {"os": [], "ws": [], "is": [1]},
    ),
    "two values of one softmax": (
        "softmax t2, t5, t6\nmatmul.f32 t0, t1, t2\nmatmul.f32 t3, t4, t6\n"
        "matmul.f32 t0, t2, t4\nmatmul.f32 t3, t6, t5",
        {"os": [], "ws": [], "is": []},
    ),
    "a result as an operand": (
        "matmul.f32 t0, t1, t2\nmatmul.f32 t3, t0, t4\nmatmul.f32 t3, t0, t5",
        {"os": [2], "ws": [], "is": [2]},
    ),
}


@pytest.mark.parametrize("kind", ["in-order", "out-of-order"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("case", CONTINUING)
def test_what_continues_a_fold(case, dataflow, kind):
    text, continuing = CONTINUING[case]
    slots = matmuls(text, systolic(dataflow, 4, 4, f"core.kind={kind}"))
    assert slots == [
        STREAM if i in continuing[dataflow] else SET_UP[dataflow] + STREAM
        for i in range(len(slots))
    ]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_an_instruction_of_several_folds_sets_up_each_and_leaves_nothing(dataflow):
    # 4 x 4 x 4 on 2 x 2 is four folds, 2 x 2 x 2 a single one.
    set_up = {"os": 2, "ws": 4, "is": 4}[dataflow]
    small = "matmul.f32 t1, t2, t3"
    tiles = "li x2, 2\nfill.f32 t1, x0, x2, x2\nfill.f32 t2, x0, x2, x2\nfill.f32 t3, x0, x2, x2"
    text = f"{small}\n{small}\nmatmul.f32 t0, t4, t5\nmatmul.f32 t0, t4, t5\n{small}\n{small}"
    whole, several = set_up + 2, 4 * (set_up + 4)
    assert matmuls(text, systolic(dataflow, 2, 2), tiles) == [whole, 2, several, several, whole, 2]


# m, n, k of a product on an array of 3 x 2, and folds x stream of it by dataflow
SHAPES = [
    ((4, 3, 2), {"os": (4, 2), "ws": (2, 4), "is": (2, 3)}),
    ((1, 4, 4), {"os": (2, 4), "ws": (4, 1), "is": (2, 4)}),
    ((3, 2, 4), {"os": (1, 4), "ws": (2, 3), "is": (4, 2)}),
]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(("shape", "work"), SHAPES)
def test_folds_and_stream_follow_the_shape(shape, work, dataflow):
    m, n, k = shape
    tiles = (
        f"li x1, {m}\nli x2, {n}\nli x3, {k}\n"
        "fill.f32 t0, x0, x1, x2\nfill.f32 t1, x0, x1, x3\nfill.f32 t2, x0, x2, x3"
    )
    folds, stream = work[dataflow]
    set_up = {"os": 3, "ws": 6, "is": 6}[dataflow]
    for occupancy in (1, 3):
        m = systolic(dataflow, 3, 2, f"core.ops.matmul.occupancy={occupancy}")
        whole = occupancy * folds * (set_up + stream)
        again = occupancy * stream if folds == 1 else whole
        assert matmuls("matmul.f32 t0, t1, t2\n" * 2, m, tiles) == [whole, again]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_k_of_bf16_counts_elements(dataflow):
    # 4 x 4 x 5 on 5 x 4: one fold whatever is stationary
    tiles = "li x2, 1\nfill.f32 t5, x0, x1, x2\npack.bf16 t1, t4\nappend.bf16 t1, t5\n"
    tiles += "pack.bf16 t2, t4\nappend.bf16 t2, t5"
    rows = 4 if dataflow == "os" else 5
    expected = {"os": 6 + 5, "ws": 12 + 4, "is": 12 + 4}[dataflow]
    assert matmuls("matmul.bf16 t0, t1, t2", systolic(dataflow, rows, 4), tiles) == [expected]


def test_both_types_continue_each_other_where_they_add_to_the_same():
    text = "matmul.f32 t0, t1, t2\nmatmul.bf16 t0, t4, t4\nmatmul.f32 t0, t1, t2"
    assert matmuls(text, systolic("os"), "pack.bf16 t4, t1") == [
        SET_UP["os"] + STREAM,
        STREAM,
        STREAM,
    ]


def test_completion_and_accumulation_count_from_the_last_slot():
    m = systolic("os", 4, 4, "core.ops.matmul.latency=7", "core.ops.matmul.accumulate_latency=2")
    r = go("a: matmul.f32 t0, t1, t2\nb: matmul.f32 t0, t1, t2\nc: mov t5, t0", m)
    last = SET_UP["os"] + STREAM - 1
    assert r.at("a").complete == r.at("a").issue + last + 7
    assert r.at("b").issue == r.at("a").issue + last + 2
    assert r.at("c").issue == r.at("b").complete == r.at("b").issue + STREAM - 1 + 7


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_accumulations_run_back_to_back(dataflow):
    r = go("chain:\n" + "matmul.f32 t0, t1, t2\n" * 5, systolic(dataflow))
    issued = [row.issue for row in r.block("chain", 5)]
    first = SET_UP[dataflow] + STREAM
    assert [cycle - issued[0] for cycle in issued] == [0, *(first + STREAM * i for i in range(4))]


# Three matmuls with one tb; the operand of the second comes late, and the third may overtake it.
LATE = "a: matmul.f32 t0, t1, t2\nexp t4, t4\nb: matmul.f32 t3, t4, t2\nc: matmul.f32 t5, t6, {}\n"


@pytest.mark.parametrize(
    ("kind", "tb", "b", "c"),
    [
        ("in-order", "t2", STREAM, STREAM),
        ("in-order", "t7", STREAM, SET_UP["ws"] + STREAM),
        ("out-of-order", "t2", STREAM, STREAM),
        ("out-of-order", "t7", SET_UP["ws"] + STREAM, SET_UP["ws"] + STREAM),
    ],
)
def test_the_order_of_issue_decides(kind, tb, b, c):
    r = go(LATE.format(tb), systolic("ws", 4, 4, f"core.kind={kind}"))
    assert (r.at("c").issue < r.at("b").issue) == (kind == "out-of-order")
    assert taken([r.at("b"), r.at("c")]) == [b, c]


def test_two_arrays_hold_their_own():
    m = systolic(
        "ws", 4, 4,
        "core.units.second.pipes=1", "core.units.second.queue=64", "core.units.second.dataflow=ws",
        "core.units.second.array_rows=4", "core.units.second.array_columns=4",
        "core.ops.matmul.bf16.unit=second",
    )  # fmt: skip
    text = "matmul.f32 t0, t1, t2\nmatmul.bf16 t3, t4, t4\n" * 2
    whole = SET_UP["ws"] + STREAM
    assert matmuls(text, m, "pack.bf16 t4, t1") == [whole, whole, STREAM, STREAM]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_an_array_keeps_its_tile_from_program_to_program(dataflow):
    sim = Simulation(f"{TILES}halt\ngo:\na: matmul.f32 t0, t1, t2\nhalt", systolic(dataflow))
    sim.run("main")
    first, second = (taken([sim.run("go").at("a")]) for _ in range(2))
    assert (first, second) == ([SET_UP[dataflow] + STREAM], [STREAM])
