# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration differences of two runs: disks, CPU, seed, job, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from freezingtime.results.recorded_run import RecordedRun

#: Placeholder for a value missing in one of the two.
ABSENT = "-"


@dataclass(frozen=True, slots=True)
class PlanDifference:
    """One value that differs: ``key`` is its path in ``run.json``, such as ``plan.disks[0]``."""

    key: str
    a: str
    b: str


def plan_differences(a: RecordedRun, b: RecordedRun) -> list[PlanDifference]:
    """Everything in which the plans and the versions differ, one value each.

    Scripts are compared line by line. Where one of the two is a record without a
    ``run.json``, what the record's own header says is compared.
    """
    if a.document is not None and b.document is not None:
        given_a, given_b = _of_document(a.document), _of_document(b.document)
    else:
        given_a, given_b = _of_header(a), _of_header(b)
    return [
        PlanDifference(key, given_a.get(key, ABSENT), given_b.get(key, ABSENT))
        for key in dict.fromkeys([*given_a, *given_b])
        if given_a.get(key, ABSENT) != given_b.get(key, ABSENT)
    ]


def _of_document(document: Mapping[str, Any]) -> dict[str, str]:
    plan = dict(document["plan"])
    script = plan.pop("script", "")
    plan["script"] = str(script).splitlines()
    return dict(_leaves("", {"plan": plan, "versions": document["versions"]}))


def _of_header(run: RecordedRun) -> dict[str, str]:
    header = run.record.header
    disks = [disk.spec for disk in header.disks]
    plan = {"disks": disks, "cpu_rate_hz": header.cpu_rate_hz, "seed": header.seed}
    versions = {"freezingtime": header.tool_version}
    return dict(_leaves("", {"plan": plan, "versions": versions}))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}[{index}]", item)
    else:
        yield path, ABSENT if value is None else str(value)
