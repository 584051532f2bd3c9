"""Verification of sets, from a glance at their files to a restore whose every record is checked."""

import contextlib
import dataclasses
import enum
import os
import shutil
import tempfile
import time

import pyjet

from .. import _jet, errors
from . import chains, engine, files, manifest, packed, places, restoring
from .results import Result
from .steps import Steps

MARKS_KEPT = 50


class VerifyLevel(enum.IntEnum):
    """How deep verify looks."""

    FILES = 1
    CHECKSUMS = 2
    CHAIN = 3
    REPLAY = 4
    RESTORE = 5


def as_level(level):
    """A VerifyLevel of itself, its number or its name in any case."""
    try:
        return VerifyLevel[level.upper()] if isinstance(level, str) else VerifyLevel(level)
    except (KeyError, ValueError):
        raise errors.InvalidParameterError(
            "a level is files, checksums, chain, replay or restore"
        ) from None


@dataclasses.dataclass(frozen=True)
class Finding(Result):
    """One thing that is wrong. ``error`` is the exception's class; ``block`` of a compressed file, ``pgno`` of a database."""

    set: str
    level: str
    text: str
    error: str = ""
    file: str | None = None
    block: int | None = None
    pgno: int | None = None
    code: int | None = None

    def __str__(self):
        return f"{self.set} {self.level.lower()}: {self.text}"


@dataclasses.dataclass(frozen=True)
class VerifyReport(Result):
    """What verify saw. ``sets``: those looked at; ``generation``, ``reaches``: how far a restore of the newest sound set gets."""

    level: str
    sets: tuple
    skipped: tuple
    not_reached: tuple
    findings: tuple
    generation: int
    reaches: str
    bytes: int
    duration: float

    @property
    def ok(self):
        return not self.findings

    def to_dict(self):
        return {**super().to_dict(), "ok": self.ok}

    def __str__(self):
        lines = [str(f) for f in self.findings]
        lines.append(
            f"verified {len(self.sets)} sets ({self.level.lower()}) in {self.duration:.2f} s: "
            + ("all sound" if self.ok else f"{len(self.findings)} findings")
            + (f", {len(self.skipped)} passed before" if self.skipped else "")
            + (f", {len(self.not_reached)} not reached" if self.not_reached else "")
            + (
                f"; restores up to generation {self.generation:#x}, {self.reaches}"
                if self.reaches
                else ""
            )
        )
        return "\n".join(lines)


def _finding(s, level, error):
    return Finding(
        set=s.id,
        level=level.name,
        text=str(error),
        error=type(error).__name__,
        file=getattr(error, "file", None),
        block=getattr(error, "block", None),
        code=error.code if isinstance(error, errors.JetError) and error.code else None,
    )


class _Run:
    """One call of verify."""

    def __init__(self, repo, level, check, steps, scratch):
        self.repo, self.level, self.check, self.steps, self.scratch = (
            repo,
            level,
            check,
            steps,
            scratch,
        )
        self.sets, self.failed = repo.whole_and_failed()
        self.seen = {}  # id -> findings of the file levels: a chain's older sets are looked at once
        self.bytes = 0

    def one(self, s):
        """Findings of one set, and of those it needs."""
        try:
            chain = chains.chain_of(self.sets, s)
        except errors.ChainBrokenError as error:
            return [_finding(s, VerifyLevel.CHAIN, error)] + self._files(s)
        found = [f for member in chain for f in self._files(member)]
        if not found and self.level >= VerifyLevel.CHAIN:
            found = self._whole(s, chain)
        return found

    def _files(self, s):
        if s.id not in self.seen:
            self.seen[s.id] = self._look(s)
        return self.seen[s.id]

    def _look(self, s):
        found = []
        folder, names = self.repo.folder(s), set()
        with self.steps.stage(
            "checksums" if self.level >= VerifyLevel.CHECKSUMS else "files", s.bytes
        ) as step:
            for f in s.files:
                path = self.repo.file_path(s, f)
                names.add(os.path.basename(path))
                want = f.size if f.packed is None else f.packed
                found += self._file(s, f, path, want, step)
        strangers = sorted(set(os.listdir(folder)) - names) if os.path.isdir(folder) else []
        for name in strangers:
            found.append(Finding(s.id, "FILES", f"{name} is no file of this set", file=name))
        return found

    def _file(self, s, f, path, want, step):
        try:
            size = os.lstat(path).st_size
        except OSError as error:
            return [
                Finding(
                    s.id, "FILES", f"{f.name}: {error.strerror}", type(error).__name__, file=f.name
                )
            ]
        if os.path.islink(path) or not os.path.isfile(path):
            return [Finding(s.id, "FILES", f"{f.name} is no regular file", file=f.name)]
        if size != want:
            return [
                Finding(
                    s.id,
                    "FILES",
                    f"{f.name} has {size} bytes, not {want}",
                    "DamagedSetError",
                    file=f.name,
                )
            ]
        if self.level < VerifyLevel.CHECKSUMS:
            return []
        return self._sums(s, f, path, step)

    def _sums(self, s, f, path, step):
        found = []

        def read(size):
            self.bytes += size
            step(size)

        try:
            if s.store == "packed":
                with packed.Reader(path, f.size) as reader:
                    found = [_finding(s, VerifyLevel.CHECKSUMS, e) for e in reader.findings(read)]
            if not found and f.sha256 is not None:
                for chunk in restoring.blocks(self.repo, s, f):
                    read(len(chunk)) if s.store == "plain" else self.steps.deadline.check()
        except (errors.DamagedSetError, OSError) as error:
            if isinstance(error, errors.DeadlineError):
                raise
            found.append(_finding(s, VerifyLevel.CHECKSUMS, error))
        return found

    def _whole(self, s, chain):
        """CHAIN and deeper: the chain as restore sees it, on links or inflated copies in the scratch folder."""
        place = tempfile.mkdtemp(prefix="verify-", dir=self.scratch)
        level = VerifyLevel.CHAIN
        try:
            with restoring.staged(
                self.repo,
                chain,
                place,
                self.steps,
                checked=True,
                heads=self.level == VerifyLevel.CHAIN,
            ) as folder:
                found = _jet.survey(folder)
                if (found["gen_low"], found["gen_high"]) != (
                    chain[0].generations[0],
                    s.generations[1],
                ):
                    raise errors.ChainBrokenError(
                        f"the logs reach from {found['gen_low']:#x} to {found['gen_high']:#x}, not from"
                        f" {chain[0].generations[0]:#x} to {s.generations[1]:#x}"
                    )
                if self.level == VerifyLevel.CHAIN:
                    return []
                level = VerifyLevel.REPLAY
                result = engine.restore(
                    folder, os.path.join(place, "restored"), progress=self.steps.engine
                )
            if self.level == VerifyLevel.REPLAY:
                return []
            level = VerifyLevel.RESTORE
            return [x for path in result.databases for x in self._database(s, path)]
        except (errors.DeadlineError, errors.BackupAbortByServerError):
            raise
        except errors.DiskFullError:
            raise  # of the scratch folder: says nothing about the set
        except errors.JetError as error:
            return [_finding(s, level, error)]
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _database(self, s, path):
        found, name = [], os.path.basename(path)

        def tell(kind, pgno, objid, table, text):
            found.append(Finding(s.id, "RESTORE", f"{name}: {text}", file=name, pgno=pgno or None))

        with self.steps.stage("check", os.path.getsize(path)):
            totals = _jet.check_file(path, 0, tell)
        if not totals["findings"]:
            found.clear()  # notes only
        if self.check is not None and not found:
            with pyjet.open(path) as database:
                try:
                    self.check(database)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except Exception as error:
                    found.append(
                        Finding(
                            s.id, "RESTORE", f"{name}: {error}", type(error).__name__, file=name
                        )
                    )
        return found


