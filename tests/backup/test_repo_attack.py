"""Attacks on repositories: compressed files and manifests changed at random, bad names, little room, no rights, a clock that goes back."""

import datetime
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import tempfile

import pytest

import pyjet
from pyjet import errors
from pyjet.backup import BackupRepo, chains, manifest, prune

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from child import Child, run  # noqa: E402
from repo_world import World, check, kept  # noqa: E402


def changed(data, rng):
    """One bit, a cut end, two places swapped, a part removed, doubled or zeroed, bytes put in between."""
    data = bytearray(data)
    at, what = rng.randrange(len(data)), rng.choice(("flip", "cut", "swap", "delete", "double", "zero", "insert"))
    n = min(rng.choice((1, 4, 20, 100, 5000, 1 << 20)), len(data) - at)
    if what == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif what == "cut":
        del data[at:]
    elif what == "swap":
        other = rng.randrange(len(data) - n + 1)
        data[at : at + n], data[other : other + n] = data[other : other + n], data[at : at + n]
    elif what == "delete":
        del data[at : at + n]
    elif what == "double":
        data[at:at] = data[at : at + n]
    elif what == "zero":
        data[at : at + n] = bytes(n)
    else:
        data[at:at] = rng.randbytes(min(n, 64))
    return bytes(data)


