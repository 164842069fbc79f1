# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator, QEMU or both are killed, or their medium fails: is all there that was acknowledged?

``python -m experiments.kill --trials 1000`` runs a job with SQLite and files on ext4, on a writable
file behind each frontend in turn, and ends with 1 if anything is lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from experiments.kill.trial import Outcome, Trial, trial_of, try_once

from freezingtime.errors import FreezingTimeError

#: After so many trials the sums are printed, and at the end.
_SUMS_EACH = 20


@dataclass(slots=True)
class Sums:
    """What came of the trials so far."""

    tried: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    wrong_count: int = 0
    start_s: float = field(default_factory=time.monotonic)

    @property
    def count(self) -> int:
        """How many trials there were."""
        return self.tried.total()

    def add(self, trial: Trial, outcome: Outcome) -> None:
        """Count a trial."""
        self.tried[trial.what] += 1
        self.stored += outcome.acknowledged
        self.wrong_count += bool(outcome.wrong)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {what}" for what, count in self.tried.items())
        return (
            f"{self.count} trials ({kinds}) in {time.monotonic() - self.start_s:.0f} s, "
            f"{self.stored:,} acknowledged files and orders: {self.wrong_count} wrong"
        )


def main() -> int:
    """Print each trial in which something is wrong, and the sums; the exit status."""
    parser = argparse.ArgumentParser(prog="experiments.kill", description=__doc__)
    parser.add_argument("--trials", type=int, default=24, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0, help="of what is tried")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    options = parser.parse_args()
    numbers = range(options.first, options.first + options.trials)
    trials = [trial_of(options.seed, number) for number in numbers]
    sums = Sums()
    with (
        tempfile.TemporaryDirectory() as scratch,
        ThreadPoolExecutor(options.jobs) as pool,
    ):

        def run(numbered: tuple[int, Trial]) -> Outcome:
            return try_once(numbered[1], Path(scratch) / str(numbered[0]))

        try:
            outcomes = pool.map(run, zip(numbers, trials, strict=True))
            for number, trial, outcome in zip(numbers, trials, outcomes, strict=True):
                sums.add(trial, outcome)
                for line in outcome.wrong:
                    print(f"trial {number} of seed {options.seed}, {trial}: {line}", flush=True)
                if sums.count % _SUMS_EACH == 0 or sums.count == len(trials):
                    print(sums, flush=True)
        except FreezingTimeError as error:
            print(error, file=sys.stderr)
            return 1
    return 1 if sums.wrong_count else 0


if __name__ == "__main__":
    sys.exit(main())
