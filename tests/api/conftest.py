"""An instance in a folder of its own, a session, a database, a table with one column of each type."""

import pyjet
import pytest

ALL_COLUMNS = {
    "id": pyjet.Long(autoincrement=True),
    "bit": pyjet.Bit(),
    "ubyte": pyjet.UnsignedByte(),
    "short": pyjet.Short(),
    "long": pyjet.Long(),
    "currency": pyjet.Currency(),
    "single": pyjet.Single(),
    "double": pyjet.Double(),
    "date": pyjet.DateTime(),
    "binary": pyjet.Binary(),
    "text": pyjet.Text(),
    "ascii": pyjet.Text(ascii=True),
    "longbinary": pyjet.LongBinary(),
    "longtext": pyjet.LongText(),
    "longascii": pyjet.LongText(ascii=True),
    "ulong": pyjet.UnsignedLong(),
    "longlong": pyjet.LongLong(),
    "guid": pyjet.Guid(),
    "ushort": pyjet.UnsignedShort(),
    "ulonglong": pyjet.UnsignedLongLong(),
    "numbers": pyjet.Long(multi_valued=True),
    "names": pyjet.Text(multi_valued=True),
}


@pytest.fixture
def inst(tmp_path):
    with pyjet.Instance(tmp_path / "data", log_file_size=512 << 10) as instance:
        yield instance


@pytest.fixture
def ses(inst):
    with inst.session() as session:
        yield session


@pytest.fixture
def db(ses, tmp_path):
    return ses.create(tmp_path / "data" / "a.edb")


@pytest.fixture
def table(db):
    return db.create_table("t", ALL_COLUMNS, {"pk": pyjet.Index("+id", primary=True)})


@pytest.fixture
def people(db):
    """ids 0 to 99; names of ten; two columns in one index, the second descending."""
    t = db.create_table(
        "people",
        {"id": pyjet.Long(), "name": pyjet.Text(ascii=True), "age": pyjet.Long()},
        {
            "pk": pyjet.Index("+id", primary=True),
            "by_name": pyjet.Index("+name-age"),
            "by_age": pyjet.Index("+age", ignore_null=True),
        },
    )
    t.insert_many({"id": n, "name": f"name{n % 10}", "age": n} for n in range(100))
    return t
