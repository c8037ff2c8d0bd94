"""Kernels of spatial layers on one thread, beside PyTorch and beside the speed of BLAS.

Each row is a kernel and PyTorch's way to the same figures, of which the fastest counts, in turns. What is a
question of arithmetic has a second row, its GFLOP/s beside those of BLAS on 1024 x 1024 matrices.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.layers import bias, conv, dropout, lcn, local, pool
from kernels.layers.activations import CODES
from scripts.bench.clock import Timed
from scripts.bench.core import Aim, Group, Options, Row, Turn, require

try:
    import torch
except ImportError:
    torch = None

ROUNDS = 10
TURN_S = 0.02
Run = Callable[[], object]
MATRIX = 1024


class Case(NamedTuple):
    """One row: a kernel, its rivals (the fastest counts), its operations, the ratio aimed at."""

    name: str
    run: Run
    rivals: list[Run]
    flops: float = 0.0  # 0: not a question of arithmetic
    aim: float | None = None


class Shape(NamedTuple):
    """A windowed layer on square images: letters as in `kernels.layers.local`."""

    C: int
    side: int
    K: int
    F: int
    B: int
    padding: int = 0

    def __str__(self) -> str:
        text = f"C{self.C} {self.side}x{self.side} K{self.K} F{self.F} B{self.B}"
        return text + (f" p{self.padding}" if self.padding else "")

    @property
    def out(self) -> int:
        """Rows of the output."""
        return self.side + 2 * self.padding - self.K + 1

    @property
    def flops(self) -> float:
        """Floating point operations of a pass."""
        return 2.0 * self.out**2 * self.F * self.K**2 * self.C * self.B

    @property
    def geometry(self) -> tuple[int, int, int, int]:
        """Strides and offsets."""
        return 1, 1, -self.padding, -self.padding


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Return float32 arrays of small random numbers."""
    random = np.random.default_rng(1)
    return [(random.random(shape, np.float32) - 0.5) / 8 for shape in shapes]


def to_torch(array: np.ndarray, *axes: int) -> Any:
    """Return a contiguous copy in PyTorch's order of dimensions."""
    return torch.from_numpy(array.transpose(axes).copy())


def local_rivals(x: Any, w: Any, b: Any, dz: Any) -> dict[str, list[Run]]:
    """Return PyTorch's unfold + bmm in three orders of the patches, of which the fastest counts."""
    K, (out_h, out_w, F), B = w.shape[3], w.shape[:3], x.shape[3]
    x_torch = to_torch(x, 3, 2, 0, 1).requires_grad_()
    w_LFK = to_torch(w, 0, 1, 2, 5, 3, 4).reshape(out_h * out_w, F, -1).requires_grad_()
    b_LF1 = torch.from_numpy(b).reshape(-1, F, 1)
    dz_LFB = torch.from_numpy(dz).reshape(-1, F, B)

    def forward(copy: bool) -> Any:
        patches = torch.nn.functional.unfold(x_torch, K).permute(2, 1, 0)
        return torch.relu(torch.bmm(w_LFK, patches.contiguous() if copy else patches) + b_LF1)

    def batch_first() -> Any:
        patches = torch.nn.functional.unfold(x_torch, K).permute(2, 0, 1)
        return torch.relu(torch.bmm(patches, w_LFK.transpose(1, 2)) + b_LF1.transpose(1, 2))

    def no_grad(function: Run) -> Run:
        def run() -> None:
            with torch.no_grad():
                function()

        return run

    def backward(y: Any, by: list[Any]) -> Run:
        dy = dz_LFB if y.shape[1] == F and y.shape[2] == B else dz_LFB.transpose(1, 2).contiguous()
        return lambda: torch.autograd.grad(y, by, dy, retain_graph=True)

    ways: list[Callable[[], Any]] = [lambda: forward(True), lambda: forward(False), batch_first]
    found = [way() for way in ways]
    return {
        "forward": [no_grad(way) for way in ways],
        "input": [backward(y, [x_torch]) for y in found],
        "weights": [backward(y, [w_LFK]) for y in found],
        "backward": [backward(y, [x_torch, w_LFK]) for y in found],
    }


