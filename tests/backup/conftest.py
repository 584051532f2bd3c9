"""A test_row for each row of its file (rows.py)."""


def pytest_generate_tests(metafunc):
    if metafunc.function.__name__ == "test_row":
        rows = list(metafunc.module.ROWS)
        metafunc.parametrize("name", rows, ids=rows)
