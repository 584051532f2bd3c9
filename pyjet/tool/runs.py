"""Verbs that make something: backup, restore, recover."""

import json
import os

import pyjet

from .. import _jet, errors
from ..backup import BackupRepo, recover
from ..backup.recovery import databases_of, newest_log
from ..backup.store import MARKER
from . import units


def is_repo(path):
    return os.path.isfile(os.path.join(path, MARKER))


def repo_of(options, path):
    return BackupRepo(path, lock_timeout=options.wait)


def _page_size(databases, logs, base_name):
    """Of the first database whose header can be read; else of the logs."""
    for path in databases:
        try:
            return json.loads(_jet.dump_header(path))["page_size"]
        except errors.JetError:
            continue
    return json.loads(_jet.dump_header(newest_log(logs, base_name)))["page_size"]


def run_backup(options, out):
    """pyjet backup DIR --to PLACE: backs the databases of an instance's folder up, to a repository or to a folder of ESE's files."""
    if not os.path.isdir(options.dir):
        raise errors.FileNotFoundError(f"no folder {os.path.abspath(options.dir)}")
    databases = databases_of(options.dir)
    if not databases:
        raise errors.DatabaseNotFoundError(f"no database in {os.path.abspath(options.dir)}")
    to_repo = is_repo(options.to)
    if not to_repo and (options.full or options.max_chain is not None):
        raise errors.InvalidParameterError(
            f"{options.to} is no repository: --full and --max-chain are for one (pyjet init)"
        )
    if to_repo and options.atomic:
        raise errors.InvalidParameterError(
            "--atomic is for a folder; sets of a repository are atomic by themselves"
        )
    logs = options.logs or options.dir
    with pyjet.Instance(
        options.dir,
        log_path=options.logs,
        base_name=options.base_name,
        page_size=_page_size(databases, logs, options.base_name),
    ) as inst:
        with inst.session() as session:
            for path in databases:
                session.attach(path)
            common = {
                "progress": out.progress(),
                "rate_limit": options.rate,
                "deadline": options.deadline,
                "label": options.label,
                "metadata": dict(options.meta or ()),
                "dry_run": options.dry_run,
            }
            if to_repo:
                kind = "full" if options.full else "incremental" if options.incremental else "auto"
                more = {} if options.max_chain is None else {"max_chain": options.max_chain}
                result = repo_of(options, options.to).backup(inst, kind=kind, **more, **common)
            else:
                result = inst.backup(
                    options.to, incremental=options.incremental, atomic=options.atomic, **common
                )
    out.result(result, dry_run=options.dry_run)


def run_restore(options, out):
    """pyjet restore PLACE DEST: restores a backup folder, or a set of a repository, to a folder."""
    if not os.path.isdir(options.place):
        raise errors.FileNotFoundError(f"no folder {os.path.abspath(options.place)}")
    common = {
        "replace": options.replace,
        "roll_forward": options.roll_forward,
        "rename": _renames(options.rename),
        "progress": out.progress(),
    }
    stop = None if options.stop_at == "end" else options.stop_at
    if is_repo(options.place):
        which = options.at if options.at is not None else options.set
        result = repo_of(options, options.place).restore(
            which, options.destination, to=stop or "end", deadline=options.deadline, **common
        )
    else:
        if options.set != "latest" or options.at is not None:
            raise errors.InvalidParameterError(
                f"{options.place} is no repository: --set and --at are for one"
            )
        result = pyjet.restore(options.place, options.destination, stop_at=stop, **common)
    asked = {} if stop is None else {"stop_at": stop.isoformat() if hasattr(stop, "isoformat") else str(stop)}
    out.result(result, **asked, **({"renamed": common["rename"]} if common["rename"] else {}))


def _renames(pairs):
    renames = {}
    for old, new in pairs or ():
        if old in renames:
            raise errors.InvalidParameterError(f"--rename: {old!r} is named twice")
        renames[old] = new
    return renames


def run_recover(options, out):
    """pyjet recover DIR: replays the logs of a folder that was left in a crash; writes a copy, unless --in-place."""
    result = recover(
        options.dir,
        output=options.output,
        in_place=options.in_place,
        base_name=options.base_name,
        logs=options.logs,
        progress=out.progress(),
        deadline=options.deadline,
    )
    out.result(result, path=os.path.abspath(options.output or options.dir))


def add(verb):
    """The verbs' own arguments. verb(name, run) gives a parser."""
    p = verb("backup", run_backup, long=True)
    p.add_argument("dir", help="folder with checkpoint, logs and databases")
    p.add_argument("--to", required=True, help="a repository (pyjet init), or a folder for the set")
    p.add_argument("--incremental", action="store_true", help="only the logs since the last backup")
    p.add_argument(
        "--full",
        action="store_true",
        help="repository: a full one, though an incremental one would do",
    )
    p.add_argument(
        "--atomic",
        action="store_true",
        help="folder: keep the last set until the new one is complete",
    )
    p.add_argument("--label", help="a name for this set")
    p.add_argument(
        "--meta",
        action="append",
        type=units.pair,
        metavar="KEY=VALUE",
        help="kept with the set; may be repeated",
    )
    p.add_argument("--rate", type=units.size, help="bytes a second at most: 20M")
    p.add_argument("--dry-run", action="store_true", help="only say what would be copied")
    p.add_argument(
        "--max-chain",
        type=int,
        help="repository: incremental sets after a full one before the next full one",
    )
    p.add_argument("--logs", help="folder of the logs, when it is another")
    p.add_argument("--base-name", default="edb", help="three characters that begin the logs' names")
    p = verb("restore", run_restore, long=True)
    p.add_argument("place", help="a repository, or the folder of a backup")
    p.add_argument("destination", help="folder for the databases: new or empty")
    p.add_argument(
        "--set",
        default="latest",
        help="repository: latest, latest-full, first, an id or its beginning, a label",
    )
    p.add_argument(
        "--at", type=units.moment, help="repository: the last set that was finished by this time"
    )
    p.add_argument(
        "--stop-at",
        "--until",
        type=units.stop,
        default="end",
        metavar="POSITION|TIME",
        help="replay what was durable by this time, or the logs up to this position: 0000000A:0001:0028",
    )
    p.add_argument(
        "--rename",
        action="append",
        type=units.pair,
        metavar="OLD=NEW",
        help="a database's new file name; OLD: its name in the set, or the path where it lay; may be repeated",
    )
    p.add_argument("--replace", action="store_true", help="swap a destination that is not empty")
    p.add_argument("--roll-forward", help="folder with later logs to go on with")
    p = verb("recover", run_recover, long=True)
    p.add_argument("dir", help="folder with databases, logs and checkpoint")
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--output", help="new folder for the recovered copy")
    where.add_argument("--in-place", action="store_true", help="recover the folder itself")
    p.add_argument("--logs", help="folder of the logs, when it is another")
    p.add_argument("--base-name", default="edb", help="three characters that begin the logs' names")
