# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m bench.database``: how long "Test a drive for your database" takes, step by step.

Runs the commands of the page as they stand. What is in the cache already takes no time: for an
image and a snapshot that are new, XDG_CACHE_HOME is to name an empty directory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.doclib import blocks_of, read_page, session_of


def main() -> None:
    """Print a line for each command of the page: seconds, CPU seconds, and the command."""
    print("wall s   CPU s  command")
    total_s = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for block in blocks_of(read_page("how-to/database/index")):
            if block.file is not None:
                _write(Path(scratch, block.file), block.text)
                continue
            for command, _ in session_of(block.text):
                wall_s, cpu_s = _seconds(["sh", "-c", command], Path(scratch))
                total_s += wall_s
                words = " ".join(command.split())[:60]
                print(f"{wall_s:6.1f}  {cpu_s:6.1f}  {words}", flush=True)
    print(f"{total_s:6.1f}          in all")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _seconds(command: Sequence[str], directory: Path) -> tuple[float, float]:
    """Run a command; return its seconds, and those of all CPUs."""
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start_s, used_s


if __name__ == "__main__":
    main()
