# c = a @ b^T with tiles of 4 x 4: both operands run along K, as weights [out, in] lie in memory.

    .equ    M 16
    .equ    N 16
    .equ    K 16
    .equ    TILE 4
    .tensor a f32 M K random 1
    .tensor b f32 N K random 2
    .tensor c f32 M N

main:
    li      x1, K * 4               # bytes of a row of a and b
    li      x2, N * 4               # bytes of a row of c
    li      x3, TILE
    li      x10, a                  # four rows of a, and the four rows of c below them
    li      x12, c
    li      x13, a + M * K * 4      # end of a
rows:
    li      x11, b
    li      x14, b + N * K * 4      # end of b
    addi    x15, x12, 0             # the tile of c
columns:
    fill.f32    t0, x0, x3, x3      # the accumulator: zeros
    addi    x5, x10, 0              # along a row of a
    addi    x6, x11, 0              # along a row of b
    addi    x7, x10, K * 4
depth:
    load.f32    t1, (x5), x1, x3, x3
    load.f32    t2, (x6), x1, x3, x3
    matmul.f32  t0, t1, t2
    addi    x5, x5, TILE * 4
    addi    x6, x6, TILE * 4
    blt     x5, x7, depth
    store.f32   t0, (x15), x2
    addi    x15, x15, TILE * 4
    addi    x11, x11, TILE * K * 4
    blt     x11, x14, columns
    addi    x10, x10, TILE * K * 4
    addi    x12, x12, TILE * N * 4
    blt     x10, x13, rows
    halt
