"""Memory that the extension forgets: ``python tests/threads/leaks.py FOLDER [lose]`` under an interpreter with AddressSanitizer preloaded and an extension built with it.

Everything that Python does with the package, in rounds; LeakSanitizer tells at the end what nobody points to any more. ``lose``: forgets one
object of the extension's on purpose, so that a silent sanitizer is seen.
"""

import contextlib
import ctypes
import datetime
import decimal
import gc
import pathlib
import sys
import threading
import uuid

import pyjet
import pyjet.backup

COLUMNS = {
    "id": pyjet.Long(autoincrement=True), "t": pyjet.Text(), "n": pyjet.LongLong(), "f": pyjet.Double(), "b": pyjet.Binary(), "lb": pyjet.LongBinary(),
    "lt": pyjet.LongText(), "g": pyjet.Guid(), "d": pyjet.DateTime(), "x": pyjet.Bit(), "c": pyjet.Long(escrow=True, default=0),
}  # fmt: skip


class Rude(Exception):
    pass


def rows(n, round_):
    for i in range(n):
        yield {"t": f"{round_}-{i}", "n": i << 33, "f": i / 3, "b": bytes([i % 256]) * 20, "lb": b"x" * (i % 7 * 1500), "lt": "y" * (i % 5 * 900),
               "g": uuid.UUID(int=i), "d": datetime.datetime(2024, 1, 1 + i % 28), "x": bool(i % 2)}  # fmt: skip


def refused(what, *args, **options):
    with contextlib.suppress(pyjet.JetError, TypeError, ValueError, OverflowError):
        what(*args, **options)


def use_table(ses, table, round_):
    table.insert_many(rows(60, round_))
    for row in table.rows():
        dict(row)
    with ses.transaction():
        for row in list(table.range("by_t", low="0", high="9", reverse=True))[:20]:
            row.update(n=7, lt="z" * 3000)
            table.append(row, "lb", b"tail")
            table.read(row, "lb", 10, 5)
            table.escrow(row, "c", 3)
    with contextlib.suppress(Rude), ses.transaction():
        for row in list(table.rows())[:5]:
            row.delete()
        raise Rude
    refused(table.insert, id="no number", t="a")
    refused(table.insert, t="a" * 1000)
    refused(table.insert, n=decimal.Decimal(1))
    refused(table.insert, nothing=1)
    refused(table.get, -1)
    refused(table.get, "x")
    refused(table.create_index, "bad", pyjet.Index("+nothing"))
    table.get(-1, default=None)
    half = table.rows()
    next(half)
    del half
    table.to_dict(), repr(table), len(table), bool(table)


def use_backup(inst, ses, folder, round_):
    def rude(progress):
        raise Rude

    inst.backup(folder / f"full{round_}", progress=lambda p: None)
    refused(inst.backup, folder / "nothing" / "there", incremental=True)
    with contextlib.suppress(Rude):
        inst.backup(folder / f"rude{round_}", progress=rude)
    pyjet.restore(folder / f"full{round_}", folder / f"back{round_}")
    with inst.external_backup() as run:
        for file in run.files():
            file.readall()
            file.close()
    with contextlib.suppress(Rude), inst.external_backup() as run:
        next(iter(run.files())).read(100)
        raise Rude
    with pyjet.open(folder / f"back{round_}" / "a.edb") as db:
        for table in db.tables.values():
            list(table.rows())
    refused(pyjet.open, folder / "no.edb")
    repr(inst.info()), repr(inst.stats)


def one_round(folder, round_):
    place = folder / "d"
    with pyjet.Instance(place, log_file_size=64 << 10) as inst, inst.session() as ses:
        db = ses.open(place / "a.edb", create=True)
        indexes = {"pk": pyjet.Index("+id", primary=True), "by_t": pyjet.Index("+t"), "by_n": pyjet.Index("-n+f")}
        table = db.create_table(f"t{round_}", COLUMNS, indexes)
        use_table(ses, table, round_)
        other = threading.Thread(target=lambda: [list(s.open(place / "a.edb").tables[f"t{round_}"].rows()) for s in [inst.session()]])
        other.start()
        other.join()
        use_backup(inst, ses, folder, round_)
        cycle = [ses, inst.session(), table.rows()]
        cycle.append(cycle)
        del cycle
        gc.collect()


def lose():
    """An object that only a number on the stack of a thread that ended knew."""
    kept = pyjet.Instance(pathlib.Path(sys.argv[1]) / "lost", log_file_size=64 << 10)
    session = kept.session()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(session.handle))
    session.close()
    kept.close()


def main():
    folder = pathlib.Path(sys.argv[1])
    if sys.argv[2:] == ["lose"]:
        thread = threading.Thread(target=lose)
        thread.start()
        thread.join()
    else:
        for round_ in range(3):
            one_round(folder, round_)
    gc.collect()
    print("ok", flush=True)


if __name__ == "__main__":
    main()
