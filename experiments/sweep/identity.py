# SPDX-License-Identifier: GPL-2.0-or-later
"""Equal plans have equal results: run once more, and by another account in another directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from freezingtime.store.results.result_store import ResultStore, StoredResult

_POINTS = 100
_OTHER_ID = 65534
_REPLAYS = ("--disk", "samsung-870-evo-1tb", "--workload", "randrw,bs=4k,qd=8,count=20k")
_JOB = "dd if=/dev/zero of=/dev/vda bs=4k count=200 oflag=direct; echo METRIC n $N"


def main(place: Path, runs: int) -> int:
    """Run replays, and runs in a guest; again; and by another account; return the exit status."""
    place.chmod(0o755)
    sweeps = {
        "replays": (*_REPLAYS, "--set", f"seed=range({_POINTS - runs})"),
        "runs": ("--disk", "constant:10us,name=data", "--set", f"env.N=range({runs})", "--", _JOB),
    }
    first, second = place / "first", place / "second"
    print(f"{'part':24} {'points':>6} {'same':>5} {'s':>5}")
    for name, arguments in sweeps.items():
        _sweep(first, name, arguments)
        _row(f"{name}, run again", first / name, _sweep(first, name, arguments, "100%"))
    if os.getuid():
        print("not run by another account: that needs root")
        return 0
    second.mkdir()
    shutil.chown(second, _OTHER_ID, _OTHER_ID)
    for name, arguments in sweeps.items():
        spent_s = _sweep(second, name, arguments, other=True)
        _require_same(first / "store", second / "store", second / name)
        _row(f"{name}, other account", second / name, spent_s)
    return 0


def _sweep(
    place: Path, name: str, arguments: tuple[str, ...], verified: str = "0%", *, other: bool = False
) -> float:
    """Run a sweep in a directory; return its host time in s."""
    place.mkdir(exist_ok=True)
    own = ("--quiet", "--out", name, "--store", "store", "--verify-cache", verified)
    command = [sys.executable, "-m", "freezingtime", "sweep", *own, *arguments]
    environment = dict(os.environ)
    if other:
        ids: tuple[str, ...] = (f"--reuid={_OTHER_ID}", f"--regid={_OTHER_ID}", "--clear-groups")
        # Python may lie in root's own directory: it is to be found there, and no more.
        ids += ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        command = ["setpriv", *ids, *command]
        home = {"HOME": str(place), "TMPDIR": str(place), "XDG_CACHE_HOME": str(place / "cache")}
        environment |= home
    start_s = time.monotonic()
    subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start_s


def _require_same(one: Path, other: Path, out: Path) -> None:
    """Require the results of a sweep to be in both stores: record, output and figures."""
    for key in pq.read_table(out / "results.parquet")["result"].to_pylist():
        a, b = (ResultStore(store).find(key) for store in (one, other))
        if not (isinstance(a, StoredResult) and isinstance(b, StoredResult)):
            raise SystemExit(f"{key}: another account has another key")
        if a.content != b.content:
            raise SystemExit(f"{key}: another account has other figures")


def _row(part: str, out: Path, spent_s: float) -> None:
    statuses = pq.read_table(out / "results.parquet")["status"].to_pylist()
    same = statuses.count("ok")
    print(f"{part:24} {len(statuses):6} {same:5} {spent_s:5.0f}", flush=True)
    if same != len(statuses):
        raise SystemExit(f"{part}: not all are the same")
