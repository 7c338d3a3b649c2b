"""Where tensors lie, and what a target may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.errors import UserError
from isa.memory import TENSOR_BASE, MemoryMap
from isa.target import Target

sizes = st.lists(
    st.tuples(st.integers(1, 20_000), st.sampled_from([64, 256, 4096])), min_size=1, max_size=8
)


@given(sizes)
def test_tensors_are_aligned_and_do_not_overlap(tensors: list[tuple[int, int]]) -> None:
    memory = MemoryMap()
    end = TENSOR_BASE
    for number, (nbytes, align) in enumerate(tensors):
        tensor = memory.add(f"t{number}", nbytes, "bf16", (nbytes // 2,), align)
        assert tensor.address % align == 0
        assert end <= tensor.address < end + align
        end = tensor.end
    assert end <= memory.total_bytes < end + 64
    assert memory.allocate().shape == (memory.total_bytes,)


@given(sizes, st.integers(TENSOR_BASE - 100, TENSOR_BASE + 100_000))
def test_find_and_nearest_agree_with_a_search(tensors: list[tuple[int, int]], at: int) -> None:
    memory = MemoryMap()
    for number, (nbytes, align) in enumerate(tensors):
        memory.add(f"t{number}", nbytes, "bf16", (nbytes // 2,), align)
    inside = [t for t in memory.tensors if t.address <= at < t.end]
    assert memory.find(at) == (inside[0] if inside else None)

    def distance(address: int, end: int) -> int:
        return min(abs(at - byte) for byte in (address, end - 1))

    closest = memory.nearest(at)
    assert closest is not None
    if inside:
        assert closest == inside[0]
    else:
        assert distance(closest.address, closest.end) == min(
            distance(t.address, t.end) for t in memory.tensors
        )


def test_views_of_tensors() -> None:
    memory = MemoryMap(control_bytes=24)
    memory.add("a", 64, "f32", (2, 3))
    memory.add("b", 6, "bf16", (3,))
    memory.add("c", 16, "i64", (2,))
    mem = memory.allocate()
    memory.array(mem, "a")[...] = [[1, 2, 3], [4, 5, 6]]
    memory.array(mem, "b")[...] = 0x3F80
    memory.array(mem, "c")[1] = -1
    start = memory["a"].address
    assert mem[start : start + 24].view("<f4").tolist() == [1, 2, 3, 4, 5, 6]
    assert mem[memory["b"].address : memory["b"].end].tolist() == [0x80, 0x3F] * 3
    assert mem[memory["c"].address + 8 : memory["c"].end].tolist() == [255] * 8
    assert memory.allocate_control().tolist() == [0, 0, 0]


def test_an_existing_list_of_tensors() -> None:
    first = MemoryMap()
    first.add("a", 100, "f32", (25,))
    second = MemoryMap(0, list(first.tensors))
    assert second["a"] == first["a"]
    assert second.add("b", 4, "f32", (1,)).address == 0x11000
    assert "b" in second
    assert "b" not in first


def test_mistakes() -> None:
    memory = MemoryMap()
    memory.add("weights", 4, "f32", (1,))
    with pytest.raises(UserError, match="'weights' is declared twice"):
        memory.add("weights", 4, "f32", (1,))
    with pytest.raises(UserError, match="unknown type 'f64'; use f32, bf16 or i64"):
        memory.add("x", 8, "f64", (1,))
    with pytest.raises(UserError, match="has 0 bytes"):
        memory.add("x", 0, "f32", (0,))
    with pytest.raises(UserError, match="alignment 96 is no power of two >= 64"):
        memory.add("x", 4, "f32", (1,), align=96)
    with pytest.raises(UserError, match="no tensor 'wieghts'; Did you mean 'weights'"):
        memory["wieghts"]
    with pytest.raises(UserError, match="does not fit"):
        memory.add("y", 4, "f32", (2,))
    assert [t.name for t in memory.tensors] == ["weights"]


def test_an_empty_map_has_no_nearest_tensor() -> None:
    memory = MemoryMap()
    assert memory.find(TENSOR_BASE) is None
    assert memory.nearest(TENSOR_BASE) is None
    assert memory.total_bytes == TENSOR_BASE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tiles": 0}, "0 tile registers; it needs 1 to 64"),
        ({"tiles": 65}, "65 tile registers"),
        ({"rows": 17}, "17 rows; they need 1 to 16"),
        ({"row_bytes": 48}, "48 bytes; use 16, 32 or 64"),
        ({"row_bytes": 128}, "128 bytes"),
        ({"cores": 0}, "0 cores"),
        ({"matmul_types": ("f32", "i8")}, "unknown matmul type 'i8'; known: f32, bf16"),
    ],
)
def test_impossible_targets(change: dict[str, object], reason: str) -> None:
    values: dict[str, object] = {"tiles": 8, "rows": 16, "row_bytes": 64} | change
    with pytest.raises(UserError, match=reason):
        Target(**values)  # type: ignore[arg-type]


def test_columns_follow_from_the_bytes_of_a_row() -> None:
    target = Target(tiles=8, rows=16, row_bytes=32)
    assert (target.f32_cols, target.bf16_cols) == (8, 16)
