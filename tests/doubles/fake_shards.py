"""A test double of the shards, which hold the optimizer's vectors in slices; and objectives to minimize."""

from collections.abc import Callable
from itertools import groupby

import h5py
import numpy as np

from dbmpi.comm import operations
from dbmpi.comm.operations import BASE, BASE_GRADIENT, GRADIENT, PARAMETERS, Kind, Program
from dbmpi.data import digits

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]  # f and its gradient
HIDDEN = 32


class Sliced:
    """An `minimize.Problem` over NumPy slices, which counts round trips and passes.

    Several objectives are samples, used in turn. `stop_at` raises TimeoutError instead of that pass.
    """

    def __init__(self, objectives, x0, pairs=0, slices=1, dtype=float, stop_at=None):
        self.sampled = isinstance(objectives, list)
        self._objectives = objectives if self.sampled else [objectives]
        self.dtype, self._stop_at = dtype, stop_at
        vectors = np.full((operations.count(pairs), len(x0)), np.nan, dtype)
        self.shards = np.array_split(vectors, slices, axis=1)
        self.put(PARAMETERS, x0)
        self.trips = self.samples = 0
        self.losses = []  # one a pass
        self.scalars = []  # how many each trip answered

    @property
    def passes(self):
        return len(self.losses)

    @property
    def objective(self):
        return self._objectives[self.samples % len(self._objectives)]

    def vector(self, number):
        return np.concatenate([shard[number] for shard in self.shards])

    def put(self, number, values):
        for shard, part in zip(self.shards, np.array_split(values, len(self.shards)), strict=True):
            shard[number] = part

    def run(self, program):
        self.trips += 1
        self.scalars.append(program.scalars)
        return self.perform(program)

    def evaluate(self, before):
        if self.passes == self._stop_at:
            raise TimeoutError
        self.perform(before)
        with np.errstate(over="ignore", invalid="ignore"):
            loss, gradient = self.objective(self.vector(PARAMETERS))
        self.losses.append(float(loss))
        self.put(GRADIENT, gradient)
        return float(loss)

    def note(self, optimizer_state):
        """Not ended before its end."""

    def resample(self):
        self.samples += 1

    def perform(self, program):
        with np.errstate(invalid="ignore"):
            partial_sums = [perform(shard, program) for shard in self.shards]
        return [sum(parts) for parts in zip(*partial_sums, strict=True)]


def perform(v: np.ndarray, program: Program) -> list[float]:
    """Perform a program on one slice of all vectors, `(vectors, n)`."""
    answer = []
    for (kind, _, out), group in groupby(program.records.tolist(), key=lambda record: record[:3]):
        if kind == Kind.COMBINE:
            v[out] = sum(v.dtype.type(factor) * v[left] for *_, left, _, factor, _ in group)
        elif kind == Kind.DOT:
            answer += [float(v[left].astype(float) @ v[right]) for *_, left, right, _, _ in group]
        else:
            assert kind == Kind.COMMIT, "the optimizer has no use for any other"
            ((*_, left, right, _, _),) = group
            v[left] = v[PARAMETERS] - v[BASE]
            v[right] = v[GRADIENT] - v[BASE_GRADIENT]
            v[BASE], v[BASE_GRADIENT] = v[PARAMETERS], v[GRADIENT]
    assert len(answer) == program.scalars
    return answer


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the extended Rosenbrock function (More, Garbow & Hillstrom 1981, number 21)."""
    a, b = x[::2], x[1::2]
    g = np.empty_like(x)
    g[::2], g[1::2] = -400 * a * (b - a * a) - 2 * (1 - a), 200 * (b - a * a)
    return float(np.sum(100 * (b - a * a) ** 2 + (1 - a) ** 2)), g


def rosenbrock_start(n: int, seed: int = 0) -> np.ndarray:
    """Return a point near the usual start (-1.2, 1), with no two pairs the same."""
    return np.tile([-1.2, 1.0], n // 2) + np.random.default_rng(seed).normal(0, 0.2, n)


def quadratic(n: int, condition: float) -> Objective:
    """Return f = 1/2 x.Ax, with the eigenvalues of A from 1 to `condition`."""
    a = np.geomspace(1, condition, n)
    return lambda x: (float(a * x @ x) / 2, a * x)


def network(dtype=float) -> Objective:
    """Return the mean loss of a softmax network 64-32-10 (tanh) on the embedded digits, and its gradient."""
    with h5py.File(digits.path()) as file:
        x, y = file["train/x"][:].reshape(-1, 64) / 16, file["train/y"][:]
    x, targets = x.astype(dtype), np.eye(10, dtype=dtype)[y]

    def objective(w):
        w1, b1, w2, b2 = np.split(w, np.cumsum([64 * HIDDEN, HIDDEN, HIDDEN * 10]))
        w1, w2 = w1.reshape(64, HIDDEN), w2.reshape(HIDDEN, 10)
        h = np.tanh(x @ w1 + b1)
        z = h @ w2 + b2
        z -= z.max(1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        dz = (np.exp(log_p) - targets) / dtype(len(x))
        dh = dz @ w2.T * (1 - h * h)
        gradient = np.concatenate([(x.T @ dh).ravel(), dh.sum(0), (h.T @ dz).ravel(), dz.sum(0)])
        return -float((log_p * targets).sum()) / len(x), gradient

    return objective


def network_start(seed: int = 0) -> np.ndarray:
    """Return weights of variance 1 / fan-in, and biases of 0."""
    rng = np.random.default_rng(seed)
    w1, w2 = rng.normal(0, 64**-0.5, 64 * HIDDEN), rng.normal(0, HIDDEN**-0.5, HIDDEN * 10)
    return np.concatenate([w1, np.zeros(HIDDEN), w2, np.zeros(10)])
