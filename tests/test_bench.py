"""The benchmark's own arithmetic, and one small run of it."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import backup  # noqa: E402
import check  # noqa: E402
import lines  # noqa: E402
import report  # noqa: E402
import run  # noqa: E402

NO_COMPILER = shutil.which("make") is None or shutil.which("cc") is None


def row(line, engine, value, number=0, **more):
    return {"line": line, "engine": engine, "layer": "c", "round": number, "value": value, **more}


def test_ratios_are_made_inside_a_round():
    rows = [row("get", "pyjet", 300, 0), row("get", "pyjet", 100, 1), row("get", "sqlite", 100, 0), row("get", "sqlite", 50, 1)]
    assert report.ratios(rows, "get", "c", "pyjet", "sqlite") == [3.0, 2.0]
    assert report.spread([3.0, 2.0]) == "2.50 (2.00, 3.00)"


@pytest.mark.parametrize(
    ("value", "verdict"), [(300, "goal"), (200, "ok"), (100, "FAIL")]
)
def test_a_line_below_its_floor_fails(value, verdict):
    goals = {"get": {"value": "line:get/sqlite", "goal": 3.0, "floor": 1.5}}
    rows = [row("get", "pyjet", value), row("get", "sqlite", 100)]
    assert [v.verdict for v in check.judge(rows, goals)] == [verdict]


def test_wrong_rows_void_a_line_and_lower_is_better_where_said():
    goals = {"syncs": {"value": "field:durable:syncs/ops", "goal": 0.6, "floor": 1.0, "better": "lower"}}
    good = row("durable", "pyjet", 1, syncs=5, ops=10)
    assert check.judge([good], goals)[0].verdict == "goal"
    assert check.judge([dict(good, misses=1)], goals)[0].verdict == "FAIL"
    assert check.judge([], goals)[0].verdict == "not run"


def test_the_best_peer_is_named_and_whether_pyjet_leads():
    get, durable = (next(n for n in lines.C_LINES if n.name == name) for name in ("get_txn100", "insert_durable_t1"))
    rates = [row("get_txn100", e, v) for e, v in (("pyjet", 300), ("sqlite", 100), ("bdb", 200), ("lmdb", 400))]
    assert report.against_best(rates, get, "c", ["sqlite", "bdb", "lmdb"]) == "0.75 x lmdb"
    assert report.against_best(rates, get, "c", ["sqlite", "bdb"]) == "leads, 1.50 x bdb"
    delays = [row("insert_durable_t1", e, v) for e, v in (("pyjet", 50), ("bdb", 100), ("rocksdb", 75))]
    assert report.against_best(delays, durable, "c", ["bdb", "rocksdb"]) == "leads, 1.50 x rocksdb"
    assert report.against_best(delays, durable, "c", ["sqlite"]) == "-"


def test_every_goal_names_a_line_that_there_is():
    names = {line.name for line in (*lines.C_LINES, *lines.PY_LINES)}
    for goal in check.read_goals(ROOT / "bench" / "goals.toml").values():
        assert goal["value"].split(":")[1].split("/")[0] in names


def test_cp_and_sync_copies_every_file_whatever_its_name(tmp_path):
    names = ["kv.edb", "with space", "quote's.edb"]
    to = tmp_path / "to here"
    to.mkdir()
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    assert backup.cp_and_sync([tmp_path / name for name in names], to) > 0
    assert {p.name: p.read_bytes() for p in to.iterdir()} == {name: name.encode() * 1000 for name in names}


@pytest.mark.parametrize("words", [["--parts", "copy,cpoy"], ["--gb", "0"], ["--size", "0"], ["--size", "2T"], ["--size", "much"], ["--pairs", "0"]])
def test_a_wrong_argument_is_refused_before_anything_is_made(words, capsys):
    with pytest.raises(SystemExit) as refused:
        backup.arguments(words)
    assert refused.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.skipif(NO_COMPILER, reason="no C compiler")
def test_a_peer_that_is_not_installed_is_named_with_what_would_install_it(monkeypatch, capsys):
    monkeypatch.setattr(run, "build", lambda engine: None)
    monkeypatch.setattr(run, "classes", lambda engine: {"mem"})
    monkeypatch.setattr(run, "C_PEERS", {"bdb": ("no/such.h", "X", "libdb-dev"), "old": ("stdio.h", "NOT_YET", "libold-dev"), "new": ("stdio.h", "EOF", "")})
    found, left_out = run.find_engines({"bdb", "old", "new"})
    assert list(found) == ["pyjet", "new"]
    assert left_out == [
        "no C line of bdb: no/such.h is not installed, or too old (Debian: libdb-dev)",
        "no C line of old: stdio.h is not installed, or too old (Debian: libold-dev)",
    ]
    assert capsys.readouterr().err.splitlines() == left_out


def test_a_peer_that_there_is_not_is_refused(capsys):
    with pytest.raises(SystemExit):
        run.arguments(["--peers", "sqlite,oracle"])
    assert "oracle" in capsys.readouterr().err


def test_sizes():
    assert [backup.arguments(["--size", text]).gb for text in ("2G", "200M", "0.5")] == [2.0, 0.2, 0.5]


@pytest.mark.bench
@pytest.mark.skipif(NO_COMPILER, reason="no C compiler")
def test_a_small_backup_run_tells_every_line_and_leaves_nothing(tmp_path):
    out = tmp_path / "out.jsonl"
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, ROOT / "bench" / "backup.py", "--size", "20M", "--pairs", "2", "--writer-pairs", "1", "--peer-pairs", "1"]
    done = subprocess.run([*command, "--dir", work, "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("backup / cp + sync, warm", "backup / cp + sync, cold", "writer keeps beside a cp", "increment after 1 %", "restore / cp + sync + replay, warm", "restore / cp + sync + replay, cold"):
        assert name in done.stdout
    for engine, name in backup.PEERS.items():
        assert f"{name} / cp + sync, cold" in done.stdout or run.missing(engine)
    assert [r["memory_added"] for r in report.read(out) if r.get("workload") == "backup_only" and "memory_added" in r]
    assert list(work.iterdir()) == []


@pytest.mark.bench
@pytest.mark.skipif(NO_COMPILER, reason="no C compiler")
def test_a_small_run_verifies_its_rows(tmp_path):
    out = tmp_path / "out.jsonl"
    command = [sys.executable, ROOT / "bench" / "run.py", "--n", "2000", "--rounds", "1", "--peers", "none", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = report.read(out)
    assert {"load_sorted", "recover_kill9", "restore_full", "backup_full_writer"} <= {r["line"] for r in rows}
    assert not [r for r in rows if r.get("misses") or "error" in r]


@pytest.fixture
def driver(request, tmp_path):
    """The engine's driver, built, in a suite of 2,000 rows; skipped, with the reason, where its header is not installed."""
    if NO_COMPILER:
        pytest.skip("no C compiler")
    if reason := run.missing(request.param):
        pytest.skip(f"no driver of {request.param}: {reason}")
    run.build(request.param)
    return request.param, run.Suite(run.arguments(["--n", "2000"]), tmp_path)


