"""Damage and hostile input: each file of a set, each block of a compressed one, manifests and archives of strangers."""

import gzip
import io
import json
import os
import pathlib
import random
import shutil
import struct
import sys
import tarfile
import tracemalloc
import zlib

import pyjet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyjet.backup import BackupRepo, manifest, packed

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from repo_world import World, flip  # noqa: E402

KIB = 1 << 10


@pytest.fixture(scope="module", params=(False, True), ids=("plain", "compressed"))
def made(request, tmp_path_factory):
    """A repository with a full set and an increment, and its archive; tests take copies."""
    place = tmp_path_factory.mktemp("damage")
    with World(place, compress=request.param) as w:
        w.backup()
        w.add(300)
        w.backup()
        w.repo.export("latest", place / "x.tar.gz")
    return place


@pytest.fixture
def repo(made, tmp_path):
    shutil.copytree(made / "repo", tmp_path / "repo")
    return BackupRepo(tmp_path / "repo")


# ---- sets ----
def test_every_file_damaged_or_missing_is_named(repo):
    rng = random.Random(5)
    for s in repo.list():
        for f in s.files:
            path = repo.file_path(s, f)
            kept = pathlib.Path(path).read_bytes()
            if kept:
                flip(path, rng.randrange(len(kept)), 1 << rng.randrange(8))
                report = repo.verify("all", level="checksums")
                assert [
                    (x.set, x.file) for x in report.findings if x.set == s.id
                ] and f.name in report.findings[0].text
                pathlib.Path(path).write_bytes(kept[:-1])
                report = repo.verify(s, level="files")
                assert [x.level for x in report.findings] == [
                    "FILES"
                ] and f.name in report.findings[0].text
            os.unlink(path)
            report = repo.verify(s, level="files")
            assert (
                report.findings[0].error == "FileNotFoundError"
                and report.findings[0].file == f.name
            )
            pathlib.Path(path).write_bytes(kept)
    assert repo.verify("all", level="replay").ok


