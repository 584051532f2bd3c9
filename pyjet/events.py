"""The engine's event entries as records of the logger ``pyjet.events``.

Each record has ``event_id`` (ESE's number), ``params`` (its texts, in ESE's order) and ``instance``. Information, warning and
error come as the levels INFO, WARNING and ERROR. Events come from the thread on which they happen, with no lock held; a
handler that raises is reported by logging as usual and never reaches the engine.
"""

import atexit
import logging

from . import _jet

logger = logging.getLogger("pyjet.events")
_LEVELS = {0: logging.INFO, 1: logging.WARNING, 2: logging.ERROR}


def _tell(event_id, severity, instance, params, text):
    level = _LEVELS.get(severity, logging.ERROR)
    if logger.isEnabledFor(level):
        extra = {"event_id": event_id, "params": params, "instance": instance or ""}
        logger.log(level, "%s", text or f"event {event_id}", extra=extra)


def _stop():
    _jet.install_events(None)


_jet.install_events(_tell)
atexit.register(_stop)
