"""Python under stress: ``python tests/threads/stress.py SCENARIO FOLDER SECONDS SEED``, each in a process of its own; 0 and "ok ..." when it held.

A bank of accounts is moved about while something rude happens; afterwards a new process finds every acknowledged transfer and the
same sum (``check``): each teller notes in a file what had been moved when a durable commit returned.
"""

import contextlib
import gc
import os
import pathlib
import random
import signal
import struct
import sys
import threading
import time

import pyjet

ACCOUNTS, EACH = 20, 100


def start(folder):
    inst = pyjet.Instance(folder / "d", log_file_size=64 << 10)
    ses = inst.session()
    table = ses.create(folder / "d" / "a.edb").create_table("bank", {"id": pyjet.Long(), "amount": pyjet.Long(), "n": pyjet.Long()}, {"pk": pyjet.Index("+id", primary=True)})
    table.insert_many({"id": i, "amount": EACH, "n": 0} for i in range(ACCOUNTS))
    return inst


def bank(ses, folder):
    return ses.open(folder / "d" / "a.edb").tables["bank"]


def transfer(ses, table, rng, lazy=None):
    """One transaction; False when another session was first."""
    a, b = rng.sample(range(ACCOUNTS), 2)
    try:
        with ses.transaction(lazy=rng.random() < 0.8 if lazy is None else lazy):
            for account, by in ((a, -1), (b, 1)):
                row = table.get(account)
                row.update(amount=row["amount"] + by, n=row["n"] + 1)
    except pyjet.WriteConflictError:
        return False
    return True


def total(table):
    amounts = [r["amount"] for r in table.rows()]
    assert len(amounts) == ACCOUNTS and sum(amounts) == ACCOUNTS * EACH, amounts


def acknowledged(folder):
    """What the tellers had moved, each when its last durable commit returned."""
    path = folder / "acknowledged"
    return [count for (count,) in struct.iter_unpack("<q", path.read_bytes())] if path.exists() else []


def tellers(inst, folder, count, stop, seed, expected=()):
    """Threads that transfer until told; errors of `expected` end one quietly."""
    failed, done = [], [0] * count
    before = acknowledged(folder) or [0] * count
    note = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT, 0o666)  # stays open: threads may outlive the caller
    os.pwrite(note, struct.pack(f"<{count}q", *before), 0)

    def work(n):
        rng = random.Random(seed * 100 + n)
        try:
            ses = inst.session()
            table = bank(ses, folder)
            while not stop.is_set():
                lazy = rng.random() < 0.8
                moved = transfer(ses, table, rng, lazy)
                done[n] += moved
                if moved and not lazy:
                    os.pwrite(note, struct.pack("<q", before[n] + done[n]), 8 * n)
            ses.close()
        except BaseException as error:
            if not isinstance(error, expected):
                failed.append(error)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(count)]
    for t in threads:
        t.start()
    return threads, failed, done


def join(threads, failed):
    for t in threads:
        t.join(30)
        assert not t.is_alive(), "a thread hangs"
    if failed:
        raise failed[0]


def check(folder, seconds, seed):
    with pyjet.Instance(folder / "d", log_file_size=64 << 10) as inst, inst.session() as ses:
        total(bank(ses, folder))
    with pyjet.open(folder / "d" / "a.edb") as db:
        total(db.tables["bank"])
        moved = sum(r["n"] for r in db.tables["bank"].rows())
    told = sum(acknowledged(folder))
    assert moved >= 2 * told, f"{told} transfers were acknowledged, {moved / 2} are there"
    return f"sound, {told} acknowledged"


# ---- scenarios ----


def garbage(folder, seconds, seed):
    """Sessions, cursors, iterators and transactions dropped where they are, in cycles, collected by whatever thread comes by."""
    inst = start(folder)
    stop = threading.Event()
    threads, failed, done = tellers(inst, folder, 3, stop, seed)
    rng, dropped, end = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        ses = inst.session()
        table = bank(ses, folder)
        things = [ses, table, table.rows()]
        next(things[2])
        if rng.random() < 0.5:
            ses.begin()
            with contextlib.suppress(pyjet.WriteConflictError):
                table.get(rng.randrange(ACCOUNTS)).update(n=-1)
        things.append(things)
        del ses, table, things
        dropped += 1
        if rng.random() < 0.3:
            gc.collect()
    gc.collect()
    stop.set()
    join(threads, failed)
    inst.close()
    return f"{dropped} sessions dropped, {sum(done)} transfers"


def close_under_calls(folder, seconds, seed):
    """Sessions, then the instance, are closed while other threads are in calls of theirs: errors of this package, nothing else."""
    end, rounds, moved = time.monotonic() + seconds, 0, 0
    start(folder).close()
    while time.monotonic() < end:
        inst = pyjet.Instance(folder / "d", log_file_size=64 << 10)
        shared = inst.session()
        table = bank(shared, folder)
        stop = threading.Event()
        threads, failed, done = tellers(inst, folder, 3, stop, seed + rounds, (pyjet.JetError,))

        def read(table=table):
            with contextlib.suppress(pyjet.JetError):
                while True:
                    total(table)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        time.sleep(random.Random(seed + rounds).random() * 0.1)
        with contextlib.suppress(pyjet.JetError):
            shared.close()
        inst.close()
        stop.set()
        join([*threads, reader], failed)
        rounds, moved = rounds + 1, moved + sum(done)
    return f"{rounds} instances closed, {moved} transfers"


