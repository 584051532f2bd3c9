"""pyjet check --repair-from: bad pages of a clean database, rebuilt from a backup and the logs that followed it.

The set is restored to a private folder and rolled forward over the live logs, so that it becomes what the damaged file was. That
is proved, not hoped: both are of one signature; every page of the file that is sound has the same dbtime in the copy and holds the same
nodes, page by page (a clone that went its own way counts the same dbtimes); the rebuilt pages verify and are not newer than the file;
and a copy of the file with those pages passes the whole check. Only then the file itself is written: the pages to be replaced first go,
as they are, into a file beside it.
"""

import fcntl
import json
import os
import re
import struct

import pyjet

from .. import _jet, errors
from ..backup import BackupRepo, files, places
from .runs import is_repo

CHECKSUM_KINDS = (1, 2)  # of findings: checksums, pages


def _refuse(path, why):
    return errors.ReadVerifyFailureError(
        f"{path} was left as it is: {why}; restore the whole database from the set instead"
    )


def bad_pages(path):
    """Numbers of the pages that cannot be read, each once; and of those with one flipped bit, which are no bad ones."""
    found, flipped = set(), set()

    def told(kind, pgno, objid, table, text):
        blank = "never written" in text or "PageNotInitialized" in text
        if not ("can be corrected" in text or "checksum is wrong" in text or blank):
            return
        number = pgno or int((re.search(r"\bpage (\d+)\b", text) or [0, 0])[1])
        if number:
            (flipped if "can be corrected" in text else found).add(number)

    _jet.check_file(path, 0, told)
    return sorted(found), flipped


def header_of(path):
    return json.loads(_jet.dump_header(path))


class Pages:
    """The pages of a database file by number, as bytes."""

    def __init__(self, path, size, mode="rb"):
        self.file, self.size = open(path, mode), size  # noqa: SIM115
        self.count = os.fstat(self.file.fileno()).st_size // size - 2

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def __getitem__(self, pgno):
        self.file.seek((pgno + 1) * self.size)
        return self.file.read(self.size)

    def __setitem__(self, pgno, page):
        self.file.seek((pgno + 1) * self.size)
        self.file.write(page)

    def sync(self):
        self.file.flush()
        os.fsync(self.file.fileno())


def dbtime(page):
    return struct.unpack_from("<Q", page, 8)[0]


LARGE = 16384  # from here on the header is longer, and a node has its flags in itself
VERSION = 1 << 13  # of a node's flags, where they lie in 16 bits: a hint, taken away without a record


def content(page):
    """(neighbours and owner, nodes in order) of a page that verifies: what redo makes again. Where in the page its bytes lie, it need not."""
    large = len(page) >= LARGE
    head, mask = (80, 0x7FFF) if large else (40, 0x1FFF)
    nodes = []
    for tag in range(struct.unpack_from("<H", page, 34)[0] & 0xFFF):
        size, at = struct.unpack_from("<HH", page, len(page) - 4 * (tag + 1))
        flags, first = at & ~mask & ~VERSION & 0xFFFF, head + (at & mask)
        node = page[first : first + (size & mask)]
        if large and tag > 0 and len(node) >= 2:
            node = struct.pack("<H", struct.unpack_from("<H", node)[0] & ~VERSION) + node[2:]
        nodes.append((0 if large or tag == 0 else flags, node))
    return page[16:28], nodes


def _same(path, pages, copy, bad):
    """Refuses unless every page that is sound in the file is of the same age in the copy, and holds the same."""
    for pgno in range(1, pages.count + 1):
        here, there = pages[pgno], copy[pgno] if pgno <= copy.count else b""
        if pgno in bad or not any(here):
            continue
        if not there or dbtime(here) != dbtime(there):
            raise _refuse(path, f"page {pgno} has dbtime {dbtime(here)}, by the set and the logs {dbtime(there) if there else 'none'}")
        if content(here) != content(there):
            raise _refuse(path, f"page {pgno} holds other bytes than by the set and the logs: they are of a copy of this database that went its own way")


