"""Two processes, full disks, no handles, folders that cannot be written, clocks that go back: each in a process of its own."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

import pyjet
from pyjet import _jet

OPEN, READ, WRITE, SYNC, SIZE, RENAME, UNLINK = (1 << n for n in range(7))
LOG = 64 << 10
COLUMNS = {"id": pyjet.Long(), "raw": pyjet.LongBinary()}


@pytest.fixture(autouse=True)
def no_fault_stays():
    yield
    _jet.set_fault(0)


def make(place, rows=50):
    with pyjet.Instance(place, log_file_size=LOG) as inst, inst.session() as ses:
        table = ses.create(place / "a.edb").create_table(
            "t", COLUMNS, {"pk": pyjet.Index("+id", primary=True)}
        )
        add(ses, table, range(rows))


def add(ses, table, numbers):
    """Ids that were committed, until one is refused; and the refusal."""
    done = []
    for n in numbers:
        try:
            with ses.transaction():
                table.insert(id=n, raw=bytes([n % 256]) * 900)
        except pyjet.JetError as error:
            return done, error
        done.append(n)
    return done, None


def ids(place):
    assert _jet.check_file(str(place / "a.edb"))["findings"] == 0
    with pyjet.open(place / "a.edb") as db:
        rows = [(r["id"], r["raw"]) for r in db.tables["t"].rows()]
    assert all(raw == bytes([n % 256]) * 900 for n, raw in rows)
    return [n for n, _ in rows]


# ---- two processes ----

HOLD = """
import sys, time, pyjet
inst = pyjet.Instance(sys.argv[1], log_file_size=65536)
ses = inst.session()
table = ses.attach(sys.argv[1] + "/a.edb").tables["t"]
table.insert(id=777, raw=bytes([777 % 256]) * 900)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(memory_path):
    make(memory_path / "d")
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(memory_path / "d")], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def refused(error, *names):
    assert error.name in names and error.hint, str(error)


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(memory_path, holder):
    place = memory_path / "d"
    with pytest.raises(pyjet.JetError) as caught:
        pyjet.Instance(place, log_file_size=LOG)
    refused(caught.value, "JET_errLogFilePathInUse", "JET_errSystemPathInUse")
    for logs, system in ((place, memory_path / "s"), (memory_path / "l", place)):
        with pytest.raises(pyjet.JetError) as caught:
            pyjet.Instance(place, log_path=logs, system_path=system, temp_path=memory_path / "x", log_file_size=LOG)
        refused(caught.value, "JET_errLogFilePathInUse", "JET_errSystemPathInUse")
    with pyjet.Instance(memory_path / "other", log_file_size=LOG) as inst, inst.session() as ses:
        with pytest.raises(pyjet.JetError) as caught:
            ses.attach(place / "a.edb")
        refused(caught.value, "JET_errFileAccessDenied")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    pyjet.Instance(place, log_file_size=LOG).close()
    assert ids(place) == [*range(50), 777]


# ---- a full disk, in every phase ----

@pytest.mark.parametrize("ops", (WRITE | SIZE | OPEN, SIZE, OPEN), ids=("anything", "growth", "opening"))
@pytest.mark.parametrize("part", ("/", "a.edb", "edbtmp", ".jrs", ".chk", ".dwr"))
def test_full_while_working(memory_path, part, ops):
    """Rows are refused or taken; with space again, or after a restart, all that were taken are there, and no other."""
    place = memory_path / "d"
    make(place)
    inst = pyjet.Instance(place, log_file_size=LOG)
    ses = inst.session()
    table = ses.attach(place / "a.edb").tables["t"]
    _jet.set_fault(ops, part, 0, 1 << 40, errno.ENOSPC)
    done, error = add(ses, table, range(50, 400))
    _jet.set_fault(0)
    if error is not None:
        refused(error, "JET_errDiskFull", "JET_errLogDiskFull", "JET_errLogWriteFail", "JET_errInstanceUnavailable", "JET_errOutOfDatabaseSpace")
    if ops == OPEN or (part == "edbtmp" and ops == SIZE):  # found before anything was appended: no reason to stop
        more, error = add(ses, table, range(1000, 1100))
        assert error is None, error
        done += more
    try:
        inst.close()
    except pyjet.JetError as error:
        assert error.hint
    pyjet.Instance(place, log_file_size=LOG).close()
    found = ids(place)
    assert found[: 50 + len(done)] == [*range(50), *done] and len(found) <= 51 + len(done)


