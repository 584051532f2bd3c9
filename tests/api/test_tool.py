"""The command line: what it prints, its JSON, its exit codes."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import pyjet
import pytest
from pyjet.tool import main


def run(*args):
    """(rc, stdout, stderr) of main() in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            rc = main([*map(str, args)])
        except SystemExit as ended:  # --help, --version
            rc = ended.code
    return rc or 0, out.getvalue(), err.getvalue()


def run_alone(*args):
    """The same of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pyjet", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        env=ENV,
    )
    return done.returncode, done.stdout, done.stderr


ROOT = os.path.dirname(os.path.dirname(pyjet.__file__))
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")])),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cleanly closed instance folder with one database."""
    at = tmp_path_factory.mktemp("tool") / "data"
    with pyjet.Instance(at, log_file_size=512 << 10) as inst, inst.session() as ses:
        db = ses.create(at / "a.edb")
        t = db.create_table(
            "t",
            {
                "id": pyjet.Long(),
                "name": pyjet.Text(),
                "raw": pyjet.Binary(),
                "many": pyjet.Long(multi_valued=True),
                "when": pyjet.DateTime(),
            },
            {"pk": pyjet.Index("+id", primary=True)},
        )
        t.insert_many(
            {"id": n, "name": f"n\u00e9{n}", "raw": bytes([n]), "many": [n, n + 1]}
            for n in range(5)
        )
        db.create_table("other", {"x": pyjet.Bit()}).insert(x=True)
    return at


def test_info(folder):
    rc, out, err = run_alone("info", folder / "a.edb", "--json")
    answer = json.loads(out)
    assert rc == 0 and answer["header"]["page_size"] == 4096
    t = next(t for t in answer["tables"] if t["name"] == "t")
    assert {c["name"]: c["type"] for c in t["columns"]} == {
        "id": "Long",
        "name": "Text",
        "raw": "Binary",
        "many": "Long",
        "when": "DateTime",
    }
    assert t["indexes"][0]["key"] == "+id" and t["indexes"][0]["primary"]
    rc, out, err = run("info", folder / "a.edb")
    assert rc == 0 and "table t" in out and "index pk: +id primary" in out


def test_dump(folder):
    rc, out, err = run("dump", folder / "a.edb", "--table", "t")
    assert rc == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"id": n, "name": f"n\u00e9{n}", "raw": f"{n:02x}", "many": [n, n + 1]} for n in range(5)
    ]
    rc, out, err = run("dump", folder / "a.edb")
    assert {json.loads(line)["table"] for line in out.splitlines()} == {"t", "other"}
    assert run("dump", folder / "a.edb", "--table", "none")[0] == 10


def test_check(folder, tmp_path):
    rc, out, err = run("check", folder / "a.edb")
    assert rc == 0 and "0 findings" in out
    bad = bytearray((folder / "a.edb").read_bytes())
    for at in range(40):
        bad[4096 * 5 + 100 + at] ^= at + 1
    (tmp_path / "bad.edb").write_bytes(bad)
    rc, out, err = run("check", tmp_path / "bad.edb", "--json")
    assert rc == 20, out + err
    rc, out, err = run("check", tmp_path / "none.edb", "--json")
    answer = json.loads(out.splitlines()[-1])
    assert (
        rc == 10
        and answer["type"] == "exit_error"
        and answer["name"] == "JET_errFileNotFound"
        and answer["hint"]
    )


