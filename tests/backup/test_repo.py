"""BackupRepo: what it promises while nothing breaks."""

import datetime
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import time

import pyjet
import pytest
from pyjet import errors
from pyjet.backup import BackupRepo, VerifyLevel
from pyjet.backup import prune as pruning

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from repo_world import World, check  # noqa: E402

BOTH = pytest.mark.parametrize("compress", (False, True), ids=("plain", "compressed"))


@pytest.fixture
def world(memory_path):
    with World(memory_path) as w:
        yield w


@BOTH
def test_a_chain_restores_at_each_of_its_sets(memory_path, compress):
    with World(memory_path, compress=compress) as w:
        sets = [w.backup(label="first")]
        for _ in range(3):
            w.add(200)
            sets.append(w.backup())
        assert [s.kind for s in sets] == ["full", *["incremental"] * 3]
        assert [s.id for s in w.repo.list()] == [s.id for s in sets]
        for a, b in zip(sets, sets[1:], strict=False):
            assert b.parent == a.id and b.generations[0] == a.generations[1] + 1
        for s in sets:
            w.restores(s)
        assert all(
            s.has_checksums and s.store == ("packed" if compress else "plain")
            for s in w.repo.list()
        )
        if compress:
            assert w.repo.get("first").stored_bytes < w.repo.get("first").bytes / 2
            assert os.listdir(w.repo.path("sets")) == []
        report = w.repo.verify("all", level=VerifyLevel.RESTORE)
        assert report.ok and len(report.sets) == 4 and report.generation == sets[-1].generations[1]


def test_ese_directories_hold_nothing_of_ours(world):
    """An increment holds the new logs alone; a full set is what Instance.backup makes, and plain restore takes it."""
    full = world.backup(label="x", metadata={"a": "b"})
    world.add(100)
    inc = world.backup()
    assert all(n.endswith((".edb", ".pat", ".log")) for n in os.listdir(world.repo.folder(full)))
    assert all(n.endswith(".log") for n in os.listdir(world.repo.folder(inc)))
    pyjet.restore(world.repo.folder(full), world.place / "plain")
    world.holds(world.place / "plain", world.seen[full.id])
    assert json.loads(pathlib.Path(world.repo.path("catalog", f"{full.id}.json")).read_text())[
        "metadata"
    ] == {"a": "b"}


def test_an_increment_costs_its_logs(world):
    """Logs that the chain has are not copied again, though they are still live."""
    full = world.backup()
    world.add(100)
    inc = world.backup()
    live = pyjet.backup.forecast.log_state(world.inst)[4]
    assert full.generations[1] in live, "the case is empty: the engine has deleted that log"
    assert inc.bytes <= (inc.generations[1] - inc.generations[0] + 1) * (256 << 10)


def test_auto_begins_anew_when_it_must(world):
    first = world.backup()
    assert world.backup().kind == "incremental"
    assert world.backup(max_chain=1).kind == "full"
    world.add(100)
    world.backup()
    again = world.backup(max_chain_bytes=1)
    assert again.kind == "full" and "bytes of logs" in again.reason
    assert first.reason == "there is no set yet"
    world.inst.backup(
        world.place / "foreign"
    )  # its truncation may take logs away that the chain lacks
    world.add(2000)
    world.inst.backup(world.place / "foreign", incremental=True)
    s = world.backup()
    world.restores(s)
    db = world.ses.create(world.place / "live" / "b.edb")
    db.create_table("x", {"id": pyjet.Long()})
    s = world.backup()
    assert s.kind == "full" and "MissingFullBackup" in s.reason and len(s.databases) == 2


def test_missing_logs_make_a_full_one(memory_path):
    with World(memory_path) as w:
        w.backup()
        w.add(400)
        w.inst.backup(w.place / "other")
        w.inst.params["CheckpointDepthMax"] = 0
        w.add(400)
        w.inst.backup(w.place / "other", incremental=True)
        gone = w.repo.latest().generations[1] + 1 not in pyjet.backup.forecast.log_state(w.inst)[4]
        if not gone:  # the engine keeps them still: take them as an operator would
            w.close()
            for n in range(1, w.repo.latest().generations[1] + 3):
                (w.place / "live" / f"edb{n:05X}.log").unlink(missing_ok=True)
            w.inst = pyjet.Instance(w.place / "live", log_file_size=256 << 10)
            w.ses = w.inst.session()
            w.table = w.ses.attach(w.place / "live" / "a.edb").tables["t"]
        with pytest.raises(pyjet.ChainBrokenError) as caught:
            w.backup(kind="incremental")
        assert "full" in caught.value.hint
        s = w.backup()
        assert s.kind == "full" and "gone" in s.reason
        w.restores(s)


