# SPDX-License-Identifier: GPL-2.0-or-later
"""The page about clusters, with programs that stand in for those of a cluster."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from freezingtime.api.sweeps import open_sweep
from tests.conftest import skip
from tests.support.doclib import read_page, run_examples

#: Runs an array's tasks at once, as Slurm does on several nodes, each with its number.
SBATCH = """#!/bin/sh
[ "$1 $2" = "--wait --array=1-3" ] || exit 2
for task in 1 2 3; do SLURM_ARRAY_TASK_ID=$task sh "$3" & done
wait
echo "Submitted batch job 1"
"""
#: As the real one: another directory, and a shell that gets one line.
SSH = """#!/bin/sh
case $1 in alpha|beta) ;; *) exit 255 ;; esac
shift
cd / && exec sh -c "$*"
"""
#: Starts a Job's pods: each sees the working directory where its volume is mounted.
KUBECTL = """#!{python}
import subprocess, sys, yaml
if sys.argv[1] == "wait":
    print("job.batch/drives condition met")
    raise SystemExit(0)
[job] = yaml.safe_load_all(open(sys.argv[3]))
assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
pod = job["spec"]["template"]["spec"]
assert pod["restartPolicy"] == "OnFailure"
[container] = pod["containers"]
[mount] = container["volumeMounts"]
assert mount["name"] in [volume["name"] for volume in pod["volumes"]]
command = [word.replace(mount["mountPath"], {place!r}) for word in container["command"]]
pods = [subprocess.Popen(command, cwd="/") for _ in range(job["spec"]["parallelism"])]
assert [pod.wait() for pod in pods] == [0] * len(pods)
print("job.batch/drives created")
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("distributed") is None:
        skip("the package distributed is missing: pip install 'freezingtime[dask]'")
    programs, place = tmp_path / "bin", tmp_path / "shared"
    programs.mkdir()
    place.mkdir()
    kubectl = KUBECTL.format(python=sys.executable, place=str(place))
    for name, text in (("sbatch", SBATCH), ("ssh", SSH), ("kubectl", kubectl)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert list(run_examples(read_page("how-to/on-a-cluster"), place))
    sweeps = {"drives": 9, "more": 4, "third": 4, "fourth": 4, "fifth": 4}
    for name, count in sweeps.items():
        table = open_sweep(place / name).table
        assert table["status"].tolist() == ["ok"] * count
        assert (place / name / "work" / "finished").exists() == (name != "fifth")
