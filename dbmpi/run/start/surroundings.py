"""What the program is started in, set right or refused before MPI and other libraries meet it. Without MPI.

They end a process in their own ways where it has no home directory, no place for temporary files, no room for
shared memory, or too low limits: by a signal, or by a page of text. Here it is a warning, or one line and
status 2.
"""

import ctypes
import os
import pwd
import resource
import sys
import tempfile
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress

from dbmpi import imports
from dbmpi.comm.scarcity import REMEDIES, address_limit, data_limit, lacking
from dbmpi.errors import UserError
from dbmpi.run.start import launch, shared_memory
from dbmpi.run.start.shared_memory import mb

M_ARENA_MAX = -8  # of mallopt(3)
LEAST_FILES, ENOUGH_FILES = 32, 4096
POOLS = 2  # of threads that compute: those of BLAS and of kernels
OTHER_THREADS = 3  # that read ahead, write checkpoints, wait for MPI
LEAST_ADDRESSES = 550 << 20
LEAST_DATA = 280 << 20
LEAST_STACK, STACK, MOST_STACK = 1 << 20, 8 << 20, 256 << 20
SIZE_OF_ATTRIBUTES = 256  # more than that of pthread_attr_t
# How mpi4py starts MPI: with threads, and errors that are exceptions, whatever the environment says.
OF_MPI4PY = [f"MPI4PY_RC_{name}" for name in "INITIALIZE THREADS THREAD_LEVEL FINALIZE ERRORS".split()]


def settle_process(env: MutableMapping[str, str]) -> list[str]:
    """Set right what libraries of every command stumble over; return warnings. Local, before they load."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    _bound_stacks()
    return imports.settle(env)


def _bound_stacks() -> None:
    """Give threads stacks of a usual size; the C library's are as large as ulimit -s lets the first be."""
    limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
    if limit == resource.RLIM_INFINITY or LEAST_STACK <= limit <= MOST_STACK:
        return
    threading.stack_size(STACK)
    libc, attributes = ctypes.CDLL(None), ctypes.create_string_buffer(SIZE_OF_ATTRIBUTES)
    if hasattr(libc, "pthread_setattr_default_np") and not libc.pthread_attr_init(attributes):
        libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(STACK))
        libc.pthread_setattr_default_np(attributes)


def settle(env: MutableMapping[str, str]) -> list[str]:
    """Set right what MPI would stumble over; return warnings. Local, before MPI is loaded.

    Parameters
    ----------
    env
        The environment; it is changed.

    Raises
    ------
    UserError
        For what cannot be set right.
    """
    _check_limits()
    _check_working_directory()
    _provide_home(env)
    for name in OF_MPI4PY:
        env.pop(name, None)
    return [*_provide_temporary(env), *shared_memory.provide(env)]


def _check_limits() -> None:
    """Raise the limit of open files as far as this process may; refuse what is too low to begin."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    if soft != resource.RLIM_INFINITY and soft < ENOUGH_FILES:
        soft = ENOUGH_FILES if unlimited else min(hard, ENOUGH_FILES)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < LEAST_FILES:
        raise UserError(f"the limit of open files is {soft} (ulimit -n): raise it to {LEAST_FILES} or more")
    addresses = address_limit()
    if addresses is not None:
        _spare_addresses()
    if addresses is not None and addresses < LEAST_ADDRESSES:
        raise UserError(
            f"the limit of memory addresses is {mb(addresses)} (ulimit -v), and Python with its libraries "
            f"maps {mb(LEAST_ADDRESSES)}: raise it (ulimit -v unlimited); a job's memory is better limited "
            "by the batch system"
        )
    data = data_limit()
    if data is not None and data < LEAST_DATA:
        raise UserError(
            f"the limit of data is {mb(data)} (ulimit -d), and Python with its libraries takes "
            f"{mb(LEAST_DATA)}: raise it (ulimit -d unlimited)"
        )


def _check_working_directory() -> None:
    """Refuse a working directory that is gone: names of files are counted from there."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the working directory: {error.strerror}: start in one that is there") from None


def _spare_addresses() -> None:
    """Let all threads take memory from one place: the C library sets 64 MB of addresses aside for each."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def _provide_home(env: MutableMapping[str, str]) -> None:
    """Give Open MPI a home directory, without which it does not start, though it writes nothing there."""
    if "HOME" not in env:
        with suppress(KeyError):
            env["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
        env.setdefault("HOME", "/")


def _provide_temporary(env: MutableMapping[str, str]) -> list[str]:
    """Let nobody look for temporary files where none can be: Open MPI ends by a signal there."""
    warnings = []
    for name in ("TMPDIR", "TEMP", "TMP"):
        path = env.get(name)
        if path is not None and not _takes_files(path):
            del env[name]
            warnings.append(f"{name} = {path!r} is no directory that can be written to, and is not used")
    return warnings


def _takes_files(path: str) -> bool:
    try:
        tempfile.TemporaryFile(dir=path).close()
    except (OSError, ValueError):
        return False
    return True


def possible_threads(threads: int, fewer: bool) -> tuple[int, list[str]]:
    """Return how many threads a rank may have, and warnings. Local, before libraries begin theirs.

    OpenBLAS interrupts the process, as by Ctrl-C, where it cannot have its own.

    Parameters
    ----------
    threads
        The number that is wanted.
    fewer
        Whether one will do.

    Raises
    ------
    UserError
        There cannot be enough.
    """
    needed = POOLS * threads + OTHER_THREADS
    if address_limit() is not None or startable(needed):  # each thread that is tried takes addresses for good
        return threads, []
    if not fewer or not startable(POOLS + OTHER_THREADS):
        raise UserError(f"a rank cannot start the {needed} threads that it needs: {REMEDIES['threads']}")
    return 1, [f"a rank cannot start more threads, and computes with one: {REMEDIES['threads']}"]


def startable(threads: int) -> bool:
    """Return whether so many threads can be started beside those that there are. Local.

    OpenBLAS interrupts the process, as by Ctrl-C, where it cannot have its threads.
    """
    end, started = threading.Event(), list[threading.Thread]()
    try:
        for _ in range(threads):
            one = threading.Thread(target=end.wait, daemon=True)
            one.start()
            started.append(one)
    except RuntimeError:
        return False
    finally:
        end.set()
        for one in started:
            one.join()
    return True


@contextmanager
def scarcity() -> Iterator[None]:
    """Say what a process has too little of, or cannot load, instead of what a library says of it. Local.

    Raises
    ------
    UserError
        In place of an error that tells of too little memory, files, threads or space, or of a module.
    """
    try:
        yield
    except Exception as error:
        what = lacking(error) or imports.unloadable(error)
        if what is None:
            raise
        raise UserError(what) from error


def warn(warnings: list[str]) -> None:
    """Print warnings, on one rank of a node."""
    for text in warnings if launch.speaks(os.environ, on_node=True) else []:
        print(f"dbmpi: warning: {text}", file=sys.stderr, flush=True)
