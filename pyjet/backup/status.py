"""The state of a repository, for people and for monitoring."""

import contextlib
import dataclasses
import datetime
import os

from .. import errors
from . import chains, forecast, limits, manifest, prune
from .results import Result, human


@dataclasses.dataclass(frozen=True)
class RepoStatus(Result):
    """``level``: "ok", "warning" or "critical"; ``problems``: (level, text); ages in seconds, None when there is no such set."""

    root: str
    level: str
    problems: tuple
    sets: int
    chains: int
    bytes: int
    stored_bytes: int
    free: int
    compressed: bool
    latest: str | None
    latest_full: str | None
    latest_age: float | None
    latest_full_age: float | None
    last_verified: str | None
    verified_age: float | None
    chain_length: int

    @property
    def ok(self):
        return self.level == "ok"

    def __str__(self):
        age = (
            "no set yet"
            if self.latest is None
            else f"latest {self.latest}, {_hours(self.latest_age)} old"
        )
        lines = [
            f"{self.level.upper()}: {self.sets} sets in {self.chains} chains, {human(self.stored_bytes)}, {human(self.free)} free; {age};"
            f" last verified: {self.last_verified or 'none'}"
        ]
        return "\n".join([*lines, *(f"{level}: {text}" for level, text in self.problems)])


def _hours(seconds):
    return f"{seconds / 3600:.1f} h"


def _seconds(age, name):
    return None if age is None else limits.checked_seconds(age, f"{name} is a timedelta, a number of seconds, or None")


def _age(s, at):
    return None if s is None else max(0.0, (at - s.finished).total_seconds())


def _problems(repo, listed, sets, orphans, latest, at, max_age, max_verify_age, sure):
    for x in listed:
        if not isinstance(x, manifest.BackupSet):
            yield "critical", f"the manifest of {x.id} cannot be used: {x.error}"
    for s in orphans:
        yield "critical", f"{s.id} continues {s.parent}, which is gone: it cannot be restored"
    for s in sets:
        if not os.path.isdir(repo.folder(s)) and _still_there(repo, s):
            yield "critical", f"the folder of {s.id} is gone"
        elif s.verified and not s.verified[-1]["ok"]:
            yield (
                "critical",
                f"{s.id} failed its last verification: pyjet verify says where; make a full backup",
            )
    if latest is None:
        yield "warning", "there is no backup yet: make one"
    elif max_age is not None and _age(latest, at) > max_age:
        yield (
            "critical",
            f"the latest set is {_hours(_age(latest, at))} old, more than {_hours(max_age)}",
        )
    if max_verify_age is not None and (sure is None or _verified_age(sure, at) > max_verify_age):
        yield "warning", f"no set was verified within {_hours(max_verify_age)}: run verify"
    for name in repo.without_manifest():
        yield "warning", f"{name} has no manifest: adopt it, or remove it"


def _still_there(repo, s):
    """The set was not removed, and keeps its form, since it was listed."""
    with contextlib.suppress(FileNotFoundError, errors.ManifestError):
        return repo._load(s.id).store == s.store
    return False


def _verified_age(s, at):
    good = [datetime.datetime.fromisoformat(m["time"]) for m in s.verified if m["ok"]]
    return max(0.0, (at - max(good)).total_seconds())


def status(repo, max_age, max_verify_age):
    """The work of BackupRepo.status."""
    max_age, max_verify_age = _seconds(max_age, "max_age"), _seconds(max_verify_age, "max_verify_age")
    at = manifest.now()
    listed = repo.list(include_failed=True)
    sets = [x for x in listed if isinstance(x, manifest.BackupSet)]
    found, orphans = chains.build(sets)
    latest = sets[-1] if sets else None  # listed oldest first
    full = next((s for s in reversed(sets) if s.kind == "full"), None)
    sure = prune.last_verified(sets)
    problems = tuple(
        _problems(
            repo,
            listed,
            sets,
            orphans,
            latest,
            at,
            max_age,
            max_verify_age,
            sure,
        )
    )
    levels = {level for level, _ in problems}
    return RepoStatus(
        root=repo.root,
        level="critical" if "critical" in levels else "warning" if levels else "ok",
        problems=problems,
        sets=len(sets),
        chains=len(found),
        bytes=sum(s.bytes for s in sets),
        stored_bytes=sum(s.stored_bytes for s in sets),
        free=forecast.free_at(repo.root),
        compressed=repo.compress,
        latest=latest.id if latest else None,
        latest_full=full.id if full else None,
        latest_age=_age(latest, at),
        latest_full_age=_age(full, at),
        last_verified=sure.id if sure else None,
        verified_age=_verified_age(sure, at) if sure else None,
        chain_length=len(found[-1]) if found else 0,
    )
