"""Recovers what a power cut left and holds it against the marks that stand before the cut. All in this process."""

import collections
import functools
import hashlib
import json
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import bank  # noqa: E402
import cjet  # noqa: E402
import works  # noqa: E402

COUNTERS = ("undo_after_steal", "macros_half_redone", "records_filtered", "pages_restored", "pages_reconciled", "undone")


@functools.lru_cache(maxsize=1 << 14)
def line_of(mark):
    """The states of a trace share their marks. Not to be changed."""
    return json.loads(mark)


class Recording:
    """What the states of one recording share: what is known of it, and what was made of bytes that come again."""

    def __init__(self, top, work):
        self.top = pathlib.Path(top)
        self.course = bank.Course(bank.first_state(work.threads))
        self.sets = {}  # digest of a set -> what it restores to

    @functools.cached_property
    def known(self):
        return json.loads((self.top / "known.json").read_text())

    @functools.cached_property
    def history(self):
        """Of the workload with one history: the table after each transaction, as works.read_schema shows it."""
        return [{**entry, "columns": sorted(entry["columns"]), "indexes": sorted(entry["indexes"])} for entry in self.known]


class Case:
    """One state on disk: its folder, the marks before the cut, and where counts go."""

    def __init__(self, top, work, small, marks, totals=None, recording=None):
        self.top, self.work, self.small = pathlib.Path(top), work, small
        self.folder = self.top / "run"  # the logs name the database by this path
        self.lines = [line_of(text) for text in marks]
        self.totals = collections.Counter() if totals is None else totals
        self.recording = recording or Recording(top, work)

    def check(self):
        """Raises AssertionError, or a JetError of a recovery that should succeed."""
        works.page_size(self.work)
        globals()[f"check_{self.work.body}"](self)


def recover(case, reads):
    """Opens what a cut left, reads with reads[name](ses, dbid), ends cleanly, checks each file. {name: what was read}."""
    data = case.folder / "data"
    inst = works.instance(data, case.work, case.small)
    try:
        recovery = inst.init()
    except BaseException:
        inst.destroy()
        raise
    for name in COUNTERS:
        case.totals[name] += getattr(recovery, name)
    found = {}
    with inst.session() as ses:
        for name, read in reads.items():
            if (data / name).exists():
                found[name] = read(ses, ses.open(data / name))
    inst.term()
    for name in found:
        sound(data / name, case.work.page)
    return found


def sound(path, page=4096):
    """`pyjet check` has no finding, and every page of the file is accounted for."""
    texts, sums = cjet.check_file(path)
    assert not texts, f"pyjet check of {path.name}: {texts[:5]}"
    assert sums.pages_leaked == 0, f"{path.name}: {sums.pages_leaked} pages leaked"
    unowned = sums.pages - sums.pages_used - sums.pages_available - sums.pages_leaked
    assert unowned >= 0, f"{path.name}: {sums.pages} pages, {sums.pages_used} used, {sums.pages_available} free"
    if unowned:  # a growth that the log did not come to: zeros at the end, which the next growth takes
        with open(path, "rb") as f:
            f.seek(-unowned * page, 2)
            assert not any(f.read()), f"{path.name}: {unowned} pages at its end belong to nobody and are not zero"


def model_of(case, lines):
    model = bank.Model(bank.first_state(case.work.threads), course=case.recording.course)
    model.lines = [line for line in lines if line[0] in ("I", "A", "L", "BS", "BP", "BE")]
    return model


def read_bank(ses, dbid):
    return bank.read_state(ses, dbid) if "ledger" in ses.tables(dbid) else None


def check_bank(case):
    created = ["CREATED"] in case.lines
    if not created:  # nobody was told of it; it must only not stand in the way
        case.totals["cut before the bank stood"] += 1
        recover(case, {})
        return
    got = recover(case, {"bank.edb": read_bank}).get("bank.edb")
    assert got is not None, "the bank is gone"
    model = model_of(case, case.lines)
    model.check(got)
    check_sets(case, model)