def test_damage_is_not_restored_or_exported(repo, tmp_path):
    full, inc = repo.list()
    database = next(f for f in full.files if f.role == "database")
    path = repo.file_path(full, database)
    flip(path, os.path.getsize(path) // 2)
    for work in (
        lambda: repo.restore(inc, tmp_path / "out"),
        lambda: repo.export(inc, tmp_path / "x.tar.gz"),
    ):
        with pytest.raises(pyjet.DamagedSetError) as caught:
            work()
        assert "a.edb" in str(caught.value) and caught.value.hint
    assert not (tmp_path / "out").exists() and not (tmp_path / "x.tar.gz").exists()
    assert sorted(os.listdir(tmp_path)) == ["repo"]
    report = repo.verify(inc)
    assert not report.ok and repo.status().level == "critical"


def test_a_lost_set_breaks_what_continues_it(repo, tmp_path):
    full, inc = repo.list()
    os.unlink(repo.path("catalog", f"{full.id}.json"))
    with pytest.raises(pyjet.ChainBrokenError) as caught:
        repo.restore(inc, tmp_path / "out")
    assert full.id in str(caught.value)
    report = repo.verify("all", level="files")
    assert report.findings[0].error == "ChainBrokenError"
    said = repo.status()
    assert said.level == "critical" and any("has no manifest" in text for _, text in said.problems)
    kept, gone = pyjet.backup.prune.choose(repo.sets(), {"keep_last": 1}, manifest.now())
    assert inc.id in kept and not gone


@pytest.mark.parametrize("which", ["latest", "all"])
def test_a_lost_manifest_of_the_newest_set_is_found(repo, which):
    full, inc = repo.list()
    os.unlink(repo.path("catalog", f"{inc.id}.json"))
    report = repo.verify(which, level="files")
    assert report.sets == (full.id,) and [(f.set, f.error) for f in report.findings] == [(inc.id, "ManifestError")]
    assert repo.verify(full, level="files").ok


def test_the_last_log_of_a_set_is_missed(made, repo, tmp_path):
    """A folder of ESE has no list of its logs: without the last one it restores to an earlier moment. The manifest misses it."""
    full, inc = repo.list()
    for s in (full, inc):
        log = max((f for f in s.files if f.role == "log"), key=lambda f: f.name)
        path = repo.file_path(s, log)
        os.rename(path, tmp_path / "kept")
        for level in ("files", "checksums", "chain", "replay", "restore"):
            report = repo.verify(s, level=level)
            assert log.name in [x.file for x in report.findings], level
        for work in (lambda: repo.restore("latest", tmp_path / "out"), lambda: repo.export("latest", tmp_path / "x.tar.gz")):
            with pytest.raises(pyjet.DamagedSetError, match=f"{log.name}.*missing"):
                work()
        if s is inc and s.store == "plain":
            shutil.copytree(repo.folder(full), tmp_path / "lone")
            shutil.copytree(repo.folder(inc), tmp_path / "lone", dirs_exist_ok=True)
            pyjet.restore(tmp_path / "lone", tmp_path / "earlier")
        os.rename(tmp_path / "kept", path)
        assert repo.verify(s, level="chain").ok
    assert not (tmp_path / "out").exists() and not (tmp_path / "x.tar.gz").exists()


def test_a_stranger_in_the_folder_is_found(repo):
    s = repo.list()[0]
    (pathlib.Path(repo.folder(s)) / "note.txt").touch()
    assert repo.verify(s, level="files").findings[0].file == "note.txt"


def test_a_link_is_no_file(repo, tmp_path):
    s = repo.list()[0]
    path = repo.file_path(s, s.files[0])
    os.rename(path, tmp_path / "away")
    os.symlink(tmp_path / "away", path)
    assert "no regular file" in repo.verify(s, level="files").findings[0].text


def test_wrong_bytes_under_right_checksums(repo, tmp_path):
    """Levels differ: a damaged page whose checksum in the manifest is that of the damage is found by replay, not before."""
    full = repo.list()[0]
    if full.store == "packed":
        pytest.skip("the same bytes, compressed")
    f = next(f for f in full.files if f.role == "database")
    path = repo.file_path(full, f)
    flip(path, 4096 * 30 + 200)
    flip(path, 4096 * 30 + 900)
    at = repo.path("catalog", f"{full.id}.json")
    value = json.loads(pathlib.Path(at).read_text())
    next(x for x in value["files"] if x["name"] == f.name)["sha256"] = pyjet.backup.files.sha256(
        path
    )
    pathlib.Path(at).write_text(json.dumps(value))
    assert repo.verify(full, level="chain").ok
    report = repo.verify(full, level="replay")
    assert report.findings[0].level == "REPLAY" and report.findings[0].code == -1018


# ---- compressed files ----
@pytest.fixture(scope="module")
def squeezed(tmp_path_factory):
    """A file of nine blocks of 64 KiB and a bit, half of them hard to compress; packed."""
    place, rng = tmp_path_factory.mktemp("packed"), random.Random(1)
    data = (
        b"".join(rng.randbytes(64 * KIB) if n % 2 else bytes([n]) * (64 * KIB) for n in range(9))
        + b"the end"
    )
    (place / "raw").write_bytes(data)
    size = packed.pack(place / "raw", place / "raw.pz", level=6, block=64 * KIB)
    assert size == (place / "raw.pz").stat().st_size < len(data)
    return place, data


def test_packed_round_trip(squeezed, tmp_path):
    place, data = squeezed
    packed.unpack(place / "raw.pz", tmp_path / "out", len(data))
    assert (tmp_path / "out").read_bytes() == data
    with packed.Reader(place / "raw.pz") as reader:
        assert list(reader.findings()) == [] and reader.count == 10
    for size in (0, 1, 64 * KIB, 64 * KIB + 1):
        (tmp_path / "x").write_bytes(b"x" * size)
        packed.pack(tmp_path / "x", tmp_path / f"{size}.pz", block=64 * KIB)
        packed.unpack(tmp_path / f"{size}.pz", tmp_path / f"{size}", size)
        assert (tmp_path / f"{size}").read_bytes() == b"x" * size


def test_each_damaged_block_names_itself(squeezed, tmp_path):
    place, _data = squeezed
    with packed.Reader(place / "raw.pz") as reader:
        offsets = reader.index()
    good = (place / "raw.pz").read_bytes()
    for number, at in enumerate(offsets):
        for inside in (2, 9, 13, 17, 24):  # its sizes, its checksums, its bytes
            bad = bytearray(good)
            bad[at + inside] ^= 4
            (tmp_path / "bad.pz").write_bytes(bad)
            with packed.Reader(tmp_path / "bad.pz") as reader:
                assert [e.block for e in reader.findings()] == [number], (number, inside)
            with (
                pytest.raises(pyjet.DamagedSetError) as caught,
                packed.Reader(tmp_path / "bad.pz") as reader,
            ):
                for _ in reader:
                    pass
            assert caught.value.block == number and f"block {number}" in str(caught.value)
    bad = bytearray(good)
    bad[offsets[2] + 30] ^= 1
    bad[offsets[7] + 30] ^= 1
    (tmp_path / "bad.pz").write_bytes(bad)
    with packed.Reader(tmp_path / "bad.pz") as reader:
        assert [e.block for e in reader.findings()] == [2, 7]
    bad[-30] ^= 1  # and the index
    (tmp_path / "bad.pz").write_bytes(bad)
    with packed.Reader(tmp_path / "bad.pz") as reader:
        found = [e.block for e in reader.findings()]
    assert found[0] is None and found[1:] in ([2, 7], [2])


def test_a_damaged_block_in_a_repository(made, repo):
    full = repo.list()[0]
    if full.store != "packed":
        pytest.skip("plain files have no blocks")
    f = next(f for f in full.files if f.role == "database")
    path = repo.file_path(full, f)
    with packed.Reader(path) as reader:
        at = reader.index()[1]
    flip(path, at + 40)
    finding = repo.verify(full, level="checksums").findings[0]
    assert (finding.file, finding.block) == (f.name, 1) and "block 1" in finding.text


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_packed_bytes_are_hostile(squeezed, tmp_path, data):
    """Any change of any bytes: the right bytes or DamagedSetError, in little memory."""
    place, raw = squeezed
    bad = bytearray((place / "raw.pz").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1))
        bad[at : at + 4] = data.draw(st.binary(min_size=1, max_size=6))
    if data.draw(st.booleans()):
        del bad[data.draw(st.integers(0, len(bad))) :]
    (tmp_path / "h.pz").write_bytes(bad)
    try:
        with packed.Reader(tmp_path / "h.pz", len(raw)) as reader:
            found = b"".join(reader)
        assert found == raw
    except pyjet.DamagedSetError:
        pass
    try:
        with packed.Reader(tmp_path / "h.pz") as reader:
            list(zip(reader.findings(), range(100), strict=False))
    except pyjet.DamagedSetError:
        pass


