"""What a model says of itself, as texts: the metadata of safetensors and ONNX hold nothing else. Pure.

configuration       TOML, as resolved
input_shape, ...    the fields of `data.format.Format`: texts as they are, all else as JSON
loss                of the network
parameters          "last" or "best"
versions            JSON: of what has written it
dbmpi_format        of this table
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dbmpi.checkpoint import model_file
from dbmpi.config.toml import to_toml
from dbmpi.data.format import Format
from dbmpi.files import versions

if TYPE_CHECKING:
    from dbmpi.trained.model import TrainedModel

VERSION = "dbmpi_format"


def to_texts(trained: "TrainedModel") -> dict[str, str]:
    """Return what `from_texts` reads."""
    form = trained.format.to_json()
    return {
        VERSION: str(model_file.FORMAT),
        "configuration": to_toml(trained.config),
        "parameters": trained.which,
        "loss": trained.network.loss,
        "versions": json.dumps(versions()),
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in form.items()},
    }


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return texts as the attributes of a model.h5 have them; what cannot be read is left as it is."""
    found: dict[str, Any] = {name: texts[name] for name in ("configuration", "parameters") if name in texts}
    found["format"] = _value(texts.get(VERSION, ""))
    for field in fields(Format):
        if field.name in texts:
            text = texts[field.name]
            found[field.name] = text if field.type is str or field.name == "outputs" else _value(text)
    return found


def _value(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text
