"""The command line: pyjet demo, backup, restore, info, check, dump.

Exit codes: 0 done; 1 unexpected; 2 usage; 10 not found; 11 busy; 12 the state forbids it; 20 corruption; 21 logs missing; 22 dirty;
23 format not supported; 30 out of space; 31 I/O error; 130 Ctrl-C; 143 SIGTERM.
"""

import argparse
import datetime
import glob
import json
import os
import signal
import sys
import uuid

import pyjet

from .. import _jet, errors

_CODES = {
    10: "FileNotFound NoBackupDirectory DatabaseNotFound InvalidPath ObjectNotFound TableNotFound PathNotFound",
    11: "BackupInProgress RestoreInProgress FileAccessDenied DatabaseInUse DatabaseLocked LogFilePathInUse SystemPathInUse"
    " TempPathInUse AlreadyInitialized DatabaseSharingViolation SessionSharingViolation",
    12: "MissingFullBackup InvalidBackup LoggingDisabled BackupNotAllowedYet BackupDirectoryNotEmpty NoBackup"
    " InvalidBackupSequence FileAlreadyExists DatabaseDuplicate",
    21: "RequiredLogFilesMissing CommittedLogFilesMissing GivenLogFileIsNotContiguous MissingRestoreLogFiles MissingLogFile"
    " StartingRestoreLogTooHigh EndingRestoreLogTooLow BadRestoreTargetInstance LogGenerationMismatch"
    " GivenLogFileHasBadSignature MissingPatchPage MissingFileToBackup",
    22: "DatabaseDirtyShutdown DirtyShutdown",
    23: "BadLogVersion InvalidDatabaseVersion InvalidLogSequence LogFileSizeMismatch PageSizeMismatch"
    " DatabaseIncompatible ConsistentTimeMismatch Database200Format Database400Format Database500Format UnicodeTranslationFail"
    " EngineFormatVersionNotYetImplementedTooHigh FeatureNotAvailable InvalidDatabase",
    30: "DiskFull LogDiskFull OutOfDatabaseSpace",
    31: "DiskIO LogWriteFail DiskReadVerificationFailure FileSystemCorruption",
    2: "InvalidGrbit InvalidParameter InvalidSettings",
}


def _table():
    codes = {}
    for rc, names in _CODES.items():
        for name in names.split():
            cls = getattr(errors, name + "Error", None)
            if cls is not None:
                codes[cls] = rc
    return codes


_BY_CLASS = _table()


def exit_code(error):
    """The exit code of an exception."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, _Terminated):
        return 143
    if isinstance(error, errors.DestinationNotEmptyError):
        return 12
    if type(error) in _BY_CLASS:
        return _BY_CLASS[type(error)]
    by_category = (
        (errors.JetCorruptionError, 20),
        (errors.JetInconsistentError, 21),
        (errors.JetDiskError, 30),
        (errors.JetIOError, 31),
        (errors.JetQuotaError, 30),
        (errors.JetUsageError, 2),
        (FileNotFoundError, 10),
        (PermissionError, 11),
        (FileExistsError, 12),
        (OSError, 31),
    )
    for cls, rc in by_category:
        if isinstance(error, cls):
            return rc
    return 1


class _Terminated(BaseException):
    """SIGTERM came."""


def _on_term(number, frame):
    raise _Terminated()


# ---- values as JSON ----
def plain(value):
    """A column's value as JSON can hold it: bytes as hex, several values as lists, dates as ISO text, GUIDs as text."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        return {"utf16": value.encode("utf-16-le", "surrogatepass").hex()}
    return value


