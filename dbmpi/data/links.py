"""Follow the links of a data file to the object that is meant, in whatever file it lies. Local.

HDF5 follows them too; but where it cannot open a file it tries another one of the same name, and in the end
says nothing of the reason.
"""

from collections.abc import Callable
from typing import Any

import h5py

from dbmpi.errors import UserError

MOST_LINKS = 16  # one behind the other; more is a circle

OpenFile = Callable[[str, h5py.File], h5py.File]


def follow(group: h5py.Group, path: str, where: str, open_file: OpenFile, left: int = MOST_LINKS) -> Any:
    """Return the object that a path leads to, None where there is none.

    Parameters
    ----------
    group : h5py.Group
        From which the path leads, if it is not absolute.
    path : str
    where : str
        What is looked for, for messages.
    open_file : callable
        Opens the file of such a name, which an external link in such a file has.
    left : int
        How many links, one behind the other, may still be followed.

    Raises
    ------
    UserError
        Links lead in a circle; and what `open_file` raises.
    """
    found: Any = group.file["/"] if path.startswith("/") else group
    for name in path.split("/"):
        if name in ("", "."):
            continue
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        found = (
            found[name] if isinstance(link, h5py.HardLink) else _behind(found, link, where, open_file, left)
        )
    return found


def _behind(group: h5py.Group, link: Any, where: str, open_file: OpenFile, left: int) -> Any:
    """Return the object behind a soft or external link in a group."""
    if not left:
        raise UserError(f"{where}: links lead in a circle; write the data set itself")
    if isinstance(link, h5py.ExternalLink):
        group = open_file(link.filename, group.file)["/"]
    return follow(group, link.path, where, open_file, left - 1)