def test_a_bomb_is_no_bomb(tmp_path):
    """A block that says 1 MiB and inflates to 128 MiB takes no 128 MiB."""
    squeezer = zlib.compressobj(1)
    bomb = b"".join(squeezer.compress(bytes(1 << 20)) for _ in range(128)) + squeezer.flush()
    head = struct.pack("<8sIQ", packed.MAGIC, 1 << 20, 1 << 20)
    block = struct.pack("<IIII", len(bomb), 1 << 20, 0, zlib.crc32(bomb))
    (tmp_path / "b.pz").write_bytes(
        head
        + struct.pack("<I", zlib.crc32(head))
        + block
        + struct.pack("<I", zlib.crc32(block))
        + bomb
    )
    tracemalloc.start()
    with pytest.raises(pyjet.DamagedSetError), packed.Reader(tmp_path / "b.pz") as reader:
        list(reader)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


# ---- manifests ----
def hostile(value):
    """(what, changed manifest) for each field."""
    files = value["files"]
    for name in (
        "../x",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        "a\0b",
        "a\nb",
        "x" * 300,
        7,
        None,
        "\ud800",
    ):
        yield f"name {name!r}", {**value, "files": [{**files[0], "name": name}, *files[1:]]}
        yield f"database {name!r}", {**value, "databases": [{"name": name, "original": ""}]}
    for size in (-1, 1 << 60, 1.5, True, "1", None):
        yield f"size {size!r}", {**value, "files": [{**files[0], "size": size}, *files[1:]]}
    for other in ("../../x", "", "20240101T000000Z-zzzzzzzz", 5, None, ["x"]):
        yield f"id {other!r}", {**value, "id": other}
        yield f"parent {other!r}", {**value, "parent": other, "kind": "incremental"}
    yield "twice", {**value, "files": [files[0], *files]}
    yield "no files", {**value, "files": []}
    yield (
        "many",
        {
            **value,
            "files": [
                {"name": f"f{n}", "role": "log", "size": 1} for n in range(manifest.FILES_MOST + 1)
            ],
        },
    )
    for field, bad in (
        ("generations", [0, 1]),
        ("generations", [5, 3]),
        ("generations", [1, 1 << 40]),
        ("generations", "12"),
        ("kind", "differential"),
        ("store", "../"),
        ("page_size", 5000),
        ("log_file_size", -1),
        ("base_name", "../"),
        ("signature", "x" * 5000),
        ("started", "yesterday"),
        ("finished", "2024-01-01T00:00:00"),
        ("label", "a\nb"),
        ("metadata", {"a": 1}),
        ("metadata", {"a": "x" * (1 << 20)}),
        ("duration", -1),
        ("duration", float("nan")),
        ("files", {}),
        ("v", 2),
        ("format", "x"),
    ):
        yield f"{field} {str(bad)[:20]!r}", {**value, field: bad}
    for field in (
        "id",
        "kind",
        "files",
        "generations",
        "finished",
        "base_name",
        "store",
        "databases",
    ):
        yield f"no {field}", {k: v for k, v in value.items() if k != field}


