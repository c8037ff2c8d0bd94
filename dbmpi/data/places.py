"""Where the files lie that a data file names: in the order in which HDF5 looks.

HDF5 goes on to the next place where it cannot open a file, for any reason, and so may read another one of the
same name. Here a place is passed by only if nothing is there. Local.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_ORIGIN = "${ORIGIN}"  # in a prefix: the directory of the file that names the other


def file_of(name: str, named_in: Path, variable: str) -> Path | None:
    """Return the HDF5 file that another one names, None where there is none.

    Parameters
    ----------
    name : str
    named_in : Path
        The file that names it.
    variable : {"HDF5_VDS_PREFIX", "HDF5_EXT_PREFIX"}
        Where else to look: for sources of virtual data sets, or for what links lead to.

    Raises
    ------
    OSError
        One of the places is out of reach, so whether the file is there cannot be known.
    """
    return _first_there(_candidates(name, named_in, variable))


def raw_of(name: str, named_in: Path) -> Path:
    """Return the raw file that a data set with external storage names, whether it is there or not."""
    return Path(_prefix("HDF5_EXTFILE_PREFIX", named_in), name)


def _candidates(name: str, named_in: Path, variable: str) -> Iterable[Path]:
    """Yield where HDF5 looks, one place after another."""
    if os.path.isabs(name):
        yield Path(name)
        name = os.path.basename(name)
    for prefix in filter(None, os.environ.get(variable, "").split(os.pathsep)):
        yield Path(prefix, name)
    if prefix := _prefix(variable, named_in):
        yield Path(prefix, name)
    yield named_in.parent / name
    yield Path(name)
    yield named_in.resolve().parent / name


def _prefix(variable: str, named_in: Path) -> str:
    prefix = os.environ.get(variable, "")
    if prefix.startswith(_ORIGIN):
        return str(named_in.parent.absolute()) + prefix.removeprefix(_ORIGIN)
    return prefix


def _first_there(places: Iterable[Path]) -> Path | None:
    for place in places:
        try:
            os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return place
    return None
