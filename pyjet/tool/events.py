"""The engine's event entries as JSON lines in a file, and to syslog."""

import contextlib
import datetime
import json
import logging
import logging.handlers
import os
import sys

from ..events import logger

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


@contextlib.contextmanager
def kept(path, syslog):
    """While inside, entries go to these places; a file gets them at its end, "-" is stderr. OSError when it cannot be opened."""
    handlers = []
    if path == "-":
        handlers.append(logging.StreamHandler(sys.stderr))
    elif path:
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(JsonLines())
    if syslog:
        address = (
            "/dev/log"
            if syslog == "local"
            else (syslog.rsplit(":", 1)[0], int(syslog.rsplit(":", 1)[1]))
        )
        handler = logging.handlers.SysLogHandler(address, logging.handlers.SysLogHandler.LOG_DAEMON)
        handler.setFormatter(
            logging.Formatter("pyjet[%(process)d]: event %(event_id)s: %(message)s %(params)s")
        )
        handlers.append(handler)
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
            handler.close()
        logger.setLevel(before)
        logger.propagate = propagate
