"""How many pushes the shards have refused, and why. Pure."""

from dbmpi.diagnosis.evidence import Evidence
from dbmpi.logs.records import number, whole


def refused_share(evidence: Evidence, why: str) -> float:
    """Return the share of the pushes in the judged time that were refused for a reason; 0: none known.

    Shards count from the begin of their job, so of each the last record counts, without what the first
    one had.
    """
    refused = made = 0.0
    for rows in _by_shard(evidence).values():
        first, last = rows[0], rows[-1]
        spans = [_counts(last, why)[i] - (_counts(first, why)[i] if len(rows) > 1 else 0.0) for i in (0, 1)]
        refused, made = refused + max(0.0, spans[0]), made + max(0.0, spans[1])
    return refused / made if made else 0.0


def _by_shard(evidence: Evidence) -> dict[int, list[dict[str, object]]]:
    found = dict[int, list[dict[str, object]]]()
    for row in evidence.judged("shard").rows:
        found.setdefault(whole(row.get("shard"), 0), []).append(row)
    return found


def _counts(row: dict[str, object], why: str) -> tuple[float, float]:
    """Return pushes refused for a reason, and all pushes, so far."""
    refused = row.get("refused")
    counts = {name: number(n, 0.0) for name, n in refused.items()} if isinstance(refused, dict) else {}
    return counts.get(why, 0.0), number(row.get("updates"), 0.0) + sum(counts.values())
