"""The 16-bit wire formats: bit for bit against the NumPy twins, PyTorch, and error feedback."""

import numpy as np
import pytest

from kernels.parameters import compression
from kernels.reference import parameters as reference

FORMATS = {
    "f16": (compression.encode_f16, compression.decode_f16),
    "bf16": (compression.encode_bf16, compression.decode_bf16),
}
TWINS = {
    "f16": (reference.encode_f16, reference.decode_f16),
    "bf16": (reference.encode_bf16, reference.decode_bf16),
}


def _hard_values():
    """Return float32 numbers of every size, ties of rounding, subnormals and the special values."""
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    halves = np.arange(0, 2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        ties = (halves[:-1] + halves[1:]) / 2
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.9, 65520, 1e5, 3.4e38], np.float32)
    coarse_ties = (bits & np.uint32(0xFFFF0000)) | np.uint32(0x8000)
    return np.concatenate([bits.view(np.float32), halves, ties, special, coarse_ties.view(np.float32)])


@pytest.mark.parametrize("name", FORMATS)
def test_wire_formats_equal_their_twins_bit_for_bit(name):
    x = _hard_values()
    mine, right = np.empty(x.size, np.uint16), np.empty(x.size, np.uint16)
    residual, residual_right = np.zeros_like(x), np.zeros_like(x)
    with np.errstate(invalid="ignore"):
        FORMATS[name][0](x, residual, mine)
        TWINS[name][0](x, residual_right, right)
    number = ~np.isnan(x)
    np.testing.assert_array_equal(mine[number], right[number])
    np.testing.assert_array_equal(residual, residual_right)
    out, out_right = np.empty_like(x), np.empty_like(x)
    FORMATS[name][1](mine, out)
    TWINS[name][1](right, out_right)
    np.testing.assert_array_equal(out, out_right)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(x))


@pytest.mark.parametrize("name", FORMATS)
def test_every_code_survives_a_round_trip(name):
    codes = np.arange(2**16, dtype=np.uint16)
    numbers, again = np.empty(codes.size, np.float32), np.empty_like(codes)
    FORMATS[name][1](codes, numbers)
    FORMATS[name][0](numbers, np.zeros_like(numbers), again)
    number = ~np.isnan(numbers) & (codes != 0x8000)  # -0 and the residual 0 make 0
    np.testing.assert_array_equal(again[number], codes[number])


def test_bfloat16_equals_pytorch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(2).normal(size=10_000).astype(np.float32)
    codes = np.empty(x.size, np.uint16)
    compression.encode_bf16(x, np.zeros_like(x), codes)
    np.testing.assert_array_equal(
        codes.view(np.int16), torch.from_numpy(x).bfloat16().view(torch.int16).numpy()
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_error_feedback_loses_nothing_in_the_long_run(name, dtype):
    encode, decode = FORMATS[name]
    x = np.random.default_rng(3).normal(0, 1e-3, 500).astype(dtype)
    residual, total, codes, out = np.zeros_like(x), np.zeros(500), np.empty(500, np.uint16), np.empty_like(x)
    for _ in range(64):
        encode(x, residual, codes)
        decode(codes, out)
        total += out
    np.testing.assert_allclose(total + residual, 64.0 * x, rtol=1e-4 if dtype == np.float32 else 1e-12)
    assert np.abs(residual).max() < 1e-2 * np.abs(x).max()


def test_float16_saturates_and_keeps_the_rest():
    x, residual = np.full(20, 1e5, np.float32), np.zeros(20, np.float32)
    codes, out = np.empty(20, np.uint16), np.empty(20, np.float32)
    compression.encode_f16(x, residual, codes)
    compression.decode_f16(codes, out)
    assert np.all(out == 65504)
    assert np.all(residual == 1e5 - 65504)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [6.8e7, 1e20, -1e20])
def test_float16_passes_what_it_could_never_deliver_as_infinity(value, dtype):
    x, residual = np.full(20, value, dtype), np.zeros(20, np.float32)
    codes, out = np.empty(20, np.uint16), np.empty(20, np.float32)
    compression.encode_f16(x, residual, codes)
    compression.decode_f16(codes, out)
    assert np.all(out == np.sign(value) * np.inf) and not residual.any()
    compression.encode_f16(np.full(20, 6.7e7, dtype), residual, codes)
    compression.decode_f16(codes, out)
    assert np.all(out == 65504) and np.all(residual > 6.6e7)
