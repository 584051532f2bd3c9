"""check/ over real Windows files: nothing to find in clean ones, all that the independent judge finds in damaged ones."""

import json
import os
import pathlib
import random
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from building import make  # noqa: E402

CLEAN = [
    ("decompress_test.edb", 8192),
    ("multivalue_longvalue.edb", 4096),
    ("srudb_win10.dat", 4096),
    ("secedit_win11.sdb", 4096),
]
SEED = int(os.environ.get("PYJET_SEED", "20261121"))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """program("files", "PYJET_CHECK_FILES", lines) -> what the C test prints, as [(word, rest)]."""
    make("DEBUG=1", "build/debug/test_check")
    folder = tmp_path_factory.mktemp("check")

    def run(case, variable, lines):
        (folder / "lines").write_text("".join(f"{line}\n" for line in lines))
        done = subprocess.run(
            [str(ROOT / "build/debug/test_check"), case],
            env={**os.environ, variable: str(folder / "lines")},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return [tuple(line.split("\t", 1)) for line in done.stdout.splitlines() if "\t" in line]

    return run


@pytest.fixture(scope="module")
def check(program):
    """check(paths) -> for each {"findings": [(kind, page, text)], "error": ..., "sum": {...}}."""

    def run(paths):
        results = []
        for word, rest in program("files", "PYJET_CHECK_FILES", paths):
            if word == "file":
                results.append({"findings": [], "error": None})
            elif word == "finding":
                results[-1]["findings"].append(tuple(rest.split("\t", 2)))
            elif word == "error":
                results[-1]["error"] = rest
            elif word == "sum":
                results[-1]["sum"] = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", rest)}
        assert len(results) == len(paths)
        return results

    return run


def judged(judge, path):
    """(pages, tables, records) that the judge counted; None when it finds something."""
    done = judge("edbcheck.py", "check", path)
    counts = re.match(r"ok: (\d+) pages, (\d+) tables, (\d+) records", done.stdout)
    return tuple(map(int, counts.groups())) if counts else None


@pytest.mark.parametrize("name", [name for name, _ in CLEAN])
def test_a_clean_file_has_no_finding(name, sample, judge, check):
    path = sample(name)
    (got,) = check([path])
    assert got["error"] is None and got["findings"] == []
    _, tables, records = judged(judge, path)
    assert (got["sum"]["tables"], got["sum"]["records"]) == (tables, records)
    assert got["sum"]["leaked"] == 0


@pytest.mark.parametrize("name, notes", [("srum_win10_clean", 0), ("srum_win10_dirty", 1)])
def test_the_srum_files(name, notes, sample, check):
    """The dirty one as it lies: its pages happen to agree."""
    (path,) = sample(name).rglob("SRUDB.dat")
    (got,) = check([path])
    assert got["error"] is None
    assert [kind for kind, _, _ in got["findings"]] == ["NOTE"] * notes


def test_large_pages(sample, check):
    (got,) = check([sample("qmgr_win10_16k_dirty.db")])
    assert [kind for kind, _, _ in got["findings"]] == ["NOTE"]  # not shut down cleanly
    assert got["sum"]["long"] > 50


def test_the_file_that_was_copied_live(sample, check, judge):
    path = sample("catalog1_live_copy.edb")
    (got,) = check([path])
    assert sorted((kind, page) for kind, page, _ in got["findings"]) == [
        ("INDEX", "49"),
        ("PAGE", "49"),
        ("PAGE", "50"),
        ("PAGE", "51"),
    ]
    assert judged(judge, path) is None


def damage(good, page_size, rng):
    """A copy with a few bytes of one written page changed: (bytes, page)."""
    used = [
        p
        for p in range(1, len(good) // page_size - 1)
        if any(good[(p + 1) * page_size : (p + 2) * page_size])
    ]
    page = rng.choice(used)
    at = (page + 1) * page_size
    header = 40 if page_size <= 8192 else 80
    data_end = header + int.from_bytes(good[at + 32 : at + 34], "little")
    tags = 4 * (1 + int.from_bytes(good[at + 34 : at + 36], "little") % 4096)
    zones = [
        (8, page_size),
        (8, 40),
        (page_size - tags, page_size),
        (header, max(data_end, header + 1)),
    ]
    low, high = rng.choice(zones)
    out = bytearray(good)
    for place in rng.sample(range(low, high), min(rng.choice([2, 2, 3, 8]), high - low)):
        out[at + place] ^= rng.randrange(1, 256)
    return out, page


def damaged_copies(good, page_size, rounds, rng, folder):
    copies = []
    for i in range(rounds):
        changed, page = damage(good, page_size, rng)
        copies.append((folder / str(i), page))
        copies[-1][0].write_bytes(changed)
    return copies


ROUNDS = [pytest.param(20, id="few"), pytest.param(200, id="many", marks=pytest.mark.slow)]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_every_flip_in_a_written_page_is_found(rounds, sample, check, judge, tmp_path):
    name, page_size = CLEAN[1]
    rng = random.Random(SEED)
    good = sample(name).read_bytes()
    copies = damaged_copies(good, page_size, rounds, rng, tmp_path)
    passed = 0
    for (path, page), got in zip(copies, check([path for path, _ in copies])):
        pages = {int(p) for kind, p, _ in got["findings"] if kind == "CHECKSUM"}
        if got["error"] or page in pages:
            continue
        # The format's own checksum is linear: equal changes of an even number of bits, a multiple
        # of four bytes apart, cancel out. Then the judge's arithmetic agrees, and the rest holds.
        passed += 1
        said = judge("edbcheck.py", "check", path).stdout
        assert "checksum" not in said, (SEED, path, page)
        assert got["findings"] or said.startswith("ok:"), (SEED, path, page)
    assert passed <= rounds / 20


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("name, page_size", CLEAN[:2] + CLEAN[3:])
def test_what_the_judge_finds_behind_right_checksums_is_found(
    rounds, name, page_size, sample, check, judge, program, tmp_path
):
    rng = random.Random(f"{SEED}/{name}")
    copies = damaged_copies(sample(name).read_bytes(), page_size, rounds, rng, tmp_path)
    program("reseal", "PYJET_RESEAL", [f"{page} {page_size} {path}" for path, page in copies])
    results = check([path for path, _ in copies])
    missed = [
        (path, page)
        for (path, page), got in zip(copies, results)
        if not got["error"] and not got["findings"] and judged(judge, path) is None
    ]
    assert missed == [], SEED
    assert sum(bool(got["error"] or got["findings"]) for got in results) > rounds / 3


def test_checksums_alone(sample, program, tmp_path):
    paths = [sample(name) for name, _ in CLEAN] + [sample("qmgr_win10_16k_dirty.db")]
    torn = tmp_path / "torn"
    torn.write_bytes(
        b"\xff" * 8192 + paths[1].read_bytes()[8192:]
    )  # no header left: page 1 tells the page size
    lines = program("checksums_of_files", "PYJET_CHECKSUM_FILES", [*paths, torn])
    clean, broken = lines[: 2 * len(paths)], lines[2 * len(paths) :]
    assert [word for word, _ in clean] == ["file", "sum"] * len(paths)
    assert [rest.split("\t")[0] for word, rest in broken if word == "finding"] == [
        "HEADER",
        "HEADER",
    ]


def test_dumps_of_pages_are_json(sample, program):
    path = sample("multivalue_longvalue.edb")
    lines = program("dump_files", "PYJET_DUMP_FILES", [path])
    header = json.loads(lines[0][1])
    assert header["state"] == "clean shutdown" and header["page_size"] == 4096
    pages = {
        page["page"]: page for page in (json.loads(rest) for word, rest in lines if word == "page")
    }
    assert not any("error" in page for page in pages.values())
    root = pages[1]
    assert root["objid"] == 1 and "root" in root["flag_names"]
    assert root["space"] == {"first_extent": 254, "parent": 0, "unique": True, "owned_root": 2}
    assert pages[2]["nodes"] == [{"line": 0, "flags": [], "key": "000000fe", "data": "fe000000"}]
    assert pages[254] == {"page": 254, "written": False}


def test_dumps_of_damaged_pages_are_json(sample, program, tmp_path):
    rng = random.Random(SEED)
    good = bytearray(sample("multivalue_longvalue.edb").read_bytes())
    for at in rng.sample(range(8192, 60 * 4096), 4000):
        good[at] = rng.randrange(256)
    (tmp_path / "x").write_bytes(good)
    pages = [
        json.loads(rest)
        for word, rest in program("dump_files", "PYJET_DUMP_FILES", [tmp_path / "x"])
        if word == "page"
    ]
    assert len(pages) == len(good) // 4096 - 2 and any("error" in page for page in pages)


@pytest.mark.parametrize("name", ["srum_win10_clean", "srum_win10_dirty"])
def test_dumps_of_logs_are_json(name, sample, program):
    folder = next(sample(name).rglob("SRU.chk")).parent
    lines = program("dump_logs", "PYJET_DUMP_LOGS", [folder])
    objects = [(word, json.loads(rest)) for word, rest in lines]
    logs = [o for word, o in objects if word == "log"]
    records = [o for word, o in objects if word == "record"]
    assert next(o for word, o in objects if word == "checkpoint")["checkpoint"].count(":") == 2
    assert len(logs) > 1 and len({o["generation"] for o in logs}) == len(logs)
    assert not [o for o in records if "error" in o]
    assert {"Insert", "Begin0", "Commit0"} <= {o["name"] for o in records}
    assert all(o["dbtime"] > 0 and o["root"] > 0 for o in records if o["name"] == "Insert")
