"""Handles: closed, shared by threads, of a parent process, dropped without a close."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pyjet
import pytest
from pyjet import _jet


def test_closed_handles_raise_their_own_errors(tmp_path):
    inst = pyjet.Instance(tmp_path / "d", log_file_size=512 << 10)
    ses = inst.session()
    db = ses.create(tmp_path / "d" / "a.edb")
    t = db.create_table("t", {"a": pyjet.Long()})
    t.insert(a=1)
    cursor = t._cursor()
    _jet.JetCloseTable(cursor)
    with pytest.raises(pyjet.InvalidTableIdError):
        _jet.JetMove(cursor, 1)
    rows = t.rows()
    ses.close()
    ses.close()
    with pytest.raises(pyjet.InvalidSesidError):
        t.insert(a=2)
    with pytest.raises(pyjet.InvalidSesidError):
        ses.begin()
    with pytest.raises(pyjet.JetError):
        next(rows)
    inst.close()
    inst.close()
    with pytest.raises(pyjet.InvalidInstanceError, match="terminated"):
        inst.session()
    with pytest.raises(pyjet.InvalidInstanceError):
        inst.backup(tmp_path / "b")


def test_ending_the_instance_ends_everything(tmp_path):
    with pyjet.Instance(tmp_path / "d", log_file_size=512 << 10) as inst:
        ses = inst.session()
        db = ses.create(tmp_path / "d" / "a.edb")
        t = db.create_table("t", {"a": pyjet.Long()})
        ses.begin()
        t.insert(a=1)
    assert ses.closed and inst.closed
    with pyjet.open(tmp_path / "d" / "a.edb") as db:
        assert len(db.tables["t"]) == 0


def test_users_own_exception_is_the_one_seen(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with pyjet.Instance(tmp_path / "d", log_file_size=512 << 10) as inst, inst.session() as ses:
            db = ses.create(tmp_path / "d" / "a.edb")
            t = db.create_table("t", {"a": pyjet.Long()})
            ses.begin()
            t.insert(a=1)
            1 / 0
    assert inst.closed and ses.closed


def test_a_session_in_use_is_refused_to_another_thread(people, ses):
    """One thread is inside insert_many's engine part nearly all the time; the other must meet it, or work; never break."""
    seen, stop = [], threading.Event()

    def other():
        while not stop.is_set():
            try:
                _jet.JetGetVersion(ses.handle)
            except pyjet.SessionSharingViolationError as error:
                seen.append(error)
                return

    thread = threading.Thread(target=other)
    thread.start()
    try:
        deadline, n = time.monotonic() + 20, 1000
        while not seen and time.monotonic() < deadline:
            try:
                people.insert_many({"id": k} for k in range(n, n + 1000))
            except pyjet.SessionSharingViolationError as error:
                seen.append(error)
            n += 1000
    finally:
        stop.set()
        thread.join()
    assert seen and "thread" in seen[0].detail
    people.insert(id=-1)


def test_threads_with_their_own_sessions(people, inst, tmp_path):
    errors = []

    def work(number):
        try:
            with inst.session() as mine:
                table = mine.open(tmp_path / "data" / "a.edb").tables["people"]
                for n in range(100):
                    with mine.transaction(lazy=True):
                        table.insert(id=1000 + number * 1000 + n, name="thread")
                assert (
                    sum(1 for _ in table.range("pk", 1000 + number * 1000, 2000 + number * 1000))
                    == 100
                )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(people) == 500


def test_term_waits_for_a_running_call(tmp_path):
    inst = pyjet.Instance(tmp_path / "d", log_file_size=512 << 10)
    ses = inst.session()
    t = ses.create(tmp_path / "d" / "a.edb").create_table("t", {"a": pyjet.Long()})
    outcome = []

    def load():
        try:
            for n in range(10_000):
                t.insert_many(({"a": k} for k in range(2000)))
        except pyjet.JetError as error:
            outcome.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    time.sleep(0.3)
    inst.close()
    thread.join(20)
    assert not thread.is_alive() and isinstance(
        outcome[0], (pyjet.InvalidSesidError, pyjet.TermInProgressError, pyjet.InvalidInstanceError)
    )
    with pyjet.open(tmp_path / "d" / "a.edb") as db:
        assert len(db.tables["t"]) % 1000 == 0


