# y = 0.5 * x, tile by tile: 16 rows of 4 numbers in tiles of 4 x 4.

    .equ    ROWS 16
    .equ    COLS 4                  # a row is 16 bytes
    .tensor x f32 ROWS COLS iota    # 0, 1, 2, ...
    .tensor y f32 ROWS COLS         # zeros

main:
    li      x1, x                   # a tensor's name is its address
    li      x2, y
    li      x3, COLS * 4            # stride: bytes from one row to the next
    li      x4, 4                   # rows and columns of a tile
    li      x5, f32(0.5)            # the bits of the constant
    li      x6, x + ROWS * COLS * 4 # end of x
loop:
    load.f32    t0, (x1), x3, x4, x4
    fmul.const  t0, t0, x5
    store.f32   t0, (x2), x3
    addi    x1, x1, 64              # to the next tile: 4 rows
    addi    x2, x2, 64
    blt     x1, x6, loop
    halt
