"""Makes the folders that a power cut may leave, out of a trace of what reached the kernel.

    for state in replay.states("run.trace", seed=1, n=100, base="copy-of-the-folder-at-START"):
        replay.materialise(state, tmp_path / str(state.number))
        acknowledged = state.marks

What a completed sync covers is there. Of the rest, each independently:

* a write is kept, dropped, or torn: any subset of its sectors, of 512 bytes in most states, of 4 KiB in the others; all but one,
  one alone, the first and the last ones are as likely as all other subsets;
* the file has one of the sizes it had since its last sync, so it may be longer than its data (zeros) or cut off;
* a create, rename, unlink, mkdir or rmdir happened or did not; one that did not takes with it what came later to
  the same name. A rename is atomic, and lasts when the folder of its new name was synced;
* in some states the names go by no order at all: a file whose creation is lost may have its later name, and a name may have gone
  to another file although its first one's rename is lost, and the file with it. No journal does this, and none promises that it does not.

State number i of a seed is the same in every call with the same trace, whatever n is.
"""

import bisect
import dataclasses
import hashlib
import os
import pathlib
import random
import re
import shutil
from trace import Op, records

SECTORS = (512, 512, 4096)
LONGEST = 12  # records that are looked at for the sync of a rename or a write
DIGITS = re.compile("[0-9A-F]{5,}|[0-9]+")
TURNS = frozenset(
    {
        Op.SYNC_BEGIN,
        Op.SYNC_END,
        Op.DIRSYNC_BEGIN,
        Op.DIRSYNC_END,
        Op.RENAME,
        Op.UNLINK,
        Op.CREATE,
        Op.SIZE,
    }
)


class ReplayError(Exception):
    """The trace asks for what is not known: a file that the base lacks, bytes from outside the folder."""


class _Change:
    """A write (data), zeros (data an int, how many) or a new size (data None) that the crash may still take away."""

    __slots__ = ("data", "doubtful", "durable", "end", "offset", "pos")

    def __init__(self, pos, offset, data):
        self.pos, self.offset, self.data = pos, offset, data
        self.end = offset + (0 if data is None else data if isinstance(data, int) else len(data))
        self.durable = False
        self.doubtful = (
            False  # a sync that should have covered it failed; no later sync can promise its bytes
        )


class Content:
    """A file's bytes: `data`, which does not end with a zero byte, and zeros up to `size`."""

    __slots__ = ("data", "size", "sum_of_data")

    def __init__(self, data, size):
        self.data, self.size, self.sum_of_data = data, size, None

    def __bytes__(self):
        return self.data + bytes(self.size - len(self.data))

    def __eq__(self, other):
        return (self.data, self.size) == (other.data, other.size)

    def sum(self):
        if self.sum_of_data is None:
            self.sum_of_data = hashlib.sha1(self.data, usedforsecurity=False).digest()
        return self.sum_of_data