@pytest.mark.parametrize("phase", ("start", "recovery", "attach", "detach", "backup", "incremental", "restore", "end"))
def test_full_in_a_phase(memory_path, phase):
    """The n-th call for space is refused from then on: an error with a hint; after space is freed the same phase runs through."""
    hits = 0
    for n in (0, 1, 3, 9):
        shutil.rmtree(memory_path / "w", ignore_errors=True)
        place = memory_path / "w" / "d"
        make(place)
        hits += Phase(place).run(phase, n)
    assert hits > 0


class Phase:
    def __init__(self, place):
        self.place, self.set, self.inst = place, place.parent / "set", None

    def start(self):
        self.inst = pyjet.Instance(self.place, log_file_size=LOG)
        self.ses = self.inst.session()

    recovery = start

    def attach(self):
        self.database = self.ses.attach(self.place / "a.edb")
        self.table = self.database.tables["t"]

    def detach(self):
        self.database.close()
        self.ses.detach(self.place / "a.edb")

    def backup(self):
        self.inst.backup(self.set)

    def incremental(self):
        self.inst.backup(self.set, incremental=True)

    def restore(self):
        pyjet.restore(self.set, self.place.parent / "restored")

    def end(self):
        self.inst.close()

    def before(self, phase):
        """How it comes to be that the phase is next; ids that are committed by then."""
        if phase == "start":
            return 50
        self.start()
        if phase == "attach":
            return 50
        self.attach()
        assert add(self.ses, self.table, range(50, 150))[1] is None
        if phase in ("incremental", "restore"):
            self.backup()
        if phase == "recovery":
            self.inst.close(abrupt=True)
        return 150

    def run(self, phase, n):
        rows = self.before(phase)
        where = self.set if phase in ("backup", "incremental") else self.place.parent
        ops = WRITE if phase == "incremental" else WRITE | SIZE  # of logs that are there it asks the size
        _jet.set_fault(ops, str(where), n, 1 << 40, errno.ENOSPC)
        hit = False
        try:
            getattr(self, phase)()
        except pyjet.JetError as error:
            hit = True
            refused(error, "JET_errDiskFull", "JET_errLogDiskFull", "JET_errLogWriteFail", "JET_errInstanceUnavailable", "JET_errOutOfDatabaseSpace", "JET_errDiskIO")
        _jet.set_fault(0)
        if self.inst is not None and not self.inst.handle.ended:
            try:
                self.inst.close()
            except pyjet.JetError as error:
                assert error.hint
        again = Phase(self.place)
        again.start()
        again.attach()  # makes both copies of its header alike again
        if phase in ("backup", "incremental"):
            if phase == "incremental" and hit or not hit:
                again.incremental()
            else:
                again.backup()
        again.inst.close()
        if phase == "restore" and hit:
            assert not (self.place.parent / "restored").exists()
            self.restore()
        if phase in ("backup", "incremental"):
            again.restore()
            assert ids(self.place.parent / "restored") == list(range(rows))
        assert ids(self.place) == list(range(rows))
        return hit


# ---- file handles ----

def _log_count(place):
    """Without a descriptor: names of closed logs are known."""
    return sum(os.path.exists(place / f"edb{n:05X}.log") for n in range(1, 50))


