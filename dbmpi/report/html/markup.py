"""HTML and JSON in which no text of a run can be anything but text. Pure."""

import json
from html import escape
from typing import Any

LINES = "\n\t"


def text(value: str) -> str:
    """Return a text for HTML, within an element or a quoted attribute; what cannot be shown is spelt out."""
    return escape("".join(one if one.isprintable() or one in LINES else ascii(one)[1:-1] for one in value))


def tag(name: str, content: str, **attributes: str) -> str:
    """Return an element around what is HTML already; an attribute `class_` is `class`, `data_x` `data-x`."""
    said = "".join(
        f' {key.strip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items()
    )
    return f"<{name}{said}>{content}</{name}>"


def script_data(key: str, content: Any) -> str:
    """Return data for the page's script: no text in it can end the element, or be taken for another one."""
    said = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for one in "<>&":
        said = said.replace(one, f"\\u{ord(one):04x}")
    return f'<script type="application/json" id="{key}">{said}</script>'