ODD = (None, 0, -1, 10**30, 1.5, float("nan"), "", "../x", [], {}, True, "20260101T000000Z-00000000", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59")


def edited(data, rng):
    """A manifest with one value changed or taken away."""
    value, spots = json.loads(data), []

    def walk(x):
        for key in x if isinstance(x, dict) else range(len(x)) if isinstance(x, list) else ():
            spots.append((x, key))
            walk(x[key])

    walk(value)
    inside, key = rng.choice(spots)
    if rng.random() < 0.2:
        del inside[key]
    else:
        inside[key] = rng.choice(ODD)
    return json.dumps(value).encode()


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    place = tmp_path_factory.mktemp("attack")
    with World(place, rows=120, compress=True) as w:
        w.backup()
        w.add(30)
        w.backup()
    return place / "repo"


def sound_restore(repo, to, rows):
    """True: "latest" restored, and to the last row; False: it was refused, with a hint."""
    try:
        repo.restore("latest", to)
    except errors.JetError as error:
        assert error.hint, repr(error)
        return False
    check(to / "a.edb", rows, 2500)
    shutil.rmtree(to)
    return True


def test_changed_at_random(compressed, tmp_path):
    """What is restored as the latest set is the latest set, whole; verify misses nothing that a restore meets; no other exception comes."""
    rng, outcomes = random.Random(7), []
    paths = sorted(p for d in ("packed", "catalog") for p in (compressed / d).rglob("*") if p.is_file())
    for n in range(25):
        path = rng.choice(paths)
        kept = path.read_bytes()
        path.write_bytes((edited if path.suffix == ".json" and n % 3 else changed)(kept, rng))
        try:
            repo = BackupRepo(compressed)
            assert repo.status().level in ("ok", "critical") and len(repo.list(include_failed=True)) == 2
            report = repo.verify("all", level="checksums")
            json.dumps(report.to_dict())
            repo.prune(keep_last=1)
            restored = sound_restore(repo, tmp_path / "out", 150)
            assert restored or not report.ok or not repo.verify("latest").ok, path
            outcomes.append((restored, report.ok))
        finally:
            path.write_bytes(kept)
            for mark in (compressed / "catalog").glob("*.verified.json"):
                mark.unlink()
    assert len(set(outcomes)) > 1 and os.listdir(tmp_path) == []


def test_an_older_set_is_not_the_latest(compressed, tmp_path):
    """The newest manifest is damaged: "latest" used to mean the set before it, for verify, export and restore alike."""
    repo = BackupRepo(compressed)
    full, inc = repo.list()
    at = pathlib.Path(repo.path("catalog", f"{inc.id}.json"))
    kept = at.read_bytes()
    at.write_text("{}")
    try:
        late = inc.finished + datetime.timedelta(days=1)
        for call in (
            lambda: repo.get(), lambda: repo.get("latest-full"), lambda: repo.get(late), lambda: repo.latest(), lambda: repo.latest("full"),
            lambda: repo.verify(), lambda: repo.export("latest", tmp_path / "x"), lambda: repo.restore("latest", tmp_path / "o"),
            lambda: repo.restore("latest", tmp_path / "o", to=late), lambda: repo.restore(late, tmp_path / "o"),
        ):  # fmt: skip
            with pytest.raises(errors.ManifestError, match=f"{inc.id} is newer than {full.id}") as told:
                call()
            assert full.id in told.value.hint
        assert os.listdir(tmp_path) == []
        repo.restore(full.id, tmp_path / "o")  # by its name it is what is wanted
        assert repo.get("first").id == repo.get(full.id[:10]).id == full.id
    finally:
        at.write_bytes(kept)


# ---- names ----
@pytest.mark.parametrize("name", ("a\nb.edb", "tab\t.edb", "a\x7f.edb"))
def test_a_name_that_no_repository_keeps(memory_path, name):
    """Refused before logs are deleted; it used to be copied, and then no backup could be made any more."""
    with pyjet.Instance(memory_path / "live", log_file_size=256 << 10) as inst, inst.session() as ses:
        ses.create(memory_path / "live" / name)
        live = memory_path / "live"
        files = kept(live)
        repo = BackupRepo(memory_path / "repo", create=True)
        for _ in range(2):
            with pytest.raises(errors.InvalidParameterError, match="control characters"):
                repo.backup(inst)
        assert repo.list() == [] and os.listdir(repo.path("work")) == [] and kept(live) == files
        inst._attached.clear()  # attached by calls that the package does not see
        with pytest.raises(errors.ManifestError):
            repo.backup(inst)
        assert os.listdir(repo.path("work")) == [] and repo.status().sets == 0


@pytest.mark.parametrize("compress", (False, True), ids=("plain", "compressed"))
def test_names_of_any_language(memory_path, compress):
    """Letters, emoji, quotes, a leading dash, bytes that are no UTF-8; the repository's own folder with a newline."""
    names = ("ü😀.edb", "a b'\"$.edb", "-x.edb", os.fsdecode(b"\xff\xfe.edb"))
    with pyjet.Instance(memory_path / "live", log_file_size=256 << 10) as inst, inst.session() as ses:
        for name in names:
            ses.create(memory_path / "live" / name).create_table("t", {"id": pyjet.Long()}).insert(id=1)
        repo = BackupRepo(memory_path / "re\npo😀", create=True, compress=compress)
        repo.backup(inst, label="😀 ü", metadata={"a\nb": "😀"})
    repo.export("😀 ü", memory_path / "x.tar.gz")
    other = BackupRepo(memory_path / "other", create=True)
    assert [s.metadata for s in other.import_(memory_path / "x.tar.gz")] == [{"a\nb": "😀"}]
    for r in (repo, other):
        assert r.verify("all").ok and set(names) < {f.name for f in r.latest().files}
    other.restore("latest", memory_path / "out")
    for name in names:
        with pyjet.open(memory_path / "out" / name) as db:
            assert len(db.table("t")) == 1


def test_labels_and_ids(memory_path):
    """Of two sets with a label the newest is meant; an id means its set, also when it is another one's label."""
    with World(memory_path, rows=10) as w:
        first = w.backup(label="same")
        second = w.backup(label=first.id)
        third = w.backup(label="same")
        fourth = w.backup(label="latest")
        assert [w.repo.get(x).id for x in ("same", first.id, "latest", first)] == [third.id, first.id, fourth.id, first.id]
        assert w.repo.get(second.id).label == first.id


# ---- room and rights ----
def short_of_room(report, place, compress):
    w = World(place, rows=300, compress=compress)
    w.backup()
    w.inst.backup(place / "set")
    w.close()
    w.repo.export("latest", place / "x.tar.gz")
    other = BackupRepo(place / "other", create=True, compress=compress)
    before = sorted(os.listdir(place))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 10, resource.RLIM_INFINITY))
    for call in (
        lambda: w.repo.export("latest", place / "y.tar.gz"),
        lambda: other.import_(place / "x.tar.gz"),
        lambda: other.adopt(place / "set"),
        lambda: w.repo.restore("latest", place / "out"),
        lambda: w.repo.verify("latest", level="replay"),
    ):
        with pytest.raises(errors.DiskFullError) as told:
            call()
        assert told.value.hint and str(place) in told.value.detail
        assert sorted(os.listdir(place)) == before
        assert os.listdir(other.path("work")) == os.listdir(other.path("sets")) == os.listdir(w.repo.path("scratch")) == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    other.import_(place / "x.tar.gz")
    w.repo.restore("latest", place / "out")
    w.holds(place / "out", 300)
    w.repo.export("latest", place / "y.tar.gz")