class _Image:
    """A file's bytes as they change: `data`, and zeros up to `size`. Most files here are mostly zeros."""

    __slots__ = ("data", "size")

    def __init__(self, data, size):
        self.data, self.size = bytearray(data), size

    def resize(self, size):
        if size < len(self.data):
            del self.data[size:]
        self.size = size

    def apply(self, change, written, sized, rng=None, sector=512, torn=None):
        """Does a change: its size if sized, its data if written, a subset of its sectors with rng (which: torn, or _torn)."""
        if change.data is None:
            if sized:
                self.resize(change.offset)
            return
        if sized and change.end > self.size:
            self.size = change.end
        if not written or min(change.end, self.size) <= change.offset:
            return
        if rng is None:
            self.put(change, change.offset, change.end)
            return
        at, stop = change.offset // sector * sector, min(change.end, self.size)
        bits = (torn or _torn)(rng, -(-(stop - at) // sector))
        while at < stop:
            if bits & 1:
                self.put(change, max(at, change.offset), min(at + sector, stop))
            at, bits = at + sector, bits >> 1

    def put(self, change, at, stop):
        """These bytes of a change, within the file's size."""
        stop = min(stop, self.size)
        if isinstance(change.data, int):
            stop = min(stop, len(self.data))
            if at < stop:
                self.data[at:stop] = bytes(stop - at)
            return
        if at > len(self.data):
            self.data.extend(bytes(at - len(self.data)))
        self.data[at:stop] = memoryview(change.data)[at - change.offset : stop - change.offset]

    def content(self):
        return Content(bytes(self.data).rstrip(b"\0"), self.size)


class _File:
    def __init__(self, content=b""):
        self.image = _Image(content, len(content))  # the durable prefix of the file's history
        self.loose = []  # _Changes after it, in order
        self.still = None  # the image's Content, until it changes

    def synced(self, pos):
        for change in self.loose:
            if change.pos < pos and not change.doubtful:
                change.durable = True
        done = 0
        while done < len(self.loose) and self.loose[done].durable:
            self.image.apply(self.loose[done], True, True)
            done += 1
        if done:
            self.still = None
            del self.loose[:done]

    def sync_failed(self, pos):
        for change in self.loose:
            if change.pos < pos and not change.durable and change.data is not None:
                change.doubtful = True

    def crashed(self, rng, keep, tear, sector, victim=None, torn=None):
        if not self.loose:
            self.still = self.still or self.image.content()
            return self.still
        image = _Image(self.image.data, self.image.size)
        settled = max((i for i, c in enumerate(self.loose) if c.durable), default=-1) + 1
        sized = settled + _some(rng, len(self.loose) - settled, keep)
        for i, change in enumerate(self.loose):
            if change.durable:
                image.apply(change, True, True)
            elif change is victim:
                image.apply(change, True, True, rng, sector, _all_but_one)
            elif change.data is not None and rng.random() < tear:
                image.apply(change, True, i < sized, rng, sector, torn)
            else:
                image.apply(change, rng.random() < keep, i < sized)
        return image.content()


class _Dir:
    def __init__(self):
        self.live = {}  # name -> node, as the processes saw it
        self.kept = {}  # name -> node, what no crash takes away


class _Naming:
    """Changes of names that happen together: [(folder, name, node or None)]."""

    __slots__ = ("durable", "entries", "home", "pos")

    def __init__(self, pos, entries):
        self.pos, self.entries = pos, entries
        self.home = entries[-1][0]  # the folder whose sync makes it last
        self.durable = False


@dataclasses.dataclass(frozen=True)
class State:
    """What one power cut leaves. The cut stands between the records cut - 1 and cut of the trace."""

    seed: object
    number: int
    cut: int
    contents: dict  # path -> Content
    dirs: tuple  # paths of the folders, a parent before its children
    all_marks: tuple = dataclasses.field(repr=False)
    mark_count: int = 0

    def digest(self):
        """Of all names and bytes: two states are the same when their digests are."""
        sums = hashlib.sha1(repr(self.dirs).encode(), usedforsecurity=False)
        for path, content in sorted(self.contents.items()):
            sums.update(f"{path}\0{content.size}\0".encode() + content.sum())
        return sums.digest()

    @property
    def files(self):
        """path -> bytes"""
        return {path: bytes(content) for path, content in self.contents.items()}

    @property
    def marks(self):
        """Texts of the MARKs before the cut."""
        return self.all_marks[: self.mark_count]

    def __str__(self):
        return f"seed {self.seed} state {self.number} cut {self.cut}: {len(self.contents)} files, {self.mark_count} marks"


def _torn(rng, count):
    """Which of so many sectors are there, a bit each."""
    whole, style = (1 << count) - 1, rng.randrange(6)
    if style < 2:
        return rng.getrandbits(count)
    one = 1 << rng.randrange(count)
    return (whole ^ one, one, one - 1, whole ^ (one - 1))[style - 2]


def _any(rng, count):
    return rng.getrandbits(count)


def _all_but_one(rng, count):
    return (1 << count) - 1 ^ 1 << rng.randrange(count)


def _some(rng, count, keep):
    """How many of count ordered things the crash left: all, none, or any number between."""
    if keep in (0, 1):
        return int(count * keep)
    return rng.randint(0, count)


class _Replay:
    """The folder while the trace goes by: what was seen, what lasts, what is loose."""

    def __init__(self, base):
        self.root = _load(base)
        self.namings = []  # loose _Namings in order
        self.syncs = {}  # token -> (node, position of the begin)
        self.pos = 0

    def find(self, path):
        node = self.root
        for part in _parts(path):
            if not isinstance(node, _Dir) or part not in node.live:
                raise ReplayError(f"record {self.pos}: {path} is not there; does the base lack it?")
            node = node.live[part]
        return node

    def find_file(self, path):
        node = self.find(path)
        if not isinstance(node, _File):
            raise ReplayError(f"record {self.pos}: {path} is a folder")
        return node

    def entry(self, path):
        *above, name = _parts(path)
        folder = self.find("/".join(above))
        if not isinstance(folder, _Dir):
            raise ReplayError(f"record {self.pos}: {path} stands in a file")
        return folder, name

    def rename_names(self, entries):
        for folder, name, node in entries:
            if node is None:
                folder.live.pop(name, None)
            else:
                folder.live[name] = node
        self.namings.append(_Naming(self.pos, entries))

    def dir_synced(self, folder, begin):
        # What lasts drags along what came earlier to the same names, so it can be taken out of the list at once.
        forced = set()
        for naming in reversed(self.namings):
            names = {(id(f), name) for f, name, _ in naming.entries}
            if (naming.home is folder and naming.pos < begin) or names & forced:
                naming.durable = True
                forced |= names
        for naming in self.namings:
            if naming.durable:
                _do_names(naming.entries, lambda f: f.kept)
        self.namings = [n for n in self.namings if not n.durable]

    def apply(self, record):
        op, path = record.op, record.path
        if op == Op.START:
            self.syncs.clear()  # numbers begin again
        elif op == Op.CREATE:
            self.rename_names([(*self.entry(path), _File())])
        elif op == Op.WRITE:
            self.find_file(path).loose.append(_Change(self.pos, record.offset, record.data))
        elif op == Op.ZERO:
            self.find_file(path).loose.append(_Change(self.pos, record.offset, record.length))
        elif op == Op.SIZE:
            self.find_file(path).loose.append(_Change(self.pos, record.offset, None))
        elif op in (Op.SYNC_BEGIN, Op.DIRSYNC_BEGIN):
            self.syncs[record.token] = (self.find(path), self.pos)
        elif op in (Op.SYNC_END, Op.DIRSYNC_END):
            self.sync_end(record)
        elif op == Op.RENAME:
            self.rename(record)
        elif op in (Op.UNLINK, Op.RMDIR):
            self.find(path)
            self.rename_names([(*self.entry(path), None)])
        elif op == Op.MKDIR:
            self.rename_names([(*self.entry(path), _Dir())])
        self.pos += 1

    def sync_end(self, record):
        if record.token not in self.syncs:
            raise ReplayError(f"record {self.pos}: the sync {record.token} ends and never began")
        node, begin = self.syncs.pop(record.token)
        if record.op == Op.DIRSYNC_END:
            if record.result == 0:
                self.dir_synced(node, begin)
        elif record.result == 0:
            node.synced(begin)
        else:
            node.sync_failed(self.pos)

    def rename(self, record):
        if record.path.startswith("/"):
            raise ReplayError(
                f"record {self.pos}: {record.path} came from outside, its bytes are unknown"
            )
        node = self.find(record.path)
        source, target = self.entry(record.path), self.entry(record.target)
        if source != target:
            self.rename_names([(*source, None), (*target, node)])

    def crash(self, rng):
        """The folder after a power cut now: (files, dirs)."""
        if rng.random() < 0.2:  # one sector of one of the last writes is all that is lost
            loose = sorted(_loose(self.root), key=lambda change: change.pos)
            if loose:
                return self.left(rng, 1, 0, SECTORS[0], rng.choice(loose[-4:]))
        # Extremes are likely: nothing loose lasts, all of it does. Between them every rate.
        keep = rng.choice((0, 1, rng.random(), rng.random()))
        tear = (
            rng.choice((0, 0, rng.random() / 2))
            if keep in (0, 1)
            else rng.choice((0, rng.random()))
        )
        return self.left(rng, keep, tear, rng.choice(SECTORS))

    def crash_of_names(self, rng):
        """The same when names are the question: each subset of their changes is as likely, in half of the states whatever their order."""
        return self.left(rng, rng.choice((0, 1, rng.random())), 0, SECTORS[0], kept=lambda: rng.random() < 0.5, in_order=rng.random() < 0.5)

    def crash_of_writes(self, rng):
        """The same when all writes were under way at once: of each, any subset of its sectors."""
        return self.left(rng, rng.random(), 1, SECTORS[0], torn=_any)

    def left(self, rng, keep, tear, sector, victim=None, kept=None, in_order=True, torn=None):
        """(files, dirs) when each loose thing is kept at the rate `keep` and torn at the rate `tear`; the victim lacks a sector. kept: asked
        for each change of names. in_order: what is dropped takes with it what came later to the same name."""
        entries, stopped = {}, set()
        kept = kept or (lambda: rng.random() < keep)
        for naming in self.namings:
            names = {(id(f), name) for f, name, _ in naming.entries}
            if names & stopped or not kept():
                stopped |= names if in_order else set()
            else:
                _do_names(naming.entries, lambda f: entries.setdefault(id(f), dict(f.kept)))
        files, dirs = {}, []
        _walk(self.root, "", entries, lambda f: f.crashed(rng, keep, tear, sector, victim, torn), files, dirs)
        return files, tuple(dirs)


def _loose(folder):
    """The writes that no sync covers, of all files that have names."""
    for node in folder.live.values():
        if isinstance(node, _Dir):
            yield from _loose(node)
        else:
            yield from (c for c in node.loose if isinstance(c.data, bytes) and c.data and not c.durable)


def _do_names(entries, names_of):
    for folder, name, node in entries:
        if node is None:
            names_of(folder).pop(name, None)
        else:
            names_of(folder)[name] = node


def _walk(folder, prefix, entries, content, files, dirs):
    for name, node in sorted(entries.get(id(folder), folder.kept).items()):
        path = prefix + name
        if isinstance(node, _Dir):
            dirs.append(path)
            _walk(node, path + "/", entries, content, files, dirs)
        else:
            files[path] = content(node)


def _parts(path):
    return [part for part in path.split("/") if part not in ("", ".")]


def _load(base):
    """A tree of nodes out of a folder, {path: bytes}, or nothing."""
    root = _Dir()
    if base is None:
        return root
    if not isinstance(base, dict):
        top = pathlib.Path(base)
        base = {
            str(p.relative_to(top)): None if p.is_dir() else p.read_bytes()
            for p in sorted(top.rglob("*"))
        }
    for path, content in base.items():
        *above, name = _parts(path)
        folder = root
        for part in above:
            folder = folder.kept.setdefault(part, _Dir())
        if content is None:
            folder.kept.setdefault(name, _Dir())
        else:
            folder.kept[name] = _File(content)
    _see(root)
    return root


def _see(folder):
    folder.live = dict(folder.kept)
    for node in folder.live.values():
        if isinstance(node, _Dir):
            _see(node)


def _turns(trace, first):
    """Where syncs and changes of names or sizes stand, a list for each kind: what is done to which file, whatever its number."""
    kinds = {}
    for i in range(first - 1, len(trace)):
        if trace[i].op in TURNS:
            kinds.setdefault((trace[i].op, DIGITS.sub("", trace[i].path)), []).append(i)
    return list(kinds.values())


def _windows(trace, first, begin, end):
    """For each kind of file, the cuts between a record `begin` of it and the next `end`: [(first, last)]."""
    kinds = {}
    for i in range(first - 1, len(trace)):
        if trace[i].op == begin:
            last = min(i + LONGEST, len(trace))
            ends = (j for j in range(i + 1, last) if trace[j].op == end)
            kinds.setdefault((DIGITS.sub("", trace[i].path), trace[i].offset == 0), []).append((i + 1, next(ends, last)))
    return list(kinds.values())


class _Moments:
    """Where to cut a trace, and what is the question there."""

    def __init__(self, trace, first):
        self.first, self.total = first, len(trace)
        self.turns = _turns(trace, first)
        self.weights = [len(places) ** 0.5 for places in self.turns]
        self.renames = _windows(trace, first, Op.RENAME, Op.DIRSYNC_END)
        self.writes = _windows(trace, first, Op.WRITE, Op.SYNC_END)

    def choose(self, rng):
        """(cut, how the crash is). One in five is of names: between a rename and its folder's sync. One in ten is of torn writes: before a
        sync of what is seldom written, a header, as likely as of a log. Half of the others fall anywhere, half near a turn."""
        asked = rng.random()
        if asked < 0.2 and self.renames:
            return rng.randint(*rng.choice(rng.choice(self.renames))), _Replay.crash_of_names
        if 0.2 <= asked < 0.3 and self.writes:
            return rng.randint(*rng.choice(rng.choice(self.writes))), _Replay.crash_of_writes
        at = rng.randint(1, self.total)
        if self.turns and rng.random() < 0.5:
            (places,) = rng.choices(self.turns, self.weights)
            at = rng.choice(places) + rng.randint(-1, 2)
        return min(max(at, self.first), self.total), _Replay.crash


def states(trace, seed, n, base=None, first=1):
    """Yields n States of a trace (a path, or Records), in the order of their cuts.

    base: the folder as it was at START: a path, {path: bytes (None: a folder)}, or None when it was empty.
    first: no cut stands before this many records; for a run whose beginning is not the question.
    """
    trace = list(records(trace) if isinstance(trace, (str, os.PathLike)) else trace)
    if len(trace) < first:
        return
    moments = _Moments(trace, first)
    mark_at = [i for i, record in enumerate(trace) if record.op == Op.MARK]
    marks = tuple(trace[i].text for i in mark_at)
    plan = []
    for number in range(n):
        rng = random.Random(f"{seed}/{number}")
        plan.append((*moments.choose(rng), number, rng))
    replay = _Replay(base)
    for cut, crash, number, rng in sorted(plan, key=lambda step: (step[0], step[2])):
        while replay.pos < cut:
            replay.apply(trace[replay.pos])
        files, dirs = crash(replay, rng)
        yield State(seed, number, cut, files, dirs, marks, bisect.bisect_left(mark_at, cut))


def killed(trace, cut, base=None):
    """The State after the first `cut` records when no power is lost: a killed process leaves all that it wrote."""
    return _at(trace, cut, base)("killed", 1)


def lost(trace, cut, base=None):
    """The State after the first `cut` records when nothing is left but what was synced."""
    return _at(trace, cut, base)("lost", 0)


def each_naming(trace, cut, base=None):
    """The States after the first `cut` records with each subset of the changes of names that no sync covers, in no order of theirs; the
    loose writes are all there, and none. Some are the same."""
    left = _at(trace, cut, base)
    for subset in range(1 << left.loose):
        for keep in (0, 1):
            yield left(f"names {subset:b}, writes {keep}", keep, subset)


def _at(trace, cut, base):
    """left(text, keep, subset): a State of this moment; left.loose: how many changes of names are loose."""
    trace = list(records(trace) if isinstance(trace, (str, os.PathLike)) else trace)
    replay = _Replay(base)
    for record in trace[:cut]:
        replay.apply(record)
    marks = tuple(record.text for record in trace[:cut] if record.op == Op.MARK)

    def left(text, keep, subset=None):
        bits = None if subset is None else iter(range(left.loose))
        kept = bits and (lambda: subset >> next(bits) & 1)
        files, dirs = replay.left(random.Random(0), keep, 0, SECTORS[0], kept=kept, in_order=subset is None)
        return State(text, cut, cut, files, dirs, marks, len(marks))

    left.loose = len(replay.namings)
    return left


def materialise(state, directory, over=False):
    """Writes a state's files and folders into a directory, which is made.

    It must be empty; with `over`, what is in it goes, and its files' blocks serve again, which is cheaper than new ones.
    """
    top = pathlib.Path(directory)
    top.mkdir(parents=True, exist_ok=True)
    if over:
        _clear(os.fspath(top), "", state)
    elif any(top.iterdir()):
        raise ReplayError(f"{top} is not empty")
    for path in state.dirs:
        (top / path).mkdir(exist_ok=over)
    for path, content in state.contents.items():
        _put(os.path.join(top, path), content)


def _clear(top, prefix, state):
    """Takes away what the state has not; the files that stay keep what they hold."""
    for entry in list(os.scandir(os.path.join(top, prefix))):
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            if path in state.dirs:
                _clear(top, path + "/", state)
            else:
                shutil.rmtree(entry.path)
        elif path not in state.contents or entry.is_symlink() or entry.stat().st_nlink != 1:
            os.unlink(entry.path)


def _put(path, content):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        written = os.write(fd, content.data)
        if written != len(content.data):
            raise ReplayError(f"{path}: {written} of {len(content.data)} bytes were written")
        os.ftruncate(fd, len(content.data))  # what lay here before is gone
        os.ftruncate(fd, content.size)
    finally:
        os.close(fd)
