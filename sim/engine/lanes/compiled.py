"""How Numba compiles the lane functions: each becomes a few LLVM vector instructions.

`plain.py` gives the meaning; nothing is imported from here, importing it registers the lowering of
every function there. With NUMBA_BOUNDSCHECK=1 every access is checked and raises IndexError.

No instruction carries a fast-math flag, so LLVM must round every product and every sum.
"""

# Numba's extension interface carries no types.
# mypy: disable-error-code="no-untyped-call"

import operator
from collections.abc import Callable
from typing import Any, ClassVar

from llvmlite import ir

from sim.engine.flat import FlatType, element_pointer  # isort: skip  (first: sets Numba up)
from sim.engine.lanes import plain  # isort: skip

from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

I1, I16, I32, F32 = ir.IntType(1), ir.IntType(16), ir.IntType(32), ir.FloatType()
VF32, VI32 = ir.VectorType(F32, plain.WIDTH), ir.VectorType(I32, plain.WIDTH)
VI16, VI1 = ir.VectorType(I16, plain.WIDTH), ir.VectorType(I1, plain.WIDTH)

Emit = Callable[..., Any]


class _LanesType(types.Type):
    """Numba's type of a `Lanes` value."""

    def __init__(self) -> None:
        super().__init__(name="lanes")


class _MaskType(types.Type):
    """Numba's type of a comparison of `Lanes`."""

    def __init__(self) -> None:
        super().__init__(name="mask")


LANES, MASK = _LanesType(), _MaskType()
TILES, MEMORY = FlatType(types.float32), FlatType(types.uint8)
INDEX, VALUE, VOID = types.int64, types.float32, types.void


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, VF32)


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, VI1)


class Code:
    """The place in a function where one lane function is being emitted."""

    def __init__(self, context: Any, builder: Any, sig: Any, args: Any) -> None:
        self.context, self.builder, self.types, self.args = context, builder, sig.args, args

    def pointer(self, array: int, index: Any, nbytes: int | Any) -> Any:
        """Address of element `index` of argument number `array`, checked for `nbytes` from it."""
        return element_pointer(
            self.context, self.builder, self.types[array], self.args[array], index, nbytes
        )

    def load(self, pointer: Any, kind: Any, align: int) -> Any:
        """Load a value of an LLVM type."""
        value = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        value.align = align
        return value

    def store(self, pointer: Any, value: Any, align: int) -> None:
        """Store a value."""
        target = self.builder.bitcast(pointer, value.type.as_pointer())
        self.builder.store(value, target).align = align

    def splat(self, value: Any) -> Any:
        """Return a vector of 16 copies."""
        vector = ir.VectorType(value.type, plain.WIDTH)
        single = self.builder.insert_element(vector(ir.Undefined), value, I32(0))
        return self.builder.shuffle_vector(single, vector(ir.Undefined), self.whole(0))

    def vector(self, argument: int) -> Any:
        """Argument number `argument` as lanes: a single value is repeated."""
        value = self.args[argument]
        return value if self.types[argument] == LANES else self.splat(value)

    def whole(self, *values: int) -> Any:
        """Return i32 lanes; a single value is repeated."""
        return VI32(list(values) if len(values) > 1 else list(values) * plain.WIDTH)

    def bits_of(self, value: Any) -> Any:
        """Return i32 lanes that hold the bit pattern of an f32."""
        return self.splat(self.builder.bitcast(value, I32))

    def first(self, count: Any) -> Any:
        """Return the mask of the lanes below `count` (int64)."""
        # Clamped first: a count beyond 32 bits must not wrap around.
        builder = self.builder
        zero, full = count.type(0), count.type(plain.WIDTH)
        count = builder.select(builder.icmp_signed("<", count, zero), zero, count)
        count = builder.select(builder.icmp_signed(">", count, full), full, count)
        lanes = self.whole(*range(plain.WIDTH))
        return builder.icmp_signed("<", lanes, self.splat(builder.trunc(count, I32)))

    def call(self, name: str, result: Any, *args: Any) -> Any:
        """Call an LLVM intrinsic."""
        kind = ir.FunctionType(result, [arg.type for arg in args])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, args)

    def widen(self, halves: Any) -> Any:
        """bf16 bits to f32."""
        bits = self.builder.shl(self.builder.zext(halves, VI32), self.whole(16))
        return self.builder.bitcast(bits, VF32)

    def narrow(self, value: Any) -> Any:
        """f32 to bf16 bits, rounded to nearest even."""
        builder = self.builder
        bits = builder.bitcast(value, VI32)
        upper = builder.lshr(bits, self.whole(16))
        odd = builder.and_(upper, self.whole(1))
        bias = builder.add(odd, self.whole(0x7FFF))
        rounded = builder.lshr(builder.add(bits, bias), self.whole(16))
        quiet_nan = builder.or_(upper, self.whole(0x40))
        is_nan = builder.fcmp_unordered("uno", value, value)
        return builder.trunc(builder.select(is_nan, quiet_nan, rounded), VI16)


