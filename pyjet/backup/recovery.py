"""recover: a folder that was left in a crash becomes clean, in place or as a copy."""

import json
import os
import shutil
import tempfile

from .. import _jet, errors
from . import engine, files, forecast, places
from .places import is_database
from .steps import Steps


def databases_of(folder):
    """Paths of the databases in a folder."""
    with os.scandir(folder) as entries:
        return sorted(e.path for e in entries if e.is_file() and is_database(e.path))


def newest_log(folder, base_name):
    """The path of the newest log in a folder. FileNotFoundError of the engine when there is none."""
    for extension in (".log", ".jtx"):
        current = os.path.join(folder, base_name + extension)
        if os.path.exists(current):
            return current
    closed = forecast.archived_logs(folder, base_name)
    if not closed:
        raise errors.FileNotFoundError(
            f"{os.path.abspath(folder)} holds no logs named {base_name}..."
        )
    return closed[max(closed)]


def _attached(folder, base_name):
    """Paths of databases that the logs name: in their headers, and in the records of creating and attaching."""
    names = {}
    for path in [
        newest_log(folder, base_name),
        *forecast.archived_logs(folder, base_name).values(),
    ]:
        for entry in json.loads(_jet.dump_header(path)).get("attached", []):
            names.setdefault(entry["path"])

    def line(text):
        if "DB" in text[:120]:  # of CreateDB, AttachDB: before its fields are looked at
            record = json.loads(text)
            if record["name"] in ("CreateDB", "AttachDB") and "path" in record:
                names.setdefault(record["path"])

    _jet.dump_log(folder, base_name, line)
    return list(names)


def _pairs(folder, logs, base_name, copied):
    """(path as logged, path here). Of a copy all names lead into it, so that the original is never touched; in place those that lie here."""
    here = {os.path.basename(p).lower(): p for p in databases_of(folder)}
    pairs = []
    for logged in _attached(logs, base_name):
        name = logged.replace("\\", "/").rsplit("/", 1)[-1]
        found = here.get(name.lower(), os.path.join(folder, name) if copied else None)
        if found is not None:
            pairs.append((logged, found))
    return pairs


def recover(
    path, *, output=None, in_place=False, base_name="edb", logs=None, progress=None, deadline=None
):
    """Replay the logs of a folder and undo what was not committed; gives back a RecoveryResult.

    output: a folder, new, that gets a recovered copy (databases, logs and checkpoint); the original is only read. in_place: work on
    the folder itself. Databases are taken from the folder, wherever they lay when their logs were written. logs: their folder, when it
    is another. deadline: seconds or a timedelta. Errors of JetInit: RequiredLogFilesMissingError, LogFileCorruptError, ...
    ESE: JetInit3; esentutl /r
    """
    places.check_named(path, output, logs)
    if in_place == (output is not None):
        raise errors.InvalidParameterError("name an output folder, or in_place=True")
    path = os.path.abspath(path)
    if not os.path.isdir(path):
        raise errors.FileNotFoundError(f"no folder {path}")
    logs = os.path.abspath(logs or path)
    newest_log(logs, base_name)
    with Steps("recovery", progress, deadline) as steps:
        if in_place:
            return _run(path, logs, base_name, steps, copied=False)
        return _copy_and_run(path, logs, base_name, os.path.abspath(output), steps)


def _copy_and_run(path, logs, base_name, output, steps):
    if os.path.lexists(output):
        raise engine.DestinationNotEmpty(output)
    parent = os.path.dirname(output)
    os.makedirs(parent, exist_ok=True)
    work = tempfile.mkdtemp(
        prefix=f".{os.path.basename(output)}-", suffix=".recovering", dir=parent
    )
    try:
        wanted = databases_of(path) + [
            e.path
            for e in os.scandir(logs)
            if e.is_file()
            and e.name[:3].lower() == base_name.lower()
            and e.name.lower().endswith((".log", ".jtx", ".chk", ".jrs", ".jcp"))
        ]
        with steps.stage("copy", sum(map(os.path.getsize, wanted))) as step:
            for source in wanted:
                files.copy_data(source, os.path.join(work, os.path.basename(source)), step)
        result = _run(work, work, base_name, steps, copied=True)
        files.sync_folder(work)
        os.rename(work, output)
        files.sync_folder(parent)
        return result
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _run(folder, logs, base_name, steps, *, copied):
    import pyjet

    header = json.loads(_jet.dump_header(newest_log(logs, base_name)))
    inst = pyjet.Instance(
        folder,
        log_path=logs,
        base_name=base_name,
        page_size=header["page_size"],
        log_file_size=header["file_size"],
        create_path=False,
        init=False,
    )
    try:
        with_callback = steps.watching()
        result = engine.RecoveryResult(
            **_jet.init_mapped(
                inst.handle, _pairs(folder, logs, base_name, copied), 0, with_callback
            )
        )
    except BaseException:
        inst.close(abrupt=True)
        raise
    inst.close()
    return result
