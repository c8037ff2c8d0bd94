"""What the lines of a series come to: tries, how they ended, accuracy, lost work and goodput. Pure."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean
from typing import Any

from scripts.chaos import problem

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


def accuracy(lines: Sequence[Line]) -> list[str]:
    """Compare the accuracy of the disturbed runs of each algorithm with that of undisturbed ones."""
    text = []
    for algorithm in problem.ALGORITHMS:
        some = [one for one in lines if one.get("algorithm") == algorithm and "accuracy" in one]
        calm = [one["accuracy"] for one in some if one["kind"] == "none"]
        others = [one["accuracy"] for one in some if one["kind"] != "none"]
        if calm and others:
            apart, below = mean(others) - mean(calm), min(calm) - min(others)
            kept = "kept" if abs(apart) <= BEST and below <= WORST else "NOT KEPT"
            each = f"{_of(others, 'disturbed')}, {_of(calm, 'undisturbed')}"
            text.append(f"accuracy, {algorithm}: {each}: {100 * apart:+.2f} points, {kept}")
    return text


def _of(some: Sequence[float], name: str) -> str:
    return f"{len(some)} {name} {mean(some):.2%} (worst {min(some):.2%})"


def report(lines: Sequence[Line]) -> str:
    """Return the whole report."""
    tries = made(lines)
    count = Counter(one["verdict"] for one in tries)
    disturbed = [one for one in tries if one["kind"] != "none"]
    calm = [one for one in tries if one["kind"] == "none"]
    text = [table(tries), ""]
    text.append(f"{len(tries)} tries, {count['as promised']} ended as promised")
    text += [f"{name}: {count[name]}" for name in VERDICTS[1:]]
    commits = Counter(one["commit"] for one in tries)
    text.append("commits: " + ", ".join(f"{name} ({number})" for name, number in commits.items()))
    lost = [one["lost_s"] for one in disturbed if "lost_s" in one]
    if lost:
        text.append(
            f"lost work: {max(lost):.1f} s at most, {mean(lost):.2f} s on average, "
            f"with a checkpoint every {problem.CHECKPOINT_S:g} s"
        )
    for name in ("rows_again", "rows_lost", "updates_lost"):
        text.append(f"{name}: {max((one.get(name, 0) for one in disturbed), default=0)} at most")
    text += accuracy(tries)
    for name, some in (("disturbed", disturbed), ("undisturbed", calm)):
        found = goodput(some)
        text += [f"goodput, {name} runs: {found:.1%}"] if found is not None else []
    text += [_bad(one) for one in tries if one["wrong"]]
    impossible = Counter((one["kind"], one["notes"][0]) for one in lines if one["verdict"] == IMPOSSIBLE)
    text += [f"{kind}: {why} ({number} tries)" for (kind, why), number in impossible.items()]
    return "\n".join(text)


def _bad(one: Line) -> str:
    """Return what is wrong with a try, and how it is made again."""
    which = f"{one['kind']} (try {one['try']} of seed {one['seed']}, {one['mode']} {one.get('role', '')})"
    return f"{which}: {'; '.join(one['wrong'])}"