def _wait_for_next_file(place):
    """Who takes every descriptor while the next file is being opened may take the log's own."""
    until = time.monotonic() + 60
    while not any(os.path.realpath(f"/proc/self/fd/{fd}") == str(place / "edbtmp.log") for fd in os.listdir("/proc/self/fd")):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_no_handles_left(memory_path):
    """A process that has used up its descriptors goes on: the log holds those that it needs. What needs one is refused and works later."""
    place = memory_path / "d"
    make(place)
    with pyjet.Instance(place, log_file_size=LOG) as inst, inst.session() as ses:
        table = ses.attach(place / "a.edb").tables["t"]
        _wait_for_next_file(place)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
        try:
            while True:
                try:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
                except OSError as error:
                    assert error.errno == errno.EMFILE
                    break
            assert len(taken) > 5
            done, error = add(ses, table, range(50, 400))
            assert error is None and _log_count(place) > 5, error  # the old log's handle serves for the next file
            with pytest.raises(pyjet.OutOfFileHandlesError) as caught:
                inst.backup(memory_path / "set")
            assert caught.value.hint
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        more, error = add(ses, table, range(400, 600))
        assert error is None
        inst.backup(memory_path / "set2")
    assert ids(place) == [*range(50), *done, *more]


# ---- read-only ----

@pytest.mark.parametrize("what", ("attach", "instance", "backup"))
def test_read_only_file_system(memory_path, what):
    place = memory_path / "d"
    make(place)
    if what == "instance":
        _jet.set_fault(WRITE | SIZE | RENAME | UNLINK | 1 << 7 | 1 << 8, str(place), 0, 1 << 40, errno.EROFS)
        with pytest.raises(pyjet.JetError) as caught:
            pyjet.Instance(place, log_file_size=LOG)
        assert caught.value.hint
    else:
        with pyjet.Instance(memory_path / "i", log_file_size=LOG) as inst, inst.session() as ses:
            db = ses.attach(place / "a.edb", readonly=True)
            assert len(list(db.tables["t"].rows())) == 50
            with pytest.raises(pyjet.JetError) as caught:
                db.tables["t"].insert(id=1000)
            assert caught.value.hint
            _jet.set_fault(OPEN | 1 << 7, "ro-set", 0, 1 << 40, errno.EROFS)
            with pytest.raises(pyjet.JetError) as caught:
                inst.backup(memory_path / "ro-set")
            assert caught.value.hint
            _jet.set_fault(0)
    _jet.set_fault(0)
    assert ids(place) == list(range(50))
    pyjet.Instance(place, log_file_size=LOG).close()


# ---- the clock ----



CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <sys/time.h>
static long shift(void) { const char *s = getenv("SHIFT_SECONDS"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t id, struct timespec *t)
{
    int (*real)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int r = real(id, t);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        t->tv_sec += shift();
    return r;
}
"""


def test_the_clock_goes_back(memory_path):
    """Wrong clocks: order comes from the log's positions, never from the clock."""
    (memory_path / "clock.c").write_text(CLOCK)
    library = memory_path / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, memory_path / "clock.c", "-ldl"], check=True)
    place = memory_path / "d"
    make(place)
    body = (
        "import sys, pyjet; p = sys.argv[1]; n = int(sys.argv[2])\n"
        "with pyjet.Instance(p, log_file_size=65536) as i, i.session() as s:\n"
        "    t = s.attach(p + '/a.edb').tables['t']\n"
        "    for k in range(n, n + 100): t.insert(id=k, raw=bytes([k % 256]) * 900)\n"
        "    i.backup(p + '/../set', incremental=n > 50)\n"
    )
    years = []
    for n, back in ((50, 0), (150, 20 * 365 * 86400), (250, 30 * 365 * 86400)):
        env = {**os.environ, "LD_PRELOAD": str(library), "SHIFT_SECONDS": str(-back)}
        subprocess.run([sys.executable, "-c", body, str(place), str(n)], check=True, env=env)
        years.append(json.loads(_jet.dump_header(str(place / "a.edb")))["time_detach"][:4])
    assert years[0] > years[1] > years[2]  # the engine did see the clock go back
    pyjet.restore(memory_path / "set", memory_path / "restored")
    assert ids(memory_path / "restored") == ids(place) == list(range(350))
