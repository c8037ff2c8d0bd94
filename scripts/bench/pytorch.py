"""The other side of a training step: the same networks in PyTorch. Imported where PyTorch is wanted.

Locally connected layers are unfold + bmm, contrast normalization is made of conv2d: with the window at once,
or with its two sides one after another. SGD, as the step beside it.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch

from dbmpi.config.layers import Dense, Lcn, Local, Pool, pair
from dbmpi.layout.network import Network
from kernels.layers import lcn
from scripts.bench.core import Skipped

functional = torch.nn.functional
ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}
RATE = 1e-4


class LocalLayer(torch.nn.Module):
    """Filters with weights of their own at every location, as unfold + bmm."""

    def __init__(self, spec: Local, maps: int, out: tuple[int, ...]) -> None:
        super().__init__()
        places, fan_in = out[0] * out[1], maps * prod(pair(spec.size))
        self.size, self.padding, self.stride, self.out = spec.size, spec.padding, spec.stride, out
        self.weight = torch.nn.Parameter(torch.randn(places, spec.filters, fan_in) * fan_in**-0.5)
        self.bias = torch.nn.Parameter(torch.zeros(places, spec.filters, 1))

    def forward(self, x: Any) -> Any:
        """(B, C, H, W) to (B, F, H, W)."""
        patches = functional.unfold(x, self.size, padding=self.padding, stride=self.stride).permute(2, 1, 0)
        y = torch.baddbmm(self.bias, self.weight, patches)
        return y.permute(2, 1, 0).reshape(len(x), -1, *self.out[:2])


class L2Pool(torch.nn.Module):
    """The root of a sum of squares."""

    def __init__(self, spec: Pool) -> None:
        super().__init__()
        self.size, self.stride = spec.size, spec.stride

    def forward(self, x: Any) -> Any:
        """(B, C, H, W) to fewer rows and columns."""
        squares = functional.avg_pool2d(x * x, self.size, self.stride, divisor_override=1)
        return torch.sqrt(squares + 1e-12)


class ContrastNormalization(torch.nn.Module):
    """Local contrast normalization over all maps, by conv2d."""

    def __init__(self, spec: Lcn, maps: int, separable: bool) -> None:
        super().__init__()
        side = torch.from_numpy(lcn.gaussian_window(spec.size).astype(np.float32))
        self.half, self.separable = spec.size // 2, separable
        self.down, self.across = side.reshape(1, 1, -1, 1), side.reshape(1, 1, 1, -1)
        self.window = (self.down * self.across).expand(1, maps, -1, -1).contiguous() / maps

    def weigh(self, x: Any) -> Any:
        """Return the weighted mean around each place, over all maps."""
        if not self.separable:
            return functional.conv2d(x, self.window, padding=self.half)
        down = functional.conv2d(x.mean(1, keepdim=True), self.down, padding=(self.half, 0))
        return functional.conv2d(down, self.across, padding=(0, self.half))

    def forward(self, x: Any) -> Any:
        """Subtract the mean, divide by the deviation."""
        v = x - self.weigh(x)
        return v / torch.clamp(torch.sqrt(self.weigh(v * v) + 1e-12), min=0.01)


def sequential(network: Network, separable: bool = True) -> Any:
    """Return a network as a PyTorch module, of as many parameters."""
    modules: list[torch.nn.Module] = []
    below: tuple[int, ...] = tuple(network.input)
    for layer in network.layers:
        spec, maps = layer.spec, below[-1]
        if isinstance(spec, Dense):
            if len(below) > 1:
                modules.append(torch.nn.Flatten())
            modules.append(torch.nn.Linear(int(np.prod(below)), spec.units))
        elif isinstance(spec, Local):
            modules.append(LocalLayer(spec, maps, layer.output))
        elif isinstance(spec, Pool):
            modules.append(L2Pool(spec))
        elif isinstance(spec, Lcn):
            modules.append(ContrastNormalization(spec, maps, separable))
        activation = ACTIVATIONS.get(getattr(spec, "activation", ""))
        modules += [activation()] if activation else []
        below = tuple(layer.output)
    model = torch.nn.Sequential(*modules)
    assert sum(one.numel() for one in model.parameters()) == network.parameters
    return model


def step(
    network: Network, batch: int, compiled: bool = False, set_to_none: bool = True, separable: bool = True
) -> Callable[[], None]:
    """Return a whole training step on one minibatch of random examples, on one thread."""
    torch.set_num_threads(1)
    model, loss = sequential(network, separable), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    shape: Sequence[int] = tuple(network.input)
    x = torch.rand(batch, *([shape[2], *shape[:2]] if len(shape) == 3 and shape[0] > 1 else shape))
    labels = torch.randint(0, network.outputs, (batch,))

    def loss_of(x: Any, labels: Any) -> Any:
        return loss(model(x), labels)

    forward = torch.compile(loss_of) if compiled else loss_of

    def run() -> None:
        optimizer.zero_grad(set_to_none=set_to_none)
        forward(x, labels).backward()
        optimizer.step()

    if compiled:
        try:
            run()
        except Exception as error:
            raise Skipped(f"torch.compile does not work here: {str(error).splitlines()[0]}") from error
    return run
