# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the host that a job brings along, with their libraries: the guest may lack them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from freezingtime.errors import RunError

# An administrator's programs are not on everybody's path.
_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_LDD_LIMIT_S = 20.0

_WRAPPER = """#!/bin/sh
exec /job/lib/{loader} --library-path /job/lib /job/bin/{name} "$@"
"""


def find_host_program(name: str) -> str | None:
    """Return the path of a program, None if it is not installed."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_PATHS)))


def bring_program(program: str, job: Path) -> None:
    """Put the program at this path into a job's directory; it starts as ``/job/NAME``.

    Raises:
        RunError: it is not linked as programs of the host are, or cannot be copied.
    """
    name = Path(program).name
    try:
        for directory in ("lib", "bin"):
            (job / directory).mkdir(exist_ok=True, parents=True)
        shutil.copy(program, job / "bin" / name)
        libraries = [Path(path) for path in _libraries(program)]
        for library in libraries:
            shutil.copy(library, job / "lib")
    except OSError as error:
        raise RunError(f"cannot copy {program}: {error.strerror}") from error
    loaders = [path.name for path in libraries if path.name.startswith("ld-")]
    if not loaders:
        raise RunError(f"{program} has no loader")
    wrapper = job / name
    wrapper.write_text(_WRAPPER.format(loader=loaders[0], name=name))
    wrapper.chmod(0o755)


def _libraries(program: str) -> list[str]:
    try:
        listed = subprocess.run(
            ["ldd", program], capture_output=True, text=True, check=True, timeout=_LDD_LIMIT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"the libraries of {program} are not known: {error}") from error
    return [word for word in listed.stdout.split() if word.startswith("/")]
