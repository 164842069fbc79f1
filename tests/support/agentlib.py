# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's sources, how to compile them, and how it ends."""

from __future__ import annotations

from freezingtime.clock.agent import agent_path

AGENT_DIRECTORY = agent_path().parent
AGENT_SOURCES = sorted(AGENT_DIRECTORY.rglob("*.c"))

STRICT = [
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow"),
    *("-Wconversion", "-Wno-sign-conversion", "-Werror"),
    f"-I{AGENT_DIRECTORY}",
]
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

#: How the agent ends a line about a QEMU that it refuses.
CURE = "use the qemu-system-x86_64 of Debian 12 or later"

EXIT_REFUSED = 64
EXIT_EMULATOR_LOST = 70

END_DEADLINE_S = 60.0
