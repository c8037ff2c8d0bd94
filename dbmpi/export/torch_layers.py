"""A network in plain PyTorch: the text that `export.torch_module` makes modules of. Never imported by dbmpi.

It stands here as code, so that it is read, formatted and tested as such; what is said of one network
(`WEIGHTS` to `build`) is replaced, and layers that a network has not are left out.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS = Path(__file__).parent / "model.safetensors"
DTYPE = torch.float32  # of the parameters
CHANNELS_FIRST = False  # images are stored (N, C, H, W)
LOSS = "softmax"  # that the network was trained with
ACTIVATIONS = {"identity": nn.Identity(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "relu": nn.ReLU()}


def build(about: dict[str, str]) -> "Network":
    """Return the network, of which the parameters are 0."""
    return Classifier([Dense(inputs=1, units=1, activation="identity")], about)


def load(path: str | Path = WEIGHTS) -> "Network":
    """Return the network with the parameters of a file, ready to predict; `.train()` lets it learn on."""
    with safe_open(path, "pt") as file:
        network = build(file.metadata())
    network.load_state_dict(load_file(path))
    return network.eval()


def save(network: "Network", path: str | Path) -> None:
    """Write the network as a file that `load` reads, and dbmpi too."""
    state = {name: values.contiguous() for name, values in network.state_dict().items()}
    save_file(state, path, network.about)


class Network(nn.Module):
    """Layers, from inputs as they are stored to the outputs of the last one. Images are (N, H, W, C) within.

    Attributes
    ----------
    layers
        Their parameters have the names and shapes that they have in the file.
    about
        The file's metadata.
    classes
        The names of classes or labels, in the order of the outputs; none where they have none.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, layers: list[nn.Module], about: dict[str, str]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.about = about
        self.classes: list[str] = json.loads(about["class_names"])
        shape = json.loads(about["input_shape"])
        for name in ("scale", "offset"):
            values = torch.tensor(json.loads(about[name]), dtype=torch.float64)
            self.register_buffer(
                name, values if len(values) == 1 else values.reshape(shape), persistent=False
            )
        self.image = len(shape) == 2  # of one channel

    def forward(self, x: Tensor) -> Tensor:
        """Return what the last layer computes, (N, O), of examples as the data file has them, (N, ...)."""
        if CHANNELS_FIRST:
            x = x.permute(0, 2, 3, 1)
        x = (x.double() * self.scale + self.offset).to(DTYPE)
        x = x.unsqueeze(-1) if self.image else x
        for layer in self.layers:
            x = layer(x)
        return x


class Classifier(Network):
    """A network whose outputs stand for classes or labels."""

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the probability of each class or label, (N, O)."""
        z = self(x)
        if LOSS == "softmax":
            return torch.softmax(z, 1)
        return torch.sigmoid(z) if LOSS == "logistic" else z.clamp(0, 1)


class Regressor(Network):
    """A network whose outputs are targets."""

    def values(self, x: Tensor) -> Tensor:
        """Return targets in the units of the data file, (N, T)."""
        y = self(x).double()
        scale, offset = (json.loads(self.about[f"target_{name}"]) for name in ("scale", "offset"))
        return (y - y.new_tensor(offset)) / y.new_tensor(scale) if scale else y


def parameter(*shape: int) -> nn.Parameter:
    """Return a parameter that `load` fills."""
    return nn.Parameter(torch.zeros(shape, dtype=DTYPE))


class Dense(nn.Module):
    """Fully connected units; of an image they read rows, columns and maps, in this order."""

    def __init__(self, inputs: int, units: int, activation: str) -> None:
        super().__init__()
        self.weight, self.bias = parameter(units, inputs), parameter(units)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, ...) to (N, units)."""
        return self.activation(functional.linear(x.flatten(1), self.weight, self.bias))


class Filters(nn.Module):
    """Filters on windows of an image, with weights for all positions, or for each of the `positions`."""

    def __init__(
        self,
        filters: int,
        size: tuple[int, int],
        maps: int,
        stride: tuple[int, int],
        padding: tuple[int, int],
        activation: str,
        positions: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.weight, self.bias = parameter(*positions, filters, *size, maps), parameter(*positions, filters)
        self.size, self.stride, self.padding = size, stride, padding
        self.activation = ACTIVATIONS[activation]


class Conv(Filters):
    """Filters with the same weights at all positions; weights are (filters, rows, columns, maps)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, maps) to (N, H, W, filters)."""
        weight = self.weight.permute(0, 3, 1, 2)
        y = functional.conv2d(x.permute(0, 3, 1, 2), weight, self.bias, self.stride, self.padding)
        return self.activation(y.permute(0, 2, 3, 1))


class Local(Filters):
    """Filters with weights of their own at each position: (H, W, filters, rows, columns, maps)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, maps) to (N, *positions, filters)."""
        down, right = self.padding
        x = functional.pad(x, (0, 0, right, right, down, down))
        windows = x.unfold(1, self.size[0], self.stride[0]).unfold(2, self.size[1], self.stride[1])
        return self.activation(torch.einsum("nhwcij,hwfijc->nhwf", windows, self.weight) + self.bias)


class Pool(nn.Module):
    """The maximum, the mean, or the root of the sum of squares of windows, map by map."""

    def __init__(self, kind: str, size: tuple[int, int], stride: tuple[int, int]) -> None:
        super().__init__()
        self.kind, self.size, self.stride = kind, size, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, maps) to fewer rows and columns."""
        x = x.permute(0, 3, 1, 2)
        if self.kind == "max":
            y = functional.max_pool2d(x, self.size, self.stride)
        elif self.kind == "average":
            y = functional.avg_pool2d(x, self.size, self.stride)
        else:
            y = root(functional.avg_pool2d(x * x, self.size, self.stride, divisor_override=1))
        return y.permute(0, 2, 3, 1)


class Lcn(nn.Module):
    """Local contrast normalization: less the mean around, by the deviation around, over all maps."""

    rows: Tensor
    columns: Tensor

    def __init__(self, image: tuple[int, int], size: int, floor: float) -> None:
        super().__init__()
        self.floor = floor
        for name, extent in zip(("rows", "columns"), image, strict=True):
            distance = (torch.arange(extent)[:, None] - torch.arange(extent)).abs().double()
            p = torch.arange(size).double() - size // 2
            g = torch.exp(-0.5 * (4 * distance / size) ** 2) / torch.exp(-0.5 * (4 * p / size) ** 2).sum()
            band = torch.where(distance <= size // 2, g, 0.0)  # blurs one side of a plane, 0 beyond
            self.register_buffer(name, band.to(DTYPE), persistent=False)

    def blur(self, x: Tensor) -> Tensor:
        """Return the weighted mean around each location, over all maps: (N, H, W, 1)."""
        return (self.rows @ x.mean(3) @ self.columns).unsqueeze(3)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape, (N, H, W, maps)."""
        v = x - self.blur(x)
        return v / root(self.blur(v * v)).clamp(min=self.floor)


def root(x: Tensor) -> Tensor:
    """Return the square root; its derivative at 0 is 0, not infinite."""
    positive = x > 0
    return torch.where(positive, x, 1.0).sqrt() * positive
