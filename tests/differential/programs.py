"""Random programs as assembly text: every instruction class, loops, branches, calls, aliasing.

`programs` is one of them, `teams` two to four for cores that share memory and wait for each other,
`meetings` two to four that do little but load and store the same few lines.

Tile registers keep their shapes, so that most programs run to the end whatever the order of items:
t0, t1, t2 are m x n; t3 is m x k and t4 n x k (operands of matmul.f32); t5 is a column of m; t6 is
m x j and t7 n x j, raw (operands of matmul.bf16). x9 to x11 are bases, x20 to x23 m, n, k, j.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

SCALARS = tuple(f"x{i}" for i in range(1, 7))
MIDDLE = 1 << 18  # all offsets and strides stay within this of the middle of the tensor
STRIDES = (0, 4, 16, 32, 60, 64, 68, 128, 132, 260, 512, 1024, 4096, -4, -64, -68)
FIRST_PHASE = 3  # counters of the phases of teams; those below are signalled at random
ELEMENTWISE = ("fadd", "fsub", "fmul", "fmax", "fcmpgt")
FUNCTIONS = (
    *("exp", "log", "erf", "tanh", "sigmoid", "gelu.tanh", "gelu.erf", "silu"),
    *("relu", "rsqrt", "recip", "recip.safe", "mov", "cvt.bf16"),
)


@dataclass(frozen=True)
class Shape:
    """Shapes of this program's tiles."""

    m: int
    n: int
    k: int
    j: int


def _register(shape: str) -> st.SearchStrategy[str]:
    return st.sampled_from({"mn": ("t0", "t1", "t2"), "mk": ("t3",), "nk": ("t4",)}[shape])


@st.composite
def _address(draw: st.DrawFn) -> list[str]:
    """Lines that put an address into x12 and a stride into x13."""
    base = draw(st.sampled_from(("x9", "x10", "x11")))
    near = draw(st.booleans())
    offset = 4 * draw(st.integers(0, 40) if near else st.integers(-8192, 8191))
    stride = draw(st.sampled_from(STRIDES))
    return [f"addi x12, {base}, {offset}", f"li x13, {stride}"]


@st.composite
def _load(draw: st.DrawFn, shape: Shape) -> list[str]:
    lines = draw(_address())
    kind = draw(st.sampled_from(("load", "loadt", "gather", "bcast", "raw", "rawt")))
    if kind in ("raw", "rawt"):
        register, rows = draw(st.sampled_from((("t6", "x20"), ("t7", "x21"))))
        name = "load.raw.bf16" if kind == "raw" else "loadt.raw.bf16"
        return [*lines, f"{name} {register}, (x12), x13, {rows}, x23"]
    register, rows, cols = draw(
        st.sampled_from((("t0", "x20", "x21"), ("t1", "x20", "x21"), ("t3", "x20", "x22"),
                         ("t4", "x21", "x22"), ("t5", "x20", "x24")))
    )  # fmt: skip
    dtype = draw(st.sampled_from(("f32", "bf16")))
    if kind == "bcast":
        return [lines[0], f"bcast.{dtype} {register}, (x12), {rows}, {cols}"]
    if kind == "gather":
        return [*lines, f"gather.{dtype} {register}, (x12), x13, (x14), {rows}, {cols}"]
    return [*lines, f"{kind}.{dtype} {register}, (x12), x13, {rows}, {cols}"]


@st.composite
def _store(draw: st.DrawFn) -> list[str]:
    register = draw(st.sampled_from(("t0", "t1", "t2", "t3", "t4", "t5")))
    dtype = draw(st.sampled_from(("f32", "bf16")))
    return [*draw(_address()), f"store.{dtype} {register}, (x12), x13"]


