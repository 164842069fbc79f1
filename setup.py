# SPDX-License-Identifier: GPL-2.0-or-later
"""The one thing pyproject.toml cannot say: the agent is a plain shared library in C.

It is declared as an extension module so that the compiler, its flags and the file's place
are the build's ordinary business. Nothing ever imports it; QEMU preloads it.
"""

import runpy
from pathlib import Path

from setuptools import Extension, setup

AGENT = Path("src/freezingtime/clock/agent")
DIGEST = runpy.run_path(str(AGENT / "digest.py"))["sources_digest"](AGENT)

setup(
    # Always: a source that is gone would not be noticed, and it takes two seconds.
    options={"build_ext": {"force": True}},
    ext_modules=[
        Extension(
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
            libraries=["dl", "pthread"],
        )
    ],
)
