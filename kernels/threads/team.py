"""One pool of threads for kernels and matrix products: a caller cuts work into parts, idle helpers take some.

Numba's parallel loops call `numba_parallel_for` with their parts, and `get_num_threads` for how many to make.
Here these are functions of our own, whichever threading layer Numba has, and whatever the environment says of
OpenMP. The caller computes too, and never waits for a helper that has not begun: one that sleeps, or that
another process keeps from its core, leaves its share to the others. A helper without work spins for some
microseconds, and then sleeps.

Every member has a share of the parts that lie together, the same in each loop over arrays of one shape, so
that what it wrote is in its core's cache; then it takes what is left of the others' shares. The parts are the
same whoever computes them, and so is the place of each part's sum: results do not depend on who came. Numba
asks `get_thread_id` for that place, of as many as `get_num_threads` says; here it is the number of the part.
"""

import atexit
import ctypes
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
from numba import types

from kernels.deferred import compiler
from kernels.image.compiled import callback
from kernels.threads.atomics import (
    STACK_WORDS,
    TEAM,
    add,
    call,
    load,
    pause,
    replace,
    stack,
    store,
    swap,
    team,
)

MOST_MEMBERS = 1024  # the caller and its helpers

# Where each word is, in bytes. What several members write has a cache line of its own.
_LINE = 64
_NUMBER, _DONE, _LOCK, _ASLEEP, _SEMAPHORE, _SETTINGS, _JOB, _ACCOUNT = (_LINE * i for i in range(8))
_MEMBERS, _SPINS, _PARTS, _KEY, _RESTING = (_SETTINGS + 8 * i for i in range(5))
_FUNCTION, _ARGS, _DIMS, _STEPS, _DATA, _INNER, _ARRAYS = (_JOB + 8 * i for i in range(7))
_BALANCE, _REST, _UNTIL, _SECONDS, _NANOSECONDS = (_ACCOUNT + 8 * i for i in range(5))
_SHARES = 8 * _LINE  # a line for each member, the caller first: what is left of its share
_BEDS = _SHARES + MOST_MEMBERS * _LINE  # two lines for each: whether it sleeps, the semaphore that wakes it
_BYTES = _BEDS + 2 * MOST_MEMBERS * _LINE

_PART_BITS = 16
_MOST_PARTS = (1 << _PART_BITS) - 1
_MOST_ARRAYS = STACK_WORDS // 2
_PARTS_EACH = 2  # for each member of the team: what one leaves is taken by others
# Some 50 microseconds: longer than most pauses between two loops of a training step. Where other processes
# use the cores a helper that spins gives its core up later, but what it wastes is bounded.
_SPIN = 2000

# Of the account, in nanoseconds: a stall of a few milliseconds is forgiven where helpers have gained as much.
_CREDIT, _DEBT = 5_000_000, -3_000_000
_TRIFLE = (
    50_000  # a helper that comes late to a short loop has lost nothing; one without a core has lost more
)
_SHORTEST_REST, _LONGEST_REST = 20_000_000, 640_000_000  # each is twice as long as the one before, until
_PROVEN = 1_000_000_000  # the helpers have been of use for so long
_MONOTONIC = 1  # of clock_gettime

_clock: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
_wait: Any = types.ExternalFunction("sem_wait", types.int32(types.int64))
_post: Any = types.ExternalFunction("sem_post", types.int32(types.int64))
_set_part: Any = types.ExternalFunction("pthread_setspecific", types.int32(types.uint32, types.int64))
_get_part: Any = types.ExternalFunction("pthread_getspecific", types.int64(types.uint32))

_OPTIONS: dict[str, Any] = {"error_model": "numpy"}
_part_of_it = numba.njit(forceinline=True, nogil=True, error_model="numpy")


@_part_of_it
def _run(at: int, part: int) -> None:
    """Compute one part: the arrays begin where it does, and dimension 0 is 1."""
    arrays, sizes = stack(), stack()
    args, dims, steps = load(at + _ARGS), load(at + _DIMS), load(at + _STEPS)
    for i in range(load(at + _ARRAYS)):
        base = load(args + 8 * i)
        store(arrays + 8 * i, base + part * load(steps + 8 * i) if base else 0)
    store(sizes, 1)
    for i in range(1, load(at + _INNER) + 1):
        store(sizes + 8 * i, load(dims + 8 * i))
    _set_part(load(at + _KEY), part)
    call(load(at + _FUNCTION), arrays, sizes, steps, load(at + _DATA))


