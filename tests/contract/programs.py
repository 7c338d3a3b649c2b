"""Random legal programs and random machines for them.

Every tile register keeps one shape for the whole program (`SHAPES`), so that any order of its
statements is legal, also in loops, behind branches and in a called function.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

ROWS = 48  # of the tensors: rows of 16 f32 or 32 bf16 elements, 64 bytes each
CONTROL_WORDS = 64  # 0-15 gather indices, 16-31 read, 32-47 read and written, 48-63 the result


@dataclass(frozen=True)
class Geometry:
    """Tile registers of a machine, and the shape R x C of this program's tiles."""

    rows: int
    row_bytes: int
    r: int
    c: int


def tiles(g: Geometry) -> dict[int, tuple[int, int]]:
    """Shapes of the f32 tile registers; t6 is a raw R x C operand."""
    full = (g.r, g.c)
    return {0: full, 1: full, 2: full, 3: (g.r, g.r), 4: (g.r, 1), 5: (1, g.c), 7: (g.r, 3)}


class Writer:
    """Writes one program. x1-x3, x12-x15 hold shapes, x5-x8 values, x9-x11 addresses."""

    def __init__(self, rng: Random, g: Geometry) -> None:
        self.rng = rng
        self.g = g
        self.lines: list[str] = []
        self.labels = 0
        self.counters: list[str] = []  # of the loops around, innermost last

    def emit(self, *lines: str) -> None:
        self.lines.extend(lines)

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def address(self, tensor: str, nbytes: int, stride: int, rows: int, size: int) -> None:
        """x9 = an address from which rows fit into the tensor; it walks with the loop around."""
        span = (rows - 1) * abs(stride) + nbytes
        walk = 64 * 4 if self.counters else 0
        place = self.rng.randrange(0, (ROWS * 64 - span - walk) // size + 1) * size
        if stride < 0:
            place += (rows - 1) * -stride
        self.emit(f"li x9, {tensor} + {place}")
        if self.counters and self.rng.random() < 0.7:
            self.emit(f"slli x11, {self.counters[-1]}, 6", "add x9, x9, x11")
        self.emit(f"li x10, {stride}")

    def shape(self, tile: int) -> str:
        """Registers with the shape of a tile."""
        return {3: "x1, x1", 4: "x1, x3", 5: "x3, x2", 7: "x1, x12"}.get(tile, "x1, x2")

    def load(self) -> None:
        rng, g = self.rng, self.g
        kind = rng.choice(["load", "load", "loadt", "gather", "bcast", "raw", "rawt"])
        dtype = "bf16" if kind in ("raw", "rawt") else rng.choice(["f32", "f32", "bf16"])
        size = 4 if dtype == "f32" else 2
        tensor = "f" if dtype == "f32" else "h"
        tile = 6 if kind in ("raw", "rawt") else rng.randrange(3)
        rows, cols = (g.c, g.r) if kind in ("loadt", "rawt") else (g.r, g.c)
        stride = rng.choice([64, 64, 0, size * cols, 68, 32, -64])
        if kind == "bcast":
            rows = 1
        if kind == "gather":
            stride = rng.choice([16, 64])
            self.address(tensor, cols * size, stride, 16, size)  # indices are below 16
            self.emit(f"gather.{dtype} t{tile}, (x9), x10, (x0), x1, x2")
            return
        self.address(tensor, cols * size, stride, rows, size)
        name = {"load": "load", "loadt": "loadt", "bcast": "bcast", "raw": "load.raw",
                "rawt": "loadt.raw"}[kind]  # fmt: skip
        operands = "x1, x2" if kind == "bcast" else "x10, x1, x2"
        self.emit(f"{name}.{dtype} t{tile}, (x9), {operands}")

    def store(self) -> None:
        rng = self.rng
        tile = rng.choice(list(tiles(self.g)))
        rows, cols = tiles(self.g)[tile]
        dtype = rng.choice(["f32", "f32", "bf16"])
        size = 4 if dtype == "f32" else 2
        stride = rng.choice([64, 64, 0, size * cols, 68, -64])
        self.address("f" if dtype == "f32" else "h", cols * size, stride, rows, size)
        self.emit(f"store.{dtype} t{tile}, (x9), x10")

    def tile_operation(self) -> None:
        rng, g = self.rng, self.g
        a, b, d = (rng.randrange(3) for _ in range(3))
        binary = rng.choice(["fadd", "fsub", "fmul", "fmax", "fcmpgt"])
        unary = rng.choice(
            ["exp", "tanh", "sigmoid", "erf", "relu", "recip.safe", "mov", "cvt.bf16"]
        )
        choices = [
            f"{binary} t{d}, t{a}, t{b}",
            f"{binary}.row t{d}, t{a}, t5",
            f"{binary}.col t{d}, t{a}, t7, {rng.randrange(3)}",
            f"{binary}.const t{d}, t{a}, x13",
            f"{unary} t{d}, t{a}",
            f"mask t{d}, t{a}, x3",
            f"rowsum t4, t{a}",
            f"rowmax t4, t{a}",
            f"rowargmax t4, t{a}",
            f"colsum t5, t{a}",
            f"softmax t{d}, t{(d + 1) % 3}, t7",
            f"matmul.f32 t3, t{a}, t{b}",
            f"matmul.f32 t3, t{a}, t{b}",
            "matmul.bf16 t3, t6, t6",
            f"pack.bf16 t6, t{a}",
            f"fill.f32 t{(tile := rng.choice(list(tiles(g))))}, x13, {self.shape(tile)}",
        ]
        if g.c % 2 == 0:
            choices.append(f"swap t{d}, t{a}")
        if g.c < g.row_bytes // 2:
            choices.append(f"append.bf16 t6, t4\npack.bf16 t6, t{a}")
        self.emit(rng.choice(choices))

    def scalar(self) -> None:
        rng = self.rng
        a, b, d = (f"x{rng.randrange(5, 9)}" for _ in range(3))
        self.emit(rng.choice([
            f"add {d}, {a}, {b}", f"sub {d}, {a}, {b}", f"mul {d}, {a}, {b}", f"min {d}, {a}, {b}",
            f"addi {d}, {a}, {rng.randrange(-9, 9)}", f"srli {d}, {a}, {rng.randrange(64)}",
            f"ld {d}, {8 * rng.randrange(16, 48)}(x0)", f"st {a}, {8 * rng.randrange(32, 48)}(x0)",
        ]))  # fmt: skip

    def branch(self, depth: int) -> None:
        name = self.rng.choice(["beq", "bne", "blt", "bge"])
        a, b = (f"x{self.rng.randrange(5, 9)}" for _ in range(2))
        over = self.label()
        self.emit(f"{name} {a}, {b}, {over}")
        self.block(depth + 1, self.rng.randrange(1, 3))
        self.emit(f"{over}:")

    def loop(self, depth: int) -> None:
        counter = f"x{16 + len(self.counters)}"
        top = self.label()
        self.emit(f"li {counter}, 0", f"{top}:")
        self.counters.append(counter)
        self.block(depth + 1, self.rng.randrange(1, 5))
        self.counters.pop()
        self.emit(f"addi {counter}, {counter}, 1", f"li x20, {self.rng.randrange(1, 5)}",
                  f"blt {counter}, x20, {top}")  # fmt: skip

    def block(self, depth: int, count: int) -> None:
        for _ in range(count):
            kind = self.rng.random()
            if kind < 0.25:
                self.load()
            elif kind < 0.4:
                self.store()
            elif kind < 0.65:
                self.tile_operation()
            elif kind < 0.75:
                self.scalar()
            elif kind < 0.8:
                self.address("f", 1, 0, 1, 1)
                self.emit("prefetch (x9)")
            elif kind < 0.84:
                self.emit("jal x31, function")
            elif kind < 0.87:
                region = self.rng.randrange(4)
                self.emit(self.rng.choice(["signal 3", f".region {region} operator{region}"]))
            elif depth < 3:
                (self.loop if kind < 0.95 else self.branch)(depth)


def random_program(rng: Random, g: Geometry) -> str:
    """Assembler text; at its end tiles go to the tensor `out` and scalars to words from 48 on."""
    w = Writer(rng, g)
    w.emit(f".control {8 * CONTROL_WORDS}")
    w.emit(f".tensor f f32 {ROWS} 16 random 1", f".tensor h bf16 {ROWS} 32 random 2")
    w.emit(".tensor out f32 128 16", "main:")
    w.emit(f"li x1, {g.r}", f"li x2, {g.c}", "li x3, 1", "li x12, 3", "li x13, f32(-0.75)")
    w.emit(*(f"fill.f32 t{tile}, x13, {w.shape(tile)}" for tile in tiles(g)), "pack.bf16 t6, t0")
    w.block(0, rng.randrange(1, 12))
    for i, tile in enumerate(tiles(g)):
        w.emit(f"li x9, out + {i * 1024}", "li x10, 64", f"store.f32 t{tile}, (x9), x10")
    w.emit(*(f"st x{register}, {8 * (43 + register)}(x0)" for register in range(5, 9)))
    w.emit("halt", "function:")
    for _ in range(rng.randrange(3)):
        w.scalar()
    w.tile_operation()
    w.emit("jr x31")
    return "\n".join(w.lines)


@st.composite
def geometries(draw):
    """Tile registers and a shape that fits them."""
    rows, row_bytes = draw(st.sampled_from([(4, 16), (4, 32), (8, 32), (16, 64)]))
    most = row_bytes // 4
    r, c = draw(st.integers(1, min(rows, most))), draw(st.integers(1, most))
    return Geometry(rows, row_bytes, r, c)


@st.composite
def overrides(draw, g: Geometry):
    """A random core and memory, small enough to be full all the time."""
    choose = {
        "clock": ["1.0GHz", "2.3GHz"],
        "core.kind": ["in-order", "out-of-order", "out-of-order"],
        "core.width": [1, 2, 3, 8],
        "core.retire_width": [1, 2, 8],
        "core.rob": [8, 13, 64, 300],
        "core.predictor_entries": [1, 4, 64],
        "core.mispredict_penalty": [0, 7],
        "core.return_stack": [0, 1, 4],
        "core.taken_branch_bubble": [0, 2],
        "core.forward_cycles": [1, 5],
        "core.load_queue": [2 * max(g.rows, g.row_bytes // 2), 200],
        "core.store_queue": [2 * g.rows, 2 * g.rows + 1, 100],
        "core.units.scalar.pipes": [1, 3],
        "core.units.scalar.queue": [1, 4, 32],
        "core.units.load.pipes": [1, 2],
        "core.units.load.queue": [1, 2, 16],
        "core.units.load.bytes": [4, 16, 64],
        "core.units.store.pipes": [1, 3],
        "core.units.store.queue": [1, 2, 16],
        "core.units.store.bytes": [4, 16, 64],
        "core.units.vector.pipes": [1, 2],
        "core.units.vector.queue": [1, 3, 32],
        "core.units.vector.bytes": [16, 64],
        "core.ops.elementwise.slot": ["row", "vector", "instruction"],
        "core.ops.elementwise.uops": [1, 2],
        "core.ops.matmul.slot": ["row", "vector"],
        "core.ops.matmul.accumulate_latency": [1, 4],
        "l1.mshrs": [1, 2, 8],
        "l1.hit_cycles": [1, 4],
        "l1.prefetch": ["none", "next-line", "stride"],
        "l1.prefetch_degree": [1, 4],
        "l1.prefetch_distance": [1, 3],
        "dram.channels": [1, 2],
        "dram.write_batch": [1, 8],
        "dram.trefi_ns": [0, 900],
    }
    found = [f"{key}={draw(st.sampled_from(values))}" for key, values in choose.items()]
    found += [f"core.tiles.rows={g.rows}", f"core.tiles.row_bytes={g.row_bytes}"]
    line = draw(st.sampled_from([16, 64, 64]))
    levels = draw(st.integers(1, 3))
    for level in ("l1", "l2", "l3")[:levels]:
        sets, ways = draw(st.sampled_from([(1, 1), (1, 3), (2, 2), (7, 2), (16, 4)]))
        found += [
            f"{level}.line={line}",
            f"{level}.ways={ways}",
            f"{level}.size={line * sets * ways}",
        ]
    if levels < 2:
        found.append("l2=none")
    else:
        found.append(f"l2.mshrs={draw(st.sampled_from([1, 8]))}")
        found.append(f"l2.prefetch={draw(st.sampled_from(['none', 'next-line', 'stride']))}")
    if levels == 3:
        found += ["l3.hit_cycles=11", f"l3.mshrs={draw(st.sampled_from([1, 8]))}"]
    return found


@st.composite
def cases(draw):
    """(program text, overrides)."""
    g = draw(geometries())
    text = random_program(draw(st.randoms(use_true_random=False)), g)
    return text, draw(overrides(g))
