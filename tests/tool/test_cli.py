"""The command line whole: every verb, its event lines, its exit codes, signals, and surroundings as poor as cron's."""

import contextlib
import fcntl
import io
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

import pyjet
import pytest
from pyjet.tool import MEANINGS, exit_code, main

ROOT = pathlib.Path(pyjet.__file__).resolve().parent.parent
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
KINDS = {"progress", "set", "finding", "record", "summary", "exit_error"}


def run(*args, fresh=False, stdin=None):
    """(rc, stdout, stderr) of main() in this process; fresh: of a process of its own."""
    args = [*map(str, args)]
    if fresh or stdin is not None:
        command = [sys.executable, "-m", "pyjet", *args]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=ENV, stdin=stdin
        )
        return done.returncode, done.stdout, done.stderr
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            rc = main(args)
        except SystemExit as ended:  # argparse
            rc = ended.code
    return rc, out.getvalue(), err.getvalue()


def events(*args, rc=0, **kw):
    """The event lines of a run; each is held against the schema that docs/cli.rst tells."""
    found_rc, out, err = run(*args, "--json", **kw)
    lines = [json.loads(line) for line in out.splitlines()]
    assert found_rc == rc, out + err
    assert lines and lines[-1]["type"] in ("summary", "exit_error")
    assert [x["type"] for x in lines[:-1] if x["type"] in ("summary", "exit_error")] == []
    if (
        lines[-1]["type"] == "summary"
    ):  # what was found is told by findings and problems, with codes of its own
        assert rc == 0 or args[0] in ("verify", "status", "list", "check")
    done = {}
    for x in lines:
        assert (
            x["v"] == 1
            and x["type"] in KINDS
            and x["op"] == args[0]
            and x["op_id"] == lines[0]["op_id"]
            and x["time"]
        )
        if x["type"] == "progress":
            assert {
                "stage",
                "phase",
                "unit",
                "done",
                "total",
                "percent",
                "rate",
                "eta",
                "snp",
                "snt",
            } <= x.keys()
            assert x["phase"] in ("begin", "progress", "complete", "fail") and x["unit"] in (
                "bytes",
                "percent",
            )
            assert x["done"] <= x["total"]
            if x["phase"] != "begin":
                assert x["done"] >= done.get(x["stage"], 0)
            done[x["stage"]] = x["done"]
        if x["type"] == "exit_error":
            assert x["code"] == rc and x["error"] and x["text"]
    return lines


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """An instance's folder, closed, with about 5 MiB."""
    at = tmp_path_factory.mktemp("cli") / "live"
    fill(at, 1500)
    return at


def fill(at, rows):
    with pyjet.Instance(at, log_file_size=256 << 10) as inst, inst.session() as ses:
        t = ses.create(at / "a.edb").create_table(
            "t", {"id": pyjet.Long(), "raw": pyjet.LongBinary()}
        )
        with ses.transaction():
            t.insert_many({"id": n, "raw": os.urandom(2000)} for n in range(rows))


@pytest.fixture
def repo(tmp_path):
    assert run("init", tmp_path / "repo", "--compress")[0] == 0
    return tmp_path / "repo"