class _Output:
    def __init__(self, options):
        self.json = options.json
        self.quiet = options.quiet

    def result(self, operation, result):
        if self.json:
            print(
                json.dumps(
                    {"v": 1, "type": "summary", "op": operation, **result.to_dict()}, default=str
                )
            )
        elif not self.quiet:
            print(result)

    def progress(self):
        """What --progress (or a terminal) asks for."""
        if self.quiet:
            return None
        if not self.json:
            return True

        def tell(step):
            event = {
                "v": 1,
                "type": "progress",
                "op": step.op,
                "phase": step.phase,
                "done": step.done,
                "total": step.total,
            }
            print(json.dumps({**event, "snp": step.snp, "snt": step.snt}), flush=True)

        return tell

    def error(self, operation, error, rc):
        if self.json:
            event = {
                "v": 1,
                "type": "exit_error",
                "op": operation,
                "code": rc,
                "error": type(error).__name__,
                "text": str(error),
            }
            if isinstance(error, errors.JetError):
                event.update(jet=error.code, name=error.name, hint=error.hint)
            print(json.dumps(event))
        else:
            print(f"pyjet {operation}: {str(error) or type(error).__name__}", file=sys.stderr)


# ---- verbs ----
def _databases_of(folder):
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*"))):
        if os.path.isfile(path) and _is_database(path):
            found.append(path)
    return found


def _is_database(path):
    """By the signature in its header, whatever its name is."""
    with open(path, "rb") as f:
        head = f.read(16)
    return len(head) == 16 and head[4:8] == b"\xef\xcd\xab\x89" and head[12:16] == b"\0\0\0\0"


def run_backup(options, out):
    """pyjet backup DIR --to DIR: starts an instance on DIR, attaches its databases, backs them up."""
    if not os.path.isdir(options.dir):
        raise errors.FileNotFoundError(f"no folder {os.path.abspath(options.dir)}")
    databases = _databases_of(options.dir)
    if not databases:
        raise errors.DatabaseNotFoundError(f"no database in {os.path.abspath(options.dir)}")
    header = json.loads(_jet.dump_header(databases[0]))
    with pyjet.Instance(
        options.dir,
        log_path=options.logs,
        base_name=options.base_name,
        page_size=header["page_size"],
    ) as inst:
        with inst.session() as session:
            for path in databases:
                session.attach(path)
            result = inst.backup(
                options.to,
                incremental=options.incremental,
                atomic=options.atomic,
                progress=out.progress(),
            )
    out.result("backup", result)


def run_restore(options, out):
    """pyjet restore SET DEST."""
    if not os.path.isdir(options.set):
        raise errors.FileNotFoundError(f"no folder {os.path.abspath(options.set)}")
    result = pyjet.restore(
        options.set,
        options.destination,
        replace=options.replace,
        roll_forward=options.roll_forward,
        progress=out.progress(),
    )
    out.result("restore", result)


def _describe(database):
    described = []
    for name in database.tables:
        described.append(database.tables[name].to_dict())
    return described


def run_info(options, out):
    """pyjet info FILE: the header of a database, log or checkpoint; of a database its tables, too."""
    header = json.loads(_jet.dump_header(options.file))
    described = None
    if _is_database(options.file):
        with pyjet.open(options.file, allow_dirty=True) as database:
            described = _describe(database)
    if out.json:
        print(
            json.dumps({"file": options.file, "header": header, "tables": described}, default=str)
        )
        return
    print(options.file)
    for key, value in header.items():
        print(f"  {key}: {json.dumps(value) if isinstance(value, (dict, list)) else value}")
    for table in described or ():
        print(f"table {table['name']}")
        for column in table["columns"]:
            print(
                f"  column {column['name']}: {column['type']}, id {column['columnid']}, grbit {column['grbit']:#x}"
            )
        for index in table["indexes"]:
            print(
                f"  index {index['name']}: {index['key']}{' primary' if index['primary'] else ''}{' unique' if index['unique'] else ''}"
            )


