"""Column types and indexes, as given to create_table and as read from a file.

Every class is one JET_coltyp. Options common to all: ``not_null``, ``default``, ``tagged`` (stored only where set),
``multi_valued`` (a list of values; tagged), ``version`` and ``escrow`` (Long), ``autoincrement`` (Long, Currency, LongLong ...).
"""

import re

from . import _jet

_NO_DEFAULT = object()


class Column:
    """A column: its type and options. In a table's ``columns`` also its ``name`` and ``id`` (JET_COLUMNID)."""

    coltyp = 0
    size = 0
    code_page = 0

    def __init__(
        self,
        *,
        not_null=False,
        default=None,
        tagged=False,
        multi_valued=False,
        fixed=False,
        autoincrement=False,
        version=False,
        escrow=False,
        compressed=False,
        max_length=0,
        grbit=0,
    ):
        self.name = None
        self.id = 0
        self.default = default
        self.max_length = max_length
        self.filetime = False
        flags = (
            (not_null, _jet.JET_bitColumnNotNULL),
            (tagged or multi_valued, _jet.JET_bitColumnTagged),
            (multi_valued, _jet.JET_bitColumnMultiValued),
            (fixed, _jet.JET_bitColumnFixed),
            (autoincrement, _jet.JET_bitColumnAutoincrement),
            (version, _jet.JET_bitColumnVersion),
            (escrow, _jet.JET_bitColumnEscrowUpdate),
            (compressed, _jet.JET_bitColumnCompressed),
        )
        self.grbit = grbit
        for wanted, bit in flags:
            if wanted:
                self.grbit |= bit
        if max_length < 0 or (
            self.coltyp in (_jet.JET_coltypBinary, _jet.JET_coltypText) and max_length > 255
        ):
            raise ValueError("max_length of Binary and Text is 1 to 255 bytes")

    @property
    def multi_valued(self):
        """Values are lists."""
        return bool(self.grbit & _jet.JET_bitColumnMultiValued)

    @property
    def not_null(self):
        return bool(self.grbit & _jet.JET_bitColumnNotNULL)

    @property
    def autoincrement(self):
        return bool(self.grbit & _jet.JET_bitColumnAutoincrement)

    @property
    def tagged(self):
        return bool(self.grbit & _jet.JET_bitColumnTagged)

    @property
    def fixed(self):
        return bool(self.grbit & _jet.JET_bitColumnFixed)

    @property
    def type_name(self):
        """The class's name: "Long", "LongText" ..."""
        return type(self).__name__

    def _plan_entry(self):
        flags = (1 if self.multi_valued else 0) | (2 if self.filetime else 0)
        return self.name, self.id, self.coltyp, self.code_page, flags

    def _definition(self, name):
        default = None
        if self.default is not None:
            plan = _jet.Plan([(name, 1, self.coltyp, self.code_page, 2 if self.filetime else 0)])
            default = plan.encode(name, self.default)
        return name, self.coltyp, self.grbit, self.code_page, self.max_length, default

    def to_dict(self):
        """For JSON."""
        return {
            "name": self.name,
            "type": self.type_name,
            "coltyp": self.coltyp,
            "columnid": self.id,
            "grbit": self.grbit,
            "code_page": self.code_page,
            "max_length": self.max_length,
        }

    def __repr__(self):
        options = [
            n
            for n in ("not_null", "multi_valued", "autoincrement", "tagged", "fixed", "filetime")
            if getattr(self, n)
        ]
        return f"{self.type_name}({', '.join(f'{n}=True' for n in options)})"


def _column(name, coltyp, text):
    return type(name, (Column,), {"coltyp": coltyp, "__doc__": text, "__module__": __name__})


Bit = _column(
    "Bit",
    1,
    "bool, one byte. Cannot be in an index alone with NULLs of meaning: NULL is not False.",
)
UnsignedByte = _column("UnsignedByte", 2, "int, 0 to 255.")
Short = _column("Short", 3, "int of 16 bits, signed.")
Long = _column("Long", 4, "int of 32 bits, signed.")
Currency = _column(
    "Currency",
    5,
    "int of 64 bits, signed: the stored number as it is (Windows shows it divided by 10,000).",
)
Single = _column("Single", 6, "float of 32 bits.")
Double = _column("Double", 7, "float of 64 bits.")
Binary = _column("Binary", 9, "bytes, 255 at most.")
LongBinary = _column(
    "LongBinary", 11, "bytes, 2 GiB - 1 at most; long ones are kept apart from the record."
)
UnsignedLong = _column("UnsignedLong", 14, "int of 32 bits, unsigned.")
LongLong = _column("LongLong", 15, "int of 64 bits, signed.")
Guid = _column("Guid", 16, "uuid.UUID, stored in the order of Windows (bytes_le).")
UnsignedShort = _column("UnsignedShort", 17, "int of 16 bits, unsigned.")
UnsignedLongLong = _column("UnsignedLongLong", 18, "int of 64 bits, unsigned.")


