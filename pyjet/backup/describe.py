"""What a folder of ESE's files is: found by restore's own survey, told as a BackupSet."""

import json
import os

from .. import _jet, errors
from . import chains, forecast, manifest, places
from .manifest import BackupSet, SetFile


def signature_of(path):
    """The signature in a log's header, as text."""
    return json.dumps(json.loads(_jet.dump_header(path))["signature"], sort_keys=True)


def role_of(name, found):
    """Of a file in a surveyed folder; None: it is no part of the set."""
    if name in {os.path.basename(p) for p in found["databases"]}:
        return "database"
    if os.path.splitext(name)[1].lower() == ".pat":
        return "marker"
    if forecast.is_log(name, found["base_name"]):
        return "log"
    return None


def describe(folder, set_id, kind, parent):
    """A BackupSet (no checksums yet) of the ESE files in a folder. ChainBrokenError when it does not continue its parent."""
    base_name = parent.base_name if parent is not None else None
    if kind == "full":
        found = places.survey(folder)
        base_name = found["base_name"]
    else:
        found = {"databases": (), "base_name": base_name}
    listed = []
    for name in sorted(os.listdir(folder)):
        role = role_of(name, found)
        if role is None:
            raise errors.ManifestError(
                f"{folder}: {name} is no file of a backup set", "Take it away."
            )
        listed.append(SetFile(name, role, os.path.getsize(os.path.join(folder, name))))
    logs = forecast.archived_logs(folder, base_name)
    generations = (min(logs), max(logs))
    last = json.loads(_jet.dump_header(logs[generations[1]]))
    new = BackupSet(
        id=set_id,
        kind=kind,
        parent=parent.id if parent is not None else None,
        started=manifest.now(),
        finished=manifest.now(),
        base_name=base_name,
        page_size=last["page_size"],
        log_file_size=last["file_size"],
        signature=signature_of(logs[generations[0]]),
        generations=generations,
        databases=tuple(
            (os.path.basename(p), o)
            for p, o in zip(found["databases"], found.get("original", ()), strict=True)
        ),
        files=tuple(listed),
    )
    if parent is not None:
        chains.check_follows(parent, new)
    return new
