"""An instance that a failed write has stopped: its end raises, hides no exception in flight, and the next start recovers."""

import errno

import pyjet
import pytest
from pyjet import _jet, errors

WRITE_AND_SYNC = 1 << 2 | 1 << 3  # os.h


class Boom(Exception):
    pass


@pytest.fixture
def failing_log():
    """The log cannot be written from now on; the plan goes with the test."""

    def fail():
        _jet.set_fault(WRITE_AND_SYNC, "edb.log", 0, 1 << 60, errno.EIO, 0)

    yield fail
    _jet.set_fault(0, None, 0, 0, 0, 0)


def start(path):
    return pyjet.Instance(path, log_file_size=512 << 10)


def stopped(place, failing_log):
    """(instance, session): one row is committed, the commit of a second one failed."""
    inst = start(place)
    ses = inst.session()
    db = ses.create(place / "a.edb")
    table = db.create_table("t", {"id": pyjet.Long()}, {"pk": pyjet.Index("+id", primary=True)})
    table.insert(id=1)
    failing_log()
    with pytest.raises(errors.JetError):
        table.insert(id=2)
    return inst, ses


def recovered(place):
    with start(place) as inst, inst.session() as ses:
        return [row["id"] for row in ses.open(place / "a.edb").table("t")]


def test_close_says_so(tmp_path, failing_log):
    inst, ses = stopped(tmp_path, failing_log)
    with pytest.raises(errors.InstanceUnavailableError) as caught:
        inst.close()
    assert "initialise again" in str(caught.value)
    assert inst.closed and ses.closed
    inst.close()  # it is gone: once more does nothing
    _jet.set_fault(0, None, 0, 0, 0, 0)
    assert recovered(tmp_path) == [1]


def test_the_block_raises(tmp_path, failing_log):
    with pytest.raises(errors.InstanceUnavailableError):
        with stopped(tmp_path, failing_log)[0]:
            pass
    _jet.set_fault(0, None, 0, 0, 0, 0)
    assert recovered(tmp_path) == [1]


def test_an_exception_in_flight_stays(tmp_path, failing_log):
    with pytest.raises(Boom):
        inst, ses = stopped(tmp_path, failing_log)
        with inst, ses:
            raise Boom
    assert inst.closed
    _jet.set_fault(0, None, 0, 0, 0, 0)
    assert recovered(tmp_path) == [1]


def test_refused_is_not_ended(tmp_path):
    inst = start(tmp_path)
    ses = inst.session()
    ses.create(tmp_path / "a.edb")
    _jet.JetBeginTransaction2(ses.handle)
    with pytest.raises(errors.TooManyActiveUsersError):
        _jet.JetTerm2(inst.handle)
    assert not inst.closed
    inst.close()
    assert inst.closed
