"""Matrix products with packed weights: result = source @ weight^T (+ bias, activation, residual).

Weights [n, k] are packed for the tiles of one target: `n_cols` weight rows x one storage block of
columns are a tile, contiguous in memory. `panel` neighbouring tiles along n lie together, then the
next step along k, then the next panel:

    [panel of weight tiles][step along k][tile of the panel][n_cols x row_bytes]

so both loop nests walk memory upward, which is what prefetchers expect. Tiles that do not fill a
panel form a last, narrower one.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import ZERO, X
from workloads.kernels import linear_blocked, linear_stream
from workloads.kernels.kit import Kernel, Kit
from workloads.kernels.linear_shape import LinearArguments, LinearShape, Panels


@dataclass(frozen=True)
class Linear(Kernel):
    """A linear operator. With one row block, weights are streamed; with more, they are reused.

    Whether a prompt is one block is known when the program runs, so its kernel holds both nests.
    """

    shape: LinearShape

    @property
    def name(self) -> str:
        shape = self.shape
        parts = [shape.space.name, "linear", f"{shape.n}x{shape.k}"]
        parts += [f"of_{shape.all_columns}"] if shape.all_columns else []
        parts += [f"from_{shape.all_depth}"] if shape.all_depth else []
        parts += ["bias"] if shape.bias else []
        parts += [shape.activation.replace(".", "_")] if shape.activation else []
        parts += ["residual"] if shape.residual else []
        parts += ["f32"] if shape.f32_result else []
        return "_".join(parts)

    @property
    def arguments(self) -> tuple[str, ...]:
        bias = ["bias"] if self.shape.bias else []
        residual = ["residual"] if self.shape.residual else []
        return ("source", "weight", "result", *bias, *residual)

    def emit(self, kit: Kit, *arguments: X) -> None:
        b, shape = kit.b, self.shape
        by_name = dict(zip(self.arguments, arguments, strict=True))
        registers = LinearArguments(
            by_name["source"],
            by_name["weight"],
            by_name["result"],
            by_name.get("bias"),
            by_name.get("residual"),
        )
        if registers.residual is not None:
            b.sub(registers.residual, registers.residual, registers.result)
        panels = Panels(shape, kit.tiling)
        if shape.space.one_block:
            linear_stream.emit(kit, panels, registers)
            return
        if shape.space.single_row_jobs:
            linear_blocked.emit(kit, panels, registers)
            return
        blocked, end = b.new_label("blocked"), b.new_label("linear_end")
        with b.scratch("blocks") as (blocks,):
            b.ld(blocks, shape.space.blocks, ZERO)
            b.bne(blocks, kit.one, blocked)
        linear_stream.emit(kit, panels, registers)
        b.j(end)
        b.place(blocked)
        linear_blocked.emit(kit, panels, registers)
        b.place(end)
