"""What a program imports: nothing of the directory it is started in, and what it says where a module fails.

Python looks there first: a user's numpy.py or random.py would take the place of what libraries mean.
"""

import importlib
import os
import sys
from collections.abc import MutableMapping
from types import ModuleType, TracebackType

OWN = ("dbmpi", "kernels")
LONGEST = 300  # characters of a reason
# By which HDF5 would read and write files in another way than this program means, or not start at all.
NOT_USED = "HDF5_DRIVER", "HDF5_DRIVER_CONFIG", "HDF5_VOL_CONNECTOR"


def leave_out_working_directory() -> None:
    """Import nothing from where `python -m` was started, unless this package is there. Local.

    A directory of the package's name, as where its repository was cloned, may have been taken for it.
    """
    safe = sys.flags.safe_path or sys.flags.isolated
    if sys.path and not safe and sys.path[0] != os.path.dirname(os.path.dirname(__file__)):
        del sys.path[0]
        if sys.modules[OWN[0]].__file__ is None:
            del sys.modules[OWN[0]]
            importlib.import_module(OWN[0])


def settle(env: MutableMapping[str, str]) -> list[str]:
    """Take out of the environment what libraries shall not read; return warnings. Local."""
    return [f"{name} = {env.pop(name)!r} is not used" for name in NOT_USED if name in env]


def unloadable(error: BaseException) -> str | None:
    """Return what an error tells of a module that cannot be loaded; None if of something else. Local.

    A module may fail in any way: where a library does not like the environment, or where another file has
    the name of one that it needs.
    """
    name = _module(error)
    if name is None:
        return None
    place = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
    while error.__cause__ is not None:  # libraries put pages of advice around it
        error = error.__cause__
    reason = " ".join(str(error).split())[:LONGEST] or type(error).__name__
    return (
        f"{name} cannot be loaded{f' from {place}' if place else ''}: {reason}; is it installed whole, do "
        "the environment's variables suit it, and does no other file of that name come first (PYTHONPATH)?"
    )


def _module(error: BaseException) -> str | None:
    """Return the name of a module that is to blame for an error; None if none is."""
    loading = _loading(error.__traceback__)
    if loading and loading.partition(".")[0] not in OWN:
        return loading
    if isinstance(error, ImportError):
        return error.name or "a module"
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return error.obj.__name__
    return None


def _loading(traceback: TracebackType | None) -> str:
    """Return the module that was being loaded where an error was raised; nothing if none was."""
    name = ""
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            name = str(frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
    return name
