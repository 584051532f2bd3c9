"""A slice of tests.media.media: bad media never give anybody anything wrong; and the harness sees an engine that does."""

import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def command(*args):
    return subprocess.run(
        [sys.executable, "-m", "tests.media.media", *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )


@pytest.mark.slow
@pytest.mark.parametrize("page_size", (4096, 32768))
def test_a_slice(page_size, tmp_path):
    done = command("--cases", 180, "--seed", 7, "--page-size", page_size, "--table", tmp_path / "t.rst", "--jobs", 2)
    assert done.returncode == 0 and "180 media cases, seed 7" in done.stdout, done.stdout + done.stderr
    assert "shadow catalog" in (tmp_path / "t.rst").read_text()


def test_the_judge_sees_what_is_wrong():
    """A reader that got other rows, a check that says nothing, an error without the page: each is a fault."""
    sys.path.insert(0, str(HERE))
    import media

    run = media.Run.__new__(media.Run)
    run.classes, run.place = {"empty": []}, HERE
    told = [(7, "page 7: its checksum is wrong")]
    bad = ValueError("page 7 failed")
    judge = lambda told, reader, attached, backup: run.judge_page(7, told, reader, attached, backup, [], HERE, False)[1]  # noqa: E731
    assert judge(told, bad, bad, bad) == []
    assert judge([], bad, bad, bad) and judge([(8, "page 8: ...")], bad, bad, bad)
    assert judge(told, "wrong", bad, bad) and judge(told, bad, "wrong", bad)
    assert judge(told, bad, bad, ValueError("page 77 failed")) and judge(told, ValueError("?"), bad, bad)
