"""A disk that is slow, full or failing from some moment on, for a while or for good; needs a C compiler."""

import errno
from collections.abc import Callable
from pathlib import Path

from scripts.chaos.disturbances import kill
from scripts.chaos.failing import preload
from scripts.chaos.jobs import Surroundings, Workshop
from scripts.chaos.scene import Scene

SOON, LATER = (0.3, 1.5), (2.0, 4.0)  # seconds
SLOWEST = 1.5  # deadlines that flushing a file takes


def without_compiler() -> str:
    """Say why no disk can be disturbed here; nothing if one can."""
    return "" if preload.compiler() else "no C compiler: neither cc nor gcc is on the PATH"


def full(shop: Workshop, scene: Scene) -> Surroundings:
    """Return what makes the disk full while the scene's mark is there."""
    return _under(scene, "full", errno.ENOSPC)


def full_alone(shop: Workshop, scene: Scene) -> Surroundings:
    """Return what makes the disk of rank 0 alone full while the scene's mark is there."""
    return _under(scene, "own", errno.ENOSPC)


def failing(shop: Workshop, scene: Scene) -> Surroundings:
    """Return what lets all that is written fail while the scene's mark is there."""
    return _under(scene, "full", errno.EIO)


def slow(shop: Workshop, scene: Scene) -> Surroundings:
    """Return what lets flushing a file take up to 1.5 deadlines while the scene's mark is there."""
    seconds = scene.timeout_s * scene.draw.uniform(0.2, SLOWEST)
    return _under(scene, "slow", int(1000 * seconds))


def begin(scene: Scene) -> None:
    """Disturb the disk from now on."""
    mark(scene).touch()
    scene.settle()


def begin_and_kill(scene: Scene) -> None:
    """Disturb the disk from now on, and kill the victims a moment later."""
    begin(scene)
    scene.wait(scene.draw.uniform(0.0, scene.gap_s))
    kill(scene)


def for_a_while(bounds_s: tuple[float, float]) -> Callable[[Scene], None]:
    """Return what disturbs the disk for so many seconds, between two bounds."""

    def act(scene: Scene) -> None:
        begin(scene)
        scene.wait(scene.draw.uniform(*bounds_s))
        mark(scene).unlink()

    return act


def mark(scene: Scene) -> Path:
    """Return the file that is there while the disk is disturbed."""
    return scene.run_dir.with_suffix(".hit")


def _under(scene: Scene, mode: str, number: int) -> Surroundings:
    library = preload.build(scene.run_dir.parent)
    fault = "\t".join(["0", "none", "none", "1", mode, str(number)])  # of rank 0 a call that is never made
    told = {"fail": fault, "hit": mark(scene)}
    return Surroundings(words=preload.under(library, {"run": scene.run_dir}, **told))
