# SPDX-License-Identifier: GPL-2.0-or-later
"""The one thing pyproject.toml cannot say: the agent is a plain shared library in C.

The agent is declared as an extension module so that the compiler, its flags and the file's place
are the build's ordinary business. Nothing ever imports it; QEMU preloads it. So neither its name
nor the wheel's tag has a Python's ABI: one wheel is for every Python 3 of its platform.

Where no guest can run, on another system or CPU, the package is built without the agent and is for
every platform. FREEZINGTIME_AGENT=none has it built so here, for others (`make wheel`).
"""

import os
import platform
import runpy
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

AGENT = Path("src/freezingtime/clock/agent")
HAS_AGENT = (
    sys.platform == "linux"
    and platform.machine() == "x86_64"
    and os.environ.get("FREEZINGTIME_AGENT") != "none"
)
DIGEST = runpy.run_path(str(AGENT / "digest.py"))["sources_digest"](AGENT)


class BuildAgent(build_ext):
    def get_ext_filename(self, ext_name: str) -> str:
        """Path of a library under the package's root, with no ABI in its name."""
        return str(Path(*ext_name.split(".")).with_suffix(".so"))


class WheelOfAnyPython(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        """Python, ABI and platform of the wheel, in an editable installation as well."""
        _, _, plat_name = super().get_tag()
        return "py3", "none", plat_name


AGENT_LIBRARY = Extension(
    "freezingtime.clock.agent._agent",
    sources=sorted(str(source) for source in AGENT.rglob("*.c")),
    include_dirs=[str(AGENT)],
    define_macros=[("FT_SOURCES", f'"{DIGEST}"')],
    extra_compile_args=[
        "-std=c11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Wshadow",
        "-Wconversion",
        "-Wno-sign-conversion",
        "-fvisibility=hidden",
        "-UNDEBUG",
    ],
    # What is QEMU's is weak, and all else is in these: a C library without it is an error here.
    extra_link_args=["-Wl,-z,defs"],
    libraries=["dl", "pthread"],
)

setup(
    cmdclass={"build_ext": BuildAgent, "bdist_wheel": WheelOfAnyPython},
    # Always: a source that is gone would not be noticed, and it takes two seconds.
    options={"build_ext": {"force": True}},
    ext_modules=[AGENT_LIBRARY] if HAS_AGENT else [],
)