@pytest.mark.parametrize("compress", (False, True), ids=("plain", "compressed"))
def test_no_room(memory_path, compress):
    """Files may not grow: each call says so with its file, leaves nothing, and goes when there is room again."""
    run(short_of_room, memory_path, compress)


def without_rights(report, place):
    w = World(place, rows=60, compress=True)
    w.backup()
    w.close()
    (place / "free").mkdir()
    shutil.copytree(place / "repo", place / "closed")
    os.chmod(place / "closed" / "pyjet-repo.json", 0)
    for folder, mode in ((place / "repo", 0o555), (place / "free", 0o777), (place, 0o755)):
        for path in [folder, *(folder.rglob("*") if folder != place else ())]:
            os.chmod(path, mode if path.is_dir() else mode & 0o666)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
    with pytest.raises(errors.FileAccessDeniedError):
        BackupRepo(place / "closed")
    repo, free = BackupRepo(place / "repo"), place / "free"
    assert len(repo.list()) == 1 and repo.status().ok and repo.prune(keep_last=1).removed == ()
    assert repo.verify("all", level="restore").ok  # in a scratch folder elsewhere, without a mark
    assert repo.latest().verified == ()
    repo.restore("latest", free / "out")
    w.holds(free / "out", 60)
    repo.export("latest", free / "x.tar.gz")
    for call in (lambda: repo.prune(keep_last=1, dry_run=False), lambda: repo.import_(free / "x.tar.gz"), lambda: repo.adopt(free / "out")):
        with pytest.raises(errors.FileAccessDeniedError) as told:
            call()
        assert told.value.hint


def test_a_repository_that_may_only_be_read():
    with tempfile.TemporaryDirectory(prefix="pyjet-test-") as place:
        run(without_rights, pathlib.Path(place))


# ---- other processes ----
def test_making_beside_another_process(tmp_path):
    """Its half-made marker, or that of one that was killed, is no stranger; a stranger still is."""
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".pyjet-repo.json.12345.tmp").write_text("{")
    BackupRepo(tmp_path / "r", create=True)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "pyjet-repo.txt").touch()
    with pytest.raises(errors.DestinationNotEmptyError):
        BackupRepo(tmp_path / "s", create=True)


def test_what_comes_into_the_destination_meanwhile_stays(memory_path):
    """Without replace nothing is replaced, also what was not there when the restore began."""
    with World(memory_path, rows=50) as w:
        made = w.backup()
        w.inst.backup(memory_path / "set")

        def come(step):
            (memory_path / "out").mkdir(exist_ok=True)
            (memory_path / "out" / "mine").write_text("mine")

        for call in (lambda: w.repo.restore(made, memory_path / "out", progress=come), lambda: pyjet.restore(memory_path / "set", memory_path / "out", progress=come)):
            with pytest.raises(errors.DestinationNotEmptyError):
                call()
            assert [p.name for p in (memory_path / "out").iterdir()] == ["mine"]
            shutil.rmtree(memory_path / "out")
        assert not [p for p in memory_path.iterdir() if p.name.startswith(".")]


def test_status_beside_a_prune(memory_path, monkeypatch):
    """A set that goes between the listing and the look at its folder is no damage; one whose folder alone went is."""
    with World(memory_path, rows=10) as w:
        old = w.backup(kind="full")
        w.backup(kind="full")
        listed = w.repo.list(include_failed=True)
        w.repo.prune(keep_last=1, dry_run=False)
        monkeypatch.setattr(w.repo, "list", lambda **options: listed)
        assert old.id in [s.id for s in listed] and w.repo.status().ok
        monkeypatch.undo()
        shutil.rmtree(w.repo.folder(w.repo.latest()))
        assert w.repo.status().level == "critical"