def local_cases() -> Iterator[Case]:
    """Yield the locally connected layer of the paper, and one on colour images."""
    for shape, aim in ((Shape(8, 24, 10, 8, 64), 15.0), (Shape(3, 32, 7, 16, 32), 8.0)):
        n, K = shape.out, shape.K
        x, dx, w, dw, b, y, dz = arrays(
            *[(shape.side, shape.side, shape.C, shape.B)] * 2,
            *[(n, n, shape.F, K, K, shape.C)] * 2,
            (n, n, shape.F),
            *[(n, n, shape.F, shape.B)] * 2,
        )
        yield from windowed_cases(local, "local", shape, (x, dx, w, dw, b, y, dz), local_rivals, aim)


def conv_rivals(x: Any, w: Any, b: Any, dz: Any) -> dict[str, list[Run]]:
    """Return PyTorch's convolution."""
    padding = (dz.shape[0] + w.shape[1] - 1 - x.shape[0]) // 2
    x_torch, w_torch = to_torch(x, 3, 2, 0, 1).requires_grad_(), to_torch(w, 0, 3, 1, 2).requires_grad_()
    b_torch, dz_torch = torch.from_numpy(b), to_torch(dz, 3, 2, 0, 1)

    def forward() -> Any:
        return torch.relu(torch.nn.functional.conv2d(x_torch, w_torch, b_torch, padding=padding))

    def forward_alone() -> None:
        with torch.no_grad():
            forward()

    def backward(*by: Any) -> list[Run]:
        return [lambda: torch.autograd.grad(y, by, dz_torch, retain_graph=True)]

    y = torch.nn.functional.conv2d(x_torch, w_torch, b_torch, padding=padding)
    return {
        "forward": [forward_alone],
        "input": backward(x_torch),
        "weights": backward(w_torch),
        "backward": backward(x_torch, w_torch),
    }


def conv_cases() -> Iterator[Case]:
    """Yield convolutions: a first layer on MNIST, on colour images, a deep one, the paper's window."""
    shapes = [Shape(1, 28, 5, 8, 64, 2), Shape(3, 32, 5, 16, 32, 2), Shape(32, 16, 3, 32, 32, 1)]
    for shape in [*shapes, Shape(8, 24, 10, 8, 64)]:
        n, K = shape.out, shape.K
        x, dx, w, dw, b, y, dz = arrays(
            *[(shape.side, shape.side, shape.C, shape.B)] * 2,
            *[(shape.F, K, K, shape.C)] * 2,
            (shape.F,),
            *[(n, n, shape.F, shape.B)] * 2,
        )
        yield from windowed_cases(conv, "conv", shape, (x, dx, w, dw, b, y, dz), conv_rivals, 0.5)


def windowed_cases(
    module: Any,
    name: str,
    shape: Shape,
    of: tuple[np.ndarray, ...],
    rivals_of: Callable[..., dict[str, list[Run]]],
    aim: float,
) -> Iterator[Case]:
    """Yield forward, the two halves of backward, and both together."""
    x, dx, w, dw, b, y, dz = of
    forward, by_input, by_weights = (
        getattr(module, f"{name}_{part}") for part in ("forward", "backward_input", "backward_weights")
    )
    runs: dict[str, Run] = {
        "forward": lambda: forward(x, w, b, y, *shape.geometry, CODES["relu"]),
        "input": lambda: by_input(dz, w, dx, *shape.geometry),
        "weights": lambda: by_weights(x, dz, dw, *shape.geometry),
    }

    def backward() -> None:
        runs["input"]()
        runs["weights"]()

    rivals = rivals_of(x, w, b, dz) if torch else {}
    for part, run in (*runs.items(), ("backward", backward)):
        flops = shape.flops * (2 if part == "backward" else 1)
        whole = aim if part in ("forward", "backward") else None
        yield Case(f"{name} {part} {shape}", run, rivals.get(part, []), flops, whole)


