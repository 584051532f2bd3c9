"""What a verb prints: lines of JSON of one schema, or text and a bar. docs/cli.rst has the schema."""

import contextlib
import datetime
import json
import os
import secrets
import sys
import time

from .. import errors
from ..backup import human


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


@contextlib.contextmanager
def to_stdout():
    """A failure to write in the block names what could not be written."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or "<stdout>"
        raise


def to_stderr(line):
    """A line for people; when it cannot be written there is nobody to tell that."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def let_go(stream):
    """Flushes; what cannot be written is dropped, so that the interpreter does not meet it again at its end. False: it was dropped."""
    try:
        stream.flush()
        return True
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return False


class Output:
    """One run of the tool. Text for people goes to stderr when it is progress or an error, else to stdout."""

    def __init__(self, options):
        self.json = options.json
        self.quiet = options.quiet
        self.op = options.verb
        self.style = getattr(options, "progress", "auto")
        self.op_id = secrets.token_hex(6)
        self.last = {}
        self.rate = (0.0, 0, None)

    def emit(self, kind, /, **fields):
        """One event line, when JSON is wanted."""
        if self.json:
            head = {"v": 1, "type": kind, "op": self.op, "op_id": self.op_id, "time": now()}
            with to_stdout():
                print(json.dumps({**head, **fields}, default=str), flush=True)

    def text(self, line):
        """A line for people."""
        if not self.json and not self.quiet:
            with to_stdout():
                print(line, flush=True)

    def result(self, result, **more):
        """The last line of a run that went well."""
        self.emit(
            "summary",
            **{**(result.summary() if hasattr(result, "summary") else result.to_dict()), **more},
        )
        self.text(str(result))

    def error(self, error, rc):
        """The last line of a run that did not."""
        event = {
            "code": rc,
            "error": type(error).__name__,
            "text": str(error) or type(error).__name__,
        }
        if isinstance(error, errors.JetError):
            event.update(jet=error.code or None, name=error.name or None, hint=error.hint)
        try:
            self.emit("exit_error", **event)
            told = self.json
        except OSError:
            told = False
        if not told:
            to_stderr(f"pyjet {self.op}: {event['text']}")

    # ---- progress ----
    def progress(self):
        """What to give to a long call: a callable, True for a bar, None for silence."""
        if self.style == "none" or (self.quiet and not self.json):
            return None
        if self.json:
            return self._step
        if self.style == "bar" or (
            self.style == "auto" and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        ):
            return True
        return self._plain

    def _speed(self, step):
        """(bytes a second, seconds left) of the stage."""
        at, stage = time.monotonic(), (step.op, step.stage)
        if self.rate[2] != stage:
            self.rate = (at, step.done, stage)
        elapsed = at - self.rate[0]
        speed = (step.done - self.rate[1]) / elapsed if elapsed > 0.2 else None
        return speed, (step.total - step.done) / speed if speed else None

    def _step(self, step):
        at, key = time.monotonic(), step.stage
        if step.phase == "progress" and at - self.last.get(key, -1.0) < 0.1:
            return
        self.last[key] = at
        speed, eta = self._speed(step)
        self.emit(
            "progress",
            stage=step.stage,
            phase=step.phase,
            unit=step.unit,
            done=step.done,
            total=step.total,
            percent=round(step.percent, 2),
            rate=speed,
            eta=eta,
            snp=step.snp,
            snt=step.snt,
        )

    def _plain(self, step):
        """Lines for logs and mails: one each 10 percent, at most one a second."""
        at, key = time.monotonic(), step.stage
        last, told = self.last.get(key, (-1.0, -10.0))
        if (step.phase == "complete" and told < 100) or (
            step.phase == "progress" and step.percent >= told + 10 and at >= last + 1
        ):
            self.last[key] = (at, step.percent)
            what = f"{human(step.done)} of {human(step.total)}, " if step.unit == "bytes" else ""
            to_stderr(f"{step.op} {step.stage}: {what}{step.percent:.0f}%")