def test_circular_logging(memory_path):
    with (
        pyjet.Instance(memory_path / "live", circular_log=True, log_file_size=256 << 10) as inst,
        inst.session() as ses,
    ):
        ses.create(memory_path / "live" / "a.edb")
        repo = BackupRepo(memory_path / "repo", create=True)
        assert repo.backup(inst).kind == repo.backup(inst).kind == "full"
        with pytest.raises(pyjet.InvalidBackupError):
            repo.backup(inst, kind="incremental")


def test_names_of_sets(world):
    a = world.backup(label="before")
    b = world.backup()
    get = world.repo.get
    assert (
        get().id
        == get("latest").id
        == get(b.id).id
        == get(b).id
        == world.repo.latest("incremental").id
        == b.id
    )
    assert (
        get("before").id == get("first").id == get("latest-full").id == get(a.finished).id == a.id
    )
    assert get(b.finished).id == b.id and get(a.id[:-1]).id == a.id
    for bad, error in (
        ("nothing", pyjet.SetNotFoundError),
        ("2", pyjet.InvalidParameterError),
        ("", pyjet.InvalidParameterError),
        (7, pyjet.InvalidParameterError),
        (a.started - datetime.timedelta(days=1), pyjet.SetNotFoundError),
    ):
        with pytest.raises(error):
            get(bad)
    with pytest.raises(LookupError):
        BackupRepo(world.place / "empty", create=True).get()


def test_dry_run_and_its_forecast(world):
    said = world.repo.backup(world.inst, dry_run=True)
    assert said.kind == "full" and world.repo.list() == [] and said.databases[0][1] > 2_000_000
    full = world.backup()
    assert full.generations == said.generations and abs(full.bytes - said.bytes) < 0.2 * full.bytes
    assert world.repo.backup(world.inst, dry_run=True).kind == "incremental"


def test_a_cancelled_backup_leaves_nothing(world):
    world.backup()
    before = tree(world.repo.root)
    world.add(300)

    def stop(step):
        if step.phase == "progress":
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        world.backup(kind="full", progress=stop)
    with pytest.raises(pyjet.DeadlineError):
        world.backup(kind="full", rate_limit=1 << 20, deadline=0.3)
    with pytest.raises(pyjet.BackupAbortByServerError):
        world.backup(kind="full", progress=lambda step: False)
    with world.repo.backup_iter(world.inst, kind="full") as run:
        next(run), next(run)
    assert tree(world.repo.root) == before
    world.restores(world.backup())


def test_steps_of_all_stages(memory_path):
    with World(memory_path, compress=True) as w:
        steps = []
        run = w.repo.backup_iter(w.inst)
        steps.extend(run)
        w.seen[run.result.id] = w.rows
        assert [s.stage for s in steps if s.phase == "begin"] == ["engine", "checksums", "compress"]
        for stage in ("engine", "checksums", "compress"):
            done = [s.done for s in steps if s.stage == stage]
            assert done == sorted(done)
        steps = []
        w.repo.restore("latest", w.place / "r", progress=steps.append)
        assert {s.stage for s in steps} == {"read", "engine"} and steps[-1].phase == "complete"


def tree(root):
    return sorted(os.path.join(at, n) for at, dirs, names in os.walk(root) for n in [*dirs, *names])


