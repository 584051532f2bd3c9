"""Interpreters of this process, by the private module that this Python has for them: from 3.12 on each has a lock of its own."""

try:
    import _interpreters as _sub  # 3.13
except ImportError:
    import _xxsubinterpreters as _sub


def run(code):
    """Runs the code in a new interpreter, which then ends; raises what the code raised, as a RuntimeError or its like."""
    interp = _sub.create()
    try:
        failed = _sub.run_string(interp, code)  # 3.13 gives the exception back, the ones before raise it
    finally:
        _sub.destroy(interp)
    if failed is not None:
        raise RuntimeError(failed.errdisplay or failed.formatted)
