"""The agent: a C library that is preloaded into QEMU. Its sources are beside this file."""

from __future__ import annotations

from pathlib import Path

from freezingtime.errors import InputError


def agent_path() -> Path:
    """The compiled agent, which the package's build leaves beside its sources.

    Raises:
        InputError: it was not built.
    """
    directory = Path(__file__).parent
    for built in sorted(directory.glob("_agent*.so")):
        return built
    raise InputError(
        f"the agent is not built: no _agent*.so in {directory}; install a C compiler and "
        "reinstall freezingtime with pip"
    )