class DateTime(Column):
    """datetime, as an OLE date: exact to the microsecond before 2079, to 40 microseconds in 9999.

    What is read is naive; aware values are stored as UTC. ``filetime=True``: the column holds FILETIME (100 ns since 1601),
    as some files of Windows do. Bytes that are no date are read as float (FILETIME: int).
    """

    coltyp = 8

    def __init__(self, *, filetime=False, **options):
        super().__init__(**options)
        self.filetime = filetime


class _TextColumn(Column):
    def __init__(self, *, ascii=False, **options):
        super().__init__(**options)
        self.code_page = 1252 if ascii else 1200

    @property
    def ascii(self):
        """Stored in code page 1252."""
        return self.code_page != 1200


class Text(_TextColumn):
    """str, 255 bytes at most: 127 characters of UTF-16, or with ``ascii=True`` 255 of code page 1252. A longer one raises."""

    coltyp = 10


class LongText(_TextColumn):
    """str, 2 GiB - 1 bytes at most, in UTF-16, or with ``ascii=True`` in code page 1252."""

    coltyp = 12


_BY_COLTYP = {
    c.coltyp: c
    for c in (
        Bit, UnsignedByte, Short, Long, Currency, Single, Double, DateTime, Binary, Text, LongBinary, LongText,
        UnsignedLong, LongLong, Guid, UnsignedShort, UnsignedLongLong,
    )
}  # fmt: skip


def column_from(entry, filetime=()):
    """The Column of one entry of _jet.visit_columns."""
    name, columnid, coltyp, grbit, code_page, most, default = entry
    kind = _BY_COLTYP.get(coltyp)
    column = kind.__new__(kind) if kind is not None else LongBinary.__new__(LongBinary)
    column.name, column.id, column.grbit, column.max_length = name, columnid, grbit, most
    column.code_page, column.filetime = code_page, name in filetime
    column.default = None
    if kind is None:
        column.coltyp = coltyp
    elif default is not None:
        column.default = _jet.Plan(
            [(name, columnid, coltyp, code_page, 2 if column.filetime else 0)]
        ).decode(name, default)
    return column


class Index:
    """An index: ``Index("+a-b")``, ``Index("+a", "-b")``; + ascending, - descending.

    ``primary`` makes it the order of the records; ``unique`` refuses equal keys. ``ignore_null`` leaves out records whose
    columns are all NULL, ``ignore_any_null`` any, ``ignore_first_null`` the first; ``disallow_null`` refuses them.
    Keys are as long as the page allows, and are never cut: a longer one raises.
    """

    def __init__(
        self,
        *key,
        primary=False,
        unique=False,
        ignore_null=False,
        ignore_any_null=False,
        ignore_first_null=False,
        disallow_null=False,
        density=0,
        grbit=0,
    ):
        self.name = None
        self.segments = []
        for part in key:
            found = re.findall(r"([+-])([^+-]+)", part)
            if "".join(sign + name for sign, name in found) != part:
                raise ValueError(f"an index key looks like '+a-b', not {part!r}")
            self.segments += [(name, sign == "-") for sign, name in found]
        if not self.segments:
            raise ValueError("an index needs a column: Index('+name')")
        self.density = density
        self.key_most = 0
        self.locale = ""
        flags = (
            (primary, _jet.JET_bitIndexPrimary),
            (unique, _jet.JET_bitIndexUnique),
            (ignore_null, _jet.JET_bitIndexIgnoreNull),
            (ignore_any_null, _jet.JET_bitIndexIgnoreAnyNull),
            (ignore_first_null, _jet.JET_bitIndexIgnoreFirstNull),
            (disallow_null, _jet.JET_bitIndexDisallowNull),
        )
        self.grbit = grbit
        for wanted, bit in flags:
            if wanted:
                self.grbit |= bit

    @property
    def primary(self):
        return bool(self.grbit & _jet.JET_bitIndexPrimary)

    @property
    def unique(self):
        return bool(self.grbit & _jet.JET_bitIndexUnique) or self.primary

    @property
    def key(self):
        """As text: "+a-b"."""
        return "".join(("-" if down else "+") + name for name, down in self.segments)

    def _definition(self, name, key_most):
        key = (
            b"".join(
                (("-" if down else "+") + column).encode() + b"\0" for column, down in self.segments
            )
            + b"\0"
        )
        return name, key, self.grbit | _jet.JET_bitIndexDisallowTruncation, self.density, key_most

    def to_dict(self):
        """For JSON."""
        return {
            "name": self.name,
            "key": self.key,
            "primary": self.primary,
            "unique": self.unique,
            "grbit": self.grbit,
            "key_most": self.key_most,
            "locale": self.locale,
        }

    def __repr__(self):
        options = [n for n in ("primary", "unique") if getattr(self, n)]
        return f"Index({', '.join([repr(self.key), *(f'{n}=True' for n in options)])})"


def index_from(entry, names):
    """The Index of one entry of _jet.visit_indexes; names: columnid -> name."""
    name, grbit, key_most, density, _flags, _objid, _root, locale, segments = entry
    index = Index.__new__(Index)
    index.name, index.grbit, index.key_most, index.density, index.locale = (
        name,
        grbit,
        key_most,
        density,
        locale,
    )
    index.segments = [
        (names.get(columnid, f"#{columnid}"), bool(down)) for columnid, down in segments
    ]
    return index