@_part_of_it
def _take(at: int, share: int, own: bool) -> bool:
    """Compute a part of a share, the first of one's own or the last of another's; whether there was one.

    A share is (number of the job, first part, part after the last) in one word. Whoever changes it has read
    the job that it belongs to: the caller writes another only when all parts of this one are done.
    """
    while True:
        left = load(share)
        first, end = (left >> _PART_BITS) & _MOST_PARTS, left & _MOST_PARTS
        if first >= end:
            return False
        if replace(share, left, left + (1 << _PART_BITS) if own else left - 1):
            _run(at, first if own else end - 1)
            add(at + _DONE, 1)
            return True


@_part_of_it
def _work(at: int, member: int) -> int:
    """Compute one's own share, then what is left of the others'; return how many parts that was."""
    members, parts = load(at + _MEMBERS), 0
    for i in range(members):
        while _take(at, at + _SHARES + _LINE * ((member + i) % members), i == 0):
            parts += 1
    return parts


@_part_of_it
def _wake(asleep: int, semaphore: int) -> None:
    if load(asleep) and swap(asleep, 0):
        _post(semaphore)


@_part_of_it
def _sleep(asleep: int, semaphore: int, word: int, value: int) -> None:
    """Sleep while a word has a value: whoever changes it wakes the sleeper."""
    swap(asleep, 1)
    if load(word) == value:
        _wait(semaphore)
    swap(asleep, 0)


def _help(helper: int) -> None:
    """Be a helper, 0 or more, until there is no team."""
    at = team()
    bed = at + _BEDS + 2 * _LINE * helper
    last, spins = 0, 0
    while load(at + _MEMBERS) > 0:
        number = load(at + _NUMBER)
        if number != last and not load(at + _RESTING):
            last, spins = number, 0
            if helper + 1 < load(at + _MEMBERS):  # the team may have become smaller
                _work(at, helper + 1)
                _wake(at + _ASLEEP, at + _SEMAPHORE)
        elif spins < load(at + _SPINS):
            spins += 1
            pause()
        else:
            last, spins = number, 0
            _sleep(bed, bed + _LINE, at + _NUMBER, last)


@_part_of_it
def _finish(at: int, parts: int) -> None:
    """Wait for the parts that helpers have begun."""
    spins, done = 0, load(at + _DONE)
    while done < parts:
        if spins < load(at + _SPINS):
            spins += 1
            pause()
        else:
            _sleep(at + _ASLEEP, at + _SEMAPHORE, at + _DONE, done)
        done = load(at + _DONE)


@_part_of_it
def _announce(at: int, parts: int) -> None:
    """Give each member its share, and wake those that sleep."""
    members, number = load(at + _MEMBERS), load(at + _NUMBER) + 1
    store(at + _DONE, 0)
    for member in range(members):
        first, end = parts * member // members, parts * (member + 1) // members
        left = (number << 2 * _PART_BITS) | (first << _PART_BITS) | end
        store(at + _SHARES + _LINE * member, left)
    store(at + _NUMBER, number)
    for helper in range(0 if load(at + _RESTING) else members - 1):
        bed = at + _BEDS + 2 * _LINE * helper
        _wake(bed, bed + _LINE)


@_part_of_it
def _now(at: int) -> int:
    _clock(_MONOTONIC, at + _SECONDS)
    return load(at + _SECONDS) * 1_000_000_000 + load(at + _NANOSECONDS)


@_part_of_it
def _account(at: int, start: int, announced: int, computed: int, end: int, own: int, parts: int) -> None:
    """Add what helpers have gained to the balance, and let them rest where it is a loss.

    Alone the caller would have taken as long for all parts as it took for its own, but for a quarter: helpers
    that compute keep other processes busy on its core.

    Parameters
    ----------
    start, announced, computed, end
        When the loop came, each member had its share, the caller had no more to compute, all was done; in ns.
    own, parts
        How many parts the caller has computed, of how many.
    """
    gained = start - announced
    if 0 < own < parts:
        gained = (computed - announced) * parts * 3 // (4 * own) - (end - start)
        gained = 0 if -_TRIFLE < gained < 0 else gained
    balance = min(load(at + _BALANCE) + gained, _CREDIT)
    if balance == _CREDIT and end > load(at + _UNTIL) + _PROVEN:
        store(at + _REST, _SHORTEST_REST)
    if balance <= _DEBT:
        balance, rest = 0, load(at + _REST)
        store(at + _UNTIL, end + rest)
        store(at + _REST, min(2 * rest, _LONGEST_REST))
        store(at + _RESTING, 1)
    store(at + _BALANCE, balance)