# ---- two processes ----
HOLD = """
import sys, pyjet.backup
repo = pyjet.backup.BackupRepo(sys.argv[1])
with getattr(repo, sys.argv[2])():
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(world, what):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, world.repo.root, what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "held\n"
    return child


def test_two_processes(world):
    first = world.backup()
    child = holder(world, "_writing")
    with pytest.raises(pyjet.RepoLockedError):
        world.backup()
    with pytest.raises(pyjet.RepoLockedError):
        BackupRepo(world.repo.root, lock_timeout=0.3).prune(keep_last=1, dry_run=False)
    world.restores(first)  # reading goes on
    assert world.repo.verify().ok
    child.communicate("")
    world.backup(kind="full")
    child = holder(world, "reading")
    with pytest.raises(pyjet.RepoLockedError):
        world.repo.prune(keep_last=1, dry_run=False)
    world.backup()
    child.kill()  # the kernel gives its lock back
    child.communicate()
    world.repo.prune(keep_last=1, dry_run=False)


# ---- archives ----
@BOTH
def test_export_and_import(memory_path, compress):
    with World(memory_path, compress=compress) as w:
        w.backup(label="a", metadata={"k": "v"})
        w.add(100)
        s = w.backup()
        out = w.place / "x.tar.gz"
        result = w.repo.export(s, out)
        assert result.size == out.stat().st_size and len(result.sets) == 2
        with pytest.raises(FileExistsError):
            w.repo.export(s, out)
        folder = w.place / "by hand"
        with tarfile.open(out) as tar:
            tar.extractall(folder, filter="data")
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)
        other = BackupRepo(w.place / "other", create=True, compress=not compress)
        with open(out, "rb") as stream:
            taken = other.import_(stream)
        assert [x.id for x in taken] == list(result.sets) and other.get("a").metadata == {"k": "v"}
        assert other.import_(out) == [] and other.verify("all", level="chain").ok
        w.restores(s, repo=other)
        w.add(50)
        again = other.backup(w.inst)  # the chain goes on in the copy
        assert again.kind == "incremental"
        w.restores(again, w.rows, repo=other)


# ---- adopt ----
@pytest.mark.parametrize("atomic", (False, True))
def test_adopt(world, atomic):
    place = world.place / "foreign"
    world.inst.backup(place, atomic=atomic)
    world.add(100)
    world.inst.backup(place, atomic=atomic, incremental=True)
    before = {
        n: os.stat(os.path.join(at, n)).st_mtime_ns
        for at, _, names in os.walk(place)
        for n in names
    }
    s = world.repo.adopt(place, label="foreign")
    assert s.origin == "adopt" and s.has_checksums and s.kind == "full"
    assert before == {
        n: os.stat(os.path.join(at, n)).st_mtime_ns
        for at, _, names in os.walk(place)
        for n in names
    }
    world.restores(s, world.rows)
    world.add(100)
    more = world.backup()  # its logs are the instance's own: the chain goes on
    assert more.kind == "incremental" and more.parent == s.id
    world.restores(more)


def test_adopt_refuses_what_is_no_set(world):
    (world.place / "nothing").mkdir()
    for bad in ("nothing", "not there"):
        with pytest.raises(pyjet.JetError):
            world.repo.adopt(world.place / bad)
    assert world.repo.list() == [] and os.listdir(world.repo.path("work")) == []


# ---- verify and status ----
def test_verify_marks_and_since_last(world):
    a = world.backup()
    b = world.backup()
    assert world.repo.verify("first").sets == (a.id,)
    report = world.repo.verify("all", since_last=True)
    assert report.skipped == (a.id,) and report.sets == (b.id,)
    report = world.repo.verify("all", since_last=True, level="restore")
    assert report.sets == (a.id, b.id)
    seen = []

    def counted(database):
        seen.append(sum(1 for _ in database.tables["t"].rows()))
        if len(seen) == 2:
            raise ValueError("as the test wants it")

    report = world.repo.verify("all", level=5, check=counted)
    assert seen == [world.rows, world.rows]
    assert [(f.set, f.text, f.error) for f in report.findings] == [
        (b.id, "a.edb: as the test wants it", "ValueError")
    ]
    assert world.repo.get(a.id).verified[-1]["ok"] and not world.repo.get(b.id).verified[-1]["ok"]
    assert pruning.last_verified(world.repo.list()).id == a.id
    late = world.repo.verify("all", deadline=0.0)
    assert late.not_reached == (a.id, b.id)
    assert os.listdir(world.repo.path("scratch")) == []


def test_status(world):
    repo = world.repo
    empty = repo.status(max_age=60)
    assert empty.level == "warning" and "no backup yet" in empty.problems[0][1]
    s = world.backup()
    good = repo.status(max_age=3600)
    assert good.ok and good.latest == s.id and good.free > 0 and good.last_verified is None
    assert repo.status(max_age=0.0).level == "critical"
    assert repo.status(max_verify_age=60).level == "warning"
    repo.verify()
    assert repo.status(max_verify_age=datetime.timedelta(minutes=1)).ok
    os.mkdir(repo.path("sets", "lost"))
    assert "lost" in repo.status().problems[0][1]
    os.rmdir(repo.path("sets", "lost"))
    os.rename(repo.folder(s), repo.path("elsewhere"))
    assert repo.status().level == "critical"


def test_making_and_opening(memory_path):
    with pytest.raises(pyjet.RepoNotFoundError):
        BackupRepo(memory_path / "none")
    (memory_path / "full").mkdir()
    (memory_path / "full" / "file").touch()
    with pytest.raises(FileExistsError):
        BackupRepo(memory_path / "full", create=True)
    with pytest.raises(pyjet.InvalidParameterError):
        BackupRepo(memory_path / "x", create=True, level=11)
    BackupRepo(memory_path / "a b\u00e9", create=True, compress=True)
    assert BackupRepo(memory_path / "a b\u00e9").compress
    (memory_path / "a b\u00e9" / "pyjet-repo.json").write_text('{"format": "pyjet-repo", "v": 2}')
    with pytest.raises(pyjet.ManifestError):
        BackupRepo(memory_path / "a b\u00e9")


def test_restore_by_time_and_into_a_used_folder(world):
    a = world.backup()
    world.add(100)
    world.backup()
    world.repo.restore(a.finished, world.place / "then")
    world.holds(world.place / "then", world.seen[a.id])
    with pytest.raises(FileExistsError):
        world.repo.restore("latest", world.place / "then")
    world.repo.restore("latest", world.place / "then", replace=True)
    check(world.place / "then" / "a.edb", world.rows, world.size)
    world.repo.restore("latest", world.place / "rolled", roll_forward=None)
    assert not [n for n in os.listdir(world.place) if n.startswith(".")]


def moment():
    """Between two commits; positions in the log and the clock of sets tell milliseconds apart."""
    time.sleep(0.02)
    now = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(0.02)
    return now


def test_a_point_in_time_finds_its_chain(memory_path):
    """restore(to=...): each moment of two chains, by time and by position; "latest" means the chain that reaches back so far."""
    with World(memory_path, rows=50, size=2500) as world:
        seen = {}

        def note():
            world.add(10)
            seen[moment()] = (world.rows, world.inst.info().log_tail)

        world.backup(kind="full")
        for kind in ("incremental", "incremental", "full", "incremental"):
            note()
            note()
            world.backup(kind=kind)
        before = {f: f.read_bytes() for f in (memory_path / "repo").rglob("*") if f.is_file() and f.suffix == ".log"}
        for n, (when, (rows, _)) in enumerate(seen.items()):
            to = memory_path / f"at{n}"
            if n in (4, 5):  # behind the last increment of the first chain, before the end of the second chain's full set
                with pytest.raises(errors.ChainBrokenError) as told:
                    world.repo.restore("latest", to, to=when)
                assert "roll_forward" in told.value.hint and not to.exists()
                continue
            world.repo.restore("latest", to, to=when, rename={"a.edb": "then.edb"})
            check(to / "then.edb", rows, world.size)
        chosen = world.repo.list()
        for n, (rows, position) in enumerate(seen.values()):
            if n not in (4, 5):
                world.repo.restore("latest", memory_path / f"pos{n}", to=position if n % 2 else str(position))
                check(memory_path / f"pos{n}" / "a.edb", rows, world.size)
        with pytest.raises(errors.EndingRestoreLogTooLowError) as told:
            world.repo.restore(chosen[3], memory_path / "early", to=next(iter(seen)))
        assert told.value.hint
        with pytest.raises(errors.EndingRestoreLogTooLowError):
            world.repo.restore("latest", memory_path / "early", to=chosen[0].started - datetime.timedelta(hours=1))
        with pytest.raises(TypeError):
            world.repo.restore("latest", memory_path / "early", to=7)
        with pytest.raises(errors.InvalidParameterError):
            world.repo.restore("latest", memory_path / "early", to="yesterday")
        assert not (memory_path / "early").exists()
        assert before == {f: f.read_bytes() for f in before}
