"""Numbers as people write them."""

import argparse
import datetime
import re

from .. import errors
from ..position import as_stop, in_utc, stop_options

_SIZE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TIME = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def size(text):
    """ "10M", "1.5g", "2MiB": bytes, in powers of 1024."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?(?:/s)?", text.strip().lower())
    if not found or (n := int(float(found[1]) * _SIZE[found[2]])) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 500000, 10M or 1.5G")
    return n


def seconds(text):
    """ "90", "30m", "26h", "7d": seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90, 30m, 26h or 7d")
    return float(found[1]) * _TIME[found[2]]


def moment(text):
    """ISO 8601; without a zone it is local time. "end" stays."""
    if text == "end":
        return text
    try:
        return in_utc(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")))
    except errors.InvalidParameterError as error:
        raise argparse.ArgumentTypeError(error.detail) from None
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-11-21T05:30:00"
        ) from None


def stop(text):
    """A log position as ESE's tools write it, "0000000A:0001:0028", or a moment."""
    if text == "end":
        return text
    try:
        stop_options(found := as_stop(text))
        return found
    except errors.InvalidParameterError as error:
        raise argparse.ArgumentTypeError(error.detail) from None


def address(text):
    """"local", or "HOST:PORT": what SysLogHandler takes."""
    if text == "local":
        return "/dev/log"
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write HOST:PORT")
    return host, int(port)


def pair(text):
    """ "key=value"."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no key=value")
    return key, value
