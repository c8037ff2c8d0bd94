"""The kernels of AdaRevision against their NumPy twins, and float32 against float64 in the long run."""

import numpy as np
import pytest

from kernels.parameters import revision
from kernels.reference import parameters as reference

N, EPS = 1003, 1e-8
SCALARS = {"adarevision": (0.1, 8.0, EPS), "adarevision_fresh": (0.1, EPS)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SCALARS)
def test_kernels_equal_their_twins(name, dtype):
    random = np.random.default_rng(0)
    w, g, z = (random.normal(size=N).astype(dtype) for _ in range(3))
    vectors = [w, g, z, np.abs(z)] + ([w + 0.1 * g] if name == "adarevision" else [])
    mine, right, copied = ([vector.copy() for vector in vectors] for _ in range(3))
    sums, out = np.zeros((3, 2)), np.empty_like(w)
    getattr(revision, name)(*mine, *SCALARS[name], sums[0])
    getattr(reference, name)(*right, *SCALARS[name], sums[1])
    getattr(revision, f"{name}_out")(*copied, *SCALARS[name], sums[2], out)
    for one, twin, fused in zip(mine, right, copied, strict=True):
        np.testing.assert_allclose(one, twin, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)
        np.testing.assert_array_equal(one, fused)
    np.testing.assert_array_equal(out, copied[0])
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-4)
    np.testing.assert_allclose(sums[2], sums[1], rtol=1e-4)


def test_float32_stays_near_float64_over_many_updates():
    """So many that a sum of all gradients would have lost what one of them adds."""
    updates, delay, size, rate = 100_000, 7, 8, 0.02
    random, ends = np.random.default_rng(1), []
    gradients = random.normal(0.1, 1.0, size=(512, size))
    for dtype in (np.float32, np.float64):
        g_UN = gradients.astype(dtype)
        w, z, a = np.zeros(size, dtype), np.zeros(size, dtype), np.zeros(size, dtype)
        old, sums = np.zeros((delay, size), dtype), np.zeros(2)
        for t in range(updates):
            revision.adarevision(w, g_UN[t % 512], z, a, old[t % delay], rate, 1 / rate, EPS, sums)
            old[t % delay] = w
        ends.append((w, z, a, sums))
    for mine, twin in zip(*ends, strict=True):
        np.testing.assert_allclose(mine, twin, rtol=2e-2)