def test_hostile_manifests(repo, tmp_path):
    s = repo.list()[0]
    at = pathlib.Path(repo.path("catalog", f"{s.id}.json"))
    value = json.loads(at.read_text())
    before = sorted(os.listdir(tmp_path))
    cases = list(hostile(value))
    assert len(cases) > 60
    for what, changed in cases:
        at.write_text(json.dumps(changed))
        with pytest.raises(pyjet.ManifestError):
            pytest.fail(f"{what} was taken: {repo.list()}")
        assert s.id in [x.id for x in repo.list(include_failed=True)], what
    for raw in (
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1e999999",
        b" " * (33 << 20),
    ):
        at.write_bytes(raw)
        with pytest.raises(pyjet.ManifestError):
            repo.list()
    assert repo.status().level == "critical" and sorted(os.listdir(tmp_path)) == before
    with pytest.raises(pyjet.InvalidParameterError):
        repo.prune()
    repo.prune(keep_last=1, dry_run=False)  # what cannot be read is not removed
    assert at.exists() and os.path.isdir(repo.folder(s))


# ---- archives ----
def members(path):
    with tarfile.open(path) as tar:
        return [(m, tar.extractfile(m).read()) for m in tar.getmembers()]


def write(path, listed):
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for m, data in listed:
            m.size = len(data) if m.isreg() else 0
            tar.addfile(m, io.BytesIO(data))


