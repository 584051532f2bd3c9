"""Objects whose code raises, lies, or changes and closes what is being used while the extension looks at them.

tests/crash/pywalk.py fails memory; these fail what else a call of the C API may answer to the extension.
"""

import contextlib
import datetime
import gc
import os
import threading
import uuid

import pyjet
import pytest
from pyjet import _jet, errors


class Mine(TypeError):
    """A caller's own, of the kind that the extension adds column names to."""


class Liar(uuid.UUID):
    """A UUID whose bytes are none."""

    @property
    def bytes_le(self):
        return "sixteen letters."


class Index:
    def __init__(self, work):
        self.work = work

    def __index__(self):
        return self.work()


class Handle:
    """No handle, but something that has one as its attribute, when its code returns."""

    def __init__(self, work):
        self.work = work

    @property
    def handle(self):
        return self.work()


def raiser(exception):
    def work(*_):
        raise exception

    return work


# ---- what is raised arrives ----
def test_a_guid_whose_bytes_are_none(table):
    with pytest.raises(TypeError, match="column 'guid'.*bytes_le"):
        table.insert(guid=Liar(int=1))


def test_a_callers_own_exception_stays_itself(table):
    mine = Mine("mine")
    with pytest.raises(Mine) as error:
        table.insert(long=Index(raiser(mine)))
    assert error.value is mine
    plain = TypeError("plain")
    with pytest.raises(TypeError, match="column 'long': plain") as error:
        table.insert(long=Index(raiser(plain)))
    assert error.value.__cause__ is plain and plain.__traceback__ is not None


@pytest.mark.parametrize("value", [10**5000, -(10**5000)], ids=["long", "longer"])
@pytest.mark.parametrize("column", ["long", "ulonglong"])
def test_a_number_too_long_to_be_written_out(table, column, value):
    with pytest.raises(OverflowError, match=f"'{column}'"):
        table.insert(**{column: value})


@pytest.mark.parametrize("exception", [KeyboardInterrupt(), MemoryError(), RuntimeError("mine")])
def test_what_a_handle_raises_arrives(exception):
    with pytest.raises(type(exception)) as error:
        _jet.JetBeginTransaction2(Handle(raiser(exception)))
    assert error.value is exception
    with pytest.raises(TypeError, match="expected a handle"):
        _jet.JetBeginTransaction2(Handle(raiser(AttributeError("none"))))


def test_a_name_that_is_no_utf8(ses):
    """Its exception must not wait while another argument's code runs."""
    with pytest.raises(TypeError, match="does not know"):
        _jet.JetIdle(ses, grbit=Index(lambda: sum(n for n in ())), **{"\ud800": 1})
    with pytest.raises(TypeError, match="does not know"):
        _jet.JetIdle(ses, **{"\ud800": 1})


def test_pairs_that_are_none(inst, tmp_path):
    for pairs in ([["a", "b"]], [7], [None]):
        with pytest.raises(TypeError, match="tuples of two"):
            _jet.restore(inst, tmp_path / "set", tmp_path / "to", rename=pairs)


def test_parameters_out_of_range(inst):
    before = inst.params["CheckpointDepthMax"]
    for value in (1 << 64, -(1 << 63) - 1, (1 << 64) + before):
        with pytest.raises(OverflowError):
            inst.params["CheckpointDepthMax"] = value
    assert inst.params["CheckpointDepthMax"] == before
    with pytest.raises(OverflowError):
        _jet.error_texts(1 << 32)


def test_numbers_of_definitions_out_of_range(db, people):
    for field in range(1, 5):
        for value in (1 << 32, -1):
            column = ["c", _jet.JET_coltypLong, 0, 1200, 0, None]
            column[field] = value
            with pytest.raises(OverflowError):
                _jet.JetAddColumn(people._main, tuple(column))
    with pytest.raises(OverflowError):
        _jet.Plan([("c", 1 << 32, _jet.JET_coltypLong, 1200, 0)])
    with pytest.raises(OverflowError):
        _jet.JetCreateIndex2(people._main, ("x", b"+age\0\0", 1 << 32, 0, 0))


def test_events_of_a_long_name(tmp_path):
    """The engine cuts the name, maybe within a character: the event comes all the same."""
    heard = []
    _jet.install_events(lambda *event: heard.append(event))
    try:
        for n in range(3):
            with pyjet.Instance(tmp_path / "data", name="n" * n + "\u20ac" * 300, log_file_size=256 << 10):
                pass
    finally:
        _jet.install_events(pyjet.events._tell)
    assert [event[0] for event in heard] == [105, 103] * 3 and all(event[2].lstrip("n")[0] == "\u20ac" for event in heard)


