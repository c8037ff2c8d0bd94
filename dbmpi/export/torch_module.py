"""A module of plain PyTorch for one network: the text of `torch_layers`, with what is said of the network."""

import ast
import json
import os
from pathlib import Path
from typing import Any

from dbmpi.config.layers import Conv, Dense, Dropout, Lcn, Local, Pool
from dbmpi.export.interface import input_of
from dbmpi.layout.network import Layer
from dbmpi.trained.model import TrainedModel

TEXT = Path(__file__).with_name("torch_layers.py")
GENERAL = {"load", "save"}  # whatever the network


def source(trained: TrainedModel, module: Path, weights: Path) -> str:
    """Return the text of a module.

    Parameters
    ----------
    module, weights
        Where it will be, and the safetensors file that it loads.
    """
    text = TEXT.read_text("utf-8")
    said = _said(trained, os.path.relpath(weights.absolute(), module.absolute().parent))
    parts = [said.get(name, part) for name, part in _parts(text)]
    names = [name for name, _ in _parts(text)]
    used = _used(dict(zip(names, parts, strict=True)), GENERAL)
    body = [(name, part) for name, part in zip(names, parts, strict=True) if name in used]
    head = [_docstring(trained, module), _imports(text)]
    constants = "\n".join(part for name, part in body if name.isupper())
    return "\n\n".join([*head, constants]) + "".join(f"\n\n\n{p}" for n, p in body if not n.isupper()) + "\n"


def _said(trained: TrainedModel, weights: str) -> dict[str, str]:
    """Return the definitions that are of this network, by name."""
    layers = "".join(f"        {_layer(one)},\n" for one in trained.network.layers)
    kind = "Regressor" if trained.format.outputs == "targets" else "Classifier"
    return {
        "WEIGHTS": f"WEIGHTS = Path(__file__).parent / {_literal(weights)}",
        "DTYPE": f"DTYPE = torch.{trained.dtype.name}  # of the parameters",
        "CHANNELS_FIRST": f"CHANNELS_FIRST = {trained.channels_first}  # images are stored (N, C, H, W)",
        "LOSS": f"LOSS = {_literal(trained.network.loss)}  # that the network was trained with",
        "build": 'def build(about: dict[str, str]) -> "Network":\n'
        '    """Return the network, of which the parameters are 0."""\n'
        f"    layers: list[nn.Module] = [\n{layers}    ]\n"
        f"    return {kind}(layers, about)",
    }


def _layer(layer: Layer) -> str:
    """Return the call that makes a layer."""
    if isinstance(layer.spec, Dropout):
        return f"nn.Dropout({layer.spec.rate!r})"
    given = ", ".join(f"{key}={_literal(value)}" for key, value in _arguments(layer).items())
    return f"{type(layer.spec).__name__}({given})"


def _arguments(layer: Layer) -> dict[str, Any]:
    """Return what the class of a layer is given."""
    spec, window = layer.spec, layer.window
    if isinstance(spec, Dense):
        return {"inputs": layer.inputs, "units": layer.units, "activation": spec.activation}
    if isinstance(spec, Lcn):
        return {"image": layer.input[:2], "size": spec.size, "floor": spec.floor}
    assert window is not None
    if isinstance(spec, Pool):
        return {"kind": spec.kind, "size": window.size, "stride": window.stride}
    assert isinstance(spec, Conv | Local)
    positions = {"positions": layer.output[:2]} if isinstance(spec, Local) else {}
    given = {"size": window.size, "stride": window.stride, "padding": window.padding}
    maps = {"maps": layer.input[2], "filters": spec.filters}
    return {**positions, **maps, **given, "activation": spec.activation}


def _literal(value: Any) -> str:
    """Write a number, a pair or a text as Python does; JSON's texts are Python's."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _docstring(trained: TrainedModel, module: Path) -> str:
    port = input_of(trained)
    shape = ", ".join(map(str, ("N", *port.shape)))
    answer = "values" if trained.format.outputs == "targets" else "probabilities"
    layers = "\n".join(f"    {one.index}  {one.spec}" for one in trained.network.layers)
    return f'''"""A network that dbmpi has trained, in plain PyTorch; it needs torch and safetensors.

    from {module.stem} import load
    network = load()
    y = network.{answer}(x)      # x: a tensor ({shape}) of {port.dtype.name}, as in the data file

Its layers:

{layers}
"""'''


def _parts(text: str) -> list[tuple[str, str]]:
    """Return the name and the text of each definition, in order, comments at the end of a line included."""
    lines, found = text.splitlines(), []
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.FunctionDef | ast.ClassDef):
            name = node.targets[0].id if isinstance(node, ast.Assign) else node.name  # type: ignore[attr-defined]
            found.append((name, "\n".join(lines[node.lineno - 1 : node.end_lineno])))
    return found


def _imports(text: str) -> str:
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "\n".join(text.splitlines()[nodes[0].lineno - 1 : nodes[-1].end_lineno])


def _used(parts: dict[str, str], first: set[str]) -> set[str]:
    """Return the names of the definitions that some begin with, and of all that these use."""
    used, pending = set(), sorted(first)
    while pending:
        name = pending.pop()
        if name not in used:
            used.add(name)
            words = {node.id for node in ast.walk(ast.parse(parts[name])) if isinstance(node, ast.Name)}
            pending += sorted(words & parts.keys())
    return used
