# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparisons as JUnit XML: a test suite for each, a test case for each condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from freezingtime.host.foreign_text import printable
from freezingtime.results.compare import RunComparison
from freezingtime.results.condition import Condition
from freezingtime.results.judged import (
    JudgedComparison,
    differing_rows,
    failure_text,
    verdict,
)
from freezingtime.trace.record_header import RecordHeader

_CLASS = "freezingtime.compare"
#: The case that fails where a run cannot be judged by its figures.
_FIT = "runs are valid and their jobs succeeded"


def to_junit(judged: Sequence[JudgedComparison]) -> str:
    """One document; versions are properties, and a run that is not fit is an error."""
    suites = ElementTree.Element("testsuites", name="freezingtime compare")
    for each in judged:
        suites.append(_suite(each))
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(judged: JudgedComparison) -> ElementTree.Element:
    comparison = judged.comparison
    unfit = list(judged.unfit)
    failed = {failure.condition.text for failure in judged.failures}
    suite = ElementTree.Element(
        "testsuite",
        name=_text(f"{comparison.a.path} -> {comparison.b.path}"),
        tests=str(1 + len(judged.conditions)),
        failures=str(len(failed)),
        errors=str(int(bool(unfit))),
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _versions(comparison):
        ElementTree.SubElement(properties, "property", name=_text(name), value=_text(value))
    case = ElementTree.SubElement(suite, "testcase", classname=_CLASS, name=_FIT)
    if unfit:
        error = ElementTree.SubElement(case, "error", message=_text(unfit[0]), type="unfit")
        error.text = "\n".join(map(_text, unfit))
    for condition in judged.conditions:
        suite.append(_case(condition, judged))
    return suite


def _case(condition: Condition, judged: JudgedComparison) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname=_CLASS, name=_text(condition.text))
    lines = [failure_text(each) for each in judged.failures if each.condition is condition]
    if lines:
        failure = ElementTree.SubElement(case, "failure", message=_text(lines[0]), type="condition")
        comparison = judged.comparison
        for request in comparison.first_differing[:1]:
            lines.append(verdict(comparison))
            lines += [
                f"first differing request, {disk} {number}: {name} {a} -> {b}"
                for disk, number, name, a, b in differing_rows(request)
            ]
        failure.text = "\n".join(map(_text, lines))
    return case


def _versions(comparison: RunComparison) -> Iterator[tuple[str, str]]:
    """The versions of both runs but of packages, which are hundreds; of replays, what they are."""
    for side, run in (("a", comparison.a), ("b", comparison.b)):
        versions: Mapping[str, Any]
        if run.document is None:
            versions = _of_record(run.record.header)
        else:
            versions = run.document.get("versions", {})
        for name, value in versions.items():
            if isinstance(value, str):
                yield f"{side}.{name}", value


def _of_record(header: RecordHeader) -> dict[str, str | None]:
    """What a record alone, as that of a replay, says of how it came about."""
    of_disks = {f"disk.{disk.name}": disk.spec for disk in header.disks}
    return {
        "freezingtime": header.tool_version,
        "source": header.source,
        "seed": str(header.seed),
        **of_disks,
    }


def _text(text: str) -> str:
    """A text with nothing in it that XML cannot hold, such as most control characters."""
    return printable(text)
