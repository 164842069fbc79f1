# SPDX-License-Identifier: GPL-2.0-or-later
"""Fit every drive of the catalogue that has a measured curve, and compare with its entry.

``python -m experiments.fit [--budget TIME] [--held-out SHARE] [--out DIR] [NAME ...]`` runs
``freezingtime fit --model flash`` on the entries' own files: what they mark as fitted is found
again. It prints how many figures are within their aims, and leaves the device files in DIR.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from freezingtime.device.catalogue_search import catalogue_names
from freezingtime.device.registry import describe
from freezingtime.simulate.load_curve import measured_curve

_CATALOGUE = Path("src/freezingtime/device/catalogue")


def main() -> int:
    """Fit the drives, one after the other; print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries; all if none is named")
    parser.add_argument("--budget", default="600s", help="host time of each search")
    parser.add_argument("--held-out", default="0.2", help="share of the points hidden from it")
    parser.add_argument("--seed", default="0", help="of the search and of the simulations")
    parser.add_argument("--out", type=Path, default=Path("fitted"), help="directory to write")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    names = given.names or _measured_names()
    print("| drive | entry | fitted | of them held out | total |\n| --- | --- | --- | --- | --- |")
    sums = [0, 0, 0, 0, 0]
    for name in names:
        path = given.out / f"{name}.toml"
        fitted = _run(
            *("fit", str(_CATALOGUE / f"{name}.toml"), "--model", "flash", "-o", str(path)),
            *("--budget", given.budget, "--held-out", given.held_out, "--seed", given.seed),
        )["figures"]
        entry = _run("accuracy", name, "--seed", given.seed)[0]["figures"]
        hidden = [figure for figure in fitted if figure["held_out"]]
        row = [_within(entry), _within(fitted), _within(hidden), _aimed(hidden), _aimed(fitted)]
        sums = [total + count for total, count in zip(sums, row, strict=True)]
        print(_line(name, row), flush=True)
    print(_line("all", sums))
    return 0


def _line(name: str, row: list[int]) -> str:
    entry, fitted, held_out, held_out_total, total = row
    return f"| {name} | {entry} | {fitted} | {held_out} of {held_out_total} | {total} |"


def _measured_names() -> list[str]:
    return [name for name in catalogue_names() if measured_curve(describe(name)) is not None]


def _run(*arguments: str) -> Any:
    """Run the program with ``--json``; its progress goes to stderr."""
    command = [sys.executable, "-m", "freezingtime", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)


def _aimed(figures: list[dict[str, Any]]) -> int:
    return sum(figure["aim"] is not None for figure in figures)


def _within(figures: list[dict[str, Any]]) -> int:
    return sum(figure["aim"] is not None and not figure["missed"] for figure in figures)


if __name__ == "__main__":
    sys.exit(main())
