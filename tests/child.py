"""A forked child that reports lines through a pipe; what it wrote survives its death."""

import json
import os
import select
import signal
import threading
import time
import traceback


class ChildFailed(AssertionError):
    pass


class Child:
    """Runs fn(report, *args) in a fork. report(object) writes one JSON line, whole or not at all (they are short).

    The parent must have one thread, and no engine running, when it makes a Child.
    """

    def __init__(self, fn, *args):
        self.lines, self.rest, self.result, self.status = [], b"", None, None
        self.read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.read_end)
            self._run(write_end, fn, args)
        os.close(write_end)

    @staticmethod
    def _run(write_end, fn, args):
        lock = threading.Lock()

        def report(thing):
            data = json.dumps(thing).encode() + b"\n"
            with lock:
                while data:
                    data = data[os.write(write_end, data) :]

        code = 1
        try:
            report(["DONE", fn(report, *args)])
            code = 0
        except BaseException:
            report(["ERR", traceback.format_exc()])
        finally:
            os._exit(code)

    def take(self, timeout):
        """Reads what comes within so many seconds (None: waits); False at the end. Raises what the child raised."""
        ready, _, _ = select.select([self.read_end], [], [], timeout)
        if not ready:
            return True
        data = os.read(self.read_end, 1 << 16)
        if not data:
            return False
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            thing = json.loads(line)
            if thing[0] == "DONE":
                self.result = thing[1]
            elif thing[0] == "ERR":
                raise ChildFailed(thing[1])
            else:
                self.lines.append(thing)
        return True

    def wait_line(self, first, timeout=60):
        """Until a line begins with `first`."""
        until = time.monotonic() + timeout
        while not any(line[0] == first for line in self.lines):
            if time.monotonic() > until or not self.take(0.5):
                raise ChildFailed(f"no line {first!r} came; {self.finish()}")

    def listen(self, seconds):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not self.take(left):
                return

    def kill(self):
        """SIGKILL; then all that it still had said."""
        os.kill(self.pid, signal.SIGKILL)
        while self.take(None):
            pass
        self.finish()
        return self.lines

    def finish(self):
        if self.status is None:
            os.close(self.read_end)
            self.status = os.waitpid(self.pid, 0)[1]
        return self.status

    def join(self, timeout=120):
        """Its result; raises when it failed, died or hangs."""
        until = time.monotonic() + timeout
        try:
            while self.take(1.0):
                if time.monotonic() > until:
                    os.kill(self.pid, signal.SIGABRT)
                    raise ChildFailed(f"still running after {timeout} s; last line {self.lines[-1:]}")
        finally:
            status = self.finish()
        if status != 0 or self.result is None and not os.WIFEXITED(status):
            raise ChildFailed(f"died with status {status} (signal {os.WTERMSIG(status) if os.WIFSIGNALED(status) else None})")
        return self.result


def run(fn, *args, timeout=120):
    """fn(report, *args) in a child; its result."""
    return Child(fn, *args).join(timeout)