# ---- clocks ----
@pytest.mark.parametrize("kind", ("auto", "full"))
def test_a_clock_that_goes_back(memory_path, monkeypatch, kind):
    """A year back, and forth again: the latest set is the one that was made last, chains continue, prune keeps it."""
    real, shift = manifest.now, [datetime.timedelta()]
    monkeypatch.setattr(manifest, "now", lambda: real() + shift[0])
    with World(memory_path, rows=30) as w:
        made = []
        for days in (0, -365, -364, 1):
            shift[0] = datetime.timedelta(days=days)
            w.add(10)
            made.append(w.backup(kind=kind))
            assert w.repo.latest().id == made[-1].id == w.repo.status().latest
            assert made[-1].id in w.repo.prune(keep_last=1).kept
            w.restores(w.repo.get("latest"))
        assert [s.id for s in w.repo.list()] == [s.id for s in made]
        if kind == "auto":
            assert [s.parent for s in made] == [None, *(s.id for s in made[:-1])] and len(w.repo.chains()) == 1
        assert abs(made[1].finished - made[0].finished).days >= 364  # what the clock said is kept


def synthetic(n, longest):
    """n sets an hour apart, in chains of so many."""
    start, found = manifest.LONG_AGO, []
    for i in range(n):
        at, full = start + datetime.timedelta(hours=i), i % longest == 0
        found.append(
            manifest.BackupSet(
                f"{at:%Y%m%dT%H%M%SZ}-{i:08x}", "full" if full else "incremental", None if full else found[-1].id, at, at, "edb", 4096, 1 << 20,
                "s", (i + 1, i + 1), (), (), order=i + 1,
            )
        )  # fmt: skip
    return found


def test_thousands_of_sets():
    """In chains of eight, and in one chain: choosing what goes is no work of hours. Counted in sets that are looked at, not in seconds."""
    for longest in (8, 4_000):
        sets = synthetic(4_000, longest)
        assert len(chains.build(sets)[0]) == 4_000 // longest and chains.choose(sets, "latest") is sets[-1]
        kept, gone = prune.choose(sets, {"keep_last": 1}, sets[-1].finished)
        assert len(kept) + len(gone) == 4_000 and sets[-1].id in kept
        gone_whole = sets if longest == 8 else []
        order = {s.id: n for n, s in enumerate(gone)}
        assert all(order[s.id] < order[s.parent] for s in gone if s.parent in order) and len(gone) == max(0, len(gone_whole) - 8)
    reads = []

    class Counted(dict):
        def __contains__(self, key):
            reads.append(key)
            return super().__contains__(key)

    found = chains.build(synthetic(3_000, 3_000))[0]
    assert len(prune._from_their_ends(found, Counted())) == 3_000 and len(reads) <= 4 * 3_000


# ---- kill -9 of the calls that the engine does not make, and again ----
def made_elsewhere(report, place):
    """A repository of two sets, compressed; an archive of them, a folder of a backup, an empty repository."""
    with World(place, rows=150, compress=True) as w:
        w.backup()
        w.add(50)
        w.backup()
        w.inst.backup(place / "set")
        w.repo.export("latest", place / "kept.tar.gz")
    BackupRepo(place / "other", create=True, compress=True)


CALLS_AGAIN = {
    "export": lambda place, **o: BackupRepo(place / "repo").export("latest", place / "x.tar.gz", **o),
    "import": lambda place, **o: BackupRepo(place / "other").import_(place / "kept.tar.gz", **o),
    "adopt": lambda place, **o: BackupRepo(place / "other").adopt(place / "set", **o),
    "restore": lambda place, **o: BackupRepo(place / "repo").restore("latest", place / "out", replace=True, **o),
    "restore folder": lambda place, **o: pyjet.restore(place / "set", place / "out", replace=True, **o),
}


def dies(report, place, name, at):
    """At the at-th of: the begin of a stage, its first step, its end; at None: never."""
    steps = []

    def step(told):
        if (told.stage, told.phase) not in steps:
            steps.append((told.stage, told.phase))
            if len(steps) == at:
                os.kill(os.getpid(), signal.SIGKILL)

    CALLS_AGAIN[name](place, progress=step)
    report(["steps", len(steps)])


