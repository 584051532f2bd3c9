"""Label and metadata of a lone backup folder: in ``<folder>.pyjet.json`` beside it, never in it."""

import collections.abc
import datetime
import os

from .. import errors
from . import files

LABEL_MOST = 200
METADATA_MOST = 64 << 10
RUNS_MOST = 1000


def checked(label, metadata):
    """(label, metadata) as they may be stored. InvalidParameterError, TypeError."""
    if label is not None and not (
        isinstance(label, str) and 0 < len(label) <= LABEL_MOST and label.isprintable()
    ):
        raise errors.InvalidParameterError(
            f"a label is printable text of 1 to {LABEL_MOST} characters"
        )
    if not isinstance(metadata, collections.abc.Mapping | None):
        raise TypeError(f"metadata maps texts to texts, it is no {type(metadata).__name__}")
    metadata = dict(metadata or {})
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
        raise errors.InvalidParameterError("metadata maps texts to texts")
    if sum(len(k) + len(v) for k, v in metadata.items()) > METADATA_MOST:
        raise errors.InvalidParameterError(
            f"metadata is limited to {METADATA_MOST} characters in all"
        )
    return label, metadata


def path_of(folder):
    return os.path.abspath(folder) + ".pyjet.json"


def write(folder, result, label, metadata):
    """Adds this run to the note of its folder; a full backup begins a new note."""
    path, runs = path_of(folder), []
    if "incremental" in result.kind:
        try:
            runs = list(files.read_json(path).get("runs", []))
        except (FileNotFoundError, errors.ManifestError, TypeError):
            runs = []
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    runs.append({"finished": now, "label": label, "metadata": metadata, **result.to_dict()})
    files.write_json(path, {"format": "pyjet-note", "v": 1, "runs": runs[-RUNS_MOST:]})


def read(folder):
    """The runs that were noted for a backup folder, oldest first: a list of dicts. Empty when there is no note."""
    try:
        runs = files.read_json(path_of(folder)).get("runs")
    except FileNotFoundError:
        return []
    return runs if isinstance(runs, list) else []
