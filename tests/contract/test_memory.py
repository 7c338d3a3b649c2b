"""Random loads, stores and prefetches on random memories: every cycle and counter as the model."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from isa.memory import TENSOR_BASE
from tests.contract.harness import PLAIN, Simulation, machine
from tests.contract.model_memory import Access, LoadStore, Memory

LINES = 96
TENSOR_BYTES = LINES * 64
PREFETCH = ["none", "none", "next-line", "stride"]


@st.composite
def memories(draw):
    """Overrides for memories of one to three levels, most of them tiny."""
    choose = {
        "clock": ["1.0GHz", "1.7GHz", "600MHz"],
        "core.kind": ["out-of-order", "in-order"],
        "core.width": [1, 4],
        "core.rob": [16, 128],
        "core.store_queue": [8, 24],
        "core.forward_cycles": [1, 4],
        "core.units.load.pipes": [1, 2],
        "core.units.load.bytes": [8, 16],
        "core.units.store.pipes": [1, 2],
        "core.units.store.bytes": [8, 16],
        "l1.hit_cycles": [1, 3],
        "l1.fill_cycles": [0, 2],
        "l1.mshrs": [1, 2, 4, 16],
        "l1.prefetch": PREFETCH,
        "l1.prefetch_degree": [1, 3],
        "l1.prefetch_distance": [1, 2],
        "dram.channels": [1, 2],
        "dram.banks": [1, 4],
        "dram.row_bytes": ["128B", "1KiB"],
        "dram.gigabytes_per_second": ["6.4GB/s", "5.3GB/s"],
        "dram.write_batch": [1, 2, 8],
        "dram.trefi_ns": [0, 900],
    }
    overrides = [f"{key}={draw(st.sampled_from(values))}" for key, values in choose.items()]

    def geometry(level, sizes):
        sets, ways = draw(st.sampled_from(sizes))
        overrides.extend([f"{level}.size={sets * ways * 64}", f"{level}.ways={ways}"])

    geometry("l1", [(1, 1), (2, 2), (8, 2), (3, 4)])
    levels = draw(st.integers(1, 3))
    if levels == 1:
        return [*overrides, "l2=none"]
    geometry("l2", [(1, 2), (4, 4), (16, 4)])
    overrides += [
        f"l2.mshrs={draw(st.sampled_from([1, 2, 16]))}",
        f"l2.bytes_per_cycle={draw(st.sampled_from([16, 24, 64]))}",
        f"l2.hit_cycles={draw(st.sampled_from([1, 7]))}",
        f"l2.fill_cycles={draw(st.sampled_from([0, 3]))}",
        f"l2.prefetch={draw(st.sampled_from(PREFETCH))}",
        f"l2.prefetch_degree={draw(st.sampled_from([1, 2]))}",
        f"l2.prefetch_distance={draw(st.sampled_from([1, 4]))}",
    ]
    if levels == 3:
        geometry("l3", [(1, 4), (8, 4), (32, 4)])
        overrides += [
            "l3.hit_cycles=9",
            f"l3.mshrs={draw(st.sampled_from([1, 3, 16]))}",
            f"l3.clock={draw(st.sampled_from(['1.0GHz', '900MHz']))}",
            f"l3.fill_cycles={draw(st.sampled_from([0, 2]))}",
            *draw(st.sampled_from([[], ["l3.bytes_per_cycle=4"], ["l3.bytes_per_cycle=64"]])),
        ]
    return overrides


@st.composite
def programs(draw):
    """A loop of loads, stores and prefetches of one tensor: (kind, rows, cols) of each, and per
    turn their addresses and strides, some of them walking with a fixed step."""
    turns = draw(st.integers(1, 10))
    body, table = [], []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["load", "load", "store", "prefetch"]))
        rows, cols = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        body.append((kind, 1 if kind == "prefetch" else rows, cols))
        step = draw(st.sampled_from([None, 0, 64, 64, 128, -64]))
        place = draw(st.integers(1024, TENSOR_BYTES - 2048)) // 4 * 4
        column = []
        for _ in range(turns):
            stride = draw(st.sampled_from([0, 4, 16, 64, 68]))
            if step is None or draw(st.integers(0, 7)) == 0:
                place = draw(st.integers(0, TENSOR_BYTES - 256)) // 4 * 4
            else:
                place = (place + step) % (TENSOR_BYTES - 256)
            column.append((place, stride))
        table.append(column)
    return body, list(zip(*table, strict=True))


def split(start, stride, rows, row_bytes):
    """Byte ranges of an access: one per row and line."""
    ranges = []
    for row in range(rows):
        lo, end = start + row * stride, start + row * stride + row_bytes
        while lo < end:
            hi = min(end, (lo // 64 + 1) * 64)
            ranges.append((lo, hi))
            lo = hi
    return ranges


def assembled(body):
    """Assembler text: a tile of its shape for every store, then the loop."""
    text = [f".control 4096\n.tensor x f32 {LINES} 16", "main:"]
    text += [f"li x1{i}, {i}" for i in range(1, 5)]
    text += [f"fill.f32 t{i}, x0, x1{rows}, x1{cols}" for i, (_, rows, cols) in enumerate(body)]
    text += ["halt", "go: li x9, 0", "ld x8, 4088(x0)", "turn:"]
    for i, (kind, rows, cols) in enumerate(body):
        text += [f"ld x4, {16 * i}(x9)", f"ld x5, {16 * i + 8}(x9)", f"access{i}:"]
        text.append({
            "load": f"load.f32 t7, (x4), x5, x1{rows}, x1{cols}",
            "store": f"store.f32 t{i}, (x4), x5",
            "prefetch": "prefetch (x4)",
        }[kind])  # fmt: skip
    return "\n".join([*text, f"addi x9, x9, {16 * len(body)}", "blt x9, x8, turn", "halt"])


@given(program=programs(), overrides=memories())
@settings(max_examples=300, deadline=None)
def test_random_accesses_take_the_cycles_the_rules_say(program, overrides):
    body, table = program
    # scalar loads stay off the load pipes, which the model has to itself; and the loop's last
    # branch, mispredicted, does not keep halt waiting
    m = machine(PLAIN, "core.ops.control.unit=scalar", "core.mispredict_penalty=0", *overrides)
    sim = Simulation(assembled(body), m)
    words = [
        word for turn in table for place in turn for word in (TENSOR_BASE + place[0], place[1])
    ]
    sim.cpu.control[: len(words)] = words
    sim.cpu.control[511] = 8 * len(words)
    sim.run("main")
    r = sim.run("go")
    accesses, rows = [], []
    for i, row in enumerate(r.rows):
        which = row.pc - r.labels[0]["access0"]
        if which % 3 or not 0 <= which < 3 * len(body):
            continue
        kind, height, cols = body[which // 3]
        place, stride = table[len(accesses) // len(body)][which // 3]
        width = 1 if kind == "prefetch" else 4 * cols
        ranges = split(TENSOR_BASE + place, stride, height, width)
        access = Access(row.pc, kind, ranges, row.dispatch)
        if kind == "store":
            access.complete, access.retire = row.complete, row.retire
        elif m.core.kind == "in-order":
            access.dispatch = row.issue - 1  # what else holds it back is not for this model
        else:
            sources = r.rows[i - 2 : i - 1 if kind == "prefetch" else i]  # ld of address and stride
            access.dispatch = max(row.dispatch, *(source.complete - 1 for source in sources))
        accesses.append(access)
        rows.append(row)
    model = LoadStore(Memory(m, sim.memory.total_bytes), accesses, r.first)
    model.run()
    for access, row in zip(accesses, rows, strict=True):
        if access.kind != "store":
            assert (access.issue, access.complete) == (row.issue, row.complete), access
    assert r.last == max(r.rows[-1].retire, model.last_drain)
    for level, counts in model.memory.counters().items():
        assert {key: r.caches[level][key] for key in counts} == counts, level
    assert r.dram == model.memory.dram.counts
    assert r.core["forwards"] == model.forwards