def whole_afterwards(report, place, name):
    """No half set, no leftover, and what was asked for is there."""
    assert not [n for n in os.listdir(place) if n.startswith(".")], os.listdir(place)
    other = BackupRepo(place / "other")
    assert os.listdir(other.path("work")) == [] and other.verify("all", level="checksums").ok and other.status().level in ("ok", "warning")
    if name == "import":
        assert len(other.list()) == 2
    elif name == "adopt":
        assert other.list()
    elif name == "export":
        assert len(BackupRepo(place / "again", create=True).import_(place / "x.tar.gz")) == 2
    else:
        check(place / "out" / "a.edb", 200, 2500)


@pytest.mark.parametrize("name", CALLS_AGAIN)
def test_killed_and_again(memory_path, name):
    """In each stage: nothing half-made counts, and the same call sweeps what was left beside its destination."""
    run(made_elsewhere, memory_path / "start")
    seen, at = set(), 1
    while True:
        place = memory_path / "now"
        shutil.copytree(memory_path / "start", place, symlinks=True)
        child = Child(dies, place, name, at)
        while child.take(30):
            pass
        if not os.WIFSIGNALED(child.finish()):
            break
        assert not (place / "x.tar.gz").exists() or name != "export"
        left = [place / n for n in os.listdir(place) if n.startswith(".")]
        seen.update(p.suffix for p in left)
        for p in left:
            os.utime(p, (0, 0))  # as if it were an hour later
        run(dies, place, name, None)
        run(whole_afterwards, place, name)
        shutil.rmtree(place)
        at += 1
    assert at > 2 and seen == {"export": {".tmp"}, "restore": {".restoring", ".staged"}, "restore folder": {".restoring"}}.get(name, set())


def test_a_living_run_is_not_swept(memory_path):
    """Two restores beside each other: the folders of the one that goes on stay, however old they look."""
    with World(memory_path, rows=50, compress=True) as w:
        w.backup()

        def beside(step):
            for p in memory_path.iterdir():
                if p.name.startswith("."):
                    os.utime(p, (0, 0))
            if step.stage == "engine" and step.phase == "begin":
                w.repo.restore("latest", memory_path / "one", replace=True)

        w.repo.restore("latest", memory_path / "one", replace=True, progress=beside)
        w.holds(memory_path / "one", 50)
        assert not [p for p in memory_path.iterdir() if p.name.startswith(".")]


def test_prune_sweeps_what_writers_left(memory_path):
    with World(memory_path, rows=10) as w:
        w.backup()
        left = [w.repo.path("catalog", f".{w.repo.latest().id}.json.123.tmp"), w.repo.path("scratch", "verify-12345678")]
        pathlib.Path(left[0]).write_text("{")
        os.mkdir(left[1])
        w.repo.prune(keep_last=1)
        assert all(map(os.path.exists, left))
        w.repo.prune(keep_last=1, dry_run=False)
        assert not any(map(os.path.exists, left)) and w.repo.verify("all").ok


def busy(report, place, what):
    """One of several processes on one repository."""
    repo = BackupRepo(place / "other", lock_timeout=60)
    for n in range(4):
        if what == "adopt":
            report(["made", repo.adopt(place / "set").id])
        elif what == "import":
            report(["made", *[s.id for s in repo.import_(place / "kept.tar.gz")]])
        elif what == "prune":
            report(["gone", *repo.prune(keep_last=2, dry_run=False).removed])
        elif what == "verify":
            assert not [f for f in repo.verify("all", level="checksums").findings]
        else:
            try:
                repo.export("latest", place / f"{n}.tar.gz") if what == "export" else repo.restore("latest", place / f"out{n}")
            except errors.SetNotFoundError:
                pass  # there is none yet


def test_processes_on_one_repository(memory_path):
    """Six of them: writers wait for each other, nobody's set is lost but by prune, and what remains is whole."""
    run(made_elsewhere, memory_path)
    children = [Child(busy, memory_path, what) for what in ("adopt", "adopt", "import", "prune", "verify", "export", "restore")]
    for child in children:
        child.join()
    lines = [line for child in children for line in child.lines]
    made, gone = ({x for line in lines if line[0] == kind for x in line[1:]} for kind in ("made", "gone"))
    repo = BackupRepo(memory_path / "other")
    assert {s.id for s in repo.list()} | gone == made and len(made) >= 8
    assert repo.verify("all", level="checksums").ok and repo.status().level == "ok"
