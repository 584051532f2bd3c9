"""Tests by the ids of docs/backup-behaviours.csv: a file has `ROWS = Rows()`, marks its functions, and imports test_row.

conftest.py here gives test_row the names of the file's rows, also of those that stand below the import.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from child import run  # noqa: E402


class Rows(dict):
    """The tests of one file: @ROWS("BK-001") names the behaviours that a function shows."""

    def __call__(self, *ids):
        def keep(fn):
            self["+".join(ids) + " " + fn.__name__] = fn
            return fn

        return keep

    def in_child(self, report, name, place):
        self[name](place)


def test_row(name, memory_path, request):
    run(request.module.ROWS.in_child, name, str(memory_path))
