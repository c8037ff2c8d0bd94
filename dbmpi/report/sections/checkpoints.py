"""Checkpoints: how large, how long training stood still, and how long they took to write. Pure."""

from collections.abc import Sequence

import numpy as np

from dbmpi.report import numbers
from dbmpi.report.blocks import Bar, Cell, Section, Table
from dbmpi.report.subject import Subject

MOST = 50


def section(subject: Subject) -> Section | None:
    """Return the table of checkpoints; None where none was taken."""
    records = subject.run.records("checkpoint")
    if not len(records):
        return None
    shown = records.at(list(range(len(records)))[-MOST:])
    stall_s, write_s = shown.column("stall_s"), shown.column("write_s")
    most_s = max(float(np.nansum([stall_s, write_s], axis=0).max()), 1e-9)
    rows: list[Sequence[Cell | Bar]] = [
        [
            numbers.number(shown.column("number")[i]),
            numbers.seconds(shown.life_s[i]),
            Bar([(0.0, _known(stall_s[i]), "c3"), (_known(stall_s[i]), _known(write_s[i]), "c0")], most_s),
            numbers.seconds(stall_s[i]),
            numbers.seconds(write_s[i]),
            numbers.size(shown.column("bytes")[i]),
            numbers.number(shown.column("score")[i]),
            shown.column("examples")[i],
        ]
        for i in range(len(shown))
    ]
    stalled = numbers.seconds(float(np.nansum(records.column("stall_s"))))
    left = f" The last {MOST} of {len(records)}." if len(records) > MOST else ""
    return Section(
        "checkpoints",
        "Checkpoints",
        [
            Table(
                "Checkpoints that were taken",
                ["number", "whole life", "time", "stood still", "written in", "size", "score", "examples"],
                rows,
                f"Training stood still for {stalled} in all; files are written beside it.{left}",
                [("c3", "training stands still"), ("c0", "written beside training")],
            )
        ],
    )


def _known(value: float) -> float:
    return float(np.nan_to_num(value))