def activation_cases() -> Iterator[Case]:
    """Yield what stands between the products of a local layer."""
    y, dy, db = arrays(*[(15, 15, 8, 64)] * 2, (15, 15, 8))
    rivals: list[Run] = []
    if torch:
        y_torch, dy_torch = torch.from_numpy(y), torch.from_numpy(dy)
        rivals = [lambda: dy_torch.mul_(y_torch > 0)]
    code = CODES["relu"]
    yield Case(
        "activation backward relu 15x15x8 B64",
        lambda: bias.spatial_activation_backward(dy, y, code),
        rivals,
    )
    sums: list[Run] = [lambda: dy_torch.sum(3)] if torch else []
    yield Case("local bias sums 15x15x8 B64", lambda: bias.local_bias_sums(dy, db), sums)


def both(function: Callable[[Any], Any], *inputs: Any) -> tuple[list[Run], list[Run]]:
    """Return PyTorch's forward, and its forward and backward, on each of several equal inputs."""

    def forward(x: Any) -> Any:
        with torch.no_grad():
            return function(x)

    def step(x: Any) -> None:
        y = function(x.requires_grad_())
        torch.autograd.grad(y, x, torch.ones_like(y))

    return [partial(forward, x) for x in inputs], [partial(step, x) for x in inputs]


def in_turn(*runs: Run) -> Run:
    """Return one function that calls several."""

    def run() -> None:
        for each in runs:
            each()

    return run


def torch_pool(kind: str, size: int, stride: int) -> Callable[[Any], Any]:
    """Return PyTorch's pooling; L2 as the root of a sum of squares."""
    F = torch.nn.functional
    ways: dict[str, Callable[[Any], Any]] = {
        "max": lambda x: F.max_pool2d(x, size, stride),
        "average": lambda x: F.avg_pool2d(x, size, stride),
        "l2": lambda x: torch.sqrt(F.avg_pool2d(x * x, size, stride, divisor_override=1)),
    }
    return ways[kind]


def pool_cases() -> Iterator[Case]:
    """Yield every kind of pooling: windows side by side, and overlapping."""
    for side, C, B, size, stride in ((24, 8, 64, 2, 2), (24, 8, 64, 3, 2), (32, 16, 32, 3, 1)):
        n = (side - size) // stride + 1
        x, dx, y, dy = arrays(*[(side, side, C, B)] * 2, *[(n, n, C, B)] * 2)
        for kind, code in pool.KINDS.items():
            window = (size, size, stride, stride, 0, 0, code)
            forward = partial(pool.pool_forward, x, y, *window)
            backward = partial(pool.pool_backward, x, y, dy, dx, *window)
            rivals: tuple[list[Run], list[Run]] = ([], [])
            if torch:
                x_torch = to_torch(x, 3, 2, 0, 1)
                last = x_torch.to(memory_format=torch.channels_last)
                rivals = both(torch_pool(kind, size, stride), x_torch, last)
            name = f"{kind} {size}/{stride} C{C} {side}x{side} B{B}"
            yield Case(f"pool forward {name}", forward, rivals[0], aim=1.0)
            yield Case(f"pool both {name}", in_turn(forward, backward), rivals[1], aim=1.0)


def torch_lcn(C: int, size: int, separable: bool) -> Callable[[Any], Any]:
    """Return local contrast normalization made of conv2d: with the window, or with its two sides."""
    conv2d = torch.nn.functional.conv2d
    side = torch.from_numpy(lcn.gaussian_window(size))
    down, across, h = side.reshape(1, 1, size, 1), side.reshape(1, 1, 1, size), size // 2
    window = (down * across).expand(1, C, size, size).contiguous() / C

    def weigh(x: Any) -> Any:
        if not separable:
            return conv2d(x, window, padding=h)
        return conv2d(conv2d(x.mean(1, keepdim=True), down, padding=(h, 0)), across, padding=(0, h))

    def normalize(x: Any) -> Any:
        v = x - weigh(x)
        return v / torch.clamp(torch.sqrt(weigh(v * v)), min=0.01)

    return normalize