def bad_archives(good):
    """(what, members)."""
    index, files = good[0], good[1:-1]

    def named(name, kind=tarfile.REGTYPE, target=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        return info

    yield "a way out", [index, (named("../../evil"), b"x"), *files]
    yield "an absolute name", [index, (named("/etc/pyjet-evil"), b"x"), *files]
    yield (
        "a link for a file",
        [index, (named(files[0][0].name, tarfile.SYMTYPE, "/etc/passwd"), b""), *files[1:]],
    )
    yield (
        "a device for a file",
        [index, (named(files[0][0].name, tarfile.CHRTYPE), b""), *files[1:]],
    )
    yield "a file twice", [index, files[0], *files]
    yield "a file less", [index, *files[1:]]
    yield "no index", files
    yield "the index last", [*files, index]
    yield (
        "a changed byte",
        [index, (files[0][0], bytes([files[0][1][0] ^ 1]) + files[0][1][1:]), *files[1:]],
    )
    yield "a longer file", [index, (files[0][0], files[0][1] + b"x"), *files[1:]]
    value = json.loads(index[1])
    yield (
        "no checksums",
        [
            (
                index[0],
                json.dumps(
                    {
                        **value,
                        "sets": [
                            {
                                **x,
                                "files": [
                                    {k: v for k, v in f.items() if k != "sha256"}
                                    for f in x["files"]
                                ],
                            }
                            for x in value["sets"]
                        ],
                    }
                ).encode(),
            ),
            *files,
        ],
    )
    yield (
        "a lie about generations",
        [
            (
                index[0],
                json.dumps(
                    {
                        **value,
                        "sets": [
                            {**x, "generations": [x["generations"][0], x["generations"][1] + 5]}
                            if x is value["sets"][-1]
                            else x
                            for x in value["sets"]
                        ],
                    }
                ).encode(),
            ),
            *files,
        ],
    )


def test_hostile_archives(made, tmp_path):
    good = members(made / "x.tar.gz")
    taken = []
    for number, (what, listed) in enumerate(bad_archives([(m, d) for m, d in good])):
        path = tmp_path / f"{number}.tar.gz"
        write(path, [(plain_copy(m), d) for m, d in listed])
        repo = BackupRepo(tmp_path / f"into{number}", create=True)
        try:
            taken.append((what, repo.import_(path)))
        except (pyjet.ManifestError, pyjet.DamagedSetError):
            pass
        if (
            repo.list()
        ):  # a lie that changes nothing that counts: what was taken is what the files say
            assert what == "a lie about generations" and repo.verify("all").ok
        else:
            assert os.listdir(repo.path("work")) == os.listdir(repo.path("sets")) == []
    assert [what for what, _ in taken] == ["a lie about generations"]
    assert not os.path.exists("/etc/pyjet-evil") and not (tmp_path.parent / "evil").exists()


def plain_copy(m):
    info = tarfile.TarInfo(m.name)
    info.type, info.linkname, info.size = m.type, m.linkname, m.size
    return info


def test_cut_and_changed_archives(made, tmp_path):
    good = (made / "x.tar.gz").read_bytes()
    repo = BackupRepo(tmp_path / "into", create=True)
    rng, refused = random.Random(3), 0
    for n in range(25):
        bad = bytearray(good)
        if n % 2:
            del bad[rng.randrange(len(bad)) :]
        else:
            bad[rng.randrange(10, len(bad))] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.tar.gz").write_bytes(bad)
        try:
            repo.import_(tmp_path / "bad.tar.gz")
        except (pyjet.DamagedSetError, pyjet.ManifestError):
            refused += 1
            assert repo.list() == [] and os.listdir(repo.path("work")) == []
        else:  # deflate has bits that change nothing: every byte was held against its checksum
            assert n % 2 == 0 and repo.verify("all", level="checksums").ok
            repo = BackupRepo(tmp_path / f"into{n}", create=True)
    assert refused >= 20
    repo.import_(io.BytesIO(good))
    assert repo.verify("all").ok


def test_archive_bombs_take_little_memory(tmp_path):
    """A pax header and an index of a gigabyte, in a few hundred kilobytes of gzip."""
    repo = BackupRepo(tmp_path / "into", create=True)
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE):
        info = tarfile.TarInfo("pyjet-export.json")
        info.type, info.size = kind, 1 << 30
        with gzip.open(tmp_path / "bomb.gz", "wb", compresslevel=1) as out:
            out.write(info.tobuf(tarfile.USTAR_FORMAT))
            for _ in range(64):
                out.write(bytes(1 << 20))
        tracemalloc.start()
        with pytest.raises((pyjet.ManifestError, pyjet.DamagedSetError)):
            repo.import_(tmp_path / "bomb.gz")
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
        tracemalloc.stop()
