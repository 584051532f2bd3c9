"""Rate limits, deadlines, and the pace of a long call.

The engine calls back once for each MiB it has copied, with no lock held. The callback sleeps, in slices short enough that Ctrl-C,
a deadline and ``stop_backup`` work within a twentieth of a second; that is all the engine needs to slow down.
"""

import collections.abc
import datetime
import math
import numbers
import threading
import time

from .. import errors

SLICE = 0.05  #: seconds of one sleep
SECONDS_MOST = 1000 * 366 * 86400
BURST = 0.25  #: seconds of the rate that may be made up for after a slow read


def checked_number(value, what, *, least=0, most=math.inf, whole=False):
    """A number in these bounds, ``most`` itself left out. TypeError for what is none; InvalidParameterError, which says ``what`` is right."""
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{what}, not {value!r}")
    if not least <= value < most:  # never true of nan
        raise errors.InvalidParameterError(f"{what}, not {value!r}")
    return value


def checked_seconds(value, what):
    """Seconds of a timedelta or a number; the longest is a thousand years, so that a clock can be told it."""
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    return checked_number(value, what, most=SECONDS_MOST)


class RateLimit:
    """Bytes a second, at most; ``bytes_per_second`` may be set while a backup runs (None: no limit)."""

    def __init__(self, bytes_per_second=None):
        self.bytes_per_second = bytes_per_second

    @property
    def bytes_per_second(self):
        return self._rate

    @bytes_per_second.setter
    def bytes_per_second(self, rate):
        if rate is not None:
            what = "a rate limit is a positive number of bytes a second, or None for no limit"
            checked_number(rate, what, least=math.ulp(0.0))
        self._rate = rate

    def __repr__(self):
        return f"RateLimit({self._rate})"


class Deadline:
    """A moment after which a call ends with DeadlineError: seconds from now, a timedelta, or None for never."""

    def __init__(self, after=None, clock=time.monotonic):
        if after is not None:
            after = checked_seconds(after, "a deadline is a number of seconds from now on, a timedelta, or None for no deadline")
        self._clock = clock
        self.after = after
        self.at = None if after is None else clock() + after

    def left(self):
        """Seconds; None when there is no deadline."""
        return None if self.at is None else self.at - self._clock()

    def check(self):
        if self.at is not None and self._clock() >= self.at:
            raise errors.DeadlineError(
                f"{self.after:g} seconds were given",
                "Give it more time or a higher rate; what was there before is as it was.",
            )


def as_rate(rate):
    return rate if isinstance(rate, RateLimit) else RateLimit(rate)


def as_deadline(deadline):
    return deadline if isinstance(deadline, Deadline) else Deadline(deadline)


class Pace:
    """A progress callable round the user's: checks the deadline, then holds the rate. ``stop()`` ends a sleep, from any thread."""

    def __init__(self, rate_limit=None, deadline=None, user=None, clock=time.monotonic):
        self.rate = as_rate(rate_limit)
        self.deadline = as_deadline(deadline)
        self.user = user
        self._clock = clock
        self._stopped = threading.Event()
        self._done = 0
        self._due = None  # when the bytes copied so far may have been copied, at this rate

    def stop(self):
        """Ends a sleep; and an iterator that waits to be pulled."""
        self._stopped.set()
        if isinstance(stop := getattr(self.user, "stop", None), collections.abc.Callable):
            stop()

    def __call__(self, step):
        going = step.phase in (
            "begin",
            "progress",
        )  # the end is told as it is: too late to change it
        if going:
            self.deadline.check()
        answer = None if self.user is None else self.user(step)
        if going and answer is not False and step.unit == "bytes":
            self.copied(step.done - self._done)
            self._done = step.done
        return answer

    def copied(self, size):
        """size more bytes have been copied: sleeps until the rate allows the next ones."""
        now = self._clock()
        if self._due is None or now - self._due > BURST:
            self._due = now if self._due is None else now - BURST
        rate = self.rate.bytes_per_second
        if rate is not None:
            self._due += size / rate
        else:
            self._due = now
        while not self._stopped.is_set():
            wait = self._due - self._clock()
            if wait <= 0 or self.rate.bytes_per_second is None:
                return
            self.deadline.check()
            left = self.deadline.left()
            self._stopped.wait(min(wait, SLICE) if left is None else max(0, min(wait, SLICE, left)))
        # stopped: the engine sees it before the next chunk