def _compile(function: Any, *signatures: Any) -> Callable[[Emit], Emit]:
    """Decorate the code generator of `function`: emit(code, *argument values) -> result value."""

    class Template(ConcreteTemplate):
        cases: ClassVar[list[Any]] = list(signatures)

    infer_global(function)(Template)

    def register(emit: Emit) -> Emit:
        def lowering(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            result = emit(Code(context, builder, sig, args), *args)
            return context.get_dummy_value() if sig.return_type == VOID else result

        for sig in signatures:
            lower_builtin(function, *sig.args)(lowering)
        return emit

    return register


def _on_arrays(result: Any, *rest: Any) -> list[Any]:
    """Signatures of a function whose first argument is tile storage or memory."""
    return [signature(result, array, *rest) for array in (TILES, MEMORY)]


# --- one element --------------------------------------------------------------------------------


@_compile(plain.at, *_on_arrays(VALUE, INDEX))
def _at(code: Code, array: Any, index: Any) -> Any:
    return code.load(code.pointer(0, index, 4), F32, 4)


@_compile(plain.put, *_on_arrays(VOID, INDEX, VALUE))
def _put(code: Code, array: Any, index: Any, value: Any) -> None:
    code.store(code.pointer(0, index, 4), value, 4)


@_compile(plain.float_of_bits, signature(VALUE, INDEX))
def _float_of_bits(code: Code, bits: Any) -> Any:
    return code.builder.bitcast(code.builder.trunc(bits, I32), F32)


# --- sixteen elements ---------------------------------------------------------------------------


@_compile(plain.splat, signature(LANES, VALUE))
def _splat(code: Code, value: Any) -> Any:
    return code.splat(value)


@_compile(plain.spread, *_on_arrays(LANES, INDEX))
def _spread(code: Code, array: Any, index: Any) -> Any:
    return code.splat(code.load(code.pointer(0, index, 4), F32, 4))


@_compile(plain.load, *_on_arrays(LANES, INDEX))
def _load(code: Code, array: Any, index: Any) -> Any:
    return code.load(code.pointer(0, index, 64), VF32, 4)


@_compile(plain.store, *_on_arrays(VOID, INDEX, LANES))
def _store(code: Code, array: Any, index: Any, value: Any) -> None:
    code.store(code.pointer(0, index, 64), value, 4)


def _masked_load(code: Code, index: Any, count: Any, kind: Any, name: str, nbytes: int) -> Any:
    end = code.builder.mul(count, count.type(nbytes))
    pointer = code.builder.bitcast(code.pointer(0, index, end), kind.as_pointer())
    return code.call(name, kind, pointer, I32(nbytes), code.first(count), kind(None))


def _masked_store(code: Code, index: Any, value: Any, count: Any, name: str, nbytes: int) -> None:
    end = code.builder.mul(count, count.type(nbytes))
    pointer = code.builder.bitcast(code.pointer(0, index, end), value.type.as_pointer())
    code.call(name, ir.VoidType(), value, pointer, I32(nbytes), code.first(count))


@_compile(plain.load_first, *_on_arrays(LANES, INDEX, INDEX))
def _load_first(code: Code, array: Any, index: Any, count: Any) -> Any:
    return _masked_load(code, index, count, VF32, "llvm.masked.load.v16f32.p0", 4)


@_compile(plain.store_first, *_on_arrays(VOID, INDEX, LANES, INDEX))
def _store_first(code: Code, array: Any, index: Any, value: Any, count: Any) -> None:
    _masked_store(code, index, value, count, "llvm.masked.store.v16f32.p0", 4)


@_compile(plain.load_column, *_on_arrays(LANES, INDEX, INDEX))
def _load_column(code: Code, array: Any, index: Any, stride: Any) -> Any:
    result = VF32(ir.Undefined)
    for lane in range(plain.WIDTH):
        value = code.load(code.pointer(0, index, 4), F32, 4)
        result = code.builder.insert_element(result, value, I32(lane))
        index = code.builder.add(index, stride)
    return result


@_compile(plain.store_column, *_on_arrays(VOID, INDEX, INDEX, LANES))
def _store_column(code: Code, array: Any, index: Any, stride: Any, value: Any) -> None:
    for lane in range(plain.WIDTH):
        element = code.builder.extract_element(value, I32(lane))
        code.store(code.pointer(0, index, 4), element, 4)
        index = code.builder.add(index, stride)


# --- bf16 ---------------------------------------------------------------------------------------


@_compile(plain.load_bf16, *_on_arrays(LANES, INDEX))
def _load_bf16(code: Code, array: Any, index: Any) -> Any:
    return code.widen(code.load(code.pointer(0, index, 32), VI16, 2))


@_compile(plain.store_bf16, *_on_arrays(VOID, INDEX, LANES))
def _store_bf16(code: Code, array: Any, index: Any, value: Any) -> None:
    code.store(code.pointer(0, index, 32), code.narrow(value), 2)


@_compile(plain.load_first_bf16, *_on_arrays(LANES, INDEX, INDEX))
def _load_first_bf16(code: Code, array: Any, index: Any, count: Any) -> Any:
    return code.widen(_masked_load(code, index, count, VI16, "llvm.masked.load.v16i16.p0", 2))


@_compile(plain.store_first_bf16, *_on_arrays(VOID, INDEX, LANES, INDEX))
def _store_first_bf16(code: Code, array: Any, index: Any, value: Any, count: Any) -> None:
    _masked_store(code, index, code.narrow(value), count, "llvm.masked.store.v16i16.p0", 2)


@_compile(plain.round_bf16, signature(LANES, LANES))
def _round_bf16(code: Code, value: Any) -> Any:
    return code.widen(code.narrow(value))


# --- lane by lane -------------------------------------------------------------------------------

_ONE = signature(LANES, LANES)
_TWO = (
    signature(LANES, LANES, LANES),
    signature(LANES, LANES, VALUE),
    signature(LANES, VALUE, LANES),
)


def _arithmetic(function: Any, instruction: str) -> None:
    @_compile(function, *_TWO)
    def emit(code: Code, a: Any, b: Any) -> Any:
        return getattr(code.builder, instruction)(code.vector(0), code.vector(1))


def _comparison(function: Any, condition: str) -> None:
    @_compile(function, *(signature(MASK, *sig.args) for sig in _TWO))
    def emit(code: Code, a: Any, b: Any) -> Any:
        return code.builder.fcmp_ordered(condition, code.vector(0), code.vector(1))


def _function(function: Any, name: str, *signatures: Any) -> None:
    @_compile(function, *signatures)
    def emit(code: Code, *args: Any) -> Any:
        return code.call(name, VF32, *args)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
_comparison(operator.lt, "<")
_comparison(operator.gt, ">")
_comparison(operator.eq, "==")
_function(plain.square_root, "llvm.sqrt.v16f32", _ONE)
_function(plain.absolute, "llvm.fabs.v16f32", _ONE)
_function(plain.round_down, "llvm.floor.v16f32", _ONE)
_function(plain.copy_sign, "llvm.copysign.v16f32", _TWO[0])


@_compile(operator.neg, _ONE)
def _neg(code: Code, value: Any) -> Any:
    return code.builder.fneg(value)


@_compile(plain.select, *(signature(LANES, MASK, *sig.args) for sig in _TWO))
def _select(code: Code, condition: Any, yes: Any, no: Any) -> Any:
    return code.builder.select(condition, code.vector(1), code.vector(2))


@_compile(plain.keep_first, signature(LANES, LANES, INDEX, LANES))
def _keep_first(code: Code, value: Any, count: Any, other: Any) -> Any:
    return code.builder.select(code.first(count), value, other)


@_compile(plain.swap_pairs, _ONE)
def _swap_pairs(code: Code, value: Any) -> Any:
    order = [lane ^ 1 for lane in range(plain.WIDTH)]
    return code.builder.shuffle_vector(value, value.type(ir.Undefined), VI32(order))


@_compile(plain.scale_by_power_of_two, _TWO[0])
def _scale_by_power_of_two(code: Code, value: Any, n: Any) -> Any:
    builder = code.builder
    shifter = ir.Constant(F32, 1.5 * 2**23)
    bits = builder.bitcast(builder.fadd(n, code.splat(shifter)), VI32)
    whole = builder.sub(bits, code.bits_of(shifter))
    half = builder.ashr(whole, code.whole(1))
    for part in (half, builder.sub(whole, half)):
        power = builder.shl(builder.add(part, code.whole(127)), code.whole(23))
        value = builder.fmul(value, builder.bitcast(power, VF32))
    return value


@_compile(plain.exponent_above, _TWO[1])
def _exponent_above(code: Code, value: Any, base: Any) -> Any:
    above = code.builder.sub(code.builder.bitcast(value, VI32), code.bits_of(base))
    return code.builder.sitofp(code.builder.ashr(above, code.whole(23)), VF32)


@_compile(plain.fraction_above, _TWO[1])
def _fraction_above(code: Code, value: Any, base: Any) -> Any:
    above = code.builder.sub(code.builder.bitcast(value, VI32), code.bits_of(base))
    fraction = code.builder.and_(above, code.whole(0x7FFFFF))
    return code.builder.bitcast(code.builder.add(fraction, code.bits_of(base)), VF32)


# --- transposition ------------------------------------------------------------------------------


@_compile(
    plain.transpose_16x16,
    *(signature(VOID, array, INDEX, INDEX, TILES, INDEX, INDEX) for array in (TILES, MEMORY)),
)
def _transpose_16x16(
    code: Code, source: Any, first: Any, stride: Any, target: Any, to: Any, to_stride: Any
) -> None:
    """Transpose in registers: four rounds, each exchanging halves of row pairs.

    In the round of distance d, rows r and r + d exchange the columns whose bit d is set in one
    with those whose bit d is clear in the other (Eklundh, "A fast computer method for matrix
    transposing", IEEE Trans. Computers C-21, 1972).
    """
    width = plain.WIDTH
    rows = []
    for _ in range(width):
        rows.append(code.load(code.pointer(0, first, 64), VF32, 4))
        first = code.builder.add(first, stride)
    for distance in (1, 2, 4, 8):
        low = [i if not i & distance else width + i - distance for i in range(width)]
        high = [i + distance if not i & distance else width + i for i in range(width)]
        for r in range(width):
            if not r & distance:
                a, b = rows[r], rows[r + distance]
                rows[r] = code.builder.shuffle_vector(a, b, VI32(low))
                rows[r + distance] = code.builder.shuffle_vector(a, b, VI32(high))
    for row in rows:
        code.store(code.pointer(3, to, 64), row, 4)
        to = code.builder.add(to, to_stride)
