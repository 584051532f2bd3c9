"""Database: its tables by name, creation and deletion of tables."""

import collections.abc
import json

from . import _jet, errors, schema
from .table import _KEY_MOST, Table


class Tables(collections.abc.Mapping):
    """The tables of a database by name, without regard to case, as ESE does; the system's own can be opened but are not listed."""

    def __init__(self, database):
        self._database = database

    def __getitem__(self, name):
        return self._database.table(name)

    def __contains__(self, name):
        return isinstance(name, str) and name.lower() in {n.lower() for n in self._names(True)}

    def _names(self, system=False):
        return [
            e[0]
            for e in self._database._table_entries()
            if system or not e[3] & _jet.JET_bitObjectSystem
        ]

    def __iter__(self):
        return iter(self._names())

    def __len__(self):
        return len(self._names())

    def __repr__(self):
        return f"<Tables {', '.join(self)}>"


class Database:
    """A database open in a session."""

    def __init__(self, session, path, dbid, grbit=0):
        self._session = session
        self._open_grbit = grbit
        self._tables = {}
        self._filetime = {}
        self.path = path
        self.dbid = dbid
        self.page_size = _jet.JetGetDatabaseInfo(session.handle, dbid, _jet.JET_DbInfoPageSize)

    @property
    def session(self):
        """The session that has it open."""
        return self._session

    @property
    def tables(self):
        """Mapping of names to tables: ``db.tables["orders"]``. ObjectNotFoundError is a KeyError."""
        return Tables(self)

    def _table_entries(self):
        return _jet.visit_tables(self._session.handle, self.dbid)

    def table(self, name):
        """The table of this name. ObjectNotFoundError."""
        known = self._tables.get(name)
        if known is not None and not known._opened.closed:
            return known
        cursor = _jet.JetOpenTable(self._session.handle, self.dbid, name)
        try:
            table = self._tables[name] = Table(self, name, cursor)
        except BaseException:
            _jet.JetCloseTable(cursor)
            raise
        return table

    def _forget(self, table):
        if self._tables.get(table.name) is table:
            del self._tables[table.name]

    def create_table(self, name, columns, indexes=None, *, pages=0, density=0, exist_ok=False):
        """Create a table with columns and indexes, all or nothing, and open it.

        ``columns``: name -> column type (pyjet.Long() ...); ``indexes``: name -> pyjet.Index. With ``exist_ok`` a table that is
        there is opened as it is. TableDuplicateError, InvalidNameError (64 bytes of code page 1252), ...
        """
        indexes = indexes or {}
        if exist_ok and name in self.tables:
            return self.table(name)
        most = _KEY_MOST.get(self.page_size, 2000)
        self._check_primary(columns, indexes)
        definitions = [column._definition(n) for n, column in columns.items()]
        index_definitions = [index._definition(n, most) for n, index in indexes.items()]
        handle = self._session.handle
        cursor = _jet.JetCreateTableColumnIndex(
            handle, self.dbid, name, definitions, index_definitions, pages, density
        )
        _jet.JetCloseTable(cursor)
        wanted = {n for n, column in columns.items() if column.filetime}
        if wanted:
            self._filetime[name] = wanted
        return self.table(name)

    @staticmethod
    def _check_primary(columns, indexes):
        for index in indexes.values():
            for name, _ in index.segments if index.primary else ():
                column = columns.get(name)
                if (
                    column is not None
                    and isinstance(column, (schema.Text, schema.LongText))
                    and not column.ascii
                ):
                    raise errors.IndexInvalidDefError(
                        f"{name!r} is Unicode and in a primary index, whose order Windows' sort tables define; they are not"
                        " reproduced yet: make it Binary(), or Text(ascii=True)"
                    )

    def _close_for_ddl(self, name):
        for known in [t for n, t in self._tables.items() if n.lower() == name.lower()]:
            known.close()

    def delete_table(self, name):
        """Delete a table; its space comes back after the last snapshot that sees it. ObjectNotFoundError, TableInUseError."""
        self._close_for_ddl(name)
        _jet.JetDeleteTable(self._session.handle, self.dbid, name)

    def rename_table(self, name, new_name):
        """Give a table another name. TableInUseError while it is open elsewhere."""
        self._close_for_ddl(name)
        _jet.JetRenameTable(self._session.handle, self.dbid, name, new_name)

    @property
    def header(self):
        """The file's header as a dict, as it is on disk."""
        return json.loads(_jet.dump_header(self.path))

    def close(self):
        """Close it in this session, with its tables. A lone file's handle ends with it."""
        for table in list(self._tables.values()):
            table.close()
        if self._session.instance is None:
            self._session.close()
            return
        self._session._readers_forget(self.path)
        if not self._session.closed:
            _jet.JetCloseDatabase(self._session.handle, self.dbid)
        self._session._databases.pop(self.dbid, None)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        try:
            self.close()
        except errors.JetError:
            if kind is None:
                raise

    def __repr__(self):
        return f"<Database {self.path}>"