def test_a_life_of_a_repository(live, repo, tmp_path):
    lines = events("backup", live, "--to", repo, "--label", "one", "--meta", "why=test")
    assert {x["stage"] for x in lines[:-1]} == {"engine", "checksums", "compress"}
    first = lines[-1]
    assert (
        first["kind"] == "full"
        and first["metadata"] == {"why": "test"}
        and first["store"] == "packed"
    )
    assert events("backup", live, "--to", repo)[-1]["kind"] == "incremental"
    assert events("backup", live, "--to", repo, "--incremental")[-1]["reason"] == "asked for"
    assert (
        events("backup", live, "--to", repo, "--max-chain", "1", "--dry-run")[-1]["kind"] == "full"
    )
    listed = events("list", repo)
    assert [x["type"] for x in listed] == ["set"] * 3 + ["summary"] and listed[0]["id"] == first[
        "id"
    ]
    assert events("show", repo, "one")[-1]["id"] == first["id"]
    verified = events("verify", repo, "all", "--level", "restore")[-1]
    assert verified["ok"] and len(verified["sets"]) == 3
    assert events("verify", repo, "all", "--level", "restore", "--since-last")[-1]["sets"] == []
    assert events("verify", repo, "all", "--deadline", "0", rc=40)[-1]["not_reached"]
    status = events("status", repo, "--max-age", "1h", "--max-verify-age", "1h")[-1]
    assert status["level"] == "ok" and status["sets"] == 3
    restored = events("restore", repo, tmp_path / "out", "--set", "one")[-1]
    assert restored["databases"] == [str(tmp_path / "out" / "a.edb")]
    events("restore", repo, tmp_path / "then", "--at", status["time"])
    assert events("backup", live, "--to", repo, "--full")[-1]["kind"] == "full"
    assert (
        len(events("prune", repo, "--keep-last", "1")[-1]["removed"]) == 0
    )  # holds the last verified set
    events("verify", repo)
    dry = events("prune", repo, "--keep-last", "1")[-1]
    assert dry["dry_run"] and len(dry["removed"]) == 3 and len(events("list", repo)) == 5
    events("prune", repo, "--keep-last", "1", "--yes")
    assert len(events("list", repo)) == 2


def test_export_import_adopt(live, repo, tmp_path):
    run("backup", live, "--to", repo)
    assert (
        events("export", repo, tmp_path / "x.tar.gz")[-1]["size"]
        == (tmp_path / "x.tar.gz").stat().st_size
    )
    run("init", tmp_path / "other")
    with open(tmp_path / "x.tar.gz", "rb") as pipe:
        lines = events("import", tmp_path / "other", "-", stdin=pipe)
    assert [x["type"] for x in lines if x["type"] != "progress"] == ["set", "summary"]
    run("backup", live, "--to", tmp_path / "folder")
    assert (
        events("adopt", tmp_path / "other", tmp_path / "folder", "--label", "f")[-1]["origin"]
        == "adopt"
    )
    assert events("verify", tmp_path / "other", "all", "--level", "replay")[-1]["ok"]
    (tmp_path / "bad.tar.gz").write_bytes((tmp_path / "x.tar.gz").read_bytes()[:-100])
    events("import", repo, tmp_path / "bad.tar.gz", rc=20)


def test_looking(live, tmp_path):
    assert events("header", live / "a.edb")[-1]["header"]["state"] == "clean shutdown"
    assert events("checkpoint", live / "edb.chk")[-1]["header"]["checkpoint"]
    lines = events("log", live / "edb.log", "--records")
    assert lines[-1]["records"] == len(lines) - 1 > 0 and all(
        x["name"] and x["at"] for x in lines[:-1]
    )
    assert len(events("log", live / "edb.log", "--records", "--limit", "2")) == 3
    assert run("log", live / "edb.log")[1].count("\n") > 5
    for verb, file in (("header", "edb.log"), ("log", "a.edb"), ("checkpoint", "a.edb")):
        events(verb, live / file, rc=2)
    events("header", live / "none.edb", rc=10)
    assert events("info", live / "a.edb")[-1]["tables"][0]["name"]
    assert events("check", live / "a.edb")[-1]["findings"] == 0


