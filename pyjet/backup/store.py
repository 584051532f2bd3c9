"""The folder of a repository: layout, locks, what a crash left, and the catalog.

On disk::

    pyjet-repo.json   what this folder is, and how sets are stored
    sets/<id>/        a plain set: ESE's own files, nothing else
    packed/<id>/      a compressed set: <name>.pz of each file
    catalog/<id>.json the manifest; a set is there when its manifest is (<id>.verified.json: marks of verifications)
    work/             what is being made or removed; the next writer finishes it or sweeps it
    lock, use         flock: one writer; readers against removal

A new set is made in work/, complete and synced; its manifest is written there too, and from then on it is certain: a crash later is
rolled forward, a crash before leaves nothing. A set is removed by moving its manifest away first.
"""

import contextlib
import dataclasses
import os

from .. import errors
from . import chains, files, limits, manifest, places
from .manifest import BackupSet

MARKER = "pyjet-repo.json"
FOLDERS = ("sets", "packed", "catalog", "work", "scratch")


@dataclasses.dataclass(frozen=True)
class FailedSet:
    """A manifest that cannot be used: ``error`` says why."""

    id: str
    error: Exception


class Store:
    """What BackupRepo stands on."""

    def __init__(self, root, *, create=False, compress=False, level=1, lock_timeout=0.0):
        places.check_named(root)
        self.root = os.path.abspath(root)
        self.lock_timeout = limits.checked_number(lock_timeout, "lock_timeout is a number of seconds", most=limits.SECONDS_MOST)
        if create and not os.path.lexists(self.path(MARKER)):
            self._create(compress, level)
        settings = self._settings()
        self.compress, self.level = settings["compress"], settings["level"]
        self._writer = files.Lock(self.path("lock"), "another process writes to it")
        self._use = files.Lock(
            self.path("use"), "its sets are being read or removed by another process"
        )

    def path(self, *names):
        return os.path.join(self.root, *names)

    def _create(self, compress, level):
        if type(level) is not int or not 1 <= level <= 9:
            raise errors.InvalidParameterError("level is 1 (fast) to 9 (small)")
        os.makedirs(self.root, exist_ok=True)
        others = [n for n in os.listdir(self.root) if n not in (*FOLDERS, "lock", "use", MARKER) and not n.startswith(f".{MARKER}.")]
        if others:  # of the names left out: what another process makes just now, or a killed one left
            raise errors.DestinationNotEmptyError(
                self.root, "Name an empty folder for a new repository."
            )
        for name in FOLDERS:
            os.makedirs(self.path(name), exist_ok=True)
        value = {"format": "pyjet-repo", "v": 1, "compress": bool(compress), "level": level}
        files.write_json(self.path(MARKER), value)
        files.sync_folder(os.path.dirname(self.root))

    def _marker(self):
        try:
            return files.read_json(self.path(MARKER))
        except PermissionError as error:
            raise places.as_engine_error(error, self.root) from error

    def _settings(self):
        try:
            found = self._marker()
        except (FileNotFoundError, NotADirectoryError):
            hint = (
                "Name its folder, or make one: pyjet init FOLDER, BackupRepo(folder, create=True)."
            )
            raise errors.RepoNotFoundError(self.root, hint) from None
        level = found.get("level", 1)
        if (
            found.get("format") != "pyjet-repo"
            or found.get("v") != 1
            or type(level) is not int
            or not 1 <= level <= 9
        ):
            raise errors.ManifestError(
                f"{self.path(MARKER)} is not of this version", "Use a newer pyjet."
            )
        return {"compress": found.get("compress") is True, "level": level}

    def __repr__(self):
        return f"<BackupRepo {self.root}{' compressed' if self.compress else ''}>"

    # ---- locks, and what a crash left ----
    @contextlib.contextmanager
    def _told(self):
        """What the system refuses below the repository is told as the engine tells it; RepoNotFoundError when all of it is gone."""
        try:
            yield
        except OSError as error:
            ours = isinstance(error.filename, str) and error.filename.startswith(self.root)
            better = places.as_engine_error(error, self.root) if ours else None
            if better is None:
                raise
            if not os.path.lexists(self.path(MARKER)):
                hint = "It was there before: mount its file system, or name the folder where it lies now."
                better = errors.RepoNotFoundError(self.root, hint)
            raise better from error

    @contextlib.contextmanager
    def _writing(self, deadline=None):
        with self._told(), self._writer.held(timeout=self.lock_timeout, deadline=deadline):
            for name in FOLDERS:
                os.makedirs(self.path(name), exist_ok=True)
            self._recover()
            yield

    @contextlib.contextmanager
    def reading(self, deadline=None):
        """Context: no set is removed meanwhile."""
        with self._told(), self._use.held(
            shared=True, timeout=self.lock_timeout, deadline=deadline
        ):
            yield

    def removing(self, timeout=None):
        return self._use.held(timeout=self.lock_timeout if timeout is None else timeout)

    def _recover(self):
        """Rolls forward what was certain, sweeps the rest. Only work/ is swept; sets without a manifest are left for adopt."""
        left = sorted(os.listdir(self.path("work")))
        for name in left:
            at = self.path("work", name)
            set_id = name.split(".")[0]
            if name == f"{set_id}.json" and manifest.is_id(set_id):
                self._commit(set_id)
            elif name == f"{set_id}.removed.json" and manifest.is_id(set_id):
                self._finish_removal(set_id)
            elif os.path.lexists(at) and f"{set_id}.json" not in left:
                files.remove_tree(at)
        for folder, store in (("sets", "packed"), ("packed", "plain")):
            for set_id in os.listdir(self.path(folder)):
                self._sweep_other_form(folder, set_id, store)

    def _sweep_other_form(self, folder, set_id, store):
        """A set whose manifest names its other form: the change of form was broken off after or before its commit."""
        if not manifest.is_id(set_id) or not os.path.isdir(
            self.path("sets" if store == "plain" else "packed", set_id)
        ):
            return
        with contextlib.suppress(OSError, errors.ManifestError):
            if self._load(set_id).store == store:
                with self.removing(0.0):
                    files.remove_tree(self.path(folder, set_id))

    def _commit(self, set_id):
        """work/<id>/ and work/<id>.json become a set. Each step may have been done before a crash."""
        made, store = self.path("work", set_id), None
        store = manifest.load(made + ".json").store
        home = self.path("sets" if store == "plain" else "packed", set_id)
        if os.path.isdir(made):
            os.rename(made, home)
            files.sync_folder(os.path.dirname(home))
            files.sync_folder(self.path("work"))
        os.rename(made + ".json", self.path("catalog", f"{set_id}.json"))
        files.sync_folder(self.path("catalog"))
        files.sync_folder(self.path("work"))

    def _add(self, new):
        """The set whose files lie, synced, in work/<id>/."""
        made = self.path("work", new.id)
        files.sync_folder(made)
        manifest.from_json(manifest.to_json(new), "the new set")  # what could not be read again is not written
        files.write_json(made + ".json", manifest.to_json(new))
        self._commit(new.id)

    def remove(self, found):
        """Takes one set away; a crash on the way is finished by the next writer. For prune: both locks are held."""
        name = f"{found.id}.removed.json"
        os.rename(self.path("catalog", f"{found.id}.json"), self.path("work", name))
        files.sync_folder(self.path("catalog"))
        files.sync_folder(self.path("work"))
        self._finish_removal(found.id)

    def _finish_removal(self, set_id):
        for folder in ("sets", "packed"):
            home, gone = self.path(folder, set_id), self.path("work", f"{set_id}.{folder}")
            if os.path.isdir(home):
                os.rename(home, gone)
            files.remove_tree(gone)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("catalog", f"{set_id}.verified.json"))
        os.unlink(self.path("work", f"{set_id}.removed.json"))

    # ---- reading the catalog ----
    def _load(self, set_id):
        found = manifest.load(self.path("catalog", f"{set_id}.json"))
        marks = ()
        with contextlib.suppress(OSError, errors.ManifestError):
            listed = files.read_json(self.path("catalog", f"{set_id}.verified.json")).get("marks")
            marks = (
                tuple(m for m in listed if chains.is_mark(m)) if isinstance(listed, list) else ()
            )
        return dataclasses.replace(found, verified=marks)

    def list(self, *, include_failed=False):
        """The sets, oldest first, as BackupSet. A damaged manifest raises; with include_failed it comes as a FailedSet."""
        found, failed = [], []
        with self._told():
            names = sorted(os.listdir(self.path("catalog")))
        for name in names:
            set_id = name.removesuffix(".json")
            if not manifest.is_id(set_id):
                continue
            try:
                found.append(self._load(set_id))
            except FileNotFoundError:
                pass  # removed meanwhile
            except errors.ManifestError as error:
                if not include_failed:
                    raise
                failed.append(FailedSet(set_id, error))
        return failed + chains.ordered(found)

    def whole_and_failed(self):
        """([BackupSet], [FailedSet]), each oldest first."""
        listed = self.list(include_failed=True)
        return [x for x in listed if isinstance(x, BackupSet)], [x for x in listed if isinstance(x, FailedSet)]

    def without_manifest(self):
        """Names of folders of sets ("sets/<id>") that no manifest stands for: it was lost, or somebody put the folder there."""
        known = {name.removesuffix(".json") for name in os.listdir(self.path("catalog"))}
        for place in ("sets", "packed"):
            folder = self.path(place)
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                if name not in known and not os.path.exists(self.path("work", f"{name}.json")):
                    yield f"{place}/{name}"

    def sets(self):
        """The sets whose manifests are whole, oldest first."""
        return self.whole_and_failed()[0]

    def chains(self):
        """Lists of sets that restore together: each begins with a full one. Sets whose parents are gone are left out."""
        return chains.build(self.sets())[0]

    def get(self, which="latest"):
        """One set: "latest", "latest-full", "first", an id or its beginning, a label, a datetime (the last one finished by then), or
        a BackupSet. SetNotFoundError; InvalidParameterError when an id's beginning fits several; ManifestError when the manifest of a
        newer set than the latest one that is left cannot be used."""
        sets, failed = self.whole_and_failed()
        return chains.choose(sets, which, failed)

    def latest(self, kind=None):
        """The newest set; kind "full" or "incremental": the newest of that kind."""
        sets, failed = self.whole_and_failed()
        return chains.choose([s for s in sets if kind in (None, s.kind)], "latest", failed)

    def folder(self, found):
        """Where a set's files lie."""
        return self.path("sets" if found.store == "plain" else "packed", found.id)

    def file_path(self, found, file):
        return os.path.join(
            self.folder(found), file.name + (".pz" if found.store == "packed" else "")
        )
