"""What each replica did, by the records `replicas`: lists with an entry a replica, null for a dead one. Pure.

Letters: n records, R replicas.
"""

import numpy as np
from numpy.typing import NDArray

from dbmpi.logs.records import Records, number


def table(records: Records, name: str) -> NDArray[np.float64]:
    """Return a list of each record, `(n, R)`; not a number for null, or where a record lacks it."""
    lists = [row.get(name) for row in records.rows]
    longest = max(
        (len(one) for row in records.rows for one in row.values() if isinstance(one, list)), default=0
    )
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
    """Return CPU seconds for each second of computing, of the replica in the middle; not a number: not known.

    One that lacks cores alone is a slow replica, and no lack of cores: so the upper one of two counts.
    """
    shares = core_shares(records)
    known = np.sort(shares[np.isfinite(shares)])
    return float(known[len(known) // 2]) if len(known) else np.nan
