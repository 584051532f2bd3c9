"""Surrogate backups: noted here, taken elsewhere. Rows of facts/backup-behaviours.csv by their ids."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import pyjet  # noqa: E402
from child import run  # noqa: E402
from pyjet import api, errors  # noqa: E402

END, ABORT, DONE, NO_HEADER = (
    api.JET_bitBackupEndNormal,
    api.JET_bitBackupEndAbort,
    api.JET_bitBackupTruncateDone,
    api.JET_bitBackupNoDbHeaderUpdate,
)
HEADER = {"full": (136, 356), "inc": (160, 360), "copy": (420, 468), "diff": (444, 472)}


class World:
    def __init__(self, place, **options):
        self.data = pathlib.Path(place) / "data"
        self.inst = pyjet.Instance(self.data, log_file_size=64 << 10, **options)
        self.ses = self.inst.session()
        self.table = self.ses.create(self.data / "a.edb").create_table("t", {"v": pyjet.LongBinary()})
        for _ in range(60):
            self.table.insert(v=b"x" * 3000)

    def current(self):
        return self.inst.stats["log_tail"] >> 32

    def header(self):
        raw = (self.data / "a.edb").read_bytes()[:4096]

        def at(n):
            return int.from_bytes(raw[n : n + 4], "little")

        return {k: (at(n + 16), at(n + 20), at(kind)) for k, (n, kind) in HEADER.items()}


def begin(w, first, last, grbit=0):
    api.JetBeginSurrogateBackup(w.inst, first, last, grbit)


def end(w, grbit=END):
    api.JetEndSurrogateBackup(w.inst, grbit)


def arguments(place):
    """BK-357"""
    w = World(place)
    for first, last, grbit in ((5, 4, 0), (5, 4, 0x80), (1, w.current() + 1, 0)):
        with pytest.raises(errors.InvalidParameterError):
            begin(w, first, last, grbit)
    with pytest.raises(errors.InvalidGrbitError):
        begin(w, 1, 1, api.JET_bitBackupAtomic)
    with pytest.raises(errors.NoBackupError):
        end(w)
    begin(w, 1, 2)
    for bad in (0, END | ABORT, ABORT | DONE, END | 4):
        with pytest.raises(errors.InvalidParameterError):
            end(w, bad)
    end(w)
    w.inst.close()
    w = World(pathlib.Path(place) / "circular", circular_log=True)
    with pytest.raises(errors.InvalidBackupError):
        begin(w, 1, 1)
    w.inst.close()


def others_meanwhile(place):
    """BK-046, BK-357, BK-372"""
    w = World(place)
    begin(w, 1, 2)
    with pytest.raises(errors.SurrogateBackupInProgressError):
        w.inst.backup(pathlib.Path(place) / "set")
    with pytest.raises(errors.SurrogateBackupInProgressError):
        begin(w, 1, 2)
    with pytest.raises(errors.SurrogateBackupInProgressError):
        api.JetBeginExternalBackupInstance(w.inst, 0)
    with pytest.raises(errors.SurrogateBackupInProgressError):
        w.ses.create(w.data / "b.edb")
    with pytest.raises(errors.OSSnapshotNotAllowedError), w.inst.snapshot():
        pass
    for call in (api.JetGetAttachInfoInstance, api.JetTruncateLogInstance):
        with pytest.raises(errors.NoBackupError):
            call(w.inst)
    with pytest.raises(errors.SurrogateBackupInProgressError):
        api.JetEndExternalBackupInstance2(w.inst, END)
    end(w)
    api.JetBeginExternalBackupInstance(w.inst, 0)
    with pytest.raises(errors.BackupInProgressError):
        end(w)
    assert api.JetGetAttachInfoInstance(w.inst)  # it goes on
    api.JetEndExternalBackupInstance2(w.inst, ABORT)
    with w.inst.snapshot(), pytest.raises(errors.BackupInProgressError):
        end(w)
    w.inst.close()


def stamps(place):
    w = World(place)
    none = w.header()
    begin(w, 1, 3)
    end(w, ABORT)
    begin(w, 1, 3)
    end(w, END | NO_HEADER | DONE)
    assert w.header() == none
    begin(w, 1, 3)
    end(w)
    assert w.header() == {**none, "copy": (1, 3, 1)}
    with pytest.raises(errors.MissingFullBackupError):
        begin(w, 4, 4, api.JET_bitBackupIncremental)
    begin(w, 2, 3)
    end(w, END | DONE)
    begin(w, 4, 4, api.JET_bitBackupIncremental)
    end(w, END | DONE)
    begin(w, 4, 4, api.JET_bitBackupIncremental)
    end(w)
    assert w.header() == {"full": (2, 3, 1), "inc": (4, 4, 1), "copy": (1, 3, 1), "diff": (4, 4, 1)}
    with pytest.raises(errors.MissingFullBackupError):  # a streaming increment does not follow it
        w.inst.backup(pathlib.Path(place) / "set", incremental=True)
    w.inst.close()


def term_and_replay(place):
    w = World(place)
    begin(w, 1, 2)
    end(w, END | DONE)
    before = w.header()["full"]
    begin(w, 1, 2)
    with pytest.raises(errors.BackupInProgressError):
        api.JetTerm2(w.inst, api.JET_bitTermComplete)
    w.inst.close(abrupt=True)
    with pyjet.Instance(w.data) as w.inst, w.inst.session() as ses:
        ses.open(w.data / "a.edb")
        assert w.header()["full"] == before


CASES = [arguments, others_meanwhile, stamps, term_and_replay]


def in_child(report, case, place):
    CASES[case](place)
    return json.dumps(CASES[case].__name__)


@pytest.mark.parametrize("case", range(len(CASES)), ids=[c.__name__ for c in CASES])
def test_surrogate(case, memory_path):
    run(in_child, case, str(memory_path), timeout=60)
