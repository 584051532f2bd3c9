"""Values that no run can take: each is refused with a text that says what is right, before anything is locked, made or copied."""

import datetime
import math
import pathlib
import sys

import pytest

import pyjet
from pyjet import LgPos, errors
from pyjet.backup import BackupRepo, Deadline, RateLimit, recover

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from repo_world import kept  # noqa: E402

NAN, INF = float("nan"), float("inf")
UTC = datetime.timezone.utc
FAR_EAST = datetime.timezone(datetime.timedelta(hours=23, minutes=59))


class World:
    """An instance with a row, a set in a folder, a repository with two sets."""

    def __init__(self, place):
        self.place = place
        self.inst = pyjet.Instance(place / "live", log_file_size=1 << 16)
        self.ses = self.inst.session()
        self.table = self.ses.create(place / "live" / "a.edb").create_table("t", {"id": pyjet.Long()})
        self.table.insert(id=1)
        self.set, self.to = place / "set", place / "to"
        self.inst.backup(self.set)
        self.repo = BackupRepo(place / "repo", create=True)
        self.repo.backup(self.inst)
        self.repo.backup(self.inst)
        self.before = self.files()

    def files(self):
        """Names and sizes of what was made; the live folder goes on by itself."""
        return {p: p.lstat().st_size for p in self.place.rglob("*") if "live" not in p.parts and p.name not in ("lock", "use")}

    def refuses(self, call, *kinds, **options):
        with pytest.raises((TypeError, ValueError, errors.JetError)) as told:
            call(**options)
        error = told.value
        assert type(error) in (TypeError, errors.InvalidParameterError, errors.InvalidPathError, *kinds), repr(error)
        assert str(next(iter(options), "")).split("_")[0] in str(error) or getattr(error, "hint", ""), error
        assert self.files() == self.before, options


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("values"))
    yield w
    w.ses.close()
    w.inst.close()


NO_SECONDS = (NAN, -1, -0.001, INF, -INF, "x", "10", b"1", True, [], 1j, 10**400, datetime.timedelta(seconds=-1), datetime.datetime.now())
NO_RATE = (0, -1, NAN, INF, "x", "20M", True, [], 1j, -math.inf)
NO_METADATA = ([1], 5, "x", [("a", "b")], {1: "a"}, {"a": 1}, {"a": None}, {"a": "x" * (1 << 17)}, True)
NO_LABEL = (5, "", "a\nb", "x" * 201, "\ud800", b"a", True, ["a"])


def runs(world):
    return (
        lambda **o: world.inst.backup(world.place / "new", **o),
        lambda **o: world.inst.backup(world.place / "new", dry_run=True, **o),
        lambda **o: list(world.inst.backup_iter(world.place / "new", **o)),
        lambda **o: world.repo.backup(world.inst, **o),
        lambda **o: world.repo.backup(world.inst, dry_run=True, **o),
    )


@pytest.mark.parametrize(("name", "values"), (("rate_limit", NO_RATE), ("deadline", NO_SECONDS), ("metadata", NO_METADATA), ("label", NO_LABEL)))
def test_options_of_backups(world, name, values):
    for run in runs(world):
        for value in values:
            world.refuses(run, **{name: value})
    assert not (world.place / "new").exists()


def test_limits_themselves():
    for value in NO_RATE:
        with pytest.raises((TypeError, errors.InvalidParameterError), match="rate limit"):
            RateLimit(value)
        limit = RateLimit(5)
        with pytest.raises((TypeError, errors.InvalidParameterError)):
            limit.bytes_per_second = value
        assert limit.bytes_per_second == 5
    for value in NO_SECONDS:
        with pytest.raises((TypeError, errors.InvalidParameterError), match="deadline"):
            Deadline(value)
    assert Deadline(datetime.timedelta(seconds=3)).after == 3 and Deadline(0).left() <= 0 and Deadline().left() is None


