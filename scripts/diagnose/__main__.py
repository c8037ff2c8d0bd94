"""Hold the verdict to runs of which it is known what is wrong: `python scripts/diagnose [GROUP ...]`.

Each scenario is a run on real ranks that something is done to, at four strengths, or a healthy one. What the
verdict says of its records stands beside what it was to say; --out adds a line of JSON for each. Scenarios
are made for a machine of two cores without other work.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dbmpi.screen import reported, screens
from scripts import processes
from scripts.diagnose.runs import Judged, Workshop, said
from scripts.diagnose.scenarios import GROUPS, Scenario

BESIDE = 0.2  # cores
HEAD = "| what | strength | to be said | said | | cores busy beside |\n| --- | --- | --- | --- | --- | --- |"


def main(words: Sequence[str]) -> int:
    """Run the groups that are asked for, and print a row for each scenario; 1 if one is not as expected."""
    given = _parse(words)
    right = True
    with processes.ended_in_order(), tempfile.TemporaryDirectory(prefix="dbmpi-diagnose-") as folder:
        workshop = Workshop(Path(folder), given.keep)
        print(HEAD, flush=True)
        for scenario in (one for group in given.groups for one in GROUPS[group]()):
            if given.only not in f"{scenario.name} {scenario.strength}":
                continue
            judged = workshop.judge(scenario)
            right &= _show(scenario, judged, given.out)
            if given.all:
                print("\n".join(f"  {f.severity}: {f.about}: {f.text} [{f.figure}]" for f in judged.findings))
    return 0 if right else 1


def _show(scenario: Scenario, judged: Judged, out: Path | None) -> bool:
    """Print the row of a scenario; return whether exactly what was to be said has been said.

    Where others kept a part of the cores busy meanwhile it is no false alarm that ranks lacked some.
    """
    alarms = said(judged.findings)
    allowed = (*scenario.allowed, *(["cores"] if judged.beside >= BESIDE else []))
    missing = [about for about in scenario.expected if about not in alarms]
    false = [about for about in alarms if about not in allowed]
    verdict = "; ".join([*(f"missed {one}" for one in missing), *(f"false alarm {one}" for one in false)])
    words = ", ".join(f"{about} ({severity})" for about, severity in alarms.items())
    row = [scenario.name, scenario.strength, ", ".join(scenario.expected) or "nothing", words or "nothing"]
    print(f"| {' | '.join(row)} | {verdict or 'right'} | {judged.beside:.1f} |", flush=True)
    if out is not None:
        line = {
            "scenario": scenario.name,
            "strength": scenario.strength,
            "findings": [vars(one) for one in judged.findings],
            "beside": judged.beside,
        }
        with out.open("a") as lines:
            lines.write(json.dumps(line) + "\n")
    return not verdict


def _parse(words: Sequence[str]) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("scripts/diagnose", description=__doc__, formatter_class=form)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; none: all")
    parser.add_argument("--only", default="", help="scenarios whose name and strength contain this")
    parser.add_argument("--all", action="store_true", help="print each finding")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the records of the runs are kept")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where lines of JSON are added")
    given = parser.parse_args(words)
    given.groups = given.groups or list(GROUPS)
    for group in given.groups:
        if group not in GROUPS:
            parser.error(f"there is no group {group}; there are {', '.join(GROUPS)}")
    return given


if __name__ == "__main__":
    with screens():
        status = reported(main(sys.argv[1:]))
    sys.exit(status)