def test_dropped_handles_are_collected_and_closed(tmp_path):
    def use():
        inst = pyjet.Instance(tmp_path / "d", log_file_size=512 << 10)
        ses = inst.session()
        t = ses.create(tmp_path / "d" / "a.edb").create_table("t", {"a": pyjet.Long()})
        t.insert(a=1)
        rows = t.rows()
        next(rows)
        return weakref.ref(inst.handle), weakref.ref(ses.handle)

    refs = use()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
    with pyjet.Instance(tmp_path / "d", log_file_size=512 << 10) as inst, inst.session() as ses:
        assert len(ses.open(tmp_path / "d" / "a.edb").tables["t"]) == 1


def test_handles_raise_in_a_forked_child(people, inst, ses):
    pid = os.fork()
    if pid == 0:
        rc = 1
        try:
            refused = 0
            for call in (
                ses.begin,
                inst.session,
                lambda: people.get(1),
                lambda: next(people.rows()),
                inst.close,
            ):
                try:
                    call()
                except pyjet.ForkError as error:
                    refused += "fork" in str(error)
            rc = 0 if refused == 5 else 2
        finally:
            os._exit(rc)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert people.get(1)["id"] == 1


def test_a_program_that_forgets_to_close_leaves_a_clean_file(tmp_path):
    code = f"""
        import pyjet
        inst = pyjet.Instance({str(tmp_path / "d")!r}, log_file_size=512 << 10)
        ses = inst.session()
        t = ses.create({str(tmp_path / "d" / "a.edb")!r}).create_table("t", {{"a": pyjet.Long()}})
        t.insert(a=1)
        keep = t.rows()
        next(keep)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == ""
    with pyjet.open(tmp_path / "d" / "a.edb") as db:
        assert len(db.tables["t"]) == 1


def test_two_processes_cannot_share_an_instance(inst, tmp_path):
    code = f"import pyjet\ntry:\n    pyjet.Instance({str(tmp_path / 'data')!r})\nexcept pyjet.JetError as e:\n    print(e.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() in ("JET_errLogFilePathInUse", "JET_errSystemPathInUse"), done.stderr


def test_arguments_are_checked():
    for call in (
        lambda: _jet.JetMove(5, 1),
        lambda: _jet.JetMove(),
        lambda: _jet.JetCreateInstance2(name="a", nothing=1),
        lambda: _jet.JetCreateInstance2("a", name="b"),
        lambda: _jet.JetCreateInstance2(5),
        lambda: _jet.JetCreateInstance2("a", "b", 0, 0),
        lambda: _jet.Cursor(),
        lambda: _jet.Plan([1]),
        lambda: _jet.Plan(5),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(OverflowError):
        _jet.JetCreateInstance2("a", "b", 2**32)
    with pytest.raises(ValueError):
        _jet.JetCreateInstance2("a\0b")


def test_ending_the_instance_undoes_what_another_thread_left_open(tmp_path):
    inst = pyjet.Instance(tmp_path / "d", log_file_size=512 << 10)
    with inst.session() as mine:
        mine.create(tmp_path / "d" / "a.edb").create_table("t", {"a": pyjet.Long()})
    kept = []

    def leave_open():
        ses = inst.session()
        kept.append(ses)
        table = ses.open(tmp_path / "d" / "a.edb").tables["t"]
        ses.begin()
        table.insert(a=1)

    thread = threading.Thread(target=leave_open)
    thread.start()
    thread.join()
    inst.close()
    assert kept[0].closed
    with pyjet.open(tmp_path / "d" / "a.edb") as db:
        assert len(db.tables["t"]) == 0


def test_an_instance_is_closed_while_a_dropped_session_is_undone(tmp_path):
    """A session that another thread drops is still rolling back when the instance is closed: the close waits for it.

    (Its memory used to be given back twice.)
    """
    code = f"""
        import gc, threading, time, pyjet
        for n in range(3):
            inst = pyjet.Instance({str(tmp_path)!r} + f"/d{{n}}", log_file_size=1 << 20)
            with inst.session() as ses:
                ses.create({str(tmp_path)!r} + f"/d{{n}}/a.edb").create_table("t", {{"a": pyjet.Long(), "v": pyjet.LongBinary()}})
            things = [inst.session()]
            ready = threading.Event()

            def work():
                ses = things.pop()
                t = ses.open({str(tmp_path)!r} + f"/d{{n}}/a.edb").tables["t"]
                ses.begin()
                t.insert_many({{"a": k, "v": b"x" * 500}} for k in range(15000))
                del t, ses  # they know each other
                ready.set()
                gc.collect()

            thread = threading.Thread(target=work)
            thread.start()
            ready.wait()
            time.sleep(0.02)
            inst.close()
            thread.join()
            with pyjet.open({str(tmp_path)!r} + f"/d{{n}}/a.edb") as db:
                assert len(db.tables["t"]) == 0
        print("well")
    """
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "well\n", done.stdout + done.stderr
