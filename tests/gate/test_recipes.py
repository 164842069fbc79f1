# SPDX-License-Identifier: GPL-2.0-or-later
"""What CI services are given: their steps, run by a shell that stands in for the service."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

from tests.conftest import PROGRAM
from tests.gate.conftest import TRACE
from tests.support.doclib import ROOT, blocks_of, read_page

ACTION = ROOT / ".github" / "actions" / "gate"
TEMPLATE = ROOT / ".gitlab" / "gate.yml"
#: In place of the program: says what it was given, writes the files, and ends as it is told.
STAND_IN = """#!/bin/sh
for word do
    printf '%s\\n' "$word" >>arguments
    case $word in
        *=*.xml | *=*.md | *=*.txt) [ -z "$WRITES" ] || echo "$word" >"${word#*=}" ;;
    esac
done
exit "$STATUS"
"""
DISKS = "constant:100us,name=a b\n\nconstant:1us,name=*\n"
CONDITIONS = "guest_time > +1%\np99 > +0\n"
GIVEN = [
    *("--disk", "constant:100us,name=a b", "--disk", "constant:1us,name=*"),
    *("--fail-if", "guest_time > +1%", "--fail-if", "p99 > +0"),
]


@dataclass
class Service:
    """A shell with the variables of a service, in a repository, and a program that stands in."""

    directory: Path
    environment: dict[str, str]

    def run(self, script: str, shell: str = "bash", **variables: str) -> int:
        done = subprocess.run(
            [shell, "-c", script], env={**self.environment, **variables}, check=False
        )
        return done.returncode

    def file(self, name: str) -> str:
        path = self.directory / name
        return path.read_text() if path.exists() else ""


@pytest.fixture
def service(repository: Path, tmp_path: Path) -> Service:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "freezingtime").write_text(STAND_IN)
    (binaries / "freezingtime").chmod(0o755)
    names = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH")
    return Service(
        tmp_path,
        {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_ACTION_PATH": str(ACTION),
            **{name: str(tmp_path / name) for name in names},
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "STATUS": "0",
            "WRITES": "yes",
        },
    )


def action_step(name: str, **inputs: str) -> tuple[str, dict[str, str]]:
    """The script of a step of the action, and its variables, for inputs that a user gives."""
    action: dict[str, Any] = yaml.safe_load((ACTION / "action.yml").read_text())
    assert set(inputs) <= set(action["inputs"])
    [step] = [step for step in action["runs"]["steps"] if step["name"] == name]
    values = {key: str(each.get("default", "")) for key, each in action["inputs"].items()} | inputs
    variables = {}
    for variable, text in step.get("env", {}).items():
        key = text.removeprefix("${{ inputs.").removesuffix(" }}")
        variables[variable] = values[key]
    return step["run"], variables


INPUTS = {"disk": DISKS, "fail-if": CONDITIONS, "baseline-commit": "HEAD~1"}


@pytest.mark.parametrize(
    ("status", "writes", "verdict"),
    [
        ("0", "yes", "passed"),
        ("1", "yes", "failed"),
        ("3", "yes", "not-comparable"),
        ("1", "", "error"),
        ("2", "", "error"),
    ],
)
def test_the_action_s_step_says_what_came_of_it(
    service: Service, repository: Path, status: str, writes: str, verdict: str
) -> None:
    script, variables = action_step("Gate", **INPUTS, script="a b.sh", arguments="--memory\n1GiB\n")
    assert service.run(script, STATUS=status, WRITES=writes, **variables) == int(status)
    given = (repository / "arguments").read_text().splitlines()
    assert given[given.index("--baseline-commit") :] == [
        *("--baseline-commit", "HEAD~1", "--phases", "1"),
        *(*GIVEN, "--script", "a b.sh", "--memory", "1GiB"),
    ]
    outputs = dict(line.split("=", 1) for line in service.file("GITHUB_OUTPUT").splitlines())
    assert outputs["verdict"] == verdict
    assert ("report" in outputs) == bool(writes)
    summary = service.file("GITHUB_STEP_SUMMARY")
    assert summary.startswith("markdown=") == bool(writes)
    # A later gate of the same job has nothing of this one.
    assert service.run(script, STATUS="1", WRITES="", **variables) == 1
    assert service.file("GITHUB_OUTPUT").splitlines()[-1] == "verdict=error"
    assert service.file("GITHUB_STEP_SUMMARY") == summary


def test_the_action_names_a_commit_that_is_not_there(service: Service) -> None:
    script, variables = action_step("Gate", **INPUTS | {"baseline-commit": "0" * 40})
    assert service.run(script, **variables) == 2
    assert service.file("GITHUB_OUTPUT") == "verdict=error\n"


def test_the_action_installs_itself(service: Service) -> None:
    """A stand-in for Python: what would be installed is a project, and is on the path then."""
    stand_in = service.directory / "bin" / "python3"
    stand_in.write_text('#!/bin/sh\nmkdir -p "$3/bin"\nln -s "$PIP" "$3/bin/pip"\n')
    pip = service.directory / "pip"
    pip.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$RUNNER_TEMP/installed"\n')
    for path in (stand_in, pip):
        path.chmod(0o755)
    script, variables = action_step("Install Freezing Time")
    assert service.run(script, PIP=str(pip), **variables) == 0
    *_, installed = service.file("installed").splitlines()
    assert Path(installed).resolve() == ROOT
    assert service.file("GITHUB_PATH") == f"{service.directory}/freezingtime/bin\n"
    assert service.file("GITHUB_ENV") == f"XDG_CACHE_HOME={service.directory}/cache\n"


def template() -> dict[str, Any]:
    """The job that GitLab's users extend."""
    found: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text())[".freezingtime-gate"]
    return found