def _rebuilt(path, copy, bad, newest):
    """{number: bytes} of the bad pages. The copy as a whole has passed the check: a page of it that was never written is in no tree."""
    found = {}
    for pgno in bad:
        page = copy[pgno] if pgno <= copy.count else b""
        if len(page) != copy.size or dbtime(page) > newest:
            raise _refuse(path, f"the set and the logs do not give page {pgno}")
        found[pgno] = page
    return found


def _find_copy(path, result, header):
    for candidate in result.databases:
        if header_of(candidate).get("sign_db") == header["sign_db"]:
            return candidate
    raise _refuse(path, f"{result.path} holds no database of its signature")


def _lock(file, path):
    """As the engine locks a database that it reads: readers may come, nobody who writes."""
    try:
        fcntl.fcntl(file.fileno(), fcntl.F_OFD_SETLK, places.READERS_LOCK)
    except OSError:
        raise errors.FileAccessDeniedError(f"{path} is in use: detach it first") from None


def _recovered(source, work, logs, progress):
    place = os.path.join(work, "restored")
    if is_repo(source):
        repo = BackupRepo(source)
        return repo.restore("latest", place, roll_forward=logs, progress=progress)
    return pyjet.restore(source, place, roll_forward=logs, progress=progress)


def repair(path, source, *, logs=None, progress=None):
    """Rebuild the bad pages of a database file that is shut down; gives back {page number: its dbtime}, {} when none is bad.

    path: the file. source: a backup folder, or a repository, of which the latest set is taken. logs: the folder of the logs that followed (that of the file); they are only read.
    Room for two more copies of the database is needed beside it. DatabaseDirtyShutdownError, FileAccessDeniedError (in use),
    ReadVerifyFailureError (what was rebuilt cannot be proved: the file is as it was), errors of pyjet.restore. ESE has nothing like it.
    """
    path = os.path.abspath(path)
    folder = os.path.dirname(path)
    header = header_of(path)
    if header["state"] != "clean shutdown":
        raise errors.DatabaseDirtyShutdownError(f"{path}: recover it with its logs first")
    with Pages(path, header["page_size"], "r+b") as pages:
        _lock(pages.file, path)
        bad, flipped = bad_pages(path)
        if not bad:
            return {}
        with places.work_folder(folder, f".{os.path.basename(path)}-", ".repair") as work:
            copy_path = _find_copy(path, _recovered(source, work, logs or folder, progress), header)
            if _jet.check_file(copy_path)["findings"]:
                raise _refuse(path, "what the set and the logs give is damaged, too")
            with Pages(copy_path, header["page_size"]) as copy:
                _same(path, pages, copy, {*bad, *flipped})
                rebuilt = _rebuilt(path, copy, bad, header["dbtime"])
            _try_on_copy(path, header["page_size"], rebuilt, work)
            _write(path, pages, rebuilt)
    return {pgno: dbtime(page) for pgno, page in rebuilt.items()}


def _try_on_copy(path, size, rebuilt, work):
    trial = os.path.join(work, "trial.edb")
    files.copy_data(path, trial)
    with Pages(trial, size, "r+b") as pages:
        for pgno, page in rebuilt.items():
            pages[pgno] = page
    told = []
    _jet.check_file(trial, 0, lambda kind, pgno, objid, table, text: told.append(text) if kind != 9 else None)
    told = [text for text in told if "can be corrected" not in text]
    if told:
        raise _refuse(path, f"with the rebuilt pages it would not be in order: {told[0]}")


def _write(path, pages, rebuilt):
    """The old bytes, synced, into FILE.bad-pages (number, then page, each); then the new ones in place, synced."""
    with open(path + ".bad-pages", "ab") as kept:
        for pgno in rebuilt:
            kept.write(struct.pack("<I", pgno) + pages[pgno])
        kept.flush()
        os.fsync(kept.fileno())
    files.sync_folder(os.path.dirname(path))
    for pgno, page in rebuilt.items():
        pages[pgno] = page
    pages.sync()