def check_sets(case, model):
    """Each backup that had returned restores to one commit point between its start and its return."""
    started, complete = {}, {}
    for at, line in enumerate(model.lines):
        if line[0] == "BS":
            started[line[1]] = [at, line[2], line[3]]
        elif line[0] == "BP" and "incremental" not in started[line[1]][1]:
            started[line[1]][0] = at
        elif line[0] == "BE":
            begin, kind, name = started[line[1]]
            complete[name] = (begin, at, kind)
    for name, (begin, end, kind) in complete.items():
        got = restored(case, case.folder / "sets" / name)
        cut = any(line[0] == "BS" and line[3] == name for line in model.lines[end:])
        model.check(got, begin, None if cut else end, f"the set {name} ({kind})")
        case.totals[f"sets checked: {kind}"] += 1


def restored(case, path):
    """What a set restores to: a function of its bytes, so one that stayed as it was is restored once."""
    sums = hashlib.sha1(usedforsecurity=False)
    for file in sorted(path.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            sums.update(f"{file.relative_to(path)}\0{len(content)}\0".encode())
            sums.update(content)
    key, known = sums.digest(), case.recording.sets
    if key not in known:
        work = case.top / "work"
        known[key] = bank.read_set(path, work)
        shutil.rmtree(work)
        case.totals["sets restored"] += 1
    return known[key]


def check_attach(case):
    created = {line[1] for line in case.lines if line[0] == "CREATED"}
    found = recover(case, dict.fromkeys(sorted(created), works.read_attached))
    for name in created:
        rows = found.get(name)
        assert rows is not None, f"{name} was created, now it is gone"
        least = max([line[2] + 1 for line in case.lines if line[:2] == ["IN", name]], default=0)
        most = max([line[2] + 1 for line in case.lines if line[:2] == ["ROW", name]], default=0)
        assert rows == list(range(len(rows))), f"{name}: rows {rows}"
        assert least <= len(rows) <= most, f"{name}: {len(rows)} rows, acknowledged {least}, asked for {most}"
    case.totals["databases checked"] += len(created)


def check_schema(case):
    if ["CREATED"] not in case.lines:
        recover(case, {})
        return
    got = recover(case, {"schema.edb": works.read_schema})["schema.edb"]
    least = max([line[1] for line in case.lines if line[0] == "A"], default=0)
    most = max([line[1] for line in case.lines if line[0] == "I"], default=0)
    history = case.recording.history
    assert got in history[least : most + 1], (
        f"acknowledged {least}, asked for {most}; the table is as after {[i for i, e in enumerate(history) if e == got]}: "
        f"columns {got['columns']}, indexes {got['indexes']}, {len(got['rows'])} rows"
    )


def check_restore(case):
    """The set is untouched, and a second restore over the rest of the first succeeds."""
    expected = bank.from_json(case.recording.known)
    for path in (case.top / "base" / "sets").rglob("*"):
        if path.is_file():
            there = case.folder / path.relative_to(case.top / "base")
            assert there.read_bytes() == path.read_bytes(), f"{path.name} of the set changed"
    path = case.folder / "target" / "bank.edb"
    if ["RESTORED"] in case.lines:
        case.totals["restores that were complete"] += 1
    else:
        shutil.rmtree(case.folder / "log")
        _, found = cjet.restore(case.folder / "sets" / "plain", case.folder / "target", case.folder / "log")
        path = found[0]
        case.totals["restores done again"] += 1
    sound(path, case.work.page)
    with cjet.Reader(path) as reader:
        assert bank.read_state(reader, reader.dbid) == expected, "restored, something else came"


def check_recovery(case):
    """A recovery that was cut off is recovered like any other; what one had shown stays."""
    known = case.recording.known
    lines = [json.loads(text) for text in known["marks"]]
    if ["CREATED"] not in lines:
        recover(case, {})
        return
    got = recover(case, {"bank.edb": read_bank}).get("bank.edb")
    assert got is not None, "the bank is gone"
    model_of(case, lines).check(got)
    if ["SEEN"] in case.lines:
        assert got == bank.from_json(known["state"]), "what the first recovery had shown is not there any more"
        case.totals["recoveries that were complete"] += 1
    else:
        case.totals["recoveries cut off"] += 1
