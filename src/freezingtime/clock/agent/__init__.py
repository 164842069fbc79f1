# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent: a C library that is preloaded into QEMU. Its sources are beside this file."""

from __future__ import annotations

from pathlib import Path

from freezingtime.clock.agent.digest import is_built_from, sources_digest
from freezingtime.errors import InputError
from freezingtime.host.required_platform import require_guest_platform

#: What has the agent look for its hooks in a QEMU, name them on stdout, and end it.
PROBE_ENVIRONMENT = {"FREEZINGTIME_PROBE": "1"}

#: How each line begins that the agent prints.
WORDS_OF_AGENT = "freezingtime agent: "

#: The exit status of a QEMU that the agent will not work in.
EXIT_REFUSED = 64


def agent_path() -> Path:
    """The compiled agent, which the package's build (setup.py) leaves beside its sources.

    Raises:
        InputError: it was not built, or its sources have changed since; or no guest can run here.
    """
    require_guest_platform()
    directory = Path(__file__).parent
    built = directory / "_agent.so"
    if not built.is_file():
        raise InputError(
            f"the agent is not built: no {built.name} in {directory}; install a C compiler and "
            "reinstall freezingtime with pip"
        )
    # One of another version fails in ways that do not tell: after an update of sources that
    # were installed with `pip install -e`, say.
    if not is_built_from(built, directory):
        raise InputError(
            f"the agent {built} was built from different sources than those beside it: rebuild it "
            "with 'make setup', or reinstall freezingtime with pip"
        )
    return built


def agent_identity() -> str:
    """Return the digest of the agent's sources: its identity, however often it is built.

    Raises:
        InputError: it was not built, or its sources have changed since.
    """
    agent_path()
    return sources_digest(Path(__file__).parent)
