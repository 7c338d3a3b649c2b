"""One set of a cache: its tag words in order of recency, searched and shifted eight at a time.

Looking a line up is the engine's most frequent act, so the two loops over the ways are LLVM vectors
of eight words; with NUMBA_DISABLE_JIT=1 they are the plain loops they mean.
"""

# Numba's extension interface carries no types.
# mypy: disable-error-code="no-untyped-call, no-untyped-def"

from typing import Any

from sim.engine.flat import Flat, element_pointer  # isort: skip  (first: sets Numba up)
from sim.engine.jit import JIT_DISABLED, inline, njit  # isort: skip
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sim.engine.layout import TAG_SHIFT

LANES = 8
NOWHERE = LANES  # `among_eight`: the line is in none of the words

I64, I8 = ir.IntType(64), ir.IntType(8)
V64 = ir.VectorType(I64, LANES)


def _load(context: Any, builder: Any, flat_type: Any, view: Any, index: Any) -> Any:
    pointer = element_pointer(context, builder, flat_type, view, index, 8 * LANES)
    value = builder.load(builder.bitcast(pointer, V64.as_pointer()))
    value.align = 8
    return value


if JIT_DISABLED:

    def among_eight(S: Any, start: int, line: int) -> int:
        """Which of the eight tag words from ``start`` on holds ``line``; NOWHERE if none."""
        for i in range(LANES):
            if S[start + i] >> TAG_SHIFT == line:
                return i
        return NOWHERE

    def move_eight(S: Any, start: int) -> None:
        """Move the eight words from ``start`` on up by one."""
        S[start + 1 : start + 1 + LANES] = S[start : start + LANES].copy()

    def soon(S: Any, start: int) -> None:
        """Ask the host's caches for the sixteen words from ``start`` on, wherever they are."""

else:

    @intrinsic
    def soon(typing_context, S, start):
        """Ask the host's caches for the sixteen words from ``start`` on, wherever they are."""

        def emit(context, builder, sig, args):
            view = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=args[0])
            pointer_type, i32 = I8.as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer_type, i32, i32, i32])
            prefetch = builder.module.declare_intrinsic("llvm.prefetch", (pointer_type,), kind)
            for line in (0, 8):
                word = builder.gep(view.data, [builder.add(args[1], I64(line))])
                pointer = builder.bitcast(word, pointer_type)
                builder.call(prefetch, [pointer, i32(1), i32(3), i32(1)])  # to write, data, near
            return context.get_dummy_value()

        return types.void(S, types.int64), emit

    @intrinsic
    def among_eight(typing_context, S, start, line):
        """Which of the eight tag words from ``start`` on holds ``line``; NOWHERE if none."""

        def emit(context, builder, sig, args):
            words = _load(context, builder, sig.args[0], args[0], args[1])
            undefined = V64(ir.Undefined)
            lane = ir.Constant(ir.IntType(32), 0)
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            single = builder.insert_element(undefined, args[2], lane)
            wanted = builder.shuffle_vector(single, undefined, zeros)
            shift = ir.Constant(V64, [TAG_SHIFT] * LANES)
            equal = builder.icmp_signed("==", builder.ashr(words, shift), wanted)
            mask = builder.zext(builder.bitcast(equal, I8), I64)
            mask = builder.or_(mask, I64(1 << LANES))
            return builder.cttz(mask, ir.Constant(ir.IntType(1), 1))

        return types.int64(S, types.int64, types.int64), emit

    @intrinsic
    def move_eight(typing_context, S, start):
        """Move the eight words from ``start`` on up by one."""

        def emit(context, builder, sig, args):
            words = _load(context, builder, sig.args[0], args[0], args[1])
            above = builder.add(args[1], I64(1))
            pointer = element_pointer(context, builder, sig.args[0], args[0], above, 8 * LANES)
            builder.store(words, builder.bitcast(pointer, V64.as_pointer())).align = 8
            return context.get_dummy_value()

        return types.void(S, types.int64), emit


@njit
def find(S: Flat, tags: int, ways: int, line: int) -> int:
    """Recency position of ``line`` in its set, -1: not there.

    The state goes on for at least seven words behind every set; what is found there is no way.
    """
    for i in range(0, ways, LANES):
        position = among_eight(S, tags + i, line)
        if position < NOWHERE:
            return i + position if i + position < ways else -1
    return -1


@inline
def to_front(S: Flat, tags: int, position: int, word: int) -> None:
    """Make ``word`` the most recently used; those before ``position`` move back by one."""
    i = position
    while i >= LANES:
        move_eight(S, tags + i - LANES)
        i -= LANES
    while i > 0:
        S[tags + i] = S[tags + i - 1]
        i -= 1
    S[tags] = word