@st.composite
def _scalar(draw: st.DrawFn) -> list[str]:
    register = st.sampled_from(SCALARS)
    d, a, b = draw(register), draw(register), draw(register)
    kind = draw(st.sampled_from(("add", "sub", "mul", "min", "li", "addi", "shift", "ld", "st")))
    if kind == "li":
        return [f"li {d}, {draw(st.integers(-3, 3))}"]
    if kind == "addi":
        return [f"addi {d}, {a}, {draw(st.integers(-5, 5))}"]
    if kind == "shift":
        return [f"{draw(st.sampled_from(('slli', 'srli')))} {d}, {a}, {draw(st.integers(0, 63))}"]
    if kind == "ld":
        return [f"ld {d}, {8 * draw(st.integers(0, 63))}(x0)"]
    if kind == "st":  # above the words that gathers read
        return [f"st {d}, {8 * draw(st.integers(32, 63))}(x0)"]
    return [f"{kind} {d}, {a}, {b}"]


@st.composite
def _tiles(draw: st.DrawFn, shape: Shape) -> list[str]:
    mn = _register("mn")
    d, a, b = draw(mn), draw(mn), draw(mn)
    kind = draw(st.sampled_from((
        "matmul.f32", "matmul.bf16", "binary", "row", "col", "const", "function", "mask", "swap",
        "reduce", "colsum", "softmax", "fill", "pack", "append",
    )))  # fmt: skip
    binary = draw(st.sampled_from(ELEMENTWISE))
    if kind == "matmul.f32":
        return [f"matmul.f32 {d}, t3, t4"]
    if kind == "matmul.bf16":
        return [f"matmul.bf16 {d}, t6, t7"]
    if kind == "function":
        return [f"{draw(st.sampled_from(FUNCTIONS))} {d}, {a}"]
    if kind == "reduce":
        return [f"{draw(st.sampled_from(('rowsum', 'rowmax', 'rowargmax')))} t5, {a}"]
    if kind == "colsum":
        return [f"colsum t5, {a}", f"{binary}.row {d}, {b}, t5", f"rowmax t5, {a}"]
    if kind == "softmax" and shape.n >= 3:
        return ["softmax t0, t1, t2"]
    if kind == "swap" and shape.n % 2 == 0:
        return [f"swap {d}, {a}"]
    if kind == "fill":
        return [f"fill.f32 {d}, x15, x20, x21"]
    if kind == "mask":
        return [f"mask {d}, {a}, {draw(st.sampled_from(SCALARS))}"]
    if kind == "pack":
        return ["fill.f32 t6, x15, x20, x23", "pack.bf16 t6, t6"] if shape.j <= shape.k else []
    if kind == "append" and shape.j == 2:
        return ["pack.bf16 t6, t5", "append.bf16 t6, t5"]
    if kind == "const":
        return [f"{binary}.const {d}, {a}, x15"]
    if kind == "row":
        return [f"{binary}.row {d}, {a}, {b}"]
    if kind == "col":
        column = draw(st.integers(0, shape.n - 1))
        return [f"{binary}.col {d}, {a}, {b}, {column}", f"{binary}.col {d}, {a}, t5, 0"]
    return [f"{binary} {d}, {a}, {b}"]


@st.composite
def _product(draw: st.DrawFn, shape: Shape) -> list[str]:
    """Matmuls close behind each other, some with an operand written in between."""
    mn = _register("mn")
    f32 = ["matmul.f32 {}, t3, t4"] + (["matmul.f32 {}, t4, t3"] if shape.m == shape.n else [])
    steps = {
        "f32": st.sampled_from(f32),
        "bf16": st.just("matmul.bf16 {}, t6, t7"),
        "write": st.sampled_from((
            "mov {0}, {0}", "mov t3, t3", "mov t4, t4", "fill.f32 t4, x15, x21, x22",
            "load.raw.bf16 t6, (x9), x0, x20, x23", "load.raw.bf16 t7, (x10), x0, x21, x23",
        )),
    }  # fmt: skip
    kinds = draw(
        st.lists(st.sampled_from(("f32", "f32", "bf16", "write", "write")), min_size=4, max_size=9)
    )
    return [draw(steps[kind]).format(draw(mn)) for kind in kinds]


# Each ends the run with a fault, some of them only where x1 or the shapes are so.
MISTAKES = (
    ("load.f32 t0, (x20), x13, x20, x21",),
    ("addi x12, x9, 2", "load.f32 t0, (x12), x0, x20, x21"),
    ("fill.f32 t0, x15, x0, x21",),
    ("ld x3, 1(x0)",),
    ("st x3, 512(x0)",),
    ("jr x1",),
    ("fadd t0, t1, t6",),
    ("fadd t0, t1, t3",),
    ("matmul.f32 t0, t4, t3",),
    ("li x3, 99", "wait 2, x3"),
    ("j forever",),
    ("prefetch (x20)",),
)


