"""The one place where the page asks what a run's records say."""

from collections.abc import Sequence
from importlib import import_module

from dbmpi.logs.run import RunLog
from dbmpi.report.blocks import Said

SEVERITIES = "bad", "warning", "note", "good"


def said(run: RunLog) -> Sequence[Said]:
    """Return the findings about a run, the worst first."""
    try:
        findings = import_module("dbmpi.diagnosis.verdict").findings
    except ModuleNotFoundError:
        return []
    return [
        Said(one.severity if one.severity in SEVERITIES else "note", one.text, one.figure, one.remedy)
        for one in findings(run)
    ]