def test_recover(tmp_path):
    """A folder left by kill -9: a copy recovers and the original stays as it is; then in place."""
    code = (
        "import pyjet, os, sys\n"
        "inst = pyjet.Instance(sys.argv[1], log_file_size=256 << 10); ses = inst.session()\n"
        "t = ses.create(sys.argv[1] + '/a.edb').create_table('t', {'id': pyjet.Long()})\n"
        "t.insert_many({'id': n} for n in range(500))\n"
        "ses.begin(); t.insert(id=-1); os.kill(os.getpid(), 9)\n"
    )
    live = tmp_path / "live"
    assert subprocess.run([sys.executable, "-c", code, str(live)], env=ENV).returncode == -9
    assert run("dump", live / "a.edb")[0] == 22
    before = {p.name: p.read_bytes() for p in live.iterdir()}
    found = events("recover", live, "--output", tmp_path / "copy")[-1]
    assert found["redone"] and before == {p.name: p.read_bytes() for p in live.iterdir()}
    rows = run("dump", tmp_path / "copy" / "a.edb", "--table", "t")[1].splitlines()
    assert [json.loads(r)["id"] for r in rows] == list(range(500))
    assert events("check", tmp_path / "copy" / "a.edb")[-1]["findings"] == 0
    events("recover", live, "--output", tmp_path / "copy", rc=12)
    assert events("recover", live, "--in-place")[-1]["redone"]
    assert len(run("dump", live / "a.edb", "--table", "t")[1].splitlines()) == 500
    (tmp_path / "empty").mkdir()
    events("recover", tmp_path / "empty", "--in-place", rc=10)
    assert run("recover", live)[0] == 2


# ---- exit codes ----
def test_exit_codes(live, repo, tmp_path):
    assert run("backup", live, "--to", repo, "-q")[:2] == (0, "")
    events("backup", tmp_path / "no", "--to", repo, rc=10)
    events("list", tmp_path, rc=10)
    events("show", repo, "nothing", rc=10)
    events("restore", repo, tmp_path / "x", "--set", "nothing", rc=10)
    events("prune", repo, rc=2)
    events("verify", repo, "--level", "deepest", rc=2)
    events("backup", live, "--to", tmp_path / "folder", "--full", rc=2)
    events("backup", live, "--to", repo, "--atomic", rc=2)
    events("backup", live, "--to", repo, "--full", "--rate", "100k", "--deadline", "0.3", rc=40)
    events("status", repo, "--max-age", "0", rc=20)
    events("status", repo, "--max-verify-age", "1h", rc=3)
    assert run("status", repo, "--max-age", "0", "--nagios")[0] == 2
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    events("restore", repo, tmp_path / "used", rc=12)
    events("init", tmp_path / "used", rc=12)
    with pyjet.Instance(live):
        events("backup", live, "--to", repo, rc=11, fresh=True)
    holder = pyjet.backup.BackupRepo(repo)
    with holder._writing():
        events("backup", live, "--to", repo, rc=11)
        events("backup", live, "--to", repo, "--wait", "0.2", rc=11)
    catalog = repo / "catalog"
    s = holder.list()[0]
    database = next(f for f in s.files if f.role == "database")
    with open(holder.file_path(s, database), "r+b") as f:
        f.seek(5000)
        f.write(b"damage")
    lines = events("verify", repo, "--level", "checksums", rc=20)
    assert [(x["file"], x["block"]) for x in lines if x["type"] == "finding"] == [("a.edb", 0)]
    events("restore", repo, tmp_path / "x", rc=20)
    events("export", repo, tmp_path / "x.tar.gz", rc=20)
    (catalog / f"{s.id}.json").write_text("{}")
    assert events("list", repo, rc=20)[-1]["failed"] == 1
    for bad in (("--rate", "fast"), ("--deadline", "soon"), ("--meta", "x"), ("--rate", "0")):
        assert run("backup", live, "--to", repo, *bad)[0] == 2
    if os.path.exists("/dev/full"):
        out = subprocess.run(
            [sys.executable, "-m", "pyjet", "list", repo, "--json"],
            stdout=open("/dev/full", "w"),
            env=ENV,
        )
        assert out.returncode != 0


def test_every_exit_code_has_its_meaning():
    """Each error class of the package has a code of the table; the table is the one in the documentation."""
    for name in pyjet.errors.__all__:
        assert exit_code(getattr(pyjet.errors, name)("x")) in MEANINGS, name
    assert (
        exit_code(RuntimeError()) == 1
        and exit_code(OSError(28, "full")) == 30
        and exit_code(OSError(5, "bad")) == 31
    )
    text = (ROOT / "docs" / "cli.rst").read_text()
    told = {int(n) for n in re.findall(r"^(\d+)\s{2,}\S", text, re.MULTILINE)}
    assert told == set(MEANINGS)


