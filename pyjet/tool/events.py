"""The engine's event entries as JSON lines in a file, and to syslog."""

import contextlib
import datetime
import json
import logging
import os
import sys

from ..events import logger
from .output import to_stderr

_SEVERITY = {logging.INFO: "information", logging.WARNING: "warning", logging.ERROR: "error"}


class JsonLines(logging.Formatter):
    """ESE's id, severity and parameters of each entry, as one line."""

    def format(self, record):
        at = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        event = {
            "v": 1,
            "type": "event",
            "time": at.isoformat(),
            "event_id": record.event_id,
            "severity": _SEVERITY.get(record.levelno, "error"),
            "instance": record.instance,
            "params": list(record.params),
            "text": record.getMessage(),
            "pid": os.getpid(),
        }
        return json.dumps(event)


def _syslog(address):
    import logging.handlers  # it brings sockets with it, which nothing else here needs

    facility = logging.handlers.SysLogHandler.LOG_DAEMON
    try:
        return logging.handlers.SysLogHandler(address, facility)
    except OSError as error:
        error.filename = error.filename or (address if isinstance(address, str) else ":".join(map(str, address)))
        raise


@contextlib.contextmanager
def kept(path, syslog):
    """While inside, entries go to these places; a file gets them at its end, "-" is stderr. OSError when it cannot be opened."""
    handlers, lost = [], []
    if path == "-":
        handlers.append(logging.StreamHandler(sys.stderr))
    elif path:
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(JsonLines())
    if syslog:
        handler = _syslog(syslog)
        handler.setFormatter(
            logging.Formatter("pyjet[%(process)d]: event %(event_id)s: %(message)s %(params)s")
        )
        handlers.append(handler)
    for handler in handlers:
        handler.handleError = lambda record: lost.append(sys.exc_info()[1])
    before, propagate = logger.level, logger.propagate
    logger.setLevel(logging.INFO if handlers else before)
    logger.propagate = False  # the tool says what went wrong itself
    for handler in handlers or [logging.NullHandler()]:
        logger.addHandler(handler)
        handlers = handlers or [handler]
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            with contextlib.suppress(OSError):  # told below, of an entry before
                handler.close()
        logger.setLevel(before)
        logger.propagate = propagate
        if lost:
            to_stderr(f"pyjet: {len(lost)} event entries could not be written: {lost[0]}")
