"""Rate limit, deadline, dry run, label, the iterator: options of every backup."""

import datetime
import os
import threading
import time

import pytest

import pyjet
from pyjet.backup import RateLimit, note
from pyjet.backup.limits import Pace

MIB = 1 << 20


@pytest.fixture
def inst(memory_path):
    """An instance with one database of about 24 MiB."""
    with (
        pyjet.Instance(memory_path / "live", log_file_size=1 << 20) as instance,
        instance.session() as ses,
    ):
        t = ses.create(memory_path / "live" / "a.edb").create_table(
            "t", {"id": pyjet.Long(), "raw": pyjet.LongBinary()}
        )
        with ses.transaction():
            t.insert_many({"id": n, "raw": os.urandom(3000)} for n in range(5000))
        yield instance


def test_the_measured_rate_holds(inst, memory_path):
    """Within 10 percent of the limit, whatever it is; the unlimited run is far faster, so it is the limit that is measured."""
    free = max(inst.backup(memory_path / f"free{n}").rate for n in range(2))
    for rate in (10 * MIB, 20 * MIB):
        assert free > 2 * rate
        seen = []
        for n in range(4):  # other load of the machine may slow a run; nothing may make it faster than it should be
            seen.append(inst.backup(memory_path / f"set{rate}-{n}", rate_limit=rate).rate)
            assert seen[-1] <= 1.1 * rate, (rate, seen)
            if seen[-1] >= 0.9 * rate:
                break
        assert max(seen) >= 0.9 * rate, (rate, seen)


def test_the_rate_may_change_on_the_way(inst, memory_path):
    limit, seen = RateLimit(2 * MIB), []

    def faster(step):
        seen.append((time.monotonic(), step.done))
        if len(seen) == 3:
            limit.bytes_per_second = None

    began = time.monotonic()
    inst.backup(memory_path / "set", rate_limit=limit, progress=faster)
    assert time.monotonic() - began < 8  # the whole of it at 2 MiB/s takes 12 at least
    assert seen[2][0] - seen[1][0] >= 0.4  # the first MiB was paced
    assert [done for _, done in seen] == sorted(done for _, done in seen)


def test_bytes_are_told(inst, memory_path):
    steps = []
    result = inst.backup(memory_path / "set", progress=steps.append)
    assert (
        {s.unit for s in steps} == {"bytes"}
        and steps[0].phase == "begin"
        and steps[-1].phase == "complete"
    )
    assert (
        steps[-1].done == steps[-1].total
        and 0.9 * result.bytes < steps[-1].total < 1.2 * result.bytes
    )


@pytest.mark.parametrize("deadline", (0.3, datetime.timedelta(seconds=0.3)))
def test_deadline(inst, memory_path, deadline):
    began = time.monotonic()
    with pytest.raises(pyjet.DeadlineError) as caught:
        inst.backup(memory_path / "set", rate_limit=MIB, deadline=deadline)  # 24 s without one
    assert 0.25 < time.monotonic() - began < 12 and isinstance(caught.value, TimeoutError)
    assert not (memory_path / "set").exists()
    inst.backup(memory_path / "set", deadline=60)


def test_stop_backup_ends_a_long_sleep(inst, memory_path):
    failed, begun = [], threading.Event()

    def slow():
        try:
            inst.backup(memory_path / "set", rate_limit=10_000, progress=lambda step: begun.set())  # one MiB would sleep 100 s
        except pyjet.BackupAbortByServerError as error:
            failed.append(error)

    thread = threading.Thread(target=slow)
    thread.start()
    assert begun.wait(60)
    time.sleep(0.5)  # by now it sleeps; where not, it is stopped before
    inst.stop_backup()
    thread.join(10)
    assert not thread.is_alive() and failed
    assert not (memory_path / "set").exists()


def test_pace_makes_up_for_little_only():
    """After a long pause there is no burst: the clock is a play clock, so the numbers are exact."""
    now = [100.0]

    class Stopped:
        def is_set(self):
            return False

        def wait(self, seconds):
            now[0] += seconds

    pace = Pace(1000, None, clock=lambda: now[0])
    pace._stopped = Stopped()
    pace.copied(500)
    assert now[0] == pytest.approx(100.5)
    now[0] += 60  # the disk stood still
    for _ in range(10):
        pace.copied(500)
    assert now[0] == pytest.approx(160.5 + 5.0 - 0.25, abs=0.01)


def test_dry_run_tells_what_comes(inst, memory_path):
    said = inst.backup(memory_path / "set", dry_run=True)
    assert not (memory_path / "set").exists() and said.fits and said.kind == "full"
    result = inst.backup(memory_path / "set")
    assert (
        said.generations == result.generations
        and abs(said.bytes - result.bytes) < 0.1 * result.bytes
    )
    again = inst.backup(memory_path / "set", dry_run=True, incremental=True)
    assert again.databases == () and again.kind == "incremental"
    result = inst.backup(memory_path / "set", incremental=True)
    assert result.generations == again.generations
    nothing = inst.backup(None, dry_run=True)
    assert nothing.bytes == 0


def test_label_and_metadata_lie_beside(inst, memory_path):
    inst.backup(memory_path / "set", label="before the move", metadata={"ticket": "17"})
    inst.backup(memory_path / "set", incremental=True, label="after")
    runs = note.read(memory_path / "set")
    assert [r["label"] for r in runs] == ["before the move", "after"] and runs[0]["metadata"] == {
        "ticket": "17"
    }
    assert runs[0]["kind"] == "full" and not any(
        name.endswith("json") for name in os.listdir(memory_path / "set")
    )
    for bad in (
        {"label": ""},
        {"label": "a\nb"},
        {"metadata": {"a": 1}},
        {"metadata": {"a": "x" * 100_000}},
    ):
        with pytest.raises(pyjet.InvalidParameterError):
            inst.backup(memory_path / "other", **bad)
    for bad in ({"rate_limit": 0}, {"rate_limit": -5}, {"deadline": -1}):
        with pytest.raises(pyjet.InvalidParameterError):
            inst.backup(memory_path / "other", **bad)


def test_iterator(inst, memory_path):
    run = inst.backup_iter(memory_path / "set")
    steps = list(run)
    assert steps[0].phase == "begin" and steps[-1].phase == "complete" and run.result.kind == "full"
    with inst.backup_iter(memory_path / "cancelled") as run:
        next(run), next(run)
    assert run.result is None and not (memory_path / "cancelled").exists() and list(run) == []
    with pytest.raises(pyjet.BackupDirectoryNotEmptyError):
        list(inst.backup_iter(memory_path / "set"))
    run = inst.backup_iter(memory_path / "dropped")
    next(run)
    thread = run._thread
    del run
    thread.join(10)
    assert not thread.is_alive() and not (memory_path / "dropped").exists()
