"""dbmpi: the open DistBelief for CPU clusters (Dean et al., NIPS 2012), as an MPI program.

From Python: `load`, `Classifier` and `Regressor` (docs/python.md), which are loaded when they are first used.
"""

import os
import sys

TYPE_CHECKING = False  # typing itself would be taken from the working directory, if it has a typing.py
if TYPE_CHECKING:
    from typing import Any

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)  # the kernels beside this package, whatever else of that name Python would find
try:
    import kernels
finally:
    sys.path.remove(_ROOT)

__version__ = "0.1.0"
__all__ = ["Classifier", "Regressor", "__version__", "load"]

if getattr(kernels, "DBMPI_KERNELS", None) != 1:
    raise ImportError(
        f"the package kernels at {getattr(kernels, '__file__', 'an unknown place')} is not dbmpi's: another "
        "distribution of that name is in the way; install dbmpi into a virtual environment of its own"
    )

_HOMES = {"Classifier": "classifier", "Regressor": "regressor", "load": "model"}


def __getattr__(name: str) -> "Any":
    """Load what is in `__all__` when it is first asked for: `import dbmpi` itself loads no library.

    Raises
    ------
    ImportError
        An estimator is asked for, and scikit-learn is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        home = import_module(f"{__name__}.api.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise ImportError(
            f"dbmpi.{name} needs scikit-learn, which is not installed: pip install scikit-learn"
        ) from None
    found = globals()[name] = getattr(home, name)
    return found


def __dir__() -> list[str]:
    """Return what there is, loaded or not."""
    return sorted({*globals(), *__all__})
