"""A run in a thread of the user's process, which it leaves as it was: `running.Running`."""

import signal
import threading
import time
from collections import deque

from dbmpi.api.running import Event
from dbmpi.comm.abort import RankIdentity
from dbmpi.comm.alone import Guest
from dbmpi.config.sections import Train
from dbmpi.data.portions import examples_in
from dbmpi.output.view import ProgressLimits, View, parts
from dbmpi.run.roles import alone
from dbmpi.run.roles.context import RunContext
from dbmpi.run.start import cli
from dbmpi.run.start.refusal import Refused
from dbmpi.screen import heard_by

EVERY_S = 0.5  # between two moments that are shown


class Here:
    """See `running.Running`. In a thread, so that an interrupt never comes in the middle of a step."""

    def __init__(self, arguments: cli.Arguments) -> None:
        self.events: deque[Event] = deque()
        self._arguments = arguments
        self._context: RunContext | None = None
        self._stopped, self._status = False, 0
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dbmpi-fit")

    def begin(self) -> None:
        """See `Running.begin`."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """See `Running.wait`. A `join` that is interrupted takes the thread for one that has ended."""
        return self._ended.wait(seconds)

    def stop(self) -> None:
        """See `Running.stop`."""
        self._stopped = True
        if self._context is not None:
            self._context.signals.note(signal.SIGINT)

    def kill(self) -> None:
        """See `Running.kill`: nothing can be but to stop it."""
        self.stop()

    def status(self) -> int:
        """See `Running.status`."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._status

    def _run(self) -> None:
        who = RankIdentity(0)
        with heard_by(lambda text, error: self.events.extend(text.splitlines())):
            try:
                self._status = self._train(who)
            except Refused as refused:
                self._status = refused.status
            except BaseException as error:  # raised again in `status`, in the thread that can act on it
                self._error = error
                if self._context is not None:
                    self._context.opened.close()
            finally:
                who.let_go()
                self._context = None
                self._ended.set()

    def _train(self, who: RankIdentity) -> int:
        started = time.monotonic()
        context = alone.begin(self._arguments, Guest(), who, started)
        self._context = context
        if self._stopped:
            context.signals.note(signal.SIGINT)
        config, rows = context.config, context.setup.description.train_rows
        iterations = config.sandblaster.iterations if config.batch else None
        return alone.train(context, started, _Moments(self.events, config.train, rows, iterations))


class _Moments:
    """Hands what there is to be shown to the thread that shows it. See `progress.Progress`."""

    def __init__(self, events: deque[Event], train: Train, rows: int, iterations: int | None) -> None:
        examples = None if train.epochs is None else examples_in(train.epochs, rows)
        self._limits = ProgressLimits(examples, train.steps, train.max_time, iterations)
        self._events, self.next_s = events, 0.0

    def show(self, view: View) -> None:
        """See `Progress.show`."""
        self.next_s = view.time_s + EVERY_S
        self._events.append((self._limits.share(view), ", ".join(parts(view, self._limits)[1:])))

    def line(self, text: str) -> None:
        """See `Progress.line`."""
        self._events.append(f"dbmpi: {text}")

    def close(self) -> None:
        """See `Progress.close`."""