ROWS_OF_THE_TABLE = {
    2: "InvalidGrbit InvalidParameter",
    10: "FileNotFound NoBackupDirectory InvalidPath DatabaseNotFound",
    11: "BackupInProgress RestoreInProgress FileAccessDenied DatabaseInUse SurrogateBackupInProgress PermissionDenied",
    12: "MissingFullBackup InvalidBackup LoggingDisabled BackupNotAllowedYet BackupDirectoryNotEmpty",
    20: "ReadVerifyFailure LogReadVerifyFailure DatabaseCorrupted LogFileCorrupt BadBackupDatabaseSize",
    21: "RequiredLogFilesMissing CommittedLogFilesMissing GivenLogFileIsNotContiguous MissingRestoreLogFiles MissingPreviousLogFile"
    " PatchFileMissing DatabasePatchFileMismatch BadPatchPage",
    22: "DatabaseDirtyShutdown DirtyShutdown",
    23: "BadLogVersion InvalidDatabaseVersion FileInvalidType PageSizeMismatch LogSectorSizeMismatch"
    " EngineFormatVersionNoLongerSupportedTooLow EngineFormatVersionNotYetImplementedTooHigh"
    " EngineFormatVersionParamTooLowForRequestedFeature EngineFormatVersionSpecifiedTooLowForLogVersion"
    " EngineFormatVersionSpecifiedTooLowForDatabaseVersion",
    30: "DiskFull LogDiskFull InstanceUnavailableDueToFatalLogDiskFull",
    31: "DiskIO LogWriteFail",
}


def test_rows_of_the_table():
    """What an error means decides its code: a file of another type is not a missing log."""
    for rc, names in ROWS_OF_THE_TABLE.items():
        for name in names.split():
            assert exit_code(getattr(pyjet.errors, name + "Error")("x")) == rc, name


WRONG = (
    ("backup",),
    ("backup", "x", "--to", "y", "--rate", "fast"),
    ("restore", "x", "y", "--until", "yesterday"),
    ("restore", "x", "y", "--until", "0001-01-01"),
    ("status", "x", "--max-age", "old"),
    ("list", "x", "y"),
    ("list", "--no-such-option", "x"),
    ("list", "x", "--syslog", "nowhere"),
    ("list", "x", "--wait", "long"),
    ("no-such-verb",),
)


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_a_wrong_command_line(args):
    """Usage on stderr; with --json one line on stdout, whole or shortened, before the verb's arguments or after."""
    rc, out, err = run(*args)
    assert rc == 2 and out == "" and "usage: pyjet" in err and "Traceback" not in err
    last = events(*args, rc=2)
    assert len(last) == 1 and last[0]["error"] == "WrongCommandLine" and last[0]["hint"]
    assert last[0]["text"] in err
    assert json.loads(run(*args, "--js")[1])["code"] == 2
    assert run(*args, "--", "--json")[1] == ""
    rc, out, _err = run("--json")
    assert rc == 2 and json.loads(out)["op"] == ""


def test_help_says_the_exit_codes_of_nagios(repo, tmp_path):
    rc, out, _err = run("status", "--help")
    said = " ".join(out.split())
    assert rc == 0 and "0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN" in said and "3 for warnings, 20 when it is critical" in said
    assert run("status", repo, "--nagios")[0] == 1  # there is no set yet
    for wrong in ((tmp_path / "no",), (tmp_path / "no", "--max-age", "x"), ()):
        rc, out, err = run("status", *wrong, "--nagios")
        assert rc == 3 and out.startswith("UNKNOWN: ") and err
    assert events("status", tmp_path / "no", "--nagios", rc=3)[-1]["code"] == 3


