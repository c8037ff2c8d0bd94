"""Encode vectors in 16 bits per element for sending, as float16 or bfloat16, and decode them.

The codes are sent as uint16. Encoding keeps what it rounds off in `residual` and adds it to the next vector,
so that in the long run nothing is lost: error feedback. Vectors are 1-D, of n elements. Source: Seide et al.,
1-bit SGD, Interspeech 2014.
"""

import numpy as np

from kernels.deferred import prange
from kernels.jit import exact_helper, parallel_kernel
from kernels.llvm.bitcast import reinterpret

_Array = np.ndarray
_F16_MAX, _BF16_MAX = np.float32(65504.0), np.float32(3.3895313892515355e38)
_F16_TOO_LARGE = np.float32(1024 * 65504.0)  # the rest would take more than 1024 messages
_F16_TOO_LARGE_BITS = np.int32(0x4C7FE000)  # the same as float32 bits
_INFINITY = np.float32(np.inf)
_F16_LEAST_NORMAL = np.int32(0x38800000)  # 2^-14 as float32 bits
_HALF = np.float32(0.5)  # its last place is that of the float16 subnormals: adding it rounds to one
_TO_F32_EXPONENT = np.float32(2.0**112)


@exact_helper
def _clamp(x: float, most: np.float32, too_large: np.float32) -> np.float32:
    """Narrow to float32, with values beyond `most` brought back to it; what is too large passes, and NaN."""
    v = np.float32(x)
    if abs(x) < too_large:
        v = most if v > most else (-most if v < -most else v)
    return v


@exact_helper
def _bf16_bits(v: np.float32) -> np.int32:
    bits = reinterpret(v)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to nearest, ties to even
    quiet = (bits >> 16) | 0x40
    return np.int32((rounded if v == v else quiet) & 0xFFFF)


@exact_helper
def _bf16_value(bits: np.int32) -> np.float32:
    return reinterpret(np.int32(bits << 16))


@exact_helper
def _f16_bits(v: np.float32) -> np.int32:
    sign = (reinterpret(v) >> 16) & 0x8000
    size = reinterpret(abs(v))
    normal = (size - 0x38000000 + 0xFFF + ((size >> 13) & 1)) >> 13  # to nearest, ties to even
    subnormal = reinterpret(np.float32(abs(v) + _HALF)) - 0x3F000000
    finite = subnormal if size < _F16_LEAST_NORMAL else normal
    special = 0x7C00 if size <= 0x7F800000 else 0x7E00
    return np.int32(sign | (finite if size < _F16_TOO_LARGE_BITS else special))


@exact_helper
def _f16_value(bits: np.int32) -> np.float32:
    size = np.int32((bits & 0x7FFF) << 13)
    finite = reinterpret(size) * _TO_F32_EXPONENT  # right for subnormals too
    special = reinterpret(np.int32(size | 0x7F800000))
    value = special if size >= 0x0F800000 else finite
    return -value if bits & 0x8000 else value


@parallel_kernel
def encode_bf16(x: _Array, residual: _Array, out_u16: _Array) -> None:
    """Round x + residual to bfloat16, and keep what is rounded off in the residual.

    Local.

    Parameters
    ----------
    x : float array (n,)
        The vector to send.
    residual : float array (n,)
        In: what earlier calls rounded off, at first zeros. Out: what this one did.
    out_u16 : uint16 array (n,)
        Out: bfloat16 as bits.

    Notes
    -----
    v = x + residual; out = v rounded to nearest, ties to even; residual = v - out. Finite values too large
    for bfloat16 become the largest. Infinity and NaN pass, for the receiver to refuse, and leave a
    residual of 0.
    """
    zero = residual.dtype.type(0)
    for i in prange(x.size):
        v = x[i] + residual[i]
        bits = _bf16_bits(_clamp(v, _BF16_MAX, _INFINITY))
        out_u16[i] = np.uint16(bits)
        residual[i] = v - _bf16_value(bits) if abs(v) < np.inf else zero


@parallel_kernel
def decode_bf16(u16: _Array, out: _Array) -> None:
    """Turn bfloat16 bits into numbers.

    Local.

    Parameters
    ----------
    u16 : uint16 array (n,)
        As written by `encode_bf16`.
    out : float array (n,)
        Out: the same numbers, exactly.
    """
    for i in prange(u16.size):
        out[i] = _bf16_value(np.int32(u16[i]))


@parallel_kernel
def encode_f16(x: _Array, residual: _Array, out_u16: _Array) -> None:
    """Round x + residual to float16, and keep what is rounded off in the residual.

    Local.

    Parameters
    ----------
    x, residual, out_u16
        As in `encode_bf16`, with the bits of a float16.

    Notes
    -----
    As `encode_bf16`. Values beyond 65504 become 65504, and the rest waits in the residual; but from 1024
    times as much they become infinity, for the receiver to refuse: such a rest would be sent for ever.
    """
    zero = residual.dtype.type(0)
    for i in prange(x.size):
        v = x[i] + residual[i]
        bits = _f16_bits(_clamp(v, _F16_MAX, _F16_TOO_LARGE))
        out_u16[i] = np.uint16(bits)
        residual[i] = v - _f16_value(bits) if abs(v) < _F16_TOO_LARGE else zero


@parallel_kernel
def decode_f16(u16: _Array, out: _Array) -> None:
    """Turn float16 bits into numbers.

    Local.

    Parameters
    ----------
    u16 : uint16 array (n,)
        As written by `encode_f16`.
    out : float array (n,)
        Out: the same numbers, exactly.
    """
    for i in prange(u16.size):
        out[i] = _f16_value(np.int32(u16[i]))
