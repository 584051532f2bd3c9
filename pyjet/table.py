"""Table: rows in and out. A table is no cursor: every loop and every look-up has one of its own."""

import collections.abc
import contextlib

from . import _jet, errors, schema

collections.abc.Mapping.register(_jet.Row)
_MISSING = object()
_KEY_MOST = {2048: 500, 4096: 1000}
_SEEK = {
    "eq": _jet.JET_bitSeekEQ,
    "ge": _jet.JET_bitSeekGE,
    "gt": _jet.JET_bitSeekGT,
    "le": _jet.JET_bitSeekLE,
    "lt": _jet.JET_bitSeekLT,
}


def _key(value):
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _no_lookup(key, table):
    """In the place of a _jet.Lookup that is not made yet."""
    return False


class Table:
    """A table of a database: ``db.tables[name]`` or ``db.create_table(...)``.

    It belongs to its session, and so to one thread at a time. Changes outside a transaction are durable commits of their own.
    """

    def __init__(self, database, name, cursor):
        self.database = database
        self.name = name
        self._session = database._session
        self._opened = cursor
        self._cursors = {}
        self._keys = {}
        self._projections = {}
        self._load_schema()

    @property
    def _main(self):
        """The table's own cursor; one that was opened in a transaction goes with its rollback, and is opened again."""
        if self._opened.closed:
            self._opened = _jet.JetOpenTable(self._session.handle, self.database.dbid, self.name)
        return self._opened

    # ---- schema ----
    def _load_schema(self):
        entries, indexes = _jet.visit_columns(self._main), _jet.visit_indexes(self._main)
        self._schema = entries, indexes
        filetime = self.database._filetime.get(self.name, ())
        self.columns = {e[0]: schema.column_from(e, filetime) for e in entries}
        names = {c.id: c.name for c in self.columns.values()}
        self.indexes = {e[0]: schema.index_from(e, names) for e in indexes}
        self._plan = _jet.Plan([c._plan_entry() for c in self.columns.values()])
        self._keys.clear()
        self._projections.clear()
        self._lookup = _no_lookup

    def _schema_changed(self):
        """After a change of columns or indexes: a rollback takes it back."""
        self._load_schema()
        if self._session.level and self not in self._session._altered:
            self._session._altered.append(self)

    def _reload_schema(self):
        """The schema as it is now; of a table that went with a rollback, as it was."""
        with contextlib.suppress(errors.JetError):
            self._load_schema()
        for name in [n for n in self._cursors if n is not None and n not in self.indexes]:
            self._close_cursor(name)

    def _close_cursor(self, index):
        cursor = self._cursors.pop(index, None)
        if cursor is not None and not cursor.closed:
            _jet.JetCloseTable(cursor)

    def _is_stale(self):
        """Another session has changed columns or indexes since they were read; they are read again."""
        before = self._schema
        self._reload_schema()
        return self._schema != before

    def filetime(self, *columns):
        """Read and write these DateTime columns as FILETIME: some files of Windows keep that in them."""
        for name in columns:
            if self.columns[name].coltyp != schema.DateTime.coltyp:
                raise errors.InvalidColumnTypeError(f"{name} is no DateTime column")
        self.database._filetime.setdefault(self.name, set()).update(columns)
        self._load_schema()
        return self

    @property
    def primary_index(self):
        """The primary Index, or None: then records stand in the order of their insertion."""
        return next((i for i in self.indexes.values() if i.primary), None)

    def _index_name(self, index):
        if index is not None:
            if index not in self.indexes and not (self._is_stale() and index in self.indexes):
                raise errors.IndexNotFoundError(
                    f"{self.name} has no index {index!r}; it has {', '.join(self.indexes) or 'none'}"
                )
            return index
        primary = self.primary_index
        if primary is None:
            raise errors.IndexNotFoundError(
                f"{self.name} has no primary index: name one with index="
            )
        return primary.name

    def _key_plan(self, index):
        plan = self._keys.get(index)
        if plan is None:
            entries = []
            for name, _ in self.indexes[index].segments:
                column, columnid, coltyp, code_page, flags = self.columns[name]._plan_entry()
                entries.append(
                    (column, columnid, coltyp, code_page, flags & ~1)
                )  # one value, also of several
            plan = self._keys[index] = _jet.Plan(entries)
        return plan

    def _columns_plan(self, columns):
        if columns is None:
            return self._plan
        columns = tuple(columns)
        plan = self._projections.get(columns)
        if plan is None:
            for name in columns:
                if name not in self.columns and not (self._is_stale() and name in self.columns):
                    raise errors.ColumnNotFoundError(f"{name!r} in {self.name}")
            plan = self._projections[columns] = _jet.Plan(
                [self.columns[n]._plan_entry() for n in columns]
            )
        return plan

    def _cursor(self, index=None):
        """This thread's cursor for single look-ups by an index (None: the primary order)."""
        cursor = self._cursors.get(index)
        if cursor is None or cursor.closed:
            cursor = _jet.JetDupCursor(self._main)
            if index is not None:
                _jet.JetSetCurrentIndex2(cursor, index)
            self._cursors[index] = cursor
        return cursor

    # ---- one row ----
    def insert(self, values=None, /, **columns):
        """Insert a record; gives back its Row.

        Values as the column types say (pyjet.schema); None is NULL, a column left out takes its default. Outside a transaction
        it is a durable commit of its own. KeyDuplicateError, NullInvalidError, ColumnTooBigError, WriteConflictError.
        """
        if values is not None:
            columns = {**values, **columns}
        try:
            return _jet.insert_row(self._cursor(), self._plan, columns, self)
        except errors.ColumnNotFoundError:
            if not self._is_stale():
                raise
        return _jet.insert_row(self._cursor(), self._plan, columns, self)

    def insert_many(self, rows, columns=None):
        """Insert the rows of an iterable; gives back how many.

        A row is a mapping, or a sequence of values in the order of ``columns``. In a transaction all belongs to it. Outside one
        every 1,000 rows (or 16 MiB) are a durable commit; when one fails, those before its thousand stay. What a row raises
        carries a note that counts it.
        """
        try:
            return _jet.insert_many(self._cursor(), self._plan, rows, columns)
        except errors.ColumnNotFoundError:
            self._is_stale()  # what another session has changed is known the next time
            raise

    def get(self, *key, index=None, columns=None, default=_MISSING):
        """The Row with this key in the primary index, or in ``index``. RecordNotFoundError (a LookupError), or ``default``.

        With fewer values than the index has columns, or an index that is not unique: the first such row.
        """
        try:
            if index is None and columns is None:
                row = self._lookup(key, self)
                if row is None:
                    if default is not _MISSING and len(key) == self._lookup.width:
                        return default
                elif row is not False:
                    return row
            return self._get(key, index, columns, default)
        except errors.ColumnNotFoundError:
            if not self._is_stale():
                raise
        return self._get(key, index, columns, default)

    def _get(self, key, index, columns, default):
        """The long way: chooses index and columns, and says what is wrong when there is no such row."""
        usual = index is None and columns is None
        index = self._index_name(index)
        cursor, keys, plan = self._cursor(index), self._key_plan(index), self._columns_plan(columns)
        if usual:
            self._lookup = _jet.Lookup(cursor, keys, plan)
        try:
            return _jet.get_row(cursor, keys, key, plan, self)
        except errors.RecordNotFoundError:
            if len(key) < len(self.indexes[index].segments):
                row = self._first(index, key, columns)
                if row is not None:
                    return row
            if default is not _MISSING:
                return default
            raise

    def _first(self, index, key, columns):
        with self.range(index, low=key, high=key, inclusive=True, columns=columns) as rows:
            return next(rows, None)

    def find(self, *key, index=None, match="eq", columns=None):
        """The first Row at ``key``, or None. match: "eq", or the nearest with "ge", "gt" (forward), "le", "lt" (backward)."""
        if match not in _SEEK:
            raise ValueError(f"match is one of {', '.join(_SEEK)}")
        if match == "eq":
            return self.get(*key, index=index, columns=columns, default=None)
        index = self._index_name(index)
        cursor = self._cursor(index)
        plan = self._key_plan(index)
        names = plan.names
        if not 0 < len(key) <= len(names):
            raise TypeError(f"give 1 to {len(names)} values: as many as the index has columns, or fewer")
        partial = len(key) < len(names)
        for at, value in enumerate(key):
            grbit = _jet.JET_bitNewKey if at == 0 else 0
            if partial and at == len(key) - 1 and match in ("gt", "le"):
                grbit |= _jet.JET_bitFullColumnEndLimit
            _jet.JetMakeKey(cursor, plan.encode(names[at], value), grbit)
        try:
            _jet.JetSeek(cursor, _SEEK[match])
        except errors.RecordNotFoundError:
            return None
        return _jet.current_row(cursor, self._columns_plan(columns), self)

    # ---- many rows ----
    def rows(self, columns=None, *, index=None, reverse=False):
        """Iterator over all rows, in the order of the primary index or of ``index``.

        It reads one snapshot: that of the open transaction, else one of its own, which lasts until the iterator ends or is
        closed (it is a context manager). ``columns``: only these.
        """
        return self._iterate(index, (), (), False, 0, reverse, columns)

    __iter__ = rows

    def range(
        self,
        index=None,
        low=None,
        high=None,
        *,
        inclusive=False,
        prefix=None,
        reverse=False,
        columns=None,
    ):
        """Iterator over the rows from ``low`` to ``high`` in the order of an index (None: the primary one).

        Half-open: ``high`` itself is left out unless ``inclusive``. A scalar stands for a one-column key; a tuple may be shorter
        than the index. ``prefix``: the rows whose key begins with it; its last value, when a str or bytes, is a prefix itself.
        In a descending column low is what comes first, so the greater value.
        """
        index = self._index_name(index)
        if prefix is None:
            return self._iterate(index, _key(low), _key(high), inclusive, 0, reverse, columns)
        if low is not None or high is not None:
            raise ValueError("give either prefix, or low and high")
        key = _key(prefix)
        return self._iterate(index, key, key, True, self._prefix_kind(index, key), reverse, columns)

    def _prefix_kind(self, index, key):
        """How _jet.span makes its ends out of a prefix."""
        last = key[-1] if key else None
        if isinstance(last, str):
            return 2
        if not isinstance(last, (bytes, bytearray, memoryview)):
            return 1
        segments = self.indexes[index].segments
        return 4 if len(key) <= len(segments) and segments[len(key) - 1][1] else 3

    def _iterate(self, index, low, high, inclusive, prefix, reverse, columns):
        plan = self._columns_plan(columns)
        if index is not None:
            index = self._index_name(index)
        cursor, release = self._session._reading_cursor(self, index)
        try:
            keys = self._key_plan(index) if index is not None else _NO_KEYS
            if not _jet.span(cursor, keys, low, high, inclusive, prefix, reverse):
                release()
                return iter_nothing(cursor)
            return _jet.rows(cursor, plan, self, release, reverse)
        except BaseException:
            release()
            raise

    def __len__(self):
        """The number of records, counted."""
        cursor = _jet.JetDupCursor(self._main)
        try:
            _jet.JetMove(cursor, _jet.JET_MoveFirst)
            return _jet.JetIndexRecordCount(cursor)
        except errors.NoCurrentRecordError:
            return 0
        finally:
            _jet.JetCloseTable(cursor)

    def __bool__(self):
        return True

    # ---- called by Row ----
    def _row_load(self, row):
        return _jet.load_row(self._cursor(), row)

    def _row_update(self, bookmark, values):
        return _jet.update_row(self._cursor(), self._plan, bookmark, values)

    def _row_delete(self, bookmark):
        return _jet.delete_row(self._cursor(), bookmark)

    # ---- long values ----
    def read(self, row, column, offset=0, size=0, itag=1):
        """Bytes of a long column from ``offset`` on, ``size`` at most (0: to the end); None for NULL. The text of LongText as stored."""
        cursor = self._cursor()
        _jet.JetGotoBookmark(cursor, row.bookmark)
        return _jet.JetRetrieveColumn(cursor, self.columns[column].id, 0, itag, offset, size)

    def append(self, row, column, data):
        """Append bytes to a long column of a record, without reading it. A durable commit of its own outside a transaction."""
        if not isinstance(self.columns[column], (schema.LongBinary, schema.LongText)):
            raise errors.InvalidColumnTypeError(f"{column} is no LongBinary or LongText column")
        cursor = self._cursor()
        with self._session._own_transaction():
            _jet.JetGotoBookmark(cursor, row.bookmark)
            _jet.JetPrepareUpdate(cursor, _jet.JET_prepReplace)
            try:
                _jet.JetSetColumn(cursor, self.columns[column].id, data, _jet.JET_bitSetAppendLV)
                _jet.JetUpdate(cursor)
            except BaseException:
                with contextlib.suppress(errors.UpdateNotPreparedError):  # the update is done, its bookmark was what failed
                    _jet.JetPrepareUpdate(cursor, _jet.JET_prepCancel)
                raise

    def escrow(self, row, column, delta):
        """Add to an escrow column without conflict with others who do; gives back the value before. Needs a transaction."""
        cursor = self._cursor()
        _jet.JetGotoBookmark(cursor, row.bookmark)
        return _jet.JetEscrowUpdate(cursor, self.columns[column].id, delta)

    # ---- definition ----
    def add_column(self, name, column):
        """Add a column; rows that are there have its default, or NULL. ColumnDuplicateError."""
        _jet.JetAddColumn(self._main, column._definition(name))
        self._schema_changed()
        return self.columns[name]

    def delete_column(self, name):
        """Delete a column. ColumnNotFoundError, ColumnInUseError when an index has it."""
        _jet.JetDeleteColumn(self._main, name)
        self._schema_changed()

    def create_index(self, name, index):
        """Create an index, on a filled table too. IndexDuplicateError, KeyDuplicateError."""
        _jet.JetCreateIndex2(self._main, index._definition(name, self._key_most()))
        self._schema_changed()
        return self.indexes[name]

    def delete_index(self, name):
        """Delete a secondary index. IndexNotFoundError."""
        self._close_cursor(name)
        _jet.JetDeleteIndex(self._main, name)
        self._schema_changed()

    def _key_most(self):
        return _KEY_MOST.get(self.database.page_size, 2000)

    def close(self):
        """Close its cursors. The database does it at its end."""
        for cursor in [*self._cursors.values(), self._opened]:
            if not cursor.closed:
                _jet.JetCloseTable(cursor)
        self._cursors.clear()
        self.database._forget(self)

    def to_dict(self):
        """Columns and indexes, for JSON."""
        return {
            "name": self.name,
            "columns": [c.to_dict() for c in self.columns.values()],
            "indexes": [i.to_dict() for i in self.indexes.values()],
        }

    def __repr__(self):
        return f"<Table {self.name}: {len(self.columns)} columns, {len(self.indexes)} indexes>"


_NO_KEYS = _jet.Plan([])


def iter_nothing(cursor):
    """An iterator without rows, that closes as others do."""
    rows = _jet.rows(cursor, _NO_KEYS, None, None)
    rows.close()
    return rows
