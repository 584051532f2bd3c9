"""Session and Transaction."""

import collections
import contextlib
import os

from . import _jet, errors
from .backup import places
from .database import Database

_READERS_KEPT = 8


class Transaction:
    """``with ses.transaction():`` commits at the end, rolls back when an exception leaves the block. Nests to level 7.

    ``lazy``: the commit returns before it is on disk; a crash may lose it, never tear it. ``readonly``: changes are refused.
    """

    def __init__(self, session, lazy, readonly):
        self.session = session
        self.lazy = lazy
        self._grbit = _jet.JET_bitTransactionReadOnly if readonly else 0
        self.level = 0

    def __enter__(self):
        if self.level:
            raise errors.AlreadyPreparedError("the transaction has been entered before")
        _jet.JetBeginTransaction2(self.session.handle, self._grbit)
        self.level = self.session.level
        return self

    def _is_open(self):
        return self.level and not self.session.closed and self.session.level >= self.level

    def commit(self):
        """Commit now; the block's end then does nothing."""
        self.session.commit(lazy=self.lazy)
        self.level = 0

    def rollback(self):
        """Undo now; the block's end then does nothing."""
        self.session.rollback()
        self.level = 0

    def __exit__(self, kind, value, traceback):
        if not self._is_open():
            return
        if kind is None:
            try:
                self.commit()
                return
            except BaseException:
                self._undo()
                raise
        self._undo()

    def _undo(self):
        """Rolls back; an error of that does not hide the one that brought us here."""
        with contextlib.suppress(errors.JetError):
            while self._is_open():
                self.session.rollback()


class _Reader:
    """A session of our own under an iterator that runs outside a transaction: its snapshot does not touch the user's session."""

    def __init__(self, instance):
        self.handle = _jet.JetBeginSession(instance)
        self.databases = {}

    def open(self, table, index):
        path = table.database.path
        if path not in self.databases:
            self.databases[path] = _jet.JetOpenDatabase(
                self.handle, path, table.database._open_grbit
            )
        cursor = _jet.JetOpenTable(
            self.handle, self.databases[path], table.name, _jet.JET_bitTableReadOnly
        )
        try:
            if index is not None:
                _jet.JetSetCurrentIndex2(cursor, index)
            _jet.JetBeginTransaction2(self.handle, _jet.JET_bitTransactionReadOnly)
        except BaseException:
            _jet.JetCloseTable(cursor)
            raise
        return cursor

    def forget(self, path):
        dbid = self.databases.pop(path, None)
        if dbid is not None and not self.handle.ended:
            _jet.JetCloseDatabase(self.handle, dbid)


