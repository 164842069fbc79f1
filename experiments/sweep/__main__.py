# SPDX-License-Identifier: GPL-2.0-or-later
"""What a sweep promises, shown on this machine.

``python -m experiments.sweep faults`` kills coordinators, workers and a Dask cluster's scheduler at
100 seeded moments; ``identity`` runs 100 mixed points again, and has them run by another account.
Either prints a row for each part as it ends, and ends with 1 if something was lost or wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from experiments.sweep import faults, identity


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("part", choices=("faults", "identity"))
    parser.add_argument("--kills", type=int, default=100, help="how many processes are killed")
    parser.add_argument("--seed", type=int, default=17, help="of the moments and the victims")
    parser.add_argument("--runs", type=int, default=20, help="how many of 100 points have a guest")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="freezingtime-sweep-") as place:
        if given.part == "faults":
            return faults.main(Path(place), given.kills, given.seed)
        return identity.main(Path(place), given.runs)


if __name__ == "__main__":
    sys.exit(main())