def test_an_instance_in_a_place_that_is_no_utf8(tmp_path):
    place = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    with pyjet.Instance(place, log_file_size=256 << 10) as inst, inst.session() as ses:
        db = ses.create(os.path.join(place, "a.edb"))
        db.create_table("t", {"n": pyjet.Long()}).insert(n=1)
        inst.backup(os.path.join(place, "set"))
    pyjet.restore(os.path.join(place, "set"), os.path.join(place, "to"))
    with pyjet.open(os.path.join(place, "to", "a.edb")) as db:
        assert [row["n"] for row in db.table("t")] == [1]


# ---- who closes what is in use ----
def clean_up_in(call, work):
    """The garbage collector runs work inside the call, at an early allocation of it."""

    class Dropped:
        def __init__(self):
            self.me = self

        def __del__(self):
            work()

    gc.collect()
    gc.disable()
    threshold = gc.get_threshold()
    try:
        Dropped()
        gc.set_threshold(1, 1000, 1000)
        gc.enable()
        return call()
    finally:
        gc.set_threshold(*threshold)
        gc.enable()


@pytest.fixture
def guids(db):
    t = db.create_table("g", {"id": pyjet.Long(), "guid": pyjet.Guid(), "note": pyjet.LongBinary()}, {"pk": pyjet.Index("+id", primary=True)})
    t.insert_many([{"id": i, "guid": uuid.UUID(int=i), "note": bytes([i]) * 9000} for i in range(40)])
    return t


def within_guids(monkeypatch, work):
    """From now on work runs whenever the extension makes a UUID, which is Python's code."""
    real = uuid.UUID.__init__

    def init(self, *args, **kwargs):
        work()
        real(self, *args, **kwargs)

    monkeypatch.setattr(uuid.UUID, "__init__", init)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("who", ["session", "instance", "transaction", "rows"])
def test_rows_whose_owner_is_closed_while_one_is_made(guids, ses, inst, monkeypatch, who, inside):
    """The row's memory is the cursor's: it stays until the row is made. Who ends it from inside is refused."""
    with ses.transaction() if inside else contextlib.nullcontext():
        rows = guids.rows()
        seen, told = [], []

        def work():
            try:
                if who == "session":
                    _jet.JetEndSession(ses if inside else next(iter(ses._reading)).handle)
                elif who == "instance":
                    inst.close()
                elif who == "transaction":
                    _jet.JetRollback(ses if inside else next(iter(ses._reading)).handle)
                else:
                    rows.close()
            except errors.SessionSharingViolationError as e:
                told.append(e)

        within_guids(monkeypatch, work)
        for row in rows:
            seen.append((row["id"], row["guid"].int, row["note"]))
        monkeypatch.undo()
        assert seen == [(i, i, bytes([i]) * 9000) for i in range(40)]
        assert len(told) == 40
    assert guids.get(3)["id"] == 3


def test_rows_while_another_thread_closes_the_instance(guids, inst, monkeypatch):
    """The other thread's close waits for the row that is being made; the next row is refused."""
    begun, seen = threading.Event(), []
    closer = threading.Thread(target=inst.close)

    def work():
        if not begun.is_set():
            begun.set()
            closer.start()
            closer.join(0.2)

    within_guids(monkeypatch, work)
    with pytest.raises(errors.JetError):
        for row in guids.rows():
            seen.append((row["id"], row["guid"].int, row["note"]))
    closer.join(30)
    assert not closer.is_alive() and inst.closed
    assert seen == [(i, i, bytes([i]) * 9000) for i in range(len(seen))] and len(seen) < 40


def test_an_instance_is_not_closed_from_inside_its_own_call(guids, inst, monkeypatch):
    """It waited for itself for ever."""
    told = []

    def work():
        with pytest.raises(errors.SessionSharingViolationError) as error:
            inst.close()
        told.append(error.value)

    within_guids(monkeypatch, work)
    assert guids.get(3)["id"] == 3 and told

    def close_it():
        work()
        return 1 << 20

    inst.params["CheckpointDepthMax"] = Index(close_it)
    assert inst.params["CheckpointDepthMax"] == 1 << 20 and len(told) == 2


def test_a_row_that_is_updated_while_it_is_read(guids):
    row = guids.get(5)
    for call, want in ((row.items, [("id", 5), ("guid", uuid.UUID(int=5)), ("note", bytes([5]) * 9000)]), (row.values, [5, uuid.UUID(int=5), bytes([5]) * 9000])):

        def work():
            row.update(id=5)
            done.append([(object(), object(), object()) for _ in range(50)])  # who uses what the row let go of, finds these

        for _ in range(3):
            done = []
            row["id"]
            assert clean_up_in(call, work) == want and done


def test_a_refused_definition_leaves_nothing(people):
    def lists():
        gc.collect()
        return sum(type(thing) is list for thing in gc.get_objects())

    before = lists()
    for _ in range(20):
        for call in (_jet.JetAddColumn, _jet.JetCreateIndex2):
            with pytest.raises(TypeError):
                call(people)
            with pytest.raises(TypeError):
                call(people._main, 7)
    assert lists() < before + 10
