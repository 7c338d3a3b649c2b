"""The kernels of the tile CPU: functions written with `isa.Builder`, one file per idea.

Read in this order: `tiling` (sizes), `space` (which rows), `kit` (conventions), `columns` (walking
an activation), then the kernels: `embed`, `norm`, `elementwise`, `rope`, `kv_append`,
`linear` (`linear_shape`, `linear_stream`, `linear_blocked`), `attention_units`,
`attention_online`, `attention_naive`, `select_last`, `argmax`.

Activations lie in blocks: [row block][column block][block_rows x row_bytes], so the tile of a
block is contiguous in memory. Heads are padded to whole blocks.
"""
