"""The network as arithmetic: names, shapes and counts of its tensors."""

import pytest

from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.config.sections import Config, Model
from dbmpi.errors import UserError
from dbmpi.layout.network import build, from_layers


def test_paper_speech_model():
    hidden = [Dense(units=2560, activation="sigmoid")] * 4
    network = from_layers([*hidden, Dense(units=8192)], 440, "softmax")
    assert network.parameters == 440 * 2560 + 3 * 2560**2 + 2560 * 8192 + 4 * 2560 + 8192
    assert network.outputs == 8192


def test_layers_are_chained():
    network = build(
        Config(model=Model(loss="softmax", layers=(Dense(units=5), Dense(units=3), Dense(units=2)))), (7,)
    )
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
    assert [tensor.size for tensor in tensors] == [35, 5, 15, 3]
    assert [(tensor.fan_in, tensor.fan_out) for tensor in tensors[::2]] == [(7, 5), (5, 3)]


def test_image_layers_shape_their_spaces():
    specs = [
        Local(filters=4, size=(5, 3), stride=(2, 1), padding=(1, 0)),
        Pool(kind="l2", size=3, stride=2),
        Lcn(size=3),
        Conv(filters=6, size=2),
        Dropout(rate=0.5),
        Dense(units=9),
    ]
    net = from_layers(specs, (20, 13), "softmax")
    assert net.spaces == ((20, 13, 1), (9, 11, 4), (4, 5, 4), (4, 5, 4), (3, 4, 6), (3, 4, 6), (9,))
    shapes = {t.name: t.shape for t in net.tensors}
    assert shapes["layers.0.weight"] == (9, 11, 4, 5, 3, 1) and shapes["layers.0.bias"] == (9, 11, 4)
    assert shapes["layers.3.weight"] == (6, 2, 2, 4) and shapes["layers.3.bias"] == (6,)
    assert shapes["layers.5.weight"] == (9, 3 * 4 * 6)
    assert [t.name for t in net.tensors if t.shared] == ["layers.3.weight", "layers.3.bias"]


@pytest.mark.parametrize(
    ("specs", "shape", "words"),
    [
        ([Conv(filters=2, size=3)], (64,), ["model.layers[0] (conv)", "needs an image", "(64,)"]),
        ([Dense(units=4), Pool(kind="max", size=2, stride=2)], (8, 8), ["model.layers[1] (pool)", "(4,)"]),
        ([Local(filters=1, size=9)], (8, 8), ["9 x 9", "8 x 8", "make the window smaller"]),
    ],
)
def test_a_layer_that_does_not_fit_is_explained(specs, shape, words):
    with pytest.raises(UserError) as told:
        from_layers([*specs, Dense(units=2)], shape, "softmax")
    assert all(word in str(told.value) for word in words)
