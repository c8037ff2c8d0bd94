"""Whatever is done to a configuration file or an override, the worst that comes out is a UserError."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from dbmpi.config.load import loads
from dbmpi.config.schema import DEFAULT_FILE
from dbmpi.config.sections import Config
from dbmpi.config.toml import to_toml
from dbmpi.errors import UserError

VALID = DEFAULT_FILE.read_text("utf-8")
LAYERS = """
[[model.layers]]
type = "local"
filters = 8
size = [7, 5]
stride = 1
padding = 0
activation = "relu"
[[model.layers]]
type = "pool"
kind = "l2"
size = 3
stride = [2, 2]
[[model.layers]]
type = "lcn"
size = 5
floor = 0.01
[[model.layers]]
type = "dropout"
rate = 0.5
"""
LINES = [line for line in VALID.splitlines() if line and not line.startswith("#")]
FIRST_LAYER = LINES.index("[[model.layers]]")
LINES[FIRST_LAYER:FIRST_LAYER] = LAYERS.split("\n")[1:-1]
ASSIGNMENTS = [i for i, line in enumerate(LINES) if "=" in line]
KEYS = re.findall(r"(?m)^(\w+) =", VALID + LAYERS)
VALUES = st.sampled_from(
    ["0", "-1", "1", "1e400", "nan", "-inf", "true", "'auto'", "'none'", "''", "[]", "[[]]", "{}", "{a=1}",
     "[2, 3]", "[2]", "[2, -3]", "[2, 'x']", "[[2, 3], 4]", "[{type='dense'}]", "[{type='dense',units=1}]",
     "00:00:01", "1979-05-27T07:32:00Z", "1979-05-27", '"\\u0000"', "0x" + "f" * 400, "'''\n'''", "0.5",
     "1000000000000000000000", "=", ""]
)  # fmt: skip


@st.composite
def corrupted_bytes(draw: st.DrawFn) -> bytes:
    """Cut, repeat or overwrite a piece of the valid file."""
    content = "\n".join(LINES).encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(len(content), start + 80)))
        middle = draw(st.one_of(st.binary(max_size=8), st.just(content[start:stop] * 2), st.just(b"")))
        content = content[:start] + middle + content[stop:]
    return content


@st.composite
def corrupted_values(draw: st.DrawFn) -> bytes:
    """Keep the syntax, and give keys other values, names or sections."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 2))):
        i = draw(st.sampled_from(ASSIGNMENTS))
        own = lines[i].partition(" =")[0]
        name = own if draw(st.integers(0, 3)) else draw(st.sampled_from(KEYS))
        lines[i] = f"{name} = {draw(VALUES)}"
    if not draw(st.integers(0, 3)):
        lines.pop(draw(st.integers(0, len(lines) - 1)))
    return "\n".join(lines).encode()


def refuses_or_takes(content: bytes, overrides: list[str]) -> None:
    try:
        config = loads(content, overrides)
    except UserError as error:
        assert str(error)
    else:
        assert isinstance(config, Config)
        assert loads(to_toml(config).encode()) == config


@settings(max_examples=500)
@given(st.one_of(corrupted_bytes(), corrupted_values()))
def test_corrupted_files(content: bytes) -> None:
    refuses_or_takes(content, [])


@settings(max_examples=500)
@given(
    st.sampled_from(["train", "train.target", "cluster", "model.layers", "model.layers.0", "downpour", "x"]),
    st.one_of(st.sampled_from(KEYS), st.text(max_size=5)),
    st.one_of(VALUES, st.text(max_size=20)),
)
def test_corrupted_overrides(section: str, key: str, value: str) -> None:
    refuses_or_takes("\n".join(LINES).encode(), [f"{section}.{key}={value}"])
