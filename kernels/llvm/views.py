"""The contiguous block (C, B) of one location of an image: helpers of kernels, not kernels.

Activations are (H, W, C, B): rows, columns, maps, minibatch. A partition's rectangle is a view into a larger
buffer, so that only C and B inside a location are known to be contiguous. Numba calls such a view layout 'A'
and reads each element through a stride, which keeps LLVM from vectorizing; what these functions return has
layout 'C' again.

Give a block to a helper that writes to it. Numba's parallel variant does not know that a block is part of its
array: it drops a statement such as `block(x, i, j)[:] = 0` as one without effect.
"""

from typing import Any

from kernels.deferred import arrayobj, cgutils, intrinsic, types


def _block(typing_context: Any, x_HWCB: Any, i: Any, j: Any) -> Any:
    """Return x[i, j] as a contiguous array (C, B), no bounds checked."""
    return _location(x_HWCB, i, j, 2)


def _elements(typing_context: Any, x_HWCB: Any, i: Any, j: Any) -> Any:
    """Return x[i, j] as a contiguous array (C*B,), no bounds checked."""
    return _location(x_HWCB, i, j, 1)


def _location(x_HWCB: Any, i: Any, j: Any, ndim: int) -> Any:
    """Give Numba the signature and the code of an array of `ndim` dimensions over location (i, j)."""
    result = types.Array(x_HWCB.dtype, ndim, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x = arrayobj.make_array(x_HWCB)(context, builder, arguments[0])
        i_intp, j_intp = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(arguments[1:], signature.args[1:], strict=True)
        )
        rows, columns, across, item = cgutils.unpack_tuple(builder, x.strides)
        bytes_in = builder.add(builder.mul(i_intp, rows), builder.mul(j_intp, columns))
        shape = cgutils.unpack_tuple(builder, x.shape)[2:]
        if ndim == 1:
            shape, strides = [builder.mul(*shape)], [x.itemsize]
        else:
            strides = [builder.mul(shape[1], x.itemsize), x.itemsize]
        out = arrayobj.make_array(result)(context, builder)
        arrayobj.populate_array(
            out,
            data=cgutils.pointer_add(builder, x.data, bytes_in),
            shape=shape,
            strides=strides,
            itemsize=x.itemsize,
            meminfo=None,  # the caller's array lives longer than the kernel
        )
        return out._getvalue()

    return result(x_HWCB, i, j), generate


block: Any = intrinsic(_block)
elements: Any = intrinsic(_elements)