def lcn_cases() -> Iterator[Case]:
    """Yield local contrast normalization after the paper's window, a wide one, and of colour images."""
    for side, C, B, size in ((24, 8, 64, 5), (24, 8, 64, 9), (32, 16, 32, 5), (32, 3, 32, 9)):
        x, dx, y, dy = arrays(*[(side, side, C, B)] * 4)
        kept, work = arrays(*[(n, side, side, B) for n in (lcn.KEPT_PLANES, lcn.WORK_PLANES)])
        common = (x, lcn.gaussian_window(size), 0.01, 0, 0, kept, work)
        forward = partial(lcn.lcn_forward, *common, y)
        backward = partial(lcn.lcn_backward, *common, dy, dx)
        rivals: list[tuple[list[Run], list[Run]]] = []
        if torch:
            x_torch = to_torch(x, 3, 2, 0, 1)
            rivals = [both(torch_lcn(C, size, separable), x_torch) for separable in (False, True)]
        name = f"{size}x{size} C{C} {side}x{side} B{B}"
        yield Case(f"lcn forward {name}", forward, [way for pair in rivals for way in pair[0]], aim=1.0)
        steps = [way for pair in rivals for way in pair[1]]
        yield Case(f"lcn both {name}", in_turn(forward, backward), steps, aim=1.0)


def dropout_cases() -> Iterator[Case]:
    """Yield dropout, whose mask PyTorch draws anew and keeps for backward."""
    (y,) = arrays((2560, 100))
    rivals: list[Run] = []
    if torch:
        y_torch = torch.from_numpy(y.copy())
        rivals = [lambda: torch.nn.functional.dropout(y_torch, 0.5)]
    yield Case("dropout 2560 B100", lambda: dropout.dropout_forward(y, 0, 1, 2, 0.5), rivals)


TABLES: list[Callable[[], Iterable[Case]]] = [
    local_cases,
    conv_cases,
    activation_cases,
    pool_cases,
    lcn_cases,
    dropout_cases,
]


def groups(options: Options) -> Iterator[Group]:
    """Yield each kernel with its rivals and with a matrix product, in turns."""
    if torch:
        torch.set_num_threads(1)
    for table in TABLES:
        for case in table():
            if options.wants(case.name):
                yield group(case)


def group(case: Case) -> Group:
    """Return a kernel beside PyTorch and beside BLAS."""
    turns: dict[str, Turn] = {"kernel": Speed(case.run, case.flops)}
    turns |= {f"PyTorch {n}": Timed(partial(_same, way), TURN_S) for n, way in enumerate(case.rivals)}
    rivals = tuple(name for name in turns if name != "kernel")
    if not torch:
        turns["PyTorch"], rivals = _missing, ("PyTorch",)
    rows = [Row(case.name, "time", "s", rivals, Aim(case.aim) if case.aim else None, lower=True)]
    if case.flops:
        turns["product"] = Speed(product(), 2.0 * MATRIX**3, "product")
        rows.append(Row(f"  {case.name}", "speed", "GFLOP/s", ("product speed",)))
    return Group(case.name, turns, rows)


class Speed:
    """A turn of a function of so many operations: its `time` in seconds, and its `speed` in GFLOP/s."""

    def __init__(self, run: Run, flops: float, name: str = "") -> None:
        self._timed, self._flops, self._name = Timed(lambda: run, TURN_S), flops, f"{name} ".lstrip()
        self.prepare = self._timed.prepare

    def __call__(self) -> dict[str, float]:
        """Take the turn."""
        seconds = self._timed()
        return {f"{self._name}time": seconds, f"{self._name}speed": self._flops / seconds / 1e9}


def product() -> Run:
    """Return a product of two matrices."""
    a, out = np.ones((MATRIX, MATRIX), np.float32), np.empty((MATRIX, MATRIX), np.float32)
    return lambda: np.matmul(a, a, out=out)


def _same(way: Run) -> Run:
    return way


def _missing() -> float:
    require("torch")
    return 0.0
