"""kill -9 in every step of a repository's writers: before each call that changes the disk, a child kills itself.

What must hold after each kill: every set that was there restores (or, of a prune, is gone whole), nothing half-made is listed, and the
next writer gets on and leaves work/ empty.
"""

import os
import pathlib
import shutil
import signal
import sys

import pyjet
import pytest
from pyjet.backup import BackupRepo

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from child import Child, run  # noqa: E402
from repo_world import World, check  # noqa: E402

CALLS = ("rename", "unlink", "fsync", "mkdir", "rmdir", "link")


def arm(at):
    """From now on the at-th call of os that changes the disk kills this process before it happens; at None: they are counted."""
    count = [0]

    def wrapped(call):
        def counted(*args, **kwargs):
            count[0] += 1
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return counted

    for name in CALLS:
        setattr(os, name, wrapped(getattr(os, name)))
    return count


def prepare(report, place, compress):
    with World(place, rows=100, compress=compress) as w:
        w.backup()
        w.add(50)
        w.backup()
        w.add(50)
        report(["rows", w.seen])
    return None


def backup(report, place, at, kind):
    with pyjet.Instance(place / "live", log_file_size=256 << 10) as inst, inst.session() as ses:
        ses.attach(place / "live" / "a.edb")
        count = arm(at)
        BackupRepo(place / "repo").backup(inst, kind=kind)
        report(["calls", count[0]])


def prune(report, place, at, _kind):
    count = arm(at)
    BackupRepo(place / "repo").prune(keep_last=1, dry_run=False)
    report(["calls", count[0]])


def in_the_copy(report, place, at, kind):
    """Dies in the at-th callback of the engine."""
    with pyjet.Instance(place / "live", log_file_size=256 << 10) as inst, inst.session() as ses:
        ses.attach(place / "live" / "a.edb")
        steps = []

        def step(told):
            steps.append(told)
            if len(steps) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        BackupRepo(place / "repo").backup(inst, kind=kind, progress=step)
        report(["calls", len(steps)])


def judge(report, place, seen, newest):
    """Every listed set restores to what it held; then the next writer sweeps, and a new backup goes on."""
    repo = BackupRepo(place / "repo")
    before = {s.id for s in repo.list()}
    for s in repo.list():
        repo.restore(s, place / "out")
        check(place / "out" / "a.edb", seen.get(s.id, newest), 2500)
        shutil.rmtree(place / "out")
    with pyjet.Instance(place / "live", log_file_size=256 << 10) as inst, inst.session() as ses:
        ses.attach(place / "live" / "a.edb")
        s = repo.backup(inst)
    report(["after", sorted(before), [x.id for x in repo.list()], os.listdir(repo.path("work"))])
    assert os.listdir(repo.path("work")) == []
    repo.restore(s, place / "out")
    check(place / "out" / "a.edb", newest, 2500)
    assert repo.verify("all", level="chain").ok
    assert {*os.listdir(repo.path("sets")), *os.listdir(repo.path("packed"))} == {
        x.id for x in repo.list()
    }
    assert not set(os.listdir(repo.path("sets"))) & set(os.listdir(repo.path("packed")))
    return None


def points(total, most):
    """All of them, or evenly many."""
    return (
        range(1, total + 1)
        if total <= most
        else sorted({1 + i * total // most for i in range(most)} | {total})
    )


def kills(memory_path, work, kind, compress, most, first=(), least=10):
    child = Child(prepare, memory_path / "start", compress)
    child.join()
    seen = next(line[1] for line in child.lines if line[0] == "rows")
    for step in first:
        run_to_end(step, memory_path / "start", "full")
    newest = 200

    def fresh():
        shutil.rmtree(memory_path / "now", ignore_errors=True)
        shutil.copytree(memory_path / "start", memory_path / "now", symlinks=True)
        return memory_path / "now"

    total = run_to_end(work, fresh(), kind)
    assert total > least
    states = set()
    for at in points(total, most):
        place = fresh()
        killed = Child(work, place, at, kind)
        while killed.take(30):
            pass
        assert os.WIFSIGNALED(killed.finish()), at
        judged = Child(judge, place, seen, newest)
        judged.join()
        states.add(len(next(line[1] for line in judged.lines if line[0] == "after")))
    return states


def run_to_end(work, place, kind):
    child = Child(work, place, None, kind)
    while child.take(30):
        pass
    assert child.finish() == 0
    return next(line[1] for line in child.lines if line[0] == "calls")


@pytest.mark.parametrize("compress", (False, True), ids=("plain", "compressed"))
@pytest.mark.parametrize("kind", ("full", "incremental"))
def test_backup_killed(memory_path, kind, compress):
    """Both outcomes are met: the set is not there, the set is there."""
    assert kills(memory_path, backup, kind, compress, 8) == {2, 3}


@pytest.mark.parametrize("compress", (False, True), ids=("plain", "compressed"))
def test_prune_killed(memory_path, compress):
    """The old chain shrinks from its end: 3, 2, then 1 set are met, and each restores."""
    assert kills(memory_path, prune, None, compress, 12, first=[backup]) == {3, 2, 1}


@pytest.mark.parametrize("kind", ("full", "incremental"))
def test_killed_while_the_engine_copies(memory_path, kind):
    """The last kills come when the set is certain: while its checksums are taken."""
    assert kills(memory_path, in_the_copy, kind, False, 6, least=4) == {2, 3}


@pytest.mark.crash
@pytest.mark.parametrize("compress", (False, True), ids=("plain", "compressed"))
@pytest.mark.parametrize("kind", ("full", "incremental"))
def test_backup_killed_at_every_call(memory_path, kind, compress):
    assert kills(memory_path, backup, kind, compress, 10_000) == {2, 3}


def manifest_written_half(report, place):
    """A child that dies between writing the temporary file and its rename leaves the old manifest."""
    path = place / "m.json"
    pyjet.backup.files.write_json(str(path), {"a": 1})
    arm(2)  # the rename: after the fsync
    pyjet.backup.files.write_json(str(path), {"a": 2})


def test_a_manifest_is_old_or_new(tmp_path):
    child = Child(manifest_written_half, tmp_path)
    while child.take(30):
        pass
    assert os.WIFSIGNALED(child.finish())
    assert pyjet.backup.files.read_json(str(tmp_path / "m.json")) == {"a": 1}
    assert (
        run(lambda report: pyjet.backup.files.write_json(str(tmp_path / "m.json"), {"a": 3}))
        is None
    )
    assert pyjet.backup.files.read_json(str(tmp_path / "m.json")) == {"a": 3}
