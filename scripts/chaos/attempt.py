"""One try: a run that something befalls, its end, and the jobs that go on from it to the end of the run."""

import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from dbmpi.output.run_directory import FINISHED
from dbmpi.run.roles.last_word import ANEW
from scripts import processes
from scripts.chaos import judge
from scripts.chaos.failing import audit
from scripts.chaos.jobs import PLAIN, Surroundings, Workshop, summary
from scripts.chaos.kinds import PATIENT, Kind
from scripts.chaos.plan import Calm, Plan
from scripts.chaos.promises import kept, promised
from scripts.chaos.scene import Scene
from scripts.chaos.shapes import Shape
from scripts.chaos.tried import COUNTS, Tried

# Settings with which what was outstanding when a coordinator died, and is done again, changes nothing.
NO_RATE = [
    "downpour.schedule.warmup_epochs=0",
    "downpour.schedule.kind=linear",
    "downpour.schedule.final=0",
    "downpour.schedule.decay_epochs=1e-9",
]
AGAIN = 2  # jobs, at most, that a run takes to its end after the one that was disturbed


class Attempt:
    """A try of a kind that disturbs a run.

    Parameters
    ----------
    shop
        Makes the jobs.
    name, kind, plan
        What is tried.
    run_dir
        Of the run: not there yet.
    draw
        Where further chance comes from.
    calm
        What is known of undisturbed runs of this mode.
    """

    def __init__(
        self,
        shop: Workshop,
        name: str,
        kind: Kind,
        plan: Plan,
        run_dir: Path,
        draw: random.Random,
        calm: Calm,
    ) -> None:
        self._shop, self._name, self._kind, self._plan = shop, name, kind, plan
        self._run_dir, self._calm = run_dir, calm
        after_s = calm.after_s(plan.moment)
        victims, gap_s = plan.victims, plan.gap_s
        done = partial(judge.trained, run_dir, plan.mode.algorithm)
        self._scene = Scene(
            run_dir, plan.shape, victims, after_s, gap_s, kind.timeout_s, draw, kind.act, plan.share, done
        )
        self._jobs: list[processes.Finished] = []
        self.tried = Tried(
            role=plan.shape.role_of_all(victims),
            algorithm=plan.mode.algorithm,
            launcher=plan.mode.launcher,
            shape=str(plan.shape),
            again=str(plan.again),
        )

    def make(self) -> Tried:
        """Make the try, and judge it."""
        try:
            self._first_job()
        finally:
            self._scene.clean()
        try:
            self._go_on()
            self._judge_end()
        except (KeyError, OSError, ValueError) as error:
            self.tried.wrong.append(f"damage: what is left cannot be read: {error!r}")
        if self.tried.wrong:
            self.tried.said = "\n".join(judge.shortened(str(done)) for done in self._jobs)
        return self.tried

    def _first_job(self) -> None:
        scene, tried = self._scene, self.tried
        around = self._kind.around(self._shop, scene)
        done = self._job(self._plan.shape, around, scene)
        found = dict(audit.checkpoints(self._run_dir))
        newest = judge.newest(found)
        tried.first_s, tried.began_s = round(done.wall_s, 3), judge.began_s(self._run_dir)
        tried.after_s = round(scene.hit_s or 0.0, 3)
        tried.status, tried.phases, tried.notes = done.status, scene.phases, scene.notes
        tried.promised = promised(self._name, tried.role, tried.launcher, scene.phases or ["over"])
        if not done.timed_out and not kept(done.status, tried.promised, newest is not None):
            tried.wrong.append(f"status {done.status}{'' if newest else ' without a checkpoint'}")
        tried.wrong += judge.manners(done) + judge.false_claims(found)
        if done.status and scene.hit_s is not None and scene.began_s is not None:
            held_s = newest.elapsed_s if newest is not None else 0.0
            tried.lost_s = round(max(0.0, min(scene.hit_s, done.wall_s) - scene.began_s - held_s), 3)
            tried.wrong += judge.lost_work(tried.lost_s)

    def _job(
        self, shape: Shape, around: Surroundings = PLAIN, scene: Scene | None = None
    ) -> processes.Finished:
        settings = [f"cluster.timeout_s={self._kind.timeout_s if scene else PATIENT}"]
        done = self._shop.run(self._plan.mode, shape, self._run_dir, settings, around, scene)
        self._jobs.append(done)
        self.tried.statuses.append(done.status)
        self.tried.available_s += shape.replicas * shape.partitions * done.wall_s
        return done

    def _go_on(self) -> None:
        """Go on with a run that has not come to its end, on another shape perhaps."""
        for _ in range(AGAIN):
            if self._over() or "hang" in self.tried.wrong:
                return
            if ANEW in self._jobs[-1].err:
                self._run_dir = self._run_dir.with_name(f"{self._run_dir.name}-anew")
            with ThreadPoolExecutor(1) as beside:
                found = beside.submit(self._loading())
                done = self._job(self._plan.again)
                self.tried.wrong += found.result() + [f"then {text}" for text in judge.manners(done)]
            if done.status:
                self.tried.wrong.append(f"status {done.status} of a job that nothing disturbed")

    def _over(self) -> bool:
        """Whether the run has come to its end. Where all ranks are dead, mpirun says 0 and knows nothing."""
        return self.tried.statuses[-1] == 0 and (self._run_dir / FINISHED).exists()

    def _loading(self) -> Callable[[], list[str]]:
        """Copy the run; return what says whether a job that has nothing to do leaves what was saved."""
        newest = judge.newest(dict(audit.checkpoints(self._run_dir)))
        batch = self._plan.mode.algorithm == "sandblaster"
        if newest is None or (newest.iterations if batch else newest.steps) < 1:
            return list
        copy = self._run_dir.with_name(f"{self._run_dir.name}-copy")
        shutil.copytree(self._run_dir, copy)
        saved = audit.tensors(copy / "checkpoints" / f"{newest.number:06d}")
        settings = ["sandblaster.iterations=1"] if batch else ["train.steps=1", *NO_RATE]
        settings.append(f"cluster.timeout_s={PATIENT}")

        def load() -> list[str]:
            done = self._shop.run(self._plan.mode, self._plan.again, copy, settings)
            wrong = judge.loaded(done, saved, copy, newest.number)
            shutil.rmtree(copy, ignore_errors=True)
            return wrong

        return load

    def _judge_end(self) -> None:
        """Judge the end of the run, and take its figures."""
        tried, found = self.tried, summary(self._run_dir)
        if tried.statuses[-1]:
            return
        mode, quiet = self._plan.mode, not self._kind.deaths
        tried.wrong += judge.end(self._run_dir, found) + judge.ledger(mode, found, quiet, self._most_again())
        tried.accuracy, tried.goodput = found.get("test_accuracy"), found.get("goodput")
        tried.applied_s = round(found.get("applied_s", 0.0), 3)
        tried.available_s = round(tried.available_s, 3)
        for name in COUNTS:
            setattr(tried, name, found[name])
        if mode.algorithm == "sandblaster":
            losses = judge.losses(self._run_dir)
            tried.wrong += judge.same_losses(losses, self._calm.losses)
            tried.losses = losses if self._name == "none" else []

    def _most_again(self) -> int:
        """Return how many portions may be handed out twice: two of each replica that a death concerned."""
        return 2 * self._plan.shape.replicas * max(1, len(self._plan.victims)) * len(self._jobs)
