"""Flat views: one-dimensional arrays as compiled engine code passes them around.

A NumPy array costs a compiled function seven words an argument, two calls that count references
(atomic operations, about 5 ns each), and a test for a negative index at every access. None of that
is needed inside the engine, whose arrays outlive every call. A flat view is a pointer and a length:

    @njit
    def advance(state_array, until):
        S = flat(state_array)      # once, at the entry from Python
        ...                        # S[i], S[i] = x, S.size; pass S on to other compiled functions

Indices must not be negative; they are checked only with NUMBA_BOUNDSCHECK=1 (IndexError). The array
must stay alive as long as the view: make views at the entry, never keep them. With the JIT off a
flat view is the array itself.
"""

# Numba's extension interface carries no types.
# mypy: disable-error-code="no-untyped-call, no-untyped-def"

import operator
from typing import Any

from sim.engine.jit import BOUNDS_CHECKED  # isort: skip  (first: sets Numba up)

from numba import types
from numba.core import cgutils
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import lower_builtin, lower_getattr, models, register_model

# In signatures: an array as Python passes it, and its flat view.
Array = Any
Flat = Any


def flat(array: Any) -> Any:
    """Return the flat view of a C-contiguous one-dimensional array (compiled code only)."""
    return array


class FlatType(types.Type):
    """Numba's type of a flat view."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"flat({dtype})")


@register_model(FlatType)
class _FlatModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        members = [("data", types.CPointer(fe_type.dtype)), ("size", types.int64)]
        super().__init__(dmm, fe_type, members)


def element_pointer(
    context: Any, builder: Any, flat_type: Any, view: Any, index: Any, nbytes: Any
) -> Any:
    """Emit the address of an element, checked for `nbytes` (int or LLVM i64) from it on."""
    fields = cgutils.create_struct_proxy(flat_type)(context, builder, value=view)
    if BOUNDS_CHECKED:
        itemsize = index.type(flat_type.dtype.bitwidth // 8)
        needed = index.type(nbytes) if isinstance(nbytes, int) else nbytes
        end = builder.add(builder.mul(index, itemsize), needed)
        outside = builder.or_(
            builder.icmp_signed("<", index, index.type(0)),
            builder.icmp_signed(">", end, builder.mul(fields.size, itemsize)),
        )
        with cgutils.if_unlikely(builder, outside):
            message = (f"index outside a flat view of {flat_type.dtype}",)
            context.call_conv.return_user_exc(builder, IndexError, message)
    return builder.gep(fields.data, [index])


@infer_global(flat)
class _Flat(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        (array,) = args
        if isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C":
            return signature(FlatType(array.dtype), array)
        return None


@lower_builtin(flat, types.Array)
def _lower_flat(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    array = context.make_array(sig.args[0])(context, builder, value=args[0])
    view = cgutils.create_struct_proxy(sig.return_type)(context, builder)
    view.data, view.size = array.data, array.nitems
    return view._getvalue()


@infer_global(operator.getitem)
class _GetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], FlatType) and isinstance(args[1], types.Integer):
            return signature(args[0].dtype, args[0], types.int64)
        return None


@lower_builtin(operator.getitem, FlatType, types.Integer)
def _lower_getitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    dtype = sig.args[0].dtype
    view, index = args
    nbytes = dtype.bitwidth // 8
    return builder.load(element_pointer(context, builder, sig.args[0], view, index, nbytes))


@infer_global(operator.setitem)
class _SetItem(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        if isinstance(args[0], FlatType) and isinstance(args[1], types.Integer):
            return signature(types.void, args[0], types.int64, args[0].dtype)
        return None


@lower_builtin(operator.setitem, FlatType, types.Integer, types.Any)
def _lower_setitem(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    view, index, value = args
    nbytes = sig.args[0].dtype.bitwidth // 8
    builder.store(value, element_pointer(context, builder, sig.args[0], view, index, nbytes))
    return context.get_dummy_value()


@infer_getattr
class _Attributes(AttributeTemplate):
    key = FlatType

    def resolve_size(self, view: Any) -> Any:
        """Number of elements."""
        return types.int64


@lower_getattr(FlatType, "size")
def _lower_size(context: Any, builder: Any, view_type: Any, view: Any) -> Any:
    return cgutils.create_struct_proxy(view_type)(context, builder, value=view).size