@pytest.mark.bench
@pytest.mark.parametrize("driver", lines.ALL, indirect=True)
def test_each_line_of_each_engine_runs_and_brings_back_every_row(driver):
    engine, suite = driver
    offered = [line for line in lines.C_LINES if engine in line.engines and line.durability in run.classes(engine)]
    for line in offered:
        suite.run_line("c", line, engine, 0)
    assert [r["line"] for r in suite.rows] == [line.name for line in offered]
    assert not [r for r in suite.rows if r["misses"] or r["engine"] != engine or r["value"] <= 0]
    if engine != "pyjet":  # whose lazy commit is in no class of the kernel's
        assert "insert_random_os" in {r["line"] for r in suite.rows}
    if engine in lines.WITH_LOGS:
        assert {"backup_incr_1pct", "restore_replay", "recover_kill9", "backup_full_writer"} <= {r["line"] for r in suite.rows}


@pytest.mark.bench
@pytest.mark.parametrize("driver", lines.ALL, indirect=True)
def test_a_row_that_is_not_right_voids_a_line(driver):
    engine, suite = driver
    base, program = suite.base("c", engine, "small"), suite.program("c", engine)
    assert suite.drive([*program, "verify", base, "--n", 2000])["misses"] == 0
    for wrong in (["verify", base, "--n", 2001], ["verify", base, "--n", 2000, "--updates", 5], ["verify_any", base, "--n", 1999]):
        with pytest.raises(RuntimeError, match='"misses":[1-9]'):
            suite.drive([*program, *wrong])
