"""The network as arithmetic: names, shapes and counts of its tensors."""

from dbmpi.config import Config, Dense, Model
from dbmpi.network import build, from_layers


def test_paper_speech_model():
    hidden = [Dense(units=2560, activation="sigmoid")] * 4
    network = from_layers([*hidden, Dense(units=8192)], 440, "softmax")
    assert network.parameters == 440 * 2560 + 3 * 2560**2 + 2560 * 8192 + 4 * 2560 + 8192
    assert network.outputs == 8192


def test_layers_are_chained():
    network = build(Config(model=Model(layers=(Dense(units=5), Dense(units=3), Dense(units=2)))), 7)
    assert [(layer.index, layer.inputs, layer.units) for layer in network.layers] == [
        (0, 7, 5),
        (1, 5, 3),
        (2, 3, 2),
    ]
    assert (network.inputs, network.loss) == (7, "softmax")


def test_tensors_have_the_names_and_shapes_of_the_model_file():
    tensors = from_layers([Dense(units=5), Dense(units=3)], 7, "squared").tensors
    assert {tensor.name: tensor.shape for tensor in tensors} == {
        "layers.0.weight": (5, 7),
        "layers.0.bias": (5,),
        "layers.1.weight": (3, 5),
        "layers.1.bias": (3,),
    }
    assert [(tensor.size, tensor.row) for tensor in tensors] == [(35, 7), (5, 1), (15, 5), (3, 1)]
    assert [(tensor.fan_in, tensor.fan_out) for tensor in tensors[::2]] == [(7, 5), (5, 3)]
