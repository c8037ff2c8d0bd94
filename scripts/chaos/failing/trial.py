"""Makes one call of a run fail, and says what is wrong with how the run ended, and with the one after it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts import processes
from scripts.chaos.failing import audit
from scripts.chaos.failing.faults import Call, Fault, last_checkpoint, read_trace
from scripts.chaos.failing.laboratory import EARLIER, EPOCHS, STEPS, Laboratory
from scripts.chaos.failing.promises import Promise, file_of, promised

REASONS = ["No space left on device", "Input/output error", "Stale file handle"]
ERRORS = "dbmpi: error", "dbmpi: rank", "dbmpi: interrupted"
LAST_WORD, MOST = (1, 85), 4  # statuses that name each file that could not be written, and what to do
UNDISTURBED = Promise("*", "*", "*", "0", "nothing")
TRIES = 3  # a call that threads made in another order is looked for again


@dataclass(frozen=True)
class Outcome:
    """How a run ended one of whose calls failed."""

    name: str
    file: str
    fault: Fault
    promise: Promise
    status: int
    wrong: list[str]
    met: bool
    done: processes.Finished


class Series:
    """The runs of one shape that begin in one way.

    Parameters
    ----------
    lab
        Makes the runs.
    shape
        A key of `laboratory.SHAPES`.
    resumed
        Whether each goes on from an earlier job.
    """

    def __init__(self, lab: Laboratory, shape: str, resumed: bool) -> None:
        self._lab, self._shape, self._resumed = lab, shape, resumed
        self.name = f"{'resumed' if resumed else 'fresh'} {shape}"
        self._exact = shape != "2 replicas"  # with one replica a run repeats bit for bit
        self._folder = lab.folder / self.name.replace(" ", "-")
        self._folder.mkdir()
        if resumed:
            self._expect_calm(lab.run(shape, self._folder / "earlier", f"train.epochs={EARLIER}"))
        self.calls = self._trace()
        for _ in range(1, TRIES):
            if last_checkpoint(self.calls) < EPOCHS:  # one was not on disk when the next was due
                self.calls = self._trace()
        self.last = last_checkpoint(self.calls)

    def _trace(self) -> list[Call]:
        run, trace = self._folder / "calm", self._folder / "trace"
        trace.unlink(missing_ok=True)
        self._prepare(run)
        done = self._lab.run(self._shape, run, trace=trace)
        self._expect_calm(done)
        self._usual = (done.out + done.err).splitlines()
        wrong = self._after_success(run)
        if wrong:
            raise SystemExit(f"{self.name}: the undisturbed run: {', '.join(wrong)}\n{done}")
        return read_trace(trace)

    def _expect_calm(self, done: processes.Finished) -> None:
        if done.status:
            raise SystemExit(f"{self.name}: a run that nothing disturbs fails: {done}")

    def _prepare(self, run: Path) -> None:
        shutil.rmtree(run, ignore_errors=True)
        if self._resumed:
            shutil.copytree(self._folder / "earlier", run)

    def attempt(self, fault: Fault, number: int) -> Outcome:
        """Make a run with a fault, judge it, and go on from it without the fault."""
        run, hit = self._folder / f"run-{number}", self._folder / f"hit-{number}"
        for _ in range(TRIES):
            self._prepare(run)
            done = self._lab.run(self._shape, run, fail=fault.told, hit=hit)
            if hit.exists():
                break
        promise = promised(fault, self.last)
        wrong = self._judge(done, run, fault, promise if hit.exists() else UNDISTURBED)
        if wrong or done.status or fault.first:  # else it has left what an undisturbed run leaves
            wrong += [f"then {one}" for one in self._go_on(run, fault)]
        shutil.rmtree(run, ignore_errors=True)
        name, file = f"{self.name} {fault}", file_of(fault.call.path, self.last)
        return Outcome(name, file, fault, promise, done.status, wrong, hit.exists(), done)

    def _judge(self, done: processes.Finished, run: Path, fault: Fault, promise: Promise) -> list[str]:
        """Say what is wrong with how a run with a fault ended, and with what it left."""
        found = dict(audit.checkpoints(run))
        whole = any(isinstance(one, audit.Saved) for one in found.values())
        wrong = _manners(done, 1 if done.status not in LAST_WORD else MOST)
        if not promise.allows(done.status, whole):
            wrong.append(f"status {done.status}{'' if whole else ' without a checkpoint'}")
        if done.status == 0:
            wrong += self._after_success(run)
            news = [line for line in (done.out + done.err).splitlines() if line not in self._usual]
            if not promise.said("\n".join(news), REASONS):
                wrong.append(f"says not {promise.says}")
        elif (run / "finished").exists() and not self._resumed:
            wrong.append("finished is there")
        if self._resumed and not whole:
            wrong.append("the earlier checkpoints are lost")
        removing = file_of(fault.call.path, self.last) == "old checkpoint"
        return wrong + self._false_claims(found, removing) + self._wrong_values(found)

    def _false_claims(self, found: dict[int, audit.Saved | audit.Broken], removing: bool) -> list[str]:
        """Name checkpoints that are not whole; one that was to be removed may be so, if it is old."""
        newest = max((number for number, one in found.items() if isinstance(one, audit.Saved)), default=0)
        broken = {number: one for number, one in found.items() if isinstance(one, audit.Broken)}
        return [str(one) for number, one in broken.items() if number > newest or not removing]

    def _wrong_values(self, found: dict[int, audit.Saved | audit.Broken]) -> list[str]:
        """Name checkpoints that hold other parameters than an undisturbed run had at that minibatch."""
        saved = [one for one in found.values() if isinstance(one, audit.Saved) and self._exact]
        return [
            f"WRONG VALUES in checkpoint {one.number}"
            for one in saved
            if one.digest != self._lab.digest_after(one.steps)
        ]

    def _after_success(self, run: Path) -> list[str]:
        """Say what is wrong with what a run has left that ended with status 0."""
        newest = next((one for _, one in audit.checkpoints(run)), None)
        if not isinstance(newest, audit.Saved):
            return [f"no last checkpoint: {newest}"]
        try:
            summary = json.loads((run / "summary.json").read_text())
            model = audit.model(run / "model.h5")
        except (OSError, ValueError, KeyError) as error:
            return [f"no model or no summary: {error!r}"]
        checks = {
            f"the last checkpoint is of minibatch {newest.steps}": newest.steps == STEPS or not self._exact,
            "summary.json": (summary["status"], summary["steps"]) == (0, newest.steps),
            "finished is not there": (run / "finished").exists(),
            "WRONG VALUES in model.h5": np.array_equal(model, newest.vectors["parameters"]),
            "metrics.jsonl has broken lines": audit.broken_lines(run) == 0,
        }
        return [text for text, holds in checks.items() if not holds] + self._wrong_values({0: newest})

    def _go_on(self, run: Path, fault: Fault) -> list[str]:
        """Say what is wrong with the same command again, and with a run that only loads the checkpoint.

        What could not be opened at any time could not be removed.
        """
        wrong = self._load(run) if self._shape != "serial" else []
        done = self._lab.run(self._shape, run)
        wrong += _manners(done) + ([f"status {done.status}"] if done.status else self._after_success(run))
        stays = fault.call.path if fault.error == "stays" else None
        return wrong + [f"{path} is left" for path in audit.litter(run) if f"run/{path}" != stays]

    def _load(self, run: Path) -> list[str]:
        """Say whether a run that has nothing to do leaves another model than the checkpoint it began from."""
        newest = next((one for _, one in audit.checkpoints(run) if isinstance(one, audit.Saved)), None)
        if newest is None:
            return []
        copy = run.with_name(f"{run.name}-copy")
        shutil.copytree(run, copy)
        done = self._lab.run("serial", copy, "train.steps=1")
        same = not done.status and np.array_equal(
            audit.model(copy / "model.h5"), newest.vectors["parameters"]
        )
        shutil.rmtree(copy)
        return [] if same else [f"LOADED ANOTHER MODEL than checkpoint {newest.number}: status {done.status}"]


def _manners(done: processes.Finished, most: int = 1) -> list[str]:
    """Say what is wrong with how a program ended, whatever its status; `most`: messages that it may have."""
    text = done.out + done.err
    said = [line for line in text.splitlines() if line.startswith(ERRORS)]
    checks = {
        "hangs": not done.timed_out,
        "a traceback": "Traceback" not in text,
        "processes left": not done.survivors,
        f"{len(said)} messages": bool(done.status) <= len(said) <= most * bool(done.status),
    }
    return [name for name, holds in checks.items() if not holds]
