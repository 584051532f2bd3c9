"""BackupRepo: a folder of backup sets and their chains; how they lie there is told in store.py."""

import contextlib
import dataclasses
import os

from .. import errors
from . import chains, files, forecast, limits, manifest, note, packed, places, recovery, run
from .describe import describe, role_of, signature_of
from .steps import Steps
from .store import Store

NEEDS_FULL = (
    errors.MissingFullBackupError,
    errors.MissingFileToBackupError,
    errors.InvalidBackupError,
)


def _needed(error):
    return f"the engine asked for a full one ({type(error).__name__})"


class BackupRepo(Store):
    """A repository of backup sets of one instance: ``repo = BackupRepo("/backups/mail", create=True); repo.backup(inst)``.

    create: make it when the folder is not there or empty. compress: with ``create``, sets are stored compressed (zlib, ``level`` 1 to
    9, in blocks of 1 MiB). lock_timeout: seconds to wait for another process. RepoNotFoundError, RepoLockedError, ManifestError.
    """

    # ---- backup ----
    def backup(
        self,
        inst,
        *,
        kind="auto",
        max_chain=7,
        max_chain_bytes=None,
        progress=None,
        rate_limit=None,
        deadline=None,
        label=None,
        metadata=None,
        dry_run=False,
    ):
        """Back an instance up, while it is in use; gives back the new BackupSet.

        kind: "full", "incremental", or "auto": incremental when the last set can be continued, else full; the set's ``reason`` says
        why. max_chain: incremental sets that may follow a full one, max_chain_bytes: bytes of logs that may, before "auto" begins
        anew. rate_limit, deadline, label, metadata, dry_run: as for Instance.backup; the deadline ends the copying, a set that has been
        copied stays. With the set's checksums taken (and, in a compressed repository, its files compressed) it is done.

        The errors of Instance.backup; RepoLockedError; ChainBrokenError when kind="incremental" has no set to continue.
        """
        if kind not in ("auto", *manifest.KINDS):
            raise errors.InvalidParameterError('kind is "auto", "full" or "incremental"')
        limits.checked_number(max_chain, "max_chain is a number of sets", whole=True)
        if max_chain_bytes is not None:
            limits.checked_number(max_chain_bytes, "max_chain_bytes is a number of bytes, or None")
        label, metadata = note.checked(label, metadata)
        self._check_names(inst)
        rate_limit, deadline = limits.as_rate(rate_limit), limits.as_deadline(deadline)
        if dry_run:
            return self._forecast(inst, kind, *self._choose(inst, kind, max_chain, max_chain_bytes))
        with self._writing(deadline), Steps("backup", progress, deadline) as steps:
            chosen, parent, reason = self._choose(inst, kind, max_chain, max_chain_bytes)
            options = {"rate_limit": rate_limit, "label": label, "metadata": metadata}
            try:
                new = self._take(inst, steps, chosen, parent, reason, **options)
            except (*NEEDS_FULL, errors.ChainBrokenError) as error:
                if kind != "auto" or chosen == "full":
                    raise
                new = self._take(inst, steps, "full", None, _needed(error), **options)
            for waiting in self.sets():
                self._complete(waiting, steps)
            return self._load(new.id)

    def backup_iter(self, inst, **options):
        """The same as an iterator of pyjet.Progress that is pulled; ``.result`` at its end, ``close()`` cancels."""
        return run.BackupIterator(lambda progress: self.backup(inst, progress=progress, **options))

    def _forecast(self, inst, kind, chosen, parent, reason):
        to = self.path("work", manifest.new_id())  # a folder that no run has made yet
        try:
            chain = chains.chain_of(self.sets(), parent) if parent is not None else []
            known = frozenset(f.name for s in chain for f in s.files if f.role == "log")
            return forecast.forecast(inst, to, incremental=chosen == "incremental", present=known, reason=reason, at=self.root)
        except (*NEEDS_FULL, errors.ChainBrokenError) as error:
            if kind != "auto" or chosen == "full":
                raise
            return forecast.forecast(inst, to, incremental=False, reason=_needed(error), at=self.root)

    @staticmethod
    def _check_names(inst):
        """Before logs are deleted for a set that could not be kept. InvalidParameterError."""
        for path, _size in inst.attached():
            if not files.is_name(os.path.basename(path)):
                raise errors.InvalidParameterError(
                    f"{path!r}: a repository keeps no file with control characters in its name; rename it, or back it up to a folder"
                )

    def _choose(self, inst, kind, max_chain, max_chain_bytes):
        """(kind, parent or None, reason)."""
        if kind == "full":
            return "full", None, "asked for"
        last = (self.chains() or [[]])[-1]
        needs = self._needs_full(inst, last)
        if needs is None and kind == "auto":
            grown = sum(s.bytes for s in last[1:])
            if len(last) > max_chain:
                needs = f"{len(last) - 1} incremental sets follow the last full one"
            elif max_chain_bytes is not None and grown >= max_chain_bytes:
                needs = f"{grown} bytes of logs follow the last full one"
        if needs is None:
            return (
                "incremental",
                last[-1],
                "asked for" if kind == "incremental" else "the last set can be continued",
            )
        if kind == "incremental":
            if inst.params["CircularLog"]:
                raise errors.InvalidBackupError(
                    "circular logging keeps no logs for an incremental backup; make a full one"
                )
            raise errors.ChainBrokenError(needs, 'Make a full backup: kind="full" or "auto".')
        return "full", None, needs

    def _needs_full(self, inst, last):
        """Why the chain cannot be continued; None when it can."""
        if not last:
            return "there is no set yet"
        if inst.params["CircularLog"]:
            return "the instance logs circularly"
        folder, base_name, _checkpoint, current, closed = forecast.log_state(inst)
        if base_name.lower() != last[-1].base_name.lower():
            return "the last set is of another base name"
        if min(closed, default=current) > last[-1].generations[1] + 1:
            return (
                f"logs after generation {last[-1].generations[1]:#x} are gone from the log folder"
            )
        if current <= last[-1].generations[1]:
            return "the instance's logs are older than the last set"
        if signature_of(recovery.newest_log(folder, base_name)) != last[-1].signature:
            return "the instance's logs are of another sequence than the last set"
        return None

    def _take(self, inst, steps, kind, parent, reason, *, rate_limit, label, metadata):
        started, set_id = manifest.now(), manifest.new_id()
        made = self.path("work", set_id)
        os.mkdir(made)
        try:
            chain = chains.chain_of(self.sets(), parent) if parent is not None else []
            linked = self._link_known(inst, chain, made)
            result = run.run(
                inst,
                made,
                incremental=kind == "incremental",
                progress=steps.engine,
                rate_limit=rate_limit,
                deadline=steps.deadline,
            )
            self._drop_known(chain, made, linked)
            new = dataclasses.replace(
                describe(made, set_id, kind, parent),
                started=started,
                finished=manifest.now(),
                label=label,
                metadata=metadata,
                duration=result.duration,
                reason=reason,
                order=1 + max((s.order for s in self.sets()), default=0),
            )
            self._add(new)
        except BaseException:
            if not os.path.lexists(made + ".json"):
                files.remove_tree(made)
            raise
        return new

    def _link_known(self, inst, chain, made):
        """An increment's engine run wants every log that is still live, also those that the chain has: these stand there as links, so
        that they are compared and not copied again. Gives back {name: path of the chain's file}."""
        linked, closed = {}, forecast.log_state(inst)[4] if chain else {}
        live = {os.path.basename(path) for path in closed.values()}
        for s in chain:
            for f in s.files if s.store == "plain" else ():
                if f.role == "log" and f.name in live and f.name not in linked:
                    with contextlib.suppress(OSError):  # a file system without links: copied
                        os.link(self.file_path(s, f), os.path.join(made, f.name))
                        linked[f.name] = self.file_path(s, f)
        return linked

    def _drop_known(self, chain, made, linked):
        """Of the logs that the chain has, the set keeps only those whose bytes the engine found to be others."""
        known = {
            f.name: f.sha256
            for s in chain
            if s.store == "packed"
            for f in s.files
            if f.role == "log" and f.sha256
        }
        for name in os.listdir(made):
            at = os.path.join(made, name)
            if name in linked:
                if os.path.samefile(at, linked[name]):
                    os.unlink(at)
            elif name in known and files.sha256(at) == known[name]:
                os.unlink(at)

    def _complete(self, found, steps):
        """Checksums, then compression where the repository has it: what a set still lacks."""
        if not found.has_checksums and found.store == "plain":
            with steps.stage("checksums", found.bytes, limited=False) as step:
                listed = tuple(
                    f
                    if f.sha256
                    else dataclasses.replace(f, sha256=files.sha256(self.file_path(found, f), step))
                    for f in found.files
                )
            found = dataclasses.replace(found, files=listed)
            self._replace(found)
        if self.compress and found.store == "plain":
            self._pack(found, steps)

    def _replace(self, found):
        files.write_json(self.path("catalog", f"{found.id}.json"), manifest.to_json(found))

    def _pack(self, found, steps):
        """The set in its compressed form; the manifest's rename is the change."""
        made, home = self.path("work", f"{found.id}.packing"), self.path("packed", found.id)
        files.remove_tree(made)
        os.mkdir(made)
        listed = []
        with steps.stage("compress", found.bytes, limited=False) as step:
            for f in found.files:
                size = packed.pack(
                    self.file_path(found, f),
                    os.path.join(made, f.name + ".pz"),
                    level=self.level,
                    step=step,
                )
                listed.append(dataclasses.replace(f, packed=size))
        files.sync_folder(made)
        try:
            with self.removing():
                files.remove_tree(home)
                os.rename(made, home)
                files.sync_folder(self.path("packed"))
                self._replace(dataclasses.replace(found, store="packed", files=tuple(listed)))
                files.remove_tree(self.path("sets", found.id))
        except errors.RepoLockedError:
            files.remove_tree(made)  # somebody reads the plain form: the next backup tries again

    # ---- adopt ----
    def adopt(self, path, *, label=None, metadata=None, progress=None, deadline=None):
        """Take a copy of a backup folder that was made without the repository, by ESE or by Instance.backup; gives back its BackupSet.

        The folder may hold an atomic set (``new``, ``old``) and increments; it is only read. It is checked as before a restore:
        the errors of :func:`restore`; DatabaseInUseError, DatabaseDirtyShutdownError or InvalidParameterError when it is no backup but
        an instance's own folder. No backup continues an adopted set unless its logs are the instance's own.
        """
        places.check_named(path)
        label, metadata = note.checked(label, metadata)
        started, set_id = manifest.now(), manifest.new_id()
        with Steps("adopt", progress, deadline) as steps, self._writing(steps.deadline):
            found = places.survey(path)
            made = self.path("work", set_id)
            os.mkdir(made)
            try:
                names = sorted(n for n in os.listdir(found["dir"]) if role_of(n, found) is not None)
                total = sum(os.path.getsize(os.path.join(found["dir"], n)) for n in names)
                sums = {}
                with steps.stage("copy", total) as step:
                    for name in names:
                        sums[name] = files.copy(
                            os.path.join(found["dir"], name), os.path.join(made, name), step
                        )[1]
                new = describe(made, set_id, "full", None)
                listed = tuple(dataclasses.replace(f, sha256=sums[f.name]) for f in new.files)
                new = dataclasses.replace(
                    new,
                    files=listed,
                    origin="adopt",
                    started=started,
                    label=label,
                    metadata=metadata,
                    reason="adopted",
                )
                self._add(new)
            except BaseException:
                if not os.path.lexists(made + ".json"):
                    files.remove_tree(made)
                raise
            self._complete(new, steps)
            return self._load(set_id)

    # ---- the rest has its own modules ----
    def restore(
        self,
        which,
        destination,
        *,
        to="end",
        replace=False,
        roll_forward=None,
        rename=None,
        progress=None,
        deadline=None,
    ):
        """Restore a set, and what it continues, to a folder; gives back a RestoreResult.

        which: as for :meth:`get`. to: "end", or a point in time: a datetime or a log position to stop at, in logs of the set or of
        ``roll_forward``. With "latest" and a point in time the newest chain whose full set had ended by then is taken, up to the set
        whose logs reach it (ChainBrokenError when the logs between two chains are wanted, which no set holds). rename: new file names by the old ones.
        Files are held against their checksums on the way. Otherwise as :func:`restore`.
        SetNotFoundError, ChainBrokenError, DamagedSetError, DeadlineError.
        """
        from . import restoring

        return restoring.restore(
            self,
            which,
            destination,
            to=to,
            replace=replace,
            roll_forward=roll_forward,
            rename=rename,
            progress=progress,
            deadline=deadline,
        )

    def verify(
        self,
        which="latest",
        *,
        level=3,
        since_last=False,
        deadline=None,
        check=None,
        progress=None,
        scratch=None,
    ):
        """Look at sets, at increasing cost (VerifyLevel): FILES are there with their sizes; CHECKSUMS; CHAIN: logs without a gap, of
        one sequence, databases that fit them; REPLAY: restored to a scratch folder and rolled forward; RESTORE: and every page, tree,
        record and index of the result checked. Gives back a VerifyReport; what is wrong is in its ``findings``, not raised.

        which: as for :meth:`get`, or "all". since_last: pass over sets that passed this level before. check: at level RESTORE, a
        callable that gets each restored pyjet.Database; what it raises is a finding. deadline: seconds; sets not reached are in
        ``not_reached``. scratch: where REPLAY and RESTORE restore to (default: in the repository).
        """
        from . import verify

        return verify.verify(self, which, level, since_last, deadline, check, progress, scratch)

    def prune(self, *, dry_run=True, **rules):
        """Remove chains that no rule keeps; gives back a PruneReport. dry_run: only say what would go.

        Rules: keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly (counts: of the newest set of each such
        period), keep_within (timedelta), keep_labels, min_full (newest chains always kept, at least 1). A chain stays when one of its
        sets is kept, when it holds the last verified set, or when it is damaged. InvalidParameterError without any rule.
        """
        from . import prune

        return prune.prune(self, dry_run, **rules)

    def export(self, which, path, *, level=6, progress=None, deadline=None):
        """Write a set, and what it continues, to a tar.gz with checksums; gives back an ExportResult. The file appears when complete.

        DamagedSetError when a file of the set is not what it was; FileExistsError; InvalidParameterError for a file in the repository."""
        from . import archive

        return archive.export(self, which, path, level, progress, deadline)

    def import_(self, path, *, progress=None, deadline=None):
        """Take the sets of an exported tar.gz (a path, or a readable binary file); gives back those added. Nothing in it is trusted:
        names, sizes and checksums are held against its index. ManifestError, DamagedSetError."""
        from . import archive

        return archive.import_(self, path, progress, deadline)

    def status(self, *, max_age=None, max_verify_age=None):
        """RepoStatus: ages, bytes, what is wrong and what to do, for monitoring. Ages: timedelta or seconds."""
        from . import status

        return status.status(self, max_age, max_verify_age)
