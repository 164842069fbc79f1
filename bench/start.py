"""How fast a run starts: warm, from the snapshot, and cold, from an empty cache.

Cold includes fetching the packages, making the guest image, and booting it once; how much
of it was the network is the mirror's affair, and is printed apart.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
WARM_LIMIT_S = 1.5
COLD_LIMIT_S = 90.0
PROGRAM = Path(sys.executable).with_name("freezingtime")


def start_s(environment: dict[str, str]) -> float:
    """Wall seconds of `freezingtime run -- true`."""
    begin_s = time.monotonic()
    subprocess.run(
        [PROGRAM, "run", "--quiet", "--", "true"], check=True, env={**os.environ, **environment}
    )
    return time.monotonic() - begin_s


def main() -> None:
    """Print both; exit 1 if a limit is exceeded."""
    start_s({})
    warm_s = statistics.median(start_s({}) for _ in range(ROUNDS))
    with tempfile.TemporaryDirectory() as cache:
        cold_s = start_s({"XDG_CACHE_HOME": cache})
    print(f"run -- true: warm {warm_s:.2f} s (median of {ROUNDS}; limit {WARM_LIMIT_S})")
    print(f"run -- true: from an empty cache {cold_s:.1f} s (limit {COLD_LIMIT_S:.0f} + downloads)")
    if warm_s > WARM_LIMIT_S or cold_s > COLD_LIMIT_S:
        raise SystemExit("start: above the limit")


if __name__ == "__main__":
    main()
