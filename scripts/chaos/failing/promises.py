"""What a run promises when a call on one of its files fails: the table that `calls` holds every run to.

Columns: the files; the calls; the faults; the statuses that the run may end with; what it says if that is 0.
"*" stands for all, "85" for 85 if there is a whole checkpoint to go on from, and else 1. A run that does not
end with 0 says so in one message. In the first row that fits stands what is promised. Whatever the status:

  * there is no traceback, no hang, no process left;
  * every checkpoint that claims to be whole is, and holds the parameters that an undisturbed run had there;
  * those that were there before are there, but for those that newer ones have taken the place of;
  * with status 0 the model is the undisturbed run's, bit for bit, and the last checkpoint too;
  * the same command again, without the fault, ends with 0 and the undisturbed run's model.
"""

import re
from dataclasses import dataclass

from scripts.chaos.failing.faults import Fault, checkpoint_of

TABLE = """
files             | calls                           | faults              | ends with | says
*                 | read write                      | short               | 0         | nothing
data              | *                               | stays               | 1 2       |
data              | *                               | *                   | 0 1 2     | anything
directory         | mkdir                           | *                   | 0 2       | anything
directory         | *                               | *                   | 0 2       | anything
description       | create write fsync rename       | *                   | 2         |
description       | *                               | *                   | 0 2       | anything
old mark          | *                               | *                   | 0 2       | anything
old model         | *                               | *                   | 0 2       | anything
metrics           | write                           | full                | 85        |
metrics           | create                          | full                | 2 85      |
metrics           | write                           | *                   | 0         | a warning
metrics           | create open read truncate stat  | *                   | 0 2       | anything
metrics           | close                           | *                   | 0 2       | anything
checkpoint        | create write mkdir              | full                | 85        |
checkpoint        | create write mkdir fsync rename | *                   | 0         | a warning
checkpoint        | *                               | *                   | 0         | anything
last checkpoint   | create write mkdir              | full                | 85        |
last checkpoint   | *                               | *                   | 0 85      | anything
owner             | *                               | *                   | 0 2       | anything
checkpoints       | mkdir                           | *                   | 0 2       | anything
checkpoints       | list stat open                  | *                   | 0 2       | anything
checkpoints       | *                               | *                   | 0         | anything
old checkpoint    | open read stat access close list | *                  | 0 1 2     | anything
old checkpoint    | *                               | *                   | 0         | anything
model             | create write                    | full                | 85        |
summary           | create write                    | full                | 85        |
mark              | create write                    | full                | 85        |
model             | *                               | *                   | 0 85      | anything
summary           | *                               | *                   | 0 85      | anything
mark              | *                               | *                   | 0 85      | anything
kernels           | *                               | *                   | 0         | anything
*                 | *                               | full                | 0 2 85    | anything
*                 | *                               | *                   | 0 2 85    | anything
"""

FILES = {
    r"data": "data",
    r"run": "directory",
    r"run/\.owner(/\d+)?(/owner\.json)?": "owner",
    r"run/(\.owner/\d+/\.)?(config\.toml|run\.json)(\.tmp)?": "description",
    r"run/metrics\.jsonl": "metrics",
    r"run/checkpoints": "checkpoints",
    r"run/\.owner/\d+/\d+\.part(/.*)?": "checkpoint",
    r"run/(checkpoints/|\.owner/\d+/\.gone-)\d+(/.*)?": "old checkpoint",
    r"run/\.owner/\d+/\.model\.h5\.tmp": "model",
    r"run/\.owner/\d+/\.summary\.json\.tmp": "summary",
    r"run/(model\.h5|summary\.json)": "old model",
    r"run/(\.owner/\d+/\.gone-)?finished": "old mark",
    r"run/\.owner/\d+/\.finished\.tmp": "mark",
    r"kernels(/.*)?": "kernels",
}


def file_of(path: str, last: int) -> str:
    """Return what the table calls a file; `last` is the number of the last checkpoint of the run."""
    found = next((name for form, name in FILES.items() if re.fullmatch(form, path)), path)
    itself = re.match(rf"run/checkpoints/0*{last}(/|$)", path)  # once it has its name
    return "last checkpoint" if itself or checkpoint_of(path) == last else found


@dataclass(frozen=True)
class Promise:
    """A row of the table."""

    files: str
    calls: str
    faults: str
    ends: str
    says: str

    def covers(self, file: str, call: str, error: str) -> bool:
        """Return whether the row is about a fault of a call on a file."""
        words = (self.calls, call), (self.faults, error)
        return self.files in ("*", file) and all(one in said.split() or said == "*" for said, one in words)

    def allows(self, status: int, whole: bool) -> bool:
        """Return whether a run may end so; `whole`: there is a checkpoint to go on from."""
        return str(status) in (word if word != "85" or whole else "1" for word in self.ends.split())

    def said(self, text: str, reasons: list[str]) -> bool:
        """Return whether a run that ended with 0 has said what it must; `text` is all its output."""
        aloud = "dbmpi: warning" in text or any(reason in text for reason in reasons)
        return {"a warning": aloud, "nothing": not aloud}.get(self.says, True)


def _rows() -> list[Promise]:
    lines = TABLE.strip().splitlines()[1:]
    return [Promise(*(cell.strip() for cell in line.split("|"))) for line in lines]


PROMISES = _rows()


def promised(fault: Fault, last: int) -> Promise:
    """Return what is promised for a fault."""
    file = file_of(fault.call.path, last)
    return next(row for row in PROMISES if row.covers(file, fault.call.kind, fault.error))
