"""The loop nest of a linear operator for many row blocks: weights and activations reused.

Register blocks: m x n result tiles (2 x 2 with 8 tile registers) take m + n loads for m * n
matmuls. The loops around them, outermost first:

    rows      as many row blocks as fill half of L2 with their source activations
    panels    of weight tiles; each weight is read from memory once per round of `rows`
    chunks    of the panel along K, as many steps as fill the other half of L2
    row blocks, m at a time
    register blocks of the panel

So the operands of the innermost loop come from L2 at worst: the weights of a chunk stay there (or
in L1) while all row blocks pass by, and the source rows of an m-block serve every register block
of the panel. Where there is no L2, chunks are cut to fit L1.

Between chunks the sums wait in the f32 tensor `partial_sums`, which costs a load and a store per
result tile and chunk. That is why chunks are not cut further, to keep them in L1 where there is
an L2: for a layer of GPT-2 in f32 and 128 rows on `sapphire-rapids`, the best such chunk (4
steps) had 37% fewer L1 misses, but 43% more instructions and 3% more cycles, since an
out-of-order core hides the latency of L2.

Of several cores that read the same source each begins with other row blocks and comes back to
those before (`Kit.first_row`). In step they would all want a line while its writer is still asked
for it. Where K is cut into chunks no registers are left for that.

Sums are accumulated in the order of K either way: blocking does not change a bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.builder import ZERO, T, X
from workloads.kernels.kit import Kit
from workloads.kernels.linear_shape import (
    LinearArguments,
    Panels,
    finish_tile,
    k_loop,
    start_tile,
)
from workloads.kernels.tiling import Tiling

TURN_BITS = 16  # of the share of a round as a fixed-point number
LEAST_CHUNK = 3  # steps; where not even these fit, the sums would cost more than they save


@dataclass(frozen=True)
class Chunk:
    """A stretch of K: full steps, columns of a last partial step, and its place."""

    steps: int
    tail: int
    first: bool
    last: bool

    @property
    def all_steps(self) -> int:
        """Steps including the partial one."""
        return self.steps + bool(self.tail)


def chunk_steps(t: Tiling, k: int) -> int:
    """Full steps along K per chunk: a panel and an m-block in their cache, in equal chunks."""
    steps = k // t.k_cols
    per_step = t.panel * t.weight_tile_bytes + t.m_block * t.rows * t.row_bytes
    sums = t.m_block * t.panel * t.rows * t.row_bytes
    cache = t.l2_bytes // 2 if t.l2_bytes else t.l1_bytes
    fitting = (cache - sums) // per_step
    if fitting < LEAST_CHUNK or steps <= fitting:
        return steps
    return -(-steps // -(-steps // fitting))


def choose_chunks(t: Tiling, k: int) -> list[Chunk]:
    """Cut K into chunks; the last one takes the columns that do not fill a step."""
    steps, tail = divmod(k, t.k_cols)
    size = max(1, chunk_steps(t, k))
    starts = range(0, steps, size) if steps else [0]
    return [
        Chunk(
            steps=min(size, steps - start),
            tail=tail if start + size >= steps else 0,
            first=start == 0,
            last=start + size >= steps,
        )
        for start in starts
    ]


def rows_at_once(t: Tiling, source_row_block: int) -> int:
    """Row blocks whose source fills half of L2, a multiple of the m-block; all without an L2."""
    if t.l2_bytes == 0:
        return 1 << 30
    return max(1, t.l2_bytes // 2 // source_row_block // t.m_block) * t.m_block


def partial_sum_bytes(t: Tiling, max_blocks: int) -> int:
    """Bytes of `partial_sums` for prompts of up to `max_blocks` row blocks."""
    blocks = -(-max_blocks // t.m_block) * t.m_block
    return blocks * t.panel * t.rows * t.row_bytes


def emit(kit: Kit, panels: Panels, arguments: LinearArguments) -> None:
    """Emit the nest; `arguments` are used up."""
    nest = _Nest(kit, panels, arguments)
    nest.emit_rows()
    nest.free()


class _Nest:
    """The registers of the nest and one method per loop.

    Scalar registers: `first` and `end` are offsets in the table of active rows (8 bytes per row
    block) of the current round of rows, `start` that where this core begins, `stop` the end of its
    first and then of its second half; `left` are the row blocks from the round on. `weight` walks
    through the packed weights chunk by chunk; `group` points at the first result tile of the
    group, `result` at the same of the current row block; `sums` walks through the partial sums.
    """

    def __init__(self, kit: Kit, panels: Panels, arguments: LinearArguments) -> None:
        self.kit, self.panels, self.arguments = kit, panels, arguments
        b, t = kit.b, kit.tiling
        self.chunks = choose_chunks(t, panels.shape.k)
        self.step_bytes = panels.shape.space.block_rows * t.row_bytes
        self.first, self.end, self.left = b.xs("first", "end", "left")
        self.weight, self.w, self.last_cols = b.xs("weight", "w", "last_cols")
        self.chunk_source, self.m_source, self.a = b.xs("chunk_source", "m_source", "a")
        self.group, self.group_end, self.result = b.xs("group", "group_end", "result")
        self.bias, self.block, self.at = b.xs("bias", "block", "at")
        self.turned = len(self.chunks) == 1 and kit.first_row > 0
        if len(self.chunks) > 1:
            self.sums, self.chunks_left = b.xs("sums", "chunks_left")
        elif self.turned:
            self.start, self.stop = b.xs("start", "stop")
        self.rows = [b.x(f"rows{index}") for index in range(t.m_block)]
        self.c = b.tiles("c", t.m_block * t.n_block)
        self.weights = b.tiles("weights", t.n_block)
        self.sources = b.tiles("source", 2)

    def free(self) -> None:
        """Give all registers back."""
        self.kit.b.free(*(r for r in vars(self).values() if isinstance(r, X)))
        self.kit.b.free(*self.rows, *self.c, *self.weights, *self.sources)

    def emit_rows(self) -> None:
        """The outermost loop: rounds of row blocks."""
        b, kit, args = self.kit.b, self.kit, self.arguments
        blocks = rows_at_once(kit.tiling, self.panels.source_row_block)
        b.ld(self.left, self.panels.shape.space.blocks, ZERO)
        b.li(self.first, 0)
        top = b.new_label("rows")
        b.place(top)
        b.li(self.at, blocks)
        b.min(self.end, self.left, self.at)
        b.slli(self.end, self.end, 3)
        b.add(self.end, self.end, self.first)
        if self.turned:
            self.emit_start()
        kit.move(self.weight, args.weight)
        kit.move(self.group, args.result)
        if args.bias is not None:
            kit.move(self.bias, args.bias)
        self.emit_groups()
        for pointer, row_block in (
            (args.source, self.panels.source_row_block),
            (args.result, self.panels.result_row_block),
        ):
            b.li(self.at, blocks * row_block)
            b.add(pointer, pointer, self.at)
        kit.move(self.first, self.end)
        b.addi(self.left, self.left, -blocks)
        b.blt(ZERO, self.left, top)

    def emit_start(self) -> None:
        """Where this core begins in a round: whole m-blocks, that share of the round."""
        b, kit = self.kit.b, self.kit
        step = (8 * kit.tiling.m_block).bit_length() - 1
        b.sub(self.start, self.end, self.first)
        b.li(self.at, int(kit.first_row * (1 << TURN_BITS)))
        b.mul(self.start, self.start, self.at)
        b.srli(self.start, self.start, TURN_BITS + step)
        b.slli(self.start, self.start, step)
        b.add(self.start, self.start, self.first)

    def emit_groups(self) -> None:
        """The loop over groups of panels, then the panels that are left."""
        b, kit, panels = self.kit.b, self.kit, self.panels
        if panels.groups:
            step = panels.offset(panels.group_tiles)
            top = b.new_label("panels")
            if panels.groups > 1:
                b.addi(self.group_end, self.group, panels.groups * step)
                b.place(top)
            for index, columns in enumerate(panels.group()):
                self.emit_panel(index * kit.tiling.panel, columns)
            if self.arguments.bias is not None:
                b.addi(self.bias, self.bias, panels.group_tiles * kit.tiling.n_cols * 4)
            b.addi(self.group, self.group, step)
            if panels.groups > 1:
                b.blt(self.group, self.group_end, top)
        for index, columns in enumerate(panels.rest()):
            self.emit_panel(index * kit.tiling.panel, columns)

    def emit_panel(self, first_tile: int, columns: list[int]) -> None:
        """The loop over the chunks of a panel; moves `weight` to the next panel."""
        b, kit = self.kit.b, self.kit
        if columns[-1] != kit.tiling.n_cols:
            b.li(self.last_cols, columns[-1])
        kit.move(self.chunk_source, self.arguments.source)
        middle = [chunk for chunk in self.chunks if not (chunk.first or chunk.last)]
        for chunk in self.chunks:
            if chunk in middle:
                continue
            self.emit_chunk(chunk, first_tile, columns)
            if chunk.first and middle:
                b.li(self.chunks_left, len(middle))
                top = b.new_label("chunk")
                b.place(top)
                self.emit_chunk(middle[0], first_tile, columns)
                b.addi(self.chunks_left, self.chunks_left, -1)
                b.bne(self.chunks_left, ZERO, top)

    def emit_chunk(self, chunk: Chunk, first_tile: int, columns: list[int]) -> None:
        """All row blocks of the round over one chunk of K."""
        b, kit, t = self.kit.b, self.kit, self.kit.tiling
        if not (chunk.first and chunk.last):
            b.li(self.sums, kit.addresses["partial_sums"])
        if self.turned:
            self.emit_turned(chunk, first_tile, columns)
        else:
            kit.move(self.block, self.first)
            kit.move(self.m_source, self.chunk_source)
            kit.move(self.result, self.group)
            self.emit_row_blocks(chunk, first_tile, columns, self.end)
        b.addi(self.chunk_source, self.chunk_source, chunk.steps * self.step_bytes)
        chunk_bytes = chunk.all_steps * len(columns) * t.weight_tile_bytes
        b.addi(self.weight, self.weight, chunk_bytes)

    def emit_turned(self, chunk: Chunk, first_tile: int, columns: list[int]) -> None:
        """The row blocks from `start` to the end, then those before `start`."""
        b, kit, panels = self.kit.b, self.kit, self.panels
        again = b.new_label("turned")
        kit.move(self.block, self.start)
        kit.move(self.stop, self.end)
        b.sub(self.result, self.start, self.first)
        b.srli(self.result, self.result, 3)
        b.li(self.at, panels.source_row_block)
        b.mul(self.m_source, self.result, self.at)
        b.add(self.m_source, self.m_source, self.chunk_source)
        b.li(self.at, panels.result_row_block)
        b.mul(self.result, self.result, self.at)
        b.add(self.result, self.result, self.group)
        b.place(again)
        self.emit_row_blocks(chunk, first_tile, columns, self.stop)
        kit.move(self.at, self.stop)
        kit.move(self.block, self.first)
        kit.move(self.m_source, self.chunk_source)
        kit.move(self.result, self.group)
        kit.move(self.stop, self.start)
        b.blt(self.start, self.at, again)

    def emit_row_blocks(self, chunk: Chunk, first_tile: int, columns: list[int], stop: X) -> None:
        """Row blocks from `block` to `stop`, `m_block` at a time, then those that are left."""
        b, t = self.kit.b, self.kit.tiling
        height = t.m_block
        while height:
            top, done = b.new_label("row_blocks"), b.new_label("row_blocks_end")
            b.place(top)
            b.addi(self.at, self.block, 8 * (height - 1))
            b.bge(self.at, stop, done)
            for index in range(height):
                b.ld(self.rows[index], self.panels.shape.space.rows + 8 * index, self.block)
            for start in range(0, len(columns), t.n_block):
                self.emit_register_block(chunk, first_tile, columns, start, height)
            b.addi(self.block, self.block, 8 * height)
            b.addi(self.m_source, self.m_source, height * self.panels.source_row_block)
            b.addi(self.result, self.result, height * self.panels.result_row_block)
            if height == t.m_block:
                b.j(top)
            b.place(done)
            height //= 2

    def emit_register_block(
        self, chunk: Chunk, first_tile: int, columns: list[int], start: int, height: int
    ) -> None:
        """`height` x up to `n_block` result tiles over one chunk of K."""
        b, kit, t = self.kit.b, self.kit, self.kit.tiling
        width = min(t.n_block, len(columns) - start)
        cols = [
            kit.n_cols if columns[start + j] == t.n_cols else self.last_cols for j in range(width)
        ]
        tiles = [(i, j, self.c[i * t.n_block + j]) for i in range(height) for j in range(width)]
        sum_bytes = t.rows * t.row_bytes
        bias = self.bias if self.arguments.bias is not None else None
        for i, j, c in tiles:
            if chunk.first:
                tile = first_tile + start + j
                start_tile(kit, bias, tile, c, self.rows[i], cols[j], self.at)
            else:
                b.load_f32(c, self.sums, kit.row_bytes, self.rows[i], cols[j])
                kit.advance(self.sums, sum_bytes)
        kit.move(self.a, self.m_source)
        b.addi(self.w, self.weight, start * t.weight_tile_bytes)
        self.emit_k(chunk, tiles, cols, height, len(columns))
        if not chunk.first and not chunk.last:
            kit.advance(self.sums, -len(tiles) * sum_bytes)
        for i, j, c in tiles:
            if chunk.last:
                self.finish(first_tile + start + j, i, c, cols[j])
            else:
                b.store_f32(c, self.sums, kit.row_bytes)
                kit.advance(self.sums, sum_bytes)

    def finish(self, tile: int, i: int, c: T, cols: X) -> None:
        """Finish and store the result tile of the i-th row block."""
        kit, panels = self.kit, self.panels
        # The K loop is over: its pointer is free to point at this row block's results.
        kit.b.addi(self.a, self.result, i * panels.result_row_block)
        scratch = self.weights[0]
        finish_tile(
            kit, panels, self.arguments, tile, self.a, c, scratch, self.rows[i], cols, self.at
        )

    def emit_k(
        self,
        chunk: Chunk,
        tiles: list[tuple[int, int, T]],
        cols: list[X],
        height: int,
        panel_width: int,
    ) -> None:
        """The innermost loop: load n weight tiles, then m source tiles, each with n matmuls."""
        b, kit, t = self.kit.b, self.kit, self.kit.tiling
        row_block = self.panels.source_row_block

        def step(parity: int, k_cols: X) -> None:
            for j, col in enumerate(cols):
                kit.load_operand(self.weights[j], self.w, kit.row_bytes, col, k_cols)
                last = j == len(cols) - 1
                skip = panel_width - len(cols) + 1 if last else 1
                b.addi(self.w, self.w, skip * t.weight_tile_bytes)
            for i in range(height):
                source = self.sources[i % 2]
                kit.load_operand(source, self.a, kit.row_bytes, self.rows[i], k_cols)
                last = i == height - 1
                forward = self.step_bytes - (height - 1) * row_block if last else row_block
                b.addi(self.a, self.a, forward)
                for row, j, c in tiles:
                    if row == i:
                        kit.matmul(c, source, self.weights[j])

        k_loop(kit, chunk.steps, chunk.tail, self.a, self.step_bytes, step)