def test_backup_and_restore(folder, tmp_path):
    rc, out, err = run("backup", folder, "--to", tmp_path / "set")
    assert rc == 0 and out.startswith("full backup"), err
    rc, out, err = run("backup", folder, "--to", tmp_path / "set", "--incremental", "--json")
    assert rc == 0 and json.loads(out.splitlines()[-1])["kind"] == "incremental", err
    assert run("backup", folder, "--to", tmp_path / "set")[0] == 12
    rc, out, err = run("restore", tmp_path / "set", tmp_path / "new", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert (
        rc == 0
        and events[-1]["type"] == "summary"
        and {e["type"] for e in events[:-1]} == {"progress"}
    )
    assert run("dump", tmp_path / "new" / "a.edb")[1] == run("dump", folder / "a.edb")[1]
    assert run("restore", tmp_path / "set", tmp_path / "new")[0] == 12
    assert run("restore", tmp_path / "set", tmp_path / "new", "--replace", "-q")[:2] == (0, "")
    assert run("restore", tmp_path / "no set", tmp_path / "newer")[0] == 10
    assert run("backup", tmp_path / "nowhere", "--to", tmp_path / "x")[0] == 10
    os.unlink(min((tmp_path / "set").glob("edb*.log")))
    assert run("restore", tmp_path / "set", tmp_path / "newest")[0] == 21


def test_other_exit_codes(folder, tmp_path):
    assert (
        run_alone("nonsense")[0] == 2
        and run("info")[0] == 2
        and run("--version")[0] == 0
        and run("-h")[0] == 0
    )
    (tmp_path / "x").write_bytes(b"x" * 9000)
    assert run("info", tmp_path / "x")[0] in (20, 23)
    with pyjet.Instance(folder):
        assert run_alone("backup", folder, "--to", tmp_path / "set")[0] == 11
    child = subprocess.Popen(
        [sys.executable, "-m", "pyjet", "demo", "--rows", "30000", "--dir", str(tmp_path / "demo")],
        env=ENV,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "demo" / "live" / "demo.edb").exists():
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 143


def test_demo(tmp_path):
    rc, out, err = run_alone("demo", "--rows", "3000", "--json", "--seed", "7")
    answer = json.loads(out.splitlines()[-1])
    assert rc == 0 and answer["equal"] and answer["seed"] == 7, out + err
    assert answer["transactions"] > 10 and answer["rows_restored"] > 2000
    (tmp_path / "people.csv").write_text(
        'name,age,key\nann,5,a\nbob,,b\n"c, d",7,c\n', encoding="utf-8"
    )
    rc, out, err = run_alone("demo", "--csv", tmp_path / "people.csv", "-q")
    assert rc == 0 and "all equal" in out, err


def test_demo_takes_real_csv_files(tmp_path):
    """A byte order mark, names that are none for a column, a field longer than csv's own limit, fewer rows than writers."""
    from pyjet import demo

    path = tmp_path / "odd.csv"
    path.write_text(
        "a!b,c.d,[x] ,\u65e5,a,a_7,a,\"two\nlines\",,key\n" + "1,2,3,4,5,6,7,8,9," + "x" * 200_000 + "\n", encoding="utf-8-sig"
    )
    columns, records = demo.csv_records(path)
    assert list(columns) == ["a_b", "c_d", "_x_", "?", "a", "a_7", "a_7_7", "two_lines", "column9", "key_10"]
    assert len(records) == 1 and len(records[0]["key_10"]) == 200_000 and records[0]["a_b"] == "1"
    rc, out, err = run("demo", "--csv", path, "--writers", "3", "-q")
    assert rc == 0 and "all equal" in out, err
    path.write_bytes(b"a\n\xff\n")
    rc, out, err = run("demo", "--csv", path)
    assert rc != 0 and "odd.csv is no UTF-8" in err and "Traceback" not in err
    assert demo.Data(7, None).count == 7 and demo.Data(None, None).count == 100_000


def test_the_demos_verdict_sees_a_difference(tmp_path):
    """One row changed behind the oracle's back, one removed, one lost transaction: each is told."""
    from pyjet import demo

    data = demo.Data(50, None)
    with pyjet.Instance(tmp_path, log_file_size=512 << 10) as inst, inst.session() as ses:
        marks = demo._load(ses, str(tmp_path / "demo.edb"), data)
        marks.insert(writer=0, transactions=1)
        db = marks.database
        oracle = demo.Oracle(1)
        oracle.take(["try", 0, 1, [["U", 5, "note"]]])
        oracle.take(["done", 0, 1])
        assert demo.verify(db, data, oracle, oracle.done)[1]
        rows = db.tables["rows"]
        rows.get(5).update(note="note")
        assert demo.verify(db, data, oracle, oracle.done) == (50, [])
        rows.get(7).update(note="x")
        assert "key 7" in demo.verify(db, data, oracle, oracle.done)[1][0]
        rows.get(7).update(note=None)
        rows.get(50).delete()
        assert "1 rows are missing" in demo.verify(db, data, oracle, oracle.done)[1][0]
        oracle.take(["try", 0, 2, []])
        oracle.take(["done", 0, 2])
        assert "writer 0" in demo.verify(db, data, oracle, oracle.done)[1][0]
