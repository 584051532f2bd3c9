"""Exceptions: the tree, the builtin classes mixed in, their texts, pickling; constants; parameters."""

import errno
import os
import pickle
import re
import runpy

import pyjet
import pytest
from pyjet import _jet, errors


def leaves():
    return {name: code for name, code, _, _ in _jet.error_list() if code < 0}


def test_every_public_error_has_its_class():
    for name, code in leaves().items():
        cls = getattr(pyjet, errors.class_name(name))
        assert issubclass(cls, pyjet.JetError) and cls.code == code and cls.text and cls.__doc__
        assert errors.by_code(code) is cls


@pytest.mark.parametrize(
    "cls, builtin",
    [
        ("DiskFullError", OSError),
        ("DiskIOError", OSError),
        ("FileAccessDeniedError", PermissionError),
        ("FileNotFoundError", FileNotFoundError),
        ("OutOfMemoryError", MemoryError),
        ("RecordNotFoundError", LookupError),
        ("ColumnNotFoundError", KeyError),
        ("ObjectNotFoundError", KeyError),
        ("InvalidParameterError", ValueError),
        ("BackupDirectoryNotEmptyError", FileExistsError),
        ("ReadVerifyFailureError", errors.JetCorruptionError),
        ("DatabaseDirtyShutdownError", errors.JetInconsistentError),
        ("DatabaseDirtyShutdownError", errors.JetDataError),
        ("InstanceUnavailableError", errors.JetFatalError),
        ("WriteConflictError", errors.JetStateError),
    ],
)
def test_builtin_and_category_classes(cls, builtin):
    assert issubclass(getattr(pyjet, cls), builtin)


def test_aliases_are_one_class():
    assert pyjet.DatabaseInconsistentError is pyjet.DatabaseDirtyShutdownError
    assert pyjet.ColumnIllegalNullError is pyjet.NullInvalidError


def test_text_names_everything_and_pickles():
    for code in leaves().values():
        error = errors.make(code, "the detail")
        text = str(error)
        assert (
            error.name in text
            and str(code) in text
            and "the detail" in text
            and error.text.rstrip(".") in text
        )
        assert error.hint and error.hint.rstrip(".") in text
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == text and again.detail == "the detail"
    unknown = pickle.loads(pickle.dumps(errors.make(-31337, "d")))
    assert type(unknown) is pyjet.JetError and unknown.code == -31337
    mine = pickle.loads(pickle.dumps(errors.DestinationNotEmptyError("here", "do this")))
    assert mine.hint == "do this" and "here" in str(mine)


def test_constants_are_those_of_the_header(root):
    text = (root / "csrc" / "include" / "jet_types.h").read_text()
    names = re.findall(r"^#define (JET_\w+) \S", text, re.M)
    assert len(names) > 400
    assert [n for n in names if not hasattr(_jet, n)] == []
    assert (
        _jet.JET_bitBackupAtomic == 4
        and _jet.JET_errDiskFull == -1808
        and _jet.JET_paramLogFileSize == 11
    )
    assert _jet.JET_MoveFirst == -(2**31) and _jet.JET_instanceNil == 2**64 - 1


def test_every_constant_and_function_has_its_stub(root):
    stub = (root / "pyjet" / "_jet.pyi").read_text()
    known = set(re.findall(r"^(?:def |class )?(\w+)[(:]", stub, re.M))
    assert [n for n in vars(_jet) if not n.startswith("__") and n not in known] == []


def test_every_exception_has_its_stub(root):
    tool = runpy.run_path(root / "tools" / "error_stubs.py")
    assert tool["STUB"].read_text() == tool["stub"](pyjet.errors), "run python tools/error_stubs.py"


def test_parameters(inst):
    assert inst.params["CircularLog"] == 0 and inst.params["JET_paramBaseName"] == "edb"
    assert inst.params["LogFileSize"] == 512 and inst.params[_jet.JET_paramDatabasePageSize] == 4096
    with pytest.raises(pyjet.InvalidParameterError, match="Nothing"):
        inst.params["Nothing"]
    with pytest.raises(pyjet.JetError):
        inst.params["LogFileSize"] = 1024
    described = {name: value for name, value, text in inst.params.describe() if text}
    assert described["JET_paramBaseName"] == "edb"


@pytest.mark.parametrize(
    "options",
    [{"base_name": "toolong"}, {"page_size": 5000}, {"log_file_size": 1}, {"params": {"Nope": 1}}],
)
def test_bad_arguments_of_an_instance(tmp_path, options):
    with pytest.raises(ValueError):
        pyjet.Instance(tmp_path / "d", **options)


def test_bad_files(tmp_path, ses):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        pyjet.open(tmp_path / "none.edb")
    with pytest.raises(FileNotFoundError):
        ses.attach(tmp_path / "none.edb")
    (tmp_path / "text.edb").write_text("no database at all\n" * 3000)
    with pytest.raises(pyjet.JetError):
        pyjet.open(tmp_path / "text.edb")
    with pytest.raises(pyjet.JetError):
        ses.attach(tmp_path / "text.edb")
    (tmp_path / "empty.edb").write_bytes(b"")
    with pytest.raises(pyjet.JetError):
        pyjet.open(tmp_path / "empty.edb")
    with pytest.raises(ValueError):
        pyjet.open(tmp_path / "none.edb", readonly=False)
    ses.create(tmp_path / "new.edb")
    with pytest.raises(FileExistsError):
        ses.create(tmp_path / "new.edb")


@pytest.mark.parametrize("key", ["", "a", "+a+", "++a", "+a b--", "a+b"])
def test_bad_index_keys(key):
    with pytest.raises(ValueError):
        pyjet.Index(key)
    assert pyjet.Index("+a-b", "+c d").segments == [("a", False), ("b", True), ("c d", False)]


def test_a_folder_that_cannot_be_made_is_told_with_a_hint(ses, tmp_path, monkeypatch):
    """By the engine's error with a hint; also what the builtin classes promise."""
    (tmp_path / "file").write_text("")
    with pytest.raises(pyjet.InvalidPathError) as error:
        pyjet.Instance(tmp_path / "file")
    assert isinstance(error.value, OSError) and error.value.hint and str(tmp_path / "file") in str(error.value)
    with pytest.raises(pyjet.InvalidPathError) as error:
        ses.create(tmp_path / "file" / "below" / "x.edb")
    assert isinstance(error.value, OSError) and error.value.hint

    for number, kind, builtin in (
        (errno.EROFS, pyjet.FileAccessDeniedError, PermissionError),
        (errno.EACCES, pyjet.FileAccessDeniedError, PermissionError),
        (errno.ENOSPC, pyjet.DiskFullError, OSError),
    ):

        def refuse(path, exist_ok, number=number):
            raise OSError(number, os.strerror(number), path)

        with monkeypatch.context() as m, pytest.raises(kind) as error:
            m.setattr(os, "makedirs", refuse)
            pyjet.Instance(tmp_path / "new")
        assert isinstance(error.value, builtin) and os.strerror(number) in str(error.value) and error.value.hint