def test_options_of_a_repository(world):
    r = world.repo
    for value in (-1, NAN, INF, "x", 1.5, True, None):
        world.refuses(lambda max_chain: r.backup(world.inst, max_chain=max_chain), max_chain=value)
    for value in (-1, NAN, "x", True):
        world.refuses(lambda max_chain_bytes: r.backup(world.inst, max_chain_bytes=max_chain_bytes), max_chain_bytes=value)
    for value in NO_SECONDS:
        world.refuses(r.prune, keep_within=value)
        world.refuses(r.status, max_age=value)
        world.refuses(r.status, max_verify_age=value)
        world.refuses(r.verify, deadline=value)
        world.refuses(lambda deadline: r.restore("latest", world.to, deadline=deadline), deadline=value)
        world.refuses(lambda deadline: r.export("latest", world.place / "x", deadline=deadline), deadline=value)
        world.refuses(lambda deadline: r.adopt(world.set, deadline=deadline), deadline=value)
        if not isinstance(value, datetime.timedelta):
            world.refuses(lambda lock_timeout: BackupRepo(r.root, lock_timeout=lock_timeout), lock_timeout=value)
    for value in ("nightly", 5, b"x", True):
        world.refuses(r.prune, keep_labels=value)
    for value in (-1, "x", 1.5, NAN, True):
        world.refuses(r.prune, keep_last=value)
    for value in (0, 6, "deepest", None, 1.5, NAN):
        world.refuses(lambda level: r.verify(level=level), level=value)
    for value in (5, "x", [1]):
        world.refuses(r.verify, check=value)
    for value in (5, None, "", [], b"latest"):
        world.refuses(r.get, which=value)
    for value in (0, 10, "x", 1.5, NAN, True):
        world.refuses(lambda level: r.export("latest", world.place / "x", level=level), level=value)
        world.refuses(lambda level: BackupRepo(world.place / "other", create=True, level=level), level=value)
    for value in NO_METADATA:
        world.refuses(lambda metadata: r.adopt(world.set, metadata=metadata), metadata=value)
    assert len(r.prune(keep_within=10 * 365 * 86400, min_full=1).kept) == 2


NO_MOMENT = (
    datetime.datetime.min, datetime.datetime.max, datetime.datetime.min.replace(tzinfo=UTC), datetime.datetime.min.replace(tzinfo=FAR_EAST),
    datetime.datetime(1899, 12, 31, tzinfo=UTC), "0001-01-01", "yesterday", "", "1:2", "1:2:3:4", "-1:0:0", "0:0:0", "7FFFFFFFF:0:0",
    LgPos(), datetime.date(2026, 1, 1), 5, 5.5, NAN, b"0:0:1", [], True,
)  # fmt: skip


def test_points_in_time(world):
    for value in NO_MOMENT:
        if value != datetime.datetime.max:  # later than all there is: the repository says so
            world.refuses(lambda to: world.repo.restore("latest", world.to, to=to), to=value)
        world.refuses(lambda stop_at: pyjet.restore(world.set, world.to, stop_at=stop_at), stop_at=value)
    for value in (datetime.datetime.min, datetime.datetime.min.replace(tzinfo=FAR_EAST)):
        world.refuses(world.repo.get, errors.SetNotFoundError, which=value)
    for parts in (("1", 0, 0), (1.5, 0, 0), (1, None, 0), (NAN, 0, 0), (-1, 0, 0), (1, 1 << 16, 0)):
        with pytest.raises(errors.InvalidParameterError):
            LgPos(*parts)


def test_a_time_without_a_zone_is_local(world, monkeypatch):
    """Of BackupRepo.get and of restore, by datetime and by text; a zone that is named wins."""
    import time

    last = world.repo.latest()
    monkeypatch.setenv("TZ", "Etc/GMT-5")
    time.tzset()
    try:
        local = (last.finished + datetime.timedelta(seconds=1)).astimezone().replace(tzinfo=None)
        assert world.repo.get(local).id == last.id
        with pytest.raises(errors.SetNotFoundError):
            world.repo.get(local.replace(tzinfo=UTC) - datetime.timedelta(hours=10))
        for at in (local, local.isoformat(), (last.finished + datetime.timedelta(seconds=1)).isoformat()):
            done = world.repo.restore("latest", world.to, to=at, replace=True)
            assert last.id in done.note
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
        import shutil

        shutil.rmtree(world.to, ignore_errors=True)


def test_renames(world):
    for value in (5, "a.edb=b.edb", [("a.edb", "b.edb")], [1], True, {"a.edb": 5}, {5: "b.edb"}, {"a.edb": ""}, {"a.edb": "x/y"}, {"a.edb": None}):
        world.refuses(lambda rename: pyjet.restore(world.set, world.to, rename=rename), rename=value)
        world.refuses(lambda rename: world.repo.restore("latest", world.to, rename=rename), rename=value)


def test_empty_names(world, monkeypatch):
    """No call takes the current folder for a name that a script did not set."""
    here = world.place / "live"
    monkeypatch.chdir(here)
    before = kept(here)
    for call in (
        lambda: world.repo.adopt(""),
        lambda: world.repo.export("latest", ""),
        lambda: world.repo.import_(""),
        lambda: world.repo.verify(scratch=""),
        lambda: recover("", output=world.to),
        lambda: recover("", in_place=True),
        lambda: recover(here, output=""),
        lambda: recover(here, in_place=True, logs=""),
    ):
        with pytest.raises(errors.InvalidPathError, match="empty"):
            call()
    assert kept(here) == before and world.files() == world.before
