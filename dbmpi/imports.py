"""What a program imports: nothing of the directory it is started in, and what it says where a module fails.

Python looks there first: a user's numpy.py or random.py would take the place of what libraries mean.
"""

import os
import sys
from types import ModuleType, TracebackType

OWN = ("dbmpi", "kernels")


def leave_out_working_directory() -> None:
    """Import nothing from where `python -m` was started, unless this package is there. Local."""
    safe = sys.flags.safe_path or sys.flags.isolated
    if sys.path and not safe and sys.path[0] != os.path.dirname(os.path.dirname(__file__)):
        del sys.path[0]


def unloadable(error: BaseException) -> str | None:
    """Return what an error tells of a module that cannot be loaded; None if of something else. Local.

    A module may fail in any way: where a library does not like the environment, or where another file has
    the name of one that it needs.
    """
    name = _module(error)
    if name is None:
        return None
    place = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
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
