"""Rows of facts/backup-behaviours.csv for external backup, over the C API; each test carries its rows' ids: the order of calls."""

import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from external_world import ABORT, BAD_ARGUMENT, BAD_ORDER, INC, NO_BACKUP, start  # noqa: E402
from rows import Rows, test_row  # noqa: E402, F401
from child import run  # noqa: E402
from cjet import JetError, call  # noqa: E402

ROWS = Rows()


# ---- the order of calls ----


def calls_of(w, x):
    return {
        "begin": x.begin, "attach": x.attached, "open a database": lambda: x.open(w.data / "a.edb"),
        "open a log": lambda: x.open(w.data / "edb00001.log"), "read": lambda: x.read(), "close": lambda: x.close(),
        "logs": x.logs, "truncatable": x.truncatable, "truncate": x.truncate, "end": x.end,
    }  # fmt: skip


ORDER = {  # state -> call -> error, or None for success; * cancels the backup. backup-semantics.md section 4
    "none": {
        "begin": None, "attach": NO_BACKUP, "open a database": NO_BACKUP, "open a log": NO_BACKUP, "read": NO_BACKUP,
        "close": NO_BACKUP, "logs": NO_BACKUP, "truncatable": NO_BACKUP, "truncate": NO_BACKUP, "end": NO_BACKUP,
    },
    "databases": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": None, "open a log": "JET_errDatabaseNotFound",
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": BAD_ORDER, "end": None,
    },
    "database open": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": "JET_errOutOfMemory",
        "open a log": "JET_errOutOfMemory", "read": None, "close": None, "logs": BAD_ORDER, "truncatable": BAD_ORDER,
        "truncate": BAD_ORDER, "end": None,
    },
    "logs": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": BAD_ORDER + "*", "open a log": None,
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": "JET_errLogFileNotCopied",
        "end": None,
    },
    "log open": {
        "begin": "JET_errBackupInProgress", "attach": None, "open a database": "JET_errOutOfMemory",
        "open a log": "JET_errOutOfMemory", "read": None, "close": None, "logs": BAD_ORDER, "truncatable": BAD_ORDER,
        "truncate": BAD_ORDER, "end": None,
    },
    "incremental": {
        "begin": "JET_errBackupInProgress", "attach": BAD_ORDER, "open a database": BAD_ORDER + "*", "open a log": BAD_ARGUMENT,
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": BAD_ORDER, "end": None,
    },
    "incremental logs": {
        "begin": "JET_errBackupInProgress", "attach": BAD_ORDER, "open a database": BAD_ORDER + "*", "open a log": None,
        "read": BAD_ARGUMENT, "close": BAD_ARGUMENT, "logs": None, "truncatable": None, "truncate": "JET_errLogFileNotCopied",
        "end": None,
    },
}  # fmt: skip


def bring_to(state, w, x):
    if state == "none":
        return
    x.begin(INC if state.startswith("incremental") else 0)
    if state == "database open":
        x.open(w.data / "a.edb")
    if state in ("logs", "log open", "incremental logs"):
        x.logs()
    if state == "log open":
        x.open(w.data / "edb00001.log")


@ROWS("BK-192", "BK-201", "BK-208", "BK-210", "BK-214", "BK-235", "BK-237", "BK-238", "BK-240", "BK-246", "BK-248", "BK-249", "BK-251",
     "BK-254", "BK-262")  # fmt: skip
def order_of_calls(place):
    w, x = start(place)
    x.run(w.place / "set", truncate=True)  # so that an increment may begin
    assert w.logs()[0] == 1
    for state, answers in ORDER.items():
        for name, expected in answers.items():
            bring_to(state, w, x)
            try:
                calls_of(w, x)[name]()
                got = None
            except JetError as e:
                got = e.name
            want = expected and expected.rstrip("*")
            assert got == want, f"{name} in state {state!r}: {got}, expected {want}"
            over = x.idle()
            ends = (state == "none" and name != "begin") or name == "end" or (expected or "").endswith("*")
            assert over == ends, f"{name} in state {state!r}"
            if not over:
                x.end(ABORT)


class Model:
    """Section 4 in a few lines: what each call answers, and what it does to the state."""

    def __init__(self):
        self.state, self.open, self.incremental, self.rolled, self.all_read = None, None, False, False, False

    def step(self, name):
        if name in ("begin", "begin incremental"):
            if self.state:
                return "JET_errBackupInProgress"
            self.__init__()
            self.incremental = name != "begin"
            self.state = "logs" if self.incremental else "databases"
            return None
        if self.state is None:
            return NO_BACKUP
        return getattr(self, name.replace(" ", "_"))()

    def attach(self):
        return BAD_ORDER if self.incremental else None

    def _open(self, what):
        if self.open:
            return "JET_errOutOfMemory"
        if self.state == "databases":
            if what == "log":
                return "JET_errDatabaseNotFound"
        elif what == "database":
            self.state = None
            return BAD_ORDER
        elif not self.rolled:
            return BAD_ARGUMENT
        self.open = what
        return None

    def open_a_database(self):
        return self._open("database")

    def open_a_log(self):
        return self._open("log")

    def read(self):
        return None if self.open else BAD_ARGUMENT

    def close(self):
        if not self.open:
            return BAD_ARGUMENT
        self.open = None
        return None

    def logs(self):
        if self.open:
            return BAD_ORDER
        self.state, self.rolled = "logs", True
        return None

    truncatable = logs

    def read_all(self):
        self.all_read = True

    def truncate(self):
        if self.open or not self.rolled:
            return BAD_ORDER
        return None if self.all_read else "JET_errLogFileNotCopied"

    def end(self):
        self.state = None

    abort = end


@ROWS("BK-200", "BK-252", "BK-260")
def random_orders(place, sequences=1000):
    w, x = start(place, rows=5)
    x.run(w.place / "set", truncate=True)
    names = ["begin", "begin incremental", "attach", "open a database", "open a log", "read", "close", "logs", "truncatable", "read all",
             "truncate", "end", "abort"]  # fmt: skip
    calls = calls_of(w, x) | {"begin incremental": lambda: x.begin(INC), "abort": lambda: x.end(ABORT)}
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    model = Model()
    said = []
    for _ in range(sequences):
        for name in rng.choices(names, k=rng.randint(2, 9)):
            if name == "open a log":
                calls[name] = lambda: x.open(w.data / f"edb{w.logs()[0]:05X}.log")
            if name == "read all":
                if not (model.rolled and model.state == "logs" and not model.open):
                    continue
                calls[name] = lambda: [x.bytes(p) for p in x.logs()]
            said.append(name)
            try:
                calls[name]()
                got = None
            except JetError as e:
                got = e.name
            want = model.step(name)
            assert got == want, f"seed {seed}: {name}: {got}, expected {want}; before it {said[-12:]}"
        with_end = model.step("end")
        try:
            x.end()
            got = None
        except JetError as e:
            got = e.name
        assert got == with_end, f"seed {seed}"
        assert x.idle()