class Session:
    """A session of an instance: one call at a time, so one thread at a time; a transaction stays with its thread."""

    def __init__(self, instance, handle):
        self.instance = instance
        self.handle = handle
        self._databases = {}
        self._readers = collections.deque()
        self._reading = set()
        self._altered = []  # tables whose columns or indexes were changed in the open transaction

    # ---- transactions ----
    @property
    def level(self):
        """Transaction level: 0 outside."""
        return self.handle.level

    @property
    def closed(self):
        return self.handle.ended

    def transaction(self, *, lazy=False, readonly=False):
        """A Transaction, to be entered by ``with``."""
        return Transaction(self, lazy, readonly)

    def begin(self, *, readonly=False):
        """Begin a level by hand; commit() or rollback() ends it."""
        _jet.JetBeginTransaction2(self.handle, _jet.JET_bitTransactionReadOnly if readonly else 0)

    def commit(self, *, lazy=False):
        """Commit the innermost level; at level 1 it is durable when this returns, unless ``lazy``. NotInTransactionError."""
        _jet.JetCommitTransaction(self.handle, _jet.JET_bitCommitLazyFlush if lazy else 0)
        if not self.level:
            self._altered.clear()

    def rollback(self, *, all=False):
        """Undo the innermost level, or all."""
        _jet.JetRollback(self.handle, _jet.JET_bitRollbackAll if all else 0)
        altered = list(self._altered)
        if not self.level:
            self._altered.clear()
        for table in altered:
            table._reload_schema()

    def flush(self):
        """Make every commit of this session durable, lazy ones included."""
        _jet.JetCommitTransaction(self.handle, _jet.JET_bitWaitLastLevel0Commit)

    @contextlib.contextmanager
    def _own_transaction(self):
        if self.level:
            yield
        else:
            with self.transaction():
                yield

    # ---- databases ----
    def _database(self, path, dbid, grbit=0):
        database = Database(self, os.fspath(path), dbid, grbit)
        self._databases[dbid] = database
        return database

    def _opened(self, path, dbid, grbit=0):
        """The Database of what the engine has open now; without one it is closed again."""
        try:
            if not grbit & _jet.JET_bitDbReadOnly and not self.level:
                self.instance._attached.add(os.path.abspath(path))
            return self._database(path, dbid, grbit)
        except BaseException:
            _jet.JetCloseDatabase(self.handle, dbid)
            raise

    def create(self, path, *, overwrite=False, create_path=True):
        """Create a database file, attach and open it. DatabaseDuplicateError when there is one, unless ``overwrite``."""
        folder = os.path.dirname(os.path.abspath(path))
        if create_path:
            with places.told(folder):
                os.makedirs(folder, exist_ok=True)
        grbit = _jet.JET_bitDbOverwriteExisting if overwrite else 0
        return self._opened(path, _jet.JetCreateDatabase2(self.handle, path, 0, grbit))

    def attach(self, path, *, readonly=False):
        """Attach a database file to the instance, if it is not yet, and open it. FileNotFoundError of the engine says where it looked."""
        grbit = _jet.JET_bitDbReadOnly if readonly else 0
        if (
            not self.level
        ):  # inside a transaction nothing is attached; what is attached can be opened
            _jet.JetAttachDatabase2(self.handle, path, 0, grbit)
        return self._opened(path, _jet.JetOpenDatabase(self.handle, path, grbit), grbit)

    def open(self, path, *, create=False, readonly=False):
        """Open a database: attach it when needed, and with ``create`` make it when it is not there."""
        if create and not readonly and not os.path.lexists(path):
            return self.create(path)
        return self.attach(path, readonly=readonly)

    def detach(self, path):
        """Detach a database from the instance; the file is clean afterwards. DatabaseInUseError while a session has it open."""
        _jet.JetDetachDatabase2(self.handle, path)
        self.instance._attached.discard(os.path.abspath(path))

    # ---- iterators ----
    def _reading_cursor(self, table, index):
        """A cursor for one iterator, and what to call at its end: in the open transaction, else in a snapshot of its own."""
        if self.instance is None or self.level:
            cursor = _jet.JetDupCursor(table._main)
            if index is not None:
                _jet.JetSetCurrentIndex2(cursor, index)

            def close():
                if not cursor.closed:
                    _jet.JetCloseTable(cursor)

            return cursor, close
        return self._outside_cursor(table, index)

    def _outside_cursor(self, table, index):
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = _Reader(self.instance.handle)

        def give_back():
            self._reading.discard(reader)
            if reader.handle.ended:
                return
            try:
                _jet.JetRollback(reader.handle, _jet.JET_bitRollbackAll)
            except errors.SessionSharingViolationError:
                # another thread dropped the iterator, or collected it: a transaction ends there with its session only
                _jet.JetEndSession(reader.handle)
                return
            if not cursor.closed:
                _jet.JetCloseTable(cursor)
            if self.closed or len(self._readers) >= _READERS_KEPT:
                _jet.JetEndSession(reader.handle)
            else:
                self._readers.append(reader)

        answer = [None, give_back]  # all that memory is needed for comes before the snapshot is held
        answer[0] = cursor = reader.open(table, index)
        self._reading.add(reader)
        return answer

    def _readers_forget(self, path):
        for reader in list(self._readers):
            reader.forget(path)

    # ---- end ----
    def close(self):
        """End the session: open transactions are rolled back, its databases, tables and iterators close with it."""
        if not self.handle.ended:
            _jet.JetEndSession(self.handle)
        for reader in [*self._readers, *self._reading]:
            if not reader.handle.ended:
                _jet.JetEndSession(reader.handle)
        self._readers.clear()
        self._databases.clear()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
            return
        with contextlib.suppress(errors.JetError):
            self.close()

    def __repr__(self):
        return f"<Session {'closed' if self.closed else f'level {self.level}'}>"