def _mark(repo, s, level, ok):
    """Notes a verification beside the manifest, which stays as it is. A repository that cannot be written is verified all the same."""
    with contextlib.suppress(FileNotFoundError, errors.ManifestError):
        s = repo._load(s.id)  # another process may have verified it meanwhile
    marks = [*s.verified, {"level": level.name, "time": manifest.now().isoformat(), "ok": ok}]
    try:
        files.write_json(
            repo.path("catalog", f"{s.id}.verified.json"), {"marks": marks[-MARKS_KEPT:]}
        )
    except (errors.FileAccessDeniedError, PermissionError):
        pass


def _scratch(repo):
    """In the repository, so that it has the room; elsewhere when it cannot be written."""
    place = repo.path("scratch")
    mine = os.access in os.supports_effective_ids  # what counts is who writes, not who began the process
    return place if os.access(place, os.W_OK, effective_ids=mine) else tempfile.gettempdir()


def verify(repo, which, level, since_last, deadline, check, progress, scratch):
    """The work of BackupRepo.verify."""
    level = as_level(level)
    places.check_named(scratch)
    if check is not None and not callable(check):
        raise TypeError(f"check is a callable that takes a Database, or None, not {check!r}")
    began = time.monotonic()
    with Steps("verify", progress, deadline) as steps, repo.reading(steps.deadline):
        work = _Run(repo, level, check, steps, scratch or _scratch(repo))
        wanted = work.sets if which == "all" else [chains.choose(work.sets, which, work.failed)]
        looked, skipped, findings, left = [], [], [], list(wanted)
        if which == "all":
            findings += _failed(work.failed)
        best = None
        while left:
            s = left[0]
            if since_last and chains.passed(s, level.name):
                skipped.append(s.id)
                best = s
            else:
                try:
                    wrong = work.one(s)
                except errors.DeadlineError:
                    break
                looked.append(s.id)
                findings += [f for f in wrong if f not in findings]
                best = best if wrong else s
                _mark(repo, s, level, not wrong)
            left.pop(0)
        if which in ("all", "latest"):  # it may be the one that is meant
            findings += _without_manifest(repo)
    return VerifyReport(
        level=level.name,
        sets=tuple(looked),
        skipped=tuple(skipped),
        not_reached=tuple(s.id for s in left),
        findings=tuple(findings),
        generation=best.generations[1] if best else 0,
        reaches=best.finished.isoformat() if best else "",
        bytes=work.bytes,
        duration=time.monotonic() - began,
    )


def _failed(sets):
    return [Finding(x.id, "FILES", str(x.error), "ManifestError", file=f"{x.id}.json") for x in sets]


def _without_manifest(repo):
    text = "{} has no manifest: adopt it, or remove it"
    return [Finding(os.path.basename(name), "FILES", text.format(name), "ManifestError", file=name) for name in repo.without_manifest()]
