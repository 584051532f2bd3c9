"""What the engine itself raises tells what to do next in words of its own, not in those of its category."""

import re


def test_every_error_that_is_raised_has_a_hint_of_its_own(root):
    source = "".join(p.read_text() for p in (root / "csrc").glob("*/*.c"))
    raised = set(re.findall(r"\b(?:RAISE|FAIL)\((JET_err\w+)", source)) - {"JET_errSuccess"}
    own = set(re.findall(r"^ERR_HINT\((JET_err\w+)", (root / "csrc" / "base" / "hints.def").read_text(), re.M))
    assert len(raised) > 150 and sorted(raised - own) == []
