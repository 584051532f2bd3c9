"""An instance whose rows are counted, a repository, and what a restored database has to hold."""

import os
import pathlib

import pyjet
from pyjet.backup import BackupRepo


def kept(folder):
    """Names in the folder of a running instance, but for the log that is made in the background."""
    return sorted(name for name in os.listdir(folder) if name != "edbtmp.log")


class World:
    """Rows 0 to n-1, each with bytes that follow from its number; ``seen[set id]`` is n at that backup."""

    def __init__(self, place, *, rows=600, size=2500, **repo):
        self.place, self.size, self.rows, self.seen = pathlib.Path(place), size, 0, {}
        self.inst = pyjet.Instance(self.place / "live", log_file_size=256 << 10)
        self.ses = self.inst.session()
        db = self.ses.create(self.place / "live" / "a.edb")
        self.table = db.create_table(
            "t",
            {"id": pyjet.Long(), "raw": pyjet.LongBinary()},
            {"pk": pyjet.Index("+id", primary=True)},
        )
        self.repo = BackupRepo(self.place / "repo", create=True, **repo)
        self.add(rows)

    def add(self, n):
        with self.ses.transaction():
            self.table.insert_many(
                {"id": i, "raw": bytes_of(i, self.size)} for i in range(self.rows, self.rows + n)
            )
        self.rows += n

    def backup(self, **options):
        found = self.repo.backup(self.inst, **options)
        self.seen[found.id] = self.rows
        return found

    def holds(self, folder, n):
        check(pathlib.Path(folder) / "a.edb", n, self.size)

    def restores(self, which, n=None, repo=None):
        repo = repo or self.repo
        to = self.place / f"restored-{len(os.listdir(self.place))}"
        result = repo.restore(which, to)
        self.holds(to, self.seen[which.id] if n is None else n)
        return result

    def close(self):
        self.ses.close()
        self.inst.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def bytes_of(i, size):
    seed = i.to_bytes(4, "little")
    return seed * (size // 8) + (i * 2654435761 % 2**64).to_bytes(8, "little") * (size // 16)


def check(path, n, size):
    """Exactly rows 0 to n-1 with their bytes."""
    with pyjet.open(path) as db:
        count = 0
        for row in db.tables["t"].rows():
            assert row["id"] == count and row["raw"] == bytes_of(count, size), count
            count += 1
        assert count == n, (count, n)


def flip(path, at, mask=0x10):
    """One bit of a file."""
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ mask]))
