"""The command that plays the machine for long: it counts, and its seed makes the same histories again."""

import importlib.util
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
spec = importlib.util.spec_from_file_location("model_run", HERE / "run.py")  # the benchmark has a run.py too
command = importlib.util.module_from_spec(spec)
spec.loader.exec_module(command)


def said(capsys, *args):
    assert command.main(["--examples", "2", "--steps", "5", *args]) == 0
    return capsys.readouterr().out.splitlines()[-1]


def test_a_seed_makes_the_same_again(capsys):
    first = said(capsys, "--seed", "11")
    assert first.endswith("seed 11: the engine and its twin agree") and "2 histories" in first
    assert said(capsys, "--seed", "11") == first


def test_a_failure_is_told_with_the_seed(capsys, monkeypatch):
    def broken(*_, **__):
        raise AssertionError("the twin saw another row")

    monkeypatch.setattr(command.test_model, "play", broken)
    assert command.main(["--examples", "1", "--seed", "12"]) == 1
    told = capsys.readouterr().out
    assert "the twin saw another row" in told and told.endswith("FAILED: seed 12\n")