@st.composite
def _system(draw: st.DrawFn) -> list[str]:
    kind = draw(st.sampled_from(("region", "region", "signal", "wait", "prefetch", "prefetch")))
    if kind == "region":
        return [f"region {draw(st.integers(0, 3))}"]
    if kind == "signal":
        return [f"signal {draw(st.integers(0, 2))}"]
    if kind == "wait":
        return ["wait 1, x0"]
    return [draw(_address())[0], "prefetch (x12)"]


@st.composite
def _block(
    draw: st.DrawFn, shape: Shape, depth: int, names: list[int], calls: bool, mistakes: bool
) -> list[str]:
    """A few items, some of them with blocks inside; every line one instruction or label."""
    lines: list[str] = []
    kinds = ["scalar", "load", "load", "store", "tiles", "tiles", "product", "system"]
    if depth > 0 and mistakes:
        kinds.append("mistake")
    if depth < 2:
        kinds += ["if", "loop"]
    if calls:
        kinds.append("call")
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=10 if depth == 0 else 5)):
        if kind == "scalar":
            lines += draw(_scalar())
        elif kind == "load":
            lines += draw(_load(shape))
        elif kind == "store":
            lines += draw(_store())
        elif kind == "tiles":
            lines += draw(_tiles(shape))
        elif kind == "product":
            lines += draw(_product(shape))
        elif kind == "system":
            lines += draw(_system())
        elif kind == "mistake":
            if draw(st.integers(0, 9)) == 9:
                lines += draw(st.sampled_from(MISTAKES))
        elif kind == "call":
            lines.append(f"jal x31, f{draw(st.integers(0, 1))}")
        else:
            names[0] += 1
            label = f"b{names[0]}"
            inside = draw(_block(shape, depth + 1, names, calls, mistakes))
            if kind == "loop":
                counter = f"x{16 + depth}"
                count = draw(st.integers(1, 6 if depth else 12))
                lines += [f"li {counter}, {count}", f"{label}:", *inside]
                lines += [f"addi {counter}, {counter}, -1", f"bne {counter}, x0, {label}"]
            else:
                branch = draw(st.sampled_from(("beq", "bne", "blt", "bge", "j")))
                a, b = draw(st.sampled_from(SCALARS)), draw(st.sampled_from(SCALARS))
                head = f"j {label}" if branch == "j" else f"{branch} {a}, {b}, {label}"
                lines += [head, *inside, f"{label}:"]
    return lines


@st.composite
def _shapes(draw: st.DrawFn, rows: int, row_bytes: int) -> Shape:
    """Shapes for tiles of rows x row_bytes."""
    cols, raw = row_bytes // 4, row_bytes // 2
    return Shape(
        m=draw(st.integers(1, rows)),
        n=draw(st.integers(1, min(rows, cols))),
        k=draw(st.integers(1, cols)),
        j=draw(st.integers(1, raw)),
    )


@st.composite
def _whole(draw: st.DrawFn, shape: Shape, names: list[int], body: list[str], mistakes: bool) -> str:
    """The text of a program that does ``body`` and halts."""
    lines = [
        f".tensor A f32 {2 * MIDDLE // 4096} 1024 random 1",
        ".control 512",
        "main:",
        f"li x9, A + {MIDDLE}",
        "addi x10, x9, 2048",
        "addi x11, x9, 52",
        f"li x20, {shape.m}",
        f"li x21, {shape.n}",
        f"li x22, {shape.k}",
        f"li x23, {shape.j}",
        "li x24, 1",
        "li x14, 0",
        "li x15, f32(0.75)",
        *(f"fill.f32 {t}, x15, x20, x21" for t in ("t0", "t1", "t2")),
        "fill.f32 t3, x15, x20, x22",
        "fill.f32 t4, x15, x21, x22",
        "fill.f32 t5, x15, x20, x24",
        "load.raw.bf16 t6, (x9), x0, x20, x23",
        "load.raw.bf16 t7, (x9), x0, x21, x23",
        *body,
        "halt",
    ]
    for number in range(2):
        if any(f"f{number}" in line for line in body if line.startswith("jal")):
            function = draw(_block(shape, 1, names, False, mistakes))
            lines += [f"f{number}:", *function, "jr x31"]
    if "j forever" in lines:
        lines += ["forever:", "addi x1, x1, 1", "j forever"]
    return "\n".join(line if ":" in line else f" {line}" for line in lines) + "\n"


