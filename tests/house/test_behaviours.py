"""Each documented behaviour of priority 1 and 2 has a passing test or an argued exception, and the page of docs says which."""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import behaviours  # noqa: E402


@pytest.fixture(scope="module")
def tests():
    """Node ids by behaviour: every test file is parsed for it."""
    return behaviours.tests_by_id()


def test_the_page_is_what_the_tests_say(tests):
    rows = behaviours.behaviours()
    assert len(rows) == 372 and list(behaviours.complaints(rows, tests)) == []
    assert behaviours.PAGE.read_text() == behaviours.page(rows, tests), "run python tools/behaviours.py"


def test_the_four_pages_name_each_promise():
    """Every behaviour of priority 1 stands behind a sentence of the four pages, and they name none that is not there."""
    words = " ".join(p.read_text() for p in (behaviours.ROOT / "docs" / "backup").glob("*.rst"))
    cited = {f"BK-{n.strip()}" for role in re.findall(r":bk:`([^`]*)`", words) for n in role.split(",")}
    rows = behaviours.behaviours()
    assert {r["id"] for r in rows if r["priority"] == "1"} <= cited <= {r["id"] for r in rows}


def test_ids_in_texts():
    assert behaviours.ids_in("BK-035..038 and BK-276, 079") == {"BK-035", "BK-036", "BK-037", "BK-038", "BK-276", "BK-079"}
    assert behaviours.ids_in("BK-001+BK-002 name") == {"BK-001", "BK-002"} and behaviours.ids_in("BK 12, 1000") == set()


def test_a_behaviour_without_a_test_is_told():
    rows = [{"id": "BK-001", "priority": "1", "exception": "", "behaviour": "b", "function": "f"}]
    assert len(list(behaviours.complaints(rows, {}))) == 1 and len(list(behaviours.complaints(rows, {"BK-999": ["n"]}))) == 2
    assert list(behaviours.complaints([dict(rows[0], exception="argued")], {})) == []


def of_node(outcomes, node):
    """Outcomes of a test and of its parametrized forms."""
    return [o for name, o in outcomes.items() if name == node or name.startswith(node + "[")]


def failing(rows, tests, outcomes):
    """Behaviours all of whose tests ran, and none passed; or one of whose tests failed."""
    for row in rows:
        nodes = tests.get(row["id"], [])
        seen = [of_node(outcomes, node) for node in nodes]
        flat = [o for one in seen for o in one]
        if "failed" in flat or (nodes and all(seen) and "passed" not in flat):
            yield row["id"]


def test_failing_is_seen():
    rows = [{"id": "BK-001"}]
    tests = {"BK-001": ["a::x", "a::y"]}
    assert list(failing(rows, tests, {"a::x": "passed", "a::y[1]": "skipped"})) == []
    assert list(failing(rows, tests, {"a::x": "skipped", "a::y[1]": "skipped"})) == ["BK-001"]
    assert list(failing(rows, tests, {"a::x": "passed", "a::y[1]": "failed"})) == ["BK-001"]
    assert list(failing(rows, tests, {"a::x": "skipped"})) == []


def test_outcomes(outcomes, tests):
    """Last of all tests: what has run shows every behaviour of priority 1 and 2 that it stands for."""
    rows = [r for r in behaviours.behaviours() if r["priority"] in "12" and not r["exception"]]
    assert list(failing(rows, tests, outcomes)) == []


@pytest.mark.parametrize("priority", "12")
def test_node_ids_are_those_of_pytest(priority, tests, request):
    """A node id that the page names and that no collected file knows would be a test that never runs."""
    collected = {item.nodeid.split("[")[0] if "test_row" not in item.nodeid else item.nodeid for item in request.session.items}
    files = {node.split("::")[0] for node in collected}
    for row in behaviours.behaviours():
        for node in tests.get(row["id"], []) if row["priority"] == priority else []:
            path, _, name = node.partition("::")
            if path not in files or len(request.session.items) < 500:
                continue
            known = node in collected if "test_row" in name else node.split("[")[0] in collected
            assert known, node
