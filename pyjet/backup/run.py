"""Instance.backup with its options: pace, deadline, label, forecast; and the same run pulled as an iterator."""

import contextlib
import os
import queue
import threading

from .. import errors
from ..progress import watch
from . import engine, forecast, limits, note, places


def run(
    instance,
    path,
    *,
    incremental=False,
    atomic=False,
    progress=None,
    create_path=True,
    rate_limit=None,
    deadline=None,
    label=None,
    metadata=None,
    dry_run=False,
):
    """The work of Instance.backup; its docstring tells what the options do."""
    places.check_named(path)
    rate_limit, deadline = limits.as_rate(rate_limit), limits.as_deadline(deadline)
    label, metadata = note.checked(label, metadata)
    if (label is not None or metadata) and path is None:
        raise errors.InvalidParameterError(
            "a label goes with a folder; path=None only deletes logs"
        )
    if path is not None and not create_path:
        places.check_there(path)
    if dry_run:
        return forecast.forecast(instance, path, incremental=incremental, atomic=atomic)
    with watch("backup", progress) as watching:
        pace = limits.Pace(rate_limit, deadline, watching.user)
        with _known(instance, pace):
            result = engine.backup(
                instance,
                path,
                incremental=incremental,
                atomic=atomic,
                progress=pace,
                create_path=create_path,
            )
    if label is not None or metadata:
        note.write(os.fspath(path), result, label, metadata)
    return result


@contextlib.contextmanager
def _known(instance, pace):
    """stop_backup() of another thread finds the pace, so that it need not wait for a sleep to end."""
    instance._paces.add(pace)
    try:
        yield
    finally:
        instance._paces.discard(pace)


class _Abandoned(Exception):
    """The iterator was closed: ends the run in its thread."""


_END = object()


class _Channel:
    """Between the thread of a run, whose progress callable it is, and the iterator that pulls."""

    def __init__(self):
        self.result = self.error = None
        self._queue = queue.Queue(maxsize=8)
        self._closed = threading.Event()
        self.get = self._queue.get
        self.stop = self._closed.set

    @property
    def stopped(self):
        return self._closed.is_set()

    def __call__(self, item):
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=limits.SLICE)
                return
        raise _Abandoned

    def run(self, work):
        try:
            self.result = work(progress=self)
        except _Abandoned:
            pass
        except BaseException as error:
            self.error = error
        while True:  # the end is always told; what nobody will pull makes room for it
            with contextlib.suppress(queue.Full):
                self._queue.put(_END, timeout=limits.SLICE)
                return
            if self._closed.is_set():
                with contextlib.suppress(queue.Empty):
                    self._queue.get_nowait()


class BackupIterator:
    """A backup that goes on as its events are pulled: ``for step in inst.backup_iter(path): ...``; then ``.result``.

    Iterating gives Progress objects. The copy waits when nobody pulls. Leaving the ``with`` block, ``close()``, or dropping the
    iterator before its end cancels the backup, whose files are then gone. An error of the backup comes out of the iteration.
    """

    def __init__(self, work):
        """work: a callable that takes ``progress=`` and gives back the result."""
        self._channel = channel = _Channel()
        self._thread = threading.Thread(
            target=channel.run, args=(work,), name="pyjet backup", daemon=True
        )
        self._started = self._ended = False

    @property
    def result(self):
        """What the backup gave back; None before its end, and when it was cancelled."""
        return self._channel.result

    def __iter__(self):
        return self

    def __next__(self):
        if self._ended:
            raise StopIteration
        if not self._started:
            self._started = True
            self._thread.start()
        try:
            item = self._channel.get()
        except BaseException:  # Ctrl-C while waiting
            self.close()
            raise
        if item is not _END:
            return item
        self._ended = True
        self._thread.join()
        if self._channel.error is not None:
            raise self._channel.error
        raise StopIteration

    def close(self):
        """Cancel what has not ended, and wait until it has."""
        self._ended = True
        self._channel.stop()
        if self._started and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __del__(self):
        self._channel.stop()
