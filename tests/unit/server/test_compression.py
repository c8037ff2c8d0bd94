"""Gradients on the wire: whole, or in 16 bits whose error is carried over."""

import numpy as np
import pytest

from dbmpi.comm.protocol import WIRE, WIRE_DTYPES
from dbmpi.server.compression import Encoder, decode, wire_of

HALF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # relative error of rounding to nearest


def gradient(seed: int, dtype: type = np.float32, n: int = 1001) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n).astype(dtype)


def carried(encoder: Encoder, g: np.ndarray) -> np.ndarray:
    """Send and receive."""
    message = encoder.encode(g)
    assert message.dtype == WIRE_DTYPES[encoder.wire] and message.shape == g.shape
    received = np.frombuffer(message.tobytes(), message.dtype)
    return decode(received, encoder.wire, np.full_like(g, np.nan))


@pytest.mark.parametrize(("wire", "dtype"), [("float32", np.float32), ("float64", np.float64)])
def test_whole_precision_is_not_even_copied(wire, dtype):
    g = gradient(1, dtype)
    assert Encoder(wire, len(g)).encode(g) is g
    assert decode(g, wire, np.empty_like(g)) is g


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wire", ["bfloat16", "float16"])
def test_sixteen_bits_round_to_nearest(wire, dtype):
    g = gradient(1, dtype)
    received = carried(Encoder(wire, len(g)), g)
    assert received.dtype == dtype
    assert np.all(np.abs(received - g) <= HALF[wire] * np.abs(g) + 1e-7)
    assert not np.array_equal(received, g)


@pytest.mark.parametrize("wire", ["bfloat16", "float16"])
def test_error_feedback_keeps_the_sum(wire):
    encoder, sent, received = Encoder(wire, 1001), np.zeros(1001), np.zeros(1001)
    for seed in range(50):
        g = gradient(seed)
        sent += g
        received += carried(encoder, g)
    # Without feedback, errors of 50 roundings would add up to about 7 of them.
    assert np.max(np.abs(received - sent)) <= 1.1 * HALF[wire] * 8


@pytest.mark.parametrize("wire", ["bfloat16", "float16"])
def test_gradients_below_the_rounding_get_through_in_the_end(wire):
    encoder = Encoder(wire, 1)
    small = np.array([HALF[wire] / 10], np.float32)
    total = sum(carried(encoder, np.float32(1) + small if k == 0 else small)[0] for k in range(100))
    assert total == pytest.approx(1 + 100 * small[0], rel=2 * HALF[wire])


@pytest.mark.parametrize("wire", ["bfloat16", "float16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_arrives_as_such_once(wire, bad):
    encoder, g = Encoder(wire, 5), np.ones(5, np.float32)
    g[2] = bad
    assert np.isfinite(carried(encoder, g)).tolist() == [True, True, False, True, True]
    assert np.isfinite(carried(encoder, np.ones(5, np.float32))).all()


def test_a_16_bit_message_is_half_as_long():
    g = gradient(1)
    for wire in ("bfloat16", "float16"):
        assert Encoder(wire, len(g)).encode(g).nbytes * 2 == g.nbytes


@pytest.mark.parametrize(
    ("setting", "dtype", "wire"),
    [
        ("float32", "f4", "float32"),
        ("float32", "f8", "float64"),  # "the model's own"
        ("bfloat16", "f8", "bfloat16"),
        ("float16", "f4", "float16"),
    ],
)
def test_wire_of(setting, dtype, wire):
    assert wire_of(setting, np.dtype(dtype)) == wire in WIRE


def test_every_wire_has_a_layout():
    assert set(WIRE) == set(WIRE_DTYPES)
