"""What partitions waited for, over a whole run. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from dbmpi.logs.records import number

BETWEEN = "coordinator"  # the wait that is not within `busy_s`


def wait_shares(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the shares of the partitions' time, by cause, of a summary.json; none where it lacks them."""
    waits, busy_s = summary.get("waits_s"), number(summary.get("busy_s"))
    if not isinstance(waits, dict) or not math.isfinite(busy_s):
        return {}
    whole = busy_s + number(waits.get(BETWEEN), 0.0)
    return {cause: number(wait, 0.0) / whole for cause, wait in waits.items()} if whole > 0 else {}
