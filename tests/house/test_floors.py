"""The tower stands: no room includes upward."""

import subprocess
import sys


def test_no_upward_include(root):
    done = subprocess.run(
        [sys.executable, str(root / "tools" / "check_floors.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
