"""What a run's records say, as the page shows it."""

from collections.abc import Sequence

from dbmpi.diagnosis.verdict import findings
from dbmpi.logs.run import RunLog
from dbmpi.report.blocks import Said


def said(run: RunLog) -> Sequence[Said]:
    """Return the findings about a run, the worst first."""
    return [Said(one.severity, one.text, one.figure, one.remedy) for one in findings(run)]
