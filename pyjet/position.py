"""Log positions: LgPos, and the moments that a restore can stop at."""

import contextlib
import dataclasses
import datetime

from . import errors


@dataclasses.dataclass(frozen=True, order=True)
class LgPos:
    """A place in the log: generation, 4096-byte segment and byte. ``LgPos(7)`` stands for the end of generation 7.

    Its text is that of ESE's tools, "0000000A:0001:0028"; ``LgPos.parse`` reads it back. ESE: JET_LGPOS.
    """

    generation: int = 0
    segment: int = 0
    byte: int = 0

    def __post_init__(self):
        if not all(isinstance(part, int) for part in (self.generation, self.segment, self.byte)) or not (
            0 <= self.generation < 2**31 and 0 <= self.segment < 2**16 and 0 <= self.byte < 2**16
        ):
            raise errors.InvalidParameterError(f"{self!r} is no log position")

    @classmethod
    def parse(cls, text):
        """From its text. InvalidParameterError when it is none."""
        try:
            generation, segment, byte = (int(part, 16) for part in text.split(":"))
        except ValueError:
            raise errors.InvalidParameterError(
                f"{text!r} is no log position; one looks like 0000000A:0001:0028"
            ) from None
        return cls(generation, segment, byte)

    @classmethod
    def from_int(cls, number):
        """From ESE's 64-bit form."""
        return cls(number >> 32, number >> 16 & 0xFFFF, number & 0xFFFF)

    def __int__(self):
        return self.generation << 32 | self.segment << 16 | self.byte

    def __str__(self):
        return f"{self.generation:08X}:{self.segment:04X}:{self.byte:04X}"


def in_utc(moment):
    """The datetime in UTC; without a zone it is local time. InvalidParameterError at the ends of what a datetime can say."""
    try:
        return moment.astimezone(datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):  # of the clock, of the time zones, of the C library
        raise _outside(moment) from None


def _outside(moment):
    return errors.InvalidParameterError(
        f"{moment} is outside of what a log can say, 1900 to 2155; leave the time out to go on to the end of the logs"
    )


def logtime(moment):
    """The 8 bytes of a JET_LOGTIME, UTC, milliseconds cut; a datetime without a zone is local time."""
    t = in_utc(moment)
    if not 1900 <= t.year < 2156:
        raise _outside(moment)
    ms = t.microsecond // 1000
    return bytes(
        [t.second, t.minute, t.hour, t.day, t.month, t.year - 1900]
        + [1 | (ms & 0x7F) << 1, ms >> 7 << 1]
    )


def as_stop(stop_at):
    """A LgPos, or a datetime in UTC, of a user's: these, or the text of one. InvalidParameterError, TypeError."""
    if isinstance(stop_at, str):
        stop_at = _of_text(stop_at)
    if isinstance(stop_at, datetime.datetime):
        return in_utc(stop_at)
    if not isinstance(stop_at, LgPos):
        raise TypeError(f"a point to stop at is a datetime, a LgPos or the text of one, not {stop_at!r}")
    if int(stop_at) == 0:
        raise errors.InvalidParameterError("no log has the position 00000000:0000:0000")
    return stop_at


def _of_text(text):
    for parse in (LgPos.parse, datetime.datetime.fromisoformat):
        with contextlib.suppress(errors.InvalidParameterError, ValueError):
            return parse(text.replace("Z", "+00:00"))
    raise errors.InvalidParameterError(
        f"{text!r} is neither a time (2026-11-21T05:30:00) nor a log position (0000000A:0001:0028)"
    )


def stop_options(stop_at):
    """What _jet.restore takes for a ``stop_at``: None, or what as_stop() takes."""
    if stop_at is None:
        return {}
    stop_at = as_stop(stop_at)
    return {"stop_time": logtime(stop_at)} if isinstance(stop_at, datetime.datetime) else {"stop": int(stop_at)}
