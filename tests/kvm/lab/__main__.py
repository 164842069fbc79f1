# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.kvm.lab SCRIPT OUT [SUITE]``: run a shell script in the lab.

What it leaves is in the directory OUT then, with what it printed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from freezingtime.vm.qemu.program import PINNED_SUITE
from tests.kvm.lab.machine import run_in_lab


def main(arguments: Sequence[str]) -> int:
    """Return the script's exit status."""
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    script, out, suite = (*arguments, PINNED_SUITE)[:3]
    start_s = time.monotonic()
    result = run_in_lab(Path(script).read_text(), suite=suite, follow=True)
    printed = {"stdout.txt": result.stdout.encode(), "stderr.txt": result.stderr.encode()}
    for name, content in {
        **result.files,
        **printed,
        "console.txt": result.console.encode(),
    }.items():
        target = Path(out) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    print(result.stdout, end="")
    print(result.stderr, end="", file=sys.stderr)
    print(f"status {result.status}, {time.monotonic() - start_s:.1f} s, results in {out}")
    return result.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
