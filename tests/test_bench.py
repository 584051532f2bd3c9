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
import report  # noqa: E402


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


def test_every_goal_names_a_line_that_there_is():
    import lines

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


def test_sizes():
    assert [backup.arguments(["--size", text]).gb for text in ("2G", "200M", "0.5")] == [2.0, 0.2, 0.5]


@pytest.mark.bench
@pytest.mark.skipif(shutil.which("make") is None or shutil.which("cc") is None, reason="no C compiler")
def test_a_small_backup_run_tells_every_line_and_leaves_nothing(tmp_path):
    out = tmp_path / "out.jsonl"
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, ROOT / "bench" / "backup.py", "--size", "20M", "--pairs", "2", "--writer-pairs", "1"]
    done = subprocess.run([*command, "--parts", "copy,writer,increment,restore", "--dir", work, "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("backup / cp + sync, warm", "backup / cp + sync, cold", "writer keeps beside a cp", "increment after 1 %", "restore / cp + sync + replay, warm", "restore / cp + sync + replay, cold"):
        assert name in done.stdout
    assert [r["memory_added"] for r in report.read(out) if r.get("workload") == "backup_only" and "memory_added" in r]
    assert list(work.iterdir()) == []


@pytest.mark.bench
@pytest.mark.skipif(shutil.which("make") is None or shutil.which("cc") is None, reason="no C compiler")
def test_a_small_run_verifies_its_rows(tmp_path):
    out = tmp_path / "out.jsonl"
    command = [sys.executable, ROOT / "bench" / "run.py", "--n", "2000", "--rounds", "1", "--peers", "none", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = report.read(out)
    assert {"load_sorted", "recover_kill9", "restore_full", "backup_full_writer"} <= {r["line"] for r in rows}
    assert not [r for r in rows if r.get("misses") or "error" in r]
