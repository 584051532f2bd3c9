"""The prepared databases, what they hold, and how each observer sees a damaged copy."""

import contextlib
import json
import logging
import os
import random
import re
import shutil

import pyjet
from pyjet import _jet

logging.getLogger("pyjet.events").addHandler(logging.NullHandler())  # hundreds of expected ones
logging.getLogger("pyjet.events").propagate = False

ROWS, MORE = 420, 260
WIDE = 7  # two rows a page of 4 KiB, so that a small table has branches below its root


def columns():
    return {
        "id": pyjet.Long(),
        "name": pyjet.Text(max_length=120),
        "word": pyjet.LongText(),
        "raw": pyjet.LongBinary(),
        **{f"wide{i}": pyjet.Binary(max_length=255) for i in range(WIDE)},
    }


def row(n, wide=False):
    """Noise, since the checksum does not see when a run of equal bytes goes."""
    noise = random.Random(n)
    seed = noise.randbytes(32)
    return {
        "id": n,
        "name": f"name {seed[:12].hex()}",
        "word": noise.randbytes(32 * (n % 5)).hex(),
        "raw": noise.randbytes(12800 if n % 27 == 0 else 96),
        **({f"wide{i}": noise.randbytes(250) for i in range(WIDE)} if wide else {}),
    }


def make(place, page_size):
    """place/clean: a.edb, shut down cleanly. place/dirty: its crash image, all of whose logs are needed."""
    with (
        pyjet.Instance(place / "clean", page_size=page_size, log_file_size=1 << 20) as inst,
        inst.session() as ses,
    ):
        db = ses.create(place / "clean" / "a.edb")
        for name, last, wide in (("people", ROWS, False), ("things", 2 * ROWS, True)):
            indexes = {"pk": pyjet.Index("+id", primary=True), "by_name": pyjet.Index("+name")}
            if not wide:
                indexes["by_word"] = pyjet.Index("-word")
            table = db.create_table(name, columns(), indexes)
            with ses.transaction():
                table.insert_many(row(n, wide) for n in range(last))
            with ses.transaction():
                for n in range(100, 180):
                    table.get(n).delete()
    with (
        pyjet.Instance(
            place / "live",
            log_file_size=64 << 10,
            params={_jet.JET_paramCheckpointDepthMax: 64 << 20},
        ) as inst,
        inst.session() as ses,
    ):
        db = ses.create(place / "live" / "a.edb")
        table = db.create_table("t", columns(), {"pk": pyjet.Index("+id", primary=True)})
        for n in range(MORE):
            with ses.transaction():
                table.insert(row(n))
        shutil.copytree(place / "live", place / "dirty")  # as a crash leaves it
    header = json.loads(_jet.dump_header(str(place / "dirty" / "a.edb")))
    assert header["state"] == "dirty shutdown" and header["gen_min_required"] == 1, header


def contents(database):
    """Every row by every index: {table: {index: [rows]}}; raises what the engine raises."""
    found = {}
    for name in database.tables:
        table = database.tables[name]
        for index in table.indexes:
            found[name, index] = [dict(r) for r in table.rows(index=index)]
    return found


class Events(logging.Handler):
    """The page events (474) while it is open: [(level, page number)]."""

    def __enter__(self):
        self.pages = []
        logging.getLogger("pyjet.events").addHandler(self)
        return self

    def __exit__(self, *exception):
        logging.getLogger("pyjet.events").removeHandler(self)

    def emit(self, record):
        if record.event_id == 474:
            self.pages.append((record.levelno, int(record.params[-1])))


def names_page(error, pgno):
    """Whether an error of the engine names the page; headers have no number."""
    return pgno < 1 or re.search(rf"\bpage {pgno}\b", str(error)) is not None


def check(path):
    """[(page number, text)] of the findings."""
    told = []
    _jet.check_file(str(path), 0, lambda kind, pgno, objid, table, text: told.append((pgno, text)))
    return told


def read(path, truth):
    """"right", "wrong", or the error."""
    try:
        with pyjet.open(path) as database:
            return "right" if contents(database) == truth else "wrong"
    except pyjet.JetError as error:
        return error


def attach_and_back_up(inst, path, target, truth):
    """(error or "right"/"wrong" of the set, page events): the damaged file attached for writing, read, backed up, detached."""
    shutil.rmtree(target, ignore_errors=True)
    with Events() as events, inst.session() as ses:
        result = None
        try:
            database = ses.attach(path)
        except pyjet.JetError as error:
            return error, error, events.pages
        try:
            seen = "right" if contents(database) == truth else "wrong"
        except pyjet.JetError as error:
            seen = error
        try:
            inst.backup(target)
            result = "right"
        except pyjet.JetError as error:
            result = error
        with contextlib.suppress(pyjet.JetError):
            database.close()
        ses.detach(path)
    return seen, result, events.pages


def read_set(target, truth):
    """Restored beside it and read: "right", "wrong" or the error."""
    place = target.parent / "restored"
    shutil.rmtree(place, ignore_errors=True)
    try:
        pyjet.restore(target, place)
    except pyjet.JetError as error:
        return error
    return read(next(place.glob("*.edb")), truth)


@contextlib.contextmanager
def started(folder):
    """An instance on a copy of the crash image: its logs name the place where the files lay, so recovery is told where they are."""
    inst = pyjet.Instance(folder, log_file_size=64 << 10, init=False)
    try:
        pair = (str(folder.parent / "live" / "a.edb"), str(folder / "a.edb"))
        _jet.init_mapped(inst.handle, [pair], 0, None)
    except BaseException:
        inst.close(abrupt=True)
        raise
    with inst:
        yield inst


def committed(folder):
    """The rows that a whole crash image gives."""
    here = os.path.join(folder, "a.edb")
    with started(folder) as inst, inst.session() as ses:
        found = [dict(r) for r in ses.attach(here).tables["t"].rows()]
    assert [{k: r[k] for k in row(0)} for r in found] == [row(n) for n in range(MORE)]
    return found


def recover(folder, truth):
    """"right", ("short", rows that are there), "wrong" or the error of a start on a damaged crash image."""
    try:
        with started(folder) as inst, inst.session() as ses:
            database = ses.attach(os.path.join(folder, "a.edb"))
            rows = [dict(r) for r in database.tables["t"].rows()] if "t" in database.tables else []
    except pyjet.JetError as error:
        return error
    if _jet.check_file(os.path.join(folder, "a.edb"))["findings"]:
        return "wrong"
    if rows == truth:
        return "right"
    return ("short", len(rows)) if rows == truth[: len(rows)] else "wrong"
