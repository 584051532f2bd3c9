"""A backup paused at 25, 50 and 75 percent while splits, merges, drops, extension and checkpoints hit both sides of it."""

import pathlib
import random
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import bank  # noqa: E402
import cjet  # noqa: E402
from child import Child, ChildFailed, run  # noqa: E402
from cjet import K  # noqa: E402

THREADS = 2


def work(report, place, seed, grbit, small):
    """Fills the bank, then backs up with work at each pause; all from this thread, so that what happens when is known."""
    place = pathlib.Path(place)
    cjet.set_cache(64 if small else 4000)
    settings = {K.JET_paramCheckpointDepthMax: 64 << 10}
    with cjet.Instance(place / "data", log_kib=64, steal=small, params=settings) as inst:
        path = place / "data" / "bank.edb"
        main = inst.session()
        dbid = main.create(path)
        bank.create(main, dbid, THREADS)
        workers = []
        for thread in range(THREADS):
            ses = inst.session()
            own = ses.open(path, attach=False)
            workers.append(bank.Worker(ses, own, thread, 0, random.Random(f"{seed}/{thread}"), report, {}, notes=2000))
        for _ in range(60):
            for w in workers:
                w.step()
        before = inst.stats()

        def paused(percent):
            report(["BP", 0, percent])
            for kind in ({"many": 3, "table": 1}, {"few": 3, "delete": 1}, {"table": 1}, {"update": 2, "insert": 1}):
                for w in workers:
                    w.kinds, w.weights = list(kind), list(kind.values())
                    for _ in range(8):
                        w.step()

        inst.pause(paused)
        report(["BS", 0, "full", "set"])
        inst.backup(place / "set", grbit)
        report(["BE", 0])
        after = inst.stats()
        inst.pause(None)
        for w in workers:
            w.step()
        grown = {name: getattr(after, name) - getattr(before, name) for name in ("splits", "empty_pages", "checkpoint", "merges")}
    return {"grown": grown}


def play(place, seed, grbit, small):
    child = Child(work, str(place), seed, grbit, small)
    child.join()
    model = bank.Model(bank.first_state(THREADS))
    model.lines = child.lines
    paused = [i for i, line in enumerate(model.lines) if line[0] == "BP"]
    assert [model.lines[i][2] for i in paused] == [25, 50, 75]
    end = next(i for i, line in enumerate(model.lines) if line[0] == "BE")
    return child.result, model, paused[-1], end


def read_set(report, path, to):
    return bank.read_set(path, to)


@pytest.mark.parametrize("small", (False, True), ids=("plain", "64 pages, random steal"))
@pytest.mark.parametrize("grbit", (0, K.JET_bitBackupAtomic), ids=("full", "atomic"))
def test_one_commit_point(grbit, small, memory_path):
    result, model, last_pause, end = play(memory_path, 3, grbit, small)
    grown = result["grown"]
    assert grown["splits"] > 0 and grown["empty_pages"] + grown["merges"] > 0, grown
    state = bank.from_json(run(read_set, str(memory_path / "set"), str(memory_path / "again")))
    model.check(state, last_pause, end, "the restored set")


def required_range(report, path):
    found = cjet.survey(path)
    return [found.gen_low, found.gen_high]


def test_each_log_of_the_range_is_needed(memory_path):
    play(memory_path, 4, 0, False)
    low, high = run(required_range, str(memory_path / "set"))
    assert high > low  # how many depends on the writers' pace
    for gen in range(low, high + 1):
        lame = memory_path / "lame"
        shutil.copytree(memory_path / "set", lame)
        (lame / f"edb{gen:05X}.log").unlink()
        with pytest.raises(ChildFailed, match="JET_err(Missing|Starting|Ending|GivenLog|Required)"):
            run(read_set, str(lame), str(memory_path / "lame-work"))
        assert not list((memory_path / "lame-work" / "db").glob("*.edb")), f"log {gen:X} was missing, and a database came"
        shutil.rmtree(lame)
        shutil.rmtree(memory_path / "lame-work", ignore_errors=True)
