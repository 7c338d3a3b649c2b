"""The loop nest of a linear operator for one row block: weights streamed through once.

With one row (decode) the work is moving weights: each is used once, so nothing can be reused and
the loop only has to keep loads coming with as few other instructions as possible. A step along K
loads the activation operand once and multiplies it with the `panel` weight tiles of the step:

    load a; addi; panel times (load b; addi; matmul c_j)

which with a branch every second step is (2 + 3 * panel + 1/2) / panel instructions per weight
tile: 3.6 for a panel of 4. Weight tiles alternate between two registers, so that an in-order core
loads one while it multiplies the other; the `panel` accumulators are independent chains.
"""

from __future__ import annotations

from isa.builder import ZERO, T, X
from workloads.kernels.kit import Kit
from workloads.kernels.linear_shape import (
    LinearArguments,
    Panels,
    finish_tile,
    k_loop,
    start_tile,
)


def emit(kit: Kit, panels: Panels, arguments: LinearArguments) -> None:
    """Emit the nest; `arguments` are used up."""
    b, t = kit.b, kit.tiling
    c = b.tiles("c", t.panel)
    operands = b.tiles("operand", 4)
    names = ("rows", "a", "last_cols", "at", "result_end")
    with b.scratch(*names) as (rows, a, last_cols, at, end):
        b.ld(rows, panels.shape.space.rows, ZERO)

        def panel(first_tile: int, columns: list[int]) -> None:
            cols = [kit.n_cols] * len(columns)
            if columns[-1] != t.n_cols:
                b.li(last_cols, columns[-1])
                cols[-1] = last_cols
            for j, col in enumerate(cols):
                start_tile(kit, arguments.bias, first_tile + j, c[j], rows, col, at)
            kit.move(a, arguments.source)
            _multiply(kit, panels, arguments.weight, a, rows, cols, c, operands)
            for j, col in enumerate(cols):
                tile = first_tile + j
                finish_tile(
                    kit, panels, arguments, tile, arguments.result, c[j], operands[0], rows, col, at
                )

        def group(columns: list[list[int]]) -> None:
            for index, panel_columns in enumerate(columns):
                panel(index * t.panel, panel_columns)

        if panels.groups:
            top = b.new_label("panels")
            step = panels.offset(panels.group_tiles)
            if panels.groups > 1:
                b.addi(end, arguments.result, panels.groups * step)
                b.place(top)
            group(panels.group())
            if arguments.bias is not None:
                b.addi(arguments.bias, arguments.bias, panels.group_tiles * t.n_cols * 4)
            b.addi(arguments.result, arguments.result, step)
            if panels.groups > 1:
                b.blt(arguments.result, end, top)
        group(panels.rest())
    b.free(*c, *operands)


def _multiply(
    kit: Kit,
    panels: Panels,
    weight: X,
    a: X,
    rows: X,
    cols: list[X],
    c: list[T],
    operands: list[T],
) -> None:
    """Accumulate a whole panel over K; moves `weight` to the next panel."""
    b, t, k = kit.b, kit.tiling, panels.shape.k
    step_bytes = panels.shape.space.block_rows * t.row_bytes
    count = 0

    def step(parity: int, k_cols: X) -> None:
        nonlocal count
        operand = operands[parity]
        kit.load_operand(operand, a, kit.row_bytes, rows, k_cols)
        b.addi(a, a, step_bytes)
        for j, col in enumerate(cols):
            weights = operands[2 + count % 2]
            count += 1
            kit.load_operand(weights, weight, kit.row_bytes, col, k_cols)
            b.addi(weight, weight, t.weight_tile_bytes)
            kit.matmul(c[j], operand, weights)

    k_loop(kit, k // t.k_cols, k % t.k_cols, a, step_bytes, step)