def gitlab_variables(**given: str) -> dict[str, str]:
    return {**template()["variables"], "CI_COMMIT_BEFORE_SHA": "HEAD~1", **given}


def test_gitlab_s_job_gives_each_line_on(service: Service, repository: Path) -> None:
    job = template()
    variables = gitlab_variables(
        GATE_DISK=DISKS,
        GATE_FAIL_IF=CONDITIONS,
        GATE_JOB="some job",
        GATE_ARGUMENTS="--memory\n1GiB",
    )
    assert service.run("\n".join(job["script"]), "sh", **variables, STATUS="1") == 1
    given = (repository / "arguments").read_text().splitlines()
    assert given[given.index("--baseline-commit") :] == [
        *("--baseline-commit", "HEAD~1", "--phases", "1"),
        *(*GIVEN, "--job", "some job", "--memory", "1GiB"),
    ]
    reports = job["artifacts"]["reports"]
    names = {*reports.values(), *job["artifacts"]["paths"]}
    assert names == {path.name for path in repository.iterdir() if path.name.startswith("gate")}
    merge_request = gitlab_variables(CI_MERGE_REQUEST_DIFF_BASE_SHA="HEAD~2")
    service.run("\n".join(job["script"]), "sh", **merge_request)
    assert "--baseline-commit\nHEAD~2\n" in (repository / "arguments").read_text()


def test_what_the_page_says_is_what_there_is() -> None:
    """Its workflow gives inputs that the action has, its job variables of the template."""
    blocks = {block.file: block.text for block in blocks_of(read_page("how-to/ci/index"))}
    workflow = yaml.safe_load(blocks[".github/workflows/latency.yml"])
    *_, step = workflow["jobs"]["latency"]["steps"]
    assert step["uses"].partition("@")[0].endswith(f"/{ACTION.relative_to(ROOT)}")
    action_step("Gate", **step["with"])
    pipeline = yaml.safe_load(blocks[".gitlab-ci.yml"])
    assert pipeline["include"][0]["file"] == str(TEMPLATE.relative_to(ROOT))
    assert set(pipeline["latency"]["variables"]) <= set(template()["variables"])


@pytest.mark.slow
def test_with_the_program_itself(service: Service, repository: Path) -> None:
    stand_in = service.directory / "bin" / "freezingtime"
    stand_in.unlink()
    stand_in.symlink_to(PROGRAM)
    trace = {"disk": "constant:100us", "arguments": "--trace\ntrace.csv"}
    conditions = {"fail-if": "requests > +0\np99 > +1%", "baseline-commit": "HEAD~1"}
    script, variables = action_step("Gate", **conditions, **trace)
    assert service.run(script, **variables) == 0
    assert "Passed: identical: 2 requests" in service.file("GITHUB_STEP_SUMMARY")
    (repository / "trace.csv").write_text(TRACE + "200,read,8192,4096\n")
    assert service.run(script, **variables) == 1
    assert "requests \\> +0: requests 2" in service.file("GITHUB_STEP_SUMMARY")
    *_, report, verdict = service.file("GITHUB_OUTPUT").splitlines()
    [suite] = JUnitXml.fromfile(report.removeprefix("report="))
    assert (suite.tests, suite.failures) == (3, 1)
    assert verdict == "verdict=failed"
    script, variables = action_step("Gate", **conditions | {"fail-if": "p9 > +1%"}, **trace)
    assert service.run(script, **variables) == 2
    for_gitlab = gitlab_variables(
        GATE_DISK=trace["disk"], GATE_ARGUMENTS=trace["arguments"], GATE_FAIL_IF="requests > +0"
    )
    for_gitlab["XDG_CACHE_HOME"] = str(service.directory / "cache")
    assert service.run("\n".join(template()["script"]), "sh", **for_gitlab) == 1
    assert "freezingtime_requests" in (repository / "gate.txt").read_text()
