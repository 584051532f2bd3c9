"""Scenarios that do wrong on purpose when memory has run out: pywalk.py has to tell each of them (test_pywalk.py).

    python tests/crash/planted.py
"""

import ctypes
import shutil

import pyjet
import pywalk
from pyjet import _jet
from pyscenes import Scenario


class Clean(Scenario):
    """Nothing is wrong."""

    work = staticmethod(_jet.error_list)

    def act(self):
        try:
            return len(self.work())
        except MemoryError:
            self.wrong()
            raise

    def wrong(self):
        pass

    def judge(self, result, exception):
        pass


class LostMemory(Clean):
    """Memory that nobody frees, after the extension was refused some."""

    def wrong(self):
        assert ctypes.pythonapi.PyMem_Malloc(16)


class LostObject(Clean):
    """A reference to an object of pyjet's too many, where it was not the extension that asked for memory."""

    work = staticmethod(lambda: bytearray(5000))

    def wrong(self):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(pyjet.Long()))


class OtherError(Clean):
    """An exception that says nothing of memory."""

    def wrong(self):
        raise ValueError("planted")


def main():
    place = pywalk.memory.folder("planted-")
    try:
        for scenario in (Clean, LostMemory, LostObject, OtherError):
            pywalk.SCENARIOS[scenario.__name__] = scenario
            try:
                totals = pywalk.play(place, 1, [scenario.__name__], most=6, jobs=1)
                told = f"nothing, {totals['asked for by the extension']} asked for by the extension"
            except AssertionError as e:
                told = str(e).strip().splitlines()[-1]
            print(f"{scenario.__name__}: {told}", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