@_part_of_it
def _share(at: int, parts: int) -> None:
    """Compute a loop with the helpers, unless they rest."""
    start = _now(at)
    if load(at + _RESTING) and start >= load(at + _UNTIL):
        store(at + _RESTING, 0)
    _announce(at, parts)
    announced = _now(at)
    own = _work(at, 0)
    computed = _now(at)
    _finish(at, parts)
    if not load(at + _RESTING):
        _account(at, start, announced, computed, _now(at), own, parts)


def _parallel_for(
    function: int, args: int, dims: int, steps: int, data: int, inner: int, arrays: int, threads: int
) -> None:
    """Call a loop for each of `dims[0]` parts, as the function of this name of Numba's threading layers.

    Of two threads of Python that come at once the second computes alone.
    """
    at = team()
    parts = load(dims)
    fits = 1 < parts <= load(at + _PARTS) and arrays <= _MOST_ARRAYS and inner < _MOST_ARRAYS
    if not fits or load(at + _MEMBERS) < 2 or not replace(at + _LOCK, 0, 1):
        _set_part(load(at + _KEY), 0)
        call(function, args, dims, steps, data)
        return
    store(at + _FUNCTION, function)
    store(at + _ARGS, args)
    store(at + _DIMS, dims)
    store(at + _STEPS, steps)
    store(at + _DATA, data)
    store(at + _INNER, inner)
    store(at + _ARRAYS, arrays)
    _share(at, parts)
    store(at + _LOCK, 0)


def _divisions() -> int:
    """Return how many parts a loop is cut into."""
    return load(team() + _PARTS)


def _part() -> int:
    """Return which part of a loop this thread computes; 0 where it computes all."""
    return _get_part(load(team() + _KEY))


class Team:
    """The helpers of this process: threads that stay until its end.

    Numba's parallel kernels that are loaded once this is made, and not before, use them.
    """

    def __init__(self) -> None:
        numba.get_num_threads()  # gives LLVM the functions of Numba's layer, three of which are replaced
        self._libc = ctypes.CDLL(None)
        self._libc.calloc.restype = ctypes.c_void_p
        room = self._libc.calloc(_BYTES + _LINE, 1)  # never freed: helpers look at it to the last
        if not room:
            raise MemoryError(f"no {_BYTES} bytes for the threads' memory")
        self._at = room + -room % _LINE
        llvm.add_symbol(TEAM, self._at)
        self._help = compiler(_help, nogil=True, **_OPTIONS)
        word = types.int64
        self._functions = {
            "numba_parallel_for": self._compiled(_parallel_for, types.void(*[word] * 8)),
            "get_num_threads": self._compiled(_divisions, word()),
            "get_thread_id": self._compiled(_part, word()),
        }
        for name, function in self._functions.items():
            llvm.add_symbol(name, function.address)
        self._threads: list[threading.Thread] = []
        self._make_semaphore(_SEMAPHORE)
        self._set(_SPINS, _SPIN)
        self._set(_REST, _SHORTEST_REST)
        self._make_key()
        atexit.register(self.end)

    @staticmethod
    def _compiled(function: Callable[..., Any], signature: Any) -> Any:
        """Return a function with an address that compiled code can call."""
        return callback(signature, function, _OPTIONS)

    def resize(self, members: int) -> None:
        """Be so many members, the caller one of them; 1 to `MOST_MEMBERS`.

        Raises
        ------
        RuntimeError
            The system allows no more threads.
        """
        self._set(_PARTS, members * _PARTS_EACH)
        self._set(_MEMBERS, members)
        for helper in range(len(self._threads), members - 1):
            self._make_semaphore(_BEDS + 2 * _LINE * helper + _LINE)
            thread = threading.Thread(target=self._help, args=(helper,), name=f"helper-{helper}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        """Let the helpers end, at the end of the process."""
        self._set(_MEMBERS, 0)
        for helper, thread in enumerate(self._threads):
            self._libc.sem_post(ctypes.c_void_p(self._at + _BEDS + 2 * _LINE * helper + _LINE))
            thread.join(1.0)

    def _set(self, place: int, value: int) -> None:
        ctypes.c_int64.from_address(self._at + place).value = value

    def _make_key(self) -> None:
        """Make the word that each thread has for itself: which part it computes."""
        key = ctypes.c_uint32()
        if self._libc.pthread_key_create(ctypes.byref(key), None):
            raise OSError("the system has no more words for threads")
        self._set(_KEY, key.value)

    def _make_semaphore(self, place: int) -> None:
        self._libc.sem_init(ctypes.c_void_p(self._at + place), 0, 0)