# ---- outputs that fail ----
def into(stdout, *args, stderr=subprocess.PIPE, flags=()):
    env = {k: v for k, v in ENV.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, *flags, "-m", "pyjet", *map(str, args)]
    done = subprocess.run(command, stdout=stdout, stderr=stderr, env=env, timeout=60)
    return done.returncode, (done.stderr or b"").decode()


@pytest.fixture(scope="module")
def several(live, tmp_path_factory):
    """A repository with two sets."""
    at = tmp_path_factory.mktemp("several") / "repo"
    run("init", at)
    for _ in range(2):
        assert run("backup", live, "--to", at, "--full", "-q")[0] == 0
    return at


def verbs(live, repo):
    return (
        ("list", repo), ("list", repo, "--json"), ("show", repo, "nothing", "--json"), ("no-such-verb", "--json"), ("--help",),
        ("dump", live / "a.edb"), ("log", live / "edb.log", "--records"), ("verify", repo, "--json"),
    )  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_outputs(live, several):
    """A line on stderr and a code that says failure; never a traceback, and not the interpreter's own 120."""
    for args in verbs(live, several):
        with open("/dev/full", "w") as full:
            rc, err = into(full, *args)
        wrong = "nothing" in args or "no-such-verb" in args
        assert rc == (30 if not wrong else 10 if "nothing" in args else 30), (args, err)
        assert err.strip() and "Traceback" not in err and "Exception ignored" not in err, (args, err)
    with open("/dev/full", "w") as full:
        for args in (("--help",), ("--version",), ("list", several), ("header", live / "a.edb")):
            rc, err = into(full, *args, flags=["-u"])
            assert rc == 30 and "Traceback" not in err, (args, rc, err)
        assert into(full, "show", several, "nothing", stderr=full)[0] == 10
        assert into(subprocess.DEVNULL, "backup", live, "--to", several, "--full", stderr=full)[0] == 0
        rc, err = into(subprocess.DEVNULL, "backup", live, "--to", several, "--events", "/dev/full", "--progress", "none")
        assert rc == 0 and "event entries could not be written" in err and "Traceback" not in err


def test_a_reader_that_leaves(live, several):
    """| head -1: silence and a code that is no success; a wrong command line keeps its own."""
    for args in verbs(live, several):
        read, write = os.pipe()
        os.close(read)
        rc, err = into(write, *args)
        os.close(write)
        assert rc in (1, 10), (args, rc, err)
        assert "Traceback" not in err and "Exception ignored" not in err, (args, err)
    read, write = os.pipe()
    os.close(read)
    assert into(subprocess.DEVNULL, "show", several, "nothing", stderr=write)[0] == 10
    os.close(write)


# ---- signals ----
def slow_backup(live, repo, **kw):
    args = [
        sys.executable,
        "-m",
        "pyjet",
        "backup",
        str(live),
        "--to",
        str(repo),
        "--full",
        "--rate",
        "100k",
        "--json",
    ]
    child = subprocess.Popen(args, env=ENV, stdout=subprocess.PIPE, text=True, **kw)
    while json.loads(child.stdout.readline())["type"] != "progress":
        pass
    return child


@pytest.mark.parametrize(("number", "rc"), ((signal.SIGINT, 130), (signal.SIGTERM, 143)))
def test_signals(live, repo, number, rc):
    child = slow_backup(live, repo)
    child.send_signal(number)
    last = json.loads(child.communicate(timeout=20)[0].splitlines()[-1])  # the backup alone would take a minute
    assert child.returncode == rc == last["code"]
    assert os.listdir(repo / "work") == os.listdir(repo / "sets") == []
    assert events("backup", live, "--to", repo)[-1]["kind"] == "full"


def test_check_ends_by_ctrl_c(tmp_path):
    fill(tmp_path / "big", 30_000)
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, os\nfrom pyjet import _jet, tool\ncheck = _jet.check_file\n"
            "_jet.check_file = lambda *a: [os.write(1, b'go\\n'), check(*a)][1]\nsys.exit(tool.main(sys.argv[1:]))",
        ]
        + ["check", str(tmp_path / "big" / "a.edb"), "-q"],
        env=ENV,
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 130


