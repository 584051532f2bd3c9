"""The module and the interpreter: a second interpreter, no reference left behind, the interpreter's end."""

import builtins
import datetime
import gc
import importlib.util
import os
import subprocess
import sys
import textwrap

import pyjet
import pytest
from pyjet import _jet


ROOT = os.path.dirname(os.path.dirname(pyjet.__file__))
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")])),
}


def script(code, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=90,
        **kwargs,
    )


INNER = """
import pyjet
try:
    pyjet.open("/nowhere")
except pyjet.FileNotFoundError as error:
    assert error.code == -1811
with pyjet.Instance("inner", log_file_size=512 << 10) as inst, inst.session() as ses:
    t = ses.open("inner/a.edb", create=True).create_table("t", {"a": pyjet.Long()}, exist_ok=True)
    t.insert_many({"a": n} for n in range(10))
    assert [r["a"] for r in t.rows()][-10:] == list(range(10))
"""


def test_a_second_interpreter_has_its_own_module(tmp_path):
    (tmp_path / "inner.py").write_text(INNER)
    done = script(
        f"""
        import sys
        sys.path.append({TESTS!r})
        import interpreters, pyjet
        for _ in range(2):
            interpreters.run(open("inner.py").read())
        with pyjet.Instance("outer", log_file_size=512 << 10) as inst, inst.session() as ses:
            ses.create("outer/a.edb")
        print("done")
        """,
        cwd=tmp_path,
        env=ENV,
    )
    assert done.stdout == "done\n" and done.returncode == 0, done.stderr


def test_events_at_the_end_of_the_interpreter(tmp_path):
    done = script(f"""
        import logging, threading, pyjet
        logging.basicConfig(level=logging.INFO)
        inst = pyjet.Instance({str(tmp_path / "d")!r}, log_file_size=512 << 10)
        ses = inst.session()
        t = ses.create({str(tmp_path / "d" / "a.edb")!r}).create_table("t", {{"a": pyjet.Long()}})
        def load():
            try:  # the end of the interpreter may come at any of these calls
                mine = inst.session()
                table = mine.open({str(tmp_path / "d" / "a.edb")!r}).tables["t"]
                while True:
                    table.insert(a=1)
            except pyjet.JetError:
                pass
        threading.Thread(target=load, daemon=True).start()
        t.insert(a=1)
    """)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_reading_and_writing_leave_no_references(people):
    value = "a value of its own" * 3
    row = {"id": 1_000, "name": value}

    def work():
        for n in range(50):
            row["id"] += 1
            people.insert(row).update(name=value)
            people.insert_many([{"id": row["id"] + 500_000, "name": value}])
            people.get(row["id"]).delete()
            try:
                people.insert(id=5, name=value)
            except pyjet.KeyDuplicateError:
                pass
            for _ in people.range("pk", 0, 3):
                pass

    work()
    gc.collect()
    before = sys.getrefcount(value), sys.getrefcount(None), len(gc.get_objects())
    work()
    gc.collect()
    after = sys.getrefcount(value), sys.getrefcount(None), len(gc.get_objects())
    assert (
        after[0] == before[0] and abs(after[1] - before[1]) < 40 and after[2] - before[2] < 100
    ), (before, after)


def test_the_detail_outlives_the_rollback(people):
    try:
        people.insert_many([{"id": 5}])
    except pyjet.KeyDuplicateError as error:
        inside = error.detail
    session = people.database.session
    try:
        with session.transaction():
            people.insert_many([{"id": 5}])
    except pyjet.KeyDuplicateError as error:
        assert error.detail == inside


def test_an_import_brings_what_it_needs():
    """Sockets and the headers' classes come with what uses them; every name is there all the same."""
    code = """
        import sys
        import pyjet, pyjet.tool
        early = {"socket", "logging.handlers", "pyjet.info", "pyjet.demo"} & set(sys.modules)
        assert not early, early
        assert set(pyjet.__all__) <= set(dir(pyjet)) and "info" in dir(pyjet)
        assert all(getattr(pyjet, name) for name in pyjet.__all__)
        assert pyjet.DatabaseHeader is pyjet.info.DatabaseHeader and "pyjet.info" in sys.modules
        try:
            pyjet.no_such_name
        except AttributeError as error:
            assert "no_such_name" in str(error)
        else:
            raise AssertionError("a name that is not there")
        from pyjet import *
        assert header is pyjet.info.header
    """
    done = script(code, env=ENV)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["datetime", "uuid"])
def test_what_an_import_within_the_import_raises_stays_itself(name, db, monkeypatch):
    real = builtins.__import__

    def no_memory(wanted, *args, **kwargs):
        if wanted == name:
            raise MemoryError
        return real(wanted, *args, **kwargs)

    spec = importlib.util.spec_from_file_location("pyjet._jet", _jet.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(builtins, "__import__", no_memory)
    with pytest.raises(MemoryError):
        spec.loader.exec_module(module)
    moment = datetime.datetime(2026, 11, 21)
    assert db.create_table("moments", {"at": pyjet.DateTime()}).insert(at=moment)["at"] == moment  # the module that is here works on
