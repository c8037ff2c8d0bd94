"""The table of promised statuses: how a run ends, by what befalls it, whom, how, and how far it is.

`python scripts/chaos table` prints it as docs/reliability.md has it, and every try is held to it. In the
first row that fits stands what is promised; "*" stands for all, and "plain" for "mpich" too. The statuses: 85
is 85 where there is a whole checkpoint to go on from, and else 1; "85-" is 85 with or without; 137 is what
the launcher says of a rank that was killed (9 with MPICH, and 10 in place of 138); "own" is 86. The phases:
"launch" until training begins, "training", "end" once summary.json is there. Whatever the status, the same
command comes to an end with 0 afterwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dbmpi.errors import STATUS_OWNED

# Words of the first column that stand for others.
GROUPS = {
    "deaths": "kill kill-writing out-of-memory double-kill",
    "full": "disk-full disk-full-coordinator",
}
TABLE = """
what                 | who                     | how  | phase   | ends with  | because
none                 | *                       | *    | *       | 0          | nothing happens
pause-short          | *                       | *    | *       | 0          | it is below the deadline
link-cut-short       | *                       | *    | *       | 0          | TCP sends again in time
link-lossy           | *                       | *    | *       | 0          | what is lost is sent again
suspend              | *                       | *    | *       | 0          | a stopped clock does not count
disk-slow            | *                       | *    | *       | 0          | who writes gives signs of life
deaths               | *                       | plain| end     | 0 137      | it is over, or the job is
deaths               | *                       | plain| *       | 137        | the launcher ends the job
deaths               | *                       | ulfm | launch  | 0 1 85- 137| without roles the job ends
deaths               | *                       | ulfm | end     | 0 1 85     | it is over, or as in training
deaths               | replica                 | ulfm | training| 0          | the others do its work
deaths               | shard                   | ulfm | training| 0          | its successor has a mirror
deaths               | only shard              | ulfm | training| 1          | nobody has its parameters
deaths               | last replica            | ulfm | training| 85         | the others write a checkpoint
deaths               | coordinator             | ulfm | training| 85         | the shards write a checkpoint
deaths               | replica+shard           | ulfm | training| 0          | as each of them
deaths               | shards                  | ulfm | training| 0 1        | as there are mirrors, or not
deaths               | replica+shards          | ulfm | training| 0 1        | as there are mirrors, or not
deaths               | coordinator+replica     | ulfm | training| 85         | the shards write a checkpoint
deaths               | coordinator+last replica| ulfm | training| 85         | the shards write a checkpoint
deaths               | coordinator+shard       | ulfm | training| 85         | its successor has a mirror
deaths               | last replica+shard      | ulfm | training| 85         | its successor has a mirror
deaths               | replica+only shard      | ulfm | training| 1          | nobody has its parameters
deaths               | coordinator+only shard  | ulfm | training| 0 1 85     | nobody may be left to tell
deaths               | last replica+only shard | ulfm | training| 1 85       | the shard first, or last
kill-emergency       | *                       | ulfm | launch  | 0 1 85- 137| without roles the job ends
kill-emergency       | *                       | ulfm | training| 85         | written again without the shard
kill-emergency       | *                       | ulfm | end     | 0 1 85     | it is over, or as in training
kill-disk-full       | *                       | ulfm | launch  | 1 2 85- 137| without roles the job ends
kill-disk-full       | *                       | ulfm | training| 85         | the last checkpoint counts
kill-disk-full       | *                       | ulfm | end     | 0 1 85     | it is over, or as in training
kill-disk-full       | *                       | *    | launch  | 2 85- 137  | the launcher or the disk
kill-disk-full       | *                       | *    | training| 85 137     | the launcher or the disk
kill-disk-full       | *                       | *    | end     | 0 85 137   | it is over, or as in training
pause-long           | *                       | mpich| launch  | 0 1 85- 137| all waits have a deadline
pause-long           | *                       | *    | launch  | 0 1 85-    | all waits have a deadline
pause-long           | *                       | *    | end     | 0 1 85     | it is over, or as in training
pause-long           | replica                 | ulfm | training| 0          | it is fenced: as after a death
pause-long           | shard                   | ulfm | training| 0          | it is fenced: as after a death
pause-long           | only shard              | ulfm | training| 1          | it is fenced: as after a death
pause-long           | *                       | ulfm | training| 85         | it is fenced: as after a death
pause-long           | replica                 | mpich| training| 0 85 137   | done or saved without it
pause-long           | last replica            | mpich| training| 85 137     | a checkpoint without it
pause-long           | *                       | mpich| training| 1 137      | the last checkpoint counts
pause-long           | replica                 | plain| training| 0 85       | done or saved without it
pause-long           | last replica            | plain| training| 85         | a checkpoint without it
pause-long           | *                       | plain| training| 1          | the last checkpoint counts
link-cut             | *                       | *    | launch  | 0 1 85-    | all waits have a deadline
link-cut             | *                       | *    | *       | 0 1 85     | as this or that side is first
stop                 | *                       | *    | launch  | 0 1 85- 138| it kills until Python runs
stop                 | *                       | *    | training| 85         | all is saved
stop                 | *                       | *    | end     | 0 85       | it is over, or as in training
full                 | *                       | *    | launch  | 2 85       | it does not begin, or ends
full                 | *                       | *    | training| 85         | the last checkpoint counts
full                 | *                       | *    | end     | 0 85       | all is written, or not
disk-failing         | *                       | *    | launch  | 2 85       | it does not begin, or ends
disk-failing         | *                       | *    | training| 85         | the last checkpoint counts
disk-failing         | *                       | *    | end     | 0 85       | all is written, or not
disk-full-for-a-while| *                       | *    | launch  | 0 2 85     | it does not begin, or goes on
disk-full-for-a-while| *                       | *    | *       | 0 85       | written later, or it ends
two-jobs             | *                       | *    | *       | 0 own      | one has the directory
"""


@dataclass(frozen=True)
class Promise:
    """A row of the table."""

    kinds: str
    role: str
    launcher: str
    phase: str
    ends: str
    why: str

    def covers(self, kind: str, role: str, launcher: str, phase: str) -> bool:
        """Return whether the row is about this."""
        return (
            kind in GROUPS.get(self.kinds, self.kinds).split()
            and self.role in ("*", role)
            and self.launcher in ("*", launcher, {"mpich": "plain"}.get(launcher))
            and self.phase in ("*", phase)
        )


def _rows() -> list[Promise]:
    lines = TABLE.strip().splitlines()[1:]
    return [Promise(*(cell.strip() for cell in line.split("|"))) for line in lines]


PROMISES = _rows()


def promised(kind: str, role: str, launcher: str, phases: Iterable[str]) -> list[str]:
    """Return the statuses that are promised, of each phase that it may have been; "over": undisturbed."""
    words: dict[str, None] = {}
    for phase in phases:
        row = next((row for row in PROMISES if row.covers(kind, role, launcher, phase)), None)
        words |= dict.fromkeys(row.ends.split() if row is not None and phase != "over" else ["0"])
    return list(words)


def kept(status: int, words: Iterable[str], whole: bool) -> bool:
    """Return whether a status is among the promised; `whole`: there is a checkpoint to go on from."""
    meaning = {
        "85": (85,) if whole else (1,),
        "85-": (85, 1),
        "137": (137, 9),
        "138": (138, 10),
        "own": (STATUS_OWNED,),
    }
    return any(status in meaning.get(word, (int(word) if word.isdigit() else -1,)) for word in words)


def markdown() -> str:
    """Return the table as docs/reliability.md has it."""
    head = ["what", "who", "launcher", "phase", "ends with", "because"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in PROMISES:
        kinds = ", ".join(GROUPS.get(row.kinds, row.kinds).split())
        ends = " or ".join("its own" if word == "own" else word for word in row.ends.split())
        three = (word if word != "*" else "any" for word in (row.role, row.launcher, row.phase))
        cells = [kinds, *three, ends, row.why]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
