"""Fixtures shared by all tests: the real sample files, the independent judges, the repository's root."""

import gc
import gzip
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

import pytest

import memory

ROOT = pathlib.Path(__file__).resolve().parent.parent


def shared_dir():
    """The folder with samples/ and tools/, or None; PYJET_SAMPLES names its samples folder."""
    named = os.environ.get("PYJET_SAMPLES")
    candidates = [pathlib.Path(named).parent] if named else [ROOT.parent / "shared"]
    for place in candidates:
        if (place / "samples").is_dir():
            return place
    return None


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def shared():
    place = shared_dir()
    if place is None:
        if os.environ.get("CI"):
            pytest.fail("the sample files are missing; CI needs them (set PYJET_SAMPLES)")
        pytest.skip("no sample files here; set PYJET_SAMPLES to their folder")
    return place


@pytest.fixture(scope="session")
def sample(shared, tmp_path_factory):
    """sample("srudb_win10.dat") -> a fresh unpacked copy; of a tar: the folder."""

    def unpack(name):
        to = tmp_path_factory.mktemp("sample")
        packed = shared / "samples" / f"{name}.gz"
        if packed.exists():
            with gzip.open(packed) as src, open(to / name, "wb") as dst:
                shutil.copyfileobj(src, dst)
            return to / name
        with tarfile.open(shared / "samples" / f"{name}.tar.gz") as tar:
            tar.extractall(to, filter="data")
        return to

    return unpack


@pytest.fixture(scope="session")
def judge(shared):
    """judge("edbcheck.py", "check", path) -> CompletedProcess of an independent checker."""

    def run(tool, *args):
        return subprocess.run(
            [sys.executable, str(shared / "tools" / tool), *map(str, args)],
            capture_output=True,
            text=True,
        )

    return run


MEMORY_ASKED = 2 << 30  # containers often have 64 MiB there: too small for a test's files


@pytest.fixture
def memory_path(tmp_path):
    """A folder in memory where there is one: for tests that sync a lot and let the power fail only in play."""
    if memory.PLACE is None or shutil.disk_usage(memory.PLACE).free < MEMORY_ASKED:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory.PLACE, prefix="pyjet-test-", ignore_cleanup_errors=True) as place:
        yield pathlib.Path(place)


OUTCOMES = pytest.StashKey()


def pytest_configure(config):
    config.stash[OUTCOMES] = {}
    if sys.dont_write_bytecode and not sys.pycache_prefix:
        # each worker, and each of the interpreters that the command line's tests start, would compile all that it imports again
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(ROOT / "build" / "pycache")
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_finish():
    """What is there by now is no garbage: no collection goes over it again, and no fork copies it because one did."""
    gc.collect()
    gc.freeze()


def pytest_xdist_auto_num_workers():
    """One more than there are cores: a test that waits for its disk or its clock leaves its core to another."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    """The test that looks at the others' outcomes comes last."""
    items.sort(key=lambda item: item.nodeid.endswith("test_behaviours.py::test_outcomes"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    outcomes = item.config.stash[OUTCOMES]
    if report.when == "call" or not report.passed:
        outcomes[item.nodeid] = report.outcome
    return report


@pytest.fixture
def outcomes(request):
    """{node id: "passed", "failed" or "skipped"} of the tests that ran before."""
    return request.config.stash[OUTCOMES]