# ---- terminals ----
def on_terminal(*args):
    """(rc, stdout, what the terminal saw on stderr)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-m", "pyjet", *map(str, args)],
        env={**ENV, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=slave,
        stdin=slave,
    )
    os.close(slave)
    seen = b""
    while child.poll() is None or select.select([master], [], [], 0)[0]:
        if select.select([master], [], [], 0.1)[0]:
            try:
                seen += os.read(master, 1 << 16)
            except OSError:
                break
    os.close(master)
    return child.wait(), child.stdout.read(), seen.decode()


def test_a_bar_on_a_terminal_lines_elsewhere(live, repo, tmp_path):
    rc, _out, seen = on_terminal("backup", live, "--to", repo, "--rate", "6M")
    assert rc == 0 and "\r" in seen and "100%" in seen and "|" in seen
    rc, _out, seen = on_terminal("backup", live, "--to", repo, "--progress", "none")
    assert rc == 0 and seen == ""
    rc, _out, err = run("backup", live, "--to", repo, "--full")
    assert rc == 0 and "\r" not in err and re.search(r"^backup engine: .* 100%$", err, re.MULTILINE)
    assert run("backup", live, "--to", repo, "-q")[1:] == ("", "")


# ---- event entries ----
def test_event_entries(live, repo, tmp_path):
    rc, _out, err = run("backup", live, "--to", repo, "--events", tmp_path / "ev.jsonl")
    entries = [json.loads(line) for line in (tmp_path / "ev.jsonl").read_text().splitlines()]
    assert rc == 0 and "event" not in err
    ids = [e["event_id"] for e in entries]
    assert 210 in ids and 213 in ids and ids.index(210) < ids.index(213)
    assert all(
        e["type"] == "event" and e["severity"] in ("information", "warning", "error") and e["time"]
        for e in entries
    )
    size = len(entries)
    run("backup", live, "--to", repo, "--events", tmp_path / "ev.jsonl", "-q")
    assert len((tmp_path / "ev.jsonl").read_text().splitlines()) > size  # appended
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        log.settimeout(10)
        rc, *_ = run("backup", live, "--to", repo, "--syslog", f"127.0.0.1:{log.getsockname()[1]}")
        assert rc == 0
        assert b"pyjet[" in log.recv(4096)


# ---- cron ----
def bare(*args, script=None):
    """As cron runs it: no terminal, stdin closed, an environment of nothing, the root as current directory."""
    command = [sys.executable, script] if script else [sys.executable, "-m", "pyjet"]
    line = " ".join(f"'{a}'" for a in [*command, *map(str, args)])
    return subprocess.run(
        ["env", "-i", f"PYTHONPATH={ROOT}", "/bin/sh", "-c", f"exec {line} <&-"],
        cwd="/",
        capture_output=True,
        timeout=120,
        start_new_session=True,
    )


def test_cron(live, repo):
    done = bare("backup", live, "--to", repo, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and done.stderr == b"" and lines[-1]["type"] == "summary"
    assert lines[-1]["reason"] == "there is no set yet"
    done = bare("backup", live, "--to", "/proc/no/place", "--json")
    assert (
        done.returncode in (10, 11, 31)
        and json.loads(done.stdout.splitlines()[-1])["type"] == "exit_error"
    )
    done = bare("status", repo)
    assert done.returncode == 0 and done.stdout.startswith(b"OK") and done.stderr == b""


def test_closed_outputs(live, repo):
    """Nobody listens: stdout and stderr are closed, and the work is done."""
    line = f"exec '{sys.executable}' -m pyjet backup '{live}' --to '{repo}' --json <&- >&- 2>&-"
    assert (
        subprocess.run(
            ["env", "-i", f"PYTHONPATH={ROOT}", "/bin/sh", "-c", line], cwd="/", timeout=60
        ).returncode
        == 0
    )
    assert len(events("list", repo)) == 2


def test_the_nightly_script(live, tmp_path):
    """The script of docs/examples, of at most 20 lines of code, three nights running; then with a damaged source."""
    script = ROOT / "docs" / "examples" / "nightly.py"
    code = [
        x for x in script.read_text().splitlines() if x.strip() and not x.startswith(("#", '"""'))
    ]
    assert len(code) <= 20
    for night in range(3):
        done = bare(live, tmp_path / "sets", script=script)
        said = json.loads(done.stdout)
        assert done.returncode == 0 and done.stderr == b"", done.stdout
        assert (
            said["verified"]["ok"]
            and said["set"]["kind"] == ("incremental" if night else "full")
            and said["removed"] == []
        )
    done = bare(tmp_path / "sets", tmp_path / "x" / "y", script=script)
    said = json.loads(done.stdout)
    assert done.returncode == 1 and said["error"]


