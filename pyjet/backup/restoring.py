"""A chain of sets as one folder that restore reads; and the restore itself."""

import contextlib
import dataclasses
import datetime
import hashlib
import os

from .. import errors
from ..position import as_stop, stop_options
from . import chains, engine, files, packed, places
from .steps import Steps


def parts(chain):
    """[(set, file)] of all files that a restore of the last set needs; of a log that lies in two sets, the newer copy."""
    return list({f.name: (s, f) for s in chain for f in s.files}.values())


def check_sum(s, f, digest):
    if f.sha256 is not None and digest != f.sha256:
        raise errors.DamagedSetError(
            f"{s.id}: {f.name}: its checksum is wrong", packed.HINT, file=f.name
        )


def blocks(repo, s, f):
    """The bytes of one file of a set as ESE has them, streamed, held against size and checksum. DamagedSetError."""
    path, digest, size = repo.file_path(s, f), hashlib.sha256(), 0
    try:
        source = packed.Reader(path, f.size) if s.store == "packed" else open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise errors.DamagedSetError(
            f"{s.id}: {f.name} is missing", packed.HINT, file=f.name
        ) from None
    with source:
        for chunk in source if s.store == "packed" else iter(lambda: source.read(files.CHUNK), b""):
            digest.update(chunk)
            size += len(chunk)
            if size > f.size:
                break
            yield chunk
    if size != f.size:
        raise errors.DamagedSetError(
            f"{s.id}: {f.name} has not the {f.size} bytes that were written",
            packed.HINT,
            file=f.name,
        )
    check_sum(s, f, digest.hexdigest())


HEAD = 1 << 20  #: bytes of a database that hold both copies of its header, whatever its page size


def _inflate(repo, s, f, to, step, heads):
    with places.told(to), open(to, "xb") as dst:
        for chunk in blocks(repo, s, f):
            files.write_sparse(dst, chunk)
            step(len(chunk))
            if heads and f.role == "database" and dst.tell() >= HEAD:
                break
        dst.truncate(f.size)


@contextlib.contextmanager
def staged(repo, chain, parent, steps, *, checked=False, heads=False):
    """A folder below ``parent`` with the chain as ESE's restore wants it: links to plain files, inflated copies of packed ones.

    checked: the checksums have just been looked at. heads: of databases only the headers are wanted."""
    with places.work_folder(parent, ".pyjet-", ".staged") as place:
        wanted = parts(chain)
        with steps.stage("read", sum(f.size for _, f in wanted)) as step:
            for s, f in wanted:
                to = os.path.join(place, f.name)
                if s.store == "packed":
                    _inflate(repo, s, f, to, step, heads)
                    continue
                for chunk in () if checked else blocks(repo, s, f):
                    step(len(chunk))
                os.symlink(repo.file_path(s, f), to)
        yield place


def _ends_before(chain, stop, roll_forward):
    """What there is to say when no log of the chain can be as late as the time that was asked for; "" when one can."""
    last = chain[-1]
    if not isinstance(stop, datetime.datetime) or stop <= last.finished or roll_forward is not None:
        return ""
    return (
        f"its logs end before {stop:%Y-%m-%d %H:%M:%S} UTC: restored to the end of {last.id}, finished"
        f" {last.finished:%Y-%m-%d %H:%M:%S} UTC; with the logs that followed it (roll_forward) more can be had"
    )


def restore(repo, which, destination, *, to, replace, roll_forward, rename, progress, deadline):
    """The work of BackupRepo.restore."""
    stop = None if isinstance(to, str) and to == "end" else as_stop(to)
    places.check_named(destination, roll_forward)
    destination = places.whole(destination)
    engine.check_destination(destination, repo.root)
    if (
        not replace
        and os.path.lexists(destination)
        and not (os.path.isdir(destination) and not os.listdir(destination))
    ):
        raise engine.DestinationNotEmpty(destination)
    with Steps("restore", progress, deadline) as steps, repo.reading(steps.deadline):
        sets, failed = repo.whole_and_failed()
        chosen = chains.reaching(sets, stop, roll_forward is not None) if which == "latest" and stop is not None else None
        chain = chains.chain_of(sets, chosen or chains.choose(sets, which, failed))
        note = _ends_before(chain, stop, roll_forward)
        if note and chosen is not None:
            chains.refuse_hidden(chosen, failed)
        if not note:
            stop_options(stop)  # says what it cannot be, before anything is copied
        parent = os.path.dirname(destination)
        with places.told(destination):
            os.makedirs(parent, exist_ok=True)
        with staged(repo, chain, parent, steps) as place:
            result = engine.restore(
                place,
                destination,
                replace=replace,
                roll_forward=roll_forward,
                rename=rename,
                progress=steps.engine,
                stop_at=None if note else stop,
            )
    return dataclasses.replace(result, note=note)
