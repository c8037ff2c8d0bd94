"""What each replica did, by the records `replicas`: lists with an entry a replica, null for a dead one. Pure.

Letters: n records, R replicas.
"""

import numpy as np
from numpy.typing import NDArray

from dbmpi.logs.records import Records, number


def table(records: Records, name: str) -> NDArray[np.float64]:
    """Return a list of each record, `(n, R)`; not a number for null. R is that of any name."""
    lists = [row.get(name) for row in records.rows]
    every = (one for row in records.rows for one in row.values() if isinstance(one, list))
    longest = max(map(len, every), default=0)
    found = np.full((len(lists), longest), np.nan)
    for row, values in zip(found, lists, strict=True):
        if isinstance(values, list):
            row[: len(values)] = [number(value) for value in values]
    return found


def sums(records: Records, name: str) -> NDArray[np.float64]:
    """Return sums over the records, `(R,)`; not a number for a replica that is dead in the last."""
    found = table(records, name)
    if not found.size:
        return found.sum(axis=0)
    return np.where(np.isfinite(found[-1]), np.nansum(found, axis=0), np.nan)


def core_shares(records: Records) -> NDArray[np.float64]:
    """Return means, weighted by the seconds computed, `(R,)`."""
    shares, weights = table(records, "core_share"), table(records, "computed_s")
    if shares.shape != weights.shape:
        return np.full(shares.shape[1], np.nan)
    weights = np.where(np.isfinite(shares) & np.isfinite(weights), weights, 0.0)
    total = weights.sum(axis=0)
    return np.nansum(shares * weights, axis=0) / np.where(total > 0, total, np.nan)


def core_share(records: Records) -> float:
    """Return CPU seconds for each second of computing, of all replicas together; not a number: not known."""
    shares, weights = core_shares(records), np.nansum(table(records, "computed_s"), axis=0)
    known = np.isfinite(shares) & (weights > 0) if shares.shape == weights.shape else np.zeros(0, np.bool_)
    return float(np.average(shares[known], weights=weights[known])) if known.any() else np.nan