@st.composite
def programs(draw: st.DrawFn, rows: int, row_bytes: int) -> str:
    """The text of a program for tiles of rows x row_bytes."""
    shape = draw(_shapes(rows, row_bytes))
    names = [0]
    body = draw(_block(shape, 0, names, True, True))
    return draw(_whole(shape, names, body, True))


@st.composite
def teams(draw: st.DrawFn, rows: int, row_bytes: int) -> tuple[str, ...]:
    """Programs of two to four cores with up to three phases each.

    At the end of a phase a core signals the phase's counter and then waits for no more signals than
    there are cores with that phase. So all come to their ends, but for those that then wait for
    one signal more: `stuck`. There are no mistakes: of two cores with one, either may be the first.
    """
    phases = draw(st.lists(st.integers(0, 3), min_size=2, max_size=4))
    stuck = draw(st.sampled_from((False, False, False, False, True)))
    texts = []
    for own in phases:
        shape = draw(_shapes(rows, row_bytes))
        names = [0]
        body: list[str] = []
        for phase in range(own):
            others = sum(phase < each for each in phases)
            body += draw(_block(shape, 1, names, True, False))
            body += [f"signal {FIRST_PHASE + phase}", f"li x7, {draw(st.integers(0, others))}"]
            body += [f"wait {FIRST_PHASE + phase}, x7"]
        if stuck and draw(st.booleans()):
            body += [f"li x7, {len(phases) + 1}", f"wait {FIRST_PHASE + own}, x7"]
        texts.append(draw(_whole(shape, names, body, False)))
    return tuple(texts)


@st.composite
def _visit(draw: st.DrawFn, own: int) -> list[str]:
    """An access of one or two elements in one of few lines, shared in full or word by word."""
    line = draw(st.sampled_from((0, 0, 0, 1, 1, 2, 8, 16, 64)))
    word = own if draw(st.booleans()) else draw(st.integers(0, 3))
    kind = draw(st.sampled_from(("load", "load", "store", "store", "prefetch", "mul")))
    if kind == "mul":
        return ["mul x1, x1, x1"]
    access = {
        "load": f"load.f32 t1, (x12), x0, x24, {draw(st.sampled_from(('x24', 'x25')))}",
        "store": f"store.f32 {draw(st.sampled_from(('t0', 't2')))}, (x12), x0",
        "prefetch": "prefetch (x12)",
    }
    return [f"addi x12, x9, {64 * line + 4 * word}", access[kind]]


@st.composite
def meetings(draw: st.DrawFn, rows: int, row_bytes: int) -> tuple[str, ...]:
    """Programs of two to four cores that go round a few accesses, in turns or all at once.

    True and false sharing, lines that go to and fro, producers and consumers: as it comes.
    """
    cores = draw(st.integers(2, 4))
    rounds = draw(st.integers(1, 8))
    turns = draw(st.booleans())
    texts = []
    for core in range(cores):
        visits = draw(st.lists(_visit(core), min_size=1, max_size=4))
        inside = [line for visit in visits for line in visit]
        if turns:
            inside = ["wait 9, x7", *inside, "signal 9", f"addi x7, x7, {cores}"]
        body = ["li x25, 2", "fill.f32 t0, x15, x24, x24", "fill.f32 t2, x15, x24, x25"]
        body += [f"li x16, {rounds}", f"li x7, {core}", "again:", *inside]
        body += ["addi x16, x16, -1", "bne x16, x0, again"]
        texts.append(draw(_whole(draw(_shapes(rows, row_bytes)), [0], body, False)))
    return tuple(texts)