def run_check(options, out):
    """pyjet check FILE: checksums, trees, space, catalog, records, indexes. 20 when something is wrong."""
    found = []

    def finding(kind, pgno, objid, table, text):
        event = {
            "v": 1,
            "type": "finding",
            "kind": kind,
            "pgno": pgno,
            "objid": objid,
            "table": table,
            "text": text,
        }
        found.append(event)
        if out.json:
            print(json.dumps(event))
        elif not out.quiet:
            print(f"page {pgno} object {objid} {table or ''}: {text}")

    totals = _jet.check_file(options.file, 0, finding)
    if out.json:
        print(json.dumps({"v": 1, "type": "summary", "op": "check", **totals}))
    elif not out.quiet:
        print(
            f"{options.file}: {totals['pages']} pages, {totals['tables']} tables, {totals['records']} records,"
            f" {totals['index_entries']} index entries, {totals['long_values']} long values: {totals['findings']} findings"
        )
    return 20 if totals["findings"] else 0


def run_dump(options, out):
    """pyjet dump FILE [--table NAME]: JSON lines; columns that are NULL are left out."""
    with pyjet.open(options.file, allow_dirty=options.allow_dirty) as database:
        names = [options.table] if options.table else list(database.tables)
        for name in names:
            table = database.tables[name]
            for row in table.rows():
                record = {k: plain(v) for k, v in row.items() if v is not None}
                shown = record if options.table else {"table": name, "record": record}
                print(json.dumps(shown, ensure_ascii=False))


def run_demo(options, out):
    """pyjet demo: load, back up under writers, kill, restore, recover, verify."""
    from .. import demo

    return demo.run(options, out)


def _parser():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", help="JSON lines; the last one is a summary or exit_error"
    )
    common.add_argument("-q", "--quiet", action="store_true", help="only errors")
    parser = argparse.ArgumentParser(
        prog="pyjet", description="ESE databases on Linux: backup, restore, info, check, dump."
    )
    parser.add_argument("--version", action="version", version=f"pyjet {pyjet.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, run, **kwargs):
        p = verbs.add_parser(
            name,
            parents=[common],
            description=run.__doc__,
            help=run.__doc__.splitlines()[0].split(": ", 1)[-1],
            **kwargs,
        )
        p.set_defaults(run=run)
        return p

    p = verb("demo", run_demo)
    p.add_argument("--rows", type=int, default=100_000, help="rows to load (default 100,000)")
    p.add_argument(
        "--csv", help="load this CSV file (first line: names) instead of the Unicode table"
    )
    p.add_argument("--dir", help="work here and keep it (default: a temporary folder)")
    p.add_argument("--writers", type=int, default=2, help="writer threads (default 2)")
    p.add_argument("--seed", type=int, default=None, help="of the writers' choices")
    p = verb("backup", run_backup)
    p.add_argument("dir", help="folder with checkpoint, logs and databases")
    p.add_argument("--to", required=True, help="folder for the set")
    p.add_argument("--incremental", action="store_true", help="only the logs since the last backup")
    p.add_argument(
        "--atomic", action="store_true", help="keep the last set until the new one is complete"
    )
    p.add_argument("--logs", help="folder of the logs, when it is another")
    p.add_argument("--base-name", default="edb", help="three characters that begin the logs' names")
    p = verb("restore", run_restore)
    p.add_argument("set", help="folder of the backup")
    p.add_argument("destination", help="folder for the databases: new or empty")
    p.add_argument("--replace", action="store_true", help="swap a destination that is not empty")
    p.add_argument("--roll-forward", help="folder with later logs to go on with")
    for name, run in (("info", run_info), ("check", run_check), ("dump", run_dump)):
        p = verb(name, run)
        p.add_argument("file")
        if name == "dump":
            p.add_argument("--table", help="only this table")
            p.add_argument(
                "--allow-dirty",
                action="store_true",
                help="read a file that was not shut down cleanly, as it is",
            )
    return parser


def main(argv=None):
    """Runs one verb; gives back the exit code."""
    options = _parser().parse_args(argv)
    out = _Output(options)
    before = signal.signal(signal.SIGTERM, _on_term)
    try:
        return options.run(options, out) or 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (errors.JetError, OSError, ValueError, KeyboardInterrupt, _Terminated) as error:
        rc = exit_code(error)
        out.error(options.verb, error, rc)
        return rc
    finally:
        signal.signal(signal.SIGTERM, before)
