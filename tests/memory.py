"""Folders in memory, where there are some: for what syncs a lot, and lets the power fail only in play."""

import os
import pathlib
import tempfile

PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  #: None: where the system has its temporary files


def folder(prefix):
    """A new one; who makes it removes it."""
    return pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=PLACE))
