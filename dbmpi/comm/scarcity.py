"""Which errors tell that a process has too little of something, in one line. Without MPI."""

import errno
import resource

SCARCE = {
    errno.ENOMEM: "memory",
    errno.EMFILE: "open files",
    errno.ENFILE: "open files",
    errno.EAGAIN: "threads",
    errno.ENOSPC: "space on the disk",
    errno.EDQUOT: "quota on the disk",
}
REMEDIES = {
    "memory": "use fewer ranks on a node, more partitions or shards, or a node with more memory",
    "open files": "raise the limit (ulimit -n)",
    "threads": "raise the limit of processes (ulimit -u, or that of the container), or lower cluster.threads",
}


def lacking(error: BaseException | None) -> str | None:
    """Return what an error tells that there is too little of; None if it tells of something else. Local."""
    what = _what(error)
    if what is None:
        return None
    remedy = REMEDIES.get(what, "make room there, or begin in another place")
    for limit, option in ((address_limit(), "-v"), (data_limit(), "-d")):
        if what == "memory" and limit is not None:
            remedy = f"raise the limit, which is {limit / 1e6:,.0f} MB (ulimit {option})"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"too little {what}: {reason}; {remedy}"


def _what(error: BaseException | None) -> str | None:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError) and error.errno in SCARCE:
        return SCARCE[error.errno]
    if type(error) is RuntimeError and "can't start new thread" in str(error):
        return "threads" if address_limit() is None and data_limit() is None else "memory"
    unloaded = isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is None)
    return "memory" if unloaded and address_limit() is not None else None


def address_limit() -> int | None:
    """Return the bytes that this process may map; None where that is not limited. Local."""
    return _limit(resource.RLIMIT_AS)


def data_limit() -> int | None:
    """Return the bytes that this process may map and write to; None where that is not limited. Local."""
    return _limit(resource.RLIMIT_DATA)


def _limit(of: int) -> int | None:
    limit = resource.getrlimit(of)[0]
    return None if limit == resource.RLIM_INFINITY else limit
