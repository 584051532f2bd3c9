"""What lies in a column that was dropped can be read by nobody: `check` takes its long values for leftovers, not for damage."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cjet  # noqa: E402
from cjet import K  # noqa: E402


@pytest.mark.parametrize("dropped", ["x", "y"])
def test_check_of_a_table_with_a_dropped_long_column(memory_path, dropped):
    """The catalog keeps the row of the last column of its class (y), and not that of an earlier one (x)."""
    columns = {"id": (K.JET_coltypLong, K.JET_bitColumnNotNULL), "x": (K.JET_coltypLongBinary,), "y": (K.JET_coltypLongBinary,)}
    path = memory_path / "data" / "x.edb"
    with cjet.Instance(memory_path / "data", log_kib=64) as inst, inst.session() as ses:
        dbid = ses.create(path)
        ses.create_table(dbid, "t", columns, [("pk", "+id", K.JET_bitIndexPrimary)])
        with ses.table(dbid, "t") as t:
            with ses.transaction():
                for i in range(5):
                    t.insert(id=i, x=b"x" * 3000, y=b"y" * 3000)
            cjet.call("JetDeleteColumnA", ses.id, t.id, cjet.text(dropped))
    texts, sums = cjet.check_file(path)
    assert texts == []
    assert sums.notes == 5
    assert sums.long_values == 10
