"""What the lines of a series come to: tries, how they ended, accuracy, lost work and goodput. Pure."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean
from typing import Any

from scripts.chaos import problem
from scripts.chaos.judge import SLACK_S

Line = dict[str, Any]
VERDICTS = (
    "as promised",
    "hang",
    "wrong status",
    "silent damage",
    "lost work",
    "bad manners",
    "another breach",
)
HEADS = "tries", "kept", "hang", "wrong", "harm", "lost", "rude", "other"
IMPOSSIBLE = "not possible here"
BEST = 0.003  # by so much may the mean accuracy differ from that of undisturbed runs,
WORST = 0.005  # and one run be below the worst of those


def made(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of tries that were possible; one that is there twice counts once."""
    once = {
        (one["host"], one["commit"], one["seed"], one["kinds"], one["try"], one["time"]): one for one in lines
    }
    return [one for one in once.values() if one["verdict"] != IMPOSSIBLE]


def table(lines: Sequence[Line]) -> str:
    """Return a line for each kind and mode: how many tries, and how they ended."""
    rows: dict[tuple[str, str], list[Line]] = {}
    for one in lines:
        rows.setdefault((one["kind"], one["mode"]), []).append(one)
    heads = " ".join(f"{name:>5}" for name in HEADS)
    text = [f"{'kind':22} {'mode':18} {heads}  statuses"]
    for (kind, mode), some in sorted(rows.items()):
        verdicts = Counter(one["verdict"] for one in some)
        statuses = Counter(one.get("status", 0) for one in some)
        ends = ", ".join(f"{status}: {number}" for status, number in sorted(statuses.items()))
        counts = " ".join(f"{verdicts[name]:5}" for name in VERDICTS)
        text.append(f"{kind:22} {mode:18} {len(some):5} {counts}  {ends}")
    return "\n".join(text)


def goodput(lines: Sequence[Line]) -> float | None:
    """Return the goodput of all runs together, by the clock outside of them."""
    some = [one for one in lines if one.get("available_s") and one.get("applied_s")]
    available_s = sum(one["available_s"] for one in some)
    return sum(one["applied_s"] for one in some) / available_s if available_s else None


def aims(disturbed: Sequence[Line], calm: Sequence[Line]) -> list[str]:
    """Return what is wanted of a series, what it has come to, and whether that is so."""
    count = Counter(one["verdict"] for one in [*disturbed, *calm])
    text = [f"aims, of {len(disturbed)} disturbed and {len(calm)} undisturbed tries:"]
    text += [_aim(f"{name}: {count[name]}, of 0", not count[name]) for name in VERDICTS[1:]]
    lost = [one["lost_s"] for one in disturbed if "lost_s" in one]
    if lost:
        most_s, every_s = (
            problem.CHECKPOINT_S + SLACK_S,
            f"with a checkpoint every {problem.CHECKPOINT_S:g} s",
        )
        found = f"{max(lost):.1f} s at most, {mean(lost):.2f} s on average"
        text.append(_aim(f"work: {found}, of {most_s:g} s, {every_s}", max(lost) <= most_s))
    for algorithm in (None, *problem.ALGORITHMS):
        text += accuracy(disturbed, calm, algorithm)
    return text


def accuracy(disturbed: Sequence[Line], calm: Sequence[Line], algorithm: str | None) -> list[str]:
    """Compare the accuracy of disturbed runs with that of undisturbed ones, by an algorithm, or by all."""
    one, other = (
        [line["accuracy"] for line in some if "accuracy" in line and algorithm in (None, line["algorithm"])]
        for some in (disturbed, calm)
    )
    if not one or not other:
        return []
    apart, below = mean(one) - mean(other), min(other) - min(one)
    by = f"accuracy, {algorithm or 'all'}"
    means = f"mean {mean(one):.2%} of {len(one)} runs, {mean(other):.2%} of {len(other)} undisturbed"
    worst = f"worst {min(one):.2%}, {min(other):.2%} undisturbed"
    return [
        _aim(f"{by}: {means}: {100 * apart:+.2f} points, of {100 * BEST:g}", abs(apart) <= BEST),
        _aim(f"{by}: {worst}: {-100 * below:+.2f} points, of -{100 * WORST:g}", below <= WORST),
    ]


def _aim(text: str, kept: bool) -> str:
    return f"  {text}: {'kept' if kept else 'NOT KEPT'}"


def report(lines: Sequence[Line]) -> str:
    """Return the whole report."""
    tries = made(lines)
    disturbed = [one for one in tries if one["kind"] != "none"]
    calm = [one for one in tries if one["kind"] == "none"]
    kept, commits = sum(not one["wrong"] for one in tries), Counter(one["commit"] for one in tries)
    text = [table(tries), "", f"{len(tries)} tries, {kept} ended as promised", *aims(disturbed, calm)]
    for name in ("rows_again", "rows_lost", "updates_lost"):
        text.append(f"{name}: {max((one.get(name, 0) for one in disturbed), default=0)} at most")
    for name, some in (("disturbed", disturbed), ("undisturbed", calm)):
        found = goodput(some)
        text += [f"goodput, {name} runs: {found:.1%}"] if found is not None else []
    text.append("commits: " + ", ".join(f"{name} ({number})" for name, number in commits.items()))
    text += [_bad(one) for one in tries if one["wrong"]]
    impossible = Counter((one["kind"], one["notes"][0]) for one in lines if one["verdict"] == IMPOSSIBLE)
    text += [f"{kind}: {why} ({number} tries)" for (kind, why), number in impossible.items()]
    return "\n".join(text)


def _bad(one: Line) -> str:
    """Return what is wrong with a try, and how it is made again."""
    which = f"{one['kind']} (try {one['try']} of seed {one['seed']}, {one['mode']} {one.get('role', '')})"
    return f"{which}: {'; '.join(one['wrong'])}"