def test_restore_to_a_moment_and_under_a_new_name(tmp_path):
    """restore --stop-at and --rename, of a folder and of a repository: rows as they were, errors with their codes."""
    from pyjet.backup import BackupRepo

    seen, columns = [], {"id": pyjet.Long()}
    repo = BackupRepo(tmp_path / "repo", create=True)
    with pyjet.Instance(tmp_path / "live", log_file_size=256 << 10) as inst, inst.session() as ses:
        t = ses.create(tmp_path / "live" / "a.edb").create_table("t", columns)
        inst.backup(tmp_path / "set")
        repo.backup(inst)
        for n in range(3):
            t.insert(id=n)
            time.sleep(0.02)
            now = pyjet.tool.output.now()
            seen.append((str(inst.info().log_tail), now))
            time.sleep(0.02)
        inst.backup(tmp_path / "set", incremental=True)
        repo.backup(inst, kind="full")
        repo.backup(inst, kind="incremental")

    def rows(folder, name="b.edb"):
        with pyjet.open(folder / name) as db:
            return len(list(db.table("t")))

    for n, moments in enumerate(seen):
        for how, moment in zip(("position", "time"), moments):
            to = tmp_path / f"{how}{n}"
            done = events("restore", tmp_path / "set", to, "--stop-at", moment, "--rename", "a.edb=b.edb")[-1]
            assert done["renamed"] == {"a.edb": "b.edb"} and done["stop_at"].startswith(moment[:13])
            assert [os.path.basename(p) for p in done["databases"]] == ["b.edb"]
            assert rows(to) == n + 1
    whole = tmp_path / "live" / "a.edb"  # by where it lay
    assert "stop_at" not in events("restore", tmp_path / "set", tmp_path / "all", "--rename", f"{whole}=b.edb")[-1]
    assert rows(tmp_path / "all") == 3
    last = str(repo.list()[-1].finished)
    events("restore", repo.root, tmp_path / "r", "--until", last, "--rename", "a.edb=b.edb")
    assert rows(tmp_path / "r") == 3
    no = tmp_path / "no"
    for bad in (("--stop-at", "yesterday"), ("--stop-at", "1:2:3:4"), ("--rename", "a.edb")):
        assert run("restore", tmp_path / "set", no, *bad)[0] == 2
    for rc, bad in (
        (2, ("--rename", "a.edb=x/b.edb")),
        (2, ("--rename", "a.edb=b.edb", "--rename", "a.edb=c.edb")),
        (2, ("--stop-at", "0:0:0")),
        (10, ("--rename", "z.edb=b.edb")),
        (21, ("--stop-at", "7FFFFFFF:0:0")),
        (21, ("--stop-at", "2020-01-01T00:00:00")),
    ):
        assert events("restore", tmp_path / "set", no, *bad, rc=rc)[-1]["hint"]
        assert not no.exists()
    assert events("restore", repo.root, no, "--stop-at", seen[0][1], rc=21)[-1]["hint"]
