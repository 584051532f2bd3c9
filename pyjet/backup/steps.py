"""Progress of work that is not one call of the engine: stages, each from begin to complete or fail, with bytes as the unit."""

import contextlib
import time

from .. import errors
from ..progress import Progress, watch
from .limits import as_deadline

EVERY = 0.1  #: seconds between two steps that are told


class Steps:
    """One operation: its user's progress callable (or True, or None) and its deadline. Ends the work as the engine would: by the
    callable's exception, by False (BackupAbortByServerError), by the deadline."""

    def __init__(self, op, progress=None, deadline=None):
        self.op = op
        self.deadline = as_deadline(deadline)
        self._watch = watch(op, progress)
        self.user = self._watch.user

    def __enter__(self):
        self._watch.__enter__()
        return self

    def __exit__(self, *exception):
        self._watch.__exit__(*exception)

    def tell(self, phase, done, total, stage):
        if self.user is None:
            return
        if self.user(
            Progress(self.op, phase, done, total, 0, 0, "bytes", stage)
        ) is False and phase in ("begin", "progress"):
            raise errors.BackupAbortByServerError(f"the progress callable asked {self.op} to end")

    def engine(self, step):
        """Progress callable for a call of the engine that is part of this operation."""
        if step.phase in ("begin", "progress"):
            self.deadline.check()
        return None if self.user is None else self.user(step)

    def watching(self):
        """The callback for a call of _jet that is part of this operation."""
        return watch(self.op, self.engine).callback

    @contextlib.contextmanager
    def stage(self, name, total, *, limited=True):
        """Gives step(size), to be called as bytes are done. limited: the deadline holds here."""
        done, told = 0, 0.0
        self.tell("begin", 0, total, name)

        def step(size):
            nonlocal done, told
            done = min(done + size, total)
            if limited:
                self.deadline.check()
            if (now := time.monotonic()) - told >= EVERY:
                told = now
                self.tell("progress", done, total, name)

        try:
            yield step
        except BaseException:
            with contextlib.suppress(Exception):
                self.tell("fail", done, total, name)
            raise
        self.tell("complete", total, total, name)