def forks(folder, seconds, seed):
    """Forks while threads are in the engine: the child's handles are dead and say so; it can end by exit() and by falling off its end."""
    inst = start(folder)
    ses = inst.session()
    table = bank(ses, folder)
    stop = threading.Event()
    threads, failed, done = tellers(inst, folder, 3, stop, seed)
    end, children = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                table.get(1)
            except pyjet.JetError:
                pass
            else:
                os._exit(3)
            del table, ses
            gc.collect()
            if children % 2:
                os._exit(0)
            sys.exit(0)  # with the interpreter's own end, objects and exit handlers
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"the child ended with {status:#x}"
        children += 1
    stop.set()
    join(threads, failed)
    total(table)
    inst.close()
    return f"{children} children, {sum(done)} transfers"


def exit_in_backup(folder, seconds, seed):
    """The main thread ends while a backup and transfers run in others."""
    inst = start(folder)
    begun = threading.Event()

    def back_up():
        with contextlib.suppress(pyjet.JetError):  # ended by the end
            for n in range(100000):
                inst.backup(folder / f"set{n}", progress=lambda p: begun.set())

    threading.Thread(target=back_up, daemon=True).start()
    tellers(inst, folder, 2, threading.Event(), seed, (pyjet.JetError,))
    assert begun.wait(20)
    time.sleep(random.Random(seed).random() * 0.05)
    return "left"


class Rude(Exception):
    pass


def quiet(*kinds):
    """What is raised where nobody can catch it is told by Python and goes no further; here it is wanted."""
    told = sys.unraisablehook
    sys.unraisablehook = lambda args: None if issubclass(args.exc_type, kinds) else told(args)


def callbacks(folder, seconds, seed):
    """Callbacks of backups raise, end threads' work, call back into the package; events' handlers raise."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record):
            raise Rude

    quiet(Rude)
    logging.getLogger("pyjet").addHandler(Handler())
    inst = start(folder)
    stop = threading.Event()
    threads, failed, done = tellers(inst, folder, 2, stop, seed)
    rng, raised, finished, end = random.Random(seed), 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        left = rng.randrange(12)

        def progress(p):
            nonlocal left
            left -= 1
            with inst.session() as ses:
                total(bank(ses, folder))
            if left == 0:
                raise rng.choice((Rude, KeyboardInterrupt, MemoryError, SystemExit))

        try:
            inst.backup(folder / f"set{raised + finished}", progress=progress)
            finished += 1
        except (Rude, KeyboardInterrupt, MemoryError, SystemExit):
            raised += 1
    assert raised
    stop.set()
    join(threads, failed)
    inst.backup(folder / "last")
    inst.close()
    return f"{raised} raised, {finished} finished, {sum(done)} transfers"


def interrupts(folder, seconds, seed):
    """KeyboardInterrupt at any moment of transfers, scans, backups, sessions; the acknowledged count never shrinks."""
    quiet(KeyboardInterrupt)
    inst = start(folder)
    rng, hits, moved, end = random.Random(seed), 0, 0, time.monotonic() + seconds
    ses = inst.session()
    table = bank(ses, folder)
    while time.monotonic() < end:
        signal.setitimer(signal.ITIMER_REAL, rng.random() * 0.02 + 0.0005)
        try:
            try:
                while signal.getitimer(signal.ITIMER_REAL)[0]:  # an event's handler may have met it
                    moved += transfer(ses, table, rng)
                    what = rng.random()
                    if what < 0.1:
                        total(table)
                    elif what < 0.15:
                        inst.session().close()
                    elif what < 0.17:
                        inst.backup(folder / f"set{rng.getrandbits(60)}")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            hits += 1
        while ses.level:  # cut off between its end and the next statement
            ses.rollback(all=True)
        total(table)
    counted = sum(r["n"] for r in table.rows())
    assert 2 * moved <= counted <= 2 * (moved + hits), (moved, hits, counted)
    inst.close()
    return f"{hits} interrupts, {moved} transfers"


INNER = """
import pathlib, random, sys, threading
sys.path.insert(0, {here!r})
import stress
folder = pathlib.Path({folder!r})
inst = stress.start(folder)
ses = inst.session()
table = stress.bank(ses, folder)
rng = random.Random({seed})
for _ in range(40):
    stress.transfer(ses, table, rng)
inst.backup(folder / "set")
stress.total(table)
if {close}:
    inst.close()
"""


def interpreters(folder, seconds, seed):
    """Interpreters in threads, each with an instance; some end with it open."""
    sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))
    import interpreters as several

    end, ended, failed = time.monotonic() + seconds, [], []

    def one(n):
        try:
            turn = 0
            while time.monotonic() < end:
                place = folder / f"{n}-{turn}"
                place.mkdir()
                several.run(INNER.format(here=str(pathlib.Path(__file__).parent), folder=str(place), seed=seed + turn, close=turn % 3 != 0))
                ended.append(place)
                turn += 1
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a thread hangs"
    if failed:
        raise failed[0]
    assert len(ended) > 2
    for place in ended:
        check(place, 0, 0)
    return f"{len(ended)} interpreters"


SCENARIOS = {f.__name__: f for f in (garbage, close_under_calls, forks, exit_in_backup, callbacks, interrupts, interpreters)}


def interrupted(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, interrupted)
    name, place, seconds, seed = sys.argv[1:]
    play = check if name == "check" else SCENARIOS[name]
    print("ok", play(pathlib.Path(place), float(seconds), int(seed)), flush=True)
