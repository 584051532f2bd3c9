"""Verbs that look at files: info, check, dump, header, log, checkpoint."""

import datetime
import json
import os
import uuid

import pyjet

from .. import _jet, errors
from ..backup.forecast import is_log
from ..backup.places import is_database
from . import repair


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


def _describe(database):
    described = []
    for name in database.tables:
        described.append(database.tables[name].to_dict())
    return described


def print_header(path, header):
    print(path)
    for key, value in header.items():
        print(f"  {key}: {json.dumps(value) if isinstance(value, (dict, list)) else value}")


def run_info(options, out):
    """pyjet info FILE: the header of a database, log or checkpoint; of a database its tables, too."""
    header = json.loads(_jet.dump_header(options.file))
    described = None
    if is_database(options.file):
        with pyjet.open(options.file, allow_dirty=True) as database:
            described = _describe(database)
    out.emit("summary", file=options.file, header=header, tables=described)
    if not out.json:
        print_header(options.file, header)
    for table in (described or ()) if not out.json else ():
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
    rebuilt = {}
    if options.repair_from:
        rebuilt = repair.repair(options.file, options.repair_from, logs=options.logs)
        for pgno, dbtime in rebuilt.items():
            out.text(f"page {pgno} was rebuilt and proved; its dbtime is {dbtime}")
    found = []

    def finding(kind, pgno, objid, table, text):
        found.append(text)
        out.emit("finding", kind=kind, pgno=pgno, objid=objid, table=table, text=text)
        out.text(f"page {pgno} object {objid} {table or ''}: {text}")

    totals = _jet.check_file(options.file, 0, finding)
    more = {"rebuilt": list(rebuilt)} if options.repair_from else {}
    out.emit("summary", file=options.file, **totals, **more)
    out.text(
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


_KINDS = {"header": "a database", "log": "a log", "checkpoint": "a checkpoint"}


def _header_of(path, kind):
    """The header as a dict; FeatureNotAvailable-like errors of the engine, or InvalidParameterError for another kind of file."""
    found = json.loads(_jet.dump_header(path))
    is_kind = {
        "header": "page_size" in found and "generation" not in found,
        "log": "generation" in found,
    }
    if not is_kind.get(kind, "checkpoint" in found and "generation" not in found):
        raise errors.InvalidParameterError(f"{path} is not {_KINDS[kind]}")
    return found


def run_header(options, out):
    """pyjet header FILE: the header of a database (esentutl /mh)."""
    header = _header_of(options.file, options.verb)
    out.emit("summary", file=options.file, header=header)
    if not out.json:
        print_header(options.file, header)


def run_checkpoint(options, out):
    """pyjet checkpoint FILE: what a checkpoint file says (esentutl /mk)."""
    run_header(options, out)


def run_log(options, out):
    """pyjet log FILE: the header of a log, and with --records all that is in it (esentutl /ml)."""
    header = _header_of(options.file, "log")
    records = 0
    if not out.json:
        print_header(options.file, header)
    if options.records:
        records = _print_records(options, out, header["generation"])
    out.emit(
        "summary", file=options.file, header=header, records=records if options.records else None
    )


def _print_records(options, out, generation):
    folder, name = os.path.split(os.path.abspath(options.file))
    base_name = name[:3]
    if not is_log(name, base_name) and os.path.splitext(name)[0].lower() != base_name.lower():
        raise errors.InvalidParameterError(f"{name} is not named as a log is")
    count = 0

    def line(text):
        nonlocal count
        if options.limit is not None and count >= options.limit:
            return False
        count += 1
        record = json.loads(text)
        out.emit("record", **{("kind" if k == "type" else k): v for k, v in record.items()})
        if not out.json:
            print(text)
        return True

    _jet.dump_log(folder, base_name, line, generation, generation)
    return count


def add(verb):
    """The verbs' own arguments. verb(name, run) gives a parser."""
    for name, run in (
        ("info", run_info),
        ("check", run_check),
        ("dump", run_dump),
        ("header", run_header),
        ("log", run_log),
        ("checkpoint", run_checkpoint),
    ):
        p = verb(name, run)
        p.add_argument("file")
        if name == "check":
            p.add_argument(
                "--repair-from",
                metavar="SET",
                help="first rebuild pages that cannot be read: from this backup folder or repository, and the logs",
            )
            p.add_argument("--logs", help="folder of the logs that followed (that of the file)")
        if name == "dump":
            p.add_argument("--table", help="only this table")
            p.add_argument(
                "--allow-dirty",
                action="store_true",
                help="read a file that was not shut down cleanly, as it is",
            )
        if name == "log":
            p.add_argument("--records", action="store_true", help="every record, as a line of JSON")
            p.add_argument("--limit", type=int, help="at most so many records")
